"""What is owed to resellers, by agreement and currency, as their journals say it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.journal.ledger import FORFEIT, LOCKED, OPENED, PAID, REOPENED
from shared.journal.postings import IN_TRANSIT, WITHHOLDING_TAX, Posting, held_of, owed_to
from shared.money import EXACT, total


@dataclass(frozen=True, slots=True)
class Balance:
    """Where an agreement of a reseller stands; above 0 it is owed to the reseller."""

    reseller: str
    agreement: str
    currency: str
    carried: Decimal  # the opening; as of a cycle also all that is of earlier ones
    payable: Decimal  # by statements
    forfeited: Decimal
    paid: Decimal  # instructed; of which
    withheld: Decimal  # was kept for the tax office
    reopened: Decimal  # came back, and is owed again
    in_transit: Decimal  # instructed, and neither confirmed nor reopened
    held: Decimal  # of the commission, until it is released: owed later, and no part of the balance

    @property
    def balance(self) -> Decimal:
        """What is owed now; below 0 the reseller owes it, and later months are set off against it."""
        gained = total([self.carried, self.payable, self.reopened])
        return EXACT.subtract(gained, EXACT.add(self.forfeited, self.paid))

    @property
    def clawback(self) -> Decimal:
        """What the reseller owes back."""
        return max(Decimal(0), EXACT.minus(self.balance))


def balances(postings: Iterable[Posting], upto: str = "") -> list[Balance]:
    """The balances of postings by reseller, agreement and currency; with `upto` as of that cycle.

    As of a cycle, its statements and the earlier ones' count, and all that was paid or reopened: a later month's
    payment pays the earlier ones' balances too.
    """
    mine: dict[tuple[str, str, str], list[Posting]] = {}
    for one in postings:
        if not upto or one.cycle <= upto or one.act not in (OPENED, LOCKED, FORFEIT):
            mine.setdefault((one.reseller, one.agreement, one.currency), []).append(one)
    return [_balance(key, found, upto) for key, found in sorted(mine.items())]


def _balance(key: tuple[str, str, str], postings: Sequence[Posting], upto: str) -> Balance:
    reseller = key[0]

    def is_carried(one: Posting) -> bool:
        return one.act == OPENED or one.cycle < upto

    owed = [one for one in postings if one.account == owed_to(reseller)]
    now = [one for one in owed if not is_carried(one)]

    def said(act: str) -> Decimal:
        return _sum(one for one in now if one.act == act)

    withheld = [one for one in postings if one.account == WITHHOLDING_TAX and not is_carried(one)]
    return Balance(
        *key,
        carried=EXACT.minus(_sum(one for one in owed if is_carried(one))),
        payable=EXACT.minus(said(LOCKED)),
        forfeited=said(FORFEIT),
        paid=said(PAID),
        withheld=EXACT.minus(_sum(withheld)),
        reopened=EXACT.minus(said(REOPENED)),
        in_transit=EXACT.minus(_sum(one for one in postings if one.account == IN_TRANSIT)),
        held=EXACT.minus(_sum(one for one in postings if one.account == held_of(reseller))),
    )


def _sum(postings: Iterable[Posting]) -> Decimal:
    return total([one.amount for one in postings])
