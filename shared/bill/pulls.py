"""Which bill dates are asked for and when: slots, their orders, and where a pull's raw pages lie.

A slot is one round of asking:

    d20250605         the daily one of 5 June
    f20250703T1230    the final one begun on 3 July at 12:30
    b20250605T1430    one that was ordered beside them on 5 June at 14:30: a whole cycle, with d03 behind it
                      its 3rd day alone
    i20250704T0310    no round either: the bill file that came on 4 July at 03:10
    w20250905         no round: on 5 September the overview of a cycle that is final is looked at

Slots compare in the order they were begun, by `asked`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from shared.cycle import SHANGHAI, Cycle, parse_date
from shared.errors import BadInputError

DATES_BACK = 3  # usage arrives up to 24 h late and keeps moving a little (DescribeInstanceBill, notes)
CYCLES_BACK = 18  # what the provider still answers for (DescribeInstanceBill, notes)
DAILY_AT = time(9)  # when the daily timer fires (s.yaml); the other slots say it themselves
# What is asked for that is no date's lines. The first two are controls of a round, the others stand for themselves.
CONTROL, MONTHLY, WATCH, CUSTOMERS = "control", "monthly", "watch", "customers"
OBSERVED = (WATCH, CUSTOMERS)
_SLOT = re.compile(r"[dw]20\d{6}|i20\d{6}T\d{4}|f20\d{6}T\d{4}|b20\d{6}T\d{4}(?:d\d\d)?", re.ASCII)
_BEGUN = re.compile(r"[a-z](20\d{6})(?:T(\d{4}))?", re.ASCII)
_NAME = r"(\d+)/(20\d\d-\d\d)/(20\d\d-\d\d(?:-\d\d)?|monthly|watch|customers)-([dfbw][0-9Td]+)"
_PULL_KEY = re.compile(rf"work/pull/{_NAME}\.json", re.ASCII)
_RAW_KEY = re.compile(rf"raw/{_NAME}/_complete\.json", re.ASCII)
_AGAIN_PULL_KEY = re.compile(r"again/pull/(\d+/20\d\d-\d\d/[^/]+)/\d-\d{5}\.json", re.ASCII)
_AGAIN_ROUND_KEY = re.compile(r"again/round/(\d+)/(20\d\d-\d\d)/([^/]+)\.json", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Pull:
    """One question to the provider: a date's lines, or what `what` names: the cycle's totals, its customers."""

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

    def page_key(self, number: int, attempt: int = 1) -> str:
        """The raw page `number`, from 1, of a try at reading the bill, from 1."""
        folder = self.raw_prefix if attempt == 1 else f"{self.raw_prefix}try-{attempt}/"
        return f"{folder}page-{number:05d}.json.gz"

    def changed_key(self, attempt: int) -> str:
        """The note that the bill changed while this try read it (bucket records)."""
        return f"{self.raw_prefix}changed-{attempt}.json"

    def progress_key(self, attempt: int) -> str:
        """How far a try came that ran out of time (bucket work)."""
        return f"pulling/{self.account}/{self.cycle}/{self.name}/{attempt}.json"

    def again_key(self, attempt: int, pages: int) -> str:
        """What asks for the order once more, after so many pages (bucket work)."""
        return f"again/pull/{self.account}/{self.cycle}/{self.name}/{attempt}-{pages:05d}.json"

    @property
    def complete_key(self) -> str:
        """The object that says every page is there; its event wakes the next step."""
        return f"{self.raw_prefix}_complete.json"

    @property
    def ingested_key(self) -> str:
        """What became of it (bucket work)."""
        return f"ingested/{self.account}/{self.cycle}/{self.slot}/{self.what}.json"


def from_order_key(key: str) -> Pull:
    """The pull that an order of this name asks for."""
    return _from_key(_PULL_KEY, key, "work/pull/<account>/<cycle>/<date, cycle or word>-<slot>.json")


def from_complete_key(key: str) -> Pull:
    """The pull whose `_complete.json` this is."""
    return _from_key(_RAW_KEY, key, "raw/<account>/<cycle>/<date, cycle or word>-<slot>/_complete.json")


def from_again_key(key: str) -> Pull | tuple[str, Cycle, str]:
    """What an object under `again/` asks for: a pull once more, or the round of an account, a cycle and a slot."""
    expected = "again/pull/<account>/<cycle>/<pull>/<try>-<pages>.json or again/round/<account>/<cycle>/<slot>.json"
    match = _AGAIN_PULL_KEY.fullmatch(key)
    if match is not None:
        return _from_key(_PULL_KEY, f"work/pull/{match[1]}.json", expected, repr(key))
    match = _AGAIN_ROUND_KEY.fullmatch(key)
    if match is None:
        raise BadInputError(f"object {key!r}", "the name asks for nothing", f"expected {expected}")
    begun(match[3], f"object {key!r}")
    return match[1], Cycle.parse(match[2], key), match[3]


def _from_key(pattern: re.Pattern[str], key: str, expected: str, told: str = "") -> Pull:
    place = f"object {told or repr(key)}"
    match = pattern.fullmatch(key)
    if match is None or not _SLOT.fullmatch(match[4]):
        raise BadInputError(place, "the name says nothing about a pull", f"expected {expected}")
    account, cycle, what, slot = match.groups()
    begun(slot, place)
    if what == cycle:
        what = CONTROL
    elif what[0] == "2" and Cycle.of(parse_date(what, place)) != Cycle.parse(cycle, place):
        raise BadInputError(place, f"{what} is no date of {cycle}", f"expected {expected}")
    return Pull(account, Cycle.parse(cycle, place), what, slot)


# -- slots ------------------------------------------------------------------------------------------------------


def daily_slot(now: datetime) -> str:
    """The daily slot of `now`."""
    return f"d{now.astimezone(SHANGHAI):%Y%m%d}"


def final_slot(now: datetime) -> str:
    """The final slot begun at `now`."""
    return f"f{now.astimezone(SHANGHAI):%Y%m%dT%H%M}"


def watch_slot(now: datetime) -> str:
    """The look of the day of `now` at the cycles that are final."""
    return f"w{now.astimezone(SHANGHAI):%Y%m%d}"


def extra_slot(now: datetime, day: date | None = None) -> str:
    """A round ordered at `now` beside the planned ones: of a whole cycle, or of one of its days."""
    return f"b{now.astimezone(SHANGHAI):%Y%m%dT%H%M}" + (f"d{day:%d}" if day else "")


def file_slot(at: datetime) -> str:
    """A bill file that came at `at`."""
    return f"i{at.astimezone(SHANGHAI):%Y%m%dT%H%M}"


def is_round(slot: str) -> bool:
    """Whether the slot asks for lines, and so ends in a seal."""
    return not slot.startswith("w")


def is_final(slot: str) -> bool:
    """Whether the slot is one of the planned ones that ask for the final bill."""
    return slot.startswith("f")


def is_extra(slot: str) -> bool:
    """Whether the round was ordered beside the planned ones."""
    return slot.startswith("b")


def sees_final(slot: str, cycle: Cycle) -> bool:
    """Whether the round asks for every date of the cycle once the provider's bill is final."""
    return is_final(slot) or (is_extra(slot) and _only_day(slot) is None and begun(slot) >= cycle.final_from())


def begun(slot: str, place: str = "slot") -> datetime:
    """When the round of a slot was begun."""
    if not _SLOT.fullmatch(slot):
        expected = "write dYYYYMMDD, fYYYYMMDDTHHMM, bYYYYMMDDTHHMM or wYYYYMMDD"
        raise BadInputError(place, f"{slot!r} is no slot", expected)
    day = parse_date(f"{slot[1:5]}-{slot[5:7]}-{slot[7:9]}", f"{place}, slot {slot}")
    if slot[0] in "dw":
        return datetime.combine(day, DAILY_AT, SHANGHAI)
    hour, minute = int(slot[10:12]), int(slot[12:14])
    if hour > 23 or minute > 59:
        raise BadInputError(f"{place}, slot {slot}", f"{slot[10:14]} is no time of a day", "write HHMM, such as 1430")
    return datetime.combine(day, time(hour, minute), SHANGHAI)


def slot_day(slot: str, place: str = "slot") -> date:
    """The day a slot was begun."""
    return begun(slot, place).date()


def asked(slot: str) -> str:
    """What slots compare by: when they were begun, then their name; no slot at all is older than any."""
    match = _BEGUN.match(slot)
    return f"{match[1]}T{match[2] or format(DAILY_AT, '%H%M')} {slot}" if match else slot


def _only_day(slot: str) -> int | None:
    """The one day of the cycle that an extra round asks for; None where it asks for all."""
    return int(slot[15:]) if len(slot) > len("b20250605T1430") else None


# -- what they ask for ------------------------------------------------------------------------------------------


def dates_of(slot: str, cycle: Cycle, since: date) -> list[date]:
    """The dates of `cycle` that `slot` asks for, none before the account's connector begins."""
    day = slot_day(slot)
    if not is_round(slot):
        dates = []
    elif is_extra(slot):
        only = _only_day(slot)
        dates = [one for one in cycle.dates() if one < day and only in (None, one.day)]
    elif is_final(slot):
        dates = cycle.dates() if cycle == Cycle.of(day).previous() else []
    else:
        dates = [day - timedelta(days=back) for back in range(DATES_BACK, 0, -1)]
    return [one for one in dates if Cycle.of(one) == cycle and one >= since]


def pulls_of(slot: str, account: str, cycle: Cycle, since: date) -> list[Pull]:
    """Everything that `slot` asks for of one account and cycle, in order.

    Of a round its dates, of one that sees the final bill the month by billing item, then the control totals: when
    all of it is ingested the round is sealed.
    """
    if not is_round(slot):
        return [Pull(account, cycle, WATCH, slot)]
    whats = [day.isoformat() for day in dates_of(slot, cycle, since)]
    if whats and sees_final(slot, cycle):
        whats.append(MONTHLY)
    return [Pull(account, cycle, what, slot) for what in ([*whats, CONTROL] if whats else [])]


def plan(slot: str, account: str, since: date) -> Iterator[Pull]:
    """Everything that `slot` asks for of one account, over the cycles it touches."""
    current = Cycle.of(slot_day(slot))
    for cycle in (current.previous(), current):
        yield from pulls_of(slot, account, cycle, since)


def customers(slot: str, account: str) -> Pull:
    """The question of a day who the account's customers are; it keeps no round from being sealed."""
    return Pull(account, Cycle.of(slot_day(slot)), CUSTOMERS, slot)


def round_again_key(account: str, cycle: Cycle, slot: str) -> str:
    """What asks for an extra round of a cycle (bucket work)."""
    return f"again/round/{account}/{cycle}/{slot}.json"
