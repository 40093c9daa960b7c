"""What people do in the demo's month: they go live, lock, pay, and the bank answers. Each act is safe to repeat."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from infra.clearbook.context import ROOT
from infra.clearbook.demo.month import Month
from infra.clearbook.people import APPROVER, PREPARER, SEEDED
from shared.control import approvals, months
from shared.documents import read_yaml
from shared.ids import digest
from shared.parties.document import party_document
from shared.parties.parties import STREAM
from shared.payout.answers import ANSWER_COLUMNS
from shared.payout.batch import parse_batch
from shared.reference.catalogue import read_catalogue
from shared.report.cells import csv_bytes
from shared.services import Services
from shared.steps import decide, state
from shared.steps.acts import payees
from shared.steps.acts.references import propose_catalogue

# Knows every product of the demo's bills but one, so that there is a case to look at.
PRODUCTS = ROOT / "shared/reference/products.csv"
_CLOSED = "month closed"


def go_live(work: Services, month: Month, since: date, at: str) -> None:
    """Name the people, put parties, agreements and the catalogue in force; bills are asked for from `since` on."""
    approvals.name_users(work.chain, SEEDED, at)
    parties = month.parties()
    for payer in parties["payers"]:
        payer["connector"]["since"] = since.isoformat()
    decide_parties(work, parties, at)
    for document in month.agreements:
        decide_agreement(work, document, at)
    decide_catalogue(work, PRODUCTS.read_bytes(), at)


def lock(work: Services, cycle: str, reseller: str, at: str) -> None:
    """Lock a reseller's calculated month."""
    entries = work.chain.read(months.stream_of(reseller, cycle))
    # Approved again, a lock changes nothing, and writes the order that an interrupted approval left out.
    proposal = approvals.approved(entries, months.LOCK, {"cycle": cycle})
    if proposal is None:
        proposal = decide.propose_lock(work, cycle, reseller, by=PREPARER, why=_CLOSED, at=at)
    decide.approve(work, proposal.name, by=APPROVER, at=at)


def pay(work: Services, cycle: str, at: str) -> None:
    """Pay what is due, now that every reseller is paid."""
    switch_on(work, cycle, at)
    proposals, _ = decide.propose_payouts(work, cycle, by=PREPARER, why=_CLOSED, at=at)
    for proposal in proposals:
        decide.approve(work, proposal.name, by=APPROVER, at=at)


def switch_on(work: Services, cycle: str, at: str) -> None:
    """Switch payouts on for every reseller, unless they are."""
    parties, _ = state.parties(work)
    for reseller in sorted(parties.resellers):
        if not payees.is_paid(work.chain.read(months.stream_of(reseller, "")), cycle):
            named = {"by": PREPARER, "why": "go-live", "at": at}
            proposal = decide.propose_payouts_on(work, reseller, cycle, on=True, **named)
            decide.approve(work, proposal.name, by=APPROVER, at=at)


def answer(work: Services, cycle: str) -> None:
    """The bank confirms every payment of every batch."""
    for key in work.buckets.records.keys(f"batches/{cycle}/"):
        batch, members = parse_batch(work.buckets.records.get(key))
        rows = [(one.instruction, "confirmed", one.amount, one.currency, f"BANK-{batch}") for one in members]
        work.buckets.inbox.put_once(f"payouts/{batch}.csv", csv_bytes(ANSWER_COLUMNS, rows))


def month_of(work: Services, cycle: str, reseller: str) -> months.Month | None:
    """Where a reseller's month stands, or None before anything was decided about it."""
    return months.months(work.chain.read(months.stream_of(reseller, cycle))).get(cycle)


def decide_parties(work: Services, document: Mapping[str, Any], at: str) -> None:
    """Put a party document in force, unless it is."""
    data = read_yaml(_written(document), "parties")
    body = {"document": digest(party_document(data, "parties"))}
    if body not in list(approvals.in_force(work.chain.read(STREAM), state.PARTY_DOCUMENT)):
        proposal = decide.propose_parties(work, data, "parties", by=PREPARER, why="go-live", at=at)
        decide.approve(work, proposal.name, by=APPROVER, at=at)


def decide_agreement(work: Services, document: Mapping[str, Any], at: str) -> None:
    """Put an agreement version in force, unless it is."""
    entries = work.chain.read(months.stream_of(document["reseller"], ""))
    done = {(what["agreement"], what["version"]) for what in approvals.in_force(entries, months.AGREEMENT)}
    if (document["agreement"], document["version"]) in done:
        return
    name = document["agreement"]
    data = read_yaml(_written(document), name)
    proposal = decide.propose_agreement(work, data, name, by=PREPARER, why="go-live", at=at)
    decide.approve(work, proposal.name, by=APPROVER, at=at)


def decide_catalogue(work: Services, body: bytes, at: str) -> None:
    """Put a catalogue in force, unless it is."""
    if state.catalogue_digest(work.chain.read(state.CONFIG)) != digest(read_catalogue(body, PRODUCTS.name)):
        proposal = propose_catalogue(work, body, PRODUCTS.name, by=PREPARER, why="go-live", at=at)
        decide.approve(work, proposal.name, by=APPROVER, at=at)


def _written(document: Mapping[str, Any]) -> bytes:
    """The document as a file: JSON is YAML, and repeats what is in it twice instead of pointing there."""
    return json.dumps(document, default=str).encode()
