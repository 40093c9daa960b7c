"""Plan what is asked of the provider when a timer fires or a step asks again; repeating an event is safe."""

from __future__ import annotations

import functools
import os
from typing import Any

from shared.bootstrap import build_services
from shared.cloud.fc import on_event, on_objects, parse_elements, parse_timer
from shared.cloud.log import step_log
from shared.errors import BadInputError
from shared.services import Services
from shared.steps.plan_pulls import order_again, plan_pulls


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context)


def run(event: bytes, services: Services, context: object = None) -> str:
    """Plan the round that the timer's payload names, or order what an object asks for."""
    if _names_objects(event):
        return on_objects(
            "plan_pulls",
            event,
            bucket=services.buckets.work,
            quarantine=services.buckets.work,
            work=lambda created: order_again(services, created),
            log=step_log(context),
            context=context,
        )
    return on_event(
        "plan_pulls",
        event,
        quarantine=services.buckets.work,
        work=lambda: _work(event, services),
        log=step_log(context),
        context=context,
    )


def _names_objects(event: bytes) -> bool:
    try:
        return bool(parse_elements(event))
    except BadInputError:
        return False


def _work(event: bytes, services: Services) -> list[dict[str, Any]]:
    timer = parse_timer(event)
    return plan_pulls(services, timer.at, timer.payload)


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
