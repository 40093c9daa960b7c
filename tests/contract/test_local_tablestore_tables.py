"""The local Tablestore's tables, as the genuine SDK makes, changes and describes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tablestore import (
    CapacityUnit,
    OTSClientError,
    ReservedThroughput,
    TableOptions,
)

from infra.localcloud.tablestore import tables
from infra.localcloud.tablestore.messages import pb
from tests.contract.tablestore_cloud import (
    THREE_KEYS,
    Cloud,
    create,
    fresh_name,
    invalid,
    new_table,
    not_here,
    put,
    read,
    refused,
    without_wire,
)


def test_a_table_is_described_as_it_was_created_until_it_is_deleted(client: Any) -> None:
    name = fresh_name()
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


def test_a_description_says_that_the_table_is_active(tmp_path: Path) -> None:
    with without_wire(tmp_path) as store:
        described = tables.describe_table(store, pb.DescribeTableRequest(table_name="t")).SerializeToString()

    status = b"\x20\x01"  # field 4, the number 1: unknown to the Python SDK, demanded by others
    assert described.endswith(status)
    assert pb.DescribeTableResponse.FromString(described).table_meta.table_name == "t"


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
    with not_here("A table without UpdateRow"):
        create(any_client, "unbuilt", [("id", "STRING")], TableOptions(allow_update=False))
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


@pytest.mark.parametrize("call", ["exe_sql_query", "list_search_index"])
def test_operations_that_are_not_there_say_so(any_client: Any, call: str) -> None:
    calls: dict[str, tuple[str, Callable[[], Any]]] = {
        "exe_sql_query": ("SQLQuery", lambda: any_client.exe_sql_query("select 1")),
        "list_search_index": ("ListSearchIndex", lambda: any_client.list_search_index("t")),
    }
    api, perform = calls[call]
    with not_here(api):
        perform()


# --- changes --------------------------------------------------------------------------------------------------

JUNE = datetime(2025, 6, 10, 12, tzinfo=UTC)
THROTTLED = (403, "OTSTooFrequentReservedThroughputAdjustment", "Capacity unit adjustment is too frequent.")


@pytest.fixture
def june(ots: Cloud) -> Iterator[None]:
    ots.clock.set(JUNE)
    yield
    ots.clock.set(None)


def throughput(read: int, write: int) -> Any:
    return ReservedThroughput(CapacityUnit(read, write))


def test_the_options_of_a_table_change_as_often_as_wanted(client: Any, table: str) -> None:
    for life, versions, deviation in [(86400, 2, 7), (-1, 500, 9223372036854), (200_000, 1, 0)]:
        answer = client.update_table(table, TableOptions(life, versions, deviation))
        for options in (answer.table_options, client.describe_table(table).table_options):
            found = (options.time_to_live, options.max_version, options.max_time_deviation)
            assert found == (life, versions, deviation)
    client.update_table(table, TableOptions(None, 3, None))
    options = client.describe_table(table).table_options
    assert (options.time_to_live, options.max_version, options.max_time_deviation) == (200_000, 3, 0)


def test_a_changed_table_is_still_changed_after_a_restart(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    create(first.client(), "t", [("id", "STRING")])
    first.client().update_table("t", TableOptions(86400, 5, 60))
    first.service.stop()

    second = Cloud(tmp_path)
    try:
        options = second.client().describe_table("t").table_options
        assert (options.time_to_live, options.max_version, options.max_time_deviation) == (86400, 5, 60)
    finally:
        second.service.stop()


@pytest.mark.usefixtures("june")
def test_throughput_changes_once_in_two_minutes_of_business_time(ots: Cloud, client: Any) -> None:
    with new_table(client) as table:
        for seconds, wanted in [(120, (10, 20)), (240, (5, 30))]:
            ots.clock.set(JUNE + timedelta(seconds=seconds - 1))
            with refused(*THROTTLED):
                client.update_table(table, reserved_throughput=throughput(*wanted))
            client.update_table(table, TableOptions())
            ots.clock.set(JUNE + timedelta(seconds=seconds))
            answer = client.update_table(table, reserved_throughput=throughput(*wanted))
            for details in (
                answer.reserved_throughput_details,
                client.describe_table(table).reserved_throughput_details,
            ):
                assert (details.capacity_unit.read, details.capacity_unit.write) == wanted
                assert details.last_increase_time == int(JUNE.timestamp()) + seconds
        assert details.last_decrease_time == int(JUNE.timestamp()) + 240
        ots.clock.set(JUNE + timedelta(days=-1))  # set back, the change just made is none of this time
        client.update_table(table, reserved_throughput=throughput(1, 1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (TableOptions(0, 1), "TimeToLive cannot be 0 or less than -1."),
        (TableOptions(-2, 1), "TimeToLive cannot be 0 or less than -1."),
        (TableOptions(86399, 1), "TimeToLive cannot be less than 86400."),
        (TableOptions(-1, 0), "The maximum versions cannot be less than or equal to 0."),
        (TableOptions(-1, 1, -1), "The maximum deviation must be in range [0, INT64_MAX/1000000]."),
        (TableOptions(-1, 1, 9223372036855), "The maximum deviation must be in range [0, INT64_MAX/1000000]."),
    ],
)
def test_options_no_table_can_have_are_refused(any_client: Any, table: str, options: Any, message: str) -> None:
    with invalid(message):
        any_client.update_table(table, options)
    with invalid(message):
        create(any_client, "unbuilt", [("id", "STRING")], options)
    assert any_client.describe_table(table).table_options.time_to_live == -1


def test_a_change_of_nothing_and_of_no_table_is_refused(any_client: Any, table: str) -> None:
    with invalid("No parameter is specified in table options."):
        any_client.update_table(table, TableOptions(None, None, None))
    with invalid("No parameter is specified in table options."):
        any_client.update_table(table)
    with invalid("Invalid Capacity Unit:-3 . Capacity Unit must be nonnegative."):
        any_client.update_table(table, reserved_throughput=throughput(-3, 1))
    with pytest.raises(OTSClientError, match="at least one of read or write"):  # the SDK refuses it itself
        any_client.update_table(table, reserved_throughput=ReservedThroughput(CapacityUnit(None, None)))
    with refused(404, "OTSObjectNotExist", "Requested table does not exist."):
        any_client.update_table("nowhere", TableOptions())
