"""How adapters try again: pauses that grow, deadlines that hold, one clock for all of an event."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from shared.cloud.patience import EVENT, Deadline, Pace, PassingError, Patience, from_settings
from shared.errors import SettingError
from shared.ports import ServiceError


@dataclass
class World:
    """A clock that only sleeping moves, and what was slept."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def patience(self, *, chance: float = 1.0, deadline: Deadline | None = None, total_s: float = 60.0) -> Patience:
        return Patience(
            total_s=total_s, first_pause_s=1.0, longest_pause_s=8.0, deadline=deadline or Deadline(self.clock),
            clock=self.clock, sleep=self.sleep, chance=lambda: chance,
        )  # fmt: skip


def failing(times: int, *, doubtful: bool = False, **how: float) -> tuple[list[bool], object]:
    """An attempt that fails so often and then answers, and what it was told each time."""
    told: list[bool] = []

    def attempt(is_doubtful: bool) -> str:
        told.append(is_doubtful)
        if len(told) <= times:
            raise PassingError("cannot read", "it is busy", "run it again later", is_doubtful=doubtful, **how)  # type: ignore[arg-type]
        return "done"

    return told, attempt


def context(timeout: object) -> SimpleNamespace:
    return SimpleNamespace(function=SimpleNamespace(timeout=timeout))


def test_pauses_double_up_to_a_longest_one() -> None:
    world = World()
    _, attempt = failing(6)

    assert world.patience().persist(attempt) == "done"  # type: ignore[arg-type]
    assert world.slept == [1, 2, 4, 8, 8, 8]


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [0, 0, 0]), (0.5, [0.5, 1, 2])])
def test_pauses_are_drawn_from_nothing_up(chance: float, pauses: list[float]) -> None:
    world = World()
    _, attempt = failing(3)
    world.patience(chance=chance).persist(attempt)  # type: ignore[arg-type]

    assert world.slept == pauses


def test_a_service_that_asks_for_a_longer_pause_gets_it() -> None:
    world = World()
    _, attempt = failing(2, after_s=7.0)
    world.patience().persist(attempt)  # type: ignore[arg-type]

    assert world.slept == [7, 7]


def test_doubt_stays_once_a_try_may_have_taken_effect() -> None:
    told: list[bool] = []

    def attempt(is_doubtful: bool) -> None:
        told.append(is_doubtful)
        if len(told) < 4:
            raise PassingError("cannot write", "broken", "again", is_doubtful=len(told) == 2)

    World().patience().persist(attempt)
    assert told == [False, False, True, True]


def test_what_never_passes_ends_with_the_patience_and_may_be_repeated() -> None:
    world = World()
    _, attempt = failing(99)
    with pytest.raises(ServiceError, match="cannot read: it is busy, after 5 tries; run it again later") as caught:
        world.patience(total_s=20).persist(attempt)  # type: ignore[arg-type]

    assert caught.value.retryable
    assert world.now - 1000 == 15  # the next pause, of 8 s, would have passed 20 s


def test_no_pause_passes_the_end_of_the_event() -> None:
    world = World()
    deadline = Deadline(world.clock)
    _, attempt = failing(99)
    with deadline.of_event(context(60)), pytest.raises(ServiceError):  # noqa: PT012 - the event ends with the error
        world.sleep(50)
        world.patience(deadline=deadline).persist(attempt)  # type: ignore[arg-type]

    assert world.now == 1053  # 55 s are for trying, 5 s are kept back


def test_other_errors_are_not_tried_again() -> None:
    world, calls = World(), []

    def attempt(_: bool) -> None:
        calls.append(1)
        raise ServiceError("cannot read", "no right", "ask for it", retryable=False)

    with pytest.raises(ServiceError, match="no right"):
        world.patience().persist(attempt)
    assert (len(calls), world.slept) == (1, [])


def test_a_refused_key_is_tried_once_more_and_then_final() -> None:
    world = World()
    told, attempt = failing(99, only_once=True)
    with pytest.raises(ServiceError) as caught:
        world.patience().persist(attempt)  # type: ignore[arg-type]

    assert not caught.value.retryable
    assert len(told) == 2


def test_progress_begins_the_pauses_and_the_patience_anew() -> None:
    world = World()
    tries = world.patience(total_s=4.0).begin()
    for _ in range(9):
        tries.pause_after(PassingError("cannot write", "busy", "again"))
        tries.pause_after(PassingError("cannot write", "busy", "again"))
        tries.went_on()

    assert world.slept == [1, 2] * 9


def test_the_time_of_an_event_ends_before_the_functions_timeout() -> None:
    world = World()
    deadline = Deadline(world.clock)
    with deadline.of_event(context(600)):
        assert deadline.left_s() == 595
        world.now += 594.5
        assert not deadline.is_over()
        world.now += 0.5
        assert (deadline.left_s(), deadline.is_over()) == (0, True)
        world.now += 100
        assert deadline.left_s() == 0


def test_of_a_short_timeout_a_tenth_is_kept_back() -> None:
    deadline = Deadline(World().clock)
    with deadline.of_event(context(3)):
        assert deadline.left_s() == pytest.approx(2.7)


def test_a_warm_instance_begins_anew_with_each_event() -> None:
    world = World()
    deadline = Deadline(world.clock)
    for _ in range(3):
        with deadline.of_event(context(60)):
            assert deadline.left_s() == 55
            world.now += 300
    assert deadline.left_s() == math.inf


def test_an_event_that_fails_leaves_no_deadline_behind() -> None:
    deadline = Deadline(World().clock)
    with pytest.raises(RuntimeError), deadline.of_event(context(60)):
        raise RuntimeError

    assert deadline.left_s() == math.inf


@pytest.mark.parametrize("timeout", [None, "60", 0, -1, True])
def test_without_a_usable_timeout_there_is_no_end(timeout: object) -> None:
    deadline = Deadline(World().clock)
    with deadline.of_event(context(timeout)):
        assert deadline.left_s() == math.inf
    with deadline.of_event(None):
        assert not deadline.is_over()


def test_timeouts_are_never_longer_than_the_time_left() -> None:
    world = World()
    deadline = Deadline(world.clock)
    patience = world.patience(deadline=deadline)
    assert patience.timeouts_s() == (5, 20)
    with deadline.of_event(context(30)):
        assert patience.timeouts_s() == (5, 20)
        world.now += 20
        assert patience.timeouts_s() == (5, 7)
        world.now += 5
        assert patience.timeouts_s() == (2, 2)
        world.now += 100
        assert patience.timeouts_s() == (0.25, 0.25)  # out of what is kept back: enough to fail with a message


def test_a_pace_lets_so_many_through_in_any_window() -> None:
    pace, begun = Pace(3, window_s=1.0), []
    now = 0.0
    for _ in range(10):
        now += pace.wait_s(now)
        begun.append(now)
        now += 0.05

    assert begun[:3] == [0, pytest.approx(0.05), pytest.approx(0.1)]
    assert all(later - earlier >= 1.0 - 1e-9 for earlier, later in zip(begun, begun[3:], strict=False))
    assert begun[-1] < 3.1, "and no fewer than that"


def test_a_pace_gives_callers_at_the_same_time_different_places() -> None:
    pace = Pace(2, window_s=1.0)

    assert [pace.wait_s(5.0) for _ in range(5)] == [0, 0, 1, 1, 2]


def test_a_pace_that_is_held_lets_nobody_through_before() -> None:
    pace = Pace(2, window_s=1.0)
    pace.wait_s(5.0)
    pace.hold_until(7.0)

    assert [pace.wait_s(5.5) for _ in range(3)] == [1.5, 1.5, 2.5]


def test_settings_change_the_patience() -> None:
    changed = from_settings(
        {"CLEARBOOK_CONNECT_TIMEOUT_S": "0.5", "CLEARBOOK_READ_TIMEOUT_S": "2", "CLEARBOOK_PATIENCE_S": "9"}
    )

    assert changed.timeouts_s() == (0.5, 2)
    assert changed.total_s == 9
    assert changed.deadline is EVENT


def test_a_command_waits_less_than_a_function() -> None:
    assert from_settings({}).total_s < from_settings({"FC_FUNCTION_NAME": "settle"}).total_s


@pytest.mark.parametrize("text", ["soon", "0", "-1", "inf", "nan"])
def test_a_timeout_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(SettingError, match="CLEARBOOK_READ_TIMEOUT_S"):
        from_settings({"CLEARBOOK_READ_TIMEOUT_S": text})
