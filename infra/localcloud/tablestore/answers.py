"""What the answers of reads and writes have in common: capacity units, errors of single rows, the shape of a batch.

Capacity units are counted from the encoded row, which is somewhat larger than the data the service counts.
"""

from __future__ import annotations

from typing import Any

from infra.localcloud.tablestore.errors import OtsError, invalid
from infra.localcloud.tablestore.messages import pb

CAPACITY_UNIT_BYTES = 4096


def check_tables(tables: Any, empty: str, rows_max: int, rows_field: str) -> None:
    """Refuse a batch that has not the shape every batch must have."""
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


def row_error(error: OtsError) -> Any:
    """The error of one row of a batch."""
    return pb.Error(code=error.code, message=error.message)


def read_units(size: int) -> Any:
    """What reading so many bytes consumes."""
    return pb.ConsumedCapacity(capacity_unit=pb.CapacityUnit(read=capacity_units(size), write=0))


def write_units(units: int) -> Any:
    """What a write of so many capacity units has consumed."""
    return pb.ConsumedCapacity(capacity_unit=pb.CapacityUnit(read=0, write=units))


def capacity_units(size: int) -> int:
    """Capacity units of so many bytes: at least one."""
    return max(1, -(-size // CAPACITY_UNIT_BYTES))
