"""The journal as a Beancount file: amounts as they are, and each transaction with the entry that decided it.

An id in an account's name begins with a capital letter there (`aurora` is `Liabilities:Resellers:Aurora`); ids hold no
capitals, so that no two become one. What people, or a bank, wrote stands in quoted text alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from itertools import groupby

from shared.journal.balances import Balance
from shared.journal.postings import Posting, owed_to
from shared.money import EXACT

_UNPRINTED = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


def to_beancount(postings: Sequence[Posting], closing: Iterable[Balance] = (), title: str = "Clearbook") -> bytes:
    """The postings in the order of their days; with `closing`, the balances that the file must come to at its end."""
    ordered = sorted(postings, key=lambda one: one.day)  # of one day as they were decided
    lines = [f'option "title" {_quoted(title)}']
    lines += [f'option "operating_currency" "{currency}"' for currency in sorted({one.currency for one in ordered})]
    lines += ["", *_opens(ordered)]
    for _, found in groupby(ordered, key=lambda one: (one.entry, one.reference)):
        lines += ["", *_transaction(list(found))]
    if ordered:
        lines += ["", *_assertions(_by_account(closing), ordered[-1].day + timedelta(days=1))]
    return ("\n".join(lines).rstrip("\n") + "\n").encode()


def account_name(account: str) -> str:
    """The account as Beancount takes it."""
    return ":".join(part[:1].upper() + part[1:] for part in account.split(":"))


def _opens(postings: Sequence[Posting]) -> Iterator[str]:
    """Every account, from the first day on, and the currencies that it may hold."""
    held: dict[str, set[str]] = {}
    for one in postings:
        held.setdefault(account_name(one.account), set()).add(one.currency)
    for account, currencies in sorted(held.items()):
        yield f"{postings[0].day} open {account} {','.join(sorted(currencies))}"


def _transaction(postings: Sequence[Posting]) -> Iterator[str]:
    first = postings[0]
    yield f"{first.day} * {_quoted(first.reseller)} {_quoted(first.memo)}"
    for name, value in (
        *(("reference", first.reference), ("act", first.act), ("agreement", first.agreement)),
        *(("cycle", first.cycle), ("entry", first.entry), ("hash", first.hash)),
    ):
        yield f"  {name}: {_quoted(value)}"
    for one in postings:
        yield f"  {account_name(one.account)}  {one.amount:f} {one.currency}"


def _by_account(closing: Iterable[Balance]) -> Mapping[tuple[str, str], Decimal]:
    """What is owed by account and currency, as its account has it: below 0."""
    sums: dict[tuple[str, str], Decimal] = {}
    for one in closing:
        key = (account_name(owed_to(one.reseller)), one.currency)
        sums[key] = EXACT.subtract(sums.get(key, Decimal(0)), one.balance)
    return sums


def _assertions(sums: Mapping[tuple[str, str], Decimal], day: date) -> Iterator[str]:
    """Balances without any tolerance: Beancount would else take half a unit of the last digit for nothing."""
    for (account, currency), amount in sorted(sums.items()):
        yield f"{day} balance {account}  {amount:f} ~ 0 {currency}"


def _quoted(value: str) -> str:
    """Text that ends where it ends: quotes and backslashes are escaped, what cannot be printed is a space."""
    plain = _UNPRINTED.sub(" ", value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{plain}"'
