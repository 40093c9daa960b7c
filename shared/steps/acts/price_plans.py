"""Price plan versions: what a seller charges a buyer. Approved, they are in force by date, as agreements are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.agreement.differences import differences
from shared.agreement.overlaps import overlapping
from shared.agreement.price_document import checked_price_plan
from shared.agreement.price_plan import PricePlan, parse_price_plan
from shared.agreement.words import facts, lines
from shared.chain.entry import Entry
from shared.control import approvals
from shared.control.approvals import Proposal
from shared.documents import DocumentRefusedError, reading
from shared.parties.parties import OPERATOR, Parties
from shared.services import Services
from shared.settlement.examples import settle_example
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows
from shared.steps.plans import PRICE_PLAN as PRICE_PLAN
from shared.steps.plans import approved, plan_of


def propose_price_plan(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose a version of a price plan; its worked examples have been settled when this returns."""
    body = checked_price_plan(data, name, settle_example).body
    plan = parse_price_plan(body)
    parties, _ = state.parties(services)
    findings = [*_unknown(plan, parties), *_beside(services, plan, services.chain.read(state.CONFIG))]
    if findings:
        raise DocumentRefusedError(name, findings)
    what = {"document": state.keep_document(services, body), "price_plan": plan.id, "version": plan.version}
    return approvals.propose(services.chain, state.CONFIG, PRICE_PLAN, what, by=by, why=why, at=at)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str})
    with reading(given["text"].encode(), given["name"]) as data:
        return Proposed([propose_price_plan(services, data, given["name"], **who.named())])


def _unknown(plan: PricePlan, parties: Parties) -> list[tuple[str, str]]:
    """Who sells is the operator or a reseller; who buys is a reseller or a customer."""
    findings = []
    if plan.seller not in (parties.operator, OPERATOR, *parties.resellers):
        known = ", ".join([parties.operator, *sorted(parties.resellers)])
        findings.append(("seller", f"{plan.seller!r} is neither the operator nor a reseller; known are {known}"))
    if plan.buyer not in (*parties.resellers, *parties.customers):
        findings.append(("buyer", f"{plan.buyer!r} is neither a reseller nor a customer of the party document"))
    return findings


def _beside(services: Services, plan: PricePlan, entries: list[Entry]) -> list[tuple[str, str]]:
    """Versions of a plan come in order, and on each day one plan says what a seller charges a buyer."""
    others = approved(services, entries)
    last = max((one.version for one in others if one.id == plan.id), default=0)
    if plan.version <= last:
        return [("version", f"version {last} of {plan.id} is approved; number it {last + 1}")]
    mine = [one.as_agreement() for one in others if one.share == plan.share]
    return list(overlapping(plan.as_agreement(), mine))


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    findings = _beside(services, plan_of(services, proposal.body["document"]), entries)
    if findings:
        raise DocumentRefusedError(proposal.name, findings)


def _show(services: Services, proposal: Proposal) -> list[str]:
    """What a version changes against the one approved before it; all that it says where it is the first."""
    new = plan_of(services, proposal.body["document"])
    before = [one for one in approved(services, services.chain.read(state.CONFIG)) if one.id == new.id]
    if not before:
        return list(lines(facts(new)))
    changes = [change.sentence for change in differences(before[-1], new)]
    return [f"against version {before[-1].version}:", *(changes or ["no difference in what is charged"])]


ACT = Act(PRICE_PLAN, _propose, _check, nothing_follows, _show)
