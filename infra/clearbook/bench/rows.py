"""Bill lines into Tablestore: our way from a day part to rows, beside a bare loop over the SDK that puts the same rows.

Both write to a table of the same key and indexes on one local Tablestore, part by part in turns, one batch of 200 rows
after the other and one batch at a time. The bare loop is given its rows ready in memory, and puts them without a
condition; ours finds them in the part, and puts each only where none newer is there. So the ratio holds everything that
ours does more. Other work on the machine disturbs the clock: the processor time of this process and of the service,
together, is the steadier figure (`cpu_ratio`).
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.localcloud import common
from infra.provision.tables import TABLES, indexes_of
from shared.bill import rows
from shared.bill.line import COLUMNS
from shared.cloud.admin import Index, TableAdmin
from shared.cloud.credentials import AccessKey
from shared.columnar import connect
from shared.errors import BadInputError
from shared.ports import Key, Value

if TYPE_CHECKING:
    import duckdb


RATIO_MAX = 1.2
PART_LINES, LINES_MAX = 5_000, 50_000
CHANGED_EVERY = 100  # of the lines that are pulled again, one in so many has changed
_BARE = "bare_lines"

_Row = tuple[Key, dict[str, Value]]


@dataclass(frozen=True, slots=True)
class _Spent:
    """What a part took: by the clock, and of the processor in this process and in the service."""

    wall_s: float
    cpu_s: float
    service_cpu_s: float

    @property
    def both_cpu_s(self) -> float:
        """Of the processor, in both processes."""
        return self.cpu_s + self.service_cpu_s


@dataclass(frozen=True, slots=True)
class _Parts:
    """A day part and its trace, and the part of the same day pulled again."""

    part: Path
    trace: Path
    again: Path


def measure(lines: int) -> dict[str, Any]:
    """The figures for so many lines, at most LINES_MAX: all parts are alike.

    `rows_ratio` is the median over the parts of our time over the bare loop's, `cpu_ratio` that of the processor time
    of this process and the service, summed; `ours_cpu_s` and `bare_cpu_s` are this process's alone.
    `repull_rows_share` is the part of the rows that were written when one line in a hundred had changed.
    """
    if lines < CHANGED_EVERY:
        raise BadInputError("lines", f"has {lines}", f"give {CHANGED_EVERY} or more")
    home = Path(tempfile.mkdtemp(prefix="clearbook-bench-"))
    try:
        service = common.start("tablestore", home)
        try:
            return _measured(min(lines, LINES_MAX), home, service)
        finally:
            service.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _measured(lines: int, home: Path, service: common.Service) -> dict[str, Any]:
    from shared.cloud.tablestore import TablestoreRows, client

    keys, endpoint = common.load_keys(home), f"http://127.0.0.1:{service.port}"
    key = AccessKey(keys.access_key_id, keys.access_key_secret)
    sdk = client(endpoint, keys.region, keys.instance, key)
    store = TablestoreRows(endpoint, keys.region, keys.instance, lambda: key)
    admin = TableAdmin(endpoint, keys.region, keys.instance, key)
    admin.create(rows.TABLE, TABLES[rows.TABLE], indexes_of(rows.TABLE))
    own = [Index(f"bare_{index.name}", index.columns) for index in indexes_of(rows.TABLE)]
    admin.create(_BARE, TABLES[rows.TABLE], own)
    ours, bare = list[_Spent](), list[_Spent]()
    again = 0
    with connect(home, threads=1) as connection:
        for number, (first, end) in enumerate(_slices(lines)):
            parts = _write_parts(connection, home, first, end)

            def put_ours(parts: _Parts = parts, count: int = end - first) -> None:
                changed = _changed(connection, parts.part, None, parts.trace, 1)
                _check(store.put_newer(rows.TABLE, changed, rows.STANDING), count)

            ready = list(_changed(connection, parts.part, None, parts.trace, 1))

            def put_bare(ready: Sequence[_Row] = ready) -> None:
                _put_bare(sdk, ready)

            # What comes second finds warmer caches, so they take turns.
            for put in (put_ours, put_bare) if number % 2 == 0 else (put_bare, put_ours):
                (ours if put is put_ours else bare).append(_timed(put, service))
            changed = _changed(connection, parts.again, parts.part, parts.trace, 2)
            again += store.put_newer(rows.TABLE, changed, rows.STANDING)
    pairs = list(zip(ours, bare, strict=True))
    return {
        "lines": lines,
        "pairs": len(pairs),
        "rows_ratio": round(statistics.median(one.wall_s / other.wall_s for one, other in pairs), 3),
        "rows_ratio_max": RATIO_MAX,
        "cpu_ratio": round(sum(one.both_cpu_s for one in ours) / sum(one.both_cpu_s for one in bare), 3),
        "ours_s": round(sum(one.wall_s for one in ours), 3),
        "bare_s": round(sum(one.wall_s for one in bare), 3),
        "ours_cpu_s": round(sum(one.cpu_s for one in ours), 3),
        "bare_cpu_s": round(sum(one.cpu_s for one in bare), 3),
        "rows_per_s": round(lines / sum(one.wall_s for one in ours)),
        "repull_rows": again,
        "repull_rows_share": round(again / lines, 5),
    }


def _slices(lines: int) -> list[tuple[int, int]]:
    """The first line and the end of each part, of about equal sizes."""
    count = max(1, lines // PART_LINES)
    ends = [lines * number // count for number in range(count + 1)]
    return list(itertools.pairwise(ends))


def _timed(work: Callable[[], None], service: common.Service) -> _Spent:
    served, cpu, wall = _cpu_of(service), time.process_time(), time.perf_counter()
    work()
    return _Spent(time.perf_counter() - wall, time.process_time() - cpu, _cpu_of(service) - served)


def _cpu_of(service: common.Service) -> float:
    """The processor time of a service so far; none is told where the system has no /proc."""
    try:
        stat = Path(f"/proc/{service.process.pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return 0.0
    user, system = stat.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _changed(connection: duckdb.DuckDBPyConnection, new: Path, old: Path | None, trace: Path, seal: int) -> Any:
    return rows.changed(connection, new, old, trace, lambda page: f"raw/100/2025-06/page-{page:05d}.json.gz", seal)


def _put_bare(sdk: Any, ready: Sequence[_Row]) -> None:
    """What one would write by hand: batches as large as the service takes, one after the other, outcomes looked at."""
    import tablestore as ots

    condition = ots.Condition(ots.RowExistenceExpectation.IGNORE)
    for begin in range(0, len(ready), 200):
        items = [
            ots.PutRowItem(ots.Row(list(key), list(columns.items())), condition)
            for key, columns in ready[begin : begin + 200]
        ]
        request = ots.BatchWriteRowRequest()
        request.add(ots.TableInBatchWriteRowItem(_BARE, items))
        put, failed = sdk.batch_write_row(request).get_put()
        _check(len(put) - len(failed), len(items))


def _check(put: int, wanted: int) -> None:
    if put != wanted:
        raise common.LocalCloudError(f"{put} of {wanted} rows were put; the figures would mean nothing")


def _write_parts(connection: duckdb.DuckDBPyConnection, folder: Path, first: int, end: int) -> _Parts:
    """Generated lines with about the columns and the width of the provider's: what it leaves empty is empty."""
    # The database keeps what it knows of a Parquet file by its name.
    parts = _Parts(*(folder / f"{name}-{first}.parquet" for name in ("part", "trace", "again")))
    for path, pretax in ((parts.part, "n % 9973"), (parts.again, f"n % 9973 + (n % {CHANGED_EVERY} = 0)::INT")):
        values = ", ".join(f"CAST({_value(name, kind, pretax)} AS {kind}) AS {name}" for name, kind in COLUMNS.items())
        line = f"SELECT {values} FROM range({first}, {end}) numbers(n)"  # noqa: S608 - names from our own schema
        hashed = "sha256(concat_ws('|', line_id, pretax)) AS row_hash"
        select = f"SELECT *, {hashed} FROM ({line}) ORDER BY account, line_id"  # noqa: S608
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
    trace = f"SELECT line_id, 1 AS page, 0 AS row FROM '{parts.part}'"  # noqa: S608
    connection.execute(f"COPY ({trace}) TO '{parts.trace}' (FORMAT parquet)")
    return parts


_EMPTY = {"service_from", "service_until", "order_type", "tax", "record_id", "related_record", "repair"}


def _value(name: str, kind: str, pretax: str) -> str:
    """A value of a generated line in SQL, made from its number `n`."""
    if name in _EMPTY:
        return "NULL"
    given = {
        "line_id": "left(sha256(n::VARCHAR), 32) || '-1'",
        "payer": "'1000000000000001'",
        "account": "(2000000000000000 + n % 50)::VARCHAR",
        "cycle": "'2025-06'",
        "date": "'2025-06-14'",
        "instance_id": "'i-bp' || left(sha256((n // 8)::VARCHAR), 18)",
        "pretax": f"({pretax}) / 100.0",
    }
    if name in given:
        return given[name]
    return f"'{name} ' || n % 40" if kind == "VARCHAR" else "(n % 9973) / 100.0"
