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


def sold(known: Known, plans: Sequence[Plan], seller: str) -> Known:
    """What is known, seen by a seller: lines of its buyers under their plans, nobody else's under any.

    Each sale has an owner of its own. All of a seller's are settled together: links are made before anything else
    (§3), so a refund is linked alike whichever buyer it falls on.
    """
    mine = [plan for plan in plans if plan.seller == seller]
    theirs = replace(known, assignments=_sales(known, mine, seller), versions=[_as_version(plan) for plan in mine])
    return replace(theirs, adjustments=(), openings=(), dismissed={})


def costs(known: Known, plans: Sequence[Plan]) -> Known:
    """What the same lines cost the operator: the bill's pretax, as if its own seller had plans of 100 %."""
    price = Price("bill", "`true`", "pretax", ZERO)
    return sold(known, [replace(plan, prices=(price,), exclusions=(), scales={}) for plan in plans], OPERATOR)


def sale(seller: str, buyer: str) -> str:
    """The owner that a sale has."""
    return f"{seller} to {buyer}"


def _sales(known: Known, plans: Sequence[Plan], seller: str) -> list[Assignment]:
    buyers = {plan.buyer for plan in plans}

    def buyer(one: Assignment) -> str | None:
        if one.own_use:
            return None
        if seller == OPERATOR:
            return one.customer if one.reseller is None else one.reseller
        return one.customer if one.reseller == seller else None

    # Reading: prices exist only for declared buyers, so what is not theirs is nobody's sale.
    return [
        replace(one, reseller=sale(seller, found))
        if (found := buyer(one)) is not None and found in buyers
        else replace(one, reseller=None, own_use=True)
        for one in known.assignments
    ]


def _as_version(plan: Plan) -> Version:
    return Version(
        agreement=plan.id,
        number=plan.number,
        reseller=sale(plan.seller, plan.buyer),
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
