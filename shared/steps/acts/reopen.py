"""A payment that came back, or was never made, is owed again: by people's decision alone, never by a bank's file."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Needs, Proposal, StaleProposalError
from shared.control.months import REOPEN
from shared.errors import BadInputError
from shared.money import decimals, text
from shared.payout.batch import balance
from shared.payout.outcomes import missing, status_of_payouts
from shared.services import Services
from shared.steps import projections
from shared.steps.acts.act import Act, Proposed, Who, fields
from shared.steps.acts.terms import needs_of


def propose_reopen(services: Services, instruction: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose that what a payment did not bring is owed again; `why` says what the bank answered when asked."""
    parts = instruction.split(".")
    if len(parts) not in (3, 4):
        raise BadInputError("instruction", f"{instruction[:80]!r} is none", "write it as in the payout file")
    if not why.strip():
        raise BadInputError("why", "is missing", "say what is known of the payment: it may be paid again after this")
    stream = months.stream_of(parts[1], "")
    what = _body(services.chain.read(stream), parts[0], instruction, why)
    return approvals.propose(services.chain, stream, REOPEN, what, by=by, why=why, at=at)


def _body(entries: list[Entry], cycle: str, instruction: str, because: str) -> dict[str, Any]:
    """What a reopening of the instruction says as things stand; refused where there is nothing to reopen."""
    month = months.months(entries).get(cycle)
    if month is None or instruction not in month.instructed:
        raise BadInputError(
            "instruction", f"{instruction[:80]!r} was never instructed", "write it as in the payout file"
        )
    if instruction in month.reopened:
        raise BadInputError("instruction", f"{instruction} is reopened already", "propose the payout")
    left = missing(month, instruction)
    if left is None:
        problem = f"{instruction} is {month.outcome(instruction).replace('_', ' ')}"
        raise BadInputError("instruction", problem, "only what the bank returned, rejected or paid in part is reopened")
    instructed = month.instructed[instruction].body
    withheld = _withheld(Decimal(instructed.get("withheld", "0")), left, Decimal(instructed["amount"]))
    return {
        "cycle": cycle,
        "instruction": instruction,
        "agreement": instructed["agreement"],
        "amount": text(left),
        **({"withheld": text(withheld)} if withheld else {}),
        "currency": instructed["currency"],
        "because": because,
    }


def _withheld(withheld: Decimal, left: Decimal, instructed: Decimal) -> Decimal:
    """The part of what was withheld that goes with what did not arrive: it is withheld anew when that is paid."""
    if left == instructed or not withheld:
        return withheld
    places = max(decimals(withheld), decimals(left), decimals(instructed))
    whole, part, of = (int(one.scaleb(places)) for one in (withheld, left, instructed))
    return Decimal((2 * whole * part + of) // (2 * of)).scaleb(-places)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"instruction": str})
    return Proposed([propose_reopen(services, given["instruction"], **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    body = proposal.body
    try:
        now = _body(entries, body["cycle"], body["instruction"], body["because"])
    except BadInputError as exc:
        raise StaleProposalError(f"{proposal.name}: {exc}") from exc
    if now != dict(body):
        raise StaleProposalError(f"{proposal.name}: the bank has answered otherwise since; propose it again")


def _carry_out(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    projections.refresh(services, stream.removeprefix("reseller/"), what["cycle"])
    return []


def _show(services: Services, proposal: Proposal) -> list[str]:
    body = proposal.body
    entries = services.chain.read(proposal.stream)
    lines = [
        f"{one.instruction}: {text(one.instructed)} {one.currency}, {one.outcome.replace('_', ' ')}"
        + "".join(f", {said}" for said in (one.reference, one.reason) if said)
        for one in status_of_payouts(entries)
        if one.instruction == body["instruction"]
    ]
    lines += [
        f"the bank said {one.body['says']} ({one.body['reference']}) in {one.body['file']} at {one.at}"
        for one in entries
        if one.body.get("instruction") == body["instruction"] and "says" in one.body
    ]
    withheld = f" and {body['withheld']} withheld" if "withheld" in body else ""
    owed = text(balance(entries, body["agreement"], body["cycle"]))
    return [
        *lines,
        f"owed again: {body['amount']}{withheld} {body['currency']}, because {body['because']}",
        f"{owed} {body['currency']} is owed under {body['agreement']} in {body['cycle']} without it",
    ]


def _needs(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    return needs_of(services, entries, proposal.body["agreement"], REOPEN, Decimal(proposal.body["amount"]))


ACT = Act(REOPEN, _propose, _check, _carry_out, _show, _needs)
