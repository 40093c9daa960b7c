"""The generated month: the same from the same seed, of the size asked for, exact, and with every trouble."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from itertools import islice
from types import GeneratorType
from typing import cast

import jmespath
import pytest
import yaml

from infra.clearbook.demo.month import Fields, Line, Month, MonthTooSmallError, month

CYCLE = "2025-06"
KEY = ("OwnerID", "ProductCode", "CommodityCode", "BillingItemCode", "InstanceID", "SubscriptionType", "Currency")


@dataclass(frozen=True)
class Read:
    """One line with the payer whose bill it is on."""

    payer: str
    visible_from: str
    date: str
    item: Fields

    def amount(self, name: str) -> Decimal:
        value = self.item[name]
        assert isinstance(value, Decimal), f"{name} is {value!r}"
        return value

    def key(self) -> tuple[str, ...]:
        return (self.payer, *(str(self.item[name]) for name in KEY))

    def all(self) -> tuple[str, ...]:
        return (self.payer, self.date, *(f"{name}={self.item[name]}" for name in sorted(self.item)))


def read(of: Month) -> list[Read]:
    return [
        Read(payer.account, visible, day, item)
        for payer in of.payers
        for visible, _, day, item in of.bill(payer.account)
    ]


@pytest.fixture(scope="module")
def june() -> Month:
    return month(7, CYCLE, 5000)


@pytest.fixture(scope="module")
def lines(june: Month) -> list[Read]:
    return read(june)


def digest(of: Month) -> str:
    seen = hashlib.sha256(repr((of.cast, of.agreements)).encode())
    for payer in of.payers:
        for line in of.bill(payer.account):
            seen.update(repr(line).encode())
    return seen.hexdigest()


def test_the_same_seed_gives_the_same_month_in_another_process() -> None:
    code = "from tests.unit.test_demo_month import *; print(digest(month(3, CYCLE, 300)))"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()

    assert there == digest(month(3, CYCLE, 300))
    assert there != digest(month(4, CYCLE, 300))


@pytest.mark.parametrize("count", [200, 201, 237, 1000, 4999])
def test_a_month_has_exactly_the_lines_asked_for(count: int) -> None:
    made = month(1, "2024-02", count)

    assert len(read(made)) == count == sum(made.lines_of(payer.account) for payer in made.payers)


def test_a_month_without_room_for_its_troubles_is_refused() -> None:
    with pytest.raises(MonthTooSmallError, match="need 200"):
        month(1, CYCLE, 199)


def test_a_bill_is_yielded_line_by_line_however_long_it_is() -> None:
    bill = month(1, CYCLE, 10**12)

    head = list(islice(bill.bill(bill.payers[0].account), 1000))

    assert len(head) == 1000
    assert isinstance(bill.bill(bill.payers[0].account), GeneratorType)


def test_every_line_satisfies_the_money_identities(lines: list[Read]) -> None:
    for line in lines:
        a = line.amount
        assert a("PretaxGrossAmount") - a("InvoiceDiscount") == a("AfterDiscountAmount")
        assert a("AfterDiscountAmount") - a("DeductedByCoupons") == a("PretaxAmount")
        assert a("PretaxAmount") == (
            a("DeductedByCashCoupons") + a("DeductedByPrepaidCard") + a("PaymentAmount") + a("OutstandingAmount")
        )
        assert a("PaymentAmount") == a("CashAmount") + a("AdjustAmount")
    used = {name for line in lines for name, value in line.item.items() if isinstance(value, Decimal) and value != 0}
    assert len(used) == 11, "every means of payment occurs"


def test_amounts_have_up_to_ten_decimals_and_no_more(lines: list[Read]) -> None:
    places = Counter(-cast(int, line.amount("PretaxAmount").as_tuple().exponent) for line in lines)

    assert max(places) == 10
    assert set(places) <= {0, 2, 7, 10}


@pytest.mark.parametrize("count", [200, 5000])
def test_the_month_has_every_trouble(count: int) -> None:
    lines = read(month(11, CYCLE, count))

    for name, claim in TROUBLES.items():
        assert any(claim(line) for line in lines), name
    twins = [n for n in Counter(line.all() for line in lines if line.amount("PretaxAmount") != 0).values() if n > 1]
    assert twins, "equal lines that are two charges"
    exact, part, unlinked = refunds(lines)
    assert exact, "refunds of a whole charge"
    assert part, "refunds of a part of a charge"
    assert unlinked, "refunds of no charge"


TROUBLES: dict[str, Callable[[Read], bool]] = {
    "zero amounts of the free quota": lambda line: line.amount("PretaxGrossAmount") == 0,
    "adjustments": lambda line: line.item["Item"] == "Adjustment",
    "a product that no rule knows": lambda line: line.item["ProductCode"] == "iovcc",
    "subscriptions": lambda line: line.item["SubscriptionType"] == "Subscription",
    "texts that end in a tab": lambda line: str(line.item["ProductName"]).endswith("\t"),
    "compound instance ids": lambda line: ";" in str(line.item["InstanceID"]),
    "tags": lambda line: "key:env value:prod; key:" in str(line.item["Tag"]),
    "Chinese names": lambda line: line.item["Region"] == "华东1（杭州）",
    "English names": lambda line: line.item["Region"] == "China (Hangzhou)",
    "lines days late": lambda line: visible(line).date() >= date.fromisoformat(line.date) + timedelta(days=3),
    "lines that come with the final bill": lambda line: line.visible_from > "2025-07-03",
}


def visible(line: Read) -> datetime:
    return datetime.fromisoformat(line.visible_from)


def refunds(lines: list[Read]) -> tuple[list[Read], list[Read], list[Read]]:
    """Refunds that equal a charge of their key dated no later, those smaller than one, those with no such charge."""
    exact: list[Read] = []
    part: list[Read] = []
    unlinked: list[Read] = []
    charges: dict[tuple[str, ...], list[Read]] = {}
    for line in lines:
        if line.item["Item"] in ("PayAsYouGoBill", "SubscriptionOrder"):
            charges.setdefault(line.key(), []).append(line)
    for refund in (line for line in lines if line.item["Item"] == "Refund"):
        amount = -refund.amount("PretaxAmount")
        earlier = [c.amount("PretaxAmount") for c in charges.get(refund.key(), []) if c.date <= refund.date]
        if not earlier:
            unlinked.append(refund)
        elif amount in earlier:
            exact.append(refund)
        else:
            part.append(refund)
            assert amount < max(earlier)
    return exact, part, unlinked


def test_refunds_are_negative_and_most_have_their_charge(lines: list[Read]) -> None:
    exact, part, unlinked = refunds(lines)

    assert (len(exact), len(part), len(unlinked)) == (10, 10, 2)
    assert all(refund.amount("PretaxAmount") < 0 for refund in exact + part + unlinked)


def test_the_whole_bill_is_visible_at_noon_of_the_third(lines: list[Read]) -> None:
    final = datetime.fromisoformat("2025-07-03T12:00:00+08:00")

    assert max(visible(line) for line in lines) < final
    usual = Counter(
        line.visible_from == f"{date.fromisoformat(line.date) + timedelta(days=1)}T08:00:00+08:00" for line in lines
    )
    assert 50 <= usual[False] <= 100, "all but 1.5 % are visible at eight on the next day"


def test_about_half_the_cost_is_ecs(lines: list[Read]) -> None:
    total = sum(line.amount("PretaxAmount") for line in lines)
    ecs = sum(line.amount("PretaxAmount") for line in lines if line.item["ProductCode"] == "ecs")

    assert Decimal("0.4") < ecs / total < Decimal("0.6")


def test_every_account_is_billed_and_one_is_assigned_to_nobody(june: Month, lines: list[Read]) -> None:
    billed = {str(line.item["OwnerID"]) for line in lines}
    assigned = {assignment.account for assignment in june.assignments}

    assert billed == {owner.account for owner in june.owners}
    assert all(len(account) == 16 and account.isdecimal() for account in billed)
    assert len(billed - assigned) == 1
    assert (len(june.payers), len(june.resellers), len(june.customers)) == (2, 3, 12)


def test_one_account_moves_between_resellers_in_the_middle_of_the_month(june: Month) -> None:
    of_account = Counter(assignment.account for assignment in june.assignments)
    moved = [a for a in june.assignments if of_account[a.account] == 2]

    assert [(a.reseller, a.since, a.until) for a in moved] == [
        ("aurora", date(2025, 1, 1), date(2025, 6, 15)),
        ("borealis", date(2025, 6, 16), None),
    ]


def test_the_party_document_survives_yaml_and_says_what_each_account_is(june: Month) -> None:
    document = june.parties()

    text = yaml.safe_dump(document, allow_unicode=True)

    assert yaml.safe_load(text) == document
    assert "&id" not in text, "no references"
    kinds = Counter("direct" if "direct" in a else "own" if "own_use" in a else "reseller" for a in assignments(june))
    assert kinds == {"reseller": 23, "direct": 2, "own": 1}
    assert {payee["reseller"] for payee in document["payees"]} == {r.id for r in june.resellers}


def assignments(of: Month) -> list[dict[str, object]]:
    documents: list[dict[str, object]] = of.parties()["assignments"]
    return documents


def test_each_agreement_has_one_scale_and_its_rules_cover_every_product_but_one(june: Month, lines: list[Read]) -> None:
    fields = {(str(line.item["ProductCode"]), str(line.item["SubscriptionType"])) for line in lines}
    for agreement in june.agreements:
        assert [scale["method"] for scale in agreement["scales"].values()] == ["graduated"]
        whens = [part["when"] for part in [*agreement["rules"], *agreement.get("exclude", [])]]
        unmatched = {code for code, kind in fields if not any(true(when, code, kind) for when in whens)}
        assert unmatched == {"iovcc"}, agreement["agreement"]


def true(when: str, code: str, subscription_type: str) -> bool:
    line = {"product_code": code, "subscription_type": subscription_type, "kind": "usage"}
    return bool(jmespath.search(when, line) is True)


def test_the_examples_of_the_agreements_come_out(june: Month) -> None:
    checked = [
        (earned(agreement, example["lines"][0]), example["expect"]["commission"])
        for agreement in june.agreements
        for example in agreement["examples"]
    ]

    assert len(checked) >= 3
    for commission, expected in checked:
        assert commission.quantize(Decimal("0.01"), "ROUND_HALF_UP") == Decimal(expected)


def earned(agreement: dict[str, object], line: dict[str, str]) -> Decimal:
    rules = cast("list[dict[str, object]]", agreement["rules"])
    rule = next(r for r in rules if true(str(r["when"]), line["product_code"], line["subscription_type"]))
    earn, pretax = cast("dict[str, str]", rule["earn"]), Decimal(line["pretax"])
    if "percent" in earn:
        return pretax * Decimal(earn["percent"]) / 100
    scales = cast("dict[str, dict[str, list[dict[str, str]]]]", agreement["scales"])
    return sum(banded(pretax, scales[earn["scale"]]["bands"]), Decimal(0))


def banded(amount: Decimal, bands: list[dict[str, str]]) -> Iterator[Decimal]:
    low = Decimal(0)
    for band in bands:
        high = Decimal(band["upto"]) if "upto" in band else amount
        yield (min(amount, high) - min(amount, low)) * Decimal(band["percent"]) / 100
        low = high


def test_the_biggest_customers_reach_the_upper_bands(june: Month, lines: list[Read]) -> None:
    customer = {a.account: a.customer for a in june.assignments}
    compute: Counter[str | None] = Counter()
    for line in lines:
        if line.item["ProductCode"] in ("ecs", "yundisk") and line.item["SubscriptionType"] == "PayAsYouGo":
            compute[customer.get(str(line.item["OwnerID"]))] += int(line.amount("PretaxAmount"))

    assert compute["acme"] > 500_000
    assert compute["everest"] > 200_000
    assert compute["cedar"] < 100_000


def test_an_unknown_payer_is_refused(june: Month) -> None:
    bill: Iterator[Line] | None = None
    with pytest.raises(KeyError, match="no payer"):
        bill = june.bill("12")
    assert bill is None
