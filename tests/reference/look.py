"""What a look at one cycle finds: its settlement lines and its open cases."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from tests.reference.inputs import ZERO, Cycle, Version
from tests.reference.lines import Line


@dataclass(frozen=True)
class Row:
    """One settlement line. `owner` is the reseller in whose share it stands, None for the operator's."""

    owner: str | None
    line_id: str  # empty where it is not of one bill line
    piece: int  # of a refund over several charges, from 0 in the order they were taken; else 0
    kind: str
    customer: str | None
    product: str | None
    agreement: str | None
    version: int | None
    basis: Fraction
    rule: str | None = None
    band: int | None = None  # from 1
    rate: Fraction | None = None  # percent
    amount: Fraction = ZERO
    reason: str | None = None
    cycle: Cycle | None = None  # the cycle it is due for, which an adjustment may post later
    account: str | None = None  # of a bound, where its scope has one
    instance: str | None = None
    corrects: str | None = None  # of an adjustment: the kind of what it corrects
    approved: str | None = None  # the id of the approved adjustment

    @property
    def compared(self) -> tuple[object, ...] | None:
        """§8: what differences are taken by; None for what is never compared."""
        kind = self.corrects if self.kind == "adjustment" else self.kind
        if self.approved is not None or kind in ("holdback", "release"):
            return None
        of_line = (self.line_id, self.agreement, self.rule, self.version, self.band, kind)
        return (self.owner, *of_line, self.customer, self.product, self.account, self.instance)


@dataclass(frozen=True)
class Held:
    """A line, or what netting left of it, that waits for a person."""

    owner: str | None
    line_id: str
    case: str
    basis: Fraction | None  # None where the amount that it needs is what is missing
    cycle: Cycle | None = None

    @property
    def key(self) -> tuple[object, ...]:
        return (self.cycle, self.owner, self.line_id, self.case)


@dataclass(eq=False)
class BoundLine:
    """A cap or floor line, with how much of it fell on each charge."""

    order: tuple[int, bool, bool]  # by scope, rules before the agreement, cap before floor
    agreement: str
    rule: str | None
    key: tuple[str | None, ...]  # the scope: customer, then account and instance, then line
    amount: Fraction
    shares: list[tuple[Line, Fraction]]


@dataclass(eq=False)
class Look:
    """due(M): what a cycle should have earned by what is known at the look."""

    cycle: Cycle
    lines: list[Line]  # in order
    rows: list[Row] = field(default_factory=list)
    held: list[Held] = field(default_factory=list)
    earners: list[Line] = field(default_factory=list)  # what a rule owns, in order
    totals: dict[tuple[object, ...], Fraction] = field(default_factory=dict)  # what this cycle adds to each scale
    retroactive: dict[str, Fraction] = field(default_factory=dict)  # line id of an earlier member -> its part
    bounds: list[BoundLine] = field(default_factory=list)

    def add(self, line: Line, place: Line, kind: str, basis: Fraction, **more: Any) -> None:
        """A row of `line`, standing where `place` stands: a refund stands with its charge."""
        version = place.version
        self.rows.append(
            Row(
                owner=place.owner,
                line_id=line.id,
                piece=more.pop("piece", 0),
                kind=kind,
                customer=place.customer,
                product=more.pop("product", line.bill.product_code),
                agreement=None if version is None else version.agreement,
                version=None if version is None else version.number,
                basis=basis,
                cycle=self.cycle,
                **more,
            )
        )

    def add_common(self, version: Version, kind: str, amount: Fraction, **more: Any) -> None:
        """A row of an agreement that is not of one bill line."""
        self.rows.append(
            Row(
                owner=version.reseller,
                line_id=more.pop("line_id", ""),
                piece=0,
                kind=kind,
                customer=more.pop("customer", None),
                product=more.pop("product", None),
                agreement=version.agreement,
                version=version.number,
                basis=ZERO,
                amount=amount,
                cycle=self.cycle,
                **more,
            )
        )

    def hold(self, line: Line, case: str, basis: Fraction | None, dismissed: str | None) -> None:
        """Open a case, or leave the excluded line of one that was closed without settling (§11)."""
        if dismissed is None:
            self.held.append(Held(line.owner, line.id, case, basis, self.cycle))
        else:
            self.add(line, line, "excluded", basis or ZERO, reason=f"{case}: {dismissed}")
