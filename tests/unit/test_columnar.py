"""How much DuckDB is allowed: by what is to be settled, at each use."""

from __future__ import annotations

from collections import Counter
from datetime import date
from pathlib import Path

import pytest

from shared.bill.line import COLUMNS
from shared.columnar import connect
from shared.cycle import Cycle
from shared.parties.parties import OPERATOR, Assignment
from shared.settlement import engine, lines
from shared.settlement.share import Share

JUNE = Cycle.parse("2025-06")


def held(account: str, reseller: str | None, begins: date = JUNE.first) -> Assignment:
    """An account of a reseller, or the operator's own."""
    return Assignment(account, None, reseller, "reseller" if reseller else "own_use", begins, None)


# "moved" is aurora's from the 16th on: until then it is the operator's to explain.
EVERYONE = [
    held("one", "aurora"),
    held("two", "borealis"),
    held("moved", "aurora", date(2025, 6, 16)),
    held("own", None),
]
BILL = ["one", "one", "two", "moved", "own", "unknown"]


@pytest.mark.parametrize(("owner", "count"), [("aurora", 3), ("borealis", 1), (OPERATOR, 3)])
def test_the_lines_told_by_a_snapshot_are_those_that_are_loaded(tmp_path: Path, owner: str, count: int) -> None:
    share, part = Share(owner, JUNE, EVERYONE, []), tmp_path / "part.parquet"

    with connect(tmp_path, 256, 1) as connection:
        columns = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
        connection.execute(f"CREATE TEMP TABLE made ({columns})")
        connection.execute("INSERT INTO made (account) SELECT unnest(?::VARCHAR[])", [BILL])
        connection.execute(f"COPY made TO '{part}' (FORMAT parquet)")
        lines.load_parts(connection, [str(part)], share)
        [(loaded,)] = connection.execute("SELECT count(*) FROM bill").fetchall()

    assert lines.count_lines(share, [Counter(BILL)]) == loaded == count


@pytest.mark.parametrize(("count", "allowed_mb"), [(0, 256), (100_000, 256), (300_000, 450), (5_000_000, 2048)])
def test_a_settlement_is_allowed_memory_by_its_lines_up_to_what_the_function_has(count: int, allowed_mb: int) -> None:
    assert engine.memory_mb(count, at_most_mb=2048) == allowed_mb


def test_a_small_function_keeps_its_own_limit() -> None:
    assert engine.memory_mb(0, at_most_mb=128) == 128


def test_each_use_sets_its_own_limit(tmp_path: Path) -> None:
    limits = []
    for memory_mb in (1000, 300, 1000):
        with connect(tmp_path, memory_mb, 1) as connection:
            limits += connection.execute("SELECT current_setting('memory_limit')").fetchall()

    assert limits[0] == limits[2] == ("953.6 MiB",)
    assert limits[1] == ("286.1 MiB",)
