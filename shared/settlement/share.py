"""What one settlement reads, beside the lines of the bill."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from shared.agreement.agreement import Agreement, begun
from shared.cycle import LOOK_BACK, Cycle
from shared.parties.parties import OPERATOR, Assignment, CustomerClass


@dataclass(frozen=True, slots=True)
class Approved:
    """An approved adjustment of an agreement's cycle."""

    id: str
    agreement: str
    cycle: str
    amount: Decimal
    cause: str
    customer: str | None = None
    product: str | None = None


@dataclass(frozen=True, slots=True)
class Closed:
    """A case that people closed without settling: its lines are excluded, and say `because`."""

    cycle: str
    kind: str
    key: str
    currency: str
    because: str


@dataclass(frozen=True, slots=True)
class LinkedByHand:
    """A refund of a cycle that people have linked to the charge that it undoes."""

    cycle: str
    refund: str
    charge: str


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What a locked cycle held back of an agreement, above 0."""

    agreement: str
    version: int
    cycle: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class ScaleTotal:
    """What a scale's scope came to in the contract year before the opening."""

    agreement: str
    scale: str
    customer: str | None
    product: str | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class PastCharge:
    """A charge settled before the opening: it `earned` on all of `pretax`, and `left` is not refunded yet."""

    line_id: str
    day: date
    account: str
    customer: str | None
    product_code: str | None
    commodity_code: str | None
    billing_item_code: str | None
    instance_id: str | None
    subscription_type: str | None
    currency: str
    pretax: Decimal
    left: Decimal
    agreement: str
    version: int
    rule: str
    earned: Decimal

    @property
    def cycle(self) -> Cycle:
        """The cycle that it was charged in."""
        return Cycle.of(self.day)


@dataclass(frozen=True, slots=True)
class Opened:
    """Where a reseller begins to be settled here: nothing of it is settled before the cycle `as_of`."""

    as_of: str
    scale_totals: Sequence[ScaleTotal] = ()
    past: Sequence[PastCharge] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """Whose lines are settled: a reseller's, or the operator's own and all that no reseller owns.

    `looked_back` are the locked cycles that something has reached since: they are looked at afresh with it, and what
    is due for them less what was posted (the table `posted`) is adjusted now. On those of `stood_on` totals of contract
    years stand: they are looked at, and nothing is adjusted. Of all other `earlier` ones only refunds and what they may
    fall on are at hand.
    """

    owner: str
    cycle: Cycle
    assignments: Sequence[Assignment]  # of every account, in force in one of the cycles
    agreements: Sequence[Agreement]  # the owner's versions begun by the end of the cycle
    # Those of other resellers of its accounts: a refund is linked alike whoever settles it, and takes nothing from a
    # charge whose basis it does not state.
    others: Sequence[Agreement] = ()
    looked_back: Sequence[Cycle] = ()
    classes: Sequence[CustomerClass] = ()
    rates: Mapping[tuple[str, str, str], Decimal] = field(default_factory=dict)  # (cycle, currency, to)
    figures: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)  # (figure, cycle)
    adjustments: Sequence[Approved] = ()  # not posted yet
    closed: Sequence[Closed] = ()
    links: Sequence[LinkedByHand] = ()  # of other shares of its accounts too: links are the same for all
    held_back: Sequence[HeldBack] = ()  # whatever is released in the cycle is among these
    opened: Opened | None = None
    stood_on: Sequence[Cycle] = ()
    earlier: Sequence[Cycle] = ()
    reached_by: Mapping[str, str] = field(default_factory=dict)  # why cycles are looked back to, in words

    @property
    def cycles(self) -> list[Cycle]:
        """All that are looked at, in order."""
        return sorted([*self.looked_back, *self.stood_on, self.cycle])

    @property
    def known(self) -> list[Cycle]:
        """All of which lines are at hand, in order."""
        return sorted({*self.earlier, *self.cycles})

    @property
    def past(self) -> Sequence[PastCharge]:
        """The charges of before the opening that refunds of the cycle may still fall on."""
        charges = self.opened.past if self.opened is not None else ()
        return [one for one in charges if self.cycle.since(one.cycle) <= LOOK_BACK]

    @property
    def compared(self) -> list[Cycle]:
        """The cycles of which what is due is held against what was posted, in order."""
        return sorted({*self.looked_back, *(one.cycle for one in self.past)})

    @property
    def is_operators(self) -> bool:
        """Whether it is the operator's own."""
        return self.owner == OPERATOR

    def begun(self, cycle: Cycle) -> dict[str, list[Agreement]]:
        """The versions of each agreement begun by the end of the cycle, in order."""
        return begun(self.agreements, cycle)

    def year(self, agreement: str, cycle: Cycle) -> int:
        """The contract year in which a cycle lies, from 0; twelve cycles from that in which the agreement began."""
        return self._since(agreement, cycle) // 12

    def year_of(self, agreement: str, cycle: str) -> int:
        """The same of a cycle as text."""
        return self.year(agreement, Cycle.parse(cycle))

    def is_last_of_year(self, agreement: str, cycle: Cycle) -> bool:
        """Whether a contract year ends with the cycle."""
        return self._since(agreement, cycle) % 12 == 11

    def _since(self, agreement: str, cycle: Cycle) -> int:
        began = min(one.begins for one in self.agreements if one.id == agreement)
        return cycle.since(Cycle.of(began))
