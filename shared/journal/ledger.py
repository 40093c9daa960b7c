"""The journal of a reseller: the fold of its chain stream into transactions that balance.

A lock posts what its statements say: commission by kind, input tax, what is held back and released, and what is owed.
An instruction turns what is owed into a payment in transit; the bank's answers take it from the bank, or bring it
back. What is rejected or returned stays in transit until people reopen it: then it is owed again.
Adjustments that people approved and corrections of earlier months stand apart: the settlement that is locked names the
approved ones that it has read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import APPROVED
from shared.cycle import Cycle
from shared.journal.postings import (
    BANK,
    COMMISSION,
    FORFEITED,
    IN_TRANSIT,
    INPUT_TAX,
    OPENING_EQUITY,
    WITHHOLDING_TAX,
    Posting,
    Subject,
    UnbalancedError,
    held_of,
    owed_to,
    reseller_of,
    transaction,
)
from shared.money import EXACT, Mode, rounded, total

PARTLY, REJECTED_BY_BANK = "partly_confirmed", "rejected_by_bank"  # kinds of entries: what the bank answers
REOPEN, ADJUSTMENT = "reopen", "adjustment"  # acts

# What a transaction is; of these the first six change what is owed.
OPENED, LOCKED, FORFEIT, PAID, REOPENED = "opening", "statement", "forfeited", "paid", "reopened"
CONFIRMED, CAME_BACK = "confirmed", "came_back"

# Where the kinds of a statement's lines are posted; what is of no other kind is commission.
_KINDS = {
    "retroactive": f"{COMMISSION}:Retroactive",
    "cap": f"{COMMISSION}:Caps",
    "floor": f"{COMMISSION}:Floors",
}
_ADJUSTED, _CORRECTED = f"{COMMISSION}:Adjustments", f"{COMMISSION}:Corrections"
_HELD = ("holdback", "release")


@dataclass(slots=True)
class _Payment:
    """What became of an instruction."""

    of: Subject
    amount: Decimal
    confirmed: Decimal = Decimal(0)
    returned: Decimal = Decimal(0)  # or rejected
    reopened: Decimal = Decimal(0)


@dataclass(slots=True)
class _Books:
    """What the fold knows at an entry."""

    postings: list[Posting] = field(default_factory=list)
    owed: dict[str, Decimal] = field(default_factory=dict)  # by agreement
    payments: dict[str, _Payment] = field(default_factory=dict)  # by instruction
    adjustments: dict[int, Mapping[str, Any]] = field(default_factory=dict)  # approved, by the seq of their proposal
    read: dict[int, Sequence[int]] = field(default_factory=dict)  # which of them a settlement has, by its seq

    def post(self, postings: Sequence[Posting]) -> None:
        """Take a transaction in."""
        for one in postings:
            self.postings.append(one)
            if one.account == owed_to(one.reseller):
                before = self.owed.get(one.agreement, Decimal(0))
                self.owed[one.agreement] = EXACT.subtract(before, one.amount)


def ledger(entries: Sequence[Entry]) -> list[Posting]:
    """The postings of a reseller's stream: its opening, then what each decision comes to, in the stream's order."""
    books = _Books()
    for postings in _opening(entries):
        books.post(postings)
    for entry in entries:
        for postings in _of_entry(entry, books):
            books.post(postings)
    return books.postings


def of_lock(entries: Sequence[Entry], lock: Entry) -> list[Posting]:
    """What the lock of a month posts; a reseller's first lock also the opening, which stands from then on."""
    before = [entry for entry in entries if entry.seq < lock.seq]
    is_first = not any(_is_act(entry, months.LOCK) for entry in before)
    mine = f"{lock.stream}#{lock.seq}"
    return [one for one in ledger([*before, lock]) if one.entry == mine or (is_first and one.act == OPENED)]


def of_instruction(entry: Entry) -> list[Posting]:
    """An instruction discharges what is owed; what is withheld is owed to the tax office instead."""
    body = entry.body
    instruction, amount, withheld = body["instruction"], Decimal(body["amount"]), Decimal(body.get("withheld", "0"))
    sides = [
        (owed_to(reseller_of(entry)), EXACT.add(amount, withheld)),
        (IN_TRANSIT, EXACT.minus(amount)),
        (WITHHOLDING_TAX, EXACT.minus(withheld)),
    ]
    return transaction(entry, PAID, _subject(body), instruction, f"payout {instruction}", sides)


def _of_entry(entry: Entry, books: _Books) -> Iterator[list[Posting]]:
    if entry.kind == months.INSTRUCTED:
        body = entry.body
        books.payments[body["instruction"]] = _Payment(_subject(body), Decimal(body["amount"]))
        yield of_instruction(entry)
    elif entry.kind in (months.CONFIRMED, PARTLY):
        yield _taken(entry, _payment(entry, entry.body, books))
    elif entry.kind in (months.RETURNED, REJECTED_BY_BANK):
        yield _came_back(entry, _payment(entry, entry.body, books))
    elif _is_act(entry, REOPEN):
        yield from _reopened(entry, entry.body["what"], books)
    elif _is_act(entry, ADJUSTMENT):
        books.adjustments[entry.body["proposal"]] = entry.body["what"]
    elif entry.kind == months.CALCULATED:
        books.read[entry.seq] = entry.body.get("adjustments", ())
    elif _is_act(entry, months.LOCK):
        for statement in entry.body["what"]["statements"]:
            yield _statement(entry, statement, books)
            yield _forfeit(entry, statement, books)  # of what is owed with the statement


def _is_act(entry: Entry, act: str) -> bool:
    return entry.kind == APPROVED and bool(entry.body["act"] == act)


def _subject(body: Mapping[str, Any]) -> Subject:
    return Subject(body["agreement"], body["cycle"], body["currency"])


# -- what is owed -------------------------------------------------------------------------------------------------


def _opening(entries: Sequence[Entry]) -> Iterator[list[Posting]]:
    """What was owed to the reseller, or by it, when the books begin: on the first day of the first cycle."""
    entry = next((one for one in reversed(entries) if _is_act(one, months.OPENING)), None)
    if entry is None:
        return
    what = entry.body["what"]
    reseller, as_of = reseller_of(entry), Cycle.parse(what["as_of"])
    for one in what["balances"]:
        amount = Decimal(one["amount"])
        sides = [(OPENING_EQUITY, amount), (owed_to(reseller), EXACT.minus(amount))]
        of = Subject(one["agreement"], str(as_of), one["currency"])
        memo = f"{reseller} {of.agreement} opening balance"
        yield transaction(entry, OPENED, of, _reference(of, reseller, ".opening"), memo, sides, as_of.first)


def _statement(lock: Entry, statement: Mapping[str, Any], books: _Books) -> list[Posting]:
    """Commission and input tax are owed to the reseller from the day the month is locked.

    Commission is what no other kind says: all of it in locks that tell no kinds; less its tax where that is inclusive.
    """
    what, reseller = lock.body["what"], reseller_of(lock)
    of = Subject(statement["agreement"], what["cycle"], statement["currency"])
    payable, tax = Decimal(statement["payable"]), Decimal(statement["tax"])
    others = _others(lock, statement, books)
    net = EXACT.subtract(payable, tax)
    sides = [
        (COMMISSION, EXACT.subtract(net, total([amount for _, amount in others]))),
        *others,
        (INPUT_TAX, tax),
        (owed_to(reseller), EXACT.minus(payable)),
    ]
    memo = f"{reseller} {of.agreement} {of.cycle}"
    return transaction(lock, LOCKED, of, _reference(of, reseller), memo, sides)


def _others(lock: Entry, statement: Mapping[str, Any], books: _Books) -> list[tuple[str, Decimal]]:
    """What of a statement's total is no commission of the month by its rules: the account and amount of each."""
    if "kinds" not in statement:
        return []
    kinds = {kind: Decimal(amount) for kind, amount in statement["kinds"].items()}
    if total(list(kinds.values())) != Decimal(statement["total"]):
        problem = f"the kinds of {statement['agreement']} are not its total"
        raise UnbalancedError(f"{lock.stream}#{lock.seq}: {problem}; report this")
    adjusted = _adjusted(lock, statement, books)
    none = Decimal(0)
    return [
        *((account, kinds.get(kind, none)) for kind, account in _KINDS.items()),
        (_ADJUSTED, adjusted),
        (_CORRECTED, EXACT.subtract(kinds.get("adjustment", none), adjusted)),
        (held_of(reseller_of(lock)), total([kinds.get(kind, none) for kind in _HELD])),
    ]


def _adjusted(lock: Entry, statement: Mapping[str, Any], books: _Books) -> Decimal:
    """What of a statement are adjustments that people approved, at the statement's places."""
    read = [books.adjustments[seq] for seq in books.read.get(lock.body["what"]["calculated"], ())]
    mine = [Decimal(one["amount"]) for one in read if one["agreement"] == statement["agreement"]]
    places = max(0, -int(Decimal(statement["total"]).as_tuple().exponent))
    return rounded(total(mine), places, Mode.HALF_UP)


def _forfeit(lock: Entry, statement: Mapping[str, Any], books: _Books) -> list[Posting]:
    """A balance that is below the minimum and not carried forward is owed no more."""
    reseller, owed = reseller_of(lock), books.owed.get(statement["agreement"], Decimal(0))
    lost = owed if 0 < owed < Decimal(statement.get("forfeits_below", "0")) else Decimal(0)
    of = Subject(statement["agreement"], lock.body["what"]["cycle"], statement["currency"])
    sides = [(owed_to(reseller), lost), (FORFEITED, EXACT.minus(lost))]
    memo = f"{reseller} {of.agreement} {of.cycle} below the minimum"
    return transaction(lock, FORFEIT, of, _reference(of, reseller, ".forfeit"), memo, sides)


def _reference(of: Subject, reseller: str, end: str = "") -> str:
    return f"{of.cycle}.{reseller}.{of.agreement}{end}"


# -- payments -----------------------------------------------------------------------------------------------------


def _payment(entry: Entry, body: Mapping[str, Any], books: _Books) -> _Payment:
    found = books.payments.get(body["instruction"])
    if found is None:
        problem = f"{body['instruction']} was never instructed"
        raise UnbalancedError(f"{entry.stream}#{entry.seq}: {problem}; keep the chain as it is and call an auditor")
    return found


def _taken(entry: Entry, payment: _Payment) -> list[Posting]:
    """What the bank has paid leaves it: a part of the instruction, or once it is confirmed all that is left of it.

    The answer that it came back may have come first: then nothing has left.
    """
    gone = EXACT.add(payment.confirmed, max(payment.returned, payment.reopened))
    left = EXACT.subtract(payment.amount, gone)
    paid = min(left, Decimal(entry.body.get("paid", left)))  # a part is named
    payment.confirmed = EXACT.add(payment.confirmed, paid)
    return _of_payment(entry, CONFIRMED, payment, [(IN_TRANSIT, paid), (BANK, EXACT.minus(paid))])


def _came_back(entry: Entry, payment: _Payment) -> list[Posting]:
    """What had been confirmed and came back is at the bank again, and in transit until people reopen it."""
    returned = Decimal(entry.body["amount"])
    payment.returned = EXACT.add(payment.returned, returned)
    back = min(payment.confirmed, returned)
    payment.confirmed = EXACT.subtract(payment.confirmed, back)
    return _of_payment(entry, CAME_BACK, payment, [(BANK, back), (IN_TRANSIT, EXACT.minus(back))])


def _reopened(entry: Entry, what: Mapping[str, Any], books: _Books) -> Iterator[list[Posting]]:
    """What people reopen is owed again, with what was withheld of it. What of it the bank had confirmed, with no answer
    that took it back, is at the bank again by their word."""
    payment, amount, withheld = (
        _payment(entry, what, books),
        Decimal(what["amount"]),
        Decimal(what.get("withheld", "0")),
    )
    payment.reopened = EXACT.add(payment.reopened, amount)
    too_much = EXACT.subtract(EXACT.add(payment.confirmed, payment.reopened), payment.amount)
    back = min(payment.confirmed, max(Decimal(0), too_much))
    payment.confirmed = EXACT.subtract(payment.confirmed, back)
    yield _of_payment(entry, CAME_BACK, payment, [(BANK, back), (IN_TRANSIT, EXACT.minus(back))])
    owed = EXACT.minus(EXACT.add(amount, withheld))
    sides = [(IN_TRANSIT, amount), (WITHHOLDING_TAX, withheld), (owed_to(reseller_of(entry)), owed)]
    yield _of_payment(entry, REOPENED, payment, sides)


def _of_payment(entry: Entry, act: str, payment: _Payment, sides: list[tuple[str, Decimal]]) -> list[Posting]:
    body = entry.body.get("what", entry.body)
    instruction, said = body["instruction"], body.get("reference", "")
    memo = f"payout {instruction} {act.replace('_', ' ')}" + (f", {said}" if said else "")
    return transaction(entry, act, payment.of, f"{instruction}.{act}", memo, sides)
