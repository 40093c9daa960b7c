"""A payout file in the form that a bank or wallet asks for: columns named by a small document."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from shared.payout.batch import Member, remittance
from shared.report.cells import BOM, safe

TEMPLATE = "payout_template"  # the act that puts one in force
DATES: Mapping[str, str] = {
    "YYYY-MM-DD": "%Y-%m-%d",
    "YYYYMMDD": "%Y%m%d",
    "YYYY/MM/DD": "%Y/%m/%d",
    "DD/MM/YYYY": "%d/%m/%Y",
    "MM/DD/YYYY": "%m/%d/%Y",
    "DD.MM.YYYY": "%d.%m.%Y",
}
ENCODINGS: Mapping[str, str] = {"utf-8": "utf-8", "utf-8-bom": "utf-8", "gb18030": "gb18030"}
DELIMITERS = (",", ";", "\t", "|")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: what stands in it is a field of the payment, or always the same."""

    header: str
    field: str = ""
    constant: str = ""


@dataclass(frozen=True, slots=True)
class Template:
    """A form of payout file, and which payments it takes."""

    id: str
    columns: tuple[Column, ...]
    currencies: tuple[str, ...]  # empty: all
    kinds: tuple[str, ...]
    is_used: bool
    delimiter: str
    encoding: str
    decimal_mark: str
    date_format: str
    has_header: bool

    def takes(self, member: Member) -> bool:
        """Whether it is the form for a payment."""
        return self.is_used and member.kind in self.kinds and member.currency in (self.currencies or [member.currency])

    def overlaps(self, other: Template) -> bool:
        """Whether a payment could be of both: it would be handed in twice."""
        currencies = set(self.currencies) & set(other.currencies) or not (self.currencies and other.currencies)
        return self.is_used and other.is_used and bool(currencies) and bool(set(self.kinds) & set(other.kinds))


@dataclass(frozen=True, slots=True)
class Filling:
    """What a file's rows share."""

    batch: str
    day: date
    approval: str


_Field = Callable[[Member, Filling, int], str | int | Decimal | date]
FIELDS: Mapping[str, _Field] = {
    "number": lambda member, filling, number: number,
    "instruction": lambda member, filling, number: member.instruction,
    "end_to_end": lambda member, filling, number: member.end_to_end,
    "batch": lambda member, filling, number: filling.batch,
    "approval": lambda member, filling, number: filling.approval,
    "date": lambda member, filling, number: filling.day,
    "cycle": lambda member, filling, number: member.cycle,
    "reseller": lambda member, filling, number: member.reseller,
    "agreement": lambda member, filling, number: member.agreement,
    "payee": lambda member, filling, number: member.payee_name,
    "account": lambda member, filling, number: member.account,
    "bank": lambda member, filling, number: member.bank,
    "bic": lambda member, filling, number: member.bic,
    "kind": lambda member, filling, number: member.kind,
    "amount": lambda member, filling, number: Decimal(member.amount),
    "currency": lambda member, filling, number: member.currency,
    "reference": lambda member, filling, number: remittance(member),
}


def parse_template(body: bytes) -> Template:
    """A checked template in canonical JSON."""
    data: dict[str, Any] = json.loads(body)
    return Template(
        data["template"],
        tuple(Column(one["header"], one["field"] or "", one["constant"] or "") for one in data["columns"]),
        tuple(data["for"]["currencies"]),
        tuple(data["for"]["kinds"]),
        data["in_use"],
        data["delimiter"],
        data["encoding"],
        data["decimal_mark"],
        data["date_format"],
        data["has_header"],
    )


def fill(template: Template, members: Sequence[Member], filling: Filling) -> bytes:
    """The file of the members that the template takes, in their order."""
    out = io.StringIO()
    writer = csv.writer(out, delimiter=template.delimiter, lineterminator="\r\n")
    if template.has_header:
        writer.writerow([safe(column.header) for column in template.columns])
    for number, member in enumerate((one for one in members if template.takes(one)), 1):
        writer.writerow([_cell(template, column, member, filling, number) for column in template.columns])
    text = (BOM if template.encoding == "utf-8-bom" else "") + out.getvalue()
    return text.encode(ENCODINGS[template.encoding])


def _cell(template: Template, column: Column, member: Member, filling: Filling, number: int) -> str:
    value = FIELDS[column.field](member, filling, number) if column.field else column.constant
    if isinstance(value, Decimal):
        return f"{value:f}".replace(".", template.decimal_mark)
    if isinstance(value, date):
        return value.strftime(DATES[template.date_format])
    return safe(value)
