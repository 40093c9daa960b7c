"""A price plan version: what a seller charges a buyer, read from a checked document.

A price is an earning of its seller (semantics, prices): a discount of 10 % earns it 90 % of the basis, a markup of
10 % earns it 110 %. So a plan becomes an agreement, and the lines of kind `commission` are what the buyer is charged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any

from shared.agreement.agreement import (
    GRADUATED,
    Agreement,
    Band,
    Earning,
    Exclusion,
    Payout,
    Refunds,
    Rule,
    Scale,
    as_refunds,
    rate,
)
from shared.cycle import Cycle
from shared.ids import Digest, digest
from shared.money import EXACT, Mode, amount

BASIS = "pretax"  # of lines that no price is found for


@dataclass(frozen=True, slots=True)
class Price:
    """What a line costs its buyer: its basis less a discount or with a markup, a fixed amount, or by a scale."""

    id: str
    when: str
    basis: str
    discount: Decimal | None = None  # a rate, as is the markup
    markup: Decimal | None = None
    fixed: Decimal | None = None  # for each line
    scale: str | None = None  # its rates are discounts

    def earning(self) -> Earning:
        """What it earns the seller."""
        if self.discount is not None:
            return Earning(rate=EXACT.subtract(Decimal(1), self.discount))
        if self.markup is not None:
            return Earning(rate=EXACT.add(Decimal(1), self.markup))
        return Earning(fixed=self.fixed, scale=self.scale)


@dataclass(frozen=True, slots=True)
class PricePlan:
    """One version of a price plan."""

    id: str
    seller: str  # the operator or a reseller
    buyer: str  # of the operator a reseller or a direct customer, of a reseller one of its customers
    version: int
    begins: date
    ends: date | None
    currency: str
    places: int
    mode: Mode
    exclusions: tuple[Exclusion, ...]
    scales: Mapping[str, Scale]  # their rates are discounts
    prices: tuple[Price, ...]
    digest: Digest
    refunds: Refunds

    @property
    def share(self) -> str:
        """Whose sale it is, in place of a reseller."""
        return sold_as(self.seller, self.buyer)

    def touches(self, cycle: Cycle) -> bool:
        """Whether it is in force on a day of the cycle."""
        return self.begins <= cycle.last and (self.ends is None or self.ends >= cycle.first)

    def as_agreement(self) -> Agreement:
        """The agreement by which the seller earns the prices."""
        return Agreement(
            id=self.id,
            reseller=self.share,
            version=self.version,
            begins=self.begins,
            ends=self.ends,
            currency=self.currency,
            basis=BASIS,
            places=self.places,
            mode=self.mode,
            currencies=(),
            payers=(),
            exclusions=self.exclusions,
            scales={name: _earned(scale) for name, scale in self.scales.items()},
            rules=tuple(Rule(one.id, one.when, one.earning(), basis=one.basis) for one in self.prices),
            payout=Payout(Decimal(0), carry_forward=True, tax=None),
            digest=self.digest,
            refunds=self.refunds,
        )


def sold_as(seller: str, buyer: str) -> str:
    """What a sale is called."""
    return f"{seller} to {buyer}"


def parse_price_plan(body: bytes) -> PricePlan:
    """The price plan of a checked document in canonical JSON."""
    data: dict[str, Any] = json.loads(body)
    ends = data["effective"]["until"]
    return PricePlan(
        id=data["price_plan"],
        seller=data["seller"],
        buyer=data["buyer"],
        version=data["version"],
        begins=date.fromisoformat(data["effective"]["from"]),
        ends=date.fromisoformat(ends) if ends else None,
        currency=data["currency"],
        places=data["rounding"]["places"],
        mode=Mode(data["rounding"]["mode"]),
        exclusions=tuple(Exclusion(one["when"], one["because"]) for one in data["exclude"]),
        scales={name: _scale(name, one) for name, one in data["scales"].items()},
        prices=tuple(_price(one) for one in data["rules"]),
        digest=digest(body),
        refunds=as_refunds(data["refunds"]),
    )


def _scale(name: str, data: Mapping[str, Any]) -> Scale:
    """A scale whose measure is named unless it is graduated: then it is the basis of the prices that use it."""
    bands = (Band(None if one["upto"] is None else amount(one["upto"]), rate(one["percent"])) for one in data["bands"])
    return Scale(
        name,
        data["scope"],
        tuple(bands),
        data["method"],
        data["over"],
        "" if data["method"] == GRADUATED else data["measure"],
        data["unit"] or "",
        data["retroactive"],
    )


def _earned(scale: Scale) -> Scale:
    bands = tuple(replace(band, rate=EXACT.subtract(Decimal(1), band.rate)) for band in scale.bands)
    return replace(scale, bands=bands)


def _price(data: Mapping[str, Any]) -> Price:
    price = data["price"]
    return Price(
        data["id"],
        data["when"],
        price["basis"],
        discount=None if price["discount_percent"] is None else rate(price["discount_percent"]),
        markup=None if price["markup_percent"] is None else rate(price["markup_percent"]),
        fixed=None if price["fixed"] is None else amount(price["fixed"]),
        scale=price["scale"],
    )
