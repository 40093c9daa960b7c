"""`clearbook bill` on the local cloud: files handed in by the command are read by the deployed functions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.context import environment, services, start_local
from infra.clearbook.main import main
from infra.provision.plan import plan
from shared.steps import quality
from tests.bill_files import CYCLE, write_all
from tests.builders import parties

FILES = ("v2-zip", "console-zh", "partner-parquet")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("files"), lines=300)


@pytest.fixture(scope="module")
def payer(files: dict[str, Path]) -> str:
    return files["v2-zip"].name.partition("_")[0]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, payer: str) -> Iterator[Path]:
    """A cloud with the functions of s.yaml under their policies, and a payer that is settled from the new bill."""
    home = tmp_path_factory.mktemp("bills")
    document = parties(payers=(payer,), since="2025-06-01")
    document["payers"][0]["connector"] |= {"settled_source": "v2", "currency": "CNY"}
    with start_local(home, instances=2):
        for action in plan(environment(home)):
            action.make()
        (home / "parties.yaml").write_text(json.dumps(document))
        assert status(home, "init") == 0
        assert status(home, "party", "import", str(home / "parties.yaml")) == 0
        assert status(home, "approve", "parties#1") == 0
        yield home


def status(home: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--home", str(home)])
    return int(ended.value.code or 0)


def test_files_go_from_the_command_through_the_functions_into_bills_that_can_be_looked_at(
    home: Path, files: dict[str, Path], payer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    of = ("--account", payer, "--cycle", CYCLE)

    def answer(*arguments: str) -> Any:
        capsys.readouterr()
        assert status(home, "bill", *arguments, "--json", "-") == 0, capsys.readouterr().err
        return json.loads(capsys.readouterr().out)

    taken = answer("import", *(str(files[one]) for one in FILES), *of, "--timeout", "120")

    assert [one["bills"][0]["kind"] for one in taken] == ["sealed", "observed", "observed"]
    assert [one["source"] for one in taken] == ["v2", "classic", "partner"]
    assert taken[0]["rows"] == taken[0]["lines"] == taken[0]["bills"][0]["rows"] > 0
    assert answer("import", str(files["v2-zip"]), *of, "--timeout", "120") == taken[:1]
    shown = answer("show", *of)
    assert [(one["source"], one["kind"]) for one in shown["entries"]] == [
        ("v2", "sealed"), ("classic", "observed"), ("partner", "observed"),
    ]  # fmt: skip
    assert sum(one["rows"] for one in shown["parts"]) == taken[0]["rows"]
    [figures] = answer("quality", *of)
    assert sorted(figures["sources"]) == ["classic", "partner", "v2"]
    assert {one["source"]: one["count"] for one in figures["comparisons"]}["classic"] == 0
    sources = answer("diff", *of, "--sources")
    assert sorted(one["other"]["source"] for one in sources) == ["classic", "partner"]
    added = answer("diff", *of, "source:classic", "source:v2", "--limit", "1")["lines"][0]
    [line] = answer("show", "--account", payer, "--line", added["line_id"], "--raw")
    assert line["raw"]["标识信息/账单明细ID"]
    # What the function keeps as its figures is what the command computes, but for the time that went by.
    kept = quality.kept(services(home), payer, CYCLE)
    assert kept is not None
    assert (kept["seq"], kept["comparisons"]) == (figures["seq"], figures["comparisons"])


def test_a_file_that_the_function_refuses_ends_the_command_with_its_reason(
    home: Path, files: dict[str, Path], payer: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.csv"
    text = files["console-zh"].read_text(encoding="utf-8-sig")
    other.write_text(text.replace(payer, "4711"), encoding="utf-8")

    assert status(home, "bill", "import", str(other), "--account", payer, "--cycle", CYCLE, "--timeout", "120") == 1

    said = capsys.readouterr()
    assert "clearbook: file_refused: " in said.err
    assert "4711" in said.err
    assert "refused; the reason is at the end" in said.out
