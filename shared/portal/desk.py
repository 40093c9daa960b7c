"""Decisions over HTTP: each endpoint is one step, the actor the token's subject, the time the request's.

All are safe to repeat: proposing what waits gives the proposal that waits, approving again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.access.roles import EVERYTHING, ROLES
from shared.access.scope import View
from shared.access.tokens import SignIn
from shared.cloud.http import Answer, Request, Route
from shared.control import approvals
from shared.control.approvals import NotAllowedError, StaleProposalError
from shared.errors import BadInputError
from shared.ids import digest_of
from shared.portal import deliveries, mappings
from shared.portal.door import Door
from shared.portal.openapi import openapi
from shared.portal.reports import SMALL_LINES, Reports
from shared.services import Services

if TYPE_CHECKING:
    from shared.control.approvals import Proposal
    from shared.steps.delivering.reports import Reports as Scheduled

_SEEN = 16  # digits of a digest: enough that nothing else looks like it


@dataclass(frozen=True, slots=True)
class Desk:
    """What is answered, and with what; `owner` is the subject who may name the first people, if anybody may.

    `address` is the portal's own, for links. Reports of at most so many lines are answered at once.
    """

    services: Services
    sign_in: SignIn
    owner: str = ""
    address: str = ""
    small_lines: int = SMALL_LINES

    def routes(self) -> Sequence[Route]:
        """Every address."""
        return (
            Route("GET", "/v1/openapi.json", self.description),
            Route("GET", "/v1/me", self.me),
            Route("POST", "/v1/init", self.init),
            Route("GET", "/v1/proposals", self.proposals),
            Route("POST", "/v1/proposals", self.propose),
            Route("POST", "/v1/proposals/approve", self.approve),
            Route("POST", "/v1/proposals/reject", self.reject),
            *mappings.routes(self.services, self._door),
            *Reports(self.services, self._door, self.address, self.small_lines).routes(),
            *deliveries.routes(self.services, self._scheduled, self._door),
        )

    def description(self, request: Request) -> Answer:
        """What there is, for anybody."""
        return Answer(openapi())

    def me(self, request: Request) -> Answer:
        """Who is signed in, and what they may."""
        by, user = self._user(request)
        role = ROLES[user["role"]]
        may = {"propose": _said(role.proposes), "approve": _said(role.approves)}
        return Answer(
            {"user": by, **user, "says": role.says, "view": str(role.view), "may": may, "rights": sorted(role.rights)}
        )

    def init(self, request: Request) -> Answer:
        """Name the first people, once; who comes later is granted a role by them."""
        by = self.sign_in.subject(request.headers.get("authorization", ""))
        if not self.owner or by != self.owner:
            raise NotAllowedError(f"{by} may not name the first people; CLEARBOOK_OWNER says who may")
        asked = _fields(request, {"users": dict})
        named = _first(asked["users"])
        approvals.name_users(self.services.chain, named, request.at)
        found = approvals.users(self.services.chain)
        return Answer({"users": found, "named": found == named})

    def proposals(self, request: Request) -> Answer:
        """What waits, with what an approver is to look at; who is not the operator's sees what is their own."""
        from shared.steps import decide

        by, user = self._user(request)
        sees_all = ROLES[user["role"]].view is View.OPERATOR
        waiting = [one for one in decide.waiting(self.services) if sees_all or one.by == by]
        return Answer({"proposals": [self._shown(one) for one in waiting]})

    def propose(self, request: Request) -> Answer:
        """Propose an act."""
        from shared.steps import decide

        by, _ = self._user(request)
        asked = _fields(request, {"act": str, "asked": dict}, {"why": str})
        why = asked.get("why", "")
        found = decide.propose(self.services, asked["act"], asked["asked"], by=by, why=why, at=request.at)
        return Answer({"proposals": [self._shown(one) for one in found.proposals], "notes": list(found.notes)})

    def approve(self, request: Request) -> Answer:
        """Approve a proposal; with `seen`, only while it still looks as it did."""
        from shared.steps import decide

        by, _ = self._user(request)
        asked = _fields(request, {"name": str}, {"seen": str})
        self._refuse_unseen(asked["name"], asked.get("seen"))
        proposal, orders, missing = decide.approve(self.services, asked["name"], by=by, at=request.at)
        done = {"approved_by": by, "missing": list(missing), "orders": orders}
        return Answer({**as_json(proposal), **done})

    def reject(self, request: Request) -> Answer:
        """Reject a proposal, or withdraw one's own."""
        from shared.steps import decide

        by, _ = self._user(request)
        asked = _fields(request, {"name": str, "why": str})
        proposal = decide.reject(self.services, asked["name"], by=by, why=asked["why"], at=request.at)
        return Answer({**as_json(proposal), "rejected_by": by, "because": asked["why"]})

    @property
    def _door(self) -> Door:
        return Door(self.services, self.sign_in)

    def _scheduled(self) -> Scheduled:
        """Reports as schedules use them."""
        from shared.steps.reporting import scheduled

        return scheduled.reports(self.address, self.services.outside.clock)

    def _user(self, request: Request) -> tuple[str, Mapping[str, str]]:
        """Who signed in, of those who have a role."""
        by = self.sign_in.subject(request.headers.get("authorization", ""))
        user = approvals.users(self.services.chain).get(by)
        if user is None:
            raise NotAllowedError(f"{by} signed in, and has no role here; ask for a grant")
        return by, user

    def _shown(self, proposal: Proposal) -> dict[str, Any]:
        from shared.steps import decide

        shows = decide.show(self.services, proposal)
        waits_for = list(decide.missing(self.services, proposal))
        return {**as_json(proposal), "shows": shows, "waits_for": waits_for, "seen": _seen(proposal, shows)}

    def _refuse_unseen(self, name: str, seen: str | None) -> None:
        from shared.steps import decide

        if seen is None:
            return
        stream, seq = decide.parsed(name)
        waiting = [one for one in approvals.waiting(self.services.chain.read(stream)) if one.seq == seq]
        for one in waiting:
            if _seen(one, decide.show(self.services, one)) != seen:
                raise StaleProposalError(f"{name} no longer looks as it was shown; look at it again")


def as_json(proposal: Proposal) -> dict[str, Any]:
    """A proposal as plain data."""
    return {
        "proposal": proposal.name,
        "act": proposal.act,
        "by": proposal.by,
        "at": proposal.at,
        "why": proposal.why,
        "what": dict(proposal.body),
    }


def _seen(proposal: Proposal, shows: Sequence[str]) -> str:
    """Stands for what an approver was shown."""
    return digest_of({"what": dict(proposal.body), "shows": list(shows)})[:_SEEN]


def _fields(
    request: Request, needed: Mapping[str, type], may: Mapping[str, type] | None = None
) -> dict[str, Any]:  # fmt: skip
    from shared.steps.acts.act import fields

    return fields(request.json(), needed, may)


def _first(users: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The first people, each with a name and a role; two must decide, so both roles are there."""
    from shared.steps.acts.act import fields
    from shared.steps.acts.grants import USER

    roles, found = (approvals.PREPARER, approvals.APPROVER), {}
    for id_, said in users.items():
        if not USER.fullmatch(id_) or not isinstance(said, dict):
            raise BadInputError("users", f"{id_!r} cannot be one", "write SUBJECT: {name, role}")
        one = fields(said, {"name": str, "role": str})
        if one["role"] not in roles or not one["name"].strip():
            raise BadInputError(f"users.{id_}", f"is {one}", f"give a name, and one of {', '.join(roles)} as role")
        found[id_] = one
    if {one["role"] for one in found.values()} != set(roles):
        raise BadInputError("users", "lack one of the roles", f"name at least one {' and one '.join(roles)}")
    return found


def _said(acts: frozenset[str]) -> list[str]:
    from shared.steps.decide import ACTS

    return sorted(ACTS) if EVERYTHING in acts else sorted(acts)
