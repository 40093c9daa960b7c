"""Grants: who may do what. Roles are data (shared/access/roles.py)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from shared.access.roles import ROLES
from shared.access.scope import View
from shared.chain.entry import Entry
from shared.control import approvals
from shared.control.approvals import GRANT, GRANTS, Proposal, users_of
from shared.errors import BadInputError
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows

USER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@|:-]{0,127}", re.ASCII)  # the subject of a token


def propose_grant(
    services: Services, user: str, name: str, role: str, of: str, *, by: str, why: str, at: str
) -> Proposal:
    """Propose to give somebody a role, in place of the one that they have; with role "" they have none."""
    entries = services.chain.read(GRANTS)
    if not USER.fullmatch(user):
        raise BadInputError("user", f"is {user!r}", "give the subject that their tokens name")
    if role and not name.strip():
        raise BadInputError("name", "is missing", "say who it is")
    if role and role not in ROLES:
        raise BadInputError("role", f"{role!r} is none", f"give one of {', '.join(ROLES)}")
    if not role and user not in users_of(entries):
        raise BadInputError("user", f"{user!r} has no role", "there is nothing to take")
    _refuse_unknown_party(services, role, of)
    _refuse_nobody_left(entries, user, role)
    what = {"user": user, "name": name.strip(), "role": role, **({"of": of} if of else {})}
    return approvals.propose(services.chain, GRANTS, GRANT, what, by=by, why=why, at=at)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"user": str, "role": str}, {"name": str, "of": str})
    name, of = given.get("name", ""), given.get("of", "")
    return Proposed([propose_grant(services, given["user"], name, given["role"], of, **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    _refuse_nobody_left(entries, proposal.body["user"], proposal.body["role"])


def _refuse_unknown_party(services: Services, role: str, of: str) -> None:
    view = ROLES[role].view if role else View.OPERATOR
    if view is View.OPERATOR:
        if of:
            raise BadInputError("of", f"is {of!r}", f"{role or 'no role'} is nobody's in particular: leave it out")
        return
    parties, _ = state.parties(services)
    known = parties.resellers if view is View.RESELLER else parties.customers
    if of not in known:
        raise BadInputError("of", f"there is no {view} {of!r}", "give the id that the party document has")


def _refuse_nobody_left(entries: list[Entry], user: str, role: str) -> None:
    """Without a preparer or an approver nobody could ever grant anything again."""
    left = {**{one: had["role"] for one, had in users_of(entries).items()}, user: role}
    for needed in (approvals.PREPARER, approvals.APPROVER):
        if needed not in left.values():
            raise BadInputError("role", f"would leave no {needed}", f"grant somebody else {needed} first")


def _show(services: Services, proposal: Proposal) -> list[str]:
    body, had = proposal.body, users_of(services.chain.read(GRANTS)).get(proposal.body["user"])
    before = f"{had['role']} {had.get('of', '')}".strip() if had else "no role"
    after = f"{body['role']} {body.get('of', '')}".strip() or "no role"
    return [f"{body['user']} {body['name']}".rstrip() + f": {before} -> {after}"]


ACT = Act(GRANT, _propose, _check, nothing_follows, _show)
