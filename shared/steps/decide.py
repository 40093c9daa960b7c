"""What people decide: proposed by one, approved by another, and then the order that carries it out.

The entry comes first and the order second; `sweep` writes an order whose entry has none, by the same functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from shared.agreement.agreement import Agreement, parse_agreement
from shared.agreement.document import agreement_document, overlapping
from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Proposal, StaleProposalError
from shared.control.months import AGREEMENT, INVOICE, LOCK, Month
from shared.cycle import Cycle
from shared.documents import DocumentRefusedError
from shared.errors import BadInputError
from shared.ids import digest_of
from shared.money import EXACT, decimals, fixed, rounded, text
from shared.parties import parties as parties_room
from shared.parties.document import party_document
from shared.parties.parties import OPERATOR, NoPartiesError, Parties, parse_parties
from shared.payout.batch import PAYOUT as PAYOUT
from shared.payout.batch import Member, balance, batch_body, instruction_of, parse_batch
from shared.payout.batch import batch_key as batch_key
from shared.services import Services
from shared.settlement.examples import settle_example
from shared.steps import propose_reference, state
from shared.steps.carry_out import carry_out
from shared.steps.state import PARTY_DOCUMENT

# -- proposals --------------------------------------------------------------------------------------------------


def propose_parties(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose a party document in place of the one in force."""
    body = party_document(data, name)
    _refuse_removals(services, parse_parties(body), name)
    document = state.keep_document(services, body)
    stream = parties_room.STREAM
    return approvals.propose(services.chain, stream, PARTY_DOCUMENT, {"document": document}, by=by, why=why, at=at)


def propose_agreement(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose an agreement version; its worked examples have been settled when this returns."""
    body = agreement_document(data, name, settle_example)
    agreement = parse_agreement(body)
    stream = months.stream_of(agreement.reseller, "")
    parties, _ = state.parties(services)
    if agreement.reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise DocumentRefusedError(name, [("reseller", f"{agreement.reseller!r} is not known; known are {known}")])
    _refuse_overlaps(services, agreement, services.chain.read(stream), name)
    what = {"document": state.keep_document(services, body), "agreement": agreement.id, "version": agreement.version}
    return approvals.propose(services.chain, stream, AGREEMENT, what, by=by, why=why, at=at)


def propose_lock(services: Services, cycle: str, reseller: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose to lock a reseller's month as it was last calculated."""
    Cycle.parse(cycle)
    parties, _ = state.parties(services)
    if reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise BadInputError("reseller", f"{reseller!r} is not known", f"known are {known}")
    stream = months.stream_of(reseller, cycle)
    month, calculated = _month(services, reseller, cycle)
    if month.locked is not None:
        raise BadInputError(f"{reseller} {cycle}", "is locked already", "late data becomes an adjustment")
    _refuse_before_opening(services.chain.read(stream), reseller, cycle)
    return approvals.propose(services.chain, stream, LOCK, _lock_body(calculated), by=by, why=why, at=at)


def propose_payouts(
    services: Services, cycle: str, *, by: str, why: str, at: str
) -> tuple[list[Proposal], list[tuple[str, str]]]:
    """Propose a batch a currency of all that is due up to the cycle; and (reseller, why not) for the rest.

    A batch that is approved and not yet paid is the proposal that it was: approving it again orders it again.
    """
    Cycle.parse(cycle)
    parties, _ = state.parties(services)
    members: dict[str, list[Member]] = {}
    left_out: list[tuple[str, str]] = []
    for reseller in sorted(parties.resellers):
        due, problem = _due(services, parties, reseller, cycle)
        for member in due:
            members.setdefault(member.currency, []).append(member)
        left_out += [(reseller, one) for one in problem]
    proposals = []
    for currency, found in sorted(members.items()):
        body = batch_body(cycle, currency, found)
        id_, _ = parse_batch(body)
        services.buckets.records.put_once(batch_key(cycle, id_), body)
        total = sum((Decimal(one.amount) for one in found), Decimal(0))
        what = {"cycle": cycle, "batch": id_, "members": len(found), "total": text(total), "currency": currency}
        stream = months.stream_of(OPERATOR, cycle)
        earlier = approvals.approved(services.chain.read(stream), PAYOUT, what)
        proposals.append(earlier or approvals.propose(services.chain, stream, PAYOUT, what, by=by, why=why, at=at))
    return proposals, left_out


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
    versions = {one.id: one for one in _last_versions(state.all_agreements(services, entries), invoice.cycle)}
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


# -- approval ---------------------------------------------------------------------------------------------------


def approve(services: Services, name: str, *, by: str, at: str) -> tuple[Proposal, list[str]]:
    """Approve the proposal `stream#seq`; with it, the orders that were written."""
    stream, _, number = name.rpartition("#")
    if not stream or not number.isdecimal():
        raise BadInputError("proposal", f"{name!r} names none", "write it as STREAM#SEQ, such as reseller/aurora#3")

    def check(entries: list[Entry], proposal: Proposal) -> None:
        _CHECKS[proposal.act](services, entries, proposal)

    proposal = approvals.approve(services.chain, stream, int(number), by=by, at=at, check=check)
    return proposal, carry_out(services, proposal.act, stream, proposal.body)


# -- what must still hold when something is approved -------------------------------------------------------------


def _check_parties(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    later = [entry for entry in entries if entry.kind == approvals.APPROVED and entry.seq > proposal.seq]
    if later:
        raise StaleProposalError(f"{proposal.name} was made before {proposal.stream}#{later[-1].seq}; propose it anew")


def _refuse_removals(services: Services, new: Parties, name: str) -> None:
    """Resellers and payers stay: what is owed to one, or billed to the other, must not vanish with its name."""
    try:
        old, _ = state.parties(services)
    except NoPartiesError:
        return
    gone = [("resellers", one) for one in sorted(old.resellers.keys() - new.resellers.keys())]
    gone += [("payers", one) for one in sorted(old.connectors.keys() - new.connectors.keys())]
    if gone:
        remedy = "keep it here and end its assignments instead"
        raise DocumentRefusedError(name, [(place, f"{one} is no longer there; {remedy}") for place, one in gone])


def _check_agreement(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    body = services.buckets.records.get(state.document_key(proposal.body["document"]))
    _refuse_overlaps(services, parse_agreement(body), entries, proposal.name)


def _check_lock(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    cycle = proposal.body["cycle"]
    month = months.months(entries).get(cycle)
    if month is None or month.calculated is None or _lock_body(month.calculated) != proposal.body:
        raise StaleProposalError(
            f"{proposal.name}: {cycle} was calculated anew since; look at it and propose the lock again"
        )
    if month.locked is not None:
        raise StaleProposalError(f"{proposal.name}: {cycle} is locked already")
    _refuse_before_opening(entries, proposal.stream.removeprefix("reseller/"), cycle)
    before = months.unlocked_before(entries, cycle)
    if before is not None:
        raise StaleProposalError(f"{proposal.name}: {before} is not locked yet; cycles lock in order")


def _check_payout(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    parties, _ = state.parties(services)
    cycle = proposal.body["cycle"]
    _, members = parse_batch(services.buckets.records.get(batch_key(cycle, proposal.body["batch"])))
    for member in members:
        due, _ = _due(services, parties, member.reseller, cycle)
        if member not in due:
            problem = f"{member.instruction} is no longer due as it was shown"
            raise StaleProposalError(f"{proposal.name}: {problem}; propose the payout again")


def _check_invoice(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    _refuse_same_invoice(entries, proposal.body)


def _refuse_same_invoice(entries: list[Entry], what: Mapping[str, Any]) -> None:
    """A number is used once, and a month has one invoice."""
    for one in months.invoices(entries):
        of_month = all(one[name] == what[name] for name in ("cycle", "agreement"))
        if one["number"] == what["number"] or of_month:
            problem = f"{one['number']} is entered already, for {one['agreement']} in {one['cycle']}"
            raise BadInputError("invoice", problem, "an invoice is entered once, and one for each month and agreement")


_CHECKS: Mapping[str, Callable[[Services, list[Entry], Proposal], None]] = {
    PARTY_DOCUMENT: _check_parties,
    AGREEMENT: _check_agreement,
    LOCK: _check_lock,
    PAYOUT: _check_payout,
    INVOICE: _check_invoice,
    **propose_reference.CHECKS,
}


def _refuse_overlaps(services: Services, agreement: Agreement, entries: list[Entry], name: str) -> None:
    findings = overlapping(agreement, state.all_agreements(services, entries))
    if findings:
        raise DocumentRefusedError(name, findings)


def _month(services: Services, reseller: str, cycle: str) -> tuple[Month, Entry]:
    """A month that has a final settlement, and the entry of it."""
    month = months.months(services.chain.read(months.stream_of(reseller, cycle))).get(cycle)
    if month is None or month.calculated is None:
        problem = "has no final settlement"
        raise BadInputError(f"{reseller} {cycle}", problem, "wait until every payer account is sealed final")
    return month, month.calculated


def _refuse_before_opening(entries: list[Entry], reseller: str, cycle: str) -> None:
    """What was earned before the opening stands in its balances: locked as well, it would be owed twice."""
    opening = months.opening(entries)
    if opening is not None and cycle < opening["as_of"]:
        problem = f"lies before the opening, which stands at the beginning of {opening['as_of']}"
        raise BadInputError(f"{reseller} {cycle}", problem, f"import an opening as of {cycle}, or leave it unlocked")


def _lock_body(calculated: Entry) -> dict[str, Any]:
    """What a lock of the settlement that was last calculated says."""
    body = calculated.body
    return {
        "cycle": body["cycle"],
        "settlement": body["settlement"],
        "calculated": calculated.seq,
        "parties": body["parties"],
        "summary": body["summary"],
        "statements": body["statements"],
        "open_cases": body["cases"]["count"],
    }


def _due(services: Services, parties: Parties, reseller: str, cycle: str) -> tuple[list[Member], list[str]]:
    """The payments that are due to a reseller, and why there is none where one might be expected."""
    entries = services.chain.read(months.stream_of(reseller, cycle))
    known = months.months(entries)
    month = known.get(cycle)
    if month is None or month.locked is None:
        return [], ["the month is not locked"]
    invoiced = {one["agreement"] for one in months.invoices(entries) if one["cycle"] == cycle}
    due, problems = [], []
    for agreement in _last_versions(state.all_agreements(services, entries), cycle):
        owed = balance(entries, agreement.id, cycle)
        instruction = instruction_of(cycle, reseller, agreement.id)
        payee = parties.payees.get(reseller)
        if instruction in month.instructed:
            problems.append(f"{instruction} is instructed already")
        elif owed == 0:
            problems.append(f"{agreement.id}: nothing is owed")
        elif owed < 0 or owed < agreement.payout.minimum:
            problems.append(f"{agreement.id}: {text(owed)} {agreement.currency} is carried forward")
        elif agreement.payout.requires_invoice and agreement.id not in invoiced:
            problems.append(f"{agreement.id}: {text(owed)} {agreement.currency} is due, and waits for an invoice")
        elif payee is None:
            problems.append(f"{agreement.id}: {text(owed)} {agreement.currency} is due, but no payee is known")
        else:
            withheld = rounded(
                EXACT.multiply(owed, agreement.payout.withholding or 0), agreement.places, agreement.mode
            )
            due.append(
                Member(
                    instruction,
                    cycle,
                    reseller,
                    agreement.id,
                    # A balance carried from a version with more places keeps them.
                    fixed(EXACT.subtract(owed, withheld), max(agreement.places, decimals(owed))),
                    agreement.currency,
                    digest_of(asdict(payee)),
                    payee.name,
                    payee.account,
                    payee.bank,
                    fixed(withheld, agreement.places) if withheld else "0",
                )
            )
    return due, problems


def _last_versions(agreements: Sequence[Agreement], cycle: str) -> list[Agreement]:
    """Of each agreement the last version begun by the end of the cycle."""
    last = Cycle.parse(cycle).last
    found: dict[str, Agreement] = {}
    for one in sorted(agreements, key=lambda one: (one.id, one.begins, one.version)):
        if one.begins <= last:
            found[one.id] = one
    return list(found.values())
