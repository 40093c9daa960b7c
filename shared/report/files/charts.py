"""What a chart draws: the figures that matter most, so that it can be read at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.report.answer import Answer, Chart
from shared.report.files.rows import rows_of

if TYPE_CHECKING:
    import duckdb

_POINTS_MAX, _SERIES_MAX = 12, 6


@dataclass(frozen=True, slots=True)
class Drawn:
    """The figures of a chart in the currency that most of them are in."""

    currency: str
    series: Sequence[str]  # one without a name, where there are no series
    points: Sequence[tuple[str, Sequence[Decimal | None]]]  # label, and a value for each series


def drawn(connection: duckdb.DuckDBPyConnection, answer: Answer, chart: Chart) -> Drawn:
    """The largest points of a bar chart, or every month of a line chart with its largest series."""
    rows, value = rows_of(answer), chart.value
    currency = _currency(connection, rows, value, answer)
    of_it = f"{value} IS NOT NULL" + (" AND currency = $currency" if currency is not None else "")
    given = {} if currency is None else {"currency": currency}
    if not chart.series:
        found = connection.execute(
            f"SELECT coalesce(CAST({chart.by} AS VARCHAR), ''), sum({value}) AS summed FROM {rows} WHERE {of_it} "  # noqa: S608
            f"GROUP BY 1 ORDER BY abs(summed) DESC, 1 LIMIT {_POINTS_MAX}",
            given,
        ).fetchall()
        return Drawn(currency or "", [""], [(point, [total]) for point, total in found])
    named = connection.execute(
        f"SELECT coalesce({chart.series}, ''), sum({value}) AS summed FROM {rows} WHERE {of_it} "  # noqa: S608
        f"GROUP BY 1 ORDER BY abs(summed) DESC, 1 LIMIT {_SERIES_MAX}",
        given,
    ).fetchall()
    series = [name for name, _ in named]
    sums = connection.execute(
        f"SELECT CAST({chart.by} AS VARCHAR), coalesce({chart.series}, ''), sum({value}) "  # noqa: S608
        f"FROM {rows} WHERE {of_it} GROUP BY 1, 2 "
        "ORDER BY 1",
        given,
    ).fetchall()
    points: dict[str, dict[str, Decimal]] = {}
    for point, name, total in sums:
        points.setdefault(point or "", {})[name] = total
    return Drawn(currency or "", series, [(point, [of.get(one) for one in series]) for point, of in points.items()])


def _currency(connection: duckdb.DuckDBPyConnection, rows: str, value: str, answer: Answer) -> str | None:
    """The currency of most rows that have a figure: sums are never of several."""
    if not any(one.name == "currency" for one in answer.columns):
        return None
    found = connection.execute(
        f"SELECT currency FROM {rows} WHERE {value} IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"  # noqa: S608
    ).fetchall()
    return str(found[0][0]) if found else None
