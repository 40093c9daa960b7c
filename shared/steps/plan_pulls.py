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
    slot = pulls.daily_slot(now) if what == DAILY else pulls.final_slot(now)
    orders = [pull for connector in parties.connectors.values() for pull in _round(services, connector, now, slot)]
    # Accounts in turn, because each has a quota of its own at the provider.
    written = [pull for pull in sorted(orders, key=lambda pull: (pull.what, pull.account)) if _order(services, pull)]
    outcomes = []
    for account in parties.connectors:
        count = sum(pull.account == account for pull in written)
        outcomes.append({"account": account, "slot": slot, "orders": count})
        services.record("plan_pulls", f"{account}/{slot}", stamp(now), f"{count} orders")
    return outcomes


def _round(services: Services, connector: Connector, now: datetime, slot: str) -> Iterable[Pull]:
    if not pulls.is_final(slot):
        return pulls.plan(slot, connector.account, connector.since)
    cycle = Cycle.of(shanghai_day(now)).previous()
    seal = state.last_seal(services, connector.account, str(cycle))
    is_done = now < cycle.final_from() or (seal is not None and seal.status == FINAL)
    return [] if is_done else pulls.pulls_of(slot, connector.account, cycle, connector.since)


def order_body(pull: Pull) -> bytes:
    """The order object of a pull."""
    return canonical_json({"account": pull.account, "cycle": str(pull.cycle), "what": pull.what, "slot": pull.slot})


def _order(services: Services, pull: Pull) -> bool:
    return services.buckets.work.put_once(pull.order_key, order_body(pull))
