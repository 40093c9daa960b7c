"""Scopes: who asks, whose view they get, and which accounts they may see from when to when.

Whatever hands out data takes a Scope, so that a question cannot be asked without saying for whom. A scope says nothing
about one kind of data: what a view shows of bill lines is said where bill lines are looked up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum

from shared.cycle import Cycle
from shared.errors import ClearbookError
from shared.ids import Digest, digest_of
from shared.parties.parties import Assignment, Parties

_DAY = timedelta(days=1)


class View(StrEnum):
    """Whose eyes: a party sees the prices it is charged, never a cost one level up."""

    OPERATOR = "operator"
    RESELLER = "reseller"
    CUSTOMER = "customer"


class UnknownPartyError(ClearbookError):
    """A scope is asked for somebody whom the party document does not name."""

    code = "unknown_party"

    def __init__(self, view: View, id_: str) -> None:
        super().__init__(
            f"there is no {view} {id_!r} in the party document in force; check the id, or approve a document with it"
        )


class UnscopedError(ClearbookError):
    """Data was asked for without a scope: a mistake in the code that asks."""

    code = "unscoped"

    def __init__(self, given: object) -> None:
        super().__init__(f"a question needs a Scope and got a {type(given).__name__}; pass the asker's scope")


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """Dates from the first to the last, both included."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"a period cannot end on {self.last}, before it begins on {self.first}")

    @classmethod
    def of(cls, cycle: Cycle) -> Period:
        """The dates of a cycle."""
        return cls(cycle.first, cycle.last)

    @property
    def days(self) -> int:
        """How many dates."""
        return (self.last - self.first).days + 1


@dataclass(frozen=True, slots=True, order=True)
class Window:
    """An account that may be seen from a date to a date, both included; without an end, from then on."""

    account: str
    begins: date
    ends: date | None


@dataclass(frozen=True, slots=True)
class Scope:
    """Who asks, and what they may see. Make one with `operator`, `reseller` or `customer`.

    `windows` is None for the operator alone, who sees every account on every date.
    """

    who: str
    view: View
    windows: tuple[Window, ...] | None

    def __post_init__(self) -> None:
        # A party whose windows were forgotten must not see everything.
        if (self.windows is None) != (self.view is View.OPERATOR):
            raise ValueError(f"{self.view} {self.who!r}: only the operator's scope is without windows")

    @classmethod
    def operator(cls) -> Scope:
        """All of it."""
        return cls(View.OPERATOR, View.OPERATOR, None)

    @classmethod
    def reseller(cls, parties: Parties, id_: str) -> Scope:
        """The accounts assigned to a reseller, on the dates on which they are."""
        if id_ not in parties.resellers:
            raise UnknownPartyError(View.RESELLER, id_)
        return cls(id_, View.RESELLER, _windows(one for one in parties.assignments if one.reseller == id_))

    @classmethod
    def customer(cls, parties: Parties, id_: str) -> Scope:
        """The accounts of a customer, on the dates on which they are its own."""
        if id_ not in parties.customers:
            raise UnknownPartyError(View.CUSTOMER, id_)
        return cls(id_, View.CUSTOMER, _windows(one for one in parties.assignments if one.customer == id_))

    @property
    def owner(self) -> str:
        """Whose what is made for it is: operator, reseller.ID or customer.ID."""
        return str(self.view) if self.view is View.OPERATOR else f"{self.view}.{self.who}"

    @property
    def fingerprint(self) -> Digest:
        """What tells two scopes apart, and says nothing of what is in them."""
        windows = None
        if self.windows is not None:
            windows = [[one.account, one.begins, one.ends] for one in self.windows]
        return digest_of([self.who, str(self.view), windows])

    def sees(self, account: str, day: date) -> bool:
        """Whether the account may be seen on this date."""
        return bool(self.within(account, Period(day, day))[0])

    def within(self, account: str, asked: Period) -> tuple[tuple[Period, ...], tuple[Period, ...]]:
        """The parts of `asked` that may be seen of the account, and those that may not, each in order."""
        if self.windows is None:
            return (asked,), ()
        mine = (one for one in self.windows if one.account == account)
        inside: list[Period] = []
        outside: list[Period] = []
        reached = asked.first
        for window in sorted(mine, key=lambda one: one.begins):
            begins = max(window.begins, reached)
            ends = asked.last if window.ends is None else min(window.ends, asked.last)
            if ends < begins:
                continue
            if reached < begins:
                outside.append(Period(reached, begins - _DAY))
            inside.append(Period(begins, ends))
            reached = ends + _DAY
        if reached <= asked.last:
            outside.append(Period(reached, asked.last))
        return tuple(inside), tuple(outside)


def scoped(scope: object) -> Scope:
    """The scope, or UnscopedError: for what must not answer where a type checker was not heard."""
    if not isinstance(scope, Scope):
        raise UnscopedError(scope)
    return scope


def _windows(assignments: Iterable[Assignment]) -> tuple[Window, ...]:
    return tuple(sorted({Window(one.account, one.begins, one.ends) for one in assignments}, key=_in_order))


def _in_order(window: Window) -> tuple[str, date, date]:
    return window.account, window.begins, window.ends or date.max
