"""The rows of a bill as its files are written from them: texts, readings, and amounts as exact whole numbers."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from hashlib import blake2b

from infra.localcloud.bss.answer import amount_digits
from infra.localcloud.bss.bills import Bill, Filters, Grain, Row
from infra.localcloud.bss.item import AMOUNTS, READINGS, scaled

_PAGE = 2_000
_KEY_DIGITS = 18


@dataclass(frozen=True, slots=True)
class Charge:
    """One row: of a `date`, or of the whole month where that is empty. Amounts are in 10^-10 of the currency."""

    account: str
    cycle: str
    date: str
    key: str  # digits that name the row for good, as long as no line is added to its group
    texts: Mapping[str, str]
    readings: Mapping[str, str]
    amounts: Mapping[str, int]

    @property
    def round_down(self) -> int:
        """What rounding took off the payable amount, which an item itself does not state."""
        part = self.amounts
        return part["PretaxGrossAmount"] - part["InvoiceDiscount"] - part["DeductedByCoupons"] - part["PretaxAmount"]

    def text(self, field: str) -> str:
        """A text without the tabs that the API leaves at its end."""
        return self.texts[field].strip()


def charges(
    connection: sqlite3.Connection, account: str, cycle: str, as_of: datetime, grain: Grain = Grain.LINE
) -> Iterator[Charge]:
    """The bill of `cycle` as it stood at `as_of`, by date."""
    bill = Bill(connection, account, cycle, as_of)
    if not grain.is_daily:
        yield from _of(rows(bill, grain), account, cycle)
        return
    for day in bill.days(None):
        yield from _of(rows(bill.narrowed_to(date.fromisoformat(day)), grain), account, cycle)


def _of(found: Iterable[Row], account: str, cycle: str) -> Iterator[Charge]:
    for row in found:
        yield Charge(
            account,
            cycle,
            str(row.position[0]),
            row_key(account, cycle, row),
            texts_of(row.body),
            dict(zip(READINGS, row.readings, strict=True)),
            dict(zip(AMOUNTS, [scaled(digits) for digits in amount_digits(row.amounts)], strict=True)),
        )


def rows(bill: Bill, grain: Grain) -> Iterator[Row]:
    """Every row of a bill, page after page."""
    page = bill.page(grain, Filters(), None, _PAGE)
    while page:
        yield from page
        page = bill.page(grain, Filters(), page[-1].position, _PAGE) if len(page) == _PAGE else []


@lru_cache(maxsize=65_536)
def texts_of(body: str) -> Mapping[str, str]:
    """The texts of a row."""
    texts: dict[str, str] = json.loads(f"{{{body}}}")
    return texts


def row_key(account: str, cycle: str, row: Row) -> str:
    """The digits that name a row, the same in every file that has it."""
    position = "\0".join((account, cycle, *map(str, row.position)))
    number = int.from_bytes(blake2b(position.encode(), digest_size=8).digest(), "big")
    return f"{number % 10**_KEY_DIGITS:0{_KEY_DIGITS}d}"


def customers(connection: sqlite3.Connection, account: str) -> frozenset[str]:
    """The accounts that pay through `account`."""
    found = connection.execute("SELECT uid FROM customer WHERE payer = ?", (account,))
    return frozenset(uid for (uid,) in found)


def payer_name(connection: sqlite3.Connection, account: str) -> str:
    """What the payer is called; its number where it is not known."""
    found = connection.execute("SELECT name FROM payer WHERE account = ?", (account,)).fetchone()
    return found[0] if found else account


def difference(first: str, second: str) -> str:
    """`first` minus `second`, exactly; `first` as it is where one of them is no number."""
    try:
        return format(Decimal(first) - Decimal(second), "f")
    except InvalidOperation:
        return first
