"""§1 and §2: where a line of the bill belongs, and what its amounts are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from tests.reference.arithmetic import quotient
from tests.reference.inputs import (
    AMOUNTS,
    REFUNDS,
    ZERO,
    Assignment,
    BillLine,
    Cycle,
    Earning,
    Known,
    Refunds,
    Rule,
    Version,
)


@dataclass(eq=False)
class Line:
    """A bill line on its way: placed, made net, then with what it earns."""

    bill: BillLine
    cycle: Cycle
    day: date
    assignment: Assignment | None
    version: Version | None
    customer_class: str | None = None
    basis_name: str = "pretax"
    rate: Fraction | None = None  # to the currency of the version, where that is another
    taken: list[Piece] = field(default_factory=list)  # of a charge: what refunds took
    pieces: list[Piece] = field(default_factory=list)  # of a refund: what it took
    is_past: bool = False  # settled before the opening
    taken_before: Fraction = ZERO  # of a past charge: the pretax taken back before the opening
    # What it earns (§5 to §7).
    rule: Rule | None = None
    earning: Earning | None = None
    commission: Fraction = ZERO
    shares: list[tuple[tuple[int, bool, bool], Fraction]] = field(default_factory=list)  # of bounds, in their order
    fixed_key: tuple[object, ...] | None = None  # what a fixed amount is earned once for

    @property
    def id(self) -> str:
        return self.bill.line_id

    @property
    def is_refund(self) -> bool:
        return self.bill.kind in REFUNDS

    @property
    def owner(self) -> str | None:
        return None if self.assignment is None else self.assignment.reseller

    @property
    def customer(self) -> str | None:
        return None if self.assignment is None else self.assignment.customer

    @property
    def policy(self) -> Refunds:
        # Reading: a charge that no version owns earns nothing; its refunds are netted as by default.
        return Refunds() if self.version is None else self.version.refunds

    @property
    def lacks_rate(self) -> bool:
        return self.version is not None and self.bill.currency != self.version.currency and self.rate is None

    @property
    def net_pretax(self) -> Fraction:
        """What netting leaves."""
        return (self.bill.pretax or ZERO) + sum((piece.pretax for piece in self.taken if piece.netted), ZERO)

    @property
    def left(self) -> Fraction:
        """What no refund has taken yet."""
        taken = sum((piece.pretax for piece in self.taken), ZERO)
        return (self.bill.pretax or ZERO) - self.taken_before + taken

    @property
    def is_gone(self) -> bool:
        """Netted to zero: absent from everything after §3."""
        return any(piece.netted for piece in self.taken) and self.net_pretax == 0


@dataclass(eq=False)
class Piece:
    """The part of a refund that one charge bears; its amounts carry the refund's sign."""

    refund: Line
    charge: Line
    number: int
    amounts: dict[str, Fraction | None]
    netted: bool

    @property
    def pretax(self) -> Fraction:
        return self.amounts["pretax"] or ZERO


# --- §1: dates, assignments, versions, order ----------------------------------------------------------------


def line_date(line: BillLine, cycle: Cycle) -> date:
    """The billing date; else the last service day within the cycle; else the cycle's last day."""
    if line.billing_date is not None:
        return line.billing_date
    if line.service_until is not None:
        begins = line.service_from or line.service_until
        if begins <= cycle.last and line.service_until >= cycle.first:
            return min(line.service_until, cycle.last)
    return cycle.last


def placed(line: BillLine, cycle: Cycle, known: Known) -> Line:
    """The line with its customer, reseller and version, as they are known now."""
    day = line_date(line, cycle)
    mine = [a for a in known.assignments if a.account == line.account and _covers(a.first, a.last, day)]
    assignment = mine[0] if mine else None
    version = None
    if assignment is not None and assignment.reseller is not None:
        in_force = [
            v
            for v in known.versions
            if v.reseller == assignment.reseller
            and _covers(v.first, v.last, day)
            and (v.only_currencies is None or line.currency in v.only_currencies)
            and (v.only_payers is None or line.payer in v.only_payers)
        ]
        version = in_force[0] if in_force else None
    found = Line(line, cycle, day, assignment, version)
    if version is not None:
        found.basis_name = version.basis
        if line.currency != version.currency:
            found.rate = known.rates.get((cycle, line.currency, version.currency))
    # A customer is of the class that is in force for it on the line's date, by the same rule as its account.
    found.customer_class = next(
        (c.name for c in known.classes if c.customer == found.customer and _covers(c.first, c.last, day)), None
    )
    return found


def _covers(first: date, last: date | None, day: date) -> bool:
    return first <= day and (last is None or day <= last)


def order(line: Line) -> tuple[object, ...]:
    """The one order: absent values first, text by its bytes."""
    bill = line.bill
    texts = (bill.account, bill.product_code, bill.commodity_code, bill.billing_item_code, bill.instance_id)
    return (
        line.day,
        *((text is not None, (text or "").encode()) for text in texts),
        (bill.pretax is not None, bill.pretax or ZERO),
        bill.line_id.encode(),
    )


# --- §2: amounts --------------------------------------------------------------------------------------------


def amounts(bill: BillLine) -> dict[str, Fraction | None]:
    """The amounts of a line, and its usage."""
    return {name: getattr(bill, name) for name in AMOUNTS}


def named(values: Mapping[str, Fraction | None], name: str) -> Fraction | None:
    """The amount of that name, or None where something it needs is absent."""
    if name != "discounted":
        return values[name]
    gross, discount = values["gross"], values["discount"]
    if gross is None or discount is None:
        return None
    # Reading: a source that names no round-down rounded nothing down; no amount is missing there.
    return gross - discount - (values["round_down"] or ZERO)


def converted(line: Line, value: Fraction) -> Fraction:
    """In the currency of the line's version; as billed where that has none, or where there is no rate."""
    return value if line.rate is None else quotient(value * line.rate)


def billed(line: Line, name: str | None = None) -> Fraction | None:
    """An amount of a line before any refund; by default its basis."""
    value = named(amounts(line.bill), name or line.basis_name)
    return None if value is None else converted(line, value)


def net(line: Line, name: str | None = None) -> Fraction | None:
    """An amount after netting; None where the line, or a refund netted from it, does not state it."""
    name = name or line.basis_name
    value = named(amounts(line.bill), name)
    for piece in line.taken:
        if piece.netted:
            part = named(piece.amounts, name)
            # Reading: what is left of an amount that a refund does not state is not known, so it is missing.
            value = None if value is None or part is None else value + part
    if value is None or name == "usage":
        return value
    return converted(line, value)


class Owned(NamedTuple):
    """What is settled about a line that a rule owns."""

    version: Version
    rule: Rule
    earning: Earning
    basis: Fraction


def owned(line: Line) -> Owned:
    """The line's version, rule, earning and net basis, none of which an owned line lacks."""
    basis = net(line)
    if line.version is None or line.rule is None or line.earning is None or basis is None:
        raise ValueError(f"no rule owns {line.id}")
    return Owned(line.version, line.rule, line.earning, basis)
