"""Ingest a pull when its last page is there; repeating an event is safe."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from typing import Any

from shared.bill.pulls import from_complete_key
from shared.bootstrap import build_services
from shared.cloud.fc import on_objects
from shared.cloud.log import step_log
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps import quality
from shared.steps.ingest_bill import ingest_bill


def handler(event: bytes, context: object) -> str:
    """Function Compute entry point."""
    return run(event, _services(), context)


def run(event: bytes, services: Services, context: object = None) -> str:
    """Carry out the step for every object that the event names."""
    return on_objects(
        "ingest_bill",
        event,
        bucket=(services.buckets.records, services.buckets.inbox),
        quarantine=services.buckets.work,
        work=lambda created: _work(services, created, context),
        log=step_log(context),
        context=context,
    )


def _work(services: Services, created: ObjectEvent, context: object) -> dict[str, Any]:
    if created.bucket == services.buckets.inbox.bucket:
        from shared.steps.ingest_file import ingest_file  # here: most events are pulls

        outcome = ingest_file(services, created)
        bills = {(one["account"], one["cycle"]) for one in outcome.get("bills", [])}
    else:
        outcome = ingest_bill(services, created)
        pull = from_complete_key(created.key)
        bills = {(pull.account, str(pull.cycle))} if outcome["sealed"] else set()
    _tell_quality(services, bills, context)
    return outcome


def _tell_quality(services: Services, bills: Iterable[tuple[str, str]], context: object) -> None:
    """Log the figures of the bills that were sealed or observed just now."""
    log = step_log(context)
    for account, cycle in sorted(bills):
        figures = quality.kept(services, account, cycle)
        for metric in quality.metrics(figures) if figures else ():
            log.metric(*metric)


@functools.cache
def _services() -> Services:
    # On the first call, not at import: a bad setting then fails one invocation with a readable message.
    return build_services(os.environ)
