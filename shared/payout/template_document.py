"""The document of a payout file's columns: checked as a whole before anybody can approve it.

```yaml
template: rivers-batch
for: {currencies: [CNY], kinds: [bank]}   # the payments that go into it; a payment goes into one file
delimiter: ","
encoding: gb18030                         # utf-8, utf-8-bom
decimal_mark: "."
date_format: YYYYMMDD
columns:
  - {header: 收款账号, field: account}
  - {header: 币种, constant: RMB}
```
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from shared.documents import DocumentRefusedError, Id, Model, check
from shared.ids import canonical_json
from shared.payout.template import DATES, DELIMITERS, ENCODINGS, FIELDS
from shared.reference import currencies
from shared.report.cells import safe

# Of a payment somebody must know what it is, to whom, and how much.
_NEEDED = (("account",), ("amount",), ("instruction", "end_to_end"))


class ColumnModel(Model):
    header: Annotated[str, Field(min_length=1, max_length=100)]
    field: str | None = None
    constant: Annotated[str, Field(max_length=200)] | None = None


class ForModel(Model):
    currencies: list[str] = Field(default_factory=list)
    kinds: Annotated[list[Literal["bank", "wallet"]], Field(min_length=1)] = Field(default=["bank", "wallet"])


class TemplateDocument(Model):
    template: Id
    for_: ForModel = Field(alias="for", default=ForModel())
    in_use: bool = True
    columns: Annotated[list[ColumnModel], Field(min_length=1, max_length=100)]
    delimiter: str = ","
    encoding: str = "utf-8-bom"
    decimal_mark: Literal[".", ","] = "."
    date_format: str = "YYYY-MM-DD"
    has_header: bool = True


def template_document(data: Any, name: str) -> bytes:
    """The checked document in canonical JSON; DocumentRefusedError lists everything that is wrong."""
    document = check(TemplateDocument, data, name)
    findings = [
        *_one_of("delimiter", document.delimiter, DELIMITERS),
        *_one_of("encoding", document.encoding, ENCODINGS),
        *_one_of("date_format", document.date_format, DATES),
        *(
            (f"for.currencies.{index}", f"{one!r} is no ISO 4217 code")
            for index, one in enumerate(document.for_.currencies)
            if not currencies.known(one)
        ),
        *_columns(document),
    ]
    if document.decimal_mark == document.delimiter:
        findings.append(("decimal_mark", "is the delimiter, too; choose another delimiter"))
    if findings:
        raise DocumentRefusedError(name, findings)
    return canonical_json(document.model_dump(by_alias=True))


def _one_of(place: str, value: str, known: Any) -> list[tuple[str, str]]:
    return [] if value in known else [(place, f"is {value!r}, expected one of {', '.join(map(repr, known))}")]


def _columns(document: TemplateDocument) -> list[tuple[str, str]]:
    findings = []
    for index, one in enumerate(document.columns):
        place = f"columns.{index}"
        if (one.field is None) == (one.constant is None):
            findings.append((place, "needs exactly one of field and constant"))
        if one.field is not None:
            findings += _one_of(f"{place}.field", one.field, FIELDS)
        for name, value in (("header", one.header), ("constant", one.constant or "")):
            if safe(value) != value:
                findings.append((f"{place}.{name}", f"{value!r} begins like a formula; begin it otherwise"))
            if "\n" in value or "\r" in value:
                findings.append((f"{place}.{name}", "has a line break; write it on one line"))
    fields = {one.field for one in document.columns}
    for needed in _NEEDED:
        if not fields & set(needed):
            findings.append(("columns", f"none has the field {' or '.join(needed)}; add one"))
    return findings
