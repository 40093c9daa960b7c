"""Primary keys: what a table's schema allows, and an encoding whose byte order is the key order.

Encoded column by column: INF_MIN is 00, INF_MAX is 02, a value is 01 and then eight big-endian bytes with the
sign flipped (integers) or the bytes with 00 written as 00 ff, ended by 00 01 (strings by their UTF-8, binaries).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from infra.localcloud.tablestore import plainbuffer as plain
from infra.localcloud.tablestore.errors import invalid, invalid_key, not_implemented
from infra.localcloud.tablestore.messages import pb

COLUMNS_MAX = 4
BYTES_MAX = 1024
KINDS = {pb.INTEGER: plain.INTEGER, pb.STRING: plain.STRING, pb.BINARY: plain.BLOB}
_BOUNDS = {plain.INF_MIN: b"\x00", plain.INF_MAX: b"\x02"}
_signed = struct.Struct("<q").unpack_from
_unsigned = struct.Struct(">BQ").pack
_HALF = 1 << 63


class Key(NamedTuple):
    """A primary key: `encoded` orders it, `part` and `checks` are its PlainBuffer bytes and cell checksums."""

    encoded: bytes
    part: bytes
    checks: bytes


@dataclass(frozen=True, slots=True)
class Schema:
    """The primary key columns of a table in their order: name and kind."""

    columns: tuple[tuple[bytes, int], ...]

    @classmethod
    def of(cls, meta: Any) -> Schema:
        """The schema in a TableMeta."""
        return cls(tuple((column.name.encode(), KINDS[column.type]) for column in meta.primary_key))

    def key(self, cells: Sequence[plain.Cell], part: bytes) -> Key:
        """The key of one row, or OtsError; `part` are the bytes that `cells` were read from."""
        self._check_size(cells)
        parts = []
        for cell, (name, kind) in zip(cells, self.columns, strict=True):
            if cell.name != name or cell.value[:1] != plain.KIND_BYTES[kind] or cell.op or cell.timestamp is not None:
                raise _mismatch(cell, name, kind)
            parts.append(_encode(name, kind, cell.value))
        return Key(b"".join(parts), part, bytes([cell.check for cell in cells]))

    def bound(self, data: bytes) -> bytes:
        """One end of a range, which may say INF_MIN and INF_MAX, as bytes that no row's key equals or is cut by."""
        cells = read_bare_key(data).key
        self._check_size(cells)
        parts = []
        for cell, (name, kind) in zip(cells, self.columns, strict=True):
            if cell.name == name and cell.value[:1] and cell.value[0] in _BOUNDS:
                parts.append(_BOUNDS[cell.value[0]])
                continue
            if cell.name != name or cell.value[:1] != plain.KIND_BYTES[kind] or cell.op or cell.timestamp is not None:
                raise _mismatch(cell, name, kind)
            parts.append(_encode(name, kind, cell.value))
        return b"".join(parts)

    def _check_size(self, cells: Sequence[plain.Cell]) -> None:
        if len(cells) != len(self.columns):
            raise invalid_key(f"Validate PK size fail. Input: {len(cells)}, Meta: {len(self.columns)}.")


def read_bare_key(data: bytes) -> plain.Change:
    """A primary key sent to read with, and nothing else."""
    change = plain.read_change(data)
    if change.cells:
        raise invalid("Attribute column cannot be given while reading data.")
    if change.deleted:
        raise invalid("Delete marker cannot be given.")
    return change


def _mismatch(cell: plain.Cell, name: bytes, kind: int) -> Exception:
    """Why this cell is not the column `name`."""
    given = cell.name.decode(errors="replace")
    if cell.op:
        return invalid(f"OpType cannot be given for primary key name :{given}.")
    if cell.timestamp is not None:
        return invalid(f"Timestamp cannot be given for primary key name:{given}.")
    if not cell.value:
        return invalid(f"No value is given for primary key name:{given}.")
    if cell.value[0] == plain.AUTO_INCREMENT:
        return not_implemented("An auto-increment primary key column")
    if cell.name != name:
        return invalid_key(f"Validate PK name fail. Input: {given}, Meta: {name.decode()}.")
    names = plain.KIND_NAMES
    return invalid_key(f"Validate PK type fail. Input: {names.get(cell.value[0], cell.value[0])}, Meta: {names[kind]}.")


def _encode(name: bytes, kind: int, value: bytes) -> bytes:
    if kind == plain.INTEGER:
        plain.check_value(name, value)
        return _unsigned(1, _signed(value, 1)[0] + _HALF)
    length = len(value) - 5
    if length > BYTES_MAX:
        raise invalid(
            f"The length of primary key column: '{name.decode()}' exceeded the MaxLength:{BYTES_MAX}"
            f" with CurrentLength:{length}."
        )
    plain.check_value(name, value)
    return b"\x01" + value[5:].replace(b"\0", b"\0\xff") + b"\0\x01"
