"""Exact money: decimals that never round by themselves, and the one place where a statement is rounded.

Amounts carry at most 10 decimals when they come in (semantics: the provider's own precision) and 18 once
multiplied by a rate. Whatever does not fit raises; nothing here passes through a float.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import (
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    ROUND_HALF_UP,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from enum import Enum

from shared.errors import ClearbookError

# The ambient context would round results to 28 digits and say nothing; this one raises decimal.Inexact.
EXACT = Context(prec=60, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
_ROUNDING = Context(prec=60, traps=[InvalidOperation, DivisionByZero, Overflow])
PLACES_IN = 10  # decimals of an amount that comes in
DIGITS_IN = 18  # digits before the point of an amount that comes in: DECIMAL(28, 10)

# ASCII digits only: Decimal() would also take full-width digits and underscores.
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)


class NotAnAmountError(ClearbookError):
    """The text is no decimal number, or one that cannot be held exactly."""

    code = "not_an_amount"

    def __init__(self, value: object, expected: str) -> None:
        super().__init__(f"{value!r} is not an amount: expected {expected}")
        self.value = value


class Mode(Enum):
    """How a statement's total is rounded (semantics, statement)."""

    HALF_UP = "half_up"
    HALF_EVEN = "half_even"


_DECIMAL_MODE = {Mode.HALF_UP: ROUND_HALF_UP, Mode.HALF_EVEN: ROUND_HALF_EVEN}


def amount(value: object, *, places: int = PLACES_IN) -> Decimal:
    """The decimal that `value` (text, int or Decimal) writes out, refused where it would not fit exactly."""
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise NotAnAmountError(value, 'a decimal number as text, such as "1204.10"')
    raw = str(value)
    if not _PLAIN.fullmatch(raw):
        raise NotAnAmountError(value, 'a decimal number such as "1204.10"')
    result = Decimal(raw)
    try:
        result = result.quantize(Decimal(1).scaleb(-places), context=EXACT)
    except (Inexact, InvalidOperation):
        raise NotAnAmountError(value, f"at most {DIGITS_IN} digits and {places} decimals") from None
    if abs(result) >= Decimal(10) ** DIGITS_IN:
        raise NotAnAmountError(value, f"at most {DIGITS_IN} digits and {places} decimals")
    return result


def text(value: Decimal) -> str:
    """The one way to write `value`: plain digits, no exponent, no trailing zeros, no negative zero."""
    if value == 0:
        return "0"
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def fixed(value: Decimal, places: int) -> str:
    """`value` with exactly `places` decimals; raises decimal.Inexact if that would round."""
    rounded = value.quantize(Decimal(1).scaleb(-places), context=EXACT)
    return f"{abs(rounded) if rounded == 0 else rounded:f}"


def decimals(value: Decimal) -> int:
    """How many decimals `value` needs."""
    return len(text(value).partition(".")[2])


def total(values: Sequence[Decimal]) -> Decimal:
    """The exact sum."""
    result = Decimal(0)
    for value in values:
        result = EXACT.add(result, value)
    return result


def rounded(value: Decimal, places: int, mode: Mode) -> Decimal:
    """`value` at the statement's places: the rounding R of the semantics. Half up goes away from zero."""
    return value.quantize(Decimal(1).scaleb(-places), rounding=_DECIMAL_MODE[mode], context=_ROUNDING)


def spread(whole: Decimal, parts: Sequence[Decimal], places: int) -> list[Decimal]:
    """Split `whole`, already at `places`, over exact `parts` so that the results are at `places` and add up.

    Each part is cut toward zero; the units still missing go, one each, to the largest remainders in the
    direction of the difference, ties to the earlier part (semantics, statement).
    """
    unit = Decimal(1).scaleb(-places)
    cut = [part.quantize(unit, rounding=ROUND_DOWN, context=_ROUNDING) for part in parts]
    missing = int(EXACT.subtract(whole, total(cut)) / unit)
    direction = 1 if missing > 0 else -1
    if abs(missing) > len(parts):
        raise NotAnAmountError(whole, f"a total within one unit a part of the sum {text(total(parts))}")
    remainders = [EXACT.subtract(part, short) * direction for part, short in zip(parts, cut, strict=True)]
    largest = sorted(range(len(parts)), key=lambda index: (-remainders[index], index))
    for index in largest[: abs(missing)]:
        cut[index] = EXACT.add(cut[index], unit * direction)
    return cut
