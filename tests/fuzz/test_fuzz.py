"""A short search of each target, which every run of the tests repeats in the same way."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from shared.bill import files
from tests.fuzz import __main__ as fuzz
from tests.fuzz import seeds, targets

SECONDS = {"rows": 4, "split": 5, "pages": 3, "tags": 2, "names": 2}
HAS_ATHERIS = importlib.util.find_spec("atheris") is not None


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    fuzz.write_seeds(folder)
    return folder


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_every_seed_is_read(corpus: Path, target: str) -> None:
    check = targets.known((corpus / "payer").read_text())[target]

    for path in sorted((corpus / target).iterdir()):
        check(path.read_bytes())


def test_a_file_that_loses_a_row_is_noticed(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search would be worth nothing if what it asks always held."""
    body = (corpus / "rows" / "v2").read_bytes()
    read = files.tidy_rows
    monkeypatch.setattr(files, "tidy_rows", lambda *of: list(read(*of))[1:])

    with pytest.raises(targets.BrokenError, match="rows are lost"):
        targets.rows(body)


def test_an_amount_that_is_rounded_is_noticed(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body, payer = (corpus / "split" / "partner-csv").read_bytes(), (corpus / "payer").read_text()
    monkeypatch.setattr(targets, "_decimal", lambda cell: Decimal(cell or 0) + Decimal("1e-10"))

    with pytest.raises(targets.BrokenError, match="in the file"):
        targets.split(body, payer)


@pytest.mark.skipif(not HAS_ATHERIS, reason="atheris has no wheel for this Python or machine")
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_a_short_search_finds_nothing(corpus: Path, tmp_path: Path, target: str) -> None:
    asked = ["--inside", str(corpus), "--target", target, "--seconds", str(SECONDS[target]), "--seed", "1"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", *asked, "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, f"{[path.name for path in tmp_path.iterdir()]}: {done.stderr[-3000:]}"
    assert "stat::number_of_executed_units" in done.stderr


def test_seeds_cover_every_form_that_files_have() -> None:
    _, found = seeds.files()

    assert found.keys() >= {
        "classic-zh",
        "classic-en",
        "v2",
        "console-zh",
        "partner-csv",
        "partner-parquet",
        "gzip",
        "zip",
    }
