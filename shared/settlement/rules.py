"""What the basis of a line is, and which condition of its version it meets first.

Tables, in the order they are made: `based` (items with basis and problem), `matched` (the first condition).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import Agreement
from shared.agreement.matching import Condition, compile_condition, first_met
from shared.bill.line import AMOUNT
from shared.columnar import insert
from shared.parties.parties import OPERATOR
from shared.settlement.lines import DESCRIPTIVE, Share, basis_sql

if TYPE_CHECKING:
    import duckdb

_NEVER = 1_000_000  # more than any document's conditions
_CHUNK = 50_000


def base(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `based`: items with their basis `net` and their problem, if any.

    A charge netted to zero is `is_gone`: absent from all that follows, and in no case.
    """
    if share.owner == OPERATOR:
        unowned = "how IS NULL AND other_line IS NULL THEN 'unmapped_account'"
    else:
        unowned = "number IS NULL AND NOT is_undo THEN 'no_agreement'"
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE based AS
            WITH seen AS (SELECT *, is_netted AND pretax = 0 AS is_gone FROM item)
            SELECT * EXCLUDE (problem), CAST({basis_sql("seen")} AS {AMOUNT}) AS net,
                CASE WHEN is_gone THEN NULL
                     WHEN problem IS NOT NULL THEN problem
                     WHEN {unowned}
                     WHEN is_undo THEN NULL
                     WHEN pays <> currency THEN 'no_fx_rate'
                     WHEN {basis_sql("seen")} IS NULL THEN 'missing_value' END AS problem
            FROM seen"""  # noqa: S608
    )


def match(connection: duckdb.DuckDBPyConnection, agreements: Sequence[Agreement]) -> None:
    """Make `matched`: for each item that a rule may own, the first condition it meets, and whether that is bad."""
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW candidate AS SELECT line_id, number, customer, {', '.join(DESCRIPTIVE)} "  # noqa: S608
        "FROM based WHERE number IS NOT NULL AND problem IS NULL AND NOT is_undo AND NOT is_gone"
    )
    connection.execute("CREATE OR REPLACE TEMP TABLE matched (line_id VARCHAR, condition INTEGER, is_bad BOOLEAN)")
    for number, agreement in enumerate(agreements):
        texts = [one.when for one in agreement.exclusions] + [one.when for one in agreement.rules]
        _match_version(connection, number, [compile_condition(when) for when in texts])


def _match_version(connection: duckdb.DuckDBPyConnection, number: int, conditions: list[Condition]) -> None:
    """Try the conditions once per distinct value of the fields they read, then join the earliest back.

    Conditions that read the same fields are tried together; a line's first condition is the least over the sets.
    """
    by_fields: dict[tuple[str, ...], list[tuple[int, Condition]]] = {}
    for index, condition in enumerate(conditions):
        by_fields.setdefault(condition.fields, []).append((index, condition))
    joins, firsts = [], [str(_NEVER)]
    for index, (fields, group) in enumerate(sorted(by_fields.items())):
        table = f"met_{index}"
        _try_distinct(connection, number, table, fields, group)
        same = " AND ".join(f"{table}.{field} IS NOT DISTINCT FROM {_column(field)}" for field in fields) or "true"
        joins.append(f"LEFT JOIN {table} ON {same}")
        firsts.append(f"coalesce({table}.first, {_NEVER})")
    connection.execute(
        f"""INSERT INTO matched SELECT line_id, first // 2, first % 2 = 1
            FROM (SELECT c.line_id, least({", ".join(firsts)}) AS first
                  FROM candidate c {" ".join(joins)} WHERE c.number = ?)
            WHERE first < {_NEVER}""",  # noqa: S608
        [number],
    )


def _try_distinct(
    connection: duckdb.DuckDBPyConnection,
    number: int,
    table: str,
    fields: tuple[str, ...],
    group: list[tuple[int, Condition]],
) -> None:
    """Make `table`: the first condition of the group that each distinct value meets, as 2 × its place + is bad."""
    columns = ", ".join([*(f"{field} VARCHAR" for field in fields), "first INTEGER"])
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({columns})")
    select = ", ".join(f"{_column(field)} AS {field}" for field in fields) or "1"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE distinct_value AS SELECT *, row_number() OVER () AS place "  # noqa: S608
        f"FROM (SELECT DISTINCT {select} FROM candidate c WHERE c.number = ?)",
        [number],
    )
    chunk = "SELECT * EXCLUDE (place) FROM distinct_value WHERE place > ? AND place <= ?"
    begin = 0
    while values := connection.execute(chunk, [begin, begin + _CHUNK]).fetchall():
        begin += _CHUNK
        rows: list[tuple[object, ...]] = []
        for row in values:
            line = {field: _field(field, value) for field, value in zip(fields, row, strict=False)}
            met = first_met(group, line)
            if met is not None:
                rows.append((*row[: len(fields)], 2 * met[0] + met[1]))
        insert(connection, table, rows, len(fields) + 1)


def _column(field: str) -> str:
    # Customer classes come with dated rules of their own; until then no customer has one.
    return "CAST(NULL AS VARCHAR)" if field == "customer_class" else f"c.{field}"


def _field(field: str, value: Any) -> object:
    return json.loads(value) if field == "tags" and value is not None else value
