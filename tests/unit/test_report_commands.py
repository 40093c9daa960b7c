"""`clearbook report`: what there is and means, files of it with anybody's eyes, refusals that say what to do."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook import reports
from infra.clearbook.main import main
from tests.builders import CYCLE
from tests.fakes import State
from tests.pump import World
from tests.unit.test_reports import played as played
from tests.unit.test_reports import world as world

Run = Callable[..., str]
MONTH = ("--from", CYCLE, "--to", CYCLE)


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command over the small month."""

    def run(*arguments: str, status: int = 0) -> str:
        monkeypatch.setattr(reports, "services", lambda _: world.services)
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["report", *arguments])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == status, out + err
        return out + err

    return run


def test_who_may_run_what_is_listed_with_what_it_includes(run: Run) -> None:
    assert "reseller_margin" in run("list")
    mine = json.loads(run("list", "--as", "customer:acme", "--json", "-"))
    assert "reseller_margin" not in {one["report"] for one in mine}
    assert all(set(one["title"]) == {"en", "zh"} and one["columns"] for one in mine)


def test_a_report_says_what_it_has_from_when_to_when(run: Run) -> None:
    said = run("show", "billing_summary", "--as", "customer:acme")
    assert "numbers from 2025-06-01 to 2025-06-30" in said
    assert "settled and not locked" in said
    assert "price" in said
    assert "commission" not in said


def test_files_are_written_with_what_the_screen_shows(run: Run, tmp_path: Path) -> None:
    formats = [argument for one in ("csv", "xlsx", "json") for argument in ("--format", one)]
    said = run("run", "billing_summary", *MONTH, "--as", "customer:acme", *formats, "--output", str(tmp_path))
    assert "CNY: lines 4, unpriced_lines 0, list_amount 640, price 576" in said

    name = f"billing_summary-acme-{CYCLE}-01-{CYCLE}-30"
    assert {one.name for one in tmp_path.iterdir()} == {
        *(f"{name}.{one}" for one in ("csv", "xlsx", "json")),
        f"{name}.csv.about.json",
    }
    with (tmp_path / f"{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        rows: list[Any] = list(csv.DictReader(file))
    assert sum(Decimal(one["price"]) for one in rows) == 576
    about = json.loads((tmp_path / f"{name}.csv.about.json").read_bytes())
    assert (about["scope"], about["status"], about["rows"]) == ("customer acme", "draft", len(rows))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nonsense", *MONTH), "there is no 'nonsense' here; name one of billing_summary"),
        (("reseller_margin", *MONTH, "--as", "customer:acme"), "there is no 'reseller_margin' here"),
        (("trend", "--from", "2025-07", "--to", "2025-06"), "to: 2025-06-30 is before from"),
        (("trend", "--from", "2023-01", "--to", "2025-06"), "is 30 months; ask for at most 18"),
        (("trend", "--preset", "last_era"), "preset: there is no 'last_era'; name one of this_month"),
        (("trend", "--from", "2025-06-03", "--to", "2025-06-30"), "cuts a month"),
        (("trend", *MONTH, "--filter", "colour=red"), "filters.colour: is no filter of this report"),
        (("trend", *MONTH, "--filter", "colour"), "write it as NAME=VALUE"),
        (("trend", *MONTH, "--column", "colour"), "columns: there is no 'colour' in this report"),
        (("trend", *MONTH, "--format", "doc"), "--format: 'doc' is none; give csv, xlsx, pdf, json, parquet"),
        (("trend", *MONTH, "--as", "friend:bob"), "write operator, reseller:ID or customer:ID"),
        (("trend", *MONTH, "--as", "customer:nobody"), "there is no customer 'nobody'"),
        (("trend", *MONTH, "--allocation", "by-team"), "trend allocates nothing"),
        (("allocation", *MONTH, "--allocation", "by-team"), "there is no mapping 'by-team'; submit one first"),
    ],
)
def test_what_cannot_be_asked_is_refused_with_the_field_and_what_would_do(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    assert says in run("run", *arguments, "--output", str(tmp_path / "out"), status=1)
    assert not (tmp_path / "out").exists()


def test_nothing_there_says_why(run: Run) -> None:
    said = run("run", "adjustments", *MONTH, "--as", "reseller:aurora")
    assert "there is nothing from 2025-06-01 to 2025-06-30" in said


__all__ = ["State", "played"]
