"""The queue behind asynchronous invocations, on disk: what was accepted is delivered at least once.

Taking events in and moving the mark up to which a source was read are one transaction, so the host itself
neither loses nor doubles an event, whenever it is killed. What was running then runs again after the restart.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

RESULT_KEPT_CHARS = 4096
DONE_KEPT = 20_000
_SCHEMA = """
CREATE TABLE IF NOT EXISTS invocation (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    function TEXT NOT NULL,
    request_id TEXT NOT NULL,
    source TEXT NOT NULL,
    subject TEXT NOT NULL,
    payload BLOB NOT NULL,
    state TEXT NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'done', 'failed')),
    attempts INTEGER NOT NULL DEFAULT 0,
    enqueued_at TEXT NOT NULL,
    busy_ms REAL NOT NULL DEFAULT 0,
    result TEXT,
    error_type TEXT,
    error TEXT
);
CREATE INDEX IF NOT EXISTS invocation_open ON invocation (state, id) WHERE state <> 'done';
CREATE TABLE IF NOT EXISTS mark (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for a function, not yet taken in; `subject` says to people what it is about."""

    function: str
    source: str
    subject: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Invocation:
    """An event taken in; `attempts` counts the deliveries that ended."""

    id: int
    function: str
    request_id: str
    source: str
    subject: str
    payload: bytes
    attempts: int


class Queue:
    """Asynchronous invocations and the marks of their sources, in `path`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        # NORMAL keeps everything when a process is killed; only a power cut could cost the last commits.
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def recover(self) -> list[tuple[int, str]]:
        """Put back what was running when the host ended; returns (id, function) of all that is pending, in order."""
        with self._transaction():
            self._db.execute("UPDATE invocation SET state = 'pending' WHERE state = 'running'")
            newest = self._db.execute("SELECT max(id) FROM invocation").fetchone()[0] or 0
            self._db.execute("DELETE FROM invocation WHERE state = 'done' AND id <= ?", (newest - DONE_KEPT,))
        return self._db.execute("SELECT id, function FROM invocation WHERE state = 'pending' ORDER BY id").fetchall()

    def mark(self, name: str) -> str:
        """How far the source `name` was read; empty before the first time."""
        row = self._db.execute("SELECT value FROM mark WHERE name = ?", (name,)).fetchone()
        return "" if row is None else str(row[0])

    def take(self, deliveries: Sequence[Delivery], now: str, marks: Mapping[str, str]) -> list[tuple[int, str]]:
        """Take events in and move marks, all or nothing; returns (id, function) of each."""
        with self._transaction():
            for name, value in marks.items():
                self._db.execute("INSERT OR REPLACE INTO mark VALUES (?, ?)", (name, value))
            return [(self._insert(delivery, now), delivery.function) for delivery in deliveries]

    def begin(self, invocation_id: int) -> Invocation:
        """Note that a delivery starts; returns what to deliver."""
        row = self._db.execute(
            "UPDATE invocation SET state = 'running' WHERE id = ?"
            " RETURNING id, function, request_id, source, subject, payload, attempts",
            (invocation_id,),
        ).fetchall()[0]
        return Invocation(*row)

    def done(self, invocation_id: int, result: bytes, busy_ms: float) -> None:
        """Note that the function answered."""
        self._db.execute(
            "UPDATE invocation SET state = 'done', attempts = attempts + 1, busy_ms = busy_ms + ?, result = ?"
            " WHERE id = ?",
            (busy_ms, _kept(result), invocation_id),
        )

    def again(self, invocation_id: int, error_type: str, error: bytes, busy_ms: float) -> None:
        """Note a delivery that failed and will be repeated."""
        self._ended("pending", invocation_id, error_type, error, busy_ms)

    def failed(
        self, invocation_id: int, error_type: str, error: bytes, busy_ms: float, onward: Delivery | None, now: str
    ) -> list[tuple[int, str]]:
        """Note the last failure and hand it to its destination in one step; returns what was taken in for it."""
        with self._transaction():
            self._ended("failed", invocation_id, error_type, error, busy_ms)
            return [] if onward is None else [(self._insert(onward, now), onward.function)]

    def counts(self) -> dict[str, int]:
        """How many invocations are in each state."""
        rows = self._db.execute("SELECT state, count(*) FROM invocation GROUP BY state").fetchall()
        return {"pending": 0, "running": 0, "done": 0, "failed": 0, **dict(rows)}

    def failures(self, limit: int) -> list[dict[str, object]]:
        """The last failures, newest first."""
        rows = self._db.execute(
            "SELECT function, request_id, source, subject, attempts, error_type, error FROM invocation"
            " WHERE state = 'failed' ORDER BY id DESC LIMIT ?",
            (limit,),
        ).fetchall()
        names = ("function", "request_id", "source", "subject", "attempts", "error_type", "error")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def last_answered(self, function: str) -> bytes | None:
        """The event that `function` answered last, or None."""
        row = self._db.execute(
            "SELECT payload FROM invocation WHERE function = ? AND state = 'done' ORDER BY id DESC LIMIT 1", (function,)
        ).fetchone()
        return None if row is None else bytes(row[0])

    def _insert(self, delivery: Delivery, now: str) -> int:
        cursor = self._db.execute(
            "INSERT INTO invocation (function, request_id, source, subject, payload, enqueued_at)"
            " VALUES (?, ?, ?, ?, ?, ?)",
            (delivery.function, new_request_id(), delivery.source, delivery.subject, delivery.payload, now),
        )
        return int(cursor.lastrowid or 0)

    def _ended(self, state: str, invocation_id: int, error_type: str, error: bytes, busy_ms: float) -> None:
        self._db.execute(
            "UPDATE invocation SET state = ?, attempts = attempts + 1, busy_ms = busy_ms + ?, error_type = ?,"
            " error = ? WHERE id = ?",
            (state, busy_ms, error_type, _kept(error), invocation_id),
        )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def new_request_id() -> str:
    """A request id of the shape FC 3.0 gives (`1-64f6cd87-…`)."""
    return f"1-{int(time.time()):08x}-{secrets.token_hex(6)}"


def _kept(body: bytes) -> str:
    return body[:RESULT_KEPT_CHARS].decode(errors="replace")
