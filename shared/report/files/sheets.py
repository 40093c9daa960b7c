"""Answers as XLSX: typed cells, as many sheets as the rows need, a chart that stays a chart, and what the columns mean.

Rows are written one after the other and forgotten (constant memory). A cell holds 15 digits of a number: one of more is
rounded there, which is said, so that columns can be added up; one that would lose more than its sixth decimal is text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.cycle import parse_instant
from shared.money import text
from shared.report.answer import Answer, Chart
from shared.report.catalogue import Column, Type
from shared.report.files.charts import Drawn, drawn
from shared.report.files.metadata import facts
from shared.report.files.rows import opened, rows_of
from shared.report.language import LANGUAGES, label, named
from shared.report.xlsx import DIGITS_MAX, TEXT_MAX

if TYPE_CHECKING:
    import duckdb

ROWS_MAX = 1_048_576 - 1  # of a sheet, below its header
_AT_ONCE = 2_000
_INK = "#1F3B57"
_WHOLE_MAX = 9  # digits before the point, with which 15 reach the sixth decimal
_CERTAIN = TEXT_MAX // 2  # characters that fit whatever they are: the limit is of UTF-16
_Writer = tuple[int, Callable[[int, int, Any, Any], object], Any]
_WITHOUT_DECIMALS = ("JPY", "KRW", "VND", "IDR")
_ABOUT_WIDTH, _LINE_PT, _LINES_MAX = 105, 15, 27  # a row is at most 409 points high
_WIDE = 0x1100  # signs from here on take the room of two
_WIDTHS = {Type.TEXT: 22, Type.DATE: 12, Type.MONTH: 10, Type.COUNT: 10, Type.AMOUNT: 22, Type.QUANTITY: 18}

_WIDER = {"service_name": 44, "item": 30, "instance": 34, "statement": 38, "line": 38, "currency": 10}


def write(answer: Answer, language: str, path: Path, rows_max: int = ROWS_MAX) -> None:
    """The workbook."""
    import xlsxwriter  # only a report pays for it

    # Strings lie in their cells and not in a table of all, which would grow with the rows.
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
        "tmpdir": str(path.parent),
    }
    title = named(answer.report.titles, language, answer.report.name)
    with xlsxwriter.Workbook(str(path), options) as book, opened() as connection:
        # Without a time the file holds the one at which it was made, and no two are alike.
        book.set_properties({"title": title, "created": parse_instant(answer.stated.made_at)})
        formats = _formats(book, answer)
        is_rounded = _data(book, formats, answer, language, connection, rows_max)
        others = label("report_others", language)
        drawings = [(chart, drawn(connection, answer, chart, others)) for chart in answer.charts]
        for number, (chart, found) in enumerate([one for one in drawings if one[1].points], 1):
            name = label("report_chart", language) + (f" {number}" if number > 1 else "")
            _chart(book, formats, found, answer, chart, language, name)
        _about(book, formats, answer, language, [label("report_digits", language)] if is_rounded else [])
        _glossary(book, formats, answer)


def _formats(book: Any, answer: Answer) -> dict[str, Any]:
    places = 0 if set(answer.totals) and set(answer.totals) <= set(_WITHOUT_DECIMALS) else 2
    # Digits that are not there take their room, so that the points of a column stand below each other.
    amount = "#,##0.00????????" if places else "#,##0"
    return {
        "head": book.add_format({"bold": True, "bg_color": _INK, "font_color": "#FFFFFF", "valign": "top"}),
        "figure_head": book.add_format(
            {"bold": True, "bg_color": _INK, "font_color": "#FFFFFF", "valign": "top", "align": "right"}
        ),
        "title": book.add_format({"bold": True, "font_size": 14, "font_color": _INK}),
        "soft": book.add_format({"font_color": "#5B6B7A", "valign": "top"}),
        "wrap": book.add_format({"text_wrap": True, "valign": "top"}),
        Type.AMOUNT: book.add_format({"num_format": amount, "align": "right"}),
        Type.QUANTITY: book.add_format({"num_format": "General", "align": "right"}),
        Type.PERCENT: book.add_format({"num_format": 'General" %"'}),
        Type.COUNT: book.add_format({"num_format": "#,##0"}),
        Type.DATE: book.add_format({"num_format": "yyyy-mm-dd", "align": "left"}),
    }


# -- the rows ---------------------------------------------------------------------------------------------------


def _data(
    book: Any,
    formats: dict[str, Any],
    answer: Answer,
    language: str,
    connection: duckdb.DuckDBPyConnection,
    rows_max: int,
) -> bool:
    """Write the rows; whether any number has more digits than a cell."""
    columns = answer.columns
    is_long = _are_long(connection, answer)
    found = connection.execute(f"SELECT * FROM {rows_of(answer)}")  # noqa: S608 - a path of ours
    name, number, left = label("report_data", language), 0, answer.rows
    while left > 0 or number == 0:
        number += 1
        sheet = book.add_worksheet(name if number == 1 else f"{name} {number}")
        here = min(left, rows_max)
        _begin(sheet, formats, columns, here)
        _fill(sheet, _writers(sheet, formats, columns, is_long), found, here)
        left -= here
    return any(is_long.get(one.name, False) for one in columns if one.type.is_figure)


def _begin(sheet: Any, formats: dict[str, Any], columns: Sequence[Column], rows: int) -> None:
    for number, column in enumerate(columns):
        width = _WIDER.get(column.name, _WIDTHS.get(column.type, 14))
        sheet.set_column(number, number, max(width, len(column.name) + 3))
    sheet.freeze_panes(1, 0)
    sheet.autofilter(0, 0, max(1, rows), len(columns) - 1)
    sheet.repeat_rows(0)
    _on_paper(sheet)
    for number, column in enumerate(columns):
        sheet.write_string(0, number, column.name, formats["figure_head" if column.type.is_figure else "head"])


def _on_paper(sheet: Any) -> None:
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)


def _fill(sheet: Any, writers: Sequence[_Writer], found: duckdb.DuckDBPyConnection, rows: int) -> None:
    row = 0
    while row < rows:
        for cells in found.fetchmany(min(_AT_ONCE, rows - row)):
            row += 1
            for (number, write, form), cell in zip(writers, cells, strict=True):
                if cell is not None:
                    write(row, number, cell, form)


def _writers(sheet: Any, formats: dict[str, Any], columns: Sequence[Column], is_long: dict[str, bool]) -> list[_Writer]:
    """How the cells of each column are written: the column's number, what writes them, and their format."""
    return [
        (number, _writing(sheet, one.type, is_long.get(one.name, False)), formats.get(one.type))
        for number, one in enumerate(columns)
    ]


def _writing(sheet: Any, type_: Type, is_long: bool) -> Callable[[int, int, Any, Any], object]:
    """What writes a cell; where nothing is too long for one, xlsxwriter itself, for there are millions."""
    if type_ is Type.DATE:
        return sheet.write_datetime  # type: ignore[no-any-return]
    if not type_.is_figure:
        return _cut(sheet) if is_long else sheet.write_string
    return _exactly(sheet) if is_long else sheet.write_number


def _cut(sheet: Any) -> Callable[[int, int, str, Any], object]:
    return lambda row, column, cell, form: sheet.write_string(row, column, _fitting(cell), form)


def _exactly(sheet: Any) -> Callable[[int, int, Decimal, Any], object]:
    def write(row: int, column: int, cell: Decimal, form: Any) -> None:
        if cell.adjusted() < _WHOLE_MAX or len(cell.normalize().as_tuple().digits) <= DIGITS_MAX:
            sheet.write_number(row, column, cell, form)
        else:
            sheet.write_string(row, column, text(cell), form)

    return write


def _fitting(whole: str) -> str:
    """What a cell takes, with a sign that there was more."""
    if len(whole) <= _CERTAIN:
        return whole
    # The limit is of UTF-16: what lies beyond it would not be written at all.
    units = whole.encode("utf-16-le")
    if len(units) <= 2 * TEXT_MAX:
        return whole
    return units[: 2 * (TEXT_MAX - 1)].decode("utf-16-le", "ignore") + "…"


def _are_long(connection: duckdb.DuckDBPyConnection, answer: Answer) -> dict[str, bool]:
    """Which columns have a number of more digits, or a text of more characters, than a cell holds."""
    digits = "length(ltrim(replace(replace(rtrim(CAST({0} AS VARCHAR), '0'), '.', ''), '-', ''), '0'))"
    asked = {
        one.name: (digits.format(one.name), DIGITS_MAX) if one.type.is_figure else (f"length({one.name})", _CERTAIN)
        for one in answer.columns
        if one.type not in (Type.COUNT, Type.DATE)
    }
    if not asked:
        return {}
    longest = ", ".join(f"max({length}) > {most}" for length, most in asked.values())
    [found] = connection.execute(f"SELECT {longest} FROM {rows_of(answer)}").fetchall()  # noqa: S608 - our own names
    return {name: bool(is_long) for name, is_long in zip(asked, found, strict=True)}


# -- beside them ------------------------------------------------------------------------------------------------


def _chart(
    book: Any, formats: dict[str, Any], found: Drawn, answer: Answer, chart: Chart, language: str, name: str
) -> None:
    """A chart with the few figures that it draws."""
    sheet = book.add_worksheet(name)
    known = {one.name: named(one.labels, language, one.name) for one in answer.columns}
    _on_paper(sheet)
    sheet.set_column(0, 0, 30)
    sheet.set_column(1, len(found.series), 18)
    sheet.write_string(0, 0, known[chart.by], formats["head"])
    for number, series in enumerate(found.series, 1):
        sheet.write_string(0, number, series or known[chart.value], formats["head"])
    for row, (point, values) in enumerate(found.points, 1):
        sheet.write_string(row, 0, point or label("report_none", language))
        for number, value in enumerate(values, 1):
            if value is not None:
                sheet.write_number(row, number, value, formats[Type.AMOUNT])
    picture = book.add_chart({"type": "line" if chart.kind == "line" else "bar"})
    for number in range(1, len(found.series) + 1):
        picture.add_series(
            {
                "name": [name, 0, number],
                "categories": [name, 1, 0, len(found.points), 0],
                "values": [name, 1, number, len(found.points), number],
                # A line of one month alone is a point, which only a marker shows.
                **({"fill": {"color": _INK}} if chart.kind != "line" else {"marker": {"type": "automatic"}}),
            }
        )
    currency = f" ({found.currency})" if found.currency else ""
    picture.set_title({"name": f"{named(answer.report.titles, language, answer.report.name)}{currency}"})
    if len(found.series) == 1:
        picture.set_legend({"none": True})
    money = {"num_format": "#,##0", "major_gridlines": {"visible": True, "line": {"color": "#D7D7D7"}}}
    if chart.kind == "line":
        picture.set_y_axis(money)
    else:
        picture.set_y_axis({"reverse": True, "label_position": "low"})
        picture.set_x_axis(money)
    picture.set_size({"width": 860, "height": 420})
    sheet.insert_chart(len(found.points) + 2, 0, picture)


def _about(book: Any, formats: dict[str, Any], answer: Answer, language: str, notes: Sequence[str]) -> None:
    sheet = book.add_worksheet(label("report_about", language))
    _on_paper(sheet)
    sheet.set_column(0, 0, 26)
    sheet.set_column(1, 1, _ABOUT_WIDTH + 5)
    sheet.write_string(0, 0, named(answer.report.titles, language, answer.report.name), formats["title"])
    told = [named(one, language, "") for one in answer.story]
    noted = [(label("report_note", language), one) for one in notes]
    for row, (name, value) in enumerate([*(("", one) for one in told), *facts(answer, language), *noted], 2):
        lines = -(-sum(2 if ord(sign) > _WIDE else 1 for sign in value) // _ABOUT_WIDTH)
        if lines > 1:  # not every program finds the height of a wrapped row by itself
            sheet.set_row(row, _LINE_PT * min(lines, _LINES_MAX))
        sheet.write_string(row, 0, name, formats["soft"])
        sheet.write_string(row, 1, _fitting(value), formats["wrap"])


def _glossary(book: Any, formats: dict[str, Any], answer: Answer) -> None:
    sheet = book.add_worksheet("Glossary 词汇表")
    _on_paper(sheet)
    heads = ("column", "type", "unit", *(f"{what} {one}" for one in LANGUAGES for what in ("label", "meaning")))
    for number, head in enumerate(heads):
        sheet.set_column(number, number, 18 if number < len(heads) - 1 and "meaning" not in head else 60)
        sheet.write_string(0, number, head, formats["head"])
    for row, one in enumerate(answer.columns, 1):
        cells = [one.name, str(one.type), one.unit]
        for language in LANGUAGES:
            cells += [one.labels[language], one.says[language]]
        for number, cell in enumerate(cells):
            sheet.write_string(row, number, cell)
    sheet.freeze_panes(1, 0)
