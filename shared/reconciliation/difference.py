"""A difference between two figures that should agree: both of them, the lines that cause it, and what explains it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.money import EXACT, text

LINES_KEPT = 20  # ids that a difference names where nobody asked for all
ZERO = Decimal(0)

# What is held against what. The sums of the house agree exactly; of `CONTROLS` and `EXPECTED`, figures of others, a
# tolerance may say how far apart they may be.
BILL, PARTS, FIGURES, SETTLEMENT = "bill", "day parts", "figures", "settlement"
STATEMENT, JOURNAL, PAYOUT, BANK = "statement", "journal", "payout", "bank"
CONTROLS, EXPECTED = "controls", "expected"


@dataclass(frozen=True, slots=True)
class Difference:
    """Ours and theirs of one thing; absent where one side has none, or where what differs is no amount."""

    check: str
    owner: str  # a reseller, the operator, or "": nobody's in particular
    what: str  # in words, such as "1001/ecs: no share has these lines"
    currency: str = ""
    ours: Decimal | None = None
    theirs: Decimal | None = None
    lines: Sequence[str] = ()  # ids of bill lines, the first of them
    count: int = 0  # of all such lines
    reason: str = ""  # a word that machines know
    explained: str = ""  # by what, such as "policy fx/2"; "": by nothing
    keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def amount(self) -> Decimal:
        """What ours is more."""
        return EXACT.subtract(self.ours or ZERO, self.theirs or ZERO)

    def as_json(self) -> dict[str, Any]:
        """As plain data; amounts are exact text."""
        return {
            "check": self.check,
            "reseller": self.owner or None,
            "what": self.what,
            "reason": self.reason,
            **({"keys": dict(self.keys)} if self.keys else {}),
            "currency": self.currency or None,
            "ours": None if self.ours is None else text(self.ours),
            "theirs": None if self.theirs is None else text(self.theirs),
            "amount": text(self.amount),
            "lines": list(self.lines),
            "line_count": self.count,
            "explained": self.explained or None,
        }


def unexplained(found: Iterable[Difference]) -> list[Difference]:
    """Those that nothing explains."""
    return [one for one in found if not one.explained]


def remainder(found: Iterable[Difference]) -> dict[str, Decimal]:
    """What nothing explains by currency, each difference with its size: none offsets another."""
    sums: dict[str, Decimal] = {}
    for one in unexplained(found):
        if one.amount:
            sums[one.currency] = EXACT.add(sums.get(one.currency, ZERO), abs(one.amount))
    return dict(sorted(sums.items()))
