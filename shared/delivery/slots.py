"""When a schedule is due: its slots, each with a key that is the same whoever asks, and whenever.

A slot is of a local day (or of a month), never of an instant: a day has one slot however the clocks are put.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from shared.cycle import Cycle
from shared.errors import BadInputError

_DAY = timedelta(days=1)
_FIELDS = ("every", "time", "zone", "weekday", "day")
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)
_NO_ZONES = ("localtime", "posixrules", "Factory")  # files beside the zones: whatever the machine is set to
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


class Every(StrEnum):
    """How often."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    FINAL = "final"  # once a month, when the figures of the month before are final


@dataclass(frozen=True, slots=True)
class Slot:
    """One time at which a schedule runs."""

    key: str  # YYYY-MM-DD of the local day; of a final month YYYY-MM
    at: datetime  # in UTC; of a final month the earliest
    today: date  # the day that presets such as last_month count from


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often, at what local time, and where."""

    every: Every
    time: time
    zone: str
    weekday: int = 0  # 0 is Monday; of a week
    day: int = 1  # of a month; one that the month has not is its last

    def as_json(self) -> dict[str, Any]:
        """As plain data, which `parse_rhythm` takes again."""
        said: dict[str, Any] = {"every": str(self.every), "time": f"{self.time:%H:%M}", "zone": self.zone}
        if self.every is Every.WEEK:
            said["weekday"] = WEEKDAYS[self.weekday]
        if self.every is Every.MONTH:
            said["day"] = self.day
        return said

    def after(self, instant: datetime) -> Slot:
        """The first slot later than an instant."""
        return next(self._slots(instant))

    def between(self, after: datetime, until: datetime) -> list[Slot]:
        """The slots later than `after` up to `until`, which is included, in order."""
        found = []
        for slot in self._slots(after):
            if slot.at > until:
                break
            found.append(slot)
        return found

    def _slots(self, after: datetime) -> Iterator[Slot]:
        zone = ZoneInfo(self.zone)
        # A day earlier, because what is after the instant may lie on the day before it in another zone.
        day = after.astimezone(zone).date() - _DAY
        if self.every is Every.FINAL:
            yield from self._final(after, Cycle.of(day).plus(-2))
            return
        is_of: Callable[[date], bool] = {
            Every.DAY: lambda _: True,
            Every.WEEK: lambda one: one.weekday() == self.weekday,
            Every.MONTH: lambda one: one.day == min(self.day, Cycle.of(one).last.day),
        }[self.every]
        while True:
            # A time that the clocks leave out is meant as they stood before; one that comes twice is the first.
            at = datetime.combine(day, self.time, zone).astimezone(UTC)
            if is_of(day) and at > after:
                yield Slot(day.isoformat(), at, day)
            day += _DAY

    def _final(self, after: datetime, month: Cycle) -> Iterator[Slot]:
        while True:
            at = month.final_from().astimezone(UTC)
            if at > after:
                yield Slot(str(month), at, month.next().first + 2 * _DAY)
            month = month.next()


def parse_rhythm(said: object, place: str = "when") -> Rhythm:
    """The rhythm that plain data says; raises BadInputError naming the field."""
    if not isinstance(said, Mapping):
        raise BadInputError(place, f"is {said!r}", "write every, time, and zone")
    unknown = sorted(set(said) - set(_FIELDS))
    if unknown:
        raise BadInputError(f"{place}.{unknown[0]}", "is no field of it", f"its fields are {', '.join(_FIELDS)}")
    if said.get("every") not in list(Every):
        known = ", ".join(Every)
        raise BadInputError(f"{place}.every", f"is {said.get('every')!r}", f"write one of {known}")
    every = Every(said["every"])
    for name, needs in (("weekday", Every.WEEK), ("day", Every.MONTH)):
        if name in said and every is not needs:
            raise BadInputError(f"{place}.{name}", f"does not go with every {every}", "leave it out")
    zone = said.get("zone", "Asia/Shanghai")
    return Rhythm(every, _time(said, place), _zone(zone, place), _weekday(said, every, place), _day(said, every, place))


def _time(said: Mapping[str, Any], place: str) -> time:
    text = said.get("time", "08:00")
    if isinstance(text, str) and _TIME.fullmatch(text):
        return time.fromisoformat(text)
    raise BadInputError(f"{place}.time", f"is {text!r}", "write HH:MM, such as 08:00")


def _zone(name: object, place: str) -> str:
    try:
        # What is no plain name could be a path, which ZoneInfo refuses in more than one way.
        if isinstance(name, str) and 0 < len(name) <= 64 and name not in _NO_ZONES:
            return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        pass
    raise BadInputError(f"{place}.zone", f"is {name!r}", "write a zone such as Asia/Shanghai")


def _weekday(said: Mapping[str, Any], every: Every, place: str) -> int:
    if every is not Every.WEEK:
        return 0
    if said.get("weekday") not in WEEKDAYS:
        raise BadInputError(f"{place}.weekday", f"is {said.get('weekday')!r}", f"write one of {', '.join(WEEKDAYS)}")
    return WEEKDAYS.index(said["weekday"])


def _day(said: Mapping[str, Any], every: Every, place: str) -> int:
    if every is not Every.MONTH:
        return 1
    day = said.get("day")
    if not isinstance(day, int) or isinstance(day, bool) or not 1 <= day <= 31:
        raise BadInputError(f"{place}.day", f"is {day!r}", "write 1 to 31; 31 is the last day of every month")
    return day
