"""Rows of a file of others beside our figures, key by key and row by row: what differs, and for what reason.

The rows of one key are added up. Where that is not what we have, the reason is looked for in this order: the key is
missing on a side, or stands in another currency or another month, a row was given more than once, the difference is
what was rounded down, or the amount just differs. Nothing is rounded here, and nothing is near enough.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_DOWN, Context, Decimal

from shared.money import EXACT, decimals, total
from shared.reconciliation.difference import EXPECTED, ZERO, Difference

MISSING_THERE, MISSING_HERE, AMOUNT = "missing there", "missing here", "amount"
CURRENCY, PERIOD, DUPLICATE, ROUND_DOWN_ = "currency", "period", "duplicate", "round-down"
REASONS = (MISSING_THERE, MISSING_HERE, AMOUNT, CURRENCY, PERIOD, DUPLICATE, ROUND_DOWN_)
_CUT = Context(prec=60, rounding=ROUND_DOWN)
Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Theirs:
    """A row of their file."""

    number: int
    key: Key
    currency: str
    period: str  # "": of the cycle that is looked at
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Ours:
    """What we have of a key in a currency."""

    key: Key
    currency: str
    amount: Decimal
    rounded_down: Decimal = ZERO  # the provider's own discount that its amounts may or may not have in them
    lines: Sequence[str] = ()
    count: int = 0


@dataclass(slots=True)
class Matched:
    """A file beside our figures."""

    differences: list[Difference] = field(default_factory=list)
    agreeing: int = 0
    rows: int = 0
    theirs: dict[str, Decimal] = field(default_factory=dict)  # by currency, of rows of the cycle
    ours: dict[str, Decimal] = field(default_factory=dict)


def match(
    name: str,
    names: Sequence[str],
    theirs: Sequence[Theirs],
    ours: Iterable[Ours],
    cycle: str,
    other_months: Mapping[Key, str] | None = None,
    owner: str = "",
) -> Matched:
    """Match a file's rows with ours. `names` are those of the key; `other_months` are keys that we have elsewhere."""
    found = Matched(rows=len(theirs))
    mine = {(one.key, one.currency): one for one in ours}
    given: dict[tuple[Key, str], list[Theirs]] = defaultdict(list)
    for row in theirs:
        if row.period and row.period != cycle:
            said = dict(zip(names, row.key, strict=True))
            what = f"{_worded(names, row.key)}, row {row.number}: is of {row.period}"
            found.differences.append(_one(owner, what, row.currency, None, row.amount, PERIOD, said))
            continue
        given[row.key, row.currency].append(row)
        _count(found.theirs, row.currency, row.amount)
    for one in mine.values():
        _count(found.ours, one.currency, one.amount)
    places = max((decimals(row.amount) for row in theirs), default=0)
    elsewhere = other_months or {}
    found.differences += _currencies(names, given, mine, owner)
    for key, currency in sorted(given.keys() | mine.keys()):
        rows, own = given.get((key, currency), []), mine.get((key, currency))
        if total([row.amount for row in rows]) == (own.amount if own else ZERO) and (own is not None or not rows):
            found.agreeing += 1
            continue
        if rows and own is None and key in elsewhere:
            said = dict(zip(names, key, strict=True))
            what = f"{_worded(names, key)}{_numbers(rows)}: is of {elsewhere[key]} here"
            amount = total([row.amount for row in rows])
            found.differences.append(_one(owner, what, currency, None, amount, PERIOD, said))
            continue
        found.differences += _apart(names, key, currency, rows, own, places, owner)
    return found


def _currencies(
    names: Sequence[str],
    given: dict[tuple[Key, str], list[Theirs]],
    mine: dict[tuple[Key, str], Ours],
    owner: str,
) -> Iterator[Difference]:
    """Keys that stand in one currency there and in another here; they are matched no further."""
    for key, currency in sorted(given):
        if (key, currency) in mine:
            continue
        own = next((one for one in mine.values() if one.key == key and (key, one.currency) not in given), None)
        if own is not None:
            rows = given.pop((key, currency))
            del mine[key, own.currency]
            amount = total([row.amount for row in rows])
            what = f"{_worded(names, key)}{_numbers(rows)}: {currency} there, {own.currency} here"
            said = dict(zip(names, key, strict=True))
            yield _one(owner, what, currency, None, amount, CURRENCY, said)
            yield _one(owner, what, own.currency, own.amount, None, CURRENCY, said, own)


def _apart(
    names: Sequence[str], key: Key, currency: str, rows: Sequence[Theirs], own: Ours | None, places: int, owner: str
) -> Iterator[Difference]:
    """Why a key that is of this month and currency differs."""
    said, named = dict(zip(names, key, strict=True)), f"{_worded(names, key)}{_numbers(rows)}"
    theirs = total([row.amount for row in rows])
    if own is None:
        yield _one(owner, f"{named}: we have nothing of it", currency, None, theirs, MISSING_HERE, said)
    elif not rows:
        yield _one(owner, f"{named}: they have nothing of it", currency, own.amount, None, MISSING_THERE, said, own)
    elif _is_repeated(rows, own.amount):
        what = f"{named}: the same row is there {len(rows)} times"
        yield _one(owner, what, currency, own.amount, theirs, DUPLICATE, said, own)
    elif own.amount != theirs and _is_rounded_down(own, theirs, places):
        what = f"{named}: they rounded it down"
        yield _one(owner, what, currency, own.amount, theirs, ROUND_DOWN_, said, own)
    else:
        yield _one(owner, f"{named}: another amount", currency, own.amount, theirs, AMOUNT, said, own)


def _is_repeated(rows: Sequence[Theirs], amount: Decimal) -> bool:
    """Whether one of some equal rows is all that we have."""
    return len(rows) > 1 and {row.amount for row in rows} == {amount}


def _is_rounded_down(own: Ours, theirs: Decimal, places: int) -> bool:
    """Whether theirs is ours without what the provider's discount took, or cut after the places that they write."""
    is_discount = own.rounded_down != 0 and EXACT.subtract(own.amount, theirs) in (own.rounded_down, -own.rounded_down)
    return is_discount or own.amount.quantize(Decimal(1).scaleb(-places), context=_CUT) == theirs


def _one(
    owner: str, what: str, currency: str, ours: Decimal | None, theirs: Decimal | None, reason: str,
    keys: Mapping[str, str], own: Ours | None = None,
) -> Difference:  # fmt: skip
    lines, count = (own.lines, own.count) if own is not None else ((), 0)
    return Difference(EXPECTED, owner, what, currency, ours, theirs, lines, count, reason, keys=keys)


def _worded(names: Sequence[str], key: Key) -> str:
    return ", ".join(f"{name} {value or '-'}" for name, value in zip(names, key, strict=True))


def _numbers(rows: Sequence[Theirs]) -> str:
    shown = ", ".join(str(row.number) for row in rows[:5])
    return f" (row {shown}{' and more' if len(rows) > 5 else ''})" if rows else ""


def _count(sums: dict[str, Decimal], currency: str, amount: Decimal) -> None:
    sums[currency] = EXACT.add(sums.get(currency, ZERO), amount)
