"""Anchors: where streams of the chain stood, kept where nobody can change or remove it (bucket records, locked).

Whoever could change the table still could not change these: an entry that is edited, and all after it made anew, no
longer has the hash that an anchor names. One is made at each lock, at each payout, and each day over all streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from shared.chain.entry import Head
from shared.cycle import parse_instant, shanghai_day, stamp
from shared.ids import canonical_json
from shared.ports import ObjectConflictError
from shared.services import Services

FOLDER = "anchors/"
LOCK, PAYOUT, DAY = "lock", "payout", "day"


def anchor(services: Services, what: str, name: str, at: str, heads: Mapping[str, Head]) -> str:
    """Keep these heads under a name that says what they were anchored for; made again it is the same object."""
    key = f"{FOLDER}{shanghai_day(parse_instant(at))}/{what}-{name}.json"
    services.buckets.records.put_once(key, _body(what, at, heads))
    return key


def anchor_day(services: Services, now: datetime) -> str | None:
    """Keep the heads of all streams, once a day; None where that is done."""
    key = f"{FOLDER}{shanghai_day(now)}/{DAY}.json"
    records = services.buckets.records
    if records.exists(key):
        return None
    try:
        made = records.put_once(key, _body(DAY, stamp(now), services.chain.heads()))
    except ObjectConflictError:  # somebody else was first, and may have seen the streams elsewhere
        return None
    return key if made else None


def kept(services: Services) -> dict[str, bytes]:
    """Every anchor by its key, oldest day first."""
    records = services.buckets.records
    return {key: records.get(key) for key in records.keys(FOLDER)}


def _body(what: str, at: str, found: Mapping[str, Head]) -> bytes:
    said = {stream: [head.seq, head.hash] for stream, head in found.items()}
    return canonical_json({"anchored": what, "at": at, "heads": said})
