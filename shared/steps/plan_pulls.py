"""Plan what is asked of the provider: every day the last three dates, from the 3rd every date once more."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from shared.bill import pulls
from shared.bill.pulls import Pull
from shared.bill.snapshot import FINAL
from shared.cycle import Cycle, shanghai_day, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.parties.parties import Connector
from shared.services import Services
from shared.steps import state

DAILY, FINAL_ROUND = "daily", "final"


def plan_pulls(services: Services, now: datetime, what: str) -> list[dict[str, Any]]:
    """Write the pull orders of this round; orders that are there already are left as they are."""
    if what not in (DAILY, FINAL_ROUND):
        raise BadInputError("timer payload", f"is {what!r}", f"expected {DAILY} or {FINAL_ROUND}")
    parties, _ = state.parties(services)
    outcomes = []
    for connector in parties.connectors.values():
        slot, orders = _round(services, connector, now, what)
        written = sum(_order(services, pull, now) for pull in orders)
        outcomes.append({"account": connector.account, "slot": slot, "orders": written})
        services.record("plan_pulls", f"{connector.account}/{slot}", stamp(now), f"{written} orders")
    return outcomes


def _round(services: Services, connector: Connector, now: datetime, what: str) -> tuple[str, Iterable[Pull]]:
    if what == DAILY:
        slot = pulls.daily_slot(now)
        return slot, pulls.plan(slot, connector.account, connector.since)
    slot = pulls.final_slot(now)
    cycle = Cycle.of(shanghai_day(now)).previous()
    seal = state.last_seal(services, connector.account, str(cycle))
    is_done = now < cycle.final_from() or (seal is not None and seal.status == FINAL)
    return slot, [] if is_done else pulls.pulls_of(slot, connector.account, cycle, connector.since)


def _order(services: Services, pull: Pull, now: datetime) -> int:
    body = canonical_json({"account": pull.account, "cycle": str(pull.cycle), "what": pull.what, "slot": pull.slot})
    return services.buckets.work.put_once(pull.order_key, body)
