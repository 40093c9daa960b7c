"""Consumption details of the new bill (consumeDetailBillV2): 61 columns, or those somebody selected, in any order.

Headers are `group/field`, as seen in real exports; texts are UTF-8 with a byte order mark, lines end in LF, and cells
hold JSON. Each row says of itself which it is (标识信息/账单明细ID), and obeys both equations of its amounts.

How the columns correspond to DescribeInstanceBill, so that the sums by account and product are those of the API:

    费用信息/目录总价                   PretaxGrossAmount
    优惠信息/优惠金额                   InvoiceDiscount, and what was rounded down
    优惠信息/优惠后金额                 AfterDiscountAmount, less what was rounded down
    优惠券抵扣信息/优惠券抵扣金额       DeductedByCoupons
    应付信息/应付金额（含税）           PretaxAmount (the China site charges no tax on top)
    用量信息/抵扣前用量, 抵扣用量, 用量  Usage, DeductedByResourcePackage, and what is left of it
    身份信息/资源购买账号ID, 资源归属账号ID   BillAccountID, OwnerID

How it was paid (cash, vouchers, cards, arrears) the new bill does not say. What was rounded down is a row of its own
(抹零费用), as the console lists that fee type; that it is one row for each item is assumed. Fee types are those the
console offers and those seen in exports. Trade types seen: 后付费, 新购; those of renewals and refunds, the sign of a
refund (negative, like the API's) and 退款 as the word for it are assumed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from infra.localcloud.bss.bills import BUSINESS_ZONE
from infra.localcloud.bss.exports.charges import Charge, charges, difference, payer_name
from infra.localcloud.bss.exports.parts import Parts
from infra.localcloud.bss.exports.regions import in_chinese, region_id
from infra.localcloud.bss.item import unscaled
from infra.localcloud.bss.records import KEY, billed_between, record_id
from infra.localcloud.common import LocalCloudError

SITE = "2688801000001"  # of the documented example
BILL_TYPE = "consumeDetailBillV2"
ID, PAYABLE = "标识信息/账单明细ID", "应付信息/应付金额（含税）"
GROUPS: Mapping[str, tuple[str, ...]] = {
    "标识信息": ("账单明细ID", "订单号"),
    "身份信息": ("客户名称", "资源购买账号ID", "资源购买账号", "资源归属账号ID", "资源归属账号"),
    "账单信息": (
        "服务主体", "账单月份", "账单日期", "费用类型", "交易类型", "消费时间", "服务开始时间", "服务结束时间",
    ),
    "产品信息": (
        "产品Code", "产品名称", "商品Code", "商品名称", "计费项Code", "计费项名称", "选型配置", "规格",
    ),
    "资源信息": ("资源ID", "实例ID（出账粒度）", "资源名称", "地域Code", "地域", "可用区"),
    "时长信息": ("抵扣前时长", "抵扣时长", "时长", "时长单位", "时长详情"),
    "用量信息": ("抵扣前用量", "抵扣用量", "用量", "用量单位", "用量详情"),
    "定价信息": (
        "官网目录价", "价格单位", "目录价用量阶梯", "用量阶梯累计规则", "目录价转换信息", "目录价因子", "定价币种",
    ),
    "费用信息": ("目录总价", "计费公式", "计费辅助信息", "计费过程", "计费规则说明"),
    "订阅抵扣信息": ("订阅抵扣目录总价", "订阅抵扣后金额", "订阅抵扣金额", "订阅抵扣详情"),
    "优惠信息": ("优惠金额", "优惠后金额", "优惠详情"),
    "优惠券抵扣信息": ("优惠券抵扣金额", "优惠券抵扣详情"),
    "应付信息": ("应付金额（含税）",),
}  # fmt: skip
HEADERS: tuple[str, ...] = tuple(f"{group}/{field}" for group, fields in GROUPS.items() for field in fields)

_SELLER = "阿里云计算有限公司"
_ROUNDING = "抹零费用"
_LAST_DIGIT = {"": "0", _ROUNDING: "9"}  # two rows of one item differ in the last digit of their ids


def write_consumption(
    folder: Path,
    connection: sqlite3.Connection,
    account: str,
    cycle: str,
    as_of: datetime,
    fields: Sequence[str] | None = None,
    daily: bool = False,
    rows_max: int | None = None,
) -> Path:
    """Write the bill of `cycle` as it stood at `as_of`, under its documented name, without an extension.

    A `daily` file holds the month up to then and is named by the day before; more rows than `rows_max` are zipped.
    """
    day = as_of.astimezone(BUSINESS_ZONE).date() - timedelta(days=1)
    period = f"{day:%Y%m%d}" if daily else cycle.replace("-", "")
    return write_rows(folder, f"{account}_{SITE}_{BILL_TYPE}_{period}", connection, account, cycle, as_of, fields,
                      rows_max)  # fmt: skip


def write_rows(
    folder: Path,
    name: str,
    connection: sqlite3.Connection,
    account: str,
    cycle: str,
    as_of: datetime,
    fields: Sequence[str] | None = None,
    rows_max: int | None = None,
    id_suffix: str = "",
) -> Path:
    """The same content under any name; `id_suffix` ends account numbers, as the console's tabs do."""
    header = list(HEADERS if fields is None else fields)
    unknown = [field for field in header if field not in HEADERS]
    if unknown or len(set(header)) < len(header):
        raise LocalCloudError(f"columns of {BILL_TYPE} are some of its {len(HEADERS)}, each once; not {unknown}")
    parts = Parts(folder, name, header, rows_max, bom=True)
    called = payer_name(connection, account)
    try:
        for charge in charges(connection, account, cycle, as_of):
            for row in _rows(charge, called):
                for field in ("身份信息/资源购买账号ID", "身份信息/资源归属账号ID"):
                    row[field] += id_suffix
                parts.add(row[field] for field in header)
    finally:
        parts.close()
    return parts.named(as_of)


def _rows(charge: Charge, called: str) -> Iterator[dict[str, str]]:
    row = _identified(charge, called) | _what(charge) | _how_much(charge)
    yield row | _money(charge.amounts["PretaxGrossAmount"], charge.amounts["InvoiceDiscount"],
                       charge.amounts["DeductedByCoupons"])  # fmt: skip
    if charge.round_down:
        emptied = dict.fromkeys(row, "") | {name: row[name] for name in row if name.split("/")[0] in _KEPT_OF_ROUNDING}
        fee = {"账单信息/费用类型": _ROUNDING, "账单信息/交易类型": "", "标识信息/订单号": "",
               ID: charge.key + _LAST_DIGIT[_ROUNDING], "定价信息/定价币种": row["定价信息/定价币种"]}  # fmt: skip
        yield emptied | fee | _money(0, charge.round_down, 0)


_KEPT_OF_ROUNDING = frozenset({"身份信息", "账单信息", "产品信息", "标识信息"})


def _identified(charge: Charge, called: str) -> dict[str, str]:
    used_from, used_until = billed_between(charge.date)
    owner = charge.text("OwnerID")
    fee, trade = _types(charge)
    is_order = fee.startswith("订阅")
    number = record_id(charge.account, charge.date, [charge.texts[name] for name in KEY.values()])
    return {
        ID: charge.key + _LAST_DIGIT[""],
        # "If the fee type is pay-as-you-go, rounding adjustment, commission or another, the order ID is empty."
        "标识信息/订单号": number if is_order else "",
        "身份信息/客户名称": called,
        "身份信息/资源购买账号ID": charge.account,
        "身份信息/资源购买账号": called,
        "身份信息/资源归属账号ID": owner,
        "身份信息/资源归属账号": called if owner == charge.account else owner,
        "账单信息/服务主体": _SELLER,
        "账单信息/账单月份": charge.cycle.replace("-", ""),
        "账单信息/账单日期": charge.date.replace("-", ""),
        "账单信息/费用类型": fee,
        "账单信息/交易类型": trade,
        "账单信息/消费时间": used_until,
        "账单信息/服务开始时间": used_from,
        "账单信息/服务结束时间": used_until,
    }


def _types(charge: Charge) -> tuple[str, str]:
    """The fee type and the trade type of a row."""
    is_prepaid = charge.text("SubscriptionType") == "Subscription"
    match charge.text("Item"):
        case "SubscriptionOrder":
            return "订阅预付费用", "续费" if charge.text("ItemName") in ("Renewal", "续费") else "新购"
        case "Refund":
            return ("订阅退订费用", "退订") if is_prepaid else ("云资源按量费用", "退款")
        case "Adjustment":
            return "调账费用", "调账"
        case _ if charge.amounts["PretaxGrossAmount"] == 0 and _is_some(charge.readings["DeductedByResourcePackage"]):
            return "免费额度", "后付费"
        case _:
            return "云资源按量费用", "后付费"


def _is_some(number: str) -> bool:
    return any(digit in "123456789" for digit in number)


def _what(charge: Charge) -> dict[str, str]:
    region = charge.text("Region")
    config = charge.text("InstanceConfig")
    chosen = [part.partition("：")[::2] for part in config.split(";") if part]
    return {
        "产品信息/产品Code": charge.text("ProductCode"),
        "产品信息/产品名称": charge.text("ProductName"),
        "产品信息/商品Code": charge.text("CommodityCode"),
        "产品信息/商品名称": charge.text("ProductDetail"),
        "产品信息/计费项Code": charge.text("BillingItemCode"),
        "产品信息/计费项名称": charge.text("BillingItem"),
        "产品信息/选型配置": _json([{"name": name, "value": value} for name, value in chosen]) if chosen else "",
        "产品信息/规格": charge.text("InstanceSpec"),
        "资源信息/资源ID": charge.text("InstanceID").partition(";")[0],
        "资源信息/实例ID（出账粒度）": charge.text("InstanceID"),
        "资源信息/资源名称": charge.text("NickName"),
        "资源信息/地域Code": region_id(region),
        "资源信息/地域": in_chinese(region),
        "资源信息/可用区": charge.text("Zone"),
    }


def _how_much(charge: Charge) -> dict[str, str]:
    readings, unit = charge.readings, charge.text("UsageUnit")
    usage, package = readings["Usage"], readings["DeductedByResourcePackage"]
    left = difference(usage, package)
    # Cells hold JSON, and that JSON holds JSON: a reader of the file meets \"" again and again.
    process = {"precision": "10", "round": "4", "variables": _json({"usage": left, "price": readings["ListPrice"]})}
    return {
        "时长信息/抵扣前时长": readings["ServicePeriod"],
        "时长信息/抵扣时长": "0",
        "时长信息/时长": readings["ServicePeriod"],
        "时长信息/时长单位": charge.text("ServicePeriodUnit"),
        "时长信息/时长详情": "",
        "用量信息/抵扣前用量": usage,
        "用量信息/抵扣用量": package,
        "用量信息/用量": left,
        "用量信息/用量单位": unit,
        "用量信息/用量详情": _json([{"value": left, "unit": unit}]),
        "定价信息/官网目录价": readings["ListPrice"],
        "定价信息/价格单位": charge.text("ListPriceUnit"),
        "定价信息/目录价用量阶梯": "",
        "定价信息/用量阶梯累计规则": "",
        "定价信息/目录价转换信息": "",
        "定价信息/目录价因子": "",
        "定价信息/定价币种": charge.text("Currency"),
        "费用信息/计费公式": "用量*官网目录价",
        "费用信息/计费辅助信息": "",
        "费用信息/计费过程": _json(process),
        "费用信息/计费规则说明": "",
    }


def _money(gross: int, discount: int, coupons: int) -> dict[str, str]:
    """The amounts of a row; the rest follows from its two equations."""
    discounted = gross - discount
    return {
        "费用信息/目录总价": unscaled(gross),
        "订阅抵扣信息/订阅抵扣目录总价": "0",
        "订阅抵扣信息/订阅抵扣后金额": unscaled(gross),
        "订阅抵扣信息/订阅抵扣金额": "0",
        "订阅抵扣信息/订阅抵扣详情": "",
        "优惠信息/优惠金额": unscaled(discount),
        "优惠信息/优惠后金额": unscaled(discounted),
        "优惠信息/优惠详情": _json([{"type": "合同优惠", "amount": unscaled(discount)}]) if discount else "",
        "优惠券抵扣信息/优惠券抵扣金额": unscaled(coupons),
        "优惠券抵扣信息/优惠券抵扣详情": "",
        PAYABLE: unscaled(discounted - coupons),
    }


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
