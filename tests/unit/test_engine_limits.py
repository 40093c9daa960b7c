"""Amounts that cannot be held exactly stop the run and name the line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shared.agreement.agreement import PER_UNIT, Earning, Rule
from shared.columnar import connect
from shared.cycle import Cycle
from shared.settlement import engine, lines
from shared.settlement.earnings import UnholdableError
from shared.settlement.share import Share
from tests.property.test_settlement import assigned, percent_agreement

JULY = Cycle(2026, 7)


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path) as opened:
        yield opened


def settled(connection: duckdb.DuckDBPyConnection, fixed: str, **line: Any) -> list[Decimal]:
    """What July's line earns by an amount for each unit of its usage."""
    rule = Rule("by-unit", "`true`", Earning(fixed=Decimal(fixed), per=PER_UNIT))
    terms = replace(percent_agreement("1", "pretax"), rules=(rule,))
    row = {"line_id": "l1", "kind": "usage", "date": date(2026, 7, 9), "account": "101", "currency": "CNY"}
    lines.load_lines(connection, [{**row, "pretax": "10", "usage_unit": "GB", **line}])
    found = engine.settle(connection, Share("aurora", JULY, [assigned("101", "acme")], [terms]))
    return [group.amount for group in found.groups]


def test_usage_is_paid_for_to_its_last_digit(connection: duckdb.DuckDBPyConnection) -> None:
    found = settled(connection, "0.12345678", usage="0.1234567891")

    assert found == [Decimal("0.12345678") * Decimal("0.1234567891")]


@pytest.mark.parametrize(
    ("fixed", "usage"),
    [
        ("0.1", "0.12345678901"),  # eleven decimals
        ("0.123456789", "2"),  # nine
        ("5", "20000000000000000000"),  # 10^20 and more
        ("-5", "-20000000000000000000"),
    ],
)
def test_usage_that_leads_to_no_exact_amount_stops_the_run(
    connection: duckdb.DuckDBPyConnection, fixed: str, usage: str
) -> None:
    with pytest.raises(UnholdableError, match=r"line l1: its usage .* cannot be held exactly; nothing was written"):
        settled(connection, fixed, usage=usage)
