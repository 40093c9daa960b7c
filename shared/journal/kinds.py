"""What a statement's total is made of, by kind of line: by this the journal tells expenses and holdback apart."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from shared.money import EXACT, fixed


def kinds_of(statement: Mapping[str, Any]) -> dict[str, str]:
    """The sums of a statement's rounded amounts, by kind; they add up to its total. Sums of 0 are left out."""
    sums: dict[str, Decimal] = {}
    for line in statement["lines"]:
        sums[line["kind"]] = EXACT.add(sums.get(line["kind"], Decimal(0)), Decimal(line["amount"]))
    return {kind: fixed(amount, statement["places"]) for kind, amount in sorted(sums.items()) if amount != 0}
