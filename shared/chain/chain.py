"""Appending to the chain and reading it: one conditional put is the change and its audit record together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from threading import Lock

from shared.chain.entry import ChainBrokenError, Draft, Entry, Head, parse
from shared.errors import ClearbookError
from shared.ids import Digest, digest
from shared.ports import Key, Row, Rows

TABLE = "chain"
CONFLICTS_MAX = 64
KEPT_MAX = 100_000
_SEQ_MAX = 1 << 62
_FIRST, _LAST = "!", "\U0010ffff"  # before and after every stream's name


class TooManyConflictsError(ClearbookError):
    """Others kept appending to the stream first."""

    code = "chain_conflicts"
    retryable = True

    def __init__(self, stream: str) -> None:
        super().__init__(f"{CONFLICTS_MAX} others appended to {stream!r} first; run the step again")


class Chain:
    """The streams, over rows of the table `chain` with the key (stream, seq)."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def read(self, stream: str) -> list[Entry]:
        """All entries, oldest first. A stream is one party's decisions, hundreds a year, never a bill's lines."""
        return self.read_since(stream, Head())

    def read_since(self, stream: str, head: Head) -> list[Entry]:
        """The entries after `head`, oldest first: for whoever has read the stream up to there."""
        rows = self._rows.range(TABLE, _at(stream, head.seq + 1), _at(stream, _SEQ_MAX))
        entries = [parse(str(row["entry"])) for row in rows]
        if entries and head.seq and (entries[0].seq, entries[0].previous) != (head.seq + 1, head.hash):
            raise ChainBrokenError(stream, entries[0].seq, "it does not follow from the entry before it")
        return entries

    def stored(self, stream: str = "", since: int = 0) -> Iterator[Row]:
        """The rows as they are kept, in the order of streams and seq: of all streams, or of one after a seq."""
        first, last = (_at(stream, since + 1), _at(stream, _SEQ_MAX)) if stream else (_at(_FIRST, 0), _at(_LAST, 0))
        return self._rows.range(TABLE, first, last)

    def heads(self, before: str = _LAST) -> dict[str, Head]:
        """Where each stream stands whose name comes before `before`: a call a stream, whatever their lengths."""
        found: dict[str, Head] = {}
        while newest := list(self._rows.range(TABLE, _at(before, 0), _at(_FIRST, 0), backward=True, limit=1)):
            before = str(newest[0]["stream"])
            found[before] = Head(int(newest[0]["seq"]), Digest(str(newest[0]["hash"])))
        return dict(sorted(found.items()))

    def read_all(self, streams: Iterable[str]) -> dict[str, list[Entry]]:
        """The entries of streams that lie next to each other, in one go: what lies between them is read as well."""
        found: dict[str, list[Entry]] = {stream: [] for stream in sorted(streams)}
        if found:
            for row in self._rows.range(TABLE, _at(min(found), 0), _at(max(found), _SEQ_MAX)):
                if row["stream"] in found:
                    found[str(row["stream"])].append(parse(str(row["entry"])))
        return found

    def append(
        self, stream: str, decide: Callable[[list[Entry]], Draft | None], known: list[Entry] | None = None
    ) -> Entry | None:
        """Fold, decide, append; when someone else was first, fold and decide again.

        `decide` gets the stream's entries and answers what to append, or None when nothing is (any longer) to be
        done. `known` are the entries where they have just been read. Returns the entry in its place, or None.
        """
        entries = self.read(stream) if known is None else known
        for _ in range(CONFLICTS_MAX):
            draft = decide(entries)
            if draft is None:
                return None
            head = head_of(entries)
            entry = Entry.place(draft, stream, head)
            if self._put(entry):
                return entry
            entries = [*entries, *self.read_since(stream, head)]
        raise TooManyConflictsError(stream)

    def _put(self, entry: Entry) -> bool:
        raw = entry.canonical()
        columns = {"entry": raw.decode(), "hash": digest(raw), "kind": entry.kind}
        return self._rows.create(TABLE, _at(entry.stream, entry.seq), columns)


class FollowingChain(Chain):
    """For a process that lives long: keeps the streams it has read, and reads only what was appended since.

    An entry never changes, so what was read holds; each read asks once for what came after. It keeps so many
    entries at most, and forgets first the stream that was asked for longest ago. Safe between threads.
    """

    def __init__(self, rows: Rows, kept_max: int = KEPT_MAX) -> None:
        super().__init__(rows)
        self._kept: dict[str, list[Entry]] = {}
        self._kept_max = kept_max
        self._lock = Lock()

    def read(self, stream: str) -> list[Entry]:
        """All entries, oldest first, as they are now."""
        with self._lock:
            known = self._kept.get(stream, [])
        entries = [*known, *self.read_since(stream, head_of(known))]
        self._keep(stream, entries)
        return list(entries)

    def read_all(self, streams: Iterable[str]) -> dict[str, list[Entry]]:
        """The entries of streams: each that is kept is asked for what came after, the others are read in one go."""
        wanted = sorted(streams)
        with self._lock:
            known = [stream for stream in wanted if stream in self._kept]
        found = super().read_all(set(wanted) - set(known))
        for stream, entries in found.items():
            self._keep(stream, entries)
        found |= {stream: self.read(stream) for stream in known}
        return {stream: list(found[stream]) for stream in wanted}

    def _keep(self, stream: str, entries: list[Entry]) -> None:
        with self._lock:
            before = self._kept.pop(stream, [])
            self._kept[stream] = entries if len(entries) >= len(before) else before
            spare = self._kept_max - sum(map(len, self._kept.values()))
            while spare < 0 and self._kept:
                spare += len(self._kept.pop(next(iter(self._kept))))


class Writer:
    """Appends to one stream by one who keeps what it has read: a call an entry, while nobody else appends."""

    def __init__(self, chain: Chain, stream: str) -> None:
        self._chain, self._stream = chain, stream
        self.entries = chain.read(stream)

    def append(self, decide: Callable[[list[Entry]], Draft | None]) -> Entry | None:
        """As a chain does, by the entries that are kept; where others were first, by theirs, too.

        What `decide` refuses by entries that are not the newest any more is refused: where that matters, ask a chain.
        """
        seen: list[list[Entry]] = [self.entries]

        def look(entries: list[Entry]) -> Draft | None:
            seen[0] = entries
            return decide(entries)

        entry = self._chain.append(self._stream, look, self.entries)
        self.entries = seen[0]
        if entry is not None:
            self.entries.append(entry)
        return entry


class RememberingChain(Chain):
    """Reads each stream once, for one long look at everything; from the first change on it reads anew."""

    def __init__(self, rows: Rows) -> None:
        super().__init__(rows)
        self._read: dict[str, list[Entry]] | None = {}
        self._known = ("", "")  # every stream from the one to the other is among them, or is empty

    def read(self, stream: str) -> list[Entry]:
        """All entries, oldest first, as they were when they were first asked for."""
        if self._read is None:
            return super().read(stream)
        if stream not in self._read:
            first, last = self._known
            self._read[stream] = [] if first <= stream <= last else super().read(stream)
        return list(self._read[stream])

    def read_all(self, streams: Iterable[str]) -> dict[str, list[Entry]]:
        """As any chain does, to be remembered; what is remembered already stays."""
        found = super().read_all(streams)
        if self._read is not None:
            self._read = found | self._read
            found = {stream: list(self._read[stream]) for stream in found}
        return found

    def read_between(self, first: str, last: str) -> None:
        """Read all streams from the one to the other in one go, where most of them will be asked for."""
        found: dict[str, list[Entry]] = {}
        for row in self._rows.range(TABLE, _at(first, 0), _at(last, _SEQ_MAX)):
            found.setdefault(str(row["stream"]), []).append(parse(str(row["entry"])))
        if self._read is not None:
            self._read, self._known = found | self._read, (first, last)

    def heads(self, before: str = _LAST) -> dict[str, Head]:
        """Where each stream stands: as it was read where many were read in one go, asked for elsewhere."""
        first, last = self._known
        if self._read is None or not first or before <= last:
            return super().heads(before)
        known = {name: head_of(self._read[name]) for name in self._read if first <= name <= last and self._read[name]}
        return dict(sorted((super().heads(first) | known).items()))

    def append(
        self, stream: str, decide: Callable[[list[Entry]], Draft | None], known: list[Entry] | None = None
    ) -> Entry | None:
        """As any chain does, by what is there now."""
        self.forget()
        return super().append(stream, decide, known)

    def forget(self) -> None:
        """From now on read what is there."""
        self._read = None


def head_of(entries: list[Entry]) -> Head:
    """The head of a stream that was read."""
    return entries[-1].head if entries else Head()


def _at(stream: str, seq: int) -> Key:
    return (("stream", stream), ("seq", seq))
