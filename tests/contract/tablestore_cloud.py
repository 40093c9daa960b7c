"""A local Tablestore that runs, the genuine SDK to speak to it, and what its tests share.

`pure` is the codec that Python 3.11 gets: the wheel's native one loads on 3.12 only.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tablestore import (
    BatchWriteRowRequest,
    CapacityUnit,
    ComparatorType,
    CompositeColumnCondition,
    Condition,
    OTSClient,
    OTSServiceError,
    ReservedThroughput,
    Row,
    RowExistenceExpectation,
    SingleColumnCondition,
    TableInBatchWriteRowItem,
    TableMeta,
    TableOptions,
)
from tablestore.retry import NoRetryPolicy

from infra.localcloud import common
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.state import Store
from infra.localcloud.tablestore.tables import create_table

logging.getLogger("tablestore-client").setLevel(logging.CRITICAL)

C = ComparatorType
IGNORE, EXIST, ABSENT = (
    RowExistenceExpectation.IGNORE,
    RowExistenceExpectation.EXPECT_EXIST,
    RowExistenceExpectation.EXPECT_NOT_EXIST,
)
THREE_KEYS = [("name", "STRING"), ("number", "INTEGER"), ("blob", "BINARY")]
MEBIBYTE = 1024 * 1024
_numbers = itertools.count()


def fresh_name() -> str:
    """A table name that no test has used."""
    return f"t_{next(_numbers)}"


class Cloud:
    """A running service over a folder, and clients for it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.service = common.start("tablestore", home)
        self.keys = common.load_keys(home)
        self.clock = common.Clock(home)

    def client(self, *, secret: str = "", native: bool = True, v4: bool = True, **changed: Any) -> Any:
        """An SDK client; `changed` replaces one of the things it signs with."""
        return OTSClient(
            f"http://127.0.0.1:{self.service.port}",
            changed.get("access_key_id", self.keys.access_key_id),
            secret or self.keys.access_key_secret,
            changed.get("instance", self.keys.instance),
            region=changed.get("region", self.keys.region) if v4 else None,
            retry_policy=NoRetryPolicy(),
            enable_native=native,
        )


@pytest.fixture(scope="module")
def ots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("tablestore"))
    yield cloud
    cloud.service.stop()


@pytest.fixture(scope="module", params=["native-v4", "pure-v2"])
def client(ots: Cloud, request: pytest.FixtureRequest) -> Any:
    return ots.client(native=request.param == "native-v4", v4=request.param == "native-v4")


@pytest.fixture
def any_client(ots: Cloud) -> Any:
    return ots.client()


@contextmanager
def new_table(client: Any, columns: list[Any] | None = None, options: Any = None) -> Iterator[str]:
    name = fresh_name()
    create(client, name, columns or [("id", "STRING")], options)
    yield name
    client.delete_table(name)


@pytest.fixture
def table(any_client: Any) -> Iterator[str]:
    with new_table(any_client) as name:
        yield name


@pytest.fixture
def three(any_client: Any) -> Iterator[str]:
    with new_table(any_client, THREE_KEYS) as name:
        yield name


def create(client: Any, name: str, columns: list[Any], options: Any = None, **more: Any) -> None:
    meta = TableMeta(name, columns, more.pop("defined", None))
    client.create_table(meta, options or TableOptions(), ReservedThroughput(CapacityUnit(0, 0)), **more)


def key(name: str) -> list[tuple[str, Any]]:
    return [("id", name)]


def put(client: Any, table: str, name: str, *columns: tuple[str, Any], when: Any = None) -> None:
    client.put_row(table, Row(key(name), list(columns)), when or Condition(IGNORE))


def read(client: Any, table: str, name: str, **how: Any) -> dict[str, Any] | None:
    """The attributes of a row, or None; that its key comes back is asserted here."""
    _, row, _ = client.get_row(table, key(name), max_version=1, **how)
    if row is None:
        return None
    assert row.primary_key == key(name)
    return {column[0]: column[1] for column in row.attribute_columns}


def batch(client: Any, **tables: list[Any]) -> Any:
    request = BatchWriteRowRequest()
    for name, items in tables.items():
        request.add(TableInBatchWriteRowItem(name, items))
    return client.batch_write_row(request)


@contextmanager
def refused(status: int, code: str, message: str) -> Iterator[None]:
    with pytest.raises(OTSServiceError) as caught:
        yield
    error = caught.value
    assert (error.http_status, error.code, error.message) == (status, code, message)
    assert error.request_id


def invalid(message: str) -> Any:
    return refused(400, "OTSParameterInvalid", message)


def check_failed() -> Any:
    return refused(403, "OTSConditionCheckFail", "Condition check failed.")


def not_here(what: str) -> Any:
    return refused(400, "OTSUnsupportOperation", f"{what} is not implemented here")


def is_value(column: str, comparator: Any, value: Any, *, pass_if_missing: bool = True) -> Any:
    return SingleColumnCondition(column, value, comparator, pass_if_missing=pass_if_missing)


def all_of(operator: Any, *parts: Any) -> Any:
    condition = CompositeColumnCondition(operator)
    for part in parts:
        condition.add_sub_condition(part)
    return condition


def pages(client: Any, table: str, direction: str, start: Any, end: Any, **how: Any) -> Iterator[list[Any]]:
    how.setdefault("max_version", 1)
    while start is not None:
        _, start, found, _ = client.get_range(table, direction, start, end, **how)
        yield found


@contextmanager
def without_wire(folder: Path, seconds: Callable[[], float] = time.monotonic) -> Iterator[Store]:
    """An instance in this process, with a table `t` of a string and a number; `seconds` is its steady clock."""
    store = Store(folder, "clearbook", common.Clock(folder), seconds)
    columns = [pb.PrimaryKeySchema(name="part", type=pb.STRING), pb.PrimaryKeySchema(name="n", type=pb.INTEGER)]
    meta = pb.TableMeta(table_name="t", primary_key=columns)
    options = pb.TableOptions(time_to_live=-1, max_versions=1)
    throughput = pb.ReservedThroughput(capacity_unit=pb.CapacityUnit(read=0, write=0))
    create_table(store, pb.CreateTableRequest(table_meta=meta, table_options=options, reserved_throughput=throughput))
    try:
        yield store
    finally:
        store.close()
