"""The orders that approved decisions call for: written after the approval, and by `sweep` where one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.control import months
from shared.control.months import AGREEMENT, INVOICE, LOCK, OPENING
from shared.cycle import Cycle
from shared.ids import canonical_json
from shared.parties.parties import OPERATOR
from shared.payout.batch import PAYOUT
from shared.services import Services
from shared.steps import projections, state
from shared.steps.route_settlements import later_cycles, order_shares, sealed


def carry_out(services: Services, act: str, stream: str, what: Mapping[str, Any]) -> list[str]:
    """Write the orders that an approved act calls for; those that are there already are left."""
    if act == LOCK:
        return _order_publication(services, stream, what)
    if act == PAYOUT:
        key = pay_order(what["cycle"], what["batch"])
        return [key] if services.buckets.work.put_once(key, canonical_json(dict(what))) else []
    if act == INVOICE:
        return []  # it allows a payment, and orders none
    if act == state.CATALOGUE:
        return _reorder(services, OPERATOR)  # whose cases name the codes that nobody knows
    owner = stream.removeprefix("reseller/") if act in (AGREEMENT, OPENING) else None
    return _reorder(services, owner)


def publish_order(cycle: str, reseller: str) -> str:
    """The order (bucket work) that a lock calls for."""
    return f"work/publish/{cycle}/{reseller}.json"


def pay_order(cycle: str, batch: str) -> str:
    """The order (bucket work) that an approved batch calls for."""
    return f"work/pay/{cycle}/{batch}.json"


def _order_publication(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    reseller = stream.removeprefix("reseller/")
    key = publish_order(what["cycle"], reseller)
    written = [key] if services.buckets.work.put_once(key, canonical_json(dict(what))) else []
    projections.refresh(services, reseller, what["cycle"])
    for cycle in _adjusted(services, stream, what["cycle"]):
        projections.refresh(services, reseller, cycle)
    following = {str(Cycle.parse(what["cycle"]).next()), *later_cycles(services, what["cycle"])}
    return written + [
        key for cycle in sorted(following) for key in order_shares(services, cycle, {reseller}, once_a_day=True)
    ]


def _adjusted(services: Services, stream: str, locked: str) -> list[str]:
    """The earlier cycles of which the lock of this one settles what had arrived after theirs."""
    known = months.months(services.chain.read(stream))
    return [cycle for cycle in known if months.last_adjusted(known, cycle)[1] == locked]


def _reorder(services: Services, owner: str | None) -> list[str]:
    """A change of parties or agreements is a change of inputs: settle the cycles that have bills again."""
    cycles = sealed(services)
    if not cycles:
        return []
    parties, _ = state.parties(services)
    owners = {owner} if owner else {*parties.resellers, OPERATOR}
    return [key for cycle in sorted(cycles) for key in order_shares(services, cycle, owners, once_a_day=False)]
