"""How much one person or key may ask: so many requests at once, and so many a minute. Reading costs one, running more.

The bucket of each is a row, so that all instances of the function know of each other.
"""

from __future__ import annotations

from datetime import datetime

from shared.errors import ClearbookError
from shared.services import Services

TABLE = "limits"
BURST, PER_MINUTE = 120, 240
_MILLI = 1000
_TRIES = 3


class TooManyRequestsError(ClearbookError):
    """Somebody asks more often than they may."""

    code = "too_many_requests"

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(f"you ask too often: at most {PER_MINUTE} a minute; ask again in {retry_after_s} seconds")
        self.retry_after_s = retry_after_s


def spend(services: Services, who: str, at: datetime, cost: int = 1) -> None:
    """Take from what somebody has left; raises TooManyRequestsError where it is not enough."""
    key = (("who", who),)
    now_ms = int(at.timestamp() * _MILLI)
    for _ in range(_TRIES):
        row = services.rows.get(TABLE, key) or {"version": 0, "left": BURST * _MILLI, "at_ms": now_ms}
        # Requests may come in another order than the platform stamped them: time does not run back.
        passed_ms = max(0, now_ms - int(row["at_ms"]))
        left = min(BURST * _MILLI, int(row["left"]) + passed_ms * PER_MINUTE // 60)
        if left < cost * _MILLI:
            missing = cost * _MILLI - left
            raise TooManyRequestsError(max(1, -(-missing * 60 // (PER_MINUTE * _MILLI))))
        version, at_ms = int(row["version"]) + 1, max(now_ms, int(row["at_ms"]))
        spent = {"version": version, "left": left - cost * _MILLI, "at_ms": at_ms}
        if services.rows.put_newer(TABLE, [(key, spent)], "version"):
            return
    # So many at the same moment: the others have spent, and one more or less is no matter.
