"""Bill lines as rows: what changed from one part to the next, keyed so that no partition is hot.

The key is a hash of account, cycle and line id. A line that is gone keeps a row that says so, because an older
writer that comes late would otherwise bring it back.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from shared.bill.line import COLUMNS
from shared.bill.pulls import Pull
from shared.ports import Key, Value

if TYPE_CHECKING:
    import duckdb

TABLE = "bill_lines"
_CHUNK = 2000
_SKIPPED = {"service_from", "service_until", "related_record", "order_type", "tax"}


def changed(
    connection: duckdb.DuckDBPyConnection, new: Path, old: Path | None, trace: Path, pull: Pull, seal: int
) -> Iterator[tuple[Key, dict[str, Value]]]:
    """The rows to write: lines that are new or differ, with their place in the raw bill, and lines that are gone."""
    names = [name for name in COLUMNS if name not in _SKIPPED]
    select = ", ".join(f"CAST(n.{name} AS VARCHAR)" for name in names)
    unchanged = "ANTI JOIN read_parquet($old) o USING (line_id, row_hash)" if old else ""
    query = f"""SELECT {_KEY.format("n")}, {select}, t.page, t.row
                FROM (SELECT * FROM read_parquet($new) {unchanged}) n JOIN read_parquet($trace) t USING (line_id)"""  # noqa: S608
    parameters = {"new": str(new), "trace": str(trace)} | ({"old": str(old)} if old else {})
    cursor = connection.execute(query, parameters)
    while batch := cursor.fetchmany(_CHUNK):
        for key, *values, page, row_number in batch:
            row: dict[str, Value] = {
                name: value for name, value in zip(names, values, strict=True) if value is not None
            }
            yield (("line", key),), {**row, "source": pull.page_key(page), "source_row": row_number, "seal": seal}
    if old:
        gone = connection.execute(
            f"SELECT {_KEY.format('o')}, payer, cycle, line_id FROM read_parquet(?) o "  # noqa: S608
            "ANTI JOIN read_parquet(?) n USING (line_id)",
            [str(old), str(new)],
        ).fetchall()
        for key, payer, cycle, line_id in gone:
            yield (("line", key),), {"payer": payer, "cycle": cycle, "line_id": line_id, "gone": True, "seal": seal}


_KEY = "left(sha256({0}.payer || '/' || {0}.cycle || '/' || {0}.line_id), 32)"
