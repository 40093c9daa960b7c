"""The operations that read rows: GetRow, BatchGetRow, GetRange.

A page of GetRange may end a few rows earlier than the service's, because its size is counted from the encoded
rows. A row is answered whole, however wide: there are no tokens to go on within one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, NamedTuple

from infra.localcloud.tablestore import plainbuffer as plain
from infra.localcloud.tablestore.answers import check_tables, read_units, row_error
from infra.localcloud.tablestore.errors import OtsError, invalid, not_implemented
from infra.localcloud.tablestore.filters import RowFilter, row_filter
from infra.localcloud.tablestore.keys import read_bare_key
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.state import Store, Table
from infra.localcloud.tablestore.versions import LAST_MS, Sight

BATCH_GET_ROWS_MAX = 100
RANGE_ROWS_MAX = 5000
RANGE_BYTES_MAX = 4 * 1024 * 1024
COLUMNS_TO_GET_MAX = 128
TIMESTAMP_END = LAST_MS // 1000


class Selection(NamedTuple):
    """Which rows, columns and versions a read wants; `sight` is None when there is one version of each."""

    sight: Sight | None
    names: tuple[bytes, ...]
    first: bytes | None
    end: bytes | None
    filter: RowFilter | None

    def take(self, row: bytes) -> bytes | None:
        """What of a stored row is answered; None when it is not in the answer at all."""
        if self == _EVERYTHING:
            return row
        taken = plain.split_row(row) if self.sight is None else self.sight.of(row)
        if taken is None:
            return None
        key, checks, columns = taken
        if self.names or self.first is not None or self.end is not None:
            # A row with none of the wanted columns is left out. From memory: its primary key columns count.
            wanted = self._wanted(columns)
            if not wanted and not any(plain.names_key(key, name) for name in self.names):
                return None
            columns = wanted
        if self.filter is not None:
            if not self.filter.keeps(columns):
                return None
            columns = self.filter.page(columns)
        return (plain.join_row if self.sight is None else plain.join_versions)(key, checks, columns)

    def _wanted(self, columns: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """The columns named, or all, as far as they are in the range of names."""
        names = self.names or columns
        wanted = {name: columns[name] for name in names if name in columns}
        if self.first is not None:
            wanted = {name: column for name, column in wanted.items() if name >= self.first}
        if self.end is not None:
            wanted = {name: column for name, column in wanted.items() if name < self.end}
        return wanted


_EVERYTHING = Selection(None, (), None, None, None)


def get_row(store: Store, request: Any) -> Any:
    """Read one row."""
    rows, table = store.rows(request), store.table(request.table_name)
    selection = _selection(table, request, store.now_ms())
    key = _wanted_key(table, read_bare_key(request.primary_key))
    rows.check_read(table, key)
    found = rows.get(table, key)
    return pb.GetRowResponse(consumed=_units(found), row=_with_header(selection, found))


def batch_get_row(store: Store, request: Any) -> Any:
    """Read up to 100 rows, each with its own outcome."""
    check_tables(request.tables, "No row specified in the request of BatchGetRow.", BATCH_GET_ROWS_MAX, "primary_key")
    tables = [(store.table(part.table_name), part) for part in request.tables]
    now_ms = store.now_ms()
    response = pb.BatchGetRowResponse()
    for table, part in tables:
        selection = _selection(table, part, now_ms)
        answer = response.tables.add(table_name=part.table_name)
        for sent in part.primary_key:
            key = read_bare_key(sent)
            try:
                found = store.get(table, _wanted_key(table, key))
            except OtsError as error:
                answer.rows.add(is_ok=False, error=row_error(error))
                continue
            answer.rows.add(is_ok=True, consumed=_units(found), row=_with_header(selection, found))
    return response


def get_range(store: Store, request: Any) -> Any:
    """Read the rows between two keys in order, one page."""
    source, table = store.rows(request), store.table(request.table_name)
    selection = _selection(table, request, store.now_ms())
    if request.HasField("limit") and request.limit <= 0:
        raise invalid("The limit must be greater than 0.")
    backward = request.direction == pb.BACKWARD
    start = table.schema.bound(request.inclusive_start_primary_key)
    end = table.schema.bound(request.exclusive_end_primary_key)
    if backward and start <= end:
        raise invalid("Begin key must more than end key in BACKWARD")
    if not backward and start >= end:
        raise invalid("Begin key must less than end key in FORWARD")
    source.check_read(table, start, end)
    with closing(source.scan(table, start, end, backward)) as rows:
        return _page(rows, selection, request.limit or RANGE_ROWS_MAX)


def _page(rows: Iterator[bytes], selection: Selection, limit: int) -> Any:
    """One page of an answer to GetRange; the row that no longer fits begins the next.

    The service may stop anywhere once it has scanned enough. We stop before the row that would go over, but a
    page holds at least one row, however large.
    """
    taken, size = [plain.HEADER], 0
    response = pb.GetRangeResponse()
    for scanned, row in enumerate(rows):
        if scanned == RANGE_ROWS_MAX or len(taken) > limit or (size + len(row) > RANGE_BYTES_MAX and scanned):
            response.next_start_primary_key = plain.only_key(row)
            break
        size += len(row)
        answer = selection.take(row)
        if answer is not None:
            taken.append(answer)
    response.consumed.CopyFrom(read_units(size))
    response.rows = b"".join(taken) if len(taken) > 1 else b""
    return response


def _selection(table: Table, request: Any, now_ms: int) -> Selection:
    if len(request.columns_to_get) > COLUMNS_TO_GET_MAX:
        raise invalid(
            "The number of columns from the request exceeds the limit,"
            f" limit count: {COLUMNS_TO_GET_MAX}, column count: {len(request.columns_to_get)}."
        )
    sight = _sight(table, request, now_ms)
    if request.token:
        raise not_implemented("Going on within a wide row by its token")
    names = tuple(name.encode() for name in request.columns_to_get)
    first = request.start_column.encode() if request.HasField("start_column") else None
    end = request.end_column.encode() if request.HasField("end_column") else None
    for name in (*names, first, end):
        if name is not None:
            plain.check_name(name)
    chosen = row_filter(request.filter, table.key_names) if request.HasField("filter") else None
    return Selection(sight, names, first, end, chosen)


def _sight(table: Table, request: Any, now_ms: int) -> Sight | None:
    """The versions that a read wants, as far as the table shows them."""
    timed, counted = request.HasField("time_range"), request.HasField("max_versions")
    if not timed and not counted:
        raise invalid("No version condition is specified while querying row.")
    if counted and request.max_versions <= 0:
        raise invalid(f"Invalid max versions: {request.max_versions} . Reason: Max versions must be positive.")
    sight = table.sight(now_ms)
    if timed:
        first_ms, end_ms = _time_range(request.time_range, counted)
        sight = sight or Sight(table.versions_kept)
        sight = sight._replace(first_ms=max(first_ms, sight.first_ms), end_ms=end_ms)
    if counted and sight is not None:
        sight = sight._replace(most=min(request.max_versions, sight.most))
    return sight


def _time_range(times: Any, counted: bool) -> tuple[int, int]:
    """The versions of a TimeRange: from the first up to but without the second."""
    ranged = times.HasField("start_time") or times.HasField("end_time")
    if times.HasField("specific_time"):
        # The misspelt word is the service's.
        if ranged and counted:
            raise invalid("Specific timestamp, time range and max versions cannot be given at the same time.")
        if ranged:
            raise invalid("Specific tiemstamp and time range cannot be given at the same time.")
        if counted:
            raise invalid("Specific tiemstamp and max versions cannot be given at the same time.")
        if times.specific_time < 0:
            raise invalid("Specific timestamp cannot be less than 0.")
        return times.specific_time, times.specific_time + 1
    if not (times.HasField("start_time") and times.HasField("end_time")):
        raise invalid("Start and end time must be given at the same time.")
    if not (0 <= times.start_time < TIMESTAMP_END and 0 <= times.end_time < TIMESTAMP_END):
        raise invalid("Timestamp must be in range [0, INT64_MAX/1000).")
    return times.start_time, times.end_time


def _wanted_key(table: Table, sent: plain.Change) -> bytes:
    """The key of the row a read asks for."""
    return table.schema.key(sent.key, sent.part).encoded


def _with_header(selection: Selection, row: bytes | None) -> bytes:
    taken = None if row is None else selection.take(row)
    return b"" if taken is None else plain.HEADER + taken


def _units(row: bytes | None) -> Any:
    return read_units(0 if row is None else len(row))
