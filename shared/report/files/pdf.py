"""Answers as PDF, to read: what changed, a chart, the first rows, and what they are of; other files have all rows."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from shared.cycle import parse_instant
from shared.money import text, total
from shared.report import pdf
from shared.report.answer import Answer
from shared.report.catalogue import Column as Told
from shared.report.catalogue import Type
from shared.report.files.charts import drawn
from shared.report.files.metadata import facts
from shared.report.files.rows import opened, rows_of
from shared.report.language import figure, label, named
from shared.report.page import Bars, Cell, Column, Page, Row, Section

if TYPE_CHECKING:
    import duckdb

ROWS_MAX = 200
_WIDE = 7  # columns, beyond which the page lies on its side
_COLUMNS_MAX, _FEW = 20, 10  # where paper is too narrow for all, the first, which people read
_PERMILLE = 1000


def write(answer: Answer, language: str, path: Path) -> None:
    """The document."""
    with opened() as connection:
        path.write_bytes(pdf.render(page(answer, language, connection), parse_instant(answer.stated.made_at)))


def page(answer: Answer, language: str, connection: duckdb.DuckDBPyConnection) -> Page:
    """What it says."""
    stated = answer.stated
    story = [named(one, language, "") for one in answer.story]
    hints = [named(one, language, "") for one in (*stated.hidden, *stated.notes)]
    return Page(
        language=language,
        issuer=stated.scope,
        title=named(answer.report.titles, language, answer.report.name),
        subtitle=f"{stated.filters['from']} – {stated.filters['to']}",
        status=label("final" if stated.is_final else "draft", language),
        is_draft=not stated.is_final,
        footer=f"{answer.report.id}  {answer.digest[:16]}",
        facts=(),
        sections=[_table(answer, language, connection), _about(answer, language)],
        warning="; ".join(named(one, language, "") for one in stated.why_not_final),
        headline=_headline(answer, language),
        notes=[*story, *hints],
        is_wide=len(answer.columns) > _WIDE,
        charts=_bars(answer, language, connection),
    )


def _headline(answer: Answer, language: str) -> list[tuple[str, ...]]:
    """The totals that are read first: the amounts of each currency, at most four."""
    labels = {one.name: named(one.labels, language, one.name) for one in answer.columns}
    amounts = {one.name for one in answer.columns if one.type is Type.AMOUNT}
    found = [
        (labels[name], f"{figure(value, 2)} {currency}")
        for currency, sums in answer.totals.items()
        for name, value in sums.items()
        if name in amounts
    ]
    return [*found[-4:]]


def _table(answer: Answer, language: str, connection: duckdb.DuckDBPyConnection) -> Section:
    # Who reads knows the unit from the header; what has no place on paper is in the sheet.
    columns = [one for one in answer.columns if one.name not in ("line", "list_price_unit")]
    few = columns if len(columns) <= _COLUMNS_MAX else columns[:_FEW]
    names = ", ".join(one.name for one in few)
    found = connection.execute(f"SELECT {names} FROM {rows_of(answer)} LIMIT {ROWS_MAX}").fetchall()  # noqa: S608
    rows = [Row([_cell(one) for one in cells]) for cells in found]
    left = answer.rows - len(rows)
    notes = [label("report_more_rows", language, shown=f"{len(rows):,}", rows=f"{answer.rows:,}")] if left else []
    if few != columns:
        notes.append(label("report_more_columns", language, shown=len(few), columns=len(columns)))
    return Section(label("report_data", language), [_column(one, language) for one in few], rows, notes)


def _column(one: Told, language: str) -> Column:
    width = 0 if one.type.is_figure or one.type in (Type.DATE, Type.MONTH) or one.name == "currency" else 1
    return Column(named(one.labels, language, one.name), width, one.type.is_figure, 2 if one.type is Type.AMOUNT else 0)


def _cell(value: object) -> Cell:
    if value is None:
        return ""
    return value if isinstance(value, int | Decimal) else str(value)


def _about(answer: Answer, language: str) -> Section:
    rows = [Row([name, value]) for name, value in facts(answer, language)]
    return Section(
        label("report_about", language),
        [Column(label("report_item", language), 1), Column(label("report_value", language), 4)],
        rows,
    )


def _bars(answer: Answer, language: str, connection: duckdb.DuckDBPyConnection) -> list[Bars]:
    """Each chart as bars: their lengths are whole thousandths of the longest."""
    found = []
    known = {one.name: named(one.labels, language, one.name) for one in answer.columns}
    for chart in answer.charts:
        of = drawn(connection, answer, chart)
        sums = [(point, total([one for one in values if one is not None])) for point, values in of.points]
        longest = max((abs(value) for _, value in sums), default=Decimal(0))
        if longest:
            title = f"{known[chart.value]} ({of.currency})" if of.currency else known[chart.value]
            bars = [
                (point or label("report_none", language), _short(value), int(abs(value) * _PERMILLE // longest))
                for point, value in sums
            ]
            found.append(Bars(title, bars))
    return found


def _short(value: Decimal) -> str:
    """A figure beside a bar: what lies beyond two decimals is in the table."""
    return figure(text(value.quantize(Decimal("0.01"))), 2)
