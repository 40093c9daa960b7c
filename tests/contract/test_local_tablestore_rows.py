"""Single rows of the local Tablestore: what is written, counted, guarded by conditions and read back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tablestore import (
    Condition,
    LogicalOperator,
    OTSServiceError,
    ReturnType,
    Row,
)
from tablestore.encoder import NativeEncodedBytes
from tablestore.plainbuffer.plain_buffer_builder import PlainBufferBuilder

from infra.localcloud.tablestore.messages import pb
from tests.contract.tablestore_cloud import (
    ABSENT,
    EXIST,
    IGNORE,
    C,
    Cloud,
    all_of,
    check_failed,
    invalid,
    is_value,
    key,
    not_here,
    put,
    read,
)


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


def test_one_of_many_writers_of_an_absent_row_wins(ots: Cloud, table: str) -> None:
    clients, together = [ots.client() for _ in range(8)], threading.Barrier(8)

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


def test_compare_and_set_loses_no_increment(ots: Cloud, table: str) -> None:
    clients = [ots.client() for _ in range(4)]
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
    with not_here("Going on within a wide row by its token"):
        any_client.get_row(table, key("a"), max_version=1, token=b"x")


def test_a_read_may_take_a_range_of_columns(client: Any, table: str) -> None:
    put(client, table, "a", *[(name, 1) for name in ("a", "b", "ba", "c")])

    assert list(read(client, table, "a", start_column="b", end_column="c") or {}) == ["b", "ba"]
    assert list(read(client, table, "a", start_column="ba") or {}) == ["ba", "c"]
    assert list(read(client, table, "a", end_column="b") or {}) == ["a"]
    assert list(read(client, table, "a", columns_to_get=["a", "c"], start_column="b") or {}) == ["c"]
    assert read(client, table, "a", start_column="d") is None


@pytest.mark.parametrize("api", ["UpdateRow", "PutRow", "DeleteRow"])
def test_a_write_gives_back_what_it_made_of_the_columns_named(ots: Cloud, table: str, api: str) -> None:
    client = ots.client()
    put(client, table, "a", ("n", 40), ("other", 1))
    asked = pb.ReturnContent(return_type=pb.RT_AFTER_MODIFY, return_column_names=["n", "absent"])
    common = {"table_name": table, "condition": pb.Condition(row_existence=pb.IGNORE), "return_content": asked}
    build = PlainBufferBuilder
    message = {
        "UpdateRow": lambda: pb.UpdateRowRequest(
            row_change=bytes(build.serialize_for_update_row(key("a"), {"INCREMENT": [("n", 2)]})), **common
        ),
        "PutRow": lambda: pb.PutRowRequest(row=bytes(build.serialize_for_put_row(key("a"), [("n", 42)])), **common),
        "DeleteRow": lambda: pb.DeleteRowRequest(primary_key=bytes(build.serialize_for_delete_row(key("a"))), **common),
    }[api]()
    # The SDK has no name for this return type, so the request is written for it.
    client.protocol.encoder.encode_request = lambda *_: NativeEncodedBytes(message.SerializeToString())
    if api == "DeleteRow":
        with invalid("Invalid return type: RT_AFTER_MODIFY."):
            client._request_helper(api)
        return
    _, row = client._request_helper(api)
    assert row.primary_key == key("a")
    assert [column[:2] for column in row.attribute_columns] == [("n", 42)]
