"""A month beside the one before it, by the statements of the settlements that count."""

from __future__ import annotations

from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.parties.parties import OPERATOR
from shared.reconciliation.anomalies import Anomaly, Figures, Key, Policy, anomalies, figures
from shared.services import Services
from shared.steps.inputs import Kept
from shared.steps.reconciling.gathering import gather


def compare(services: Services, cycle: str, policy: Policy, reseller: str = "") -> tuple[str, list[Anomaly]]:
    """The month before, and what changed since; resellers without a settlement in one of both are left out."""
    before = str(Cycle.parse(cycle).plus(-1))
    now, was = _settled(services, cycle, reseller), _settled(services, before, reseller)
    both = now.keys() & was.keys()
    if not both:
        whose = reseller or "any reseller"
        raise BadInputError(
            before, f"no month of {whose} is settled both then and in {cycle}", "wait for its settlement"
        )
    found = [_figures(services, [kept for owner, kept in sorted(of.items()) if owner in both]) for of in (was, now)]
    return before, anomalies(found[0], found[1], policy)


def _settled(services: Services, cycle: str, reseller: str) -> dict[str, Kept]:
    return {
        look.owner: Kept(cycle, look.owner, str(look.month.settlement))
        for look in gather(services, cycle).looks
        if look.owner != OPERATOR and reseller in ("", look.owner)
    }


def _figures(services: Services, settlements: list[Kept]) -> dict[Key, Figures]:
    return figures((kept.owner, one) for kept in settlements for one in kept.summary(services)["statements"])
