"""The command that shows a bill: what each source said of it and when, its dates, and one line with its raw place."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.clearbook.bills.observed_lines import observed_lines
from infra.clearbook.bills.raw_rows import raw_row
from infra.clearbook.bills.shown import (
    ID_SHOWN,
    columns,
    counted,
    minute,
    plain_console,
    refusals_lines,
    say,
    say_table,
    totals_lines,
)
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.access.scope import Scope
from shared.bill import parts
from shared.bill.lookup import BillLines
from shared.bill.snapshot import OBSERVED, SEALED, Seal, Snapshot, stream_of
from shared.chain.entry import Entry
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.parties.parties import NoPartiesError
from shared.services import Services
from shared.steps import state
from shared.steps.ingest_file import note_key

_REJECTS_SHOWN = 20


def show_bill(account: str, cycle: str | None, home: Path | None, json_to: str | None) -> None:
    """Print the bills of an account, or what is known of one."""
    work = services(home)
    found = bills_of(work, account) if cycle is None else bill_of(work, account, cycle)
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    console = plain_console()
    if cycle is None:
        say(console, f"Bills of {account}: the newest of each source")
        _say_entries(console, found["bills"], with_cycle=True)
        return
    say(console, f"Bill of {account}, {found['cycle']}")
    _say_entries(console, found["entries"])
    say(console, "", f"By date, snapshot {found['snapshot'][:ID_SHOWN]}")
    _say_parts(console, found["parts"])
    for place, reasons in found["rejects"].items():
        say(console, *(f"no line, {place}: {reason}" for reason in reasons))


def show_line(
    account: str, line_id: str, home: Path | None, json_to: str | None, *, raw: bool, cycle: str | None = None
) -> None:
    """Print one line of a payer's bills, every column, with its raw place, and with `raw` what lies there."""
    found = lines_of(services(home), account, line_id, cycle, raw=raw)
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    for number, one in enumerate(found):
        if number:
            print()
        for name, value in one.items():
            if name != "raw":
                print(f"{name:20} {value}")
        if "raw" in one:
            print("as the provider said it:")
            print(json.dumps(one["raw"], ensure_ascii=False, indent=2))


# -- bills ------------------------------------------------------------------------------------------------------


def observed(entries: list[Entry]) -> list[tuple[Entry, Seal]]:
    """The seals and observations of a stream, oldest first, as their entries have them."""
    return [(one, Seal(**one.body, seq=one.seq)) for one in entries if one.kind in (SEALED, OBSERVED)]


def _said(work: Services, entries: list[Entry]) -> list[tuple[Entry, Seal]]:
    """As `observed`, with all that is said of files and rejects."""
    return [(entry, state.with_files(work, seal)) for entry, seal in observed(entries)]


def cycles_of(work: Services, account: str) -> list[str]:
    """The cycles of which some source has said something."""
    return sorted({key.split("/")[2] for key in work.buckets.work.keys(f"snapshots/{account}/")})


def bills_of(work: Services, account: str) -> dict[str, Any]:
    """The newest observation of each source in each cycle."""
    found = []
    for cycle in cycles_of(work, account):
        newest = {seal.source: (entry, seal) for entry, seal in _said(work, work.chain.read(stream_of(account, cycle)))}
        found += [_entry(*newest[source], refused_files(work, newest[source][1])) for source in sorted(newest)]
    if not found:
        raise _no_bill(work, account)
    return {"account": account, "bills": found}


def bill_of(work: Services, account: str, cycle: str) -> dict[str, Any]:
    """Every observation of a bill, and the dates and rejects of the newest: a seal if there is one."""
    said = _said(work, entries_of(work, account, cycle))
    newest = ([seal for entry, seal in said if entry.kind == SEALED] or [said[-1][1]])[-1]
    last = {seal.source: seal.seq for _, seal in said}
    snapshot = state.snapshot(work, account, cycle, newest.snapshot)
    return {
        "account": account,
        "cycle": cycle,
        "entries": [
            _entry(entry, seal, refused_files(work, seal) if last[seal.source] == seal.seq else {})
            for entry, seal in said
        ],
        "snapshot": newest.snapshot,
        "parts": parts_of(snapshot, newest),
        "rejects": {
            place: reasons_of(work, {place: one}, _REJECTS_SHOWN) for place, one in sorted(newest.rejects.items())
        },
    }


def entries_of(work: Services, account: str, cycle: str) -> list[Entry]:
    """The stream of a bill of which something was said; refuses one that nobody has seen."""
    entries = work.chain.read(stream_of(account, str(Cycle.parse(cycle, "--cycle"))))
    if observed(entries):
        return entries
    known = cycles_of(work, account)
    if not known:
        raise _no_bill(work, account)
    remedy = f"its known cycles are: {', '.join(known)}; give one of them, or pull or import this one"
    raise BadInputError("--cycle", f"no bill of {account} for {cycle} is known", remedy)


def _no_bill(work: Services, account: str) -> BadInputError:
    try:
        payers = sorted(state.parties(work)[0].connectors)
    except NoPartiesError:
        payers = []
    if account in payers:
        remedy = "pull one with `clearbook bill pull`, or import its files"
    else:
        known = ", ".join(payers) or "none yet; import a party document first"
        remedy = f"give the account of a payer; payers are: {known}"
    return BadInputError("--account", f"no bill of {account!r} is known", remedy)


def refused_files(work: Services, seal: Seal) -> dict[str, str]:
    """The files of an observation that were written again since and refused, so that it stands; each with why."""
    found = {}
    for key in sorted(state.with_files(work, seal).files):
        version = work.buckets.inbox.version(key)
        noted = work.buckets.work.find(note_key(key, version.tag)) if version else None
        if noted is not None and "refused" in (told := json.loads(noted)):
            found[key] = told["refused"].removeprefix(f"{key}: ")
    return found


def _entry(entry: Entry, seal: Seal, refused: Mapping[str, str]) -> dict[str, Any]:
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
        "refused_files": refused,
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


def _say_entries(console: Console, found: list[dict[str, Any]], *, with_cycle: bool = False) -> None:
    """The observations, two lines each, and below them what is wrong with any."""
    first = "Cycle\nentry" if with_cycle else "Entry"
    table = columns(first, "Source\nkind, status", "Seen\nslot", "Lines", "Pretax\nsnapshot", right=("Lines",))
    for one in found:
        name = f"{one['cycle']}\n{one['seq']}" if with_cycle else str(one["seq"])
        seen = f"{minute(one['at'])}\n{one['slot']}"
        pretax = "\n".join([*totals_lines(one["totals"]), one["snapshot"][:ID_SHOWN]])
        table.add_row(name, f"{one['source']}\n{one['kind']} {one['status']}", seen, f"{one['rows']:,}", pretax)
    say_table(console, table)
    for one in found:
        where = f"{one['cycle']} entry {one['seq']}" if with_cycle else f"entry {one['seq']}"
        say(console, *(f"{where}: {remark}" for remark in _remarks(one)))


def _remarks(one: Mapping[str, Any]) -> list[str]:
    """What is to be known of an observation beside its figures."""
    compared = one["control"]
    if compared is None:
        remarks = ["not compared: the provider's sums are not known"]
    elif compared["differences"]:
        told = counted(compared["differences"], "difference")
        remarks = [f"{told} to the provider's sums, {compared['open']} open"]
    else:
        remarks = []
    remarks += refusals_lines(one["refused_files"])
    return [*remarks, *([counted(one["rejects"], "row is no line", "rows are no lines")] if one["rejects"] else [])]


def _say_parts(console: Console, found: list[dict[str, Any]]) -> None:
    table = columns("Date", "Lines", "Accounts", "Pretax", "Slot", right=("Lines", "Accounts", "Pretax"))
    for one in found:
        counts = f"{one['rows']:,}", f"{one['accounts']:,}", "\n".join(totals_lines(one["totals"]))
        table.add_row(one["date"], *counts, one["slot"])
    say_table(console, table)


# -- lines ------------------------------------------------------------------------------------------------------


def lines_of(
    work: Services, account: str, line_id: str, cycle: str | None = None, *, raw: bool = False
) -> list[dict[str, Any]]:
    """The lines of this id in a payer's bills: one, but for ids that a source uses again in another cycle.

    With a cycle also one that only sources have which the cycle is not settled from: as each of them says it.
    """
    page = BillLines(work.rows).line(Scope.operator(), line_id, is_gone_shown=True)
    found: list[dict[str, Any]] = [
        dict(one) for one in page.lines if one.get("payer") == account and cycle in (None, one.get("cycle"))
    ]
    if not found and cycle is not None:
        found = list(observed_lines(work, _observations(work, account, cycle), line_id))
    if not found:
        where = f"{account}, {cycle}" if cycle else account
        remedy = "`clearbook bill diff` and the statements name ids of lines"
        if cycle is None:
            remedy += "; with --cycle it is looked for in the sources that the cycle is not settled from, too"
        raise BadInputError("--line", f"no line {line_id!r} in the bills of {where}", remedy)
    if raw:
        for one in (one for one in found if not one.get("gone")):
            one["raw"] = raw_row(work, str(one.get("source", "")), int(one.get("source_row", -1)))
    return found


def _observations(work: Services, account: str, cycle: str) -> list[Seal]:
    """The newest observation of each source that the cycle is not settled from."""
    newest = {seal.source: (entry.kind, seal) for entry, seal in observed(entries_of(work, account, cycle))}
    return [seal for _, (kind, seal) in sorted(newest.items()) if kind == OBSERVED]
