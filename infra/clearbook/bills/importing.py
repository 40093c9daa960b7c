"""The command that hands in bill files: checked here first, put into the inbox, and followed until they are read."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from infra.clearbook.bills.showing import reasons_of
from infra.clearbook.bills.shown import counted, plain_console, said, say
from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from shared.bill import files, raw
from shared.bill.snapshot import Seal, stream_of
from shared.columnar import connect
from shared.cycle import Cycle, shanghai_day
from shared.errors import BadInputError, ClearbookError
from shared.services import Services
from shared.steps import state
from shared.steps.ingest_file import IMPORTED, note_key, source_of

LOOK_S = 1.0
REASONS_SHOWN = 5


class FilesRefusedError(ClearbookError):
    """Some of the files cannot be used: `reasons`, each with its file."""

    code = "file_refused"

    def __init__(self, what: str, reasons: Sequence[str], remedy: str = "") -> None:
        told = "\n".join(f"  {reason}" for reason in reasons)
        super().__init__(f"{what} cannot be used:\n{told}" + (f"\n{remedy}" if remedy else ""))
        self.reasons = tuple(reasons)


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
    work, console = services(home), plain_console()
    is_shown = json_to != "-"
    checked = check(work, paths, account, cycle, now(home))
    found: list[dict[str, Any]] = []
    try:
        for one in checked:
            if is_shown:
                say(console, str(one.path), f"  {one.form}, {counted(one.tables, 'table')}, of source {one.source}")
            outcome = {"file": str(one.path), "key": one.key, "form": one.form, "source": one.source}
            found.append(outcome)
            version = put(work, one, forget=wait)
            if wait and is_shown and console.is_terminal:
                with console.status(f"{one.path.name} is being read"):
                    outcome |= await_note(work, one.key, version, timeout)
            elif wait:
                outcome |= await_note(work, one.key, version, timeout)
            if is_shown:
                say(console, *_told(outcome))
    finally:
        if json_to is not None:  # what was handed in before something failed is told, too
            write_json(found, json_to)
    refused = [_refusal(one) for one in found if "refused" in one]
    if refused:
        remedy = f"if a file is of another payer or cycle than {account} and {cycle}, say so with --account and --cycle"
        raise FilesRefusedError(f"{len(refused)} of {len(found)} files", refused, remedy)


def _refusal(outcome: Mapping[str, Any]) -> str:
    """The file as it is called here, and why the step refused it."""
    key, reason = outcome["key"], outcome["refused"]
    return f"{outcome['file']}: {reason.removeprefix(f'{key}: ')}"


# -- before anything is sent ------------------------------------------------------------------------------------


def check(work: Services, paths: Sequence[Path], account: str, cycle: str, at: datetime) -> list[Checked]:
    """The files with their forms; FilesRefusedError says of each that cannot be used why, and then none is sent."""
    if Cycle.parse(cycle, "--cycle").first > shanghai_day(at):
        raise BadInputError("--cycle", f"{cycle} is still to come", "give the cycle that the files are of")
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
        except OSError as exc:
            problems.append(str(BadInputError(str(path), *_unreadable(path, exc))))
    if problems:
        raise FilesRefusedError(f"nothing was sent: {len(problems)} of {len(paths)} files", problems)
    return checked


def _unreadable(path: Path, exc: OSError) -> tuple[str, str]:
    """What is wrong with a path that cannot be opened, and what to do."""
    if path.is_dir():
        return "is a directory", f"give the files in it, such as {path}/*"
    if isinstance(exc, FileNotFoundError):
        return "is not there", "look at its spelling, or export it again"
    return f"cannot be read ({exc.strerror or exc})", "make it readable for you"


def _checked(work: Services, path: Path, key: str) -> Checked:
    """Unpack the file and recognise its form, as the step will."""
    path.open("rb").close()  # what cannot be opened is no matter of its form
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
    if forget:
        there = work.buckets.inbox.version(one.key)
        with one.path.open("rb") as file:
            tag = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        tags = {tag, *([there.tag] if there else [])}
        for tag in tags:
            work.buckets.work.delete(note_key(one.key, tag))
    work.buckets.inbox.upload_again(one.key, one.path)
    version = work.buckets.inbox.version(one.key)
    if version is None:
        raise BadInputError(one.key, "was taken out of the inbox at once", "find out what clears the inbox; try again")
    return version.tag


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
    seal = state.with_files(work, Seal(**entry.body, seq=entry.seq))
    return {
        **noted,
        "kind": entry.kind,
        "rows": seal.rows,
        "totals": seal.totals,
        "control": {name: seal.control[name] for name in ("differences", "open")} if seal.control["key"] else None,
        "reasons": _reasons(work, seal, key),
    }


def _reasons(work: Services, seal: Seal, key: str) -> list[str]:
    """Why rows of the file, and of its dates, are no lines: the first few."""
    mine = {f"file {key}", *seal.files.get(key, {}).get("dates", [])}
    return reasons_of(work, {place: one for place, one in seal.rejects.items() if place in mine}, REASONS_SHOWN)


def _told(outcome: dict[str, Any]) -> list[str]:
    if "refused" in outcome:
        return ["  refused; the reason is at the end"]
    if "bills" not in outcome:
        return [f"  in the inbox as {outcome['key']}"]
    sums = f", {counted(outcome['totals'], 'row')} of sums" if outcome["totals"] else ""
    read = f"{counted(outcome['rows'], 'row')}: {counted(outcome['lines'], 'line')}, {outcome['rejects']:,} rejected"
    lines = [f"  {read}{sums}"]
    for one in outcome["bills"]:
        where = f"  {one['account']} {one['cycle']}"
        if "seq" not in one:
            lines.append(f"{where}: {one['note']}")
            continue
        lines.append(f"{where}: {one['kind']} as entry {one['seq']}, {one['status']}")
        lines.append(f"    {said(one)}")
        compared = one["control"]
        held = f"{compared['open']} open differences to the provider's sums" if compared else "no sums to compare with"
        lines += [f"    {held}", *(f"    {reason}" for reason in one["reasons"])]
    return lines
