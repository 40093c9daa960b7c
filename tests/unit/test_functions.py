"""What s.yaml deploys: every handler is there, takes real events from `events/`, and refuses what is none."""

from __future__ import annotations

import importlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import PREPARER
from shared.bill.pulls import from_complete_key
from shared.cloud.fc import StepFailedError
from shared.steps.reporting import keys, requesting, runs
from tests.builders import CYCLE
from tests.pump import ROOT, Delivery, Function, Trigger, World, functions, go_live, small_month

EVENTS = ROOT / "events"
FUNCTIONS = functions()
TRIGGERS = [trigger for function in FUNCTIONS.values() for trigger in function.triggers]


def named(one: Trigger | Function) -> str:
    """How a case is called."""
    return f"{one.function}-{one.name}" if isinstance(one, Trigger) else one.name


def event_of(trigger: Trigger) -> Any:
    """The event of a trigger, from `events/`."""
    return json.loads((EVENTS / f"{named(trigger)}.json").read_bytes())


@pytest.fixture
def world(tmp_path: Path) -> World:
    """The small month up to the bank's answer."""
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    world.lock()
    world.pay()
    row = (f"{CYCLE}.aurora.aurora-2025", "confirmed", "160.00", "CNY", "B1")
    world.bank_answers("bank-2025-07-04", row)
    return world


def asked_for_a_report(world: World) -> str:
    """Somebody asks for a large one, which is built and told: the request, which is gone then."""
    paula = keys.person(world.services, PREPARER)
    ask, format_ = requesting.parse(paula, {"report": "trend", "preset": "last_month", "format": "csv"}, world.at)
    run = requesting.request(world.services, paula, ask, format_, at=world.at, small_lines=0)
    world.pump.drain()
    return runs.request_key(run)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=named)
def test_every_handler_of_the_template_is_there_and_opens_nothing_when_imported(function: Function) -> None:
    module, _, name = function.handler.partition(".")
    imported = importlib.import_module(f"functions.{module}")

    assert callable(getattr(imported, name))
    assert (ROOT / "functions" / f"{module}.py").is_file()
    assert imported._services.cache_info().currsize == 0


def test_every_module_of_the_folder_is_deployed() -> None:
    modules = {path.stem for path in (ROOT / "functions").glob("*.py")} - {"__init__", "portal"}  # see test_portal

    assert modules == {function.handler.partition(".")[0] for function in FUNCTIONS.values()}


def test_every_trigger_has_an_event_and_every_event_a_reader() -> None:
    files = {path.stem for path in EVENTS.glob("*.json") if not path.stem.startswith("portal-")}

    assert files == {named(trigger) for trigger in TRIGGERS} | {"sweep-given_up", "http-v1"}


@pytest.mark.parametrize("trigger", TRIGGERS, ids=named)
def test_the_event_of_a_trigger_is_one_it_would_send(trigger: Trigger) -> None:
    event = event_of(trigger)
    if trigger.kind == "timer":
        assert (event["triggerName"], event["payload"]) == (trigger.name, trigger.payload)
        return
    [one] = event["events"]
    assert trigger.takes(one["oss"]["bucket"]["name"], one["oss"]["object"]["key"])
    assert one["oss"]["bucket"]["virtualBucket"] == ""
    assert one["oss"]["object"]["objectMeta"]["mimeType"]


def test_no_object_wakes_two_functions_and_no_bucket_has_more_than_ten_triggers() -> None:
    of_objects = [trigger for trigger in TRIGGERS if trigger.kind == "oss"]
    for one in of_objects:
        others = [other for other in of_objects if other.bucket == one.bucket and other is not one]
        assert len(others) < 10
        assert not [other for other in others if other.prefix.startswith(one.prefix)]


def test_nothing_that_a_step_leaves_wakes_the_same_step(world: World) -> None:
    asked_for_a_report(world)
    for function in FUNCTIONS.values():
        made = [key for (step, key) in world.cloud.rows.tables["steps"] if step == function.name]
        refused = [
            ("clearbook-work", f"quarantine/{function.name}/0.json"),
            ("clearbook-work", "quarantine/failed/0.json"),
        ]
        assert not [one for one in refused for trigger in TRIGGERS if trigger.takes(*one)]
        assert made or function.name in ("sweep", "deliver")  # nothing was missing, nothing is due


@pytest.mark.parametrize("trigger", TRIGGERS, ids=named)
def test_a_function_takes_the_events_of_its_trigger(world: World, trigger: Trigger) -> None:
    """An event again for what is done already: it is taken and changes no decision and no record."""
    asked = asked_for_a_report(world) if named(trigger) in ("build_report-asked", "notify-owners") else ""
    event = event_of(trigger)
    if trigger.kind == "oss":
        here = event["events"][0]["oss"]["object"]
        there = [
            key for key in world.keys(trigger.bucket.removeprefix("clearbook-")) if trigger.takes(trigger.bucket, key)
        ]
        if there and here["key"] not in there:  # what is asked for again is removed once it is ordered
            here["key"] = there[0]  # names that end in a digest are the month's own
        if trigger.function == "build_report":
            here["key"] = asked
    before = world.cloud.state()
    answer = json.loads(FUNCTIONS[trigger.function].run(json.dumps(event).encode(), world.services))

    assert answer or trigger.function == "deliver"  # of which nothing is due
    assert not [one for one in answer if "code" in one]
    records = dict(world.cloud.records.objects)
    anchored = {key for key in records.keys() - before.objects["records"].keys() if key.endswith("/day.json")}
    assert anchored <= {"anchors/2025-07-03/day.json"}  # a sweep is the first of its day
    assert world.cloud.rows.tables["chain"] == before.tables["chain"]
    assert {key: body for key, body in records.items() if key not in anchored} == before.objects["records"]


def test_an_invocation_that_was_given_up_is_kept_for_people(world: World) -> None:
    body = (EVENTS / "sweep-given_up.json").read_bytes()
    [answer] = json.loads(FUNCTIONS["sweep"].run(body, world.services))

    assert answer.get("code") is None
    assert answer["condition"] == "UnhandledInvocationError"
    assert json.loads(world.cloud.work.objects[answer["kept"]]) == json.loads(body)
    assert answer["kept"].startswith("quarantine/failed/")


def test_an_http_event_is_no_event_of_any_of_these_functions(world: World) -> None:
    body = (EVENTS / "http-v1.json").read_bytes()
    for function in FUNCTIONS.values():
        assert refusals(function, body, world)


def refusals(function: Function, event: bytes, world: World) -> list[dict[str, Any]]:
    """What the function answers, each of it a refusal that lies in quarantine; nothing else has changed."""
    before = world.cloud.state()
    answer: list[dict[str, Any]] = json.loads(function.run(event, world.services))
    after = world.cloud.state()
    made = {key for key in after.objects["work"] if after.objects["work"][key] != before.objects["work"].get(key)}
    assert answer, "nothing was answered"
    for one in answer:
        assert one["code"]
        assert one["refused"]
        assert one["kept"].startswith(f"quarantine/{function.name}/")
        kept = json.loads(world.cloud.work.objects[one["kept"]])
        assert kept["problem"] == one["refused"]
        assert kept["event"]
    assert made <= {one["kept"] for one in answer}
    assert {name: rows for name, rows in after.tables.items() if name != "steps"} == {
        name: rows for name, rows in before.tables.items() if name != "steps"
    }
    return answer


NO_EVENTS = {
    "no JSON": b"\xff{",
    "nothing": b" ",
    "no object": b"[]",
    "a number": b"7",
    "an empty object": b"{}",
    "no list": b'{"events": {}, "triggerTime": 7}',
    "no events": b'{"events": []}',
    "an event that is no object": b'{"events": [7]}',
    "an event without a name": b'{"events": [{}]}',
    "an event without its object": b'{"events": [{"eventName": "ObjectCreated:PutObject"}]}',
    "a deep one": b'{"events": ' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a long number": b'{"events": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("event", NO_EVENTS.values(), ids=NO_EVENTS.keys())
@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=named)
def test_what_is_no_event_is_refused_and_kept(function: Function, event: bytes, empty: World) -> None:
    assert refusals(function, event, empty)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Parties are known, nothing has happened."""
    world = World(tmp_path_factory.mktemp("empty"))
    go_live(world)
    return world


OF_OBJECTS = [trigger for trigger in TRIGGERS if trigger.kind == "oss"]
OF_TIME = [trigger for trigger in TRIGGERS if trigger.kind == "timer"]


@pytest.mark.parametrize("trigger", OF_OBJECTS, ids=named)
def test_an_object_of_another_bucket_is_refused(trigger: Trigger, empty: World) -> None:
    event = event_of(trigger)
    event["events"][0]["oss"]["bucket"]["name"] = "clearbook-others"

    [refusal] = refusals(FUNCTIONS[trigger.function], json.dumps(event).encode(), empty)
    assert "'clearbook-others'" in refusal["refused"]


ODD_KEYS = [
    "{prefix}{suffix}",
    "{prefix}x{suffix}",
    "{prefix}../../etc/passwd{suffix}",
    "{prefix}100/2025-13/2025-13-01-d20250701{suffix}",
    "{prefix}100/2025-06/2025-06-31-d20250701{suffix}",
    "{prefix}100/2025-06/2025-05-31-d20250701{suffix}",
    "{prefix}100/2025-06/2025-06-30-d20259999{suffix}",
    "{prefix}１００/2025-06/2025-06-30-d20250701{suffix}",
    "{prefix}2025-06/nobody/final-0123456789abcdef01234567{suffix}",
    "{prefix}2025-06/nobody{suffix}",
    "{prefix}\u0000{suffix}",
]


# A bill file is called as its sender likes.
BY_NAME = [trigger for trigger in OF_OBJECTS if trigger.prefix != "bills/"]


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
@pytest.mark.parametrize("trigger", BY_NAME, ids=named)
def test_a_key_that_names_nothing_of_ours_is_refused(trigger: Trigger, key: str, empty: World) -> None:
    event = event_of(trigger)
    event["events"][0]["oss"]["object"]["key"] = key.format(prefix=trigger.prefix, suffix=trigger.suffix)

    [refusal] = refusals(FUNCTIONS[trigger.function], json.dumps(event).encode(), empty)
    assert trigger.prefix in refusal["refused"]


@pytest.mark.parametrize("key", ODD_KEYS, ids=range(len(ODD_KEYS)))
def test_a_bill_file_that_is_gone_asks_nothing_whatever_it_was_called(key: str, empty: World) -> None:
    [trigger] = [one for one in OF_OBJECTS if one not in BY_NAME]
    event = event_of(trigger)
    event["events"][0]["oss"]["object"]["key"] = key.format(prefix=trigger.prefix, suffix=trigger.suffix)
    before = empty.cloud.state()
    [answer] = json.loads(FUNCTIONS[trigger.function].run(json.dumps(event).encode(), empty.services))

    assert answer["note"] == "is no longer there"
    assert empty.cloud.state() == before


@pytest.mark.parametrize("trigger", OF_OBJECTS, ids=named)
def test_a_key_that_is_no_unicode_text_is_refused_like_any_other(
    trigger: Trigger, empty: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("clearbook"), "disabled", True)  # a report cannot hold the key
    event = event_of(trigger)
    event["events"][0]["oss"]["object"]["key"] = f"{trigger.prefix}\ud800{trigger.suffix}"
    try:
        answer = json.loads(FUNCTIONS[trigger.function].run(json.dumps(event).encode(), empty.services))
    except (UnicodeError, StepFailedError) as exc:
        pytest.fail(f"{type(exc).__name__} instead of a refusal", pytrace=False)
    assert [one["code"] for one in answer] == ["bad_input"]


BAD_TIMES = ["", "soon", "2025-07-01", "2025-07-01T01:00:00", "2025-02-30T00:00:00Z", "0001-01-01T00:00:00+08:00",
             "9999-12-31T23:59:59-08:00", "0001-01-05T00:00:00Z"]  # fmt: skip


@pytest.mark.parametrize("time", BAD_TIMES)
@pytest.mark.parametrize("trigger", OF_TIME, ids=named)
def test_a_timer_without_a_usable_time_is_refused(trigger: Trigger, time: str, empty: World) -> None:
    event = event_of(trigger) | {"triggerTime": time}

    assert refusals(FUNCTIONS[trigger.function], json.dumps(event).encode(), empty)


@pytest.mark.parametrize("time", BAD_TIMES[:-1])
@pytest.mark.parametrize("trigger", OF_OBJECTS[:1], ids=named)  # all of them read it with the same function
def test_an_object_event_without_a_usable_time_is_refused(trigger: Trigger, time: str, empty: World) -> None:
    event = event_of(trigger)
    event["events"][0]["eventTime"] = time

    assert refusals(FUNCTIONS[trigger.function], json.dumps(event).encode(), empty)


def test_a_timer_with_another_payload_is_refused(empty: World) -> None:
    for payload in ("", "weekly", 7, None):
        event = json.loads((EVENTS / "plan_pulls-daily.json").read_bytes()) | {"payload": payload}
        assert refusals(FUNCTIONS["plan_pulls"], json.dumps(event).encode(), empty)


def test_other_kinds_of_object_events_are_passed_over(empty: World) -> None:
    event = json.loads((EVENTS / "pull_bill-ordered.json").read_bytes())
    for kind in ("ObjectCreated:UploadPart", "ObjectCreated:InitiateMultipartUpload", "ObjectRemoved:DeleteObject"):
        event["events"][0]["eventName"] = kind
        assert json.loads(FUNCTIONS["pull_bill"].run(json.dumps(event).encode(), empty.services)) == []


def test_one_refused_object_does_not_stop_the_others_of_its_event(world: World) -> None:
    good = json.loads((EVENTS / "ingest_bill-pulled.json").read_bytes())["events"][0]
    bad = json.loads(json.dumps(good))
    bad["oss"]["object"]["key"] = "raw/odd/_complete.json"
    lacking = {"eventName": "ObjectCreated:PutObject"}
    for strange in (bad, lacking):
        body = json.dumps({"events": [strange, good]}).encode()
        answers = json.loads(FUNCTIONS["ingest_bill"].run(body, world.services))
        assert [one.get("code") for one in answers] == ["bad_input", None]
    assert from_complete_key(good["oss"]["object"]["key"]).account == "100"


def test_without_parties_the_pipeline_says_what_to_do_first(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.daily("2025-07-01")

    [refusal] = world.pump.refusals
    assert refusal["code"] == "no_parties"
    assert "clearbook party import" in refusal["refused"]


def test_what_may_work_later_is_raised_so_that_it_is_tried_again(world: World) -> None:
    from infra.localcloud.faults.plan import Fault

    event = (EVENTS / "plan_pulls-daily.json").read_bytes()
    world.cloud.calls.begin(0, Fault.LOSE_REQUEST)
    with pytest.raises(Exception, match="plan_pulls: cannot read rows of chain: the connection broke"):
        FUNCTIONS["plan_pulls"].run(event, world.services)
    assert world.pump.given_up == list[Delivery]()
