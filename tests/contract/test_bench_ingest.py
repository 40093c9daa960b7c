"""The bench of ingestion measures files, pages and rows beside what each is held against, and leaves nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.clearbook.bench import ingest
from infra.clearbook.main import app, main

LINES = 240


def test_each_ratio_is_ours_over_what_it_is_held_against(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    homes = tmp_path / "homes"
    homes.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(homes))
    monkeypatch.setenv("COLUMNS", "80")
    target = tmp_path / "figures.json"

    app(["bench", "ingest", "--lines", str(LINES), "--runs", "1", "--json", str(target)], standalone_mode=False)

    told = json.loads(target.read_bytes())
    assert (told["lines"], told["page_count"] > 1) == (LINES, True)
    assert told["targets"] == {"csv_ratio": 3.0, "pages_ratio": 3.0, "rows_ratio": 1.2, "peak_rss_mb": 700}
    for kind in ("csv", "pages", "rows"):
        of = told[kind]
        assert of["ours_s"] > 0, kind
        assert of["bare_s"] > 0, kind
        # The times are rounded, and those of so few lines are short.
        assert told[f"{kind}_ratio"] == pytest.approx(of["ours_s"] / of["bare_s"], rel=0.05), kind
        assert of["cpu_ratio"] > 0, kind
    assert told["peak_rss_mb"] == max(told[kind]["ours_peak_mb"] for kind in ("csv", "pages"))
    assert 50 < told["peak_rss_mb"] < 700
    said = capsys.readouterr().out
    assert "csv: run 1 of 1" in said
    for kind in ("csv", "pages", "rows"):
        assert f"{told[f'{kind}_ratio']:.2f} " in said, kind
    assert list(homes.iterdir()) == []


@pytest.mark.parametrize("lines", ["199", "5000001", "0"])
def test_a_bill_of_no_such_length_is_refused_before_anything_is_measured(
    lines: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ingest, "measure", None)

    with pytest.raises(SystemExit) as refused:
        main(["bench", "ingest", "--lines", lines])

    assert refused.value.code == 1
    assert f"--lines: has {lines}; give 200 to 5000000" in capsys.readouterr().err
