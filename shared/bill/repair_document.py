"""Repair rules: the one way in which a row of a bill is changed, by a named version that two people approved.

    repair: acme-region          # stable name
    version: 2
    payers: ["100"]              # of these payers; of all where it is not said
    forms: [classic-zh]          # of files or pulls of these forms; of all where it is not said
    when: {product_code: [oss], region: ["华东1"]}   # columns of a line, with the trimmed texts that they hold
    set: {region: 华东1（杭州）}    # columns that hold these texts instead
    because: the provider shortened the name in June 2025
    ends: false                  # true: this version takes the rule out of force

A rule changes texts before they are read, so what it sets is checked like any other. Amounts are never repaired.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from shared.bill.formats import HELPERS, known
from shared.bill.line import AMOUNTS, COLUMNS, QUANTITIES
from shared.documents import DocumentRefusedError, Model, check
from shared.ids import canonical_json

Text = Annotated[str, Field(min_length=1, max_length=500)]
_NEVER = {*AMOUNTS, *QUANTITIES, "line_id", "payer", "cycle", "kind", "repair"}


class RepairDocument(Model):
    repair: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")]
    version: Annotated[int, Field(ge=1)]
    payers: list[Annotated[str, Field(pattern=r"^[0-9]{1,20}$")]] = Field(default_factory=list)
    forms: list[str] = Field(default_factory=list)
    when: Annotated[dict[str, list[Text]], Field(min_length=1)]
    set: Annotated[dict[str, Text], Field(min_length=1)]
    because: Text
    ends: bool = False


def repair_document(data: Any, name: str) -> bytes:
    """The checked rule in canonical JSON; DocumentRefusedError lists everything that is wrong."""
    document = check(RepairDocument, data, name)
    readable = {*COLUMNS, *HELPERS}
    findings = [(f"when.{one}", "is no column of a line") for one in document.when if one not in readable]
    findings += [
        (f"set.{one}", "is no column that may be set: amounts, quantities and what a line is named by stay as they are")
        for one in document.set
        if one not in readable or one in _NEVER
    ]
    findings += [(f"forms.{n}", f"{one!r} is no form") for n, one in enumerate(document.forms) if one not in known()]
    if findings:
        raise DocumentRefusedError(name, findings)
    return canonical_json(document.model_dump())
