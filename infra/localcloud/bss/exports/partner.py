"""Bills of the partner platform (SubscriptionBill of Agency 2022-12-16): the accounts that pay through the caller.

Documented: the types, names `UID_<type>_<period>_SquenceNo_fileNo` without an extension, csv or parquet, and that more
rows than SubscribeSegmentSize make several files of one sequence number. Not documented: the columns. Those here are
the ones that public readers of partners' bills expect, with `Linked User` as the customer. Assumed: that both formats
have the same columns; words for the kinds of orders; in Parquet, that amounts are decimals and all else is text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

from infra.localcloud.bss.bills import Grain
from infra.localcloud.bss.exports.charges import Charge, charges, customers, payer_name
from infra.localcloud.bss.exports.parts import Parts
from infra.localcloud.bss.item import PLACES, unscaled
from infra.localcloud.bss.records import billed_between
from infra.localcloud.bss.state import tags_of
from infra.localcloud.common import LocalCloudError

DETAIL, MONTHLY = "PartnerBillingItemDetail", "PartnerBillingItemDetailMonthly"
AMOUNTS = (
    "Original Cost", "SPN Deducted Price", "Discount", "Coupon Deduct", "Pretax Cost(Before Round Down Discount)",
)  # fmt: skip
HEADERS = (
    "Billing Cycle", "Consume Time", "User ID", "User Name", "User Account", "Linked User ID", "Linked User Name",
    "Linked User Account", "Bill Source", "Order Type", "Charge Type", "Billing Type", "Product Code", "Product Name",
    "Instance ID", "Instance Name", "Instance Configuration", "Instance Tag", "Region", "Original Cost",
    "SPN Deducted Price", "SPN ID", "Discount", "Discount(%)", "Coupon Deduct",
    "Pretax Cost(Before Round Down Discount)", "Currency",
)  # fmt: skip
_ORDER_TYPES = {
    "SubscriptionOrder": "Buy",
    "PayAsYouGoBill": "Pay-As-You-Go Bill",
    "Refund": "Refund",
    "Adjustment": "Adjustment",
}
_CHARGE_TYPES = {"Subscription": "Subscription", "PayAsYouGo": "Pay-As-You-Go"}


def write_partner(
    folder: Path,
    connection: sqlite3.Connection,
    account: str,
    cycle: str,
    as_of: datetime,
    *,
    bill_format: str = "csv",
    monthly: bool = False,
    segment_size: int | None = None,
    sequence: int = 1,
) -> list[Path]:
    """Write the bill of the caller's customers; by day, or with `monthly` a row for each billing item."""
    if bill_format not in ("csv", "parquet"):
        raise LocalCloudError(f"partners' bills are csv or parquet, not {bill_format!r}")
    stem = f"{account}_{MONTHLY if monthly else DETAIL}_{cycle.replace('-', '')}_{sequence:04d}"
    written: list[Path] = []
    rows = list(_rows(connection, account, cycle, as_of, Grain.ITEM_MONTH if monthly else Grain.LINE))
    size = segment_size or max(1, len(rows))
    for number, start in enumerate(range(0, max(1, len(rows)), size), 1):
        path = folder / f"{stem}_{number:02d}"
        chunk = rows[start : start + size]
        written.append(_parquet(path, chunk) if bill_format == "parquet" else _csv(path, chunk, as_of))
    return written


def _rows(
    connection: sqlite3.Connection, account: str, cycle: str, as_of: datetime, grain: Grain
) -> Iterator[list[str]]:
    linked, called = customers(connection, account), payer_name(connection, account)
    for charge in charges(connection, account, cycle, as_of, grain):
        if charge.text("OwnerID") in linked:
            row = _row(charge, called)
            yield [row[header] for header in HEADERS]


def _row(charge: Charge, called: str) -> dict[str, str]:
    owner, amounts = charge.text("OwnerID"), charge.amounts
    tags = tags_of(charge.texts["Tag"])
    is_prepaid = charge.text("SubscriptionType") == "Subscription"
    return {
        "Billing Cycle": charge.cycle.replace("-", ""),
        "Consume Time": billed_between(charge.date)[0] if charge.date else "",
        "User ID": charge.account,
        "User Name": called,
        "User Account": called,
        "Linked User ID": owner,
        "Linked User Name": owner,
        "Linked User Account": owner,
        "Bill Source": "Subscription Order" if is_prepaid else "Pay-As-You-Go Bill",
        "Order Type": _ORDER_TYPES.get(charge.text("Item"), charge.text("Item")),
        "Charge Type": _CHARGE_TYPES.get(charge.text("SubscriptionType"), charge.text("SubscriptionType")),
        "Billing Type": charge.text("BillingType"),
        "Product Code": charge.text("ProductCode"),
        "Product Name": charge.text("ProductName"),
        "Instance ID": charge.text("InstanceID"),
        "Instance Name": charge.text("NickName"),
        "Instance Configuration": charge.text("InstanceConfig"),
        "Instance Tag": ";".join(f"{key}:{value}" for key, value in tags.items()),
        "Region": charge.text("Region"),
        "Original Cost": unscaled(amounts["PretaxGrossAmount"]),
        "SPN Deducted Price": "0",
        "SPN ID": "",
        "Discount": unscaled(amounts["InvoiceDiscount"]),
        "Discount(%)": "",
        "Coupon Deduct": unscaled(amounts["DeductedByCoupons"]),
        "Pretax Cost(Before Round Down Discount)": unscaled(amounts["PretaxAmount"] + charge.round_down),
        "Currency": charge.text("Currency"),
    }


def _csv(path: Path, rows: Sequence[Sequence[str]], as_of: datetime) -> Path:
    parts = Parts(path.parent, path.name, HEADERS, bom=True)
    try:
        for row in rows:
            parts.add(row)
    finally:
        parts.close()
    return parts.named(as_of)


def _parquet(path: Path, rows: Sequence[Sequence[str]]) -> Path:
    import duckdb  # most local clouds never write one

    selected = ", ".join(
        f'unnest(?::VARCHAR[])::DECIMAL(28, {PLACES}) AS "{header}"' if header in AMOUNTS else
        f'unnest(?::VARCHAR[]) AS "{header}"'
        for header in HEADERS
    )  # fmt: skip
    columns = [[row[place] for row in rows] for place in range(len(HEADERS))]
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE bill AS SELECT {selected}", columns)
        connection.execute(f"COPY bill TO '{str(path).replace(chr(39), chr(39) * 2)}' (FORMAT parquet)")
    return path
