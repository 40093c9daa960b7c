"""Billing cycles: calendar months in Asia/Shanghai, and when the provider's bill of one is final."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from shared.errors import BadInputError

SHANGHAI = ZoneInfo("Asia/Shanghai")
LOOK_BACK = 18  # cycles that refunds and settlements look back (semantics)
_CYCLE = re.compile(r"(20\d\d)-(0[1-9]|1[0-2])", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Cycle:
    """One calendar month in Asia/Shanghai."""

    year: int
    month: int

    @classmethod
    def parse(cls, value: str, place: str = "cycle") -> Cycle:
        """The cycle written as YYYY-MM."""
        match = _CYCLE.fullmatch(value)
        if match is None:
            raise BadInputError(place, f"{value!r} is no billing cycle", "write it as YYYY-MM, such as 2025-06")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, day: date) -> Cycle:
        """The cycle that `day` lies in."""
        return cls(day.year, day.month)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"

    @property
    def first(self) -> date:
        """The first day."""
        return date(self.year, self.month, 1)

    @property
    def last(self) -> date:
        """The last day."""
        return self.next().first - timedelta(days=1)

    def dates(self) -> list[date]:
        """Every day, in order."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def next(self) -> Cycle:
        """The cycle after this one."""
        return Cycle(self.year + self.month // 12, self.month % 12 + 1)

    def previous(self) -> Cycle:
        """The cycle before this one."""
        return Cycle.of(self.first - timedelta(days=1))

    def plus(self, months: int) -> Cycle:
        """The cycle so many months later."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Cycle(year, month + 1)

    def since(self, other: Cycle) -> int:
        """How many months it is later than the other."""
        return (self.year - other.year) * 12 + self.month - other.month

    def final_from(self) -> datetime:
        """When the provider's bill of this cycle no longer changes: 12:00 on the 3rd of the next month.

        Source: DescribeInstanceBill, "data query" notes (2025-10).
        """
        return datetime.combine(self.next().first + timedelta(days=2), time(12), SHANGHAI)


def parse_date(value: str, place: str = "date") -> date:
    """The date written as YYYY-MM-DD."""
    try:
        if len(value) == 10:
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise BadInputError(place, f"{value!r} is no date", "write it as YYYY-MM-DD, such as 2025-06-30")


def parse_instant(value: str, place: str = "time") -> datetime:
    """The instant written in ISO 8601 with its zone, in UTC."""
    try:
        instant = datetime.fromisoformat(value)
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None or not 2000 < instant.year < 2100:
        problem = f"{value!r} is no instant of this century"
        raise BadInputError(place, problem, "write it with its zone, such as 2025-06-01T00:00:00Z")
    return instant.astimezone(UTC)


def stamp(instant: datetime) -> str:
    """An instant as text: UTC, seconds, Z."""
    return instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shanghai_day(instant: datetime) -> date:
    """The calendar day in Asia/Shanghai."""
    return instant.astimezone(SHANGHAI).date()
