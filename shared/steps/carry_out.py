"""The orders that approved decisions call for: written after the approval, and by `sweep` where one is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.control import months
from shared.cycle import Cycle
from shared.ids import canonical_json
from shared.parties.parties import OPERATOR
from shared.services import Services
from shared.steps import projections, state
from shared.steps.route_settlements import later_cycles, order_shares, sealed


def publish_order(cycle: str, reseller: str) -> str:
    """The order (bucket work) that a lock calls for."""
    return f"work/publish/{cycle}/{reseller}.json"


def pay_order(cycle: str, batch: str) -> str:
    """The order (bucket work) that an approved batch calls for."""
    return f"work/pay/{cycle}/{batch}.json"


def order_publication(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    """A lock publishes its month, and lets the cycles after it be settled."""
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


def order_payout(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    """An approved batch is paid."""
    key = pay_order(what["cycle"], what["batch"])
    return [key] if services.buckets.work.put_once(key, canonical_json(dict(what))) else []


def reorder_everyone(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    """A change of what everybody is settled by: the cycles that have bills are settled again."""
    if not sealed(services):
        return []  # rates may come before anybody is known
    parties, _ = state.parties(services)
    return _reorder(services, {*parties.resellers, OPERATOR})


def reorder_owner(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    """A change of what one reseller is settled by."""
    return _reorder(services, {stream.removeprefix("reseller/")})


def reorder_owner_of(services: Services, stream: str) -> list[str]:
    """The same of whom a stream is, the operator's share of a cycle included."""
    kind, _, name = stream.partition("/")
    if kind == "cycle":
        return order_shares(services, name, {OPERATOR}, once_a_day=False) if name in sealed(services) else []
    return _reorder(services, {name})


def reorder_sharing(services: Services, stream: str) -> list[str]:
    """The same of a reseller, and of all that hold accounts of its share on other days: they link refunds alike."""
    parties, _ = state.parties(services)
    owner = stream.removeprefix("reseller/")
    cycles = [Cycle.parse(one) for one in sealed(services)]
    return _reorder(services, {owner, OPERATOR, *parties.neighbours(owner, cycles)})


def reorder_operator(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    """A change of what the operator's share tells: its cases name the codes that nobody knows."""
    return _reorder(services, {OPERATOR})


def _reorder(services: Services, owners: set[str]) -> list[str]:
    cycles = sealed(services)
    return [key for cycle in sorted(cycles) for key in order_shares(services, cycle, owners, once_a_day=False)]
