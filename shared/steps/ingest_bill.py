"""Ingest a pull: its day part; and once its whole round is there, the snapshot, the seal and the rows.

Order of the writes, each once and under a fixed name: the part and what is known of it; then, for the round, the
snapshot; the seal's entry in the chain, which gives it its seq; the rows that differ, guarded by that seq; last
the object `seals/…`, which wakes the next step. Whoever repeats or overtakes finds what is there and goes on.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.bill import api, formats, pulls, raw
from shared.bill.normalise import Reading
from shared.bill.pulls import CONTROL, MONTHLY, OBSERVED, Pull, from_complete_key
from shared.bill.snapshot import FINAL, PROVISIONAL, Part, Seal, Snapshot, merge, observations, stream_of
from shared.chain.entry import Entry
from shared.columnar import connect
from shared.cycle import Cycle, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json, digest
from shared.parties.parties import Connector, Parties
from shared.ports import ObjectEvent, ObjectMissingError
from shared.services import Services
from shared.steps import day_parts, ingest_controls, sealing, state
from shared.steps.repairing import repairs

FINAL_TRIES = 3  # then a final bill that disagrees with its controls is sealed, with a case (design, pulls)
_ACTOR = "ingest_bill"
_SOURCE = "api"
_PAGES_AHEAD = 4  # what comes meanwhile takes little room


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
    ingested = json.loads(known) if known else _ingest(services, pull, complete, connector, parties, stamp(event.at))
    sealed = None
    if pull.what not in OBSERVED:
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
    """The raw pages, each checked against the digest it was kept under; the next are fetched while one is read."""
    with ThreadPoolExecutor(1) as pool:  # one thread: calls keep their order
        waiting = deque[tuple[str, Future[bytes]]]()
        for key, expected in complete["pages"]:
            waiting.append((key, pool.submit(_page, services, key, expected)))
            if len(waiting) > _PAGES_AHEAD:
                first, body = waiting.popleft()
                yield first, body.result()
        for first, body in waiting:
            yield first, body.result()


def _page(services: Services, key: str, expected: str) -> bytes:
    try:
        body = gzip.decompress(services.buckets.records.get(key))
    except ObjectMissingError as exc:
        remedy = "its pull is damaged: pull the date again under a new slot"
        raise BadInputError(f"raw page {key}", "is missing", remedy) from exc
    except (OSError, EOFError, zlib.error) as exc:
        raise BadInputError(f"raw page {key}", f"is no gzip ({exc})", "pull the date again") from exc
    if digest(body) != expected:
        raise BadInputError(f"raw page {key}", "does not have its digest", "compare the bucket with its backup")
    return body


def _ingest(
    services: Services, pull: Pull, complete: Mapping[str, Any], connector: Connector, parties: Parties, at: str
) -> dict[str, Any]:
    if pull.what in ingest_controls.WHATS:
        ingested = ingest_controls.ingest(services, pull, _pages(services, complete), parties, at)
    else:
        ingested = _ingest_lines(services, pull, complete, connector)
    body = canonical_json(ingested)
    services.buckets.work.put_once(pull.ingested_key, body)
    return dict(json.loads(body))


def _ingest_lines(services: Services, pull: Pull, complete: Mapping[str, Any], connector: Connector) -> dict[str, Any]:
    """The day part of the pull; a bill that reads like one seen before is that one, without computing."""
    account, cycle = pull.account, str(pull.cycle)
    form = formats.load(api.FORM)
    rules = repairs(services, account, form.name)
    reading = Reading(form, connector.refund_sign, account, cycle, pull.what, repairs=rules)
    with TemporaryDirectory(dir=services.scratch) as name:
        folder = Path(name)
        table, content, unknown = raw.write_pages(folder / "raw.csv", _pages(services, complete))
        read = day_parts.read_as(reading, [content])
        described = day_parts.known(services, account, cycle, pull.what, read)
        if described is None:
            with connect(services.scratch, services.memory_mb, services.threads) as connection:
                described = day_parts.of_table(services, connection, table, reading, read, folder)
    return {**described, "unknown_fields": sorted(unknown)}


# -- the round --------------------------------------------------------------------------------------------------


def seal_round(services: Services, connector: Connector, cycle: Cycle, slot: str, at: str) -> str | None:
    """Seal the round of `slot` if all its pulls are ingested; the seal's object key, or None while some are missing."""
    wanted = pulls.pulls_of(slot, connector.account, cycle, connector.since)
    stream = stream_of(connector.account, str(cycle))
    entries = services.chain.read(stream)
    if _of_round(entries, slot) is None:
        # Pulls are made in this order: what is still missing is most likely the last one.
        if not wanted or not all(services.buckets.work.exists(one.ingested_key) for one in reversed(wanted)):
            return None
        found = {one.what: json.loads(services.buckets.work.get(one.ingested_key)) for one in wanted}

        def decide(entries: list[Entry]) -> tuple[Seal, Snapshot] | None:
            return _decided(services, connector.account, str(cycle), slot, observations(entries, _SOURCE), found)

        sealing.append(services, connector, cycle, _SOURCE, decide, at)
        entries = services.chain.read(stream)
    mine = _of_round(entries, slot)
    if mine is None:
        return None
    sealing.finish(services, mine, entries)
    return mine.key


def _of_round(entries: list[Entry], slot: str) -> Seal | None:
    return next((one for one in observations(entries, _SOURCE) if one.slot == slot), None)


def _decided(
    services: Services, account: str, cycle: str, slot: str, earlier: list[Seal], found: Mapping[str, Any]
) -> tuple[Seal, Snapshot] | None:
    """What the round says, unless it is there or newer rounds have seen every date of it."""
    if any(one.slot == slot for one in earlier):
        return None
    last = earlier[-1] if earlier else None
    before = state.snapshot(services, account, cycle, last.snapshot) if last else Snapshot(account, cycle)
    days = {what: Part(**one["part"]) for what, one in found.items() if what not in (CONTROL, MONTHLY)}
    snapshot, taken = merge(before, last, slot, days)
    if last is not None and taken == last.pulls:
        return None
    tries = 1 + sum(pulls.is_final(one.slot) for one in earlier)
    controls = {name: found[what] for name, what in sealing.CONTROLS.items() if what in found}
    compared, is_explained = sealing.kept_differences(services, snapshot, slot, controls, tries)
    # What a planned round finds may still settle down; the bill that people order again has had its time.
    is_settled = is_explained or tries >= FINAL_TRIES or pulls.is_extra(slot)
    is_final = (last is not None and last.status == FINAL) or (
        pulls.sees_final(slot, Cycle.parse(cycle)) and is_settled
    )
    rejects = {day: one for day, one in (last.rejects if last else {}).items() if taken.get(day) != slot}
    mine = ((what, one) for what, one in found.items() if one.get("rejects") and taken.get(what) == slot)
    rejects |= {what: _rejects(account, cycle, what, one) for what, one in mine}
    read = dict(last.read) if last else {}
    read |= {day: found[day]["source"] for day in days if taken[day] == slot}
    seal = Seal(
        account, cycle, slot, _SOURCE, FINAL if is_final else PROVISIONAL, snapshot.id, snapshot.rows, snapshot.totals,
        taken, rejects, compared, read,
    )  # fmt: skip
    return seal, snapshot


def _rejects(account: str, cycle: str, day: str, ingested: Mapping[str, Any]) -> dict[str, Any]:
    key = day_parts.source_key(account, cycle, day, ingested["source"], "rejects.json")
    return {"count": ingested["rejects"], "key": key}
