"""What one person may say alone: a comment on a case, and a dispute about a month, which others close."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.access.roles import ROLES
from shared.access.scope import View
from shared.chain.entry import Draft, Entry
from shared.control import approvals, months
from shared.control.approvals import NotAllowedError, Proposal, StaleProposalError
from shared.control.cases import Case
from shared.control.resolving import COMMENTED, DISPUTE, DISPUTED
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.parties.parties import OPERATOR
from shared.services import Services
from shared.steps import casework, state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows

COMMENT = "comment"
_TEXT_MAX, _ABOUT_MAX, _LINES_MAX = 2000, 100, 200
_NOTES_MAX = 200  # of one person about a month: nobody fills a stream alone


def _comment(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    """Leave a comment on a case; `reseller` says whose it is, and is left out for the operator's."""
    given = fields(asked, {"case": str, "text": str}, {"reseller": str})
    found = casework.ID.fullmatch(given["case"])
    if found is None:
        raise BadInputError("case", f"is {given['case'][:80]!r}", "see `clearbook cases --cycle C` for its id")
    body = {"cycle": found[1], "case": given["case"], "text": _said("text", given["text"], _TEXT_MAX)}
    entry = _note(services, given.get("reseller", OPERATOR), COMMENTED, body, who)
    return Proposed([], [f"{entry.stream}#{entry.seq}: {who.by} commented on {given['case']}"])


def _dispute(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    """Open a dispute about a settlement, a statement, or lines of a reseller's month."""
    given = fields(asked, {"reseller": str, "cycle": str, "about": str, "text": str}, {"lines": list})
    Cycle.parse(given["cycle"])
    lines = list(map(str, given.get("lines", ())))
    if len(lines) > _LINES_MAX or any(not 0 < len(one) <= _ABOUT_MAX for one in lines):
        raise BadInputError("lines", f"are {len(lines)}", f"give the ids of at most {_LINES_MAX} lines")
    about, text = _said("about", given["about"], _ABOUT_MAX), _said("text", given["text"], _TEXT_MAX)
    body = {"cycle": given["cycle"], "about": about, "text": text, **({"lines": lines} if lines else {})}
    entry = _note(services, given["reseller"], DISPUTED, body, who)
    case = Case(given["cycle"], given["reseller"], DISPUTE, casework.dispute_key(entry), "", 0, casework.NOTHING)
    return Proposed([], [f"{entry.stream}#{entry.seq}: {who.by} opened case {case.id}"])


def _said(name: str, value: str, most: int) -> str:
    value = value.strip()
    if not value or len(value) > most or any(not (one.isprintable() or one == "\n") for one in value):
        raise BadInputError(name, f"is {value[:40]!r}", f"say it in 1 to {most} characters that can be printed")
    return value


def _note(services: Services, owner: str, kind: str, body: Mapping[str, Any], who: Who) -> Entry:
    """The entry of what somebody says; saying the same again leaves the first."""
    _refuse(services, owner, who.by, kind)
    stream = months.stream_of(owner, body["cycle"])
    found: list[Entry] = []

    def decide(entries: list[Entry]) -> Draft | None:
        mine = [
            one for one in entries if (one.kind, one.actor) == (kind, who.by) and one.body["cycle"] == body["cycle"]
        ]
        found[:] = [one for one in mine if one.body == body][:1]
        if len(mine) >= _NOTES_MAX and not found:
            raise BadInputError("text", f"is one more than {_NOTES_MAX} about {body['cycle']}", "talk to each other")
        return None if found else Draft(kind, who.by, who.at, body, who.why)

    return services.chain.append(stream, decide) or found[0]


def _refuse(services: Services, owner: str, by: str, kind: str) -> None:
    """Who may first: what there is else is nothing to tell somebody who may not."""
    user = approvals.users(services.chain).get(by)
    role = ROLES[user["role"]] if user else None
    if user is None or role is None or not role.notes or (role.view is not View.OPERATOR and user.get("of") != owner):
        what = "comment" if kind == COMMENTED else "dispute"
        raise NotAllowedError(f"{by} may leave no {what} here; ask who may for a role")
    parties, _ = state.parties(services)
    if owner != OPERATOR and owner not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise BadInputError("reseller", f"{owner!r} is not known", f"known are {known}")


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    raise StaleProposalError(f"{proposal.name}: what one person says alone is not approved")


def _show(services: Services, proposal: Proposal) -> list[str]:
    return [str(proposal.body)]


ACTS = (
    Act(COMMENT, _comment, _check, nothing_follows, _show),
    Act(DISPUTE, _dispute, _check, nothing_follows, _show),
)
