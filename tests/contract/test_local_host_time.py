"""The function host fires timers as Function Compute does, by themselves or instant by instant when time is played."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud.common import Clock, LocalCloudError
from infra.localcloud.host.queue import Delivery, Queue
from tests.contract.host_driver import FUNCTIONS, Host, until


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    running = Host(tmp_path / "home").start()
    yield running
    running.stop()


def test_a_month_of_timers_is_played_in_order_each_at_its_time(host: Host) -> None:
    told: list[dict[str, Any]] = []
    host.client.set_clock(datetime(2025, 5, 31, 12, tzinfo=UTC))
    summary = host.client.advance(datetime(2025, 6, 30, 12, tzinfo=UTC), told.append)

    # 09:30 in Shanghai is 01:30 in UTC, so on the 1st both timers fire at one instant.
    days = [f"2025-06-{day:02}T01:30:00Z" for day in range(1, 31)]
    assert [line["at"] for line in told] == days
    assert [line["timers"] for line in told] == [2] + [1] * 29
    assert {key: summary[key] for key in ("instants", "timers", "done", "failed")} == {
        "instants": 30, "timers": 31, "done": 31, "failed": 0,
    }  # fmt: skip
    recorded = host.recorded()
    assert [event["triggerTime"] for event, *_ in recorded] == [days[0], *days]
    assert [datetime.fromisoformat(clock) for _, clock, *_ in recorded] == [
        datetime.fromisoformat(event["triggerTime"]) for event, *_ in recorded
    ]
    assert recorded[0][0] == {"triggerTime": days[0], "triggerName": "daily", "payload": '{"job": "day"}'}
    assert recorded[1][0]["payload"] == ""
    assert host.client.clock() == datetime(2025, 6, 30, 12, tzinfo=UTC)


def test_time_already_played_is_not_played_again(host: Host) -> None:
    host.client.set_clock(datetime(2025, 6, 2, tzinfo=UTC))
    host.client.advance(datetime(2025, 6, 3, 1, 30, tzinfo=UTC))
    host.client.advance(datetime(2025, 6, 3, 1, 30, tzinfo=UTC))
    with pytest.raises(LocalCloudError, match="cannot be played back"):
        host.client.advance(datetime(2025, 6, 1, tzinfo=UTC))

    assert [event["triggerTime"][:10] for event, *_ in host.recorded()] == ["2025-06-02", "2025-06-03"]


def test_objects_that_a_timer_leads_to_are_worked_off_before_time_moves_on(host: Host) -> None:
    host.client.set_clock(datetime(2025, 6, 2, tzinfo=UTC))
    told: list[dict[str, Any]] = []
    (host.records / "pause").touch()
    threads = [threading.Thread(target=host.client.advance, args=(datetime(2025, 6, 4, tzinfo=UTC), told.append))]
    threads[0].start()
    until((host.records / "started").exists)
    host.put("orders/1.json")
    (host.records / "pause").unlink()
    threads[0].join()

    assert [line["done"] for line in told] == [2, 1]
    assert ["events" in event for event, *_ in host.recorded()] == [False, True, False]


def test_time_stands_where_it_was_when_the_host_is_stopped_while_it_is_played(host: Host) -> None:
    host.client.set_clock(datetime(2025, 6, 1, tzinfo=UTC))
    caught: list[LocalCloudError] = []

    def pause_after(line: dict[str, Any]) -> None:
        if line["at"] == "2025-06-03T01:30:00Z":
            (host.records / "pause").touch()

    def play() -> None:
        try:
            host.client.advance(datetime(2026, 6, 1, tzinfo=UTC), pause_after)
        except LocalCloudError as exc:
            caught.append(exc)

    playing = threading.Thread(target=play)
    playing.start()
    until((host.records / "started").exists)
    with pytest.raises(LocalCloudError, match="409"):
        host.client.set_clock(None)
    stands_at = host.client.clock()
    host.stop()
    playing.join()
    (host.records / "pause").unlink()
    host.start().client.idle()

    assert "ended while time was being played" in str(caught[0])
    assert host.client.clock() == stands_at
    assert datetime.fromisoformat(host.recorded()[-1][0]["triggerTime"]) == stands_at


def test_a_step_of_time_cut_short_is_finished_by_the_next_host(host: Host) -> None:
    host.client.set_clock(datetime(2025, 6, 2, tzinfo=UTC))
    host.stop()
    # What is on disk when a host is killed after it took in the timers of an instant and before it set the clock.
    queue = Queue(host.home / "host" / "host.db")
    step = "2025-06-02T00:00:00+00:00 2025-06-02T01:30:00+00:00"
    queue.take([Delivery("record", "timer", "daily", b'{"triggerTime": "2025-06-02T01:30:00Z"}')], "", {"clock": step})
    queue.close()
    host.start().client.advance(datetime(2025, 6, 3, 1, 30, tzinfo=UTC))

    assert [event["triggerTime"][:10] for event, *_ in host.recorded()] == ["2025-06-02", "2025-06-03"]


def test_setting_the_clock_fires_nothing(host: Host) -> None:
    host.client.set_clock(datetime(2025, 6, 2, tzinfo=UTC))
    host.client.set_clock(datetime(2025, 7, 2, tzinfo=UTC))
    host.client.idle()

    assert host.recorded() == []
    assert Clock(host.home).now() == datetime(2025, 7, 2, tzinfo=UTC)


def test_timers_fire_by_themselves_while_the_clock_runs(tmp_path: Path) -> None:
    host = Host(tmp_path / "home")
    host.template = tmp_path / "s.yaml"
    host.template.write_text((FUNCTIONS / "s.yaml").read_text().replace("0 30 1 1 * *", '"@every 1s"'))
    host.start()
    try:
        until(lambda: len(host.recorded()) >= 1)
        assert host.recorded()[0][0]["triggerName"] == "monthly"
    finally:
        host.stop()
