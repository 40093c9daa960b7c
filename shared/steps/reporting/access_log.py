"""The access log: who ran, looked at and fetched what. Rows of a day, whose digest becomes an entry of the chain.

A row is made before what it tells of is handed out. A day is sealed once it is over; who changes a row of it later
changes its digest.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby

from shared.access.principal import Principal
from shared.chain.entry import Draft, Entry
from shared.cycle import parse_date, parse_instant, shanghai_day, stamp
from shared.ids import canonical_json, digest_of
from shared.ports import Key, Row
from shared.services import Services

TABLE, STREAM, KIND = "access_log", "log/access", "day_sealed"
RUN, LOOK, DOWNLOAD, LINK, KEY = "run", "view", "download", "link", "key"
_ACTOR = "sweep"
_FIRST_DAY = "2000-01-01"


@dataclass(frozen=True, slots=True)
class Sealed:
    """A day as it was, by its rows."""

    day: str
    rows: int
    digest: str


def note(
    services: Services, at: str, who: Principal, what: str, about: Mapping[str, str | int], name: str = ""
) -> None:  # fmt: skip
    """Note what somebody is about to get; what is handed out once by a name, whatever is repeated, is one row."""
    owner = who.owner
    said = {"owner": owner, "who": who.id, "via": str(who.via), "what": what}
    day = str(shanghai_day(parse_instant(at)))
    # Without a name no two are the same: what is asked for twice was handed out twice.
    key = (("day", day), ("id", f"{at}/{digest_of([owner, what, name])[:32] if name else uuid.uuid4().hex}"))
    services.rows.put(TABLE, key, {**said, "about": canonical_json(about).decode()})


def of_day(services: Services, day: date) -> Iterator[Row]:
    """The rows of a day, in order."""
    yield from services.rows.range(TABLE, _at(day), _at(day + timedelta(days=1)))


def seal(services: Services, now: datetime) -> list[str]:
    """Seal every day that is over and has rows; the days."""
    entries = services.chain.read(STREAM)
    last = entries[-1].body["day"] if entries else _FIRST_DAY
    rows = services.rows.range(TABLE, _at(parse_date(last) + timedelta(days=1)), _at(shanghai_day(now)))
    sealed = []
    for day, found in groupby(rows, key=lambda row: str(row["day"])):
        one = _sealed(day, found)

        def decide(known: list[Entry], one: Sealed = one) -> Draft | None:
            if known and known[-1].body["day"] >= one.day:
                return None
            body = {"day": one.day, "rows": one.rows, "digest": one.digest}
            return Draft(kind=KIND, actor=_ACTOR, at=stamp(now), body=body)

        if services.chain.append(STREAM, decide) is not None:
            sealed.append(day)
    return sealed


def differing(services: Services) -> list[str]:
    """The sealed days whose rows are no longer those that were sealed."""
    found = []
    for entry in services.chain.read(STREAM):
        now = _sealed(entry.body["day"], of_day(services, parse_date(entry.body["day"])))
        if (now.rows, now.digest) != (entry.body["rows"], entry.body["digest"]):
            found.append(now.day)
    return found


def _at(day: date) -> Key:
    return ("day", str(day)), ("id", "")


def _sealed(day: str, rows: Iterator[Row]) -> Sealed:
    body, count = hashlib.sha256(), 0
    for row in rows:
        body.update(canonical_json(row) + b"\n")
        count += 1
    return Sealed(day, count, body.hexdigest())
