"""What one source says of an account's cycle beside another: line by line, or in sums where lines have other names.

A comparison is named by what it compares, so it is made once, whoever comes first. It decides nothing: it is kept
for people, and its figures are part of the quality figures.
"""

from __future__ import annotations

import json
from typing import Any

from shared.bill import difference
from shared.bill.formats import MONTH
from shared.bill.snapshot import OBSERVED, SEALED, Seal, observations, seals
from shared.chain.entry import Entry
from shared.columnar import connect
from shared.ids import canonical_json
from shared.services import Services
from shared.steps import state

_FORMAT = 2  # of what is kept; what was kept in another is not read


def key_of(settled: Seal, other: Seal) -> str:
    """Where the comparison of two observations lies (bucket work)."""
    names = f"{settled.source}-{settled.snapshot[:16]}-{other.source}-{other.snapshot[:16]}-{_FORMAT}"
    return f"comparisons/{settled.account}/{settled.cycle}/{names}.json"


def pairs(entries: list[Entry]) -> list[tuple[Seal, Seal]]:
    """The newest seal beside the newest observation of each other source."""
    sealed = seals(entries)
    if not sealed:
        return []
    sources = {entry.body["source"] for entry in entries if entry.kind in (SEALED, OBSERVED)} - {sealed[-1].source}
    others = [observations(entries, source)[-1:] for source in sorted(sources)]
    return [(sealed[-1], one[0]) for one in others if one]


def compare_newest(services: Services, account: str, cycle: str, entries: list[Entry]) -> None:
    """Make the comparisons that the stream calls for, and that are not there."""
    for settled, other in pairs(entries):
        key = key_of(settled, other)
        if not services.buckets.work.exists(key):
            found = compare(services, settled, other)
            services.buckets.work.put_once(key, canonical_json(found))


def compare(services: Services, settled: Seal, other: Seal) -> dict[str, Any]:
    """How the lines of two observations differ, as plain data."""
    snapshots = [state.snapshot(services, one.account, one.cycle, one.snapshot) for one in (settled, other)]
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        paths = [
            [str(state.local_part(services, one.part_key(day))) for day, part in one.parts.items() if part.rows]
            for one in snapshots
        ]
        is_daily = not other.source.endswith(f"-{MONTH}")
        found = difference.between_sources(connection, *paths, is_daily=is_daily)
    return {
        "account": settled.account, "cycle": settled.cycle,
        "settled": {"source": settled.source, "snapshot": settled.snapshot, "rows": settled.rows},
        "other": {"source": other.source, "snapshot": other.snapshot, "rows": other.rows},
        **found,
    }  # fmt: skip


def kept(services: Services, entries: list[Entry]) -> list[dict[str, Any]]:
    """The newest comparisons of a stream that are kept."""
    bodies = [services.buckets.work.find(key_of(*pair)) for pair in pairs(entries)]
    return [json.loads(body) for body in bodies if body]
