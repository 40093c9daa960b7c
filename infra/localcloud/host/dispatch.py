"""Who runs when: takes events in, delivers them within the limits, repeats what failed, passes on what keeps failing.

Everything happens on one event loop; there are no locks because no state changes across an await without being
complete.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
import time
import traceback
from collections import deque
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from infra.localcloud.common import Clock, Keys
from infra.localcloud.host.feed import BATCH_MAX, OssFeed
from infra.localcloud.host.instances import UNHANDLED, Instance, Outcome, Pool
from infra.localcloud.host.misbehave import UNTIL_IDLE, HostFaults
from infra.localcloud.host.queue import Delivery, Invocation, Queue, new_request_id
from infra.localcloud.host.template import Function, Template

POLL_BUSY_S = 0.003
POLL_IDLE_S = 0.02
END_IDLE_EVERY_S = 10.0
OSS_MARK = "oss"
COLD_GUESS_MS = 500.0


@dataclass(slots=True)
class Figures:
    """What a function did since the host started.

    `billed_ms` is the time that Function Compute would bill: each invocation with the start of its instance, rounded
    up to whole milliseconds.
    """

    invocations: int = 0
    errors: int = 0
    retries: int = 0
    cold_starts: int = 0
    cold_ms: float = 0.0
    busy_ms: float = 0.0
    billed_ms: int = 0
    cpu_ms: float = 0.0
    peak_mb: float = 0.0


@dataclass(slots=True)
class Totals:
    """What became of asynchronous events since the host started."""

    done: int = 0
    failed: int = 0
    retried: int = 0


@dataclass(slots=True)
class _Held:
    """An event, (id, function), that comes after as many younger ones, or, at UNTIL_IDLE, when no other waits."""

    row: tuple[int, str]
    waits_for: int


class StoppedError(Exception):
    """The host is ending."""


class BusyError(Exception):
    """The function already runs as often at once as it may."""


class Dispatcher:
    """Delivers events to functions; `slots` is how many processes may be busy at once."""

    def __init__(
        self, template: Template, queue: Queue, feed: OssFeed, pool: Pool, clock: Clock, keys: Keys, *,
        slots: int, backoff_s: float, faults: HostFaults | None = None,
    ) -> None:  # fmt: skip
        self.template, self.clock, self.totals = template, clock, Totals()
        self.figures = {name: Figures() for name in template.functions}
        self._queue, self._feed, self._pool, self._keys = queue, feed, pool, keys
        self._slots, self._backoff_s, self._faults = slots, backoff_s, faults
        self._held: list[_Held] = []
        self._ready: dict[str, deque[int]] = {name: deque() for name in template.functions}
        self._busy = dict.fromkeys(template.functions, 0)
        self._delivering = 0  # asynchronous events; `_busy` counts callers too
        self._backing_off = 0
        self._callers: deque[asyncio.Future[None]] = deque()
        self._idlers: list[asyncio.Future[None]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False
        self._oss_read = 0

    def start(self) -> None:
        """Take up what an earlier host left, and begin to watch OSS."""
        self._oss_read = int(self._queue.mark(OSS_MARK) or 0)
        self._line_up(row for row in self._queue.recover() if row[1] in self._ready)
        self._spawn(self._watch())

    async def stop(self) -> None:
        """End all instances; what was running is delivered again by the next host."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()
        for waiting in [*self._idlers, *self._callers]:
            if not waiting.done():
                waiting.set_exception(StoppedError())
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.close()
        self._feed.close()

    def take(self, deliveries: Sequence[Delivery], marks: Mapping[str, str] | None = None) -> None:
        """Take events in for delivery, moving the marks of their sources with them."""
        coming = [(one, None) for one in deliveries] if self._faults is None else self._faults.taken(deliveries)
        rows = self._queue.take([one for one, _ in coming], self.clock.now().isoformat(), marks or {})
        passed = [row for row, (_, waits_for) in zip(rows, coming, strict=True) if waits_for is None]
        self._line_up([*passed, *self._overtaken(len(passed))])
        # Those that wait were not there to be overtaken by what came with them.
        self._held += [
            _Held(row, waits_for) for row, (_, waits_for) in zip(rows, coming, strict=True) if waits_for is not None
        ]

    async def idle(self) -> None:
        """Wait until nothing is running, waiting or newly arrived."""
        while True:
            if self._stopped:
                raise StoppedError
            self._read_oss()
            if not self._active():
                return
            waiter = asyncio.get_running_loop().create_future()
            self._idlers.append(waiter)
            await waiter

    async def call(self, function: Function, event: bytes) -> tuple[str, Outcome]:
        """Invoke synchronously; returns (request id, outcome). Such calls are never repeated."""
        if self._full(function):
            raise BusyError
        # The place is taken before waiting for a free processor, so that a second caller sees it taken.
        self._busy[function.name] += 1
        try:
            if sum(self._busy.values()) > self._slots:
                waiter = asyncio.get_running_loop().create_future()
                self._callers.append(waiter)
                try:
                    await waiter
                finally:
                    if waiter in self._callers:
                        self._callers.remove(waiter)
            request_id = new_request_id()
            return request_id, await self._run(self._pool.take(function), request_id, event)
        finally:
            self._busy[function.name] -= 1
            self._next()

    def status(self) -> dict[str, object]:
        """Figures per function, counts of the queue and the last failures."""
        return {
            "functions": {name: asdict(figures) for name, figures in self.figures.items()},
            "queue": self._queue.counts(),
            "failures": self._queue.failures(20),
        }

    def counts(self) -> dict[str, int]:
        """What became of asynchronous events since the host started."""
        return asdict(self.totals)

    def _line_up(self, rows: Iterable[tuple[int, str]]) -> None:
        for invocation_id, function in rows:
            self._ready[function].append(invocation_id)
        self._next()

    def _overtaken(self, count: int) -> list[tuple[int, str]]:
        """The events that have waited long enough, now that `count` younger ones have passed."""
        released: list[tuple[int, str]] = []
        for held in [one for one in self._held if one.waits_for != UNTIL_IDLE]:
            held.waits_for -= min(count, held.waits_for)
            if held.waits_for == 0:
                self._held.remove(held)
                released.append(held.row)
        return released

    def _next(self) -> None:
        """Start whatever may start now: first callers that wait, then events in the order they came."""
        if self._stopped:
            return
        while self._callers and sum(self._busy.values()) - len(self._callers) < self._slots:
            caller = self._callers.popleft()
            if not caller.done():
                caller.set_result(None)
        while sum(self._busy.values()) < self._slots:
            startable = [
                (waiting[0], name)
                for name, waiting in self._ready.items()
                if waiting and not self._full(self.template.functions[name]) and self._pays(name)
            ]
            if not startable:
                break
            invocation_id, name = min(startable)
            self._ready[name].popleft()
            self._busy[name] += 1
            self._delivering += 1
            function = self.template.functions[name]
            # Taken here and not in the task, so that the next turn of this loop does not count on it too.
            self._spawn(self._deliver(function, self._pool.take(function), invocation_id))

    def _full(self, function: Function) -> bool:
        return function.concurrency_max is not None and self._busy[function.name] >= function.concurrency_max

    def _pays(self, name: str) -> bool:
        """Whether the next event should start now: a warm instance is free, or one more is worth starting.

        The cloud starts one for every event that waits. Here all share a few processors, and a cold start costs as
        much as many events, so it has to save more time than it takes.
        """
        if self._pool.has_idle(name) or not self._busy[name]:
            return True
        figures = self.figures[name]
        cold_ms = figures.cold_ms / figures.cold_starts if figures.cold_starts else COLD_GUESS_MS
        spent_ms = figures.busy_ms / figures.invocations if figures.invocations else 0.0
        # An event that takes longer than those before it is known by its age.
        spent_ms = max(spent_ms, self._pool.longest_ms(name))
        return len(self._ready[name]) * spent_ms / self._busy[name] > cold_ms

    async def _deliver(self, function: Function, instance: Instance, invocation_id: int) -> None:
        invocation = self._queue.begin(invocation_id)
        if self._faults is not None:
            self._faults.begin(invocation, instance.process)
        outcome = await self._run(instance, invocation.request_id, invocation.payload)
        if self._faults is not None:
            self._faults.end(instance.process)
        # Its place is free and its result is written in one go: nobody sees the one without the other.
        self._busy[function.name] -= 1
        self._delivering -= 1
        self._record(function, invocation, outcome)
        self._read_oss()
        self._next()
        self._wake_idlers()

    async def _run(self, instance: Instance, request_id: str, event: bytes) -> Outcome:
        outcome = await self._pool.run(instance, request_id, event)
        figures = self.figures[instance.function.name]
        figures.invocations += 1
        figures.errors += bool(outcome.error_type)
        figures.cold_starts += outcome.cold_ms > 0
        figures.cold_ms += outcome.cold_ms
        figures.busy_ms += outcome.busy_ms
        figures.billed_ms += math.ceil(outcome.busy_ms + outcome.cold_ms)
        figures.cpu_ms += outcome.cpu_ms
        figures.peak_mb = max(figures.peak_mb, outcome.peak_mb)
        return outcome

    def _record(self, function: Function, invocation: Invocation, outcome: Outcome) -> None:
        if not outcome.error_type:
            self.totals.done += 1
            self._queue.done(invocation.id, outcome.body, outcome.busy_ms)
        elif invocation.attempts < function.retries_max:
            self.totals.retried += 1
            self.figures[function.name].retries += 1
            self._queue.again(invocation.id, outcome.error_type, outcome.body, outcome.busy_ms)
            self._back_off(function, invocation)
        else:
            self.totals.failed += 1
            onward = self._onward(function, invocation, outcome)
            now = self.clock.now().isoformat()
            rows = self._queue.failed(invocation.id, outcome.error_type, outcome.body, outcome.busy_ms, onward, now)
            self._line_up(rows)

    def _back_off(self, function: Function, invocation: Invocation) -> None:
        def over() -> None:
            self._backing_off -= 1
            self._line_up([(invocation.id, function.name)])

        self._backing_off += 1
        asyncio.get_running_loop().call_later(self._backoff_s * 2**invocation.attempts, over)

    def _onward(self, function: Function, invocation: Invocation, outcome: Outcome) -> Delivery | None:
        """What the failure destination receives; the shape is a recorded message of a real function."""
        if function.on_failure is None:
            return None
        payload = {
            "timestamp": int(self.clock.now().timestamp() * 1000),
            "requestContext": {
                "requestId": invocation.request_id,
                "functionArn": f"acs:fc:{self._keys.region}:{self._keys.account_id}:functions/{function.name}",
                "condition": outcome.error_type,
                "approximateInvokeCount": invocation.attempts + 1,
            },
            "requestPayload": invocation.payload.decode(errors="replace"),
            "responseContext": {"statusCode": 200, "functionError": UNHANDLED},
            "responsePayload": outcome.body.decode(errors="replace"),
        }
        subject = f"{function.name}: {invocation.subject}"
        return Delivery(function.on_failure, "destination", subject, json.dumps(payload).encode())

    def _read_oss(self) -> None:
        """Take in what OSS has recorded since the last time."""
        while events := self._feed.after(self._oss_read):
            deliveries = [
                Delivery(
                    trigger.function, "oss", f"{event.bucket}/{event.key}", _with_rule(event.body, trigger.rule_id)
                )
                for event in events
                for trigger in self.template.oss_triggers
                if trigger.matches(event.bucket, event.key, event.name)
            ]
            self._oss_read = events[-1].id
            self.take(deliveries, {OSS_MARK: str(self._oss_read)})
            if len(events) < BATCH_MAX:
                return

    async def _watch(self) -> None:
        ended_idle = time.monotonic()
        while True:
            self._read_oss()
            self._wake_idlers()
            self._next()  # whether another instance pays changes while events run
            if time.monotonic() - ended_idle > END_IDLE_EVERY_S:
                ended_idle = time.monotonic()
                self._pool.end_idle()
            await asyncio.sleep(POLL_BUSY_S if self._active() else POLL_IDLE_S)

    def _active(self) -> bool:
        return bool(self._delivering or self._backing_off or any(self._ready.values()) or self._held)

    def _wake_idlers(self) -> None:
        if self._held and not (self._delivering or self._backing_off or any(self._ready.values())):
            late, self._held = self._held, []
            self._line_up(held.row for held in late)
        if self._active():
            return
        idlers, self._idlers = self._idlers, []
        for waiter in idlers:
            if not waiter.done():
                waiter.set_result(None)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if self._stopped or task.cancelled() or task.exception() is None:
            return
        # A fault of the host itself: the queue on disk is right and this process may not be, so it ends.
        traceback.print_exception(task.exception(), file=sys.stderr)
        sys.stderr.flush()
        os._exit(70)


def _with_rule(body: str, rule_id: str) -> bytes:
    element = json.loads(body)
    element.setdefault("oss", {})["ruleId"] = rule_id
    return json.dumps({"events": [element]}, ensure_ascii=False).encode()
