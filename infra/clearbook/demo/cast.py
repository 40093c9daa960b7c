"""Who takes part in the generated month: the operator, its payers, resellers, customers and their agreements.

Names and terms are fixed, so that a demonstration reads the same every time; account ids come from the seed.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

OPERATOR = {
    "id": "clearcloud",
    "name": "ClearCloud 明云科技有限公司",
    "accounts": [
        {
            "currency": currency,
            "name": "ClearCloud 明云科技有限公司",
            "account": account,
            "bank": "Industrial and Commercial Bank of China",
            "bic": "ICBKCNBJ",
        }
        for currency, account in (("CNY", "0200001009012345678"), ("USD", "0200001009198765432"))
    ],
}


@dataclass(frozen=True, slots=True)
class Payer:
    """A main account that Alibaba Cloud bills, with the name the bill carries."""

    account: str
    name: str


@dataclass(frozen=True, slots=True)
class Party:
    """A reseller or a customer."""

    id: str
    name_en: str
    name_zh: str


@dataclass(frozen=True, slots=True)
class Owner:
    """An account that owns resources: on whose bill it is and how much it spends beside the others."""

    account: str
    payer: str
    weight: int
    discount_percent: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """Whose account it is from a day on: a customer's (through a reseller, or direct), or the operator's own."""

    account: str
    since: date
    until: date | None = None
    customer: str | None = None
    reseller: str | None = None

    def as_document(self) -> dict[str, Any]:
        """The assignment as `clearbook party import` reads it."""
        document: dict[str, Any] = {"account": self.account}
        if self.customer is not None:
            document["customer"] = self.customer
        if self.reseller is not None:
            document["reseller"] = self.reseller
        elif self.customer is not None:
            document["direct"] = True
        else:
            document["own_use"] = True
        return document | {"from": _copy(self.since), "until": self.until}


@dataclass(frozen=True, slots=True)
class Cast:
    """Everyone in the month. `owners` includes the one account that no assignment names."""

    payers: tuple[Payer, ...]
    resellers: tuple[Party, ...]
    customers: tuple[Party, ...]
    owners: tuple[Owner, ...]
    assignments: tuple[Assignment, ...]

    def owners_of(self, payer: str) -> tuple[Owner, ...]:
        """The accounts whose resources are on `payer`'s bill."""
        return tuple(owner for owner in self.owners if owner.payer == payer)


RESELLERS = (
    Party("aurora", "Aurora Cloud Services", "极光云服务"),
    Party("borealis", "Borealis Digital", "北辰数码"),
    Party("cygnus", "Cygnus Systems", "天鹅座系统"),
)

# (customer, its reseller or None for the operator's own, weight of its spending). The two heaviest reach the
# upper bands of their reseller's scale.
_CUSTOMERS = (
    (Party("acme", "Acme Retail", "顶点零售"), "aurora", 40),
    (Party("bluefin", "Bluefin Logistics", "蓝鳍物流"), "aurora", 8),
    (Party("cedar", "Cedar Health", "雪松医疗"), "aurora", 3),
    (Party("dragonfly", "Dragonfly Games", "蜻蜓游戏"), "aurora", 6),
    (Party("everest", "Everest Finance", "珠峰金融"), "borealis", 36),
    (Party("fjord", "Fjord Media", "峡湾传媒"), "borealis", 7),
    (Party("ginkgo", "Ginkgo Education", "银杏教育"), "borealis", 2),
    (Party("harbor", "Harbor Shipping", "海港航运"), "cygnus", 12),
    (Party("indigo", "Indigo Travel", "靛蓝旅行"), "cygnus", 5),
    (Party("juniper", "Juniper Foods", "杜松食品"), "cygnus", 2),
    (Party("kestrel", "Kestrel Robotics", "红隼机器人"), "cygnus", 4),
    (Party("lotus", "Lotus Energy", "莲花能源"), None, 6),
)
MOVING_CUSTOMER = "dragonfly"
MOVING_TO = "borealis"


def cast(seed: int, year: int, month: int) -> Cast:
    """Everyone in the month of `seed`; one of dragonfly's two accounts changes its reseller on the 16th."""
    ids = _account_ids(random.Random(f"{seed}/accounts"))  # noqa: S311 - a demonstration, not a secret
    payers = (Payer(next(ids), "finance@clearcloud.example"), Payer(next(ids), "billing-2@clearcloud.example"))
    since = date(year, 1, 1)
    owners: list[Owner] = []
    assignments: list[Assignment] = []

    def own(payer: Payer, weight: int) -> str:
        owners.append(Owner(next(ids), payer.account, weight, (10, 15, 0, 20, 25)[len(owners) % 5]))
        return owners[-1].account

    for place, (customer, reseller, weight) in enumerate(_CUSTOMERS):
        # The second account of every other customer is on the other payer's bill.
        first = own(payers[place % 2], weight)
        second = own(payers[(place + place // 2) % 2], max(1, weight // 2))
        assignments.append(Assignment(first, since, customer=customer.id, reseller=reseller))
        if customer.id == MOVING_CUSTOMER:
            assignments += _moved(second, since, date(year, month, 16), reseller)
        else:
            assignments.append(Assignment(second, since, customer=customer.id, reseller=reseller))
    assignments.append(Assignment(own(payers[0], 4), since))
    own(payers[1], 2)  # nobody has assigned this one
    return Cast(payers, RESELLERS, tuple(c for c, _, _ in _CUSTOMERS), tuple(owners), tuple(assignments))


def _moved(account: str, since: date, moved: date, reseller: str | None) -> Iterator[Assignment]:
    last = moved.replace(day=moved.day - 1)
    yield Assignment(account, since, last, customer=MOVING_CUSTOMER, reseller=reseller)
    yield Assignment(account, moved, customer=MOVING_CUSTOMER, reseller=MOVING_TO)


def _account_ids(rng: random.Random) -> Iterator[str]:
    seen: set[str] = set()
    while True:
        account = str(rng.randrange(10**15, 2 * 10**15))
        if account not in seen:
            seen.add(account)
            yield account


def parties(people: Cast) -> dict[str, Any]:
    """The document for `clearbook party import`; dates are `date`s, which YAML writes bare."""
    since = people.assignments[0].since
    return {
        "operator": dict(OPERATOR),
        "payers": [
            {"account": payer.account, "name": payer.name, "connector": _connector(payer, since)}
            for payer in people.payers
        ],
        "resellers": [_party(reseller) for reseller in people.resellers],
        "customers": [_party(customer) for customer in people.customers],
        "assignments": [assignment.as_document() for assignment in people.assignments],
        "payees": [dict(payee) for payee in _PAYEES],
    }


def _copy(day: date) -> date:
    """An equal date of its own: YAML writes the same object a second time as a reference, which reads badly."""
    return day.replace()


def _connector(payer: Payer, since: date) -> dict[str, Any]:
    return {
        "endpoint": "default",
        "site": "china",
        "secret": f"payer-{payer.account}",
        "settled_source": "api",
        "refund_sign": "negative",
        "since": _copy(since),
    }


def _party(party: Party) -> dict[str, Any]:
    return {"id": party.id, "name": {"en": party.name_en, "zh": party.name_zh}}


_PAYEES = (
    {
        "reseller": "aurora",
        "name": "Aurora Cloud Services Co., Ltd.",
        "account": "6217000010001234567",
        "bank": "PCBCCNBJ",
    },
    {
        "reseller": "borealis",
        "name": "Borealis Digital Co., Ltd.",
        "account": "6222020200098765432",
        "bank": "ICBKCNBJ",
    },
    # The example account of the IBAN registry: valid check digits, nobody's money.
    {
        "reseller": "cygnus",
        "name": "Cygnus Systems GmbH",
        "account": "DE89370400440532013000",
        "bank": "COBADEFF",
    },
)


def agreements(year: int) -> list[dict[str, Any]]:
    """One agreement a reseller for the year. None has a rule for the product `iovcc`: its lines open cases."""
    return [_aurora(year), _borealis(year), _cygnus(year)]


def _head(reseller: str, year: int) -> dict[str, Any]:
    return {
        "agreement": f"{reseller}-{year}",
        "reseller": reseller,
        "version": 1,
        "effective": {"from": date(year, 1, 1), "until": date(year, 12, 31)},
        "currency": "CNY",
        "basis": "pretax",
        "rounding": {"places": 2, "mode": "half_up"},
    }


def _scale(name: str, *bands: tuple[str | None, str]) -> dict[str, Any]:
    rows = [{"percent": percent} if upto is None else {"upto": upto, "percent": percent} for upto, percent in bands]
    terms = {"scope": "customer", "measure": "pretax", "method": "graduated", "over": "month", "bands": rows}
    return {"scales": {name: terms}}


def _rule(name: str, when: str, **earn: str) -> dict[str, Any]:
    return {"id": name, "when": when, "earn": earn}


def _example(name: str, commission: str, **line: str) -> dict[str, Any]:
    return {"name": name, "lines": [line], "expect": {"commission": commission}}


def _aurora(year: int) -> dict[str, Any]:
    return {
        **_head("aurora", year),
        "exclude": [{"when": "kind == 'adjustment'", "because": "provider corrections earn nothing"}],
        **_scale("monthly-spend", ("100000", "5"), ("500000", "8"), (None, "10")),
        "rules": [
            _rule(
                "compute",
                "contains(['ecs', 'yundisk'], product_code) && subscription_type == 'PayAsYouGo'",
                scale="monthly-spend",
            ),
            _rule("reserved-compute", "product_code == 'ecs' && subscription_type == 'Subscription'", percent="6"),
            _rule("storage", "product_code == 'oss'", percent="3.5"),
            _rule("database", "product_code == 'rds'", percent="5"),
            _rule("other", "contains(['cdn', 'slb', 'sls', 'sfm', 'dysms'], product_code)", percent="4"),
        ],
        "examples": [
            # 100,000 × 5 % = 5,000; 50,000 × 8 % = 4,000.
            _example(
                "first and second band",
                "9000.00",
                customer="acme",
                product_code="ecs",
                subscription_type="PayAsYouGo",
                pretax="150000.00",
            ),
            # 1,234.56 × 3.5 % = 43.2096.
            _example(
                "storage",
                "43.21",
                customer="cedar",
                product_code="oss",
                subscription_type="PayAsYouGo",
                pretax="1234.56",
            ),
        ],
    }


def _borealis(year: int) -> dict[str, Any]:
    return {
        **_head("borealis", year),
        **_scale("consumption", ("200000", "4"), ("600000", "6"), (None, "9")),
        "rules": [
            _rule(
                "core",
                "contains(['ecs', 'yundisk', 'rds'], product_code) && subscription_type == 'PayAsYouGo'",
                scale="consumption",
            ),
            _rule(
                "reserved", "contains(['ecs', 'rds'], product_code) && subscription_type == 'Subscription'", percent="5"
            ),
            _rule("models", "product_code == 'sfm'", percent="2.25"),
            _rule("other", "contains(['oss', 'cdn', 'slb', 'sls', 'dysms'], product_code)", percent="3"),
        ],
        "examples": [
            # 200,000 × 4 % = 8,000; 100,000 × 6 % = 6,000.
            _example(
                "two bands",
                "14000.00",
                customer="everest",
                product_code="rds",
                subscription_type="PayAsYouGo",
                pretax="300000.00",
            ),
            # 999.99 × 2.25 % = 22.499775.
            _example(
                "models",
                "22.50",
                customer="fjord",
                product_code="sfm",
                subscription_type="PayAsYouGo",
                pretax="999.99",
            ),
        ],
    }


def _cygnus(year: int) -> dict[str, Any]:
    return {
        **_head("cygnus", year),
        "exclude": [
            {"when": "kind == 'adjustment'", "because": "provider corrections earn nothing"},
            {"when": "product_code == 'sfm'", "because": "models are passed on at cost"},
        ],
        **_scale("compute-spend", ("50000", "3"), ("250000", "5"), (None, "7")),
        "rules": [
            _rule("compute", "contains(['ecs', 'yundisk'], product_code)", scale="compute-spend"),
            _rule("platform", "contains(['oss', 'rds', 'cdn', 'slb', 'sls', 'dysms'], product_code)", percent="4.5"),
        ],
        "examples": [
            # 50,000 × 3 % = 1,500; 200,000 × 5 % = 10,000; 10,000 × 7 % = 700.
            _example(
                "all three bands",
                "12200.00",
                customer="harbor",
                product_code="ecs",
                subscription_type="PayAsYouGo",
                pretax="260000.00",
            ),
        ],
    }


# What customers buy at: of a hundred at list price, so much; the direct customer's seller is the operator.
_BUYERS = (
    ("clearcloud", "aurora", "88"),
    ("clearcloud", "borealis", "89"),
    ("clearcloud", "cygnus", "90"),
    ("clearcloud", "lotus", "97"),
    ("aurora", "acme", "94"),
    ("aurora", "bluefin", "96"),
    ("borealis", "everest", "93"),
    ("borealis", "ginkgo", "98"),
)


def price_plans(year: int) -> list[dict[str, Any]]:
    """What the operator charges, and two of the resellers; the third has none, so that unknown prices are seen too."""
    return [_price_plan(*sold, year) for sold in _BUYERS]


def _price_plan(seller: str, buyer: str, hundred: str, year: int) -> dict[str, Any]:
    return {
        "price_plan": f"{seller}-{buyer}-{year}",
        "seller": seller,
        "buyer": buyer,
        "version": 1,
        "effective": {"from": date(year, 1, 1), "until": date(year, 12, 31)},
        "currency": "CNY",
        "rules": [
            {
                "id": "off-list",
                "when": "`true`",
                "price": {"basis": "gross", "discount_percent": str(100 - int(hundred))},
            }
        ],
        "examples": [
            {
                "name": "a hundred at list price",
                "lines": [{"product_code": "ecs", "gross": "100.00", "pretax": "90.00"}],
                "expect": {"price": f"{hundred}.00"},
            }
        ],
    }
