"""One thing that is missing, and what each kind of them means: how long a step may take, when people are told.

A loss is named by (kind, key). The key is that of the object whose event should have led to it, so that an
invocation which was given up over this object is one with it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from shared.ports import ObjectStore

Done = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Kind:
    """What holds for all losses of a kind."""

    grace: timedelta  # until then the step may still be at it, and nothing is missing
    bound: timedelta  # missing for longer, people are told
    because: str  # why this bound
    remedy: str


_NOW, _DAY, _HOUR, _MINUTE = timedelta(0), timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
_ROUND_GRACE = 2 * _HOUR  # four attempts of 15 minutes for each step of a round, and waiting for the provider's quota
_STEP_GRACE = 15 * _MINUTE  # the longest time-out of a step (s.yaml)

KINDS: Mapping[str, Kind] = {
    "pull": Kind(
        _ROUND_GRACE,
        _DAY,
        "the next day's round asks for two of its three dates again",
        "read the problem; ask the provider, or wait: what newer rounds have seen is no longer missed",
    ),
    "again": Kind(
        _STEP_GRACE,
        _DAY,
        "a pull that goes on, or a cycle that moved, waits for its order",
        "read the problem; remove the object if it asks for nothing",
    ),
    "ingest": Kind(
        _ROUND_GRACE,
        _DAY,
        "as for the pull it reads",
        "read the problem; compare the raw pages with their digests, or let a newer round ask for the date again",
    ),
    "file": Kind(
        _NOW,
        _DAY,
        "the bill that it holds is not known, or not as it is now",
        "read the problem; the file lies in the inbox under bills/ and can be put there again",
    ),
    "round": Kind(
        _ROUND_GRACE,
        _DAY,
        "as for its pulls: without its seal there is no draft, and no final",
        "read the problem; every pull of the round is ingested, only the seal is missing",
    ),
    "seal": Kind(
        _STEP_GRACE,
        2 * _HOUR,
        "the settlements of the payer's accounts wait for it",
        "read the problem; the seal stands in the chain, its rows or its object could not be written",
    ),
    "draft": Kind(
        _STEP_GRACE,
        _DAY,
        "a draft is no decision, and the next day brings another",
        "read the problem; it names the document or the line that cannot be settled",
    ),
    "drafts": Kind(
        _STEP_GRACE,
        7 * _DAY,
        "drafts that were kept too long cost room and nothing else",
        "read the problem, and remove all but the last two drafts",
    ),
    "settlement": Kind(
        _STEP_GRACE,
        2 * _HOUR,
        "people wait for it before they can lock the month",
        "read the problem; it names the document or the line that cannot be settled",
    ),
    "publish": Kind(
        _STEP_GRACE,
        _HOUR,
        "the month is locked, and its reseller waits for the statement",
        "read the problem; a file that differs from what was locked must be restored",
    ),
    "payout": Kind(
        _STEP_GRACE,
        _HOUR,
        "the payment is approved, and the file must be with the bank in time",
        "read the problem; nothing is paid while the file is missing",
    ),
    "confirmation": Kind(
        _NOW,
        _DAY,
        "while it is missing nobody knows whether the payments arrived",
        "read the problem; ask the bank for a file that can be read, and remove this one from the inbox",
    ),
    "answer": Kind(
        5 * _DAY,
        5 * _DAY,
        "a transfer takes up to three working days, and a weekend",
        "ask the bank about the instruction; its answer goes into the inbox under payouts/",
    ),
    "list": Kind(
        _NOW,
        _DAY,
        "the chain is right, but people read the list",
        "read the problem; a row that stands for nothing in the chain must be removed by hand",
    ),
    "event": Kind(
        _STEP_GRACE,
        _DAY,
        "the chain is right, but other systems wait to be told",
        "read the problem; the entry stands in the chain, its event could not be written",
    ),
    "delivery": Kind(
        _STEP_GRACE,
        _DAY,
        "the reseller has registered a bucket and does not get what it waits for",
        "read the problem; ask the reseller to let the events into its bucket, or to register another",
    ),
    "given_up": Kind(
        _NOW,
        _NOW,
        "it was tried four times already",
        "read its responsePayload; once the cause is gone the sweep does the work, or remove the object",
    ),
    "place": Kind(
        _NOW,
        _DAY,
        "whatever is missing there is not seen either",
        "read the problem; the sweep went on elsewhere and looks here again",
    ),
}


@dataclass(frozen=True, slots=True)
class Loss:
    """Something that should be there and is not."""

    kind: str
    key: str
    cycle: str
    owner: str  # a payer account, a reseller, or the operator
    since: datetime | None  # when what calls for it came to be; None where nothing says so
    cause: str
    is_done: Callable[[], bool]
    run: Done | None = None  # the step's own function; None where only people can help
    wake: Done | None = None  # writes the order, so that the step does it with resources of its own
    covers: tuple[str, ...] = ()  # further objects whose events should have led to it

    @property
    def name(self) -> tuple[str, str]:
        """The same for the same loss, whichever sweep finds it."""
        return self.kind, self.key

    def is_under_way(self, now: datetime) -> bool:
        """Whether the step may still be at it."""
        return self.since is not None and now < self.since + KINDS[self.kind].grace


Losses = Iterator[Loss]


class Listing:
    """Which objects are there: those under a prefix are listed once, at the first question.

    What is not among them may have come since, and is asked for by itself.
    """

    def __init__(self, store: ObjectStore, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    @cached_property
    def keys(self) -> frozenset[str]:
        """The names, as they were at the first question."""
        return frozenset(self._store.keys(self._prefix))

    def has(self, key: str) -> bool:
        """Whether the object is there, or was at the first question."""
        return key in self.keys or self._store.exists(key)
