"""The bench of reconciling stands beside settling the same month, and gives no figure where anything is unexplained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.clearbook.bench import reconcile, settle, settle_month
from infra.clearbook.bench.ingest import Cost
from infra.clearbook.main import app

LINES = 2_000


def test_a_month_that_adds_up_is_measured_beside_settling_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    costs = {settle._settle: Cost(4.0, 3.0, 200.0), reconcile._reconcile: Cost(2.0, 1.5, 100.0)}
    said = {"billed": "12.5", "unexplained": "0", "groups": 1}
    monkeypatch.setattr(settle_month, "write", lambda folder, lines: folder.mkdir())

    def measured(work, folder, month):  # type: ignore[no-untyped-def]
        (folder / "found.json").write_text(json.dumps(said))
        return costs.get(work)

    monkeypatch.setattr(reconcile, "in_process", measured)
    target = tmp_path / "figures.json"
    app(["bench", "reconcile", "--lines", str(LINES), "--runs", "2", "--json", str(target)], standalone_mode=False)

    told = json.loads(target.read_bytes())
    assert (told["ratio"], told["cpu_ratio"], told["peak_rss_mb"]) == (0.5, 0.5, 100)
    assert "ratio       0.50" in capsys.readouterr().out


def test_a_month_that_does_not_add_up_gives_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    month = settle_month.write(tmp_path / "parts", LINES)
    one_of_all = settle_month.shares(LINES)[:1]
    monkeypatch.setattr(settle_month, "shares", lambda lines: one_of_all)
    settle._settle(tmp_path, month)
    reconcile._summarise(tmp_path, month)

    with pytest.raises(AssertionError, match="no share has them"):
        reconcile._reconcile(tmp_path, month)
