"""What is missing of a cycle's shares: settlements and drafts, statements of locked months, files of approved batches.

Which order is due is asked of the chain, and which seals of earlier cycles are the newest of their objects; an order
that these no longer call for is superseded, and nothing of it is missed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from shared.bill.snapshot import FINAL
from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import APPROVED
from shared.control.months import LOCK, Month
from shared.cycle import parse_instant
from shared.ids import canonical_json
from shared.parties.parties import OPERATOR, Parties
from shared.payout.batch import PAYOUT
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import state
from shared.steps.carry_out import pay_order, publish_order
from shared.steps.losses.books import Books, unanswered, unpaid
from shared.steps.losses.loss import Listing, Loss, Losses
from shared.steps.pay_resellers import PAID, pay_resellers
from shared.steps.route_settlements import DRAFT, Bills, Order, bills, order_of, parse_order

DRAFTS_KEPT = 2


@dataclass(frozen=True, slots=True)
class _There:
    """What a cycle has, listed for all its shares together."""

    drafts: Listing
    settlements: Listing
    statements: Listing
    journal: Listing
    payouts: Callable[[str], bool]  # few, and each asked for by itself

    def has(self, key: str) -> bool:
        """Whether a file of those that decisions lead to is there."""
        if key.startswith("payouts/"):
            return self.payouts(key)
        return (self.journal if key.startswith("journal/") else self.statements).has(key)


def losses(services: Services, books: Books, cycle: str, now: datetime) -> Losses:
    """What is missing of the shares of a cycle, share by share."""
    parties, party_entries = state.parties(services)
    standing = bills(services, parties, cycle, books.sealed)
    work, records = services.buckets.work, services.buckets.records
    there = _There(
        books.drafts if cycle in books.recent else Listing(work, f"drafts/{cycle}/"),
        Listing(work, f"settlements/{cycle}/"),
        Listing(records, f"statements/{cycle}/"),
        Listing(records, f"journal/{cycle}/"),
        records.exists,
    )
    for owner in sorted({*parties.resellers, OPERATOR}):
        entries = services.chain.read(months.stream_of(owner, cycle))
        if any(standing.accounts.values()):
            order = order_of(services, parties, party_entries, standing, cycle, owner)
            if order is not None:
                yield from _of_order(services, parties, party_entries, standing, order, there, now)
        yield from _of_drafts(services, cycle, owner, there)
        month = months.months(entries).get(cycle)
        if month is not None:
            yield from _of_month(services, owner, month, entries, there, now)
    yield from _of_batches(services, cycle, there, now)


# -- settlements ------------------------------------------------------------------------------------------------


def _of_order(
    services: Services,
    parties: Parties,
    party_entries: list[Entry],
    standing: Bills,
    order: Order,
    there: _There,
    now: datetime,
) -> Losses:
    if order.status != FINAL:
        order = _draft_of_the_day(services, order)

    def is_done() -> bool:
        return (
            _is_settled(services, order, there.settlements) if order.status == FINAL else _is_drafted(services, order)
        )

    if is_done():
        return
    entries = services.chain.read(months.stream_of(order.owner, order.cycle))
    work, key = services.buckets.work, order.key

    def run() -> None:
        from shared.steps.settle import settle  # with all that computes: only where something is to be computed

        if work.find(key) != order.body:
            work.put_again(key, order.body)
        settle(services, ObjectEvent(work.bucket, key, now))

    is_ordered = work.exists(key)
    yield Loss(
        "settlement" if order.status == FINAL else "draft",
        key,
        order.cycle,
        order.owner,
        _called_for(services, standing, order, [*party_entries, *entries]),
        "the order has no settlement" if is_ordered else "the inputs stand and the order is missing",
        is_done,
        run,
        lambda: work.put_again(key, order.body),
        tuple(standing.seals[payer].key for payer in order.seals),
    )


def _is_settled(services: Services, order: Order, kept: Listing) -> bool:
    """Whether the chain knows what the order comes to, and its results are there."""
    entries = services.chain.read(months.stream_of(order.owner, order.cycle))
    month = months.months(entries).get(order.cycle)
    if month is None or month.calculated is None:
        return False
    newest = [month.calculated, *month.late][-1]
    if newest.body["order"] == order.key:
        folder = state.folder_of(order.cycle, order.owner, newest.body["settlement"])
        return kept.has(folder + "manifest.json")
    if month.locked is None:
        return False
    if any(entry.body["order"] == order.key for entry in month.late):
        return True
    # A look at a locked month that finds nothing new leaves no entry: then it comes to what was found before.
    from shared.steps.settle import settlement_of

    last = month.late[-1].body["settlement"] if month.late else month.settlement
    return settlement_of(services, order) == last


def _called_for(services: Services, standing: Bills, order: Order, decided: list[Entry]) -> datetime:
    """When the newest of the order's inputs came to be."""
    seals = {(seal.account, seal.seq) for payer in order.seals if (seal := standing.seals.get(payer))}
    sealed = [
        entry.at
        for payer, seq in seals
        for entry in services.chain.read(f"bill/{payer}/{order.cycle}")
        if entry.seq == seq
    ]
    return parse_instant(max([*sealed, *(entry.at for entry in decided if entry.kind == APPROVED)]))


# -- drafts -----------------------------------------------------------------------------------------------------


def _draft_of_the_day(services: Services, order: Order) -> Order:
    """The order of the day's draft: at most one a day is called for while parties and agreements are the same."""
    work = services.buckets.work
    for key in work.keys(f"work/settle/{order.cycle}/{order.owner}/{DRAFT}-{order.day}-"):
        body = work.find(key)
        earlier = parse_order(body, key) if body is not None else order
        if (earlier.parties, earlier.agreements) == (order.parties, order.agreements):
            return earlier
    return order


def _is_drafted(services: Services, order: Order) -> bool:
    body = services.buckets.work.find(f"drafts/{order.cycle}/{order.owner}/{order.day}.json")
    return body is not None and json.loads(body).get("order", order.key) == order.key


def _of_drafts(services: Services, cycle: str, owner: str, there: _There) -> Losses:
    """Drafts beyond those that are kept: whoever should have removed them was interrupted."""
    work, prefix = services.buckets.work, f"drafts/{cycle}/{owner}/"

    def is_done() -> bool:
        return sum(1 for _ in work.keys(prefix)) <= DRAFTS_KEPT

    def run() -> None:
        from shared.steps.settle import remove_old_drafts

        remove_old_drafts(services, cycle, owner)

    if sum(key.startswith(prefix) for key in there.drafts.keys) > DRAFTS_KEPT:
        yield Loss("drafts", prefix, cycle, owner, None, "more drafts than are kept", is_done, run)


# -- decisions --------------------------------------------------------------------------------------------------


def _of_month(
    services: Services, owner: str, month: Month, entries: list[Entry], there: _There, now: datetime
) -> Losses:
    """A lock without its statements, and instructions that the bank is silent about."""
    for entry in entries:
        if entry.kind == APPROVED and entry.body["act"] == LOCK and entry.body["what"]["cycle"] == month.cycle:
            yield from _of_lock(services, owner, entry, there, now)
    for instruction, entry in unanswered(month).items():

        def is_answered(instruction: str = instruction) -> bool:
            known = months.months(services.chain.read(months.stream_of(owner, month.cycle)))
            return instruction not in unanswered(known[month.cycle])

        cause = "the payment was instructed and the bank says nothing"
        yield Loss("answer", instruction, month.cycle, owner, parse_instant(entry.at), cause, is_answered)


def _of_lock(services: Services, owner: str, lock: Entry, there: _There, now: datetime) -> Losses:
    cycle = lock.body["what"]["cycle"]
    key = publish_order(cycle, owner)

    def is_done() -> bool:
        month = months.months(services.chain.read(months.stream_of(owner, cycle)))[cycle]
        if month.published is None:
            return False
        keys = [one["key"] for one in month.published.body["files"]]
        return all(there.has(key) for key in keys)

    def run(event: ObjectEvent) -> None:
        from shared.steps.publish_statements import publish_statements

        publish_statements(services, event)

    if not is_done():
        yield _of_decision(services, "publish", key, owner, lock, now, is_done, run)


def _of_batches(services: Services, cycle: str, there: _There, now: datetime) -> Losses:
    """Approved batches without their file."""
    stream = months.stream_of(OPERATOR, cycle)

    def is_done(batch: str) -> bool:
        paid = [one for one in services.chain.read(stream) if one.kind == PAID and one.body["batch"] == batch]
        return bool(paid) and all(there.has(file["key"]) for file in paid[-1].body["files"])

    entries = services.chain.read(stream)
    missing = {one.seq for one in unpaid(entries, cycle)}
    for entry in entries:
        if entry.kind != APPROVED or entry.body["act"] != PAYOUT:
            continue
        batch = entry.body["what"]["batch"]
        if entry.seq in missing or not is_done(batch):
            yield _of_decision(
                services,
                "payout",
                pay_order(cycle, batch),
                OPERATOR,
                entry,
                now,
                lambda batch=batch: is_done(batch),  # type: ignore[misc]
                lambda event: pay_resellers(services, event),
            )


def _of_decision(
    services: Services,
    kind: str,
    key: str,
    owner: str,
    approved: Entry,
    now: datetime,
    is_done: Callable[[], bool],
    run: Callable[[ObjectEvent], object],
) -> Loss:
    work = services.buckets.work
    what: Mapping[str, Any] = approved.body["what"]
    is_ordered = work.exists(key)
    return Loss(
        kind,
        key,
        what["cycle"],
        owner,
        parse_instant(approved.at),
        "the order has no result" if is_ordered else "it is approved and the order is missing",
        is_done,
        lambda: run(ObjectEvent(work.bucket, key, now)),
        lambda: work.put_again(key, canonical_json(dict(what))),
    )
