"""Settlement records, the rows of QuerySettleBill: what an account pays for one product on one day.

The service settles orders one by one and usage by the hour or the day. Here a record is a day of one owner, product,
subscription type and kind, so that its number is the same whenever it is asked for.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from hashlib import blake2b
from typing import Any

from infra.localcloud.bss.answer import Value, Written, summed
from infra.localcloud.bss.bills import Bill, Filters, Position
from infra.localcloud.bss.item import unscaled
from infra.localcloud.bss.state import SUMS

# What makes two charges of a day one record: columns of the tally, and the fields of an item they come from.
KEY = {
    "owner": "OwnerID",
    "product": "ProductCode",
    "product_type": "ProductType",
    "pip": "PipCode",
    "commodity": "CommodityCode",
    "subscription": "SubscriptionType",
    "kind": "Item",
    "biz_type": "BizType",
    "currency": "Currency",
}
KINDS = ("SubscriptionOrder", "PayAsYouGoBill", "Refund", "Adjustment")
_NUMBER_DIGITS = 14
_COLUMNS = ("date", *KEY)


def record_id(account: str, day: str, key: Sequence[str]) -> str:
    """The order or bill number of a record: the day, then digits that its key determines."""
    digest = blake2b("\0".join((account, *key)).encode(), digest_size=8).digest()
    return day.replace("-", "") + f"{int.from_bytes(digest, 'big') % 10**_NUMBER_DIGITS:0{_NUMBER_DIGITS}d}"


def billed_between(day: str) -> tuple[str, str]:
    """From when to when the charges of `day` were used, in Beijing."""
    following = date.fromisoformat(day) + timedelta(days=1)
    return f"{day} 00:00:00", f"{following} 00:00:00"


class Records:
    """The records of a bill, narrowed by filters; `hide_zero` hides those whose gross amount is 0 (documented)."""

    def __init__(self, connection: sqlite3.Connection, account: str, bill: Bill, filters: Filters) -> None:
        self._connection, self._account, self._bill, self._filters = connection, account, bill, filters

    def page(self, after: Position | None, rows: int) -> list[dict[str, Any]]:
        """The next `rows` records behind the position `after`: by day, then by key."""
        page: list[dict[str, Any]] = []
        for day in self._bill.days(None if after is None else str(after[0])):
            behind = after if after is not None and after[0] == day else None
            page += self._of(day, behind, rows - len(page))
            if len(page) == rows:
                break
        return page

    def numbered(self, number: str) -> list[dict[str, Any]]:
        """The record of that number, if the bill has it."""
        day = f"{number[:4]}-{number[4:6]}-{number[6:8]}"
        if day not in self._bill.days(None):
            return []
        return [row for row in self._of(day, None, -1) if self.number(row) == number]

    def count(self) -> int:
        """How many records all pages have together."""
        where, values = self._bill.where_tally(self._filters)
        grouped = ", ".join(_COLUMNS)
        inner = f"SELECT sum(a0) AS gross FROM tally WHERE {where} GROUP BY {grouped}"  # noqa: S608 - our own columns
        query = f"SELECT count(*) FROM ({inner}) WHERE {self._shown()}"  # noqa: S608
        return int(self._connection.execute(query, values).fetchone()[0])

    def number(self, row: Mapping[str, Any]) -> str:
        """The number of a record."""
        return record_id(self._account, row["date"], [row[column] for column in KEY])

    def _of(self, day: str, after: Position | None, rows: int) -> list[dict[str, Any]]:
        where, values = self._bill.narrowed_to(date.fromisoformat(day)).where_tally(self._filters)
        grouped = ", ".join(KEY)
        if after is not None:
            where += f" AND ({grouped}) > ({', '.join('?' * len(KEY))})"
            values = [*values, *after[1:]]
        sums = ", ".join(f"sum({name}) AS {name}" for name in ("round_down", *SUMS))
        query = (
            f"SELECT date, {grouped}, {sums}, min(product_name) AS product_name, "  # noqa: S608 - our own columns
            f"min(product_detail) AS product_detail, sum(a0) AS gross FROM tally WHERE {where} "
            f"GROUP BY {grouped} HAVING {self._shown()} ORDER BY {grouped} LIMIT ?"
        )
        cursor = self._connection.execute(query, (*values, rows))
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _shown(self) -> str:
        return "gross <> 0" if self._filters.hide_zero else "1"


def position(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Where a record stands in the order of pages."""
    return tuple(str(row[column]) for column in _COLUMNS)


def settle_item(row: Mapping[str, Any], number: str, account: str, name: str, *, local_currency: bool) -> Value:
    """One row of QuerySettleBill. The China site charges no tax on top, so after tax is payable."""
    amounts = summed(row)
    payable, outstanding = row["a4"], row["a8"]
    status = "PayUnclear" if outstanding else "NoSettle" if not payable else "PayFinish"
    used_from, used_until = billed_between(row["date"])
    return {
        "RecordID": number,
        "SubOrderId": f"{number}01" if row["kind"] == "SubscriptionOrder" else "",
        "BillAccountID": account,
        "BillAccountName": name,
        **{field: row[column] for column, field in KEY.items()},
        "ProductName": row["product_name"],
        "ProductDetail": row["product_detail"],
        "UsageStartTime": used_from,
        "UsageEndTime": used_until,
        "PaymentTime": used_until if status == "PayFinish" else "",
        "PaymentTransactionID": "",
        "Status": status,
        **{field: digits for field, digits in amounts.items() if field != "AfterDiscountAmount"},
        "RoundDownDiscount": unscaled(row["round_down"]),
        "Tax": Written("0"),
        "AfterTaxAmount": amounts["PretaxAmount"],
        "PretaxAmountLocal": amounts["PretaxAmount"],
        "PaymentCurrency": row["currency"] if local_currency else "",
    }
