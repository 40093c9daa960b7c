"""What the local Tablestore remembers: tables and rows in one SQLite file per instance.

One connection, used by one thread, is the lock: a check and the write that rests on it lie in one transaction
with nothing in between. A commit is in the write-ahead log before it is acknowledged, so the end of this
process, however it comes, loses nothing; only a power cut may take the last commits, never a part of one.

A row is stored as the PlainBuffer bytes it is served as, under its order-preserving key. Rows lie in rowid
order with an index on the key: random keys then rewrite small index pages, not the pages of wide rows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra.localcloud.common import LocalCloudError
from infra.localcloud.tablestore.errors import table_exists, table_missing, tables_exhausted
from infra.localcloud.tablestore.keys import Schema
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.plainbuffer import Names

TABLES_MAX = 64
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = NORMAL",
    "wal_autocheckpoint = 8000",  # pages of 4 KB: fewer, longer stops while a month is written
    "cache_size = -65536",
    "temp_store = MEMORY",
    "locking_mode = EXCLUSIVE",  # a second service over this folder is a mistake, and is told so
)


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its number in the file, the answer to DescribeTable, and what its keys must look like."""

    number: int
    description: Any
    schema: Schema
    names: Names = field(compare=False)

    @property
    def key_names(self) -> tuple[bytes, ...]:
        """The names of the primary key columns."""
        return tuple(name for name, _ in self.schema.columns)


class Store:
    """The tables and rows of one instance."""

    def __init__(self, folder: Path, instance: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{instance}.db"
        self._sql = sqlite3.connect(path, isolation_level=None, timeout=0)
        try:
            for pragma in _PRAGMAS:
                self._sql.execute(f"PRAGMA {pragma}")
        except sqlite3.OperationalError as exc:
            raise LocalCloudError(f"cannot open {path} ({exc}): end the other local Tablestore over it first") from exc
        self._sql.execute(
            "CREATE TABLE IF NOT EXISTS tables (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE, body BLOB)"
        )
        found = self._sql.execute("SELECT number, name, body FROM tables").fetchall()
        self._tables = {name: _table(number, body) for number, name, body in found}

    def close(self) -> None:
        """Write back the log and let go of the file."""
        self._sql.close()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Everything written inside is kept together, or, when an exception leaves, not at all."""
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")

    def table_names(self) -> list[str]:
        """All tables by name."""
        return sorted(self._tables)

    def table(self, name: str) -> Table:
        """The table of this name, or OtsError."""
        try:
            return self._tables[name]
        except KeyError:
            raise table_missing() from None

    def create_table(self, description: Any) -> None:
        """Add an empty table as `description` (a DescribeTableResponse) says."""
        name, body = description.table_meta.table_name, description.SerializeToString()
        if name in self._tables:
            raise table_exists()
        if len(self._tables) >= TABLES_MAX:
            raise tables_exhausted()
        with self.writing():
            number = self._sql.execute("INSERT INTO tables (name, body) VALUES (?, ?)", (name, body)).lastrowid
            self._sql.execute(
                f"CREATE TABLE rows_{number} (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, row BLOB)"
            )
        assert number is not None  # noqa: S101 - an INSERT gives one
        self._tables[name] = _table(number, body)

    def delete_table(self, name: str) -> None:
        """Drop a table with its rows."""
        number = self.table(name).number
        with self.writing():
            self._sql.execute(f"DROP TABLE rows_{number}")
            self._sql.execute("DELETE FROM tables WHERE number = ?", (number,))
        del self._tables[name]

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The row under `key`."""
        found = self._sql.execute(f"SELECT row FROM rows_{table.number} WHERE key = ?", (key,)).fetchone()  # noqa: S608
        return None if found is None else found[0]

    def put(self, table: Table, key: bytes, row: bytes) -> None:
        """Store the row, in place of one that may be there."""
        self._sql.execute(
            f"INSERT INTO rows_{table.number} (key, row) VALUES (?, ?)"  # noqa: S608 - a number of ours
            " ON CONFLICT (key) DO UPDATE SET row = excluded.row",
            (key, row),
        )

    def put_if_absent(self, table: Table, key: bytes, row: bytes) -> bool:
        """Store the row if there is none; whether it was stored."""
        done = self._sql.execute(
            f"INSERT INTO rows_{table.number} (key, row) VALUES (?, ?) ON CONFLICT DO NOTHING",  # noqa: S608
            (key, row),
        )
        return done.rowcount == 1

    def delete(self, table: Table, key: bytes) -> None:
        """Remove the row if it is there."""
        self._sql.execute(f"DELETE FROM rows_{table.number} WHERE key = ?", (key,))  # noqa: S608

    def scan(self, table: Table, start: bytes, end: bytes, backward: bool) -> Generator[bytes, None, None]:
        """The rows from `start` on, up to but without `end`; backward, `start` is the greater one.

        Close it before the next write: an open cursor keeps its table from being dropped.
        """
        if backward:
            where, order = "key <= ? AND key > ?", "DESC"
        else:
            where, order = "key >= ? AND key < ?", "ASC"
        select = f"SELECT row FROM rows_{table.number} WHERE {where} ORDER BY key {order}"  # noqa: S608
        cursor = self._sql.cursor()
        try:
            for (row,) in cursor.execute(select, (start, end)):
                yield row
        finally:
            cursor.close()


def _table(number: int, body: bytes) -> Table:
    description = pb.DescribeTableResponse.FromString(body)
    schema = Schema.of(description.table_meta)
    return Table(number, description, schema, Names(name for name, _ in schema.columns))
