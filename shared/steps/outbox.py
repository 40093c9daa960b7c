"""The outbox: each change of state leaves its events as objects, after its entry; `sweep` leaves what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import OF_A_PROPOSAL
from shared.events.events import Event, cases_events, event_of
from shared.ports import ObjectConflictError
from shared.services import Services


def tell(services: Services, streams: Iterable[str], since: str) -> None:
    """Leave the events of the entries that streams got at an instant or later; what is there already stays."""
    for stream in sorted(streams):
        entries = services.chain.read(stream)
        for entry in entries:
            if entry.at >= since:
                leave(services, entries, entry)


def tell_of_proposal(services: Services, stream: str, seq: int, at: str) -> None:
    """Leave the events of what became of a proposal, and of all since; what ended it may be older than `at`, where a
    request is repeated that was cut off before."""
    entries = services.chain.read(stream)
    since = min([at, *(one.at for one in entries if one.kind in OF_A_PROPOSAL and one.body["proposal"] == seq)])
    for entry in entries:
        if entry.at >= since:
            leave(services, entries, entry)


def leave(services: Services, entries: Sequence[Entry], entry: Entry) -> None:
    """Leave the events of one entry of a stream, the one that stands for them all as the last."""
    last = event_of(entry)
    if last is None:
        return
    for event in (*_of_cases(services, entries, entry), last):
        _leave(services, event)


def _leave(services: Services, event: Event) -> None:
    # Told before a new version of us puts it in other words: what is told stays told.
    with suppress(ObjectConflictError):
        services.buckets.work.put_once(event.key, event.body)


def _of_cases(services: Services, entries: Sequence[Entry], entry: Entry) -> list[Event]:
    if entry.kind != months.CALCULATED or "cases" not in entry.body:
        return []
    before = [
        one
        for one in entries
        if one.kind == months.CALCULATED and one.body["cycle"] == entry.body["cycle"] and one.seq < entry.seq
    ]
    return cases_events(entry, _listed(services, before[-1]) if before else [], _listed(services, entry))


def _listed(services: Services, entry: Entry) -> list[Mapping[str, Any]]:
    kept = entry.body.get("cases", {"count": 0})
    return list(json.loads(services.buckets.work.get(kept["key"]))) if kept["count"] else []
