"""The content of bill files: comma-separated values in UTF-8, in Chinese or English, zipped where they are too long.

Headers are those seen in classic files; the fields are those of help document 89133, "detailed file format". What is
not documented of them: values that the API writes as codes are put in the API documentation's Chinese words; English
words for the amounts behind coupons are those of the console's documentation; the columns of a split bill, 币种 and
主键 follow the others. An instance's rows have no columns of billing items (the document lists none), and those of a
month leave the times empty.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from infra.localcloud.bss.answer import amount_digits, split_texts
from infra.localcloud.bss.bills import Bill, Grain, Row
from infra.localcloud.bss.exports.charges import customers, row_key, rows, texts_of
from infra.localcloud.bss.exports.parts import Parts
from infra.localcloud.bss.item import AMOUNTS, BILLING_ITEM_FIELDS, BILLING_ITEM_READINGS, READINGS
from infra.localcloud.bss.records import KEY, billed_between, record_id
from infra.localcloud.bss.schedule import BillFile, Kind
from infra.localcloud.bss.state import tags_of

# Header and what stands below it: a field of an item, or one of `_derived`.
_ZH = (
    ("账期", "BillingCycle"), ("财务单元", "CostUnit"), ("账号ID", "BillAccountID"), ("账号", "BillAccountName"),
    ("Owner账号", "OwnerAccount"), ("产品Code", "BillProduct"), ("产品", "ProductName"),
    ("产品明细Code", "BillProductDetail"), ("产品明细", "ProductDetail"), ("消费类型", "SubscriptionType"),
    ("消费时间", "PaymentTime"), ("账单开始时间", "UsageStartTime"), ("账单结束时间", "UsageEndTime"),
    ("服务时长", "ServicePeriod"), ("订单号/账单号", "RecordID"), ("账单类型", "Item"), ("计费方式", "BillingType"),
    ("实例ID", "InstanceID"), ("实例昵称", "NickName"), ("资源组", "ResourceGroup"), ("实例标签", "Tag"),
    ("实例配置", "InstanceConfig"), ("实例规格", "InstanceSpec"), ("公网IP", "InternetIP"), ("私网IP", "IntranetIP"),
    ("地域", "Region"), ("可用区", "Zone"), ("计费项", "BillingItem"), ("单价", "ListPrice"),
    ("单价单位", "ListPriceUnit"), ("用量", "Usage"), ("用量单位", "UsageUnit"),
    ("资源包抵扣", "DeductedByResourcePackage"), ("原价", "PretaxGrossAmount"), ("优惠金额", "InvoiceDiscount"),
    ("优惠券抵扣", "DeductedByCoupons"), ("应付金额", "PretaxAmount"), ("现金支付", "PaymentAmount"),
    ("代金券抵扣", "DeductedByCashCoupons"), ("储值卡支付金额", "DeductedByPrepaidCard"),
    ("欠费金额", "OutstandingAmount"),
)  # fmt: skip
_EN = (
    ("Billing Cycle", "BillingCycle"), ("Cost Center", "CostUnit"), ("Account ID", "BillAccountID"),
    ("Account Name", "BillAccountName"), ("Owner Account ID", "OwnerID"), ("Owner Account Name", "OwnerAccount"),
    ("Product Code", "BillProduct"), ("Product Name", "ProductName"), ("Product Type", "BillProductDetail"),
    ("Product Detail", "ProductDetail"), ("Subscription Type", "SubscriptionType"), ("Payment Time", "PaymentTime"),
    ("Usage Start Time", "UsageStartTime"), ("Usage End Time", "UsageEndTime"), ("Service Duration", "ServicePeriod"),
    ("Order No./Bill No.", "RecordID"), ("Item", "Item"), ("Billing Type", "BillingType"),
    ("Instance ID", "InstanceID"), ("Instance Name", "NickName"), ("Resource Group", "ResourceGroup"),
    ("Instance Tag", "Tag"), ("Instance Config", "InstanceConfig"), ("Instance Spec", "InstanceSpec"),
    ("Internet IP", "InternetIP"), ("Intranet IP", "IntranetIP"), ("Region", "Region"), ("Zone", "Zone"),
    ("Billing Item", "BillingItem"), ("List Price", "ListPrice"), ("List Price Unit", "ListPriceUnit"),
    ("Usage", "Usage"), ("Usage Unit", "UsageUnit"), ("Deducted By Resource Package", "DeductedByResourcePackage"),
    ("Pretax Gross Amount", "PretaxGrossAmount"), ("Invoice Discount", "InvoiceDiscount"),
    ("Deducted By Coupons", "DeductedByCoupons"), ("Pretax Amount", "PretaxAmount"),
    ("Payment Amount", "PaymentAmount"), ("Deducted By Cash Coupons", "DeductedByCashCoupons"),
    ("Deducted By Prepaid Card", "DeductedByPrepaidCard"), ("Outstanding Amount", "OutstandingAmount"),
)  # fmt: skip
_CURRENCY = {"zh": ("币种", "Currency"), "en": ("Currency", "Currency")}
# "The unique identification code for each piece of data", in files since November 2023 (notice OSS20231102).
_KEY = {"zh": ("主键", "Key"), "en": ("Primary Key", "Key")}
_SPLIT = {
    "zh": (
        ("分账月", "BillingCycle"), ("分账天", "BillingDate"), ("分拆项ID", "SplitItemID"),
        ("分拆项名称", "SplitItemName"), ("分拆项所属账号ID", "SplitAccountID"),
    ),
    "en": (
        ("Split Billing Cycle", "BillingCycle"), ("Split Billing Date", "BillingDate"),
        ("Split Item ID", "SplitItemID"), ("Split Item Name", "SplitItemName"), ("Split Account ID", "SplitAccountID"),
    ),
}  # fmt: skip
# Of api-bssopenapi-2017-12-14-querysettlebill in Chinese.
_WORDS = {
    "Item": {
        "SubscriptionOrder": "预付费订单",
        "PayAsYouGoBill": "后付费账单",
        "Refund": "退款账单",
        "Adjustment": "调账账单",
    },
    "SubscriptionType": {"Subscription": "预付费", "PayAsYouGo": "后付费"},
}


@dataclass(frozen=True, slots=True)
class Form:
    """How a file is written, and for whom; `accounts` is MA or ACP1."""

    account: str
    name: str
    accounts: str
    language: str
    with_currency: bool
    rows_max: int | None
    with_key: bool = True  # as files are since November 2023


def write(folder: Path, connection: sqlite3.Connection, file: BillFile, form: Form, as_of: datetime) -> Path | None:
    """Write the file as the bill stood at `as_of` into `folder`; None where it would have no rows.

    One bill makes one content, byte by byte. More rows than `rows_max` make several files zipped into one.
    """
    columns = _columns(file.kind, form)
    parts = Parts(folder, file.name(form.account), [header for header, _ in columns], form.rows_max)
    try:
        linked = customers(connection, form.account)
        for cycle, row in _rows(connection, file, form.account, as_of):
            texts = texts_of(row.body)
            if _is_of(form, linked, texts):
                values = _values(file.kind, form, cycle, row, texts)
                parts.add([values.get(field, "") for _, field in columns])
    finally:
        parts.close()
    return parts.joined(as_of)


def _rows(connection: sqlite3.Connection, file: BillFile, account: str, as_of: datetime) -> Iterator[tuple[str, Row]]:
    if file.day is None:
        yield from ((file.cycle, row) for row in rows(Bill(connection, account, file.cycle, as_of), file.kind.grain))
        return
    after, until = file.window()
    # The tally knows the dates of which something is new without reading the items.
    query = (
        "SELECT DISTINCT b.cycle, t.date FROM bill b JOIN tally t ON t.bill = b.id WHERE b.payer = ? "
        "AND t.visible_from > ? AND t.visible_from <= ? ORDER BY b.cycle, t.date"
    )
    window = (int(after.timestamp()), int(until.timestamp()))
    for cycle, day in connection.execute(query, (account, *window)).fetchall():
        bill = Bill(connection, account, cycle, as_of).narrowed_to(date.fromisoformat(day)).appeared(after, until)
        yield from ((cycle, row) for row in rows(bill, file.kind.grain))


def _is_of(form: Form, linked: frozenset[str], texts: Mapping[str, str]) -> bool:
    """MA is the account's whole bill but for linked accounts in trusteeship, ACP1 the accounts that pay through it."""
    if form.accounts == "ACP1":
        return texts["OwnerID"] in linked
    return texts["BizType"] != "trusteeship" or texts["OwnerID"] == form.account


def _columns(kind: Kind, form: Form) -> list[tuple[str, str]]:
    columns = list(_ZH if form.language == "zh" else _EN)
    if kind.grain in (Grain.INSTANCE_DAY, Grain.INSTANCE_MONTH):
        columns = [column for column in columns if column[1] not in BILLING_ITEM_FIELDS | BILLING_ITEM_READINGS]
    if form.with_currency:
        columns.append(_CURRENCY[form.language])
    if form.with_key:
        columns.append(_KEY[form.language])
    if kind is Kind.SPLIT_ITEMS:
        columns += _SPLIT[form.language]
    return columns


def _values(kind: Kind, form: Form, cycle: str, row: Row, texts: Mapping[str, str]) -> dict[str, str]:
    values = dict(texts) | dict(zip(READINGS, row.readings, strict=True))
    values |= zip(AMOUNTS, amount_digits(row.amounts), strict=True)
    values |= {
        "BillingCycle": cycle,
        "Key": row_key(form.account, cycle, row),
        "BillAccountID": form.account,
        "BillAccountName": form.name,
        # The local service knows the name of the payer only; of others it is the account's number.
        "OwnerAccount": form.name if texts["OwnerID"] == form.account else texts["OwnerID"],
        # "PipCode: the same as the product code of the bill", "CommodityCode: as the code of its product detail".
        "BillProduct": texts["PipCode"] or texts["ProductCode"],
        "BillProductDetail": texts["CommodityCode"] or texts["ProductType"],
        "Tag": texts["Tag"] and file_tags(texts["Tag"]),
    }
    if kind.grain.is_daily:
        used_from, used_until = billed_between(row.date)
        values |= {
            "BillingDate": row.date,
            "UsageStartTime": used_from,
            "UsageEndTime": used_until,
            "PaymentTime": used_until,
            "RecordID": record_id(form.account, row.date, [texts[name] for name in KEY.values()]),
        }
    if kind is Kind.SPLIT_ITEMS:
        values |= split_texts(texts)
    if form.language == "zh":
        values |= {name: words.get(values[name], values[name]) for name, words in _WORDS.items()}
    return values


def file_tags(text: str) -> str:
    """Tags as files write them: `env:prod;team:a` for the API's `key:env value:prod; key:team value:a`."""
    return ";".join(f"{key}:{value}" for key, value in tags_of(text).items())
