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
from infra.localcloud.tablestore.errors import invalid, invalid_key
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
    """The primary key columns of a table in their order: name and kind; and which of them the service numbers."""

    columns: tuple[tuple[bytes, int], ...]
    numbered: int | None = None

    @classmethod
    def of(cls, meta: Any) -> Schema:
        """The schema in a TableMeta."""
        numbered = [place for place, column in enumerate(meta.primary_key) if column.HasField("option")]
        columns = tuple((column.name.encode(), KINDS[column.type]) for column in meta.primary_key)
        return cls(columns, numbered[0] if numbered else None)

    def asks_number(self, cells: Sequence[plain.Cell]) -> bool:
        """Whether a key leaves its number to the service."""
        at = self.numbered
        return at is not None and at < len(cells) and cells[at].value == plain.KIND_BYTES[plain.AUTO_INCREMENT]

    def key_with(self, number: int, cells: Sequence[plain.Cell]) -> Key:
        """The key of a row that asks for its number."""
        value = plain.KIND_BYTES[plain.INTEGER] + number.to_bytes(8, "little", signed=True)
        given = [cell._replace(value=value) if i == self.numbered else cell for i, cell in enumerate(cells)]
        part, checks = plain.key_part((cell.name, cell.value) for cell in given)
        return self.key(given, part)._replace(checks=checks)

    def key(self, cells: Sequence[plain.Cell], part: bytes) -> Key:
        """The key of one row, or OtsError; `part` are the bytes that `cells` were read from."""
        self._check_size(cells)
        parts = []
        for cell, (name, kind) in zip(cells, self.columns, strict=True):
            if cell.name != name or cell.value[:1] != plain.KIND_BYTES[kind] or cell.op or cell.timestamp is not None:
                raise self._mismatch(cell, name, kind)
            parts.append(encode(name, kind, cell.value))
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
                raise self._mismatch(cell, name, kind)
            parts.append(encode(name, kind, cell.value))
        return b"".join(parts)

    def partition(self, cells: Sequence[plain.Cell]) -> bytes:
        """The beginning of every key that shares its first column with this key of one column alone."""
        first = Schema(self.columns[:1])
        return first.key(cells, b"").encoded

    def partition_text(self, encoded: bytes) -> str:
        """The first column of an encoded key or bound, as messages show it."""
        if encoded[:1] != b"\x01":
            return "INF_MIN" if encoded[:1] == _BOUNDS[plain.INF_MIN] else "INF_MAX"
        if self.columns[0][1] == plain.INTEGER:
            return str(int.from_bytes(encoded[1:9], "big") - _HALF)
        value = encoded[1 : encoded.index(b"\0\x01", 1)].replace(b"\0\xff", b"\0")
        return value.decode(errors="backslashreplace")

    def _check_size(self, cells: Sequence[plain.Cell]) -> None:
        if len(cells) != len(self.columns):
            raise invalid_key(f"Validate PK size fail. Input: {len(cells)}, Meta: {len(self.columns)}.")

    def _mismatch(self, cell: plain.Cell, name: bytes, kind: int) -> Exception:
        """Why this cell is not the column `name`."""
        given = cell.name.decode(errors="replace")
        if cell.op:
            return invalid(f"OpType cannot be given for primary key name :{given}.")
        if cell.timestamp is not None:
            return invalid(f"Timestamp cannot be given for primary key name:{given}.")
        if not cell.value:
            return invalid(f"No value is given for primary key name:{given}.")
        if self.numbered is not None and (name, cell.value[0]) == (
            self.columns[self.numbered][0],
            plain.AUTO_INCREMENT,
        ):
            return invalid("PKAutoIncr can't be used for read operations.")
        if cell.name != name:
            return invalid_key(f"Validate PK name fail. Input: {given}, Meta: {name.decode()}.")
        names = plain.KIND_NAMES
        return invalid_key(
            f"Validate PK type fail. Input: {names.get(cell.value[0], cell.value[0])}, Meta: {names[kind]}."
        )


def read_bare_key(data: bytes) -> plain.Change:
    """A primary key sent to read with, and nothing else."""
    change = plain.read_change(data)
    if change.cells:
        raise invalid("Attribute column cannot be given while reading data.")
    if change.deleted:
        raise invalid("Delete marker cannot be given.")
    return change


def encode(name: bytes, kind: int, value: bytes) -> bytes:
    """A key column's value as its part of an encoded key, or OtsError."""
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
