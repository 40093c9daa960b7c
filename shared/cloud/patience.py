"""How long an adapter tries: attempts with growing pauses, never beyond the time that the event has left.

The SDKs' own retries are switched off, because none of them knows when the function's time is up. python3.12's
context tells no remaining time (facts: Context), so the deadline is counted from the event's beginning and the
function's timeout. An instance works on one event at a time, so there is one deadline in a process: `EVENT`.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TypeVar

from shared.errors import SettingError
from shared.ports import ServiceError

_MARGIN_S = 5.0  # kept back of the function's time, to answer or to fail with a message; a tenth of a short time
_LEAST_TIMEOUT_S = 0.25  # what a try near the end still gets, out of that margin

T = TypeVar("T")


class PassingError(ServiceError):
    """A failure that may pass. `is_doubtful`: the call may have taken effect, only its answer is missing.

    `is_throttling` says that fewer calls would help, `after_s` how long the service asks to be left alone.
    `only_once` marks a refusal that one more try tells from a real one; it is final the second time.
    """

    def __init__(
        self,
        doing: str,
        problem: str,
        remedy: str,
        *,
        is_doubtful: bool = False,
        is_throttling: bool = False,
        after_s: float = 0.0,
        only_once: bool = False,
    ) -> None:
        super().__init__(doing, problem, remedy, retryable=not only_once)
        self.doing, self.problem, self.remedy = doing, problem, remedy
        self.is_doubtful, self.is_throttling = is_doubtful, is_throttling
        self.after_s, self.only_once = after_s, only_once

    def for_good(self, tries: int) -> ServiceError:
        """What is raised when there is no further try."""
        problem = self.problem if tries == 1 else f"{self.problem}, after {tries} tries"
        return ServiceError(self.doing, problem, self.remedy, retryable=self.retryable)


class Deadline:
    """When the event that is carried out must be answered; without an event there is no end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = math.inf

    @contextmanager
    def of_event(self, context: object) -> Iterator[None]:
        """From now on, for as long as the function may run (`context.function.timeout`, in seconds)."""
        before = self._end
        timeout_s = _seconds(getattr(getattr(context, "function", None), "timeout", None))
        self._end = self._clock() + timeout_s - min(_MARGIN_S, timeout_s / 10)
        try:
            yield
        finally:
            self._end = before

    def left_s(self) -> float:
        """The seconds left; none when it has passed, `inf` without an event."""
        return max(0.0, self._end - self._clock())

    def is_over(self) -> bool:
        """Whether a long step should stop where it can be taken up again."""
        return self.left_s() == 0.0


EVENT = Deadline()


@dataclass(frozen=True, slots=True)
class Patience:
    """How an adapter tries. An operation is tried for `total_s`, or for what its event has left if that is less.

    Pauses are drawn between nothing and a ceiling that doubles (full jitter), so that many who were refused
    together do not come back together.
    """

    total_s: float = 120.0
    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 20.0
    deadline: Deadline = EVENT
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random

    def persist(self, attempt: Callable[[bool], T]) -> T:
        """What `attempt` answers, tried again after a PassingError; raises its ServiceError when time is up.

        It is told whether an earlier try may have taken effect.
        """
        tries, is_doubtful = self.begin(), False
        while True:
            try:
                return attempt(is_doubtful)
            except PassingError as exc:
                is_doubtful = is_doubtful or exc.is_doubtful
                tries.pause_after(exc)

    def begin(self) -> Tries:
        """The tries of one operation, for a caller with a loop of its own."""
        return Tries(self)

    def timeouts_s(self) -> tuple[float, float]:
        """For connecting, and for the wait between two parts of an answer."""
        most = max(_LEAST_TIMEOUT_S, self.deadline.left_s())
        return min(self.connect_timeout_s, most), min(self.read_timeout_s, most)


class Tries:
    """The failed tries of one operation."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._count = self._in_a_row = 0
        self._refused = False
        self._end = patience.clock() + patience.total_s

    def pause_after(self, failed: PassingError) -> None:
        """Wait before the next try; raises the failure's ServiceError when no further try is due."""
        patience = self._patience
        self._count += 1
        ceiling = min(patience.longest_pause_s, patience.first_pause_s * 2.0 ** min(self._in_a_row, 30))
        self._in_a_row += 1
        pause = max(failed.after_s, patience.chance() * ceiling)
        left = min(self._end - patience.clock(), patience.deadline.left_s())
        if pause >= left or (failed.only_once and self._refused):
            raise failed.for_good(self._count) from failed
        self._refused = self._refused or failed.only_once
        patience.sleep(pause)

    def went_on(self) -> None:
        """Part of the work succeeded: the pauses and the patience begin anew."""
        self._in_a_row = 0
        self._end = self._patience.clock() + self._patience.total_s


class Pace:
    """At most `calls` calls in any `window_s` seconds, by all threads together."""

    def __init__(self, calls: int, window_s: float = 1.0) -> None:
        self._window_s = window_s
        self._taken: deque[float] = deque(maxlen=calls)
        self._lock = threading.Lock()

    def wait_s(self, now: float) -> float:
        """Takes the next free place; how many seconds from `now` it is."""
        with self._lock:
            is_full = len(self._taken) == self._taken.maxlen
            at = max(now, self._taken[0] + self._window_s) if is_full else now
            self._taken.append(at)
            return at - now

    def hold_until(self, at: float) -> None:
        """The service refused for too many calls, others' among them: all places before `at` are gone."""
        gone = at - self._window_s
        with self._lock:
            later = [max(taken, gone) for taken in self._taken]
            self._taken.extend([gone] * ((self._taken.maxlen or 0) - len(later)) + later)


def from_settings(environ: Mapping[str, str]) -> Patience:
    """The patience of a function or command; CLEARBOOK_{CONNECT_TIMEOUT,READ_TIMEOUT,PATIENCE}_S change it."""
    usual = Patience()
    # A person at a command does not wait as long as a function may.
    total_s = usual.total_s if environ.get("FC_FUNCTION_NAME") else 20.0
    return replace(
        usual,
        total_s=_setting(environ, "CLEARBOOK_PATIENCE_S", total_s),
        connect_timeout_s=_setting(environ, "CLEARBOOK_CONNECT_TIMEOUT_S", usual.connect_timeout_s),
        read_timeout_s=_setting(environ, "CLEARBOOK_READ_TIMEOUT_S", usual.read_timeout_s),
    )


def _setting(environ: Mapping[str, str], name: str, usual: float) -> float:
    text = environ.get(name)
    if not text:
        return usual
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < math.inf:
        raise SettingError(name, f"is {text!r}", "expected seconds, such as 5 or 0.5")
    return seconds


def _seconds(timeout: object) -> float:
    is_given = isinstance(timeout, int | float) and not isinstance(timeout, bool) and timeout > 0
    return float(timeout) if is_given else math.inf  # type: ignore[arg-type]
