"""What auditors ask of the chain: whether it is whole, a copy of it to take away, and who did what, when and why."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from shared.chain import bundle, checking
from shared.chain.bundle import Checked
from shared.chain.chain import Chain
from shared.chain.checking import Ledger, Stored
from shared.chain.entry import Entry, parse
from shared.control import approvals, months
from shared.cycle import Cycle
from shared.errors import ClearbookError
from shared.ids import digest
from shared.parties.parties import OPERATOR
from shared.ports import ObjectMissingError
from shared.services import Services
from shared.steps import anchoring, projections, state

_PREFIX = re.compile(r"[0-9a-f]{8,64}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_PROPOSAL = re.compile(r"(.+)#([1-9]\d{0,17})", re.ASCII)
_CASE = re.compile(r"(20\d\d-\d\d)-[a-z_]+-[0-9a-f]{12}", re.ASCII)
_RESELLER = "reseller/"


class UnknownObjectError(ClearbookError):
    """Nothing in the chain is about it."""

    code = "unknown_object"

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"nothing in the chain is about {asked!r}; give a stream, an entry such as reseller/aurora#3, a reseller, "
            "a user, or the whole id or digest of something, 8 digits or more"
        )


@dataclass(frozen=True, slots=True)
class Exported:
    """What a bundle was given."""

    entries: int
    anchors: int
    objects: int
    absent: Sequence[str]  # objects that entries name and that are not there, or not as they are named


# -- whether it is whole ------------------------------------------------------------------------------------------


def verify(services: Services) -> Checked:
    """Check every stream, and the anchors against them, as they are now."""
    anchors = {key: bundle.heads_of("bucket records", key, body) for key, body in anchoring.kept(services).items()}
    ledger = checking.check_table(services.chain, anchors)
    problems, uncompared = ledger.finish()
    return Checked(len(ledger.heads()), ledger.entries, len(anchors), 0, uncompared, problems, ledger)


# -- a copy to take away ------------------------------------------------------------------------------------------


def export(services: Services, path: Path, streams: Sequence[str], at: str, *, with_objects: bool) -> Exported:
    """Write a bundle of all streams, or of those named, with the anchors; nothing is left of one that fails."""
    anchors = anchoring.kept(services)
    ledger, writer, named = Ledger(), bundle.Writer(path), dict[str, str]()
    try:
        for stored in _stored(services.chain, streams, ledger):
            ledger.take(checking.check(stored))
            writer.entries(stored)
            if with_objects:
                for one in stored:
                    named.update(_objects(one.raw))
        for key, body in anchors.items():
            writer.anchor(key, body)
        absent = []
        for key, wanted in named.items():
            found = _object(services, key)
            if found is None or (wanted and digest(found) != wanted):
                absent.append(key)
            else:
                writer.object(found)
        writer.close(at, sorted(streams) or None, ledger.heads(), ledger.entries)
    except BaseException:
        writer.give_up()
        raise
    return Exported(ledger.entries, len(anchors), len(named) - len(absent), absent)


def _stored(chain: Chain, streams: Sequence[str], ledger: Ledger) -> Iterator[Sequence[Stored]]:
    if not streams:
        yield from checking.parts(chain, ledger)
    for stream in sorted(set(streams)):
        found = list(checking.of_stream(chain, stream))
        if not found:
            raise UnknownObjectError(stream)
        yield from found


def _objects(raw: bytes) -> Iterator[tuple[str, str]]:
    """(key, digest) of the objects that an entry names; "" for one that is named without its digest."""
    try:
        waiting: list[Any] = [checking.read(raw)["body"]]
    except checking.UnreadableError:
        return
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            if isinstance(one.get("key"), str) and "kind" not in one:  # a case's key names no object
                yield one["key"], str(one.get("digest", ""))
            for name, value in one.items():
                if name in ("document", "parties") and isinstance(value, str) and _HASH.fullmatch(value):
                    yield state.document_key(value), value
                elif name == "tables" and isinstance(value, Mapping):
                    yield from ((state.document_key(table), table) for table in value.values() if _is_hash(table))
                else:
                    waiting.append(value)
        elif isinstance(one, list):
            waiting += one


def _is_hash(value: object) -> bool:
    return isinstance(value, str) and _HASH.fullmatch(value) is not None


def _object(services: Services, key: str) -> bytes | None:
    for store in (services.buckets.records, services.buckets.work):
        body = store.find(key)
        if body is not None:
            return body
    return None


# -- who, what, when, why -----------------------------------------------------------------------------------------


def about(services: Services, asked: str, cycle: str | None = None) -> dict[str, Any]:
    """Every entry about something, oldest first; raises UnknownObjectError where there is none.

    `asked` is a stream, an entry (stream#seq), a reseller, a user, or anything that entries name: a settlement, an
    instruction, a batch, a document's digest, a case; of what is named by hex digits the first 8 will do.
    """
    entries = _in_cycle(_about(services, asked), cycle)
    found: dict[str, Any] = {"asked": asked}
    if _CASE.fullmatch(asked):
        found |= _case(services, asked)
    if not entries and "case" not in found:
        raise UnknownObjectError(asked if cycle is None else f"{asked} in {cycle}")
    return found | {"entries": [_facts(one) for one in sorted(entries, key=lambda one: (one.at, one.stream, one.seq))]}


def _about(services: Services, asked: str) -> list[Entry]:
    chain = services.chain
    proposal = _PROPOSAL.fullmatch(asked)
    if proposal:
        seq = int(proposal[2])
        return [one for one in chain.read(proposal[1]) if seq in (one.seq, _proposal_of(one))]
    for stream in (asked, _RESELLER + asked):
        own = chain.read(stream)
        if own:
            # What other streams say of a reseller: payout batches, grants.
            return own if stream == asked else [*own, *(one for one in _naming(chain, asked) if one.stream != stream)]
    return list(_naming(chain, asked))


def _proposal_of(entry: Entry) -> object:
    """The seq of the proposal that an entry decides on, or that somebody tried to."""
    tried = entry.body.get("tried", {})
    return entry.body.get("proposal", tried.get("proposal") if isinstance(tried, Mapping) else None)


def _naming(chain: Chain, asked: str) -> Iterator[Entry]:
    """The entries whose actor it is, or that name it anywhere."""
    by_prefix = _PREFIX.fullmatch(asked) is not None
    for row in chain.stored():
        text = str(row["entry"])
        if asked in text:  # most entries are never parsed
            entry = parse(text)
            if entry.actor == asked or any(
                value == asked or (by_prefix and value.startswith(asked)) for value in _texts([entry.body])
            ):
                yield entry


def _texts(waiting: list[Any]) -> Iterator[str]:
    while waiting:
        one = waiting.pop()
        if isinstance(one, str):
            yield one
            # A key or an order has ids and digests in its name.
            yield from islice(re.split(r"[/.]", one), 1, None) if "/" in one else ()
        elif isinstance(one, Mapping):
            waiting += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            waiting += one


def _in_cycle(entries: Iterable[Entry], cycle: str | None) -> list[Entry]:
    if cycle is None:
        return list(entries)
    wanted = str(Cycle.parse(cycle))
    return [one for one in entries if wanted in (one.body.get("cycle"), _what(one).get("cycle"))]


def _what(entry: Entry) -> Mapping[str, Any]:
    what = entry.body.get("what", {})
    return what if isinstance(what, Mapping) else {}


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "entry": f"{entry.stream}#{entry.seq}",
        "at": entry.at,
        "who": entry.actor,
        "did": entry.kind,
        "what": str(entry.body.get("act", "")),
        "why": entry.why,
        "body": dict(entry.body),
        "hash": entry.hash,
        "reads": {stream: [head.seq, head.hash] for stream, head in entry.reads.items()},
    }


def _case(services: Services, id_: str) -> dict[str, Any]:
    """What is listed of a case, and the runs that found it."""
    cycle = id_[:7]
    row = services.rows.get(projections.CASES, (("cycle", cycle), ("id", id_)))
    if row is None:
        return {}
    stream = months.stream_of(str(row["owner"]), cycle)
    runs = [one for one in services.chain.read(stream) if "cases" in one.body and one.body.get("cycle") == cycle]
    found = [f"{stream}#{one.seq}" for one in runs if id_ in _cases_of(services, one)]
    return {"case": {name: value for name, value in row.items() if name != "seq"}, "found_by": found}


def _cases_of(services: Services, run: Entry) -> set[str]:
    try:
        listed = json.loads(services.buckets.work.get(run.body["cases"]["key"])) if run.body["cases"]["count"] else []
    except ObjectMissingError:  # drafts and their cases go
        return set()
    return {str(one["id"]) for one in listed}


# -- the lists made anew ------------------------------------------------------------------------------------------


class _Then(Chain):
    """A chain in which one stream is as it was."""

    def __init__(self, chain: Chain, stream: str, entries: list[Entry]) -> None:
        self._chain, self._stream, self._entries = chain, stream, entries

    def read(self, stream: str) -> list[Entry]:
        """All entries, oldest first."""
        return list(self._entries) if stream == self._stream else self._chain.read(stream)


def rebuild(services: Services, cycle: str | None, say: Callable[[str], object] = str) -> int:
    """Write the rows of the lists anew from the chain, of one cycle or all; how many shares were written.

    What a step wrote after each entry is written after each entry again, so that dropped lists come back with what
    they knew of cases that have closed since; at the end wrong rows are put right.
    """
    wanted, count = None if cycle is None else str(Cycle.parse(cycle)), 0
    for stream in services.chain.heads():
        if not stream.startswith((_RESELLER, "cycle/")):
            continue
        owner = stream.removeprefix(_RESELLER) if stream.startswith(_RESELLER) else OPERATOR
        entries = services.chain.read(stream)
        for of in months.months(entries):
            if wanted in (None, of):
                say(f"{owner}, {of}")
                _replay(services, owner, of, stream, entries)
                count += 1
    return count


def _replay(services: Services, owner: str, cycle: str, stream: str, entries: list[Entry]) -> None:
    for number, entry in enumerate(entries, 1):
        # The lock of a later cycle may close what an earlier one holds.
        is_decided = entry.kind == approvals.APPROVED and "cycle" in _what(entry)
        if is_decided or (entry.kind in months.OF_A_MONTH and entry.body["cycle"] == cycle):
            then = replace(services, chain=_Then(services.chain, stream, entries[:number]))
            projections.refresh(then, owner, cycle)
    projections.rebuild(services, owner, cycle)
