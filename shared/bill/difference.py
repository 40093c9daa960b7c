"""How two bills of one account and cycle differ: line by line, or in sums where their lines have other names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.bill.line import AMOUNTS, COLUMNS, columns
from shared.columnar import quoted
from shared.money import text

if TYPE_CHECKING:
    import duckdb

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
KEPT_MAX = 1000  # differences that a comparison names; the counts and sums are of all
_NAMED = ("line_id", "account", "date", "product_code", "billing_item_code", "instance_id", "kind", "currency")
_GROUP = ("account", "product_code", "date", "currency")


@dataclass(frozen=True, slots=True)
class Change:
    """A line that one bill has and the other has not, or has otherwise."""

    how: str
    line: dict[str, str]  # what names it
    before: dict[str, str]  # column -> text, of what changed; of a removed line its amounts
    after: dict[str, str]


def relation(paths: Sequence[str]) -> str:
    """SQL for the lines of these parts; a column that a part was written without is absent from its lines."""
    typed = ", ".join(f"NULL::{type_} AS {name}" for name, type_ in COLUMNS.items())
    lines = [f"SELECT {typed} WHERE false"]
    if paths:
        listed = ", ".join(quoted(path) for path in paths)
        lines.append(f"SELECT * FROM read_parquet([{listed}], union_by_name = true)")  # noqa: S608
    return f"(SELECT {columns()} FROM ({' UNION ALL BY NAME '.join(lines)}))"  # noqa: S608


def same(one: str, other: str) -> str:
    """SQL for whether a line of `one` says what a line of `other` says, in every column."""
    return " AND ".join(f"{one}.{name} IS NOT DISTINCT FROM {other}.{name}" for name in COLUMNS)


def lines(connection: duckdb.DuckDBPyConnection, old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    """Every line that was added, removed or changed between the parts `old` and `new`, in order."""
    names = list(COLUMNS)
    both = ", ".join(f"CAST({side}.{name} AS VARCHAR)" for side in ("o", "n") for name in names)
    cursor = connection.cursor().execute(
        f"SELECT {both} FROM {relation(old)} o FULL JOIN {relation(new)} n USING (line_id) "  # noqa: S608
        f"WHERE NOT ({same('o', 'n')}) "
        "ORDER BY coalesce(n.date, o.date), coalesce(n.account, o.account), line_id"
    )
    while batch := cursor.fetchmany(1000):
        for row in batch:
            yield _change(
                dict(zip(names, row[: len(names)], strict=True)), dict(zip(names, row[len(names) :], strict=True))
            )


def _change(before: dict[str, Any], after: dict[str, Any]) -> Change:
    how = ADDED if before["line_id"] is None else REMOVED if after["line_id"] is None else CHANGED
    there = before if how == REMOVED else after
    shown = [name for name in COLUMNS if before[name] != after[name]] if how == CHANGED else list(AMOUNTS)
    line = {name: there[name] for name in _NAMED if there[name] is not None}
    return Change(how, line, _texts(before, shown), _texts(after, shown))


def _texts(row: dict[str, Any], names: Sequence[str]) -> dict[str, str]:
    return {name: text(Decimal(row[name])) if name in AMOUNTS else row[name] for name in names if row[name] is not None}


def between_sources(
    connection: duckdb.DuckDBPyConnection, settled: Sequence[str], other: Sequence[str], *, is_daily: bool = True
) -> dict[str, Any]:
    """How two sources differ: by line where they name lines alike, else in sums, by date where both have dates.

    `amounts` are what the differences of pretax come to, by currency, whichever way each goes.
    """
    ours, theirs = relation(settled), relation(other)
    shared = connection.execute(
        f"SELECT count(*) FROM {ours} o JOIN {theirs} n USING (line_id)"  # noqa: S608
    ).fetchall()[0][0]
    summed = _GROUP if is_daily else tuple(name for name in _GROUP if name != "date")
    group = ("line_id", "currency") if shared else summed
    grouped = ", ".join(group)
    sums = f"SELECT {grouped}, count(*) AS lines, sum(pretax) AS pretax, sum(gross) AS gross"
    # How many lines make up a sum is told, and no difference: some sources list what cost nothing, others do not.
    query = f"""
        WITH o AS ({sums} FROM {ours} GROUP BY ALL), n AS ({sums} FROM {theirs} GROUP BY ALL)
        SELECT {grouped}, coalesce(o.lines, 0), coalesce(n.lines, 0), coalesce(o.pretax, 0), coalesce(n.pretax, 0),
               coalesce(o.gross, 0), coalesce(n.gross, 0)
        FROM o FULL JOIN n USING ({grouped})
        WHERE coalesce(o.pretax, 0) <> coalesce(n.pretax, 0) OR coalesce(o.gross, 0) <> coalesce(n.gross, 0)
        ORDER BY ALL"""  # noqa: S608
    count, amounts = 0, dict[str, Decimal]()
    kept: list[dict[str, Any]] = []
    cursor = connection.cursor().execute(query)
    while batch := cursor.fetchmany(1000):
        for row in batch:
            count += 1
            named = {name: str(value) for name, value in zip(group, row, strict=False) if value is not None}
            sums_of = dict(zip(("pretax", "other_pretax", "gross", "other_gross"), row[len(group) + 2 :], strict=True))
            apart = abs(sums_of["other_pretax"] - sums_of["pretax"])
            amounts[named["currency"]] = amounts.get(named["currency"], Decimal(0)) + apart
            if len(kept) < KEPT_MAX:
                counts = {"lines": row[len(group)], "other_lines": row[len(group) + 1]}
                kept.append({**named, **counts, **{name: text(value) for name, value in sums_of.items()}})
    by = "line" if shared else ", ".join(summed)
    told = {currency: text(amount) for currency, amount in sorted(amounts.items())}
    return {"by": by, "count": count, "amounts": told, "differences": kept}
