"""Plan what is asked of the provider: every day the last three dates, from the 3rd every date once more.

Beside the lines, every day: who the account's customers are, and the overview of cycles that are final, in case one
still moved. Other steps ask under `again/` for a pull or a round: what is asked for is ordered, then it is removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from shared.bill import pulls
from shared.bill.pulls import Pull
from shared.bill.snapshot import FINAL
from shared.cycle import Cycle, shanghai_day, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.parties.parties import Connector
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import state

DAILY, FINAL_ROUND = "daily", "final"
AGAIN = "again/"
WATCHED_DAILY = 3  # cycles back; on Mondays all that the provider still answers for
_MONDAY = 0


def plan_pulls(services: Services, now: datetime, what: str) -> list[dict[str, Any]]:
    """Write the pull orders of this round; orders that are there already are left as they are."""
    if what not in (DAILY, FINAL_ROUND):
        raise BadInputError("timer payload", f"is {what!r}", f"expected {DAILY} or {FINAL_ROUND}")
    parties, _ = state.parties(services)
    slot = pulls.daily_slot(now) if what == DAILY else pulls.final_slot(now)
    orders = [pull for connector in parties.connectors.values() for pull in _round(services, connector, now, slot)]
    # Accounts in turn, because each has a quota of its own at the provider.
    written = [pull for pull in sorted(orders, key=lambda pull: (pull.what, pull.account)) if order(services, pull)]
    outcomes = []
    for account in parties.connectors:
        count = sum(pull.account == account for pull in written)
        outcomes.append({"account": account, "slot": slot, "orders": count})
        services.record("plan_pulls", f"{account}/{slot}", stamp(now), f"{count} orders")
    return outcomes


def _round(services: Services, connector: Connector, now: datetime, slot: str) -> Iterable[Pull]:
    if not pulls.is_final(slot):
        yield from pulls.plan(slot, connector.account, connector.since)
        if connector.since <= shanghai_day(now):
            yield pulls.customers(slot, connector.account)
        yield from _watched(services, connector, now)
        return
    cycle = Cycle.of(shanghai_day(now)).previous()
    seal = state.last_seal(services, connector.account, str(cycle))
    is_done = now < cycle.final_from() or (seal is not None and seal.status == FINAL)
    yield from [] if is_done else pulls.pulls_of(slot, connector.account, cycle, connector.since)


def _watched(services: Services, connector: Connector, now: datetime) -> Iterator[Pull]:
    """The cycles that are sealed final: the last three every day, on Mondays all that the provider answers for."""
    today = shanghai_day(now)
    cycle = Cycle.of(today)
    for _ in range(pulls.CYCLES_BACK if today.weekday() == _MONDAY else WATCHED_DAILY):
        cycle = cycle.previous()
        if cycle.last < connector.since:
            return
        seal = state.last_seal(services, connector.account, str(cycle))
        if seal is not None and seal.status == FINAL:
            yield from pulls.pulls_of(pulls.watch_slot(now), connector.account, cycle, connector.since)


def order_again(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Order what an object under `again/` asks for, then remove it; one that is gone was carried out before."""
    asked = pulls.from_again_key(event.key)
    work = services.buckets.work
    if not work.exists(event.key):
        return {"again": event.key, "orders": 0, "note": "carried out before"}
    if isinstance(asked, Pull):
        # The order is there: written once more, its event goes out once more.
        work.put_again(asked.order_key, order_body(asked))
        count = 1
    else:
        count = sum(order(services, pull) for pull in round_of(services, *asked))
    work.delete(event.key)
    services.record("plan_pulls", event.key, stamp(event.at), f"{count} orders")
    return {"again": event.key, "orders": count}


def round_of(services: Services, account: str, cycle: Cycle, slot: str) -> list[Pull]:
    """What a round asks for; raises BadInputError for an account without a connector."""
    parties, _ = state.parties(services)
    connector = parties.connectors.get(account)
    if connector is None:
        remedy = "add the payer to the party document, or remove what asks for the round"
        raise BadInputError(f"round {slot} of {cycle}", f"payer account {account} has no connector", remedy)
    return pulls.pulls_of(slot, account, cycle, connector.since)


def ask_again(why: str, at: str) -> bytes:
    """An object under `again/`; what it asks for is its name."""
    return canonical_json({"why": why, "at": at})


def order_body(pull: Pull) -> bytes:
    """The order object of a pull."""
    return canonical_json({"account": pull.account, "cycle": str(pull.cycle), "what": pull.what, "slot": pull.slot})


def order(services: Services, pull: Pull) -> bool:
    """Order a pull; False if it was before."""
    return services.buckets.work.put_once(pull.order_key, order_body(pull))
