"""A map that says what a file of others is about, which column is what, and by which key its rows are matched.

It is a map as `compare` reads it (shared/reconciliation/README.md), with what it is held against.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from infra.clearbook.sheets import KEYS, Column, ColumnsModel, MapModel, Row, Sheet, read_map_as, read_sheet
from shared.documents import DocumentRefusedError, Id
from shared.errors import BadInputError
from shared.reconciliation.expecting import Theirs
from shared.steps.reconciling.expected import KINDS, Question, asked, period

_MORE = ("payer", "reseller", "agreement", "rule", "instruction", "kind")
_BESIDE = ("currency", "period")  # what a row may say beside its key
_READ = (*KEYS, *_MORE, *_BESIDE)
_KEYED = (*KEYS, *_MORE)
Kind = Literal["debit", "credit", "debit adjustment", "credit adjustment"]


class ExpectedColumns(ColumnsModel):
    payer: Column | None = None
    reseller: Column | None = None
    agreement: Column | None = None
    rule: Column | None = None
    instruction: Column | None = None
    kind: Column | None = None
    currency: Column | None = None
    period: Column | None = None


class ExpectedModel(MapModel):
    """What a file of others is about, and which of its columns is what."""

    name: Id  # how tolerances name it
    against: Literal["settlement", "statements", "bill", "payouts"]
    amount_is: str | None = None
    columns: ExpectedColumns
    names: dict[str, dict[str, str]] = Field(default_factory=dict)  # type: ignore[assignment]
    reversed: Annotated[list[Kind], Field(max_length=len(KINDS))] = Field(default_factory=list)


def read_expectation(path: Path) -> tuple[ExpectedModel, Question]:
    """The map and what it asks, refused with every place that is wrong."""
    found = read_map_as(ExpectedModel, path, _KEYED)
    columns = found.columns
    findings = [(f"names.{one}", "is no column that is named") for one in found.names if one not in _READ]
    if columns.basis is not None:
        findings.append(("columns.basis", "is not compared here; name it as `amount`, with `amount_is: basis`"))
    if found.places is not None:
        findings.append(("places", "nothing is rounded here; a tolerance says how far apart amounts may be"))
    if found.currency is None and columns.currency is None:
        findings.append(("currency", "say the currency of its amounts, or name a column for it"))
    if found.reversed and columns.kind is None:
        findings.append(("reversed", "is about kinds: name a column for `kind`"))
    if findings:
        raise DocumentRefusedError(str(path), findings)
    keys = [key for key in _KEYED if getattr(columns, key) is not None]
    try:
        return found, asked(found.name, found.against, keys, found.amount_is)
    except BadInputError as exc:
        raise DocumentRefusedError(str(path), [(exc.place, f"{exc.problem}; {exc.remedy}")]) from exc


def read_rows(path: Path, map_: ExpectedModel) -> tuple[list[Theirs], Sheet]:
    """The rows of the file as they are matched; refused with what is wrong in the first that cannot be read."""
    sheet = read_sheet(path, map_, _READ)
    rows, findings = [], []
    for row in sheet.rows:
        try:
            rows.append(_row(row, sheet.keys, map_))
        except BadInputError as exc:
            findings.append((f"row {row.number}, {exc.place}", f"{exc.problem}; {exc.remedy}"))
    if findings:
        raise DocumentRefusedError(path.name, findings[:20])
    return rows, sheet


def _row(row: Row, keys: tuple[str, ...], map_: ExpectedModel) -> Theirs:
    said = dict(zip(keys, row.keys, strict=True))
    currency = said.pop("currency", "") or map_.currency or ""
    of = said.pop("period", "")
    if not currency:
        raise BadInputError("currency", "is missing", "fill it in, or say `currency` in the map")
    kind = said.get("kind", "")
    if kind and kind not in KINDS:
        raise BadInputError("kind", f"is {kind!r}", f"say under `names.kind` which of {', '.join(KINDS)} it is")
    amount = -row.amount if kind in map_.reversed else row.amount
    return Theirs(row.number, tuple(said.values()), currency, period(of) if of else "", amount)
