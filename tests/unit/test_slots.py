"""When schedules are due: each local day once, whatever the clocks do, and the month's end where a day is missing."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.delivery.slots import Rhythm, parse_rhythm
from shared.errors import BadInputError


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def keys(rhythm: Rhythm, after: str, until: str) -> list[tuple[str, str]]:
    return [(one.key, f"{one.at:%m-%d %H:%M}") for one in rhythm.between(at(after), at(until))]


def test_every_day_is_at_its_local_time_and_a_slot_at_the_end_is_included() -> None:
    daily = parse_rhythm({"every": "day"})
    found = keys(daily, "2025-06-30T00:00", "2025-07-02T00:00")

    assert found == [("2025-07-01", "07-01 00:00"), ("2025-07-02", "07-02 00:00")]  # 08:00 in Shanghai


def test_every_week_is_on_its_weekday_where_the_zone_is() -> None:
    weekly = parse_rhythm({"every": "week", "weekday": "monday", "time": "01:00"})
    found = keys(weekly, "2025-06-01T00:00", "2025-06-16T00:00")

    assert found == [("2025-06-02", "06-01 17:00"), ("2025-06-09", "06-08 17:00"), ("2025-06-16", "06-15 17:00")]


def test_a_day_that_a_month_has_not_is_its_last() -> None:
    monthly = parse_rhythm({"every": "month", "day": 31, "zone": "UTC"})
    found = keys(monthly, "2024-01-31T09:00", "2024-05-01T00:00")

    assert [key for key, _ in found] == ["2024-02-29", "2024-03-31", "2024-04-30"]


def test_a_time_that_summer_time_leaves_out_or_has_twice_is_one_slot() -> None:
    daily = parse_rhythm({"every": "day", "time": "02:30", "zone": "Europe/Berlin"})
    spring = keys(daily, "2025-03-29T00:00", "2025-04-01T00:00")
    autumn = keys(daily, "2025-10-25T00:00", "2025-10-28T00:00")

    assert spring == [("2025-03-29", "03-29 01:30"), ("2025-03-30", "03-30 01:30"), ("2025-03-31", "03-31 00:30")]
    assert autumn == [("2025-10-25", "10-25 00:30"), ("2025-10-26", "10-26 00:30"), ("2025-10-27", "10-27 01:30")]


def test_a_final_month_is_its_own_key_and_last_month_of_its_day() -> None:
    found = parse_rhythm({"every": "final"}).between(at("2025-07-03T03:59"), at("2025-08-03T04:00"))

    assert [(one.key, one.at, str(one.today)) for one in found] == [
        ("2025-06", at("2025-07-03T04:00"), "2025-07-03"),
        ("2025-07", at("2025-08-03T04:00"), "2025-08-03"),
    ]


WHENS: list[dict[str, Any]] = [
    {"every": "day", "time": "02:30"},
    {"every": "week", "weekday": "sunday", "time": "23:59"},
    {"every": "month", "day": 30},
    {"every": "final"},
]


@given(
    when=st.sampled_from(WHENS),
    zone=st.sampled_from(["Asia/Shanghai", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "UTC"]),
    begin=st.datetimes(datetime(2024, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001
    cuts=st.lists(st.integers(0, 90 * 24 * 60), max_size=4),
)
def test_however_time_is_cut_each_slot_comes_once(
    when: dict[str, Any], zone: str, begin: datetime, cuts: list[int]
) -> None:  # fmt: skip
    rhythm, first = parse_rhythm({**when, "zone": zone}), begin.replace(tzinfo=UTC)
    moments = [first, *(first + timedelta(minutes=one) for one in sorted(cuts)), first + timedelta(days=90)]
    whole = rhythm.between(first, moments[-1])
    parts = [slot for a, b in itertools.pairwise(moments) for slot in rhythm.between(a, b)]

    assert parts == whole
    assert len({one.key for one in whole}) == len(whole) > 1
    assert parse_rhythm(rhythm.as_json()) == rhythm


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ("daily", "when"),
        ({"every": "hour"}, "when.every"),
        ({"every": ["day"]}, "when.every"),
        ({"every": "day", "hour": 8}, "when.hour"),
        ({"every": "day", "time": "8:00"}, "when.time"),
        ({"every": "day", "time": "24:30"}, "when.time"),
        ({"every": "day", "zone": "Asia/Nowhere"}, "when.zone"),
        ({"every": "day", "zone": "../../etc/passwd"}, "when.zone"),
        ({"every": "day", "zone": ""}, "when.zone"),
        ({"every": "week"}, "when.weekday"),
        ({"every": "day", "weekday": "monday"}, "when.weekday"),
        ({"every": "month"}, "when.day"),
        ({"every": "month", "day": 0}, "when.day"),
        ({"every": "month", "day": True}, "when.day"),
    ],
)
def test_what_is_no_rhythm_is_refused_at_its_field(said: object, place: str) -> None:
    with pytest.raises(BadInputError) as caught:
        parse_rhythm(said)

    assert caught.value.place == place
