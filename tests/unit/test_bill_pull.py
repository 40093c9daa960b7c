"""`clearbook bill pull`: which rounds it orders, what it refuses, and when they count as sealed."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from infra.clearbook.bills.pull import Asked, order_rounds, sealed_by
from shared.cycle import SHANGHAI
from shared.errors import BadInputError
from tests.builders import ACME, CYCLE, DAYS, P1, item
from tests.pump import World, go_live, small_month

NOW = datetime(2025, 8, 5, 14, 30, tzinfo=SHANGHAI)


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.cloud.clock.now = NOW
    return world


def asked(first: str | None = None, last: str | None = None, day: str | None = None, account: str = P1) -> Asked:
    return Asked(account, first, last, day)


def test_a_cycle_of_before_is_ordered_pulled_and_sealed_final_at_once(world: World) -> None:
    [june, july] = order_rounds(world.services, asked(CYCLE), NOW)
    assert (june.slot, june.dates, june.ordered) == ("b20250805T1430", list(DAYS), 5)
    assert (str(july.cycle), len(july.dates)) == ("2025-07", 31)
    assert sealed_by(world.services, june) is None
    world.pump.drain()

    seal = sealed_by(world.services, june)
    assert seal is not None
    assert (seal.slot, seal.status, seal.source) == ("b20250805T1430", "final", "api")


def test_asked_twice_in_a_minute_it_is_one_round(world: World) -> None:
    order_rounds(world.services, asked(CYCLE, CYCLE), NOW)
    [again] = order_rounds(world.services, asked(CYCLE, CYCLE), NOW)

    assert again.ordered == 0


def test_a_date_alone_is_pulled_again_and_wins_over_the_older_round(world: World) -> None:
    world.final()
    world.bill(P1, DAYS[1], item(ACME, "250.00"))
    world.cloud.clock.now = NOW
    [one] = order_rounds(world.services, asked(day=DAYS[1]), NOW)
    assert [pull.what for pull in one.pulls] == [DAYS[1], "control"]
    world.pump.drain()

    seal = sealed_by(world.services, one)
    assert seal is not None
    assert seal.pulls == {DAYS[0]: "f20250703T1230", DAYS[1]: "b20250805T1430d29", DAYS[2]: "f20250703T1230"}


def test_a_round_that_newer_ones_have_seen_counts_as_sealed(world: World) -> None:
    [one] = order_rounds(world.services, asked(day=DAYS[1]), datetime(2025, 7, 1, 8, tzinfo=SHANGHAI))
    world.pump.collect()
    world.pump.waiting.clear()
    world.daily("2025-07-01")

    seal = sealed_by(world.services, one)
    assert seal is not None
    assert seal.slot == "d20250701"


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (asked("2024-01"), "19 months back, and the provider answers for 18"),
        (asked("2025-05"), "lies before 2025-06-28"),
        (asked("2025-06", "2025-09"), "still to come"),
        (asked(day="2025-08-05"), "still to come, or today"),
        (asked(day="2025-06-27"), "lies before 2025-06-28"),
        (asked("2025-07", "2025-06"), "is before"),
        (asked(), "--from"),
        (asked("2025-06", day="2025-06-29"), "beside --from"),
        (asked("2025-13"), "no billing cycle"),
        (asked(CYCLE, account="999"), "has no connector"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anything_is_ordered(world: World, what: Asked, said: str) -> None:
    with pytest.raises(BadInputError, match=said):
        order_rounds(world.services, what, NOW)
    assert world.keys("work", "work/pull/") == []
