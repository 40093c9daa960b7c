"""Checking the whole chain, from the table or from a bundle: every problem is found and named, not only the first.

It is done in batches, which do not know of each other and so can be checked side by side, and a ledger, which joins
them. The ledger keeps 32 bytes an entry, and what entries and anchors say of entries that it has not met yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple, NoReturn

from shared.chain.chain import Chain
from shared.chain.entry import ENTRY_BYTES_MAX, GENESIS, Head
from shared.ids import Digest

BATCH = 2_000
_FIELDS: Mapping[str, type] = {
    "stream": str, "seq": int, "previous": str, "kind": str, "actor": str, "at": str, "why": str,
    "body": dict, "reads": dict,
}  # fmt: skip
_TYPES = tuple(_FIELDS.values())
_fields = itemgetter(*_FIELDS)
_place = itemgetter("stream", "seq", "previous", "reads")
_GAP_MAX = 1_000_000  # entries missing in one place, beyond which they are not counted one by one
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)
_HASH_BYTES = 32
_ABSENT = bytes(_HASH_BYTES)

Place = tuple[str, int]  # stream, seq


class Stored(NamedTuple):
    """An entry as it is kept: the hash beside it, the bytes it covers, and where it stands if that is known apart."""

    hash: str
    raw: bytes
    place: Place | None = None


class Problem(NamedTuple):
    """What is wrong, and where."""

    stream: str
    seq: int
    what: str


class Named(NamedTuple):
    """An entry that something else names by its hash."""

    stream: str
    seq: int
    hash: str
    by: str


class Run(NamedTuple):
    """Entries of a stream that follow each other, with their hashes one after the other."""

    stream: str
    first: int
    previous: str  # what the first says of the one before it; "" where that cannot be told
    hashes: bytes


@dataclass(slots=True)
class Part:
    """What a batch of entries came to."""

    runs: list[Run] = field(default_factory=list)
    named: list[Named] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


class UnreadableError(ValueError):
    """The bytes of an entry are no entry."""


def check(entries: Iterable[Stored]) -> Part:
    """Check entries by themselves and against the one before in the batch."""
    part = Part()
    stream, seq, last, hashes = "", 0, "", bytearray()
    first, previous = 0, ""
    for kept, raw, place in entries:
        try:
            of, at, before, reads = _place(read(raw))
        except UnreadableError as exc:
            if place is None:
                part.problems.append(Problem(stream, seq, f"what stands after it is no entry: {exc}"))
                continue
            part.problems.append(Problem(*place, f"it is no entry: {exc}"))
            of, at, before, reads = *place, "", {}
        else:
            if place is not None and place != (of, at):
                part.problems.append(Problem(*place, f"here stands entry {at} of {of!r}"))
                of, at, before, reads = *place, "", {}
            elif sha256(raw).hexdigest() != kept:
                part.problems.append(Problem(of, at, "its content does not have its hash"))
        if of != stream or at != seq + 1:
            if hashes:
                part.runs.append(Run(stream, first, previous, bytes(hashes)))
            stream, first, previous, hashes = of, at, before, bytearray()
        elif before != last and last and before:
            part.problems.append(_broken(stream, at))
        seq, last = at, kept if before else ""
        hashes += bytes.fromhex(kept) if _HASH.fullmatch(kept) else _ABSENT
        if reads:
            by = f"entry {seq} of {stream!r}"
            part.named += [Named(other, number, value, by) for other, (number, value) in reads.items() if number]
    if hashes:
        part.runs.append(Run(stream, first, previous, bytes(hashes)))
    return part


def read(raw: bytes) -> dict[str, Any]:
    """The entry's data; raises UnreadableError unless the bytes are the canonical JSON of an entry."""
    if len(raw) > ENTRY_BYTES_MAX:
        raise UnreadableError(f"it has {len(raw)} bytes of at most {ENTRY_BYTES_MAX}")
    try:
        text = raw.decode()
        data: dict[str, Any] = _decode(text)
        # Whatever could be written in two ways (order, spaces, escapes, a name given twice) is written as one here.
        is_canonical = _encode(data) == text
    except (ValueError, RecursionError) as exc:
        raise UnreadableError(f"it is no JSON that an entry can hold ({exc})") from exc
    if not is_canonical:
        raise UnreadableError("it is not canonical JSON")
    if not _is_entry(data):
        raise UnreadableError("it has not the fields of an entry")
    return data


def canonical(data: Mapping[str, Any]) -> bytes:
    """The canonical JSON of data that is plain already: what `ids.canonical_json` gives of it, without looking."""
    return _encode(data).encode()


class Ledger:
    """Joins the parts, which come in the order of the entries."""

    def __init__(self) -> None:
        self.entries = 0
        self._hashes: dict[str, bytearray] = {}
        self._gaps: dict[str, set[int]] = {}
        self._waiting: list[Named] = []
        self._problems: list[Problem] = []

    def take(self, part: Part) -> None:
        """Add the next part."""
        self._problems += part.problems
        for run in part.runs:
            self.entries += len(run.hashes) // _HASH_BYTES
            self._join(run)
        self._waiting += [one for one in part.named if not self._is_met(one)]

    def expect(self, name: str, heads: Mapping[str, Head]) -> None:
        """Let what an anchor, or whatever is called `name`, says of streams be held against them."""
        self._waiting += [Named(stream, head.seq, head.hash, name) for stream, head in heads.items() if head.seq]

    def heads(self) -> dict[str, Head]:
        """Where the streams end."""
        return {
            stream: Head(len(hashes) // _HASH_BYTES, Digest(hashes[-_HASH_BYTES:].hex()))
            for stream, hashes in self._hashes.items()
        }

    def has(self, hash_: str) -> Place | None:
        """The place of the entry with a hash, or None."""
        wanted = bytes.fromhex(hash_)
        for stream, hashes in self._hashes.items():
            at = hashes.find(wanted)
            while at >= 0:
                if at % _HASH_BYTES == 0:
                    return stream, at // _HASH_BYTES + 1
                at = hashes.find(wanted, at + 1)
        return None

    def behind(self) -> dict[str, int]:
        """The streams of which entries are named that have not been met, and where each ends so far."""
        self._waiting = [one for one in self._waiting if not self._is_met(one)]
        ends = {one.stream: self._end(one.stream) for one in self._waiting}
        return {one.stream: ends[one.stream] for one in self._waiting if one.seq > ends[one.stream]}

    def finish(self, only: Iterable[str] | None = None) -> tuple[list[Problem], int]:
        """Every problem, by place; and how much is said of streams that are not among `only`, and so not compared."""
        found, within = list(self._problems), None if only is None else set(only)
        for stream, gaps in self._gaps.items():
            found += [Problem(stream, first, _missing(first, last)) for first, last in _stretches(gaps)]
        said: set[Place] = set()
        uncompared = 0
        for one in self._waiting:
            if within is not None and one.stream not in within:
                uncompared += 1
            elif not self._is_met(one) and (one.stream, one.seq) not in said:
                said.add((one.stream, one.seq))
                found += self._contradiction(one)
        return sorted(set(found)), uncompared

    # -- one thing each ------------------------------------------------------------------------------------------

    def _end(self, stream: str) -> int:
        return len(self._hashes.get(stream, b"")) // _HASH_BYTES

    def _hash(self, stream: str, seq: int) -> bytes:
        return bytes(self._hashes[stream][(seq - 1) * _HASH_BYTES : seq * _HASH_BYTES])

    def _is_met(self, one: Named) -> bool:
        return one.seq <= self._end(one.stream) and self._hash(one.stream, one.seq).hex() == one.hash

    def _join(self, run: Run) -> None:
        stream, first, previous, hashes = run
        known = self._hashes.setdefault(stream, bytearray())
        end = self._end(stream)
        if first == end + 1:
            before = self._hash(stream, end).hex() if end else GENESIS
            if previous not in ("", before) and before != _ABSENT.hex():
                self._problems.append(_broken(stream, first))
            known += hashes
        elif first <= end:
            for seq, at in enumerate(range(0, len(hashes), _HASH_BYTES), first):
                self._stray(stream, seq, hashes[at : at + _HASH_BYTES])
        elif first - end > _GAP_MAX:
            self._problems.append(Problem(stream, end + 1, _missing(end + 1, first - 1)))
        else:
            self._gaps.setdefault(stream, set()).update(range(end + 1, first))
            known += _ABSENT * (first - end - 1) + hashes

    def _stray(self, stream: str, seq: int, hash_: bytes) -> None:
        """An entry that comes after a later one of its stream."""
        gaps, known = self._gaps.get(stream, set()), self._hashes[stream]
        if seq == self._end(stream) + 1:
            known += hash_
        elif seq in gaps:
            gaps.remove(seq)
            known[(seq - 1) * _HASH_BYTES : seq * _HASH_BYTES] = hash_
            self._problems.append(Problem(stream, seq, "it stands behind a later entry: their order was changed"))
        else:
            self._problems.append(Problem(stream, seq, "there is another entry of this number: one was inserted"))

    def _contradiction(self, one: Named) -> Iterator[Problem]:
        end = self._end(one.stream)
        if one.seq <= end:
            if self._hash(one.stream, one.seq) != _ABSENT:
                yield Problem(one.stream, one.seq, f"{one.by} names it with another hash: it was changed since")
        elif end:
            cut = _cut(end + 1, one.seq)
            yield Problem(one.stream, end + 1, f"the stream ends before it, and {one.by} names entry {one.seq}: {cut}")
        else:
            yield Problem(one.stream, 1, f"the stream is not there, and {one.by} names its entry {one.seq}")


def check_table(chain: Chain, anchors: Mapping[str, Mapping[str, Head]]) -> Ledger:
    """Check every stream of the table as it is now. The anchors were read before."""
    ledger = Ledger()
    for name, heads in anchors.items():
        ledger.expect(name, heads)
    for stored in parts(chain, ledger):
        ledger.take(check(stored))
    return ledger


def parts(chain: Chain, ledger: Ledger) -> Iterator[tuple[Stored, ...]]:
    """All entries in batches; the ledger is to have taken each before the next is asked for.

    While they are read others append: what came after in a stream that was read already, and is named by what was
    read later, is read at the end.
    """
    yield from of_stream(chain)
    ends: dict[str, int] = {}
    while (behind := ledger.behind()) and behind != ends:
        for stream, end in behind.items():
            yield from of_stream(chain, stream, end)
        ends = behind


def of_stream(chain: Chain, stream: str = "", since: int = 0) -> Iterator[tuple[Stored, ...]]:
    """The entries of all streams, or of one after a seq."""
    rows = chain.stored(stream, since)
    kept = (Stored(str(row["hash"]), str(row["entry"]).encode(), (str(row["stream"]), int(row["seq"]))) for row in rows)
    while batch := tuple(islice(kept, BATCH)):
        yield batch


def _is_entry(data: Any) -> bool:
    if type(data) is not dict or len(data) != len(_FIELDS) or not data.keys() >= _FIELDS.keys():
        return False
    if tuple(map(type, _fields(data))) != _TYPES or data["seq"] < 1 or not _HASH.fullmatch(data["previous"]):
        return False
    return not data["reads"] or all(map(_is_head, data["reads"].values()))


def _is_head(value: Any) -> bool:
    return type(value) is list and list(map(type, value)) == [int, str] and value[0] >= 0


def _refused(text: str) -> NoReturn:
    raise UnreadableError(f"it has a float, {text[:40]}")


_decode = json.JSONDecoder(parse_float=_refused, parse_constant=_refused).decode
_encode = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def _broken(stream: str, seq: int) -> Problem:
    if seq == 1:
        return Problem(stream, seq, "it does not begin the stream: what came before it was taken out")
    other = f"it does not name the hash of entry {seq - 1}: one of the two was changed, put in or replaced"
    return Problem(stream, seq, other)


def _missing(first: int, last: int) -> str:
    return "it is missing" if first == last else f"the entries from it to {last} are missing"


def _cut(first: int, last: int) -> str:
    return f"entry {first} was cut off" if first == last else f"the entries {first} to {last} were cut off"


def _stretches(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Whole numbers as stretches without a gap."""
    first = last = None
    for number in sorted(numbers):
        if last is not None and first is not None and number != last + 1:
            yield first, last
            first = None
        first, last = number if first is None else first, number
    if first is not None and last is not None:
        yield first, last
