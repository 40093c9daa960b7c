"""Answers as PDF, to read: what changed, a chart, the first rows, and what they are of; other files have all rows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from shared.cycle import parse_instant
from shared.money import total
from shared.report import pdf
from shared.report.answer import Answer
from shared.report.catalogue import Column as Told
from shared.report.catalogue import Type
from shared.report.files.charts import drawn
from shared.report.files.metadata import facts
from shared.report.files.rows import opened, rows_of
from shared.report.language import label, named, shown
from shared.report.page import TOTAL, Bars, Cell, Column, Page, Row, Section

if TYPE_CHECKING:
    import duckdb

ROWS_MAX = 200
_HEADLINE = 4  # figures
_READ_LATER = ("settled", "tax", "total", "paid", "basis", "list_amount")  # what is left out of more, in this order
_NARROW = ("currency", "charge", "state", "kind")  # short words
# Shares of the room that is left.
_WIDTH = 3
_WIDTHS = {
    "service_name": 5, "statement": 6, "item": 4, "instance": 5,
    "ChargePeriodStart": 4, "ChargePeriodEnd": 4, "ResourceId": 5, "ChargeCategory": 2,
}  # fmt: skip
_LONG = re.compile(r"([0-9A-Za-z._]{8})(?=[0-9A-Za-z._]{4})")  # a word or number that may be broken
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
    """The totals that are read first: amounts of each currency, at most four."""
    labels = {one.name: named(one.labels, language, one.name) for one in answer.columns}
    amounts = {one.name for one in answer.columns if one.type is Type.AMOUNT}
    most = max(1, _HEADLINE // max(1, len(answer.totals)))
    found = list[tuple[str, ...]]()
    for currency, sums in answer.totals.items():
        mine = [name for name in sums if name in amounts]
        least = [name for name in _READ_LATER if name in mine][: max(0, len(mine) - most)]
        found += [(labels[name], f"{shown(sums[name], currency)} {currency}") for name in mine if name not in least][
            :most
        ]
    return found[:_HEADLINE]


def _table(answer: Answer, language: str, connection: duckdb.DuckDBPyConnection) -> Section:
    """The first rows, and the totals of all; what has no place on paper is in the sheet."""
    names = {one.name for one in answer.columns}
    # Who reads knows a unit from its header, a product from its name, and one currency from the table's title.
    left_out = {"line", "list_price_unit"}
    left_out |= {"service"} & names if "service_name" in names else set()
    only = next(iter(answer.totals)) if len(answer.totals) == 1 else ""
    left_out |= {"currency", "BillingCurrency"} if only else set()
    fitting = [one for one in answer.columns if one.name not in left_out]
    columns = fitting if len(fitting) <= _COLUMNS_MAX else fitting[:_FEW]
    cells = ", ".join(
        "coalesce(service_name, service)" if one.name == "service_name" and "service" in names else one.name
        for one in columns
    )
    currency = "currency" if "currency" in names else "''"
    found = connection.execute(f"SELECT {currency}, {cells} FROM {rows_of(answer)} LIMIT {ROWS_MAX}").fetchall()  # noqa: S608
    rows = [Row([_cell(cell, one, of or "") for cell, one in zip(row, columns, strict=True)]) for of, *row in found]
    rows += [_total(columns, of, sums, language) for of, sums in answer.totals.items() if answer.rows]
    is_amount = any(one.type is Type.AMOUNT for one in columns)
    notes = [label("report_rounded", language)] if is_amount and answer.rows else []
    if answer.rows > len(found):
        rest = {"shown": f"{len(found):,}", "rows": f"{answer.rows:,}"}
        notes.append(label("report_more_rows", language, **rest))
    if len(columns) < len(fitting):
        notes.append(label("report_more_columns", language, shown=len(columns), columns=len(fitting)))
    title = label("report_data", language) + (f" ({only})" if only else "")
    return Section(title, [_column(one, language) for one in columns], rows, notes)


def _total(columns: Sequence[Told], currency: str, sums: Mapping[str, Decimal], language: str) -> Row:
    cells = [_cell(sums.get(one.name), one, currency) for one in columns]
    cells = [currency if one.name == "currency" else cell for cell, one in zip(cells, columns, strict=True)]
    return Row([label("report_total", language) if not columns[0].type.is_summed else cells[0], *cells[1:]], TOTAL)


def _column(one: Told, language: str) -> Column:
    is_narrow = one.type.is_figure or one.type in (Type.DATE, Type.MONTH) or one.name in _NARROW
    width = 0 if is_narrow else _WIDTHS.get(one.name, _WIDTH)
    return Column(named(one.labels, language, one.name), width, one.type.is_figure)


def _cell(value: object, column: Told, currency: str) -> Cell:
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return shown(value, currency) if column.type is Type.AMOUNT else int(value) if value == int(value) else value
    # A name of many signs breaks wherever its column ends.
    return value if isinstance(value, int) else _LONG.sub("\\1\u200b", str(value))


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
        of = drawn(connection, answer, chart, label("report_others", language))
        sums = [(point, total([one for one in values if one is not None])) for point, values in of.points]
        longest = max((abs(value) for _, value in sums), default=Decimal(0))
        if longest:
            title = f"{known[chart.value]} ({of.currency})" if of.currency else known[chart.value]
            bars = [
                (
                    point or label("report_none", language),
                    shown(value, of.currency),
                    int(abs(value) * _PERMILLE // longest),
                )
                for point, value in sums
            ]
            found.append(Bars(title, bars))
    return found
