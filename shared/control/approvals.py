"""Two people for every change to money: one proposes, others approve, all in the chain.

A proposal is an entry `proposed`; what was proposed is in force from its entry `approved` on, which repeats it. Where
more than one has to approve, those before the last leave entries `endorsed`. What somebody tried and may not do is an
entry `refused`, once for each person and thing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.access.roles import ROLES
from shared.access.scope import View
from shared.chain.chain import Chain
from shared.chain.entry import Draft, Entry
from shared.errors import ClearbookError

PROPOSED, ENDORSED, APPROVED, REJECTED, REFUSED = "proposed", "endorsed", "approved", "rejected", "refused"
OF_A_PROPOSAL = (ENDORSED, APPROVED, REJECTED)
GRANTS = "grants"
GRANT = "grant"  # the act that gives somebody a role, or takes it
USERS = "users_named"
PREPARER, APPROVER = "preparer", "approver"


class NotAllowedError(ClearbookError):
    """The person may not do this."""

    code = "not_allowed"


class NoSuchProposalError(ClearbookError):
    """There is nothing to approve under that number."""

    code = "no_such_proposal"

    def __init__(self, stream: str, seq: int) -> None:
        super().__init__(f"{stream}#{seq} is no proposal; see `clearbook proposals` for those that wait")


class StaleProposalError(ClearbookError):
    """What was proposed no longer fits what is there now."""

    code = "stale_proposal"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposal that waits for somebody else."""

    stream: str
    seq: int
    act: str
    by: str
    at: str
    why: str
    body: Mapping[str, Any]

    @property
    def name(self) -> str:
        """How people name it."""
        return f"{self.stream}#{self.seq}"


@dataclass(frozen=True, slots=True)
class Needs:
    """Who has to approve: how many different people who may, and one of each of the roles beside them."""

    approvers: int = 1
    also: tuple[str, ...] = ()

    def missing(self, roles: Sequence[str], act: str) -> list[str]:
        """What is still to be had when people of these roles, each once, have approved."""
        left = list(roles)
        found = []
        for role in self.also:
            if role in left:
                left.remove(role)
            else:
                found.append(f"one {role}")
        more = self.approvers - sum(1 for role in left if ROLES[role].may_approve(act))
        if more > 0:
            found.insert(0, f"{more} more approver{'s' if more > 1 else ''}")
        return found


@dataclass(frozen=True, slots=True)
class Approval:
    """What an approval came to."""

    proposal: Proposal
    missing: Sequence[str]  # who has to approve besides; nobody: it is in force

    @property
    def is_in_force(self) -> bool:
        """Whether what was proposed holds now."""
        return not self.missing


# -- people -----------------------------------------------------------------------------------------------------


def users(chain: Chain) -> dict[str, dict[str, str]]:
    """Who there is: id -> {name, role, and of whom where the role is a reseller's or customer's}."""
    return users_of(chain.read(GRANTS))


def users_of(entries: list[Entry]) -> dict[str, dict[str, str]]:
    """The same by the entries of the stream of grants."""
    found: dict[str, dict[str, str]] = {}
    for entry in entries:
        if entry.kind == USERS:
            found.update(entry.body["users"])
        elif entry.kind == APPROVED and entry.body["act"] == GRANT:
            what = entry.body["what"]
            if what["role"]:
                found[what["user"]] = {name: what[name] for name in ("name", "role", "of") if what.get(name)}
            else:
                found.pop(what["user"], None)
    return found


def name_users(chain: Chain, named: Mapping[str, Mapping[str, str]], at: str) -> None:
    """Name the first users, once; later calls change nothing."""

    def decide(entries: list[Entry]) -> Draft | None:
        if any(entry.kind == USERS for entry in entries):
            return None
        return Draft(USERS, "init", at, {"users": named}, "the first people who may propose and approve")

    chain.append(GRANTS, decide)


def _role(known: Mapping[str, Mapping[str, str]], user: str) -> str:
    if user not in known:
        raise NotAllowedError(f"there is no user {user!r}; known are {', '.join(sorted(known)) or 'none yet'}")
    return known[user]["role"]


def _may_not(known: Mapping[str, Mapping[str, str]], user: str, to: str, may: Callable[[str], bool]) -> NotAllowedError:
    if ROLES[known[user]["role"]].view is not View.OPERATOR:
        return NotAllowedError(f"{user} may not {to}; ask the operator")  # who decides there is not theirs to know
    able = [name for name, one in known.items() if may(one["role"])]
    return NotAllowedError(f"{user} may not {to}; {', '.join(able) or 'nobody yet'} may")


def _note_refused(chain: Chain, stream: str, by: str, at: str, tried: Mapping[str, Any], exc: ClearbookError) -> None:
    """Keep what somebody tried, once; strangers leave no entry, or anybody could fill the chain."""

    def decide(entries: list[Entry]) -> Draft | None:
        noted = (one for one in entries if one.kind == REFUSED and one.actor == by)
        if any(one.body["tried"] == tried for one in noted):
            return None
        return Draft(REFUSED, by, at, {"tried": dict(tried), "because": str(exc)})

    chain.append(stream, decide)


# -- proposing and approving ------------------------------------------------------------------------------------


def refuse_outsiders(chain: Chain, act: str, *, by: str, at: str) -> None:
    """Refuse whoever is not the operator's before anything is looked at for them: a reason would tell of others."""
    known = users(chain)
    role = ROLES[_role(known, by)]
    if role.view is not View.OPERATOR and not role.may_propose(act):
        exc = _may_not(known, by, f"propose {act}", lambda one: ROLES[one].may_propose(act))
        _note_refused(chain, GRANTS, by, at, {"do": "propose", "act": act}, exc)
        raise exc


def propose(chain: Chain, stream: str, act: str, body: Mapping[str, Any], *, by: str, why: str, at: str) -> Proposal:
    """Propose an act; proposing what already waits unchanged gives the proposal that waits."""
    known = users(chain)
    if not ROLES[_role(known, by)].may_propose(act):
        exc = _may_not(known, by, f"propose {act}", lambda role: ROLES[role].may_propose(act))
        _note_refused(chain, stream, by, at, {"do": "propose", "act": act}, exc)
        raise exc

    def decide(entries: list[Entry]) -> Draft | None:
        if any(one.act == act and one.body == body for one in waiting(entries)):
            return None
        return Draft(PROPOSED, by, at, {"act": act, "what": dict(body)}, why)

    entry = chain.append(stream, decide)
    if entry is not None:
        return Proposal(stream, entry.seq, act, by, at, why, body)
    return next(one for one in waiting(chain.read(stream)) if one.act == act and one.body == body)


def approve(
    chain: Chain,
    stream: str,
    seq: int,
    *,
    by: str,
    at: str,
    check: Callable[[list[Entry], Proposal], None],
    needs: Callable[[list[Entry], Proposal], Needs] = lambda entries, proposal: Needs(),
) -> Approval:
    """Approve a proposal of somebody else; approving again what the same person approved changes nothing.

    `check` gets the stream as it is now and raises when what was proposed no longer fits; `needs` says who has to
    approve.
    """
    known = users(chain)
    found: list[Approval] = []

    def decide(entries: list[Entry]) -> Draft | None:
        found.clear()
        draft, approval = _approval(entries, known, stream, seq, by, at, check, needs)
        found.append(approval)
        return draft

    try:
        chain.append(stream, decide)
    except NotAllowedError as exc:
        # What nobody proposed leaves no entry, or numbers that are made up could fill any stream.
        if by in known and any((one.seq, one.kind) == (seq, PROPOSED) for one in chain.read(stream)):
            _note_refused(chain, stream, by, at, {"do": "approve", "proposal": seq}, exc)
        raise
    return found[0]


def _approval(
    entries: list[Entry],
    known: Mapping[str, Mapping[str, str]],
    stream: str,
    seq: int,
    by: str,
    at: str,
    check: Callable[[list[Entry], Proposal], None],
    needs: Callable[[list[Entry], Proposal], Needs],
) -> tuple[Draft | None, Approval]:
    """What to append, if anything, and what it comes to."""
    role = _role(known, by)
    if not any(one.seq == seq and one.kind == PROPOSED for one in entries) and not ROLES[role].approves:
        raise _may_not(known, by, "approve", lambda one: bool(ROLES[one].approves))
    proposal = _proposal(entries, stream, seq)
    before = [one for one in entries if one.kind in OF_A_PROPOSAL and one.body["proposal"] == seq]
    ended = next((one for one in before if one.kind != ENDORSED), None)
    by_whom = [one.actor for one in before]
    if ended is not None and ended.kind == REJECTED:
        raise StaleProposalError(f"{proposal.name} was rejected by {ended.actor}; propose it anew")
    needed = needs(entries, proposal)
    if not ROLES[role].may_approve(proposal.act) and role not in needed.also:
        raise _may_not(known, by, "approve", lambda one: ROLES[one].may_approve(proposal.act) or one in needed.also)
    if ended is not None:
        if by in by_whom:
            return None, Approval(proposal, ())
        raise NotAllowedError(f"{proposal.name} is already approved, by {ended.actor}")
    if proposal.by == by:
        raise NotAllowedError(f"{by} proposed {proposal.name} and cannot approve it; ask another approver")
    check(entries, proposal)
    roles = [known[one]["role"] for one in dict.fromkeys([*by_whom, by]) if one in known]
    missing = needed.missing(roles, proposal.act)
    body: dict[str, Any] = {"proposal": seq, "act": proposal.act}
    if missing:
        again = by in by_whom
        return None if again else Draft(ENDORSED, by, at, body, proposal.why), Approval(proposal, missing)
    return Draft(APPROVED, by, at, {**body, "what": dict(proposal.body)}, proposal.why), Approval(proposal, ())


def reject(chain: Chain, stream: str, seq: int, *, by: str, why: str, at: str) -> Proposal:
    """Reject a proposal that waits, or withdraw one's own; the reason is kept."""
    known = users(chain)
    found: list[Proposal] = []

    def decide(entries: list[Entry]) -> Draft | None:
        found.clear()
        role = _role(known, by)
        proposal = _proposal(entries, stream, seq)
        found.append(proposal)
        if by != proposal.by and not ROLES[role].may_approve(proposal.act):
            raise _may_not(known, by, "reject", lambda one: ROLES[one].may_approve(proposal.act))
        ended = [one for one in entries if one.kind in (APPROVED, REJECTED) and one.body["proposal"] == seq]
        if ended and ended[0].kind == REJECTED and ended[0].actor == by:
            return None
        if ended:
            raise StaleProposalError(f"{proposal.name} is {ended[0].kind} already, by {ended[0].actor}")
        return Draft(REJECTED, by, at, {"proposal": seq, "act": proposal.act, "what": dict(proposal.body)}, why)

    try:
        chain.append(stream, decide)
    except NotAllowedError as exc:
        if by in known:
            _note_refused(chain, stream, by, at, {"do": "reject", "proposal": seq}, exc)
        raise
    return found[0]


# -- what stands in a stream ------------------------------------------------------------------------------------


def waiting(entries: list[Entry]) -> list[Proposal]:
    """The proposals of a stream that are neither in force nor rejected, oldest first."""
    done = {entry.body["proposal"] for entry in entries if entry.kind in (APPROVED, REJECTED)}
    return [_as_proposal(entry) for entry in entries if entry.kind == PROPOSED and entry.seq not in done]


def endorsed(entries: list[Entry], seq: int) -> list[str]:
    """Who has approved a proposal that needs more than one, in order."""
    return [one.actor for one in entries if one.kind == ENDORSED and one.body["proposal"] == seq]


def approved(entries: list[Entry], act: str, what: Mapping[str, Any]) -> Proposal | None:
    """The newest approved proposal of an act that says all of `what`."""
    mine = (entry for entry in entries if entry.kind == APPROVED and entry.body["act"] == act)
    done = {entry.body["proposal"] for entry in mine if what.items() <= entry.body["what"].items()}
    return next((_as_proposal(entry) for entry in reversed(entries) if entry.seq in done), None)


def in_force(entries: list[Entry], act: str) -> Iterator[Mapping[str, Any]]:
    """What was approved of one act, in the order of the approvals."""
    for entry in entries:
        if entry.kind == APPROVED and entry.body["act"] == act:
            yield entry.body["what"]


def _proposal(entries: list[Entry], stream: str, seq: int) -> Proposal:
    for entry in entries:
        if entry.seq == seq and entry.kind == PROPOSED:
            return _as_proposal(entry)
    raise NoSuchProposalError(stream, seq)


def _as_proposal(entry: Entry) -> Proposal:
    return Proposal(entry.stream, entry.seq, entry.body["act"], entry.actor, entry.at, entry.why, entry.body["what"])
