"""Write a payout file when an approved batch orders it; repeating an event is safe."""

from __future__ import annotations

import functools
import os

from shared.bootstrap import build_services
from shared.cloud.fc import on_objects
from shared.cloud.log import step_log
from shared.services import Services
from shared.steps.pay_resellers import pay_resellers


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context)


def run(event: bytes, services: Services, context: object = None) -> str:
    """Carry out the step for every object that the event names."""
    return on_objects(
        "pay_resellers",
        event,
        bucket=services.buckets.work,
        quarantine=services.buckets.work,
        work=lambda created: pay_resellers(services, created),
        log=step_log(context),
        context=context,
    )


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
