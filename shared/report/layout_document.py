"""The document of a reseller's own layout: checked as a whole before anybody can approve it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any, Literal

from pydantic import Field

from shared.documents import DocumentRefusedError, Id, Model, check
from shared.ids import canonical_json
from shared.report.layout import CSV, DATES, ENCODINGS, FIELDS

COLUMNS_MAX = 100
Text = Annotated[str, Field(max_length=200)]


class ColumnModel(Model):
    header: Annotated[str, Field(min_length=1, max_length=200)]
    field: str | None = None
    constant: Text | None = None


class LayoutDocument(Model):
    reseller: Id
    format: Literal["csv", "xlsx"] = "csv"
    columns: Annotated[list[ColumnModel], Field(min_length=1, max_length=COLUMNS_MAX)]
    delimiter: Literal[",", ";", "\t", "|"] = ","
    decimal: Literal[".", ","] = "."
    dates: str = "YYYY-MM-DD"
    encoding: str = "utf-8"
    ends: bool = False


def layout_document(data: Any, name: str, resellers: Collection[str]) -> bytes:
    """The checked layout in canonical JSON; DocumentRefusedError lists everything that is wrong."""
    document = check(LayoutDocument, data, name)
    findings = []
    if document.reseller not in resellers:
        known = ", ".join(sorted(resellers)) or "none"
        findings.append(("reseller", f"{document.reseller!r} is none; there are: {known}"))
    for number, one in enumerate(document.columns):
        place = f"columns.{number}"
        if (one.field is None) == (one.constant is None):
            findings.append((place, "give either a field or a constant"))
        if one.field is not None and one.field not in FIELDS:
            findings.append((f"{place}.field", f"{one.field!r} is none; there are: {', '.join(FIELDS)}"))
        if any(ord(sign) < 32 for sign in one.header + (one.constant or "")):
            findings.append((place, "holds a line break or another control character; leave it out"))
    headers = [one.header for one in document.columns]
    findings += [
        (f"columns.{number}.header", f"{one!r} stands here a second time; give each column its own")
        for number, one in enumerate(headers)
        if one in headers[:number]
    ]
    if document.dates not in DATES:
        findings.append(("dates", f"{document.dates!r} is none; there are: {', '.join(DATES)}"))
    if document.encoding not in ENCODINGS:
        findings.append(("encoding", f"{document.encoding!r} is none; there are: {', '.join(ENCODINGS)}"))
    if document.format == CSV and document.delimiter == document.decimal:
        findings.append(("decimal", "is the delimiter as well; choose another of the two"))
    if findings:
        raise DocumentRefusedError(name, findings)
    return canonical_json(document.model_dump())
