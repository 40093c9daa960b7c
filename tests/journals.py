"""Streams of a reseller written entry by entry, for what is folded from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from shared.chain.entry import Draft, Entry, Head
from shared.control import months
from shared.control.approvals import APPROVED
from shared.journal.postings import Posting

RESELLER = "aurora"
AT = "2025-07-03T05:00:00Z"


class Stream:
    """What was decided about one reseller; every method appends an entry and gives it."""

    def __init__(self, reseller: str = RESELLER) -> None:
        self.reseller = reseller
        self.entries: list[Entry] = []

    def add(self, kind: str, body: Mapping[str, Any], at: str = AT) -> Entry:
        head = self.entries[-1].head if self.entries else Head()
        self.entries.append(Entry.place(Draft(kind, "somebody", at, body), f"reseller/{self.reseller}", head))
        return self.entries[-1]

    def act(self, act: str, what: Mapping[str, Any]) -> Entry:
        return self.add(APPROVED, {"proposal": len(self.entries), "act": act, "what": dict(what)})

    def opening(self, *balances: tuple[str, str, str], as_of: str = "2025-06") -> Entry:
        listed = [{"agreement": one, "currency": currency, "amount": value} for one, currency, value in balances]
        return self.act(months.OPENING, {"document": "d", "as_of": as_of, "balances": listed})

    def lock(self, cycle: str, *statements: Mapping[str, Any], adjustments: Sequence[Entry] = ()) -> Entry:
        read = [one.body["proposal"] for one in adjustments]
        calculated = self.add(months.CALCULATED, {"cycle": cycle, "settlement": "s", "adjustments": read})
        what = {"cycle": cycle, "settlement": "s", "calculated": calculated.seq, "statements": list(statements)}
        return self.act(months.LOCK, what)

    def instruct(self, cycle: str, agreement: str, amount: str, withheld: str = "0", currency: str = "CNY") -> Entry:
        again = sum(
            1 for one in self.entries if one.body.get("agreement") == agreement and one.kind == months.INSTRUCTED
        )
        body = {
            "cycle": cycle,
            "instruction": f"{cycle}.{self.reseller}.{agreement}" + (f".{again + 1}" if again else ""),
            "agreement": agreement,
            "batch": "b",
            "amount": amount,
            **({"withheld": withheld} if withheld != "0" else {}),
            "currency": currency,
        }
        return self.add(months.INSTRUCTED, body)

    def answer(self, kind: str, instructed: Entry, part: str | None = None, reference: str = "bank-1") -> Entry:
        of = {name: instructed.body[name] for name in ("cycle", "instruction", "currency", "amount")}
        return self.add(kind, {**of, **({"paid": part} if part else {}), "reference": reference})

    def reopen(self, instructed: Entry, amount: str | None = None) -> Entry:
        """Reopen the rest of a payment, or all of it with what was withheld."""
        names = ["cycle", "instruction", "agreement", "currency"] + ([] if amount else ["withheld"])
        of = {name: instructed.body[name] for name in names if name in instructed.body}
        return self.act("reopen", {**of, "amount": amount or instructed.body["amount"]})


def statement(agreement: str, payable: str, tax: str = "0.00", currency: str = "CNY", **more: Any) -> dict[str, Any]:
    """What a lock says of an agreement's statement; its tax is inclusive unless a total is given."""
    return {"agreement": agreement, "currency": currency, "total": payable, "tax": tax, "payable": payable, **more}


def sums(postings: Sequence[Posting]) -> dict[str, str]:
    """What each account comes to, accounts of 0 left out."""
    found: dict[str, Decimal] = {}
    for one in postings:
        found[one.account] = found.get(one.account, Decimal(0)) + one.amount
    return {account: f"{value:f}" for account, value in found.items() if value}


def day(text: str) -> date:
    """A date as it is written."""
    return date.fromisoformat(text)
