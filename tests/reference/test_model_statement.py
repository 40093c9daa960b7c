"""§9: how a statement is rounded, and what is paid of it."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from tests.reference.arithmetic import rounded, spread
from tests.reference.builders import AUGUST, JULY, SEPTEMBER, agreement, bill, known, month, percent, play, refund, told
from tests.reference.inputs import ZERO, Opening, Payout
from tests.reference.statement import Payment, Tax, account, pay, statement, taxed

DAY = date(2026, 7, 9)


@pytest.mark.parametrize(
    ("value", "up", "even"),
    [("0.125", "0.13", "0.12"), ("0.135", "0.14", "0.14"), ("-0.125", "-0.13", "-0.12"), ("0.1249", "0.12", "0.12")],
)
def test_the_half_is_rounded_away_from_zero_or_to_the_even(value: str, up: str, even: str) -> None:
    assert rounded(Fraction(value), 2, "half_up") == Fraction(up)
    assert rounded(Fraction(value), 2, "half_even") == Fraction(even)


def test_missing_units_go_to_the_largest_remainders_in_the_direction_of_the_difference() -> None:
    # 0.336 + 0.333 + 0.331 = 1: cut to 0.33 each, one cent is missing, and 0.336 is cut by most.
    assert spread(Fraction(1), [Fraction(x) for x in ("0.336", "0.333", "0.331")], 2) == [
        Fraction("0.34"),
        Fraction("0.33"),
        Fraction("0.33"),
    ]
    # -0.336 + 0.331 = -0.005, rounded to -0.01: cut -0.33 and 0.33; the missing -0.01 goes to -0.336.
    assert spread(Fraction("-0.01"), [Fraction("-0.336"), Fraction("0.331")], 2) == [
        Fraction("-0.34"),
        Fraction("0.33"),
    ]


def test_a_statement_is_rounded_once_and_spread_over_customers_then_lines() -> None:
    # A third of a percent: acme 10 + 10 -> 0.0333... each, birch 10 -> 0.0333...; together 0.1 exactly.
    # Customers: 0.0666... and 0.0333... are cut to 0.06 and 0.03; acme's remainder is larger: 0.07.
    # acme: 0.03 + 0.03, the missing cent to the first by key, ecs.
    lines = [
        bill("a", "10", DAY),
        bill("b", "10", DAY, product_code="oss"),
        bill("c", "10", DAY, account="102"),
        bill("d", "10", DAY, instance_id="i-9"),
        refund("r", "-10", DAY, instance_id="i-9"),
    ]
    settled = month(known(lines, agreement(percent(str(Fraction(1, 3))))))

    total, groups = statement(settled.rows, 2, "half_up")

    assert total == Fraction("0.1")
    assert told(groups, "customer", "product", "rounded") == [
        ("acme", "ecs", Fraction("0.04")),
        ("acme", "oss", Fraction("0.03")),
        ("birch", "ecs", Fraction("0.03")),
    ]


def test_tax_comes_on_top_or_is_found_within() -> None:
    on_top = taxed(Fraction("99.99"), Payout(tax_percent=Fraction(6)), 2, "half_up")
    within = taxed(Fraction(106), Payout(tax_percent=Fraction(6), tax_mode="inclusive"), 2, "half_up")

    # 99.99 x 6 % = 5.9994; 106 / 1.06 = 100.
    assert on_top == Tax(Fraction("99.99"), Fraction(6), Fraction("105.99"))
    assert within == Tax(Fraction(100), Fraction(6), Fraction(106))


@pytest.mark.parametrize(
    ("terms", "carried", "payable", "invoiced", "found"),
    [
        (Payout(), 0, 50, False, Payment(Fraction(50), paid=Fraction(50), transferred=Fraction(50))),
        (Payout(minimum=Fraction(100)), 40, 59, False, Payment(Fraction(99), carried=Fraction(99))),
        (
            Payout(minimum=Fraction(100)),
            *(40, 60, False),
            Payment(Fraction(100), paid=Fraction(100), transferred=Fraction(100)),
        ),
        (
            Payout(minimum=Fraction(100), carry_forward=False),
            *(0, 99, False),
            Payment(Fraction(99), forfeited=Fraction(99)),
        ),
        (Payout(carry_forward=False), -80, 30, False, Payment(Fraction(-50), carried=Fraction(-50))),
        (Payout(requires_invoice=True, carry_forward=False), 0, 9, False, Payment(Fraction(9), carried=Fraction(9))),
        (
            Payout(requires_invoice=True),
            *(0, 9, True),
            Payment(Fraction(9), paid=Fraction(9), transferred=Fraction(9)),
        ),
        (
            Payout(withholding_percent=Fraction(10)),
            *(0, Fraction("33.33"), False),
            # R(3.333) = 3.33 is withheld.
            Payment(Fraction("33.33"), Fraction("33.33"), Fraction("3.33"), Fraction(30)),
        ),
        (Payout(), 0, 0, False, Payment(ZERO)),
    ],
)
def test_a_balance_is_paid_in_full_carried_or_forfeited(
    terms: Payout, carried: Fraction, payable: Fraction, invoiced: bool, found: Payment
) -> None:
    assert pay(Fraction(carried), Fraction(payable), terms, 2, "half_up", invoiced=invoiced) == found


def test_what_is_not_paid_is_carried_from_the_opening_on() -> None:
    # At least 100 is paid. Carried 30; July 10 % of 500 = 50: 80 is carried; August 50 more: 130 are paid.
    # September's refund takes back 50 after that: -50 is carried, and October's 40 leave -10.
    lines = [
        bill("a", "500", DAY),
        bill("b", "500", date(2026, 8, 9)),
        refund("r", "-500", date(2026, 9, 9), related="a"),
        bill("c", "400", date(2026, 10, 9)),
    ]
    opening = Opening("aurora", JULY, {"aurora-main": Fraction(30)})
    world = known(lines, agreement(percent("10"), payout=Payout(minimum=Fraction(100))), openings=[opening])
    months = play(world, JULY, AUGUST, SEPTEMBER, SEPTEMBER.plus(1))

    found = account(world, "aurora-main", [(one.cycle, one.rows) for one in months])

    assert [payment.paid for _, _, payment in found] == [0, 130, 0, 0]
    assert [payment.carried for _, _, payment in found] == [80, 0, -50, -10]
