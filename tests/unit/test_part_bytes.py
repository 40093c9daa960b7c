"""A part is named by its bytes, so the same lines must be the same bytes however they came."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import duckdb
import pytest

from shared.bill import parts
from shared.bill.normalise import Reading
from shared.ids import Digest
from shared.steps import splitting
from tests.unit.test_bill_files_odd import HEADERS, PAYER, row

LINES = 70_000  # more than a group of rows, and than what is worked on at a time


def built(folder: Path, rows: list[str], threads: int, memory_mb: int) -> Digest:
    """The name of the part of these rows."""
    folder.mkdir()
    path = folder / "file"
    path.write_text("\n".join([",".join(HEADERS), *rows, ""]))
    with duckdb.connect(config={"threads": threads, "memory_limit": f"{memory_mb}MB"}) as connection:
        connection.execute(f"SET temp_directory = '{folder}'")
        found = splitting.split(
            connection, path, "bill.csv", lambda form: Reading(form, "negative", PAYER, "", "", "CNY"), folder
        )
        [place] = (splitting.place_of(*one) for one in found.counts)
        target = parts.Target(folder / "part", folder / "trace")
        part = parts.build(connection, found.lines, found.form.tags, [], {place: target})[place].part
    assert part.rows == len(rows)
    assert part.digest == hashlib.sha256(target.part.read_bytes()).hexdigest()
    return part.digest


@pytest.mark.parametrize(("threads", "memory_mb"), [(1, 1024), (4, 300)])
def test_neither_order_nor_threads_nor_memory_change_a_part(tmp_path: Path, threads: int, memory_mb: int) -> None:
    rng = random.Random(5)  # noqa: S311 - an order, not a secret
    rows = [
        row(Pretax=f"{rng.randrange(10**6)}.{rng.randrange(10**4):04}", Instance_Name=f"name {rng.randrange(50)}")
        for _ in range(LINES)
    ]
    rows += rows[:500]  # equal lines are lines of their own
    first = built(tmp_path / "first", rows, 2, 1024)
    rng.shuffle(rows)

    assert built(tmp_path / "second", rows, threads, memory_mb) == first
