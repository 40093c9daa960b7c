"""Pay an approved batch: each reseller's stream takes `instructed` once, and the files hold only those it took."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from shared.chain.entry import Draft, Entry, Head
from shared.control import approvals, months
from shared.cycle import parse_instant, shanghai_day, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json, digest
from shared.parties.parties import OPERATOR, STREAM
from shared.parties.payees import BANK
from shared.payout.batch import (
    PAYOUT,
    WRITTEN,
    Member,
    Terms,
    balance,
    batch_key,
    end_to_end_key,
    file_csv,
    is_taken_back,
    parse_batch,
    parse_terms,
)
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import anchoring, outbox, projections, state

_ACTOR = "pay_resellers"
PAID = WRITTEN
_ORDER_KEY = re.compile(r"work/pay/(20\d\d-\d\d)/([A-Za-z0-9-]+)\.json", re.ASCII)


def pay_resellers(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Write the payout files of the batch whose approval wrote this order."""
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
    kept = services.buckets.records.get(batch_key(cycle, batch))
    _, members = parse_batch(kept)
    is_right = _payees(services, approved.at)
    taken = {member: _instruct(services, member, batch, approved.at, is_right) for member in members}
    mine = [(member, entry) for member, entry in taken.items() if entry is not None]
    files: dict[str, bytes] = {}
    notes: list[str] = []
    if mine:
        from shared.journal.ledger import of_instruction  # here: the sweep looks at batches and posts nothing
        from shared.journal.postings import to_csv

        files, notes = _files(services, cycle, batch, [one for one, _ in mine], parse_terms(kept), approved)
        books = [posting for _, entry in mine for posting in of_instruction(entry)]
        files[f"journal/{cycle}/payout-{batch}.csv"] = to_csv(books)
    for member, _ in mine:
        if member.end_to_end != member.instruction:  # the bank's answers name it so
            key, named = end_to_end_key(member.end_to_end), canonical_json({"instruction": member.instruction})
            services.buckets.records.put_once(key, named)
    for key, body in files.items():
        services.buckets.records.put_once(key, body)
    anchoring.anchor(services, anchoring.PAYOUT, batch, approved.at, _heads(approved, taken.values()))

    def decide(entries: list[Entry]) -> Draft | None:
        if any(entry.kind == PAID and entry.body["batch"] == batch for entry in entries):
            return None
        listed = [{"key": key, "digest": digest(body)} for key, body in files.items()]
        body = {"cycle": cycle, "batch": batch, "members": len(mine), "files": listed, "chain_head": approved.hash}
        return Draft(PAID, _ACTOR, approved.at, {**body, "notes": notes} if notes else body)

    services.chain.append(stream, decide, known)
    resellers = sorted({member.reseller for member in members})
    projections.refresh_all(services, resellers, cycle)
    outbox.tell(services, {stream, *(months.stream_of(one, cycle) for one in resellers)}, approved.at)
    outcome = {"batch": batch, "members": len(mine), "of": len(members), "files": list(files), "notes": notes}
    services.record(_ACTOR, event.key, stamp(event.at), json.dumps(outcome))
    return outcome


def _files(
    services: Services, cycle: str, batch: str, members: list[Member], terms: Terms, approved: Entry
) -> tuple[dict[str, bytes], list[str]]:
    """The payout files by key: the list of all, those in the forms of banks and wallets, and pain.001 with all that is
    paid to bank accounts; and why there is none of these. The approval's hash is in each, and in every transfer."""
    from shared.payout import pain001, template  # here: the sweep only looks at batches

    at = parse_instant(approved.at)
    day = shanghai_day(at)
    files = {f"payouts/{cycle}/{batch}.csv": file_csv(members, approved.hash)}
    for document in terms.templates:
        form = template.parse_template(services.buckets.records.get(state.document_key(document)))
        if any(form.takes(one) for one in members):
            filling = template.Filling(batch, day, approved.hash)
            files[f"payouts/{cycle}/{batch}-{form.id}.csv"] = template.fill(form, members, filling)
    to_banks = [one for one in members if one.kind == BANK]
    if not to_banks:
        return files, []
    problems = pain001.obstacles(to_banks, terms.debtor, to_banks[0].currency)
    if terms.debtor is not None and not problems:
        heading = pain001.Heading(batch, stamp(at), day, approved.hash, terms.debtor)
        files[f"payouts/{cycle}/{batch}.xml"] = pain001.payment_file(heading, to_banks)
    return files, [f"no pain.001: {one}" for one in problems]


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


def _payees(services: Services, at: str) -> Callable[[list[Entry], Member], bool]:
    """Whether a payment goes to whom it would go by all that is approved now: an order may come late."""
    from shared.steps.acts.payees import payee_for, payee_history  # here: the sweep only looks at batches

    history = payee_history(services, services.chain.read(STREAM))
    day = shanghai_day(parse_instant(at))

    def is_right(entries: list[Entry], member: Member) -> bool:
        payee = payee_for(services, history, entries, member.reseller, member.currency, day)
        return not isinstance(payee, str) and payee.digest == member.payee

    return is_right


def _instruct(
    services: Services, member: Member, batch: str, at: str, is_right: Callable[[list[Entry], Member], bool]
) -> Entry | None:
    """The entry that names this batch for the instruction, if one does; the first to come is the only one. What a batch
    could not pay when it was carried out, it never pays: its files are written by then."""
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
        noted = [entry.body for entry in entries if entry.kind == months.NOT_INSTRUCTED]
        is_noted = any((one["instruction"], one["batch"]) == (member.instruction, batch) for one in noted)
        if standing[0] is not None or is_noted:
            return None
        is_due = balance(entries, member.agreement, member.cycle) == member.paid
        is_due = is_due and not is_taken_back(entries, member.agreement, member.paid)
        kind = months.INSTRUCTED if is_due and is_right(entries, member) else months.NOT_INSTRUCTED
        return Draft(kind, _ACTOR, at, body)

    appended = services.chain.append(stream, decide)
    if appended is not None:
        return appended if appended.kind == months.INSTRUCTED else None
    return standing[0] if standing[0] is not None and standing[0].body["batch"] == batch else None
