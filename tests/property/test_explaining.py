"""Random small months, each line of them explained: whatever is worked out again leads to what the engine came to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings

from shared.bill.line import COLUMNS
from shared.columnar import connect, insert, quoted
from shared.parties.parties import Assignment
from shared.settlement import engine, lines
from shared.settlement.share import Share
from shared.settlement.statement import statements
from shared.steps.explaining import kept as kept_files
from shared.steps.explaining.kept import Kept
from shared.steps.explaining.lines import line_facts
from shared.steps.explaining.words import words
from tests.property.test_settlement import EXAMPLES, MONTHS, months, scaled_months
from tests.reference.compare import Inputs

FEWER = settings(MONTHS, max_examples=max(1, EXAMPLES // 3))  # each line is a dozen questions


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("spill"), memory_mb=512, threads=1) as opened:
        yield opened


@dataclass(frozen=True, slots=True)
class Settled(Kept):
    """A settlement whose files lie in a folder."""

    at: Path = Path()

    def source(self, name: str = "lines") -> str:
        return kept_files.parquet([str(self.at / f"{name}.parquet")])

    def parts(self, day: str | None = None, payer: str | None = None) -> str:
        return kept_files.parquet([str(self.at / "bill.parquet")])

    def seal(self, payer: str) -> None:
        return None


def settled(connection: duckdb.DuckDBPyConnection, inputs: Inputs, share: Share, at: Path) -> Settled:
    """The month as a share of it is settled and kept."""
    lines.load_lines(connection, inputs.bill)
    found = engine.settle(connection, share)
    engine.write(connection, at / "lines.parquet", at / "held.parquet")
    typed = ", ".join(f"{name} {type_}" for name, type_ in COLUMNS.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE whole ({typed})")
    rows = [[json.dumps(value) if isinstance(value, dict) else value for value in map(one.get, COLUMNS)]
            for one in inputs.bill]  # fmt: skip
    insert(connection, "whole", rows, len(COLUMNS))
    connection.execute(f"COPY whole TO {quoted(str(at / 'bill.parquet'))} (FORMAT parquet)")
    days = {str(one["date"]): "part" for one in inputs.bill}
    manifest = {"bills": {"1": days}, "assignments": list(map(_listed, inputs.assignments)), "classes": [], "rates": ""}
    made = [one.as_json() for one in statements(found.groups, share.agreements, inputs.cycle)]
    # Nothing is asked of services where no document is read.
    services: Any = SimpleNamespace()
    cycle, summary = str(inputs.cycle), {"statements": made}
    return Settled(services, connection, cycle, share.owner, "s", [], manifest, summary, share.agreements, at)


def _listed(one: Assignment) -> list[object]:
    return [one.account, str(one.begins), one.ends and str(one.ends), one.customer, one.reseller, one.how]


def explain_all(connection: duckdb.DuckDBPyConnection, inputs: Inputs, at: Path) -> None:
    """Explain every line in every share; each must be in one at least."""
    explained = set()
    for share in inputs.shares():
        kept = settled(connection, inputs, share, at)
        for line in kept.ask(f"SELECT * FROM {kept.parts()}"):
            found = line_facts(kept, "1", line)
            if found is not None:
                explained.add(line["line_id"])
                assert words(json.loads(json.dumps(found)))
    assert explained == {one["line_id"] for one in inputs.bill}


@FEWER
@given(inputs=months())
def test_every_line_of_a_month_is_explained(
    connection: duckdb.DuckDBPyConnection, inputs: Inputs, tmp_path: Path
) -> None:
    explain_all(connection, inputs, tmp_path)


@FEWER
@given(inputs=scaled_months())
def test_every_climb_of_a_scale_is_explained(
    connection: duckdb.DuckDBPyConnection, inputs: Inputs, tmp_path: Path
) -> None:
    explain_all(connection, inputs, tmp_path)
