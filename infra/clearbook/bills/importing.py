"""The command that hands in bill files: checked here first, put into the inbox, and followed until they are read."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console

from infra.clearbook.bills.showing import reasons_of, totals_text
from infra.clearbook.context import services
from infra.clearbook.main import write_json
from shared.bill import files, raw
from shared.bill.snapshot import Seal, stream_of
from shared.chain.entry import Entry
from shared.columnar import connect
from shared.cycle import Cycle
from shared.errors import BadInputError, ClearbookError
from shared.services import Services
from shared.steps import state
from shared.steps.ingest_file import IMPORTED, note_key, source_of

LOOK_S = 1.0
REASONS_SHOWN = 5


class FilesRefusedError(ClearbookError):
    """Some of the files cannot be used."""

    code = "file_refused"


class NotReadYetError(ClearbookError):
    """A file lies in the inbox, and nobody has said yet what became of it."""

    code = "not_read_yet"
    retryable = True

    def __init__(self, key: str, waited_s: float) -> None:
        super().__init__(
            f"{key} lies in the inbox and was not read within {waited_s:.0f} s; `clearbook bill show` says when it is, "
            "and the same command waits again; if it stays so, see `clearbook stuck` and the function's log"
        )


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that can be handed in."""

    path: Path
    key: str  # in the inbox
    form: str
    source: str
    tables: int


def import_files(
    paths: Sequence[Path], account: str, cycle: str, home: Path | None, json_to: str | None, *, wait: bool, timeout: int
) -> None:
    """Hand in the files one after the other, and print what became of each."""
    work, console = services(home), Console()
    is_shown = json_to != "-"
    checked = check(work, paths, account, cycle)
    found = []
    for one in checked:
        if is_shown:
            console.print(f"{one.path}: {one.form}, {one.tables} table(s), of source {one.source}", highlight=False)
        version = put(work, one, forget=wait)
        outcome: dict[str, Any] = {"file": str(one.path), "key": one.key, "form": one.form, "source": one.source}
        if wait:
            if is_shown and console.is_terminal:
                with console.status(f"{one.path.name} is being read"):
                    outcome |= await_note(work, one.key, version, timeout)
            else:
                outcome |= await_note(work, one.key, version, timeout)
        found.append(outcome)
        if is_shown:
            console.print("\n".join(_told(outcome)), highlight=False, markup=False, soft_wrap=True)
    if json_to is not None:
        write_json(found, json_to)
    refused = [f"{one['file']}: {one['refused']}" for one in found if "refused" in one]
    if refused:
        raise FilesRefusedError("; ".join(refused))


# -- before anything is sent ------------------------------------------------------------------------------------


def check(work: Services, paths: Sequence[Path], account: str, cycle: str) -> list[Checked]:
    """The files with their forms; FilesRefusedError says of each that cannot be used why, and then none is sent."""
    Cycle.parse(cycle, "--cycle")
    parties, _ = state.parties(work)
    if account not in parties.connectors:
        known = ", ".join(sorted(parties.connectors))
        raise BadInputError(
            "--account", f"payer {account!r} has no connector", f"give one of {known}, or add the payer"
        )
    names = [path.name for path in paths]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        remedy = "a file of a bill replaces one of the same name: rename one, or hand in one alone"
        raise BadInputError("FILE", f"{', '.join(twice)} is there more than once", remedy)
    checked, problems = [], []
    for path in paths:
        try:
            checked.append(_checked(work, path, f"{IMPORTED}{account}/{cycle}/{path.name}"))
        except BadInputError as exc:
            problems.append(str(exc))
    if problems:
        raise FilesRefusedError(f"nothing was sent: {'; '.join(problems)}")
    return checked


def _checked(work: Services, path: Path, key: str) -> Checked:
    """Unpack the file and recognise its form, as the step will."""
    with TemporaryDirectory() as folder, connect(work.scratch, work.memory_mb, work.threads) as connection:
        members = files.unpack(path, str(path), Path(folder))
        forms = [raw.open_table(connection, member, page).form for page, member in enumerate(members, 1)]
    others = sorted({form.id for form in forms} - {forms[0].id})
    if others:
        problem = f"holds tables of several forms: {forms[0].id} and {', '.join(others)}"
        raise BadInputError(str(path), problem, "hand in files of one form")
    return Checked(path, key, forms[0].id, source_of(key, forms[0]), len(members))


# -- sending and waiting ----------------------------------------------------------------------------------------


def put(work: Services, one: Checked, *, forget: bool) -> str:
    """Put the file into the inbox; its version there.

    With `forget`, what was noted of the same content before is dropped first, so that the next note is of this time.
    A file without its note counts as not taken, so nothing is lost by it.
    """
    body = one.path.read_bytes()
    if forget:
        versions = {work.buckets.inbox.version(one.key), hashlib.md5(body, usedforsecurity=False).hexdigest()}
        for version in versions - {None}:
            work.buckets.work.delete(note_key(one.key, str(version)))
    work.buckets.inbox.put_again(one.key, body)
    version = work.buckets.inbox.version(one.key)
    if version is None:
        raise BadInputError(one.key, "was taken out of the inbox at once", "find out what clears the inbox; try again")
    return version


def await_note(work: Services, key: str, version: str, timeout_s: float) -> dict[str, Any]:
    """What became of the file, once it is noted: `refused`, or its counts and what each bill says now."""
    ends = time.monotonic() + timeout_s
    while (body := work.buckets.work.find(note_key(key, version))) is None:
        if time.monotonic() >= ends:
            raise NotReadYetError(key, timeout_s)
        time.sleep(LOOK_S)
    noted = dict(json.loads(body))
    if "refused" in noted:
        return {"refused": noted["refused"]}
    bills = [_bill(work, key, one) for one in noted["bills"]]
    counts = {name: noted[name] for name in ("source", "form", "covers", "rows", "lines", "totals", "rejects")}
    return {**counts, "bills": bills}


def _bill(work: Services, key: str, noted: dict[str, Any]) -> dict[str, Any]:
    """What the bill says now, by the entry that the note names; a `note` says why the file changed nothing."""
    if "seq" not in noted:
        return noted
    entry = next(one for one in work.chain.read(stream_of(noted["account"], noted["cycle"])) if one.seq == noted["seq"])
    seal = Seal(**entry.body, seq=entry.seq)
    return {
        **noted,
        "kind": entry.kind,
        "rows": seal.rows,
        "totals": seal.totals,
        "control": {name: seal.control[name] for name in ("differences", "open")} if seal.control["key"] else None,
        "reasons": _reasons(work, entry, seal, key),
    }


def _reasons(work: Services, entry: Entry, seal: Seal, key: str) -> list[str]:
    """Why rows of the file, and of its dates, are no lines: the first few."""
    mine = {f"file {key}", *entry.body["files"].get(key, {}).get("dates", [])}
    return reasons_of(work, {place: one for place, one in seal.rejects.items() if place in mine}, REASONS_SHOWN)


def _told(outcome: dict[str, Any]) -> list[str]:
    if "refused" in outcome:
        return [f"  refused: {outcome['refused']}"]
    if "bills" not in outcome:
        return [f"  in the inbox as {outcome['key']}"]
    sums = f", {outcome['totals']} rows of sums" if outcome["totals"] else ""
    lines = [f"  {outcome['rows']:,} rows: {outcome['lines']:,} lines, {outcome['rejects']:,} rejected{sums}"]
    for one in outcome["bills"]:
        where = f"  {one['account']} {one['cycle']}"
        if "seq" not in one:
            lines.append(f"{where}: {one['note']}")
            continue
        compared = one["control"]
        held = f"{compared['open']} open differences to the provider's sums" if compared else "no sums to compare with"
        told = f"{one['rows']:,} lines, {totals_text(one['totals'])}; {held}"
        lines.append(f"{where}: {one['kind']} as entry {one['seq']}, {one['status']}: {told}")
        lines += [f"    {reason}" for reason in one["reasons"]]
    return lines
