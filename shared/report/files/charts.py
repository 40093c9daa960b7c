"""What a chart draws: the figures that matter most, so that it can be read at a glance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.money import total
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


def drawn(connection: duckdb.DuckDBPyConnection, answer: Answer, chart: Chart, others: str) -> Drawn:
    """The largest points of a bar chart, or every month of a line chart with its largest series.

    What there is beyond those is one more, called `others`, so that all of a chart is all of the report.
    """
    rows, value = rows_of(answer), chart.value
    currency = _currency(connection, rows, value, answer)
    of_it = f"{value} IS NOT NULL" + (" AND currency = $currency" if currency is not None else "")
    given = {} if currency is None else {"currency": currency}
    largest = connection.execute(
        f"SELECT coalesce(CAST({chart.series or chart.by} AS VARCHAR), ''), sum({value}) AS summed FROM {rows} "  # noqa: S608
        f"WHERE {of_it} GROUP BY 1 ORDER BY abs(summed) DESC, 1",
        given,
    ).fetchall()
    if not chart.series:
        return Drawn(currency or "", [""], [(point, [value]) for point, value in _most(largest, _POINTS_MAX, others)])
    series = [name for name, _ in _most(largest, _SERIES_MAX, others)]
    sums = connection.execute(
        f"SELECT CAST({chart.by} AS VARCHAR), coalesce({chart.series}, ''), sum({value}) "  # noqa: S608
        f"FROM {rows} WHERE {of_it} GROUP BY 1, 2 ORDER BY 1, 2",
        given,
    ).fetchall()
    points: dict[str, dict[str, Decimal]] = {}
    for point, name, summed in sums:
        of = points.setdefault(point or "", {})
        here = name if name in series else others
        of[here] = total([of.get(here, Decimal(0)), summed])
    return Drawn(currency or "", series, [(point, [of.get(one) for one in series]) for point, of in points.items()])


def _most(largest: Sequence[tuple[str, Decimal]], most: int, others: str) -> list[tuple[str, Decimal]]:
    if len(largest) <= most:
        return list(largest)
    return [*largest[: most - 1], (others, total([value for _, value in largest[most - 1 :]]))]


def _currency(connection: duckdb.DuckDBPyConnection, rows: str, value: str, answer: Answer) -> str | None:
    """The currency of most rows that have a figure: sums are never of several."""
    if not any(one.name == "currency" for one in answer.columns):
        return None
    found = connection.execute(
        f"SELECT currency FROM {rows} WHERE {value} IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1"  # noqa: S608
    ).fetchall()
    return str(found[0][0]) if found else None
