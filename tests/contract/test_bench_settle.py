"""The bench of settling measures a month's settlements beside SQL that must write the very same lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from infra.clearbook.bench import settle, settle_month
from infra.clearbook.main import app, main

LINES = 2_000


def test_the_ratio_is_ours_over_hand_written_sql_that_comes_to_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    homes = tmp_path / "homes"
    homes.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(homes))
    target = tmp_path / "figures.json"

    app(["bench", "settle", "--lines", str(LINES), "--runs", "1", "--json", str(target)], standalone_mode=False)

    told = json.loads(target.read_bytes())
    assert (told["lines"], told["settlements"]) == (LINES, 20)
    assert told["targets"] == {"ratio": 2.0, "peak_rss_mb": 700}
    # The times are rounded, and those of so few lines are short.
    assert told["ratio"] == pytest.approx(told["seconds"] / told["floor_seconds"], rel=0.05)
    assert told["cpu_ratio"] == pytest.approx(told["cpu_seconds"] / told["floor_cpu_seconds"], rel=0.05)
    assert told["gb_s"] == pytest.approx(told["seconds"] * 4, rel=0.05, abs=0.1)
    assert 50 < told["peak_rss_mb"] < 700
    assert f"ratio     {told['ratio']:.2f}" in capsys.readouterr().out
    assert list(homes.iterdir()) == []


def test_the_month_has_all_that_it_says_and_both_settle_it_line_by_line_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    month = settle_month.write(tmp_path / "parts", 20_000)
    first = settle_month.shares(month.lines)[:2]
    monkeypatch.setattr(settle_month, "shares", lambda lines: first)

    settle._settle(tmp_path, month)
    settle._settle_bare(tmp_path, month)

    settle._compare(tmp_path)
    with duckdb.connect() as connection:

        def rows(query: str) -> list[tuple[Any, ...]]:
            return connection.execute(query).fetchall()

        for name in ("lines", "held"):
            ours, bare = (f"SELECT * FROM '{tmp_path / whose}/*/{name}.parquet'" for whose in ("ours", "bare"))
            assert rows(f"({ours} EXCEPT ALL {bare}) UNION ALL ({bare} EXCEPT ALL {ours})") == []
        lines = f"'{tmp_path}/ours/*/lines.parquet'"
        kinds = rows(f"SELECT kind FROM {lines} UNION SELECT kind FROM '{tmp_path}/ours/*/held.parquet' ORDER BY 1")
        bounds = rows(
            f"SELECT kind, bool_or(instance_id IS NULL), bool_or(instance_id <> '') FROM {lines} "
            "WHERE kind IN ('cap', 'floor') GROUP BY 1 ORDER BY 1"
        )
        most = rows(f"SELECT max(piece), max(band), max(version) FROM {lines}")
    expected = ["cap", "commission", "excluded", "floor", "netted", "no_rule", "unlinked_refund"]
    assert [kind for (kind,) in kinds] == expected
    assert bounds == [("cap", True, True), ("floor", True, None)]
    assert most == [(1, 3, 2)]


def test_what_the_two_write_is_compared(tmp_path: Path) -> None:
    for whose, amount in (("ours", "1.00"), ("bare", "1.01")):
        folder = tmp_path / whose / "aurora"
        folder.mkdir(parents=True)
        for name in ("lines", "held"):
            duckdb.sql(
                f"COPY (SELECT 'commission' AS kind, 2.5 AS basis, {amount} AS amount) TO '{folder}/{name}.parquet'"
            )

    with pytest.raises(AssertionError, match=r"aurora', 'commission'.*1\.00.*1\.01"):
        settle._compare(tmp_path)


@pytest.mark.parametrize("lines", ["1999", "5000001", "0"])
def test_a_month_of_no_such_length_is_refused_before_anything_is_measured(
    lines: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(settle, "measure", None)

    with pytest.raises(SystemExit) as refused:
        main(["bench", "settle", "--lines", lines])

    assert refused.value.code == 1
    assert f"--lines: has {lines}; give 2000 to 5000000" in capsys.readouterr().err
