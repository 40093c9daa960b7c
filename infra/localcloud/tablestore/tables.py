"""The operations on tables: CreateTable, ListTable, DescribeTable, UpdateTable, DeleteTable, CreateIndex, DropIndex.

A table is ready at once; the service takes some seconds in which it answers OTSTableNotReady. The times of its
throughput are business times, and so are the two minutes that must pass between two changes of it.
"""

from __future__ import annotations

import re
from typing import Any

from infra.localcloud.tablestore import indexes, keys
from infra.localcloud.tablestore.errors import adjusted_too_often, invalid, not_implemented, table_exists
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.plainbuffer import check_name
from infra.localcloud.tablestore.state import FOREVER, Store

DEFINED_COLUMNS_MAX = 32
LIFE_MIN_S = 86400
DEVIATION_S = 86400
DEVIATION_MAX_S = ((1 << 63) - 1) // 1_000_000
ADJUST_EVERY_S = 120
# The field table_status = 4 with the value ACTIVE = 1. The Python SDK's definitions have no such field; those of
# the clients for other languages demand it.
_ACTIVE = b"\x20\x01"
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


def create_table(store: Store, request: Any) -> Any:
    """Add a table."""
    _check_meta(request.table_meta)
    _check_new_options(request.table_options)
    _check_options(request.table_options)
    _check_throughput(request.reserved_throughput.capacity_unit)
    _refuse_extras(request)
    for index in request.index_metas:
        _check_name(index.name)
    indexes.check(request.table_meta, request.index_metas, request.table_options)
    store.create_table(_description(request, store.now_ms() // 1000))
    return pb.CreateTableResponse()


def list_table(store: Store, _request: Any) -> Any:
    """The names of all tables."""
    return pb.ListTableResponse(table_names=store.table_names())


def describe_table(store: Store, request: Any) -> Any:
    """What a table is, and that it is active."""
    known = store.table(request.table_name).description.SerializeToString()
    return pb.DescribeTableResponse.FromString(known + _ACTIVE)


def update_table(store: Store, request: Any) -> Any:
    """Change the options of a table, its throughput, or both."""
    description = pb.DescribeTableResponse()
    description.CopyFrom(store.writable(request.table_name).description)
    if request.HasField("table_options"):
        if not request.table_options.ListFields():
            raise invalid("No parameter is specified in table options.")
        _check_options(request.table_options)
        description.table_options.MergeFrom(request.table_options)
        indexes.check(description.table_meta, description.index_metas, description.table_options)
    elif not request.HasField("reserved_throughput"):
        raise invalid("No parameter is specified in table options.")
    if request.stream_spec.enable_stream:
        raise not_implemented("A stream")
    if request.HasField("reserved_throughput"):
        unit = request.reserved_throughput.capacity_unit
        _adjust(description.reserved_throughput_details, unit, store.now_ms() // 1000)
    store.change_table(description)
    return pb.UpdateTableResponse(
        reserved_throughput_details=description.reserved_throughput_details, table_options=description.table_options
    )


def create_index(store: Store, request: Any) -> Any:
    """Add an index to a table, with the rows that are there if the request says so.

    It can be read at once; the service answers "Disallow read index table in building base state" for a while.
    """
    base, meta = store.writable(request.main_table_name).description, request.index_meta
    _check_name(meta.name)
    if meta.name in store.table_names():
        raise table_exists()
    indexes.check(base.table_meta, [*base.index_metas, meta], base.table_options)
    store.create_index(request.main_table_name, meta, is_filled=request.include_base_data)
    return pb.CreateIndexResponse()


def drop_index(store: Store, request: Any) -> Any:
    """Take an index from a table."""
    store.drop_index(request.main_table_name, request.index_name)
    return pb.DropIndexResponse()


def _adjust(details: Any, unit: Any, now_s: int) -> None:
    """Take over a new throughput. What it is not given for, reading or writing, stays."""
    if not unit.HasField("read") and not unit.HasField("write"):
        raise invalid("Invalid Capacity Unit for UpdateTable: Either read(-1) or write(-1) should be non-negative.")
    _check_throughput(unit)
    since_s = now_s - max(details.last_increase_time, details.last_decrease_time)
    if 0 <= since_s < ADJUST_EVERY_S:  # the clock may have been set back
        raise adjusted_too_often()
    old = details.capacity_unit
    wanted = {"read": unit.read if unit.HasField("read") else old.read}
    wanted["write"] = unit.write if unit.HasField("write") else old.write
    if wanted["read"] < old.read or wanted["write"] < old.write:
        details.last_decrease_time = now_s
    if wanted["read"] > old.read or wanted["write"] > old.write:
        details.last_increase_time = now_s
    details.capacity_unit.read, details.capacity_unit.write = wanted["read"], wanted["write"]


def delete_table(store: Store, request: Any) -> Any:
    """Remove a table with its rows."""
    store.delete_table(request.table_name)
    return pb.DeleteTableResponse()


def _check_meta(meta: Any) -> None:
    _check_name(meta.table_name)
    if not 1 <= len(meta.primary_key) <= keys.COLUMNS_MAX:
        raise invalid(f"The number of primary key columns must be in range: [1, {keys.COLUMNS_MAX}].")
    names = set()
    _check_numbered(meta)
    for column in meta.primary_key:
        check_name(column.name.encode())
        if column.type not in keys.KINDS:
            raise invalid(f"{pb.PrimaryKeyType.Name(column.type)} is an invalid type for the primary key.")
        if column.name in names:
            raise invalid(f"Duplicated primary key name: '{column.name}'.")
        names.add(column.name)
    _check_defined(meta.defined_column, names)


def _check_name(name: str) -> None:
    if _TABLE_NAME.fullmatch(name) is None:
        raise invalid(f"Invalid table name: '{name}'.")


def _check_numbered(meta: Any) -> None:
    """One column may be numbered by the service, an integer and not the partition key."""
    numbered = [place for place, column in enumerate(meta.primary_key) if column.HasField("option")]
    if not numbered:
        return
    if len(numbered) > 1:
        raise invalid("AUTO_INCREMENT primary key count must <= 1.")
    if meta.primary_key[numbered[0]].type != pb.INTEGER:
        raise invalid("AUTO_INCREMENT primary key must be integer.")
    if numbered[0] == 0:
        raise invalid(f"First primary key can't be auto increment, table: {meta.table_name}.")


def _check_defined(columns: Any, key_names: set[str]) -> None:
    """Predefined columns are kept and described; but for indexes they change nothing else."""
    if len(columns) > DEFINED_COLUMNS_MAX:
        raise invalid(f"The number of defined columns must be in range: [0, {DEFINED_COLUMNS_MAX}].")
    names = set(key_names)
    for column in columns:
        check_name(column.name.encode())
        if column.name in names:
            raise invalid(f"Duplicated attribute column name with primary key column: '{column.name}'.")
        names.add(column.name)


def _check_new_options(options: Any) -> None:
    """A new table must say how long it keeps its data, and how many versions."""
    if not options.HasField("time_to_live"):
        raise invalid("Time-to-live is missing while creating table.")
    if not options.HasField("max_versions"):
        raise invalid("MaxVersions is missing while creating table.")


def _check_options(options: Any) -> None:
    """Refuse an option that no table can have, among those that are given."""
    if options.HasField("time_to_live"):
        if options.time_to_live == 0 or options.time_to_live < FOREVER:
            raise invalid("TimeToLive cannot be 0 or less than -1.")
        if options.time_to_live != FOREVER and options.time_to_live < LIFE_MIN_S:
            raise invalid(f"TimeToLive cannot be less than {LIFE_MIN_S}.")  # the rule is documented, the text is ours
    if options.HasField("max_versions") and options.max_versions <= 0:
        raise invalid("The maximum versions cannot be less than or equal to 0.")
    if not 0 <= options.deviation_cell_version_in_sec <= DEVIATION_MAX_S:
        raise invalid("The maximum deviation must be in range [0, INT64_MAX/1000000].")
    if options.HasField("allow_update") and not options.allow_update:
        raise not_implemented("A table without UpdateRow")


def _check_throughput(unit: Any) -> None:
    for number in (unit.read, unit.write):
        if number < 0:
            raise invalid(f"Invalid Capacity Unit:{number} . Capacity Unit must be nonnegative.")


def _refuse_extras(request: Any) -> None:
    if request.partitions:
        raise not_implemented("A table with split points")
    if request.stream_spec.enable_stream:
        raise not_implemented("A stream")
    if request.sse_spec.enable:
        raise not_implemented("Encryption at rest")


def _description(request: Any, now_s: int) -> Any:
    """What DescribeTable will answer."""
    description = pb.DescribeTableResponse(
        table_meta=request.table_meta, table_options=request.table_options, index_metas=request.index_metas
    )
    if not description.table_options.HasField("deviation_cell_version_in_sec"):
        description.table_options.deviation_cell_version_in_sec = DEVIATION_S
    description.table_options.allow_update = True
    details = description.reserved_throughput_details
    details.capacity_unit.read = request.reserved_throughput.capacity_unit.read
    details.capacity_unit.write = request.reserved_throughput.capacity_unit.write
    details.last_increase_time = now_s
    return description
