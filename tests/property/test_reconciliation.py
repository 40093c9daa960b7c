"""Random months reconcile to nothing, and whatever single figure of them is changed is found, with its line.

The months are those of `packs`, settled by the engine as the steps do, three that follow each other; CLEARBOOK_EXAMPLES
sets how many packs are tried.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import given

from shared.columnar import connect
from shared.ids import canonical_json
from shared.reconciliation import placing, summing
from shared.reconciliation.difference import Difference
from shared.settlement import engine, lines
from shared.steps import results
from tests.property.packs import lives, pack
from tests.property.test_many_lives import PACKS, SEEDS
from tests.property.test_settlement import write_part
from tests.reference.compare import Inputs, _looking_back, load_posted

CHANGES = 8


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("spill"), memory_mb=512, threads=1) as opened:
        yield opened


class Written:
    """A month on disk: its bill, and of each share the files and the summary."""

    def __init__(self, folder: Path, inputs: Inputs) -> None:
        self.inputs, self.part = inputs, folder / "part.parquet"
        self.shares: list[placing.Share] = []
        self.summaries: dict[str, dict[str, Any]] = {}

    def found(self, connection: duckdb.DuckDBPyConnection) -> list[Difference]:
        """Everything that differs."""
        found = []
        for share in self.shares:
            summary = self.summaries[share.owner]
            found += summing.of_summary(summary, share.owner)
            found += summing.of_files(connection, share.owner, share.lines, share.held, summary, None)
        placing.load(connection, [str(self.part)], self.shares, str(self.inputs.cycle))
        groups = placing.groups(connection)
        found += placing.differences(connection, None)
        left = [one.places["unexplained"] for one in groups if one.places["unexplained"]]
        assert found or not left, "what is left unexplained is a difference"
        return found


def settle(connection: duckdb.DuckDBPyConnection, months: Sequence[Inputs], folder: Path) -> list[Written]:
    """The months, each settled and written as `settle` does it, and locked before the next."""
    posted: dict[str, list[tuple[Any, ...]]] = {}
    written = []
    for number, inputs in enumerate(months):
        into = folder / str(inputs.cycle)
        into.mkdir(parents=True)
        month = Written(into, inputs)
        own = [row for row in inputs.bill if row["cycle"] == str(inputs.cycle)]
        write_part(connection, own, month.part)
        rates = {(of, to): rate for (cycle, of, to), rate in inputs.rates.items() if cycle == str(inputs.cycle)}
        for plain in inputs.shares():
            before = posted.setdefault(plain.owner, [])
            share = _looking_back(inputs, plain, [one.cycle for one in months[:number]], before)
            lines.load_lines(connection, inputs.bill)
            load_posted(connection, before)
            settled = engine.settle(connection, share)
            paths = [into / f"{share.owner}-{name}" for name in (results.LINES, results.HELD)]
            engine.write(connection, *paths)
            before += connection.execute(f"SELECT {', '.join(engine.LINE_COLUMNS)} FROM settled").fetchall()
            terms = [placing.Terms(one.id, one.version, one.basis, one.currency) for one in share.agreements]
            month.shares.append(placing.Share(share.owner, str(paths[0]), str(paths[1]), terms, rates))
            month.summaries[share.owner] = json.loads(canonical_json(results.summary_of(share, settled, "0" * 64)))
        written.append(month)
    return written


@PACKS
@given(seed=SEEDS)
def test_a_settled_month_leaves_nothing_unexplained(
    connection: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    for month in settle(connection, pack(lives(seed, range(80), 2), 2), tmp_path_factory.mktemp("months")):
        assert month.found(connection) == []


@PACKS
@given(seed=SEEDS)
def test_any_single_figure_that_is_changed_is_found_and_its_line_is_named(
    connection: duckdb.DuckDBPyConnection, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    random = Random(seed)  # noqa: S311 - no secret
    folder = tmp_path_factory.mktemp("months")
    [month] = settle(connection, pack(lives(seed, range(60), 1), 1), folder)
    files = [("part", str(month.part), "pretax, gross, payment")]
    for share in month.shares:
        files += [("lines", share.lines, "basis"), ("lines", share.lines, "amount"), ("held", share.held, "basis")]
    for number in range(CHANGES):
        what, path, column = files[number % len(files)]
        change = random.choice([Decimal("0.0000000001"), Decimal(-1), Decimal("1000000")])
        line = change_one(connection, path, column, change, random, str(month.inputs.cycle))
        if line is None:
            continue
        found = month.found(connection)
        assert found, f"{what}: {column} of {line or 'a line of no bill line'} by {change}"
        if line:
            assert any(line in one.lines for one in found), f"{what}: {column} of {line} by {change}: {found}"
        Path(path + ".was").rename(path)
        assert month.found(connection) == []


def change_one(
    connection: duckdb.DuckDBPyConnection, path: str, column: str, change: Decimal, random: Random, cycle: str
) -> str | None:
    """Change a figure of one row of a file, or several alike; its line, or None where the file has no row."""
    columns = column.split(", ")
    rows = connection.execute(
        f"SELECT file_row_number, line_id FROM read_parquet('{path}', file_row_number = true) "
        f"WHERE {' + '.join(columns)} IS NOT NULL AND cycle = '{cycle}' ORDER BY 1"
    ).fetchall()
    if not rows:
        return None
    number, line = random.choice(rows)
    changes = ", ".join(
        f"CASE WHEN file_row_number = {number} THEN {c} + {change:f} ELSE {c} END AS {c}" for c in columns
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE changed AS SELECT * EXCLUDE (file_row_number) REPLACE ({changes}) "
        f"FROM read_parquet('{path}', file_row_number = true)"
    )
    Path(path).rename(path + ".was")
    connection.execute(f"COPY changed TO '{path}' (FORMAT parquet)")
    return str(line or "")
