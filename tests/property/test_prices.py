"""Prices: what the engine charges the buyers of every seller, against the reference model (semantics, prices).

The months, refunds, late lines and accounts that move are those of lives; each side has the plans in its own form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.agreement import price_plan
from shared.agreement.agreement import Band, Exclusion, Refunds, Scale, rate
from shared.agreement.price_plan import PricePlan, sold_as
from shared.columnar import connect
from shared.ids import digest
from shared.money import Mode
from shared.parties.parties import OPERATOR, Assignment, CustomerClass
from shared.settlement import engine, lines
from shared.settlement.prices import at_cost, sale, versions
from shared.settlement.share import Share
from shared.settlement.statement import statements
from tests.property.test_lives import CONDITIONS, CYCLES, LIVES, assignments, bill
from tests.reference import inputs as values
from tests.reference import model, prices
from tests.reference.compare import (
    Inputs,
    Outcome,
    known_of,
    load_posted,
    model_cycle,
    outcome_of,
    read_statement,
    read_tables,
)

SALES = ((OPERATOR, "aurora"), (OPERATOR, "acme"), (OPERATOR, "birch"), ("aurora", "acme"), ("aurora", "birch"))
BASES = ("pretax", "pretax", "gross", "paid", "discounted")
PERCENTS = ("0", "5", "10", "33.333333", "100")


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("spill"), memory_mb=512, threads=1) as opened:
        yield opened


class Both(NamedTuple):
    """One version of a plan, in the form of each side."""

    engine: PricePlan
    model: prices.Plan


@dataclass(frozen=True)
class Month:
    """All that is known when a month is priced."""

    inputs: Inputs
    plans: Sequence[Both]

    def share(self, seller: str, buyer: str) -> Share:
        """A sale of the month."""
        given = self.inputs
        known = Share("", given.cycle, given.assignments, (), classes=given.classes, rates=given.rates)
        return sale(known, seller, buyer, [one.engine for one in self.plans])


# -- plans --------------------------------------------------------------------------------------------------------


@st.composite
def price(draw: st.DrawFn, id_: str) -> tuple[price_plan.Price, prices.Price]:
    when, basis = draw(st.sampled_from(CONDITIONS)), draw(st.sampled_from(BASES))
    what = draw(st.sampled_from(["discount", "markup", "fixed", "scale", "scale"]))
    mine, theirs = price_plan.Price(id_, when, basis), prices.Price(id_, when, basis)
    if what == "discount":
        percent = draw(st.sampled_from(PERCENTS))
        return replace(mine, discount=rate(percent)), replace(theirs, discount_percent=Fraction(percent))
    if what == "markup":
        percent = draw(st.sampled_from([*PERCENTS, "1000"]))
        return replace(mine, markup=rate(percent)), replace(theirs, markup_percent=Fraction(percent))
    if what == "fixed":
        amount = draw(st.sampled_from(["5", "0.33", "0"]))
        return replace(mine, fixed=Decimal(amount)), replace(theirs, fixed=Fraction(amount))
    name = draw(st.sampled_from(["big", "small"]))
    return replace(mine, scale=name), replace(theirs, scale=name)


@st.composite
def scale(draw: st.DrawFn, name: str) -> tuple[Scale, values.Scale]:
    method = draw(st.sampled_from(["graduated", "all_units"]))
    over = draw(st.sampled_from(["month", "month", "contract_year"]))
    measure = draw(st.sampled_from(["gross", "pretax", "usage"])) if method == "all_units" else ""
    unit = "GB" if measure == "usage" else ""
    retroactive = method == "all_units" and over == "contract_year" and draw(st.booleans())
    scope = draw(st.sampled_from(["customer", "reseller", "product"]))
    limits = [*sorted(draw(st.sets(st.sampled_from([10, 25, 60, 120]), min_size=1, max_size=3))), None]
    percents = [draw(st.sampled_from(PERCENTS)) for _ in limits]
    each = list(zip(limits, percents, strict=True))
    bands = tuple(Band(None if upto is None else Decimal(upto), rate(percent)) for upto, percent in each)
    stretches = tuple(
        values.Band(None if upto is None else Fraction(upto), Fraction(percent)) for upto, percent in each
    )
    return (
        Scale(name, scope, bands, method, over, measure, unit, retroactive),
        values.Scale(scope, stretches, method, over, measure or None, unit or None, retroactive),
    )


@st.composite
def version(
    draw: st.DrawFn, of: tuple[str, str], name: str, number: int, begins: date, ends: date | None, currency: str
) -> Both:
    drawn = [draw(price(id_)) for id_ in draw(st.sampled_from(["a", "ab", "ba"]))]
    scales = {id_: draw(scale(id_)) for id_ in ("big", "small")}
    excluded = draw(st.sampled_from([(), (), (("product_code == 'oss'", "not sold"),)]))
    mode = draw(st.sampled_from(list(Mode)))
    take_back = draw(st.sampled_from(["original", "original", "rerate"]))
    is_netted, days = draw(st.sampled_from([True, True, False])), draw(st.sampled_from([None, None, 5]))
    mine = PricePlan(
        id=name,
        seller=of[0],
        buyer=of[1],
        version=number,
        begins=begins,
        ends=ends,
        currency=currency,
        places=2,
        mode=mode,
        exclusions=tuple(Exclusion(*one) for one in excluded),
        scales={id_: one for id_, (one, _) in scales.items()},
        prices=tuple(one for one, _ in drawn),
        digest=digest(b"test"),
        refunds=Refunds(take_back, is_netted, days),
    )
    theirs = prices.Plan(
        name,
        number,
        *of,
        begins,
        ends,
        tuple(one for _, one in drawn),
        exclusions=excluded,
        scales={id_: one for id_, (_, one) in scales.items()},
        currency=currency,
        refunds=values.Refunds(take_back, "same_month" if is_netted else "none", days),
        mode=mode.value,
    )
    return Both(mine, theirs)


@st.composite
def plans(draw: st.DrawFn, of: tuple[str, str]) -> list[Both]:
    """What a seller and a buyer agreed on: one version, two, or another plan from some day on."""
    name, currency = f"{of[0]}-{of[1]}", draw(st.sampled_from(["CNY", "CNY", "USD"]))
    begins = draw(st.sampled_from([date(2025, 8, 10), date(2026, 1, 1), date(2026, 6, 10)]))
    change = draw(st.sampled_from([None, date(2026, 6, 11), date(2026, 7, 11), date(2026, 8, 1)]))
    if change is None:
        return [draw(version(of, name, 1, begins, None, currency))]
    first = draw(version(of, name, 1, begins, change - timedelta(days=1), currency))
    if draw(st.booleans()):
        return [first, draw(version(of, name, 2, change, None, currency))]
    return [first, draw(version(of, f"{name}-new", 1, change, None, draw(st.sampled_from(["CNY", "USD"]))))]


@st.composite
def months(draw: st.DrawFn) -> list[Month]:
    cycles = CYCLES[: draw(st.sampled_from([1, 2, 2, 3]))]
    sold = draw(st.sets(st.sampled_from(SALES), min_size=1, max_size=3))
    agreed = [one for of in sorted(sold) for one in draw(plans(of))]
    rows, owned = draw(bill(cycles)), draw(assignments())
    classes = draw(st.sampled_from([(), (CustomerClass("acme", "gold", date(2026, 7, 11), None),)]))
    rates = {
        (str(cycle), *pair): draw(st.sampled_from([Decimal("7.1586"), Decimal("0.3333333333")]))
        for cycle in cycles
        for pair in (("USD", "CNY"), ("CNY", "USD"))
    }
    found = []
    for index, cycle in enumerate(cycles):
        seen = [row for row in rows if row["arrives"] <= index and row["cycle"] <= str(cycle)]
        found.append(Month(Inputs(cycle, seen, owned, (), classes, rates), agreed))
    return found


# -- both sides -----------------------------------------------------------------------------------------------------


def by_engine(connection: duckdb.DuckDBPyConnection, months: Sequence[Month], *, billed: bool = False) -> list[Outcome]:
    """What every buyer is charged in each month; or what the bill says instead, of what the operator sells."""
    posted: dict[str, list[tuple[Any, ...]]] = {}
    found = []
    for number, month in enumerate(months):
        outcome = Outcome()
        for seller, buyer in SALES:
            share = replace(month.share(seller, buyer), looked_back=[one.inputs.cycle for one in months[:number]])
            if not versions(share) or (billed and seller != OPERATOR):
                continue
            share = at_cost(share) if billed else share
            before = posted.setdefault(share.owner, [])
            lines.load_lines(connection, month.inputs.bill)
            load_posted(connection, before)
            settled = engine.settle(connection, share)
            read_tables(connection, share.owner, outcome)
            for statement in statements(settled.groups, versions(share), share.cycle):
                read_statement(statement, share.owner, outcome)
            before += connection.execute(f"SELECT {', '.join(engine.LINE_COLUMNS)} FROM settled").fetchall()
        found.append(outcome)
    return found


def by_model(months: Sequence[Month], *, billed: bool = False) -> list[Outcome]:
    """The same by the reference model."""
    found = [Outcome() for _ in months]
    for seller in (OPERATOR,) if billed else (OPERATOR, "aurora"):
        before: list[model.Settled] = []
        for month, outcome in zip(months, found, strict=True):
            known, agreed = known_of(month.inputs), [one.model for one in month.plans]
            world = prices.costs(known, agreed) if billed else prices.sold(known, agreed, seller)
            before.append(model.settle_cycle(world, model_cycle(month.inputs.cycle), before))
            _add(outcome, month, seller, before[-1])
    return found


def _add(outcome: Outcome, month: Month, seller: str, settled: model.Settled) -> None:
    """What is of the seller's sales."""
    mine = {of: month.share(*of) for of in SALES if of[0] == seller}
    sold = {sold_as(*of) for of, share in mine.items() if versions(share)}
    agreed = [one for share in mine.values() for one in versions(share)]
    owned = [one for share in mine.values() for one in share.assignments]
    whole = outcome_of(replace(month.inputs, assignments=owned, agreements=agreed), settled)
    outcome.lines.update({one: count for one, count in whole.lines.items() if one.owner in sold})
    outcome.cases.update({one: count for one, count in whole.cases.items() if one.owner in sold})
    outcome.entries.extend(one for one in whole.entries if one.owner in sold)
    outcome.totals.update({key: value for key, value in whole.totals.items() if key[0] in sold})


def sums(outcome: Outcome) -> Mapping[tuple[str, str | None, str | None], Fraction]:
    """What each customer is charged for each product."""
    found: dict[tuple[str, str | None, str | None], Fraction] = {}
    for line, count in outcome.lines.items():
        key = (line.owner, line.customer, line.product)
        found[key] = found.get(key, Fraction(0)) + count * line.amount
    return {key: value for key, value in found.items() if value}


def differences(mine: Outcome, theirs: Outcome) -> list[str]:
    """What only one of the two charges; of a plan without lines only one may say that it comes to 0."""
    for one in (mine, theirs):
        one.entries.sort(key=lambda entry: entry[:2])
    told = [replace(one, totals={key: total for key, total in one.totals.items() if total}) for one in (mine, theirs)]
    return told[0].differences(told[1])


@LIVES
@given(months=months())
def test_engine_and_model_charge_alike(connection: duckdb.DuckDBPyConnection, months: list[Month]) -> None:
    for mine, theirs in zip(by_engine(connection, months), by_model(months), strict=True):
        assert differences(mine, theirs) == []


@LIVES
@given(months=months())
def test_engine_and_model_know_the_same_costs(connection: duckdb.DuckDBPyConnection, months: list[Month]) -> None:
    both = zip(by_engine(connection, months, billed=True), by_model(months, billed=True), strict=True)
    for mine, theirs in both:
        assert sums(mine) == sums(theirs)
        assert mine.cases == theirs.cases


def test_a_refund_that_falls_on_the_sale_to_another_buyer_is_linked_alike(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    """The account went from acme to birch; acme's price is of gross, which birch's refund does not state: a case."""
    begins, moved, cycle = date(2026, 1, 1), date(2026, 7, 16), CYCLES[1]
    charge = {"line_id": "a", "kind": "usage", "date": date(2026, 7, 9), "pretax": Decimal(80), "gross": Decimal(100)}
    refund = {"line_id": "r", "kind": "refund", "date": date(2026, 7, 20), "pretax": Decimal(-20), "gross": None}
    common = {"account": "101", "payer": "1", "currency": "CNY", "cycle": str(cycle)}
    owned = [
        Assignment("101", "acme", "aurora", "reseller", begins, moved - timedelta(days=1)),
        Assignment("101", "birch", "aurora", "reseller", moved, None),
    ]
    agreed = []
    for buyer, basis in (("acme", "gross"), ("birch", "pretax")):
        mine = price_plan.Price("all", "`true`", basis, discount=rate("10"))
        theirs = prices.Price("all", "`true`", basis, discount_percent=Fraction(10))
        rest = (date(2026, 1, 1), None)
        plan = PricePlan(
            buyer, "aurora", buyer, 1, *rest, "CNY", 2, Mode.HALF_UP, (), {}, (mine,), digest(b""), Refunds()
        )
        agreed.append(Both(plan, prices.Plan(buyer, 1, "aurora", buyer, *rest, (theirs,))))
    month = Month(Inputs(cycle, [{**common, **charge}, {**common, **refund}], owned, ()), agreed)

    [by_the_engine], [by_the_model] = by_engine(connection, [month]), by_model([month])

    assert differences(by_the_engine, by_the_model) == []
    assert [(one.owner, one.kind, one.line_id) for one in by_the_engine.cases] == [
        ("aurora to birch", "missing_value", "r")
    ]
    assert [line.amount for line in by_the_engine.lines if line.kind == "commission"] == [90]
