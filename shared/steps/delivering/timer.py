"""What the timer does, by default every quarter of an hour: whatever of schedules and messages is due, or was lost."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

from shared.errors import ClearbookError
from shared.services import Services
from shared.steps.delivering import deliveries, notices, schedules
from shared.steps.delivering.reports import Reports


class TimerUnfinishedError(ClearbookError):
    """Something of it could not be done now; the rest is done."""

    code = "timer_unfinished"
    retryable = True


def deliver(
    services: Services, at: datetime, stop: Callable[[], bool], reports: Reports | None = None
) -> list[dict[str, Any]]:  # fmt: skip
    """Carry on with schedules where there are `reports`, then with what is to be told; ids and outcomes.

    One that fails does not stop the others; raises TimerUnfinishedError at the end.
    """
    outcomes, problems = list[dict[str, Any]](), list[str]()
    works: list[Callable[[], list[dict[str, Any]]]] = []
    if reports is not None:
        works += [partial(reports.wake, services, at), partial(schedules.due, services, reports, at, stop)]
    works += [partial(notices.tell_missed, services, at), partial(deliveries.attempt_due, services, stop)]
    for work in works:
        try:
            outcomes += work()
        except ClearbookError as exc:
            problems.append(str(exc))
    if problems:
        raise TimerUnfinishedError("; ".join(problems))
    return outcomes
