"""What the timer does every quarter of an hour: open the slots of schedules, and make the attempts that are due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from shared.errors import ClearbookError
from shared.services import Services
from shared.steps.delivering import deliveries, schedules
from shared.steps.delivering.reports import Reports

DELIVER = "deliver"  # the timer's payload


class TimerUnfinishedError(ClearbookError):
    """Something of it could not be done now; the rest is done."""

    code = "timer_unfinished"
    retryable = True


def deliver(
    services: Services, at: datetime, stop: Callable[[], bool], reports: Reports | None = None
) -> list[dict[str, Any]]:  # fmt: skip
    """Carry on with schedules where there are `reports`, then with deliveries; ids and outcomes.

    One that fails does not stop the other; raises TimerUnfinishedError at the end.
    """
    outcomes, problems = [], []
    if reports is not None:
        try:
            outcomes += schedules.due(services, reports, at, stop)
        except schedules.SchedulesUnfinishedError as exc:
            problems.append(str(exc))
    try:
        outcomes += deliveries.attempt_due(services, stop)
    except deliveries.DeliveriesUnfinishedError as exc:
        problems.append(str(exc))
    if problems:
        raise TimerUnfinishedError("; ".join(problems))
    return outcomes
