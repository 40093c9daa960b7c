"""One mechanism (§8): what is due by what is known now, less what has been posted."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.reference.builders import (
    ASSIGNED,
    AUGUST,
    JULY,
    SEPTEMBER,
    agreement,
    amounts,
    bill,
    cases,
    fixed,
    known,
    lock,
    percent,
    play,
    refund,
    rows,
    rule,
    scaled,
    told,
    total,
)
from tests.reference.checks import unexplained
from tests.reference.inputs import (
    Approved,
    Assignment,
    Band,
    BillLine,
    Bound,
    Cycle,
    Gate,
    Known,
    Refunds,
    Scale,
    Version,
)
from tests.reference.model import Settled, settle_cycle

DAY = date(2026, 7, 9)


def test_late_data_is_posted_in_the_next_month_and_the_locked_one_stays() -> None:
    late = bill("b", "50", DAY)

    july, august, september = play(
        known([bill("a", "100", DAY)], agreement(percent("10"))), JULY, AUGUST, SEPTEMBER, late=[(AUGUST, late)]
    )

    assert total(july) == 10
    fields = ("kind", "corrects", "line_id", "cycle", "amount")
    assert told(august.rows, *fields) == [("adjustment", "commission", "b", JULY, 5)]
    assert september.rows == ()


def test_late_data_moves_every_line_that_stands_after_it_in_its_scale() -> None:
    # Known in time: b 100 at 5 % = 5. A late line before it takes the first 40: 2; b is 60 at 5 % and 40 at 10 % = 7.
    terms = agreement(
        scaled(), scales={"spend": Scale("customer", (Band(Fraction(100), Fraction(5)), Band(None, Fraction(10))))}
    )
    late = bill("a", "40", date(2026, 7, 1))

    _, august = play(known([bill("b", "100", DAY)], terms), JULY, AUGUST, late=[(AUGUST, late)])

    assert set(told(august.rows, "line_id", "band", "amount")) == {("a", 1, 2), ("b", 1, -2), ("b", 2, 4)}


def test_a_corrected_assignment_takes_from_one_reseller_and_gives_to_the_other() -> None:
    world = known(
        [bill("a", "100", DAY)],
        agreement(percent("10")),
        agreement(percent("7"), agreement="borealis-main", reseller="borealis"),
    )
    july = settle_cycle(world, JULY)
    corrected = replace(world, assignments=[Assignment("101", date(2026, 7, 1), None, "acme", "borealis")])

    august = settle_cycle(corrected, AUGUST, [july])

    assert set(told(august.rows, "owner", "agreement", "amount")) == {
        ("aurora", "aurora-main", -10),
        ("borealis", "borealis-main", 7),
    }


def test_a_figure_and_a_rate_that_come_late_settle_their_cases() -> None:
    gated = rule(percent("10", gate=Gate("points", Fraction(5))), "gated", "currency == 'CNY'")
    lines = [bill("a", "100", DAY), bill("b", "10", DAY, currency="USD")]
    world = known(lines, agreement(gated, percent("10")))
    july = settle_cycle(world, JULY)
    assert cases(july) == [("a", "no_figure"), ("b", "no_fx_rate")]

    later = replace(world, figures={("aurora", "points", JULY): Fraction(5)}, rates={(JULY, "USD", "CNY"): Fraction(7)})
    august = settle_cycle(later, AUGUST, [july])

    assert amounts(august, "adjustment") == {"a": 10, "b": 7}
    assert set(told(august.closed, "line_id", "case")) == {("a", "no_figure"), ("b", "no_fx_rate")}

    september = settle_cycle(replace(later, figures={}), SEPTEMBER, [july, august])  # the figure was withdrawn
    assert amounts(september, "adjustment") == {"a": -10}
    assert cases(september) == [("a", "no_figure")]


def test_a_case_that_only_the_new_look_finds_is_opened_with_the_differences() -> None:
    world = known([bill("a", "100", DAY)], agreement(percent("10")))
    july = settle_cycle(world, JULY)

    august = settle_cycle(replace(world, assignments=()), AUGUST, [july])

    assert amounts(august, "adjustment") == {"a": -10}
    assert told(august.held, "cycle", "case", "basis") == [(JULY, "unmapped_account", 100)]
    september = settle_cycle(replace(world, assignments=()), SEPTEMBER, [july, august])
    assert (september.rows, september.held) == ((), ())  # it is open already


def test_a_backdated_version_is_posted_as_the_difference() -> None:
    world = known([bill("a", "100", DAY)], agreement(percent("10")))
    july = settle_cycle(world, JULY)
    both = [
        agreement(percent("10"), last=date(2026, 6, 30)),
        agreement(percent("12"), number=2, first=date(2026, 7, 1)),
    ]

    august = settle_cycle(replace(world, versions=both), AUGUST, [july])

    assert set(told(august.rows, "version", "amount")) == {(1, -10), (2, 12)}


def test_an_approved_adjustment_is_posted_once_and_never_compared() -> None:
    approved = [Approved("adj-1", "aurora-main", JULY, Fraction(9), "goodwill", "acme")]
    world = known([], agreement(percent("10")), adjustments=approved)

    in_time = play(world, JULY, AUGUST)
    first = settle_cycle(replace(world, adjustments=()), JULY)
    later = settle_cycle(world, AUGUST, [first])

    assert [total(one) for one in in_time] == [9, 0]
    assert told(later.rows, "amount", "cycle", "reason", "customer") == [(9, JULY, "goodwill", "acme")]


def test_a_later_month_of_a_contract_year_moves_with_the_earlier_one() -> None:
    # July 60 and August 60 over a yearly 100: August 40 at 5 % and 20 at 10 %. 50 of July go under rerate
    # in September: then August is 60 at 5 %, so July -2.5 and August -2 at 10 % + 1 at 5 %.
    scale = Scale("customer", (Band(Fraction(100), Fraction(5)), Band(None, Fraction(10))), over="contract_year")
    lines = [
        bill("a", "60", DAY),
        bill("b", "60", date(2026, 8, 1)),
        refund("r", "-50", date(2026, 9, 1), related="a"),
    ]
    terms = agreement(scaled(), scales={"spend": scale}, refunds=Refunds(take_back="rerate"))

    settled = play(known(lines, terms), JULY, AUGUST, SEPTEMBER)

    assert [total(one) for one in settled] == [3, 4, Fraction("-3.5")]
    assert set(told(rows(settled[2], "adjustment"), "line_id", "cycle", "band", "amount")) == {
        ("a", JULY, 1, Fraction("-2.5")),
        ("b", AUGUST, 1, 1),
        ("b", AUGUST, 2, -2),
    }


def test_what_is_older_than_eighteen_cycles_stands_as_last_settled() -> None:
    charged, late = bill("a", "100", date(2025, 1, 9)), bill("b", "100", date(2025, 1, 9), instance_id="i-2")
    terms = agreement(percent("10"), first=date(2025, 1, 1))
    january = settle_cycle(known([charged], terms), Cycle(2025, 1))
    lines = [charged, late, refund("r", "-10", DAY)]  # July 2026 is 18 cycles later, August 19

    july = settle_cycle(known(lines, terms), JULY, [january])
    more = [*lines, refund("s", "-10", DAY)]
    august = settle_cycle(known(more, agreement(percent("50"), first=date(2025, 1, 1))), AUGUST, [january, july])

    assert amounts(july, "adjustment") == {"b": 10, "r": -1}
    assert amounts(august, "adjustment") == {}
    # r keeps its link; s came when its charge's cycle was no longer looked at.
    assert cases(august) == [("s", "unlinked_refund")]
    assert list(unexplained(august.looks[JULY])) == []


def test_months_are_settled_in_order() -> None:
    with pytest.raises(ValueError, match="not settled"):
        settle_cycle(known([bill("a", "100", DAY)], agreement(percent("10"))), AUGUST)


# --- whatever the months ------------------------------------------------------------------------------------

MONTHS = (JULY, AUGUST, SEPTEMBER)
EXAMPLES = int(os.environ.get("CLEARBOOK_EXAMPLES", "30"))
SOME = settings(max_examples=EXAMPLES, print_blob=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])
BANDS = (Band(Fraction(30), Fraction(5)), Band(Fraction(50), Fraction(10)), Band(None, Fraction(20)))
EARNINGS = (
    percent("7"),
    fixed("3"),
    fixed("3", "instance_month", prorate=True),
    fixed("3", "customer_month"),
    fixed("0.5", "usage_unit"),
    scaled(),
    scaled(gate=Gate("points", Fraction(8), fixed("1", "customer_month"))),
)
SCALES = (
    Scale("customer", BANDS),
    Scale("reseller", BANDS, "all_units"),
    Scale("product", BANDS, over="contract_year"),
    Scale("customer", BANDS, "all_units", "contract_year", retroactive=True),
)
BOUNDS = (
    Bound("cap", "line", Fraction(2)),
    Bound("cap", "instance", Fraction(4)),
    Bound("floor", "customer", Fraction(5)),
    Bound("cap", "customer", Fraction(8), "contract_year"),
    Bound("cap", "reseller", Fraction(9)),
)


@st.composite
def terms(draw: st.DrawFn) -> list[Version]:
    """Aurora's one or two versions, and one of Borealis."""
    whens = {"oss": "product_code == 'oss'", "all": "`true`"}
    policy = draw(st.sampled_from([Refunds(), Refunds(within="none"), Refunds(window_days=5), Refunds("rerate")]))
    found = []
    for number in (1, 2):
        rules = tuple(
            rule(draw(st.sampled_from(EARNINGS)), id_, when, bounds=tuple(draw(bounds())))
            for id_, when in whens.items()
        )
        scales = {"spend": draw(st.sampled_from(SCALES))}
        found.append(agreement(*rules, number=number, scales=scales, bounds=tuple(draw(bounds())), refunds=policy))
    other = agreement(percent("4"), agreement="borealis-main", reseller="borealis", refunds=policy)
    if draw(st.booleans()):
        change = date(2026, draw(st.sampled_from([7, 8])), 5)
        first, second = replace(found[0], last=change - timedelta(days=1)), replace(found[1], first=change)
        return [first, second, other]
    return [found[0], other]


def bounds() -> st.SearchStrategy[list[Bound]]:
    return st.lists(st.sampled_from(BOUNDS), max_size=1)


@st.composite
def bills(draw: st.DrawFn) -> list[BillLine]:
    """Lines of few keys over three months, a third of them refunds, some in dollars."""
    found = []
    for number in range(draw(st.integers(0, 9))):
        cycle = draw(st.sampled_from(MONTHS))
        kind = draw(st.sampled_from([*["refund"] * 2, *["usage"] * 3, "credit"]))
        size = draw(st.sampled_from(["10", "20", "7.0000000001", "30"]))
        day = date(2026, cycle.month, draw(st.sampled_from([20, 28] if kind == "refund" else [1, 5, 20])))
        about = {
            "account": draw(st.sampled_from(["101", "102"])),
            "product_code": draw(st.sampled_from(["ecs", "oss"])),
            "currency": draw(st.sampled_from(["CNY", "CNY", "USD"])),
            "usage": "-1" if kind == "refund" else "2",
            "usage_unit": "GB",
        }
        found.append(bill(f"l{number}", size if kind == "usage" else f"-{size}", day, kind, **about))
    return found


def world_of(lines: list[BillLine], versions: list[Version]) -> Known:
    rates = {(cycle, "USD", "CNY"): Fraction("7.1234567") for cycle in MONTHS}
    figures = {("aurora", "points", cycle): Fraction(cycle.month) for cycle in MONTHS}
    return known(lines, *versions, rates=rates, figures=figures)


def nets(settled: list[Settled]) -> dict[tuple[object, ...], Fraction]:
    """What each month came to, line by line, over all postings."""
    found: dict[tuple[object, ...], Fraction] = {}
    for row in (row for one in settled for row in one.rows):
        key = (row.cycle, *(row.compared or ()))
        found[key] = found.get(key, Fraction(0)) + row.amount
    return {key: amount for key, amount in found.items() if amount != 0}


def open_cases(settled: list[Settled]) -> set[tuple[object, ...]]:
    """What is open after all of them."""
    found: set[tuple[object, ...]] = set()
    for one in settled:
        found |= {held.key for held in one.held}
        found -= {held.key for held in one.closed}
    return found


@SOME
@given(lines=bills(), versions=terms(), data=st.data())
def test_whatever_is_known_late_ends_as_if_it_was_known_in_time(
    lines: list[BillLine], versions: list[Version], data: st.DataObject
) -> None:
    whole = world_of(lines, versions)
    since = {line.line_id: data.draw(st.sampled_from(MONTHS), label=line.line_id) for line in lines}
    worlds = []
    for cycle in MONTHS:
        seen = [line for line in lines if max(since[line.line_id], line.cycle or JULY) <= cycle]
        world = replace(whole, lines=seen)
        if cycle != MONTHS[-1]:
            moved = replace(ASSIGNED[1], reseller="borealis")
            world = replace(
                world,
                rates=data.draw(st.sampled_from([whole.rates, {}])),
                figures=data.draw(st.sampled_from([whole.figures, {}])),
                assignments=data.draw(st.sampled_from([ASSIGNED, (ASSIGNED[0], moved), ASSIGNED[:1]])),
                versions=data.draw(st.sampled_from([versions, versions[-1:], [replace(versions[0], last=None)]])),
            )
        worlds.append((cycle, world))

    in_time, late = play(whole, *MONTHS), lock(worlds)

    assert nets(in_time) == nets(late)
    assert open_cases(in_time) == open_cases(late)


@SOME
@given(lines=bills(), versions=terms(), data=st.data())
def test_a_charge_and_its_refunds_leave_no_earning_of_their_own(
    lines: list[BillLine], versions: list[Version], data: st.DataObject
) -> None:
    """Netted, the months are what they would have been without both; else all that was earned is taken back."""
    second = data.draw(st.sampled_from(MONTHS), label="second refund")
    pair = [
        bill("x", "30", date(2026, 7, 2), instance_id="i-x", usage="3", usage_unit="GB"),
        refund("y", "-10", date(2026, 7, 25), instance_id="i-x", usage="-1", usage_unit="GB"),
        refund("z", "-20", date(2026, second.month, 26), instance_id="i-x", usage="-2", usage_unit="GB"),
    ]

    without = play(world_of(lines, versions), *MONTHS)
    together = play(world_of([*lines, *pair], versions), *MONTHS)

    looks = together[-1].looks
    charge = next(line for line in looks[JULY].lines if line.id == "x")
    if charge.is_gone:
        assert nets(without) == nets(together)
    elif charge.earning is not None and charge.earning.per != "customer_month":
        own = [row for look in looks.values() for row in look.rows if row.line_id in ("x", "y", "z")]
        shares = sum((share for order, share in charge.shares if order[0] > 0), Fraction(0))
        added = sum((look.retroactive.get("x", Fraction(0)) for look in looks.values()), Fraction(0))
        assert sum((row.amount for row in own), Fraction(0)) + shares + added == 0


@SOME
@given(lines=bills(), versions=terms(), data=st.data())
def test_the_order_of_the_bill_changes_nothing(
    lines: list[BillLine], versions: list[Version], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(lines))

    assert [one.rows for one in play(world_of(lines, versions), *MONTHS)] == [
        one.rows for one in play(world_of(shuffled, versions), *MONTHS)
    ]
