"""Payouts: a batch a currency of all that is due."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Needs, Proposal, StaleProposalError
from shared.control.months import Month
from shared.cycle import Cycle, parse_instant, shanghai_day
from shared.money import EXACT, decimals, fixed, rounded, text
from shared.parties.parties import OPERATOR, Parties, Payee
from shared.parties.payees import BANK, Change
from shared.payout.batch import (
    PAYOUT,
    WRITTEN,
    Member,
    Terms,
    attempts,
    balance,
    batch_body,
    batch_key,
    instruction_of,
    is_taken_back,
    parse_batch,
    parse_terms,
)
from shared.payout.pain001 import obstacles
from shared.services import Services
from shared.steps import casework, state
from shared.steps.acts.act import Act, Proposed, Who, fields
from shared.steps.acts.payees import is_paid, payee_for, payee_history
from shared.steps.acts.payout_templates import template_of, templates_in_force
from shared.steps.acts.terms import last_versions, needs_of, strictest
from shared.steps.carry_out import order_payout


def propose_payouts(
    services: Services, cycle: str, *, by: str, why: str, at: str
) -> tuple[list[Proposal], list[tuple[str, str]]]:
    """Propose a batch a currency of all that is due up to the cycle; and (reseller, why not) for the rest.

    A batch that is approved and not yet paid is the proposal that it was: approving it again orders it again.
    """
    Cycle.parse(cycle)
    parties, who_is_who = state.parties(services)
    payees = _Payees(services, payee_history(services, who_is_who), shanghai_day(parse_instant(at)))
    members: dict[str, list[Member]] = {}
    left_out: list[tuple[str, str]] = []
    for reseller in sorted(parties.resellers):
        due, problem = _due(services, payees, reseller, cycle)
        for member in due:
            members.setdefault(member.currency, []).append(member)
        left_out += [(reseller, one) for one in problem]
    proposals = []
    for currency, found in sorted(members.items()):
        stream = months.stream_of(OPERATOR, cycle)
        entries = services.chain.read(stream)
        id_, body = _batch(entries, cycle, currency, found, _terms(services, parties, currency, found))
        services.buckets.records.put_once(batch_key(cycle, id_), body)
        total = sum((Decimal(one.amount) for one in found), Decimal(0))
        what = {"cycle": cycle, "batch": id_, "members": len(found), "total": text(total), "currency": currency}
        earlier = approvals.approved(entries, PAYOUT, what)
        proposals.append(earlier or approvals.propose(services.chain, stream, PAYOUT, what, by=by, why=why, at=at))
    return proposals, left_out


def _batch(entries: list[Entry], cycle: str, currency: str, found: list[Member], terms: Terms) -> tuple[str, bytes]:
    """The batch of these payments, and its id: another one than those that were carried out, and could not pay them."""
    done = {entry.body["batch"] for entry in entries if entry.kind == WRITTEN}
    bodies = (batch_body(cycle, currency, found, terms, attempt) for attempt in itertools.count(1))
    named = ((parse_batch(body)[0], body) for body in bodies)
    return next((id_, body) for id_, body in named if id_ not in done)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"cycle": str})
    proposals, left_out = propose_payouts(services, given["cycle"], **who.named())
    return Proposed(proposals, [f"{reseller}: not paid: {problem}" for reseller, problem in left_out])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    parties, who_is_who = state.parties(services)
    # Time alone makes nothing undue: whom to pay was right on the day of the proposal, or has changed since.
    payees = _Payees(services, payee_history(services, who_is_who), shanghai_day(parse_instant(proposal.at)))
    cycle = proposal.body["cycle"]
    kept = services.buckets.records.get(batch_key(cycle, proposal.body["batch"]))
    _, members = parse_batch(kept)
    for member in members:
        due, problems = _due(services, payees, member.reseller, cycle)
        if member not in due:
            problem = f"{member.instruction} is no longer due as it was shown"
            said = "".join(f" ({one})" for one in problems)
            raise StaleProposalError(f"{proposal.name}: {problem}{said}; propose the payout again")
    if parse_terms(kept) != _terms(services, parties, proposal.body["currency"], members):
        problem = "the operator's account or the forms of files are others now"
        raise StaleProposalError(f"{proposal.name}: {problem}; propose the payout again")


def _terms(services: Services, parties: Parties, currency: str, members: list[Member]) -> Terms:
    """How a batch is paid as things stand."""
    account = parties.accounts.get(currency)
    debtor = {name: value for name, value in account.items() if name != "currency"} if account else None
    used = templates_in_force(services)
    taking = [digest for digest, template in used.items() if any(template.takes(one) for one in members)]
    return Terms(debtor, tuple(taking))


@dataclass(frozen=True, slots=True)
class _Payees:
    """Whom resellers are paid to on a day."""

    services: Services
    history: Mapping[str, tuple[Payee, Change]]
    day: date

    def of(self, entries: list[Entry], reseller: str, currency: str) -> Payee | str:
        return payee_for(self.services, self.history, entries, reseller, currency, self.day)


def _due(services: Services, payees: _Payees, reseller: str, cycle: str) -> tuple[list[Member], list[str]]:
    """The payments that are due to a reseller, and why there is none where one might be expected."""
    entries = services.chain.read(months.stream_of(reseller, cycle))
    known = months.months(entries)
    month = known.get(cycle)
    if month is None or month.locked is None:
        return [], ["the month is not locked"]
    if not is_paid(entries, cycle):
        return [], ["payouts are not switched on; it gets statements only"]
    invoiced = {one["agreement"] for one in months.invoices(entries) if one["cycle"] == cycle}
    due, problems = [], []
    for agreement in last_versions(state.all_agreements(services, entries), cycle):
        owed = balance(entries, agreement.id, cycle)
        instruction = instruction_of(cycle, reseller, agreement.id, attempts(entries, cycle, agreement.id))
        payee = payees.of(entries, reseller, agreement.currency)
        if instruction in month.instructed:
            problems.append(f"{instruction} is instructed already")
        elif owed == 0:
            problems.append(f"{agreement.id}: nothing is owed")
        elif owed < 0 or owed < agreement.payout.minimum:
            problems.append(f"{agreement.id}: {text(owed)} {agreement.currency} is carried forward")
        elif doubted := _doubted(services, known, entries, reseller, agreement.id):
            problems.append(f"{agreement.id}: the bank's answers on {doubted} contradict each other; see its case")
        elif is_taken_back(entries, agreement.id, owed):
            problems.append(
                f"{agreement.id}: later months have taken back of {text(owed)}; pay the last that is locked"
            )
        elif agreement.payout.requires_invoice and agreement.id not in invoiced:
            problems.append(f"{agreement.id}: {text(owed)} {agreement.currency} is due, and waits for an invoice")
        elif isinstance(payee, str):
            problems.append(f"{agreement.id}: {text(owed)} {agreement.currency} is due, but {payee}")
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
                    payee.digest,
                    payee.name,
                    payee.account,
                    payee.bank,
                    fixed(withheld, agreement.places) if withheld else "0",
                    payee.bic,
                    payee.kind,
                )
            )
    return due, problems


def _doubted(
    services: Services, known: Mapping[str, Month], entries: list[Entry], reseller: str, agreement: str
) -> str:
    """A payment under the agreement that was reopened, and that the bank said otherwise of later, while nobody has
    dismissed its case; "" where there is none."""
    for cycle, month in known.items():
        after = {one for one, entry in month.contradicted.items() if "after_reopening" in entry.body}
        mine = {one for one in after if month.instructed[one].body["agreement"] == agreement}
        open_ = casework.open_cases(services, reseller, cycle, entries) if mine else []
        doubted = sorted(one.key for one in open_ if one.kind == "payout_contradicted" and one.key in mine)
        if doubted:
            return doubted[0]
    return ""


def _show(services: Services, proposal: Proposal) -> list[str]:
    body = proposal.body
    kept = services.buckets.records.get(batch_key(body["cycle"], body["batch"]))
    (_, members), terms = parse_batch(kept), parse_terms(kept)
    withheld = {one.instruction: f", {one.withheld} withheld" for one in members if one.withheld != "0"}
    payments = [
        f"{one.instruction}: {one.amount} {one.currency} to {one.payee_name}, {one.account} at {one.bank}"
        f"{withheld.get(one.instruction, '')}"
        for one in members
    ]
    return [
        *payments,
        f"together {body['total']} {body['currency']}",
        *_forms(services, members, terms, body["currency"]),
    ]


def _forms(services: Services, members: list[Member], terms: Terms, currency: str) -> list[str]:
    """The files that will be written, and why there is no pain.001 where there is none."""
    forms = [f"as {template_of(services, one).id}" for one in terms.templates]
    if any(one.kind == BANK for one in members):
        problems = obstacles(members, terms.debtor, currency)
        paid_from = (terms.debtor or {}).get("iban") or (terms.debtor or {}).get("account")
        forms += [f"no pain.001: {one}" for one in problems] or [f"as pain.001, from {paid_from}"]
    return forms


def _needs(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    """The strictest of what the members' agreements ask for payments of their amounts."""
    body = proposal.body
    _, members = parse_batch(services.buckets.records.get(batch_key(body["cycle"], body["batch"])))
    streams = {one.reseller: services.chain.read(months.stream_of(one.reseller, body["cycle"])) for one in members}
    return strictest(
        needs_of(services, streams[one.reseller], one.agreement, PAYOUT, Decimal(one.amount)) for one in members
    )


ACT = Act(PAYOUT, _propose, _check, order_payout, _show, _needs)
