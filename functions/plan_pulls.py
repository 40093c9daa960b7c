"""Plan what is asked of the provider when a timer fires; repeating an event is safe."""

from __future__ import annotations

import functools
import os
from typing import Any

from shared.bootstrap import build_services
from shared.cloud.fc import on_event, parse_timer
from shared.cloud.log import step_log
from shared.services import Services
from shared.steps.plan_pulls import plan_pulls


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context)


def run(event: bytes, services: Services, context: object = None) -> str:
    """Plan the round that the timer's payload names."""
    return on_event(
        "plan_pulls",
        event,
        quarantine=services.buckets.work,
        work=lambda: _work(event, services),
        log=step_log(context),
        context=context,
    )


def _work(event: bytes, services: Services) -> list[dict[str, Any]]:
    timer = parse_timer(event)
    return plan_pulls(services, timer.at, timer.payload)


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
