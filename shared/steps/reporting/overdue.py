"""Runs that were ordered and are not built: whatever became of their requests, build_report is woken again.

A run that ends removes its request; one that is there still asks for a run that has not ended.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from shared.cycle import parse_instant
from shared.errors import BadInputError
from shared.services import Services
from shared.steps.delivering.each import Each
from shared.steps.reporting import runs

_GRACE = timedelta(minutes=15)  # the time-out of build_report (s.yaml): until then it may be at it
_WOKEN_FOR = timedelta(days=2)  # what was not built by then is for people


def wake(services: Services, at: datetime, each: Each) -> None:
    """Write the requests of overdue runs again."""
    reports = services.buckets.reports

    def again(key: str) -> list[dict[str, Any]]:
        run = _asked(services, key, at)
        if run is None or not _GRACE < at - parse_instant(str(run.said["at"])) < _WOKEN_FOR:
            return []  # of nobody: an object decides nothing, and build_report has kept it for people
        reports.put_again(key, reports.get(key))
        return [{"run": run.id, "owner": run.owner, "outcome": "woken", "late": run.is_late}]

    each.of(reports.keys(runs.REQUESTS), again, "request")


def _asked(services: Services, key: str, at: datetime) -> runs.Run | None:
    try:
        owner, id_ = runs.parse_request_key(key)
    except BadInputError:
        return None
    return runs.find(services, owner, id_, at)
