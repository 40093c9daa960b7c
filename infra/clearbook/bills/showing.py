"""The command that shows a bill: what each source said of it and when, its dates, and one line with its raw place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from infra.clearbook.bills.raw_rows import raw_row
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.access.scope import Scope
from shared.bill import parts
from shared.bill.lookup import BillLines
from shared.bill.snapshot import OBSERVED, SEALED, Seal, Snapshot, stream_of
from shared.chain.entry import Entry
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.services import Services
from shared.steps import state

_REJECTS_SHOWN = 20


def show_bill(account: str, cycle: str | None, home: Path | None, json_to: str | None) -> None:
    """Print the bills of an account, or what is known of one."""
    work = services(home)
    found = bills_of(work, account) if cycle is None else bill_of(work, account, cycle)
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    console = Console()
    if cycle is None:
        console.print(_entry_table(found["bills"], f"Bills of {account}: the newest of each source", with_cycle=True))
        return
    console.print(_entry_table(found["entries"], f"Bill of {account}, {found['cycle']}"))
    console.print(_part_table(found["parts"], f"Snapshot {found['snapshot'][:12]} by date"))
    for place, reasons in found["rejects"].items():
        for reason in reasons:
            console.print(f"no line, {place}: {reason}", markup=False, highlight=False, soft_wrap=True)


def show_line(
    account: str, line_id: str, home: Path | None, json_to: str | None, *, raw: bool, cycle: str | None = None
) -> None:
    """Print one line of a payer's bills, every column, with its raw place, and with `raw` what lies there."""
    found = lines_of(services(home), account, line_id, cycle, raw=raw)
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    for one in found:
        for name, value in one.items():
            if name != "raw":
                print(f"{name:20} {value}")
        if "raw" in one:
            print("as the provider said it:")
            print(json.dumps(one["raw"], ensure_ascii=False, indent=2))


# -- bills ------------------------------------------------------------------------------------------------------


def observed(entries: list[Entry]) -> list[tuple[Entry, Seal]]:
    """The seals and observations of a stream, oldest first."""
    return [(one, Seal(**one.body, seq=one.seq)) for one in entries if one.kind in (SEALED, OBSERVED)]


def cycles_of(work: Services, account: str) -> list[str]:
    """The cycles of which some source has said something."""
    return sorted({key.split("/")[2] for key in work.buckets.work.keys(f"snapshots/{account}/")})


def bills_of(work: Services, account: str) -> dict[str, Any]:
    """The newest observation of each source in each cycle."""
    found = []
    for cycle in cycles_of(work, account):
        newest = {seal.source: (entry, seal) for entry, seal in observed(work.chain.read(stream_of(account, cycle)))}
        found += [_entry(*newest[source]) for source in sorted(newest)]
    if not found:
        remedy = "give a payer account whose bill was pulled or imported"
        raise BadInputError("--account", f"no bill of {account} is known", remedy)
    return {"account": account, "bills": found}


def bill_of(work: Services, account: str, cycle: str) -> dict[str, Any]:
    """Every observation of a bill, and the dates and rejects of the newest: a seal if there is one."""
    said = observed(entries_of(work, account, cycle))
    newest = ([seal for entry, seal in said if entry.kind == SEALED] or [said[-1][1]])[-1]
    snapshot = state.snapshot(work, account, cycle, newest.snapshot)
    return {
        "account": account,
        "cycle": cycle,
        "entries": [_entry(entry, seal) for entry, seal in said],
        "snapshot": newest.snapshot,
        "parts": parts_of(snapshot, newest),
        "rejects": {
            place: reasons_of(work, {place: one}, _REJECTS_SHOWN) for place, one in sorted(newest.rejects.items())
        },
    }


def entries_of(work: Services, account: str, cycle: str) -> list[Entry]:
    """The stream of a bill of which something was said; refuses one that nobody has seen."""
    entries = work.chain.read(stream_of(account, str(Cycle.parse(cycle, "--cycle"))))
    if not observed(entries):
        known = ", ".join(cycles_of(work, account)) or "none"
        remedy = f"its known cycles are: {known}; pull or import this one"
        raise BadInputError("--cycle", f"no bill of {account} for {cycle} is known", remedy)
    return entries


def _entry(entry: Entry, seal: Seal) -> dict[str, Any]:
    return {
        "seq": seal.seq,
        "kind": entry.kind,
        "cycle": seal.cycle,
        "source": seal.source,
        "status": seal.status,
        "slot": seal.slot,
        "at": entry.at,
        "snapshot": seal.snapshot,
        "rows": seal.rows,
        "totals": seal.totals,
        "rejects": sum(int(one["count"]) for one in seal.rejects.values()),
        # Without a control there is nothing to differ from, which is not the same as no difference.
        "control": {name: seal.control[name] for name in ("differences", "open")} if seal.control["key"] else None,
        "files": sorted(seal.files),
    }


def parts_of(snapshot: Snapshot, seal: Seal) -> list[dict[str, Any]]:
    """The dates of a snapshot, with the round or file that each was last taken from."""
    return [
        {"date": day, "rows": part.rows, "totals": part.totals, "accounts": len(part.accounts),
         "slot": seal.pulls.get(day, ""), "part": part.digest}
        for day, part in sorted(snapshot.parts.items())
    ]  # fmt: skip


def reasons_of(work: Services, rejects: Mapping[str, Mapping[str, Any]], limit: int) -> list[str]:
    """Why rows are no lines, each with its place; the first few."""
    found: list[str] = []
    for place, one in sorted(rejects.items()):
        if len(found) >= limit:
            break
        body = work.buckets.work.find(one["key"])
        told = [] if body is None else parts.parse_rejects(body)
        found += [f"{place}, page {r.page} row {r.row}: {r.reason}" for r in told[: limit - len(found)]]
    return found


def totals_text(totals: Mapping[str, Mapping[str, str]]) -> str:
    """Pretax sums by currency."""
    return ", ".join(f"{amounts['pretax']} {currency}" for currency, amounts in sorted(totals.items())) or "nothing"


def _entry_table(found: list[dict[str, Any]], title: str, *, with_cycle: bool = False) -> Table:
    table = Table(title=title, title_justify="left")
    for name in (*(["Cycle"] if with_cycle else []), "Entry", "Source", "Status", "Slot", "Seen"):
        table.add_column(name)
    for name in ("Lines", "Pretax", "Rejected", "Differences (open)"):
        table.add_column(name, justify="right")
    table.add_column("Snapshot")
    for one in found:
        compared = one["control"]
        table.add_row(
            *([one["cycle"]] if with_cycle else []), f"{one['seq']} {one['kind']}", one["source"], one["status"],
            one["slot"], one["at"], f"{one['rows']:,}", totals_text(one["totals"]), f"{one['rejects']:,}",
            f"{compared['differences']} ({compared['open']})" if compared else "not compared", one["snapshot"][:12],
        )  # fmt: skip
    return table


def _part_table(found: list[dict[str, Any]], title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("Date")
    for name in ("Lines", "Pretax", "Accounts"):
        table.add_column(name, justify="right")
    for name in ("Slot", "Part"):
        table.add_column(name)
    for one in found:
        counts = f"{one['rows']:,}", totals_text(one["totals"]), str(one["accounts"])
        table.add_row(one["date"], *counts, one["slot"], one["part"][:12])
    return table


# -- lines ------------------------------------------------------------------------------------------------------


def lines_of(
    work: Services, account: str, line_id: str, cycle: str | None = None, *, raw: bool = False
) -> list[dict[str, Any]]:
    """The lines of this id in a payer's bills: one, but for ids that a source uses again in another cycle."""
    page = BillLines(work.rows).line(Scope.operator(), line_id, is_gone_shown=True)
    found: list[dict[str, Any]] = [
        dict(one) for one in page.lines if one.get("payer") == account and cycle in (None, one.get("cycle"))
    ]
    if not found:
        where = f"{account}, {cycle}" if cycle else account
        remedy = "lines are known from the first seal on; `clearbook bill diff` and the statements name their ids"
        raise BadInputError("--line", f"no line {line_id!r} in the bills of {where}", remedy)
    if raw:
        for one in (one for one in found if not one.get("gone")):
            one["raw"] = raw_row(work, str(one.get("source", "")), int(one.get("source_row", -1)))
    return found
