"""What people export from the console: the new bill, and the detailed bill of the console before it.

Names are those seen: the 14 digits say when it was exported, not what of. Account numbers end in a tab, so that
spreadsheets keep them. The 39 columns of the older bill are those that a public reader of such exports expects, in
their order; 抹零金额 is seen in some, and then repeats the month's one amount on every row. A row of sums at the end is
assumed: its first cell says 合计, and the amounts stand in their columns.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from infra.localcloud.bss.bills import BUSINESS_ZONE, Bill, Filters
from infra.localcloud.bss.exports.charges import Charge, charges, payer_name
from infra.localcloud.bss.exports.consumption import write_rows
from infra.localcloud.bss.exports.parts import Parts
from infra.localcloud.bss.item import unscaled
from infra.localcloud.bss.state import tags_of

ROUND_DOWN, TOTAL = "抹零金额", "合计"
HEADERS = (
    "资源购买账号ID", "资源购买账号", "资源归属账号ID", "资源归属账号", "账单月份", "账单日期", "费用类型",
    "产品Code", "产品名称", "商品Code", "商品名称", "资产/资源实例ID", "资产/资源实例名称", "资源组", "实例标签",
    "资源实例配置", "资源实例规格", "公网IP", "私网IP", "地域", "可用区", "计费项Code", "计费规则说明", "计费项",
    "资源包抵扣量", "用量", "用量单位", "目录价", "目录价定价类型", "价格单位", "目录总价", "优惠券抵扣金额",
    "优惠金额", "节省计划抵扣目录总价", "应付金额", "代金券抵扣金额", "定价币种", "主键", "优惠后金额",
)  # fmt: skip
# The API's names of the amounts that add up.
_AMOUNTS = {
    "目录总价": "PretaxGrossAmount",
    "优惠券抵扣金额": "DeductedByCoupons",
    "优惠金额": "InvoiceDiscount",
    "应付金额": "PretaxAmount",
    "代金券抵扣金额": "DeductedByCashCoupons",
}
_FEES = {
    "SubscriptionOrder": "预付费订单",
    "PayAsYouGoBill": "后付费账单",
    "Refund": "退款账单",
    "Adjustment": "调账账单",
}
_TEXTS = {
    "产品Code": "ProductCode",
    "产品名称": "ProductName",
    "商品Code": "CommodityCode",
    "商品名称": "ProductDetail",
    "资产/资源实例ID": "InstanceID",
    "资产/资源实例名称": "NickName",
    "资源组": "ResourceGroup",
    "资源实例配置": "InstanceConfig",
    "资源实例规格": "InstanceSpec",
    "公网IP": "InternetIP",
    "私网IP": "IntranetIP",
    "地域": "Region",
    "可用区": "Zone",
    "计费项Code": "BillingItemCode",
    "计费项": "BillingItem",
    "用量单位": "UsageUnit",
    "价格单位": "ListPriceUnit",
    "定价币种": "Currency",
}


def write_console_consumption(
    folder: Path, connection: sqlite3.Connection, account: str, cycle: str, as_of: datetime
) -> Path:
    """The new bill, as the console exports a closed month of it."""
    name = f"{account}-{_exported(as_of)}_consumedetailbillv2_{cycle}.csv"
    return write_rows(folder, name, connection, account, cycle, as_of, id_suffix="\t")


def write_console(
    folder: Path,
    connection: sqlite3.Connection,
    account: str,
    cycle: str,
    as_of: datetime,
    *,
    with_total: bool = True,
    with_round_down: bool = False,
) -> Path:
    """The older detailed bill by billing item and day."""
    header = (*HEADERS, ROUND_DOWN) if with_round_down else HEADERS
    parts = Parts(folder, f"{account}-{_exported(as_of)}_instanceconsumeday.csv", header, bom=True)
    called = payer_name(connection, account)
    month = unscaled(_round_down(connection, account, cycle, as_of))
    sums = dict.fromkeys((*_AMOUNTS.values(), "AfterDiscountAmount"), 0)
    try:
        for charge in charges(connection, account, cycle, as_of):
            amounts = dict(charge.amounts) | {"AfterDiscountAmount": _discounted(charge)}
            sums = {name: total + amounts[name] for name, total in sums.items()}
            row = _texts(charge, called) | _money(amounts) | {ROUND_DOWN: month}
            parts.add(row.get(field, "") for field in header)
        if with_total:
            last = {header[0]: TOTAL} | _money(sums) | {ROUND_DOWN: month}
            parts.add(last.get(field, "") for field in header)
    finally:
        parts.close()
    return parts.named(as_of)


def _exported(at: datetime) -> str:
    return f"{at.astimezone(BUSINESS_ZONE):%Y%m%d%H%M%S}"


def _discounted(charge: Charge) -> int:
    return charge.amounts["PretaxGrossAmount"] - charge.amounts["InvoiceDiscount"]


def _round_down(connection: sqlite3.Connection, account: str, cycle: str, as_of: datetime) -> int:
    found = Bill(connection, account, cycle, as_of).sums(["currency"], Filters())
    return sum(int(row["round_down"]) for row in found)


def _texts(charge: Charge, called: str) -> dict[str, str]:
    owner = charge.text("OwnerID")
    tags = tags_of(charge.texts["Tag"])
    return {
        **{header: charge.text(field) for header, field in _TEXTS.items()},
        "资源购买账号ID": charge.account + "\t",
        "资源购买账号": called,
        "资源归属账号ID": owner + "\t",
        "资源归属账号": called if owner == charge.account else owner,
        "账单月份": charge.cycle,
        "账单日期": charge.date,
        "费用类型": _FEES.get(charge.text("Item"), charge.text("Item")),
        "实例标签": ";".join(f"{key}:{value}" for key, value in tags.items()),
        "资源包抵扣量": charge.readings["DeductedByResourcePackage"],
        "用量": charge.readings["Usage"],
        "目录价": charge.readings["ListPrice"],
        "主键": charge.key,
    }


def _money(amounts: Mapping[str, int]) -> dict[str, str]:
    return {
        **{header: unscaled(amounts[field]) for header, field in _AMOUNTS.items()},
        "节省计划抵扣目录总价": "0",
        "优惠后金额": unscaled(amounts["AfterDiscountAmount"]),
    }
