"""The command that shows what the sweeps could not mend, and what to do about each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from shared.steps.losses.tries import Tried
from shared.steps.sweep import stuck


def show_stuck(home: Path | None, json_to: str | None) -> None:
    """Print what is missing since earlier sweeps, oldest first."""
    found = [_as_json(one, is_late) for one, is_late in stuck(services(home), now(home))]
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        Console().print(_table(found) if found else "nothing is stuck")


def _as_json(one: Tried, is_late: bool) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "key": one.key,
        "cycle": one.cycle or None,
        "owner": one.owner or None,
        "since": one.since,
        "late": is_late,
        "tries": one.tries,
        "last": one.last,
        "cause": one.cause,
        "problem": one.problem or None,
        "remedy": one.remedy,
    }


def _table(found: list[dict[str, Any]]) -> Table:
    table = Table(title="What is missing and could not be mended", title_justify="left", show_lines=True)
    table.add_column("What", overflow="fold")
    table.add_column("Since")
    table.add_column("Tried", justify="right")
    table.add_column("What is wrong")
    table.add_column("What to do")
    for one in found:
        since = f"{one['since']}{' (late)' if one['late'] else ''}"
        table.add_row(
            f"{one['kind']} {one['key']}", since, str(one["tries"]), one["problem"] or one["cause"], one["remedy"]
        )
    return table
