"""Rows that the local Tablestore numbers itself: auto-increment columns of a primary key."""

from __future__ import annotations

from typing import Any

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
    PK_AUTO_INCR,
    Condition,
    PutRowItem,
    ReturnType,
    Row,
    RowExistenceExpectation,
    UpdateRowItem,
)

from tests.contract.tablestore_cloud import (
    ABSENT,
    EXIST,
    IGNORE,
    C,
    batch,
    create,
    fresh_name,
    invalid,
    is_value,
    new_table,
    refused,
)

NUMBERED = [("id", "STRING"), ("number", "INTEGER", PK_AUTO_INCR)]
RT_PK = ReturnType.RT_PK


def add(client: Any, table: str, name: str, **columns: Any) -> list[tuple[str, Any]]:
    """Put a row without number; the key it got."""
    primary = [("id", name), ("number", PK_AUTO_INCR)]
    _, row = client.put_row(table, Row(primary, list(columns.items())), Condition(IGNORE), RT_PK)
    return list(row.primary_key)


def test_each_row_gets_a_number_greater_than_those_before(client: Any) -> None:
    with new_table(client, NUMBERED) as table:
        keys = [add(client, table, name, x=name) for name in "abaab"]

        numbers = [primary[1][1] for primary in keys]
        assert numbers == sorted(set(numbers))
        assert [primary[0] for primary in keys] == [("id", name) for name in "abaab"]
        ends = [[("id", "a"), ("number", end)] for end in (INF_MIN, INF_MAX)]
        rows = client.get_range(table, "FORWARD", *ends, max_version=1)[2]
        assert [row.primary_key for row in rows] == [keys[0], keys[2], keys[3]]
        assert client.get_row(table, keys[1], max_version=1)[1].attribute_columns[0][1] == "b"


def test_the_table_says_which_column_it_numbers(any_client: Any) -> None:
    with new_table(any_client, NUMBERED) as table:
        described = any_client.describe_table(table).table_meta.schema_of_primary_key
    assert described == [("id", "STRING"), ("number", "INTEGER", PK_AUTO_INCR)]


def test_updates_and_batches_number_rows_too(client: Any) -> None:
    primary = [("id", "a"), ("number", PK_AUTO_INCR)]
    with new_table(client, NUMBERED) as table:
        _, row = client.update_row(table, Row(primary, {"PUT": [("x", 1)]}), Condition(IGNORE), RT_PK)
        items = [PutRowItem(Row(primary, [("x", n)]), Condition(IGNORE), RT_PK) for n in (2, 3)]
        items.append(UpdateRowItem(Row(primary, {"INCREMENT": [("x", 4)]}), Condition(IGNORE), RT_PK))
        response = batch(client, **{table: items})

        assert response.is_all_succeed()
        done = response.get_succeed_of_put() + response.get_succeed_of_update()
        keys = [row.primary_key, *(item.row.primary_key for item in done)]
        assert len({tuple(primary) for primary in keys}) == 4
        values = [client.get_row(table, at, max_version=1)[1].attribute_columns[0][1] for at in keys]
        assert values == [1, 2, 3, 4]


def test_a_numbered_row_is_changed_and_deleted_by_its_number(client: Any) -> None:
    with new_table(client, NUMBERED) as table:
        primary = add(client, table, "a", x=1)
        client.update_row(table, Row(primary, {"INCREMENT": [("x", 2)]}), Condition(EXIST))
        assert client.get_row(table, primary, max_version=1)[1].attribute_columns[0][1] == 3
        client.put_row(table, Row(primary, [("x", 9)]), Condition(EXIST))
        assert client.get_row(table, primary, max_version=1)[1].attribute_columns[0][1] == 9
        client.delete_row(table, Row(primary), Condition(EXIST))
        assert client.get_row(table, primary, max_version=1)[1] is None


@pytest.mark.parametrize("expected", ["IGNORE", "EXPECT_NOT_EXIST"])
def test_a_row_cannot_be_added_under_a_number_of_ones_own(any_client: Any, expected: str) -> None:
    condition = Condition(getattr(RowExistenceExpectation, expected))
    message = f"Invalid expect: {expected} when modify a specific row for table with pk auto increment."
    with new_table(any_client, NUMBERED) as table, invalid(message):
        any_client.put_row(table, Row([("id", "a"), ("number", 5)], [("x", 1)]), condition)


def test_a_new_number_allows_no_condition(any_client: Any) -> None:
    row = Row([("id", "a"), ("number", PK_AUTO_INCR)], [("x", 1)])
    with new_table(any_client, NUMBERED) as table:
        for expected, word in ((ABSENT, "EXPECT_NOT_EXIST"), (EXIST, "EXPECT_EXIST")):
            with invalid(f"Invalid expect:{word} when modify row with pk auto increment."):
                any_client.put_row(table, row, Condition(expected))
        with invalid("Can't set condition when modify row with pk auto increment."):
            any_client.put_row(table, row, Condition(IGNORE, is_value("x", C.EQUAL, 1)))


def test_nothing_is_read_or_deleted_without_its_number(any_client: Any) -> None:
    primary = [("id", "a"), ("number", PK_AUTO_INCR)]
    with new_table(any_client, NUMBERED) as table:
        with invalid("PKAutoIncr can't be used for read operations."):
            any_client.get_row(table, primary, max_version=1)
        with invalid("Invalid row to delete which with pk auto increment."):
            any_client.delete_row(table, Row(primary), Condition(IGNORE))
        with refused(400, "OTSInvalidPK", "Validate PK size fail. Input: 1, Meta: 2."):
            any_client.put_row(table, Row(primary[:1], []), Condition(EXIST))


def test_a_column_that_is_not_numbered_needs_its_value(any_client: Any, table: str) -> None:
    with refused(400, "OTSInvalidPK", "Validate PK type fail. Input: VT_AUTO_INCREMENT, Meta: VT_STRING."):
        any_client.put_row(table, Row([("id", PK_AUTO_INCR)], []), Condition(IGNORE))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([("id", "INTEGER", PK_AUTO_INCR)], "First primary key can't be auto increment, table: {name}."),
        ([("id", "STRING"), ("n", "STRING", PK_AUTO_INCR)], "AUTO_INCREMENT primary key must be integer."),
        (
            [("id", "STRING"), ("n", "INTEGER", PK_AUTO_INCR), ("m", "INTEGER", PK_AUTO_INCR)],
            "AUTO_INCREMENT primary key count must <= 1.",
        ),
    ],
)
def test_what_cannot_be_numbered_is_refused(any_client: Any, columns: list[Any], message: str) -> None:
    name = fresh_name()
    with invalid(message.format(name=name)):
        create(any_client, name, columns)
    assert name not in any_client.list_table()
