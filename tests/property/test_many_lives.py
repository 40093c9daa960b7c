"""Many small lives at once: the engine against the reference model, and what must hold whatever the life.

A failure names the lives at fault; `pack(lives(SEED, [NUMBER]))` is one of them by itself. CLEARBOOK_EXAMPLES sets how
many packs each test tries, of a hundred lives or more each.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.agreement.agreement import ORIGINAL, PER_LINE, PER_UNIT, RERATE, Agreement, Refunds
from shared.columnar import connect, insert
from shared.parties.parties import OPERATOR
from shared.settlement import engine, lines
from tests.property.packs import CYCLES, Life, lives, pack, undone, with_versions
from tests.property.test_settlement import write_part
from tests.reference.compare import Inputs, Line, Outcome, life_by_engine, life_by_model

EXAMPLES = int(os.environ.get("CLEARBOOK_EXAMPLES", "1"))
PACKS = settings(
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # there is nothing to shrink in a seed
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
SEEDS = st.integers(0, 2**32 - 1)
MANY = range(60)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("spill"), memory_mb=512, threads=1) as opened:
        yield opened


# --- the engine against the model ---------------------------------------------------------------------------


@settings(PACKS, max_examples=17 * EXAMPLES)
@given(seed=SEEDS)
def test_engine_and_model_settle_many_months_alike(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    _settle_alike(connection, pack(lives(seed, range(500), 1), 1))


@PACKS
@given(seed=SEEDS)
def test_engine_and_model_settle_many_lives_alike(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    _settle_alike(connection, pack(lives(seed, range(200))))


def _settle_alike(connection: duckdb.DuckDBPyConnection, months: Sequence[Inputs]) -> None:
    by_engine = life_by_engine(connection, months)
    for mine, theirs in zip(by_engine, life_by_model(months), strict=True):
        assert mine.differences(theirs) == []
    for outcome in by_engine:
        _statements_add_up(outcome)


def _statements_add_up(outcome: Outcome) -> None:
    """I8: a statement's lines are its total to the last digit, and what they show is what was settled."""
    shown: Counter[tuple[str, str]] = Counter()
    exact: Counter[str] = Counter()
    for entry in outcome.entries:
        shown[entry.owner, entry.agreement] += entry.rounded  # type: ignore[assignment]
        exact[entry.agreement] += entry.exact  # type: ignore[assignment]
    for line in outcome.lines.elements():
        if line.agreement is not None:
            exact[line.agreement] -= line.amount  # type: ignore[assignment]
    assert {key: value for key, value in outcome.totals.items() if shown[key] != value} == {}
    assert {key: value for key, value in exact.items() if value != 0} == {}


# --- I1: every line in one place ----------------------------------------------------------------------------


@PACKS
@given(seed=SEEDS)
def test_every_line_is_in_exactly_one_place_in_the_newest_settlement(
    connection: duckdb.DuckDBPyConnection, seed: int
) -> None:
    made = lives(seed, MANY)
    on_pretax = [with_versions(life, lambda one: replace(one, basis="pretax")) for life in made]
    newest = pack([replace(life, bill=[{**row, "currency": "CNY"} for row in life.bill]) for life in on_pretax])[-1]

    found: Counter[str] = Counter()
    owners: dict[tuple[str, int], set[str]] = {}
    for owner, rows in _due(connection, newest).items():
        for line_id, piece, basis in rows:
            found[line_id] += basis
            owners.setdefault((line_id, piece), set()).add(owner)

    assert {row["line_id"]: row["pretax"] for row in newest.bill if row["pretax"] != 0} == {
        line_id: basis for line_id, basis in found.items() if basis != 0
    }
    assert {line_id for line_id, _ in owners} == {row["line_id"] for row in newest.bill}
    assert [place for place, ones in owners.items() if len(ones) > 1] == []


def _due(connection: duckdb.DuckDBPyConnection, newest: Inputs) -> dict[str, list[Any]]:
    """Each share's bearing lines and cases of all cycles, as the newest settlement looks at them."""
    found = {}
    for share in newest.shares():
        _settle_all(connection, newest, share.owner)
        found[share.owner] = connection.execute(
            "SELECT line_id, piece, basis FROM due WHERE kind IN ('commission', 'netted', 'excluded', 'direct', "
            "'own_use') UNION ALL SELECT line_id, piece, basis FROM held"
        ).fetchall()
    return found


def _settle_all(connection: duckdb.DuckDBPyConnection, newest: Inputs, owner: str) -> engine.Settled:
    """The newest month, looking back to all before as if nothing of them had been posted."""
    lines.load_lines(connection, newest.bill)
    _post_nothing(connection)
    return engine.settle(connection, newest.share(owner, CYCLES[:-1]))


def _post_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    typed = ", ".join(f"{name} {type_}" for name, type_ in engine.LINE_TYPES.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE posted ({typed})")
    insert(connection, "posted", [], len(engine.LINE_COLUMNS))


# --- I2: charges and their whole refunds --------------------------------------------------------------------


@PACKS
@pytest.mark.parametrize(("later", "take_back"), [(False, ORIGINAL), (False, RERATE), (True, RERATE)])
@given(seed=SEEDS)
def test_charges_and_their_whole_refunds_leave_the_lives_as_they_were(
    connection: duckdb.DuckDBPyConnection, later: bool, take_back: str, seed: int
) -> None:
    netting = Refunds(take_back, is_same_month_netted=True, window_days=None)
    without, undoings, charged = _undone_lives(seed, netting, later)

    expected = life_by_engine(connection, pack(without))
    found = life_by_engine(connection, pack(charged))

    others = _sums(found, lambda line: line.line_id not in undoings)
    assert _unlike(others, _sums(expected)) == []
    assert _sums(found, lambda line: line.line_id in undoings) == {}
    assert _open(found) == _open(expected)


@PACKS
@given(seed=SEEDS)
def test_refunds_of_a_later_month_take_back_exactly_what_their_charges_earned(
    connection: duckdb.DuckDBPyConnection, seed: int
) -> None:
    _, undoings, charged = _undone_lives(seed, Refunds(ORIGINAL), later=True)
    # What is earned once for several lines comes back when none of them is left, and bounds share among lines.
    simple = [life for life in charged if all(_earns_by_line(one) for one in life.versions)]
    assert len(simple) > len(charged) // 3

    found = life_by_engine(connection, pack(simple))

    for life in simple:
        ids = {row["line_id"] for row in life.bill} & undoings
        mine = [line for outcome in found for line in outcome.lines.elements() if line.line_id in ids]
        assert sum(line.amount for line in mine) == 0, life.name


def _earns_by_line(version: Agreement) -> bool:
    per = {rule.earn.per for rule in version.rules if rule.earn.fixed is not None}
    is_raised = any(scale.is_retroactive for scale in version.scales.values())
    is_bounded = version.bounds or any(rule.bounds for rule in version.rules)
    return not is_bounded and not is_raised and per <= {PER_LINE, PER_UNIT}


def _undone_lives(seed: int, refunds: Refunds, later: bool) -> tuple[list[Life], set[str], list[Life]]:
    """Lives; the ids of charges and refunds that undo each other; and the lives with these."""
    without, undoings, charged = [], set(), []
    # A charge of a day without a version has no `take_back`; its case stands, whatever is refunded later.
    began = date(2026, 1, 1)
    for life in lives(seed, MANY):
        first, *others = life.versions
        began_before = replace(life, versions=[replace(first, begins=min(first.begins, began)), *others])
        plain = with_versions(began_before, lambda one: replace(one, refunds=refunds, holdback=None))
        rows = undone(seed, plain, in_month=Random(seed).randrange(len(CYCLES) - later), later=later)  # noqa: S311
        without.append(plain)
        undoings |= {row["line_id"] for row in rows}
        charged.append(replace(plain, bill=[*rows, *plain.bill]))
    return without, undoings, charged


def _sums(months: Sequence[Outcome], wanted: Callable[[Line], bool] = lambda line: True) -> dict[Any, Fraction]:
    """What was posted in all months together for each thing that can be due, where it is not 0."""
    found: dict[Any, Fraction] = {}
    for outcome in months:
        for line, count in outcome.lines.items():
            if wanted(line):
                kind = line.corrects if line.kind == "adjustment" else line.kind
                whose = (line.owner, line.customer, line.product, line.agreement, line.version, line.rule, line.band)
                key = (line.cycle, line.line_id, kind, *whose, line.account, line.instance)
                found[key] = found.get(key, Fraction(0)) + count * line.amount
    return {key: value for key, value in found.items() if value != 0}


def _unlike(left: dict[Any, Fraction], right: dict[Any, Fraction]) -> list[object]:
    return [(key, left.get(key), right.get(key)) for key in sorted(left.keys() | right.keys(), key=str)
            if left.get(key) != right.get(key)]  # fmt: skip


def _open(months: Sequence[Outcome]) -> Counter[Any]:
    """What waits for a person in the end."""
    return months[-1].cases


# --- I3: order, files and late arrival ----------------------------------------------------------------------


@PACKS
@given(seed=SEEDS)
def test_whenever_lines_arrive_the_same_is_posted_in_the_end(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    unheld = [with_versions(life, lambda one: replace(one, holdback=None)) for life in lives(seed, MANY)]
    cycles = [str(cycle) for cycle in CYCLES]
    at_once = [
        replace(life, bill=[{**row, "arrives": cycles.index(row["cycle"])} for row in life.bill]) for life in unheld
    ]

    late, known = life_by_engine(connection, pack(unheld)), life_by_engine(connection, pack(at_once))

    assert _unlike(_sums(late), _sums(known)) == []
    assert _open(late) == _open(known)


@PACKS
@given(seed=SEEDS)
def test_order_and_files_change_no_byte_of_lives(
    connection: duckdb.DuckDBPyConnection, tmp_path: Path, seed: int
) -> None:
    newest = pack(lives(seed, MANY))[-1]
    shuffled = Random(seed).sample(newest.bill, len(newest.bill))  # noqa: S311 - no secret
    whole, parts = tmp_path / "whole.parquet", [tmp_path / f"part-{n}.parquet" for n in range(5)]
    write_part(connection, newest.bill, whole)
    for number, path in enumerate(parts):
        write_part(connection, shuffled[number::5], path)

    for owner in ("aurora", OPERATOR):
        once = _written(connection, [whole], newest, owner, tmp_path)
        assert _written(connection, parts, newest, owner, tmp_path) == once


def _written(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Path], newest: Inputs, owner: str, folder: Path
) -> tuple[bytes, bytes, str]:
    share = newest.share(owner, CYCLES[:-1])
    lines.load_parts(connection, [str(path) for path in parts], share)
    _post_nothing(connection)
    settled = engine.settle(connection, share)
    found, held = folder / "lines.parquet", folder / "held.parquet"
    engine.write(connection, found, held)
    return found.read_bytes(), held.read_bytes(), settled.digest


# --- I8: exactness ------------------------------------------------------------------------------------------


def test_no_table_of_the_engine_holds_a_number_that_is_not_exact(connection: duckdb.DuckDBPyConnection) -> None:
    newest = pack(lives(1, MANY))[-1]
    _settle_all(connection, newest, "aurora")

    columns = connection.execute("SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE NOT internal")

    kinds = {(table, column): type_ for table, column, type_ in columns.fetchall()}
    assert {place for place, type_ in kinds.items() if "DOUBLE" in type_ or "FLOAT" in type_} == set()
    assert {kinds["settled", name].partition("(")[0] for name in ("basis", "rate", "amount")} == {"DECIMAL"}
