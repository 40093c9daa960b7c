"""The commands that show: settlements and cases of a cycle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

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


def cases_of(work: Services, cycle: str) -> list[dict[str, Any]]:
    """The open cases of a cycle; `reseller` is None for lines that no reseller owns."""
    rows = projections.listed(work, projections.CASES, str(Cycle.parse(cycle)))
    return [
        {
            "id": row["id"],
            "kind": row["kind"],
            "reseller": None if row["owner"] == OPERATOR else row["owner"],
            "lines": row["lines"],
            "amount": row["amount"],
            "currency": row["currency"],
            "problem": row["problem"],
            "remedy": row["remedy"],
        }
        for row in sorted(rows, key=lambda row: (str(row["kind"]), str(row["owner"]), str(row["id"])))
        if row["state"] == "open"
    ]


def show_settlements(cycle: str, home: Path | None, json_to: str | None) -> None:
    """Print the settlements of a cycle."""
    found = settlements_of(services(home), cycle)
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        Console().print(settlement_table(found, f"Settlements {cycle}"))


def show_cases(cycle: str, home: Path | None, json_to: str | None) -> None:
    """Print the open cases of a cycle."""
    found = cases_of(services(home), cycle)
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        Console().print(case_table(found, f"Open cases {cycle}"))


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


def case_table(found: list[dict[str, Any]], title: str) -> Table:
    """The cases as a table."""
    table = Table(title=title, title_justify="left", show_lines=True)
    table.add_column("Whose")
    table.add_column("Lines", justify="right")
    table.add_column("Amount held", justify="right")
    table.add_column("What is wrong")
    table.add_column("What would resolve it")
    for one in found:
        amount = f"{one['amount']} {one['currency']}".strip()
        table.add_row(one["reseller"] or "nobody yet", f"{one['lines']:,}", amount, one["problem"], one["remedy"])
    return table
