"""The commands that show: the settlements of a cycle, and that all adds up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.table import Table

from infra.clearbook.bills.shown import plain_console, say_table
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.cycle import Cycle
from shared.parties.parties import OPERATOR
from shared.services import Services
from shared.steps import projections


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
        say_table(plain_console(), settlement_table(found, f"Settlements {cycle}"))


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
