"""Which charge a refund undoes: links by a fixed rule, so that they do not depend on what arrived when.

Semantics, refunds: first refunds that equal exactly what is left of a charge of their key (of several, the
latest), then the rest, each taking from the latest charges, newest first, until covered. Only the lines of one
cycle are looked at here; a refund whose charge lies in an earlier cycle is an open case. The provider's API
names no related record, so there are no explicit links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from shared.money import EXACT, total

Place = int  # a line's place in the stated order

UNLINKED, EXCEEDS, SIGN, LACKS = "unlinked_refund", "refund_exceeds_charge", "refund_sign", "missing_value"
_QUOTIENT = Context(prec=80, traps=[InvalidOperation])


@dataclass(frozen=True, slots=True)
class Charge:
    """A usage or subscription line that a refund could undo."""

    line_id: str
    key: tuple[object, ...]
    day: object
    place: Place
    pretax: Decimal
    basis: str = "pretax"  # by the agreement version in force on its date


@dataclass(frozen=True, slots=True)
class Refund:
    """A refund or chargeback; `amounts` are its other amounts, in a fixed order, None where absent.

    `lacks` are the bases it has no amount for: it takes nothing from a charge that earns on one of them.
    """

    line_id: str
    key: tuple[object, ...]
    day: object
    place: Place
    pretax: Decimal  # at most 0
    amounts: tuple[Decimal | None, ...]
    lacks: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Piece:
    """The part of a refund that falls on one charge: negative amounts."""

    refund: str
    number: int
    charge: str
    pretax: Decimal
    amounts: tuple[Decimal | None, ...]


@dataclass(frozen=True, slots=True)
class Links:
    """The pieces of every refund that was linked, and (refund, case kind) of every other."""

    pieces: list[Piece]
    cases: list[tuple[str, str]]


def link(charges: Sequence[Charge], refunds: Sequence[Refund]) -> Links:
    """Link the refunds of a cycle to its charges."""
    left = {charge.line_id: charge.pretax for charge in charges}
    by_key: dict[tuple[object, ...], list[Charge]] = {}
    for charge in sorted(charges, key=lambda one: one.place, reverse=True):
        by_key.setdefault(charge.key, []).append(charge)

    taken: dict[str, list[tuple[str, Decimal]]] = {}
    cases: list[tuple[str, str]] = []
    ordered = sorted((refund for refund in refunds if refund.pretax != 0), key=lambda one: one.place)
    rest: list[Refund] = []
    for refund in ordered:
        exact = next((one for one in _open(by_key, refund, left) if left[one.line_id] == -refund.pretax), None)
        if exact is None:
            rest.append(refund)
            continue
        _settle(refund, [(exact, -refund.pretax)], left, taken, cases)
    for refund in rest:
        candidates = _open(by_key, refund, left)
        if not candidates:
            cases.append((refund.line_id, UNLINKED))
        elif total([left[one.line_id] for one in candidates]) < -refund.pretax:
            cases.append((refund.line_id, EXCEEDS))
        else:
            _settle(refund, _shares(candidates, -refund.pretax, left), left, taken, cases)
    pieces = [
        piece for refund in ordered if refund.line_id in taken for piece in _pieces(refund, taken[refund.line_id])
    ]
    return Links(pieces, cases)


def _open(by_key: dict[tuple[object, ...], list[Charge]], refund: Refund, left: dict[str, Decimal]) -> list[Charge]:
    """The charges of the refund's key dated no later that have something left, newest first."""
    return [
        charge
        for charge in by_key.get(refund.key, [])
        if charge.day <= refund.day and left[charge.line_id] > 0  # type: ignore[operator]
    ]


def _shares(candidates: list[Charge], due: Decimal, left: dict[str, Decimal]) -> list[tuple[Charge, Decimal]]:
    """What each charge gives, the newest first, until `due` is covered."""
    shares = []
    for charge in candidates:
        part = min(due, left[charge.line_id])
        shares.append((charge, part))
        due = EXACT.subtract(due, part)
        if due == 0:
            break
    return shares


def _settle(
    refund: Refund,
    shares: list[tuple[Charge, Decimal]],
    left: dict[str, Decimal],
    taken: dict[str, list[tuple[str, Decimal]]],
    cases: list[tuple[str, str]],
) -> None:
    """Take the shares from their charges, or nothing where the refund lacks the amount that one of them needs."""
    if any(charge.basis in refund.lacks for charge, _ in shares):
        cases.append((refund.line_id, LACKS))
        return
    for charge, part in shares:
        left[charge.line_id] = EXACT.subtract(left[charge.line_id], part)
    taken[refund.line_id] = [(charge.line_id, part) for charge, part in shares]


def _pieces(refund: Refund, shares: list[tuple[str, Decimal]]) -> list[Piece]:
    """The refund cut by its shares; other amounts in proportion, Q of the running sum, the last the rest."""
    whole, running = -refund.pretax, Decimal(0)
    before: tuple[Decimal | None, ...] = tuple(None if amount is None else Decimal(0) for amount in refund.amounts)
    pieces = []
    for number, (charge, part) in enumerate(shares):
        running = EXACT.add(running, part)
        upto = tuple(None if a is None else _quotient(a, running, whole) for a in refund.amounts)
        amounts = tuple(None if u is None or b is None else u - b for u, b in zip(upto, before, strict=True))
        pieces.append(Piece(refund.line_id, number, charge, -part, amounts))
        before = upto
    return pieces


def _quotient(value: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """value × part ÷ whole, half up to 10 places (Q); exact where the part is the whole."""
    if part == whole:
        return value
    # 80 digits hold any such product and leave more than 40 for the quotient: it is rounded once, by quantize.
    quotient = _QUOTIENT.divide(_QUOTIENT.multiply(value, part), whole)
    return quotient.quantize(Decimal(1).scaleb(-10), rounding=ROUND_HALF_UP, context=_QUOTIENT)
