"""The operations that write rows: PutRow, UpdateRow, DeleteRow, BatchWriteRow."""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from infra.localcloud.tablestore import plainbuffer as plain
from infra.localcloud.tablestore.answers import capacity_units, check_tables, row_error, write_units
from infra.localcloud.tablestore.errors import OtsError, condition_failed, invalid
from infra.localcloud.tablestore.filters import Question, column_condition
from infra.localcloud.tablestore.keys import Key
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.state import FOREVER, Rows, Store, Table
from infra.localcloud.tablestore.versions import LAST_MS, Sight, version_after, with_cell, without_version

WRITE_BYTES_MAX = 4 * 1024 * 1024
BATCH_WRITE_ROWS_MAX = 200
VERSION_MAX = LAST_MS // 1000
_INT64 = range(-(1 << 63), 1 << 63)
_ROW_NUMBER_RULE = "when modify row with pk auto increment."


class Moment(NamedTuple):
    """When a request writes: the business time, the same as a version, and where it gets new row numbers."""

    now_ms: int
    stamps: plain.Stamps
    row_number: Callable[[], int]


class Terms(NamedTuple):
    """On what condition a row is changed, and what of it comes back."""

    expectation: int
    question: Question | None
    returned: int
    returned_names: tuple[bytes, ...]


class Write(NamedTuple):
    """One row change of `size` bytes as sent, checked and ready to be applied."""

    table: Table
    key: Key
    apply: Callable[[Rows, Write], int]
    content: Any
    size: int
    sight: Sight | None
    terms: Terms


def put_row(store: Store, request: Any) -> Any:
    """Store a row in place of any other with its key."""
    _check_size("PutRow", request.row)
    write = _put(store.writable(request.table_name), request.row, request, _moment(store))
    return pb.PutRowResponse(**_apply_alone(store.rows(request), write))


def update_row(store: Store, request: Any) -> Any:
    """Put, delete and count up columns of a row."""
    _check_size("UpdateRow", request.row_change)
    write = _update(store.writable(request.table_name), request.row_change, request, _moment(store))
    return pb.UpdateRowResponse(**_apply_alone(store.rows(request), write))


def delete_row(store: Store, request: Any) -> Any:
    """Remove a row."""
    write = _delete(store.writable(request.table_name), request.primary_key, request, _moment(store))
    return pb.DeleteRowResponse(**_apply_alone(store.rows(request), write))


def batch_write_row(store: Store, request: Any) -> Any:
    """Apply up to 200 changes, each with its own outcome; a fault of form refuses all of them."""
    check_tables(request.tables, "No row is specified in BatchWriteRow.", BATCH_WRITE_ROWS_MAX, "rows")
    batches = _batches(store, request)
    _check_size("BatchWriteRow", *(row.row_change for table in request.tables for row in table.rows))
    rows = store.rows(request)
    response = pb.BatchWriteRowResponse()
    with rows.writing():
        for name, writes in batches:
            answer = response.tables.add(table_name=name)
            answer.rows.extend([_outcome(rows, write) for write in writes])
    return response


def _batches(store: Store, request: Any) -> list[tuple[str, list[Write | OtsError]]]:
    """The changes of a batch by table. A wrong key is its row's own error, anything else the batch's."""
    tables = [(store.writable(part.table_name), part) for part in request.tables]
    moment = _moment(store)
    batches = []
    for table, part in tables:
        writes: list[Write | OtsError] = []
        seen = set()
        for row in part.rows:
            try:
                write = _BUILDERS[row.type](table, row.row_change, row, moment)
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


def _put(table: Table, data: bytes, request: Any, moment: Moment) -> Write:
    cells, position = plain.read_key(data)
    key, sent_checks = _key(table, cells, data[4:position], request, moment)
    columns = plain.read_put_cells(data, position, sent_checks, table.names, moment.stamps)
    if columns is None:
        row = plain.join_versions(key.part, key.checks, _versions(table, plain.read_change(data), moment))
    else:
        row = plain.join_row(key.part, key.checks, columns)
    return Write(table, key, _apply_put, row, len(data), table.sight(moment.now_ms), _terms(table, request))


def _update(table: Table, data: bytes, request: Any, moment: Moment) -> Write:
    change = plain.read_change(data)
    key, _ = _key(table, change.key, change.part, request, moment)
    _refuse_marker(change)
    if not change.cells:
        raise invalid("Invalid update row request: missing cells in request.")
    plain.check_count(len(change.cells))
    for cell in change.cells:
        _check_update_cell(cell, table, moment.now_ms)
    _check_once(change.cells, "updating")
    if request.condition.row_existence == pb.EXPECT_NOT_EXIST:
        raise invalid("Invalid row-existence expectation: EXPECT_NOT_EXIST.")
    content = (change.cells, moment.stamps)
    return Write(table, key, _apply_update, content, len(data), table.sight(moment.now_ms), _terms(table, request))


def _delete(table: Table, data: bytes, request: Any, moment: Moment) -> Write:
    change = plain.read_change(data)
    if change.cells:
        raise invalid("Invalid delete row request: unexpected cells in request.")
    if not change.deleted:
        raise invalid("Invalid request of delete row: missing RowDeleteMarker in request.")
    if request.condition.row_existence == pb.EXPECT_NOT_EXIST:
        raise invalid("Invalid row-existence expectation: EXPECT_NOT_EXIST.")
    if table.schema.asks_number(change.key):
        raise invalid("Invalid row to delete which with pk auto increment.")
    key, terms = table.schema.key(change.key, change.part), _terms(table, request)
    if terms.returned == pb.RT_AFTER_MODIFY:
        raise invalid("Invalid return type: RT_AFTER_MODIFY.")
    return Write(table, key, _apply_delete, None, len(data), table.sight(moment.now_ms), terms)


_BUILDERS = {pb.PUT: _put, pb.UPDATE: _update, pb.DELETE: _delete}


def _key(table: Table, cells: Sequence[plain.Cell], part: bytes, request: Any, moment: Moment) -> tuple[Key, bytes]:
    """The key of a row to be written, and the checksums its cells were sent with.

    In a table that numbers its rows, a new row leaves its number open and an old one must be expected to exist.
    """
    schema = table.schema
    if schema.numbered is None:
        key = schema.key(cells, part)
        return key, key.checks
    expected = pb.RowExistenceExpectation.Name(request.condition.row_existence)
    if not schema.asks_number(cells):
        key = schema.key(cells, part)
        if expected != "EXPECT_EXIST":
            raise invalid(f"Invalid expect: {expected} when modify a specific row for table with pk auto increment.")
        return key, key.checks
    if expected != "IGNORE":
        raise invalid(f"Invalid expect:{expected} {_ROW_NUMBER_RULE}")
    if request.condition.HasField("column_condition"):
        raise invalid(f"Can't set condition {_ROW_NUMBER_RULE}")
    return schema.key_with(moment.row_number(), cells), bytes(cell.check for cell in cells)


def _versions(table: Table, change: plain.Change, moment: Moment) -> dict[bytes, bytes]:
    """The columns of a row to be put, some of whose cells bring a version of their own."""
    _refuse_marker(change)
    plain.check_count(len(change.cells))
    _check_once(change.cells, "putting")
    columns: dict[bytes, bytes] = {}
    for cell in change.cells:
        table.names[cell.name]  # refuses what is no attribute's name
        if cell.op:
            raise invalid(f"OpType cannot be given for column name:{cell.name.decode()} in PutRow.")
        if not cell.value:
            raise invalid("Invalid request of put row: find cells without values.")
        plain.check_value(cell.name, cell.value)
        _check_version(cell, table, moment.now_ms)
        stamps = moment.stamps if cell.timestamp is None else plain.Stamps(cell.timestamp)
        made = plain.stored_cell(cell.name, cell.value, stamps)
        columns[cell.name] = with_cell(columns.get(cell.name), made, table.versions_kept)
    return columns


def _refuse_marker(change: plain.Change) -> None:
    if change.deleted:
        raise invalid("Invalid request of put/update row: unexpected RowDeleteMarker in request.")


def _check_once(cells: Sequence[plain.Cell], doing: str) -> None:
    """Refuse a column that is named twice, unless for two versions of it. From memory."""
    places = {(cell.name, cell.timestamp) for cell in cells}
    whole = {cell.name for cell in cells if cell.op in (plain.DELETE_ALL, plain.INCREMENT)}
    if len(places) != len(cells) or sum(cell.name in whole for cell in cells) != len(whole):
        raise invalid(f"Duplicated attribute column name while {doing} row.")


def _check_version(cell: plain.Cell, table: Table, now_ms: int) -> None:
    """Refuse a version of the caller's too far from now, or so old that it would have expired."""
    if cell.timestamp is None:
        return
    if table.description.index_metas:  # the rule is documented, the text is ours
        raise invalid(f"A table with secondary indexes gives the versions itself. Cell:{cell.name.decode()}.")
    if not 0 <= cell.timestamp <= VERSION_MAX:
        raise invalid(f"Invalid cell timestamp: {cell.timestamp}. Expect: [0, Version::kMax.mVersion / kUsecPerMsec]..")
    options = table.description.table_options
    away_ms = options.deviation_cell_version_in_sec * 1000
    age_ms = away_ms if options.time_to_live == FOREVER else min(away_ms, options.time_to_live * 1000)
    if not now_ms - age_ms <= cell.timestamp < now_ms + away_ms:
        raise invalid(f"Invalid timestamp. Cell:{cell.name.decode()}.")


def _check_update_cell(cell: plain.Cell, table: Table, now_ms: int) -> None:
    table.names[cell.name]  # refuses what is no attribute's name
    name = cell.name.decode()
    if cell.op in (plain.DELETE_ONE, plain.DELETE_ALL):
        if cell.value:
            raise invalid("Column value cannot be given when type is DELETE_ONE_VERSION,DELETE_ALL_VERSION.")
        if cell.op == plain.DELETE_ONE and cell.timestamp is None:
            raise invalid("Timestamp must be given when type is DELETE_ONE_VERSION.")
        if cell.op == plain.DELETE_ALL and cell.timestamp is not None:
            raise invalid("Timestamp cannot be given when type is DELETE_ALL_VERSION.")
        return
    if cell.op not in (0, plain.INCREMENT):
        raise invalid(f"Invalid op type of cell: {cell.op}.")
    if not cell.value:
        raise invalid(f"Invalid cell: {name}. Reason: missing value.")
    plain.check_value(cell.name, cell.value)
    if cell.op == plain.INCREMENT:
        if cell.value[0] != plain.INTEGER:
            raise invalid(f"Only INTEGER columns can be incremented: '{name}'.")  # from memory
        if cell.timestamp is not None:
            raise invalid("Timestamp cannot be given when type is INCREMENT.")  # from memory
    _check_version(cell, table, now_ms)


def _terms(table: Table, request: Any) -> Terms:
    condition = request.condition
    question = None
    if condition.HasField("column_condition"):
        question = column_condition(condition.column_condition, table.key_names)
    if not request.HasField("return_content"):
        return (
            _ANYWAY
            if (question, condition.row_existence) == (None, pb.IGNORE)
            else Terms(condition.row_existence, question, pb.RT_NONE, ())
        )
    content = request.return_content
    names = tuple(name.encode() for name in content.return_column_names)
    return Terms(condition.row_existence, question, content.return_type, names)


_ANYWAY = Terms(pb.IGNORE, None, pb.RT_NONE, ())


def _apply_put(rows: Rows, write: Write) -> int:
    terms = write.terms
    if terms.question is None and terms.expectation == pb.EXPECT_NOT_EXIST and write.sight is None:
        if not rows.put_if_absent(write.table, write.key.encoded, write.content):
            raise condition_failed()
    else:
        if terms.question is not None or terms.expectation != pb.IGNORE:
            _current(rows, write)
        rows.put(write.table, write.key.encoded, write.content)
    return len(write.content)


def _apply_update(rows: Rows, write: Write) -> int:
    current = _current(rows, write)
    changes, stamps = write.content
    # From memory: deleting columns of a row that is not there does not create it.
    if current is None and all(cell.op in (plain.DELETE_ALL, plain.DELETE_ONE) for cell in changes):
        return 0
    columns = {} if current is None else current.cells
    for cell in changes:
        column = _changed(columns.get(cell.name), cell, stamps, write.table.versions_kept)
        if column:
            columns[cell.name] = column
        else:
            columns.pop(cell.name, None)
    join = plain.join_row if write.sight is None else plain.join_versions
    row = join(write.key.part, write.key.checks, columns)
    rows.put(write.table, write.key.encoded, row)
    return len(row)


def _apply_delete(rows: Rows, write: Write) -> int:
    _current(rows, write)
    rows.delete(write.table, write.key.encoded)
    return len(write.key.part)


def _changed(column: bytes | None, cell: plain.Cell, stamps: plain.Stamps, most: int) -> bytes:
    """A column after one change to it; empty when nothing of it is left."""
    if cell.op == plain.DELETE_ALL:
        return b""
    if cell.op == plain.DELETE_ONE:
        assert cell.timestamp is not None  # noqa: S101 - _check_update_cell has seen to it
        return without_version(column, cell.timestamp)
    value = cell.value if cell.op == 0 else _incremented(cell, column)
    version = version_after(column, stamps.milliseconds) if cell.timestamp is None else cell.timestamp
    made = plain.stored_cell(cell.name, value, stamps if version == stamps.milliseconds else plain.Stamps(version))
    return with_cell(column, made, most)


def _incremented(cell: plain.Cell, column: bytes | None) -> bytes:
    """The value of a counter after an increment; a column that is not there counts from 0."""
    value = struct.pack("<Bq", plain.INTEGER, 0) if column is None else plain.cell_value(cell.name, column)
    if value[0] != plain.INTEGER:
        raise invalid(f"Only INTEGER columns can be incremented: '{cell.name.decode()}'.")  # from memory
    total = struct.unpack_from("<q", value, 1)[0] + struct.unpack_from("<q", cell.value, 1)[0]
    if total not in _INT64:
        raise invalid(f"Increment overflows column '{cell.name.decode()}'.")  # from memory
    return struct.pack("<Bq", plain.INTEGER, total)


def _current(rows: Rows, write: Write) -> plain.Row | None:
    """The row as it is now, once it meets the conditions of the write."""
    row, terms = rows.get(write.table, write.key.encoded), write.terms
    taken = None
    if row is not None:
        taken = plain.split_row(row) if write.sight is None else write.sight.of(row)
    if terms.expectation == (pb.EXPECT_EXIST if taken is None else pb.EXPECT_NOT_EXIST):
        raise condition_failed()
    if terms.question is not None and not terms.question({} if taken is None else taken.cells):
        raise condition_failed()
    return taken


def _apply(rows: Rows, write: Write) -> int:
    """Apply one change; the capacity units it consumed. A refused change has written nothing."""
    rows.check_write(write.table, write.key.encoded, write.size)
    units = capacity_units(write.apply(rows, write))
    rows.written(write.size)
    return units


def _apply_alone(rows: Rows, write: Write) -> dict[str, Any]:
    """Apply one change and keep it; the fields of its answer."""
    with rows.writing():
        units = _apply(rows, write)
    fields = {"consumed": write_units(units)}
    return fields if write.terms.returned == pb.RT_NONE else fields | {"row": _returned(rows, write)}


def _outcome(rows: Rows, write: Write | OtsError) -> Any:
    """Apply one change of a batch; its part of the answer."""
    if isinstance(write, OtsError):
        return pb.RowInBatchWriteRowResponse(is_ok=False, error=row_error(write))
    try:
        units = _apply(rows, write)
    except OtsError as error:
        return pb.RowInBatchWriteRowResponse(is_ok=False, error=row_error(error))
    if write.terms.returned == pb.RT_NONE:
        return _written(units)
    return pb.RowInBatchWriteRowResponse(is_ok=True, consumed=write_units(units), row=_returned(rows, write))


@functools.lru_cache(maxsize=256)
def _written(units: int) -> Any:
    """The answer to most rows of most batches; copied into the message, so one serves all."""
    return pb.RowInBatchWriteRowResponse(is_ok=True, consumed=write_units(units))


def _returned(rows: Rows, write: Write) -> bytes:
    """What the caller wants back: the key, and after a change the newest cells of the columns it names."""
    columns = {}
    if write.terms.returned == pb.RT_AFTER_MODIFY:
        row = rows.get(write.table, write.key.encoded)
        stored = {} if row is None else plain.split_versions(row).cells
        names = [name for name in write.terms.returned_names if name in stored]
        columns = {name: plain.cells_of(stored[name])[0] for name in names}
    return plain.HEADER + plain.join_row(write.key.part, write.key.checks, columns)


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


def _moment(store: Store) -> Moment:
    now_ms = store.now_ms()
    return Moment(now_ms, plain.Stamps(now_ms), store.next_row_number)
