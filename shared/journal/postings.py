"""What a statement and a payout mean in the books: postings that add up to nothing, currency by currency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.errors import ClearbookError
from shared.money import EXACT, total
from shared.report.cells import csv_bytes

if TYPE_CHECKING:
    from shared.cycle import Cycle
    from shared.settlement.statement import Statement

COLUMNS = ("date", "reference", "account", "amount", "currency", "memo")


class UnbalancedError(ClearbookError):
    """Postings that do not add up to nothing: a defect."""

    code = "unbalanced"


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of an entry; debits are above 0."""

    day: date
    reference: str
    account: str
    amount: Decimal
    currency: str
    memo: str


def of_statement(statement: Statement, reseller: str, cycle: str, day: date) -> list[Posting]:
    """Commission and input tax are owed to the reseller from the day the month is locked."""
    payable, tax = Decimal(statement.payable), Decimal(statement.tax)
    memo = f"{reseller} {statement.agreement} {cycle}"

    def post(account: str, amount: Decimal) -> Posting:
        return Posting(day, f"{cycle}.{reseller}.{statement.agreement}", account, amount, statement.currency, memo)

    return _balanced(
        [
            post("Expenses:Commission", EXACT.subtract(payable, tax)),
            post("Assets:InputTax", tax),
            post(f"Liabilities:Resellers:{reseller}", -payable),
        ]
    )


def of_opening(reseller: str, agreement: str, amount: Decimal, currency: str, as_of: Cycle) -> list[Posting]:
    """What was owed to the reseller, or by it, when the books begin: on the first day of the first cycle."""
    reference, memo = f"{as_of}.{reseller}.{agreement}.opening", f"{reseller} {agreement} opening balance"
    return _balanced(
        [
            Posting(as_of.first, reference, "Equity:Opening", amount, currency, memo),
            Posting(as_of.first, reference, f"Liabilities:Resellers:{reseller}", -amount, currency, memo),
        ]
    )


def of_payout(
    instruction: str, reseller: str, amount: Decimal, withheld: Decimal, currency: str, day: date
) -> list[Posting]:
    """An instructed payout discharges what is owed; what is withheld is owed to the tax office instead."""
    memo = f"payout {instruction}"

    def post(account: str, amount: Decimal) -> Posting:
        return Posting(day, instruction, account, amount, currency, memo)

    return _balanced(
        [
            post(f"Liabilities:Resellers:{reseller}", EXACT.add(amount, withheld)),
            post("Assets:Bank", -amount),
            post("Liabilities:WithholdingTax", -withheld),
        ]
    )


def of_forfeit(statement: Statement, reseller: str, cycle: str, amount: Decimal, day: date) -> list[Posting]:
    """A balance that is below the minimum and not carried forward is owed no more."""
    reference = f"{cycle}.{reseller}.{statement.agreement}.forfeit"
    memo = f"{reseller} {statement.agreement} {cycle} below the minimum"
    return _balanced(
        [
            Posting(day, reference, f"Liabilities:Resellers:{reseller}", amount, statement.currency, memo),
            Posting(day, reference, "Income:Forfeited", -amount, statement.currency, memo),
        ]
    )


def to_csv(postings: Iterable[Posting]) -> bytes:
    """The postings, one a row."""
    return csv_bytes(COLUMNS, [(p.day, p.reference, p.account, p.amount, p.currency, p.memo) for p in postings])


def _balanced(postings: Sequence[Posting]) -> list[Posting]:
    for currency in {one.currency for one in postings}:
        left = total([one.amount for one in postings if one.currency == currency])
        if left != 0:
            raise UnbalancedError(f"the postings of {postings[0].reference} leave {left} {currency}; report this")
    return [one for one in postings if one.amount != 0]
