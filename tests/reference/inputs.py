"""§1: what a settlement reads, as plain values.

Nothing here is read from a file or asked of a clock: whatever is known is handed in.
"""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import NamedTuple

ZERO = Fraction(0)
REFUNDS = ("refund", "chargeback")
CHARGES = ("usage", "subscription")
AMOUNTS = ("gross", "discount", "round_down", "pretax", "paid", "usage")
LOOK_BACK = 18  # cycles that a settlement looks at afresh, and that a refund looks back
SCOPES = ("line", "instance", "customer", "reseller")  # of bounds, from narrow to wide


class Cycle(NamedTuple):
    """A calendar month."""

    year: int
    month: int

    def plus(self, months: int) -> Cycle:
        """The cycle that many months later, or earlier below 0."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Cycle(year, month + 1)

    def since(self, other: Cycle) -> int:
        """How many months it is later than the other."""
        return (self.year - other.year) * 12 + self.month - other.month

    @property
    def days(self) -> int:
        return calendar.monthrange(self.year, self.month)[1]

    @property
    def first(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last(self) -> date:
        return date(self.year, self.month, self.days)


def cycle_of(day: date) -> Cycle:
    """The month of a day."""
    return Cycle(day.year, day.month)


def cycles(first: Cycle, last: Cycle) -> list[Cycle]:
    """All cycles from one to another, both included."""
    return [first.plus(months) for months in range(last.since(first) + 1)]


@dataclass(frozen=True)
class BillLine:
    """One line of the bill: who, when, what and how much. Anything optional may be absent (None)."""

    line_id: str
    account: str
    kind: str
    billing_date: date | None = None
    service_from: date | None = None
    service_until: date | None = None  # the last day served, itself included
    product_code: str | None = None
    commodity_code: str | None = None
    billing_item_code: str | None = None
    instance_id: str | None = None
    subscription_type: str | None = None
    order_type: str | None = None
    region: str | None = None
    zone: str | None = None
    instance_spec: str | None = None
    resource_group: str | None = None
    cost_unit: str | None = None
    tags: Mapping[str, str] | None = None
    currency: str = "CNY"
    payer: str | None = None
    gross: Fraction | None = None
    discount: Fraction | None = None
    round_down: Fraction | None = None
    pretax: Fraction | None = None
    paid: Fraction | None = None
    usage: Fraction | None = None
    usage_unit: str | None = None
    related: str | None = None  # the id of the line that a refund says it undoes
    cycle: Cycle | None = None  # None: the one that is being settled


@dataclass(frozen=True)
class Assignment:
    """Whose account it is from one day to another, both included."""

    account: str
    first: date
    last: date | None
    customer: str | None
    reseller: str | None = None  # None: the operator's own, direct or own use
    own_use: bool = False


@dataclass(frozen=True)
class CustomerClass:
    """What class a customer is of from one day to another, both included."""

    customer: str
    name: str
    first: date
    last: date | None = None


# --- agreements ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Band:
    """A stretch of a scale; the last has no `upto`."""

    upto: Fraction | None
    percent: Fraction


@dataclass(frozen=True)
class Scale:
    """Bands over what one customer, one reseller, or one product of a customer comes to."""

    scope: str  # customer | reseller | product
    bands: tuple[Band, ...]
    method: str = "graduated"  # graduated | all_units
    over: str = "month"  # month | contract_year
    measure: str | None = None  # of all_units: an amount of §2, or usage; None: the basis
    unit: str | None = None  # of usage
    retroactive: bool = False


@dataclass(frozen=True)
class Gate:
    """Below `at_least` of the reseller's figure the line earns by `otherwise`."""

    figure: str
    at_least: Fraction
    otherwise: Earning | None = None  # None: nothing


@dataclass(frozen=True)
class Earning:
    """What a line earns: one of percent, fixed and scale; none of them earns nothing."""

    percent: Fraction | None = None
    fixed: Fraction | None = None
    per: str = "line"  # of fixed: line | instance_month | customer_month | usage_unit
    prorate: bool = False  # by days
    zero: bool = False  # lines with basis 0 count too
    scale: str | None = None
    gate: Gate | None = None


NOTHING = Earning(percent=ZERO)


@dataclass(frozen=True)
class Bound:
    """A cap or a floor."""

    kind: str  # cap | floor
    scope: str  # line | instance | customer | reseller
    amount: Fraction
    over: str = "month"  # month | contract_year


@dataclass(frozen=True)
class Rule:
    """Lines for which `when` is true earn by it."""

    id: str
    when: str
    earn: Earning
    bounds: tuple[Bound, ...] = ()
    basis: str | None = None  # of a price: what it is a price of; None: the version's basis


@dataclass(frozen=True)
class Refunds:
    """How refunds of a version's charges are settled."""

    take_back: str = "original"  # original | rerate
    within: str = "same_month"  # same_month | none
    window_days: int | None = None  # None: no limit


@dataclass(frozen=True)
class Holdback:
    """A part of what a cycle earned, paid that many cycles later."""

    percent: Fraction
    months: int


@dataclass(frozen=True)
class Payout:
    """What is paid of a balance, and with what tax."""

    minimum: Fraction = ZERO
    carry_forward: bool = True
    requires_invoice: bool = False
    tax_percent: Fraction = ZERO
    tax_mode: str = "exclusive"  # exclusive | inclusive
    withholding_percent: Fraction = ZERO


@dataclass(frozen=True)
class Version:
    """One version of an agreement, or of a price plan, and the days it is in force."""

    agreement: str
    number: int
    reseller: str  # of a price plan: the buyer's share (§10)
    first: date
    last: date | None
    basis: str
    rules: tuple[Rule, ...]
    exclusions: tuple[tuple[str, str], ...] = ()  # (condition, reason)
    scales: Mapping[str, Scale] = field(default_factory=dict)
    currency: str = "CNY"
    only_currencies: tuple[str, ...] | None = None
    only_payers: tuple[str, ...] | None = None
    places: int = 2
    mode: str = "half_up"
    bounds: tuple[Bound, ...] = ()
    refunds: Refunds = field(default_factory=Refunds)
    holdback: Holdback | None = None
    payout: Payout = field(default_factory=Payout)

    def rule(self, id_: str) -> Rule | None:
        return next((rule for rule in self.rules if rule.id == id_), None)


# --- what else is known -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Approved:
    """An approved adjustment of an agreement's cycle."""

    id: str
    agreement: str
    cycle: Cycle
    amount: Fraction
    cause: str
    customer: str | None = None
    product: str | None = None


@dataclass(frozen=True)
class PastCharge:
    """A charge that was settled before the opening; `earned` on the whole of `pretax`, of which `left` is left."""

    line: BillLine  # with its pretax and its date
    customer: str | None
    left: Fraction
    agreement: str
    version: int
    rule: str
    earned: Fraction


@dataclass(frozen=True)
class Opening:
    """Where a reseller begins to be settled here: nothing of it is settled before `as_of`."""

    reseller: str
    as_of: Cycle
    balances: Mapping[str, Fraction] = field(default_factory=dict)  # agreement -> what is carried into its first one
    # (agreement, scale, customer, product) -> what the contract year came to before; absent parts are None
    scale_totals: Mapping[tuple[str, str, str | None, str | None], Fraction] = field(default_factory=dict)
    past_charges: tuple[PastCharge, ...] = ()


@dataclass(frozen=True)
class Known:
    """All that is known on the day of a settlement, of its cycle and of those before."""

    lines: Sequence[BillLine] = ()
    assignments: Sequence[Assignment] = ()
    versions: Sequence[Version] = ()
    classes: Sequence[CustomerClass] = ()
    rates: Mapping[tuple[Cycle, str, str], Fraction] = field(default_factory=dict)  # (cycle, from, to)
    figures: Mapping[tuple[str, str, Cycle], Fraction] = field(default_factory=dict)  # (reseller, figure, cycle)
    adjustments: Sequence[Approved] = ()
    openings: Sequence[Opening] = ()
    dismissed: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (line id, case) -> why it was closed

    def opening(self, reseller: str | None) -> Opening | None:
        return next((one for one in self.openings if one.reseller == reseller), None)

    def begun(self, cycle: Cycle) -> dict[str, list[Version]]:
        """The versions of each agreement begun by the end of a cycle, in order; the last says the monthly things."""
        found: dict[str, list[Version]] = {}
        for version in sorted(self.versions, key=lambda one: (one.agreement, one.first, one.number)):
            if version.first <= cycle.last:
                found.setdefault(version.agreement, []).append(version)
        return found

    def last_version(self, agreement: str, cycle: Cycle) -> Version:
        return self.begun(cycle)[agreement][-1]

    def year_of(self, agreement: str, cycle: Cycle) -> list[Cycle]:
        """The twelve cycles of the agreement's contract year in which a cycle lies."""
        began = cycle_of(min(one.first for one in self.versions if one.agreement == agreement))
        years = cycle.since(began) // 12
        return cycles(began.plus(12 * years), began.plus(12 * years + 11))


class RefusedError(Exception):
    """A version says what no version may say."""


def check(version: Version) -> None:
    """Raise RefusedError for what §6 and §7 refuse."""
    for id_, scale in version.scales.items():
        if scale.method == "graduated" and scale.measure not in (None, version.basis):
            raise RefusedError(f"scale {id_}: graduated bands are cut from the basis, no other measure")
        if scale.retroactive and (scale.method, scale.over) != ("all_units", "contract_year"):
            # Reading: only one rate for a whole year can be brought to another rate later in that year.
            raise RefusedError(f"scale {id_}: retroactive is for all_units over a contract_year")
    for owner, bounds in [("the agreement", version.bounds), *((rule.id, rule.bounds) for rule in version.rules)]:
        for scope in SCOPES:
            here = [bound for bound in bounds if bound.scope == scope]
            amounts = {bound.kind: bound.amount for bound in here}
            if len(amounts) < len(here) or len({bound.over for bound in here}) > 1:
                raise RefusedError(f"{owner}, scope {scope}: one cap and one floor, over the same time")
            if len(amounts) == 2 and amounts["cap"] < amounts["floor"]:
                raise RefusedError(f"{owner}, scope {scope}: the cap lies below the floor")
            if scope == "line" and any(bound.over != "month" for bound in here):
                raise RefusedError(f"{owner}: a line has no year")
