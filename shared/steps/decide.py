"""What people decide: proposed by one, approved by others, and then the order that carries it out.

The entry comes first and the order second; `sweep` writes an order whose entry has none, by the same functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import GRANTS, Proposal
from shared.errors import BadInputError
from shared.parties.parties import OPERATOR, STREAM, NoPartiesError
from shared.payout.batch import PAYOUT as PAYOUT
from shared.payout.batch import batch_key as batch_key
from shared.services import Services
from shared.steps import outbox, projections, state
from shared.steps.acts import (
    adjustments,
    agreements,
    cases,
    deliveries,
    grants,
    invoices,
    layouts,
    locks,
    notes,
    parties,
    payees,
    payout_templates,
    payouts,
    price_plans,
    references,
    reopen,
    tolerances,
)
from shared.steps.acts.act import Act, Proposed, Who
from shared.steps.acts.agreements import propose_agreement as propose_agreement
from shared.steps.acts.invoices import Invoice as Invoice
from shared.steps.acts.invoices import propose_invoice as propose_invoice
from shared.steps.acts.locks import propose_lock as propose_lock
from shared.steps.acts.parties import propose_parties as propose_parties
from shared.steps.acts.payees import propose_payee as propose_payee
from shared.steps.acts.payees import propose_payouts_on as propose_payouts_on
from shared.steps.acts.payouts import propose_payouts as propose_payouts
from shared.steps.acts.reopen import propose_reopen as propose_reopen
from shared.steps.route_settlements import sealed

ACTS: Mapping[str, Act] = {
    act.name: act
    for act in (
        parties.ACT,
        agreements.ACT,
        locks.ACT,
        payouts.ACT,
        invoices.ACT,
        grants.ACT,
        layouts.ACT,
        deliveries.ACT,
        reopen.ACT,
        payout_templates.ACT,
        *payees.ACTS,
        adjustments.ACT,
        cases.ACT,
        price_plans.ACT,
        *notes.ACTS,
        tolerances.ACT,
        *references.ACTS,
    )
}


class Approved(NamedTuple):
    """What an approval came to."""

    proposal: Proposal
    orders: list[str]  # that were written
    missing: Sequence[str] = ()  # who has to approve besides


def propose(services: Services, act: str, asked: Mapping[str, Any], *, by: str, why: str, at: str) -> Proposed:
    """Propose an act of plain data, as a request brings it."""
    if act not in ACTS:
        raise BadInputError("act", f"{act!r} is none", f"give one of {', '.join(ACTS)}")
    if ACTS[act] not in notes.ACTS:  # what one person says alone
        approvals.refuse_outsiders(services.chain, act, by=by, at=at)
    found = ACTS[act].propose(services, asked, Who(by, why, at))
    # What waits already may have been proposed by a request that was cut off before its event.
    outbox.tell(services, {one.stream for one in found.proposals}, min([at, *(one.at for one in found.proposals)]))
    return found


def approve(services: Services, name: str, *, by: str, at: str) -> Approved:
    """Approve the proposal `stream#seq`; with it, the orders that were written once it is in force."""
    stream, number = parsed(name)

    def check(entries: list[Entry], proposal: Proposal) -> None:
        ACTS[proposal.act].check(services, entries, proposal)

    def needs(entries: list[Entry], proposal: Proposal) -> approvals.Needs:
        return ACTS[proposal.act].needs(services, entries, proposal)

    found = approvals.approve(services.chain, stream, number, by=by, at=at, check=check, needs=needs)
    proposal = found.proposal
    orders = ACTS[proposal.act].carry_out(services, stream, proposal.body) if found.is_in_force else []
    outbox.tell_of_proposal(services, stream, number, at)
    return Approved(proposal, orders, found.missing)


def reject(services: Services, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Reject the proposal `stream#seq`, or withdraw one's own."""
    stream, number = parsed(name)
    if not why.strip():
        raise BadInputError("why", "is missing", "say why: the proposer is told")
    proposal = approvals.reject(services.chain, stream, number, by=by, why=why, at=at)
    if proposal.act == months.LOCK:
        projections.refresh(services, stream.removeprefix("reseller/"), proposal.body["cycle"])
    outbox.tell_of_proposal(services, stream, number, at)
    return proposal


def show(services: Services, proposal: Proposal) -> list[str]:
    """What an approver is to look at."""
    return ACTS[proposal.act].show(services, proposal)


def missing(services: Services, proposal: Proposal) -> Sequence[str]:
    """Who has to approve a proposal that waits."""
    entries = services.chain.read(proposal.stream)
    known = approvals.users(services.chain)
    roles = [known[one]["role"] for one in approvals.endorsed(entries, proposal.seq) if one in known]
    return ACTS[proposal.act].needs(services, entries, proposal).missing(roles, proposal.act)


def waiting(services: Services) -> list[Proposal]:
    """Every proposal that waits, over all streams."""
    streams = [STREAM, state.CONFIG, GRANTS]
    try:
        known, _ = state.parties(services)
        streams += [months.stream_of(reseller, "") for reseller in sorted(known.resellers)]
    except NoPartiesError:
        pass
    streams += [months.stream_of(OPERATOR, cycle) for cycle in sorted(sealed(services))]
    return [one for stream in streams for one in approvals.waiting(services.chain.read(stream))]


def parsed(name: str) -> tuple[str, int]:
    """The stream and seq of a proposal's name."""
    stream, _, number = name.rpartition("#")
    if not stream or not (number.isdecimal() and number.isascii()):
        raise BadInputError("proposal", f"{name!r} names none", "write it as STREAM#SEQ, such as reseller/aurora#3")
    return stream, int(number)
