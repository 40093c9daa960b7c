"""Facts: what one party may know of the lines of one month, in one shape for every report.

A fact is a bill line as the party sees it, or an amount of a month that no single line has (a bound, an adjustment).
Amounts are exact, in the currency `currency`, and NULL where they are not known: nothing is guessed, 0 is an amount.
Facts are kept as Parquet, in order of `FACT_ORDER`, named by the digest of what they were made of.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.access.scope import View
from shared.bill.line import AMOUNT, QUANTITY

MONEY = "DECIMAL(38,18)"  # what is charged and earned has more decimals than what is billed

FACT_TYPES: Mapping[str, str] = {
    "cycle": "VARCHAR",  # of the bill
    "date": "DATE",  # of use; NULL where an amount is of a whole month
    "line_id": "VARCHAR",  # NULL where it is of no single bill line
    "customer": "VARCHAR",
    "reseller": "VARCHAR",
    "account": "VARCHAR",
    "service_from": "DATE",
    "service_until": "DATE",
    "product_code": "VARCHAR",
    "product_name": "VARCHAR",  # as billed; catalogues name it better
    "product_type": "VARCHAR",
    "commodity_code": "VARCHAR",
    "billing_item_code": "VARCHAR",
    "billing_item": "VARCHAR",
    "region": "VARCHAR",
    "zone": "VARCHAR",
    "instance_id": "VARCHAR",
    "instance_name": "VARCHAR",
    "instance_spec": "VARCHAR",
    "resource_group": "VARCHAR",
    "cost_unit": "VARCHAR",
    "tags": "VARCHAR",  # JSON object
    "subscription_type": "VARCHAR",
    "kind": "VARCHAR",  # usage, subscription, refund, chargeback, adjustment, credit; cap, floor, … of no line
    "usage": QUANTITY,
    "usage_unit": "VARCHAR",
    "list_price": QUANTITY,  # the provider's published one
    "list_price_unit": "VARCHAR",
    "list_amount": AMOUNT,
    "price": MONEY,  # what the buyer is charged: a customer by its seller, for a reseller its customers by it
    "cost": MONEY,  # what the seller is charged for it: a reseller by the operator, the operator by the provider
    "commission": MONEY,  # what the reseller earns on it
    "currency": "VARCHAR",  # of the amounts; a price in another currency than the bill has no list amount
    "open_case": "VARCHAR",  # the kind of the case that keeps it from being priced or settled
}
# What a fact says of its line; the rest are amounts, their currency and why one is not known.
ATTRIBUTES = tuple(FACT_TYPES)[: tuple(FACT_TYPES).index("list_amount")]
FACT_ORDER = "cycle, date NULLS LAST, account NULLS LAST, line_id NULLS LAST, kind, currency"

# What a view never has, whatever is asked: it is not in its facts at all.
HIDDEN: Mapping[View, frozenset[str]] = {
    View.OPERATOR: frozenset(),
    View.RESELLER: frozenset(),  # its `cost` is what the operator charges it, never the bill's
    View.CUSTOMER: frozenset({"reseller", "cost", "commission", "open_case"}),
}


def fact_columns(view: View) -> list[str]:
    """The columns of a view's facts, in order."""
    return [name for name in FACT_TYPES if name not in HIDDEN[view]]
