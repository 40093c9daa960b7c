"""Open the slots of schedules, and make the deliveries that are due, when a timer fires; repeating is safe."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable
from typing import Any

from shared.bootstrap import build_services, setting
from shared.cloud.fc import on_event, parse_timer
from shared.cloud.log import step_log
from shared.cloud.patience import EVENT
from shared.services import Services
from shared.steps.delivering.timer import deliver
from shared.steps.reporting.scheduled import reports
from shared.steps.stopping import never

_RESERVE_S = 30.0  # what one attempt may take, which waits for somebody else's server: begun with less, it is cut off


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context, setting(os.environ, "CLEARBOOK_PORTAL"), _is_late)


def run(
    event: bytes,
    services: Services,
    context: object = None,
    address: str = "",
    stop: Callable[[], bool] = never,
) -> str:
    """Carry on until `stop` says that time is up; links begin with the portal's `address`."""

    def work() -> list[dict[str, Any]]:
        at, began = parse_timer(event).at, time.monotonic()
        outcomes = deliver(services, at, stop, reports(address, lambda: at))
        log.metric("deliver_duration", round(time.monotonic() - began, 3), "seconds", {})
        return outcomes

    log = step_log(context)
    quarantine = services.buckets.work
    return on_event("deliver", event, quarantine=quarantine, work=work, log=log, context=context)


def _is_late() -> bool:
    return EVENT.left_s() < _RESERVE_S


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
