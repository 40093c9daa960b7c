"""An old settlement verifies with new code: while engine.VERSION stays, what the engine makes of old inputs stays."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from shared.ids import digest
from shared.settlement import engine, lines
from shared.settlement.share import Share
from tests.unit.kept_results.month import manifest_of, months, summary_of


@pytest.mark.parametrize("folder", months(), ids=lambda folder: folder.name)
def test_an_old_result_stays_while_the_version_of_the_engine_stays(folder: Path) -> None:
    kept = json.loads((folder / "summary.json").read_bytes())
    made_by = manifest_of(folder)["engine"]
    anew = "keep the results of the new version with `python -m tests.unit.kept_results`"

    assert made_by == engine.VERSION, f"kept for engine {made_by}; {anew}"
    found = summary_of(folder)
    for name in kept:
        assert found[name] == kept[name], f"{name}: an old result would change; change engine.VERSION, then {anew}"
    assert found == kept


@pytest.mark.parametrize("folder", months(), ids=lambda folder: folder.name)
def test_kept_documents_are_what_they_are_named_by(folder: Path) -> None:
    for document in (folder / "documents").iterdir():
        assert digest(document.read_bytes()) == document.stem


def test_a_changed_result_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above looks closely enough: an engine that earns a little more elsewhere is told."""
    folder = months()[0]
    kept = json.loads((folder / "summary.json").read_bytes())
    as_it_is = lines.place

    def place(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
        as_it_is(connection, share)
        connection.execute("UPDATE bill SET pretax = pretax + 0.0000000001 WHERE pretax > 100")

    monkeypatch.setattr(lines, "place", place)
    found = summary_of(folder)

    assert found["rows_digest"] != kept["rows_digest"]
