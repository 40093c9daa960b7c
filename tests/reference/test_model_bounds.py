"""§7: caps, floors, and what is held back."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from tests.reference.arithmetic import in_proportion
from tests.reference.builders import (
    AUGUST,
    JULY,
    SEPTEMBER,
    agreement,
    amounts,
    bill,
    known,
    month,
    percent,
    play,
    refund,
    rows,
    rule,
    told,
    total,
)
from tests.reference.inputs import Bound, Holdback, Refunds, RefusedError
from tests.reference.model import Settled

DAY = date(2026, 7, 9)


def cap(scope: str, amount: str, over: str = "month") -> Bound:
    return Bound("cap", scope, Fraction(amount), over)


def floor(scope: str, amount: str, over: str = "month") -> Bound:
    return Bound("floor", scope, Fraction(amount), over)


def found(settled: Settled) -> list[tuple[object, ...]]:
    fields = ("kind", "rule", "customer", "account", "instance", "line_id", "amount")
    return told(rows(settled, "cap", "floor"), *fields)


@pytest.mark.parametrize(
    ("bound", "lines"),
    [
        # Each line earns a tenth: a 10, b 20 of acme's i-1; c 30 of acme's i-2; d 40 of birch.
        (cap("line", "15"), [("b", -5), ("c", -15), ("d", -25)]),
        (cap("instance", "25"), [("i-1", -5), ("i-2", -5), ("i-1", -15)]),
        (cap("customer", "50"), [("acme", -10)]),
        (cap("reseller", "99"), [(None, -1)]),
        (floor("line", "25"), [("a", 15), ("b", 5)]),
        (floor("customer", "50"), [("birch", 10)]),
    ],
)
def test_a_bound_brings_each_of_its_scopes_to_its_amount(bound: Bound, lines: list[tuple[object, ...]]) -> None:
    july = [
        bill("a", "100", date(2026, 7, 1), instance_id="i-1"),
        bill("b", "200", date(2026, 7, 2), instance_id="i-1"),
        bill("c", "300", date(2026, 7, 3), instance_id="i-2"),
        bill("d", "400", date(2026, 7, 4), account="102", instance_id="i-1"),
    ]

    settled = month(known(july, agreement(percent("10"), bounds=(bound,))))

    name = {"line": "line_id", "instance": "instance", "customer": "customer", "reseller": "customer"}[bound.scope]
    assert told(rows(settled, "cap", "floor"), name, "amount") == lines


def test_bounds_go_from_narrow_to_wide_and_a_rule_comes_before_the_agreement() -> None:
    # a earns 30, capped at 25 as a line. With b's 10 the rule has 35, capped at 32 for the customer.
    # With c's 20 of another rule acme has 52: the agreement's cap takes 2. Birch has nothing.
    rules = (
        rule(percent("10"), "ecs", "product_code == 'ecs'", bounds=(cap("customer", "32"), cap("line", "25"))),
        rule(percent("20"), "others"),
    )
    lines = [
        bill("a", "300", date(2026, 7, 1)),
        bill("b", "100", date(2026, 7, 2)),
        bill("c", "100", date(2026, 7, 3), product_code="oss"),
    ]

    settled = month(known(lines, agreement(*rules, bounds=(cap("customer", "50"),))))

    assert found(settled) == [
        ("cap", "ecs", "acme", "101", None, "a", -5),
        ("cap", "ecs", "acme", None, None, "", -3),
        ("cap", None, "acme", None, None, "", -2),
    ]


def test_a_rules_cap_counts_what_the_agreements_line_cap_already_took_of_its_lines() -> None:
    # Two lines earn 20 each and are capped at 10 each by the agreement: 20. The rule's 15 takes 5, not 25.
    terms = agreement(rule(percent("10"), bounds=(cap("customer", "15"),)), bounds=(cap("line", "10"),))

    settled = month(known([bill("a", "200", DAY), bill("b", "200", date(2026, 7, 10))], terms))

    assert [row.amount for row in rows(settled, "cap")] == [-10, -10, -5]
    assert total(settled) == 15


def test_a_floor_is_for_those_who_earned_something() -> None:
    lines = [bill("a", "0", DAY), bill("b", "10", DAY, account="102")]

    assert found(month(known(lines, agreement(percent("10"), bounds=(floor("customer", "5"),))))) == [
        ("floor", None, "birch", None, None, "", 4)
    ]


def test_a_bound_line_is_shared_in_proportion_and_the_rest_goes_to_the_largest_remainder() -> None:
    one, two = Fraction(1), Fraction(2)

    # -10 over 1, 1, 1: each Q -3.3333333333; the missing 0.0000000001 goes to the first of three equals.
    assert in_proportion(Fraction(-10), [one, one, one]) == [
        Fraction("-3.3333333334"),
        Fraction("-3.3333333333"),
        Fraction("-3.3333333333"),
    ]
    # 1 over 1, 2: Q 0.3333333333 lost a third of a unit, Q 0.6666666667 gained one: they already add up.
    assert in_proportion(one, [one, two]) == [Fraction("0.3333333333"), Fraction("0.6666666667")]
    # 20 over 1, 2: Q 6.6666666667 and 13.3333333333 add up as well.
    assert sum(in_proportion(Fraction(20), [one, two])) == 20


def test_a_refund_takes_back_its_share_of_a_cap_as_well() -> None:
    # a earns 10 and b 30, capped at 20: a bears 5 of the 20 taken. Refunded in August it takes back 5.
    lines = [
        bill("a", "100", date(2026, 7, 1)),
        bill("b", "300", date(2026, 7, 2)),
        refund("r", "-100", date(2026, 8, 1), related="a"),
    ]

    settled = play(known(lines, agreement(percent("10"), bounds=(cap("customer", "20"),))), JULY, AUGUST)

    assert [total(one) for one in settled] == [20, -5]


def test_rerate_lets_others_earn_up_to_the_cap_that_a_refund_leaves_free() -> None:
    lines = [
        bill("a", "100", date(2026, 7, 1)),
        bill("b", "300", date(2026, 7, 2)),
        refund("r", "-100", date(2026, 8, 1), related="a"),
    ]
    terms = agreement(percent("10"), bounds=(cap("customer", "20"),), refunds=Refunds(take_back="rerate"))

    settled = play(known(lines, terms), JULY, AUGUST)

    # b alone earns 30, capped at 20 as before: a's -10 and 10 less of the cap.
    assert [total(one) for one in settled] == [20, 0]
    assert set(told(rows(settled[1], "adjustment"), "corrects", "amount")) == {("commission", -10), ("cap", 10)}


def test_a_bound_is_that_of_the_months_last_version() -> None:
    old = agreement(percent("10"), last=date(2026, 7, 15), bounds=(cap("customer", "5"),))
    new = agreement(percent("10"), number=2, first=date(2026, 7, 16), bounds=(cap("customer", "12"),))
    lines = [bill("a", "100", date(2026, 7, 15)), bill("b", "100", date(2026, 7, 16))]

    assert told(rows(month(known(lines, old, new)), "cap"), "amount", "version") == [(-8, 2)]


def test_a_rule_that_the_last_version_no_longer_has_keeps_its_bound() -> None:
    bounded = rule(percent("10"), "ecs", bounds=(cap("customer", "5"),))
    old = agreement(bounded, last=date(2026, 7, 15))
    new = agreement(rule(percent("1"), "rest"), number=2, first=date(2026, 7, 16))

    settled = month(known([bill("a", "100", date(2026, 7, 15))], old, new))

    assert told(rows(settled, "cap"), "amount", "version", "rule") == [(-5, 1, "ecs")]


def test_a_years_cap_takes_what_goes_beyond_it_and_gives_back_what_no_longer_does() -> None:
    # 15 a year. July 10. August 10: 20, so -5. September 10: 30, so -15 in all and -10 now.
    # October -18: 12 without cap lines, so all 15 come back.
    terms = agreement(percent("10"), bounds=(cap("customer", "15", "contract_year"),))
    lines = [
        bill("a", "100", DAY),
        bill("b", "100", date(2026, 8, 1)),
        bill("c", "100", date(2026, 9, 1)),
        bill("d", "-180", date(2026, 10, 1), "credit"),
    ]

    settled = play(known(lines, terms), JULY, AUGUST, SEPTEMBER, SEPTEMBER.plus(1))

    assert [[row.amount for row in rows(one, "cap")] for one in settled] == [[], [-5], [-10], [15]]
    assert total(*settled) == 12


def test_a_years_cap_falls_on_the_charges_of_the_month_that_goes_beyond_it() -> None:
    # July's charge earned 10 and bears nothing of August's -5: refunded in September, all 10 come back.
    terms = agreement(percent("10"), bounds=(cap("customer", "15", "contract_year"),))
    lines = [
        bill("a", "100", DAY),
        bill("b", "100", date(2026, 8, 1)),
        refund("r", "-100", date(2026, 9, 1), related="a"),
    ]

    settled = play(known(lines, terms), JULY, AUGUST, SEPTEMBER)

    assert [total(one) for one in settled] == [10, 5, -10]


def test_a_years_floor_is_drawn_in_its_last_month() -> None:
    # The year is 2026. 30 are promised, 10 + 5 earned; December draws the 15 that are missing.
    terms = agreement(percent("10"), bounds=(floor("reseller", "30", "contract_year"),))
    lines = [bill("a", "100", DAY), bill("b", "50", date(2026, 8, 1))]

    settled = play(known(lines, terms), *(JULY.plus(n) for n in range(7)))

    assert [total(one) for one in settled] == [10, 5, 0, 0, 0, 15, 0]


@pytest.mark.parametrize(
    "bounds",
    [
        (cap("customer", "5"), floor("customer", "6")),
        (cap("customer", "9"), floor("customer", "6", "contract_year")),
        (cap("line", "9", "contract_year"),),
        (cap("customer", "9"), cap("customer", "8")),
    ],
)
def test_bounds_that_contradict_each_other_are_refused(bounds: tuple[Bound, ...]) -> None:
    with pytest.raises(RefusedError):
        month(known([], agreement(percent("5"), bounds=bounds)))


# --- holdback -----------------------------------------------------------------------------------------------


def test_a_holdback_is_released_after_its_months() -> None:
    # July earns 9, capped at 8: a tenth is 0.8. August earns nothing; September releases it, once.
    terms = agreement(percent("9"), bounds=(cap("customer", "8"),), holdback=Holdback(Fraction(10), 2))

    settled = play(known([bill("a", "100", DAY)], terms), JULY, AUGUST, SEPTEMBER, SEPTEMBER.plus(1))

    assert [total(one) for one in settled] == [Fraction("7.2"), 0, Fraction("0.8"), 0]
    assert amounts(settled[2], "release") == {"": Fraction("0.8")}


def test_nothing_is_held_back_of_a_loss_nor_released_again_when_a_refund_comes() -> None:
    terms = agreement(percent("10"), holdback=Holdback(Fraction(50), 1))
    lines = [
        bill("a", "100", DAY),
        refund("r", "-100", date(2026, 8, 1)),
        bill("b", "-20", date(2026, 8, 2), "credit"),
    ]

    july, august = play(known(lines, terms), JULY, AUGUST)

    assert total(july) == 5
    # August: the 5 are released, the refund takes back 10, the credit -2.
    assert told([row for row in august.rows if row.amount != 0], "kind", "amount") == [
        ("commission", -2),
        ("release", 5),
        ("adjustment", -10),
    ]
