"""How two bills differ: an amount is of one currency, whatever it is a sum of."""

from __future__ import annotations

from pathlib import Path

from infra.clearbook.bills.shown import compared
from shared.bill import difference
from shared.columnar import connect
from tests.bill_parts import bill_line, write_part


def test_what_two_sources_differ_by_is_told_by_currency(tmp_path: Path) -> None:
    settled = [bill_line("a", pretax="1.00"), bill_line("b", pretax="5.00", currency="USD"), bill_line("c")]
    other = [bill_line("a", pretax="0.75"), bill_line("b", pretax="7.00", currency="USD"), bill_line("c")]
    paths = [[str(write_part(tmp_path, name, lines)[0])] for name, lines in (("settled", settled), ("other", other))]
    with connect(tmp_path) as connection:
        found = difference.between_sources(connection, *paths)

    assert (found["count"], found["amounts"]) == (2, {"CNY": "0.25", "USD": "2"})
    assert compared(found) == "2 differences, 0.25 CNY, 2 USD pretax in all"
