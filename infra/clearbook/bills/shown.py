"""How bills are printed: amounts, accounts and whatever else people copy stay whole, however narrow the terminal is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

ID_SHOWN = 12  # of a digest; JSON has all of it
_WIDEST = 10_000


def plain_console() -> Console:
    """A console that prints text as it is: names from a bill are no markup, and `:x:` in one is no picture."""
    return Console(markup=False, emoji=False, highlight=False)


def say(console: Console, *lines: str) -> None:
    """Print lines as they are; a terminal that is too narrow shows the rest below, and what is copied is whole."""
    for line in lines:
        console.print(line, soft_wrap=True)


def columns(*names: str, right: Sequence[str] = ()) -> Table:
    """A table of such columns, those named in `right` for figures."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for name in names:
        table.add_column(name, justify="right" if name in right else "left", no_wrap=True)
    return table


def say_table(console: Console, table: Table) -> None:
    """Print a table in the width that it needs: nothing in it is cut or broken."""
    table.width = Measurement.get(console, console.options.update_width(_WIDEST), table).maximum
    console.print(table, soft_wrap=True)


def totals_lines(totals: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Pretax sums, a currency each."""
    return [f"{amounts['pretax']} {currency}" for currency, amounts in sorted(totals.items())] or ["nothing"]


def refusals_lines(refused: Mapping[str, str]) -> list[str]:
    """What is said of files that were written again and refused."""
    return [f"{key} was written again and refused, what it said before stands: {why}" for key, why in refused.items()]


def said(one: Mapping[str, Any]) -> str:
    """How many lines a bill has, and their pretax sums by currency."""
    if not one["rows"]:
        return "no lines"
    return f"{counted(one['rows'], 'line')}, {', '.join(totals_lines(one['totals']))}"


def compared(one: Mapping[str, Any]) -> str:
    """How many differences two sources have, and what they come to by currency."""
    if not one["count"]:
        return "no differences"
    sums = ", ".join(f"{amount} {currency}" for currency, amount in one["amounts"].items())
    return f"{counted(one['count'], 'difference')}, {sums} pretax in all"


def counted(count: int, one: str, many: str = "") -> str:
    """`3 lines`, `1 line`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def minute(instant: str) -> str:
    """An instant to the minute, UTC: `2025-07-03T04:30Z`."""
    return f"{instant[:16]}Z"
