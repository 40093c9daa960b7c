"""What a decision means in the books: transactions whose postings add up to nothing, currency by currency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from shared.chain.entry import Entry
from shared.cycle import parse_instant, shanghai_day
from shared.errors import ClearbookError
from shared.money import total
from shared.report.cells import csv_bytes

COLUMNS = ("date", "reference", "account", "amount", "currency", "memo")

COMMISSION = "Expenses:Commission"  # and what is below it
INPUT_TAX = "Assets:InputTax"
IN_TRANSIT = "Assets:PayoutsInTransit"  # instructed, and the bank has not said that it is paid: below 0
BANK = "Assets:Bank"
WITHHOLDING_TAX = "Liabilities:WithholdingTax"
OPENING_EQUITY = "Equity:Opening"
FORFEITED = "Income:Forfeited"


class UnbalancedError(ClearbookError):
    """Postings that do not add up to nothing: a defect."""

    code = "unbalanced"


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a transaction; debits are above 0."""

    day: date
    reference: str  # with `entry` it names the transaction
    account: str
    amount: Decimal
    currency: str
    memo: str
    act: str  # what happened
    reseller: str
    agreement: str
    cycle: str  # the month that it is of
    entry: str  # stream#seq of what decided it
    hash: str  # of that entry


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose money a transaction moves."""

    agreement: str
    cycle: str
    currency: str


def owed_to(reseller: str) -> str:
    """The account of what is owed to a reseller."""
    return f"Liabilities:Resellers:{reseller}"


def held_of(reseller: str) -> str:
    """The account of what is held back of a reseller's commission."""
    return f"Liabilities:Holdback:{reseller}"


def transaction(
    entry: Entry,
    act: str,
    of: Subject,
    reference: str,
    memo: str,
    sides: Iterable[tuple[str, Decimal]],
    day: date | None = None,
) -> list[Posting]:
    """The postings of one transaction, on the day of its entry unless another is given; sides of 0 are left out."""
    sides = [(account, amount) for account, amount in sides if amount != 0]
    if not sides:
        return []
    day = day or shanghai_day(parse_instant(entry.at))
    reseller, name, hash_ = reseller_of(entry), f"{entry.stream}#{entry.seq}", entry.hash
    return _balanced(
        [
            Posting(
                *(day, reference, account, amount, of.currency, memo),
                *(act, reseller, of.agreement, of.cycle, name, hash_),
            )
            for account, amount in sides
        ]
    )


def reseller_of(entry: Entry) -> str:
    """Whose stream an entry stands in."""
    return entry.stream.removeprefix("reseller/")


def to_csv(postings: Iterable[Posting]) -> bytes:
    """The postings, one a row."""
    return csv_bytes(COLUMNS, [(p.day, p.reference, p.account, p.amount, p.currency, p.memo) for p in postings])


def _balanced(postings: Sequence[Posting]) -> list[Posting]:
    left = total([one.amount for one in postings])
    if left != 0:
        raise UnbalancedError(
            f"the postings of {postings[0].reference} leave {left} {postings[0].currency}; report this"
        )
    return list(postings)
