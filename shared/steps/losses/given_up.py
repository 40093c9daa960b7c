"""Invocations that Function Compute gave up: listed until their work is done, whoever did it.

They lie under `quarantine/failed/`, and once their work is done under `quarantine/done/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from shared.cycle import parse_instant, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.services import Services
from shared.steps.losses.loss import Loss, Losses
from shared.steps.plan_pulls import plan_pulls

FAILED, DONE = "quarantine/failed/", "quarantine/done/"
# What these should have done is found by the other rooms, under the keys of the objects that woke them.
_BY_OBJECTS = frozenset(
    (
        "plan_pulls",  # where it was woken by an object
        "pull_bill",
        "ingest_bill",
        "route_settlements",
        "settle",
        "publish_statements",
        "pay_resellers",
        "confirm_payouts",
        "notify",
    )
)
_PLANNER = "plan_pulls"


def losses(services: Services, missing: frozenset[str], now: datetime) -> Losses:
    """Those that are still listed; `missing` names the objects whose work is missing, found by a whole sweep."""
    work = services.buckets.work
    for key in work.keys(FAILED):
        body = work.find(key)
        if body is None:
            continue
        function, payload = _invocation(body)
        since = _at(body)
        mark = None
        if function in _BY_OBJECTS and (keys := _objects(payload)) and not keys & missing:
            mark = _marking(services, key, body, now)
        elif function == _PLANNER and (timer := _timer(payload)):
            mark = _planning(services, key, body, timer, now)
        cause = f"{function or 'a function'} was given up" if mark is None else f"what {function} gave up is done"
        yield Loss("given_up", key, "", function, since, cause, lambda key=key: not work.exists(key), mark)  # type: ignore[misc]


def _marking(services: Services, key: str, body: bytes, now: datetime) -> Any:
    def mark() -> None:
        kept = {"done_at": stamp(now), "invocation": body.decode("utf-8", "backslashreplace")}
        services.buckets.work.put_again(DONE + key.removeprefix(FAILED), canonical_json(kept))
        services.buckets.work.delete(key)

    return mark


def _planning(services: Services, key: str, body: bytes, timer: tuple[datetime, str], now: datetime) -> Any:
    """A round that was not planned: its orders are written now, those that are there are left."""

    def plan() -> None:
        plan_pulls(services, *timer)
        _marking(services, key, body, now)()

    return plan


def _invocation(body: bytes) -> tuple[str, Mapping[str, Any]]:
    """The function that was given up, and the event it was given; both empty where they cannot be told."""
    try:
        data = json.loads(body)
        function = str(data["requestContext"]["functionArn"]).rpartition("functions/")[2].partition("/")[0]
        payload = data["requestPayload"]
        payload = json.loads(payload) if isinstance(payload, str) else payload
    except (ValueError, KeyError, TypeError, RecursionError):
        return "", {}
    return (function, payload) if isinstance(payload, dict) else (function, {})


def _at(body: bytes) -> datetime | None:
    try:
        when = json.loads(body)["timestamp"]
        return parse_instant(when) if isinstance(when, str) else datetime.fromtimestamp(when // 1000, UTC)
    except (ValueError, KeyError, TypeError, OverflowError, OSError, RecursionError, BadInputError):
        return None


def _objects(payload: Mapping[str, Any]) -> frozenset[str]:
    try:
        return frozenset(str(one["oss"]["object"]["key"]) for one in payload["events"])
    except (KeyError, TypeError):
        return frozenset()


def _timer(payload: Mapping[str, Any]) -> tuple[datetime, str] | None:
    try:
        return parse_instant(payload["triggerTime"]), str(payload["payload"])
    except (KeyError, TypeError, BadInputError):
        return None
