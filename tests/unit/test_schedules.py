"""Schedules: each slot is carried out and told once, whichever call fails; what was missed is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from infra.localcloud.faults.plan import Fault
from infra.provision.event_schemas import FOLDER
from shared.cycle import Cycle, stamp
from shared.errors import BadInputError, ClearbookError, SettingError
from shared.events.owners import OwnerEvent
from shared.ids import digest_of
from shared.ports import ObjectEvent, ServiceError
from shared.services import Services
from shared.steps.delivering import deliveries, kept, schedules, webhooks
from shared.steps.delivering.each import UnfinishedError
from shared.steps.delivering.kept import SLOTS
from shared.steps.delivering.reports import Outcome, Reports, Standing, Wanted
from shared.steps.delivering.timer import deliver
from shared.steps.notify import notify
from shared.steps.stopping import never
from tests.fakes import Cloud, KilledError, State
from tests.owners import ACME, AURORA, name_people

BEGIN = datetime(2025, 7, 1, 12, 0, tzinfo=UTC)
DAILY: dict[str, Any] = {
    "name": "Costs",
    "when": {"every": "day"},
    "ask": {"report": "cost", "preset": "yesterday"},
    "mail": ["ann@aurora.example"],
}


@dataclass
class Runs:
    """Reports that are ready as soon as somebody asks twice how they are."""

    finals: set[str] = field(default_factory=set)
    without_bills: set[str] = field(default_factory=set)
    asked: list[Wanted] = field(default_factory=list)
    looks: dict[str, int] = field(default_factory=dict)
    fails: str = ""
    refuses: str = ""

    @property
    def reports(self) -> Reports:
        return Reports(self.check, self.request, self.outcome, lambda *one: f"https://portal.example/runs/{one[2]}",
                       lambda *_: None, lambda _, owner, month: self.standing(str(month)))  # fmt: skip

    def standing(self, month: str) -> Standing:
        if month in self.without_bills:
            return Standing.NOTHING
        return Standing.FINAL if month in self.finals else Standing.OPEN

    def check(self, services: Services, wanted: Wanted, at: str) -> None:
        if wanted.ask["report"] == "unknown":
            raise BadInputError("report", "there is no such report", "name another")

    def request(self, services: Services, wanted: Wanted, at: str) -> str:
        if self.refuses:
            raise BadInputError("report", self.refuses, "ask an admin")
        self.asked.append(wanted)
        run = digest_of([wanted.owner, wanted.by, wanted.ask, wanted.format, wanted.today])[:12]
        services.buckets.reports.put_once(f"report-requests/{wanted.owner}/{run}.json", b"{}")
        return run

    def outcome(self, services: Services, owner: str, run: str) -> Outcome | None:
        assert services.buckets.reports.exists(f"report-requests/{owner}/{run}.json")
        self.looks[run] = self.looks.get(run, 0) + 1
        return None if self.looks[run] < 2 else Outcome(not self.fails, self.fails)


@pytest.fixture
def cloud(tmp_path: Path) -> Cloud:
    cloud = Cloud(tmp_path)
    cloud.clock.now = BEGIN
    name_people(cloud)
    return cloud


def create(cloud: Cloud, runs: Runs, owner: str = AURORA, **said: Any) -> dict[str, Any]:
    return schedules.create(cloud.services, runs.reports, owner, "ann", {**DAILY, **said}, cloud.clock.now)


def fire(cloud: Cloud, runs: Runs, at: datetime) -> None:
    """The timer fires, and what it leaves in the outbox wakes notify; what was cut off comes again, as events do."""
    cloud.clock.now = at
    _again(lambda: deliver(cloud.services, at, never, runs.reports))
    for one in cloud.take_created():
        if one.key.startswith("outbox/"):
            _again(lambda key=one.key: notify(cloud.services, ObjectEvent(cloud.work.bucket, key, at)))  # type: ignore[misc]


def _again(work: Callable[[], object]) -> None:
    for _ in range(3):
        try:
            work()
            return
        except (ClearbookError, KilledError) as exc:
            if isinstance(exc, ClearbookError) and not exc.retryable:
                raise
    raise AssertionError("one failed call was too much")


def slots(cloud: Cloud) -> dict[str, str]:
    [one] = schedules.of_owner(cloud.services, AURORA)
    return {slot["slot"]: slot["state"] for slot in reversed(one["slots"])}


def day(number: int, hour: int = 1) -> datetime:
    return datetime(2025, 7, number, hour, tzinfo=UTC)


def subjects(cloud: Cloud) -> list[str]:
    return [str(one["Subject"]) for one in cloud.mail.sent]


def test_each_slot_is_asked_for_with_its_own_day_and_told_to_the_webhook_and_by_mail(cloud: Cloud) -> None:
    runs = Runs()
    create(cloud, runs)
    webhooks.register(cloud.services, AURORA, "ann", {"url": "https://hooks.example/"}, BEGIN)
    webhooks.register(cloud.services, ACME, "bob", {"url": "https://acme.example/"}, BEGIN)
    for hour in range(1, 49):
        fire(cloud, runs, day(2) + timedelta(hours=hour - 1))

    assert [one.today for one in runs.asked] == [date(2025, 7, 2), date(2025, 7, 3), date(2025, 7, 4)]
    assert subjects(cloud) == ["Costs: 2025-07-02", "Costs: 2025-07-03"]
    assert [url for url, *_ in cloud.post.sent] == ["https://hooks.example/"] * 2
    assert slots(cloud) == {"2025-07-02": "ready", "2025-07-03": "ready", "2025-07-04": "requested"}


def _play(cloud: Cloud, runs: Runs) -> None:
    """Two days, the second one late by a day that is missed; and whatever attempt is left, a day on."""
    for at in (day(2), day(2, 2), day(4), day(4, 2), day(4, 3), day(4, 23)):
        fire(cloud, runs, at)


def _told(cloud: Cloud) -> tuple[dict[str, str], list[str], list[str]]:
    """The slots' states, and what a receiver that knows messages by their ids has got: of each id one."""
    mails = {str(one["Message-ID"]): str(one["Subject"]) for one in cloud.mail.sent}
    posts = {headers["webhook-id"]: json.loads(body)["data"]["slot"] for _, headers, body in cloud.post.sent}
    return slots(cloud), sorted(mails.values()), sorted(posts.values())


def _started(cloud: Cloud) -> State:
    create(cloud, Runs())
    webhooks.register(cloud.services, AURORA, "ann", {"url": "https://hooks.example/"}, BEGIN)
    cloud.calls.begin()
    return cloud.state()


@pytest.mark.parametrize("how", [Fault.LOSE_REQUEST, Fault.LOSE_RESPONSE, Fault.KILL_AFTER], ids=str)
def test_whichever_call_fails_each_slot_is_told_and_none_twice(cloud: Cloud, how: Fault) -> None:
    started = _started(cloud)
    _play(cloud, Runs())
    calls = list(cloud.calls.made)
    wanted = _told(cloud)
    assert wanted[0] == {"2025-07-02": "ready", "2025-07-03": "skipped", "2025-07-04": "ready"}
    assert wanted[1:] == (["Costs: 2025-07-02", "Costs: 2025-07-04"], ["2025-07-02", "2025-07-04"])
    for number, what in enumerate(calls):
        cloud.restore(started)
        cloud.mail.sent.clear()
        cloud.post.sent.clear()
        runs = Runs()
        cloud.calls.begin(number, how)
        _play(cloud, runs)
        cloud.calls.begin()

        assert _told(cloud) == wanted, f"call {number}, {what}"
        again = 1 if what.startswith(("post to", "hand over")) or "deliveries" in what else 0
        # A message whose answer was lost comes once more by the same id, and never without such a loss.
        assert len(cloud.mail.sent) + len(cloud.post.sent) <= 4 + again, f"call {number}, {what}"
        assert len({one.today for one in runs.asked}) == 2, f"call {number}, {what}"


def test_two_timers_at_once_open_and_tell_one_slot(cloud: Cloud) -> None:
    runs = Runs()
    create(cloud, runs)
    reports = runs.reports

    def between(services: Services, wanted: Wanted, at: str) -> str:
        deliver(cloud.services, day(2), never, reports)  # another does all of it, while we ask
        return runs.request(services, wanted, at)

    fired = replace(reports, request=between)
    deliver(cloud.services, day(2), never, fired)
    fire(cloud, runs, day(2, 2))

    assert slots(cloud) == {"2025-07-02": "ready"}
    assert len(cloud.mail.sent) == 1


def test_of_missed_slots_the_newest_is_made_and_says_which_were_not(cloud: Cloud) -> None:
    runs = Runs()
    create(cloud, runs)
    fire(cloud, runs, day(5))
    fire(cloud, runs, day(5, 2))

    assert [one.today for one in runs.asked] == [date(2025, 7, 5)]
    assert slots(cloud) == {"2025-07-02": "skipped", "2025-07-03": "skipped", "2025-07-04": "skipped",
                            "2025-07-05": "ready"}  # fmt: skip
    text = cloud.mail.sent[0].get_body(("plain",))
    assert text is not None
    assert "Missed and not made: 2025-07-02, 2025-07-03, 2025-07-04." in text.get_content()


def test_a_month_is_made_when_it_is_final_and_a_late_one_is_not_skipped(cloud: Cloud) -> None:
    runs = Runs()
    create(cloud, runs, when={"every": "final"}, ask={"report": "cost", "preset": "last_month"})
    fire(cloud, runs, day(4))
    assert runs.asked == []
    fire(cloud, runs, day(9) + timedelta(days=31))
    assert runs.asked == []
    runs.finals |= {"2025-06", "2025-07"}
    fire(cloud, runs, day(10) + timedelta(days=31))
    fire(cloud, runs, day(11) + timedelta(days=31))

    assert [one.today for one in runs.asked] == [date(2025, 7, 3), date(2025, 8, 3)]
    assert slots(cloud) == {"2025-06": "ready", "2025-07": "ready"}
    assert Cycle.of(runs.asked[0].today).previous() == Cycle(2025, 6)


def test_a_month_that_is_not_final_yet_is_meant_and_one_that_is_is_not(cloud: Cloud) -> None:
    cloud.clock.now = day(20)
    runs = Runs()
    create(cloud, runs, when={"every": "final"})
    runs.finals.add("2025-06")
    create(cloud, runs, when={"every": "final"}, name="Later")
    runs.without_bills.add("2025-06")
    create(cloud, runs, when={"every": "final"}, name="New here")

    found = {one["name"]: one["next_at"] for one in schedules.of_owner(cloud.services, AURORA)}
    later = "2025-08-03T04:00:00Z"
    assert found == {"Costs": "2025-07-03T04:00:00Z", "Later": later, "New here": later}


def test_months_without_bills_keep_no_other_waiting(cloud: Cloud) -> None:
    runs = Runs(without_bills={"2025-06", "2025-08"})
    create(cloud, runs, when={"every": "final"})
    runs.finals.add("2025-07")
    fire(cloud, runs, day(9) + timedelta(days=31))
    fire(cloud, runs, day(9) + timedelta(days=62))
    assert [one.today for one in runs.asked] == [date(2025, 8, 3)]
    runs.finals.add("2025-09")
    fire(cloud, runs, day(9) + timedelta(days=93))
    fire(cloud, runs, day(10) + timedelta(days=93))

    assert slots(cloud) == {"2025-07": "ready", "2025-09": "ready"}


@pytest.mark.parametrize("kind", ["refused", "failed", "endless"])
def test_what_cannot_be_made_is_told_once_and_the_next_slot_is_tried(cloud: Cloud, kind: str) -> None:
    runs = Runs(refuses="may not any more" * (kind == "refused"), fails="too much" * (kind == "failed"))
    if kind == "endless":
        runs.looks = dict.fromkeys([digest_of([AURORA, "ann", DAILY["ask"], "xlsx", date(2025, 7, 2)])[:12]], -(10**6))
    create(cloud, runs)
    for at in (day(2), day(2, 2), day(2, 3), day(4, 0), day(4, 1)):
        fire(cloud, runs, at)
    runs.refuses = runs.fails = ""
    fire(cloud, runs, day(5))

    assert subjects(cloud).count("Costs: 2025-07-02 failed") == 1
    assert slots(cloud)["2025-07-02"] == "failed"
    assert slots(cloud)["2025-07-05"] in ("requested", "ready")


def test_a_run_that_cannot_be_asked_for_now_waits_and_stops_no_other(cloud: Cloud) -> None:
    runs = Runs()
    create(cloud, runs)
    create(cloud, runs, owner=ACME)

    def unreachable(services: Services, wanted: Wanted, at: str) -> str:
        if wanted.owner == AURORA:
            raise ServiceError("cannot ask", "the connection broke", "later", retryable=True)
        return runs.request(services, wanted, at)

    with pytest.raises(ClearbookError, match="1 could not be carried on with"):
        deliver(cloud.services, day(2), never, replace(runs.reports, request=unreachable))
    assert [one.owner for one in runs.asked] == [ACME]
    fire(cloud, runs, day(2, 2))
    assert [one.owner for one in runs.asked] == [ACME, AURORA]


def test_a_pause_has_no_slots_and_what_is_deleted_is_gone(cloud: Cloud) -> None:
    runs = Runs()
    id_ = create(cloud, runs)["id"]
    assert schedules.pause(cloud.services, AURORA, id_) == schedules.pause(cloud.services, AURORA, id_)
    fire(cloud, runs, day(3))
    assert runs.asked == []
    assert schedules.resume(cloud.services, AURORA, id_, day(3, 2))["next_at"] == "2025-07-04T00:00:00Z"
    schedules.delete(cloud.services, AURORA, id_)
    schedules.delete(cloud.services, AURORA, id_)
    fire(cloud, runs, day(5))

    assert runs.asked == []
    assert schedules.of_owner(cloud.services, AURORA) == []
    for work in (schedules.pause, schedules.get, schedules.delete):
        with pytest.raises(kept.UnknownIdError):
            work(cloud.services, ACME, id_)
    with pytest.raises(kept.UnknownIdError):
        schedules.pause(cloud.services, AURORA, id_)
    assert create(cloud, runs)["state"] == "active"


@pytest.mark.parametrize("state", ["begun", "requested", "ready"])
def test_a_slot_that_is_open_when_its_schedule_is_deleted_is_told_to_nobody(cloud: Cloud, state: str) -> None:
    runs = Runs()
    webhooks.register(cloud.services, AURORA, "ann", {"url": "https://hooks.example/"}, BEGIN)
    id_ = create(cloud, runs)["id"]
    if state == "begun":
        unreachable = ServiceError("cannot ask", "the connection broke", "later", retryable=True)
        with pytest.raises(ClearbookError):
            deliver(cloud.services, day(2), never, replace(runs.reports, request=_raising(unreachable)))
    else:
        deliver(cloud.services, day(2), never, runs.reports)
    if state == "ready":
        cloud.take_created()
        deliver(cloud.services, day(2, 2), never, runs.reports)  # and then its mails are slower than the deletion
    schedules.delete(cloud.services, AURORA, id_)
    for hour in (3, 4):
        fire(cloud, runs, day(2, hour))
    slot = kept.find(cloud.services, SLOTS, AURORA, f"{id_}/2025-07-02")

    assert cloud.mail.sent == []
    assert slot is not None
    assert (slot.said["state"], slot.due) == ("cancelled" if state != "ready" else "ready", "")
    assert len(cloud.post.sent) == (1 if state == "ready" else 0)  # it was told before, and the webhook is there still


def test_a_schedule_that_is_deleted_stops_the_mails_that_wait_and_the_event_that_was_left(cloud: Cloud) -> None:
    runs = Runs()
    id_ = create(cloud, runs)["id"]
    services = cloud.services
    unset = _raising(SettingError("CLEARBOOK_SMTP", "is not set", "set it"))
    cloud.services = replace(services, outside=replace(services.outside, mailer=unset))
    for hour in (1, 2):
        fire(cloud, runs, day(2, hour))
    cloud.services = services
    assert deliveries.listed(cloud.services, AURORA)[0]["state"] == "waiting"
    for hour in (0, 1):
        deliver(cloud.services, day(3, hour), never, runs.reports)  # leaves an event, and dies before its row says so
    slot = kept.find(cloud.services, SLOTS, AURORA, f"{id_}/2025-07-03")
    assert slot is not None
    kept.replace(cloud.services, slot, slot.said, stamp(day(3)))
    schedules.delete(cloud.services, AURORA, id_)
    for hour in (3, 4):
        fire(cloud, runs, day(3, hour))

    assert cloud.mail.sent == []
    assert {one["because"] for one in deliveries.listed(cloud.services, AURORA)} == {"its schedule is deleted"}


def test_an_older_timer_that_comes_again_leaves_no_missed_slot_unsaid(cloud: Cloud) -> None:
    runs = Runs()
    id_ = create(cloud, runs)["id"]
    found = kept.find(cloud.services, kept.SCHEDULES, AURORA, id_)
    assert found is not None
    for slot in schedules._Plan.of(found.said).until(day(4))[:-1]:  # a timer of the 4th began, and died
        schedules._slot(cloud.services, found, slot, schedules.SKIPPED, [])
    for at in (day(3), day(4), day(4, 2)):
        fire(cloud, runs, at)

    assert slots(cloud) == {"2025-07-02": "skipped", "2025-07-03": "skipped", "2025-07-04": "ready"}
    text = cloud.mail.sent[0].get_body(("plain",))
    assert text is not None
    assert "Missed and not made: 2025-07-02, 2025-07-03." in text.get_content()


def test_a_pause_takes_no_month_that_waits_to_be_final(cloud: Cloud) -> None:
    runs = Runs()
    id_ = create(cloud, runs, when={"every": "final"}, ask={"report": "cost", "preset": "last_month"})["id"]
    fire(cloud, runs, day(4))
    schedules.pause(cloud.services, AURORA, id_)
    schedules.resume(cloud.services, AURORA, id_, day(5))
    runs.finals.add("2025-06")
    for number in (8, 9):
        fire(cloud, runs, day(number))

    assert slots(cloud) == {"2025-06": "ready"}


def test_schedules_that_are_made_and_deleted_have_an_end(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedules, "_EVER_MAX", 2)
    runs = Runs()
    for name in ("a", "b"):
        schedules.delete(cloud.services, AURORA, create(cloud, runs, name=name)["id"])
    with pytest.raises(BadInputError, match="schedule 3 that was ever made"):
        create(cloud, runs, name="c")

    assert create(cloud, runs, name="a")["state"] == "active"


def _raising(exc: Exception) -> Callable[..., Any]:
    def raised(*_: object) -> Any:
        raise exc

    return raised


def test_a_failed_report_is_told_with_its_reason_and_without_a_link(cloud: Cloud) -> None:
    runs = Runs(fails="more than 1,000,000 rows; ask for less")
    create(cloud, runs)
    for hour in (1, 2):
        fire(cloud, runs, day(2, hour))
    [mail] = cloud.mail.sent
    text, page = mail.get_body(("plain",)), mail.get_body(("html",))

    assert text is not None
    assert page is not None
    assert "Because: more than 1,000,000 rows; ask for less" in text.get_content()
    assert "href" not in page.get_content()


def test_one_that_brings_out_a_defect_stops_no_other_and_is_said(cloud: Cloud) -> None:
    runs = Runs()
    create(cloud, runs)
    create(cloud, runs, owner=ACME)

    def broken(services: Services, wanted: Wanted, at: str) -> str:
        return runs.request(services, wanted, at) if wanted.owner == ACME else str(1 // 0)

    with pytest.raises(
        UnfinishedError,
        match=r"^2 could .*OSError.*; slot reseller.aurora sch_.*ZeroDivisionError",
    ):
        deliver(cloud.services, day(2), never, replace(runs.reports, request=broken, wake=_raising(OSError("x"))))
    assert [one.owner for one in runs.asked] == [ACME]
    fire(cloud, runs, day(2, 2))
    assert [one.owner for one in runs.asked] == [ACME, AURORA]


def test_an_event_that_is_no_event_keeps_no_other_untold(cloud: Cloud) -> None:
    webhooks.register(cloud.services, AURORA, "ann", {"url": "https://hooks.example/"}, BEGIN)
    event = OwnerEvent(AURORA, "report.ready", "run-1", "2025-07-02T00:00:00Z", {})
    event.leave(cloud.work)
    cloud.work.put_once(event.key.replace(event.id, "0" * 32), b"no event")  # listed before the other
    with pytest.raises(UnfinishedError, match=r"1 could not be carried on with, first event outbox/owners/.*/0000"):
        deliver(cloud.services, day(2), never, Runs().reports)

    assert len(cloud.post.sent) == 1


def test_the_last_day_ends_a_schedule(cloud: Cloud) -> None:
    runs = Runs()
    create(cloud, runs, ends="2025-07-03")
    for number in (2, 3, 4, 5):
        fire(cloud, runs, day(number))

    assert [one.today.day for one in runs.asked] == [2, 3]
    assert schedules.of_owner(cloud.services, AURORA)[0]["state"] == "ended"


def test_the_same_schedule_again_is_the_same(cloud: Cloud) -> None:
    runs = Runs()
    first = create(cloud, runs)
    cloud.clock.now += timedelta(minutes=5)

    assert create(cloud, runs) == first
    assert create(cloud, runs, owner=ACME)["id"] != first["id"]
    assert len(schedules.of_owner(cloud.services, AURORA)) == 1


@pytest.mark.parametrize(
    ("said", "place"),
    [
        ({"starts": "2025-06-30"}, "starts"),
        ({"ends": "2025-06-30"}, "ends"),
        ({"ends": "2025-07-01"}, "ends"),  # its slot of today is over
        ({"starts": "2025-07-10", "ends": "2025-07-09"}, "ends"),
        ({"starts": 7}, "starts"),
        ({"ends": "9999-12-31"}, "ends"),
        ({"starts": "1999-12-31"}, "starts"),
        ({"when": {"every": "day", "time": "08+01"}}, "when.time"),
        ({"when": {"every": "day", "zone": "localtime"}}, "when.zone"),
        ({"mail": ["=?a?q?b?=@b.example"]}, "mail[0]"),
        ({"starts": "2025-7-10"}, "starts"),
        ({"name": "a\r\nBcc: b"}, "name"),
        ({"name": " "}, "name"),
        ({"ask": "cost"}, "ask"),
        ({"ask": {"report": "cost", "from": "2025-06"}}, "ask.from"),
        ({"ask": {"report": "unknown"}}, "report"),
        ({"ask": {"report": "x" * 70_000}}, "ask"),
        ({"format": "doc"}, "format"),
        ({"mail": "ann@aurora.example"}, "mail"),
        ({"mail": ["ann@aurora.example\nBcc: b@c.example"]}, "mail[0]"),
        ({"mail": ["a@b.example"] * 21}, "mail"),
        ({"when": {"every": "hour"}}, "when.every"),
        ({"every": "day"}, "every"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused_at_its_field_and_nothing_is_made(
    cloud: Cloud, said: dict[str, Any], place: str
) -> None:
    with pytest.raises(BadInputError) as caught:
        create(cloud, Runs(), **said)

    assert caught.value.place == place
    assert cloud.rows.tables["schedules"] == {}


def test_a_mail_goes_by_what_the_rows_say_and_not_by_what_an_object_does(cloud: Cloud) -> None:
    runs = Runs()
    id_ = create(cloud, runs)["id"]
    event = {"id": "x", "data": {"schedule": id_, "slot": "2025-07-02", "link": "https://evil.example/"}}
    with pytest.raises(BadInputError, match="no slot that was carried out"):
        schedules.mail_of(cloud.services, AURORA, event)

    assert deliveries.listed(cloud.services, AURORA) == []


def test_what_owners_are_told_is_as_its_schema_says(cloud: Cloud) -> None:
    runs = Runs()
    create(cloud, runs)
    for at in (day(2), day(2, 1)):
        fire(cloud, runs, at)
    runs.fails = "too much"
    for at in (day(5), day(5, 1)):
        fire(cloud, runs, at)

    found = [json.loads(body) for key, body in cloud.work.objects.items() if key.startswith("outbox/owners/")]
    assert {one["type"] for one in found} == {"clearbook.schedule.ready", "clearbook.schedule.failed"}
    for one in found:
        schema = json.loads((FOLDER / f"{one['type'].removeprefix('clearbook.')}.schema.json").read_bytes())
        jsonschema.Draft202012Validator(schema).validate(one)
        assert one["dataschema"] == schema["$id"]


def test_without_a_mail_server_mails_wait_say_why_and_hold_up_nothing(cloud: Cloud) -> None:
    def unset() -> Any:
        raise SettingError("CLEARBOOK_SMTP", "is not set", "set it in the function's environment (s.yaml)")

    runs, services = Runs(), cloud.services
    create(cloud, runs)
    outside = replace(services.outside, mailer=unset)
    cloud.services = replace(services, outside=outside)
    for at in (day(2), day(2, 1)):
        fire(cloud, runs, at)
    [waiting] = deliveries.listed(cloud.services, AURORA)
    assert (waiting["state"], cloud.mail.sent) == ("waiting", [])
    assert waiting["attempts"][0]["because"].startswith("setting CLEARBOOK_SMTP is not set")

    cloud.services = services
    fire(cloud, runs, day(2, 2))
    [delivered] = deliveries.listed(cloud.services, AURORA)
    assert (delivered["id"], delivered["state"], len(cloud.mail.sent)) == (waiting["id"], "delivered", 1)
