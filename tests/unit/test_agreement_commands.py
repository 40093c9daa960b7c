"""`clearbook agreement`: documents checked, versions shown in plain words, and compared in sentences."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.clearbook import agreements, decisions, remote
from infra.clearbook.main import main
from tests.builders import agreement
from tests.desk import of_world
from tests.pump import World, go_live, small_month
from tests.unit.test_agreement_documents import PLAN, SHORT

Run = Callable[..., str]
GOOD = "".join(line for line in SHORT.splitlines(keepends=True) if "scope" not in line).replace('"30"', '"3.5"')


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "scratch")
    small_month(world)
    go_live(world)
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command over the world's services: what it said when it ended with the status."""
    for module in (agreements, decisions):
        monkeypatch.setattr(module, "services", lambda _: world.services)
    ask = of_world(world)
    monkeypatch.setattr(remote, "portal", lambda _, by: ask(by))

    def run(*arguments: object, status: int = 0) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == status, out + err
        return out + err

    return run


@pytest.fixture
def file(tmp_path: Path) -> Callable[..., Path]:
    def write(body: str | dict[str, Any], name: str = "a.yaml") -> Path:
        path = tmp_path / name
        path.write_text(body if isinstance(body, str) else yaml.safe_dump(body), encoding="utf-8")
        return path

    return write


def second(**more: Any) -> dict[str, Any]:
    """The version of aurora's agreement after the one in force."""
    return agreement("aurora", "12", version=2, since="2026-01-01", **more)


def test_check_says_what_it_checked_and_how_examples_came_out(run: Run, file: Callable[..., Path]) -> None:
    said = run("agreement", "check", file(GOOD))

    assert "aurora-2026 version 1, from 2026-01-01 on, without an end, can be submitted" in said
    assert "checked: 1 rule, 0 exclusions, 0 scales, 1 worked example" in said
    assert "example a hundred (of them): expected 3.50, found 3.50" in said


def test_check_refuses_one_file_and_still_says_of_the_others(run: Run, file: Callable[..., Path]) -> None:
    bad = file(GOOD.replace("product_code ==", "product_cod =="), "bad.yaml")
    said = run("agreement", "check", bad, file(PLAN, "plan.yaml"), status=1)

    assert "acme-2026 version 1, from 2026-01-01 on, without an end, is sound" in said
    assert "clearbook: document_refused:" in said
    assert (
        "rules.0 (storage).when, line 9, column 11: reads product_cod, which no line has; perhaps product_code" in said
    )


def test_check_holds_versions_beside_each_other(run: Run, file: Callable[..., Path]) -> None:
    first = file(agreement("aurora", "10", until="2025-12-30"), "1.yaml")
    gap = run("agreement", "check", first, file(second(), "2.yaml"))
    assert "warning: version 1 of aurora-2025 ends 2025-12-30 and version 2 begins 2026-01-01" in gap

    same = file(agreement("aurora", "10", version=2, since="2025-12-01"), "2.yaml")
    said = run("agreement", "check", first, same, status=1)
    assert "effective, line" in said
    assert "overlaps aurora-2025 version 1" in said
    assert "overlaps" not in run("agreement", "check", first, file(agreement("borealis", "10"), "b.yaml"))


def test_check_answers_machines(run: Run, file: Callable[..., Path]) -> None:
    bad = file(GOOD.replace("3.5", "4", 1), "bad.yaml")
    said = run("agreement", "check", file(GOOD), bad, "--json", "-", status=1)
    answer = json.loads(said[: said.index("clearbook: ")])

    assert answer["documents"][0]["examples"] == [{"name": "a hundred (of them)", "expected": "3.5", "found": "3.5"}]
    [[place, problem]] = answer["documents"][1]["refused"]
    assert place.startswith("examples.0 (a hundred (of them)).expect.commission, line ")
    assert problem == "expects 3.5 but the rules give 4; mend the rules or the example"


def test_submit_shows_the_approver_what_changes_in_sentences(run: Run, file: Callable[..., Path], world: World) -> None:
    first = agreement("aurora", "10", name="early", since="2024-01-01", until="2024-06-30")
    said = run("agreement", "submit", file(first))
    assert "rule sells-ecs\n    where: product_code is ecs\n    earns: 10 %" in said
    world.decide_agreement(first)

    later = agreement("aurora", "12", name="early", version=2, since="2024-08-01", until="2024-12-31")
    said = run("agreement", "submit", file(later))
    assert "against version 1:\n" in said
    assert "rule sells-ecs: earns: 10 % -> 12 %" in said
    assert "warning: effective: version 1 of early ends 2024-06-30 and version 2 begins 2024-08-01" in said
    assert "rule sells-ecs: earns: 10 % -> 12 %" in run("proposals")


def test_submit_says_where_a_version_overlaps_one_in_force(run: Run, file: Callable[..., Path]) -> None:
    said = run("agreement", "submit", file(second()), status=1)

    assert "effective, line" in said
    assert "overlaps aurora-2025 version 1 (from 2025-01-01 on, without an end); move the dates" in said


def test_show_says_a_version_in_plain_words_and_who_approved_it(run: Run) -> None:
    said = run("agreement", "show", "aurora-2025", "--cycle", "2025-06")

    assert said.startswith(
        "aurora-2025 version 1, from 2025-01-01 on, without an end\nproposed by paula, approved by amir"
    )
    assert "rule sells-ecs\n  where: product_code is ecs\n  earns: 10 %\n" in said
    [version] = json.loads(run("agreement", "show", "aurora-2025", "--version", "1", "--json", "-"))
    assert version["says"]["rule sells-ecs"]["earns"] == "10 %"
    assert (version["proposed_by"], version["approved_by"], version["until"]) == ("paula", "amir", None)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("show", "aurora-2052"), "'aurora-2052' is not approved; there is aurora-2025"),
        (("show", "aurora-2025", "--version", "7"), "has no version 7"),
        (("show", "aurora-2025", "--cycle", "2020-01"), "has no version in force in 2020-01"),
        (("show", "aurora-2025", "--cycle", "June"), "--cycle"),
        (("diff", "aurora-2025@1", "aurora-2025@9"), "aurora-2025 has no version 9"),
        (("diff", "aurora-2025@1", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    assert problem in run("agreement", *arguments, status=1)


def test_diff_compares_files_and_approved_versions(run: Run, file: Callable[..., Path]) -> None:
    draft = file(second(payout={"minimum": "100.00"}))
    said = run("agreement", "diff", "aurora-2025@1", draft)

    assert said.splitlines()[0] == "aurora-2025 version 1 -> aurora-2025 version 2"
    assert "  rule sells-ecs: earns: 10 % -> 12 %" in said.splitlines()
    assert "  payout: paid: whatever the balance -> from 100.00 on" in said.splitlines()
    [first, *_] = json.loads(run("agreement", "diff", "aurora-2025@1", draft, "--json", "-"))
    assert first["sentence"].startswith("agreement: in force: from 2025-01-01 on")
    assert "no difference in what is paid" in run("agreement", "diff", draft, draft)


def test_diff_takes_two_of_one_kind(run: Run, file: Callable[..., Path]) -> None:
    plan, other = file(PLAN, "plan.yaml"), file(PLAN.replace('markup_percent: "10"', 'fixed: "5"'), "other.yaml")

    assert "rule rest: price: pretax and 10 % on top -> 5.00 for each line" in run("agreement", "diff", plan, other)
    assert "are not of one kind" in run("agreement", "diff", plan, file(GOOD), status=1)
