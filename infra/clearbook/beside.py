"""The command that holds a team's spreadsheet against a settlement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.clearbook.bills.shown import ID_SHOWN, counted, plain_console, say
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from infra.clearbook.sheets import Sheet, read_map, read_sheet
from shared.agreement.words import figure
from shared.money import EXACT, text
from shared.report.cells import csv_bytes
from shared.steps.comparing_sheet import BASIS, DIFFERS, MISSING_HERE, MISSING_THERE, Compared, Mismatch, compare

_HOW = (MISSING_THERE, MISSING_HERE, DIFFERS, BASIS)


def show_comparison(
    file: Path,
    map_file: Path,
    cycle: str,
    reseller: str,
    home: Path | None,
    json_to: str | None,
    *,
    limit: int,
    lines_to: Path | None,
) -> None:
    """Print every mismatch, both totals, and what of their difference nothing explains."""
    map_ = read_map(map_file)
    with Console(stderr=True).status(f"reading {file.name}") as status:
        sheet = read_sheet(file, map_)
        status.update("comparing")
        rows = [(row.number, row.keys, row.amount, row.basis) for row in sheet.rows]
        found = compare(
            services(home), reseller, cycle, sheet.keys, rows, currency=map_.currency, places=map_.places
        )  # fmt: skip
    if lines_to is not None:
        lines_to.write_bytes(_as_csv(sheet.keys, found.mismatches))
    if json_to is not None:
        write_json(_as_json(sheet, found), json_to)
    if json_to != "-":
        _show(plain_console(), file.name, sheet, found, limit)


def _as_json(sheet: Sheet, found: Compared) -> dict[str, Any]:
    return {
        "reseller": found.kept.owner,
        "cycle": found.kept.cycle,
        "settlement": found.kept.settlement,
        "draft": found.kept.is_draft,
        "rows": len(sheet.rows),
        "rows_skipped": sheet.skipped,
        "agreeing": found.agreeing,
        "mismatches": [_mismatch_json(one) for one in found.mismatches],
        "theirs": text(found.theirs),
        "ours": text(found.ours),
        "rounding": text(found.rounding),
        "unexplained": text(found.unexplained),
    }


def _mismatch_json(one: Mismatch) -> dict[str, Any]:
    amounts = {"theirs": one.theirs, "ours": one.ours, "their_basis": one.their_basis, "our_basis": one.our_basis}
    said = {name: None if value is None else text(value) for name, value in amounts.items()}
    return {
        "how": one.how,
        **one.keys,
        **said,
        "difference": text(one.difference),
        "rows": list(one.rows),
        "because": list(one.because),
    }


def _as_csv(keys: Sequence[str], found: Sequence[Mismatch]) -> bytes:
    rows = [
        [one.how, *(one.keys[key] for key in keys), one.theirs, one.ours, one.difference, "; ".join(one.because)]
        for one in found
    ]
    return csv_bytes(["how", *keys, "theirs", "ours", "difference", "because"], rows)


def _show(console: Console, name: str, sheet: Sheet, found: Compared, limit: int) -> None:
    kept = found.kept
    what = "the last draft" if kept.is_draft else "settlement"
    say(console, f"{name} beside {what} {kept.settlement[:ID_SHOWN]} of {kept.owner} {kept.cycle}")
    rows = f"{counted(len(sheet.rows), 'row')}, {counted(sheet.skipped, 'row')} of sums skipped"
    say(console, f"{rows}; compared by {', '.join(sheet.keys)}", "")
    shown = found.mismatches[: limit or None]
    for one in shown:
        named = ", ".join(f"{key} {value or '-'}" for key, value in one.keys.items())
        place = f" (row {', '.join(map(str, one.rows))})" if one.rows else ""
        say(console, f"{one.how}: {named}{place}", f"  there {_said(one.theirs)}, here {_said(one.ours)}")
        if one.their_basis is not None:
            say(console, f"  basis there {_said(one.their_basis)}, here {_said(one.our_basis)}")
        say(console, *(f"  {reason}" for reason in one.because))
    if len(found.mismatches) > len(shown):
        say(console, f"{counted(len(found.mismatches) - len(shown), 'more mismatch', 'more mismatches')}; --limit 0")
    counts = Counter(one.how for one in found.mismatches)
    said = [f"{counts[how]:,} {how}" for how in _HOW if counts[how]]
    say(console, "" if shown else "no mismatch", f"{found.agreeing:,} agree{''.join(f', {one}' for one in said)}")
    difference = EXACT.subtract(found.ours, found.theirs)
    say(console, f"there {figure(found.theirs)}, here {figure(found.ours)}, difference {figure(difference)}")
    listed = EXACT.subtract(EXACT.subtract(difference, found.rounding), found.unexplained)
    rest = f"rounding {figure(found.rounding)}, unexplained {figure(found.unexplained)}"
    say(console, f"of which mismatches {figure(listed)}, {rest}")


def _said(value: Decimal | None) -> str:
    return "nothing" if value is None else figure(value)
