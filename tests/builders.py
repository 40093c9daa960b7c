"""What a test is not about, filled in: bill items, parties, agreements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.fakes import Item

# The small month: its last three days, two payers, two resellers.
CYCLE = "2025-06"
DAYS = ("2025-06-28", "2025-06-29", "2025-06-30")
SINCE = DAYS[0]
P1, P2 = "100", "200"  # payers
ACME, ATLAS, BIRCH = "1001", "1002", "2001"  # accounts: two of aurora's customers, one of borealis's

_SKELETON: Mapping[str, str] = {
    "BillAccountName": "payer@example.aliyunid.com",
    "BillingItem": "云服务器配置",
    "BillingItemCode": "instance_type",
    "BillingType": "其它",
    "BizType": "",
    "CommodityCode": "ecs",
    "CostUnit": "未分配",
    "InstanceConfig": "CPU：12",
    "InstanceSpec": "ecs.sn1ne.3xlarge\t",
    "InternetIP": "",
    "IntranetIP": "192.0.2.7",
    "ItemName": "",
    "ListPrice": "1",
    "ListPriceUnit": "元",
    "NickName": "test",
    "ProductDetail": "云服务器ECS",
    "ProductName": "云服务器ECS",
    "ProductType": "ecs",
    "Region": "华东1（杭州）",
    "ResourceGroup": "默认资源组",
    "ServicePeriod": "3600",
    "ServicePeriodUnit": "秒",
    "SubscriptionType": "PayAsYouGo",
    "Tag": "",
    "Usage": "24",
    "UsageUnit": "小时",
    "Zone": "cn-hangzhou-h",
}
_NOTHING = ("InvoiceDiscount", "DeductedByCoupons", "DeductedByCashCoupons", "DeductedByPrepaidCard",
            "OutstandingAmount", "AdjustAmount")  # fmt: skip


def item(account: str, pretax: str, product: str = "ecs", **fields: Decimal | str) -> Item:
    """An item of DescribeInstanceBill that costs `pretax`, without any discount, paid in cash."""
    amount = Decimal(pretax)
    return {
        **_SKELETON,
        "OwnerID": account,
        "ProductCode": product,
        "PipCode": product,
        "InstanceID": "i-1",
        "Item": "PayAsYouGoBill",
        "Currency": "CNY",
        "DeductedByResourcePackage": "0",
        **dict.fromkeys(("PretaxGrossAmount", "AfterDiscountAmount", "PretaxAmount", "PaymentAmount"), amount),
        "CashAmount": amount,
        **dict.fromkeys(_NOTHING, Decimal(0)),
        **fields,
    }


def assigned(account: str, customer: str, reseller: str | None, since: str = "2025-01-01", until: str | None = None
             ) -> dict[str, Any]:  # fmt: skip
    """An account of a customer, sold by a reseller, or by the operator itself."""
    given: dict[str, Any] = {"account": account, "customer": customer, "from": since, "until": until}
    return {**given, **({"reseller": reseller} if reseller else {"direct": True})}


ASSIGNMENTS = (
    assigned(ACME, "acme", "aurora"),
    assigned(ATLAS, "atlas", "aurora"),
    assigned(BIRCH, "birch", "borealis"),
)


def parties(
    assignments: Sequence[Mapping[str, Any]] = ASSIGNMENTS, *, payers: Sequence[str] = (P1, P2), since: str = SINCE
) -> dict[str, Any]:
    """A party document: payers 100 and 200, resellers aurora and borealis, and whose account is whose."""
    connector = {
        "endpoint": "default",
        "site": "china",
        "secret": "payer",
        "settled_source": "api",
        "refund_sign": "negative",
        "since": since,
    }
    return {
        "operator": {"id": "op", "name": "The Operator"},
        "payers": [{"account": one, "name": f"payer {one}", "connector": connector} for one in payers],
        "resellers": [{"id": one, "name": {"en": one.title()}} for one in ("aurora", "borealis")],
        "customers": [{"id": one, "name": {"en": one.title()}} for one in ("acme", "atlas", "birch")],
        "assignments": list(assignments),
        "payees": [
            {"reseller": "aurora", "name": "Aurora Ltd", "account": "6222 0000 0001", "bank": "Bank of Rivers"},
            {"reseller": "borealis", "name": "Borealis Ltd", "account": "6222 0000 0002", "bank": "Bank of Hills"},
        ],
    }


def agreement(
    reseller: str = "aurora",
    percent: str = "10",
    *,
    products: Sequence[str] = ("ecs",),
    version: int = 1,
    since: str = "2025-01-01",
    until: str | None = None,
    currency: str = "CNY",
    **more: Any,
) -> dict[str, Any]:
    """An agreement that pays `percent` of the pretax amount of some products."""
    first = products[0]
    expected = Decimal(percent)
    return {
        "agreement": more.pop("name", f"{reseller}-2025"),
        "reseller": reseller,
        "version": version,
        "effective": {"from": since, "until": until},
        "currency": currency,
        "basis": "pretax",
        "rules": [
            {"id": f"sells-{product}", "when": f"product_code == '{product}'", "earn": {"percent": percent}}
            for product in products
        ],
        "examples": [
            {
                "name": "a hundred",
                "lines": [{"product_code": first, "pretax": "100.00"}],
                "expect": {"commission": f"{expected:f}"},
            }
        ],
        **more,
    }
