"""BatchWriteRow and BatchGetRow of the local Tablestore: an outcome for each row."""

from __future__ import annotations

from typing import Any

from tablestore import (
    BatchGetRowRequest,
    BatchWriteRowRequest,
    Condition,
    DeleteRowItem,
    PutRowItem,
    ReturnType,
    Row,
    TableInBatchGetRowItem,
    UpdateRowItem,
)

from tests.contract.tablestore_cloud import (
    ABSENT,
    EXIST,
    IGNORE,
    batch,
    invalid,
    key,
    put,
    read,
)


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
