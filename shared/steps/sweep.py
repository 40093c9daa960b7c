"""Sweep: find what should have happened and has not, and make it happen once more.

It runs a step's own function again, or wakes the step by writing its order again; so whatever it does is as safe
to repeat as the steps are. It looks at the cycle that runs and the one before.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from shared.bill.pulls import Pull, from_order_key, slot_day
from shared.bill.snapshot import FINAL, seals
from shared.bill.snapshot import stream_of as bill_stream
from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.cycle import Cycle, shanghai_day, stamp
from shared.errors import ClearbookError
from shared.parties.parties import OPERATOR, Connector, NoPartiesError, Parties
from shared.payout.batch import PAYOUT
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import projections, state
from shared.steps.carry_out import carry_out
from shared.steps.ingest_bill import finish_seal, ingest_bill, seal_round
from shared.steps.pay_resellers import PAID
from shared.steps.route_settlements import Order, bills, order_of, order_shares

Mended = Iterator[dict[str, Any]]


def sweep(services: Services, now: datetime) -> list[dict[str, Any]]:
    """Mend what is missing; one outcome for each thing mended, or that cannot be and why."""
    try:
        parties, entries = state.parties(services)
    except NoPartiesError:
        return []
    current = Cycle.of(shanghai_day(now))
    mended: list[dict[str, Any]] = []
    for cycle in (current.previous(), current):
        for connector in parties.connectors.values():
            mended += _whatever(_bill(services, connector, cycle, now), f"bill of {connector.account}, {cycle}")
        mended += _whatever(_shares(services, parties, entries, str(cycle)), f"shares of {cycle}")
    services.record("sweep", stamp(now), stamp(now), f"{len(mended)} mended")
    return mended


def _whatever(mending: Mended, what: str) -> Mended:
    """What the mending does; where it cannot go on it says so, and the rest of the sweep does."""
    try:
        yield from mending
    except ClearbookError as exc:
        if exc.retryable:
            raise
        yield {"stuck": what, "problem": str(exc)}


def keep_failed(services: Services, event: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Keep an invocation that Function Compute gave up, for people; what it should have done the sweep will find."""
    request = event["requestContext"]
    key = f"quarantine/failed/{request.get('requestId', 'unknown')}.json"
    services.buckets.work.put_again(key, json.dumps(event, sort_keys=True, ensure_ascii=False).encode())
    services.record("sweep", key, stamp(now), f"given up: {request.get('condition')}")
    return {"given_up": request.get("functionArn"), "condition": request.get("condition"), "kept": key}


# -- bills ------------------------------------------------------------------------------------------------------


def _bill(services: Services, connector: Connector, cycle: Cycle, now: datetime) -> Mended:
    """Rounds of earlier days: pulls that are not complete, not ingested, not sealed; seals that woke nobody."""
    work, account = services.buckets.work, connector.account
    sealed = seals(services.chain.read(bill_stream(account, str(cycle))))
    told = set(work.keys(f"seals/{account}/{cycle}/"))
    for seal in sealed:
        if seal.key not in told and finish_seal(services, seal):
            yield {"mended": "seal", "key": seal.key}
    done = {seal.slot for seal in sealed}
    rounds: dict[str, list[Pull]] = {}
    for key in work.keys(f"work/pull/{account}/{cycle}/"):
        pull = from_order_key(key)
        if pull.slot not in done and slot_day(pull.slot) < shanghai_day(now):
            rounds.setdefault(pull.slot, []).append(pull)
    ingested = set(work.keys(f"ingested/{account}/{cycle}/")) if rounds else set()
    for slot, pulls in sorted(rounds.items()):
        for pull in pulls:
            if pull.ingested_key not in ingested:
                yield _repeat_pull(services, pull, now)
        key_ = seal_round(services, connector, cycle, slot, stamp(now))
        if key_ is not None:
            yield {"mended": "round", "key": key_}


def _repeat_pull(services: Services, pull: Pull, now: datetime) -> dict[str, Any]:
    if not services.buckets.records.exists(pull.complete_key):
        return {"mended": "pull", "key": _wake(services, pull.order_key)}
    # `_complete.json` cannot be written again: what it should have woken is done here.
    event = ObjectEvent(services.buckets.records.bucket, pull.complete_key, now)
    try:
        return {"mended": "ingest", **ingest_bill(services, event)}
    except ClearbookError as exc:
        if exc.retryable:
            raise
        return {"stuck": "ingest", "key": pull.complete_key, "problem": str(exc)}


# -- settlements and decisions ----------------------------------------------------------------------------------


def _shares(services: Services, parties: Parties, entries: list[Entry], cycle: str) -> Mended:
    now = bills(services, parties, cycle)
    owners = {*parties.resellers, OPERATOR} if any(now.accounts.values()) else set()
    for key in order_shares(services, cycle, owners, once_a_day=True):
        yield {"mended": "settle order", "key": key}
    shown = {row["owner"]: row["seq"] for row in projections.listed(services, projections.SETTLEMENTS, cycle)}
    for owner in sorted(owners):
        stream = services.chain.read(months.stream_of(owner, cycle))
        month = months.months(stream).get(cycle)
        order = order_of(services, parties, entries, now, cycle, owner)
        if order is not None and not _is_settled(services, order, month):
            yield {"mended": "settlement", "key": _wake(services, order.key)}
        yield from _whatever(_decisions(services, owner, cycle, stream, month), f"decisions of {owner}, {cycle}")
        if stream and shown.get(owner) != stream[-1].seq and projections.refresh(services, owner, cycle):
            yield {"mended": "lists", "owner": owner, "cycle": cycle}


def _is_settled(services: Services, order: Order, month: months.Month | None) -> bool:
    if order.status != FINAL:
        return services.buckets.work.exists(f"drafts/{order.cycle}/{order.owner}/{order.day}.json")
    if month is None or month.calculated is None:
        return False
    if month.locked is not None or any(entry.body["order"] == order.key for entry in month.late):
        return True
    return bool(month.calculated.body["order"] == order.key)


def _decisions(services: Services, owner: str, cycle: str, entries: list[Entry], month: months.Month | None) -> Mended:
    """Approved acts whose order is missing, or whose order has no result."""
    for entry in entries:
        if entry.kind != approvals.APPROVED or entry.body["what"].get("cycle") != cycle:
            continue
        act, what = entry.body["act"], entry.body["what"]
        for key in carry_out(services, act, entry.stream, what):
            yield {"mended": f"{act} order", "key": key}
        if act == months.LOCK and month is not None and month.published is None:
            yield {"mended": "statements", "key": _wake(services, f"work/publish/{cycle}/{owner}.json")}
        paid = {one.body["batch"] for one in entries if one.kind == PAID}
        if act == PAYOUT and what["batch"] not in paid:
            yield {"mended": "payout", "key": _wake(services, f"work/pay/{cycle}/{what['batch']}.json")}


def _wake(services: Services, order_key: str) -> str:
    """Write an order again, as it is: its event wakes the step once more."""
    services.buckets.work.put_again(order_key, services.buckets.work.get(order_key))
    return order_key
