"""The bench of rows compares like with like, and leaves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.bench import rows as bench
from infra.localcloud.common import LocalCloudError
from shared.bill.rows import TABLE
from shared.errors import BadInputError


def test_both_ways_put_the_same_rows_and_a_pull_again_writes_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(bench, "PART_LINES", 200)
    found: list[list[Any]] = []
    genuine = bench._put_bare

    def compare(sdk: Any, ready: Any) -> None:
        genuine(sdk, ready)
        found.append([read(sdk, table) for table in (TABLE, bench._BARE)])

    monkeypatch.setattr(bench, "_put_bare", compare)
    figures = bench.measure(500)

    [[ours, bare]] = [pair for pair in found if len(pair[0]) == len(pair[1]) == 250]  # ours came first
    assert ours == bare
    assert (figures["lines"], figures["pairs"]) == (500, 2)
    assert (figures["repull_rows"], figures["repull_rows_share"]) == (5, 0.01)
    assert (
        min(figures[name] for name in ("rows_ratio", "cpu_ratio", "ours_s", "bare_s", "ours_cpu_s", "bare_cpu_s")) > 0
    )
    assert list(tmp_path.iterdir()) == []


def read(sdk: Any, table: str) -> list[Any]:
    import tablestore as ots

    _, following, page, _ = sdk.get_range(
        table, ots.Direction.FORWARD, [("line", ots.INF_MIN)], [("line", ots.INF_MAX)], max_version=1
    )
    assert following is None
    return [(row.primary_key, [cell[:2] for cell in row.attribute_columns]) for row in page]


def test_figures_of_rows_that_were_not_put_are_refused() -> None:
    with pytest.raises(LocalCloudError, match="199 of 200 rows were put"):
        bench._check(199, 200)
    with pytest.raises(BadInputError, match="give 100 or more"):
        bench.measure(99)
