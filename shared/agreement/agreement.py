"""An agreement version as the engine uses it, read from an approved document."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from shared.cycle import Cycle
from shared.ids import Digest, digest
from shared.money import EXACT, Mode, amount

PERCENT_PLACES = 6  # of a percent; a rate, a hundredth of it, then fits DECIMAL(10, 8)


@dataclass(frozen=True, slots=True)
class Band:
    """The part of a running total above the band before, up to and including `upto` (None: without end)."""

    upto: Decimal | None
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Scale:
    """A graduated scale over the month."""

    id: str
    scope: str  # customer, reseller or product
    bands: tuple[Band, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """What the first matching rule earns: a rate of the basis, or by a scale."""

    id: str
    when: str
    rate: Decimal | None
    scale: str | None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """Lines that earn nothing, and why."""

    when: str
    because: str


@dataclass(frozen=True, slots=True)
class Tax:
    """Tax on the statement's total."""

    rate: Decimal
    mode: str  # exclusive or inclusive


@dataclass(frozen=True, slots=True)
class Payout:
    """When a balance is paid."""

    minimum: Decimal
    carry_forward: bool
    tax: Tax | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """One version of an agreement."""

    id: str
    reseller: str
    version: int
    begins: date
    ends: date | None
    currency: str
    basis: str
    places: int
    mode: Mode
    currencies: tuple[str, ...]  # of the lines it applies to; empty: all
    payers: tuple[str, ...]  # likewise
    exclusions: tuple[Exclusion, ...]
    scales: Mapping[str, Scale]
    rules: tuple[Rule, ...]
    payout: Payout
    digest: Digest

    def touches(self, cycle: Cycle) -> bool:
        """Whether it is in force on a day of the cycle."""
        return self.begins <= cycle.last and (self.ends is None or self.ends >= cycle.first)

    def overlaps(self, other: Agreement) -> bool:
        """Whether some line could fall under both."""
        days = (self.ends is None or other.begins <= self.ends) and (other.ends is None or self.begins <= other.ends)
        currencies = not self.currencies or not other.currencies or set(self.currencies) & set(other.currencies)
        payers = not self.payers or not other.payers or set(self.payers) & set(other.payers)
        return days and bool(currencies) and bool(payers)


def rate(percent: str | int) -> Decimal:
    """A percent as the exact fraction it stands for."""
    return EXACT.divide(amount(percent, places=PERCENT_PLACES), Decimal(100))


def parse_agreement(body: bytes) -> Agreement:
    """The agreement of an approved document in canonical JSON."""
    data: dict[str, Any] = json.loads(body)
    applies = data["applies_to"] or {}
    payout, tax = data["payout"], data["payout"]["tax"]
    return Agreement(
        id=data["agreement"],
        reseller=data["reseller"],
        version=data["version"],
        begins=date.fromisoformat(data["effective"]["from"]),
        ends=date.fromisoformat(data["effective"]["until"]) if data["effective"]["until"] else None,
        currency=data["currency"],
        basis=data["basis"],
        places=data["rounding"]["places"],
        mode=Mode(data["rounding"]["mode"]),
        currencies=tuple(applies.get("currencies") or ()),
        payers=tuple(applies.get("payers") or ()),
        exclusions=tuple(Exclusion(one["when"], one["because"]) for one in data["exclude"]),
        scales={name: _scale(name, one) for name, one in data["scales"].items()},
        rules=tuple(_rule(one) for one in data["rules"]),
        payout=Payout(
            amount(payout["minimum"]),
            payout["carry_forward"],
            Tax(rate(tax["percent"]), tax["mode"]) if tax else None,
        ),
        digest=digest(body),
    )


def _scale(name: str, data: Mapping[str, Any]) -> Scale:
    bands = (Band(None if b["upto"] is None else amount(b["upto"]), rate(b["percent"])) for b in data["bands"])
    return Scale(name, data["scope"], tuple(bands))


def _rule(data: Mapping[str, Any]) -> Rule:
    percent = data["earn"]["percent"]
    return Rule(data["id"], data["when"], None if percent is None else rate(percent), data["earn"]["scale"])
