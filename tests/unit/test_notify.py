"""What a reseller is told: its own events and files, in a bucket that it has proven to be its own, each once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest

from infra.clearbook.people import APPROVER
from shared.control.approvals import StaleProposalError
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.ids import digest
from shared.ports import ObjectEvent, ServiceError
from shared.steps import decide
from shared.steps.notify import notify
from tests.builders import CYCLE
from tests.pump import World, go_live, small_month
from tests.registered import THEIRS, asked, destination, month, propose, prove, register, told


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Parties and agreements are in force, the bill is there."""
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    return world


def refused(world: World, wanted: Mapping[str, Any], match: str) -> None:
    """Proposing this is refused, and nothing is in the chain of it."""
    before = world.heads()
    with pytest.raises(BadInputError, match=match):
        propose(world, wanted)
    assert world.heads() == before


# -- what is delivered ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def delivered(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A month of which aurora is told, and borealis is not."""
    world = World(tmp_path_factory.mktemp("delivered"))
    small_month(world)
    go_live(world)
    register(world)
    month(world)
    return world


def test_a_reseller_is_told_from_its_registration_on_and_of_what_is_in_force(delivered: World) -> None:
    assert told(delivered.cloud.others[THEIRS]) == [
        *("delivery_bucket.approved", "month.locked", "statement.published"),
        *("payout.instructed", "payout.confirmed"),
    ]
    assert set(delivered.cloud.others) == {THEIRS}
    assert delivered.pump.refusals == []
    assert delivered.pump.given_up == []


def test_the_files_that_were_published_are_there_before_the_event_that_names_them(delivered: World) -> None:
    theirs = delivered.cloud.others[THEIRS]
    keys = [one for one in theirs.objects if not one.startswith(("events/", "clearbook-verify/"))]
    [event] = [one for one in theirs.objects if one.endswith("statement.published.json")]
    said = json.loads(theirs.objects[event])["data"]["files"]

    published = delivered.month().published
    assert published is not None
    assert {one["name"]: one["digest"] for one in said} == {key: digest(theirs.objects[key]) for key in keys}
    assert {one["digest"] for one in said} == {one["digest"] for one in published.body["files"]}
    assert len(keys) == len(published.body["files"])
    order = list(theirs.objects)
    assert max(order.index(key) for key in keys) < order.index(event)


def test_an_event_that_comes_again_changes_nothing(delivered: World) -> None:
    theirs, work = delivered.cloud.others[THEIRS], delivered.cloud.work
    before = dict(theirs.objects)
    for key in [one for one in work.objects if one.startswith("outbox/resellers/")]:
        work.put_again(key, work.objects[key])
    written = list(theirs.written.items())
    delivered.pump.drain(seed=3, twice=True)

    assert theirs.objects == before
    assert list(theirs.written.items()) == written


def test_two_at_once_deliver_what_one_does(delivered: World) -> None:
    before = delivered.cloud.state()
    theirs, work = delivered.cloud.others[THEIRS], delivered.cloud.work
    [key] = [one for one in work.objects if one.startswith("outbox/") and one.endswith("statement.published.json")
             and "/aurora/" in one]  # fmt: skip
    for name in [one for one in work.objects if one.startswith("delivered/")]:
        del work.objects[name]
    theirs.objects.clear()
    begin, problems = threading.Barrier(2), list[BaseException]()

    def run() -> None:
        begin.wait()
        try:
            notify(delivered.services, ObjectEvent(work.bucket, key, delivered.now))
        except BaseException as exc:  # a thread's own is seen by nobody
            problems.append(exc)

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert problems == []
    assert key.rpartition("/")[2] in {name.rpartition("/")[2] for name in theirs.objects}
    assert theirs.objects.items() <= before.objects[THEIRS].items()
    delivered.cloud.restore(before)


# -- whose bucket it is -----------------------------------------------------------------------------------------


def test_a_bucket_that_does_not_hold_the_proof_cannot_be_approved(world: World) -> None:
    proposal = propose(world, asked())
    theirs = world.cloud.has_bucket(THEIRS)
    for proof in (None, b"", b"another", destination(propose(world, asked(prefix="in/"))).token.encode()):
        if proof is not None:
            theirs.put_again(destination(proposal).challenge, proof)
        with pytest.raises(BadInputError, match=r"not proven to be .* puts an object clearbook-verify/"):
            decide.approve(world.services, proposal.name, by=APPROVER, at=world.at)
    prove(world, proposal)
    world.approve(proposal)

    assert told(theirs) == ["delivery_bucket.approved"]


def test_an_approver_is_told_why_a_bucket_cannot_be_read(world: World) -> None:
    def refuse(_: object) -> NoReturn:
        raise ServiceError("cannot assume role", "it does not exist", "check its name", retryable=False)

    proposal = propose(world, asked())
    with pytest.raises(BadInputError, match="cannot be read: cannot assume role: it does not exist"):
        decide.approve(replace(world.services, buckets_of_others=refuse), proposal.name, by=APPROVER, at=world.at)


def test_the_proof_of_one_reseller_is_none_of_another(world: World) -> None:
    mine, other = propose(world, asked()), propose(world, asked("borealis", bucket=THEIRS))
    prove(world, mine)
    with pytest.raises(BadInputError, match="not proven"):
        decide.approve(world.services, other.name, by=APPROVER, at=world.at)
    world.approve(mine)

    prove(world, other)
    with pytest.raises(BadInputError, match="'aurora-events' is registered already"):
        decide.approve(world.services, other.name, by=APPROVER, at=world.at)


@pytest.mark.parametrize(
    ("wanted", "match"),
    [
        ({"bucket": "clearbook-records"}, "is the operator's"),
        ({"bucket": "no_bucket"}, "expected the bucket's name"),
        ({"reseller": "zephyr"}, "'zephyr' is not known"),
        ({"secret": "payer"}, "is what the bill of payer 100 is read with"),
        ({"role": "acs:ram::12345:role/put"}, "name one of role and secret"),
        ({"endpoint": "https://oss-cn-hangzhou.example.com"}, "expected https://oss-cn-hangzhou.aliyuncs.com"),
        ({"endpoint": "https://oss-cn-beijing.aliyuncs.com"}, "expected https://oss-cn-hangzhou.aliyuncs.com"),
        ({"region": "cn-hangzhou.example.com/"}, "expected a region's id"),
        ({"prefix": "../"}, "folders that end in /"),
        ({"secret": "a\nb"}, "expected the name of a secret"),
        ({"surprise": "x"}, "is not a known name here"),
    ],
)
def test_what_cannot_be_a_resellers_bucket_is_refused(delivered: World, wanted: Mapping[str, Any], match: str) -> None:
    refused(delivered, asked("borealis") | dict(wanted), match)


def test_a_bucket_that_was_proposed_before_another_was_registered_is_proposed_anew(world: World) -> None:
    old = propose(world, asked(prefix="old/"))
    prove(world, old)
    register(world)
    with pytest.raises(StaleProposalError, match="another bucket was registered since"):
        decide.approve(world.services, old.name, by=APPROVER, at=world.at)


def test_an_approver_is_shown_where_everything_would_go(world: World) -> None:
    proposal = propose(world, asked(prefix="in/"))
    first, proof = decide.show(world.services, proposal)

    assert first == "events and files go to aurora-events/in/ in cn-hangzhou (default), by secret aurora-bucket"
    assert f"clearbook-verify/{destination(proposal).token}" in proof


# -- what goes wrong --------------------------------------------------------------------------------------------


def test_a_bucket_that_refuses_is_stuck_until_it_no_longer_does_and_stops_nobody(world: World) -> None:
    theirs = register(world)
    register(world, "borealis")
    del world.cloud.others[THEIRS]
    month(world)
    assert len(told(world.cloud.others["borealis-events"])) == 5
    assert {one.function for one in world.pump.given_up} == {"notify"}

    for day in ("2025-07-05", "2025-07-06", "2025-09-20"):
        world.sweep(day)
        stuck = [json.loads(body) for key, body in world.cloud.work.objects.items() if key.startswith("stuck/")]
        assert {one["kind"] for one in stuck if one["owner"] == "aurora"} == {"delivery"}
        assert len(stuck) == 4
        assert "there is no such bucket" in stuck[0]["problem"]

    world.cloud.others[THEIRS] = theirs
    world.sweep("2025-11-20")
    assert len(told(theirs)) == 5
    assert world.keys("work", "stuck/") == []


def test_what_did_not_reach_a_bucket_goes_to_the_one_that_takes_its_place(world: World) -> None:
    register(world)
    world.final()
    del world.cloud.others[THEIRS]
    world.lock("aurora")
    newer = register(world, bucket="aurora-newer", prefix="from/clearbook/")
    assert told(newer) == ["delivery_bucket.approved"]

    world.sweep("2025-07-04")
    assert told(newer) == ["month.locked", "statement.published", "delivery_bucket.approved"]
    assert {key.split("/")[0] for key in newer.objects} == {"from", "clearbook-verify"}


def test_nothing_goes_to_a_bucket_that_is_registered_no_more(world: World) -> None:
    theirs = register(world)
    world.approve(propose(world, {"reseller": "aurora", "bucket": ""}))
    month(world)
    world.sweep("2025-07-05")

    assert told(theirs) == ["delivery_bucket.approved"]
    assert world.pump.given_up == []
    assert world.keys("work", "stuck/") == []


def _forged(world: World) -> None:
    """An event that no entry calls for."""
    world.cloud.work.put_again("outbox/resellers/2025-07/aurora/000003-month.locked.json", b"{}")


def _of_another_chain(world: World) -> None:
    """The event that is called for, but not of this entry."""
    [key] = [one for one in world.keys("work", "outbox/resellers/") if "aurora" in one and "month.locked" in one]
    body = json.loads(world.cloud.work.objects[key])
    body["data"]["entry"]["hash"] = "0" * 64
    del world.cloud.work.objects[f"delivered/{key.removeprefix('outbox/resellers/')}"]
    world.cloud.work.put_again(key, json.dumps(body).encode())


def _changed_file(world: World) -> None:
    """A statement is not what was published."""
    [key] = [one for one in world.keys("work", "outbox/resellers/") if "aurora" in one and "published" in one]
    del world.cloud.work.objects[f"delivered/{key.removeprefix('outbox/resellers/')}"]
    statement = world.keys("records", f"statements/{CYCLE}/aurora/")[0]
    world.cloud.records.objects[statement] += b" "
    world.cloud.work.put_again(key, world.cloud.work.objects[key])


@pytest.mark.parametrize(
    ("happens", "problem"),
    [
        (_forged, "is the event of no entry"),
        (_of_another_chain, "names another entry than the chain has"),
        (_changed_file, "is not what was published"),
    ],
)
def test_what_the_chain_does_not_say_is_not_delivered(
    delivered: World, happens: Callable[[World], None], problem: str
) -> None:
    before, theirs = delivered.cloud.state(), delivered.cloud.others[THEIRS]
    theirs.objects.clear()
    happens(delivered)
    delivered.pump.drain()

    assert problem in delivered.pump.refusals.pop()["refused"]
    assert theirs.objects == {}
    delivered.cloud.restore(before)


def test_cycles_of_the_outbox_are_those_of_the_entries(delivered: World) -> None:
    months = {key.split("/")[2] for key in delivered.keys("work", "outbox/")}

    assert months == {str(Cycle.parse(CYCLE)), str(Cycle.parse(CYCLE).next())}
