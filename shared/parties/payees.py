"""Payees: whom a reseller's money goes to, from when, and whether it is to be paid at all.

A payee is paid once its waiting period is over: whoever takes over a mailbox has days against them, not minutes. The
newest one that was approved counts, also while it waits: then nothing is paid, neither to it nor to the one before.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

PAYEE, PAYOUTS_ON = "payee", "payouts_on"  # acts
BANK, WALLET = "bank", "wallet"
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Za-z0-9]{11,30}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Change:
    """A payee that was approved."""

    payee: str  # the digest of its document, or of the party document's payee
    approved: date
    waiting_days: int

    @property
    def effective(self) -> date:
        """The first day on which it is paid."""
        return self.approved + timedelta(days=self.waiting_days)


def newest(acts: Iterable[tuple[date, Mapping[str, Any]]], currency: str) -> Change | None:
    """The payee for a currency among approved acts, in their order: one of that currency goes before one of all."""
    found: dict[str, Change] = {}
    for day, what in acts:
        found[what["currency"]] = Change(what["payee"], day, what["waiting_days"])
    return found.get(currency) or found.get("")


def is_on(acts: Iterable[Mapping[str, Any]], cycle: str) -> bool:
    """Whether a reseller is paid in a cycle, by what was approved in order; not before somebody switches it on."""
    on = False
    for what in acts:
        if what["cycle"] <= cycle:
            on = bool(what["on"])
    return on


def bare(account: str) -> str:
    """An account without the blanks that make it readable."""
    return account.replace(" ", "")


def is_iban(account: str) -> bool:
    """Whether it is an IBAN, by its form and check digits."""
    number = bare(account)
    if not _IBAN.fullmatch(number):
        return False
    return int("".join(str(int(one, 36)) for one in number[4:] + number[:4])) % 97 == 1
