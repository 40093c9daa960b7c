"""The worked examples of an agreement, settled by the engine itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from tempfile import gettempdir
from typing import Any

from shared.agreement.agreement import Agreement
from shared.columnar import connect
from shared.cycle import Cycle
from shared.money import rounded, total
from shared.parties.parties import Assignment
from shared.settlement import engine, lines
from shared.settlement.share import Share


def settle_example(agreement: Agreement, example: Sequence[Mapping[str, Any]]) -> Decimal:
    """The commission that the agreement gives for the lines of an example, rounded as its statement; what is held back
    of it is earned all the same.

    Lines without a date stand on the agreement's first day; those without an account are each customer's own.
    """
    first = agreement.begins
    rows = []
    for number, line in enumerate(example):
        given = {name: value for name, value in line.items() if value is not None}
        customer = given.pop("customer", "example")
        row = {"account": f"account of {customer}", "currency": agreement.currency, "gross": given["pretax"], **given}
        row.setdefault("payment", given["pretax"])
        row.setdefault("date", first)
        rows.append({**row, "discount": row.get("discount", "0"), "line_id": f"line {number:04d}", "who": customer})
    assignments = {
        str(row["account"]): Assignment(
            str(row["account"]), str(row["who"]), agreement.reseller, "reseller", first, None
        )
        for row in rows
    }
    share = Share(agreement.reseller, Cycle.of(first), list(assignments.values()), [agreement])
    with connect(Path(gettempdir())) as connection:
        lines.load_lines(connection, rows)
        settled = engine.settle(connection, share)
    exact = total([group.amount for group in settled.groups if group.kind != "holdback"])
    return rounded(exact, agreement.places, agreement.mode)
