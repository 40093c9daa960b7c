"""GetRange of the local Tablestore, forwards and backwards, page by page."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from tablestore import (
    INF_MAX,
    INF_MIN,
    Condition,
    PutRowItem,
    Row,
)

from tests.contract.tablestore_cloud import (
    ABSENT,
    IGNORE,
    C,
    batch,
    invalid,
    is_value,
    new_table,
    pages,
    refused,
)


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
