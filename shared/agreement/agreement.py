"""An agreement version as the engine uses it, read from an approved document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from shared.cycle import Cycle
from shared.ids import Digest, digest
from shared.money import EXACT, Mode, amount

PERCENT_PLACES = 6  # of a percent; a rate, a hundredth of it, then fits DECIMAL(10, 8)
LINE, INSTANCE, CUSTOMER, RESELLER, PRODUCT = "line", "instance", "customer", "reseller", "product"
BOUND_SCOPES = (LINE, INSTANCE, CUSTOMER, RESELLER)  # from narrow to wide
MONTH, CONTRACT_YEAR = "month", "contract_year"
GRADUATED, ALL_UNITS = "graduated", "all_units"
ORIGINAL, RERATE = "original", "rerate"
USAGE = "usage"
PER_LINE, PER_UNIT = "line", "usage_unit"
# Acts whose amount decides how many approve them, and what their limit is called in a document.
APPROVED_OVER = {"adjustment": "adjustment_over", "payout_batch": "payout_over"}
PER_MONTH = ("instance_month", "customer_month")  # fixed amounts that are earned once a month


@dataclass(frozen=True, slots=True)
class Band:
    """The part of a running total above the band before, up to and including `upto` (None: without end)."""

    upto: Decimal | None
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Scale:
    """Bands over what a customer, a reseller, or a product of a customer comes to."""

    id: str
    scope: str  # customer, reseller or product
    bands: tuple[Band, ...]
    method: str = GRADUATED  # or all_units
    over: str = MONTH  # or contract_year
    measure: str = ""  # of all_units: an amount, or usage; empty: the basis
    unit: str = ""  # of usage
    is_retroactive: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """Where the reseller's approved figure is below `at_least`, the line earns by `otherwise`."""

    figure: str
    at_least: Decimal
    otherwise: Earning


@dataclass(frozen=True, slots=True)
class Earning:
    """What a line earns: a rate of its basis, a fixed amount, or by a scale."""

    rate: Decimal | None = None
    fixed: Decimal | None = None
    per: str = PER_LINE  # of fixed: line, instance_month, customer_month or usage_unit
    is_prorated: bool = False  # by the days served
    counts_zero: bool = False  # lines with basis 0 too
    scale: str | None = None
    gate: Gate | None = None

    def stages(self) -> Iterator[Earning]:
        """This earning, and those that its gates lead to, one after the other."""
        stage: Earning | None = self
        while stage is not None:
            yield stage
            stage = stage.gate.otherwise if stage.gate else None


@dataclass(frozen=True, slots=True)
class Bound:
    """A cap or a floor of what a scope earns."""

    kind: str  # cap or floor
    scope: str  # one of BOUND_SCOPES
    amount: Decimal
    over: str = MONTH  # or contract_year


@dataclass(frozen=True, slots=True)
class Rule:
    """What the first matching rule earns, and within which bounds."""

    id: str
    when: str
    earn: Earning
    bounds: tuple[Bound, ...] = ()
    basis: str = ""  # of a price: what it is a price of; empty: the version's


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Lines that earn nothing, and why."""

    when: str
    because: str


@dataclass(frozen=True, slots=True)
class Refunds:
    """How the refunds of a version's charges are settled."""

    take_back: str = ORIGINAL  # or rerate
    is_same_month_netted: bool = True  # within: same_month, or none
    window_days: int | None = None  # after the charge; None: no limit


@dataclass(frozen=True, slots=True)
class Holdback:
    """The part of a cycle's commission that is released so many cycles later."""

    rate: Decimal
    months: int


@dataclass(frozen=True, slots=True)
class Tax:
    """Tax on the statement's total."""

    rate: Decimal
    mode: str  # exclusive or inclusive


@dataclass(frozen=True, slots=True)
class Payout:
    """When a balance is paid, and how much of it is transferred."""

    minimum: Decimal
    carry_forward: bool
    tax: Tax | None
    requires_invoice: bool = False
    withholding: Decimal | None = None  # a rate


@dataclass(frozen=True, slots=True)
class Step:
    """Somebody of a role who has to approve an act besides the approvers."""

    act: str
    role: str


@dataclass(frozen=True, slots=True)
class Approvals:
    """Who has to approve what is decided under the agreement."""

    approvers: int = 1
    over: Mapping[str, Decimal] = field(default_factory=dict)  # act -> amount up to which one approver is enough
    also: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Agreement:
    """One version of an agreement."""

    id: str
    reseller: str
    version: int
    begins: date
    ends: date | None
    currency: str
    basis: str
    places: int
    mode: Mode
    currencies: tuple[str, ...]  # of the lines it applies to; empty: all
    payers: tuple[str, ...]  # likewise
    exclusions: tuple[Exclusion, ...]
    scales: Mapping[str, Scale]
    rules: tuple[Rule, ...]
    payout: Payout
    digest: Digest
    bounds: tuple[Bound, ...] = ()
    refunds: Refunds = Refunds()
    holdback: Holdback | None = None
    approvals: Approvals = field(default_factory=Approvals)

    def touches(self, cycle: Cycle) -> bool:
        """Whether it is in force on a day of the cycle."""
        return self.begins <= cycle.last and (self.ends is None or self.ends >= cycle.first)

    def overlaps(self, other: Agreement) -> bool:
        """Whether some line could fall under both."""
        days = (self.ends is None or other.begins <= self.ends) and (other.ends is None or self.begins <= other.ends)
        currencies = not self.currencies or not other.currencies or set(self.currencies) & set(other.currencies)
        payers = not self.payers or not other.payers or set(self.payers) & set(other.payers)
        return days and bool(currencies) and bool(payers)

    @property
    def conditions(self) -> list[str]:
        """What its exclusions and then its rules ask, in the order they are tried."""
        return [one.when for one in self.exclusions] + [one.when for one in self.rules]

    @property
    def has_gates(self) -> bool:
        """Whether some rule asks for a figure of the reseller."""
        return any(rule.earn.gate is not None for rule in self.rules)

    def rule(self, id_: str) -> Rule | None:
        """The rule of that id, if it has one."""
        return next((one for one in self.rules if one.id == id_), None)


def begun(versions: Sequence[Agreement], cycle: Cycle) -> dict[str, list[Agreement]]:
    """Each agreement's versions begun by the end of the cycle, in order; the last says what is due once a month."""
    found: dict[str, list[Agreement]] = {}
    for version in sorted(versions, key=lambda one: (one.id, one.begins, one.version)):
        if version.begins <= cycle.last:
            found.setdefault(version.id, []).append(version)
    return found


def rate(percent: str | int) -> Decimal:
    """A percent as the exact fraction it stands for."""
    return EXACT.divide(amount(percent, places=PERCENT_PLACES), Decimal(100))


def parse_agreement(body: bytes) -> Agreement:
    """The agreement of an approved document in canonical JSON."""
    data: dict[str, Any] = json.loads(body)
    applies = data["applies_to"] or {}
    holdback = data["holdback"]
    return Agreement(
        id=data["agreement"],
        reseller=data["reseller"],
        version=data["version"],
        begins=date.fromisoformat(data["effective"]["from"]),
        ends=date.fromisoformat(data["effective"]["until"]) if data["effective"]["until"] else None,
        currency=data["currency"],
        basis=data["basis"],
        places=data["rounding"]["places"],
        mode=Mode(data["rounding"]["mode"]),
        currencies=tuple(applies.get("currencies") or ()),
        payers=tuple(applies.get("payers") or ()),
        exclusions=tuple(Exclusion(one["when"], one["because"]) for one in data["exclude"]),
        scales={name: _scale(name, one, data["basis"]) for name, one in data["scales"].items()},
        rules=tuple(Rule(one["id"], one["when"], _earning(one["earn"]), _bounds(one)) for one in data["rules"]),
        payout=_payout(data["payout"]),
        digest=digest(body),
        bounds=_bounds(data),
        refunds=as_refunds(data["refunds"]),
        holdback=Holdback(rate(holdback["percent"]), holdback["months"]) if holdback else None,
        approvals=_approvals(data.get("approvals")),
    )


def as_refunds(data: Mapping[str, Any]) -> Refunds:
    """How refunds are settled, of an approved document."""
    return Refunds(data["take_back"], data["within"] == "same_month", data["window_days"])


def _scale(name: str, data: Mapping[str, Any], basis: str) -> Scale:
    bands = (Band(_amount(one["upto"]), rate(one["percent"])) for one in data["bands"])
    return Scale(
        name,
        data["scope"],
        tuple(bands),
        data["method"],
        data["over"],
        "" if data["measure"] == basis else data["measure"],
        data["unit"] or "",
        data["retroactive"],
    )


def _earning(data: Mapping[str, Any]) -> Earning:
    gate = data["gate"]
    return Earning(
        rate=None if data["percent"] is None else rate(data["percent"]),
        fixed=_amount(data["fixed"]),
        per=data["per"] or PER_LINE,
        is_prorated=data["prorate"] == "days",
        counts_zero=data["zero"],
        scale=data["scale"],
        gate=Gate(gate["figure"], amount(gate["at_least"]), _otherwise(gate["otherwise"])) if gate else None,
    )


def _otherwise(data: Mapping[str, Any] | None) -> Earning:
    return Earning(rate=Decimal(0)) if data is None else _earning(data)


def _bounds(data: Mapping[str, Any]) -> tuple[Bound, ...]:
    found = [
        Bound(kind, one["scope"], amount(one["amount"]), one["over"]) for kind in ("cap", "floor") for one in data[kind]
    ]
    return tuple(sorted(found, key=lambda one: BOUND_SCOPES.index(one.scope)))


def _payout(data: Mapping[str, Any]) -> Payout:
    tax, withholding = data["tax"], data["withholding"]
    return Payout(
        amount(data["minimum"]),
        data["carry_forward"],
        Tax(rate(tax["percent"]), tax["mode"]) if tax else None,
        data["requires_invoice"],
        rate(withholding["percent"]) if withholding else None,
    )


def _approvals(data: Mapping[str, Any] | None) -> Approvals:
    if data is None:
        return Approvals()
    over = {act: amount(data[name]) for act, name in APPROVED_OVER.items() if data[name] is not None}
    return Approvals(data["approvers"], over, tuple(Step(one["act"], one["role"]) for one in data["also"]))


def _amount(value: str | None) -> Decimal | None:
    return None if value is None else amount(value)
