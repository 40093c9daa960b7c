"""The shape of a bill line, the same for every source (design, the values).

Amounts are DECIMAL(28, 10) in the bill's currency, usage and unit prices DECIMAL(38, 18); text is trimmed, and
what is empty is absent. A line knows nothing about when or from which pull it was seen.
"""

from __future__ import annotations

from collections.abc import Mapping

AMOUNT = "DECIMAL(28,10)"
QUANTITY = "DECIMAL(38,18)"

# Attributes arrive up to 48 h after the charge (DescribeInstanceBill, notes), so they are no part of a line's identity.
IDENTITY: tuple[str, ...] = (
    "payer",
    "account",
    "cycle",
    "date",
    "product_code",
    "commodity_code",
    "product_type",
    "billing_item_code",
    "instance_id",
    "subscription_type",
    "kind",
)

AMOUNTS: tuple[str, ...] = (
    "gross",
    "discount",
    "round_down",
    "coupon",
    "pretax",
    "cash_coupon",
    "prepaid_card",
    "payment",
    "outstanding",
    "tax",
)

QUANTITIES: tuple[str, ...] = ("usage", "list_price")

COLUMNS: Mapping[str, str] = {
    "line_id": "VARCHAR",
    "payer": "VARCHAR",
    "account": "VARCHAR",
    "cycle": "VARCHAR",
    "date": "DATE",
    "service_from": "DATE",
    "service_until": "DATE",
    "product_code": "VARCHAR",
    "product_type": "VARCHAR",
    "product_name": "VARCHAR",
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
    "order_type": "VARCHAR",
    "kind": "VARCHAR",
    "usage": QUANTITY,
    "usage_unit": "VARCHAR",
    "list_price": QUANTITY,
    "list_price_unit": "VARCHAR",
    **dict.fromkeys(AMOUNTS, AMOUNT),
    "currency": "VARCHAR",
    "record_id": "VARCHAR",  # the order or bill number, of sources that state it
    "related_record": "VARCHAR",
    "repair": "VARCHAR",  # the repair rule that changed the line, with its version
}

# Where order matters it is this one (semantics, preamble); text compares by UTF-8 bytes as DuckDB does by default.
ORDER = (
    "date NULLS FIRST, account NULLS FIRST, product_code NULLS FIRST, commodity_code NULLS FIRST, "
    "billing_item_code NULLS FIRST, instance_id NULLS FIRST, billed NULLS FIRST, line_id"
)


def columns(alias: str = "") -> str:
    """The column names, comma separated, each behind `alias.` where one is given."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + name for name in COLUMNS)
