"""The shares of a cycle against its bills: resellers' and operator's lines add up to every line billed, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from shared.money import EXACT


@dataclass(frozen=True, slots=True)
class Comparison:
    """One currency: what the bills say, what the shares hold, and what is left unexplained."""

    currency: str
    billed: Decimal
    shared: Decimal

    @property
    def unexplained(self) -> Decimal:
        """Exactly 0, or something is wrong."""
        return EXACT.subtract(self.billed, self.shared)


def compare(
    bills: Iterable[Mapping[str, Mapping[str, str]]], shares: Iterable[Mapping[str, Mapping[str, object]]]
) -> list[Comparison]:
    """Compare the totals of the snapshots with those of the shares (currency -> {"pretax": exact text})."""
    billed, shared = _sums(bills), _sums(shares)
    return [
        Comparison(currency, billed.get(currency, Decimal(0)), shared.get(currency, Decimal(0)))
        for currency in sorted(billed.keys() | shared.keys())
    ]


def _sums(totals: Iterable[Mapping[str, Mapping[str, object]]]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for one in totals:
        for currency, amounts in one.items():
            sums[currency] = EXACT.add(sums.get(currency, Decimal(0)), Decimal(str(amounts["pretax"])))
    return sums
