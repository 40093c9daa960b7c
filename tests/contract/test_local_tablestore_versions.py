"""Versions of a column and their expiry in the local Tablestore; the business clock says what is old."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
    BatchGetRowRequest,
    ComparatorType,
    Condition,
    PutRowItem,
    Row,
    SingleColumnCondition,
    TableInBatchGetRowItem,
    TableOptions,
    UpdateRowItem,
)

from tests.contract.tablestore_cloud import (
    ABSENT,
    EXIST,
    IGNORE,
    Cloud,
    batch,
    check_failed,
    create,
    invalid,
    key,
    new_table,
    put,
    read,
)

JUNE = datetime(2025, 6, 10, 12, tzinfo=UTC)
NOW_MS = int(JUNE.timestamp() * 1000)
DAY = timedelta(days=1)
THREE_VERSIONS = TableOptions(-1, 3)


@pytest.fixture(autouse=True)
def june(ots: Cloud) -> Iterator[None]:
    ots.clock.set(JUNE)
    yield
    ots.clock.set(None)


def versions(client: Any, table: str, name: str = "a", **how: Any) -> list[tuple[str, Any, int]] | None:
    """The cells of a row with their versions, counted from the business time; None when there is no row."""
    how.setdefault("max_version", 100)
    row = client.get_row(table, key(name), **how)[1]
    return None if row is None else [(column, value, at - NOW_MS) for column, value, at in row.attribute_columns]


def update(client: Any, table: str, name: str = "a", when: Any = None, **changes: list[Any]) -> None:
    client.update_row(table, Row(key(name), changes), when or Condition(IGNORE))


def test_a_table_keeps_the_newest_versions_and_gives_the_latest_first(client: Any) -> None:
    with new_table(client, options=THREE_VERSIONS) as table:
        for at in (-3, -1, -4, -2):  # in milliseconds from now, in no order
            update(client, table, PUT=[("x", at, NOW_MS + at), ("y", -at, NOW_MS + at)])

        newest_first = [(name, at * sign, at) for name, sign in (("x", 1), ("y", -1)) for at in (-1, -2, -3)]
        assert versions(client, table) == newest_first
        assert versions(client, table, max_version=1) == [("x", -1, -1), ("y", 1, -1)]
        assert versions(client, table, max_version=2, columns_to_get=["x"]) == [("x", -1, -1), ("x", -2, -2)]


def test_several_versions_are_put_in_one_write_and_the_oldest_dropped(client: Any) -> None:
    cells = [("x", at, NOW_MS + at) for at in (-1, -5, -3, -2)]
    with new_table(client, options=THREE_VERSIONS) as table:
        client.put_row(table, Row(key("a"), [*cells, ("y", "plain")]), Condition(IGNORE))
        assert versions(client, table, columns_to_get=["x"]) == [("x", -1, -1), ("x", -2, -2), ("x", -3, -3)]
        client.put_row(table, Row(key("a"), [("x", 0, NOW_MS)]), Condition(IGNORE))
        assert versions(client, table) == [("x", 0, 0)]  # a put replaces every version
    with new_table(client) as table:
        client.put_row(table, Row(key("a"), cells), Condition(IGNORE))
        assert versions(client, table) == [("x", -1, -1)]


def test_a_version_written_again_has_its_new_value(any_client: Any) -> None:
    with new_table(any_client, options=THREE_VERSIONS) as table:
        for value in ("old", "new"):
            update(any_client, table, PUT=[("x", value, NOW_MS)])
        assert versions(any_client, table) == [("x", "new", 0)]


def test_an_older_version_does_not_hide_a_newer_one(any_client: Any, table: str) -> None:
    update(any_client, table, PUT=[("x", "late", NOW_MS + 9)])
    update(any_client, table, PUT=[("x", "early", NOW_MS - 9)])

    assert versions(any_client, table) == [("x", "late", 9)]


def test_one_version_or_all_of_a_column_are_deleted(client: Any) -> None:
    with new_table(client, options=THREE_VERSIONS) as table:
        update(client, table, PUT=[(name, at, NOW_MS + at) for name in "xyz" for at in (-1, -2)])
        update(client, table, DELETE=[("x", None, NOW_MS - 1), ("y", None, NOW_MS - 7)], DELETE_ALL=["z"])
        assert versions(client, table) == [("x", -2, -2), ("y", -1, -1), ("y", -2, -2)]

        update(client, table, DELETE=[("x", None, NOW_MS - 2), ("y", None, NOW_MS - 1), ("y", None, NOW_MS - 2)])
        assert versions(client, table) == []
        update(client, table, "b", DELETE=[("x", None, NOW_MS)])
        assert versions(client, table, "b") is None


def test_a_counter_adds_to_its_newest_version_and_makes_another(client: Any) -> None:
    with new_table(client, options=THREE_VERSIONS) as table:
        update(client, table, PUT=[("n", 5, NOW_MS - 10), ("n", 100, NOW_MS - 20)])
        update(client, table, INCREMENT=[("n", 2)])

        found = versions(client, table)
        assert found is not None
        assert [value for _, value, _ in found] == [7, 5, 100]


def test_versions_are_read_by_time(client: Any) -> None:
    with new_table(client, options=THREE_VERSIONS) as table:
        update(client, table, PUT=[("x", at, NOW_MS + at) for at in (-1, -2, -3)] + [("y", 9, NOW_MS - 3)])

        def of(*times: int, most: int | None = None) -> Any:
            when: Any = tuple(NOW_MS + time for time in times) if len(times) == 2 else NOW_MS + times[0]
            return versions(client, table, time_range=when, max_version=most)

        assert of(-3, -1) == [("x", -2, -2), ("x", -3, -3), ("y", 9, -3)]  # the end is not in it
        assert of(-3, -1, most=1) == [("x", -2, -2), ("y", 9, -3)]
        assert of(-1) == [("x", -1, -1)]
        assert of(-9) is None
        _, _, rows, _ = client.get_range(
            table, "FORWARD", [("id", INF_MIN)], [("id", INF_MAX)], max_version=None, time_range=NOW_MS - 1
        )
        assert [[column[1] for column in row.attribute_columns] for row in rows] == [[-1]]


def test_a_table_of_one_version_is_read_by_time_too(any_client: Any, table: str) -> None:
    update(any_client, table, PUT=[("x", 1, NOW_MS - 5), ("y", 2, NOW_MS)])

    assert versions(any_client, table, time_range=(0, NOW_MS)) == [("x", 1, -5)]


def test_batches_read_and_write_versions(client: Any) -> None:
    with new_table(client, options=THREE_VERSIONS) as table:
        items = [
            PutRowItem(Row(key("a"), [("x", 1, NOW_MS - 1), ("x", 2, NOW_MS - 2)]), Condition(IGNORE)),
            UpdateRowItem(Row(key("b"), {"PUT": [("x", 3, NOW_MS - 3)]}), Condition(IGNORE)),
        ]
        assert batch(client, **{table: items}).is_all_succeed()
        request = BatchGetRowRequest()
        request.add(TableInBatchGetRowItem(table, [key("a"), key("b")], max_version=2))
        found = client.batch_get_row(request).get_result_by_table(table)
        values = [[column[1] for column in item.row.attribute_columns] for item in found]
        assert values == [[1, 2], [3]]


def test_a_filter_asks_the_newest_version_or_all_of_them(any_client: Any) -> None:
    def equal(value: int, *, newest: bool) -> Any:
        return SingleColumnCondition("x", value, ComparatorType.EQUAL, latest_version_only=newest)

    with new_table(any_client, options=THREE_VERSIONS) as table:
        update(any_client, table, PUT=[("x", 1, NOW_MS - 1), ("x", 2, NOW_MS - 2)])
        for value, newest, found in [(1, True, True), (2, True, False), (2, False, True), (3, False, False)]:
            got = versions(any_client, table, column_filter=equal(value, newest=newest))
            assert (got is not None) is found
        with check_failed():
            update(any_client, table, when=Condition(EXIST, equal(2, newest=True)), PUT=[("won", 1)])
        update(any_client, table, when=Condition(EXIST, equal(2, newest=False)), PUT=[("won", 1)])
        assert (read(any_client, table, "a") or {})["won"] == 1


def test_the_number_of_versions_can_change(any_client: Any) -> None:
    with new_table(any_client, options=THREE_VERSIONS) as table:
        update(any_client, table, PUT=[("x", at, NOW_MS + at) for at in (-1, -2, -3)])
        any_client.update_table(table, TableOptions(-1, 1))
        assert versions(any_client, table) == [("x", -1, -1)]
        any_client.update_table(table, TableOptions(-1, 2))
        assert versions(any_client, table) == [("x", -1, -1), ("x", -2, -2)]  # nobody has removed it yet
        any_client.update_table(table, TableOptions(-1, 1))
        update(any_client, table, PUT=[("x", 0, NOW_MS)])
        any_client.update_table(table, TableOptions(-1, 3))
        assert versions(any_client, table) == [("x", 0, 0)]


def test_the_versions_of_a_row_outlast_a_restart(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    first.clock.set(JUNE)
    create(first.client(), "t", [("id", "STRING")], THREE_VERSIONS)
    update(first.client(), "t", PUT=[("x", at, NOW_MS + at) for at in (-1, -2)])
    first.client().update_table("t", TableOptions(-1, 1))
    first.service.stop()

    second = Cloud(tmp_path)
    try:
        assert versions(second.client(), "t") == [("x", -1, -1)]
    finally:
        second.service.stop()


# --- the clock ------------------------------------------------------------------------------------------------


def test_a_later_write_wins_though_the_clock_stands_still_or_goes_back(ots: Cloud, client: Any, table: str) -> None:
    put(client, table, "a", ("x", 0), ("n", 0))
    for value in (1, 2, 3):
        ots.clock.set(JUNE - value * DAY)
        update(client, table, PUT=[("x", value)], INCREMENT=[("n", 1)])

        assert read(client, table, "a") == {"x": value, "n": value}


def test_a_later_write_wins_over_one_before_a_restart_and_a_clock_set_back(tmp_path: Path) -> None:
    first = Cloud(tmp_path)
    first.clock.set(JUNE)
    create(first.client(), "t", [("id", "STRING")])
    put(first.client(), "t", "a", ("x", "before"))
    first.service.stop()
    first.clock.set(JUNE - DAY)

    second = Cloud(tmp_path)
    try:
        update(second.client(), "t", PUT=[("x", "after")])
        assert read(second.client(), "t", "a") == {"x": "after"}
    finally:
        second.service.stop()


def test_a_version_must_be_near_the_business_time(client: Any, table: str) -> None:
    day = 86_400_000
    for at, name in ((-day, "oldest"), (day - 1, "newest")):
        client.put_row(table, Row(key(name), [("x", 1, NOW_MS + at)]), Condition(IGNORE))
    for at in (-day - 1, day):
        with invalid("Invalid timestamp. Cell:x."):
            client.put_row(table, Row(key("a"), [("x", 1, NOW_MS + at)]), Condition(IGNORE))
        with invalid("Invalid timestamp. Cell:x."):
            update(client, table, PUT=[("x", 1, NOW_MS + at)])
    with invalid("Invalid cell timestamp: -1. Expect: [0, Version::kMax.mVersion / kUsecPerMsec].."):
        update(client, table, PUT=[("x", 1, -1)])
    assert read(client, table, "a") is None
    with new_table(client, options=TableOptions(-1, 1, 10)) as narrow:
        update(client, narrow, PUT=[("x", 1, NOW_MS - 10_000)])
        with invalid("Invalid timestamp. Cell:x."):
            update(client, narrow, PUT=[("x", 1, NOW_MS - 10_001)])


def test_a_table_of_any_deviation_takes_old_versions_but_none_that_has_expired(any_client: Any) -> None:
    with new_table(any_client, options=TableOptions(-1, 1, 10**10)) as table:
        update(any_client, table, PUT=[("x", 1, 0)])
        assert versions(any_client, table) == [("x", 1, -NOW_MS)]
    with (
        new_table(any_client, options=TableOptions(86400, 1, 10**10)) as table,
        invalid("Invalid timestamp. Cell:x."),
    ):
        update(any_client, table, PUT=[("x", 1, NOW_MS - 86_400_001)])


def test_cells_expire_one_by_one_and_their_row_with_the_last(ots: Cloud, client: Any) -> None:
    with new_table(client, options=TableOptions(86400, 1)) as table:
        put(client, table, "a", ("x", 1))
        ots.clock.set(JUNE + DAY / 2)
        update(client, table, PUT=[("y", 2)])
        ots.clock.set(JUNE + DAY * 0.9)
        assert read(client, table, "a") == {"x": 1, "y": 2}
        ots.clock.set(JUNE + DAY * 1.1)
        assert read(client, table, "a") == {"y": 2}
        with check_failed():
            put(client, table, "a", when=Condition(ABSENT))
        ots.clock.set(JUNE + DAY * 1.6)
        assert read(client, table, "a") is None
        assert client.get_range(table, "FORWARD", [("id", INF_MIN)], [("id", INF_MAX)], max_version=1)[2] == []
        with check_failed():
            update(client, table, when=Condition(EXIST), PUT=[("z", 1)])
        put(client, table, "a", ("x", 3), when=Condition(ABSENT))
        assert read(client, table, "a") == {"x": 3}


def test_an_expired_counter_begins_again(ots: Cloud, any_client: Any) -> None:
    with new_table(any_client, options=TableOptions(86400, 1)) as table:
        update(any_client, table, INCREMENT=[("n", 5)])
        ots.clock.set(JUNE + DAY * 1.1)
        update(any_client, table, INCREMENT=[("n", 2)])
        assert read(any_client, table, "a") == {"n": 2}


def test_a_row_without_attributes_does_not_expire(ots: Cloud, any_client: Any) -> None:
    with new_table(any_client, options=TableOptions(86400, 1)) as table:
        put(any_client, table, "bare")
        ots.clock.set(JUNE + 30 * DAY)
        assert read(any_client, table, "bare") == {}


def test_a_time_to_live_can_be_given_later(ots: Cloud, any_client: Any, table: str) -> None:
    put(any_client, table, "a", ("x", 1))
    ots.clock.set(JUNE + 2 * DAY)
    any_client.update_table(table, TableOptions(86400, 1))
    assert read(any_client, table, "a") is None
    any_client.update_table(table, TableOptions(3 * 86400, 1))
    assert read(any_client, table, "a") == {"x": 1}


def test_any_history_of_a_row_agrees_with_a_model(ots: Cloud, client: Any) -> None:
    seed = int(os.environ.get("SEED", "0")) or random.SystemRandom().randrange(1 << 32)
    print(f"SEED={seed}")
    dice = random.Random(seed)  # noqa: S311 - made to be repeated
    life = timedelta(days=3)
    model: dict[str, dict[int, Any]] = {}  # what is stored: of each column the values by version
    now = JUNE

    def seen(most: int, first: int = 0, end: int = 2**62) -> list[tuple[str, Any, int]]:
        oldest = int((now - life).timestamp() * 1000) + 1
        return [
            (name, cells[version], version)
            for name, cells in sorted(model.items())
            for version in [at for at in sorted(cells, reverse=True) if max(first, oldest) <= at < end][:most]
        ]

    def write(name: str, value: Any, version: int) -> None:
        cells = model.setdefault(name, {}) | {version: value}
        model[name] = {at: cells[at] for at in sorted(cells, reverse=True)[:2]}

    with new_table(client, options=TableOptions(int(life.total_seconds()), 2, 30 * 86400)) as table:
        for step in range(60):
            now += timedelta(hours=dice.randrange(1, 9))
            ots.clock.set(now)
            now_ms = int(now.timestamp() * 1000)
            remaining, model = seen(2), {}
            for column, value, at in remaining:  # what has expired is gone for good
                model.setdefault(column, {})[at] = value
            name, own = dice.choice("xyz"), now_ms - dice.randrange(60 * 3_600_000)
            kind = dice.choice(["put", "update", "own", "own", "one", "all", "row"])
            if kind == "put":
                client.put_row(table, Row(key("a"), [(name, step, own), (name, -step, now_ms)]), Condition(IGNORE))
                model = {name: {own: step, now_ms: -step}}
            elif kind == "update":
                update(client, table, PUT=[(name, step)])
                write(name, step, now_ms)
            elif kind == "own":
                update(client, table, PUT=[(name, step, own)])
                write(name, step, own)
            elif kind == "one" and model.get(name):
                version = dice.choice(sorted(model[name]))
                update(client, table, DELETE=[(name, None, version)])
                del model[name][version]
            elif kind == "all":
                update(client, table, DELETE_ALL=[name])
                model.pop(name, None)
            elif kind == "row":
                client.delete_row(table, Row(key("a")), Condition(IGNORE))
                model = {}
            first, end = sorted([own, now_ms - dice.randrange(60 * 3_600_000) + 1])
            for how, expected in (
                ({"max_version": 9}, seen(9)),
                ({"max_version": 1}, seen(1)),
                ({"max_version": None, "time_range": (first, end)}, seen(9, first, end)),
            ):
                row = client.get_row(table, key("a"), **how)[1]
                assert (row.attribute_columns if row is not None else []) == expected, (step, kind, how)


# --- refusals -------------------------------------------------------------------------------------------------


def test_versions_are_named_once_and_where_they_mean_something(ots: Cloud, table: str) -> None:
    pure = ots.client(native=False)  # the native codec leaves out the value of what is deleted
    twice = [("x", 1, NOW_MS), ("x", 2, NOW_MS)]
    with invalid("Duplicated attribute column name while putting row."):
        pure.put_row(table, Row(key("a"), twice), Condition(IGNORE))
    cases: list[tuple[dict[str, Any], str]] = [
        ({"PUT": twice}, "Duplicated attribute column name while updating row."),
        ({"PUT": [("x", 1, NOW_MS)], "DELETE_ALL": ["x"]}, "Duplicated attribute column name while updating row."),
        ({"DELETE": ["x"]}, "Timestamp must be given when type is DELETE_ONE_VERSION."),
        (
            {"DELETE": [("x", 1, NOW_MS)]},
            "Column value cannot be given when type is DELETE_ONE_VERSION,DELETE_ALL_VERSION.",
        ),
        ({"DELETE_ALL": [("x", None, NOW_MS)]}, "Timestamp cannot be given when type is DELETE_ALL_VERSION."),
        ({"INCREMENT": [("x", 1, NOW_MS)]}, "Timestamp cannot be given when type is INCREMENT."),
    ]
    for changes, message in cases:
        with invalid(message):
            update(pure, table, **changes)
    assert read(pure, table, "a") is None


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"max_version": 0}, "Invalid max versions: 0 . Reason: Max versions must be positive."),
        ({"time_range": (-1, 5)}, "Timestamp must be in range [0, INT64_MAX/1000)."),
        ({"time_range": (1, 2**63 // 1000)}, "Timestamp must be in range [0, INT64_MAX/1000)."),
        ({"time_range": -1, "max_version": None}, "Specific timestamp cannot be less than 0."),
        (
            {"time_range": 5, "max_version": 1},
            "Specific tiemstamp and max versions cannot be given at the same time.",
        ),
    ],
)
def test_a_read_that_names_no_possible_version_is_refused(
    any_client: Any, table: str, how: dict[str, Any], message: str
) -> None:
    with invalid(message):
        versions(any_client, table, **how)


def test_versions_count_as_columns_of_a_write(any_client: Any, table: str) -> None:
    cells = [("x", n, NOW_MS - n) for n in range(1025)]
    any_client.put_row(table, Row(key("a"), cells[:1024]), Condition(IGNORE))
    many = "The number of attribute columns exceeds the limit, limit count: 1024, column count: 1025."
    with invalid(many):
        any_client.put_row(table, Row(key("a"), cells), Condition(IGNORE))
    with invalid(many):
        update(any_client, table, PUT=cells)
