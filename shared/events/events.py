"""Events of the chain as CloudEvents 1.0 in JSON: what an entry says, as a function of the entry alone.

A new type of event is a row in `types`. The last event of an entry is written last, so that it stands for the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import APPROVED, PROPOSED, REJECTED
from shared.cycle import Cycle, parse_instant, shanghai_day
from shared.events.types import CASES_CLOSED, CASES_OPENED, OF_ACTS, OF_KINDS, EventType, Fields
from shared.ids import canonical_json

CASES_NAMED_MAX = 200  # of more an event says how many there are
RESELLERS, OPERATORS = "outbox/resellers/", "outbox/operator/"
_KEY = re.compile(
    r"outbox/resellers/(20\d\d-(?:0[1-9]|1[0-2]))/([a-z0-9][a-z0-9-]{0,39})/(\d{6,})-([a-z_.]+)\.json", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of an entry."""

    type: EventType
    entry: Entry
    data: Mapping[str, Any]

    @property
    def is_of_reseller(self) -> bool:
        """Whether the reseller whose stream the entry is in is told."""
        return self.type.for_reseller and self.entry.stream.startswith("reseller/")

    @property
    def key(self) -> str:
        """Its object (bucket work): by the month in which the entry was made."""
        entry = self.entry
        folder = f"{OPERATORS}{month_of(entry.at)}/{entry.stream}/"
        if self.is_of_reseller:
            folder = f"{RESELLERS}{month_of(entry.at)}/{entry.stream.removeprefix('reseller/')}/"
        return f"{folder}{entry.seq:06d}-{self.type.name}.json"

    @property
    def body(self) -> bytes:
        """As it is written."""
        entry = self.entry
        return canonical_json(
            {
                "specversion": "1.0",
                "id": f"{entry.stream}/{entry.seq}/{self.type.name}",
                "source": f"/clearbook/{entry.stream}",
                "type": self.type.type,
                "subject": self.data.get("instruction") or self.data.get("cycle") or entry.stream,
                "time": entry.at,
                "datacontenttype": "application/json",
                "dataschema": self.type.schema,
                "data": {"entry": {"stream": entry.stream, "seq": entry.seq, "hash": entry.hash}, **self.data},
            }
        )


@dataclass(frozen=True, slots=True)
class Told:
    """What the name of a reseller's event says."""

    month: str
    reseller: str
    seq: int
    name: str  # of its type


def month_of(at: str) -> str:
    """The calendar month of an instant in Asia/Shanghai."""
    return str(Cycle.of(shanghai_day(parse_instant(at))))


def parse_key(key: str) -> Told | None:
    """The name of a reseller's event, or None where it is none."""
    match = _KEY.fullmatch(key)
    return Told(match[1], match[2], int(match[3]), match[4]) if match else None


def event_of(entry: Entry) -> Event | None:
    """The event that an entry leaves, or None where it changes nothing for others."""
    body = entry.body
    if entry.kind in (PROPOSED, APPROVED, REJECTED):
        act = OF_ACTS.get(body.get("act", ""))
        if act is None:
            return None
        type_ = act.of(entry.kind)
        said = {**body.get("what", {}), "proposal": body.get("proposal", entry.seq)}
        return Event(type_, entry, _data(type_, said))
    kind = OF_KINDS.get(entry.kind)
    if kind is None:
        return None
    told = {**body, "files": files_of(entry)} if entry.kind == months.PUBLISHED else body
    return Event(kind, entry, _data(kind, told))


def files_of(entry: Entry) -> list[dict[str, str]]:
    """The files that a reseller's month was published as: {key, digest, name}, the name being that in its bucket.

    What else the entry may name is not the reseller's.
    """
    cycle, reseller = re.escape(entry.body["cycle"]), re.escape(entry.stream.removeprefix("reseller/"))
    own = re.compile(rf"(statements/{cycle}/){reseller}/([^/]+)|(journal/{cycle}/)({reseller}-[0-9a-f]{{12}}\.[a-z]+)")
    found = [(one, own.fullmatch(one["key"])) for one in entry.body["files"]]
    return [{**one, "name": "".join(filter(None, match.groups()))} for one, match in found if match is not None]


def cases_events(entry: Entry, before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[Event]:
    """How the cases of an entry `calculated` differ from those of the run before."""
    told, found = {one["id"]: one for one in before}, {one["id"]: one for one in now}
    opened = [one for id_, one in sorted(found.items()) if id_ not in told]
    closed = [one for id_, one in sorted(told.items()) if id_ not in found]
    events = []
    for type_, cases in ((CASES_OPENED, opened), (CASES_CLOSED, closed)):
        if cases:
            said = {**entry.body, "count": len(cases), "cases": cases[:CASES_NAMED_MAX]}
            events.append(Event(type_, entry, _data(type_, said)))
    return events


def _data(type_: EventType, said: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: [_picked(fields, one) for one in said.get(name, ())] for name, fields in type_.lists.items()}
    return {**_picked(type_.fields, said), **lists}


def _picked(fields: Fields, said: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is said the fields that are named, and nothing else; an entry of before may lack one."""
    return {name: said[name] for name in fields if name in said}
