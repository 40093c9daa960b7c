"""Secondary indexes: tables that the service keeps, of some columns of another table, in an order of their own.

Source: help.aliyun.com/en/tablestore "Secondary index" (overview, limits, 2024-12) and, for the texts, the tests of the
published SDKs. An index's primary key is its index columns and then what is left of its table's primary key; its
attributes are predefined columns of the table. A row without one of the index columns is not in the index. An index
is read as any table is, and never written.

The service keeps a global index some milliseconds behind its table. Here it is never behind: what a caller does about
the difference is not tried out by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from infra.localcloud.tablestore import plainbuffer as plain
from infra.localcloud.tablestore.errors import invalid, not_implemented
from infra.localcloud.tablestore.keys import KINDS, encode
from infra.localcloud.tablestore.messages import pb

INDEXES_MAX = 5
INDEX_COLUMNS_MAX = 4
ATTRIBUTES_MAX = 32
# What a predefined column is as a column of a primary key; the other types cannot be one.
_AS_KEY = {pb.DCT_INTEGER: pb.INTEGER, pb.DCT_STRING: pb.STRING, pb.DCT_BLOB: pb.BINARY}

Entry = tuple[bytes, bytes]  # the encoded key of an index's row, and the row


class Index(NamedTuple):
    """An index by the number of its table: its key columns (name, kind) in order, and its attributes."""

    number: int
    columns: tuple[tuple[bytes, int], ...]
    attributes: tuple[bytes, ...]

    def entry(self, values: Mapping[bytes, bytes], cells: Mapping[bytes, bytes]) -> Entry | None:
        """What stands in the index for a row of these values and cells; None when the row is not in it.

        From memory: a value of another type than the column was predefined with is as good as none.
        """
        named = [(name, values.get(name, b"")) for name, _ in self.columns]
        if any(value[:1] != plain.KIND_BYTES[kind] for (_, value), (_, kind) in zip(named, self.columns, strict=True)):
            return None
        encoded = [encode(name, kind, values[name]) for name, kind in self.columns]
        part, checks = plain.key_part(named)
        attributes = {name: cells[name] for name in self.attributes if name in cells}
        return b"".join(encoded), plain.join_row(part, checks, attributes)


class Indexes(NamedTuple):
    """The indexes of one table, and what they hold of it: the columns, and the last of them by name."""

    all: tuple[Index, ...]
    names: frozenset[bytes]
    last: bytes

    @classmethod
    def of(cls, indexes: Iterable[Index]) -> Indexes:
        """These indexes."""
        made = tuple(indexes)
        named = frozenset(name for index in made for name in (*(name for name, _ in index.columns), *index.attributes))
        return cls(made, named, max(named, default=b""))

    def entries(self, row: bytes | None) -> list[Entry | None]:
        """What stands in each index for a row of the table."""
        if row is None:
            return [None] * len(self.all)
        taken = plain.split_off(row, self.names, self.last)
        values = {name: plain.cell_value(name, cell) for name, cell in taken.cells.items()}
        values |= plain.key_values(taken.key)
        return [index.entry(values, taken.cells) for index in self.all]


def moves(indexes: Indexes, old: bytes | None, new: bytes | None) -> Iterator[tuple[int, bytes, bytes | None]]:
    """What a change of a row from `old` to `new` changes in the indexes: number, key, and the row or None."""
    for index, was, becomes in zip(indexes.all, indexes.entries(old), indexes.entries(new), strict=True):
        if was == becomes:
            continue
        if was is not None and (becomes is None or was[0] != becomes[0]):
            yield index.number, was[0], None
        if becomes is not None:
            yield index.number, *becomes


def check(meta: Any, indexes: Any, options: Any) -> None:
    """Refuse indexes that a table of this meta and these options cannot have."""
    if not indexes:
        return
    if len(indexes) > INDEXES_MAX:
        raise invalid(f"Number of index per table exceeds the quota:{INDEXES_MAX}.")
    names = [index.name for index in indexes]
    if len(set(names)) != len(names) or meta.table_name in names:
        raise invalid("Duplicated index name.")  # the rule is documented, the text is ours
    if options.max_versions > 1:
        raise invalid("A table with secondary indexes keeps one version of a column.")  # the text is ours
    if options.time_to_live != -1:  # allowed by the service where UpdateRow is not, which there is no table for here
        raise invalid("A table with secondary indexes and a time to live does not allow updates.")  # the text is ours
    if any(column.HasField("option") for column in meta.primary_key):
        raise not_implemented("A secondary index of a table with auto increment")
    for index in indexes:
        _check_one(meta, index)


def _check_one(meta: Any, index: Any) -> None:
    if index.index_type == pb.IT_LOCAL_INDEX or index.index_update_mode == pb.IUM_SYNC_INDEX:
        raise not_implemented("A local secondary index")
    if not 1 <= len(index.primary_key) <= INDEX_COLUMNS_MAX:
        raise invalid(f"The number of primary key columns must be in range: [1, {INDEX_COLUMNS_MAX}] in index.")
    if len(index.defined_column) > ATTRIBUTES_MAX:
        raise invalid(f"The number of attribute columns must be in range: [0, {ATTRIBUTES_MAX}] in index.")
    # The rules that follow are documented, their texts are ours.
    key = {column.name for column in meta.primary_key}
    defined = {column.name: column.type for column in meta.defined_column}
    named = [*index.primary_key, *index.defined_column]
    if len(set(named)) != len(named):
        raise invalid(f"Duplicated column name in index: '{index.name}'.")
    for name in index.primary_key:
        if name not in key and defined.get(name) not in _AS_KEY:
            raise invalid(f"Column '{name}' is no primary key column and no predefined one that can be, in index.")
    for name in index.defined_column:
        if name not in defined:
            raise invalid(f"Column '{name}' is not predefined, in index.")


def meta_of(base: Any, index: Any) -> Any:
    """The TableMeta of an index, the primary key of its table filled up."""
    key = {column.name: column.type for column in base.primary_key}
    defined = {column.name: column.type for column in base.defined_column}
    meta = pb.TableMeta(table_name=index.name)
    for name in [*index.primary_key, *(name for name in key if name not in index.primary_key)]:
        meta.primary_key.add(name=name, type=key[name] if name in key else _AS_KEY[defined[name]])
    for name in index.defined_column:
        meta.defined_column.add(name=name, type=defined[name])
    return meta


def index_of(number: int, meta: Any) -> Index:
    """The index whose table has this number and this TableMeta."""
    columns = tuple((column.name.encode(), KINDS[column.type]) for column in meta.primary_key)
    return Index(number, columns, tuple(column.name.encode() for column in meta.defined_column))
