"""Price plans that are in force: apart from proposing them, which needs models."""

from __future__ import annotations

from shared.agreement.price_plan import PricePlan, parse_price_plan
from shared.chain.entry import Entry
from shared.control import approvals
from shared.cycle import Cycle
from shared.services import Services
from shared.steps import state

PRICE_PLAN = "price_plan"


def in_force(services: Services, cycle: Cycle) -> list[PricePlan]:
    """The approved versions that are in force on a day of a cycle."""
    return [one for one in approved(services, services.chain.read(state.CONFIG)) if one.touches(cycle)]


def approved(services: Services, entries: list[Entry]) -> list[PricePlan]:
    """Every approved version."""
    return [plan_of(services, one["document"]) for one in approvals.in_force(entries, PRICE_PLAN)]


def plan_of(services: Services, digest: str) -> PricePlan:
    """A version by its document."""
    return parse_price_plan(state.kept(services, services.buckets.records, state.document_key(digest)))
