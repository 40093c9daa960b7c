"""Events of owners that nobody was told of: their wake was lost, or given up."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

from shared.cycle import parse_instant, stamp
from shared.events import owners
from shared.events.events import month_of
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps.delivering.each import Each
from shared.steps.notify import owner_mark, tell_owner

_GRACE = timedelta(minutes=15)  # of the attempts of notify
_LOOKED_BACK = timedelta(days=7)  # whatever hinders for longer people have been told of


def tell_missed(services: Services, at: datetime, each: Each) -> None:
    """Open what such an event calls for, which then waits as rows like all else."""
    work = services.buckets.work

    def tell(key: str) -> list[dict[str, Any]]:
        since = at - parse_instant(json.loads(work.get(key))["time"])
        return [tell_owner(services, ObjectEvent(work.bucket, key, at))[0]] if _GRACE < since < _LOOKED_BACK else []

    for month in sorted({month_of(stamp(one)) for one in (at - _LOOKED_BACK, at)}):
        marked = set(work.keys(owner_mark(f"{owners.OWNERS}{month}/")))
        missed = [one for one in work.keys(f"{owners.OWNERS}{month}/") if owner_mark(one) not in marked]
        each.of([one for one in missed if owners.parse_key(one) is not None], tell, "event")
