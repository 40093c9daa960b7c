"""Prove a settlement: what it was made of is what its manifest names, and settling that again comes to the same.

Nothing that an earlier run has fetched is believed: documents and day parts are fetched anew, and what was checked is
what is settled. Where the code is another than it was settled with, the rows are compared and not the bytes.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared.bill import snapshot as bills
from shared.chain.entry import Entry
from shared.columnar import connect
from shared.control import months
from shared.errors import BadInputError
from shared.ids import canonical_json, digest
from shared.ports import ObjectMissingError
from shared.services import Services
from shared.steps import inputs, state
from shared.steps.inputs import Kept

PREFIX_MIN = 8  # digits of an id that find it
_FOLDER = re.compile(r"settlements/(20\d\d-\d\d)/([^/]+)/([0-9a-f]{64})/", re.ASCII)
# What a settlement's entry says of it as its summary does, and of each statement.
_SAID_OF, _STATED = ("rows_digest", "lines", "bill"), ("agreement", "currency", "total", "tax", "payable")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at; `holds` is None where it could not be compared."""

    what: str
    holds: bool | None
    says: str


def find(services: Services, named: str) -> Kept:
    """The settlement of that id, or of the only id that begins so."""
    if re.fullmatch(r"[0-9a-f]{8,64}", named, re.ASCII) is None:
        problem = f"{named!r} is no id, nor the first {PREFIX_MIN} digits or more of one"
        raise BadInputError("settlement", problem, "see `clearbook settlements --cycle C --json -`")
    matches = (_FOLDER.match(key) for key in services.buckets.work.keys("settlements/"))
    found = sorted({match.groups() for match in matches if match and match[3].startswith(named)})
    if len(found) != 1:
        problem = f"{len(found)} settlements begin so" if found else "no settlement of that id is kept"
        remedy = "give more of its digits" if found else "see `clearbook settlements --cycle C --json -`"
        raise BadInputError(f"settlement {named}", problem, remedy)
    cycle, owner, settlement = found[0]
    return Kept(cycle, owner, settlement)


def verify(
    services: Services, kept: Kept, scratch: Path, told: Callable[[str], None] = lambda _: None
) -> Iterator[Check]:
    """Check by check; `scratch` is an empty folder, and `told` hears what is being done."""
    body = services.buckets.work.find(kept.folder + "manifest.json")
    if body is None or digest(body) != kept.settlement:
        yield Check("manifest", False, "is missing" if body is None else f"has the digest {digest(body)}, not the id")
        return
    manifest = inputs.parse_manifest(body)
    yield Check("manifest", True, "has the digest that is the settlement's id")
    fetched = replace(services, scratch=scratch)
    documents = _documents(fetched, manifest)
    yield documents
    parts = _parts(fetched, manifest, told)
    yield parts
    if not (documents.holds and parts.holds):
        yield Check("rows", None, "not settled again: what it was made of is not what the manifest names")
        return
    yield from _settled_again(services, fetched, kept, manifest, told)


def _documents(fetched: Services, manifest: Mapping[str, Any]) -> Check:
    digests = inputs.documents_of(manifest)
    problems = []
    for one in digests:
        key = state.document_key(one)
        try:
            if digest(state.kept(fetched, fetched.buckets.records, key)) != one:
                problems.append(f"{key} does not have the digest that it is named by")
        except ObjectMissingError:
            problems.append(f"{key} is missing")
    return _named("documents", problems, f"{len(digests)} have the digests that they are named by")


def _parts(fetched: Services, manifest: Mapping[str, Any], told: Callable[[str], None]) -> Check:
    keys = [key for cycle in (manifest["cycle"], *manifest["earlier"]) for key in inputs.part_keys(manifest, cycle)]
    problems = []
    for number, (key, named) in enumerate(keys, 1):
        told(f"day part {number} of {len(keys)}")
        try:
            if _digest_of_file(state.local_part(fetched, key)) != named:
                problems.append(f"{key} does not have the digest that it is named by")
        except ObjectMissingError:
            problems.append(f"{key} is missing")
    return _named("day parts", problems, f"{len(keys)} have the digests that they are named by")


def _named(what: str, problems: list[str], sound: str) -> Check:
    return Check(what, not problems, "; ".join(problems) or sound)


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settled_again(
    services: Services, fetched: Services, kept: Kept, manifest: Mapping[str, Any], told: Callable[[str], None]
) -> Iterator[Check]:
    from shared.settlement import engine
    from shared.steps import looking_back, results

    told("settling again")
    share = looking_back.look_back(fetched, manifest, inputs.share_of(fetched, manifest), services.memory_mb)
    folder = fetched.scratch / "again"
    folder.mkdir()
    settled = results.compute(fetched, manifest, share, folder, services.memory_mb)
    summary = canonical_json(results.summary_of(share, settled, kept.settlement))
    version = manifest["engine"]
    then = "" if version == engine.VERSION else f"; it was settled by engine {version}, this is engine {engine.VERSION}"

    body = services.buckets.work.find(kept.folder + "summary.json") or b""
    said = _said(body)
    if said.get("rows_digest") == settled.digest:
        yield Check("rows", True, f"{settled.lines:,} lines again, with the same digest{then}")
    else:
        problem = f"the digest of the rows is {settled.digest}, the summary says {said.get('rows_digest')}"
        yield Check("rows", False, problem + then)
    if body != summary and then:
        yield Check("summary", None, f"not compared{then}")
    else:
        yield _summary_check(body, summary)
    for name in (results.LINES, results.HELD):
        told(f"comparing {name}")
        yield _file_check(services, fetched, kept, folder / name, then)
    yield from _chain_checks(services, fetched, kept, manifest, json.loads(summary), then)


def _said(body: bytes) -> dict[str, Any]:
    """The summary's content, nothing where it cannot be read."""
    try:
        data = json.loads(body)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _summary_check(body: bytes, summary: bytes) -> Check:
    if body == summary:
        return Check("summary", True, "is the same, byte by byte")
    if not body:
        return Check("summary", False, "summary.json is missing")
    was, now = _said(body), json.loads(summary)
    names = sorted(name for name in was.keys() | now.keys() if was.get(name) != now.get(name))
    return Check("summary", False, f"summary.json differs in {', '.join(names) or 'how it is written'}")


def _file_check(services: Services, fetched: Services, kept: Kept, again: Path, then: str) -> Check:
    """A file of lines: byte by byte where the same DuckDB wrote it, else row by row."""
    name, was = again.name, fetched.scratch / f"kept-{again.name}"
    try:
        services.buckets.work.download(kept.folder + name, was)
    except ObjectMissingError:
        return Check(name, False, "is missing")
    if _digest_of_file(was) == _digest_of_file(again):
        return Check(name, True, "is the same, byte by byte")
    import duckdb

    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        try:
            writers = [_writer(connection, path) for path in (was, again)]
            if writers[0] == writers[1] and not then:
                return Check(name, False, "holds other bytes, and the same DuckDB wrote it")
            differ = [
                connection.execute(
                    "SELECT count(*) FROM (SELECT * FROM read_parquet(?) EXCEPT ALL SELECT * FROM read_parquet(?))",
                    [str(one), str(other)],
                ).fetchall()[0][0]
                for one, other in ((was, again), (again, was))
            ]
        except duckdb.Error:
            return Check(name, False, "cannot be read")
    why = then or f"; {writers[0]} wrote it, this is {writers[1]}"
    if any(differ):
        return Check(name, False, f"{differ[0]} of its rows are not found again, {differ[1]} others are{why}")
    return Check(name, True, f"has the same rows; its bytes are not compared{why}")


def _writer(connection: Any, path: Path) -> str:
    """Which DuckDB wrote a file."""
    [row] = connection.execute("SELECT created_by FROM parquet_file_metadata(?)", [str(path)]).fetchall()
    return str(row[0])


def _chain_checks(
    services: Services,
    fetched: Services,
    kept: Kept,
    manifest: Mapping[str, Any],
    summary: Mapping[str, Any],
    then: str,
) -> Iterator[Check]:
    """What was decided about it says the same."""
    stream = months.stream_of(kept.owner, kept.cycle)
    entries = services.chain.read(stream)
    named = [one for one in entries if one.body.get("settlement") == kept.settlement]
    calculated, late = ([one for one in named if one.kind == kind] for kind in (months.CALCULATED, months.LATE))
    if not calculated:
        says = "a look at a bill after the lock" if late else "a draft, or superseded before it was decided"
        yield Check("entry", None, f"no entry `calculated` of {stream} names it: {says}")
    if not calculated and not late:
        return
    for entry in calculated[-1:]:
        yield _entry_check(entry, summary, then)
    locked = months.months(entries)[kept.cycle].locked or {}
    if locked.get("settlement") == kept.settlement and not then:
        is_same = locked["summary"] == digest(canonical_json(summary))
        yield Check("lock", is_same, "locked as it is" if is_same else "another summary was locked")
    yield _bills_check(services, fetched, kept, manifest, (calculated or late)[-1])


def _entry_check(entry: Entry, summary: Mapping[str, Any], then: str) -> Check:
    body, name = entry.body, f"{entry.stream}#{entry.seq}"
    wrong = [one for one in _SAID_OF if body[one] != summary[one]]
    said, stated = ([{name: one[name] for name in _STATED} for one in of["statements"]] for of in (body, summary))
    if said != stated:
        wrong.append("statements")
    if not then and body["summary"] != digest(canonical_json(summary)):
        wrong.append("summary")
    problems = [f"{name} says otherwise of {', '.join(wrong)}{then}"] if wrong else []
    return _named("entry", problems, f"{name} says the same")


def _bills_check(services: Services, fetched: Services, kept: Kept, manifest: Mapping[str, Any], entry: Entry) -> Check:
    """The day parts of the manifest are those of the seals that the entry names."""
    problems = []
    named: Mapping[str, Mapping[str, int]] = {kept.cycle: entry.body["seals"]} | {
        cycle: one["seals"] for cycle, one in entry.body.get("earlier", {}).items()
    }
    if set(entry.body["seals"]) != set(manifest["bills"]):
        problems.append("the entry names the seals of other payers")
    for cycle, seals in named.items():
        is_own = cycle == kept.cycle
        bills_of = manifest["bills"] if is_own else manifest["earlier"].get(cycle, {"bills": {}})["bills"]
        for payer, seq in seals.items():
            problems += _seal_problems(services, fetched, cycle, payer, seq, bills_of.get(payer, {}), is_whole=is_own)
    count = sum(map(len, named.values()))
    return _named("seals", problems, f"{count} are of the day parts that it was settled from")


def _seal_problems(
    services: Services, fetched: Services, cycle: str, payer: str, seq: int, days: Mapping[str, str], *, is_whole: bool
) -> list[str]:
    """What is wrong between a seal and the day parts that a manifest names: all of them, or those it may need."""
    sealed = bills.seals(services.chain.read(bills.stream_of(payer, cycle)))
    seal = next((one for one in sealed if one.seq == seq), None)
    if seal is None:
        return [f"there is no seal {seq} of {payer} for {cycle}"]
    key = bills.snapshot_key(payer, cycle, seal.snapshot)
    try:
        body = state.kept(fetched, fetched.buckets.work, key)
    except ObjectMissingError:
        return [f"{key} is missing"]
    if digest(body) != seal.snapshot:
        return [f"{key} does not have the digest that it is named by"]
    seen = {day: part.digest for day, part in bills.parse_snapshot(body).parts.items()}
    is_same = days == seen if is_whole else days.items() <= seen.items()
    return [] if is_same else [f"seal {seq} of {payer} for {cycle} is of other day parts"]
