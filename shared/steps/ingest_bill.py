"""Ingest a pull: its day part; and once its whole round is there, the snapshot, the seal and the rows.

Order of the writes, each once and under a fixed name: the part and what is known of it; then, for the round, the
snapshot; the seal's entry in the chain, which gives it its seq; the rows that differ, guarded by that seq; last
the object `seals/…`, which wakes the next step. Whoever repeats or overtakes finds what is there and goes on.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.bill import api, control, parts, pulls, rows
from shared.bill.parts import Scope
from shared.bill.pulls import CONTROL, Pull, from_complete_key
from shared.bill.snapshot import FINAL, PROVISIONAL, SEALED, Part, Seal, Snapshot, merge, part_key, seals, stream_of
from shared.chain.entry import Draft, Entry
from shared.columnar import connect
from shared.cycle import Cycle, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json, digest
from shared.parties.parties import Connector
from shared.ports import ObjectEvent, ObjectMissingError
from shared.services import Services
from shared.steps import state

FINAL_TRIES = 3  # then a final bill that disagrees with its controls is sealed, with a case (design, pulls)
_ACTOR = "ingest_bill"


def ingest_bill(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Ingest the pull whose `_complete.json` this is, and seal its round if it was the last one missing."""
    pull = from_complete_key(event.key)
    complete = _read_complete(services, event.key)
    parties, _ = state.parties(services)
    connector = parties.connectors.get(pull.account)
    if connector is None:
        remedy = "add the payer to the party document"
        raise BadInputError(f"object {event.key}", f"payer account {pull.account} has no connector", remedy)
    known = services.buckets.work.find(pull.ingested_key)
    ingested = json.loads(known) if known else _ingest(services, pull, complete, connector)
    sealed = seal_round(services, connector, pull.cycle, pull.slot, stamp(event.at))
    outcome = {"pull": pull.name, "account": pull.account, "rows": ingested.get("rows", 0), "sealed": sealed}
    services.record(_ACTOR, f"{pull.account}/{pull.name}", stamp(event.at), json.dumps(outcome))
    return outcome


def _read_complete(services: Services, key: str) -> Mapping[str, Any]:
    try:
        complete = json.loads(services.buckets.records.get(key))
        pages = [(str(page["key"]), str(page["digest"])) for page in complete["pages"]]
    except (ValueError, KeyError, TypeError) as exc:
        raise BadInputError(f"object {key}", f"is not what a pull leaves ({exc!r})", "run the pull again") from exc
    return {"pages": pages}


def _pages(services: Services, complete: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """The raw pages, each checked against the digest it was kept under."""
    for key, expected in complete["pages"]:
        try:
            body = gzip.decompress(services.buckets.records.get(key))
        except ObjectMissingError as exc:
            remedy = "its pull is damaged: pull the date again under a new slot"
            raise BadInputError(f"raw page {key}", "is missing", remedy) from exc
        except (OSError, EOFError, zlib.error) as exc:
            raise BadInputError(f"raw page {key}", f"is no gzip ({exc})", "pull the date again") from exc
        if digest(body) != expected:
            raise BadInputError(f"raw page {key}", "does not have its digest", "compare the bucket with its backup")
        yield key, body


def _ingest(services: Services, pull: Pull, complete: Mapping[str, Any], connector: Connector) -> dict[str, Any]:
    if pull.what == CONTROL:
        overview = [row for key, body in _pages(services, complete) for row in api.parse_overview(body, key)]
        totals, problems = control.overview_totals(overview)
        ingested: dict[str, Any] = {
            "controls": [[*group, one.pretax, one.round_down] for group, one in sorted(totals.items())],
            "unreadable": problems,
        }
    else:
        ingested = _ingest_lines(services, pull, complete, connector)
    body = canonical_json(ingested)
    services.buckets.work.put_once(pull.ingested_key, body)
    return dict(json.loads(body))


def _ingest_lines(services: Services, pull: Pull, complete: Mapping[str, Any], connector: Connector) -> dict[str, Any]:
    """The day part of the pull; a bill that reads like one seen before is that one, without computing."""
    work, scope = services.buckets.work, Scope(pull.account, str(pull.cycle), pull.what, connector.refund_sign)
    unknown: set[str] = set()

    def pages() -> Iterator[api.Page]:
        for key, body in _pages(services, complete):
            page = api.parse_page(body, key)
            unknown.update(api.unknown_fields(page))
            yield page

    with TemporaryDirectory(dir=services.scratch) as folder:
        raw, part_path, trace_path = (Path(folder) / name for name in ("raw.csv", "part.parquet", "trace.parquet"))
        source = parts.write_raw_csv(raw, pages(), scope)
        known = work.find(pull.source_key(source, "json"))
        if known is not None:
            return {**json.loads(known), "unknown_fields": sorted(unknown)}
        with connect(services.scratch, services.memory_mb, services.threads) as connection:
            part, rejects = parts.build(connection, raw, scope, part_path, trace_path)
        work.upload_once(part_key(pull.account, str(pull.cycle), pull.what, part.digest), part_path)
        work.upload_once(pull.source_key(source, "parquet"), trace_path)
    if rejects:
        work.put_once(pull.source_key(source, "rejects.json"), parts.rejects_json(rejects))
    described = {"source": source, "part": asdict(part), "rows": part.rows, "rejects": len(rejects)}
    work.put_once(pull.source_key(source, "json"), canonical_json(described))
    return {**described, "unknown_fields": sorted(unknown)}


# -- the round --------------------------------------------------------------------------------------------------


def seal_round(services: Services, connector: Connector, cycle: Cycle, slot: str, at: str) -> str | None:
    """Seal the round of `slot` if all its pulls are ingested; the seal's object key, or None while some are missing."""
    stream = stream_of(connector.account, str(cycle))
    mine = _seal_of(services, stream, slot)
    if mine is None and _seal_once(services, connector, cycle, slot, at):
        mine = _seal_of(services, stream, slot)
    if mine is None:
        return None
    finish_seal(services, mine)
    return mine.key


def _seal_of(services: Services, stream: str, slot: str) -> Seal | None:
    return next((one for one in seals(services.chain.read(stream)) if one.slot == slot), None)


def _seal_once(services: Services, connector: Connector, cycle: Cycle, slot: str, at: str) -> bool:
    """Seal the round unless newer rounds have seen every date of it; False while pulls are missing."""
    account, stream = connector.account, stream_of(connector.account, str(cycle))
    wanted = pulls.pulls_of(slot, account, cycle, connector.since)
    # Pulls are made in this order: what is still missing is most likely the last one.
    if not wanted or not all(services.buckets.work.exists(one.ingested_key) for one in reversed(wanted)):
        return False
    found = {one.what: json.loads(services.buckets.work.get(one.ingested_key)) for one in wanted}

    def decide(entries: list[Entry]) -> Draft | None:
        earlier = seals(entries)
        if any(one.slot == slot for one in earlier):
            return None
        seal, snapshot = _seal(services, account, str(cycle), slot, earlier, found)
        if earlier and seal.pulls == earlier[-1].pulls:
            return None  # newer rounds have seen every date of this one
        services.buckets.work.put_once(snapshot.key, snapshot.body)
        return Draft(SEALED, _ACTOR, at, seal.body())

    services.chain.append(stream, decide)
    return True


def finish_seal(services: Services, seal: Seal) -> bool:
    """Write the rows of a seal that stands in the chain, then the object that wakes the next step; False if it was."""
    if services.buckets.work.exists(seal.key):
        return False
    _write_rows(services, seal)
    body = canonical_json({**seal.body(), "seq": seal.seq})
    return services.buckets.work.put_once(seal.key, body)


def _seal(
    services: Services, account: str, cycle: str, slot: str, earlier: list[Seal], found: Mapping[str, Any]
) -> tuple[Seal, Snapshot]:
    last = earlier[-1] if earlier else None
    before = state.snapshot(services, account, cycle, last.snapshot) if last else Snapshot(account, cycle)
    days = {what: Part(**one["part"]) for what, one in found.items() if what != CONTROL}
    snapshot, taken = merge(before, last, slot, days)
    differences = _differences(services, snapshot, found[CONTROL])
    open_ones = [one for one in differences if not one.cause]
    tries = 1 + sum(pulls.is_final(one.slot) for one in earlier)
    is_final = (last is not None and last.status == FINAL) or (
        pulls.is_final(slot) and (not open_ones or tries >= FINAL_TRIES)
    )
    compared = canonical_json(control.as_json(differences))
    # Named by its content: whoever decides again after another seal has come compares another snapshot.
    key = f"controls/{account}/{cycle}/{slot}-{digest(compared)[:16]}.json"
    services.buckets.work.put_once(key, compared)
    rejects = {day: one for day, one in (dict(last.rejects) if last else {}).items() if taken.get(day) != slot}
    rejects |= {what: _rejects(account, cycle, what, one) for what, one in found.items() if one.get("rejects")}
    seal = Seal(
        account, cycle, slot, "api", FINAL if is_final else PROVISIONAL, snapshot.id, snapshot.rows, snapshot.totals,
        taken, rejects, {"key": key, "differences": len(differences), "open": len(open_ones), "attempt": tries},
    )  # fmt: skip
    return seal, snapshot


def _rejects(account: str, cycle: str, day: str, ingested: Mapping[str, Any]) -> dict[str, Any]:
    key = Pull(account, Cycle.parse(cycle), day, "").source_key(ingested["source"], "rejects.json")
    return {"count": ingested["rejects"], "key": key}


def _differences(services: Services, snapshot: Snapshot, ingested: Mapping[str, Any]) -> list[control.Difference]:
    paths = [str(state.local_part(services, snapshot.part_key(day))) for day in snapshot.parts]
    controls = {
        (account, product, currency): control.Control(Decimal(pretax), Decimal(round_down))
        for account, product, currency, pretax, round_down in ingested["controls"]
    }
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        sums = connection.execute(
            "SELECT account, product_code, currency, sum(pretax) FROM read_parquet(?) GROUP BY ALL", [paths]
        ).fetchall()
    return control.compare(
        {(account, product, currency): pretax for account, product, currency, pretax in sums}, controls
    )


def _write_rows(services: Services, seal: Seal) -> None:
    """Write the rows that differ from the seal before, so that only a newer seal overwrites them."""
    earlier = [one for one in seals(services.chain.read(stream_of(seal.account, seal.cycle))) if one.seq < seal.seq]
    now = state.snapshot(services, seal.account, seal.cycle, seal.snapshot)
    before = state.snapshot(services, seal.account, seal.cycle, earlier[-1].snapshot) if earlier else None
    for day, part in now.parts.items():
        old = before.parts.get(day) if before else None
        if old is not None and old.digest == part.digest:
            continue
        new_path = state.local_part(services, now.part_key(day))
        old_path = state.local_part(services, before.part_key(day)) if before and old else None
        pull = Pull(seal.account, Cycle.parse(seal.cycle), day, seal.pulls[day])
        source = json.loads(services.buckets.work.get(pull.ingested_key))["source"]
        trace_path = state.local_part(services, pull.source_key(source, "parquet"))
        with connect(services.scratch, services.memory_mb, services.threads) as connection:
            changed = rows.changed(connection, new_path, old_path, trace_path, pull.page_key, seal.seq)
            services.rows.put_newer(rows.TABLE, changed, rows.STANDING)
