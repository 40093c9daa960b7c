"""Order the settlements of a cycle, as a seal does: from what is sealed and in force now."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from shared.bill.snapshot import FINAL
from shared.chain.chain import RememberingChain
from shared.control import months
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.parties.parties import OPERATOR
from shared.services import Services
from shared.steps import inputs, state
from shared.steps.route_settlements import Order, bills, order_of, order_shares

ORDERED, AGAIN, SETTLED, WAITS = "ordered", "ordered again", "settled", "waits"


@dataclass(frozen=True, slots=True)
class Ordered:
    """Where a share stands with its order."""

    owner: str
    how: str  # ORDERED, AGAIN, SETTLED or WAITS
    status: str = ""  # draft or final
    settlement: str = ""  # of one that is settled


def order_cycle(services: Services, cycle: str, reseller: str | None) -> list[Ordered]:
    """Order the shares that are due; an order that came to nothing yet is delivered once more."""
    Cycle.parse(cycle)
    looked = replace(services, chain=RememberingChain(services.rows))
    parties, entries = state.parties(looked)
    if reseller is not None and reseller not in (*parties.resellers, OPERATOR):
        known = ", ".join(sorted(parties.resellers))
        raise BadInputError("reseller", f"{reseller!r} is not known", f"known are {known}")
    now = bills(looked, parties, cycle)
    owners = {reseller} if reseller else {*parties.resellers, OPERATOR}
    holding = parties.shares_of(set().union(*now.accounts.values()), Cycle.parse(cycle)) | (
        {reseller} if reseller else set()
    )
    written = set(order_shares(looked, cycle, owners, once_a_day=False))
    found = []
    for owner in sorted(owners):
        order = order_of(looked, parties, entries, now, cycle, owner)
        if order is None:
            found += [Ordered(owner, WAITS)] if owner in holding else []
        elif order.key in written:
            found.append(Ordered(owner, ORDERED, order.status))
        else:
            found.append(_ordered_before(services, order))
    return found


def _ordered_before(services: Services, order: Order) -> Ordered:
    settlement = _came_to(services, order)
    if not settlement:
        services.buckets.work.put_again(order.key, order.body)
        return Ordered(order.owner, AGAIN, order.status)
    return Ordered(order.owner, SETTLED, order.status, settlement)


def _came_to(services: Services, order: Order) -> str:
    """The settlement that the order made, if it is the newest of the share."""
    if order.status != FINAL:
        body = services.buckets.work.find(f"{inputs.drafts_prefix(order.cycle, order.owner)}{order.day}.json")
        draft = json.loads(body) if body else {}
        return str(draft["settlement"]) if draft.get("order") == order.key else ""
    month = months.months(services.chain.read(months.stream_of(order.owner, order.cycle))).get(order.cycle)
    entries = [month.calculated, *month.late] if month is not None and month.calculated is not None else []
    return next((str(one.body["settlement"]) for one in entries if one and one.body["order"] == order.key), "")
