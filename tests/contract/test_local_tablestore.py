"""The local Tablestore as the genuine SDK sees it, with both request signatures and both of the SDK's codecs.

`pure` is the codec that Python 3.11 gets: the wheel's native one loads on 3.12 only.
"""

from __future__ import annotations

import http.client
import itertools
import logging
import os
import random
import signal
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
    PK_AUTO_INCR,
    BatchGetRowRequest,
    BatchWriteRowRequest,
    CapacityUnit,
    ComparatorType,
    CompositeColumnCondition,
    Condition,
    DeleteRowItem,
    LogicalOperator,
    OTSClient,
    OTSClientError,
    OTSServiceError,
    PutRowItem,
    ReservedThroughput,
    ReturnType,
    Row,
    RowExistenceExpectation,
    SecondaryIndexMeta,
    SingleColumnCondition,
    TableInBatchGetRowItem,
    TableInBatchWriteRowItem,
    TableMeta,
    TableOptions,
    UpdateRowItem,
)
from tablestore.auth import RequestContext
from tablestore.encoder import NativeEncodedBytes
from tablestore.plainbuffer.plain_buffer_builder import PlainBufferBuilder
from tablestore.retry import NoRetryPolicy

from infra.localcloud import common
from infra.localcloud.tablestore import plainbuffer
from infra.localcloud.tablestore.errors import OtsError
from infra.localcloud.tablestore.filters import row_filter
from infra.localcloud.tablestore.messages import filter_pb, pb

logging.getLogger("tablestore-client").setLevel(logging.CRITICAL)

IGNORE, EXIST, ABSENT = (
    RowExistenceExpectation.IGNORE,
    RowExistenceExpectation.EXPECT_EXIST,
    RowExistenceExpectation.EXPECT_NOT_EXIST,
)
THREE_KEYS = [("name", "STRING"), ("number", "INTEGER"), ("blob", "BINARY")]
MEBIBYTE = 1024 * 1024
_numbers = itertools.count()


class Cloud:
    """A running service over a folder, and clients for it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.service = common.start("tablestore", home)
        self.keys = common.load_keys(home)

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
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    cloud = Cloud(tmp_path_factory.mktemp("tablestore"))
    yield cloud
    cloud.service.stop()


@pytest.fixture(scope="module", params=["native-v4", "pure-v2"])
def client(cloud: Cloud, request: pytest.FixtureRequest) -> Any:
    return cloud.client(native=request.param == "native-v4", v4=request.param == "native-v4")


@pytest.fixture
def any_client(cloud: Cloud) -> Any:
    return cloud.client()


@contextmanager
def new_table(client: Any, columns: list[tuple[str, str]] | None = None) -> Iterator[str]:
    name = f"t_{next(_numbers)}"
    create(client, name, columns or [("id", "STRING")])
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


# --- tables ---------------------------------------------------------------------------------------------------


def test_a_table_is_described_as_it_was_created_until_it_is_deleted(client: Any) -> None:
    name = f"t_{next(_numbers)}"
    create(client, name, THREE_KEYS, defined=[("amount", "INTEGER"), ("note", "STRING")])
    described = client.describe_table(name)

    assert name in client.list_table()
    assert described.table_meta.schema_of_primary_key == THREE_KEYS
    assert described.table_meta.defined_columns == [("amount", "INTEGER"), ("note", "STRING")]
    assert (described.table_options.time_to_live, described.table_options.max_version) == (-1, 1)
    with refused(409, "OTSObjectAlreadyExist", "Requested table already exists."):
        create(client, name, [("id", "STRING")])
    client.delete_table(name)
    assert name not in client.list_table()
    for call in (client.describe_table, client.delete_table):
        with refused(404, "OTSObjectNotExist", "Requested table does not exist."):
            call(name)


def test_a_table_created_again_is_empty(any_client: Any) -> None:
    with new_table(any_client) as name:
        put(any_client, name, "a", ("x", 1))
        any_client.delete_table(name)
        create(any_client, name, [("id", "STRING")])

        assert read(any_client, name, "a") is None


@pytest.mark.parametrize(
    ("name", "columns", "message"),
    [
        ("1st", [("id", "STRING")], "Invalid table name: '1st'."),
        ("t" * 256, [("id", "STRING")], f"Invalid table name: '{'t' * 256}'."),
        ("ok", [], "The number of primary key columns must be in range: [1, 4]."),
        ("ok", [(f"k{i}", "STRING") for i in range(5)], "The number of primary key columns must be in range: [1, 4]."),
        ("ok", [("a", "STRING"), ("a", "INTEGER")], "Duplicated primary key name: 'a'."),
        ("ok", [("a-b", "STRING")], "Invalid column name: 'a-b'."),
        ("ok", [("a", "BOOLEAN")], "PK_BOOLEAN is an invalid type for the primary key."),
    ],
)
def test_a_malformed_table_is_refused(any_client: Any, name: str, columns: Any, message: str) -> None:
    with invalid(message):
        create(any_client, name, columns)
    assert name not in any_client.list_table()


def test_what_tables_cannot_do_here_is_said(any_client: Any) -> None:
    index = SecondaryIndexMeta("i", ["x"], [])
    cases: list[tuple[str, dict[str, Any]]] = [
        ("A time to live", {"options": TableOptions(86400, 1)}),
        ("More than one version", {"options": TableOptions(-1, 2)}),
        ("A secondary index", {"defined": [("x", "STRING")], "secondary_indexes": [index]}),
    ]
    for what, how in cases:
        with not_here(what):
            create(any_client, "unbuilt", [("id", "STRING")], **how)
    with not_here("An auto-increment primary key column"):
        create(any_client, "unbuilt", [("id", "STRING"), ("n", "INTEGER", PK_AUTO_INCR)])
    assert "unbuilt" not in any_client.list_table()


def test_an_instance_holds_64_tables(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    try:
        client = cloud.client()
        for number in range(64):
            create(client, f"t{number}", [("id", "STRING")])
        with refused(403, "OTSQuotaExhausted", "Number of tables exceeded the quota."):
            create(client, "one_more", [("id", "STRING")])
        assert len(client.list_table()) == 64
    finally:
        cloud.service.stop()


@pytest.mark.parametrize("call", ["update_table", "create_secondary_index", "exe_sql_query", "list_search_index"])
def test_operations_that_are_not_there_say_so(any_client: Any, call: str) -> None:
    calls: dict[str, tuple[str, Callable[[], Any]]] = {
        "update_table": ("UpdateTable", lambda: any_client.update_table("t", TableOptions())),
        "create_secondary_index": (
            "CreateIndex",
            lambda: any_client.create_secondary_index("t", SecondaryIndexMeta("i", ["x"], []), False),
        ),
        "exe_sql_query": ("SQLQuery", lambda: any_client.exe_sql_query("select 1")),
        "list_search_index": ("ListSearchIndex", lambda: any_client.list_search_index("t")),
    }
    api, perform = calls[call]
    with not_here(api):
        perform()


def test_a_local_transaction_is_refused_and_writes_nothing(any_client: Any, table: str) -> None:
    with not_here("StartLocalTransaction"):
        any_client.start_local_transaction(table, key("a"))
    with not_here("A local transaction"):
        any_client.put_row(table, Row(key("a"), [("x", 1)]), Condition(IGNORE), transaction_id="x")
    assert read(any_client, table, "a") is None


# --- rows -----------------------------------------------------------------------------------------------------


def test_every_type_of_value_comes_back_as_it_went(client: Any, three: str) -> None:
    columns = [
        ("big", 2**63 - 1), ("bytes", bytearray(b"\x00\xff\n")), ("double", -0.1), ("empty", ""), ("least", -(2**63)),
        ("no", False), ("text", "人民币 ¥100 é 🙂"), ("void", bytearray()), ("yes", True), ("zero", 0),
    ]  # fmt: skip
    for name, number, blob in [("例", 2**63 - 1, b""), ("", -(2**63), b"\x00\x00\xff"), ("a\x00b", -1, b"\x01")]:
        primary = [("name", name), ("number", number), ("blob", bytearray(blob))]
        client.put_row(three, Row(primary, columns), Condition(ABSENT))
        _, row, _ = client.get_row(three, primary, max_version=1)

        assert row.primary_key == primary
        assert [(column[0], column[1]) for column in row.attribute_columns] == columns
        assert [type(column[1]) for column in row.attribute_columns] == [type(value) for _, value in columns]


def test_put_replaces_the_whole_row_and_columns_come_by_name(client: Any, table: str) -> None:
    put(client, table, "a", ("old", 1), ("z", 1))
    put(client, table, "a", ("z", 2), ("b", 3))

    found = read(client, table, "a")
    assert found is not None
    assert list(found.items()) == [("b", 3), ("z", 2)]


def test_a_row_may_have_no_attributes_and_a_missing_row_is_none(client: Any, table: str) -> None:
    put(client, table, "bare")

    assert read(client, table, "bare") == {}
    assert read(client, table, "other") is None


def test_update_puts_deletes_and_counts_and_leaves_the_rest(client: Any, table: str) -> None:
    put(client, table, "a", ("keep", 1), ("drop", 2), ("change", "x"), ("count", 40))
    changes = {
        "PUT": [("change", "y"), ("new", 1.5)],
        "DELETE_ALL": ["drop", "never_there"],
        "INCREMENT": [("count", 2)],
    }
    client.update_row(table, Row(key("a"), changes), Condition(EXIST))

    assert read(client, table, "a") == {"keep": 1, "change": "y", "count": 42, "new": 1.5}
    client.update_row(table, Row(key("b"), {"INCREMENT": [("count", -5)]}), Condition(IGNORE))
    assert read(client, table, "b") == {"count": -5}
    client.update_row(table, Row(key("b"), {"DELETE_ALL": ["count"]}), Condition(IGNORE))
    assert read(client, table, "b") == {}
    client.update_row(table, Row(key("c"), {"DELETE_ALL": ["count"]}), Condition(IGNORE))
    assert read(client, table, "c") is None


def test_only_integers_count_and_not_past_64_bits(any_client: Any, table: str) -> None:
    put(any_client, table, "a", ("text", "1"), ("full", 2**63 - 1))
    for column, message in [
        ("text", "Only INTEGER columns can be incremented: 'text'."),
        ("full", "Increment overflows column 'full'."),
    ]:
        with invalid(message):
            any_client.update_row(table, Row(key("a"), {"INCREMENT": [(column, 1)]}), Condition(IGNORE))
    assert read(any_client, table, "a") == {"text": "1", "full": 2**63 - 1}


def test_delete_removes_the_row_and_a_missing_one_only_counts_when_expected(client: Any, table: str) -> None:
    put(client, table, "a", ("x", 1))
    client.delete_row(table, Row(key("a")), Condition(EXIST))

    assert read(client, table, "a") is None
    client.delete_row(table, Row(key("a")), Condition(IGNORE))
    with check_failed():
        client.delete_row(table, Row(key("a")), Condition(EXIST))


def test_a_write_gives_its_key_back_when_asked(client: Any, three: str) -> None:
    primary = [("name", "a"), ("number", 7), ("blob", bytearray(b"x"))]
    consumed, row = client.put_row(three, Row(primary, [("x", 1)]), Condition(IGNORE), ReturnType.RT_PK)
    _, silent = client.put_row(three, Row(primary, [("x", 1)]), Condition(IGNORE))

    assert row.primary_key == primary
    assert not row.attribute_columns
    assert silent is None
    assert (consumed.read, consumed.write) == (0, 1)


def test_row_existence_is_checked(client: Any, table: str) -> None:
    put(client, table, "a", ("x", 1), when=Condition(ABSENT))
    with check_failed():
        put(client, table, "a", ("x", 2), when=Condition(ABSENT))
    with check_failed():
        put(client, table, "b", ("x", 2), when=Condition(EXIST))
    with check_failed():
        client.update_row(table, Row(key("b"), {"PUT": [("x", 2)]}), Condition(EXIST))
    with invalid("Invalid row-existence expectation: EXPECT_NOT_EXIST."):
        client.update_row(table, Row(key("b"), {"PUT": [("x", 2)]}), Condition(ABSENT))

    assert (read(client, table, "a"), read(client, table, "b")) == ({"x": 1}, None)


C = ComparatorType


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (is_value("n", C.EQUAL, 5), True),
        (is_value("n", C.EQUAL, 6), False),
        (is_value("n", C.NOT_EQUAL, 6), True),
        (is_value("n", C.GREATER_THAN, -7), True),
        (is_value("n", C.GREATER_EQUAL, 5), True),
        (is_value("n", C.LESS_THAN, 5), False),
        (is_value("n", C.LESS_EQUAL, 5), True),
        (is_value("n", C.EQUAL, "5"), False),
        (is_value("n", C.NOT_EQUAL, "5"), True),
        (is_value("n", C.LESS_THAN, "9"), False),
        (is_value("s", C.LESS_THAN, "乙z"), True),
        (is_value("f", C.GREATER_THAN, 1.25), True),
        (is_value("y", C.EQUAL, True), True),
        (is_value("d", C.GREATER_THAN, bytearray(b"\x7f")), True),
        (is_value("none", C.EQUAL, 1, pass_if_missing=True), True),
        (is_value("none", C.EQUAL, 1, pass_if_missing=False), False),
        (all_of(LogicalOperator.NOT, is_value("n", C.EQUAL, 5)), False),
        (all_of(LogicalOperator.AND, is_value("n", C.EQUAL, 5), is_value("s", C.EQUAL, "no")), False),
        (all_of(LogicalOperator.OR, is_value("n", C.EQUAL, 6), is_value("s", C.EQUAL, "乙")), True),
        (
            all_of(
                LogicalOperator.AND,
                is_value("n", C.LESS_THAN, 9),
                all_of(LogicalOperator.NOT, is_value("s", C.EQUAL, "x")),
            ),
            True,
        ),
    ],
)
def test_column_conditions_guard_writes_and_filter_reads(
    any_client: Any, table: str, condition: Any, holds: bool
) -> None:
    row = {"n": 5, "s": "乙", "f": 1.5, "y": True, "d": bytearray(b"\x80")}
    put(any_client, table, "a", *row.items())
    update = Row(key("a"), {"PUT": [("won", 1)]})

    assert (read(any_client, table, "a", column_filter=condition) is not None) is holds
    if holds:
        any_client.update_row(table, update, Condition(EXIST, condition))
    else:
        with check_failed():
            any_client.update_row(table, update, Condition(EXIST, condition))
    assert read(any_client, table, "a") == row | ({"won": 1} if holds else {})


def test_a_condition_on_a_row_that_is_not_there_asks_for_missing_columns(client: Any, table: str) -> None:
    with check_failed():
        put(client, table, "a", when=Condition(IGNORE, is_value("v", C.EQUAL, 1, pass_if_missing=False)))
    assert read(client, table, "a") is None
    put(client, table, "a", ("v", 2), when=Condition(IGNORE, is_value("v", C.EQUAL, 1, pass_if_missing=True)))
    assert read(client, table, "a") == {"v": 2}


def test_more_than_ten_conditions_are_refused(any_client: Any, table: str) -> None:
    many = all_of(LogicalOperator.AND, *[is_value("n", C.EQUAL, i) for i in range(11)])
    with invalid("The count of filter exceeds the max:10."):
        read(any_client, table, "a", column_filter=many)


def test_one_of_many_writers_of_an_absent_row_wins(cloud: Cloud, table: str) -> None:
    clients, together = [cloud.client() for _ in range(8)], threading.Barrier(8)

    def attempt(writer: int, name: str) -> bool:
        together.wait()
        try:
            put(clients[writer], table, name, ("writer", writer), when=Condition(ABSENT))
        except OTSServiceError as error:
            if error.code != "OTSConditionCheckFail":
                raise
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        for number in range(25):
            won = list(pool.map(attempt, range(8), [f"race-{number}"] * 8))
            assert sum(won) == 1
            assert read(clients[0], table, f"race-{number}") == {"writer": won.index(True)}


def test_compare_and_set_loses_no_increment(cloud: Cloud, table: str) -> None:
    clients = [cloud.client() for _ in range(4)]
    put(clients[0], table, "a", ("v", 0))

    def add(client: Any) -> None:
        for _ in range(10):
            while True:
                seen = (read(client, table, "a") or {})["v"]
                condition = Condition(EXIST, is_value("v", C.EQUAL, seen, pass_if_missing=False))
                try:
                    client.update_row(table, Row(key("a"), {"PUT": [("v", seen + 1)]}), condition)
                    break
                except OTSServiceError as error:
                    if error.code != "OTSConditionCheckFail":
                        raise

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, clients))
    assert read(clients[0], table, "a") == {"v": 40}


def test_reads_take_the_columns_asked_for(client: Any, table: str) -> None:
    put(client, table, "a", ("x", 1), ("y", 2), ("z", 3))

    assert read(client, table, "a", columns_to_get=["z", "x", "absent"]) == {"x": 1, "z": 3}
    assert read(client, table, "a", columns_to_get=["absent"]) is None
    assert read(client, table, "a", columns_to_get=["id"]) == {}
    # A filter sees only what is read, so y is missing to it.
    strict = is_value("y", C.EQUAL, 2, pass_if_missing=False)
    assert read(client, table, "a", columns_to_get=["x"], column_filter=strict) is None
    assert read(client, table, "a", columns_to_get=["x", "y"], column_filter=strict) == {"x": 1, "y": 2}
    with invalid("The number of columns from the request exceeds the limit, limit count: 128, column count: 129."):
        read(client, table, "a", columns_to_get=[f"c{i}" for i in range(129)])
    with not_here("A condition on a primary key column"):
        read(client, table, "a", column_filter=is_value("id", C.EQUAL, "a"))


def test_reads_of_versions_are_checked(any_client: Any, table: str) -> None:
    with invalid("No version condition is specified while querying row."):
        any_client.get_row(table, key("a"), max_version=None)
    with not_here("Reading by time range"):
        any_client.get_row(table, key("a"), time_range=(1, 2))


# --- limits and refusals --------------------------------------------------------------------------------------

BAD_KEYS: list[tuple[list[tuple[str, Any]], str]] = [
    ([("name", "a"), ("number", 1)], "Validate PK size fail. Input: 2, Meta: 3."),
    ([("number", 1), ("name", "a"), ("blob", bytearray())], "Validate PK name fail. Input: number, Meta: name."),
    ([("name", 1), ("number", 1), ("blob", bytearray())], "Validate PK type fail. Input: VT_INTEGER, Meta: VT_STRING."),
    ([("name", "a"), ("number", 1), ("blob", "x")], "Validate PK type fail. Input: VT_STRING, Meta: VT_BLOB."),
    (
        [("name", INF_MIN), ("number", 1), ("blob", bytearray())],
        "Validate PK type fail. Input: VT_INF_MIN, Meta: VT_STRING.",
    ),
]


@pytest.mark.parametrize(("primary", "message"), BAD_KEYS)
def test_a_key_unlike_the_tables_is_refused(client: Any, three: str, primary: Any, message: str) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: client.put_row(three, Row(primary, [("x", 1)]), Condition(IGNORE)),
        lambda: client.get_row(three, primary, max_version=1),
        lambda: client.update_row(three, Row(primary, {"PUT": [("x", 1)]}), Condition(IGNORE)),
        lambda: client.delete_row(three, Row(primary), Condition(IGNORE)),
    ]
    for call in calls:
        with refused(400, "OTSInvalidPK", message):
            call()
    good = [("name", "a"), ("number", 1), ("blob", bytearray())]
    response = batch(client, **{three: [PutRowItem(Row(pk, []), Condition(IGNORE)) for pk in (primary, good)]})
    failed, done = response.get_failed_of_put(), response.get_succeed_of_put()
    assert [(item.error_code, item.error_message) for item in failed] == [("OTSInvalidPK", message)]
    assert len(done) == 1


def test_a_table_that_is_not_there_is_refused_everywhere(any_client: Any) -> None:
    get = BatchGetRowRequest()
    get.add(TableInBatchGetRowItem("nowhere", [key("a")], max_version=1))
    calls: list[Callable[[], Any]] = [
        lambda: put(any_client, "nowhere", "a"),
        lambda: read(any_client, "nowhere", "a"),
        lambda: batch(any_client, nowhere=[PutRowItem(Row(key("a"), []), Condition(IGNORE))]),
        lambda: any_client.batch_get_row(get),
        lambda: any_client.get_range("nowhere", "FORWARD", [("id", INF_MIN)], [("id", INF_MAX)], max_version=1),
    ]
    for call in calls:
        with refused(404, "OTSObjectNotExist", "Requested table does not exist."):
            call()


def test_a_column_name_is_ascii_letters_digits_and_underscores(cloud: Cloud, table: str) -> None:
    client = cloud.client()
    put(client, table, "a", ("_" + "x" * 254, 1), ("A9", 2))
    for name in ("1a", "a-b", "a b", "x" * 256, ""):
        with invalid(f"Invalid column name: '{name}'."):
            put(client, table, "a", (name, 1))
    with invalid("Duplicated attribute column name with primary key column: 'id'."):
        put(client, table, "a", ("id", 1))
    # The pure codec counts characters where bytes are meant, so what it sends is refused either way.
    for codec in (client, cloud.client(native=False)):
        with pytest.raises((OTSServiceError, OTSClientError)):
            put(codec, table, "a", ("金额", 1))
    assert read(client, table, "a") == {"_" + "x" * 254: 1, "A9": 2}


def test_a_column_may_be_named_once_in_a_write(any_client: Any, table: str) -> None:
    with invalid("Duplicated attribute column name while putting row."):
        put(any_client, table, "a", ("x", 1), ("x", 2))
    with invalid("Duplicated attribute column name while updating row."):
        any_client.update_row(table, Row(key("a"), {"PUT": [("x", 1)], "DELETE_ALL": ["x"]}), Condition(IGNORE))


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_double_is_a_number(any_client: Any, table: str, number: float) -> None:
    with pytest.raises(OTSServiceError, match="can't be set to double value"):
        put(any_client, table, "a", ("x", number))


def test_a_version_of_ones_own_is_refused(any_client: Any, table: str) -> None:
    with not_here("A cell with a timestamp of its own"):
        any_client.put_row(table, Row(key("a"), [("x", 1, 1_700_000_000_000)]), Condition(IGNORE))
    with not_here("Deleting one version of a column"):
        any_client.update_row(table, Row(key("a"), {"DELETE": [("x", None, 1_700_000_000_000)]}), Condition(IGNORE))


def test_sizes_at_the_limit_pass_and_one_byte_more_does_not(any_client: Any, table: str) -> None:
    put(any_client, table, "k" * 1024, ("x", "v" * (2 * MEBIBYTE)))
    assert read(any_client, table, "k" * 1024) == {"x": "v" * (2 * MEBIBYTE)}
    with invalid("The length of primary key column: 'id' exceeded the MaxLength:1024 with CurrentLength:1025."):
        put(any_client, table, "k" * 1025)
    length = "The length of attribute column: 'x' exceeded the MaxLength:2097152 with CurrentLength:2097153."
    for value in ("v" * (2 * MEBIBYTE + 1), bytearray(2 * MEBIBYTE + 1)):
        with invalid(length):
            put(any_client, table, "a", ("x", value))
        with invalid(length):
            any_client.update_row(table, Row(key("a"), {"PUT": [("x", value)]}), Condition(IGNORE))

    put(any_client, table, "wide", *[(f"c{i}", i) for i in range(1024)])
    many = "The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025."
    with invalid(many):
        put(any_client, table, "wide", *[(f"c{i}", i) for i in range(1025)])
    with invalid(many):
        changes = {"DELETE_ALL": [f"c{i}" for i in range(1025)]}
        any_client.update_row(table, Row(key("wide"), changes), Condition(IGNORE))


def test_a_write_carries_four_mebibytes_and_a_request_five(any_client: Any, table: str) -> None:
    def half(size: int) -> list[tuple[str, Any]]:
        return [("a", "v" * (2 * MEBIBYTE)), ("b", "v" * size)]

    most = 2 * MEBIBYTE - len("id") - len("row") - len("a") - len("b")
    put(any_client, table, "row", *half(most))
    over = f"limit size: {4 * MEBIBYTE}, data size: {4 * MEBIBYTE + 1}."
    with invalid(f"The total data size of PutRow request exceeds the limit, {over}"):
        put(any_client, table, "row", *half(most + 1))
    with invalid(f"The total data size of UpdateRow request exceeds the limit, {over}"):
        any_client.update_row(table, Row(key("row"), {"PUT": half(most + 1)}), Condition(IGNORE))
    with invalid(f"The total data size of BatchWriteRow request exceeds the limit, {over}"):
        batch(any_client, **{table: [PutRowItem(Row(key("row"), half(most + 1)), Condition(IGNORE))]})
    with refused(413, "OTSRequestBodyTooLarge", "The size of POST data is too large."):
        put(any_client, table, "row", *half(2 * MEBIBYTE), ("c", "v" * (2 * MEBIBYTE)))


# --- batches --------------------------------------------------------------------------------------------------


def test_each_row_of_a_batch_has_its_own_outcome(client: Any, table: str, three: str) -> None:
    put(client, table, "there", ("x", 1))
    primary = [("name", "a"), ("number", 1), ("blob", bytearray(b"z"))]
    response = batch(
        client,
        **{
            table: [
                PutRowItem(Row(key("new"), [("x", 2)]), Condition(ABSENT)),
                PutRowItem(Row(key("there"), [("x", 3)]), Condition(ABSENT)),
                UpdateRowItem(Row(key("other"), {"PUT": [("x", 4)]}), Condition(EXIST)),
                DeleteRowItem(Row(key("gone")), Condition(IGNORE)),
            ],
            three: [PutRowItem(Row(primary, [("x", 5)]), Condition(IGNORE), ReturnType.RT_PK)],
        },
    )

    assert not response.is_all_succeed()
    put_ok, put_failed = response.get_put()
    assert (len(put_ok), len(put_failed)) == (2, 1)
    assert (put_failed[0].error_code, put_failed[0].error_message) == (
        "OTSConditionCheckFail",
        "Condition check failed.",
    )
    assert [len(found) for found in response.get_update()] == [0, 1]
    assert [len(found) for found in response.get_delete()] == [1, 0]
    assert [read(client, table, name) for name in ("new", "there", "other")] == [{"x": 2}, {"x": 1}, None]
    assert client.get_row(three, primary, max_version=1)[1] is not None


def test_a_batch_is_refused_as_a_whole_for_its_form(any_client: Any, table: str) -> None:
    def puts(count: int) -> list[Any]:
        return [PutRowItem(Row(key(f"r{i}"), [("x", i)]), Condition(IGNORE)) for i in range(count)]

    twice = [puts(1)[0], DeleteRowItem(Row(key("r0")), Condition(IGNORE))]
    bad_name = [*puts(1), PutRowItem(Row(key("b"), [("a-b", 1)]), Condition(IGNORE))]
    for items, message in [
        (puts(201), "Rows count exceeds the upper limit: 200."),
        (twice, "Duplicate rows detected in MultiPut."),
        (bad_name, "Invalid column name: 'a-b'."),
        ([], f"No operation is specified for table:'{table}'."),
    ]:
        with invalid(message):
            batch(any_client, **{table: items})
    with invalid("No row is specified in BatchWriteRow."):
        any_client.batch_write_row(BatchWriteRowRequest())
    assert read(any_client, table, "r0") is None
    assert batch(any_client, **{table: puts(200)}).is_all_succeed()


def test_batch_get_reads_several_tables_in_the_order_asked(client: Any, table: str, three: str) -> None:
    for name in ("a", "b"):
        put(client, table, name, ("x", name), ("y", 1))
    primary = [("name", "a"), ("number", 1), ("blob", bytearray())]
    client.put_row(three, Row(primary, [("x", 1)]), Condition(IGNORE))
    request = BatchGetRowRequest()
    request.add(TableInBatchGetRowItem(table, [key("b"), key("none"), key("a")], columns_to_get=["x"], max_version=1))
    request.add(TableInBatchGetRowItem(three, [primary[:2], primary], max_version=1))
    response = client.batch_get_row(request)

    found = response.get_result_by_table(table)
    assert [item.row and item.row.primary_key for item in found] == [key("b"), None, key("a")]
    assert [column[:2] for column in found[0].row.attribute_columns] == [("x", "b")]
    short, whole = response.get_result_by_table(three)
    assert (short.is_ok, short.error_code) == (False, "OTSInvalidPK")
    assert (whole.is_ok, whole.row.primary_key) == (True, primary)


def test_batch_get_reads_100_rows(any_client: Any, table: str) -> None:
    for count in (100, 101):
        request = BatchGetRowRequest()
        request.add(TableInBatchGetRowItem(table, [key(str(i)) for i in range(count)], max_version=1))
        if count == 100:
            assert len(any_client.batch_get_row(request).get_result_by_table(table)) == 100
        else:
            with invalid("Rows count exceeds the upper limit: 100."):
                any_client.batch_get_row(request)


# --- ranges ---------------------------------------------------------------------------------------------------


def pages(client: Any, table: str, direction: str, start: Any, end: Any, **how: Any) -> Iterator[list[Any]]:
    how.setdefault("max_version", 1)
    while start is not None:
        _, start, found, _ = client.get_range(table, direction, start, end, **how)
        yield found


def test_ranges_agree_with_a_sorted_list(client: Any, three: str) -> None:
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"SEED={seed}")
    dice = random.Random(seed)  # noqa: S311 - made to be repeated
    letters = ["", "\x00", "\x01", "a", "b", "ab", "é", "\uffff", "🙂"]
    numbers = [-(2**63), -(2**32), -256, -1, 0, 1, 255, 256, 2**63 - 1]

    def random_key() -> tuple[bytes, int, bytes]:
        text = "".join(dice.choices(letters, k=2))
        return text.encode(), dice.choice(numbers), bytes(dice.choices([0, 1, 255], k=dice.randrange(3)))

    def sdk_key(at: tuple[bytes, int, bytes]) -> list[tuple[str, Any]]:
        return [("name", at[0].decode()), ("number", at[1]), ("blob", bytearray(at[2]))]

    model = sorted({random_key() for _ in range(400)})
    shuffled = dice.sample(model, len(model))
    for first in range(0, len(shuffled), 200):
        items = [PutRowItem(Row(sdk_key(at), [("x", 1)]), Condition(ABSENT)) for at in shuffled[first : first + 200]]
        assert batch(client, **{three: items}).is_all_succeed()

    for _ in range(30):
        low, high = sorted([random_key(), random_key()])
        if low == high:
            continue
        limit = dice.choice([1, 7, 100, None]) if high[0][:1] == low[0][:1] else dice.choice([50, None])
        forward = [
            row.primary_key
            for page in pages(client, three, "FORWARD", sdk_key(low), sdk_key(high), limit=limit)
            for row in page
        ]
        assert forward == [sdk_key(at) for at in model if low <= at < high]
        back = [
            row.primary_key
            for page in pages(client, three, "BACKWARD", sdk_key(high), sdk_key(low), limit=limit)
            for row in page
        ]
        assert back == [sdk_key(at) for at in reversed(model) if low < at <= high]

    some = dice.choice(model)[0]
    prefix = [[("name", some.decode()), ("number", end), ("blob", end)] for end in (INF_MIN, INF_MAX)]
    found = [row.primary_key for page in pages(client, three, "BACKWARD", prefix[1], prefix[0]) for row in page]
    assert found == [sdk_key(at) for at in reversed(model) if at[0] == some]


@pytest.mark.parametrize("direction", ["FORWARD", "BACKWARD"])
def test_a_page_ends_after_5000_rows_scanned(any_client: Any, direction: str) -> None:
    with new_table(any_client, [("n", "INTEGER")]) as name:
        for first in range(0, 5200, 200):
            items = [
                PutRowItem(Row([("n", n)], [("even", n % 2)]), Condition(IGNORE)) for n in range(first, first + 200)
            ]
            assert batch(any_client, **{name: items}).is_all_succeed()
        ends = [[("n", INF_MIN)], [("n", INF_MAX)]]
        start, end = ends if direction == "FORWARD" else reversed(ends)
        numbers = list(range(5200)) if direction == "FORWARD" else list(range(5199, -1, -1))

        whole = list(pages(any_client, name, direction, start, end))
        assert [len(page) for page in whole] == [5000, 200]
        assert [row.primary_key[0][1] for page in whole for row in page] == numbers
        odd = list(pages(any_client, name, direction, start, end, column_filter=is_value("even", C.EQUAL, 1)))
        assert [len(page) for page in odd] == [2500, 100]
        none = list(pages(any_client, name, direction, start, end, column_filter=is_value("even", C.EQUAL, 2)))
        assert [len(page) for page in none] == [0, 0]
        first_three = any_client.get_range(name, direction, start, end, limit=3, max_version=1)
        assert [row.primary_key for row in first_three[2]] == [[("n", n)] for n in numbers[:3]]
        assert first_three[1] == [("n", numbers[3])]


@pytest.mark.parametrize("direction", ["FORWARD", "BACKWARD"])
def test_a_page_ends_before_4_mebibytes_are_scanned(any_client: Any, direction: str) -> None:
    with new_table(any_client, [("n", "INTEGER")]) as name:
        for first in range(0, 60, 30):
            items = [
                PutRowItem(Row([("n", n)], [("x", "v" * 100_000)]), Condition(IGNORE)) for n in range(first, first + 30)
            ]
            assert batch(any_client, **{name: items}).is_all_succeed()
        ends = [[("n", INF_MIN)], [("n", INF_MAX)]]
        start, end = ends if direction == "FORWARD" else reversed(ends)

        for how in ({}, {"columns_to_get": ["absent"]}):
            found = list(pages(any_client, name, direction, start, end, **how))
            assert [len(page) for page in found] == ([0, 0] if how else [41, 19])
        numbers = [row.primary_key[0][1] for page in pages(any_client, name, direction, start, end) for row in page]
        assert numbers == (list(range(60)) if direction == "FORWARD" else list(range(59, -1, -1)))


def test_ranges_the_wrong_way_round_are_refused(any_client: Any, table: str) -> None:
    low, high = [("id", "a")], [("id", "b")]
    for direction, start, end, word in [
        ("FORWARD", high, low, "less"), ("FORWARD", low, low, "less"), ("BACKWARD", low, high, "more"),
    ]:  # fmt: skip
        with invalid(f"Begin key must {word} than end key in {direction}"):
            any_client.get_range(table, direction, start, end, max_version=1)
    with invalid("The limit must be greater than 0."):
        any_client.get_range(table, "FORWARD", low, high, limit=0, max_version=1)
    with refused(400, "OTSInvalidPK", "Validate PK name fail. Input: x, Meta: id."):
        any_client.get_range(table, "FORWARD", [("x", INF_MIN)], high, max_version=1)


# --- who may call ---------------------------------------------------------------------------------------------


def send(
    cloud: Cloud, client: Any, api: str, *arguments: Any, path: str = "", **changed: str | None
) -> tuple[int, str, str]:
    """Send a request as the SDK signed it, with some headers changed afterwards; status, code and text."""
    context = RequestContext(client.credentials_provider.get_credentials())
    query, headers, body = client.protocol.make_request(api, client._signer, context, *arguments)
    for name, value in changed.items():
        header = f"x-ots-{name}"
        if value is None:
            del headers[header]
        else:
            headers[header] = value
    connection = http.client.HTTPConnection("127.0.0.1", cloud.service.port, timeout=10)
    connection.request("POST", path or query, body, headers)
    response = connection.getresponse()
    answer = response.read()
    assert response.headers["x-ots-requestid"]
    connection.close()
    error = pb.Error.FromString(answer) if response.status != 200 else pb.Error(code="", message="")
    return response.status, error.code, error.message


@pytest.mark.parametrize("v4", [True, False], ids=["v4", "v2"])
def test_a_request_is_as_it_was_signed_or_refused(cloud: Cloud, v4: bool) -> None:
    client, signature = cloud.client(v4=v4), "signaturev4" if v4 else "signature"
    unsigned: dict[str, Any] = {signature: None}
    mismatch = (403, "OTSAuthFailed", "Signature mismatch.")

    assert send(cloud, client, "ListTable")[0] == 200
    assert send(cloud, client, "ListTable", **{signature: "A" * 27 + "="}) == mismatch
    assert send(cloud, client, "ListTable", extra="header") == mismatch
    assert send(cloud, client, "ListTable", path="/DeleteTable") == mismatch
    assert send(cloud, client, "ListTable", **unsigned) == (
        400,
        "OTSParameterInvalid",
        "Missing header: 'x-ots-signature'.",
    )
    assert send(cloud, client, "ListTable", date=None) == (400, "OTSParameterInvalid", "Missing header: 'x-ots-date'.")
    with refused(403, "OTSAuthFailed", "Signature mismatch."):
        cloud.client(v4=v4, secret="wrong").list_table()
    with refused(403, "OTSAuthFailed", "The AccessKeyID does not exist."):
        cloud.client(v4=v4, access_key_id="LTAIstranger").list_table()
    with refused(403, "OTSAuthFailed", "The instance is not found."):
        cloud.client(v4=v4, instance="elsewhere").list_table()


def test_a_v4_signature_holds_for_its_region_and_day(cloud: Cloud) -> None:
    yesterday = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y%m%d")
    stale = cloud.client()
    stale._signer.sign_date, stale._signer.auto_update_v4_sign = yesterday, False
    for client in (stale, cloud.client(region="cn-beijing")):
        with refused(403, "OTSAuthFailed", "Signature mismatch."):
            client.list_table()


def test_a_body_must_have_its_md5(cloud: Cloud) -> None:
    client = cloud.client()
    client.protocol.extra_headers = {"x-ots-contentmd5": "1B2M2Y8AsgTpgAmY7PhCfg=="}  # of nothing; signed as such
    with refused(403, "OTSAuthFailed", "Mismatch between MD5 value of request body and x-ots-contentmd5 in header."):
        client.describe_table("t")


@pytest.mark.parametrize(("minutes", "accepted"), [(-16, False), (-14, True), (14, True), (16, False)])
def test_the_date_may_be_15_minutes_off(cloud: Cloud, minutes: int, accepted: bool) -> None:
    client = cloud.client()
    date = (datetime.now(UTC) + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    client.protocol.extra_headers = {"x-ots-date": date}
    if accepted:
        client.list_table()
    else:
        with refused(403, "OTSAuthFailed", f"Mismatch between system time and x-ots-date: {date}."):
            client.list_table()
    client.protocol.extra_headers = {"x-ots-date": "yesterday"}
    with invalid("Invalid date format: yesterday."):
        client.list_table()


def test_only_post_is_served(cloud: Cloud) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", cloud.service.port, timeout=10)
    connection.request("GET", "/ListTable")
    response = connection.getresponse()
    error = pb.Error.FromString(response.read())

    assert (response.status, error.code) == (405, "OTSMethodNotAllowed")
    assert response.headers["x-ots-requestid"]


def test_a_body_that_is_not_the_message_is_refused(cloud: Cloud, table: str) -> None:
    client = cloud.client()
    for message, text in [
        (b"", "Cannot deserialize the request data."),
        (pb.DescribeTableRequest(table_name=table).SerializeToString(), "Cannot deserialize the request data."),
        (b"\xff\xff", "Parse PBMessage from RawString failed."),
    ]:
        client.protocol.encoder.encode_request = lambda *_, body=message: NativeEncodedBytes(body)
        with invalid(text):
            client._request_helper("PutRow")


# --- what is remembered ---------------------------------------------------------------------------------------


def test_rows_and_tables_are_there_after_a_restart(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    create(first.client(), "t", [("id", "STRING")])
    put(first.client(), "t", "a", ("x", "值"), ("y", 2))
    first.service.stop()

    second = Cloud(tmp_path)
    try:
        assert second.client().list_table() == ("t",)
        assert read(second.client(), "t", "a") == {"x": "值", "y": 2}
        with check_failed():
            put(second.client(), "t", "a", when=Condition(ABSENT))
    finally:
        second.service.stop()


def test_a_second_service_over_the_same_folder_does_not_start(cloud: Cloud) -> None:
    with pytest.raises(common.LocalCloudError, match="end the other local Tablestore"):
        common.start("tablestore", cloud.home)


def test_no_acknowledged_write_is_lost_when_the_service_is_killed(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    create(first.client(), "t", [("id", "STRING")])
    acknowledged: list[int] = []
    enough = threading.Event()

    def write() -> None:
        client = first.client()
        for number in itertools.count():
            items = [PutRowItem(Row(key(f"{number}-{i}"), [("x", number)]), Condition(ABSENT)) for i in range(20)]
            try:
                assert batch(client, t=items).is_all_succeed()
            except Exception:  # the service is gone
                return
            acknowledged.append(number)
            if len(acknowledged) == 40:
                enough.set()

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(20)
    os.kill(first.service.process.pid, signal.SIGKILL)
    writer.join()
    first.service.stop()

    second = Cloud(tmp_path)
    try:
        found = [
            r.primary_key[0][1]
            for page in pages(second.client(), "t", "FORWARD", [("id", INF_MIN)], [("id", INF_MAX)])
            for r in page
        ]
        assert {f"{number}-{i}" for number in acknowledged for i in range(20)} <= set(found)
        assert len(found) % 20 == 0  # a batch that was under way is there in full or not at all
    finally:
        second.service.stop()


# --- the encoding ---------------------------------------------------------------------------------------------

# A row with primary key k = "ab", attributes n = -1 and b = true, written out by hand.
PUT_BYTES = bytes.fromhex(
    "75000000" "01" "03 04 01000000 6b 05 07000000 03 02000000 6162 0a e2"
    "02" "03 04 01000000 6e 05 09000000 00 ffffffffffffffff 0a 8c"
    "03 04 01000000 62 05 02000000 02 01 0a 3e" "09 96"
)  # fmt: skip
# k = 1; put s = "é", delete all of d, count c up by 2.
UPDATE_BYTES = bytes.fromhex(
    "75000000" "01" "03 04 01000000 6b 05 09000000 00 0100000000000000 0a 87"
    "02" "03 04 01000000 73 05 07000000 03 02000000 c3a9 0a 00" "03 04 01000000 64 06 01 0a a6"
    "03 04 01000000 63 05 09000000 00 0200000000000000 06 04 0a f3" "09 a0"
)  # fmt: skip
DELETE_BYTES = bytes.fromhex("75000000 01 03 04 01000000 6b 05 09000000 00 0100000000000000 0a 87 08 09 da")
BOUND_BYTES = bytes.fromhex(
    "75000000 01 03 04 01000000 6b 05 01000000 09 0a 5d 03 04 01000000 6c 05 01000000 0a 0a 3f 09 8f"
)


def test_the_bytes_by_hand_are_those_of_the_sdk() -> None:
    build = PlainBufferBuilder
    assert build.serialize_for_put_row([("k", "ab")], [("n", -1), ("b", True)]) == PUT_BYTES
    changes = {"PUT": [("s", "é")], "DELETE_ALL": ["d"], "INCREMENT": [("c", 2)]}
    assert build.serialize_for_update_row([("k", 1)], changes) == UPDATE_BYTES
    assert build.serialize_for_delete_row([("k", 1)]) == DELETE_BYTES
    assert build.serialize_primary_key([("k", INF_MIN), ("l", INF_MAX)]) == BOUND_BYTES


def test_rows_by_hand_are_read() -> None:
    text = b"\x03\x02\x00\x00\x00"
    put_row = plainbuffer.read_change(PUT_BYTES)
    assert [(cell.name, cell.value) for cell in put_row.key] == [(b"k", text + b"ab")]
    assert [(cell.name, cell.value) for cell in put_row.cells] == [(b"n", b"\x00" + b"\xff" * 8), (b"b", b"\x02\x01")]
    update = plainbuffer.read_change(UPDATE_BYTES)
    assert [(cell.name, cell.value, cell.op) for cell in update.cells] == [
        (b"s", text + "é".encode(), 0), (b"d", b"", plainbuffer.DELETE_ALL),
        (b"c", struct.pack("<Bq", 0, 2), plainbuffer.INCREMENT),
    ]  # fmt: skip
    assert plainbuffer.read_change(DELETE_BYTES).deleted
    assert [cell.value for cell in plainbuffer.read_change(BOUND_BYTES).key] == [b"\x09", b"\x0a"]


def test_a_stored_row_is_the_row_sent_with_its_version() -> None:
    cells, position = plainbuffer.read_key(PUT_BYTES)
    checks, names = bytes([cell.check for cell in cells]), plainbuffer.Names([b"k"])
    stored = plainbuffer.read_put_cells(PUT_BYTES, position, checks, names, plainbuffer.Stamps(1))
    row = plainbuffer.join_row(PUT_BYTES[4:position], checks, stored)

    again = plainbuffer.read_change(plainbuffer.HEADER + row)  # verifies every checksum
    assert [(cell.name, cell.timestamp) for cell in again.cells] == [(b"b", 1), (b"n", 1)]
    assert plainbuffer.split_row(row).cells == stored
    assert plainbuffer.cell_value(b"b", stored[b"b"]) == b"\x02\x01"
    assert plainbuffer.only_key(row) == PlainBufferBuilder.serialize_primary_key([("k", "ab")])


@pytest.mark.parametrize(
    "data", [PUT_BYTES, UPDATE_BYTES, DELETE_BYTES, BOUND_BYTES], ids=["put", "update", "delete", "bound"]
)
def test_no_damaged_shortened_or_lengthened_row_is_read(data: bytes) -> None:
    for place, bit in itertools.product(range(len(data)), range(8)):
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        with pytest.raises(OtsError):
            plainbuffer.read_change(bytes(damaged))
    for length in range(len(data)):
        with pytest.raises(OtsError):
            plainbuffer.read_change(data[:length])
    with pytest.raises(OtsError, match="has more data"):
        plainbuffer.read_change(data + b"\x09")


def test_no_damaged_row_is_put() -> None:
    def put_bytes(data: bytes) -> None:
        cells, position = plainbuffer.read_key(data)
        checks = bytes([cell.check for cell in cells])
        plainbuffer.read_put_cells(data, position, checks, plainbuffer.Names([b"k"]), plainbuffer.Stamps(1))

    put_bytes(PUT_BYTES)
    for place, bit in itertools.product(range(len(PUT_BYTES)), range(8)):
        damaged = bytearray(PUT_BYTES)
        damaged[place] ^= 1 << bit
        with pytest.raises(OtsError):
            put_bytes(bytes(damaged))


def test_the_crc_by_table_is_the_crc_in_c() -> None:
    by_table = plainbuffer._table_crc8()
    assert by_table(b"123456789", 0) == plainbuffer.crc8(b"123456789", 0) == 0xF4
    for data in (b"", b"\x00" * 9, bytes(range(256))):
        assert [by_table(data, start) for start in range(256)] == [
            plainbuffer.crc8(data, start) for start in range(256)
        ]


def test_a_page_of_columns_is_taken_by_name() -> None:
    page = filter_pb.ColumnPaginationFilter(offset=1, limit=2)
    whole = filter_pb.Filter(type=filter_pb.FT_COLUMN_PAGINATION, filter=page.SerializeToString())
    taken = row_filter(whole.SerializeToString(), [])

    assert list(taken.page({b"d": b"4", b"a": b"1", b"c": b"3", b"b": b"2"})) == [b"b", b"c"]
    page.limit = 0
    whole.filter = page.SerializeToString()
    with pytest.raises(OtsError, match="Limit in ColumnPaginationFilter must be greater than 0"):
        row_filter(whole.SerializeToString(), [])
