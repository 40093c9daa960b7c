"""§4 to §6: which rule owns a line, and what it earns by it."""

from __future__ import annotations

from dataclasses import replace
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
    rule,
    scaled,
    told,
    total,
)
from tests.reference.inputs import Band, Cycle, Gate, Opening, RefusedError, Scale

DAY = date(2026, 7, 9)


def bands(*pairs: tuple[int | None, int]) -> tuple[Band, ...]:
    return tuple(Band(None if upto is None else Fraction(upto), Fraction(rate)) for upto, rate in pairs)


# --- §4: rules ----------------------------------------------------------------------------------------------


def test_an_exclusion_comes_before_any_rule_and_the_first_rule_that_matches_owns_the_line() -> None:
    rules = (
        rule(percent("5"), "ecs", "product_code == 'ecs'"),
        rule(percent("9"), "hangzhou", "region == 'cn-hangzhou'"),
        rule(percent("1"), "tagged", "product_code == 'rds' && tags.env"),  # neither true nor false on rds
    )
    lines = [
        bill("a", "100", DAY, region="cn-hangzhou"),
        bill("b", "100", DAY, region="cn-hangzhou", product_code="oss"),
        bill("c", "100", DAY, "adjustment"),
        bill("d", "100", DAY, product_code="rds", tags={"env": "prod"}),
        bill("e", "100", DAY, product_code="slb"),
    ]
    terms = agreement(*rules, exclusions=(("kind == 'adjustment'", "corrections earn nothing"),))

    settled = month(known(lines, terms))

    assert amounts(settled) == {"a": 5, "b": 9}
    assert told(rows(settled, "excluded"), "line_id", "basis", "reason") == [("c", 100, "corrections earn nothing")]
    assert cases(settled) == [("d", "bad_condition"), ("e", "no_rule")]


# --- §5: fixed amounts and gates ----------------------------------------------------------------------------


def test_a_fixed_amount_looks_only_at_charges_that_cost_something() -> None:
    lines = [bill("a", "10", DAY), bill("b", "0", DAY), bill("c", "-10", DAY, "credit")]

    assert amounts(month(known(lines, agreement(fixed("2"))))) == {"a": 2, "b": 0, "c": 0}
    assert amounts(month(known(lines, agreement(fixed("2", zero=True))))) == {"a": 2, "b": 2, "c": 0}


def test_a_monthly_amount_is_earned_once_by_the_first_line_of_its_instance_or_customer() -> None:
    lines = [
        bill("a", "10", date(2026, 7, 2), instance_id="i-1"),
        bill("b", "10", date(2026, 7, 1), instance_id="i-1"),
        bill("c", "10", date(2026, 7, 3), instance_id="i-2"),
        bill("d", "10", date(2026, 7, 4)),  # an absent instance is one too
        bill("e", "10", date(2026, 7, 5), account="102", instance_id="i-1"),
    ]

    by_instance = month(known(lines, agreement(fixed("6", "instance_month"))))
    by_customer = month(known(lines, agreement(fixed("6", "customer_month"))))

    assert amounts(by_instance) == {"b": 6, "a": 0, "c": 6, "d": 6, "e": 6}
    assert amounts(by_customer) == {"b": 6, "a": 0, "c": 0, "d": 0, "e": 6}


def test_a_prorated_amount_counts_each_day_served_once() -> None:
    # 1 to 5 July and 4 to 9 July are 9 days; served until August counts to the 31st: 12 days.
    lines = [
        bill(
            "a",
            "10",
            date(2026, 7, 5),
            instance_id="i-1",
            service_from=date(2026, 6, 20),
            service_until=date(2026, 7, 5),
        ),
        bill(
            "b",
            "10",
            date(2026, 7, 9),
            instance_id="i-1",
            service_from=date(2026, 7, 4),
            service_until=date(2026, 7, 9),
        ),
        bill(
            "c",
            "10",
            date(2026, 7, 20),
            instance_id="i-2",
            service_from=date(2026, 7, 20),
            service_until=date(2026, 8, 9),
        ),
        bill("d", "10", date(2026, 7, 20), instance_id="i-3"),  # no service days: its date alone
    ]

    found = amounts(month(known(lines, agreement(fixed("31", "instance_month", prorate=True)))))

    assert found == {"a": 9, "b": 0, "c": 12, "d": 1}


def test_a_monthly_amount_is_that_of_the_months_last_version_that_has_it() -> None:
    monthly = rule(fixed("6", "customer_month"), "support")
    old = agreement(monthly, last=date(2026, 7, 15))
    more = agreement(rule(fixed("9", "customer_month"), "support"), number=2, first=date(2026, 7, 16))
    none = agreement(rule(percent("5"), "support"), number=2, first=date(2026, 7, 16))
    lines = [bill("a", "100", date(2026, 7, 15)), bill("b", "100", date(2026, 7, 16))]

    assert amounts(month(known(lines, old, more))) == {"a": 9, "b": 0}
    assert amounts(month(known(lines, old, none))) == {"a": 6, "b": 5}


def test_an_amount_per_unit_of_usage_counts_net_usage() -> None:
    lines = [
        bill("a", "10", DAY, usage="5.5", usage_unit="GB"),
        refund("r", "-2", DAY, usage="-1.5", usage_unit="GB"),
        bill("b", "10", DAY, "credit"),  # a credit uses nothing and needs to state nothing
    ]

    assert amounts(month(known(lines, agreement(fixed("2", "usage_unit"))))) == {"a": 8, "b": 0}


def test_below_its_figure_a_gate_lets_otherwise_earn() -> None:
    gated = percent("10", gate=Gate("active-customers", Fraction(20), percent("4")))
    world = [bill("a", "100", DAY)]

    def with_figure(value: int) -> dict[str, Fraction]:
        figures = {("aurora", "active-customers", JULY): Fraction(value)}
        return amounts(month(known(world, agreement(gated), figures=figures)))

    assert with_figure(20) == {"a": 10}
    assert with_figure(19) == {"a": 4}
    assert cases(month(known(world, agreement(gated)))) == [("a", "no_figure")]


def test_a_line_below_its_gate_is_no_member_of_the_scale() -> None:
    gated = rule(scaled(gate=Gate("points", Fraction(5))), "gated", "product_code == 'oss'")
    terms = agreement(gated, scaled(), scales={"spend": Scale("customer", bands((100, 5), (None, 10)))})
    lines = [bill("a", "100", DAY, product_code="oss"), bill("b", "100", date(2026, 7, 10))]

    def with_points(points: int) -> dict[str, Fraction]:
        return amounts(month(known(lines, terms, figures={("aurora", "points", JULY): Fraction(points)})))

    assert with_points(4) == {"a": 0, "b": 5}
    assert with_points(5) == {"a": 5, "b": 10}


# --- §6: scales ---------------------------------------------------------------------------------------------


def test_a_graduated_scale_cuts_lines_at_its_bands_and_credits_climb_down_again() -> None:
    # 80 at 5 %; then 20 at 5 % and 30 at 10 %; then -40: 30 down at 10 %, 10 at 5 %; then 0 at 90.
    terms = agreement(scaled(), scales={"spend": Scale("customer", bands((100, 5), (None, 10)))})
    lines = [
        bill("a", "80", date(2026, 7, 1)),
        bill("b", "50", date(2026, 7, 2)),
        bill("c", "-40", date(2026, 7, 3), "credit"),
        bill("d", "0", date(2026, 7, 4)),
    ]

    settled = month(known(lines, terms))

    assert told(settled.rows, "line_id", "band", "basis", "amount") == [
        ("a", 1, 80, 4),
        ("b", 1, 20, 1),
        ("b", 2, 30, 3),
        ("c", 1, -10, Fraction("-0.5")),
        ("c", 2, -30, -3),
        ("d", 1, 0, 0),
    ]


@pytest.mark.parametrize(("scope", "earned"), [("customer", "17.5"), ("reseller", "25"), ("product", "10")])
def test_a_scale_adds_up_its_scope(scope: str, earned: str) -> None:
    # acme: ecs 100, oss 50; birch: ecs 50. Up to 100 earns 5 %, above 20 %.
    # customer: 5 + 50 at 20 = 15 of acme, 2.5 of birch; reseller: 5 + 100 at 20 = 25; product: all 200 at 5.
    lines = [
        bill("a", "100", date(2026, 7, 1)),
        bill("b", "50", date(2026, 7, 2), product_code="oss"),
        bill("c", "50", date(2026, 7, 3), account="102"),
    ]
    terms = agreement(scaled(), scales={"spend": Scale(scope, bands((100, 5), (None, 20)))})

    assert total(month(known(lines, terms))) == Fraction(earned)


@pytest.mark.parametrize(("pretax", "earned"), [("40", 5), ("41", Fraction("10.1"))])
def test_all_units_rates_every_member_by_where_the_total_lies(pretax: str, earned: Fraction) -> None:
    # 60 + 40 = 100 still lies in the lower band: 5 % of 100. 101 lies above: 10 % of 101.
    terms = agreement(scaled(), scales={"spend": Scale("customer", bands((100, 5), (None, 10)), "all_units")})
    lines = [bill("a", "60", date(2026, 7, 1)), bill("b", pretax, date(2026, 7, 2))]

    assert total(month(known(lines, terms))) == earned


def test_all_units_may_measure_usage_of_one_unit_and_earn_on_the_basis() -> None:
    # 3 + 2 GB lie in the band up to 5: 5 % of each. What is measured in requests has no GB; what states nothing waits.
    scale = Scale("customer", bands((5, 5), (None, 10)), "all_units", measure="usage", unit="GB")
    lines = [
        bill("a", "10", DAY, usage="3", usage_unit="GB"),
        bill("b", "20", DAY, usage="2", usage_unit="GB"),
        bill("c", "5", DAY, usage="900", usage_unit="requests"),
        bill("d", "5", DAY),
    ]

    settled = month(known(lines, agreement(scaled(), scales={"spend": scale})))

    assert amounts(settled) == {"a": Fraction("0.5"), "b": 1, "c": Fraction("0.25")}
    assert cases(settled) == [("d", "missing_value")]


def test_all_units_may_measure_another_amount_than_the_basis() -> None:
    scale = Scale("customer", bands((100, 5), (None, 10)), "all_units", measure="gross")

    assert total(month(known([bill("a", "50", DAY, gross="101")], agreement(scaled(), scales={"spend": scale})))) == 5


def test_a_total_below_zero_lies_in_the_first_band() -> None:
    terms = agreement(scaled(), scales={"spend": Scale("customer", bands((100, 5), (None, 10)), "all_units")})

    assert amounts(month(known([bill("a", "-20", DAY, "credit")], terms))) == {"a": -1}


def yearly(**more: object) -> Scale:
    return Scale("customer", bands((100, 5), (None, 10)), over="contract_year", **more)  # type: ignore[arg-type]


def test_a_graduated_contract_year_goes_on_where_the_last_month_ended_and_begins_anew_after_twelve() -> None:
    # The year runs from July. July 80 at 5 %; August 20 at 5 % and 10 at 10 %; next July 80 at 5 % again.
    terms = agreement(scaled(), scales={"spend": yearly()}, first=date(2026, 7, 1))
    next_july = JULY.plus(12)
    lines = [
        bill("a", "80", DAY),
        bill("b", "30", date(2026, 8, 1)),
        bill("c", "80", date(2027, 7, 1)),
    ]

    settled = play(known(lines, terms), *(JULY.plus(n) for n in range(13)))

    assert settled[-1].cycle == next_july
    assert [total(settled[n]) for n in (0, 1, 12)] == [4, 2, 4]


def test_totals_at_the_opening_are_what_the_contract_year_came_to_before() -> None:
    # 70 before July; July 50: 30 at 5 %, 20 at 10 %. The year ends in December; January begins at 0.
    terms = agreement(scaled(), scales={"spend": yearly()})
    opening = Opening("aurora", JULY, scale_totals={("aurora-main", "spend", "acme", None): Fraction(70)})

    lines = [bill("a", "50", DAY), bill("b", "50", date(2027, 1, 9))]

    settled = play(known(lines, terms, openings=[opening]), *(JULY.plus(n) for n in range(7)))

    assert [total(settled[n]) for n in (0, 6)] == [Fraction("3.5"), Fraction("2.5")]


def test_a_contract_year_stands_on_months_that_are_no_longer_looked_at_as_they_were() -> None:
    # January 2025 is 80 and February 30: 20 at 5 %, 10 at 10 %. In August 2026, 19 and 18 cycles later, late
    # lines come for both. January is over; February's 10 are all above 100 and earn 10 %.
    terms = agreement(scaled(), scales={"spend": yearly()}, first=date(2025, 1, 1))
    lines = [bill("a", "80", date(2025, 1, 9)), bill("b", "30", date(2025, 2, 9))]
    late = [bill("c", "80", date(2025, 1, 9)), bill("d", "10", date(2025, 2, 20))]

    settled = play(
        known(lines, terms), *(Cycle(2025, 1).plus(n) for n in range(20)), late=[(AUGUST, line) for line in late]
    )

    assert [total(settled[n]) for n in (0, 1, 18, 19)] == [4, 2, 0, 1]


def test_a_retroactive_scale_brings_the_years_earlier_months_to_the_rate_now_reached() -> None:
    # June 60 at 5 % = 3. July 60: the year is at 120, so 10 % = 6, and June's 60 get 5 % more = 3.
    terms = agreement(scaled(), scales={"spend": yearly(method="all_units", retroactive=True)})
    lines = [bill("a", "60", date(2026, 6, 1)), bill("b", "60", DAY)]

    june, july = play(known(lines, terms), JUNE, JULY)

    assert total(june) == 3
    assert told(july.rows, "kind", "customer", "rule", "amount") == [
        ("commission", "acme", "all", 6),
        ("retroactive", "acme", None, 3),
    ]


def test_the_months_last_version_says_whether_a_scale_is_retroactive() -> None:
    # Retroactive from July on: July brings June's 60 from 5 % to 10 %, each by its own version's bands.
    plain, back = yearly(method="all_units"), yearly(method="all_units", retroactive=True)
    old = agreement(scaled(), scales={"spend": plain}, last=date(2026, 6, 30))
    new = agreement(scaled(), scales={"spend": back}, number=2, first=date(2026, 7, 1))
    lines = [bill("a", "60", date(2026, 6, 1)), bill("b", "60", DAY)]

    assert [total(one) for one in play(known(lines, old, new), JUNE, JULY)] == [3, 9]
    assert [total(one) for one in play(known(lines, replace(old, last=None)), JUNE, JULY)] == [3, 6]


def test_of_equal_lines_the_smaller_amount_comes_first() -> None:
    # 20 at 5 %, then 90: 80 at 5 %, 10 at 10 %.
    terms = agreement(scaled(), scales={"spend": Scale("customer", bands((100, 5), (None, 10)))})

    assert amounts(month(known([bill("a", "90", DAY), bill("b", "20", DAY)], terms))) == {"b": 1, "a": 5}


def test_a_refund_takes_back_what_a_retroactive_scale_added_too() -> None:
    # a earned 3 in June and 3 more in July; refunded whole in August. September adds nothing to it.
    terms = agreement(scaled(), scales={"spend": yearly(method="all_units", retroactive=True)})
    lines = [
        bill("a", "60", date(2026, 6, 1)),
        bill("b", "60", DAY),
        refund("r", "-60", date(2026, 8, 1), related="a"),
        bill("c", "10", date(2026, 9, 1)),
    ]

    settled = play(known(lines, terms), JUNE, JULY, AUGUST, SEPTEMBER)

    assert [total(one) for one in settled] == [3, 9, -6, 1]


def test_what_a_refunded_charge_still_gains_is_taken_back_as_it_is_gained() -> None:
    # a: 60 at 5 % = 3, refunded in July: -3. August brings the year to 110 and a, still a member by
    # `original`, to 10 %: +3 and, in the same month, -3. c earns 5.
    terms = agreement(scaled(), scales={"spend": yearly(method="all_units", retroactive=True)})
    lines = [
        bill("a", "60", date(2026, 6, 1)),
        refund("r", "-60", DAY, related="a"),
        bill("c", "50", date(2026, 8, 1)),
    ]

    settled = play(known(lines, terms), JUNE, JULY, AUGUST)

    assert [total(one) for one in settled] == [3, -3, 5]
    assert amounts(settled[2], "retroactive", "adjustment") == {"": 3, "r": -3}


@pytest.mark.parametrize(
    "scale",
    [
        Scale("customer", bands((None, 5)), measure="gross"),
        Scale("customer", bands((None, 5)), over="contract_year", retroactive=True),
        Scale("customer", bands((None, 5)), "all_units", retroactive=True),
    ],
)
def test_scales_that_mean_nothing_are_refused(scale: Scale) -> None:
    with pytest.raises(RefusedError):
        month(known([], agreement(scaled(), scales={"spend": scale})))
