"""§3: what a refund undoes, netted or taken back, in its month or later."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from tests.reference.builders import (
    AUGUST,
    JULY,
    JUNE,
    SEPTEMBER,
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
    scaled,
    told,
    total,
)
from tests.reference.inputs import (
    Assignment,
    Band,
    BillLine,
    Bound,
    Cycle,
    Earning,
    Known,
    Opening,
    PastCharge,
    Refunds,
    Scale,
)

ORIGINAL, RERATE = Refunds(), Refunds(take_back="rerate")
NEVER_NETTED = Refunds(within="none")


def july(day: int) -> date:
    return date(2026, 7, day)


def august(day: int) -> date:
    return date(2026, 8, day)


# --- links --------------------------------------------------------------------------------------------------


def test_a_related_record_comes_before_the_charge_that_is_equal() -> None:
    lines = [bill("a", "30", july(1)), bill("b", "10", july(2)), refund("r", "-10", july(9), related="a")]

    assert amounts(month(known(lines, agreement(percent("10"))))) == {"a": 2, "b": 1}


def test_of_equal_charges_the_latest_that_is_not_after_the_refund_is_undone() -> None:
    lines = [bill(line_id, "10", july(day)) for line_id, day in (("a", 1), ("b", 5), ("c", 9))]

    assert amounts(month(known([*lines, refund("r", "-10", july(7))], agreement(percent("10"))))) == {"a": 1, "c": 1}
    assert amounts(month(known([*lines, refund("r", "-12", july(7))], agreement(percent("10"))))) == {
        "a": Fraction("0.8"),  # b whole, then 2 of a
        "c": 1,
    }


@pytest.mark.parametrize(
    ("related", "pretax", "case"),
    [
        ("nothing", "-10", "unlinked_refund"),
        ("credit", "-10", "unlinked_refund"),
        ("a", "-31", "refund_exceeds_charge"),
        ("dollars", "-10", "unlinked_refund"),
        ("gone", "-10", "unlinked_refund"),
        ("gone", "0", "unlinked_refund"),
    ],
)
def test_a_related_record_that_cannot_be_undone_is_a_case(related: str, pretax: str, case: str) -> None:
    lines = [
        bill("a", "30", july(1)),
        bill("credit", "30", july(1), "credit"),
        bill("dollars", "30", july(1), currency="USD"),
        bill("gone", "5", july(1)),
        refund("q", "-5", july(2), related="gone"),
        refund("r", pretax, july(9), related=related),
    ]

    rates = {(JULY, "USD", "CNY"): Fraction(7)}
    assert cases(month(known(lines, agreement(percent("10")), rates=rates))) == [("r", case)]


def test_a_refund_of_nothing_takes_the_other_amounts_of_its_related_record() -> None:
    # A coupon is withdrawn: 8 of the list price go, nothing of what was to be paid.
    lines = [bill("a", "30", july(1), gross="40"), refund("r", "0", july(9), gross="-8", related="a")]

    assert amounts(month(known(lines, agreement(percent("10"), basis="gross")))) == {"a": Fraction("3.2")}


def test_a_refund_reaches_eighteen_cycles_back_and_no_further() -> None:
    back = {"a": date(2025, 1, 9), "b": date(2024, 12, 9)}  # 18 and 19 cycles before July 2026
    for line_id, case in (("a", []), ("b", [("r", "unlinked_refund")])):
        lines = [bill(line_id, "10", back[line_id]), refund("r", "-10", july(9))]
        first = Cycle(back[line_id].year, back[line_id].month)

        settled = play(known(lines, agreement(percent("10"), first=date(2024, 1, 1))), first, JULY)

        assert cases(settled[-1]) == case
        assert total(*settled) == (1 if case else 0)


def test_a_refund_over_several_charges_falls_into_pieces_that_add_up() -> None:
    # 3 takes 1 of each. Of its gross -1: Q 0.3333333333, then Q 0.6666666667 less that, then the rest.
    lines = [
        *(bill(line_id, "1", july(day), gross="1") for line_id, day in (("a", 1), ("b", 2))),
        bill("c", "2", july(3), gross="2"),
        refund("q", "-1", july(4), gross="0", related="c"),
        refund("r", "-3", july(9), gross="-1"),
    ]

    settled = month(known(lines, agreement(percent("10"), basis="gross")))

    of_r = [row for row in rows(settled, "netted") if row.line_id == "r"]
    assert told(of_r, "piece", "basis") == [
        (0, Fraction("-0.3333333333")),
        (1, Fraction("-0.3333333334")),
        (2, Fraction("-0.3333333333")),
    ]
    # All charges are netted to zero, with all of their gross.
    assert amounts(settled) == {}


def test_a_refund_keeps_its_piece_of_a_charge_that_is_no_longer_looked_at() -> None:
    # In July 15 take the 10 of February and 5 of January 2025, 18 cycles before. In August January is over:
    # its piece stands, the other 10 are linked as before, with their 20 of the refund's gross 30.
    lines = [
        bill("a", "10", date(2025, 1, 9), gross="20"),
        bill("b", "10", date(2025, 2, 9), gross="20"),
        refund("r", "-15", july(9), gross="-30"),
    ]
    terms = agreement(percent("10"), basis="gross", first=date(2025, 1, 1))

    settled = play(known(lines, terms), Cycle(2025, 1), Cycle(2025, 2), JULY, AUGUST)

    assert [total(one) for one in settled] == [2, 2, -3, 0]
    assert sorted(row.basis for row in settled[-1].looks[JULY].rows if row.line_id == "r") == [-20, -10]


def test_a_record_of_a_later_month_is_no_link() -> None:
    lines = [bill("a", "10", august(1)), refund("r", "-10", july(9), related="a")]

    settled = play(known(lines, agreement(percent("10"))), JULY, AUGUST)

    assert [cases(one) for one in settled] == [[("r", "unlinked_refund")], []]
    assert settled[1].closed == ()
    assert total(settled[1]) == 1


# --- netted or taken back -----------------------------------------------------------------------------------


def test_a_refund_of_the_same_month_is_netted_within_its_window_only() -> None:
    lines = [
        bill("a", "100", july(1), instance_id="i-1"),
        refund("r", "-100", july(11), instance_id="i-1"),
        bill("b", "100", july(1), instance_id="i-2"),
        refund("s", "-100", july(12), instance_id="i-2"),
    ]

    settled = month(known(lines, agreement(percent("10"), refunds=Refunds(window_days=10))))

    assert amounts(settled) == {"b": 10}
    assert amounts(settled, "adjustment") == {"s": -10}


def test_what_is_taken_back_follows_what_the_charge_earned_to_the_last_digit() -> None:
    # 10 earned on 30. After 10: Q(10 x 10/30) = 3.3333333333. After 20: Q(6.66...) = 6.6666666667,
    # so 3.3333333334 more. With the last 10 all is gone: 10 - 6.6666666667 = 3.3333333333.
    lines = [bill("a", "30", july(1)), *(refund(f"r{n}", "-10", july(n), related="a") for n in (2, 3, 4))]

    settled = month(known(lines, agreement(percent("33.3333333333333333"), refunds=NEVER_NETTED)))

    whole = 30 * Fraction("33.3333333333333333") / 100
    assert amounts(settled, "adjustment") == {
        "r2": Fraction("-3.3333333333"),
        "r3": Fraction("-3.3333333334"),
        "r4": -(whole - Fraction("6.6666666667")),
    }
    assert total(settled) == 0


def test_a_later_months_refund_takes_back_what_its_charge_earned_then() -> None:
    # July: 100 at 5 %. From August it is 9 %; the refund of half takes back half of the 5 earned in July.
    old, new = agreement(percent("5"), last=july(31)), agreement(percent("9"), number=2, first=august(1))
    lines = [bill("a", "100", july(1)), bill("b", "200", august(1), product_code="oss"), refund("r", "-50", august(9))]

    first, second = play(known(lines, old, new), JULY, AUGUST)

    assert amounts(first) == {"a": 5}
    assert amounts(second) == {"b": 18}
    taken = told(rows(second, "adjustment"), "line_id", "amount", "version", "cycle")
    assert taken == [("r", Fraction("-2.5"), 1, JULY)]
    assert told(rows(second, "netted"), "line_id", "basis") == [("r", -50)]


TWO_BANDS = {"spend": Scale("customer", (Band(Fraction(100), Fraction(5)), Band(None, Fraction(10))))}


@pytest.mark.parametrize(("policy", "together"), [(ORIGINAL, "7.5"), (RERATE, "5")])
def test_original_takes_back_the_charges_own_and_rerate_rates_the_month_again(policy: Refunds, together: str) -> None:
    # a: 50 at 5 % = 2.5. b: 50 at 5 % and 50 at 10 % = 7.5.
    # a is refunded in August. original: -2.5, leaving 7.5. rerate: b alone is 100 at 5 % = 5.
    lines = [bill("a", "50", july(1)), bill("b", "100", july(2)), refund("r", "-50", august(9), related="a")]

    settled = play(known(lines, agreement(scaled(), scales=TWO_BANDS, refunds=policy)), JULY, AUGUST)

    assert amounts(settled[0]) == {"a": Fraction("2.5"), "b": Fraction("7.5")}
    assert total(*settled) == Fraction(together)


@pytest.mark.parametrize("policy", [ORIGINAL, RERATE, NEVER_NETTED])
@pytest.mark.parametrize(
    "earn",
    [
        percent("7"),
        fixed("3"),
        fixed("3", "instance_month", prorate=True),
        fixed("3", "customer_month"),
        fixed("3", "usage_unit"),
        scaled(),
    ],
    ids=["percent", "line", "instance", "customer", "usage", "scale"],
)
@pytest.mark.parametrize(
    "bounds", [(), (Bound("cap", "customer", Fraction(2)),), (Bound("floor", "reseller", Fraction(9)),)]
)
@pytest.mark.parametrize("days", [(july(20), july(21)), (july(20), august(5)), (august(5), date(2026, 9, 5))])
def test_a_charge_that_is_refunded_whole_earns_nothing_over_all_months(
    policy: Refunds, earn: Earning, bounds: tuple[Bound, ...], days: tuple[date, date]
) -> None:
    lines = [
        bill("a", "30", july(3), usage="3", usage_unit="GB"),
        refund("r", "-10", days[0], usage="-1", usage_unit="GB"),
        refund("s", "-20", days[1], usage="-2", usage_unit="GB"),
    ]
    terms = agreement(earn, scales=TWO_BANDS, refunds=policy, bounds=bounds)

    settled = play(known(lines, terms), JULY, AUGUST, SEPTEMBER)

    assert total(*settled) == 0


def test_a_fixed_amount_comes_back_whole_with_the_refund_that_leaves_nothing() -> None:
    lines = [bill("a", "100", july(1)), refund("r", "-99", august(1)), refund("s", "-1", date(2026, 9, 1))]

    settled = play(known(lines, agreement(fixed("4"))), JULY, AUGUST, SEPTEMBER)

    assert [total(one) for one in settled] == [4, 0, -4]
    assert amounts(settled[2], "adjustment") == {"s": -4}


def test_a_monthly_amount_comes_back_when_nothing_is_left_of_its_month() -> None:
    lines = [
        bill("a", "10", july(1), instance_id="i-1", billing_item_code="cpu"),
        bill("b", "10", july(2), instance_id="i-1", billing_item_code="disk"),
        refund("r", "-10", august(1), related="a"),
        refund("s", "-10", date(2026, 9, 1), related="b"),
    ]

    settled = play(known(lines, agreement(fixed("4", "instance_month"))), JULY, AUGUST, SEPTEMBER)

    assert amounts(settled[0]) == {"a": 4, "b": 0}
    assert [total(one) for one in settled] == [4, 0, -4]


def test_a_monthly_amount_stays_while_a_free_line_that_counts_stands() -> None:
    # b costs nothing and counts too: netting a away would leave its month's amount to b, and so taking back leaves it.
    lines = [bill("a", "10", july(1)), bill("b", "0", july(2)), refund("r", "-10", august(1), related="a")]

    for policy in (ORIGINAL, RERATE):
        terms = agreement(fixed("4", "customer_month", zero=True), refunds=policy)
        assert total(*play(known(lines, terms), JULY, AUGUST)) == 4


def test_a_refund_goes_to_the_reseller_of_its_charge() -> None:
    moved = [
        Assignment("101", date(2026, 1, 1), july(31), "acme", "aurora"),
        Assignment("101", august(1), None, "acme", "borealis"),
    ]
    theirs = agreement(percent("50"), agreement="borealis-main", reseller="borealis")
    lines = [bill("a", "100", july(1)), refund("r", "-100", august(9))]

    settled = play(known(lines, agreement(percent("5")), theirs, assignments=moved), JULY, AUGUST)

    assert {row.owner for one in settled for row in one.rows} == {"aurora"}
    assert [total(one) for one in settled] == [5, -5]


# --- charges from before the opening ------------------------------------------------------------------------


def opened(*refunds: BillLine, left: str) -> Known:
    """100 was charged in June and earned 8; Aurora is settled here from July on."""
    past = PastCharge(bill("p", "100", date(2026, 6, 9)), "acme", Fraction(left), "aurora-main", 1, "old", Fraction(8))
    return known(refunds, agreement(percent("5")), openings=[Opening("aurora", JULY, past_charges=(past,))])


def test_a_past_charge_is_taken_back_by_what_it_earned() -> None:
    # A quarter was taken back before the opening: 2 of 8. The refund of 50 brings it to three quarters: 6.
    settled = month(opened(refund("r", "-50", july(9)), left="75"))

    taken = told(rows(settled, "adjustment"), "amount", "rule", "version", "customer", "cycle")
    assert taken == [(-4, "old", 1, "acme", JUNE)]


def test_taking_back_goes_on_from_what_was_taken_before_the_opening() -> None:
    # 1 earned on 3, of which 1 is taken back already: Q 0.3333333333. Another 1 brings it to Q 0.6666666667.
    past = PastCharge(bill("p", "3", date(2026, 6, 9)), "acme", Fraction(2), "aurora-main", 1, "old", Fraction(1))
    world = known([refund("r", "-1", july(9))], openings=[Opening("aurora", JULY, past_charges=(past,))])

    assert amounts(month(world), "adjustment") == {"r": Fraction("-0.3333333334")}


def test_no_more_is_taken_of_a_past_charge_than_is_left() -> None:
    assert cases(month(opened(refund("r", "-76", july(9)), left="75"))) == [("r", "refund_exceeds_charge")]
