"""The commands of auditors: is the chain whole, a copy of it, who did what when and why, the lists made anew."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.clearbook.bills.shown import plain_console, say
from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from shared.chain.bundle import Checked, check_bundle
from shared.cycle import stamp
from shared.errors import BadInputError, ClearbookError
from shared.steps import auditing

_SHOWN = 12  # of a digest; the data has all of it
_PROBLEMS_SHOWN = 50
_HASH_DIGITS = 64


class ChainNotWholeError(ClearbookError):
    """The chain is not as it was written."""

    code = "chain_not_whole"


def verify(file: Path | None, hashes: list[str], home: Path | None, json_to: str | None) -> None:
    """Check the chain of a cloud, or a bundle alone; each hash of `hashes`, as a statement prints it, must be there."""
    for one in hashes:
        if len(one) != _HASH_DIGITS or not set(one) <= set("0123456789abcdef"):
            raise BadInputError("--hash", f"is {one!r}", f"give the {_HASH_DIGITS} digits that a statement prints")
    began = time.perf_counter()
    console = _progress(json_to)
    with console.status("checking the chain"):
        checked = check_bundle(file) if file is not None else auditing.verify(services(home))
        places = {one: checked.ledger.has(one) for one in hashes}
    took = time.perf_counter() - began
    problems = [{"stream": one.stream, "seq": one.seq, "problem": one.what} for one in checked.problems]
    absent = [one for one, place in places.items() if place is None]
    if json_to is not None:
        found = {one: None if place is None else f"{place[0]}#{place[1]}" for one, place in places.items()}
        counts = {name: getattr(checked, name) for name in ("streams", "entries", "anchors", "objects", "uncompared")}
        whole = not problems and not absent
        write_json(
            {"whole": whole, **counts, "problems": problems, "hashes": found, "seconds": round(took, 3)}, json_to
        )
    if json_to != "-":
        say(plain_console(), *_checked(checked, places, took))
    if problems or absent:
        named = [*(f"{one['stream']}#{one['seq']}" for one in problems[:3]), *(one[:_SHOWN] for one in absent[:3])]
        what = f"{len(problems)} problems, {len(absent)} hashes that are not there (first: {', '.join(named)})"
        raise ChainNotWholeError(f"{what}; keep everything as it is, and find out who could change it")


def export(file: Path, streams: list[str], home: Path | None, json_to: str | None, *, with_objects: bool) -> None:
    """Write a bundle, and say the digest by which it is known."""
    if file.exists():
        raise BadInputError(str(file), "is there already", "give another name: a bundle is never overwritten")
    work = services(home)
    with _progress(json_to).status("reading the chain"):
        made = auditing.export(work, file, streams, stamp(now(home)), with_objects=with_objects)
    with file.open("rb") as body:
        known_by = hashlib.file_digest(body, "sha256").hexdigest()
    if json_to is not None:
        counts = {"entries": made.entries, "anchors": made.anchors, "objects": made.objects}
        write_json({"file": str(file), "sha256": known_by, **counts, "absent": list(made.absent)}, json_to)
    if json_to == "-":
        return
    said = f"{made.entries:,} entries, {made.anchors:,} anchors, {made.objects:,} objects"
    say(plain_console(), f"wrote {file}: {said}", f"sha256 {known_by}")
    say(plain_console(), *(f"not there, or not as it is named: {key}" for key in made.absent[:_PROBLEMS_SHOWN]))


def show(asked: str, cycle: str | None, home: Path | None, json_to: str | None) -> None:
    """Print what the chain says of something."""
    with _progress(json_to).status("reading the chain"):
        found = auditing.about(services(home), asked, cycle)
    if json_to is not None:
        write_json(found, json_to)
    if json_to != "-":
        say(plain_console(), *_about(found))


def rebuild(cycle: str | None, home: Path | None, json_to: str | None) -> None:
    """Write the lists anew."""
    with _progress(json_to).status("reading the chain") as status:
        count = auditing.rebuild(services(home), cycle, lambda share: status.update(f"writing the lists of {share}"))
    if json_to is not None:
        write_json({"shares": count}, json_to)
    if json_to != "-":
        say(plain_console(), f"the lists of {count:,} shares say what the chain says")


def _progress(json_to: str | None) -> Console:
    return Console(stderr=True) if json_to == "-" else plain_console()


def _checked(checked: Checked, places: Mapping[str, Any], took: float) -> Iterator[str]:
    yield f"{checked.entries:,} entries in {checked.streams:,} streams, {checked.anchors:,} anchors, {took:.1f} s"
    if checked.objects:
        yield f"{checked.objects:,} objects beside them"
    if checked.uncompared:
        yield f"{checked.uncompared:,} times something is said of streams that are not in the bundle: not compared"
    for hash_, place in places.items():
        where = "is in no entry" if place is None else f"is that of {place[0]}#{place[1]}"
        yield f"{hash_[:_SHOWN]}… {where}"
    for one in checked.problems[:_PROBLEMS_SHOWN]:
        yield f"{one.stream}#{one.seq}: {one.what}"
    if len(checked.problems) > _PROBLEMS_SHOWN:
        yield f"and {len(checked.problems) - _PROBLEMS_SHOWN:,} more"
    if not checked.problems:
        yield "every entry is as it was written, and none is missing"


def _about(found: Mapping[str, Any]) -> Iterator[str]:
    if "case" in found:
        case = found["case"]
        yield f"{case['id']}: {case['problem']}, {case['amount']} {case['currency']} held, {case['state']}"
        yield f"  found by {', '.join(found['found_by']) or 'no run that is kept'}; {case['remedy']}"
    for one in found["entries"]:
        did = " ".join(part for part in (one["did"], one["what"]) if part)
        why = f": {one['why']}" if one["why"] else ""
        yield f"{one['at']}  {one['entry']}  {one['who']} {did}{why}"
        said = ", ".join(_said(one["body"]))
        if said:
            yield f"  {said}"


def _said(body: Mapping[str, Any]) -> Iterator[str]:
    """What an entry says, in short: its own words, and how much there is of what is listed."""
    for name, value in body.items():
        if name == "what" and isinstance(value, Mapping):
            yield from _said(value)
        elif isinstance(value, Mapping | list):
            yield f"{name} ({len(value)})"
        elif name != "act" and value not in ("", None):
            text = str(value)
            yield f"{name} {text[:_SHOWN] if len(text) == _HASH_DIGITS else text}"
