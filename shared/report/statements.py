"""A reseller's statement as CSV, XLSX and JSON: the same lines in each, rounded before they come here."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from shared.ids import canonical_json
from shared.money import EXACT, decimals, fixed
from shared.report.cells import csv_bytes
from shared.settlement.statement import Statement, StatementLine

COLUMNS = (
    *("cycle", "reseller", "agreement", "customer", "product", "rule", "version", "kind", "lines"),
    *("basis", "exact", "amount", "currency"),
)
_DIGITS_MAX = 15  # a spreadsheet holds no more exactly; longer amounts are written as text


@dataclass(frozen=True, slots=True)
class Document:
    """A statement with what its reader needs to know about it."""

    statement: Statement
    cycle: str
    reseller: str
    reseller_name: str
    settlement: str
    locked_by: str  # the two people, and when
    locked_at: datetime
    chain_head: str  # hash of the lock's entry: whoever holds the statement holds a witness
    customer_names: Mapping[str, str]
    carried: Decimal  # owed before this month, as it stood at the lock; below 0 the reseller owes it
    opening: Decimal | None = None  # what of it is the opening balance, on the first statement
    forfeited: Decimal = Decimal(0)  # of the balance with this month, for it is below the minimum
    adjusted: Sequence[Mapping[str, Any]] = ()  # locked cycles: {"cycle", "lines", "amount", "because"}

    @property
    def amounts(self) -> dict[str, str]:
        """What is carried and what is owed with this month, at the statement's places or those they need."""
        balance = EXACT.subtract(EXACT.add(self.carried, Decimal(self.statement.payable)), self.forfeited)
        found = {
            "carried": self.carried,
            **({"forfeited": self.forfeited} if self.forfeited else {}),
            "balance": balance,
        }
        return {name: self._fixed(value) for name, value in found.items()}

    @property
    def opened(self) -> str | None:
        """The opening balance, on the statement that first carries it."""
        return None if self.opening is None else self._fixed(self.opening)

    def _fixed(self, value: Decimal) -> str:
        return fixed(value, max(self.statement.places, decimals(value)))


def to_json(document: Document) -> bytes:
    """The statement for other systems; amounts are text."""
    return canonical_json(
        {
            "format": "clearbook-statement-1",
            "cycle": document.cycle,
            "reseller": document.reseller,
            "reseller_name": document.reseller_name,
            "settlement": document.settlement,
            "locked_by": document.locked_by,
            "locked_at": document.locked_at,
            "chain_head": document.chain_head,
            **document.statement.as_json(),
            **document.amounts,
            "opening": document.opened,
            **({"adjusted": [dict(one) for one in document.adjusted]} if document.adjusted else {}),
        }
    )


def to_csv(document: Document) -> bytes:
    """The lines only, one a row, so that a reader adds them up without skipping anything."""
    statement = document.statement
    rows = [
        (
            *(document.cycle, document.reseller, statement.agreement, line.customer, line.product, line.rule),
            *(line.version, line.kind, line.lines, Decimal(line.basis), Decimal(line.exact), Decimal(line.amount)),
            statement.currency,
        )
        for line in statement.lines
    ]
    return csv_bytes(COLUMNS, rows)


def to_xlsx(document: Document) -> bytes:
    """A workbook with the figures to read first and the lines below them."""
    import xlsxwriter  # only the step that publishes pays for it

    out = io.BytesIO()
    options = {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    with xlsxwriter.Workbook(out, options) as book:
        # Without this the file holds the time it was made and no two are alike.
        book.set_properties({"title": f"Statement {document.cycle} {document.reseller}", "created": document.locked_at})
        _write(book, document)
    return out.getvalue()


def _write(book: object, document: Document) -> None:
    statement = document.statement
    sheet = book.add_worksheet("Statement")  # type: ignore[attr-defined]
    add = book.add_format  # type: ignore[attr-defined]
    money = "#,##0" + ("." + "0" * statement.places if statement.places else "")
    title, bold = add({"bold": True, "font_size": 16}), add({"bold": True})
    head = add({"bold": True, "bg_color": "#1F3B57", "font_color": "#FFFFFF", "border": 1, "text_wrap": True})
    amount, total = add({"num_format": money}), add({"num_format": money, "bold": True, "top": 1})
    basis = add({"num_format": "#,##0.00########"})

    sheet.set_column("A:A", 26)
    sheet.set_column("B:C", 16)
    sheet.set_column("D:E", 9)
    sheet.set_column("F:F", 8)
    sheet.set_column("G:I", 20)
    sheet.write_string(0, 0, f"Statement {document.cycle}", title)
    facts = [
        ("Reseller", f"{document.reseller_name} ({document.reseller})"),
        ("Agreement", statement.agreement),
        ("Currency", statement.currency),
        ("Settlement", document.settlement),
        ("Locked", f"{document.locked_at:%Y-%m-%d %H:%M} UTC, {document.locked_by}"),
        ("Chain head", document.chain_head),
        *((f"Adjusts {one['cycle']}", f"by {one['amount']}: {one['because']}") for one in document.adjusted),
    ]
    for row, (name, value) in enumerate(facts, 1):
        sheet.write_string(row, 0, name, bold)
        sheet.write_string(row, 1, value)
    row = len(facts) + 1
    for name, value in _figures(document):
        sheet.write_string(row, 0, name, bold)
        _number(sheet, row, 1, value, total)
        row += 1

    row += 1
    header = ("Customer", "Product", "Rule", "Version", "Kind", "Lines", "Basis", "Exact amount", "Amount")
    for column, name in enumerate(header):
        sheet.write_string(row, column, name, head)
    first = row + 1
    for line in statement.lines:
        row += 1
        _line(sheet, row, line, document.customer_names, basis, amount)
    sheet.autofilter(first - 1, 0, max(row, first), len(header) - 1)
    sheet.freeze_panes(first, 0)
    sheet.set_landscape()
    sheet.set_paper(9)  # A4
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(first - 1)
    sheet.write_string(row + 1, 0, "Total", bold)
    _number(sheet, row + 1, 8, statement.total, total)


def _figures(document: Document) -> list[tuple[str, str]]:
    """What is read first: the month's figures, and the balance where something is carried into it."""
    statement = document.statement
    figures = [("Total", statement.total), ("Tax", statement.tax), ("Payable", statement.payable)]
    if document.carried:
        name = "Opening balance" if document.opened else "Carried from before"
        figures.append((name, document.amounts["carried"]))
    if document.forfeited:
        figures.append(("Forfeited, below the minimum", document.amounts["forfeited"]))
    if document.carried or document.forfeited:
        figures.append(("Balance", document.amounts["balance"]))
    return figures


def _line(
    sheet: object, row: int, line: StatementLine, names: Mapping[str, str], basis: object, amount: object
) -> None:
    write = sheet.write_string  # type: ignore[attr-defined]
    write(row, 0, names.get(line.customer, line.customer))
    write(row, 1, line.product)
    write(row, 2, line.rule)
    _number(sheet, row, 3, str(line.version), None)
    write(row, 4, line.kind)
    _number(sheet, row, 5, str(line.lines), None)
    _number(sheet, row, 6, line.basis, basis)
    write(row, 7, line.exact)
    _number(sheet, row, 8, line.amount, amount)


def _number(sheet: object, row: int, column: int, text: str, form: object) -> None:
    """A number whose digits the cell holds exactly, written from its decimal; longer ones as text."""
    value = Decimal(text)
    if len(value.normalize().as_tuple().digits) <= _DIGITS_MAX:
        sheet.write_number(row, column, value, form)  # type: ignore[attr-defined]
    else:
        sheet.write_string(row, column, text, form)  # type: ignore[attr-defined]
