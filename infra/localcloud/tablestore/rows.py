"""The operations on rows: PutRow, GetRow, UpdateRow, DeleteRow, BatchWriteRow, BatchGetRow, GetRange.

Capacity units are counted from the encoded row, which is somewhat larger than the data the service counts;
for the same reason a page of GetRange may end a few rows earlier than the service's.
"""

from __future__ import annotations

import functools
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, NamedTuple

from infra.localcloud.tablestore import plainbuffer as plain
from infra.localcloud.tablestore.errors import OtsError, condition_failed, invalid, not_implemented
from infra.localcloud.tablestore.filters import Question, RowFilter, column_condition, row_filter
from infra.localcloud.tablestore.keys import Key, read_bare_key
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.state import Store, Table

WRITE_BYTES_MAX = 4 * 1024 * 1024
BATCH_WRITE_ROWS_MAX = 200
BATCH_GET_ROWS_MAX = 100
RANGE_ROWS_MAX = 5000
RANGE_BYTES_MAX = 4 * 1024 * 1024
COLUMNS_TO_GET_MAX = 128
CAPACITY_UNIT_BYTES = 4096
_INT64 = range(-(1 << 63), 1 << 63)


class Write(NamedTuple):
    """One row change, checked and ready to be applied."""

    table: Table
    key: Key
    apply: Callable[[Store, Write], int]
    content: Any
    expectation: int
    question: Question | None
    returns_key: bool


class Selection(NamedTuple):
    """Which columns and rows a read wants."""

    names: tuple[bytes, ...]
    filter: RowFilter | None

    def take(self, row: bytes) -> bytes | None:
        """What of a stored row is answered; None when it is not in the answer at all."""
        if not self.names and self.filter is None:
            return row
        key, checks, cells = plain.split_row(row)
        if self.names:
            # A row with none of the wanted columns is left out. From memory: its primary key columns count.
            wanted = {name: cells[name] for name in self.names if name in cells}
            if not wanted and not any(plain.names_key(key, name) for name in self.names):
                return None
            cells = wanted
        if self.filter is not None:
            if not self.filter.keeps(cells):
                return None
            cells = self.filter.page(cells)
        return plain.join_row(key, checks, cells)


def put_row(store: Store, request: Any) -> Any:
    """Store a row in place of any other with its key."""
    _refuse_transaction(request)
    _check_size("PutRow", request.row)
    write = _put(store.table(request.table_name), request.row, request, _stamps())
    return pb.PutRowResponse(**_apply_alone(store, write))


def update_row(store: Store, request: Any) -> Any:
    """Put, delete and count up columns of a row."""
    _refuse_transaction(request)
    _check_size("UpdateRow", request.row_change)
    write = _update(store.table(request.table_name), request.row_change, request, _stamps())
    return pb.UpdateRowResponse(**_apply_alone(store, write))


def delete_row(store: Store, request: Any) -> Any:
    """Remove a row."""
    _refuse_transaction(request)
    write = _delete(store.table(request.table_name), request.primary_key, request, _stamps())
    return pb.DeleteRowResponse(**_apply_alone(store, write))


def batch_write_row(store: Store, request: Any) -> Any:
    """Apply up to 200 changes, each with its own outcome; a fault of form refuses all of them."""
    _refuse_transaction(request)
    _check_tables(request.tables, "No row is specified in BatchWriteRow.", BATCH_WRITE_ROWS_MAX, "rows")
    batches = _batches(store, request)
    _check_size("BatchWriteRow", *(row.row_change for table in request.tables for row in table.rows))
    response = pb.BatchWriteRowResponse()
    with store.writing():
        for name, writes in batches:
            answer = response.tables.add(table_name=name)
            answer.rows.extend([_outcome(store, write) for write in writes])
    return response


def get_row(store: Store, request: Any) -> Any:
    """Read one row."""
    _refuse_transaction(request)
    table = store.table(request.table_name)
    selection = _selection(table, request)
    found = store.get(table, _wanted(table, read_bare_key(request.primary_key)))
    return pb.GetRowResponse(consumed=_read_units(found), row=_with_header(selection, found))


def batch_get_row(store: Store, request: Any) -> Any:
    """Read up to 100 rows, each with its own outcome."""
    _check_tables(request.tables, "No row specified in the request of BatchGetRow.", BATCH_GET_ROWS_MAX, "primary_key")
    tables = [(store.table(part.table_name), part) for part in request.tables]
    response = pb.BatchGetRowResponse()
    for table, part in tables:
        selection = _selection(table, part)
        answer = response.tables.add(table_name=part.table_name)
        for sent in part.primary_key:
            key = read_bare_key(sent)
            try:
                found = store.get(table, _wanted(table, key))
            except OtsError as error:
                answer.rows.add(is_ok=False, error=_row_error(error))
                continue
            answer.rows.add(is_ok=True, consumed=_read_units(found), row=_with_header(selection, found))
    return response


def get_range(store: Store, request: Any) -> Any:
    """Read the rows between two keys in order, one page."""
    _refuse_transaction(request)
    table = store.table(request.table_name)
    selection = _selection(table, request)
    if request.HasField("limit") and request.limit <= 0:
        raise invalid("The limit must be greater than 0.")
    backward = request.direction == pb.BACKWARD
    start = table.schema.bound(request.inclusive_start_primary_key)
    end = table.schema.bound(request.exclusive_end_primary_key)
    if backward and start <= end:
        raise invalid("Begin key must more than end key in BACKWARD")
    if not backward and start >= end:
        raise invalid("Begin key must less than end key in FORWARD")
    with closing(store.scan(table, start, end, backward)) as rows:
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
    response.consumed.CopyFrom(_units(read=_capacity_units(size)))
    response.rows = b"".join(taken) if len(taken) > 1 else b""
    return response


def _batches(store: Store, request: Any) -> list[tuple[str, list[Write | OtsError]]]:
    """The changes of a batch by table. A wrong key is its row's own error, anything else the batch's."""
    tables = [(store.table(part.table_name), part) for part in request.tables]
    stamps = _stamps()
    batches = []
    for table, part in tables:
        writes: list[Write | OtsError] = []
        seen = set()
        for row in part.rows:
            try:
                write = _BUILDERS[row.type](table, row.row_change, row, stamps)
            except OtsError as error:
                if error.code != "OTSInvalidPK":
                    raise
                writes.append(error)
                continue
            writes.append(write)
            seen.add(write.key.encoded)
        if len(seen) != sum(isinstance(write, Write) for write in writes):
            raise invalid("Duplicate rows detected in MultiPut.")
        batches.append((part.table_name, writes))
    return batches


def _put(table: Table, data: bytes, request: Any, stamps: plain.Stamps) -> Write:
    cells, position = plain.read_key(data)
    key = table.schema.key(cells, data[4:position])
    columns = plain.read_put_cells(data, position, key.checks, table.names, stamps)
    row = plain.join_row(key.part, key.checks, columns)
    return Write(table, key, _apply_put, row, *_terms(table, request))


def _update(table: Table, data: bytes, request: Any, stamps: plain.Stamps) -> Write:
    change = plain.read_change(data)
    key = table.schema.key(change.key, change.part)
    if change.deleted:
        raise invalid("Invalid request of put/update row: unexpected RowDeleteMarker in request.")
    if not change.cells:
        raise invalid("Invalid update row request: missing cells in request.")
    plain.check_count(len(change.cells))
    for cell in change.cells:
        _check_update_cell(cell, table)
    if len({cell.name for cell in change.cells}) != len(change.cells):
        raise invalid("Duplicated attribute column name while updating row.")  # from memory
    if request.condition.row_existence == pb.EXPECT_NOT_EXIST:
        raise invalid("Invalid row-existence expectation: EXPECT_NOT_EXIST.")
    return Write(table, key, _apply_update, (change.cells, stamps), *_terms(table, request))


def _delete(table: Table, data: bytes, request: Any, _stamps: plain.Stamps) -> Write:
    change = plain.read_change(data)
    if change.cells:
        raise invalid("Invalid delete row request: unexpected cells in request.")
    if not change.deleted:
        raise invalid("Invalid request of delete row: missing RowDeleteMarker in request.")
    if request.condition.row_existence == pb.EXPECT_NOT_EXIST:
        raise invalid("Invalid row-existence expectation: EXPECT_NOT_EXIST.")
    return Write(table, table.schema.key(change.key, change.part), _apply_delete, None, *_terms(table, request))


_BUILDERS = {pb.PUT: _put, pb.UPDATE: _update, pb.DELETE: _delete}


def _check_update_cell(cell: plain.Cell, table: Table) -> None:
    table.names[cell.name]  # refuses what is no attribute's name
    if cell.op == plain.DELETE_ONE:
        raise not_implemented("Deleting one version of a column")
    if cell.op == plain.DELETE_ALL:
        if cell.value:
            raise invalid("Column value cannot be given when type is DELETE_ONE_VERSION,DELETE_ALL_VERSION.")
        if cell.timestamp is not None:
            raise invalid("Timestamp cannot be given when type is DELETE_ALL_VERSION.")
        return
    if cell.op not in (0, plain.INCREMENT):
        raise invalid(f"Invalid op type of cell: {cell.op}.")
    if not cell.value:
        raise invalid(f"Invalid cell: {cell.name.decode()}. Reason: missing value.")
    if cell.timestamp is not None:
        raise not_implemented("A cell with a timestamp of its own")
    plain.check_value(cell.name, cell.value)
    if cell.op == plain.INCREMENT and cell.value[0] != plain.INTEGER:
        raise invalid(f"Only INTEGER columns can be incremented: '{cell.name.decode()}'.")  # from memory


def _terms(table: Table, request: Any) -> tuple[int, Question | None, bool]:
    """The condition of a write and whether it wants its key back."""
    condition = request.condition
    question = None
    if condition.HasField("column_condition"):
        question = column_condition(condition.column_condition, table.key_names)
    returned = request.return_content.return_type
    if returned == pb.RT_AFTER_MODIFY:
        raise not_implemented("Returning columns after the change")
    return condition.row_existence, question, returned == pb.RT_PK


def _apply_put(store: Store, write: Write) -> int:
    if write.question is None and write.expectation == pb.EXPECT_NOT_EXIST:
        if not store.put_if_absent(write.table, write.key.encoded, write.content):
            raise condition_failed()
    else:
        if write.question is not None or write.expectation != pb.IGNORE:
            _current(store, write)
        store.put(write.table, write.key.encoded, write.content)
    return len(write.content)


def _apply_update(store: Store, write: Write) -> int:
    current = _current(store, write)
    changes, stamps = write.content
    # From memory: deleting columns of a row that is not there does not create it.
    if current is None and all(cell.op == plain.DELETE_ALL for cell in changes):
        return 0
    cells = {} if current is None else current.cells
    for cell in changes:
        if cell.op == plain.DELETE_ALL:
            cells.pop(cell.name, None)
        else:
            value = cell.value if cell.op == 0 else _incremented(cell, cells.get(cell.name))
            cells[cell.name] = plain.stored_cell(cell.name, value, stamps)
    row = plain.join_row(write.key.part, write.key.checks, cells)
    store.put(write.table, write.key.encoded, row)
    return len(row)


def _apply_delete(store: Store, write: Write) -> int:
    _current(store, write)
    store.delete(write.table, write.key.encoded)
    return len(write.key.part)


def _incremented(cell: plain.Cell, stored: bytes | None) -> bytes:
    """The value of a counter after an increment; a column that is not there counts from 0."""
    value = struct.pack("<Bq", plain.INTEGER, 0) if stored is None else plain.cell_value(cell.name, stored)
    if value[0] != plain.INTEGER:
        raise invalid(f"Only INTEGER columns can be incremented: '{cell.name.decode()}'.")  # from memory
    total = struct.unpack_from("<q", value, 1)[0] + struct.unpack_from("<q", cell.value, 1)[0]
    if total not in _INT64:
        raise invalid(f"Increment overflows column '{cell.name.decode()}'.")  # from memory
    return struct.pack("<Bq", plain.INTEGER, total)


def _current(store: Store, write: Write) -> plain.Row | None:
    """The row as it is now, once it meets the conditions of the write."""
    row = store.get(write.table, write.key.encoded)
    if write.expectation == (pb.EXPECT_EXIST if row is None else pb.EXPECT_NOT_EXIST):
        raise condition_failed()
    taken = None if row is None else plain.split_row(row)
    if write.question is not None and not write.question({} if taken is None else taken.cells):
        raise condition_failed()
    return taken


def _apply_alone(store: Store, write: Write) -> dict[str, Any]:
    """Apply one change in a transaction of its own; the fields of its answer."""
    with store.writing():
        size = write.apply(store, write)
    fields = {"consumed": _units(write=_capacity_units(size))}
    return fields | ({"row": _key_row(write)} if write.returns_key else {})


def _outcome(store: Store, write: Write | OtsError) -> Any:
    """Apply one change of a batch; its part of the answer. A refused change has written nothing."""
    if isinstance(write, OtsError):
        return pb.RowInBatchWriteRowResponse(is_ok=False, error=_row_error(write))
    try:
        units = _capacity_units(write.apply(store, write))
    except OtsError as error:
        return pb.RowInBatchWriteRowResponse(is_ok=False, error=_row_error(error))
    if write.returns_key:
        return pb.RowInBatchWriteRowResponse(is_ok=True, consumed=_units(write=units), row=_key_row(write))
    return _written(units)


@functools.lru_cache(maxsize=256)
def _written(units: int) -> Any:
    """The answer to most rows of most batches; copied into the message, so one serves all."""
    return pb.RowInBatchWriteRowResponse(is_ok=True, consumed=_units(write=units))


def _key_row(write: Write) -> bytes:
    return plain.HEADER + plain.join_row(write.key.part, write.key.checks, {})


def _selection(table: Table, request: Any) -> Selection:
    if len(request.columns_to_get) > COLUMNS_TO_GET_MAX:
        raise invalid(
            "The number of columns from the request exceeds the limit,"
            f" limit count: {COLUMNS_TO_GET_MAX}, column count: {len(request.columns_to_get)}."
        )
    if request.HasField("time_range"):
        raise not_implemented("Reading by time range")
    if not request.HasField("max_versions"):
        raise invalid("No version condition is specified while querying row.")
    if request.max_versions <= 0:
        raise invalid(f"Invalid max versions: {request.max_versions} . Reason: Max versions must be positive.")
    if request.HasField("start_column") or request.HasField("end_column") or request.token:
        raise not_implemented("Reading part of a wide row")
    names = tuple(name.encode() for name in request.columns_to_get)
    for name in names:
        plain.check_name(name)
    chosen = row_filter(request.filter, table.key_names) if request.HasField("filter") else None
    return Selection(names, chosen)


def _check_tables(tables: Any, empty: str, rows_max: int, rows_field: str) -> None:
    """The shape every batch must have."""
    if not tables:
        raise invalid(empty)
    seen, count = set(), 0
    for part in tables:
        if part.table_name in seen:
            raise invalid(f"Duplicated table name: '{part.table_name}'.")
        seen.add(part.table_name)
        rows = len(getattr(part, rows_field))
        if rows == 0:
            raise invalid(
                f"No operation is specified for table:'{part.table_name}'." if rows_field == "rows" else empty
            )
        count += rows
    if count > rows_max:
        raise invalid(f"Rows count exceeds the upper limit: {rows_max}.")


def _check_size(operation: str, *rows: bytes) -> None:
    """Refuse more data than one write may carry: names and values of all cells."""
    if sum(map(len, rows)) <= WRITE_BYTES_MAX:
        return  # the data is less than its encoding
    size = sum(plain.data_size(row) for row in rows)
    if size > WRITE_BYTES_MAX:
        raise invalid(
            f"The total data size of {operation} request exceeds the limit,"
            f" limit size: {WRITE_BYTES_MAX}, data size: {size}."
        )


def _refuse_transaction(request: Any) -> None:
    if request.HasField("transaction_id"):
        raise not_implemented("A local transaction")


def _wanted(table: Table, sent: plain.Change) -> bytes:
    """The key of the row a read asks for."""
    return table.schema.key(sent.key, sent.part).encoded


def _with_header(selection: Selection, row: bytes | None) -> bytes:
    taken = None if row is None else selection.take(row)
    return b"" if taken is None else plain.HEADER + taken


def _row_error(error: OtsError) -> Any:
    return pb.Error(code=error.code, message=error.message)


def _read_units(row: bytes | None) -> Any:
    return _units(read=_capacity_units(0 if row is None else len(row)))


def _capacity_units(size: int) -> int:
    return max(1, -(-size // CAPACITY_UNIT_BYTES))


def _units(read: int = 0, write: int = 0) -> Any:
    return pb.ConsumedCapacity(capacity_unit=pb.CapacityUnit(read=read, write=write))


def _stamps() -> plain.Stamps:
    """The version of everything written now: the service's clock in milliseconds."""
    return plain.Stamps(time.time_ns() // 1_000_000)
