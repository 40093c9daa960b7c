"""Amounts come in exactly or not at all, are written in one way, and are rounded and spread as stated."""

from __future__ import annotations

from decimal import Decimal, Inexact

import pytest

from shared.money import Mode, NotAnAmountError, amount, fixed, rounded, spread, text, total


def decimals(*texts: str) -> list[Decimal]:
    return [Decimal(one) for one in texts]


# --- amounts that come in -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0", "0"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("+5", "5"),
        ("007.50", "7.5"),
        (".5", "0.5"),
        ("5.", "5"),
        ("-1204.10", "-1204.1"),
        ("1e2", "100"),
        ("1.5E-3", "0.0015"),
        ("1e-10", "0.0000000001"),
        ("0.12345678900000", "0.123456789"),
        ("999999999999999999.9999999999", "999999999999999999.9999999999"),
        ("-999999999999999999.9999999999", "-999999999999999999.9999999999"),
    ],
)
def test_plain_decimal_texts_are_amounts(written: str, value: str) -> None:
    assert text(amount(written)) == value


def test_whole_numbers_and_decimals_are_amounts() -> None:
    assert amount(12) == 12
    assert amount(Decimal("-1.25")) == Decimal("-1.25")


@pytest.mark.parametrize(
    "written",
    [
        *("", " ", "-", ".", "e5", "1e", "--1", "1.2.3", "0x1A", "1/2", "5%", "¥5", "5 CNY"),
        *(" 1", "1 ", "1\n", "1\u00a0", "\ufeff1"),
        *("1,234.50", "1_000", "1.234,50", "1 000", "1'000"),
        *("NaN", "nan", "sNaN", "Infinity", "-inf"),
        *("１２３", "١٢٣", "−5", "1\u066b5"),  # digits, minus sign and decimal point of other scripts
        *("1e400", "1e-400", "1e18", "1e9999", "1e-11"),
        *("0.00000000001", "1000000000000000000", "-1000000000000000000", "9" * 200),
    ],
)
def test_what_is_no_plain_decimal_or_would_not_fit_is_refused(written: str) -> None:
    with pytest.raises(NotAnAmountError) as refused:
        amount(written)

    assert refused.value.value == written
    assert refused.value.code == "not_an_amount"


@pytest.mark.parametrize("value", [1.5, 1.0, True, False, None, b"1", [1], Decimal("NaN"), Decimal("Infinity")])
def test_other_types_and_decimals_without_a_value_are_refused(value: object) -> None:
    with pytest.raises(NotAnAmountError):
        amount(value)


def test_fewer_places_may_be_asked_for() -> None:
    assert amount("33.333333", places=6) == Decimal("33.333333")
    with pytest.raises(NotAnAmountError):
        amount("33.3333333", places=6)


# --- amounts as text ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0", "0"),
        ("-0.000", "0"),
        ("0E+5", "0"),
        ("1.50", "1.5"),
        ("100", "100"),
        ("1E+2", "100"),
        ("-1E-10", "-0.0000000001"),
        ("12.000", "12"),
    ],
)
def test_a_value_has_one_text(value: str, written: str) -> None:
    assert text(Decimal(value)) == written


@pytest.mark.parametrize(
    ("value", "places", "written"),
    [("1.5", 2, "1.50"), ("-0.00", 2, "0.00"), ("100", 0, "100"), ("1E+3", 1, "1000.0"), ("-1.5", 2, "-1.50")],
)
def test_fixed_fills_up_with_zeros(value: str, places: int, written: str) -> None:
    assert fixed(Decimal(value), places) == written


def test_fixed_does_not_round() -> None:
    with pytest.raises(Inexact):
        fixed(Decimal("1.005"), 2)


def test_a_sum_keeps_every_digit() -> None:
    parts = decimals("99999999999999999999999999999999999999", "0.000000000000000001", "-1")

    assert total(parts) == Decimal("99999999999999999999999999999999999998.000000000000000001")
    assert total([]) == 0


# --- rounding -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "half_up", "half_even"),
    [
        ("0.125", "0.13", "0.12"),
        ("0.135", "0.14", "0.14"),
        ("-0.125", "-0.13", "-0.12"),
        ("-0.135", "-0.14", "-0.14"),
        ("0.005", "0.01", "0.00"),
        ("-0.005", "-0.01", "0.00"),
        ("0.124999999999999999", "0.12", "0.12"),
        ("0.125000000000000001", "0.13", "0.13"),
        ("-0.125000000000000001", "-0.13", "-0.13"),
        ("7", "7.00", "7.00"),
    ],
)
def test_the_half_goes_away_from_zero_or_to_the_even_neighbour(value: str, half_up: str, half_even: str) -> None:
    assert rounded(Decimal(value), 2, Mode.HALF_UP) == Decimal(half_up)
    assert rounded(Decimal(value), 2, Mode.HALF_EVEN) == Decimal(half_even)


def test_whole_units_round_alike() -> None:
    assert rounded(Decimal("2.5"), 0, Mode.HALF_UP) == 3
    assert rounded(Decimal("2.5"), 0, Mode.HALF_EVEN) == 2
    assert rounded(Decimal("-2.5"), 0, Mode.HALF_UP) == -3


# --- spreading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("whole", "parts", "spread_out"),
    [
        # Nothing is missing.
        ("3.00", ("1.00", "2.00"), ("1.00", "2.00")),
        # The missing cent goes to the largest remainder, not to the largest part.
        ("10.01", ("9.001", "1.009"), ("9.00", "1.01")),
        # Ties go to the earlier part.
        ("1.00", ("0.335", "0.335", "0.33"), ("0.34", "0.33", "0.33")),
        # Several cents go to several parts, one each.
        ("0.02", ("0.006", "0.001", "0.009"), ("0.01", "0.00", "0.01")),
        # Below zero everything is the mirror image.
        ("-10.01", ("-9.001", "-1.009"), ("-9.00", "-1.01")),
        # Cutting goes toward zero for each part, so the difference may go against the sign of the whole.
        ("0.99", ("1.999", "-1.009"), ("1.99", "-1.00")),
        # What is missing is below zero: the parts furthest below their cut take it.
        ("0.00", ("1.001", "-0.505", "-0.496"), ("1.00", "-0.50", "-0.50")),
        # A whole rounded up gives a cent to the largest remainder, and none to the part below zero.
        ("0.01", ("0.008", "-0.003"), ("0.01", "0.00")),
    ],
)
def test_units_still_missing_go_to_the_largest_remainders(
    whole: str, parts: tuple[str, ...], spread_out: tuple[str, ...]
) -> None:
    assert spread(Decimal(whole), decimals(*parts), 2) == decimals(*spread_out)


def test_more_parts_than_units_leave_the_later_ones_with_nothing() -> None:
    assert spread(Decimal("0.02"), decimals(*["0.004"] * 5), 2) == decimals("0.01", "0.01", "0", "0", "0")


def test_nothing_is_spread_over_nobody() -> None:
    assert spread(Decimal("0.00"), [], 2) == []


def test_a_whole_that_is_not_the_sum_of_its_parts_is_refused() -> None:
    with pytest.raises(NotAnAmountError):
        spread(Decimal("5.00"), decimals("1.00", "1.00"), 2)
    with pytest.raises(NotAnAmountError):
        spread(Decimal("0.01"), [], 2)
