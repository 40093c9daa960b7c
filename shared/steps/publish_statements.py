"""Publish a locked month: statements and journal, each file once, then the entry that names them all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.chain.entry import Draft, Entry
from shared.control import approvals, months
from shared.cycle import parse_instant, stamp
from shared.errors import BadInputError
from shared.ids import digest
from shared.journal.ledger import of_lock
from shared.journal.postings import to_csv
from shared.money import EXACT
from shared.payout.batch import balance, forfeited, opening_balance
from shared.ports import ObjectEvent
from shared.report import statements as report
from shared.services import Services
from shared.settlement.statement import parse_statement
from shared.steps import anchoring, outbox, projections, state

_ACTOR = "publish_statements"
_ORDER_KEY = re.compile(r"work/publish/(20\d\d-\d\d)/([a-z0-9-]+)\.json", re.ASCII)


def publish_statements(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Write the files of the month whose lock wrote this order; what is there already is compared and left."""
    match = _ORDER_KEY.fullmatch(event.key)
    if match is None:
        raise BadInputError(
            f"object {event.key}", "is no publish order", "expected work/publish/<cycle>/<reseller>.json"
        )
    cycle, reseller = match.groups()
    entries = services.chain.read(months.stream_of(reseller, cycle))
    lock = _lock(entries, cycle)
    if lock is None:
        raise BadInputError(f"order {event.key}", f"{reseller} {cycle} is not locked", "a lock writes this order")
    files = _files(services, reseller, cycle, entries, lock)
    listed = [{"key": key, "digest": digest(body)} for key, body in files.items()]
    anchoring.anchor(services, anchoring.LOCK, f"{cycle}-{reseller}-{lock.seq}", lock.at, {lock.stream: lock.head})
    for key, body in files.items():
        services.buckets.records.put_once(key, body)

    def decide(now: list[Entry]) -> Draft | None:
        month = months.months(now).get(cycle)
        if month is None or month.published is not None:
            return None
        body = {"cycle": cycle, "settlement": month.settlement, "files": listed}
        return Draft(months.PUBLISHED, _ACTOR, stamp(event.at), body)

    services.chain.append(months.stream_of(reseller, cycle), decide)
    projections.refresh(services, reseller, cycle)
    outbox.tell(services, [months.stream_of(reseller, cycle)], stamp(event.at))
    services.record(_ACTOR, event.key, stamp(event.at), f"{len(files)} files")
    return {"reseller": reseller, "cycle": cycle, "files": list(files)}


def _lock(entries: list[Entry], cycle: str) -> Entry | None:
    for entry in entries:
        is_lock = entry.kind == approvals.APPROVED and entry.body["act"] == months.LOCK
        if is_lock and entry.body["what"]["cycle"] == cycle:
            return entry
    return None


def _files(services: Services, reseller: str, cycle: str, entries: list[Entry], lock: Entry) -> dict[str, bytes]:
    """Every file of the month by its key: a function of the locked settlement and its lock alone."""
    settlement = lock.body["what"]["settlement"]
    key = state.folder_of(cycle, reseller, settlement) + "summary.json"
    body = services.buckets.work.get(key)
    if digest(body) != lock.body["what"]["summary"]:
        problem = "is not the summary that was locked"
        raise BadInputError(f"object {key}", problem, "somebody changed it: find out who, and restore it")
    summary = json.loads(body)
    proposer = next(entry.actor for entry in entries if entry.seq == lock.body["proposal"])
    # The names as they were when the month was calculated: a later party document changes no published file.
    parties = state.parties_of(services, lock.body["what"]["parties"])
    at: datetime = parse_instant(lock.at)
    # What stood before the lock, whatever has been approved or paid since.
    before = [entry for entry in entries if entry.seq < lock.seq]
    opening = _opening(before)
    files: dict[str, bytes] = {}
    stated = {one["agreement"]: one for one in lock.body["what"]["statements"]}
    for data in summary["statements"]:
        statement = parse_statement(data)
        carried = balance(before, statement.agreement, cycle)
        owed = EXACT.add(carried, Decimal(statement.payable))
        forfeit = forfeited(stated[statement.agreement], owed)
        document = report.Document(
            statement,
            cycle,
            reseller,
            _name(parties.resellers.get(reseller, {}), reseller),
            settlement,
            f"proposed by {proposer}, approved by {lock.actor}",
            at,
            lock.hash,
            {id_: _name(names, id_) for id_, names in parties.customers.items()},
            carried,
            None if opening is None else opening_balance(before, statement.agreement, cycle),
            forfeit,
            [one for one in summary.get("adjusted", ()) if one["agreement"] == statement.agreement],
        )
        stem = f"statements/{cycle}/{reseller}/{statement.agreement}-{settlement[:12]}"
        files[f"{stem}.csv"] = report.to_csv(document)
        files[f"{stem}.json"] = report.to_json(document)
        files[f"{stem}.xlsx"] = report.to_xlsx(document)
    files[f"journal/{cycle}/{reseller}-{settlement[:12]}.csv"] = to_csv(of_lock(entries, lock))
    return files


def _opening(before: list[Entry]) -> Mapping[str, Any] | None:
    """The reseller's opening, for its first lock alone: whose statements carry it."""
    is_first = all(month.locked is None for month in months.months(before).values())
    return months.opening(before) if is_first else None


def _name(names: Mapping[str, str], otherwise: str) -> str:
    return str(names.get("en") or names.get("zh") or otherwise)
