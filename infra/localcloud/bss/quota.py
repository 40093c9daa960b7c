"""How often a main account may call: so many calls within a sliding window of the system's clock."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `calls` within any `window_s` seconds."""

    calls: int
    window_s: float


class Quotas:
    """Counts calls by action and main account; an action without a quota is never refused."""

    def __init__(self, quotas: Mapping[str, Quota]) -> None:
        self._quotas = quotas
        self._calls: dict[tuple[str, str], deque[float]] = {}

    def take(self, action: str, account: str, now_s: float) -> bool:
        """Whether the call may go on; one that may not does not count."""
        quota = self._quotas.get(action)
        if quota is None:
            return True
        calls = self._calls.setdefault((action, account), deque())
        while calls and calls[0] <= now_s - quota.window_s:
            calls.popleft()
        if len(calls) >= quota.calls:
            return False
        calls.append(now_s)
        return True
