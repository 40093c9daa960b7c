"""Local transactions of the local Tablestore: the rows of one partition key value, changed together or not at all."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
    PK_AUTO_INCR,
    BatchWriteRowRequest,
    Condition,
    DeleteRowItem,
    OTSServiceError,
    PutRowItem,
    Row,
    TableInBatchWriteRowItem,
    TableOptions,
    UpdateRowItem,
)
from tablestore.plainbuffer.plain_buffer_builder import PlainBufferBuilder

from infra.localcloud.tablestore import transactions
from infra.localcloud.tablestore.errors import OtsError
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.state import Store
from infra.localcloud.tablestore.writes import put_row
from tests.contract.tablestore_cloud import (
    ABSENT,
    EXIST,
    IGNORE,
    MEBIBYTE,
    Cloud,
    check_failed,
    create,
    invalid,
    new_table,
    refused,
    without_wire,
)

PARTED = [("part", "STRING"), ("n", "INTEGER")]
UNKNOWN = "0" * 32


@pytest.fixture
def parted(any_client: Any) -> Iterator[str]:
    with new_table(any_client, PARTED) as name:
        yield name


def at(part: str, n: int) -> list[tuple[str, Any]]:
    return [("part", part), ("n", n)]


def put(
    client: Any, table: str, part: str, n: int, transaction: str | None = None, when: Any = None, x: Any = 1
) -> None:
    row = Row(at(part, n), [("x", x)])
    client.put_row(table, row, when or Condition(IGNORE), transaction_id=transaction)


def get(client: Any, table: str, part: str, n: int, transaction: str | None = None) -> Any:
    row = client.get_row(table, at(part, n), max_version=1, transaction_id=transaction)[1]
    return None if row is None else row.attribute_columns[0][1]


def begin(client: Any, table: str, part: str = "a") -> str:
    return str(client.start_local_transaction(table, [("part", part)]))


def scan(client: Any, table: str, direction: str = "FORWARD", **how: Any) -> list[int]:
    ends = [[("part", "a"), ("n", end)] for end in (INF_MIN, INF_MAX)]
    start, end = ends if direction == "FORWARD" else reversed(ends)
    rows = client.get_range(table, direction, start, end, max_version=1, **how)[2]
    return [row.primary_key[1][1] for row in rows]


def batch_in(client: Any, transaction: str | None, table: str, items: list[Any]) -> Any:
    request = BatchWriteRowRequest()
    request.add(TableInBatchWriteRowItem(table, items))
    if transaction is not None:
        request.set_transaction_id(transaction)
    return client.batch_write_row(request)


def conflict() -> Any:
    return refused(409, "OTSRowOperationConflict", "Data is being modified by the other request.")


def missing() -> Any:
    return refused(404, "OTSSessionNotExist", "Session not exist or may be timeout.")


def test_changes_are_seen_inside_at_once_and_outside_after_the_commit(client: Any, parted: str) -> None:
    put(client, parted, "a", 1, x="old")
    put(client, parted, "a", 2)
    inside = begin(client, parted)
    put(client, parted, "a", 1, inside, x="new")
    client.delete_row(parted, Row(at("a", 2)), Condition(EXIST), transaction_id=inside)
    client.update_row(parted, Row(at("a", 3), {"INCREMENT": [("x", 5)]}), Condition(IGNORE), transaction_id=inside)
    client.update_row(parted, Row(at("a", 3), {"INCREMENT": [("x", 1)]}), Condition(EXIST), transaction_id=inside)

    assert [get(client, parted, "a", n, inside) for n in (1, 2, 3)] == ["new", None, 6]
    assert [get(client, parted, "a", n) for n in (1, 2, 3)] == ["old", 1, None]
    client.commit_transaction(inside)
    assert [get(client, parted, "a", n) for n in (1, 2, 3)] == ["new", None, 6]


def test_an_aborted_transaction_has_changed_nothing(client: Any, parted: str) -> None:
    put(client, parted, "a", 1, x="old")
    inside = begin(client, parted)
    put(client, parted, "a", 1, inside, x="new")
    put(client, parted, "a", 2, inside)
    client.abort_transaction(inside)

    assert [get(client, parted, "a", n) for n in (1, 2)] == ["old", None]


@pytest.mark.parametrize("direction", ["FORWARD", "BACKWARD"])
def test_a_range_inside_is_of_rows_old_and_new(client: Any, parted: str, direction: str) -> None:
    for n in (1, 3, 5):
        put(client, parted, "a", n)
    inside = begin(client, parted)
    for n in (0, 3, 4, 9):
        put(client, parted, "a", n, inside)
    client.delete_row(parted, Row(at("a", 5)), Condition(EXIST), transaction_id=inside)

    expected = [0, 1, 3, 4, 9] if direction == "FORWARD" else [9, 4, 3, 1, 0]
    assert scan(client, parted, direction, transaction_id=inside) == expected
    assert scan(client, parted, direction, transaction_id=inside, limit=2) == expected[:2]
    assert scan(client, parted) == [1, 3, 5]
    client.commit_transaction(inside)
    assert scan(client, parted, direction) == expected


def test_conditions_inside_are_of_the_rows_inside(client: Any, parted: str) -> None:
    inside = begin(client, parted)
    put(client, parted, "a", 1, inside, Condition(ABSENT))
    with check_failed():
        put(client, parted, "a", 1, inside, Condition(ABSENT))
    put(client, parted, "a", 1, inside, Condition(EXIST), x=2)
    with check_failed():
        put(client, parted, "a", 2, inside, Condition(EXIST))
    client.commit_transaction(inside)  # a refused change has not ended it

    assert [get(client, parted, "a", n) for n in (1, 2)] == [2, None]


def test_a_batch_inside_is_kept_with_the_rest(client: Any, parted: str) -> None:
    put(client, parted, "a", 3)
    inside = begin(client, parted)
    items = [
        PutRowItem(Row(at("a", 1), [("x", 1)]), Condition(IGNORE)),
        UpdateRowItem(Row(at("a", 2), {"PUT": [("x", 2)]}), Condition(IGNORE)),
        DeleteRowItem(Row(at("a", 3)), Condition(IGNORE)),
        PutRowItem(Row(at("b", 1), [("x", 1)]), Condition(IGNORE)),
    ]
    response = batch_in(client, inside, parted, items)

    failed = response.get_failed_of_put()
    assert [(item.error_code, item.error_message) for item in failed] == [
        ("OTSDataOutOfRange", "Data out of scope of transaction. Transaction PartKey:a. Data PartKey:b")
    ]
    assert scan(client, parted) == [3]
    client.commit_transaction(inside)
    assert scan(client, parted) == [1, 2]


def test_an_open_transaction_locks_its_partition_and_no_other(client: Any, parted: str) -> None:
    put(client, parted, "a", 1)
    inside = begin(client, parted)
    writes: list[Any] = [
        lambda: put(client, parted, "a", 1),
        lambda: put(client, parted, "a", 7),
        lambda: client.update_row(parted, Row(at("a", 1), {"PUT": [("x", 2)]}), Condition(IGNORE)),
        lambda: client.delete_row(parted, Row(at("a", 1)), Condition(IGNORE)),
        lambda: begin(client, parted),
    ]
    for write in writes:
        with conflict():
            write()
    items = [PutRowItem(Row(at(part, 2), [("x", 1)]), Condition(IGNORE)) for part in ("a", "ab")]
    response = batch_in(client, None, parted, items)
    assert [item.error_code for item in response.get_failed_of_put()] == ["OTSRowOperationConflict"]
    assert get(client, parted, "ab", 2) == 1
    other = begin(client, parted, "b")
    client.abort_transaction(inside)
    put(client, parted, "a", 1, x="free")

    assert get(client, parted, "a", 1) == "free"
    client.commit_transaction(other)


def test_a_transaction_is_for_its_own_partition_and_table(client: Any, parted: str) -> None:
    inside = begin(client, parted)
    out = refused(400, "OTSDataOutOfRange", "Data out of scope of transaction. Transaction PartKey:a. Data PartKey:b")
    with out:
        put(client, parted, "b", 1, inside)
    with refused(400, "OTSDataOutOfRange", "Data out of scope of transaction. Transaction PartKey:a. Data PartKey:b"):
        get(client, parted, "b", 1, inside)
    with refused(
        400, "OTSDataOutOfRange", "Data out of scope of transaction. Transaction PartKey:a. Data PartKey:INF_MAX"
    ):
        ends = [("part", INF_MAX), ("n", INF_MAX)]
        client.get_range(parted, "FORWARD", at("a", 1), ends, max_version=1, transaction_id=inside)
    with new_table(client, PARTED) as elsewhere:
        text = f"Data out of scope of transaction. Transaction Table:{parted}. Data Table:{elsewhere}"
        with refused(400, "OTSDataOutOfRange", text):
            put(client, elsewhere, "a", 1, inside)
        put(client, elsewhere, "a", 1)
    client.abort_transaction(inside)


@pytest.mark.parametrize(
    ("kind", "value", "other", "shown"),
    [
        ("INTEGER", -5, 7, ("-5", "7")),
        ("BINARY", bytearray(b"\x00\x01"), bytearray(b"z"), ("\x00\x01", "z")),
        ("STRING", "甲\x00", "甲", ("甲\x00", "甲")),
    ],
)
def test_partition_keys_of_every_type_are_told_apart(
    any_client: Any, kind: str, value: Any, other: Any, shown: tuple[str, str]
) -> None:
    with new_table(any_client, [("part", kind), ("n", "INTEGER")]) as table:
        inside = any_client.start_local_transaction(table, [("part", value)])
        text = f"Data out of scope of transaction. Transaction PartKey:{shown[0]}. Data PartKey:{shown[1]}"
        with refused(400, "OTSDataOutOfRange", text):
            any_client.put_row(table, Row([("part", other), ("n", 1)], []), transaction_id=inside)
        any_client.put_row(table, Row([("part", other), ("n", 1)], []))
        any_client.put_row(table, Row([("part", value), ("n", 1)], []), transaction_id=inside)
        any_client.commit_transaction(inside)
        assert any_client.get_row(table, [("part", value), ("n", 1)], max_version=1)[1] is not None


def test_a_transaction_that_is_over_or_never_was_is_refused(client: Any, parted: str) -> None:
    over = begin(client, parted)
    client.commit_transaction(over)
    aborted = begin(client, parted)
    client.abort_transaction(aborted)
    for name in (over, aborted, UNKNOWN):
        calls: list[Any] = [
            lambda name=name: client.commit_transaction(name),
            lambda name=name: client.abort_transaction(name),
            lambda name=name: put(client, parted, "a", 1, name),
            lambda name=name: get(client, parted, "a", 1, name),
            lambda name=name: scan(client, parted, transaction_id=name),
            lambda name=name: batch_in(
                client, name, parted, [PutRowItem(Row(at("a", 1), [("x", 1)]), Condition(IGNORE))]
            ),
        ]
        for call in calls:
            with missing():
                call()
    for call in (client.commit_transaction, client.abort_transaction):
        for name in ("", "fake_transaction_id"):
            with invalid("TransactionID is invalid."):
                call(name)
    assert get(client, parted, "a", 1) is None


def test_a_transaction_begins_on_one_column_of_a_table_that_allows_it(any_client: Any, parted: str) -> None:
    with invalid("StartLocalTransaction support only one primary key."):
        any_client.start_local_transaction(parted, at("a", 1))
    with refused(400, "OTSInvalidPK", "Validate PK type fail. Input: VT_INTEGER, Meta: VT_STRING."):
        any_client.start_local_transaction(parted, [("part", 1)])
    with refused(400, "OTSInvalidPK", "Validate PK name fail. Input: other, Meta: part."):
        any_client.start_local_transaction(parted, [("other", "a")])
    with invalid("Invalid table name: ''."):
        any_client.start_local_transaction("", [("part", "a")])
    with refused(404, "OTSObjectNotExist", "Requested table does not exist."):
        any_client.start_local_transaction("nowhere", [("part", "a")])
    with (
        new_table(any_client, [("part", "STRING"), ("n", "INTEGER", PK_AUTO_INCR)]) as numbered,
        invalid("Try to call method using explicit transaction on explicit-transaction-disabled table."),
    ):
        begin(any_client, numbered)


def test_a_transaction_writes_four_mebibytes(any_client: Any, parted: str) -> None:
    inside = begin(any_client, parted)
    most = 2 * MEBIBYTE - 1000
    put(any_client, parted, "a", 1, inside, x="v" * most)
    put(any_client, parted, "a", 2, inside, x="v" * most)
    with refused(400, "OTSOutOfTransactionDataSizeLimit", "The data size of the transaction exceeds the limit."):
        put(any_client, parted, "a", 3, inside, x="v" * 4000)
    put(any_client, parted, "a", 4, inside)
    any_client.commit_transaction(inside)
    assert scan(any_client, parted) == [1, 2, 4]


def test_a_deleted_table_ends_its_transactions(any_client: Any) -> None:
    with new_table(any_client, PARTED) as table:
        inside = begin(any_client, table)
        any_client.delete_table(table)
        create(any_client, table, PARTED, TableOptions())
        with missing():
            any_client.commit_transaction(inside)
        put(any_client, table, "a", 1)


def test_a_restart_aborts_what_was_open(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    create(first.client(), "t", PARTED)
    inside = begin(first.client(), "t")
    put(first.client(), "t", "a", 1, inside)
    first.service.stop()

    second = Cloud(tmp_path)
    try:
        with missing():
            second.client().commit_transaction(inside)
        assert get(second.client(), "t", "a", 1) is None
        put(second.client(), "t", "a", 1)
    finally:
        second.service.stop()


def test_one_of_many_that_begin_together_holds_the_partition(ots: Cloud, parted: str) -> None:
    clients, together, begun = [ots.client() for _ in range(6)], threading.Barrier(6), []

    def attempt(client: Any) -> None:
        together.wait()
        try:
            begun.append(begin(client, parted))
        except OTSServiceError as error:
            begun.append(error.code)

    threads = [threading.Thread(target=attempt, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert begun.count("OTSRowOperationConflict") == 5
    clients[0].abort_transaction(next(name for name in begun if name != "OTSRowOperationConflict"))


# --- its end, by a clock of the test's ------------------------------------------------------------------------


class Seconds:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


@pytest.fixture
def store(tmp_path: Path, seconds: Seconds) -> Iterator[Store]:
    with without_wire(tmp_path, seconds) as store:
        yield store


def start_in(store: Store) -> str:
    key = bytes(PlainBufferBuilder.serialize_primary_key([("part", "a")]))
    request = pb.StartLocalTransactionRequest(table_name="t", key=key)
    return str(transactions.start_local_transaction(store, request).transaction_id)


def put_in(store: Store, transaction: str | None = None) -> None:
    row = bytes(PlainBufferBuilder.serialize_for_put_row(at("a", 1), [("x", 1)]))
    request = pb.PutRowRequest(table_name="t", row=row, condition=pb.Condition(row_existence=pb.IGNORE))
    if transaction is not None:
        request.transaction_id = transaction
    put_row(store, request)


def test_a_transaction_ends_after_60_seconds_with_nothing_changed(store: Store, seconds: Seconds) -> None:
    inside = start_in(store)
    put_in(store, inside)
    seconds.now += 59.9
    put_in(store, inside)
    with pytest.raises(OtsError, match="OTSRowOperationConflict"):
        put_in(store)
    seconds.now += 0.2

    for call in (
        lambda: put_in(store, inside),
        lambda: transactions.commit_transaction(store, pb.CommitTransactionRequest(transaction_id=inside)),
        lambda: transactions.abort_transaction(store, pb.AbortTransactionRequest(transaction_id=inside)),
    ):
        with pytest.raises(OtsError, match="OTSSessionNotExist: Session not exist or may be timeout"):
            call()
    everything = store.scan(store.table("t"), b"", b"\xff", backward=False)
    assert list(everything) == []


def test_the_lock_of_an_overdue_transaction_is_gone(store: Store, seconds: Seconds) -> None:
    start_in(store)
    seconds.now += 60.1
    put_in(store)
    assert start_in(store)
