"""Sales: what a seller charges a buyer, settled by the engine as what the seller earns (semantics, prices).

A sale is a share of its own: the lines that the buyer has from the seller, under the versions of their price plans.
Its settlement lines are what the buyer is charged, and what refunds give back of it; those of kind `netted` and
`excluded` charge nothing. A party's cost is what its own seller charges it: that of a reseller is a sale too, that of
the operator the bill.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from shared.agreement.agreement import Agreement, Earning, Rule
from shared.agreement.price_plan import PricePlan, sold_as
from shared.parties.parties import OPERATOR, Assignment
from shared.settlement.share import Share


def sale(share: Share, seller: str, buyer: str, plans: Sequence[PricePlan]) -> Share:
    """What a seller sells to a buyer of the lines that a share reads; whatever has no plan of the seller is nobody's
    sale.

    The versions of the seller's other sales are among its agreements: a charge's basis is that of its price, and so a
    refund is linked alike in all of them.
    """
    mine = [one for one in plans if one.seller == seller and one.begins <= share.cycle.last]
    buyers = {one.buyer for one in mine}
    return Share(
        sold_as(seller, buyer),
        share.cycle,
        [_sold(one, seller, buyers) for one in share.assignments],
        [one.as_agreement() for one in mine],
        looked_back=share.looked_back,
        classes=share.classes,
        rates=share.rates,
        links=share.links,
        earlier=share.earlier,
    )


def versions(sale: Share) -> list[Agreement]:
    """A sale's own."""
    return [one for one in sale.agreements if one.reseller == sale.owner]


def at_cost(share: Share) -> Share:
    """The operator's sale as its bill has it: what the lines cost that it sells, in the currency of their prices."""
    return replace(share, agreements=[_as_billed(one) for one in share.agreements])


def buyer_of(one: Assignment, seller: str) -> str | None:
    """Who buys from the seller what an account uses."""
    if one.how == "own_use":
        return None
    if seller == OPERATOR:
        return one.reseller or one.customer
    return one.customer if one.reseller == seller else None


def _sold(one: Assignment, seller: str, buyers: set[str]) -> Assignment:
    buyer = buyer_of(one, seller)
    if buyer is None or buyer not in buyers:
        return replace(one, reseller=None, how="own_use")
    return replace(one, reseller=sold_as(seller, buyer), how="reseller")


def _as_billed(version: Agreement) -> Agreement:
    billed = Rule("bill", "`true`", Earning(rate=Decimal(1)))
    return replace(version, exclusions=(), scales={}, rules=(billed,))
