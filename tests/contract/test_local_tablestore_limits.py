"""What the local Tablestore refuses, with the service's own words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
    BatchGetRowRequest,
    Condition,
    OTSClientError,
    OTSServiceError,
    PutRowItem,
    Row,
    TableInBatchGetRowItem,
)

from tests.contract.tablestore_cloud import (
    IGNORE,
    MEBIBYTE,
    Cloud,
    batch,
    invalid,
    key,
    put,
    read,
    refused,
)

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


def test_a_column_name_is_ascii_letters_digits_and_underscores(ots: Cloud, table: str) -> None:
    client = ots.client()
    put(client, table, "a", ("_" + "x" * 254, 1), ("A9", 2))
    for name in ("1a", "a-b", "a b", "x" * 256, ""):
        with invalid(f"Invalid column name: '{name}'."):
            put(client, table, "a", (name, 1))
    with invalid("Duplicated attribute column name with primary key column: 'id'."):
        put(client, table, "a", ("id", 1))
    # The pure codec counts characters where bytes are meant, so what it sends is refused either way.
    for codec in (client, ots.client(native=False)):
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
