"""One operator's month, generated: who takes part, what was agreed, and every line of the bills.

The same seed, cycle and size yield the same month, in any process. Bills are yielded line by line in the shape
that Alibaba Cloud's DescribeInstanceBill answers with, in amounts that satisfy its money identities exactly, and
with the troubles of real bills: refunds (of a whole charge, of a part, of none), equal lines that are two
charges, lines that arrive days late, free quota, corrections, accounts that move, accounts nobody knows.
"""

from __future__ import annotations

import calendar
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, TypeAlias

from infra.clearbook.demo import cast as people
from infra.clearbook.demo.cast import Assignment, Cast, Owner, Party, Payer
from infra.clearbook.demo.products import (
    FREE,
    LANGUAGES,
    MESSAGES,
    REGIONS,
    SUBSCRIPTIONS,
    UNKNOWN,
    USAGE,
    Product,
    price_text,
)

LINES_MIN = 200
# What all bills of a month come to, however many lines they are cut into: bands matter at every size.
MONTH_TOTAL_YUAN = 4_000_000
USAGE_PERCENT = 85
REMEMBERED_CHARGES = 512

Fields: TypeAlias = dict[str, Decimal | str]
# (visible from, visible until, billing date, the item's fields), as infra.localcloud.bss.load takes it.
Line: TypeAlias = tuple[str, str | None, str, Fields]


class MonthTooSmallError(ValueError):
    """The month asked for has no room for all of its troubles."""

    def __init__(self, lines: int) -> None:
        super().__init__(f"cannot generate a month of {lines} lines: its special cases need {LINES_MIN}; ask for more")


@dataclass(frozen=True, slots=True)
class Month:
    """A generated month. Make it with `month`; `bill` yields the lines of one payer, afresh at each call."""

    seed: int
    cycle: str
    lines: int
    cast: Cast
    agreements: tuple[dict[str, Any], ...]
    price_plans: tuple[dict[str, Any], ...]

    @property
    def payers(self) -> tuple[Payer, ...]:
        """The accounts that Alibaba Cloud bills."""
        return self.cast.payers

    @property
    def resellers(self) -> tuple[Party, ...]:
        """Who earns on the month."""
        return self.cast.resellers

    @property
    def customers(self) -> tuple[Party, ...]:
        """Who uses the accounts."""
        return self.cast.customers

    @property
    def owners(self) -> tuple[Owner, ...]:
        """The accounts that own resources, the unassigned one among them."""
        return self.cast.owners

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """Whose each account is, by date."""
        return self.cast.assignments

    def parties(self) -> dict[str, Any]:
        """The document for `clearbook party import`."""
        return people.parties(self.cast)

    def lines_of(self, account: str) -> int:
        """How many lines the bill of the payer `account` has: three fifths of the month on the first payer's."""
        first = self.lines * 3 // 5
        return first if account == self.payers[0].account else self.lines - first

    def bill(self, account: str) -> Iterator[Line]:
        """Yield the bill of the payer `account`, by billing date; the month is never held in memory."""
        if account not in {payer.account for payer in self.payers}:
            raise KeyError(f"{account} is no payer of this month; its payers are {[p.account for p in self.payers]}")
        # A text seeds alike in every process; hash() does not.
        rng = random.Random(f"{self.seed}/{self.cycle}/{account}")  # noqa: S311 - a demonstration, not a secret
        bill = _Bill(rng, self.cycle, self.cast.owners_of(account), self.lines_of(account), self.lines)
        return bill.generate()

    def afterwards(self, account: str, since: date) -> dict[str, list[Line]]:
        """What the provider bills of the payer `account` once the month is closed, by cycle: on the 4th a refund of a
        charge of the month, for the first reseller's customer; and the first lines of the next month."""
        following = date.fromisoformat(f"{self.cycle}-28") + timedelta(days=4)
        first = following.replace(day=1)
        held = {one.account for one in self.assignments if one.reseller == self.resellers[0].id}
        moved = {one.account for one in self.assignments if one.until is not None}
        charged = [
            (day, item)
            for _, _, day, item in self.bill(account)
            if day >= since.isoformat()
            and item["OwnerID"] in held - moved
            and item["ProductCode"] == "ecs"
            and item["Item"] == "PayAsYouGoBill"
        ]
        if not charged:
            return {}
        day, item = charged[-1]
        refund = dict(item) | {name: _negated(value) for name, value in item.items() if name in _TAKEN_BACK}
        refund["Item"] = "Refund"
        seen = [(first + timedelta(days=days), one) for days, (_, one) in enumerate(charged[:3])]
        return {
            self.cycle: [(f"{first.replace(day=4)}T10:00:00+08:00", None, day, refund)],
            f"{first:%Y-%m}": [
                (f"{one + timedelta(days=1)}T08:00:00+08:00", None, f"{one}", dict(of)) for one, of in seen
            ],
        }


def month(seed: int, cycle: str, lines: int) -> Month:
    """The month of `cycle` ('YYYY-MM') with exactly `lines` bill lines over all its payers."""
    if lines < LINES_MIN:
        raise MonthTooSmallError(lines)
    first = date.fromisoformat(f"{cycle}-01")
    terms = (tuple(people.agreements(first.year)), tuple(people.price_plans(first.year)))
    return Month(seed, cycle, lines, people.cast(seed, first.year, first.month), *terms)


@dataclass(frozen=True, slots=True)
class _Plan:
    """How many lines of each kind a bill has; together they are all of its lines."""

    usage: int
    late: int  # among `usage`
    subscriptions: int
    free: int
    twins: int  # pairs
    unknown: int
    adjustments: int
    refunds: int
    part_refunds: int
    orphans: int

    @classmethod
    def of(cls, lines: int) -> _Plan:
        subscriptions, free, twins = max(2, lines * 3 // 100), max(2, lines // 20), max(1, lines // 400)
        unknown, adjustments = max(1, lines // 250), max(1, min(40, lines // 1000))
        refunds, orphans = max(1, lines // 500), max(1, min(5, lines // 2000))
        usage = lines - subscriptions - free - 2 * twins - unknown - adjustments - 2 * refunds - orphans
        late = max(2, lines * 15 // 1000)
        return cls(usage, late, subscriptions, free, twins, unknown, adjustments, refunds, refunds, orphans)


@dataclass(frozen=True, slots=True)
class _Amounts:
    """The independent amounts of a line in 10^-10 yuan; the others follow from the bill's identities."""

    gross: int
    discount: int = 0
    coupons: int = 0
    cash_coupons: int = 0
    prepaid: int = 0
    outstanding: int = 0
    adjust: int = 0

    @property
    def pretax(self) -> int:
        return self.gross - self.discount - self.coupons

    def part(self, numerator: int, denominator: int) -> _Amounts:
        """The same split over a fraction of the amounts, each cut toward zero."""
        cut = [
            abs(amount) * abs(numerator) // denominator * (1 if (amount < 0) == (numerator < 0) else -1)
            for amount in (
                self.gross,
                self.discount,
                self.coupons,
                self.cash_coupons,
                self.prepaid,
                self.outstanding,
                self.adjust,
            )
        ]
        return _Amounts(*cut)

    def write(self, item: Fields) -> None:
        """Put all amounts of the line into `item`."""
        pretax = self.pretax
        payment = pretax - self.cash_coupons - self.prepaid - self.outstanding
        item["PretaxGrossAmount"] = _yuan(self.gross)
        item["InvoiceDiscount"] = _yuan(self.discount)
        item["AfterDiscountAmount"] = _yuan(self.gross - self.discount)
        item["DeductedByCoupons"] = _yuan(self.coupons)
        item["PretaxAmount"] = _yuan(pretax)
        item["DeductedByCashCoupons"] = _yuan(self.cash_coupons)
        item["DeductedByPrepaidCard"] = _yuan(self.prepaid)
        item["OutstandingAmount"] = _yuan(self.outstanding)
        item["PaymentAmount"] = _yuan(payment)
        item["AdjustAmount"] = _yuan(self.adjust)
        item["CashAmount"] = _yuan(payment - self.adjust)


@dataclass(frozen=True, slots=True)
class _Charge:
    """A charge that a later refund may take back."""

    item: Fields
    amounts: _Amounts
    usage_e4: int


@dataclass(frozen=True, slots=True)
class _Resource:
    """What is billed day after day under one instance id; made from its number, so none is ever kept."""

    number: int
    mix: int
    owner: Owner
    product: Product
    fields: Fields


class _Bill:
    """The lines of one payer."""

    def __init__(
        self, rng: random.Random, cycle: str, owners: tuple[Owner, ...], lines: int, lines_of_month: int
    ) -> None:
        self._rng, self._owners, self._plan = rng, owners, _Plan.of(lines)
        self._salt = rng.getrandbits(64)
        first = date.fromisoformat(f"{cycle}-01")
        self._days = calendar.monthrange(first.year, first.month)[1]
        self._first = first
        self._final = (first + timedelta(days=self._days + 2)).isoformat()
        self._weight_mean = max(1, sum(owner.weight for owner in owners) // len(owners))
        self._templates = {
            (product, language, region): {**product.fields(language, region)}
            for product in (*USAGE, *SUBSCRIPTIONS, FREE, MESSAGES, UNKNOWN)
            for language in LANGUAGES
            for region in range(len(REGIONS))
        }
        self._total = MONTH_TOTAL_YUAN * 10**10 * lines // lines_of_month
        self._slots = tuple(product for product in USAGE for _ in range(product.slots))
        self._order_slots = tuple(product for product in SUBSCRIPTIONS for _ in range(product.slots))
        # A resource is billed once a day at most; small bills still get several for every owner.
        per_day = -(-self._plan.usage // self._days)
        self._fleet = max(per_day, min(self._plan.usage, 4 * len(owners)))
        self._next_resource = 0
        self._charges: list[_Charge] = []

    def generate(self) -> Iterator[Line]:
        """Every line, day by day; refunds follow their charges."""
        for day in range(self._days):
            billed = self._first + timedelta(days=day)
            text, next_day = billed.isoformat(), f"{(billed + timedelta(days=1)).isoformat()}T08:00:00+08:00"
            yield from self._usage(day, billed, next_day)
            for item in self._specials(day):
                yield next_day, None, text, item

    def _today(self, of_month: int, day: int) -> int:
        """How many of `of_month` fall on `day`, when they are spread evenly and the last day has the last."""
        return of_month * (day + 1) // self._days - of_month * day // self._days

    def _usage(self, day: int, billed: date, next_day: str) -> Iterator[Line]:
        late, text = self._today(self._plan.late, day), billed.isoformat()
        for place in range(self._today(self._plan.usage, day)):
            resource = self._resource(self._next_resource)
            self._next_resource = (self._next_resource + 1) % self._fleet
            charge = self._charge(resource, self._mean(resource.product))
            if len(self._charges) < REMEMBERED_CHARGES:
                # A copy: whoever takes the line may do with it what he likes.
                self._charges.append(replace(charge, item=dict(charge.item)))
            visible = self._late(billed) if place < late else next_day
            yield visible, None, text, charge.item

    def _specials(self, day: int) -> Iterator[Fields]:
        plan = self._plan
        for _ in range(self._today(plan.subscriptions, day)):
            yield self._order()
        for _ in range(self._today(plan.free, day)):
            yield self._free()
        for _ in range(self._today(plan.twins, day)):
            item = self._messages()
            yield item
            yield dict(item)
        for _ in range(self._today(plan.unknown, day)):
            yield self._charge(self._resource(self._any(), UNKNOWN), self._aside(plan.unknown)).item
        for _ in range(self._today(plan.adjustments, day)):
            yield self._adjustment()
        for _ in range(self._today(plan.refunds, day)):
            charge = self._take_charge()
            yield self._refund(charge, charge.amounts.part(-1, 1), -charge.usage_e4)
        for _ in range(self._today(plan.part_refunds, day)):
            charge, quarters = self._take_charge(), self._rng.randrange(1, 4)
            yield self._refund(charge, charge.amounts.part(-quarters, 4), -(charge.usage_e4 * quarters // 4))
        for _ in range(self._today(plan.orphans, day)):
            # Of an instance that is on no bill of this month.
            charge = self._charge(self._resource(self._fleet + self._any()), self._mean(USAGE[0]))
            yield self._refund(charge, charge.amounts.part(-1, 1), -charge.usage_e4)

    def _late(self, billed: date) -> str:
        """Three to eight days after the date, but at last half an hour before the bill is final."""
        rng = self._rng
        seen = (billed + timedelta(days=rng.randrange(3, 9))).isoformat()
        return f"{min(seen, self._final)}T{rng.randrange(9, 11):02d}:30:00+08:00"

    def _any(self) -> int:
        return self._rng.getrandbits(40)

    def _mean(self, product: Product) -> int:
        """What a line of `product` costs on average, so that its product's share of the total comes out."""
        lines_e3 = 1000 * self._plan.usage * product.slots
        return self._total * USAGE_PERCENT // 100 * product.cost * len(self._slots) // lines_e3

    def _aside(self, lines: int) -> int:
        """What each of a few special lines costs on average; all of them together half a percent of the total."""
        return self._total // (200 * lines)

    def _resource(self, number: int, product: Product | None = None) -> _Resource:
        # Steele's SplitMix64: neighbours get unrelated bits, and any number's can be had without the ones before.
        mix = (number * 0x9E3779B97F4A7C15 + self._salt) & 0xFFFFFFFFFFFFFFFF
        mix = ((mix ^ (mix >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        mix ^= mix >> 31
        owner = self._owners[number % len(self._owners)]
        if product is None:
            product = self._slots[(mix >> 8) % len(self._slots)]
        region = (mix >> 16) % len(REGIONS)
        template = self._templates[product, LANGUAGES[(mix >> 20) & 1], region]
        item: Fields = {**template}
        item["OwnerID"] = owner.account
        item["InstanceID"] = product.instance.format(
            key=f"bp1{mix >> 12:x}", owner=owner.account, region=_REGION_CODES[region]
        )
        item["NickName"] = _NICKNAMES[(mix >> 24) % len(_NICKNAMES)]
        item["Tag"] = _TAGS[(mix >> 32) % len(_TAGS)]
        if product.code == "ecs":
            item["IntranetIP"] = f"172.16.{(mix >> 40) & 255}.{(mix >> 48) & 255}"
        return _Resource(number, mix, owner, product, item)

    def _charge(self, resource: _Resource, mean: int) -> _Charge:
        """A line of `resource` that costs about `mean` for an owner of mean weight."""
        owner, price = resource.owner, resource.product.price_e6
        wanted = mean * owner.weight // self._weight_mean * (self._rng.getrandbits(10) + 512) >> 10
        usage_e4 = max(1, wanted // price)
        amounts = _paid(usage_e4 * price, owner.discount_percent, resource.mix >> 52)
        item = resource.fields
        item["Usage"] = _usage_text(usage_e4)
        amounts.write(item)
        return _Charge(item, amounts, usage_e4)

    def _order(self) -> Fields:
        """A subscription bought or renewed: whole cents, one period."""
        rng, number = self._rng, self._any()
        product = self._order_slots[rng.randrange(len(self._order_slots))]
        resource = self._resource(number, product)
        share = self._total * (100 - USAGE_PERCENT) // 100 * product.cost * len(self._order_slots)
        mean = share // (1000 * self._plan.subscriptions * product.slots)
        wanted = mean * resource.owner.weight // self._weight_mean * (rng.getrandbits(10) + 512) >> 10
        cents = max(100, wanted // 10**8)
        item = resource.fields
        item["ListPrice"] = price_text(cents * 10**4)
        item["Usage"] = "1"
        item["ItemName"] = "新购" if resource.mix & 1 else "Renewal"
        discount = cents * resource.owner.discount_percent // 100
        _Amounts(cents * 10**8, discount * 10**8).write(item)
        return item

    def _free(self) -> Fields:
        item = self._resource(self._any(), FREE).fields
        item["Usage"] = item["DeductedByResourcePackage"] = str(self._rng.randrange(1, 50_000))
        _Amounts(0).write(item)
        return item

    def _messages(self) -> Fields:
        return self._charge(self._resource(self._any(), MESSAGES), self._aside(2 * self._plan.twins)).item

    def _adjustment(self) -> Fields:
        """A correction by the provider, for or against the customer, without an instance."""
        rng = self._rng
        item = self._resource(self._any(), USAGE[rng.randrange(len(USAGE))]).fields
        for name in ("InstanceID", "NickName", "Tag", "IntranetIP", "InstanceSpec"):
            item[name] = ""
        item["Item"], item["Usage"], item["ItemName"] = "Adjustment", "0", "账单调整\t"
        # Three of four are in the customer's favour.
        _Amounts(rng.randrange(100, 30_000) * 10**8 * (1 if rng.getrandbits(2) == 0 else -1)).write(item)
        return item

    def _take_charge(self) -> _Charge:
        """Some earlier charge of the month; no other refund will take from it."""
        return self._charges.pop(self._rng.randrange(len(self._charges)))

    def _refund(self, charge: _Charge, amounts: _Amounts, usage_e4: int) -> Fields:
        item = dict(charge.item)
        item["Item"], item["Usage"] = "Refund", _usage_text(usage_e4)
        amounts.write(item)
        return item


def _paid(gross: int, discount_percent: int, chance: int) -> _Amounts:
    """How a charge was paid: mostly in cash, some by each of the other means of the bill."""
    discount = gross * discount_percent // 100
    coupons = gross // 20 if chance % 64 == 7 else 0
    pretax = gross - discount - coupons
    match chance % 64:
        case 11 | 12:
            return _Amounts(gross, discount, cash_coupons=pretax // 3)
        case 13:
            return _Amounts(gross, discount, prepaid=pretax)
        case 17 | 18:
            return _Amounts(gross, discount, outstanding=pretax)
        case 23:
            return _Amounts(gross, discount, adjust=pretax // 4)
        case _:
            return _Amounts(gross, discount, coupons)


# The figures of a charge that a refund of all of it takes back.
_TAKEN_BACK = frozenset(
    {"Usage", "PretaxGrossAmount", "InvoiceDiscount", "AfterDiscountAmount", "DeductedByCoupons", "PretaxAmount"}
    | {"DeductedByCashCoupons", "DeductedByPrepaidCard", "OutstandingAmount", "PaymentAmount", "AdjustAmount"}
    | {"CashAmount"}
)


def _negated(value: Decimal | str) -> Decimal | str:
    if isinstance(value, str):
        return value if Decimal(value or "0") == 0 else f"-{value}"
    return -value if value else value


_ZERO = Decimal(0)


def _yuan(e10: int) -> Decimal:
    """An amount in 10^-10 yuan with the digits it needs: ten, seven, or two."""
    if e10 == 0:
        return _ZERO
    if e10 % 1000:
        return Decimal(e10).scaleb(-10)
    if e10 % 10**8:
        return Decimal(e10 // 1000).scaleb(-7)
    return Decimal(e10 // 10**8).scaleb(-2)


def _usage_text(e4: int) -> str:
    whole, part = divmod(abs(e4), 10**4)
    return f"{'-' if e4 < 0 else ''}{whole}.{part:04d}"


_REGION_CODES = ("cn-hangzhou", "cn-beijing", "cn-shenzhen", "ap-southeast-1")
_NICKNAMES = ("web", "worker\t", "数据库主节点", "db-replica", "网关\t", "cache", "", "批处理")
_TAGS = (
    "",
    "",
    "key:env value:prod; key:team value:platform",
    "key:env value:测试; key:团队 value:支付",
    "key:env value:prod",
    "key:project value:orion; key:cost-center value:CC-104",
    "key:项目 value:猎户座; key:env value:prod; key:owner value:ops",
    "key:env value:dev\t",
)
