"""What the local Tablestore remembers: tables and rows in one SQLite file per instance.

One connection, used by one thread, is the lock: a check and the write that rests on it lie in one transaction
with nothing in between. A commit is in the write-ahead log before it is acknowledged, so the end of this
process, however it comes, loses nothing; only a power cut may take the last commits, never a part of one.

A row is stored as the PlainBuffer bytes it is served as, under its order-preserving key. Rows lie in rowid
order with an index on the key: random keys then rewrite small index pages, not the pages of wide rows.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from infra.localcloud.common import Clock, LocalCloudError
from infra.localcloud.tablestore import indexes
from infra.localcloud.tablestore.errors import (
    index_missing,
    index_read_only,
    table_exists,
    table_missing,
    tables_exhausted,
)
from infra.localcloud.tablestore.keys import Schema
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.plainbuffer import Names
from infra.localcloud.tablestore.transactions import Session, Transactions
from infra.localcloud.tablestore.versions import Sight

TABLES_MAX = 64
FOREVER = -1
_NOTHING_READ: tuple[int, bytes, bytes | None] = (0, b"", None)
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
    """A table: its number in the file, the answer to DescribeTable, and what its keys must look like.

    `versions_stored` is the greatest max_versions it ever had, so how many cells of a column a row may hold.
    """

    number: int
    description: Any
    schema: Schema
    versions_stored: int
    names: Names = field(compare=False)

    @property
    def name(self) -> str:
        """The name of the table."""
        return str(self.description.table_meta.table_name)

    @property
    def key_names(self) -> tuple[bytes, ...]:
        """The names of the primary key columns."""
        return tuple(name for name, _ in self.schema.columns)

    @property
    def versions_kept(self) -> int:
        """How many versions of a column can be seen."""
        return int(self.description.table_options.max_versions)

    def sight(self, now_ms: int) -> Sight | None:
        """Which cells can be seen now; None when they all can, being the only ones of their columns."""
        life_s = self.description.table_options.time_to_live
        if life_s == FOREVER and self.versions_stored == 1:
            return None
        return Sight(self.versions_kept, 0 if life_s == FOREVER else now_ms - life_s * 1000 + 1)


class Rows(Protocol):
    """Rows to read and change: those of the instance, or as an open transaction sees them."""

    def writing(self) -> Any:
        """Everything written inside is kept together, or, when an exception leaves, not at all."""

    def check_write(self, table: Table, key: bytes, size: int) -> None:
        """Refuse a change of `size` bytes to a row that must not be changed from here."""

    def written(self, size: int) -> None:
        """Count what a change has written."""

    def check_read(self, table: Table, *keys: bytes) -> None:
        """Refuse keys that must not be read from here."""

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The row under `key`."""

    def put(self, table: Table, key: bytes, row: bytes) -> None:
        """Store the row, in place of one that may be there."""

    def put_if_absent(self, table: Table, key: bytes, row: bytes) -> bool:
        """Store the row if there is none; whether it was stored."""

    def delete(self, table: Table, key: bytes) -> None:
        """Remove the row if it is there."""

    def scan(self, table: Table, start: bytes, end: bytes, backward: bool) -> Generator[bytes, None, None]:
        """The rows from `start` on, up to but without `end`; backward, `start` is the greater one."""


class Store:
    """The tables and rows of one instance; `seconds` is a clock that never goes back."""

    def __init__(
        self, folder: Path, instance: str, clock: Clock, seconds: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self.transactions = Transactions(seconds)
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
        self._sql.execute("CREATE TABLE IF NOT EXISTS numbers (name TEXT PRIMARY KEY, value INTEGER NOT NULL)")
        found = self._sql.execute("SELECT number, name, body FROM tables").fetchall()
        self._tables = {name: self._table(number, body) for number, name, body in found}
        self._indexes = {table.number: self._indexes_of(table) for table in self._tables.values()}
        self._row_number = 0
        self._read = _NOTHING_READ  # the row read last, until the next write

    def close(self) -> None:
        """Write back the log and let go of the file."""
        self._sql.close()

    def now_ms(self) -> int:
        """The business time in milliseconds."""
        return int(self._clock.now().timestamp() * 1000)

    def next_row_number(self) -> int:
        """A number for an auto-increment column: greater than any before, and as in the service with gaps."""
        self._row_number = max(time.time_ns() // 1000, self._row_number + 1)
        return self._row_number

    def rows(self, request: Any) -> Rows:
        """The rows that a request works on: those of its transaction, if it names one."""
        if request.HasField("transaction_id"):
            return Session(self, self.transactions.find(request.transaction_id))
        return self

    def check_write(self, table: Table, key: bytes, _size: int) -> None:
        """Refuse to change a row that a transaction holds."""
        self.transactions.refuse_locked(table, key)

    def written(self, size: int) -> None:
        """There is no end of what the instance may hold."""

    def check_read(self, table: Table, *keys: bytes) -> None:
        """All that is committed may be read."""

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Everything written inside is kept together, or, when an exception leaves, not at all."""
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._sql.execute("ROLLBACK")
            self._read = _NOTHING_READ
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

    def writable(self, name: str) -> Table:
        """As `table`, unless it is an index."""
        table = self.table(name)
        if self.base_of(name) is not None:
            raise index_read_only()
        return table

    def base_of(self, name: str) -> Table | None:
        """The table that the table of this name is an index of; None when it is none."""
        for table in self._tables.values():
            if any(meta.name == name for meta in table.description.index_metas):
                return table
        return None

    def create_table(self, description: Any) -> None:
        """Add an empty table, and its indexes, as `description` (a DescribeTableResponse) says."""
        wanted = [description, *(_index_description(description, meta) for meta in description.index_metas)]
        self._refuse_taken(*(one.table_meta.table_name for one in wanted))
        with self.writing():
            made = [self._insert_table(one) for one in wanted]
        self._take_over(*made)

    def create_index(self, name: str, meta: Any, *, is_filled: bool) -> None:
        """Add an index to a table; `is_filled` with the rows that the table has."""
        base, description = self.table(name), pb.DescribeTableResponse()
        description.CopyFrom(base.description)
        description.index_metas.append(meta)
        self._refuse_taken(meta.name)
        with self.writing():
            made = self._insert_table(_index_description(description, meta))
            self._describe_anew(base, description)
            if is_filled:
                self._fill(base, indexes.index_of(made.number, made.description.table_meta))
        self._take_over(made, self._table(base.number, description.SerializeToString()))

    def drop_index(self, name: str, index_name: str) -> None:
        """Take an index from a table."""
        base, description = self.table(name), pb.DescribeTableResponse()
        description.CopyFrom(base.description)
        kept = [meta for meta in description.index_metas if meta.name != index_name]
        if len(kept) == len(description.index_metas):
            raise index_missing()
        del description.index_metas[:]
        description.index_metas.extend(kept)
        index = self.table(index_name)
        with self.writing():
            self._describe_anew(base, description)
            self._drop(index)
        self._forget(index)
        self._take_over(self._table(base.number, description.SerializeToString()))

    def change_table(self, description: Any) -> None:
        """Describe a table anew."""
        table = self.table(description.table_meta.table_name)
        with self.writing():
            self._describe_anew(table, description)
            self._remember(f"versions {table.number}", table.versions_stored)
        self._take_over(self._table(table.number, description.SerializeToString()))

    def delete_table(self, name: str) -> None:
        """Drop a table with its rows and, from memory, with its indexes."""
        table = self.writable(name)
        gone = [table, *(self.table(meta.name) for meta in table.description.index_metas)]
        with self.writing():
            for one in gone:
                self._drop(one)
        self.transactions.forget(table)
        for one in gone:
            self._forget(one)

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The row under `key`."""
        found = self._sql.execute(f"SELECT row FROM rows_{table.number} WHERE key = ?", (key,)).fetchone()  # noqa: S608
        row = None if found is None else found[0]
        self._read = (table.number, key, row)
        return row

    def put(self, table: Table, key: bytes, row: bytes) -> None:
        """Store the row, in place of one that may be there."""
        if self._indexes[table.number].all:
            self._move(table, self._old(table, key), row)
        self._put(table.number, key, row)

    def put_if_absent(self, table: Table, key: bytes, row: bytes) -> bool:
        """Store the row if there is none; whether it was stored."""
        if self._indexes[table.number].all:
            if self._old(table, key) is not None:
                return False
            self._move(table, None, row)
        self._read = _NOTHING_READ
        done = self._sql.execute(
            f"INSERT INTO rows_{table.number} (key, row) VALUES (?, ?) ON CONFLICT DO NOTHING",  # noqa: S608
            (key, row),
        )
        return done.rowcount == 1

    def delete(self, table: Table, key: bytes) -> None:
        """Remove the row if it is there."""
        if self._indexes[table.number].all:
            self._move(table, self._old(table, key), None)
        self._delete(table.number, key)

    def scan(self, table: Table, start: bytes, end: bytes, backward: bool) -> Generator[bytes, None, None]:
        """The rows from `start` on, up to but without `end`; backward, `start` is the greater one.

        Close it before the next write: an open cursor keeps its table from being dropped.
        """
        cursor = self._sql.cursor()
        try:
            for (row,) in cursor.execute(_select("row", table, backward), (start, end)):
                yield row
        finally:
            cursor.close()

    def scan_keyed(
        self, table: Table, start: bytes, end: bytes, backward: bool
    ) -> Generator[tuple[bytes, bytes], None, None]:
        """As `scan`, with the key of each row."""
        cursor = self._sql.cursor()
        try:
            yield from cursor.execute(_select("key, row", table, backward), (start, end))
        finally:
            cursor.close()

    def _old(self, table: Table, key: bytes) -> bytes | None:
        """The row that a write finds: a condition has mostly just read it."""
        read, self._read = self._read, _NOTHING_READ
        return read[2] if read[:2] == (table.number, key) else self.get(table, key)

    def _refuse_taken(self, *names: str) -> None:
        if any(name in self._tables for name in names):
            raise table_exists()
        if len(self._tables) + len(names) > TABLES_MAX:
            raise tables_exhausted()

    def _insert_table(self, description: Any) -> Table:
        name, body = description.table_meta.table_name, description.SerializeToString()
        number = self._sql.execute("INSERT INTO tables (name, body) VALUES (?, ?)", (name, body)).lastrowid
        assert number is not None  # noqa: S101 - an INSERT gives one
        self._sql.execute(f"CREATE TABLE rows_{number} (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, row BLOB)")
        return self._table(number, body)

    def _describe_anew(self, table: Table, description: Any) -> None:
        body = description.SerializeToString()
        self._sql.execute("UPDATE tables SET body = ? WHERE number = ?", (body, table.number))

    def _take_over(self, *tables: Table) -> None:
        """Know tables as they are now in the file; a table's indexes are known before it."""
        self._tables |= {table.name: table for table in tables}
        self._indexes |= {table.number: self._indexes_of(table) for table in tables}

    def _drop(self, table: Table) -> None:
        self._sql.execute(f"DROP TABLE rows_{table.number}")
        self._sql.execute("DELETE FROM tables WHERE number = ?", (table.number,))
        self._sql.execute("DELETE FROM numbers WHERE name = ?", (f"versions {table.number}",))

    def _forget(self, table: Table) -> None:
        del self._tables[table.name], self._indexes[table.number]

    def _indexes_of(self, table: Table) -> indexes.Indexes:
        made = (self._tables[meta.name] for meta in table.description.index_metas)
        return indexes.Indexes.of(indexes.index_of(one.number, one.description.table_meta) for one in made)

    def _move(self, table: Table, old: bytes | None, new: bytes | None) -> None:
        """Let the indexes of a table follow a change of one row; a value no key can hold refuses the change."""
        for number, key, row in list(indexes.moves(self._indexes[table.number], old, new)):
            if row is None:
                self._delete(number, key)
            else:
                self._put(number, key, row)

    def _fill(self, base: Table, index: indexes.Index) -> None:
        for (row,) in self._sql.execute(f"SELECT row FROM rows_{base.number}").fetchall():  # noqa: S608
            for number, key, made in indexes.moves(indexes.Indexes.of([index]), None, row):
                self._put(number, key, made or b"")

    def _put(self, number: int, key: bytes, row: bytes) -> None:
        self._read = _NOTHING_READ
        self._sql.execute(
            f"INSERT INTO rows_{number} (key, row) VALUES (?, ?)"  # noqa: S608 - a number of ours
            " ON CONFLICT (key) DO UPDATE SET row = excluded.row",
            (key, row),
        )

    def _delete(self, number: int, key: bytes) -> None:
        self._read = _NOTHING_READ
        self._sql.execute(f"DELETE FROM rows_{number} WHERE key = ?", (key,))  # noqa: S608

    def _table(self, number: int, body: bytes) -> Table:
        description = pb.DescribeTableResponse.FromString(body)
        schema = Schema.of(description.table_meta)
        stored = max(description.table_options.max_versions, self._recall(f"versions {number}", 1))
        return Table(number, description, schema, stored, Names(name for name, _ in schema.columns))

    def _remember(self, name: str, value: int) -> None:
        self._sql.execute("INSERT OR REPLACE INTO numbers (name, value) VALUES (?, ?)", (name, value))

    def _recall(self, name: str, otherwise: int) -> int:
        found = self._sql.execute("SELECT value FROM numbers WHERE name = ?", (name,)).fetchone()
        return otherwise if found is None else int(found[0])


def _index_description(base: Any, meta: Any) -> Any:
    """What DescribeTable answers about an index: as its table, but for the columns."""
    description = pb.DescribeTableResponse()
    description.CopyFrom(base)
    del description.index_metas[:]
    description.table_meta.CopyFrom(indexes.meta_of(base.table_meta, meta))
    return description


def _select(columns: str, table: Table, backward: bool) -> str:
    if backward:
        where, order = "key <= ? AND key > ?", "DESC"
    else:
        where, order = "key >= ? AND key < ?", "ASC"
    return f"SELECT {columns} FROM rows_{table.number} WHERE {where} ORDER BY key {order}"  # noqa: S608
