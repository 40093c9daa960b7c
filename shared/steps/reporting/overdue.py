"""Runs that were ordered and are not built: whatever became of their requests, build_report is woken again.

A run that ends removes its request; one that is there still asks for a run that has not ended.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from shared.cycle import parse_instant
from shared.errors import BadInputError
from shared.services import Services
from shared.steps.reporting import runs

_GRACE = timedelta(minutes=15)  # the time-out of build_report (s.yaml): until then it may be at it
_WOKEN_FOR = timedelta(days=2)  # what was not built by then is for people


def wake(services: Services, at: datetime) -> list[dict[str, Any]]:
    """Write the requests of overdue runs again; their ids, and whether they are late."""
    reports, outcomes = services.buckets.reports, []
    for key in reports.keys(runs.REQUESTS):
        run = _asked(services, key, at)
        if run is None:
            continue  # an object decides nothing, and build_report has kept it for people
        asked_for = at - parse_instant(str(run.said["at"]))
        if _GRACE < asked_for < _WOKEN_FOR:
            reports.put_again(key, reports.get(key))
            outcomes.append({"run": run.id, "owner": run.owner, "outcome": "woken", "late": run.is_late})
    return outcomes


def _asked(services: Services, key: str, at: datetime) -> runs.Run | None:
    try:
        owner, id_ = runs.parse_request_key(key)
    except BadInputError:
        return None
    return runs.find(services, owner, id_, at)
