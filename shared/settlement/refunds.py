"""Which charge a refund undoes: links by a fixed rule, so that they do not depend on what arrived when.

Semantics, refunds, cycle by cycle: first by related record, then refunds that equal exactly what is left of a charge of
their key (of several, the latest), then the rest, each taking from the latest charges, newest first, until covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from shared.agreement.agreement import RERATE, Refunds
from shared.cycle import LOOK_BACK
from shared.money import EXACT, total

Place = int  # a line's place in the stated order

UNLINKED, EXCEEDS, SIGN, LACKS = "unlinked_refund", "refund_exceeds_charge", "refund_sign", "missing_value"
USAGE = 4  # where usage stands among the amounts
_QUOTIENT = Context(prec=120, traps=[InvalidOperation])


@dataclass(frozen=True, slots=True)
class Charge:
    """A usage or subscription line that a refund could undo; `cycle` counts months."""

    line_id: str
    key: tuple[object, ...]
    cycle: int
    day: date
    place: Place
    pretax: Decimal  # what of it could be taken when its settlement began
    basis: str = "pretax"  # by the agreement version in force on its date
    unit: str | None = None  # of its usage
    policy: Refunds = field(default_factory=Refunds)


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund or chargeback; `amounts` are its other amounts, in a fixed order, None where absent.

    `lacks` are the bases it has no amount for: it takes nothing from a charge that earns on one of them.
    """

    line_id: str
    key: tuple[object, ...]
    cycle: int
    day: date
    place: Place
    pretax: Decimal  # at most 0
    amounts: tuple[Decimal | None, ...]
    lacks: frozenset[str] = frozenset()
    unit: str | None = None
    names_record: bool = False  # whether it says what it undoes, and
    related: str | None = None  # the charge that this is, where it is known


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a refund that falls on one charge: negative amounts."""

    refund: str
    number: int
    charge: str
    pretax: Decimal
    amounts: tuple[Decimal | None, ...]
    is_netted: bool


@dataclass(slots=True)
class Links:
    """The pieces of every refund that was linked, and (refund, case kind) of every other."""

    pieces: list[Piece] = field(default_factory=list)
    cases: list[tuple[str, str]] = field(default_factory=list)


def link(charges: Sequence[Charge], refunds: Sequence[Refund]) -> Links:
    """Link the refunds to the charges, cycle by cycle."""
    linking = _Linking(charges)
    for cycle in sorted({one.cycle for one in refunds}):
        linking.link_cycle(sorted((one for one in refunds if one.cycle == cycle), key=lambda one: one.place))
    return linking.links


class _Linking:
    """What is left of each charge, and the links made so far."""

    def __init__(self, charges: Sequence[Charge]) -> None:
        self.links = Links()
        self._left = {charge.line_id: charge.pretax for charge in charges}
        self._by_id = {charge.line_id: charge for charge in charges}
        self._by_key: dict[tuple[object, ...], list[Charge]] = {}
        for charge in sorted(charges, key=lambda one: one.place, reverse=True):
            self._by_key.setdefault(charge.key, []).append(charge)

    def link_cycle(self, refunds: Sequence[Refund]) -> None:
        waiting, rest = [], []
        for refund in refunds:
            if refund.names_record:
                self._link_related(refund)
            elif refund.pretax != 0:  # without a record there is no charge to undo
                waiting.append(refund)
        for refund in waiting:
            exact = next((one for one in self._open(refund) if self._left[one.line_id] == -refund.pretax), None)
            if exact is None:
                rest.append(refund)
            else:
                self._take(refund, [(exact, -refund.pretax)])
        for refund in rest:
            candidates = self._open(refund)
            if not candidates:
                self._refuse(refund, UNLINKED)
            elif total([self._left[one.line_id] for one in candidates]) < -refund.pretax:
                self._refuse(refund, EXCEEDS)
            else:
                self._take(refund, self._shares(candidates, -refund.pretax))

    def _link_related(self, refund: Refund) -> None:
        """Undo the record that the refund names, whatever its key and date; but not one in another currency."""
        charge = self._by_id.get(refund.related or "")
        if charge is None or not self._is_open(charge, refund) or charge.key[-1] != refund.key[-1]:
            self._refuse(refund, UNLINKED)
        elif self._left[charge.line_id] < -refund.pretax:
            self._refuse(refund, EXCEEDS)
        else:
            self._take(refund, [(charge, -refund.pretax)])

    def _is_open(self, charge: Charge, refund: Refund) -> bool:
        return 0 <= refund.cycle - charge.cycle <= LOOK_BACK and self._left[charge.line_id] > 0

    def _open(self, refund: Refund) -> list[Charge]:
        """The charges of the refund's key dated no later that have something left, newest first."""
        mine = self._by_key.get(refund.key, [])
        return [charge for charge in mine if charge.day <= refund.day and self._is_open(charge, refund)]

    def _shares(self, candidates: Sequence[Charge], due: Decimal) -> list[tuple[Charge, Decimal]]:
        """What each charge gives, the newest first, until `due` is covered."""
        shares = []
        for charge in candidates:
            part = min(due, self._left[charge.line_id])
            shares.append((charge, part))
            due = EXACT.subtract(due, part)
            if due == 0:
                break
        return shares

    def _refuse(self, refund: Refund, case: str) -> None:
        self.links.cases.append((refund.line_id, case))

    def _take(self, refund: Refund, shares: Sequence[tuple[Charge, Decimal]]) -> None:
        """Take the shares from their charges, or nothing where the refund lacks the amount that one of them needs."""
        if any(charge.basis in refund.lacks for charge, _ in shares):
            self._refuse(refund, LACKS)
            return
        for charge, part in shares:
            self._left[charge.line_id] = EXACT.subtract(self._left[charge.line_id], part)
        self.links.pieces += _pieces(refund, shares)


def _pieces(refund: Refund, shares: Sequence[tuple[Charge, Decimal]]) -> list[Piece]:
    """The refund cut by its shares; other amounts in proportion, Q of the running sum, the last the rest."""
    whole, running = -refund.pretax, Decimal(0)
    before: tuple[Decimal | None, ...] = tuple(None if amount is None else Decimal(0) for amount in refund.amounts)
    pieces = []
    for number, (charge, part) in enumerate(shares):
        running = EXACT.add(running, part)
        upto = tuple(None if a is None else _part(a, running, whole) for a in refund.amounts)
        amounts = [None if u is None or b is None else u - b for u, b in zip(upto, before, strict=True)]
        if charge.unit != refund.unit and len(amounts) > USAGE:
            amounts[USAGE] = None  # usage of another unit says nothing of the charge's
        pieces.append(Piece(refund.line_id, number, charge.line_id, -part, tuple(amounts), _is_netted(refund, charge)))
        before = upto
    return pieces


def _is_netted(refund: Refund, charge: Charge) -> bool:
    policy = charge.policy
    if policy.take_back == RERATE:
        return True
    if refund.cycle != charge.cycle or not policy.is_same_month_netted:
        return False
    return policy.window_days is None or (refund.day - charge.day).days <= policy.window_days


def _part(value: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    return value if part == whole else quotient(value, part, whole)


def quotient(value: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """value × part ÷ whole, half up to 10 places (**Q**)."""
    # 120 digits hold any such product and leave more than 60 for the quotient: it is rounded once, by quantize.
    found = _QUOTIENT.divide(_QUOTIENT.multiply(value, part), whole)
    return found.quantize(Decimal(1).scaleb(-10), rounding=ROUND_HALF_UP, context=_QUOTIENT)


def in_proportion(amount: Decimal, weights: Sequence[Decimal]) -> list[Decimal]:
    """Parts of an amount by weights above 0, each **Q**; the whole rest to the one with the largest remainder in its
    direction, the first of several (semantics, bounds)."""
    whole = total(weights)
    parts = [quotient(amount, weight, whole) for weight in weights]
    rest = EXACT.subtract(amount, total(parts))
    if rest != 0:
        step = 1 if rest > 0 else -1
        # What a part lacks of its exact value, times the whole: the order of these is that of the remainders.
        missing = [
            step * _QUOTIENT.subtract(_QUOTIENT.multiply(amount, weight), _QUOTIENT.multiply(part, whole))
            for weight, part in zip(weights, parts, strict=True)
        ]
        place = missing.index(max(missing))
        parts[place] = EXACT.add(parts[place], rest)
    return parts


def piece_bases(charge: Decimal, parts: Sequence[Decimal], rate: Decimal) -> list[Decimal]:
    """What each piece is of the basis of a charge in another currency: what is left before, converted, less after."""
    found = []
    for part in parts:
        after = EXACT.add(charge, part)
        found.append(EXACT.subtract(quotient(after, rate, Decimal(1)), quotient(charge, rate, Decimal(1))))
        charge = after
    return found
