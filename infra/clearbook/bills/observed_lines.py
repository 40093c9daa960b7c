"""A line of a source that its cycle is not settled from: no table has it, so it is looked for in the source's parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from shared.access.scope import View
from shared.bill import rows
from shared.bill.lookup import SHOWN
from shared.bill.snapshot import Seal
from shared.columnar import connect, quoted
from shared.services import Services
from shared.steps import day_parts, sealing, state


def observed_lines(work: Services, newest: list[Seal], line_id: str) -> Iterator[dict[str, Any]]:
    """The line as each of the observations has it, as `BillLines` shows one, and `said_by`, the source."""
    with TemporaryDirectory() as folder, connect(work.scratch, work.memory_mb, work.threads) as connection:
        for seal in newest:
            snapshot = state.snapshot(work, seal.account, seal.cycle, seal.snapshot)
            for day in sorted(day for day, part in snapshot.parts.items() if part.rows):
                part = state.local_part(work, snapshot.part_key(day))
                one = Path(folder) / f"{seal.seq}-{day}.parquet"
                if _cut_out(connection, part, line_id, one):
                    trace_key = day_parts.source_key(seal.account, seal.cycle, day, seal.read[day], "parquet")
                    trace, places = state.local_part(work, trace_key), sealing.places(work, seal, day)
                    for _, columns in rows.changed(connection, one, None, trace, places, seal.seq):
                        yield {name: columns[name] for name in SHOWN[View.OPERATOR] if name in columns} | {
                            "said_by": seal.source
                        }


def _cut_out(connection: duckdb.DuckDBPyConnection, part: Path, line_id: str, into: Path) -> int:
    """Write the line of this id alone; how many there are in the part."""
    query = f"SELECT * FROM read_parquet({quoted(str(part))}) WHERE line_id = {quoted(line_id)}"  # noqa: S608
    [(count,)] = connection.execute(f"COPY ({query}) TO {quoted(str(into))} (FORMAT parquet)").fetchall()
    return int(count)
