"""The statement of one agreement and cycle: where amounts are rounded, once (semantics, statement).

Settlement lines are grouped; the total is the rounding of the exact sum; it is spread over customers, and each
customer's share over its lines, by largest remainder. Nothing else is rounded but the tax.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any

from shared.money import EXACT, fixed, rounded, spread, total

if TYPE_CHECKING:
    from shared.agreement.agreement import Agreement
    from shared.cycle import Cycle
    from shared.settlement.engine import Group

SHOWN_NOT = ("netted", "excluded")  # kinds that a statement does not show


@dataclass(frozen=True, slots=True)
class StatementLine:
    """One line of a statement; `amount` has the statement's places, the others are exact text."""

    customer: str
    product: str
    rule: str
    version: int
    kind: str
    lines: int
    basis: str
    exact: str
    amount: str


@dataclass(frozen=True, slots=True)
class Statement:
    """What a reseller earned under one agreement in one cycle; amounts at the statement's places, as text."""

    agreement: str
    currency: str
    places: int
    lines: tuple[StatementLine, ...]
    exact: str
    total: str
    tax: str
    payable: str

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {**asdict(self), "lines": [asdict(line) for line in self.lines]}


def parse_statement(data: Mapping[str, Any]) -> Statement:
    """The statement from plain data."""
    return Statement(**{**data, "lines": tuple(StatementLine(**line) for line in data["lines"])})


def statements(groups: Iterable[Group], versions: Iterable[Agreement], cycle: Cycle) -> list[Statement]:
    """One statement for each agreement that is in force in the cycle, or has lines in it.

    Rounding and tax are those of its last version begun by the end of the cycle.
    """
    last: dict[str, Agreement] = {}
    for version in sorted(versions, key=lambda one: (one.id, one.begins, one.version)):
        last[version.id] = version
    mine: dict[str, list[Group]] = {id_: [] for id_, version in last.items() if version.touches(cycle)}
    for group in groups:
        if group.agreement is not None and group.kind not in SHOWN_NOT:
            mine.setdefault(group.agreement, []).append(group)
    return [_statement(last[id_], found) for id_, found in mine.items()]


def _key(group: Group) -> tuple[str, str, str, int, str]:
    """Statement order: (customer, product, rule, version as a number, kind), empty keys first."""
    return (group.customer or "", group.product or "", group.rule or "", group.version or 0, group.kind)


def _statement(agreement: Agreement, groups: list[Group]) -> Statement:
    ordered = sorted(groups, key=_key)
    exact = total([group.amount for group in ordered])
    whole = rounded(exact, agreement.places, agreement.mode)
    by_customer = [list(found) for _, found in groupby(ordered, key=lambda group: group.customer or "")]
    shares = spread(whole, [total([g.amount for g in found]) for found in by_customer], agreement.places)
    lines: list[StatementLine] = []
    for found, share in zip(by_customer, shares, strict=True):
        amounts = spread(share, [group.amount for group in found], agreement.places)
        lines += [_line(group, amount, agreement.places) for group, amount in zip(found, amounts, strict=True)]
    tax = _tax(agreement, whole)
    exclusive = agreement.payout.tax is not None and agreement.payout.tax.mode == "exclusive"
    payable = EXACT.add(whole, tax) if exclusive else whole
    places = agreement.places
    return Statement(
        agreement.id, agreement.currency, places, tuple(lines),
        fixed(exact, 18), fixed(whole, places), fixed(tax, places), fixed(payable, places),
    )  # fmt: skip


def _line(group: Group, amount: Decimal, places: int) -> StatementLine:
    return StatementLine(
        *_key(group), group.lines, fixed(group.basis, 10), fixed(group.amount, 18), fixed(amount, places)
    )


def _tax(agreement: Agreement, whole: Decimal) -> Decimal:
    tax = agreement.payout.tax
    if tax is None:
        return Decimal(0)
    if tax.mode == "exclusive":
        return rounded(EXACT.multiply(whole, tax.rate), agreement.places, agreement.mode)
    return EXACT.subtract(whole, _net(whole, 1 + tax.rate, agreement))


def _net(whole: Decimal, divisor: Decimal, agreement: Agreement) -> Decimal:
    """whole ÷ divisor, rounded once: the quotient in units and its remainder are exact whole numbers."""
    scale = Decimal(10**agreement.places)
    numerator = int(EXACT.multiply(whole, scale)) * 10**10
    denominator = int(divisor * 10**10)
    units, rest = divmod(abs(numerator), denominator)
    is_up = 2 * rest > denominator or (2 * rest == denominator and (agreement.mode.value == "half_up" or units % 2))
    units += bool(is_up)
    return EXACT.divide(Decimal(units if numerator >= 0 else -units), scale)
