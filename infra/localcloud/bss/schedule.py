"""When which bill file is pushed: each morning the day before, on the fourth all of the month before.

A subscription's first push is on the day after it was made. When in the day the service pushes is not documented; here
it is ten in the morning, after the bills of the day before came in (SubscribeBillToOSS, document_detail/87993).
"""

from __future__ import annotations

import calendar
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import Enum

from infra.localcloud.bss.bills import BUSINESS_ZONE, Grain

PUSH_AT = time(10)
FULL_ON = 4  # the day of the month on which the month before is pushed for the last time
_DAY = timedelta(days=1)


class Kind(Enum):
    """A SubscribeType: what is said of it in a file's name, whether one file grows all month, and its rows."""

    BILLING_ITEMS = ("BillingItemDetailForBillingPeriod", "BillingItemDetail", False, Grain.LINE)
    INSTANCES = ("InstanceDetailForBillingPeriod", "InstanceDetail", False, Grain.INSTANCE_DAY)
    BILLING_ITEMS_MONTHLY = ("BillingItemDetailMonthly", "BillingItemDetailMonthly", True, Grain.ITEM_MONTH)
    INSTANCES_MONTHLY = ("InstanceDetailMonthly", "InstanceDetailMonthly", True, Grain.INSTANCE_MONTH)
    SPLIT_ITEMS = ("SplitItemDetailDaily", "SplitItemDetailDaily", True, Grain.LINE)

    def __init__(self, subscribe_type: str, stem: str, is_rewritten: bool, grain: Grain) -> None:
        self.subscribe_type, self.stem, self.is_rewritten, self.grain = subscribe_type, stem, is_rewritten, grain

    @classmethod
    def of(cls, subscribe_type: str) -> Kind:
        """The kind that a SubscribeType names; raises KeyError."""
        return {kind.subscribe_type: kind for kind in cls}[subscribe_type]


@dataclass(frozen=True, slots=True)
class BillFile:
    """A file to be pushed: the bill of `cycle`, or, if it is of a `day`, what was new on the morning after."""

    kind: Kind
    cycle: str
    day: date | None = None

    def name(self, account: str) -> str:
        """The last part of its key; files have no extension (documented)."""
        period = self.cycle.replace("-", "") if self.day is None else f"{self.day:%Y%m%d}"
        return f"{account}_{self.kind.stem}_{period}"

    def window(self) -> tuple[datetime, datetime]:
        """Behind and up to when the lines of a daily file appeared: from one push to the next."""
        if self.day is None:
            raise ValueError(f"the file of all of {self.cycle} has no window")
        return push_on(self.day), push_on(self.day + _DAY)


def push_on(day: date) -> datetime:
    """When files are pushed on `day`, in UTC."""
    return datetime.combine(day, PUSH_AT, BUSINESS_ZONE).astimezone(UTC)


def first_push(subscribed_at: datetime) -> datetime:
    """The first push of a subscription made at that instant."""
    return push_on(subscribed_at.astimezone(BUSINESS_ZONE).date() + _DAY)


def push_after(instant: datetime) -> datetime:
    """The push that follows the one at `instant`."""
    return push_on(instant.astimezone(BUSINESS_ZONE).date() + _DAY)


def files_at(kind: Kind, instant: datetime, begin: str | None) -> list[BillFile]:
    """The files of the push at `instant`, in order; `begin` is the cycle from which the first push fills up."""
    day = instant.astimezone(BUSINESS_ZONE).date()
    due = list(_rewritten(kind, day) if kind.is_rewritten else _dated(kind, day))
    if begin is None:
        return due
    earlier = [file for cycle in cycles(begin, _cycle(day)) for file in _filling(kind, cycle, day)]
    return [file for file in earlier if file not in due] + due


def cycles(first: str, last: str) -> Iterator[str]:
    """The cycles from `first` to `last`."""
    year, month = int(first[:4]), int(first[5:])
    while (cycle := f"{year:04d}-{month:02d}") <= last:
        yield cycle
        year, month = (year, month + 1) if month < 12 else (year + 1, 1)


def _dated(kind: Kind, day: date) -> Iterator[BillFile]:
    yield _of_day(kind, day - _DAY)
    if day.day == FULL_ON:
        yield BillFile(kind, _previous(day))


def _rewritten(kind: Kind, day: date) -> Iterator[BillFile]:
    if day.day <= FULL_ON:
        yield BillFile(kind, _previous(day))
    if day.day > 1:
        yield BillFile(kind, _cycle(day))


def _filling(kind: Kind, cycle: str, day: date) -> Iterator[BillFile]:
    """What of a past cycle the first push on `day` makes up for."""
    first = date.fromisoformat(f"{cycle}-01")
    days = calendar.monthrange(first.year, first.month)[1]
    if kind.is_rewritten or first + timedelta(days=days + FULL_ON - 1) <= day:
        if cycle < _cycle(day):
            yield BillFile(kind, cycle)
        return
    for place in range(days):
        if first + timedelta(days=place) < day:
            yield _of_day(kind, first + timedelta(days=place))


def _of_day(kind: Kind, day: date) -> BillFile:
    return BillFile(kind, _cycle(day), day)


def _cycle(day: date) -> str:
    return f"{day:%Y-%m}"


def _previous(day: date) -> str:
    return _cycle(day.replace(day=1) - _DAY)
