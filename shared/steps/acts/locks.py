"""Locks: from then on nothing about a reseller's month changes."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Needs, Proposal, StaleProposalError
from shared.control.months import LOCK, Month
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.money import EXACT, text
from shared.parties.parties import OPERATOR
from shared.payout.batch import balance
from shared.services import Services
from shared.steps import casework, projections, reconcile, state
from shared.steps.acts.act import Act, Proposed, Who, fields
from shared.steps.acts.terms import needs_of
from shared.steps.carry_out import order_publication

_NAMED = 3


class OpenCasesError(BadInputError):
    """A month cannot be locked while something about it is open."""

    code = "open_cases"


class UnexplainedError(BadInputError):
    """A month cannot be locked while its figures differ from the bill, from each other, or from what was promised."""

    code = "unexplained"


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
    entries = services.chain.read(stream)
    _refuse_before_opening(entries, reseller, cycle)
    _refuse_out_of_order(entries, f"{reseller} {cycle}", cycle)
    _refuse_open(services, entries, reseller, cycle)
    proposal = approvals.propose(services.chain, stream, LOCK, _lock_body(calculated), by=by, why=why, at=at)
    projections.refresh(services, reseller, cycle)
    return proposal


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"cycle": str, "reseller": str})
    return Proposed([propose_lock(services, given["cycle"], given["reseller"], **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    cycle = proposal.body["cycle"]
    month = months.months(entries).get(cycle)
    if month is None or month.calculated is None or _lock_body(month.calculated) != proposal.body:
        raise StaleProposalError(
            f"{proposal.name}: {cycle} was calculated anew since; look at it and propose the lock again"
        )
    if month.locked is not None:
        raise StaleProposalError(f"{proposal.name}: {cycle} is locked already")
    _refuse_before_opening(entries, proposal.stream.removeprefix("reseller/"), cycle)
    _refuse_out_of_order(entries, proposal.name, cycle)
    _refuse_open(services, entries, proposal.stream.removeprefix("reseller/"), cycle)


def _refuse_out_of_order(entries: list[Entry], name: str, cycle: str) -> None:
    before = months.unlocked_before(entries, cycle)
    if before is not None:
        raise StaleProposalError(f"{name}: {before} is not locked yet; cycles lock in order")


def _refuse_open(services: Services, entries: list[Entry], reseller: str, cycle: str) -> None:
    """Nothing that waits for people is locked in silence: a case is resolved first, or accepted by two."""
    waiting = [one for one in in_the_way(services, entries, reseller, cycle) if not one.accepted]
    if waiting:
        named = ", ".join(f"{one.kind} {one.key[:40]}" for one in waiting[:_NAMED])
        more = f" and {len(waiting) - _NAMED} more" if len(waiting) > _NAMED else ""
        problem = f"has {len(waiting)} open case{'s' if len(waiting) > 1 else ''} that nobody accepted: {named}{more}"
        remedy = f"resolve or accept them: see `clearbook cases --cycle {cycle} --reseller {reseller}`"
        raise OpenCasesError(f"{reseller} {cycle}", problem, remedy)
    differing = reconcile.unexplained(services, cycle, reseller)
    if differing:
        one = differing[0]
        problem = (
            f"has {len(differing)} differences that nothing explains: {one.what} ({text(one.amount)} {one.currency})"
        )
        remedy = f"see `clearbook reconcile --cycle {cycle} --reseller {reseller}`; the remainder must be exactly 0"
        raise UnexplainedError(f"{reseller} {cycle}", problem, remedy)


def in_the_way(services: Services, entries: list[Entry], reseller: str, cycle: str) -> list[casework.OpenCase]:
    """The open cases of a reseller's month, and where the bill of its accounts differs from the provider's totals."""
    parties, _ = state.parties(services)
    mine = {one.account for one in parties.in_cycle(Cycle.parse(cycle)) if one.reseller == reseller}
    of_bill = services.chain.read(months.stream_of(OPERATOR, cycle))
    differing = [
        one
        for one in casework.open_cases(services, OPERATOR, cycle, of_bill)
        if one.kind == "source_mismatch" and one.key.split("/")[1] in mine
    ]
    return casework.open_cases(services, reseller, cycle, entries) + differing


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


def _show(services: Services, proposal: Proposal) -> list[str]:
    body, entries = proposal.body, services.chain.read(proposal.stream)
    figures = [_figures(one, balance(entries, one["agreement"], body["cycle"])) for one in body["statements"]]
    return [*figures, f"settlement {body['settlement']}, {body['open_cases']} open cases"]


def _figures(statement: Mapping[str, Any], carried: Decimal) -> str:
    """What a lock fixes, and what is owed with it where something is carried into the month."""
    figures = f"{statement['agreement']} total {statement['total']}, payable {statement['payable']}"
    if carried:
        owed = EXACT.add(carried, Decimal(statement["payable"]))
        figures += f", with {text(carried)} carried {text(owed)}"
    return f"{figures} {statement['currency']}"


def _needs(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    """What the agreements of the month's statements ask for, the strictest of each."""
    named = [one["agreement"] for one in proposal.body["statements"]]
    return needs_of(services, entries, named, LOCK)


ACT = Act(LOCK, _propose, _check, order_publication, _show, _needs)
