"""§10: what buyers are charged, by the same arithmetic: a price is an earning of its seller.

A discount of 10 % earns the seller 90 % of the basis, a markup of 10 % earns it 110 %. The lines of kind
`commission` are then what the buyer is charged, so §11 holds for prices as it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from fractions import Fraction

from tests.reference.inputs import ZERO, Assignment, Earning, Known, Refunds, Rule, Scale, Version
from tests.reference.look import Row

OPERATOR = "operator"


@dataclass(frozen=True)
class Price:
    """What a line costs its buyer: one of discount, markup, fixed (each line) and scale."""

    id: str
    when: str
    basis: str
    discount_percent: Fraction | None = None
    markup_percent: Fraction | None = None
    fixed: Fraction | None = None
    scale: str | None = None  # its percents are discounts


@dataclass(frozen=True)
class Plan:
    """One version of a price plan."""

    id: str
    number: int
    seller: str  # OPERATOR or a reseller
    buyer: str  # of the operator a reseller or a direct customer, of a reseller one of its customers
    first: date
    last: date | None
    prices: tuple[Price, ...]
    exclusions: tuple[tuple[str, str], ...] = ()
    scales: Mapping[str, Scale] = field(default_factory=dict)
    currency: str = "CNY"
    refunds: Refunds = field(default_factory=Refunds)
    places: int = 2
    mode: str = "half_up"


def sold(known: Known, plans: Sequence[Plan], seller: str, buyer: str) -> Known:
    """What is known, seen by a seller and a buyer: their lines under their plan, nobody else's under any."""
    share = f"{seller} to {buyer}"
    versions = [_as_version(plan, share) for plan in plans if (plan.seller, plan.buyer) == (seller, buyer)]
    theirs = replace(known, assignments=_shares(known, seller, buyer, share), versions=versions)
    return replace(theirs, adjustments=(), openings=(), dismissed={})


def costs(known: Known, seller: str, buyer: str, first: date, currency: str = "CNY") -> Known:
    """What the same lines cost the operator: the bill's pretax, as if its own seller had a plan of 100 %."""
    at_cost = Plan("bill", 1, seller, buyer, first, None, (Price("bill", "`true`", "pretax", ZERO),), currency=currency)
    return sold(known, [at_cost], seller, buyer)


def _shares(known: Known, seller: str, buyer: str, share: str) -> list[Assignment]:
    def is_theirs(one: Assignment) -> bool:
        if one.own_use:
            return False
        if seller == OPERATOR:
            return one.reseller == buyer or (one.reseller is None and one.customer == buyer)
        return one.reseller == seller and one.customer == buyer

    # Reading: prices exist only for declared buyers, so what is not theirs is nobody's sale.
    return [
        replace(one, reseller=share) if is_theirs(one) else replace(one, reseller=None, own_use=True)
        for one in known.assignments
    ]


def _as_version(plan: Plan, share: str) -> Version:
    return Version(
        agreement=plan.id,
        number=plan.number,
        reseller=share,
        first=plan.first,
        last=plan.last,
        basis="pretax",
        rules=tuple(Rule(price.id, price.when, _earning(price), basis=price.basis) for price in plan.prices),
        exclusions=plan.exclusions,
        scales={id_: _seller_scale(scale) for id_, scale in plan.scales.items()},
        currency=plan.currency,
        places=plan.places,
        mode=plan.mode,
        refunds=plan.refunds,
    )


def _earning(price: Price) -> Earning:
    if price.discount_percent is not None:
        return Earning(percent=100 - price.discount_percent)
    if price.markup_percent is not None:
        return Earning(percent=100 + price.markup_percent)
    return Earning(fixed=price.fixed, scale=price.scale)


def _seller_scale(scale: Scale) -> Scale:
    return replace(scale, bands=tuple(replace(band, percent=100 - band.percent) for band in scale.bands))


@dataclass(frozen=True)
class Margin:
    """What a party charges, what it is charged for the same, and what stays with it."""

    price: Fraction
    cost: Fraction

    @property
    def margin(self) -> Fraction:
        return self.price - self.cost


def margins(prices: Sequence[Row], cost: Sequence[Row]) -> dict[str | None, Margin]:
    """A cycle's margin by customer, from what was charged on either side; rows of no customer stand under None."""
    found = {}
    for customer in sorted({row.customer for row in [*prices, *cost]}, key=lambda name: name or ""):
        charged = sum((row.amount for row in prices if row.customer == customer), ZERO)
        paid = sum((row.amount for row in cost if row.customer == customer), ZERO)
        found[customer] = Margin(charged, paid)
    return found
