"""The digest of the rows of an answer: the same for the same rows, whichever file they are in."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from shared.ids import Digest

if TYPE_CHECKING:
    import duckdb

_AT_ONCE = 10_000


def rows_digest(connection: duckdb.DuckDBPyConnection, source: str, columns: Sequence[str]) -> Digest:
    """The digest of the rows of a relation, in its order: each value as text, or absent, behind one another."""
    cells = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in columns)
    found = connection.execute(f"SELECT concat_ws(chr(31), {cells}) FROM {source}")  # noqa: S608 - our own names
    content = hashlib.sha256("\x1f".join(columns).encode())
    while rows := found.fetchmany(_AT_ONCE):
        content.update("".join(f"\n{one}" for (one,) in rows).encode())
    return Digest(content.hexdigest())
