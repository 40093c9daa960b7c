"""Invoices that resellers send: where an agreement asks for one, nothing is paid before it is entered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Proposal
from shared.control.months import INVOICE
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.money import NotAnAmountError, amount, text
from shared.payout.batch import balance
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows
from shared.steps.acts.terms import last_versions


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a reseller bills for its commission, under an agreement that asks for it."""

    reseller: str
    agreement: str
    cycle: str  # in which it may be paid
    number: str
    date: date
    amount: Decimal


def propose_invoice(services: Services, invoice: Invoice, *, by: str, why: str, at: str) -> Proposal:
    """Propose to enter a reseller's invoice: where its agreement asks for one, nothing is paid before."""
    Cycle.parse(invoice.cycle)
    stream = months.stream_of(invoice.reseller, invoice.cycle)
    entries = services.chain.read(stream)
    versions = {one.id: one for one in last_versions(state.all_agreements(services, entries), invoice.cycle)}
    if invoice.agreement not in versions:
        known = ", ".join(sorted(versions)) or "none"
        raise BadInputError("agreement", f"{invoice.agreement!r} is none of {invoice.reseller}", f"there are: {known}")
    if not re.fullmatch(r"[!-~][ -~]{0,63}", invoice.number):
        raise BadInputError("number", f"is {invoice.number!r}", "give 1 to 64 printed characters, as on the invoice")
    if invoice.amount <= 0:
        raise BadInputError("amount", f"is {invoice.amount}", "give what the invoice asks for, above 0")
    what = {
        "cycle": invoice.cycle,
        "agreement": invoice.agreement,
        "number": invoice.number,
        "date": invoice.date.isoformat(),
        "amount": text(invoice.amount),
        "currency": versions[invoice.agreement].currency,
    }
    _refuse_same_invoice(entries, what)
    return approvals.propose(services.chain, stream, INVOICE, what, by=by, why=why, at=at)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    names = ("reseller", "agreement", "cycle", "number", "date", "amount")
    given = fields(asked, dict.fromkeys(names, str))
    try:
        day = date.fromisoformat(given["date"])
    except ValueError as exc:
        raise BadInputError("date", f"is {given['date']!r}", "write it as 2026-07-31") from exc
    try:
        value = amount(given["amount"])
    except NotAnAmountError as exc:
        raise BadInputError("amount", f"is {given['amount']!r}", "write it with digits and a point: 1234.50") from exc
    of, number = (given["reseller"], given["agreement"], given["cycle"]), given["number"]
    return Proposed([propose_invoice(services, Invoice(*of, number, day, value), **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    _refuse_same_invoice(entries, proposal.body)


def _refuse_same_invoice(entries: list[Entry], what: Mapping[str, Any]) -> None:
    """A number is used once, and a month has one invoice."""
    for one in months.invoices(entries):
        of_month = all(one[name] == what[name] for name in ("cycle", "agreement"))
        if one["number"] == what["number"] or of_month:
            problem = f"{one['number']} is entered already, for {one['agreement']} in {one['cycle']}"
            raise BadInputError("invoice", problem, "an invoice is entered once, and one for each month and agreement")


def _show(services: Services, proposal: Proposal) -> list[str]:
    body, entries = proposal.body, services.chain.read(proposal.stream)
    owed = text(balance(entries, body["agreement"], body["cycle"]))
    asked = f"invoice {body['number']} of {body['date']} over {body['amount']} {body['currency']}"
    return [f"{asked}; {owed} is owed under {body['agreement']} in {body['cycle']}"]


ACT = Act(INVOICE, _propose, _check, nothing_follows, _show)
