"""What agreements say of how decisions about them are made."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from shared.agreement.agreement import Agreement
from shared.chain.entry import Entry
from shared.control.approvals import Needs
from shared.cycle import Cycle
from shared.services import Services
from shared.steps import state


def needs_of(
    services: Services, entries: list[Entry], agreements: str | Sequence[str], act: str, amount: Decimal | None = None
) -> Needs:
    """Who has to approve an act about a reseller's agreements, by the last approved version of each; over an amount
    where the act has one."""
    named = {agreements} if isinstance(agreements, str) else set(agreements)
    last: dict[str, Agreement] = {}
    for one in state.all_agreements(services, entries):
        if one.id in named and (one.id not in last or one.version > last[one.id].version):
            last[one.id] = one
    return strictest(_needs(one, act, amount) for one in last.values())


def strictest(found: Iterable[Needs]) -> Needs:
    """All of them together: the most approvers, and every step that one of them asks for."""
    approvers, also = 1, set()
    for one in found:
        approvers = max(approvers, one.approvers)
        also |= set(one.also)
    return Needs(approvers, tuple(sorted(also)))


def _needs(agreement: Agreement, act: str, amount: Decimal | None) -> Needs:
    asked = agreement.approvals
    over = asked.over.get(act)
    is_small = over is not None and amount is not None and abs(amount) <= over
    return Needs(1 if is_small else asked.approvers, tuple(step.role for step in asked.also if step.act == act))


def last_versions(agreements: Sequence[Agreement], cycle: str) -> list[Agreement]:
    """Of each agreement the last version begun by the end of the cycle."""
    last = Cycle.parse(cycle).last
    found: dict[str, Agreement] = {}
    for one in sorted(agreements, key=lambda one: (one.id, one.begins, one.version)):
        if one.begins <= last:
            found[one.id] = one
    return list(found.values())
