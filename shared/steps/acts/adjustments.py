"""Adjustments by hand: an amount that people agree on, posted once, on the statement of its month or the next open."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months, resolving
from shared.control.approvals import Needs, Proposal
from shared.control.resolving import ADJUSTMENT
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.money import EXACT, NotAnAmountError, amount, fixed, rounded, text
from shared.services import Services
from shared.steps import casework, state
from shared.steps.acts.act import Act, Proposed, Who, fields
from shared.steps.acts.terms import last_versions, needs_of
from shared.steps.carry_out import reorder_owner
from shared.steps.inputs import Kept

_CAUSE_MAX, _PRODUCT_MAX = 500, 100
_NEEDED = ("reseller", "agreement", "cycle", "amount", "currency", "cause")
_MAY = ("customer", "product", "case")


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, dict.fromkeys(_NEEDED, str), dict.fromkeys(_MAY, str))
    reseller = given.pop("reseller")
    parties, _ = state.parties(services)
    if reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise BadInputError("reseller", f"{reseller!r} is not known", f"known are {known}")
    try:
        given["amount"] = text(amount(given["amount"]))
    except NotAnAmountError as exc:
        raise BadInputError("amount", f"is {given['amount']!r}", "write it with digits and a point: -1234.50") from exc
    Cycle.parse(given["cycle"])
    _refuse_odd(given)
    if "customer" in given and given["customer"] not in parties.customers:
        raise BadInputError("customer", f"{given['customer']!r} is not known", "give one of the party document")
    stream = months.stream_of(reseller, "")
    entries = services.chain.read(stream)
    _refuse(services, entries, reseller, given)
    if "case" in given:
        found = casework.open_cases(services, reseller, given["case"][:7], entries)
        if given["case"] not in {one.id for one in found}:
            problem = f"{given['case']!r} is no open case of {reseller}"
            raise BadInputError("case", problem, "see `clearbook cases --cycle C`")
    return Proposed([approvals.propose(services.chain, stream, ADJUSTMENT, given, **who.named())])


def _refuse_odd(given: Mapping[str, Any]) -> None:
    if Decimal(given["amount"]) == 0:
        raise BadInputError("amount", "is 0", "give what is owed besides, below 0 where it is taken back")
    for name, most in (("cause", _CAUSE_MAX), ("product", _PRODUCT_MAX)):
        value = given.get(name, "-")
        if not value.strip() or len(value) > most or not value.isprintable():
            raise BadInputError(name, f"is {value[:40]!r}", f"say it in 1 to {most} characters, on one line")


def _refuse(services: Services, entries: list[Entry], reseller: str, given: Mapping[str, Any]) -> None:
    """It needs an agreement in force by its month, in its currency, and a month that is settled here."""
    opening = months.opening(entries)
    if opening is not None and given["cycle"] < opening["as_of"]:
        problem = f"{given['cycle']} lies before the opening, as of {opening['as_of']}"
        raise BadInputError("cycle", problem, f"adjust {opening['as_of']} or a later month")
    versions = {one.id: one for one in last_versions(state.all_agreements(services, entries), given["cycle"])}
    if given["agreement"] not in versions:
        problem = f"{given['agreement']!r} is none of {reseller} by {given['cycle']}"
        raise BadInputError("agreement", problem, f"there are: {', '.join(sorted(versions)) or 'none'}")
    currency = versions[given["agreement"]].currency
    if given["currency"] != currency:
        problem = f"is {given['currency']!r}, and {given['agreement']} pays {currency}"
        raise BadInputError("currency", problem, f"convert the amount to {currency}")


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    _refuse(services, entries, proposal.stream.removeprefix("reseller/"), proposal.body)


def _needs(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    return needs_of(services, entries, proposal.body["agreement"], ADJUSTMENT, Decimal(proposal.body["amount"]))


def _show(services: Services, proposal: Proposal) -> list[str]:
    """The amount, and what the statement that takes it would come to."""
    body, entries = proposal.body, services.chain.read(proposal.stream)
    on = ", ".join(body[name] for name in ("customer", "product", "case") if name in body)
    told = [f"{body['amount']} {body['currency']} on {body['agreement']} for {body['cycle']}: {body['cause']}"]
    if on:
        told.append(f"of {on}")
    cycle = takes(entries, proposal)
    month = months.months(entries).get(cycle)
    if month is None or month.calculated is None:
        return [*told, f"posted by the settlement of {cycle}, which is not calculated yet"]
    if proposal.seq in month.calculated.body.get("adjustments", ()):
        return [*told, f"posted by the settlement of {cycle}"]
    kept = Kept(cycle, proposal.stream.removeprefix("reseller/"), str(month.calculated.body["settlement"]))
    stated = [one for one in kept.summary(services)["statements"] if one["agreement"] == body["agreement"]]
    before = stated[0] if stated else {"exact": "0", "total": "0"}
    [last] = [
        one for one in last_versions(state.all_agreements(services, entries), cycle) if one.id == body["agreement"]
    ]
    exact = EXACT.add(Decimal(before["exact"]), Decimal(body["amount"]))
    after = fixed(rounded(exact, last.places, last.mode), last.places)
    return [*told, f"the total of {body['agreement']} in {cycle}: {before['total']} -> {after} {body['currency']}"]


def takes(entries: list[Entry], proposal: Proposal) -> str:
    """The month that posts it: its own, or the first after it that is open."""
    known = months.months(entries)
    done = resolving.posted(known)
    if proposal.seq in done:
        return done[proposal.seq]
    cycle = str(proposal.body["cycle"])
    while cycle in known and known[cycle].locked is not None:
        cycle = str(Cycle.parse(cycle).next())
    return cycle


ACT = Act(ADJUSTMENT, _propose, _check, reorder_owner, _show, _needs)
