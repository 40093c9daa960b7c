"""Conditions on writes and filters on reads: a serialised Filter becomes a question to ask of a row's columns.

Source: help.aliyun.com/en/tablestore/developer-reference/filter and .../singlecolumnvaluefilter. A filter sees
only the columns that are read (columns_to_get) and, from memory, only the versions. It asks the newest of them,
or with `latest_version_only` false whether any of them fits.
"""

from __future__ import annotations

import functools
import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from infra.localcloud.tablestore import plainbuffer as plain
from infra.localcloud.tablestore.errors import invalid, not_implemented
from infra.localcloud.tablestore.messages import filter_pb

CONDITIONS_MAX = 10
# Takes the stored columns by name.
Question = Callable[[Mapping[bytes, bytes]], bool]

_ORDER: dict[int, Callable[[Any, Any], bool]] = {
    filter_pb.CT_EQUAL: operator.eq,
    filter_pb.CT_NOT_EQUAL: operator.ne,
    filter_pb.CT_GREATER_THAN: operator.gt,
    filter_pb.CT_GREATER_EQUAL: operator.ge,
    filter_pb.CT_LESS_THAN: operator.lt,
    filter_pb.CT_LESS_EQUAL: operator.le,
}


@dataclass(frozen=True, slots=True)
class RowFilter:
    """What a read keeps: whole rows by a question, or a page of each row's columns."""

    keeps: Question
    offset: int = 0
    limit: int | None = None

    def page(self, cells: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """The columns a ColumnPaginationFilter leaves, counted in name order."""
        if self.limit is None:
            return cells
        names = sorted(cells)[self.offset : self.offset + self.limit]
        return {name: cells[name] for name in names}


def row_filter(data: bytes, key_names: Sequence[bytes]) -> RowFilter:
    """The filter of a read."""
    message = _parse(filter_pb.Filter, data, "Deserialize filter failed.")
    if message.type == filter_pb.FT_COLUMN_PAGINATION:
        page = _parse(filter_pb.ColumnPaginationFilter, message.filter, "Deserialize column pagination filter failed.")
        if page.offset < 0:
            raise invalid("Offset in ColumnPaginationFilter must be greater than or equal to 0.")
        if page.limit <= 0:
            raise invalid("Limit in ColumnPaginationFilter must be greater than 0.")
        return RowFilter(lambda cells: True, page.offset, page.limit)
    return RowFilter(_question(message, key_names))


@functools.lru_cache(maxsize=64)
def column_condition(data: bytes, key_names: tuple[bytes, ...]) -> Question:
    """The column condition of a write; most rows of a batch have the same."""
    return _question(_parse(filter_pb.Filter, data, "Deserialize filter failed."), key_names)


def _question(message: Any, key_names: Sequence[bytes]) -> Question:
    if _count(message) > CONDITIONS_MAX:
        raise invalid(f"The count of filter exceeds the max:{CONDITIONS_MAX}.")
    return _build(message, key_names)


def _count(message: Any) -> int:
    if message.type != filter_pb.FT_COMPOSITE_COLUMN_VALUE:
        return 1
    composite = _parse(filter_pb.CompositeColumnValueFilter, message.filter, "Deserialize composite filter failed.")
    return sum(_count(part) for part in composite.sub_filters)


def _build(message: Any, key_names: Sequence[bytes]) -> Question:
    if message.type == filter_pb.FT_SINGLE_COLUMN_VALUE:
        return _single(message.filter, key_names)
    if message.type == filter_pb.FT_COMPOSITE_COLUMN_VALUE:
        return _composite(message.filter, key_names)
    raise invalid(f"Invalid type of sub-filter: {message.type}.")


def _composite(data: bytes, key_names: Sequence[bytes]) -> Question:
    message = _parse(filter_pb.CompositeColumnValueFilter, data, "Deserialize composite filter failed.")
    parts = [_build(part, key_names) for part in message.sub_filters]
    if message.combinator == filter_pb.LO_NOT:
        if len(parts) != 1:
            raise invalid("Invalid NOT operator: the number of sub-filters must be 1.")
        only = parts[0]
        return lambda cells: not only(cells)
    if len(parts) < 2:
        raise invalid("Invalid AND/OR operator: the number of sub-filters must be 2.")
    if message.combinator == filter_pb.LO_AND:
        return lambda cells: all(part(cells) for part in parts)
    return lambda cells: any(part(cells) for part in parts)


def _single(data: bytes, key_names: Sequence[bytes]) -> Question:
    message = _parse(filter_pb.SingleColumnValueFilter, data, "Deserialize relation filter failed.")
    name = message.column_name.encode()
    plain.check_name(name)
    if name in key_names:
        raise not_implemented("A condition on a primary key column")
    if message.HasField("value_trans_rule"):
        raise not_implemented("A condition with a regular expression")
    if message.comparator == filter_pb.CT_EXIST:
        return lambda cells: name in cells
    if message.comparator == filter_pb.CT_NOT_EXIST:
        return lambda cells: name not in cells
    if not message.column_value:
        raise invalid("Deserialize relation filter failed.")
    plain.check_value(name, message.column_value)
    holds, wanted_kind, wanted = _ORDER[message.comparator], message.column_value[0], comparable(message.column_value)
    if_missing = not message.filter_if_missing
    # From memory: values of two types are not equal, and neither comes before the other.
    other_kind = message.comparator == filter_pb.CT_NOT_EQUAL

    def fits(column: bytes) -> bool:
        value = plain.cell_value(name, column)
        return holds(comparable(value), wanted) if value[0] == wanted_kind else other_kind

    def ask(columns: Mapping[bytes, bytes]) -> bool:
        column = columns.get(name)
        if column is None:
            return if_missing
        return fits(column)

    def ask_every_version(columns: Mapping[bytes, bytes]) -> bool:
        column = columns.get(name)
        if column is None:
            return if_missing
        return any(fits(cell) for cell in plain.cells_of(column))

    return ask if message.latest_version_only else ask_every_version


def comparable(value: bytes) -> int | float | bytes:
    """A value in a form Python orders as the service does: strings by their UTF-8 bytes."""
    kind = value[0]
    if kind == plain.INTEGER:
        return int(struct.unpack_from("<q", value, 1)[0])
    if kind == plain.DOUBLE:
        return float(struct.unpack_from("<d", value, 1)[0])
    return value[1:] if kind == plain.BOOLEAN else value[5:]


def _parse(kind: Any, data: bytes, refusal: str) -> Any:
    try:
        message = kind.FromString(data)
    except DecodeError:
        raise invalid(refusal) from None
    if not message.IsInitialized():  # also what an unknown operator comes to
        raise invalid(refusal)
    return message
