"""Pull one date's bill when its order lands; repeating an event is safe."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable

from shared.bootstrap import build_services
from shared.cloud.fc import on_objects
from shared.cloud.log import step_log
from shared.cloud.patience import EVENT
from shared.services import Services
from shared.steps.pull_bill import pull_bill
from shared.steps.stopping import never

# What one page may take that the provider is slow to give: begun with less, the pull would be cut off without a word.
_RESERVE_S = 30.0


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context, _is_late)


def run(event: bytes, services: Services, context: object = None, stop: Callable[[], bool] = never) -> str:
    """Carry out the step for every object that the event names, until `stop` says that time is up."""
    return on_objects(
        "pull_bill",
        event,
        bucket=services.buckets.work,
        quarantine=services.buckets.work,
        work=lambda created: pull_bill(services, created, stop),
        log=step_log(context),
        context=context,
    )


def _is_late() -> bool:
    return EVENT.left_s() < _RESERVE_S


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
