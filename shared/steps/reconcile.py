"""Reconcile a cycle: the newest settlements of all shares against the bills they read."""

from __future__ import annotations

from dataclasses import dataclass

from shared.control import months
from shared.parties.parties import OPERATOR
from shared.reconciliation.shares import Comparison, compare
from shared.services import Services
from shared.steps import state
from shared.steps.route_settlements import bills


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The comparison by currency, and the shares that have no final settlement yet."""

    comparisons: list[Comparison]
    missing: list[str]


def reconcile(services: Services, cycle: str) -> Reconciliation:
    """Compare what was settled in a cycle with what was billed."""
    parties, _ = state.parties(services)
    now = bills(services, parties, cycle)
    settled, missing = [], []
    for owner in (*sorted(parties.resellers), OPERATOR):
        month = months.months(services.chain.read(months.stream_of(owner, cycle))).get(cycle)
        if month is None or month.calculated is None:
            missing.append(owner)
        else:
            # What arrived after a lock is held by its case: the newest look adds up, the locked one stays as it is.
            settled.append([month.calculated, *month.late][-1].body["bill"])
    return Reconciliation(compare([seal.totals for seal in now.seals.values()], settled), missing)
