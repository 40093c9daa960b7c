"""What people do in the demo's month: they go live, lock, pay, and the bank answers. Each act is safe to repeat.

They decide through the portal, each signed in as themselves: `ask` gives the portal as somebody speaks to it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any

from infra.clearbook.context import ROOT
from infra.clearbook.demo.month import Month
from infra.clearbook.people import APPROVER, OWNER, PREPARER, SEEDED
from infra.clearbook.remote import Portal
from shared.control import approvals, months, resolving
from shared.cycle import Cycle
from shared.documents import read_yaml
from shared.ids import digest
from shared.parties.document import party_document
from shared.parties.parties import STREAM
from shared.parties.payees import PAYOUTS_ON
from shared.payout.answers import ANSWER_COLUMNS
from shared.payout.batch import PAYOUT, parse_batch
from shared.reference.catalogue import read_catalogue
from shared.report.cells import csv_bytes
from shared.services import Services
from shared.steps import state
from shared.steps.acts import locks, payees
from shared.steps.acts.price_plans import PRICE_PLAN

# Knows every product of the demo's bills but one, so that there is a case to look at.
PRODUCTS = ROOT / "shared/reference/products.csv"
_LIVE, _CLOSED = "go-live", "month closed"
_EXCLUDE = resolving.EXCLUDE
Ask = Callable[[str], Portal]


def go_live(ask: Ask, work: Services, month: Month, since: date) -> None:
    """Name the people, put parties and what they agreed in force; bills are asked for from `since` on."""
    ask(OWNER).post("/v1/init", {"users": SEEDED})
    parties = month.parties()
    for payer in parties["payers"]:
        payer["connector"]["since"] = since.isoformat()
    decide_parties(ask, work, parties)
    for document in month.agreements:
        decide_agreement(ask, work, document)
    decide_catalogue(ask, work, PRODUCTS.read_bytes())
    for document in month.price_plans:
        decide_price_plan(ask, work, document)


def schedule(ask: Ask, cycle: str) -> dict[str, Any]:
    """Have last month's costs made on every 4th, from the month after on: the schedule, made now or before."""
    following = Cycle.parse(cycle).next().first
    asked = {
        "name": "Costs of the month", "when": {"every": "month", "day": 4}, "starts": following.isoformat(),
        "ask": {"report": "service_costs", "preset": "last_month"}, "format": "csv",
    }  # fmt: skip
    portal = ask(PREPARER)
    return portal.get(f"/v1/schedules/{portal.post('/v1/schedules', asked)['id']}")


def report(ask: Ask, cycle: str) -> dict[str, Any]:
    """Ask for the month's summary as PDF: the run, which a function makes, or made before."""
    asked = {"report": "billing_summary", "from": cycle, "to": cycle, "format": "pdf"}
    return ask(PREPARER).post("/v1/report-runs", asked)


def exclude(ask: Ask, work: Services, cycle: str, reseller: str) -> None:
    """Exclude the refunds whose charge nobody knows here: the month is settled again without them."""
    entries = work.chain.read(months.stream_of(reseller, cycle))
    earlier = [one for one in resolving.decisions(entries, cycle) if (one.action, one.state) == (_EXCLUDE, "approved")]
    if earlier:
        ask(APPROVER).approve(earlier[0].name)  # writes the order that an interrupted approval left out
        return
    chosen = [one.id for one in locks.in_the_way(work, entries, reseller, cycle) if one.kind == "unlinked_refund"]
    if chosen:
        _decide_cases(ask, _EXCLUDE, cycle, chosen, "its charge was settled before go-live")


def lock(ask: Ask, work: Services, cycle: str, reseller: str) -> None:
    """Lock a reseller's calculated month; what is open may stay open beyond the lock."""
    stream = months.stream_of(reseller, cycle)
    # Approved again, a lock changes nothing, and writes the order that an interrupted approval left out.
    earlier = approvals.approved(work.chain.read(stream), months.LOCK, {"cycle": cycle})
    if earlier is not None:
        ask(APPROVER).approve(earlier.name)
        return
    open_ = [one.id for one in locks.in_the_way(work, work.chain.read(stream), reseller, cycle) if not one.accepted]
    if open_:
        _decide_cases(ask, resolving.ACCEPT, cycle, open_, "waits for the provider; later months adjust it")
    _decide(ask, months.LOCK, {"cycle": cycle, "reseller": reseller}, _CLOSED)


def _decide_cases(ask: Ask, action: str, cycle: str, cases: list[str], because: str) -> None:
    asked = {"action": action, "cycle": cycle, "because": because, "cases": cases}
    _decide(ask, resolving.CASE, asked, because)


def pay(ask: Ask, work: Services, cycle: str) -> None:
    """Pay what is due, now that every reseller is paid."""
    switch_on(ask, work, cycle)
    _decide(ask, PAYOUT, {"cycle": cycle}, _CLOSED)


def switch_on(ask: Ask, work: Services, cycle: str) -> None:
    """Switch payouts on for every reseller, unless they are."""
    parties, _ = state.parties(work)
    for reseller in sorted(parties.resellers):
        if not payees.is_paid(work.chain.read(months.stream_of(reseller, "")), cycle):
            _decide(ask, PAYOUTS_ON, {"reseller": reseller, "on": True, "cycle": cycle}, _LIVE)


def answer(work: Services, cycle: str) -> None:
    """The bank confirms every payment of every batch."""
    for key in work.buckets.records.keys(f"batches/{cycle}/"):
        batch, members = parse_batch(work.buckets.records.get(key))
        rows = [(one.instruction, "confirmed", one.amount, one.currency, f"BANK-{batch}") for one in members]
        work.buckets.inbox.put_once(f"payouts/{batch}.csv", csv_bytes(ANSWER_COLUMNS, rows))


def month_of(work: Services, cycle: str, reseller: str) -> months.Month | None:
    """Where a reseller's month stands, or None before anything was decided about it."""
    return months.months(work.chain.read(months.stream_of(reseller, cycle))).get(cycle)


def decide_parties(ask: Ask, work: Services, document: Mapping[str, Any]) -> None:
    """Put a party document in force, unless it is."""
    text = _written(document)
    body = {"document": digest(party_document(read_yaml(text.encode(), "parties"), "parties"))}
    if body not in list(approvals.in_force(work.chain.read(STREAM), state.PARTY_DOCUMENT)):
        _decide(ask, state.PARTY_DOCUMENT, {"name": "parties", "text": text}, _LIVE)


def decide_agreement(ask: Ask, work: Services, document: Mapping[str, Any]) -> None:
    """Put an agreement version in force, unless it is."""
    entries = work.chain.read(months.stream_of(document["reseller"], ""))
    done = {(what["agreement"], what["version"]) for what in approvals.in_force(entries, months.AGREEMENT)}
    if (document["agreement"], document["version"]) not in done:
        _decide(ask, months.AGREEMENT, {"name": document["agreement"], "text": _written(document)}, _LIVE)


def decide_price_plan(ask: Ask, work: Services, document: Mapping[str, Any]) -> None:
    """Put a price plan version in force, unless it is."""
    done = [
        (what["price_plan"], what["version"]) for what in approvals.in_force(work.chain.read(state.CONFIG), PRICE_PLAN)
    ]
    if (document["price_plan"], document["version"]) not in done:
        _decide(ask, PRICE_PLAN, {"name": document["price_plan"], "text": _written(document)}, _LIVE)


def decide_catalogue(ask: Ask, work: Services, body: bytes) -> None:
    """Put a catalogue in force, unless it is."""
    if state.catalogue_digest(work.chain.read(state.CONFIG)) != digest(read_catalogue(body, PRODUCTS.name)):
        _decide(ask, state.CATALOGUE, {"name": PRODUCTS.name, "text": body.decode()}, _LIVE)


def _decide(ask: Ask, act: str, asked: Mapping[str, Any], why: str) -> None:
    """One proposes, another approves."""
    for proposal in ask(PREPARER).propose(act, asked, why)["proposals"]:
        ask(APPROVER).approve(proposal["proposal"])


def _written(document: Mapping[str, Any]) -> str:
    """The document as a file: JSON is YAML, and repeats what is in it twice instead of pointing there."""
    return json.dumps(document, default=str)
