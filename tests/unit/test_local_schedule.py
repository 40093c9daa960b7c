"""When timer triggers fire: the cron of Function Compute, its zones and its intervals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.localcloud.host.schedule import ScheduleError, parse


def at(text: str) -> datetime:
    return datetime.fromisoformat(text.replace(" ", "T") + "Z")


def fires(expression: str, after: str, count: int) -> list[datetime]:
    schedule, instant, found = parse(expression), at(after), []
    for _ in range(count):
        instant = schedule.next_after(instant)
        found.append(instant)
    return found


def test_seconds_come_first_and_the_zone_is_utc() -> None:
    assert fires("15 30 4 * * *", "2025-06-01 04:30:15", 1) == [at("2025-06-02 04:30:15")]
    assert fires("0 */20 * * * *", "2025-06-01 23:39:59", 3) == [
        at("2025-06-01 23:40:00"),
        at("2025-06-02 00:00:00"),
        at("2025-06-02 00:20:00"),
    ]


def test_a_zone_moves_the_fire_to_the_day_before_in_utc() -> None:
    monthly = "CRON_TZ=Asia/Shanghai 0 0 4 1 * *"
    assert fires(monthly, "2025-01-31 19:00:00", 2) == [at("2025-01-31 20:00:00"), at("2025-02-28 20:00:00")]


def test_the_31st_skips_the_months_that_have_none() -> None:
    assert fires("0 0 0 31 * *", "2025-01-31 00:00:00", 3) == [
        at("2025-03-31 00:00:00"),
        at("2025-05-31 00:00:00"),
        at("2025-07-31 00:00:00"),
    ]


def test_29_february_waits_for_a_leap_year() -> None:
    assert fires("0 0 0 29 2 *", "2025-01-01 00:00:00", 1) == [at("2028-02-29 00:00:00")]


def test_weekdays_by_name_and_number_agree() -> None:
    assert fires("0 0 9 * * MON-FRI", "2025-06-06 09:00:00", 2) == fires("0 0 9 ? * 1-5", "2025-06-06 09:00:00", 2)
    assert fires("0 0 9 * * mon", "2025-06-06 09:00:00", 1) == [at("2025-06-09 09:00:00")]


def test_a_local_time_that_summer_time_leaves_out_is_skipped() -> None:
    assert fires("CRON_TZ=America/New_York 0 30 2 * * *", "2025-03-08 08:00:00", 1) == [at("2025-03-10 06:30:00")]


def test_a_local_time_that_comes_twice_fires_twice() -> None:
    assert fires("CRON_TZ=America/New_York 0 30 1 * * *", "2025-11-02 00:00:00", 2) == [
        at("2025-11-02 05:30:00"),
        at("2025-11-02 06:30:00"),
    ]


def test_intervals_are_the_same_whenever_they_are_asked() -> None:
    assert fires("@every 4m", "2025-06-01 00:00:01", 2) == [at("2025-06-01 00:04:00"), at("2025-06-01 00:08:00")]
    assert fires("@every 4m", "2025-06-01 00:03:59", 1) == [at("2025-06-01 00:04:00")]
    assert fires("@every 1h30m", "2025-06-01 00:00:00", 1) == [at("2025-06-01 01:30:00")]


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis adds the zone
    st.sampled_from(
        ["0 0 4 * * *", "CRON_TZ=Asia/Shanghai 0 30 12 3 * *", "@every 7m", "CRON_TZ=Europe/Berlin 0 0 * * * *"]
    ),
)
def test_fires_go_forward_and_lie_strictly_after(instant: datetime, expression: str) -> None:
    schedule = parse(expression)
    first = schedule.next_after(instant)
    found = [instant, first, schedule.next_after(first)]

    assert all(before < after for before, after in pairwise(found))
    assert schedule.next_after(first - timedelta(seconds=1)) == first


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("0 4 * * *", "5 fields"),
        ("0 0 0 4 1 * *", "7 fields"),
        ("0 0 25 * * *", "hour"),
        ("0 0 0 30 2 *", "day-of-month"),
        ("0 0 0 L * *", "bad day-of-month 'L'"),
        ("0 0 0 * * MON#2", "bad day-of-week"),
        ("CRON_TZ=Mars/Olympus 0 0 4 * * *", "'Mars/Olympus' is not a time zone"),
        ("CRON_TZ=Asia/Shanghai", "needs a zone"),
        ("@every", "@every 4m"),
        ("@every 0m", "longer than nothing"),
        ("@daily", "@every 4m"),
        ("", "0 fields"),
    ],
)
def test_what_function_compute_does_not_take_is_refused_with_the_reason(expression: str, said: str) -> None:
    with pytest.raises(ScheduleError, match=said):
        parse(expression)
