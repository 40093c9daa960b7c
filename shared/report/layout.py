"""A reseller's own layout: the lines of its statement in the columns and the file that its systems read.

The README shows one. Amounts are exact in each; text that a spreadsheet would take for a formula stays text.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.cycle import Cycle, shanghai_day
from shared.report import xlsx
from shared.report.cells import safe
from shared.report.language import EN, ZH, kind_label, named
from shared.report.page import Cell, Column, Row, Section

if TYPE_CHECKING:
    from shared.report.statements import Document
    from shared.settlement.statement import StatementLine

LAYOUT = "layout"  # the act that puts one in force: {"reseller", "document"}
CSV, XLSX = FORMATS = ("csv", "xlsx")
ENCODINGS = ("utf-8", "utf-8-sig", "gb18030")
DATES: Mapping[str, str] = {
    "YYYY-MM-DD": "%Y-%m-%d",
    "YYYY/MM/DD": "%Y/%m/%d",
    "DD/MM/YYYY": "%d/%m/%Y",
    "MM/DD/YYYY": "%m/%d/%Y",
    "DD.MM.YYYY": "%d.%m.%Y",
    "YYYYMMDD": "%Y%m%d",
}
Value = Cell | date
_Field = Callable[["Document", "StatementLine"], Value]

FIELDS: Mapping[str, _Field] = {
    "cycle": lambda one, line: one.cycle,
    "first_day": lambda one, line: Cycle.parse(one.cycle).first,
    "last_day": lambda one, line: Cycle.parse(one.cycle).last,
    "statement_day": lambda one, line: shanghai_day(one.made_at),
    "status": lambda one, line: "draft" if one.lock is None else "final",
    "reseller": lambda one, line: one.reseller,
    "reseller_name_en": lambda one, line: named(one.reseller_names, EN, one.reseller),
    "reseller_name_zh": lambda one, line: named(one.reseller_names, ZH, one.reseller),
    "agreement": lambda one, line: one.statement.agreement,
    "settlement": lambda one, line: one.settlement,
    "customer": lambda one, line: line.customer,
    "customer_name_en": lambda one, line: named(one.customer_names.get(line.customer, {}), EN, line.customer),
    "customer_name_zh": lambda one, line: named(one.customer_names.get(line.customer, {}), ZH, line.customer),
    "product": lambda one, line: line.product,
    "product_name_en": lambda one, line: named(one.product_names.get(line.product, {}), EN, line.product),
    "product_name_zh": lambda one, line: named(one.product_names.get(line.product, {}), ZH, line.product),
    "rule": lambda one, line: line.rule,
    "version": lambda one, line: line.version,
    "kind": lambda one, line: line.kind,
    "kind_name_en": lambda one, line: kind_label("kind", line.kind, EN),
    "kind_name_zh": lambda one, line: kind_label("kind", line.kind, ZH),
    "lines": lambda one, line: line.lines,
    "basis": lambda one, line: Decimal(line.basis),
    "exact": lambda one, line: Decimal(line.exact),
    "amount": lambda one, line: Decimal(line.amount),
    "currency": lambda one, line: one.statement.currency,
}
_NUMBERS = ("lines", "basis", "exact", "amount")


@dataclass(frozen=True, slots=True)
class Layout:
    """One approved layout."""

    reseller: str
    format: str
    columns: tuple[tuple[str, str, str], ...]  # header, field or "", the constant
    delimiter: str
    decimal: str
    dates: str
    encoding: str


def parse_layout(body: bytes) -> Layout | None:
    """The layout of an approved document; None where it ends."""
    data: dict[str, Any] = json.loads(body)
    if data["ends"]:
        return None
    columns = tuple((one["header"], one["field"] or "", one["constant"] or "") for one in data["columns"])
    named_ = (data[name] for name in ("delimiter", "decimal", "dates", "encoding"))
    return Layout(data["reseller"], data["format"], columns, *named_)


def write(document: Document, layout: Layout) -> bytes:
    """The statement's lines as the layout asks for them."""
    rows = [[_value(document, line, field, constant) for _, field, constant in layout.columns]
            for line in document.statement.lines]  # fmt: skip
    header = [name for name, _, _ in layout.columns]
    if layout.format == CSV:
        return _csv(header, rows, layout)
    places = document.statement.places
    columns = [Column(name, is_figure=field in _NUMBERS, places=places * (field == "amount"))
               for name, field, _ in layout.columns]  # fmt: skip
    cells = [Row([_day(cell, layout) for cell in row]) for row in rows]
    return xlsx.workbook([], xlsx.Table(document.cycle, Section(document.cycle, columns, cells)), document.made_at)


def _value(document: Document, line: StatementLine, field: str, constant: str) -> Value:
    return FIELDS[field](document, line) if field else constant


def _day(value: Value, layout: Layout) -> Cell:
    return value.strftime(DATES[layout.dates]) if isinstance(value, date) else value


def _csv(header: Sequence[str], rows: Sequence[Sequence[Value]], layout: Layout) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, delimiter=layout.delimiter, lineterminator="\r\n")
    writer.writerow([safe(name) for name in header])
    for row in rows:
        cells = [_day(value, layout) for value in row]
        writer.writerow(
            [safe(cell).replace(".", layout.decimal) if isinstance(cell, Decimal) else safe(cell) for cell in cells]
        )
    return out.getvalue().encode(layout.encoding)
