"""A bench plays a month on a local cloud and leaves nothing but its figures."""

from __future__ import annotations

import json
from datetime import date
from functools import partial
from pathlib import Path

import pytest

from infra.clearbook.bench import month
from infra.clearbook.demo.play import Stage
from infra.clearbook.main import app


def test_a_month_is_measured_stage_by_stage_and_its_home_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    homes = tmp_path / "homes"
    homes.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(homes))
    # Live from the 28th on: of a whole month most days are alike.
    monkeypatch.setattr(month, "Stage", partial(Stage, since=date(2025, 6, 28)))

    app(["bench", "month", "--lines", "200", "--json", str(tmp_path / "figures.json")], standalone_mode=False)

    told = json.loads((tmp_path / "figures.json").read_bytes())
    [played] = told["months"]
    assert (played["lines"], told["growth"]) == (200, {})
    assert [stage for stage, used in played["stages"].items() if not used["invocations"]] == []
    for name, used in played["functions"].items():
        assert used["errors"] == 0, name
        # Billed in whole milliseconds, the start of the instance included.
        assert used["billed_s"] > used["busy_s"] > 0, name
        assert used["billed_s"] * 1000 == pytest.approx(round(used["billed_s"] * 1000)), name
        assert used["cpu_s"] > 0, name
        assert used["peak_mb"] > 0, name
    assert played["total"]["invocations"] == sum(used["invocations"] for used in played["functions"].values())
    assert list(homes.iterdir()) == []
