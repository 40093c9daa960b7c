"""§10: what resellers and customers are charged, and what stays with their sellers."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

from tests.reference.builders import ALL, AUGUST, JULY, amounts, bill, known, month, play, refund, rows, told, total
from tests.reference.inputs import Assignment, Band, Scale
from tests.reference.prices import OPERATOR, Margin, Plan, Price, costs, margins, sale, sold

DAY = date(2026, 7, 9)
YEAR = date(2026, 1, 1)


def plan(*prices: Price, seller: str = OPERATOR, buyer: str = "aurora", **more: object) -> Plan:
    return Plan(f"{buyer}-plan", 1, seller, buyer, YEAR, None, prices, **more)  # type: ignore[arg-type]


def test_each_price_is_of_the_basis_it_names() -> None:
    prices = (
        Price("ecs", "product_code == 'ecs'", "gross", discount_percent=Fraction(10)),
        Price("oss", "product_code == 'oss'", "pretax", markup_percent=Fraction(5)),
        Price("support", "product_code == 'support'", "pretax", fixed=Fraction(50)),
    )
    lines = [
        bill("a", "80", DAY, gross="100"),
        bill("b", "80", DAY, product_code="oss", gross="100"),
        bill("c", "80", DAY, product_code="support"),
        bill("d", "80", DAY, product_code="rds"),
    ]

    settled = month(sold(known(lines), [plan(*prices)], OPERATOR))

    assert amounts(settled) == {"a": 90, "b": 84, "c": 50}
    assert told(settled.held, "line_id", "case") == [("d", "no_rule")]


def test_percents_of_a_scale_are_discounts() -> None:
    # The first 100 at list, what comes after at 20 % off: 100 + 40.
    scale = Scale("reseller", (Band(Fraction(100), Fraction(0)), Band(None, Fraction(20))))
    terms = plan(Price("all", ALL, "gross", scale="volume"), scales={"volume": scale})

    settled = month(sold(known([bill("a", "99", DAY, gross="150")]), [terms], OPERATOR))

    assert total(settled) == 140


def test_a_later_refund_gives_back_what_the_buyer_was_charged() -> None:
    # 90 were charged for a pretax of 80; of it 20 are refunded: 90 x 20 / 80 = 22.5.
    terms = plan(Price("all", ALL, "gross", discount_percent=Fraction(10)))
    lines = [
        bill("a", "80", DAY, gross="100"),
        refund("r", "-20", date(2026, 8, 1), gross="-25"),
    ]

    july, august = play(sold(known(lines), [terms], OPERATOR), JULY, AUGUST)

    assert [total(july), total(august)] == [90, Fraction("-22.5")]
    assert amounts(august, "adjustment") == {"r": Fraction("-22.5")}


def test_a_margin_is_what_a_party_charges_less_what_it_is_charged() -> None:
    # The bill says 100 and 40. The operator adds 10 % to Aurora, Aurora sells to acme at a list of 150 less 10 %.
    # Birch's 40 have no price from Aurora.
    world = known([bill("a", "100", DAY, gross="150"), bill("b", "40", DAY, account="102", gross="60")])
    to_aurora = plan(Price("all", ALL, "pretax", markup_percent=Fraction(10)))
    to_acme = plan(Price("all", ALL, "gross", discount_percent=Fraction(10)), seller="aurora", buyer="acme")

    bought = month(sold(world, [to_aurora, to_acme], OPERATOR)).rows
    resold = month(sold(world, [to_aurora, to_acme], "aurora")).rows
    cost = month(costs(world, [to_aurora])).rows

    assert margins(bought, cost) == {
        "acme": Margin(Fraction(110), Fraction(100)),
        "birch": Margin(Fraction(44), Fraction(40)),
    }
    of_acme = [row for row in bought if row.customer == "acme"]
    assert margins(resold, of_acme)["acme"].margin == 135 - 110


def test_prices_exist_only_for_declared_buyers() -> None:
    assigned = [
        Assignment("101", YEAR, None, "acme", "aurora"),
        Assignment("102", YEAR, None, "direct-co", None),
        Assignment("103", YEAR, None, None, None, own_use=True),
    ]
    world = known([bill(n, "10", DAY, account=n) for n in ("101", "102", "103")], assignments=assigned)
    terms = [
        plan(Price("all", ALL, "pretax", markup_percent=Fraction(0)), buyer="direct-co"),
        plan(Price("all", ALL, "pretax", markup_percent=Fraction(50))),
    ]

    settled = month(sold(world, terms, OPERATOR))

    assert amounts(settled) == {"101": 15, "102": 10}
    assert {row.line_id: row.owner for row in rows(settled, "commission")} == {
        "101": sale(OPERATOR, "aurora"),
        "102": sale(OPERATOR, "direct-co"),
    }
    assert settled.held == ()
    assert {row.line_id for row in rows(settled, "own_use")} == {"103"}
    alone = month(sold(world, terms[1:], OPERATOR))
    assert {row.line_id for row in rows(alone, "own_use")} == {"102", "103"}  # nobody's sale here


def test_a_refund_that_falls_on_the_sale_to_another_buyer_is_linked_alike() -> None:
    # The account went from aurora to birch. Aurora's price is of gross, which the refund does not state: a case.
    moved = [
        Assignment("101", YEAR, date(2026, 7, 15), "acme", "aurora"),
        Assignment("101", date(2026, 7, 16), None, "acme", "birch"),
    ]
    lines = [bill("a", "80", DAY, gross="100"), refund("r", "-20", date(2026, 7, 20))]
    terms = [
        plan(Price("all", ALL, "gross", discount_percent=Fraction(10))),
        plan(Price("all", ALL, "pretax", discount_percent=Fraction(10)), buyer="birch"),
    ]

    settled = month(sold(known(lines, assignments=moved), terms, OPERATOR))

    assert amounts(settled) == {"a": 90}
    assert told(settled.held, "line_id", "case", "owner") == [("r", "missing_value", sale(OPERATOR, "birch"))]
