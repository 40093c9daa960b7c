"""The operations on tables: CreateTable, ListTable, DescribeTable, DeleteTable.

A table is ready at once; the service takes some seconds in which it answers OTSTableNotReady.
"""

from __future__ import annotations

import re
import time
from typing import Any

from infra.localcloud.tablestore import keys
from infra.localcloud.tablestore.errors import invalid, not_implemented
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.plainbuffer import check_name
from infra.localcloud.tablestore.state import Store

DEFINED_COLUMNS_MAX = 32
FOREVER = -1
DEVIATION_S = 86400
_TABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")


def create_table(store: Store, request: Any) -> Any:
    """Add a table."""
    _check_meta(request.table_meta)
    _check_options(request.table_options)
    _check_throughput(request.reserved_throughput.capacity_unit)
    _refuse_extras(request)
    store.create_table(_description(request))
    return pb.CreateTableResponse()


def list_table(store: Store, _request: Any) -> Any:
    """The names of all tables."""
    return pb.ListTableResponse(table_names=store.table_names())


def describe_table(store: Store, request: Any) -> Any:
    """What a table was created as."""
    return store.table(request.table_name).description


def delete_table(store: Store, request: Any) -> Any:
    """Remove a table with its rows."""
    store.delete_table(request.table_name)
    return pb.DeleteTableResponse()


def _check_meta(meta: Any) -> None:
    if _TABLE_NAME.fullmatch(meta.table_name) is None:
        raise invalid(f"Invalid table name: '{meta.table_name}'.")
    if not 1 <= len(meta.primary_key) <= keys.COLUMNS_MAX:
        raise invalid(f"The number of primary key columns must be in range: [1, {keys.COLUMNS_MAX}].")
    names = set()
    for column in meta.primary_key:
        check_name(column.name.encode())
        if column.type not in keys.KINDS:
            raise invalid(f"{pb.PrimaryKeyType.Name(column.type)} is an invalid type for the primary key.")
        if column.HasField("option"):
            raise not_implemented("An auto-increment primary key column")
        if column.name in names:
            raise invalid(f"Duplicated primary key name: '{column.name}'.")
        names.add(column.name)
    _check_defined(meta.defined_column, names)


def _check_defined(columns: Any, key_names: set[str]) -> None:
    """Predefined columns are kept and described; without indexes they change nothing else."""
    if len(columns) > DEFINED_COLUMNS_MAX:
        raise invalid(f"The number of defined columns must be in range: [0, {DEFINED_COLUMNS_MAX}].")
    names = set(key_names)
    for column in columns:
        check_name(column.name.encode())
        if column.name in names:
            raise invalid(f"Duplicated attribute column name with primary key column: '{column.name}'.")
        names.add(column.name)


def _check_options(options: Any) -> None:
    if not options.HasField("time_to_live"):
        raise invalid("Time-to-live is missing while creating table.")
    if options.time_to_live == 0 or options.time_to_live < FOREVER:
        raise invalid("TimeToLive cannot be 0 or less than -1.")
    if not options.HasField("max_versions"):
        raise invalid("MaxVersions is missing while creating table.")
    if options.max_versions <= 0:
        raise invalid("The maximum versions cannot be less than or equal to 0.")
    if options.time_to_live != FOREVER:
        raise not_implemented("A time to live")
    if options.max_versions != 1:
        raise not_implemented("More than one version")
    if options.HasField("allow_update") and not options.allow_update:
        raise not_implemented("A table without UpdateRow")


def _check_throughput(unit: Any) -> None:
    for number in (unit.read, unit.write):
        if number < 0:
            raise invalid(f"Invalid Capacity Unit:{number} . Capacity Unit must be nonnegative.")


def _refuse_extras(request: Any) -> None:
    if request.partitions:
        raise not_implemented("A table with split points")
    if request.index_metas:
        raise not_implemented("A secondary index")
    if request.stream_spec.enable_stream:
        raise not_implemented("A stream")
    if request.sse_spec.enable:
        raise not_implemented("Encryption at rest")


def _description(request: Any) -> Any:
    """What DescribeTable will answer."""
    description = pb.DescribeTableResponse(table_meta=request.table_meta, table_options=request.table_options)
    if not description.table_options.HasField("deviation_cell_version_in_sec"):
        description.table_options.deviation_cell_version_in_sec = DEVIATION_S
    description.table_options.allow_update = True
    details = description.reserved_throughput_details
    details.capacity_unit.read = request.reserved_throughput.capacity_unit.read
    details.capacity_unit.write = request.reserved_throughput.capacity_unit.write
    details.last_increase_time = int(time.time())
    return description
