"""The events of a whole month: each change of state left one, as its published schema says."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from referencing import Registry

from infra.clearbook.people import PREPARER
from infra.provision.event_schemas import FOLDER
from shared.chain.entry import parse
from shared.control.approvals import APPROVED, PROPOSED, REJECTED, USERS
from shared.events import schemas
from shared.events.events import CASES_NAMED_MAX, cases_events, event_of
from shared.events.types import OF_ACTS, OF_KINDS, every
from shared.steps import decide
from tests.builders import ACME, ATLAS, BIRCH, CYCLE, DAYS, P1, assigned, item, parties
from tests.pump import World, go_live, small_month
from tests.registered import month, register

SILENT = {USERS}  # kinds of entries that change nothing for others
OF_BILLS = "bill/"  # their seals are objects already


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A month with a line of nobody's, whose account is then assigned; a lock is rejected, then the month is closed."""
    world = World(tmp_path_factory.mktemp("events"))
    small_month(world, [(P1, DAYS[1], item("1009", "5.00"))])
    go_live(world)
    register(world)
    world.final()
    proposal = world.propose_lock()
    decide.reject(world.services, proposal.name, by="amir", why="not yet", at=world.at)
    owners = [(ACME, "acme", "aurora"), (ATLAS, "atlas", "aurora"), (BIRCH, "birch", "borealis")]
    assignments = [assigned(*one) for one in (*owners, ("1009", "acme", "aurora"))]
    world.decide_parties(parties(assignments))
    lock = {"cycle": CYCLE, "reseller": "aurora"}
    decide.propose(world.services, "lock", lock, by=PREPARER, why="test", at=world.at)
    month(world, "160.50")
    world.sweep("2025-07-05")
    return world


def events(world: World) -> dict[str, dict[str, Any]]:
    """Every event by its object's name."""
    return {key: json.loads(world.cloud.work.objects[key]) for key in world.keys("work", "outbox/")}


def test_every_event_of_a_month_is_as_its_schema_says(world: World) -> None:
    found = events(world)
    by_name = {path.name: json.loads(path.read_bytes()) for path in FOLDER.glob("*.json")}
    for key, event in found.items():
        schema = by_name[f"{event['type'].removeprefix('clearbook.')}.schema.json"]
        jsonschema.Draft202012Validator(schema, registry=Registry()).validate(event)
        assert event["dataschema"] == schema["$id"]
        assert key.endswith(f"-{event['type'].removeprefix('clearbook.')}.json")
    assert len({(one["source"], one["id"]) for one in found.values()}) == len(found)


def test_the_schemas_that_are_published_are_those_of_the_events() -> None:
    published = {path.name: path.read_bytes() for path in FOLDER.iterdir()}

    assert published == schemas.files(), "write them anew: python -m infra.provision.event_schemas"
    for body in published.values():
        jsonschema.Draft202012Validator.check_schema(json.loads(body))


def test_every_entry_of_a_month_has_left_its_event(world: World) -> None:
    found, kinds = events(world), Counter[str]()
    for (stream, _), row in world.cloud.rows.tables["chain"].items():
        entry = parse(str(row["entry"]))
        if str(stream).startswith(OF_BILLS) or entry.kind in SILENT:
            assert event_of(entry) is None
            continue
        event = event_of(entry)
        assert event is not None, f"{entry.kind} {entry.body.get('act')} leaves no event: name its type in events/types"
        assert found[event.key] == json.loads(event.body)
        kinds[event.type.name] += 1
    assert {"settlement.calculated", "month.in_review", "month.lock_rejected", "month.locked"} <= kinds.keys()
    assert {"statement.published", "payout.instructed", "payout.confirmed", "payout.returned"} <= kinds.keys()
    assert {"batch.proposed", "batch.approved", "batch.written", "party_document.approved"} <= kinds.keys()


def test_every_act_that_people_decide_has_its_events() -> None:
    said_alone = {"comment", "dispute"}  # their entries are of kinds of their own
    assert decide.ACTS.keys() - OF_ACTS.keys() == said_alone, "name the types of its events in shared/events/types.py"
    assert not {PROPOSED, APPROVED, REJECTED} & OF_KINDS.keys()
    names = [one.name for one in every()]
    assert len(set(names)) == len(names)


def test_cases_that_a_run_finds_or_no_longer_finds_are_told_to_the_operator(world: World) -> None:
    found = [one for key, one in events(world).items() if "/cycle/" in key and "cases." in one["type"]]
    opened, closed = sorted(found, key=lambda one: one["data"]["entry"]["seq"])

    assert (opened["type"], closed["type"]) == ("clearbook.cases.opened", "clearbook.cases.closed")
    assert [one["kind"] for one in opened["data"]["cases"]] == ["unmapped_account"]
    assert [one["amount"] for one in opened["data"]["cases"]] == ["5"]
    assert closed["data"]["cases"] == opened["data"]["cases"]
    assert not [key for key in events(world) if key.startswith("outbox/resellers/") and "cases" in key]


def test_of_many_cases_an_event_names_the_first_and_counts_all(world: World) -> None:
    row = world.cloud.rows.tables["chain"][f"cycle/{CYCLE}", 1]
    many = [{"id": f"{n:04d}", "kind": "bad_line", "currency": "", "lines": 1, "amount": "0"} for n in range(500)]
    [event] = cases_events(parse(str(row["entry"])), [], many)

    assert event.data["count"] == 500
    assert len(event.data["cases"]) == CASES_NAMED_MAX


def test_amounts_are_text_and_nothing_but_what_a_type_names_is_told(world: World) -> None:
    def floats(value: object) -> bool:
        if isinstance(value, dict):
            return any(map(floats, value.values()))
        return any(map(floats, value)) if isinstance(value, list) else isinstance(value, float)

    found = [one for key, one in events(world).items() if "/reseller/aurora/" in key and "calculated" in key]
    calculated = min(found, key=lambda one: one["data"]["entry"]["seq"])
    assert not any(map(floats, events(world).values()))
    assert calculated["data"]["statements"] == [
        {"agreement": "aurora-2025", "currency": "CNY", "total": "160.00", "tax": "0.00", "payable": "160.00"}
    ]
    assert calculated["data"].keys() == {"entry", "cycle", "owner", "settlement", "lines", "statements"}


def test_the_sweep_leaves_events_that_are_missing_and_those_only(world: World) -> None:
    before, work = world.cloud.state(), world.cloud.work
    gone = [key for key in world.keys("work", "outbox/") if "2025-07" in key][::2]
    for key in gone:
        del work.objects[key]
    world.sweep("2025-07-06")
    lost = {key for key in gone if "cases." not in key}  # the last event of an entry stands for the others

    assert lost <= set(world.keys("work", "outbox/"))
    assert work.objects.items() >= {key: before.objects["work"][key] for key in lost}.items()
    world.cloud.restore(before)
