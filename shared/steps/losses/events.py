"""Events that an entry has not left, and events that have not reached the bucket of their reseller.

The months in which entries are made lately are looked at, and those of deliveries that are stuck.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import GRANTS
from shared.cycle import parse_instant
from shared.events.destination import in_force
from shared.events.events import OPERATORS, RESELLERS, event_of, month_of, parse_key
from shared.parties.parties import OPERATOR, STREAM
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import outbox, state
from shared.steps.losses.books import Books
from shared.steps.losses.loss import Listing, Loss, Losses
from shared.steps.notify import DELIVERED, delivered_key, tell


def untold(services: Services, books: Books) -> Losses:
    """The events that entries of the recent months should have left; the last of an entry stands for all."""
    work = services.buckets.work
    folders = [f"{kind}{month}/" for kind in (OPERATORS, RESELLERS) for month in books.recent]
    there = {folder: Listing(work, folder) for folder in folders}
    for entries in _streams(services, books):
        for entry in entries:
            event = event_of(entry) if month_of(entry.at) in books.recent else None
            if event is None or there["/".join(event.key.split("/", 3)[:3]) + "/"].has(event.key):
                continue
            yield Loss(
                "event",
                event.key,
                month_of(entry.at),
                entry.stream.removeprefix("reseller/"),
                parse_instant(entry.at),
                "the entry has left no event",
                lambda key=event.key: work.exists(key),  # type: ignore[misc]
                lambda entries=entries, entry=entry: outbox.leave(services, entries, entry),  # type: ignore[misc]
            )


def _streams(services: Services, books: Books) -> Iterator[list[Entry]]:
    yield from books.streams.values()
    for stream in (STREAM, state.CONFIG, GRANTS, *(months.stream_of(OPERATOR, cycle) for cycle in books.cycles)):
        yield services.chain.read(stream)


def undelivered(services: Services, books: Books, looked_at: Iterable[str], now: datetime) -> Losses:
    """The events of resellers that have registered a bucket, and have not got them."""
    work = services.buckets.work
    registered = {one: in_force(one, entries) for one, entries in books.streams.items()}
    if not any(destination for destination, _ in registered.values()):
        return
    for month in sorted(looked_at):
        delivered = Listing(work, f"{DELIVERED}{month}/")
        for key in work.keys(f"{RESELLERS}{month}/"):
            told = parse_key(key)
            if told is None or told.reseller not in registered:
                continue
            destination, since = registered[told.reseller]
            entries, mark = books.streams[told.reseller], delivered_key(told)
            is_recent = told.seq > len(entries)  # of an entry that was made since the books were opened
            if destination is None or told.seq < since or is_recent or delivered.has(mark):
                continue
            yield Loss(
                "delivery",
                key,
                month,
                told.reseller,
                parse_instant(entries[told.seq - 1].at),
                f"the event has not reached bucket {destination.bucket}",
                lambda mark=mark: work.exists(mark),  # type: ignore[misc]
                lambda key=key: tell(services, ObjectEvent(work.bucket, key, now))[0],  # type: ignore[misc]
            )
