"""Secondary indexes of the local Tablestore, as the genuine SDK makes and reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
    Condition,
    DeleteRowItem,
    PutRowItem,
    Row,
    SecondaryIndexMeta,
    SecondaryIndexType,
    TableOptions,
    UpdateRowItem,
)

from tests.contract.tablestore_cloud import (
    ABSENT,
    IGNORE,
    THREE_KEYS,
    Cloud,
    batch,
    check_failed,
    create,
    fresh_name,
    invalid,
    key,
    not_here,
    pages,
    put,
    refused,
)

DEFINED = [("city", "STRING"), ("rank", "INTEGER"), ("raw", "BINARY"), ("open", "BOOLEAN"), ("share", "DOUBLE")]
READ_ONLY = "An index table can only be read."


@pytest.fixture
def indexed(client: Any) -> Iterator[tuple[str, str]]:
    """A table and its index by city and rank, with `open` as an attribute."""
    name = fresh_name()
    index = f"{name}_by_city"
    meta = SecondaryIndexMeta(index, ["city", "rank"], ["open"])
    create(client, name, [("id", "STRING")], defined=DEFINED, secondary_indexes=[meta])
    yield name, index
    client.delete_table(name)


def entries(client: Any, index: str, *names: str) -> list[tuple[Any, ...]]:
    """The rows of an index in its order: the values of the key, then the attributes."""
    ends = [[(name, end) for name in names or ("city", "rank", "id")] for end in (INF_MIN, INF_MAX)]
    return [
        (*(value for _, value in row.primary_key), {cell[0]: cell[1] for cell in row.attribute_columns})
        for page in pages(client, index, "FORWARD", *ends)
        for row in page
    ]


def test_an_index_is_described_with_its_table_and_as_a_table(client: Any, indexed: tuple[str, str]) -> None:
    name, index = indexed
    [found] = client.describe_table(name).secondary_indexes
    described = client.describe_table(index)

    assert (found.index_name, found.primary_key_names, found.defined_column_names, found.index_type) == (
        index,
        ["city", "rank"],
        ["open"],
        SecondaryIndexType.GLOBAL_INDEX,
    )
    assert {name, index} <= set(client.list_table())
    assert described.table_meta.schema_of_primary_key == [("city", "STRING"), ("rank", "INTEGER"), ("id", "STRING")]
    assert described.table_meta.defined_columns == [("open", "BOOLEAN")]
    assert described.secondary_indexes == []


def test_an_index_follows_every_way_to_write(client: Any, indexed: tuple[str, str]) -> None:
    name, index = indexed
    put(client, name, "a", ("city", "Ulm"), ("rank", 2), ("open", True), ("note", "not in the index"))
    put(client, name, "b", ("city", "Bonn"), ("rank", -1))
    assert entries(client, index) == [("Bonn", -1, "b", {}), ("Ulm", 2, "a", {"open": True})]

    put(client, name, "a", ("city", "Ulm"), ("rank", 1))  # the whole row is another
    assert entries(client, index) == [("Bonn", -1, "b", {}), ("Ulm", 1, "a", {})]
    client.update_row(name, Row(key("b"), {"PUT": [("city", "Ahlen"), ("open", False)]}), Condition(IGNORE))
    assert entries(client, index) == [("Ahlen", -1, "b", {"open": False}), ("Ulm", 1, "a", {})]
    client.update_row(name, Row(key("a"), {"INCREMENT": [("rank", 5)]}), Condition(IGNORE))
    assert entries(client, index)[1] == ("Ulm", 6, "a", {})
    client.update_row(name, Row(key("a"), {"DELETE_ALL": ["rank"]}), Condition(IGNORE))
    assert entries(client, index) == [("Ahlen", -1, "b", {"open": False})]
    client.delete_row(name, Row(key("b")), Condition(IGNORE))
    assert entries(client, index) == []


def test_an_index_follows_a_batch_row_by_row(client: Any, indexed: tuple[str, str]) -> None:
    name, index = indexed
    for row in ("there", "gone", "kept"):
        put(client, name, row, ("city", row), ("rank", 1))
    items = [
        PutRowItem(Row(key("there"), [("city", "changed"), ("rank", 1)]), Condition(ABSENT)),
        PutRowItem(Row(key("new"), [("city", "new"), ("rank", 1)]), Condition(ABSENT)),
        UpdateRowItem(Row(key("kept"), {"PUT": [("rank", 2)]}), Condition(IGNORE)),
        DeleteRowItem(Row(key("gone")), Condition(IGNORE)),
    ]
    assert not batch(client, **{name: items}).is_all_succeed()

    assert [entry[:3] for entry in entries(client, index)] == [
        ("kept", 2, "kept"),
        ("new", 1, "new"),
        ("there", 1, "there"),
    ]


def test_a_row_without_an_index_column_or_with_one_of_another_type_is_not_in_the_index(
    client: Any, indexed: tuple[str, str]
) -> None:
    name, index = indexed
    put(client, name, "a", ("city", "Ulm"))
    put(client, name, "b", ("city", "Ulm"), ("rank", "first"))
    put(client, name, "c", ("city", "Ulm"), ("rank", 1))

    assert [entry[2] for entry in entries(client, index)] == ["c"]


def test_the_rest_of_the_primary_key_is_filled_up_and_tells_equal_rows_apart(client: Any) -> None:
    name = fresh_name()
    metas = [SecondaryIndexMeta(f"{name}_1", ["number", "raw"], []), SecondaryIndexMeta(f"{name}_2", ["city"], [])]
    create(client, name, THREE_KEYS, defined=DEFINED, secondary_indexes=metas)
    for part, number in (("b", 1), ("a", 1), ("a", 0)):
        row = [("name", part), ("number", number), ("blob", bytearray(b"\0"))]
        client.put_row(name, Row(row, [("city", "Ulm"), ("raw", bytearray(b"r"))]), Condition(IGNORE))

    blob, raw = bytearray(b"\0"), bytearray(b"r")
    assert [row[:-1] for row in entries(client, f"{name}_1", "number", "raw", "name", "blob")] == [
        (0, raw, "a", blob),
        (1, raw, "a", blob),
        (1, raw, "b", blob),
    ]
    assert [row[:-1] for row in entries(client, f"{name}_2", "city", "name", "number", "blob")] == [
        ("Ulm", "a", 0, blob),
        ("Ulm", "a", 1, blob),
        ("Ulm", "b", 1, blob),
    ]
    client.delete_table(name)


def test_an_index_is_read_and_never_written(client: Any, indexed: tuple[str, str]) -> None:
    name, index = indexed
    put(client, name, "a", ("city", "Ulm"), ("rank", 1), ("open", True))
    row = [("city", "Ulm"), ("rank", 1), ("id", "a")]

    _, found, _ = client.get_row(index, row, columns_to_get=["open"], max_version=1)
    assert (found.primary_key, found.attribute_columns[0][:2]) == (row, ("open", True))
    writes: list[Callable[[], Any]] = [
        lambda: client.put_row(index, Row(row, [("open", False)]), Condition(IGNORE)),
        lambda: client.update_row(index, Row(row, {"PUT": [("open", False)]}), Condition(IGNORE)),
        lambda: client.delete_row(index, Row(row), Condition(IGNORE)),
        lambda: batch(client, **{index: [PutRowItem(Row(row, [("open", False)]), Condition(IGNORE))]}),
        lambda: client.start_local_transaction(index, row[:1]),
        lambda: client.update_table(index, TableOptions(-1, 1)),
        lambda: client.delete_table(index),
    ]
    for write in writes:
        with invalid(READ_ONLY):
            write()
    assert entries(client, index) == [("Ulm", 1, "a", {"open": True})]


def test_what_a_key_cannot_hold_refuses_the_row_and_changes_nothing(client: Any, indexed: tuple[str, str]) -> None:
    name, index = indexed
    put(client, name, "a", ("city", "Ulm"), ("rank", 1))
    with invalid("The length of primary key column: 'city' exceeded the MaxLength:1024 with CurrentLength:1025."):
        put(client, name, "a", ("city", "x" * 1025), ("rank", 1))

    assert entries(client, index) == [("Ulm", 1, "a", {})]
    assert client.get_row(name, key("a"), max_version=1)[1].attribute_columns[0][1] == "Ulm"


def test_a_table_with_indexes_gives_the_versions_and_keeps_one(client: Any, indexed: tuple[str, str]) -> None:
    name, _ = indexed
    with invalid("A table with secondary indexes gives the versions itself. Cell:city."):
        client.put_row(name, Row(key("a"), [("city", "Ulm", 1)]), Condition(IGNORE))
    with invalid("A table with secondary indexes keeps one version of a column."):
        client.update_table(name, TableOptions(-1, 2))
    with invalid("A table with secondary indexes and a time to live does not allow updates."):
        client.update_table(name, TableOptions(86400, 1))


def test_an_index_is_made_later_with_the_rows_that_are_there_or_without(client: Any) -> None:
    name = fresh_name()
    create(client, name, [("id", "STRING")], defined=DEFINED)
    put(client, name, "a", ("city", "Ulm"), ("rank", 1))
    for suffix, is_filled in (("whole", True), ("later", False)):
        client.create_secondary_index(name, SecondaryIndexMeta(f"{name}_{suffix}", ["city"], []), is_filled)
    put(client, name, "b", ("city", "Bonn"), ("rank", 1))

    assert [row[1] for row in entries(client, f"{name}_whole", "city", "id")] == ["b", "a"]
    assert [row[1] for row in entries(client, f"{name}_later", "city", "id")] == ["b"]
    client.delete_secondary_index(name, f"{name}_whole")
    put(client, name, "c", ("city", "Celle"), ("rank", 1))
    assert [one.index_name for one in client.describe_table(name).secondary_indexes] == [f"{name}_later"]
    assert [row[1] for row in entries(client, f"{name}_later", "city", "id")] == ["b", "c"]
    with refused(404, "OTSObjectNotExist", "Requested index does not exist."):
        client.delete_secondary_index(name, f"{name}_whole")
    with refused(409, "OTSObjectAlreadyExist", "Requested table already exists."):
        client.create_secondary_index(name, SecondaryIndexMeta(f"{name}_later", ["city"], []), True)

    client.delete_table(name)
    assert not [one for one in client.list_table() if one.startswith(name)]


def test_a_transaction_reaches_the_index_when_it_is_committed(client: Any, indexed: tuple[str, str]) -> None:
    name, index = indexed
    kept, lost = (client.start_local_transaction(name, key(one)) for one in ("kept", "lost"))
    for one, transaction in (("kept", kept), ("lost", lost)):
        row = Row(key(one), [("city", "Ulm"), ("rank", 1)])
        client.put_row(name, row, Condition(IGNORE), transaction_id=transaction)
    assert entries(client, index) == []

    client.commit_transaction(kept)
    client.abort_transaction(lost)
    assert entries(client, index) == [("Ulm", 1, "kept", {})]


def test_a_condition_that_fails_leaves_the_index_alone(client: Any, indexed: tuple[str, str]) -> None:
    name, index = indexed
    put(client, name, "a", ("city", "Ulm"), ("rank", 1))
    with check_failed():
        put(client, name, "a", ("city", "Bonn"), ("rank", 1), when=Condition(ABSENT))

    assert entries(client, index) == [("Ulm", 1, "a", {})]


def columns_of(count: int) -> list[tuple[str, str]]:
    return [(f"d{n}", "STRING") for n in range(count)]


@pytest.mark.parametrize(
    ("metas", "message"),
    [
        (
            [SecondaryIndexMeta(f"i{n}", [f"d{n}"], []) for n in range(6)],
            "Number of index per table exceeds the quota:5.",
        ),
        ([SecondaryIndexMeta("i", [], ["d9"])], "The number of primary key columns must be in range: [1, 4] in index."),
        (
            [SecondaryIndexMeta("i", [f"d{n}" for n in range(5)], [])],
            "The number of primary key columns must be in range: [1, 4] in index.",
        ),
        (
            [SecondaryIndexMeta("i", ["id"], [f"d{n}" for n in range(33)])],
            "The number of attribute columns must be in range: [0, 32] in index.",
        ),
        (
            [SecondaryIndexMeta("i", ["other"], [])],
            "Column 'other' is no primary key column and no predefined one that can be, in index.",
        ),
        (
            [SecondaryIndexMeta("i", ["flag"], [])],
            "Column 'flag' is no primary key column and no predefined one that can be, in index.",
        ),
        ([SecondaryIndexMeta("i", ["d1"], ["other"])], "Column 'other' is not predefined, in index."),
        ([SecondaryIndexMeta("i", ["d1"], ["d1"])], "Duplicated column name in index: 'i'."),
        ([SecondaryIndexMeta("i", ["d1"], []), SecondaryIndexMeta("i", ["d2"], [])], "Duplicated index name."),
        ([SecondaryIndexMeta("1st", ["d1"], [])], "Invalid table name: '1st'."),
    ],
)
def test_an_index_that_cannot_be_is_refused(any_client: Any, metas: list[Any], message: str) -> None:
    defined = [*columns_of(10), ("flag", "BOOLEAN")]
    with invalid(message):
        create(any_client, "unbuilt", [("id", "STRING")], defined=defined, secondary_indexes=metas)
    assert "unbuilt" not in any_client.list_table()


def test_what_indexes_cannot_do_here_is_said(any_client: Any) -> None:
    local = SecondaryIndexMeta("i", ["id", "d1"], [], SecondaryIndexType.LOCAL_INDEX)
    with not_here("A local secondary index"):
        create(any_client, "unbuilt", [("id", "STRING")], defined=columns_of(2), secondary_indexes=[local])
    with invalid("A table with secondary indexes keeps one version of a column."):
        meta = SecondaryIndexMeta("i", ["d1"], [])
        create(
            any_client,
            "unbuilt",
            [("id", "STRING")],
            TableOptions(-1, 2),
            defined=columns_of(2),
            secondary_indexes=[meta],
        )


def test_indexes_count_as_tables_and_share_their_names(tmp_path: Path) -> None:
    cloud = Cloud(tmp_path)
    try:
        client = cloud.client()
        metas = [SecondaryIndexMeta(f"i{n}", [f"d{n}"], []) for n in range(5)]
        create(client, "t", [("id", "STRING")], defined=columns_of(5), secondary_indexes=metas)
        with refused(409, "OTSObjectAlreadyExist", "Requested table already exists."):
            create(client, "i3", [("id", "STRING")])
        for number in range(57):
            create(client, f"more{number}", [("id", "STRING")])
        with refused(403, "OTSQuotaExhausted", "Number of tables exceeded the quota."):
            create(client, "u", [("id", "STRING")], defined=columns_of(1), secondary_indexes=[
                SecondaryIndexMeta("v", ["d0"], [])])  # fmt: skip
        assert len(client.list_table()) == 63
    finally:
        cloud.service.stop()


def test_an_index_goes_on_after_a_restart(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    meta = SecondaryIndexMeta("by_city", ["city"], ["open"])
    create(first.client(), "t", [("id", "STRING")], defined=DEFINED, secondary_indexes=[meta])
    put(first.client(), "t", "a", ("city", "Ulm"))
    first.service.stop()

    second = Cloud(tmp_path)
    try:
        client = second.client()
        put(client, "t", "a", ("city", "Bonn"), ("open", True))
        put(client, "t", "b", ("city", "Ulm"))
        found = entries(client, "by_city", "city", "id")
        assert found == [("Bonn", "a", {"open": True}), ("Ulm", "b", {})]
        with invalid(READ_ONLY):
            client.put_row("by_city", Row([("city", "x"), ("id", "y")], []), Condition(IGNORE))
    finally:
        second.service.stop()
