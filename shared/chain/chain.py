"""Appending to the chain and reading it: one conditional put is the change and its audit record together."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from shared.chain.entry import Draft, Entry, Head, parse
from shared.errors import ClearbookError
from shared.ports import Rows

TABLE = "chain"
CONFLICTS_MAX = 64


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
        start, end = (("stream", stream), ("seq", 0)), (("stream", stream), ("seq", 1 << 62))
        return [parse(str(row["entry"])) for row in self._rows.range(TABLE, start, end)]

    def read_all(self, streams: Iterable[str]) -> dict[str, list[Entry]]:
        """The entries of streams that lie next to each other, in one go: what lies between them is read as well."""
        found: dict[str, list[Entry]] = {stream: [] for stream in sorted(streams)}
        if found:
            start, end = (("stream", min(found)), ("seq", 0)), (("stream", max(found)), ("seq", 1 << 62))
            for row in self._rows.range(TABLE, start, end):
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
            entry = Entry.place(draft, stream, entries[-1].head if entries else Head())
            if self._put(entry):
                return entry
            entries = self.read(stream)
        raise TooManyConflictsError(stream)

    def _put(self, entry: Entry) -> bool:
        key = (("stream", entry.stream), ("seq", entry.seq))
        columns = {"entry": entry.canonical().decode(), "hash": entry.hash, "kind": entry.kind}
        return self._rows.create(TABLE, key, columns)


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
        for row in self._rows.range(TABLE, (("stream", first), ("seq", 0)), (("stream", last), ("seq", 1 << 62))):
            found.setdefault(str(row["stream"]), []).append(parse(str(row["entry"])))
        if self._read is not None:
            self._read, self._known = found | self._read, (first, last)

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
