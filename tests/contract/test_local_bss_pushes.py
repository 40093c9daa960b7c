"""Pushes of bill files that are interrupted, repeated, refused and played between timers: each file once, in order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud import common
from infra.localcloud.bss import push
from infra.localcloud.bss.push import OssSilentError, Pusher
from infra.localcloud.bss.subscriptions import Subscriptions
from infra.localcloud.common import LocalCloudError
from infra.localcloud.faults.plan import Fault, Plan, Rule, write
from tests.contract.bill_files import BUCKET, Files, beijing, services, subscribe
from tests.contract.bss_cloud import CYCLE, Payer, line
from tests.contract.host_driver import FUNCTIONS, Host, until

DETAIL, MONTHLY = "BillingItemDetailForBillingPeriod", "BillingItemDetailMonthly"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with services(tmp_path_factory.mktemp("files")) as started:
        yield started


class KilledError(BaseException):
    """The process ends here."""


@dataclass(slots=True)
class Killer:
    """Lets a number of steps happen, then ends the process before or after the next."""

    steps: int
    is_after: bool

    def around(self, step: Any) -> Any:
        """The step, which may be the last."""

        def lethal(*arguments: Any) -> Any:
            self.steps -= 1
            if self.steps == 0 and not self.is_after:
                raise KilledError
            result = step(*arguments)
            if self.steps == 0:
                raise KilledError
            return result

        return lethal


def fresh(files: Files) -> Payer:
    """A payer with two kinds of files due on the second of June and on the third, all of them filled up."""
    files.world.clock.set(beijing("2026-06-01T12:00"))
    payer = files.subscriber(line(1, "1"), line(2, "2"))
    subscribe(payer, DETAIL, bucket_path=payer.account, begin_billing_cycle=CYCLE)
    subscribe(payer, MONTHLY, bucket_path=payer.account)
    files.world.clock.set(beijing("2026-06-03T10:00"))
    return payer


def due(payer: Payer) -> list[str]:
    """The files of a fresh payer, as OSS must tell of them."""
    stem = f"{payer.account}/{payer.account}_BillingItemDetail"
    return [f"{stem}_20260601", f"{stem}Monthly_202606", f"{stem}_20260602", f"{stem}Monthly_202606"]


def told_of(files: Files, payer: Payer) -> list[str]:
    return [key for _, key in files.events() if key.startswith(f"{payer.account}/")]


def push_until(files: Files, until: str) -> int:
    pusher = Pusher(files.world.home, files.world.main)
    return asyncio.run(pusher.push(beijing(until)))


@pytest.mark.parametrize("is_after", [False, True])
def test_a_push_killed_between_any_two_steps_is_finished_and_never_repeated(
    files: Files, monkeypatch: pytest.MonkeyPatch, *, is_after: bool
) -> None:
    killed_at = 0
    while True:
        payer, killer = fresh(files), Killer(killed_at + 1, is_after)
        with monkeypatch.context() as patch:
            for name in ("begin", "done", "finish"):
                patch.setattr(Subscriptions, name, killer.around(getattr(Subscriptions, name)))
            patch.setattr(push, "put", killer.around(push.put))
            try:
                push_until(files, "2026-06-03T10:00")
            except KilledError:
                killed_at += 1
            else:
                killed_at = -killed_at
        push_until(files, "2026-06-03T10:00")
        assert told_of(files, payer) == due(payer), f"killed {'after' if is_after else 'before'} step {killer.steps}"
        assert push_until(files, "2026-06-03T10:00") == 0
        if killed_at <= 0:
            break
    assert killed_at == -16, "four files with a note, a put and another note each, and four ends of a push"


def test_the_same_content_of_the_day_before_is_no_push_of_today(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    files.world.clock.set(beijing("2026-06-01T12:00"))
    payer = files.subscriber(line(1, "1"))
    subscribe(payer, MONTHLY, bucket_path=payer.account)
    files.push("2026-06-02T10:00")
    files.world.clock.set(beijing("2026-06-03T10:00"))

    killer = Killer(1, is_after=False)
    with monkeypatch.context() as patch:
        patch.setattr(push, "put", killer.around(push.put))
        with pytest.raises(KilledError):
            push_until(files, "2026-06-03T10:00")
    assert push_until(files, "2026-06-03T10:00") == 1

    key = f"{payer.account}/{payer.account}_BillingItemDetailMonthly_202606"
    assert told_of(files, payer) == [key, key]


def test_what_an_earlier_service_left_half_written_is_cleared_away(files: Files) -> None:
    left = files.world.home / "bss" / "push-left"
    left.mkdir()
    (left / "1.csv").write_text("half")

    Pusher(files.world.home, files.world.main)

    assert not left.exists()


@pytest.mark.parametrize(
    "fault", [Fault.LOSE_REQUEST, Fault.LOSE_RESPONSE, Fault.CUT_RESPONSE, Fault.DOUBTFUL_ERROR, Fault.SERVER_ERROR,
              Fault.THROTTLE, Fault.REFUSE_SIGNATURE],
)  # fmt: skip
def test_a_file_is_put_once_whatever_becomes_of_the_call(files: Files, fault: Fault) -> None:
    payer = fresh(files)
    files.oss.stop()
    path = files.world.home / "faults.json"
    path.write_bytes(write(Plan(rules=(Rule(fault, service="oss", call="PutObject", attempt=1),))))
    files.oss = common.start("oss", files.world.home, "--faults", str(path), port=files.oss.port)

    assert push_until(files, "2026-06-03T10:00") == 4
    assert told_of(files, payer) == due(payer)


def test_while_oss_is_silent_files_stay_due(files: Files) -> None:
    payer = fresh(files)
    files.oss.stop()

    with pytest.raises(OssSilentError, match="takes no bill file"):
        push_until(files, "2026-06-03T10:00")
    answer = files.control({"until": beijing("2026-06-03T10:00").isoformat()})
    files.oss = common.start("oss", files.world.home, port=files.oss.port)

    assert (answer["status"], answer["Code"]) == (503, "OssSilent")
    assert files.push("2026-06-03T10:00") == 4
    assert told_of(files, payer) == due(payer)


def test_the_control_call_is_for_those_with_the_token(files: Files) -> None:
    asked = {"until": beijing("2026-06-01T12:00").isoformat()}

    assert files.control(asked, token="wrong")["status"] == 401
    malformed: tuple[Any, ...] = ({}, {"until": "2026-06-01T12:00:00"}, {"until": 5}, [])
    for wrong in malformed:
        assert files.control(wrong)["status"] == 400
    assert files.control(asked) == {"pushed": 0}


def test_files_come_by_themselves_while_the_clock_runs(tmp_path: Path) -> None:
    with services(tmp_path) as files:
        files.world.clock.set(datetime.now(UTC) - timedelta(days=3))
        payer = files.subscriber()
        subscribe(payer, DETAIL)
        subscriptions = Subscriptions(files.world.home)
        (before,) = subscriptions.of(payer.account)
        files.world.clock.set(None)

        until(lambda: subscriptions.of(payer.account)[0].next_push > datetime.now(UTC))

        assert before.next_push < datetime.now(UTC)
        subscriptions.close()


# Between timers.


@pytest.fixture
def played(tmp_path: Path) -> Iterator[tuple[Files, Host]]:
    """The services with a function host, whose function `record` is woken by bill files."""
    with services(tmp_path / "home") as files:
        host = Host(files.world.home)
        text = (FUNCTIONS / "s.yaml").read_text().replace("bucket: work", f"bucket: {BUCKET}")
        host.template = tmp_path / "s.yaml"
        host.template.write_text(text.replace("{prefix: orders/, suffix: .json}", "{prefix: bills/, suffix: ''}"))
        host.start()
        try:
            yield files, host
        finally:
            host.stop()


def woken(host: Host) -> list[str]:
    """What `record` was called for: a timer's instant, or when and of which file."""
    calls = []
    for event, clock, *_ in host.recorded():
        if "events" in event:
            key = event["events"][0]["oss"]["object"]["key"]
            calls.append(f"{datetime.fromisoformat(clock).isoformat()} {key.partition('_')[2]}")
        else:
            calls.append(event["triggerTime"])
    return calls


def test_played_time_has_files_and_timers_in_their_order(played: tuple[Files, Host]) -> None:
    files, host = played
    host.client.set_clock(beijing("2026-06-01T12:00"))
    payer = files.subscriber(line(1), line(2), line(3))
    subscribe(payer, DETAIL, bucket_path="bills")
    told: list[dict[str, Any]] = []

    summary = host.client.advance(beijing("2026-06-04T09:45"), told.append)

    # The timer's half past nine in Shanghai is before the files' ten o'clock.
    assert woken(host) == [
        "2026-06-02T01:30:00Z", "2026-06-02T02:00:00+00:00 BillingItemDetail_20260601",
        "2026-06-03T01:30:00Z", "2026-06-03T02:00:00+00:00 BillingItemDetail_20260602",
        "2026-06-04T01:30:00Z",
    ]  # fmt: skip
    assert [(entry["at"], entry["timers"], entry.get("pushed"), entry["done"]) for entry in told[:2]] == [
        ("2026-06-02T01:30:00Z", 1, None, 1), ("2026-06-02T02:00:00Z", 0, 1, 1),
    ]  # fmt: skip
    assert (summary["timers"], summary["done"]) == (3, 5)
    assert host.client.clock() == beijing("2026-06-04T09:45")


def test_files_missed_while_the_clock_was_set_on_come_first(played: tuple[Files, Host]) -> None:
    files, host = played
    host.client.set_clock(beijing("2026-06-01T12:00"))
    payer = files.subscriber(line(1))
    subscribe(payer, DETAIL, bucket_path="bills")
    host.client.set_clock(beijing("2026-06-03T09:00"))
    assert files.objects() == []

    host.client.advance(beijing("2026-06-03T09:30"))

    assert woken(host) == ["2026-06-03T01:00:00+00:00 BillingItemDetail_20260601", "2026-06-03T01:30:00Z"]


def test_a_host_killed_while_it_plays_leaves_no_file_out_and_none_twice(played: tuple[Files, Host]) -> None:
    files, host = played
    host.client.set_clock(beijing("2026-06-01T12:00"))
    payer = files.subscriber(*[line(day) for day in range(1, 11)])
    subscribe(payer, DETAIL, bucket_path="bills")
    told, kills = 0, 0

    class LeftError(Exception):
        pass

    def kill_at_times(entry: dict[str, Any]) -> None:
        nonlocal told, kills
        told += 1
        if told % 4 == 0:
            kills += 1
            host.kill()
            raise LeftError

    while True:
        try:
            host.client.advance(beijing("2026-06-11T10:00"), kill_at_times)
        except LeftError:
            host.start()
            continue
        break
    host.client.idle()

    assert kills >= 3
    assert [key.rpartition("_")[2] for _, key in files.events()] == [f"202606{day:02d}" for day in range(1, 11)]
    # A function that ran when its host was killed runs again; none is left out, and none comes before its time.
    assert [call for call, _ in itertools.groupby(woken(host))] == [
        call
        for day in range(1, 11)
        for call in (
            f"2026-06-{day + 1:02d}T01:30:00Z",
            f"2026-06-{day + 1:02d}T02:00:00+00:00 BillingItemDetail_202606{day:02d}",
        )
    ]


def test_time_stands_while_oss_takes_no_file(played: tuple[Files, Host]) -> None:
    files, host = played
    host.client.set_clock(beijing("2026-06-01T12:00"))
    payer = files.subscriber(line(1))
    subscribe(payer, DETAIL, bucket_path="bills")
    files.oss.stop()

    with pytest.raises(LocalCloudError, match="could not be pushed"):
        host.client.advance(beijing("2026-06-10T10:00"))
    assert host.client.clock() == beijing("2026-06-02T10:00")

    files.oss = common.start("oss", files.world.home, port=files.oss.port)
    host.client.advance(beijing("2026-06-03T10:00"))
    assert [call for call in woken(host) if "Billing" in call] == [
        "2026-06-02T02:00:00+00:00 BillingItemDetail_20260601"
    ]


def test_a_host_without_bss_plays_on(tmp_path: Path) -> None:
    host = Host(tmp_path / "home").start()
    try:
        host.client.set_clock(beijing("2026-06-01T12:00"))
        assert host.client.advance(beijing("2026-06-03T12:00"))["timers"] == 2
    finally:
        host.stop()
