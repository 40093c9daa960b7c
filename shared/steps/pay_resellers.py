"""Pay an approved batch: each reseller's stream takes `instructed` once, and the file holds only those it took."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from shared.chain.entry import Draft, Entry, Head
from shared.control import approvals, months
from shared.cycle import parse_instant, shanghai_day, stamp
from shared.errors import BadInputError
from shared.ids import digest
from shared.parties.parties import OPERATOR
from shared.payout.batch import PAYOUT, Member, balance, batch_key, file_csv, parse_batch
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import anchoring, projections

_ACTOR = "pay_resellers"
PAID = "payout_file_written"
_ORDER_KEY = re.compile(r"work/pay/(20\d\d-\d\d)/([A-Za-z0-9-]+)\.json", re.ASCII)


def pay_resellers(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Write the payout file of the batch whose approval wrote this order."""
    match = _ORDER_KEY.fullmatch(event.key)
    if match is None:
        raise BadInputError(f"object {event.key}", "is no pay order", "expected work/pay/<cycle>/<batch>.json")
    cycle, batch = match.groups()
    stream = months.stream_of(OPERATOR, cycle)
    known = services.chain.read(stream)
    approved = _approval(known, batch)
    if approved is None:
        raise BadInputError(
            f"order {event.key}", f"batch {batch} is not approved", "an approved batch writes this order"
        )
    _, members = parse_batch(services.buckets.records.get(batch_key(cycle, batch)))
    taken = {member: _instruct(services, member, batch, approved.at) for member in members}
    mine = [member for member, entry in taken.items() if entry is not None]
    files = {}
    if mine:
        from shared.journal import postings  # here: the sweep looks at batches and posts nothing

        day = shanghai_day(parse_instant(approved.at))
        books = [
            posting
            for one in mine
            for posting in postings.of_payout(
                one.instruction, one.reseller, Decimal(one.amount), Decimal(one.withheld), one.currency, day
            )
        ]
        files = {
            f"payouts/{cycle}/{batch}.csv": file_csv(mine),
            f"journal/{cycle}/payout-{batch}.csv": postings.to_csv(books),
        }
    for key, body in files.items():
        services.buckets.records.put_once(key, body)
    anchoring.anchor(services, anchoring.PAYOUT, batch, approved.at, _heads(approved, taken.values()))

    def decide(entries: list[Entry]) -> Draft | None:
        if any(entry.kind == PAID and entry.body["batch"] == batch for entry in entries):
            return None
        listed = [{"key": key, "digest": digest(body)} for key, body in files.items()]
        body = {"cycle": cycle, "batch": batch, "members": len(mine), "files": listed, "chain_head": approved.hash}
        return Draft(PAID, _ACTOR, approved.at, body)

    services.chain.append(stream, decide, known)
    projections.refresh_all(services, sorted({member.reseller for member in members}), cycle)
    outcome = {"batch": batch, "members": len(mine), "of": len(members), "files": list(files)}
    services.record(_ACTOR, event.key, stamp(event.at), json.dumps(outcome))
    return outcome


def _approval(entries: list[Entry], batch: str) -> Entry | None:
    for entry in entries:
        if entry.kind == approvals.APPROVED and entry.body["act"] == PAYOUT and entry.body["what"]["batch"] == batch:
            return entry
    return None


def _heads(approved: Entry, instructed: Iterable[Entry | None]) -> dict[str, Head]:
    """What the file rests on: the approval of the batch, and in each reseller's stream the last entry that took it."""
    heads = {approved.stream: approved.head}
    for entry in instructed:
        if entry is not None and entry.seq > heads.get(entry.stream, Head()).seq:
            heads[entry.stream] = entry.head
    return heads


def _instruct(services: Services, member: Member, batch: str, at: str) -> Entry | None:
    """The entry that names this batch for the instruction, if one does; the first to come is the only one."""
    stream = months.stream_of(member.reseller, member.cycle)
    body = {
        "cycle": member.cycle,
        "instruction": member.instruction,
        "agreement": member.agreement,
        "batch": batch,
        "amount": member.amount,
        **({"withheld": member.withheld} if member.withheld != "0" else {}),
        "currency": member.currency,
        "payee": member.payee,
    }

    def find(entries: list[Entry]) -> Entry | None:
        month = months.months(entries).get(member.cycle)
        return month.instructed.get(member.instruction) if month else None

    standing: list[Entry | None] = []

    def decide(entries: list[Entry]) -> Draft | None:
        standing[:] = [find(entries)]
        # Another batch may have paid some of it since this one was approved: then nothing is instructed here.
        if standing[0] is not None:
            return None
        if balance(entries, member.agreement, member.cycle) == member.paid:
            return Draft(months.INSTRUCTED, _ACTOR, at, body)
        noted = [entry.body for entry in entries if entry.kind == months.NOT_INSTRUCTED]
        is_noted = any((one["instruction"], one["batch"]) == (member.instruction, batch) for one in noted)
        return None if is_noted else Draft(months.NOT_INSTRUCTED, _ACTOR, at, body)

    appended = services.chain.append(stream, decide)
    if appended is not None:
        return appended if appended.kind == months.INSTRUCTED else None
    return standing[0] if standing[0] is not None and standing[0].body["batch"] == batch else None
