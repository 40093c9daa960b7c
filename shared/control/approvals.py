"""Two people for every change to money: one proposes, another approves, both in the chain.

A proposal is an entry `proposed`; what was proposed is in force from its entry `approved` on, which repeats it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.chain.chain import Chain
from shared.chain.entry import Draft, Entry
from shared.errors import ClearbookError

PROPOSED, APPROVED = "proposed", "approved"
GRANTS = "grants"
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


def users(chain: Chain) -> dict[str, dict[str, str]]:
    """Who there is: id -> {name, role}."""
    found: dict[str, dict[str, str]] = {}
    for entry in chain.read(GRANTS):
        if entry.kind == USERS:
            found.update(entry.body["users"])
    return found


def name_users(chain: Chain, named: Mapping[str, Mapping[str, str]], at: str) -> None:
    """Name the first users, once; later calls change nothing."""

    def decide(entries: list[Entry]) -> Draft | None:
        if any(entry.kind == USERS for entry in entries):
            return None
        return Draft(USERS, "init", at, {"users": named}, "the first people who may propose and approve")

    chain.append(GRANTS, decide)


def propose(chain: Chain, stream: str, act: str, body: Mapping[str, Any], *, by: str, why: str, at: str) -> Proposal:
    """Propose an act; proposing what already waits unchanged gives the proposal that waits."""
    _require(chain, by, PREPARER, f"propose {act}")

    def decide(entries: list[Entry]) -> Draft | None:
        if any(one.act == act and one.body == body for one in waiting(entries)):
            return None
        return Draft(PROPOSED, by, at, {"act": act, "what": dict(body)}, why)

    entry = chain.append(stream, decide)
    if entry is not None:
        return Proposal(stream, entry.seq, act, by, at, why, body)
    return next(one for one in waiting(chain.read(stream)) if one.act == act and one.body == body)


def approve(
    chain: Chain, stream: str, seq: int, *, by: str, at: str, check: Callable[[list[Entry], Proposal], None]
) -> Proposal:
    """Approve a proposal of somebody else; approving again what the same person approved changes nothing.

    `check` gets the stream as it is now and raises when what was proposed no longer fits.
    """
    _require(chain, by, APPROVER, "approve")
    found: list[Proposal] = []

    def decide(entries: list[Entry]) -> Draft | None:
        found.clear()
        proposal = _proposal(entries, stream, seq)
        found.append(proposal)
        earlier = next((e for e in entries if e.kind == APPROVED and e.body["proposal"] == seq), None)
        if earlier is not None:
            if earlier.actor == by:
                return None
            raise NotAllowedError(f"{proposal.name} is already approved, by {earlier.actor}")
        if proposal.by == by:
            raise NotAllowedError(f"{by} proposed {proposal.name} and cannot approve it; ask another approver")
        check(entries, proposal)
        body = {"proposal": seq, "act": proposal.act, "what": dict(proposal.body)}
        return Draft(APPROVED, by, at, body, proposal.why)

    chain.append(stream, decide)
    return found[0]


def waiting(entries: list[Entry]) -> list[Proposal]:
    """The proposals of a stream that nobody has approved, oldest first."""
    done = {entry.body["proposal"] for entry in entries if entry.kind == APPROVED}
    return [_as_proposal(entry) for entry in entries if entry.kind == PROPOSED and entry.seq not in done]


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


def _require(chain: Chain, user: str, role: str, to: str) -> None:
    known = users(chain)
    if user not in known:
        raise NotAllowedError(f"there is no user {user!r}; known are {', '.join(sorted(known)) or 'none yet'}")
    if known[user]["role"] != role:
        able = [name for name, one in known.items() if one["role"] == role]
        raise NotAllowedError(f"{user} may not {to}; {', '.join(able) or 'nobody yet'} may")
