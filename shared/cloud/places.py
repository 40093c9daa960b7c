"""A quota that many instances share: places in time, each of which one of them takes.

The provider allows so many calls in any second, over all instances. Time is cut into places, seven for every ten
calls that are allowed; whoever creates the row of a place may call once, in it. A window of a second touches at most
eight of them, which leaves two calls for what is late on its way. The Python SDK of Tablestore gives no counter back
from an increment, so that a place is taken by creating its row.
"""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable

from shared.ports import Rows, ServiceError

TABLE = "quotas"
_SHARE = 0.7
_TRIED_MOST = 10_000


class Places:
    """The places of one quota group, for all that call for it in this process."""

    def __init__(self, rows: Rows, group: str, calls_per_s: float, clock: Callable[[], float] = time.time) -> None:
        self._rows, self._group, self._clock = rows, group, clock
        self._per_s = calls_per_s * _SHARE
        self._me = secrets.token_hex(8)
        self._last = -1
        self._lock = threading.Lock()

    def wait_s(self, doing: str) -> float:
        """Takes the next free place; how many seconds from now it is."""
        for _ in range(_TRIED_MOST):
            now = self._clock()
            with self._lock:
                place = self._last = max(math.floor(now * self._per_s), self._last + 1)
            key = (("quota", self._group), ("place", place))
            # The name of who took it tells an own row, whose answer was lost, from another's.
            if self._rows.create(TABLE, key, {"taken_by": f"{self._me}-{place}"}):
                return max(0.0, place / self._per_s - self._clock())
        problem = f"none of the next {_TRIED_MOST} places of quota {self._group!r} is free"
        raise ServiceError(doing, problem, "it is asked again later", retryable=True)
