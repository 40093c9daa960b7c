"""Bill lines as rows of table `bill_lines`: what changed from one part to the next, keyed so that no partition is hot.

The key is a hash of payer, cycle and line id. Three indexes find lines by other things: an account's, in shards that
a hash tells apart, so that neither is an account with millions of lines one hot partition; an instance's; and a line
by its id alone. `shared.bill.lookup` reads them, for a scope; nothing else may.

A row holds every column that its line has, as text, and
- `account_key`, `instance_key`: what the indexes find it by;
- `source`, `source_row`: its place in the raw bill;
- `seal`: the seal that first saw it so; `gone`: that this seal no longer saw it. A line that is gone keeps a row,
  because an older writer that comes late would otherwise bring it back;
- `standing`: by which of two writers wins. The newer seal does, and within one seal the line that is there: a line
  that moved to another date is gone from one part and new in another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.bill.difference import relation, same
from shared.bill.line import COLUMNS
from shared.ports import Key, Value

if TYPE_CHECKING:
    import duckdb

TABLE = "bill_lines"
STANDING = "standing"
BY_ACCOUNT, BY_INSTANCE, BY_ID = "bill_lines_by_account", "bill_lines_by_instance", "bill_lines_by_id"
# Index columns by index, behind which the service sets the table's own key. Every date is of its line's cycle.
INDEXES: Mapping[str, tuple[str, ...]] = {
    BY_ACCOUNT: ("account_key", "date"),
    BY_INSTANCE: ("instance_key", "date"),
    BY_ID: ("line_id",),
}
SHARDS = "0123456789abcdef"  # of an account: the first digit of its lines' keys

_CHUNK = 2000
# What is left of a line that is gone.
_KEPT = ("line_id", "payer", "account", "cycle", "date", "instance_id")


def account_key(account: str, shard: str) -> str:
    """What the lines of a shard of an account are found by."""
    return _hash(f"{account}#{shard}")


def instance_key(account: str, instance: str) -> str:
    """What the lines of an instance are found by."""
    return _hash(f"{account}/{instance}")


def changed(
    connection: duckdb.DuckDBPyConnection,
    new: Path,
    old: Path | None,
    trace: Path,
    source_of: Callable[[int], str],
    seal: int,
) -> Iterator[tuple[Key, dict[str, Value]]]:
    """The rows to write: lines that are new or differ, with their place in the raw bill, and lines that are gone.

    `trace` has the page and row of each line of `new`; `source_of` says in which object a page lies.
    """
    now = relation([str(new)])
    before = relation([str(old)]) if old else ""
    unchanged = f"ANTI JOIN {before} o ON {same('n', 'o')}" if old else ""
    there = f"(SELECT * FROM {now} n {unchanged}) n JOIN read_parquet($trace) t USING (line_id)"  # noqa: S608
    names = (*_KEYS, *COLUMNS)
    query = f"SELECT {_KEY.format('n')}, t.page, t.row, {_columns('n', names)} FROM {there}"  # noqa: S608
    sources: dict[int, str] = {}
    for key, page, row, *values in _fetched(connection, query, {"trace": str(trace)}):
        if page not in sources:
            sources[page] = source_of(page)
        columns = _filled(names, values)
        columns.update(source=sources[page], source_row=row, seal=seal, standing=2 * seal + 1)
        yield (("line", key),), columns
    if old is None:
        return
    names = (*_KEYS, *_KEPT)
    gone = f"{before} o ANTI JOIN {now} n USING (line_id)"
    query = f"SELECT {_KEY.format('o')}, {_columns('o', names)} FROM {gone}"  # noqa: S608
    for key, *values in _fetched(connection, query):
        columns = _filled(names, values)
        columns.update(gone=True, seal=seal, standing=2 * seal)
        yield (("line", key),), columns


def _fetched(
    connection: duckdb.DuckDBPyConnection, query: str, parameters: Mapping[str, str] | None = None
) -> Iterator[tuple[Any, ...]]:
    # A cursor of its own: who reads these rows may use the connection meanwhile.
    cursor = connection.cursor().execute(query, parameters)
    while batch := cursor.fetchmany(_CHUNK):
        yield from batch


def _filled(names: Sequence[str], values: Sequence[str | None]) -> dict[str, Value]:
    """What is absent is no column of the row."""
    return {name: value for name, value in zip(names, values, strict=True) if value is not None}


def _columns(alias: str, names: Iterable[str]) -> str:
    return ", ".join(
        _KEYS[name].format(alias) if name in _KEYS else f"CAST({alias}.{name} AS VARCHAR)" for name in names
    )


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_HASH]


_HASH = 32  # hex digits
_KEY = f"left(sha256({{0}}.payer || '/' || {{0}}.cycle || '/' || {{0}}.line_id), {_HASH})"
# As the functions above say it.
_KEYS: Mapping[str, str] = {
    "account_key": f"left(sha256({{0}}.account || '#' || left({_KEY}, 1)), {_HASH})",
    "instance_key": f"left(sha256({{0}}.account || '/' || {{0}}.instance_id), {_HASH})",
}
