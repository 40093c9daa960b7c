"""PlainBuffer, the encoding of rows inside Tablestore's messages: an own reader and writer with checksums.

Source: help.aliyun.com/en/tablestore/developer-reference/plainbuffer. A row is

    01 primary key cells [02 attribute cells] [08 = deleted] 09 checksum

and a cell `03 04 len name [05 len kind payload] [06 op] [07 timestamp] 0a checksum`, little-endian; several
rows share one four-byte header. A cell's checksum is CRC-8 over name, kind and payload, timestamp and op, in
this order though the op comes first on the wire. A row's is CRC-8 over its cells' checksums and 1 if deleted,
else 0.

A *value* here is the bytes from the kind on (kind, payload). Attribute cells are kept as bytes, so a row that
was stored once is served without being encoded again. A *column* is the bytes of its cells, newest version
first: one cell in most tables, where a column and a cell are the same thing.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from infra.localcloud.tablestore.errors import OtsError, broken, invalid

HEADER = b"\x75\x00\x00\x00"
PK, DATA, CELL, NAME, VALUE, OP, TIMESTAMP, DELETED, ROW_CHECK, CHECK = range(1, 11)
INTEGER, DOUBLE, BOOLEAN, STRING, BLOB, INF_MIN, INF_MAX, AUTO_INCREMENT = 0, 1, 2, 3, 7, 9, 10, 11
DELETE_ALL, DELETE_ONE, INCREMENT = 1, 3, 4
KIND_NAMES = {
    INTEGER: "VT_INTEGER", DOUBLE: "VT_DOUBLE", BOOLEAN: "VT_BOOLEAN", STRING: "VT_STRING", BLOB: "VT_BLOB",
    INF_MIN: "VT_INF_MIN", INF_MAX: "VT_INF_MAX", AUTO_INCREMENT: "VT_AUTO_INCREMENT",
}  # fmt: skip

ATTRIBUTE_BYTES_MAX = 2 * 1024 * 1024
COLUMNS_MAX = 1024
NAME_RULE = re.compile(rb"[A-Za-z_][A-Za-z0-9_]{0,254}")
_SIZES = {INTEGER: 9, DOUBLE: 9, BOOLEAN: 2, INF_MIN: 1, INF_MAX: 1, AUTO_INCREMENT: 1}
_TEXT_HEAD = 5  # the kind and the length before a string or a blob
_STAMP_SIZE = 9
_CHECK_SIZE = 2

_u32 = struct.Struct("<I").unpack_from
_cell_head = struct.Struct("<BBI").unpack_from
_value_head = struct.Struct("<BIB").unpack_from
_double = struct.Struct("<d").unpack_from
_signed = struct.Struct("<q").unpack_from
_BYTE = [bytes([number]) for number in range(256)]
KIND_BYTES = _BYTE


def _table_crc8() -> Callable[[bytes, int], int]:
    table = []
    for number in range(256):
        for _ in range(8):
            number = (number << 1) ^ (0x107 if number & 0x80 else 0)
        table.append(number)

    def crc8_by_table(data: bytes, crc: int = 0) -> int:
        for byte in data:
            crc = table[crc ^ byte]
        return crc

    return crc8_by_table


def _pick_crc8() -> Callable[[bytes, int], int]:
    try:
        from crcmod import mkCrcFun  # in C where it was built with its extension
    except ImportError:
        return _table_crc8()
    fast: Callable[[bytes, int], int] = mkCrcFun(0x107, 0, False, 0)
    return fast


crc8 = _pick_crc8()
# CRC is linear: over a timestamp t it takes a state s to _AFTER_ZEROS[s] ^ crc8(t, 0).
_AFTER_ZEROS = [crc8(bytes(8), state) for state in range(256)]


class Cell(NamedTuple):
    """One cell as read: `value` is kind and payload, or empty; `op` is 0 for a plain put."""

    name: bytes
    value: bytes
    op: int
    timestamp: int | None
    check: int


class Change(NamedTuple):
    """A row as a request sends it, checksums verified; `part` are the bytes of its primary key."""

    key: list[Cell]
    part: bytes
    cells: list[Cell]
    deleted: bool


class Row(NamedTuple):
    """A stored row taken apart: its primary key part, that part's cell checksums, columns by name."""

    key: bytes
    checks: bytes
    cells: dict[bytes, bytes]


class Stamps(dict[int, bytes]):
    """What follows a value in a stored cell, by the checksum so far: timestamp and final checksum."""

    def __init__(self, milliseconds: int) -> None:
        super().__init__()
        self.milliseconds = milliseconds
        stamp = struct.pack("<q", milliseconds)
        self._head = _BYTE[TIMESTAMP] + stamp + _BYTE[CHECK]
        self._crc = crc8(stamp, 0)

    def __missing__(self, check: int) -> bytes:
        tail = self[check] = self._head + _BYTE[_AFTER_ZEROS[check] ^ self._crc]
        return tail


class Names(dict[bytes, int]):
    """The attribute names a table has seen, each with its checksum; looking up a new one checks it."""

    def __init__(self, key_names: Iterable[bytes]) -> None:
        super().__init__()
        self._key_names = frozenset(key_names)

    def __missing__(self, name: bytes) -> int:
        check_name(name)
        if name in self._key_names:
            raise invalid(f"Duplicated attribute column name with primary key column: '{name.decode()}'.")
        if len(self) > COLUMNS_MAX:
            self.clear()  # a table has no end of names; memory has
        check = self[name] = crc8(name, 0)
        return check


def check_name(name: bytes) -> None:
    """Refuse what may not name a column."""
    if NAME_RULE.fullmatch(name) is None:
        raise invalid(f"Invalid column name: '{name.decode(errors='replace')}'.")


def read_change(data: bytes) -> Change:
    """Read the one row of a request, whatever its cells say."""
    try:
        position, key = _read_cells(data, _start(data))
        part = data[4:position]
        cells: list[Cell] = []
        if data[position] == DATA:
            position, cells = _read_cells(data, position + 1)
        deleted = data[position] == DELETED
        checks = bytes([cell.check for cell in (*key, *cells)])
        _check_end(data, position + deleted, checks + _BYTE[deleted])
    except (IndexError, struct.error):
        raise invalid("data format is invalid.") from None
    return Change(key, part, cells, deleted)


def read_key(data: bytes) -> tuple[list[Cell], int]:
    """Read the primary key of a row to be put; also where its attributes begin."""
    try:
        position, key = _read_cells(data, _start(data))
    except (IndexError, struct.error):
        raise invalid("data format is invalid.") from None
    return key, position


def read_put_cells(
    data: bytes, position: int, checks: bytes, names: Names, stamps: Stamps
) -> dict[bytes, bytes] | None:
    """Read the attributes of a row to be put from `position` on, as cells ready to store.

    This loop sees every cell that is ever written and is the dearest of the service: it reads the ordinary
    cell in line and leaves anything else to `_odd_cell`. None when a cell brings a version of its own: the row
    is then for `read_change`. `checks` are those of the primary key.
    """
    cells: dict[bytes, bytes] = {}
    count, row_checks = 0, bytearray(checks)
    try:
        if data[position] == DATA:
            position += 1
            while data[position] == CELL:
                _, name_tag, length = _cell_head(data, position)
                name_end = position + 6 + length
                name = data[position + 6 : name_end]
                value_tag, size, kind = _value_head(data, name_end)
                value_end = name_end + 5 + size
                value = data[name_end + 5 : value_end]
                if name_tag != NAME or value_tag != VALUE or data[value_end] != CHECK:
                    if (name_tag, value_tag, data[value_end]) == (NAME, VALUE, TIMESTAMP):
                        return None
                    raise _odd_cell(data, position)
                check = crc8(value, names[name])
                if data[value_end + 1] != check:
                    raise broken(f"checksum is mismatch, {data[value_end + 1]} :{check} :")
                if kind == STRING and value.isascii() and size <= ATTRIBUTE_BYTES_MAX:
                    if _u32(value, 1)[0] != size - _TEXT_HEAD:
                        raise broken(f"wrong string format, size: {size}")
                elif kind != INTEGER or size != 9:
                    check_value(name, value)
                cells[name] = data[position:value_end] + stamps[check]
                row_checks.append(check)
                position = value_end + _CHECK_SIZE
                count += 1
        if data[position] == DELETED:
            raise invalid("Invalid request of put/update row: unexpected RowDeleteMarker in request.")
        row_checks.append(0)
        _check_end(data, position, row_checks)
    except (IndexError, struct.error):
        raise invalid("data format is invalid.") from None
    check_count(count)
    if len(cells) != count:
        raise invalid("Duplicated attribute column name while putting row.")  # from memory
    return cells


def check_count(count: int) -> None:
    """Refuse more columns than one write may carry."""
    if count > COLUMNS_MAX:
        raise invalid(
            f"The number of attribute columns exceeds the limit, limit count: {COLUMNS_MAX}, column count: {count}."
        )


def check_value(name: bytes, value: bytes) -> None:
    """Refuse a value that no attribute can have, or that is not what its lengths say."""
    kind, size = value[0], len(value)
    if kind in (STRING, BLOB):
        if size < _TEXT_HEAD or _u32(value, 1)[0] != size - _TEXT_HEAD:
            raise broken(f"wrong string format, size: {size}")
        if size - _TEXT_HEAD > ATTRIBUTE_BYTES_MAX:
            raise invalid(
                f"The length of attribute column: '{name.decode()}' exceeded the MaxLength:{ATTRIBUTE_BYTES_MAX}"
                f" with CurrentLength:{size - _TEXT_HEAD}."
            )
        if kind == STRING:
            check_text(name, value)
    elif kind not in (INTEGER, DOUBLE, BOOLEAN):
        raise invalid(f"{KIND_NAMES.get(kind, kind)} is an invalid type for the attribute column.")
    elif size != _SIZES[kind]:
        raise broken("has more data in cell, but they can't be parsed")
    elif kind == DOUBLE and not math.isfinite(number := _double(value, 1)[0]):
        raise invalid(f"{'NaN' if math.isnan(number) else 'Infinity'} can't be set to double value.")


def check_text(name: bytes, value: bytes) -> None:
    """Refuse a string that is not UTF-8."""
    try:
        str(value[_TEXT_HEAD:], "utf-8")
    except UnicodeDecodeError:
        raise invalid(f"Value of column '{name.decode(errors='replace')}' must be UTF8 encoding.") from None


def stored_cell(name: bytes, value: bytes, stamps: Stamps) -> bytes:
    """The bytes of an attribute cell."""
    check = crc8(value, crc8(name, 0))
    return (
        struct.pack("<BBI", CELL, NAME, len(name))
        + name
        + struct.pack("<BI", VALUE, len(value))
        + value
        + stamps[check]
    )


def key_part(cells: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """The bytes of a primary key of these names and values, and the checksums of its cells."""
    part, checks = bytearray(_BYTE[PK]), bytearray()
    for name, value in cells:
        checks.append(crc8(value, crc8(name, 0)))
        part += struct.pack("<BBI", CELL, NAME, len(name)) + name
        part += struct.pack("<BI", VALUE, len(value)) + value + _BYTE[CHECK] + checks[-1:]
    return bytes(part), bytes(checks)


def join_row(key: bytes, checks: bytes, cells: dict[bytes, bytes]) -> bytes:
    """A row, without header, of its primary key part and one cell of each column; they come out by name."""
    names = list(cells)
    ordered = sorted(names)
    return _join(key, checks, list(cells.values()) if names == ordered else [cells[name] for name in ordered])


def join_versions(key: bytes, checks: bytes, columns: dict[bytes, bytes]) -> bytes:
    """As `join_row`, when a column may have several cells."""
    return _join(key, checks, [cell for name in sorted(columns) for cell in cells_of(columns[name])])


def _join(key: bytes, checks: bytes, parts: list[bytes]) -> bytes:
    check = crc8(checks + bytes([cell[-1] for cell in parts]) + b"\0", 0)
    return b"".join((key, _BYTE[DATA] if parts else b"", *parts, _BYTE[ROW_CHECK], _BYTE[check]))


def split_row(row: bytes) -> Row:
    """Take a stored row of one cell a column apart; its checksums were verified when it came in."""
    position, checks = _split_key(row)
    key, cells = row[:position], {}
    if row[position] == DATA:
        position += 1
        while row[position] == CELL:
            name_end = position + 6 + _u32(row, position + 2)[0]
            end = name_end + 5 + _u32(row, name_end + 1)[0] + _STAMP_SIZE + _CHECK_SIZE
            cells[row[position + 6 : name_end]] = row[position:end]
            position = end
    return Row(key, checks, cells)


def split_off(row: bytes, names: frozenset[bytes], last: bytes) -> Row:
    """As `split_row`, of the columns in `names` only; `last` is the last of them by name, as the columns lie."""
    position, checks = _split_key(row)
    key, cells = row[:position], {}
    if row[position] == DATA:
        position += 1
        while row[position] == CELL:
            name_end = position + 6 + _u32(row, position + 2)[0]
            end = name_end + 5 + _u32(row, name_end + 1)[0] + _STAMP_SIZE + _CHECK_SIZE
            name = row[position + 6 : name_end]
            if name in names:
                cells[name] = row[position:end]
            if name >= last:
                break
            position = end
    return Row(key, checks, cells)


def split_versions(row: bytes) -> Row:
    """As `split_row`, when a column may have several cells."""
    position, checks = _split_key(row)
    key, columns = row[:position], dict[bytes, bytes]()
    if row[position] == DATA:
        for cell in _stored_cells(row, position + 1):
            name = cell[6 : 6 + _u32(cell, 2)[0]]
            columns[name] = columns.get(name, b"") + cell
    return Row(key, checks, columns)


def cells_of(column: bytes) -> list[bytes]:
    """The stored cells of a column, newest first."""
    return list(_stored_cells(column, 0))


def cell_version(cell: bytes) -> int:
    """The version of a stored cell, in milliseconds."""
    return int(_signed(cell, len(cell) - _CHECK_SIZE - _STAMP_SIZE + 1)[0])


def cell_value(name: bytes, column: bytes) -> bytes:
    """The value (kind, payload) inside a stored cell; of several, the newest."""
    start = 11 + len(name)
    return column[start : start + _u32(column, start - 4)[0]]


def key_values(key: bytes) -> dict[bytes, bytes]:
    """The values in the primary key part of a stored row, by name and in their order."""
    values, position = {}, 1
    while position < len(key):
        name_end = position + 6 + _u32(key, position + 2)[0]
        end = name_end + 5 + _u32(key, name_end + 1)[0]
        values[key[position + 6 : name_end]] = key[name_end + 5 : end]
        position = end + _CHECK_SIZE
    return values


def only_key(row: bytes) -> bytes:
    """A stored row without its attributes, with header: what names the row in an answer."""
    position, checks = _split_key(row)
    return HEADER + join_row(row[:position], checks, {})


def names_key(key: bytes, name: bytes) -> bool:
    """Whether a primary key part has a column of this name."""
    return any(cell.name == name for cell in _read_cells(key + _BYTE[ROW_CHECK], 1)[1])


def data_size(data: bytes) -> int:
    """What the service counts of a row: its names and values, without their encoding."""
    change = read_change(data)
    size = 0
    for name, value, *_ in (*change.key, *change.cells):
        size += len(name) + max(0, len(value) - (_TEXT_HEAD if value[:1] in (b"\x03", b"\x07") else 1))
    return size


def _split_key(row: bytes) -> tuple[int, bytes]:
    """Where a stored row's primary key part ends, and the checksums of its cells."""
    position, checks = 1, bytearray()
    while row[position] == CELL:
        name_end = position + 6 + _u32(row, position + 2)[0]
        position = name_end + 5 + _u32(row, name_end + 1)[0] + _CHECK_SIZE
        checks.append(row[position - 1])
    return position, bytes(checks)


def _stored_cells(data: bytes, position: int) -> Iterator[bytes]:
    """The stored attribute cells from `position` on, as far as there are some."""
    while position < len(data) and data[position] == CELL:
        name_end = position + 6 + _u32(data, position + 2)[0]
        end = name_end + 5 + _u32(data, name_end + 1)[0] + _STAMP_SIZE + _CHECK_SIZE
        yield data[position:end]
        position = end


def _start(data: bytes) -> int:
    """Where the primary key's cells begin."""
    if data[:4] != HEADER:
        raise broken(f"mismatch header, actual: {_u32(data, 0)[0]} , expect: {HEADER[0]}")
    if data[4] != PK:
        raise broken(f"mismatch tag, actual tag({data[4]}), expect({PK})")
    return 5


def _read_cells(data: bytes, position: int) -> tuple[int, list[Cell]]:
    cells = []
    while data[position] == CELL:
        position, cell = _read_cell(data, position)
        cells.append(cell)
    return position, cells


def _read_cell(data: bytes, position: int) -> tuple[int, Cell]:
    _, tag, length = _cell_head(data, position)
    if tag != NAME:
        raise broken("attr has no name")
    position += 6
    name = data[position : position + length]
    position += length
    value, op, timestamp, check = b"", 0, None, crc8(name, 0)
    if data[position] == VALUE:
        size = _u32(data, position + 1)[0]
        position += 5
        value = data[position : position + size]
        position += size
        check = crc8(value, check)
    if data[position] == OP:
        op = data[position + 1]
        position += 2
    if data[position] == TIMESTAMP:
        stamp = data[position + 1 : position + _STAMP_SIZE]
        timestamp = struct.unpack("<q", stamp)[0]
        check = crc8(stamp, check)
        position += _STAMP_SIZE
    if op:
        check = crc8(_BYTE[op], check)
    if data[position] != CHECK:
        raise broken("cell is not end with checksum[0x0A] tag")
    if data[position + 1] != check:
        raise broken(f"checksum is mismatch, {data[position + 1]} :{check} :")
    return position + _CHECK_SIZE, Cell(name, value, op, timestamp, check)


def _odd_cell(data: bytes, position: int) -> OtsError:
    """Why a cell that is not just a name and a value cannot be put."""
    _, cell = _read_cell(data, position)
    name = cell.name.decode(errors="replace")
    if cell.op:
        return invalid(f"OpType cannot be given for column name:{name} in PutRow.")
    return invalid("Invalid request of put row: find cells without values.")


def _check_end(data: bytes, position: int, checks: bytes | bytearray) -> None:
    """The row must end at `position` with the checksum over `checks`, and nothing but zeros may follow.

    The published client for Node.js sends zeros: it makes room for more than it writes, after INF_MIN for one.
    """
    if data[position] != ROW_CHECK:
        raise broken("row is not end with checksum tag")
    wanted = crc8(bytes(checks), 0)
    if data[position + 1] != wanted:
        raise broken(f"checksum is mismatch, {data[position + 1]} :{wanted} :")
    if len(data) != position + 2 and data[position + 2 :].strip(b"\0"):
        raise broken("has more data in cell, but they can't be parsed")
