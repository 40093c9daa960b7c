"""Whatever is decided in whatever order: every transaction balances, and journal and payout owe the same."""

from __future__ import annotations

from decimal import Decimal
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.chain.entry import Entry
from shared.control import months
from shared.journal.balances import balances
from shared.journal.ledger import PARTLY, REJECTED_BY_BANK, ledger, of_instruction, of_lock
from shared.journal.postings import IN_TRANSIT, Posting, owed_to
from shared.payout.batch import balance
from tests.journals import RESELLER, Stream, statement

CYCLES = ("2025-06", "2025-07", "2025-08", "2025-09")
AGREEMENTS = {"main": "CNY", "side": "CNY", "abroad": "USD"}
KINDS = ("commission", "retroactive", "cap", "floor", "adjustment", "holdback", "release")
CENT = Decimal("0.01")

cents = st.integers(-100_000, 100_000).map(lambda n: n * CENT)
gains = st.integers(1, 100_000).map(lambda n: n * CENT)


@st.composite
def statements(draw: st.DrawFn, agreement: str) -> dict[str, object]:
    kinds = draw(st.dictionaries(st.sampled_from(KINDS), cents.filter(bool), max_size=4))
    total, tax = sum(kinds.values(), Decimal("0.00")), draw(cents)
    payable = total + tax if draw(st.booleans()) else total
    said = statement(agreement, str(payable), str(tax), AGREEMENTS[agreement], total=str(total))
    if draw(st.booleans()):
        said["kinds"] = {kind: str(amount) for kind, amount in kinds.items()}
    if draw(st.booleans()):
        said["forfeits_below"] = str(draw(gains))
    return said


@st.composite
def decisions(draw: st.DrawFn, *, reopening: bool = True) -> list[Entry]:
    """A life: an opening perhaps, locks in order, what is due instructed, answers of every kind, reopenings."""
    stream, locked = Stream(), list(reversed(CYCLES))
    standing: list[Entry] = []
    adjusted: list[Entry] = []
    if draw(st.booleans()):
        stream.opening(("main", "CNY", str(draw(cents))), ("abroad", "USD", str(draw(cents))))
    does = ["lock", "adjust", "pay", "pay", "answer", "answer", *(["reopen"] if reopening else [])]
    for what in draw(st.lists(st.sampled_from(does), min_size=1, max_size=14)):
        if what == "lock" and locked:
            mine = draw(st.lists(st.sampled_from(sorted(AGREEMENTS)), unique=True, min_size=1))
            stream.lock(locked.pop(), *[draw(statements(one)) for one in mine], adjustments=adjusted)
            adjusted = []
        elif what == "adjust":
            given = {"agreement": "main", "cycle": CYCLES[0], "currency": "CNY", "amount": str(draw(cents))}
            adjusted.append(stream.act("adjustment", given))
        elif what == "pay" and len(locked) < len(CYCLES):
            agreement, cycle = draw(st.sampled_from(sorted(AGREEMENTS))), CYCLES[len(CYCLES) - len(locked) - 1]
            due = balance(stream.entries, agreement, cycle)
            if due > 0:
                withheld = due * draw(st.integers(0, 1)) / 4
                paid = (str(due - withheld), str(withheld), AGREEMENTS[agreement])
                standing.append(stream.instruct(cycle, agreement, *paid))
        elif what == "answer" and standing:
            kind = draw(st.sampled_from([months.CONFIRMED, PARTLY, months.RETURNED, REJECTED_BY_BANK]))
            one = draw(st.sampled_from(standing))
            stream.answer(kind, one, str(Decimal(one.body["amount"]) / 2) if kind == PARTLY else None)
        elif what == "reopen" and standing:
            stream.reopen(standing.pop(draw(st.integers(0, len(standing) - 1))))
    return stream.entries


def total(postings: list[Posting], account: str, currency: str) -> Decimal:
    return sum((one.amount for one in postings if (one.account, one.currency) == (account, currency)), Decimal(0))


@settings(max_examples=150, deadline=None)
@given(decisions(reopening=False))
def test_transactions_balance_and_every_balance_is_what_payouts_take_as_owed(entries: list[Entry]) -> None:
    books = ledger(entries)

    for _, found in groupby(books, key=lambda one: (one.entry, one.reference)):
        sides = list(found)
        assert sum(one.amount for one in sides) == 0
        assert len({(one.currency, one.day, one.act, one.agreement) for one in sides}) == 1
    for upto in (*CYCLES, ""):
        said = {one.agreement: one.balance for one in balances(books, upto)}
        for agreement in AGREEMENTS:
            assert said.get(agreement, 0) == balance(entries, agreement, upto or "9999-12"), (agreement, upto)
    for currency in set(AGREEMENTS.values()):
        owed = sum(one.balance for one in balances(books) if one.currency == currency)
        assert total(books, owed_to(RESELLER), currency) == -owed


@settings(max_examples=60, deadline=None)
@given(decisions())
def test_an_act_posts_in_its_file_what_the_whole_journal_says_of_it(entries: list[Entry]) -> None:
    """And what is posted is never posted otherwise once more is decided."""
    books, filed = ledger(entries), []
    for entry in entries:
        mine = f"{entry.stream}#{entry.seq}"
        if entry.kind == months.INSTRUCTED:
            assert of_instruction(entry) == [one for one in books if one.entry == mine]
        elif entry.kind == "approved" and entry.body["act"] == months.LOCK:
            filed += of_lock(entries, entry)
            assert of_lock(entries, entry) == of_lock(entries[: entry.seq], entry)
        assert books[: len(ledger(entries[: entry.seq]))] == ledger(entries[: entry.seq])
    assert filed in ([], [one for one in books if one.act in ("opening", "statement", "forfeited")])


@settings(max_examples=60, deadline=None)
@given(decisions())
def test_what_is_in_transit_is_what_neither_the_bank_nor_people_have_settled(entries: list[Entry]) -> None:
    by: dict[str, Decimal] = {}
    known = {one.body["instruction"] for one in entries if one.kind == months.INSTRUCTED}
    for one in ledger(entries):
        if one.account == IN_TRANSIT:
            instruction = next(name for name in sorted(known, reverse=True) if one.reference.startswith(name))
            by[instruction] = by.get(instruction, Decimal(0)) + one.amount

    assert all(value <= 0 for value in by.values())
    for entry in entries:
        if entry.kind == "approved" and entry.body["act"] == "reopen":
            assert by[entry.body["what"]["instruction"]] == 0
