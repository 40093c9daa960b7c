"""One entry of the chain, its hash, and the check of a whole stream.

An entry's hash covers its canonical JSON, which holds the hash of the entry before it: whoever knows the newest
hash can prove every entry. Times are UTC text; `reads` names, for every other stream the decision rests on,
the (seq, hash) it stood at.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ClearbookError
from shared.ids import Digest, canonical_json, digest

ENTRY_BYTES_MAX = 64 * 1024
GENESIS = Digest("0" * 64)


class ChainBrokenError(ClearbookError):
    """A stream does not hold what its hashes say."""

    code = "chain_broken"

    def __init__(self, stream: str, seq: int, problem: str) -> None:
        super().__init__(
            f"chain stream {stream!r}, entry {seq}: {problem}; keep the table as it is and call an auditor"
        )
        self.stream, self.seq = stream, seq


class EntryTooLargeError(ClearbookError):
    """An entry over 64 KB; lists belong in an object that the entry names by digest."""

    code = "entry_too_large"

    def __init__(self, stream: str, kind: str, size: int) -> None:
        super().__init__(
            f"an entry {kind!r} for {stream!r} has {size} bytes of at most {ENTRY_BYTES_MAX}; name its lists by digest"
        )


@dataclass(frozen=True, slots=True)
class Head:
    """Where a stream stands; seq 0 with the genesis hash is an empty one."""

    seq: int = 0
    hash: Digest = GENESIS


@dataclass(frozen=True, slots=True)
class Draft:
    """What someone decided, before it has a place in the chain."""

    kind: str
    actor: str
    at: str
    body: Mapping[str, Any]
    why: str = ""
    reads: Mapping[str, Head] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """A decision in its place."""

    stream: str
    seq: int
    previous: Digest
    kind: str
    actor: str
    at: str
    why: str
    body: Mapping[str, Any]
    reads: Mapping[str, Head]
    _bytes: bytes = field(default=b"", init=False, repr=False, compare=False)  # once they were asked for

    @classmethod
    def place(cls, draft: Draft, stream: str, head: Head) -> Entry:
        """The draft as the entry after `head`; refused over 64 KB."""
        entry = cls(
            stream, head.seq + 1, head.hash, draft.kind, draft.actor, draft.at, draft.why, draft.body, draft.reads
        )
        size = len(entry.canonical())
        if size > ENTRY_BYTES_MAX:
            raise EntryTooLargeError(stream, draft.kind, size)
        return entry

    def canonical(self) -> bytes:
        """The bytes that the hash covers."""
        if not self._bytes:
            said = {
                "stream": self.stream,
                "seq": self.seq,
                "previous": self.previous,
                "kind": self.kind,
                "actor": self.actor,
                "at": self.at,
                "why": self.why,
                "body": self.body,
                "reads": {stream: [head.seq, head.hash] for stream, head in self.reads.items()},
            }
            object.__setattr__(self, "_bytes", canonical_json(said))
        return self._bytes

    @property
    def hash(self) -> Digest:
        """The entry's hash."""
        return digest(self.canonical())

    @property
    def head(self) -> Head:
        """The stream's head once this entry is in it."""
        return Head(self.seq, self.hash)


def parse(raw: bytes | str) -> Entry:
    """The entry whose canonical JSON is `raw`."""
    data = json.loads(raw)
    reads = {stream: Head(seq, Digest(value)) for stream, (seq, value) in data.pop("reads").items()}
    return Entry(reads=reads, **data)


def verify(stream: str, stored: Iterable[tuple[str, str]]) -> Head:
    """Check (canonical JSON, hash) pairs in order from the first; the head they end at, or ChainBrokenError."""
    head = Head()
    for raw, kept_hash in stored:
        entry, seq = parse(raw), head.seq + 1
        if (entry.stream, entry.seq) != (stream, seq):
            raise ChainBrokenError(stream, seq, f"here stands entry {entry.seq} of {entry.stream!r}")
        if digest(raw.encode()) != kept_hash or entry.canonical() != raw.encode():
            raise ChainBrokenError(stream, seq, "its content does not have its hash")
        if entry.previous != head.hash:
            raise ChainBrokenError(stream, seq, "it does not follow from the entry before it")
        head = Head(seq, Digest(kept_hash))
    return head
