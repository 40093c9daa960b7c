"""When a timer trigger fires: six-field cron with a zone, or a fixed interval.

Function Compute writes `sec min hour day-of-month month day-of-week`, in UTC unless the expression begins with
`CRON_TZ=Zone`, or `@every 4m` ("Time triggers", 2513615). In a zone with summer time a local time that does not
exist is skipped and one that comes twice fires twice, as its documentation warns.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

FIELDS = ("second", "minute", "hour", "day-of-month", "month", "day-of-week")
EXPECTED = "six fields (second minute hour day-of-month month day-of-week), or an interval such as @every 4m"
_ZONE = re.compile(r"^CRON_TZ=(\S+)\s+(.*)$")
_EVERY = re.compile(r"^@every\s+(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?$")
_FIELD = re.compile(r"^[0-9A-Z,*/?-]+$")
_MONTHS = {"JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"}
_DAYS = {"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class ScheduleError(ValueError):
    """The expression is not one that Function Compute documents, or it never fires."""


@dataclass(frozen=True, slots=True)
class Cron:
    """Instants that match all six fields on the clock of one zone."""

    fields: str
    zone: tzinfo

    def next_after(self, instant: datetime) -> datetime:
        """The first fire strictly after `instant`, in UTC."""
        try:
            return next(CronSim(self.fields, instant.astimezone(self.zone))).astimezone(UTC)
        except StopIteration:
            raise ScheduleError(f"{self.fields!r} never fires") from None


@dataclass(frozen=True, slots=True)
class Every:
    """Instants a fixed interval apart.

    The cloud counts from the moment the trigger was made. Here they are multiples of the interval since 1970, so
    that playing the same days twice fires at the same instants.
    """

    interval: timedelta

    def next_after(self, instant: datetime) -> datetime:
        """The first fire strictly after `instant`, in UTC."""
        return _EPOCH + ((instant - _EPOCH) // self.interval + 1) * self.interval


Schedule = Cron | Every


def parse(text: str) -> Schedule:
    """The schedule that `text` writes; raises ScheduleError with what is wrong in it."""
    if text.startswith("@"):
        return _every(text)
    zone: tzinfo = UTC
    if text.startswith("CRON_TZ="):
        prefixed = _ZONE.match(text)
        if prefixed is None:
            raise ScheduleError("CRON_TZ= needs a zone, a space and six fields")
        zone, text = _zone(prefixed[1]), prefixed[2]
    cron = Cron(_fields(text), zone)
    try:
        cron.next_after(_EPOCH)
    except CronSimError as exc:
        raise ScheduleError(str(exc)) from exc
    return cron


def _every(text: str) -> Every:
    match = _EVERY.match(text)
    if match is None:
        raise ScheduleError("an interval is written @every with hours, minutes, seconds, such as @every 4m")
    hours, minutes, seconds = (int(part or 0) for part in match.groups())
    interval = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if not interval:
        raise ScheduleError("an interval must be longer than nothing")
    return Every(interval)


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC  # cronsim is several times faster where no zone rules are asked
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as exc:
        raise ScheduleError(f"{name!r} is not a time zone; write one such as Asia/Shanghai") from exc


def _fields(text: str) -> str:
    fields = text.upper().split()
    if len(fields) != len(FIELDS):
        raise ScheduleError(f"it has {len(fields)} fields, not {len(FIELDS)}")
    for name, field in zip(FIELDS, fields, strict=True):
        # cronsim also knows L, W and #, which Function Compute does not document.
        if not _FIELD.match(field) or set(re.findall("[A-Z]+", field)) - _MONTHS - _DAYS:
            raise ScheduleError(f"bad {name} {field!r}")
    return " ".join("*" if field == "?" else field for field in fields)
