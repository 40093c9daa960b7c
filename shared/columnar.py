"""DuckDB as every room uses it: one database in the memory of the process, and tables that end with their use."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import duckdb


def connect(spill: Path, memory_mb: int = 1024, threads: int = 2) -> duckdb.DuckDBPyConnection:
    """A connection of its own: its temporary tables and views go when it is closed. Use it in a `with`.

    The database behind it is made once a process, which costs as much as settling a small month; from now on it holds
    at most `memory_mb` and spills beyond that to the folder `spill`.
    """
    database = _database(str(spill), threads)
    database.execute(f"SET memory_limit = '{memory_mb}MB'")
    return database.cursor()


def insert(connection: duckdb.DuckDBPyConnection, table: str, rows: Sequence[Sequence[object]], width: int) -> None:
    """Bulk insert by columns; values go as text, which the table's types read back exactly."""
    if rows:
        columns = [[None if row[i] is None else str(row[i]) for row in rows] for i in range(width)]
        unnested = ", ".join(["unnest(?::VARCHAR[])"] * width)
        connection.execute(f"INSERT INTO {table} SELECT {unnested}", columns)


def quoted(text: str) -> str:
    """A text as an SQL literal, for views, which take no parameters."""
    return "'" + text.replace("'", "''") + "'"


@functools.lru_cache(maxsize=1)
def _database(spill: str, threads: int) -> duckdb.DuckDBPyConnection:
    import duckdb  # 60 MB of code: most events of most functions need none of it

    database = duckdb.connect(config={"threads": threads, "temp_directory": spill})
    database.execute("SET parquet_metadata_cache = true")  # day parts are read again and again, and never change
    # It plans a join for every list of a few texts, which takes longer than comparing them, in planning above all.
    database.execute("SET disabled_optimizers = 'in_clause'")
    return database
