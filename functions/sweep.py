"""Mend what is missing when a timer fires, and keep invocations that were given up; repeating an event is safe."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

from shared.bootstrap import build_services
from shared.cloud.fc import on_event, parse_given_up, parse_timer
from shared.cloud.log import step_log
from shared.cloud.patience import EVENT
from shared.services import Services
from shared.steps.stopping import never
from shared.steps.sweep import SweepUnfinishedError, alerts, given_up_alert, keep_failed, metrics, sweep

_RESERVE_S = 60.0  # what mending one thing may take: begun with less, it would be cut off


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context, _is_late)


def run(event: bytes, services: Services, context: object = None, stop: Callable[[], bool] = never) -> str:
    """Sweep until `stop` says that time is up, or keep the failed invocation that the event describes."""
    return on_event(
        "sweep",
        event,
        quarantine=services.buckets.work,
        work=lambda: _work(event, services, context, stop),
        log=step_log(context),
        context=context,
    )


def _work(event: bytes, services: Services, context: object, stop: Callable[[], bool]) -> list[dict[str, Any]]:
    log = step_log(context)
    given_up = parse_given_up(event)
    if given_up is not None:
        kept = keep_failed(services, given_up.data, given_up.at)
        log.alert(**given_up_alert(kept, given_up.at))
        return [kept]
    at, began = parse_timer(event).at, time.monotonic()
    swept = sweep(services, at, stop)
    for alert in alerts(swept, at):
        log.alert(**alert)
    for name, value, unit, dimensions in metrics(swept, time.monotonic() - began):
        log.metric(name, value, unit, dimensions)
    if swept.unreachable:
        raise SweepUnfinishedError(f"{len(swept.unreachable)} could not be reached, first {swept.unreachable[0]}")
    return swept.outcomes()


def _is_late() -> bool:
    return EVENT.left_s() < _RESERVE_S


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
