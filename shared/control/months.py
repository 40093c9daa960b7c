"""What is decided about a reseller's months: the fold of its chain stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.chain.entry import Entry
from shared.control.approvals import APPROVED, PROPOSED, REJECTED, in_force
from shared.parties.parties import OPERATOR

CALCULATED, LATE, PUBLISHED, INSTRUCTED = "calculated", "arrived_after_lock", "published", "instructed"
CONFIRMED, RETURNED, CONTRADICTED = "confirmed", "returned", "contradicted"
NOT_INSTRUCTED = "not_instructed"
REJECTED_BY_BANK, PARTLY_CONFIRMED = "rejected_by_bank", "partly_confirmed"
UNKNOWN_ANSWER = "answer_unknown"  # the bank tells of a payment that nobody instructed, or not so
REOPEN = "reopen"  # people say that what a payment did not bring is owed again
AGREEMENT, LOCK, OPENING, INVOICE = "agreement", "lock", "opening", "invoice"
# The kinds of entries about one instruction are also the names of what a month knows of them.
_OF_AN_INSTRUCTION = (
    INSTRUCTED, CONFIRMED, RETURNED, CONTRADICTED, NOT_INSTRUCTED, REJECTED_BY_BANK, PARTLY_CONFIRMED,
    UNKNOWN_ANSWER,
)  # fmt: skip
OF_A_MONTH = (CALCULATED, LATE, PUBLISHED, *_OF_AN_INSTRUCTION)


def stream_of(owner: str, cycle: str) -> str:
    """Where the decisions about a share stand: a reseller's own stream, or the cycle's for the operator's share."""
    return f"cycle/{cycle}" if owner == OPERATOR else f"reseller/{owner}"


@dataclass(slots=True)
class Month:
    """One cycle of one reseller."""

    cycle: str
    calculated: Entry | None = None  # the newest
    locked: Mapping[str, Any] | None = None  # what was approved: {"cycle", "settlement", ...}
    published: Entry | None = None
    proposed: set[int] = field(default_factory=set)  # locks of its newest settlement that wait for an approval
    instructed: dict[str, Entry] = field(default_factory=dict)  # by instruction
    confirmed: dict[str, Entry] = field(default_factory=dict)
    returned: dict[str, Entry] = field(default_factory=dict)
    contradicted: dict[str, Entry] = field(default_factory=dict)
    not_instructed: dict[str, Entry] = field(default_factory=dict)
    rejected_by_bank: dict[str, Entry] = field(default_factory=dict)
    partly_confirmed: dict[str, Entry] = field(default_factory=dict)
    answer_unknown: dict[str, Entry] = field(default_factory=dict)
    reopened: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # what was approved, by instruction
    late: list[Entry] = field(default_factory=list)

    @property
    def settlement(self) -> str | None:
        """The settlement that counts: the locked one, else the newest."""
        if self.locked is not None:
            return str(self.locked["settlement"])
        return str(self.calculated.body["settlement"]) if self.calculated else None

    @property
    def state(self) -> str:
        """Where the month stands."""
        standing = self.instructed.keys() - self.reopened.keys()
        outcomes = {self.outcome(instruction) for instruction in standing}
        if outcomes & {RETURNED, REJECTED_BY_BANK, CONTRADICTED}:
            return "returned"
        if standing:
            return "confirmed" if outcomes == {CONFIRMED} else "paid"
        if self.locked is not None:
            return "locked" if self.published is not None else "approved"
        if self.proposed:
            return "in_review"
        return "calculated" if self.calculated else "open"

    def outcome(self, instruction: str) -> str:
        """What the bank's answers on an instruction come to, in whatever order they came; else `instructed`."""
        told = (CONTRADICTED, RETURNED, REJECTED_BY_BANK, PARTLY_CONFIRMED, CONFIRMED)
        return next((kind for kind in told if instruction in getattr(self, kind)), INSTRUCTED)


def months(entries: list[Entry]) -> dict[str, Month]:
    """The months of a stream by cycle."""
    found: dict[str, Month] = {}
    for entry in entries:
        if entry.kind in OF_A_MONTH:
            _apply(found.setdefault(entry.body["cycle"], Month(entry.body["cycle"])), entry)
        elif is_about_a_lock(entry) and (month := found.get(entry.body["what"]["cycle"])) is not None:
            _review(month, entry)
    for what in in_force(entries, LOCK):
        found.setdefault(what["cycle"], Month(what["cycle"])).locked = what
    for what in in_force(entries, REOPEN):
        found.setdefault(what["cycle"], Month(what["cycle"])).reopened[what["instruction"]] = what
    return dict(sorted(found.items()))


def last_adjusted(known: Mapping[str, Month], cycle: str) -> tuple[Entry | None, str]:
    """What of a locked cycle stands in what is locked: its settlement, or the newest look at it that a later locked
    cycle was calculated after, and has adjusted; and that later cycle, "" where there is none."""
    month = known[cycle]
    for look in reversed(month.late):
        for later in known.values():
            is_after = later.calculated is not None and later.calculated.seq > look.seq
            if later.cycle > cycle and later.locked is not None and is_after:
                return look, later.cycle
    return month.calculated, ""


def since(entries: list[Entry]) -> str:
    """The first cycle of a reseller that is settled here, as its opening says; "" where it has none."""
    found = opening(entries)
    return str(found["as_of"]) if found is not None else ""


def unlocked_before(entries: list[Entry], cycle: str) -> str | None:
    """The first calculated month before a cycle that is not locked, since the opening."""
    first = since(entries)
    open_ = (one.cycle for one in months(entries).values() if one.calculated is not None and one.locked is None)
    return next((one for one in open_ if first <= one < cycle), None)


def opening(entries: list[Entry]) -> Mapping[str, Any] | None:
    """What a reseller's stream says of its position at go-live: {"document", "as_of", "balances"}; the last counts."""
    return next(reversed(list(in_force(entries, OPENING))), None)


def invoices(entries: list[Entry]) -> list[Mapping[str, Any]]:
    """The invoices entered: {"cycle" in which it may be paid, "agreement", "number", "date", "amount", "currency"}."""
    return list(in_force(entries, INVOICE))


def is_about_a_lock(entry: Entry) -> bool:
    """Whether it proposes, approves or rejects to lock a month."""
    return entry.kind in (PROPOSED, APPROVED, REJECTED) and entry.body["act"] == LOCK


def _review(month: Month, entry: Entry) -> None:
    """A lock is in review while it waits, for the settlement that was last calculated."""
    if entry.kind != PROPOSED:
        month.proposed.discard(entry.body["proposal"])
    elif month.calculated is not None and month.calculated.seq == entry.body["what"]["calculated"]:
        month.proposed.add(entry.seq)


def _apply(month: Month, entry: Entry) -> None:
    if entry.kind == CALCULATED:
        month.calculated = entry
        month.proposed.clear()
    elif entry.kind == PUBLISHED:
        month.published = entry
    elif entry.kind == LATE:
        month.late.append(entry)
    else:
        into: dict[str, Entry] = getattr(month, entry.kind)
        into[entry.body["instruction"]] = entry
