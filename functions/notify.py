"""Deliver what a reseller is told when it lands in the outbox; repeating an event is safe."""

from __future__ import annotations

import functools
import os

from shared.bootstrap import build_services
from shared.cloud.fc import on_objects
from shared.cloud.log import step_log
from shared.services import Services
from shared.steps.notify import notify


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context)


def run(event: bytes, services: Services, context: object = None) -> str:
    """Carry out the step for every object that the event names."""
    return on_objects(
        "notify",
        event,
        bucket=services.buckets.work,
        quarantine=services.buckets.work,
        work=lambda created: notify(services, created),
        log=step_log(context),
        context=context,
    )


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
