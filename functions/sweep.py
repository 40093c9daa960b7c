"""Mend what is missing when a timer fires, and keep invocations that were given up; repeating an event is safe."""

from __future__ import annotations

import functools
import os
from typing import Any

from shared.bootstrap import build_services
from shared.cloud.fc import on_event, parse_given_up, parse_timer
from shared.cloud.log import step_log
from shared.services import Services
from shared.steps.sweep import keep_failed, sweep


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context)


def run(event: bytes, services: Services, context: object = None) -> str:
    """Sweep, or keep the failed invocation that the event describes."""
    return on_event(
        "sweep",
        event,
        quarantine=services.buckets.work,
        work=lambda: _work(event, services),
        log=step_log(context),
    )


def _work(event: bytes, services: Services) -> list[dict[str, Any]]:
    given_up = parse_given_up(event)
    if given_up is not None:
        return [keep_failed(services, given_up.data, given_up.at)]
    return sweep(services, parse_timer(event).at)


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
