"""Seals: what a source says of an account's cycle, in the chain; then the rows that differ, then the waking object.

A cycle is settled from one source. What the others say is an entry too, `observed` instead of `sealed`: it wakes
nobody, and is compared with what is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from shared.bill import control, parts, rows
from shared.bill.pulls import CONTROL, MONTHLY, Pull
from shared.bill.snapshot import OBSERVED, SEALED, Seal, Snapshot, seals, stream_of
from shared.chain.entry import Draft, Entry
from shared.columnar import connect
from shared.cycle import Cycle
from shared.ids import canonical_json, digest
from shared.parties.parties import Connector
from shared.services import Services
from shared.steps import comparing, day_parts, quality, state

_ACTOR = "ingest_bill"

Decide = Callable[[list[Entry]], tuple[Seal, Snapshot] | None]


CONTROLS = {control.OVERVIEW: CONTROL, control.MONTHLY: MONTHLY}  # name of a control -> the pull that asks for it


def is_sealed(entries: list[Entry], seal: Seal) -> bool:
    """Whether the observation is one that the cycle is settled from."""
    return any(entry.seq == seal.seq and entry.kind == SEALED for entry in entries)


def append(services: Services, connector: Connector, cycle: Cycle, source: str, decide: Decide, at: str) -> None:
    """Append what `decide` makes of the stream as it is: a seal if the cycle is settled from the source."""
    kind = SEALED if connector.source_in(cycle) == source else OBSERVED

    def drafted(entries: list[Entry]) -> Draft | None:
        made = decide(entries)
        if made is None:
            return None
        seal, snapshot = made
        services.buckets.work.put_once(snapshot.key, snapshot.body)
        seal, listed = seal.shortened()
        if listed:
            services.buckets.work.put_once(seal.list_key, listed)
        return Draft(kind, _ACTOR, at, seal.body())

    services.chain.append(stream_of(connector.account, str(cycle)), drafted)


def finish(services: Services, seal: Seal, entries: list[Entry]) -> bool:
    """Finish what an entry of the stream began: of a seal the rows, then its object. False if it was.

    Comparisons and quality figures come last: nothing waits for them, and whoever repeats this keeps them anew.
    """
    is_new = is_sealed(entries, seal) and not services.buckets.work.exists(seal.key)
    if is_new:
        _write_rows(services, seal, entries)
        [body] = [entry.body for entry in entries if entry.seq == seal.seq]
        is_new = services.buckets.work.put_once(seal.key, canonical_json({**body, "seq": seal.seq}))
    comparing.compare_newest(services, seal.account, seal.cycle, entries)
    quality.keep(services, seal.account, seal.cycle, entries)
    return is_new


def kept_differences(
    services: Services, snapshot: Snapshot, name: str, controls: Mapping[str, Any], attempt: int
) -> tuple[dict[str, Any], bool]:
    """What a seal says of its controls, and whether nothing is left to explain; `controls` as ingested, by name.

    Where no control is known, `key` is empty: nothing was compared.
    """
    if control.OVERVIEW not in controls:
        return {"key": "", "differences": 0, "open": 0, "attempt": attempt}, True
    found = _differences(services, snapshot, controls)
    open_ones = [one for one in found if not one.cause]
    compared = canonical_json(control.as_json(found))
    # Named by its content: whoever decides again after another seal has come compares another snapshot.
    key = f"controls/{snapshot.account}/{snapshot.cycle}/{name}-{digest(compared)[:16]}.json"
    services.buckets.work.put_once(key, compared)
    return {"key": key, "differences": len(found), "open": len(open_ones), "attempt": attempt}, not open_ones


def _differences(services: Services, snapshot: Snapshot, controls: Mapping[str, Any]) -> list[control.Difference]:
    paths = [str(state.local_part(services, snapshot.part_key(day))) for day in snapshot.parts]
    sums: list[tuple[Any, ...]] = []
    if paths:
        with connect(services.scratch, services.memory_mb, services.threads) as connection:
            sums = connection.execute(
                "SELECT account, product_code, currency, sum(pretax) FROM read_parquet(?) GROUP BY ALL", [paths]
            ).fetchall()
    lines = {(account, product, currency): pretax for account, product, currency, pretax in sums}
    unreadable = [one for name, said in controls.items() for one in control.unreadable(said["unreadable"], name)]
    totals = {name: control.totals_from_json(said["controls"]) for name, said in controls.items()}
    return [*unreadable, *control.compare_all(lines, totals)]


def _write_rows(services: Services, seal: Seal, entries: list[Entry]) -> None:
    """Write the rows that differ from the seal before, so that only a newer seal overwrites them."""
    earlier = [one for one in seals(entries) if one.seq < seal.seq]
    now = state.snapshot(services, seal.account, seal.cycle, seal.snapshot)
    before = state.snapshot(services, seal.account, seal.cycle, earlier[-1].snapshot) if earlier else None
    old_parts = before.parts if before else {}
    for day in sorted(now.parts.keys() | old_parts.keys()):
        new, old = now.parts.get(day), old_parts.get(day)
        if new is not None and old is not None and new.digest == old.digest:
            continue
        old_path = state.local_part(services, before.part_key(day)) if before and old else None
        with connect(services.scratch, services.memory_mb, services.threads) as connection:
            if new is None:
                new_path = trace_path = parts.empty(connection, services.scratch)
            else:
                new_path = state.local_part(services, now.part_key(day))
                trace_key = day_parts.source_key(seal.account, seal.cycle, day, seal.read[day], "parquet")
                trace_path = state.local_part(services, trace_key)
            changed = rows.changed(connection, new_path, old_path, trace_path, places(services, seal, day), seal.seq)
            services.rows.put_newer(rows.TABLE, changed, rows.STANDING)


def places(services: Services, seal: Seal, day: str) -> Callable[[int], str]:
    """Where the pages of a day lie: objects of a pull, or tables of bill files."""
    if not seal.is_of_files:
        return Pull(seal.account, Cycle.parse(seal.cycle), day, seal.pulls[day]).page_key
    if day not in seal.read:
        return lambda page: ""
    described = day_parts.known(services, seal.account, seal.cycle, day, seal.read[day]) or {}
    pages: list[str] = described.get("pages", [])
    return lambda page: pages[page - 1]
