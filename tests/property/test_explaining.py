"""Random small months, each line of them explained: whatever is worked out again leads to what the engine came to."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings

from shared.bill.line import COLUMNS
from shared.columnar import connect, insert, quoted
from shared.parties.parties import OPERATOR, STREAM, Assignment
from shared.settlement import engine, lines
from shared.settlement.share import Share
from shared.settlement.statement import statements
from shared.steps import state
from shared.steps.explaining import kept as kept_files
from shared.steps.explaining.kept import Kept, looking_back_to, opened, plain
from shared.steps.explaining.lines import UNDO, line_facts
from shared.steps.explaining.since import with_what_came_since
from shared.steps.explaining.words import words
from tests.property.test_lives import LIVES, lives
from tests.property.test_lives_in_steps import PAYER, Books, classes_of
from tests.property.test_settlement import EXAMPLES, MONTHS, months, scaled_months
from tests.reference.compare import Inputs

FEWER = settings(MONTHS, max_examples=max(1, EXAMPLES // 6))  # each line is a dozen questions


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
    manifest |= {"earlier": {}, "locked": {}, "adjustments": [], "closed": [], "links": []}
    made = [one.as_json() for one in statements(found.groups, share.agreements, inputs.cycle)]
    # Nothing is asked of services where no document is read.
    services: Any = SimpleNamespace()
    cycle, summary = str(inputs.cycle), {"statements": made}
    return Settled(services, connection, cycle, share.owner, "s", [], manifest, summary, share.agreements, at=at)


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


# -- months that follow each other ----------------------------------------------------------------------------------


@settings(LIVES, max_examples=max(1, EXAMPLES // 6))
@given(months=lives())
def test_every_line_of_months_that_follow_each_other_is_explained(
    connection: duckdb.DuckDBPyConnection, months: list[Inputs]
) -> None:
    """As settled, and with all that later months posted for it; in each month, by what was locked until then."""
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for books, cycles in lived(patch, Path(folder) / "cloud", months):
            for owner in (OPERATOR, "aurora"):
                for cycle in cycles:
                    kept = opened(books.services, connection, cycle, owner)
                    if kept is not None:
                        explain_looks(books, kept)


def lived(patch: pytest.MonkeyPatch, folder: Path, months: Sequence[Inputs]) -> Iterator[tuple[Books, Sequence[str]]]:
    """The books after each month of a life that is settled and locked, and the cycles of which something is."""
    months = [replace(one, adjustments=(), openings={}, classes=classes_of(one)) for one in months]
    books = Books(patch, folder)
    books.decide(state.PARTY_DOCUMENT, STREAM, {"document": ""})
    books.decide("go_live", "reseller/aurora", {})
    cycles: list[str] = []
    for inputs in months:
        books.inputs = inputs
        for one in (earlier.cycle for earlier in months if earlier.cycle <= inputs.cycle):
            books.seal(one, [line for line in inputs.bill if line["cycle"] == str(one)])
        settled = [books.settle(owner, inputs.cycle) for owner in (OPERATOR, "aurora")]
        if None in settled:
            return  # nothing of it is locked: once it holds something, that month is settled first
        cycles.append(str(inputs.cycle))
        kept = settled[-1]
        assert kept is not None
        books.decide("lock", "reseller/aurora", {"cycle": kept.cycle, "settlement": kept.settlement, "calculated": 0})
        yield books, cycles


def explain_looks(books: Books, kept: Kept) -> None:
    """Explain every line that is known of a month of a share, and whatever its statements say."""
    posted: dict[str, Decimal] = {}
    for one in (kept, *looking_back_to(kept)):
        where = "cycle = $cycle AND line_id <> '' GROUP BY line_id"
        query = f"SELECT line_id, sum(amount) AS amount FROM {one.source()} WHERE {where}"
        for row in one.ask(query, cycle=kept.cycle):
            posted[row["line_id"]] = posted.get(row["line_id"], Decimal(0)) + row["amount"]
    told = {}
    for line in books.inputs.bill:
        if line["cycle"] == kept.cycle:
            row = {name: plain(line.get(name)) for name in COLUMNS} | {"payer": PAYER}
            seen = kept.bill_line(row)
            found = line_facts(kept, PAYER, seen) if seen is not None else None
            found = with_what_came_since(kept, row, seen, found)
            if found is not None:
                told[line["line_id"]] = dict(json.loads(json.dumps(found)))
                assert words(told[line["line_id"]])
    for line_id, amount in posted.items():
        if line_id in told and "now" in told[line_id] and told[line_id]["line"]["kind"] not in UNDO:
            assert Decimal(told[line_id]["now"]["total"]) == amount
    assert [one for one, amount in posted.items() if amount and one not in told and one in of_bill(books, kept)] == []


def of_bill(books: Books, kept: Kept) -> set[str]:
    """The lines that the bill of the month has."""
    return {str(line["line_id"]) for line in books.inputs.bill if line["cycle"] == kept.cycle}
