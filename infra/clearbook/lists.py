"""The commands that show: the settlements of a cycle, and that all adds up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.cycle import Cycle
from shared.money import text
from shared.parties.parties import OPERATOR
from shared.services import Services
from shared.steps import projections
from shared.steps.reconcile import reconcile


def settlements_of(work: Services, cycle: str) -> list[dict[str, Any]]:
    """The settlements of a cycle, one for each reseller and agreement."""
    rows = projections.listed(work, projections.SETTLEMENTS, str(Cycle.parse(cycle)))
    return [
        {
            "id": row["settlement"],
            "cycle": cycle,
            "reseller": row["owner"],
            "agreement": one["agreement"],
            "currency": one["currency"],
            "state": row["state"],
            "lines": row["lines"],
            "total": one["total"],
            "tax": one["tax"],
            "payable": one["payable"],
        }
        for row in rows
        if row["owner"] != OPERATOR
        for one in json.loads(str(row["statements"]))
    ]


def show_settlements(cycle: str, home: Path | None, json_to: str | None) -> None:
    """Print the settlements of a cycle."""
    found = settlements_of(services(home), cycle)
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        Console().print(settlement_table(found, f"Settlements {cycle}"))


def reconciliation_of(work: Services, cycle: str) -> dict[str, Any]:
    """What was billed and settled in a cycle by currency, amounts as exact text, and shares not settled yet."""
    found = reconcile(work, str(Cycle.parse(cycle)))
    rows = [
        {
            "currency": one.currency,
            "billed": text(one.billed),
            "settled": text(one.shared),
            "unexplained": text(one.unexplained),
        }
        for one in found.comparisons
    ]
    return {"cycle": cycle, "currencies": rows, "not_settled": found.missing}


def show_reconciliation(cycle: str, home: Path | None, json_to: str | None) -> None:
    """Print the reconciliation of a cycle."""
    found = reconciliation_of(services(home), cycle)
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        print(reconciliation_text(found))


def reconciliation_text(found: Mapping[str, Any]) -> str:
    """The reconciliation in a line a currency."""
    lines = [
        f"{one['currency']}: billed {one['billed']}, settled, excluded, netted and in cases {one['settled']}, "
        f"unexplained {one['unexplained']}"
        for one in found["currencies"]
    ]
    if found["not_settled"]:
        lines.append(f"not settled yet: {', '.join(found['not_settled'])}")
    return "\n".join(lines) or f"{found['cycle']}: no bill is sealed"


def settlement_table(found: list[dict[str, Any]], title: str) -> Table:
    """The settlements as a table."""
    table = Table(title=title, title_justify="left")
    for name in ("Reseller", "Agreement", "State"):
        table.add_column(name)
    for name in ("Lines", "Total", "Payable"):
        table.add_column(name, justify="right")
    table.add_column("Settlement")
    for one in found:
        money = [f"{one[name]} {one['currency']}" for name in ("total", "payable")]
        table.add_row(one["reseller"], one["agreement"], one["state"], f"{one['lines']:,}", *money, str(one["id"])[:12])
    return table
