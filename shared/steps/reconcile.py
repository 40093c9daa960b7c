"""Reconcile a cycle: the bill against the settlements of all shares, these against what was published and paid.

`unexplained` is what a lock asks for: figures alone, no line is read. `reconcile` reads every line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.reconciliation.difference import LINES_KEPT, Difference
from shared.reconciliation.shares import Comparison
from shared.services import Services
from shared.steps.reconciling import figures
from shared.steps.reconciling.gathering import gather

if TYPE_CHECKING:
    from shared.reconciliation.placing import Group
    from shared.steps.reconciling.published import Payment


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """The comparison by currency, the shares that have no final settlement yet, and whatever differs."""

    comparisons: list[Comparison]
    missing: list[str]
    differences: list[Difference] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    payments: list[Payment] = field(default_factory=list)
    statements: int = 0
    files: int = 0  # that were published


def unexplained(services: Services, cycle: str, reseller: str) -> list[Difference]:
    """What nothing explains of a reseller's month, of the whole month's sums, or of control totals of its accounts."""
    return figures.of_lock(services, cycle, reseller)


def summarise(services: Services, cycle: str) -> Reconciliation:
    """What was settled in a cycle beside what was billed, by currency, from figures alone."""
    gathered = gather(services, cycle)
    return Reconciliation(figures.comparisons(gathered), list(gathered.missing), figures.of_month(gathered))


def reconcile(
    services: Services,
    cycle: str,
    reseller: str = "",
    limit: int | None = LINES_KEPT,
    told: Callable[[str], None] = lambda _: None,
) -> Reconciliation:
    """Hold everything of a cycle against everything else; of one reseller only what is its own is answered.

    Differences name their first `limit` lines, or all of them. `told` hears what is being done.
    """
    Cycle.parse(cycle)
    # Here: whoever asks for figures alone loads no more than that takes.
    from shared.steps.reconciling import lines, published

    gathered = gather(services, cycle)
    if reseller and reseller not in gathered.parties.resellers:
        known = ", ".join(sorted(gathered.parties.resellers))
        raise BadInputError("reseller", f"{reseller!r} is not known", f"known are {known}")
    read = lines.read(services, gathered, limit, told)
    told("reading what was published and paid")
    files = published.read(services, gathered, limit)
    differences = [*figures.of_month(gathered), *read.differences, *files.differences]
    groups, payments = list(read.groups), files.payments
    if reseller:
        mine = {one.account for one in gathered.parties.in_cycle(Cycle.parse(cycle)) if one.reseller == reseller}
        differences = [one for one in differences if _is_of(one, reseller, mine)]
        groups = [one for one in groups if one.owner == reseller or (not one.owner and one.account in mine)]
        payments = [one for one in payments if one.reseller == reseller]
    return Reconciliation(
        figures.comparisons(gathered),
        list(gathered.missing),
        differences,
        groups,
        payments,
        files.statements,
        files.files,
    )


def _is_of(one: Difference, reseller: str, accounts: set[str]) -> bool:
    """Whether a difference is the reseller's, or nobody's in particular and not of an account of others."""
    if one.owner:
        return one.owner == reseller
    return one.keys.get("account", "") in {"", *accounts}
