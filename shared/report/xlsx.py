"""Reports as XLSX: pages as sheets, and tables to filter. Text is never a formula, numbers are what they were."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.report.page import GROUP, TOTAL, Cell, Column, Page, Section

DIGITS_MAX = 15  # a spreadsheet holds no more exactly; longer amounts are written as text
TEXT_MAX = 32_767  # a cell takes no more
_INK, _PALE = "#1F3B57", "#EEF2F6"
_STYLES: Mapping[str, dict[str, Any]] = {TOTAL: {"bold": True, "top": 1}, GROUP: {"bold": True, "bg_color": _PALE}}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A page as a sheet."""

    name: str
    page: Page


@dataclass(frozen=True, slots=True)
class Table:
    """One long table as a sheet."""

    name: str
    section: Section


def workbook(pages: Sequence[Sheet], table: Table | None, at: datetime) -> bytes:
    """The workbook; `at` is the time that it says it was made, so that the same report is the same bytes."""
    import xlsxwriter  # only a report pays for it

    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(out, options) as book:
        # Without a time the file holds the one at which it was made, and no two are alike.
        book.set_properties({"title": pages[0].page.title if pages else "", "created": at})
        formats = _Formats(book)
        for one in pages:
            _page(book.add_worksheet(one.name), formats, one.page)
        if table is not None:
            _table(book.add_worksheet(table.name), formats, table.section)
    return out.getvalue()


class _Formats:
    """The formats of a book, each made once."""

    def __init__(self, book: Any) -> None:
        self._book = book
        self._made: dict[str, Any] = {}

    def of(self, **properties: Any) -> Any:
        """The format with these properties."""
        key = repr(sorted(properties.items()))
        if key not in self._made:
            self._made[key] = self._book.add_format({"valign": "top", **properties})
        return self._made[key]

    def figure(self, places: int, **properties: Any) -> Any:
        """A number with its thousands apart; further decimals are shown where there are some."""
        more = "" if places == 0 else "." + "0" * places
        return self.of(num_format=f"#,##0{more}", align="right", **properties)


def _page(sheet: Any, formats: _Formats, page: Page) -> None:
    soft = formats.of(font_color="#5B6B7A")
    # Nothing wraps: rows keep their height wherever they are opened, and the last column may run over.
    sheet.set_column("A:A", 40)
    sheet.set_column("B:G", 26)
    _text(sheet, 0, 0, f"{page.title}  {page.status}", formats.of(bold=True, font_size=16, font_color=_INK))
    _text(sheet, 1, 0, page.subtitle, formats.of(font_size=12))
    sheet.set_row(0, 24)
    row = 2
    if page.warning:
        _text(sheet, row, 0, page.warning, formats.of(bold=True, font_color="#B4530A"))
        row += 1
    row += 1
    for name, value in page.facts:
        _text(sheet, row, 0, name, soft)
        _text(sheet, row, 1, value, formats.of(align="left"))
        row += 1
    row += 1
    for name, amount, is_set_off in page.figures:
        set_off = {"bold": True, "top": 1} if is_set_off else {}
        _text(sheet, row, 0, name, formats.of(**set_off))
        _cell(sheet, row, 1, amount, formats.figure(_places(amount, page.places), **set_off))
        row += 1
    for note in page.notes:
        _text(sheet, row, 0, note, soft)
        row += 1
    for section in page.sections:
        row += 1
        _text(sheet, row, 0, section.title, formats.of(bold=True, font_size=12, font_color=_INK))
        row += 1
        for note in section.notes:
            _text(sheet, row, 0, note, soft)
            row += 1
        if section.rows:
            row = _rows(sheet, formats, section, row)
    if page.is_wide:
        sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.hide_gridlines(2)


def _table(sheet: Any, formats: _Formats, section: Section) -> None:
    for number, column in enumerate(section.columns):
        sheet.set_column(number, number, 18 if column.is_figure else 24)
    _rows(sheet, formats, section, 0)
    sheet.autofilter(0, 0, max(1, sum(row.style != TOTAL for row in section.rows)), len(section.columns) - 1)
    sheet.freeze_panes(1, 0)
    sheet.repeat_rows(0)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)


def _rows(sheet: Any, formats: _Formats, section: Section, row: int) -> int:
    """Write a table from a row on; the row after it."""
    for number, column in enumerate(section.columns):
        side = {"align": "right"} if column.is_figure else {"align": "left", "indent": 1}
        head = formats.of(bold=True, bg_color=_INK, font_color="#FFFFFF", **side)
        _text(sheet, row, number, column.label, head)
    for one in section.rows:
        row += 1
        style = _STYLES.get(one.style, {})
        for number, (cell, column) in enumerate(zip(one.cells, section.columns, strict=True)):
            _cell(sheet, row, number, cell, _format(formats, column, cell, style))
    return row + 1


def _format(formats: _Formats, column: Column, cell: Cell, style: dict[str, Any]) -> Any:
    if column.is_figure:
        return formats.figure(_places(cell, column.places), **style)
    return formats.of(align="left", indent=1, **style)


def _places(cell: Cell, places: int) -> int:
    """The decimals that a number shows: those it has, and at least so many."""
    if not isinstance(cell, Decimal):
        return 0
    exponent = cell.normalize().as_tuple().exponent
    return max(places, -exponent if isinstance(exponent, int) else 0)


def _cell(sheet: Any, row: int, column: int, cell: Cell, form: Any) -> None:
    """A number whose digits a cell holds exactly, written from its decimal; longer ones as text."""
    if isinstance(cell, str):
        _text(sheet, row, column, cell, form)
    elif len(Decimal(cell).normalize().as_tuple().digits) <= DIGITS_MAX:
        sheet.write_number(row, column, cell, form)
    else:
        sheet.write_string(row, column, f"{cell:f}" if isinstance(cell, Decimal) else str(cell), form)


def _text(sheet: Any, row: int, column: int, text: str, form: Any) -> None:
    if text:
        sheet.write_string(row, column, text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…", form)
    else:
        sheet.write_blank(row, column, None, form)
