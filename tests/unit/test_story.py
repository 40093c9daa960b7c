"""The story of a period: sentences that a person can check against the lines above them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shared.columnar import connect, insert
from shared.errors import BadInputError
from shared.report.facts import FACT_TYPES
from shared.report.story import SENTENCES_MAX, tell

if TYPE_CHECKING:
    import duckdb


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path) as one:
        yield one


def line(price: str | None, product: str = "cdn", **more: str) -> dict[str, str | None]:
    """A line of usage of one day, as far as a story reads it."""
    names = {"cdn": "Data transfer", "ecs": "Elastic Compute"}
    base = {"date": "2026-01-01", "product_code": product, "product_name": names.get(product, product)}
    usual = {"kind": "usage", "currency": "CNY", "region": "cn-hangzhou", "account": "1", "instance_id": "i-1"}
    usual["list_amount"] = "100.00"
    return {**base, **usual, **more, "price": price}


def told(
    connection: duckdb.DuckDBPyConnection,
    now: list[dict[str, str | None]],
    before: list[dict[str, str | None]],
    language: str = "en",
) -> list[str]:
    columns = ", ".join(f"{name} {type_}" for name, type_ in FACT_TYPES.items())
    for table, lines in (("now", now), ("before", before)):
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({columns})")
        insert(connection, table, [tuple(one.get(name) for name in FACT_TYPES) for one in lines], len(FACT_TYPES))
    return [one[language] for one in tell(connection)]


# Data transfer 3,168.68 -> 4,372.78: up 1,204.10, which is 38.0 %; 1,100.00 of it in cn-hangzhou.
NOW = [
    line("3000.00"),
    line("1372.78", region="cn-beijing"),
    line("-300.00", kind="credit", product="ecs"),
    line("500.00", "ecs"),
]
BEFORE = [line("1900.00"), line("1268.68", region="cn-beijing"), line("500.00", "ecs")]


def test_a_product_that_moved_is_told_with_its_region_and_a_credit_apart_from_usage(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    assert told(connection, NOW, BEFORE) == [
        "In total CNY 4,572.78, up 25 % (CNY 904.10) on the period before.",
        "Data transfer up 38 %, CNY 1,204.10, mostly in cn-hangzhou.",
        "Apart from usage: credits CNY -300.00 (1 line); CNY 0.00 in the period before.",
    ]
    assert told(connection, NOW, BEFORE, "zh") == [
        "合计 CNY 4,572.78，较上期增加 25%（CNY 904.10）。",
        "Data transfer增加 38%，CNY 1,204.10，主要来自 cn-hangzhou。",
        "用量之外：抵扣 CNY -300.00（1 行）；上期为 CNY 0.00。",
    ]


def test_without_a_usable_base_only_amounts_are_told(connection: duckdb.DuckDBPyConnection) -> None:
    [total, *_] = told(connection, [line("10")], [line("0")])
    assert total == "In total CNY 10.00, up CNY 10.00 on the period before."
    [total, *_] = told(connection, [line("10")], [line("-5")])
    assert total == "In total CNY 10.00, up CNY 15.00 on the period before."
    [total, *_] = told(connection, [line("-10")], [line("5")])
    assert total == "In total CNY -10.00, down CNY 15.00 on the period before."


def test_what_came_and_what_went_is_told_as_that(connection: duckdb.DuckDBPyConnection) -> None:
    found = told(connection, [line("10", "oss")], [line("4", "ecs")])
    assert found[1:] == [
        "oss is new: CNY 10.00, all of it in cn-hangzhou.",
        "Elastic Compute is no longer there: CNY 4.00 in the period before, all of it in cn-hangzhou.",
    ]
    assert told(connection, [line("7")], []) == [
        "In total CNY 7.00; there is nothing in the period before.",
        "Data transfer is new: CNY 7.00, all of it in cn-hangzhou.",
    ]
    assert told(connection, [], [])[:1] == []


def test_a_new_instance_that_makes_up_most_of_a_change_is_named(connection: duckdb.DuckDBPyConnection) -> None:
    [_, mover] = told(connection, [line("10"), line("90", instance_id="i-2")], [line("8")])
    assert mover == "Data transfer up CNY 92.00, mostly the new i-2."


def test_where_nothing_makes_up_more_than_half_no_driver_is_told(connection: duckdb.DuckDBPyConnection) -> None:
    now = [line("2", account=str(n), region=f"r{n}", instance_id=f"i-{n}") for n in range(3)]
    before = [line("1", account=str(n), region=f"r{n}", instance_id=f"i-{n}") for n in range(3)]
    assert told(connection, now, before)[1] == "Data transfer up 100 %, CNY 3.00."


def test_lines_without_a_price_and_unequal_days_are_said(connection: duckdb.DuckDBPyConnection) -> None:
    # What a reseller earns on a line of an earlier month is adjusted: that is no line without a price.
    adjusted = {**line(None, kind="adjustment"), "list_amount": None}
    found = told(connection, [line("1"), line(None), line("1", date="2026-01-02"), adjusted], [line("2")])
    assert found == [
        "In total CNY 2.00, as in the period before.",
        "Not in these figures: 1 line without a known price in this period, 0 lines in the period before.",
        "There is usage on 2 days of this period and on 1 of the one before; figures are not adjusted for that.",
    ]


def test_currencies_are_told_apart_and_never_more_than_a_few_sentences(connection: duckdb.DuckDBPyConnection) -> None:
    now = [line(str(n + 2), product=f"p{n}", currency=currency) for n in range(9) for currency in ("CNY", "JPY", "USD")]
    before = [line("1", product=f"p{n}", currency=currency) for n in range(9) for currency in ("CNY", "JPY", "USD")]
    found = told(connection, now, before)

    assert len(found) == SENTENCES_MAX
    assert found[0] == "In total CNY 54.00, up 500 % (CNY 45.00) on the period before."
    assert found[2].startswith("In total JPY 54, up")
    assert found[-1] == "Not told here: USD."
    assert found == told(connection, now[::-1], before[::-1])


def test_amounts_of_38_digits_are_told_exactly(connection: duckdb.DuckDBPyConnection) -> None:
    big = "12345678901234567890.005000000000000000"
    assert told(connection, [line(big)], [])[0].startswith("In total CNY 12,345,678,901,234,567,890.01;")


def test_what_is_no_amount_is_refused(connection: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(BadInputError, match="amount: 'usage' is no amount of a fact; name one of price, cost"):
        tell(connection, amount="usage")
