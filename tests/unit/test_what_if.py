"""`clearbook settle`: a cycle ordered again, and months beside what they would come to under other agreements."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from infra.clearbook import settling
from infra.clearbook.main import main
from infra.clearbook.people import PREPARER
from shared.chain.chain import Chain
from shared.ports import Buckets, ObjectStore, Rows
from shared.services import Services
from shared.settlement import engine
from shared.steps.acts import references
from tests.builders import ACME, CYCLE, DAYS, P1, P2, agreement, assigned, item, parties
from tests.fakes import State
from tests.pump import World, go_live, small_month

Run = Callable[..., Any]
_READS = ("get", "get_many", "find", "exists", "version", "keys", "download", "range", "bucket", "link")


class ReadOnly:
    """A port that refuses whatever would change something."""

    def __init__(self, port: object) -> None:
        self._port = port

    def __getattr__(self, name: str) -> Any:
        if name not in _READS:
            raise AssertionError(f"{name} would change something")
        return getattr(self._port, name)


def read_only(services: Services) -> Services:
    stores = services.buckets
    buckets = (cast(ObjectStore, ReadOnly(one)) for one in (stores.inbox, stores.work, stores.records, stores.reports))
    rows = cast(Rows, ReadOnly(services.rows))
    return replace(services, buckets=Buckets(*buckets), rows=rows, chain=Chain(rows))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, State]:
    """The small month with a few lines of another product, settled."""
    world = World(tmp_path_factory.mktemp("what-if") / "scratch")
    small_month(world, [(P1, DAYS[2], item(ACME, "40.00", "oss"))])
    go_live(world)
    world.final()
    return world, world.cloud.state()


@pytest.fixture
def world(played: tuple[World, State]) -> World:
    world, state = played
    world.cloud.restore(state)
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command: with documents nothing may be written."""

    def run(*documents: dict[str, Any], status: int = 0, options: tuple[str, ...] = (), is_json: bool = True) -> Any:
        files = []
        for number, document in enumerate(documents):
            file = tmp_path / f"{number}.yaml"
            file.write_text(yaml.safe_dump(document), encoding="utf-8")
            files += ["--what-if", str(file)]
        given = read_only(world.services) if documents else world.services
        monkeypatch.setattr(settling, "services", lambda _: given)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["settle", "--cycle", CYCLE, *files, *options, *(["--json", "-"] if is_json else [])])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == status, out + err
        return json.loads(out) if is_json and not status else out + err

    return run


def test_a_month_under_another_percent_says_what_changes_by_whom_what_and_line(run: Run) -> None:
    answer = run(agreement("aurora", "12"))

    assert answer["totals"] == [{"currency": "CNY", "before": "160", "after": "192", "difference": "32"}]
    [aurora] = answer["resellers"]
    assert [(one["customer"], one["before"], one["after"]) for one in aurora["customers"]] == [
        ("acme", "60", "72"),
        ("atlas", "100", "120"),
    ]
    [rule] = aurora["rules"]
    assert (rule["rule"], rule["difference"]) == ("sells-ecs", "32")
    assert [one["difference"] for one in aurora["lines"]] == ["20", "6", "4", "2"]
    assert aurora["held"] == []


def test_a_line_that_was_in_a_case_is_settled_and_both_sides_are_said(run: Run) -> None:
    [aurora] = run(agreement("aurora", "10", products=("ecs", "oss")))["resellers"]

    [line] = aurora["lines"]
    assert (line["product_code"], line["rule_before"], line["rule_after"]) == ("oss", "", "sells-oss")
    assert [(one["kind"], one["before"], one["after"]) for one in aurora["held"]] == [("no_rule", "40", "0")]


def test_a_locked_month_is_settled_too_and_what_is_printed_says_it(run: Run, world: World) -> None:
    world.lock("aurora")
    before = world.heads()
    said = run(agreement("aurora", "12"), is_json=False)

    assert "CNY: 160 before, 192 after, +32" in said
    assert "nothing was changed" in said
    assert world.heads() == before


def test_a_draft_is_what_an_open_month_is_compared_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    go_live(world)
    world.daily("2025-07-01")
    file, out = tmp_path / "a.yaml", tmp_path / "out.json"
    file.write_text(yaml.safe_dump(agreement("aurora", "20")), encoding="utf-8")
    monkeypatch.setattr(settling, "services", lambda _: read_only(world.services))
    with pytest.raises(SystemExit):
        main(["settle", "--cycle", CYCLE, "--what-if", str(file), "--json", str(out)])
    [aurora] = json.loads(out.read_text())["resellers"]

    assert aurora["draft"]
    assert aurora["statements"][0]["difference"] == "160"


def test_a_document_holds_on_its_days_and_the_version_in_force_on_the_others(run: Run) -> None:
    [aurora] = run(agreement("aurora", "20", version=2, since=DAYS[2]))["resellers"]
    assert {one["date"] for one in aurora["lines"]} == {DAYS[2]}
    assert aurora["statements"][0]["difference"] == "130"

    [aurora] = run(agreement("aurora", "20", version=2, since=DAYS[1], until=DAYS[1]))["resellers"]
    assert [(one["date"], one["difference"]) for one in aurora["lines"]] == [(DAYS[1], "20")]


def test_a_document_of_other_months_is_settled_as_if_it_had_been_in_force(run: Run) -> None:
    [aurora] = run(agreement("aurora", "20", version=2, since="2026-01-01"))["resellers"]
    assert aurora["statements"][0]["difference"] == "160"

    said = run(agreement("aurora", "20", version=2, since="2026-01-01"), is_json=False)
    assert f"settled as if it had been in force in all of {CYCLE}" in said


def test_an_agreement_is_added_where_it_overlaps_none(run: Run) -> None:
    def of(payer: str, percent: str, **more: Any) -> dict[str, Any]:
        document = agreement("aurora", percent, applies_to={"payers": [payer]}, **more)
        document["examples"][0]["lines"][0]["payer"] = payer
        return document

    new, rest = of(P2, "50", name="new"), of(P1, "10")
    [aurora] = run(new, rest)["resellers"]
    assert [(one["agreement"], one["difference"]) for one in aurora["statements"]] == [
        ("aurora-2025", "-100"),
        ("new", "500"),
    ]
    said = run(new, status=1)
    assert "overlaps aurora-2025 version 1" in said
    assert "by having that one's id" in said


def test_several_documents_of_several_resellers(run: Run) -> None:
    answer = run(agreement("aurora", "0"), agreement("borealis", "20"))

    assert [(one["reseller"], one["statements"][0]["difference"]) for one in answer["resellers"]] == [
        ("aurora", "-160"),
        ("borealis", "15"),
    ]
    assert answer["totals"][0]["difference"] == "-145"
    only = run(agreement("aurora", "0"), agreement("borealis", "20"), options=("--reseller", "borealis"))
    assert [one["reseller"] for one in only["resellers"]] == ["borealis"]


@pytest.mark.parametrize(
    ("document", "options", "problem"),
    [
        (agreement("nobody", "10"), (), "who is not known"),
        (agreement("aurora", "10"), ("--reseller", "borealis"), "reads no agreement of aurora"),
        ({**agreement("aurora", "10"), "rules": []}, (), "rules"),
    ],
)
def test_what_cannot_be_settled_is_refused(run: Run, document: dict[str, Any], options: Any, problem: str) -> None:
    assert problem in run(document, options=options, status=1)


def test_a_document_may_hold_back_and_ask_for_figures_that_nobody_needed_before(run: Run, world: World) -> None:
    [aurora] = run({**agreement("aurora", "10"), "holdback": {"percent": "25", "months": 1}})["resellers"]
    assert aurora["statements"][0]["after"] == "120"

    gated = agreement("aurora", "10")
    gated["rules"][0]["earn"]["gate"] = {"figure": "points", "at_least": "5", "otherwise": {"percent": "1"}}
    gated["examples"][0]["expect"]["commission"] = "0"  # an example has no figures
    [aurora] = run(gated)["resellers"]
    assert [(one["kind"], one["after"]) for one in aurora["held"]] == [("no_figure", "1600")]

    body = f"reseller,figure,cycle,value\naurora,points,{CYCLE},4\n".encode()
    world.approve(
        references.propose_figures(world.services, body, "f", by=PREPARER, why="test", at=world.at), drain=False
    )
    [aurora] = run(gated)["resellers"]
    assert (aurora["held"], aurora["statements"][0]["after"]) == ([], "16")


def test_a_month_of_another_engine_is_settled_twice(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "VERSION", "next")
    [aurora] = run(agreement("aurora", "12"))["resellers"]

    assert "before is what engine next makes of it" in aurora["notes"][0]
    assert aurora["statements"][0]["difference"] == "32"


def test_every_line_is_written_as_csv_that_no_spreadsheet_runs(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "lines.csv"
    run(agreement("aurora", "12"), options=("--lines", str(file)))
    rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))

    assert [row["difference"] for row in rows] == [f"{one}.000000000000000000" for one in (20, 6, 4, 2)]
    assert {row["rule_after"] for row in rows} == {"sells-ecs"}


def test_whoever_held_the_account_before_is_settled_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    moved = [assigned(ACME, "acme", "borealis", until=DAYS[0]), assigned(ACME, "acme", "aurora", DAYS[1])]
    go_live(world, parties(moved))
    world.final()
    file, out = tmp_path / "a.yaml", tmp_path / "out.json"
    file.write_text(yaml.safe_dump(agreement("aurora", "20")), encoding="utf-8")
    monkeypatch.setattr(settling, "services", lambda _: read_only(world.services))
    with pytest.raises(SystemExit):
        main(["settle", "--cycle", CYCLE, "--what-if", str(file), "--json", str(out)])
    found = {one["reseller"]: one["statements"] for one in json.loads(out.read_text())["resellers"]}

    assert found["borealis"][0]["difference"] == "0"
    assert found["aurora"][0]["difference"] == "50"


# -- orders -----------------------------------------------------------------------------------------------------


def test_a_cycle_that_is_settled_is_named_and_not_ordered(run: Run, world: World) -> None:
    keys = world.keys("work")
    answer = run()

    assert [(one["reseller"], one["outcome"]) for one in answer] == [
        (owner, "settled") for owner in ("aurora", "borealis", "operator")
    ]
    assert answer[0]["settlement"] == world.month().settlement
    assert world.keys("work") == keys


def test_an_order_that_is_missing_is_written_and_one_that_came_to_nothing_delivered_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    go_live(world)
    world.final(drain=False)
    world.pump.drain(hold=lambda one: one.function in ("route_settlements", "settle"))
    world.pump.waiting.clear()
    monkeypatch.setattr(settling, "services", lambda _: world.services)

    def settle() -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit):
            main(["settle", "--cycle", CYCLE, "--reseller", "aurora"])
        return capsys.readouterr().out

    assert settle() == f"aurora {CYCLE}: ordered, final\n"
    world.cloud.take_created()  # the event is lost
    assert settle() == f"aurora {CYCLE}: ordered again, final\n"
    world.pump.drain()
    assert world.total() == "160.00"
    assert "settled, final, settlement" in settle()


def test_what_is_not_due_waits(world: World, run: Run) -> None:
    assert "nobody" in run(options=("--reseller", "nobody"), status=1)
    assert [one["outcome"] for one in run(options=("--reseller", "aurora"))] == ["settled"]
