"""The two roundings, **Q** and **R**, and how a rounded total is spread (§9)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction


def rounded(value: Fraction, places: int, mode: str) -> Fraction:
    """**R**: at the half away from zero (`half_up`) or to the even neighbour (`half_even`)."""
    unit = Fraction(1, 10**places)
    whole, rest = divmod(abs(value) / unit, 1)
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and (mode == "half_up" or whole % 2 == 1))
    size = (whole + 1 if up else whole) * unit
    return -size if value < 0 else size


def quotient(value: Fraction) -> Fraction:
    """**Q**: 10 places, half away from zero."""
    return rounded(value, 10, "half_up")


def spread(total: Fraction, exact: Sequence[Fraction], places: int) -> list[Fraction]:
    """Parts in whole units that add up to `total`: cut each, then give what is missing, one unit each."""
    unit = Fraction(1, 10**places)
    parts = [int(part / unit) for part in exact]  # int() cuts toward zero
    missing = int(total / unit) - sum(parts)
    step = 1 if missing > 0 else -1
    remainders = [(part / unit - cut) * step for part, cut in zip(exact, parts, strict=True)]
    by_remainder = sorted(range(len(parts)), key=lambda i: (-remainders[i], i))
    for i in by_remainder[: abs(missing)]:
        parts[i] += step
    return [part * unit for part in parts]


def in_proportion(total: Fraction, weights: Sequence[Fraction]) -> list[Fraction]:
    """Parts by weight, each **Q**; the whole rest to the one with the largest remainder in its direction (§7)."""
    whole = sum(weights, Fraction(0))
    exact = [total * weight / whole for weight in weights]
    parts = [quotient(part) for part in exact]
    rest = total - sum(parts, Fraction(0))
    if rest != 0:
        step = 1 if rest > 0 else -1
        remainders = [(one - part) * step for one, part in zip(exact, parts, strict=True)]
        parts[remainders.index(max(remainders))] += rest
    return parts
