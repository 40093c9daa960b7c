"""Which bill dates are asked for and when: slots, their orders, and where a pull's raw pages lie.

A slot is one round of asking: `d20250605` the daily one of 5 June, `f20250703T1230` the final one begun on 3 July
at 12:30. Slots compare as text in the order they are asked, a final one above the daily ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from shared.cycle import SHANGHAI, Cycle, parse_date
from shared.errors import BadInputError

DATES_BACK = 3  # usage arrives up to 24 h late and keeps moving a little (DescribeInstanceBill, notes)
CONTROL = "control"
_SLOT = re.compile(r"d20\d{6}|f20\d{6}T\d{4}", re.ASCII)
_PULL_KEY = re.compile(r"work/pull/(\d+)/(20\d\d-\d\d)/(20\d\d-\d\d(?:-\d\d)?)-([df][0-9T]+)\.json", re.ASCII)
_RAW_KEY = re.compile(r"raw/(\d+)/(20\d\d-\d\d)/(20\d\d-\d\d(?:-\d\d)?)-([df][0-9T]+)/_complete\.json", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Pull:
    """One question to the provider: a date's lines, or (`what` = control) the cycle's totals."""

    account: str
    cycle: Cycle
    what: str
    slot: str

    @property
    def name(self) -> str:
        """The pull's name among those of its account and cycle."""
        return f"{self.cycle if self.what == CONTROL else self.what}-{self.slot}"

    @property
    def order_key(self) -> str:
        """The order that asks for it (bucket work)."""
        return f"work/pull/{self.account}/{self.cycle}/{self.name}.json"

    @property
    def raw_prefix(self) -> str:
        """Where its raw pages lie (bucket records)."""
        return f"raw/{self.account}/{self.cycle}/{self.name}/"

    def page_key(self, number: int) -> str:
        """The raw page `number`, from 1."""
        return f"{self.raw_prefix}page-{number:05d}.json.gz"

    @property
    def complete_key(self) -> str:
        """The object that says every page is there; its event wakes the next step."""
        return f"{self.raw_prefix}_complete.json"

    @property
    def ingested_key(self) -> str:
        """What became of it (bucket work)."""
        return f"ingested/{self.account}/{self.cycle}/{self.slot}/{self.what}.json"

    def source_key(self, digest: str, suffix: str) -> str:
        """What is known of a bill of this date that reads `digest`, whichever pull saw it (bucket work).

        `json` is the description, `parquet` the page and row of each line, `rejects.json` the rows that are no line.
        """
        return f"sources/{self.account}/{self.cycle}/{self.what}/{digest}.{suffix}"


def from_order_key(key: str) -> Pull:
    """The pull that an order of this name asks for."""
    return _from_key(_PULL_KEY, key, "work/pull/<account>/<cycle>/<date or cycle>-<slot>.json")


def from_complete_key(key: str) -> Pull:
    """The pull whose `_complete.json` this is."""
    return _from_key(_RAW_KEY, key, "raw/<account>/<cycle>/<date or cycle>-<slot>/_complete.json")


def _from_key(pattern: re.Pattern[str], key: str, expected: str) -> Pull:
    match = pattern.fullmatch(key)
    if match is None or not _SLOT.fullmatch(match[4]):
        raise BadInputError(f"object {key!r}", "the name says nothing about a pull", f"expected {expected}")
    account, cycle, what, slot = match.groups()
    slot_day(slot, f"object {key!r}")
    if what == cycle:
        what = CONTROL
    elif Cycle.of(parse_date(what, key)) != Cycle.parse(cycle, key):
        raise BadInputError(f"object {key!r}", f"{what} is no date of {cycle}", f"expected {expected}")
    return Pull(account, Cycle.parse(cycle, key), what, slot)


def daily_slot(now: datetime) -> str:
    """The daily slot of `now`."""
    return f"d{now.astimezone(SHANGHAI):%Y%m%d}"


def final_slot(now: datetime) -> str:
    """The final slot begun at `now`."""
    return f"f{now.astimezone(SHANGHAI):%Y%m%dT%H%M}"


def is_final(slot: str) -> bool:
    """Whether the slot asks for the final bill."""
    return slot.startswith("f")


def slot_day(slot: str, place: str = "slot") -> date:
    """The day a slot was begun."""
    if not _SLOT.fullmatch(slot):
        raise BadInputError(place, f"{slot!r} is no slot", "write dYYYYMMDD or fYYYYMMDDTHHMM")
    return parse_date(f"{slot[1:5]}-{slot[5:7]}-{slot[7:9]}", f"{place}, slot {slot}")


def dates_of(slot: str, cycle: Cycle, since: date) -> list[date]:
    """The dates of `cycle` that `slot` asks for, none before the account's connector begins."""
    day = slot_day(slot)
    if is_final(slot):
        dates = cycle.dates() if cycle == Cycle.of(day).previous() else []
    else:
        dates = [day - timedelta(days=back) for back in range(DATES_BACK, 0, -1)]
    return [one for one in dates if Cycle.of(one) == cycle and one >= since]


def pulls_of(slot: str, account: str, cycle: Cycle, since: date) -> list[Pull]:
    """Everything that `slot` asks for of one account and cycle: its dates, then the control totals."""
    dates = [Pull(account, cycle, day.isoformat(), slot) for day in dates_of(slot, cycle, since)]
    return [*dates, Pull(account, cycle, CONTROL, slot)] if dates else []


def plan(slot: str, account: str, since: date) -> Iterator[Pull]:
    """Everything that `slot` asks for of one account, over the cycles it touches."""
    current = Cycle.of(slot_day(slot))
    for cycle in (current.previous(), current):
        yield from pulls_of(slot, account, cycle, since)
