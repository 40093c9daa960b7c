"""Build a report that somebody asked for when its request lands; repeating an event is safe."""

from __future__ import annotations

import functools
import os

from shared.bootstrap import build_services
from shared.cloud.fc import on_objects
from shared.cloud.log import step_log
from shared.services import Services
from shared.steps.reporting.running import build


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context)


def run(event: bytes, services: Services, context: object = None) -> str:
    """Build the run of every request that the event names."""
    return on_objects(
        "build_report",
        event,
        bucket=services.buckets.reports,
        quarantine=services.buckets.work,
        work=lambda created: build(services, created),
        log=step_log(context),
        context=context,
    )


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
