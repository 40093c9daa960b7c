"""Fires timer triggers: by themselves while time runs with the system's, or instant by instant when it is played."""

from __future__ import annotations

import asyncio
import heapq
import json
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from infra.localcloud.common import Clock, LocalCloudError
from infra.localcloud.host.dispatch import Dispatcher
from infra.localcloud.host.pushes import BillPushes
from infra.localcloud.host.queue import Delivery, Queue
from infra.localcloud.host.template import TimerTrigger

CLOCK_MARK = "clock"
LOOK_AGAIN_S = 0.25

Report = Callable[[dict[str, object]], Awaitable[None]]


class PlayingError(LocalCloudError):
    """Time is being played already."""


class Timers:
    """The timers of all functions, and the clock they follow."""

    def __init__(
        self, triggers: Sequence[TimerTrigger], dispatcher: Dispatcher, queue: Queue, clock: Clock, home: Path
    ) -> None:
        self._triggers, self._dispatcher, self._queue, self._clock = triggers, dispatcher, queue, clock
        self._clock_file = home / "clock"
        self._pushes = BillPushes(home)
        self._playing = False

    @property
    def clock_stands(self) -> bool:
        """Whether the clock was set, so that time passes only when it is played."""
        return self._clock_file.exists()

    def recover(self) -> None:
        """Finish a step of the clock that a killed host had begun: its timers were taken in, its clock not set."""
        step = self._queue.mark(CLOCK_MARK)
        if step and self.clock_stands:
            before, after = step.split()
            if self._clock.now() == datetime.fromisoformat(before):
                self._clock.set(datetime.fromisoformat(after))

    def set_clock(self, instant: datetime | None) -> None:
        """Set the clock without firing anything; None lets it run with the system's."""
        if self._playing:
            raise PlayingError("time is being played; wait until it arrives")
        self._queue.take([], "", {CLOCK_MARK: ""})
        self._clock.set(instant)

    async def play(self, to: datetime, report: Report) -> dict[str, object]:
        """Fire every timer up to `to` in order of time, each instant's work done before the next begins.

        Bill files that are due come between the timers, those that were missed first. `report` is told of each
        instant; returns the sums. If it raises, time stands at the instant reached.
        """
        now = self._clock.now()
        if to < now:
            raise LocalCloudError(f"time is at {_iso(now)} and cannot be played back to {_iso(to)}; give a later time")
        if self._playing:
            raise PlayingError("time is being played; wait until it arrives")
        self._playing = True
        try:
            return await self._play(now, to, report)
        finally:
            self._playing = False

    async def live(self) -> None:
        """While the clock runs with the system's, fire timers as they come due."""
        seen = datetime.now(UTC)
        while True:
            await asyncio.sleep(LOOK_AGAIN_S)
            now = datetime.now(UTC)
            if not self.clock_stands and not self._playing:
                for instant, triggers in due(self._triggers, seen, now):
                    self._dispatcher.take([_delivery(trigger, instant) for trigger in triggers])
            seen = now

    async def _play(self, now: datetime, to: datetime, report: Report) -> dict[str, object]:
        started, instants, fired = time.perf_counter(), 0, 0
        first = self._dispatcher.counts()
        await self._dispatcher.idle()
        for instant, triggers in due(self._triggers, now, to):
            await self._push_bills(instant, report)
            before, began = self._dispatcher.counts(), time.perf_counter()
            self._step(instant, [_delivery(trigger, instant) for trigger in triggers])
            await self._dispatcher.idle()
            instants, fired = instants + 1, fired + len(triggers)
            done = _difference(self._dispatcher.counts(), before)
            await report({"at": _iso(instant), "timers": len(triggers), **done, "ms": _ms_since(began)})
        await self._push_bills(to, report)
        self._step(to, [])
        done = _difference(self._dispatcher.counts(), first)
        return {"at": _iso(to), "instants": instants, "timers": fired, **done, "ms": _ms_since(started)}

    async def _push_bills(self, until: datetime, report: Report) -> None:
        """Have BSS push what is due up to `until`, each at its instant, and work off what its objects wake."""
        while (instant := self._pushes.next_due()) is not None and instant <= until:
            before, began = self._dispatcher.counts(), time.perf_counter()
            if instant > self._clock.now():
                self._step(instant, [])
            pushed = await self._pushes.push(instant)
            await self._dispatcher.idle()
            done = _difference(self._dispatcher.counts(), before)
            await report({"at": _iso(instant), "timers": 0, "pushed": pushed, **done, "ms": _ms_since(began)})

    def _step(self, instant: datetime, deliveries: list[Delivery]) -> None:
        # The mark is written with the events and names the clock before and after, so that a host killed between
        # the two writes neither fires these timers again nor runs them at the old time (see recover).
        mark = f"{self._clock.now().isoformat()} {instant.isoformat()}"
        self._dispatcher.take(deliveries, {CLOCK_MARK: mark})
        self._clock.set(instant)


def due(
    triggers: Sequence[TimerTrigger], after: datetime, to: datetime
) -> Iterator[tuple[datetime, list[TimerTrigger]]]:
    """The instants after `after` up to `to` at which timers fire, in order, each with its triggers."""
    heap = [(trigger.schedule.next_after(after), index) for index, trigger in enumerate(triggers)]
    heapq.heapify(heap)
    while heap and heap[0][0] <= to:
        instant, together = heap[0][0], []
        while heap[0][0] == instant:
            trigger = triggers[heap[0][1]]
            together.append(trigger)
            heapq.heapreplace(heap, (trigger.schedule.next_after(instant), heap[0][1]))
        yield instant, together


def _delivery(trigger: TimerTrigger, instant: datetime) -> Delivery:
    event = {"triggerTime": _iso(instant), "triggerName": trigger.name, "payload": trigger.payload}
    subject = f"{trigger.name} {_iso(instant)}"
    return Delivery(trigger.function, "timer", subject, json.dumps(event, ensure_ascii=False).encode())


def _iso(instant: datetime) -> str:
    return instant.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _difference(after: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {key: value - before[key] for key, value in after.items()}


def _ms_since(started: float) -> int:
    return round((time.perf_counter() - started) * 1000)
