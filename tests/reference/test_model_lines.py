"""§1 and §2: whose a line is, under which version, in which amount."""

from __future__ import annotations

from datetime import date
from fractions import Fraction
from typing import Any

import pytest

from tests.reference.builders import (
    AUGUST,
    JULY,
    agreement,
    amounts,
    bill,
    cases,
    fixed,
    known,
    month,
    percent,
    play,
    refund,
    rows,
    rule,
    told,
)
from tests.reference.inputs import Assignment, BillLine, CustomerClass, Opening, Refunds
from tests.reference.lines import line_date

DAY = date(2026, 7, 9)
TO_YUAN = {(JULY, "USD", "CNY"): Fraction("7.1")}


@pytest.mark.parametrize(
    ("dates", "found"),
    [
        ({"billing_date": date(2026, 7, 3)}, date(2026, 7, 3)),
        ({"service_from": date(2026, 6, 20), "service_until": date(2026, 7, 5)}, date(2026, 7, 5)),
        ({"service_from": date(2026, 7, 20), "service_until": date(2026, 8, 5)}, date(2026, 7, 31)),
        ({"service_from": date(2026, 6, 1), "service_until": date(2026, 6, 5)}, date(2026, 7, 31)),
        ({}, date(2026, 7, 31)),
    ],
)
def test_a_lines_date_is_billed_else_served_else_the_last_of_the_month(dates: dict[str, Any], found: date) -> None:
    assert line_date(BillLine("l", "101", "usage", **dates), JULY) == found


def test_versions_that_change_within_the_month_each_rate_their_own_days() -> None:
    old = agreement(percent("5"), last=date(2026, 7, 15))
    new = agreement(percent("8"), number=2, first=date(2026, 7, 16))
    lines = [bill("a", "100", date(2026, 7, 15)), bill("b", "100", date(2026, 7, 16))]

    assert amounts(month(known(lines, old, new))) == {"a": 5, "b": 8}


def test_an_account_that_changes_hands_within_the_month_is_each_owners_on_its_own_days() -> None:
    assigned = [
        Assignment("101", date(2026, 1, 1), date(2026, 7, 9), "acme", "aurora"),
        Assignment("101", date(2026, 7, 10), date(2026, 7, 20), "cedar", None),
    ]
    lines = [bill("a", "100", DAY), bill("b", "50", date(2026, 7, 10)), bill("c", "7", date(2026, 7, 21))]

    settled = month(known(lines, agreement(percent("5")), assignments=assigned))

    assert set(told(settled.rows, "line_id", "owner", "customer", "kind")) == {
        ("a", "aurora", "acme", "commission"),
        ("b", None, "cedar", "direct"),
    }
    assert cases(settled) == [("c", "unmapped_account")]


def test_a_customer_is_of_the_class_that_is_in_force_on_the_lines_date() -> None:
    classes = [
        CustomerClass("acme", "silver", date(2026, 1, 1), date(2026, 7, 15)),
        CustomerClass("acme", "gold", date(2026, 7, 16)),
    ]
    rules = (rule(percent("9"), "gold", "customer_class == 'gold'"), rule(percent("3"), "others"))
    lines = [
        bill("a", "100", date(2026, 7, 15)),
        bill("b", "100", date(2026, 7, 16)),
        bill("c", "100", date(2026, 7, 16), account="102"),  # birch is of no class
    ]

    assert amounts(month(known(lines, agreement(*rules), classes=classes))) == {"a": 3, "b": 9, "c": 3}


@pytest.mark.parametrize(
    ("basis", "earned"),
    [("gross", "10"), ("discounted", "7.5"), ("pretax", "6"), ("paid", "4")],  # 100; 100 - 20 - 5; 60; 40
)
def test_each_basis_is_its_own_amount_of_the_line(basis: str, earned: str) -> None:
    line = bill("a", "60", DAY, gross="100", discount="20", round_down="5", paid="40")

    assert amounts(month(known([line], agreement(percent("10"), basis=basis)))) == {"a": Fraction(earned)}


def test_a_line_in_another_currency_is_converted_once_and_its_refund_with_it() -> None:
    # 10.00000000005 has 11 places: x 7.1 = 71.000000000355, Q 71.0000000004. After 4 of it went,
    # 6.00000000005 x 7.1 = 42.600000000355, Q 42.6000000004: the refund is 28.4 exactly.
    lines = [bill("a", "10.00000000005", DAY, currency="USD"), refund("r", "-4", date(2026, 7, 10), currency="USD")]

    settled = month(known(lines, agreement(percent("100")), rates=TO_YUAN))

    found = {(row.line_id, row.kind): row.basis for row in settled.rows}
    assert found == {
        ("r", "netted"): Fraction("-28.4"),
        ("a", "netted"): Fraction("28.4"),
        ("a", "commission"): Fraction("42.6000000004"),
    }


def test_of_a_charge_netted_and_taken_back_the_netted_pieces_are_converted_first() -> None:
    # 3 dollars at 0.00000000015 are Q 0.0000000005 (4.5 units); after the netted 1 of the 20th 2 are Q 0.0000000003;
    # then the 1 of the 10th, which is taken back: 1 is Q 0.0000000002 (1.5 units).
    lines = [
        bill("a", "3", DAY, currency="USD"),
        refund("late", "-1", date(2026, 8, 10), currency="USD"),
        refund("early", "-1", date(2026, 7, 20), currency="USD"),
    ]
    rates = {(cycle, "USD", "CNY"): Fraction("0.00000000015") for cycle in (JULY, AUGUST)}

    july, august = play(known(lines, agreement(percent("100")), rates=rates), JULY, AUGUST)

    assert {row.line_id: row.basis * 10**10 for row in rows(july, "netted")} == {"early": -2, "a": 2}
    assert {row.line_id: row.basis * 10**10 for row in rows(august, "netted")} == {"late": -1}


def test_pieces_of_one_month_are_converted_netted_before_taken_back() -> None:
    # As above, but the refund outside the window comes first by record: 3 -> 2 by the netted one, 2 -> 1 by the other.
    lines = [
        bill("a", "3", DAY, currency="USD"),
        refund("outside", "-1", date(2026, 7, 30), currency="USD", related="a"),
        refund("inside", "-1", date(2026, 7, 10), currency="USD"),
    ]
    terms = agreement(percent("100"), refunds=Refunds(window_days=5))
    rates = {(JULY, "USD", "CNY"): Fraction("0.00000000015")}

    settled = month(known(lines, terms, rates=rates))

    found = {row.line_id: row.basis * 10**10 for row in rows(settled, "netted")}
    assert found == {"inside": -2, "outside": -1, "a": 2}


def test_a_line_without_a_rate_waits_as_billed() -> None:
    settled = month(known([bill("a", "10", DAY, currency="USD")], agreement(percent("5"))))

    assert told(settled.held, "case", "basis") == [("no_fx_rate", 10)]


def test_a_refund_of_usage_in_another_unit_leaves_unknown_what_was_used() -> None:
    lines = [
        bill("a", "10", DAY, usage="4", usage_unit="GB"),
        refund("r", "-5", date(2026, 7, 10), usage="-2000", usage_unit="MB"),
    ]

    settled = month(known(lines, agreement(fixed("2", "usage_unit"))))

    assert told(settled.held, "line_id", "case", "basis") == [("a", "missing_value", 5)]


def test_what_was_billed_before_the_opening_is_settled_elsewhere() -> None:
    lines = [bill("a", "10", date(2026, 6, 30)), bill("b", "10", DAY)]

    settled = month(known(lines, agreement(percent("10")), openings=[Opening("aurora", JULY)]))

    assert amounts(settled) == {"b": 1}
    assert settled.held == ()


def test_a_line_without_what_it_needs_waits() -> None:
    rules = (rule(fixed("2", "usage_unit"), "metered", "product_code == 'oss'"), rule(percent("5"), "others"))
    lines = [
        bill("a", None, DAY),
        bill("b", "3", DAY, product_code="oss"),
        bill("c", "3", DAY, product_code="oss", usage="4"),
    ]

    settled = month(known(lines, agreement(*rules)))

    assert cases(settled) == [("a", "missing_value"), ("b", "missing_value")]
    assert amounts(settled) == {"c": 8}  # 2 x 4


def test_the_version_of_the_payer_is_the_one_that_counts() -> None:
    mine = agreement(percent("5"), only_payers=("1",))
    other = agreement(percent("7"), agreement="aurora-other", only_payers=("2",))
    lines = [bill("a", "100", DAY, payer="1"), bill("b", "100", DAY, payer="2"), bill("c", "100", DAY, payer="3")]

    settled = month(known(lines, mine, other))

    assert amounts(settled) == {"a": 5, "b": 7}
    assert cases(settled) == [("c", "no_agreement")]
    assert [row.agreement for row in rows(settled, "commission")] == ["aurora-main", "aurora-other"]


def test_a_case_closed_without_settling_leaves_an_excluded_line_that_names_it() -> None:
    dismissed = {("a", "no_rule"): "too small to bother"}

    settled = month(known([bill("a", "10", DAY)], agreement(), dismissed=dismissed))

    assert told(settled.rows, "kind", "basis", "reason") == [("excluded", 10, "no_rule: too small to bother")]
    assert settled.held == ()
