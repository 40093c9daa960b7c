"""A schedule beside the real reports, while calls fail and events are lost: each slot is told once, and none twice.

The clean days are played once: the timer opens a slot, the report is built, the timer tells of it, the mail goes out.
Then each delivery of them is gone back to, a sample of its calls fails in turn, and the timers of the next days follow.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta

import jsonschema  # type: ignore[import-untyped]
import pytest

from infra.clearbook.people import PREPARER
from infra.localcloud.faults.plan import Fault
from infra.provision.event_schemas import FOLDER
from shared.cycle import SHANGHAI
from shared.steps.delivering import kept, schedules
from shared.steps.reporting.scheduled import reports
from tests.fakes import State
from tests.losing import LossyWorld
from tests.pump import Delivery, FailAt

HOW = (Fault.LOSE_REQUEST, Fault.LOSE_RESPONSE, Fault.KILL_AFTER)
EVERY = 29  # of the calls of a delivery one in so many, each way another
MONDAY = datetime.fromisoformat("2025-07-07T08:00:00").replace(tzinfo=SHANGHAI)
WEEKLY = {
    "name": "Costs", "when": {"every": "week", "weekday": "monday"}, "format": "csv", "mail": ["ann@example.com"],
    "ask": {"report": "billing_summary", "preset": "last_month"},
}  # fmt: skip


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> tuple[LossyWorld, State]:
    """The small month, locked on a Saturday; its costs are scheduled for Mondays."""
    world = LossyWorld(tmp_path_factory.mktemp("scheduled"))
    world.final()
    world.at_noon("2025-07-05")
    world.lock()
    made = schedules.create(world.services, reports("", lambda: world.now), "operator", PREPARER, WEEKLY, world.now)
    assert made["next_at"] == "2025-07-07T00:00:00Z"
    return world, world.cloud.state()


@pytest.fixture
def world(locked: tuple[LossyWorld, State]) -> LossyWorld:
    """That, as it was."""
    world, state = locked
    go_back(world, state)
    return world


def go_back(world: LossyWorld, state: State) -> None:
    """Nothing of what was since has happened."""
    world.cloud.restore(state)
    world.cloud.mail.sent.clear()
    world.pump.delivered.clear()


def fire(world: LossyWorld, *hours: float) -> None:
    """The timer fires so many hours after the slot, and what follows happens."""
    for one in hours:
        world.pump.timer("deliver", "due", MONDAY + timedelta(hours=one))
        world.pump.drain()


def told(world: LossyWorld) -> dict[str, object]:
    """What became of the slots: their states, the events that tell of them, and the mails by their ids."""
    slots = {one.id.rpartition("/")[2]: one.said for one in kept.of_owner(world.services, kept.SLOTS, "operator")}
    events = [json.loads(world.cloud.work.objects[key]) for key in world.keys("work", "outbox/owners/")]
    runs = {one["data"]["run"] for one in events}
    return {
        "slots": {key: said["state"] for key, said in slots.items()},
        "events": Counter(one["type"] for one in events),
        "one run": len(runs) == 1 and {said["run"] for said in slots.values()} == runs,
        "files": len([key for key in world.keys("reports", "reports/") if key.endswith(".csv")]),
        "requests left": world.keys("reports", "report-requests/"),
        "mails": {str(one["Message-ID"]) for one in world.cloud.mail.sent},
        "deliveries": {one.said["state"] for one in kept.of_owner(world.services, kept.DELIVERIES, "operator")},
    }


def clean(world: LossyWorld) -> tuple[list[tuple[Delivery, int]], dict[str, object]]:
    """The deliveries of the slot, with how many calls each made, and what became of it; then it has not happened."""
    begin = world.cloud.state()
    fire(world, 0.5, 12.5)
    found, expected = list(world.pump.delivered), told(world)
    for key in world.keys("work", "outbox/owners/"):
        event = json.loads(world.cloud.work.objects[key])
        schema = json.loads((FOLDER / f"{event['type'].removeprefix('clearbook.')}.schema.json").read_bytes())
        jsonschema.Draft202012Validator(schema).validate(event)
    go_back(world, begin)
    return found, expected


def test_whichever_call_fails_the_slot_is_told_once(
    world: LossyWorld, record_property: Callable[[str, object], None]
) -> None:
    begin = world.cloud.state()
    found, expected = clean(world)
    assert expected["slots"] == {"2025-07-07": "ready"}
    assert expected["events"] == {"clearbook.report.ready": 1, "clearbook.schedule.ready": 1}
    assert [one.function for one, _ in found] == ["deliver", "build_report", "notify", "deliver", "notify"]

    cases, wrong = 0, []
    for number, (delivery, calls) in enumerate(found):
        for way, how in enumerate(HOW):
            for call in range((number + way * 4) % EVERY, calls, EVERY):
                cases += 1
                go_back(world, begin)
                world.pump.fault = FailAt(number, call, how)
                fire(world, 0.5, 12.5)
                world.pump.fault = None
                fire(world, 24.5)  # a mail whose end nobody heard goes out again, by the same id
                if told(world) != expected:
                    wrong.append(f"{how} at call {call} of {delivery.function}: {told(world)}")
    assert wrong == []
    assert world.pump.refusals == []
    record_property("figures", f"{cases} failures of {sum(calls for _, calls in found)} calls")


@pytest.mark.parametrize("lost", ["build_report", "notify"])
def test_what_is_lost_on_its_way_the_next_timers_find(world: LossyWorld, lost: str) -> None:
    _, expected = clean(world)
    world.pump.lost.clear()
    world.pump.lose = lambda one: one.function == lost
    fire(world, 0.5, 12.5)
    assert world.pump.lost
    world.pump.lose = lambda _: False
    fire(world, 24.5, 36.5)

    assert told(world).keys() == expected.keys()
    # The link and the mail are of when the report was found; all else is as if nothing had been lost.
    assert {**told(world), "mails": 0} == {**expected, "mails": 0}
    assert len(world.cloud.mail.sent) == 1
