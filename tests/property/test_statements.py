"""Statements of random sums: rounded, spread and taxed as the reference model does."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.agreement.agreement import Agreement, Payout, Tax, rate
from shared.cycle import Cycle
from shared.money import Mode
from shared.settlement.engine import Group
from shared.settlement.statement import parse_statement, statements
from tests.property.packs import lives
from tests.reference import model, statement
from tests.reference.inputs import Payout as ModelPayout
from tests.reference.look import Row

KINDS = ("commission", "adjustment", "cap", "netted", "excluded")

JULY = Cycle(2026, 7)


def agreement(places: int = 2, mode: Mode = Mode.HALF_UP, tax: Tax | None = None, number: int = 1) -> Agreement:
    [life] = lives(0, [0])
    terms = Payout(Decimal(0), True, tax)
    return replace(life.versions[0], id="main", version=number, places=places, mode=mode, payout=terms)


def group(amount: str | Decimal, kind: str = "commission", *, customer: str | None = "acme", version: int = 1) -> Group:
    return Group("main", version, customer, "ecs", "all", kind, "CNY", 2, Decimal("10.5"), Decimal(amount))


amounts = st.one_of(
    st.integers(-(10**20), 10**20).map(lambda units: Decimal(units).scaleb(-18)),
    st.integers(-9, 9).map(lambda halves: Decimal(5 * halves).scaleb(-3)),  # many ties
)
groups = st.lists(
    st.builds(
        group,
        amounts,
        st.sampled_from(KINDS),
        customer=st.sampled_from([None, "acme", "birch"]),
        version=st.sampled_from([1, 2, 10]),
    ),
    unique_by=lambda one: (one.customer, one.version, one.kind),
    max_size=9,
)
taxes = st.one_of(
    st.none(),
    st.builds(Tax, st.sampled_from(["0", "6", "12.5", "100"]).map(rate), st.sampled_from(["exclusive", "inclusive"])),
)


@settings(max_examples=300, deadline=None, print_blob=True)
@given(found=groups, places=st.integers(0, 4), mode=st.sampled_from(list(Mode)), tax=taxes)
def test_statements_are_those_of_the_model(found: list[Group], places: int, mode: Mode, tax: Tax | None) -> None:
    [mine] = statements(found, [agreement(places, mode, tax)], JULY)

    head = ("aurora", "", 0)
    rows = [
        Row(*head, one.kind, one.customer, one.product, "main", one.version, Fraction(0), one.rule,
            amount=Fraction(one.amount))
        for one in found
    ]  # fmt: skip
    total, lines = model.statement(rows, places, mode.value)
    terms = ModelPayout(tax_percent=Fraction(tax.rate) * 100 if tax else Fraction(0), tax_mode=tax.mode if tax else "")
    taxed = statement.taxed(total, terms, places, mode.value)
    assert [Fraction(text) for text in (mine.total, mine.tax, mine.payable)] == [total, taxed.tax, taxed.payable]
    shown = [(one.customer or None, one.version, one.kind, one.exact, one.amount) for one in mine.lines]
    expected = [(one.customer, one.version, one.kind, one.exact, one.rounded) for one in lines]
    assert [(*head, Fraction(exact), Fraction(part)) for *head, exact, part in shown] == [
        (*head, exact, part) for *head, exact, part in expected
    ]
    assert sum((Decimal(one.amount) for one in mine.lines), Decimal(0)) == Decimal(mine.total)
    assert parse_statement(mine.as_json()) == mine


def test_a_statement_counts_its_lines_and_shows_all_digits() -> None:
    [found] = statements([group("0.125")], [agreement()], JULY)

    [line] = found.lines
    assert (line.lines, line.basis, line.exact, line.amount) == (2, "10.5000000000", "0.125000000000000000", "0.13")
    assert (found.exact, found.total, found.tax, found.payable) == ("0.125000000000000000", "0.13", "0.00", "0.13")


@pytest.mark.parametrize("order", [1, -1])
def test_the_last_version_begun_says_how_a_statement_is_rounded(order: int) -> None:
    first = replace(agreement(2), begins=date(2026, 1, 1))
    last = replace(agreement(0, number=2), begins=date(2026, 7, 1))

    [found] = statements([group("1.25")], [first, last][::order], JULY)

    assert (found.places, found.total) == (0, "1")


def test_an_agreement_that_earned_nothing_has_an_empty_statement() -> None:
    [found] = statements([], [agreement()], JULY)

    assert (found.lines, found.total, found.payable) == ((), "0.00", "0.00")
