"""What the timer does, by default every quarter of an hour: whatever of schedules and messages is due, or was lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from shared.services import Services
from shared.steps.delivering import deliveries, notices, schedules
from shared.steps.delivering.each import Each
from shared.steps.delivering.reports import Reports


def deliver(services: Services, at: datetime, stop: Callable[[], bool], reports: Reports) -> list[dict[str, Any]]:
    """Carry on with reports and schedules, then with what is to be told; ids and outcomes.

    Whatever fails stops nothing else; raises UnfinishedError at the end.
    """
    each = Each(stop)

    works: dict[str, Callable[[], None]] = {
        "reports": lambda: reports.wake(services, at, each),
        "schedules": lambda: schedules.due(services, reports, at, each),
        "notices": lambda: notices.tell_missed(services, at, each),
        "messages": lambda: deliveries.attempt_due(services, each),
    }
    each.of(works, lambda name: works[name]() or (), "all")
    return each.finish()
