"""What is lost on the way is found and mended, once; what cannot be mended is stuck, and people are told."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud.faults.plan import Fault
from shared.control import months
from shared.steps.losses import tries
from shared.steps.losses.loss import KINDS
from shared.steps.projections import TABLES
from shared.steps.sweep import Swept, alerts, metrics, stuck, sweep
from tests.builders import ACME, CYCLE, DAYS, P1, item
from tests.fakes import State, envelope
from tests.losing import STAGES, LossyWorld, differing, noon, outcome, play
from tests.pump import Delivery

STEPS = ("pull_bill", "ingest_bill", "route_settlements", "settle", "publish_statements", "pay_resellers",
         "confirm_payouts")  # fmt: skip
AFTER = noon("2025-07-08")


@pytest.fixture
def world(tmp_path: Path) -> LossyWorld:
    return LossyWorld(tmp_path)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> LossyWorld:
    """The undisturbed month."""
    world = LossyWorld(tmp_path_factory.mktemp("clean"))
    play(world)
    assert world.pump.refusals == []
    return world


@pytest.fixture(scope="module")
def finished(clean: LossyWorld) -> State:
    """Where the undisturbed month ends."""
    return clean.cloud.state()


@pytest.fixture
def done(clean: LossyWorld, finished: State) -> LossyWorld:
    """The undisturbed month at its end, whatever a test did to it before."""
    clean.cloud.restore(finished)
    clean.cloud.take_created()
    return clean


def found(swept: Swept) -> list[tuple[str, str]]:
    """(kind, how) of what was mended, each once."""
    return sorted({(one.kind, one.how) for one in swept.mended})


# -- events that never arrive -----------------------------------------------------------------------------------


@pytest.mark.parametrize("lost", [lambda one, step=step: one.function == step for step in STEPS] + [lambda one: True],
                         ids=[*STEPS, "every step"])  # fmt: skip
def test_a_month_that_only_sweeps_move_forward_ends_as_an_undisturbed_one(
    world: LossyWorld, clean: LossyWorld, finished: State, lost: Callable[[Delivery], bool]
) -> None:
    clean.cloud.restore(finished)
    world.pump.lose = lambda one: one.function != "plan_pulls" and lost(one)
    for stage in STAGES:
        stage.happen(world)
        assert world.sweep_until_quiet(stage.swept_from) <= 5, stage.name

    assert world.pump.lost
    assert differing(outcome(world), outcome(clean)) == {}


def test_an_order_is_written_again_first_and_only_then_carried_out_by_the_sweep(world: LossyWorld) -> None:
    world.pump.lose = lambda one: one.function == "publish_statements"
    play(world, "lock")
    first = world.sweep_at(noon("2025-07-05") + timedelta(hours=1))
    assert found(first) == [("publish", "woken")]
    assert world.month().published is None

    second = world.sweep_at(noon("2025-07-05") + timedelta(hours=2))
    assert found(second) == [("publish", "done")]
    assert world.month().published is not None


def test_a_step_that_may_still_be_at_it_is_left_alone(world: LossyWorld) -> None:
    world.pump.lose = lambda one: one.function in ("pull_bill", "publish_statements")
    world.daily("2025-07-01")
    swept = world.sweep_at(world.now + timedelta(hours=1))

    assert (swept.mended, swept.stuck) == ([], [])
    assert found(world.sweep_at(world.now + timedelta(hours=3))) == [("pull", "woken")]


# -- what is no longer there ------------------------------------------------------------------------------------


def drop_rows(table: str) -> Callable[[LossyWorld], None]:
    """The rows of a list are dropped."""
    return lambda world: world.cloud.rows.tables[table].clear()


def lose_object(bucket: str, key: str) -> Callable[[LossyWorld], None]:
    """The first object with this beginning is deleted."""

    def lose(world: LossyWorld) -> None:
        del world.cloud.stores[bucket].objects[world.keys(bucket, key)[0]]

    return lose


def put_behind(world: LossyWorld) -> None:
    """A row shows the month as it was earlier."""
    world.cloud.rows.tables["settlements"][CYCLE, "aurora"] |= {"state": "calculated", "seq": 3}


def misstate(world: LossyWorld) -> None:
    """A row of the newest seq says something that the chain does not."""
    world.cloud.rows.tables["settlements"][CYCLE, "aurora"]["settlement"] = "another"


def open_a_case(world: LossyWorld) -> None:
    """A case that no run finds is open: whoever should have closed it was interrupted."""
    cases = world.cloud.rows.tables["cases"]
    row = next(row for row in cases.values() if row["owner"] == "operator")
    cases[CYCLE, f"{CYCLE}-no_rule-000000000000"] = {**row, "seq": 1}


LOST = {
    "the object of a seal": (lose_object("work", f"seals/{P1}/"), "seal"),
    "what became of a pull, its round sealed": (lose_object("work", f"work/settle/{CYCLE}/aurora/final"), None),
    "a statement": (lose_object("records", f"statements/{CYCLE}/aurora/"), "publish"),
    "a journal": (lose_object("records", f"journal/{CYCLE}/borealis-"), "publish"),
    "a payout file": (lose_object("records", f"payouts/{CYCLE}/"), "payout"),
    "what was read of an answer": (lose_object("records", "answers/"), "confirmation"),
    "the rows of settlements": (drop_rows("settlements"), "list"),
    "the rows of cases": (drop_rows("cases"), "list"),
    "the rows of payouts": (drop_rows("payouts"), "list"),
    "a row that is behind": (put_behind, "list"),
    "a row that is wrong": (misstate, "list"),
}


@pytest.mark.parametrize(("lose", "kind"), LOST.values(), ids=LOST.keys())
def test_what_is_deleted_is_made_again_as_it_was(
    done: LossyWorld, finished: State, lose: Callable[[LossyWorld], None], kind: str | None
) -> None:
    before = outcome(done)
    lose(done)
    assert differing(outcome(done), before)
    swept = done.sweep_at(AFTER)
    done.sweep_until_quiet(AFTER + timedelta(hours=1))

    assert {one.kind for one in swept.mended} == ({kind} if kind else set())
    after = outcome(done)
    if kind is not None:
        assert differing(after, before) == {}


def test_a_case_that_no_run_finds_is_closed(done: LossyWorld) -> None:
    open_a_case(done)
    swept = done.sweep_at(AFTER)

    assert found(swept) == [("list", "done")]
    assert done.cloud.rows.tables["cases"][CYCLE, f"{CYCLE}-no_rule-000000000000"]["state"] == "closed"


@pytest.mark.parametrize("table", TABLES)
def test_a_row_of_nothing_is_for_people(done: LossyWorld, table: str) -> None:
    done.cloud.rows.tables[table][CYCLE, "nobody"] = {"owner": "nobody", "state": "open", "seq": 1}
    [one] = done.sweep_at(AFTER).stuck

    assert (one.kind, one.key) == ("list", f"{table}/{CYCLE}/nobody")
    assert "stands for nothing in the chain" in one.problem


@pytest.mark.parametrize(
    ("upto", "prefix", "kind"),
    [
        ("daily", f"work/pull/{P1}/", "pull"),
        ("daily", f"work/settle/{CYCLE}/aurora/draft", "draft"),
        ("final", f"work/settle/{CYCLE}/aurora/final", "settlement"),
        ("lock", f"work/publish/{CYCLE}/aurora", "publish"),
        ("pay", f"work/pay/{CYCLE}/", "payout"),
    ],
)
def test_an_order_that_was_never_written_is_written(
    world: LossyWorld, clean: LossyWorld, finished: State, upto: str, prefix: str, kind: str
) -> None:
    """Whoever should have written it was cut off between the entry and the order."""
    clean.cloud.restore(finished)
    put_once = world.cloud.work.put_once
    lost: list[str] = []

    def cut_off(key: str, body: bytes) -> bool:
        if key.startswith(prefix) and lost in ([], [key]):
            lost[:] = [key]
            return True
        return put_once(key, body)

    for stage in STAGES:
        if stage.name == upto:
            world.cloud.work.put_once = cut_off  # type: ignore[method-assign]
        stage.happen(world)
        if stage.name == upto:
            world.cloud.work.put_once = put_once  # type: ignore[method-assign]
            swept = world.sweep_at(stage.swept_from)
            assert [(one.kind, one.key, one.how) for one in swept.mended] == [(kind, lost[0], "woken")]
            assert "the order is missing" in swept.mended[0].cause

    assert world.sweep_at(AFTER).mended == []
    assert differing(outcome(world), outcome(clean)) == {}


def test_a_page_chain_that_was_cut_off_half_way_is_gone_on_with(world: LossyWorld) -> None:
    world.bill(P1, DAYS[0], *(item(ACME, "1.00", InstanceID=f"i-{n}") for n in range(601)))

    def cut_off(one: Delivery) -> bool:
        return one.function == "pull_bill" and f"{DAYS[0]}-" in one.what and one.what.startswith(f"work/pull/{P1}/")

    world.pump.lose = cut_off
    world.final()
    [lost] = world.pump.lost
    world.pump.lose = lambda _: False
    world.cloud.calls.begin(5, Fault.LOSE_REQUEST)  # it looks for the second page
    with pytest.raises(Exception, match="the connection broke"):
        world.pump.functions["pull_bill"].run(lost.event, world.services)
    world.cloud.calls.begin()
    kept = world.keys("records", f"raw/{P1}/{CYCLE}/{DAYS[0]}-")
    assert [key.rpartition("/")[2] for key in kept] == ["page-00001.json.gz"]
    swept = world.sweep_at(noon("2025-07-03") + timedelta(hours=4))

    assert [one.key for one in swept.mended if one.kind == "pull"] == [lost.what]
    assert [seal.status for seal in world.seals()] == ["final"]
    assert world.seals()[-1].rows == 604


def test_drafts_beyond_the_last_two_are_removed(world: LossyWorld) -> None:
    world.daily("2025-06-30")
    world.daily("2025-07-01")
    [*_, newest] = world.keys("work", f"drafts/{CYCLE}/aurora/")
    for day in ("2025-06-28", "2025-06-29"):
        world.cloud.work.objects[f"drafts/{CYCLE}/aurora/{day}.json"] = world.cloud.work.objects[newest]
    swept = world.sweep_at(noon("2025-07-01"))

    assert found(swept) == [("drafts", "done")]
    assert [key[-15:-5] for key in world.keys("work", f"drafts/{CYCLE}/aurora/")] == ["2025-06-30", "2025-07-01"]


def test_an_old_month_that_is_still_open_is_swept_too(world: LossyWorld) -> None:
    world.pump.lose = lambda one: one.function == "publish_statements"
    play(world, "lock")
    world.pump.lose = lambda _: False
    swept = world.sweep_at(noon("2026-03-05"))

    assert found(swept) == [("publish", "woken")]
    assert world.month().published is not None


# -- nothing is done twice --------------------------------------------------------------------------------------


def test_a_second_sweep_finds_nothing_and_writes_nothing(done: LossyWorld) -> None:
    for table in TABLES:
        done.cloud.rows.tables[table].clear()
    done.sweep_at(AFTER)
    before = done.cloud.state()
    done.cloud.calls.begin()
    swept = done.sweep_at(AFTER + timedelta(hours=1))

    written = [
        call for call in done.cloud.calls.made if call.startswith(("create", "write", "upload", "delete", "put"))
    ]
    assert written == ["put a row of steps"]  # the diary for people
    assert (swept.mended, swept.stuck, swept.left) == ([], [], [])
    after = done.cloud.state()
    assert after.objects == before.objects
    assert {name: rows for name, rows in after.tables.items() if name != "steps"} == {
        name: rows for name, rows in before.tables.items() if name != "steps"
    }


# -- what cannot be mended --------------------------------------------------------------------------------------


def inconsistent(world: LossyWorld) -> None:
    """The provider counts more rows of a date than it lists, whenever it is asked."""
    listed = json.loads(world.cloud.provider.api(_connector(world)).call("DescribeInstanceBill", _query()))["Data"]
    answer = envelope({**listed, "TotalCount": 9})
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[0], *[answer] * 99)


def _connector(world: LossyWorld) -> Any:
    from shared.steps import state

    return state.parties(world.services)[0].connectors[P1]


def _query() -> dict[str, str | int | bool]:
    return {"BillingCycle": CYCLE, "BillingDate": DAYS[0], "MaxResults": 300}


def test_a_pull_that_is_refused_again_and_again_is_stuck_and_tried_ever_more_seldom(world: LossyWorld) -> None:
    inconsistent(world)
    world.final()
    tried: list[datetime] = []
    for hours in range(4, 24 * 14, 6):
        at = noon("2025-07-03") + timedelta(hours=hours)
        world.sweep_at(at)
        [(one, _)] = stuck(world.services, at)
        if one.last == at.strftime("%Y-%m-%dT") + one.last[11:] and one.tries > len(tried):
            tried.append(at)

    [(one, is_late)] = stuck(world.services, at)
    assert is_late
    assert (one.kind, one.owner, one.cycle) == ("pull", P1, CYCLE)
    assert one.since == "2025-07-03T04:30:00Z"
    assert "the provider counts 9" in one.problem
    assert one.tries <= 7
    assert world.seals() == []


def test_what_newer_rounds_have_seen_is_no_longer_missed(world: LossyWorld) -> None:
    inconsistent(world)
    world.final()
    assert world.sweep_at(noon("2025-07-03") + timedelta(hours=3)).mended
    [one] = world.sweep_at(noon("2025-07-03") + timedelta(hours=5)).stuck
    assert one.tries == 2
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[0])
    world.final(1)
    swept = world.sweep_at(noon("2025-07-04"))

    assert (swept.mended, swept.stuck) == ([], [])
    assert [one.kind for one in swept.gone] == ["pull"]
    assert stuck(world.services, noon("2025-07-04")) == []
    assert world.total() == "160.00"


def test_what_one_input_breaks_keeps_the_sweep_from_nothing_else(
    world: LossyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect that a settlement of aurora brings out: borealis and the operator are settled all the same."""
    from shared.settlement import engine

    world.pump.lose = lambda one: one.function == "settle"
    world.final()
    begin, compute = noon("2025-07-03") + timedelta(hours=3), engine.settle
    world.sweep_at(begin)

    def broken(connection: Any, share: Any) -> Any:
        if share.owner == "aurora":
            raise ZeroDivisionError("of aurora")
        return compute(connection, share)

    monkeypatch.setattr(engine, "settle", broken)
    swept = world.sweep_at(begin + timedelta(hours=1))

    assert {one.owner for one in swept.mended} == {"borealis", "operator"}
    [one] = swept.stuck
    assert (one.kind, one.owner, one.tries) == ("settlement", "aurora", 2)
    assert "ZeroDivisionError('of aurora')" in one.problem
    monkeypatch.setattr(engine, "settle", compute)
    assert {one.owner for one in world.sweep_at(begin + timedelta(hours=3)).mended} == {"aurora"}
    assert world.total() == "160.00"


def test_without_the_records_of_what_was_tried_everything_still_is_mended(world: LossyWorld) -> None:
    world.pump.lose = lambda one: one.function == "publish_statements"
    play(world, "lock")
    world.sweep_at(noon("2025-07-05") + timedelta(hours=1))
    for key in world.keys("work", tries.PREFIX):
        world.cloud.work.objects[key] = b'{"kind": "odd"}'
    again = world.sweep_at(noon("2025-07-05") + timedelta(hours=2))
    assert found(again) == [("publish", "woken")]
    assert found(world.sweep_at(noon("2025-07-05") + timedelta(hours=3))) == [("publish", "done")]


def test_an_answer_file_that_cannot_be_read_is_stuck_until_it_is_gone(done: LossyWorld) -> None:
    done.pump.lose = lambda _: True
    done.cloud.stores["inbox"].put_again("payouts/odd.csv", b"what,is,this\r\n")
    [one] = done.sweep_at(AFTER).stuck
    done.pump.lose = lambda _: False

    assert (one.kind, one.key) == ("confirmation", "payouts/odd.csv")
    del done.cloud.stores["inbox"].objects["payouts/odd.csv"]
    assert [gone.key for gone in done.sweep_at(AFTER + timedelta(days=1)).gone] == ["payouts/odd.csv"]


def test_a_payment_that_the_bank_says_nothing_about_is_for_people_after_five_days(world: LossyWorld) -> None:
    play(world, "pay")
    paid = noon("2025-07-06")

    assert world.sweep_at(paid + timedelta(days=4)).stuck == []
    swept = world.sweep_at(paid + timedelta(days=6))
    assert sorted(one.key for one in swept.stuck) == [
        f"{CYCLE}.aurora.aurora-2025",
        f"{CYCLE}.borealis.borealis-2025",
    ]
    assert {one["kind"] for one in alerts(swept, paid + timedelta(days=6))} == {"answer"}
    STAGES[-1].happen(world)
    assert len(world.sweep_at(paid + timedelta(days=7)).gone) == 2


# -- invocations that were given up -----------------------------------------------------------------------------


def given_up(world: LossyWorld, delivery: Delivery, request: str = "1-1") -> str:
    """Function Compute gives an invocation up, and tells the sweep."""
    body = {
        "timestamp": int(delivery.at.timestamp() * 1000),
        "requestContext": {
            "requestId": request,
            "functionArn": f"acs:fc:cn-hangzhou:1000000000000001:functions/{delivery.function}",
            "condition": "UnhandledInvocationError",
        },
        "requestPayload": delivery.event.decode(),
    }
    [answer] = json.loads(world.pump.functions["sweep"].run(json.dumps(body).encode(), world.services))
    return str(answer["kept"])


def test_an_invocation_that_was_given_up_is_listed_until_its_work_is_done(world: LossyWorld) -> None:
    world.pump.lose = lambda one: one.function == "publish_statements" and "aurora" in one.what
    play(world, "lock")
    kept = given_up(world, world.pump.lost[0])
    first = world.sweep_at(noon("2025-07-05") + timedelta(hours=1))
    assert [one.key for one in first.stuck] == [kept]
    second = world.sweep_at(noon("2025-07-05") + timedelta(hours=2))

    assert found(second) == [("given_up", "done"), ("publish", "done")]
    assert world.keys("work", "quarantine/failed/") == []
    assert world.keys("work", "quarantine/done/") == ["quarantine/done/1-1.json"]
    assert stuck(world.services, world.now) == []


def test_a_round_that_was_never_planned_is_planned(world: LossyWorld) -> None:
    world.daily("2025-07-01", drain=False)
    [delivery] = world.pump.waiting
    world.pump.waiting.clear()
    given_up(world, delivery)
    swept = world.sweep_at(noon("2025-07-01"))

    assert found(swept) == [("given_up", "done")]
    assert len(world.seals()) == 1


@pytest.mark.parametrize("body", [b"{", b"[]", b"{}", b'{"requestContext": {"functionArn": "functions/notify"}}'])
def test_what_was_given_up_and_cannot_be_told_is_for_people(done: LossyWorld, body: bytes) -> None:
    done.cloud.work.put_again("quarantine/failed/odd.json", body)
    [one] = done.sweep_at(AFTER).stuck

    assert (one.kind, one.key) == ("given_up", "quarantine/failed/odd.json")


# -- time, and what people are told -----------------------------------------------------------------------------


def test_a_sweep_that_is_told_to_stop_does_the_oldest_first_and_says_what_is_left(done: LossyWorld) -> None:
    for table in TABLES:
        done.cloud.rows.tables[table].clear()
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return bool(done.cloud.rows.tables["settlements"])

    swept = sweep(done.services, AFTER, stop)
    assert swept.left == [f"lists of {CYCLE}", *swept.left[1:]]
    assert swept.left[-5:-2] == ["answers of the bank", "bill files", "events"]
    assert swept.left[-2:] == ["deliveries", "invocations that were given up"]
    assert len(swept.mended) == 1
    done.sweep_until_quiet(AFTER + timedelta(hours=1))
    assert len(done.cloud.rows.tables["settlements"]) == 3


def test_what_all_cycles_have_in_one_place_is_read_once(done: LossyWorld) -> None:
    sweep(done.services, AFTER)  # the first of its day, which anchors the chain
    done.cloud.calls.begin()
    swept = sweep(done.services, AFTER)
    reads = Counter(done.cloud.calls.made)

    assert (swept.mended, swept.stuck) == ([], [])
    # Everything but the bills, and then the recent cycles of each of the two payers.
    assert reads["read rows of chain"] == 3
    assert [reads[f"read rows of {table}"] for table in TABLES] == [1, 1, 1]
    assert [call for call in reads if call.startswith("list drafts/")] == ["list drafts/2025-0"]


def test_a_place_that_cannot_be_reached_stops_no_other_and_the_sweep_is_tried_again(done: LossyWorld) -> None:
    sweep(done.services, AFTER)  # the first of its day, which anchors the chain
    drop_rows("settlements")(done)
    event = json.dumps({"triggerTime": "2025-07-08T04:00:00Z", "triggerName": "nightly", "payload": "sweep"}).encode()
    done.cloud.calls.begin()
    sweep(done.services, AFTER)
    reads = [n for n, call in enumerate(done.cloud.calls.made) if call == "list payouts/"]
    drop_rows("settlements")(done)
    done.cloud.calls.begin(reads[0], Fault.LOSE_REQUEST)
    with pytest.raises(Exception, match="could not be reached, first answers of the bank: cannot list payouts/"):
        done.pump.functions["sweep"].run(event, done.services)
    done.cloud.calls.begin()

    assert len(done.cloud.rows.tables["settlements"]) == 3


def test_people_are_told_of_what_is_stuck_longer_than_its_bound(world: LossyWorld) -> None:
    inconsistent(world)
    world.final()
    early, late = noon("2025-07-03") + timedelta(hours=3), noon("2025-07-05")
    assert alerts(world.sweep_at(early), early) == []
    [alert] = alerts(world.sweep_at(late), late)

    assert alert == {
        "kind": "pull",
        "key": f"work/pull/{P1}/{CYCLE}/{DAYS[0]}-f20250703T1230.json",
        "cycle": CYCLE,
        "owner": P1,
        "since": "2025-07-03T04:30:00Z",
        "bound": "PT24H",
        "remedy": KINDS["pull"].remedy,
    }


class Lines(logging.Handler):
    """What is logged, as Log Service gets it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


def test_the_log_holds_a_line_for_each_alert_and_each_figure_zeros_too(world: LossyWorld) -> None:
    from shared.cloud.log import step_log

    step_log(None)
    logger = logging.getLogger("clearbook")
    formatter = logger.handlers[0].formatter
    assert formatter is not None
    handler = Lines(formatter)
    inconsistent(world)
    world.final()
    world.sweep("2025-07-04")
    logger.addHandler(handler)
    try:
        world.sweep("2025-07-05")
    finally:
        logger.removeHandler(handler)

    [alert] = [line["alert"] for line in handler.lines if "alert" in line]
    assert (alert["kind"], alert["bound"]) == ("pull", "PT24H")
    figures = [line["metric"] for line in handler.lines if "metric" in line]
    of = {(one["name"], one["dimensions"].get("kind", "")): one["value"] for one in figures}
    assert of["sweep_stuck", "pull"] == 1
    assert {(name, kind) for name, kind in of if kind} == {
        (name, kind) for name in ("sweep_stuck", "sweep_mended") for kind in KINDS
    }
    assert of["sweep_stuck", "payout"] == of["sweep_mended", "pull"] == of["sweep_left", ""] == 0
    assert of["sweep_duration", ""] > 0
    assert "160" not in json.dumps([alert, *figures])


def test_figures_of_a_sweep_that_found_nothing_are_zeros() -> None:
    assert {value for _, value, _, _ in metrics(Swept(), 0.0)} == {0}
    assert months.PUBLISHED == "published"


def test_the_command_lists_what_is_stuck_and_what_to_do(
    world: LossyWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from infra.clearbook import stuck as command

    at = noon("2025-07-05")
    monkeypatch.setattr(command, "services", lambda home: world.services)
    monkeypatch.setattr(command, "now", lambda home: at)
    command.show_stuck(None, None)
    assert "nothing is stuck" in capsys.readouterr().out
    inconsistent(world)
    world.final()
    world.sweep_at(at)
    world.sweep_at(at + timedelta(hours=1))
    capsys.readouterr()
    command.show_stuck(None, "-")
    [one] = json.loads(capsys.readouterr().out)

    assert (one["kind"], one["owner"], one["tries"], one["late"]) == ("pull", P1, 2, True)
    assert "the provider counts 9" in one["problem"]
    assert one["remedy"] == KINDS["pull"].remedy
