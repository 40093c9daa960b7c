"""Month against month: what a person would want to look at before a month is locked. Signals, which block nothing.

By reseller, customer and product, each with the amounts of both months: a sign that flipped, an amount that became
larger or smaller by more than a factor, what vanished and what is new, and rules that took the place of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.errors import BadInputError
from shared.money import EXACT, text

SIGN, SIZE, VANISHED, NEW, RULES = "sign", "size", "vanished", "new", "rules"
SIGNALS: Mapping[str, str] = {
    SIGN: "its sign flipped",
    SIZE: "it is another size",
    VANISHED: "it is no longer there",
    NEW: "it was not there before",
    RULES: "other rules than before",
}
LEVELS = ("reseller", "customer", "product")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class Policy:
    """What counts as another size; nothing below `minimum` on both sides is told of, whatever it does."""

    factor: Decimal = Decimal(2)
    minimum: Decimal = Decimal(100)

    def __post_init__(self) -> None:
        if self.factor <= 1:
            raise BadInputError("--factor", f"is {self.factor}", "give how many times as large, above 1")
        if self.minimum < 0:
            raise BadInputError("--minimum", f"is {self.minimum}", "give an amount from 0")


@dataclass(slots=True)
class Figures:
    """What a key came to in a month."""

    basis: Decimal = _ZERO
    earned: Decimal = _ZERO
    rules: set[str] = field(default_factory=set)  # rule/version of its commissions

    def add(self, line: Mapping[str, Any]) -> None:
        """Count a line of a statement in."""
        self.earned = EXACT.add(self.earned, Decimal(line["exact"]))
        if line["kind"] == "commission":
            self.basis = EXACT.add(self.basis, Decimal(line["basis"]))
            self.rules.add(f"{line['rule']}/{line['version']}")


Key = tuple[str, str, str, str]  # reseller, customer, product, currency; "": all of them


@dataclass(frozen=True, slots=True)
class Anomaly:
    """A signal, with the amounts of both months."""

    signal: str
    level: str
    key: Key
    what: str  # earned, or the basis it is earned on
    before: Decimal
    now: Decimal
    detail: str = ""

    @property
    def change(self) -> Decimal:
        """By how much it changed."""
        return EXACT.subtract(self.now, self.before)

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        reseller, customer, product, currency = self.key
        named = {"reseller": reseller, "customer": customer or None, "product": product or None}
        amounts = {"before": text(self.before), "now": text(self.now), "change": text(self.change)}
        what = {"what": self.what, "currency": currency, **amounts, "detail": self.detail}
        return {"signal": self.signal, "level": self.level, **named, **what}


def figures(statements: Iterable[tuple[str, Mapping[str, Any]]]) -> dict[Key, Figures]:
    """Statements (reseller, plain data) by product, by customer and by reseller, in their currency."""
    found: dict[Key, Figures] = {}
    for reseller, one in statements:
        for line in one["lines"]:
            full = (reseller, line["customer"], line["product"])
            for level in range(1, len(LEVELS) + 1):
                key = (*full[:level], *("",) * (len(LEVELS) - level), one["currency"])
                if all(full[:level]):
                    found.setdefault(key, Figures()).add(line)
    return found


def anomalies(before: Mapping[Key, Figures], now: Mapping[Key, Figures], policy: Policy) -> list[Anomaly]:
    """Every signal, the largest change first."""
    found: list[Anomaly] = []
    for key in before.keys() | now.keys():
        was, is_ = before.get(key), now.get(key)
        found += _of_key(key, was, is_, policy)
    return sorted(found, key=lambda one: (-abs(one.change), one.key, one.signal, one.what))


def _of_key(key: Key, was: Figures | None, is_: Figures | None, policy: Policy) -> Iterable[Anomaly]:
    level = LEVELS[sum(bool(one) for one in key[:3]) - 1]
    sides = [("earned", (was or Figures()).earned, (is_ or Figures()).earned)]
    sides.append(("basis", (was or Figures()).basis, (is_ or Figures()).basis))
    large = [(what, old, new) for what, old, new in sides if max(abs(old), abs(new)) >= policy.minimum]
    if not large:
        return
    if was is None or is_ is None:
        what, old, new = large[0]
        yield Anomaly(NEW if was is None else VANISHED, level, key, what, old, new)
        return
    for what, old, new in large:
        signal = _signal(old, new, policy)
        if signal:
            yield Anomaly(signal, level, key, what, old, new)
    if level == "product" and was.rules != is_.rules and was.rules and is_.rules:
        detail = f"{_listed(was.rules)} before, {_listed(is_.rules)} now"
        yield Anomaly(RULES, level, key, "earned", was.earned, is_.earned, detail)


def _signal(old: Decimal, new: Decimal, policy: Policy) -> str:
    if old * new < 0:
        return SIGN
    small, large = sorted((abs(old), abs(new)))
    return SIZE if large > EXACT.multiply(small, policy.factor) else ""


def _listed(rules: Sequence[str] | set[str]) -> str:
    ordered = sorted(rules)
    return ", ".join(ordered[:5]) + (f" and {len(ordered) - 5} more" if len(ordered) > 5 else "")
