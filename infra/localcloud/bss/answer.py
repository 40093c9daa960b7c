"""Writing the service's JSON. Amounts go from digits to digits; no number is ever a float on its way out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from infra.localcloud.bss.bills import Row
from infra.localcloud.bss.item import (
    AMOUNTS,
    BILLING_ITEM_FIELDS,
    BILLING_ITEM_READINGS,
    READINGS,
    SPLIT_FIELDS,
    unscaled,
)


class Written(str):
    """Text that is JSON already: the digits of a number, or a whole object."""

    __slots__ = ()


Value: TypeAlias = "str | int | bool | Written | Mapping[str, Value] | Sequence[Value]"


# json.dumps makes an encoder for every call that is not all defaults.
_plain = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def write(value: Value) -> Written:
    """`value` as JSON text."""
    if isinstance(value, Written):
        return value
    if isinstance(value, Mapping):
        return Written("{" + ",".join(f'"{name}":{write(part)}' for name, part in value.items()) + "}")
    if isinstance(value, str | int):
        return Written(_plain(value))
    return Written("[" + ",".join([write(part) for part in value]) + "]")


def instance_items(
    rows: Sequence[Row], account: str, name: str, *, daily: bool, by_billing_item: bool
) -> list[Written]:
    """The items of DescribeInstanceBill for `rows` of the bill of `account`."""
    head = f'"BillAccountID":{write(account)},"BillAccountName":{write(name)},'
    return [_item(head, row, daily=daily, by_billing_item=by_billing_item) for row in rows]


def split_items(rows: Sequence[Row], account: str, name: str, cycle: str, *, daily: bool) -> list[Written]:
    """The items of DescribeSplitItemBill for `rows`: a resource that was not split is its own only part."""
    head = f'"BillAccountID":{write(account)},"BillAccountName":{write(name)},"SplitBillingCycle":"{cycle}",'
    return [_split_item(head, row, daily=daily) for row in rows]


def split_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """Which part of its resource a line is for."""
    own = {
        "SplitItemID": texts["InstanceID"],
        "SplitItemName": texts["NickName"],
        "SplitAccountID": texts["OwnerID"],
        "SplitAccountName": "",
        "SplitCommodityCode": texts["CommodityCode"],
        "SplitProductDetail": texts["ProductDetail"],
    }
    return own | {name: texts[name] for name in SPLIT_FIELDS if name in texts}


def _split_item(head: str, row: Row, *, daily: bool) -> Written:
    texts = json.loads(f"{{{row.body}}}")
    texts |= split_texts(texts) | dict(zip(READINGS, row.readings, strict=True))
    dated = f'"BillingDate":"{row.date}","SplitBillingDate":"{row.date}",' if daily else ""
    return Written(f"{{{head}{dated}{_plain(texts)[1:-1]},{_amounts(row.amounts)}}}")


def _item(head: str, row: Row, *, daily: bool, by_billing_item: bool) -> Written:
    readings = dict(zip(READINGS, row.readings, strict=True))
    body, dropped = row.body, SPLIT_FIELDS
    if not by_billing_item:
        dropped = SPLIT_FIELDS | BILLING_ITEM_FIELDS
        readings = {key: text for key, text in readings.items() if key not in BILLING_ITEM_READINGS}
    if not by_billing_item or '"Split' in body:
        texts = json.loads(f"{{{body}}}")
        body = _plain({key: text for key, text in texts.items() if key not in dropped})[1:-1]
    dated = f'"BillingDate":"{row.date}",' if daily else ""
    return Written(f"{{{head}{dated}{body},{_plain(readings)[1:-1]},{_amounts(row.amounts)}}}")


def _amounts(amounts: str | tuple[int, ...]) -> str:
    return ",".join([f'"{name}":{text}' for name, text in zip(AMOUNTS, amount_digits(amounts), strict=True)])


def amount_digits(amounts: str | tuple[int, ...]) -> list[str]:
    """The digits of a row's amounts, in the order of AMOUNTS."""
    return amounts.split(" ") if isinstance(amounts, str) else [unscaled(amount) for amount in amounts]


def overview_item(sums: Mapping[str, Any], account: str, name: str) -> dict[str, Value]:
    """One row of QueryBillOverview. The China site charges no tax on top, so after tax is payable."""
    amounts = summed(sums)
    payable = amounts["PretaxAmount"]
    return {
        "BillAccountID": account,
        "BillAccountName": name,
        "OwnerID": sums["owner"],
        "ProductCode": sums["product"],
        "ProductName": sums["product_name"],
        "ProductType": sums["product_type"],
        "ProductDetail": sums["product_detail"],
        "PipCode": sums["pip"],
        "CommodityCode": sums["commodity"],
        "SubscriptionType": sums["subscription"],
        "Item": sums["kind"],
        "BizType": sums["biz_type"],
        "Currency": sums["currency"],
        **{key: digits for key, digits in amounts.items() if key != "AfterDiscountAmount"},
        "RoundDownDiscount": unscaled(sums["round_down"]),
        "Tax": Written("0"),
        "AfterTaxAmount": payable,
        "PretaxAmountLocal": payable,
        "PaymentCurrency": "",
    }


def account_item(sums: Mapping[str, Any], account: str, name: str, billing_date: str | None) -> dict[str, Value]:
    """One row of QueryAccountBill; product fields are empty where it is not grouped by product."""
    owner = sums["owner"]
    row: dict[str, Value] = {
        "BillAccountID": account,
        "BillAccountName": name,
        "OwnerID": owner,
        "OwnerName": name if owner == account else "",
        "CostUnit": "未分配",
        "ProductCode": sums.get("product", ""),
        "ProductName": sums["product_name"] if "product" in sums else "",
        "PipCode": sums.get("pip", ""),
        "SubscriptionType": sums.get("subscription", ""),
        "BizType": sums["biz_type"],
        "Currency": sums["currency"],
        **{key: digits for key, digits in summed(sums).items() if key != "AfterDiscountAmount"},
    }
    return row if billing_date is None else {"BillingDate": billing_date, **row}


def summed(sums: Mapping[str, Any]) -> dict[str, Written]:
    """The amounts of a row of sums, by their names."""
    return {name: Written(unscaled(sums[f"a{place}"])) for place, name in enumerate(AMOUNTS)}
