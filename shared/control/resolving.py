"""What people decided about cases and by hand: the fold of a share's chain stream.

An act `case` {cycle, action, because, cases} decides about many cases at once; an act `adjustment` posts an amount. The
seq of a proposal names what was decided. Disputes and comments are entries that one person leaves alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import APPROVED, REJECTED, Proposal, waiting

CASE, ADJUSTMENT = "case", "adjustment"  # acts
DISPUTED, COMMENTED = "disputed", "commented"  # kinds of entries
DISPUTE = "dispute"  # the kind of its case
EXCLUDE, ACCEPT, DISMISS, LINK = "exclude", "accept", "dismiss", "link"
LINKED = ("unlinked_refund", "refund_exceeds_charge")  # the kinds of cases that people link
# What each action means for a case.
ACTIONS: Mapping[str, str] = {
    EXCLUDE: "closes it without settling: its lines are excluded, and name the case",
    ACCEPT: "lets the month be locked while it is open, as long as it holds what it held",
    DISMISS: "closes a case that holds no line, as long as it says what it said",
}
_READ = (EXCLUDE,)  # what settlements read


@dataclass(frozen=True, slots=True)
class Decision:
    """Something decided about cases of a cycle."""

    seq: int  # of the proposal
    name: str  # of the proposal
    action: str
    because: str
    what: Mapping[str, Any]
    state: str  # proposed, approved or rejected
    by: str
    at: str
    approved_by: str = ""


def decisions(entries: list[Entry], cycle: str) -> list[Decision]:
    """What was proposed about the cases of a cycle and what became of it, in the order of the proposals."""
    return [_decision(one, ended) for one, ended in _proposals(entries, CASE) if one.body["cycle"] == cycle]


def read_by_settlements(entries: list[Entry]) -> dict[str, list[int]]:
    """The decisions in force that settlements read, by the cycle that they are about."""
    found: dict[str, list[int]] = {}
    for one in entries:
        if one.kind == APPROVED and one.body["act"] == CASE and one.body["what"]["action"] in _READ:
            found.setdefault(one.body["what"]["cycle"], []).append(one.body["proposal"])
    return {cycle: sorted(seqs) for cycle, seqs in found.items()}


def links(entries: list[Entry]) -> list[Decision]:
    """The refunds of a share that people have linked to charges, in the order of the proposals."""
    found = [_decision(one, ended) for one, ended in _proposals(entries, CASE) if one.body["action"] == LINK]
    return [one for one in found if one.state == APPROVED]


def adjustments(entries: list[Entry]) -> list[Decision]:
    """The adjustments that were proposed, and what became of them."""
    return [_decision(one, ended) for one, ended in _proposals(entries, ADJUSTMENT)]


def due_adjustments(entries: list[Entry], cycle: str) -> list[int]:
    """The approved adjustments that the settlement of a cycle posts: those of its own cycle, and those of earlier ones
    that no open month before it takes. What is locked keeps what it was locked with."""
    mine = [one for one in adjustments(entries) if one.state == APPROVED and one.what["cycle"] <= cycle]
    if not mine:
        return []
    known, since = months.months(entries), months.since(entries)
    own = known.get(cycle)
    if own is not None and own.locked is not None and own.calculated is not None:
        return [int(one) for one in own.calculated.body.get("adjustments", ())]
    if cycle < since:
        return []
    done = posted(known)
    open_ = [one.cycle for one in known.values() if one.calculated is not None and one.locked is None]
    return [
        one.seq
        for one in mine
        if one.seq not in done and not any(max(since, one.what["cycle"]) <= earlier < cycle for earlier in open_)
    ]


def posted(known: Mapping[str, months.Month]) -> dict[int, str]:
    """The adjustments that locked months have posted, each with its month."""
    return {
        int(seq): month.cycle
        for month in known.values()
        if month.locked is not None and month.calculated is not None
        for seq in month.calculated.body.get("adjustments", ())
    }


def disputes(entries: list[Entry], cycle: str) -> list[Entry]:
    """The disputes that were opened about a cycle."""
    return [one for one in entries if one.kind == DISPUTED and one.body["cycle"] == cycle]


def comments(entries: list[Entry], cycle: str) -> list[Entry]:
    """What people said about the cases of a cycle."""
    return [one for one in entries if one.kind == COMMENTED and one.body["cycle"] == cycle]


def _proposals(entries: list[Entry], act: str) -> Iterator[tuple[Proposal, Entry | None]]:
    """The proposals of an act, each with the entry that ended it."""
    ended = {one.body["proposal"]: one for one in entries if one.kind in (APPROVED, REJECTED)}
    # Nothing is waiting beside what has been ended: all that was proposed is one or the other.
    for one in waiting([entry for entry in entries if entry.kind not in (APPROVED, REJECTED)]):
        if one.act == act:
            yield one, ended.get(one.seq)


def _decision(one: Proposal, ended: Entry | None) -> Decision:
    state = "proposed" if ended is None else ended.kind
    action, because = one.body.get("action", ""), one.body.get("because", one.body.get("cause", ""))
    by_whom = "" if ended is None else ended.actor
    return Decision(one.seq, one.name, action, because, one.body, state, one.by, one.at, by_whom)
