"""The content of bill files: comma-separated values in UTF-8, in Chinese or English, zipped where they are too long.

Headers are those of the classic files. What is not documented of them: values that the API writes as codes are put in
the API documentation's Chinese words; the columns of a split bill, and 币种, follow the others. An instance's rows
leave the columns of billing items empty, and a month's rows those of a day.
"""

from __future__ import annotations

import csv
import json
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

from infra.localcloud.bss.answer import amount_digits, split_texts
from infra.localcloud.bss.bills import BUSINESS_ZONE, Bill, Filters, Grain, Row
from infra.localcloud.bss.item import AMOUNTS, BILLING_ITEM_FIELDS, BILLING_ITEM_READINGS, READINGS
from infra.localcloud.bss.records import KEY, billed_between, record_id
from infra.localcloud.bss.schedule import BillFile, Kind
from infra.localcloud.bss.state import tags_of

_PAGE = 2_000

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
    ("Deducted By Coupons", "DeductedByCoupons"),
)  # fmt: skip
_CURRENCY = {"zh": ("币种", "Currency"), "en": ("Currency", "Currency")}
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


def write(folder: Path, connection: sqlite3.Connection, file: BillFile, form: Form, as_of: datetime) -> Path | None:
    """Write the file as the bill stood at `as_of` into `folder`; None where it would have no rows.

    One bill makes one content, byte by byte. More rows than `rows_max` make several files zipped into one.
    """
    columns = _columns(file.kind, form)
    parts = _Parts(folder, file.name(form.account), [header for header, _ in columns], form.rows_max)
    try:
        customers = _customers(connection, form.account)
        for cycle, row in _rows(connection, file, form.account, as_of):
            texts = _texts(row.body)
            if _is_of(form, customers, texts):
                values = _values(file.kind, form, cycle, row, texts)
                parts.add([values.get(field, "") for _, field in columns])
    finally:
        parts.close()
    return parts.joined(as_of)


def _rows(connection: sqlite3.Connection, file: BillFile, account: str, as_of: datetime) -> Iterator[tuple[str, Row]]:
    if file.day is None:
        yield from ((file.cycle, row) for row in _all(Bill(connection, account, file.cycle, as_of), file.kind.grain))
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
        yield from ((cycle, row) for row in _all(bill, file.kind.grain))


def _all(bill: Bill, grain: Grain) -> Iterator[Row]:
    page = bill.page(grain, Filters(), None, _PAGE)
    while page:
        yield from page
        page = bill.page(grain, Filters(), page[-1].position, _PAGE) if len(page) == _PAGE else []


@lru_cache(maxsize=65_536)
def _texts(body: str) -> Mapping[str, str]:
    texts: dict[str, str] = json.loads(f"{{{body}}}")
    return texts


def _customers(connection: sqlite3.Connection, account: str) -> frozenset[str]:
    rows = connection.execute("SELECT uid FROM customer WHERE payer = ?", (account,))
    return frozenset(uid for (uid,) in rows)


def _is_of(form: Form, customers: frozenset[str], texts: Mapping[str, str]) -> bool:
    """MA is the account's whole bill but for linked accounts in trusteeship, ACP1 the accounts that pay through it."""
    if form.accounts == "ACP1":
        return texts["OwnerID"] in customers
    return texts["BizType"] != "trusteeship" or texts["OwnerID"] == form.account


def _columns(kind: Kind, form: Form) -> list[tuple[str, str]]:
    columns = list(_ZH if form.language == "zh" else _EN)
    if form.with_currency:
        columns.append(_CURRENCY[form.language])
    if kind is Kind.SPLIT_ITEMS:
        columns += _SPLIT[form.language]
    return columns


def _values(kind: Kind, form: Form, cycle: str, row: Row, texts: Mapping[str, str]) -> dict[str, str]:
    values = dict(texts) | dict(zip(READINGS, row.readings, strict=True))
    if kind.grain in (Grain.INSTANCE_DAY, Grain.INSTANCE_MONTH):
        values = {
            name: text
            for name, text in values.items()
            if name not in BILLING_ITEM_FIELDS and name not in BILLING_ITEM_READINGS
        }
    values |= zip(AMOUNTS, amount_digits(row.amounts), strict=True)
    values |= {
        "BillingCycle": cycle,
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


class _Parts:
    """Rows in files of at most `rows_max`, each with the header."""

    def __init__(self, folder: Path, name: str, header: list[str], rows_max: int | None) -> None:
        self._folder, self._name, self._header, self._rows_max = folder, name, header, rows_max
        self._paths: list[Path] = []
        self._file: IO[str] | None = None
        self._writer: Any = None
        self._rows = 0

    def add(self, row: list[str]) -> None:
        """Write one row, into a new file where the last is full."""
        if self._file is None or self._rows == self._rows_max:
            self._open()
        self._writer.writerow(row)
        self._rows += 1

    def close(self) -> None:
        """Close the last file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def joined(self, at: datetime) -> Path | None:
        """One file: the only one, or all of them zipped as of `at`."""
        if len(self._paths) < 2:
            return self._paths[0] if self._paths else None
        path = self._folder / self._name
        local = at.astimezone(BUSINESS_ZONE)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for part in self._paths:
                member = zipfile.ZipInfo(part.name, local.timetuple()[:6])
                member.compress_type = zipfile.ZIP_DEFLATED
                with part.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                    while chunk := source.read(1 << 20):
                        target.write(chunk)
        return path

    def _open(self) -> None:
        self.close()
        path = self._folder / f"{self._name}_{len(self._paths) + 1}.csv"
        self._paths.append(path)
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(self._header)
        self._rows = 0
