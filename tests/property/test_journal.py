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
def decisions(draw: st.DrawFn) -> list[Entry]:
    """A life: an opening perhaps, locks in order, what is due instructed, answers of every kind, reopenings."""
    stream, locked = Stream(), list(reversed(CYCLES))
    paid: list[Entry] = []
    if draw(st.booleans()):
        stream.opening(("main", "CNY", str(draw(cents))), ("abroad", "USD", str(draw(cents))))
    for _ in range(draw(st.integers(1, 14))):
        does = draw(st.sampled_from(["lock", "adjust", "pay", "pay", "answer", "answer", "reopen"]))
        cycle = CYCLES[len(CYCLES) - len(locked) - 1] if len(locked) < len(CYCLES) else ""
        if does == "lock" and locked:
            mine = draw(st.lists(st.sampled_from(sorted(AGREEMENTS)), unique=True, min_size=1))
            stream.lock(locked.pop(), *[draw(statements(one)) for one in mine])
        elif does == "adjust":
            to = draw(st.sampled_from(CYCLES))
            stream.act("adjustment", {"agreement": "main", "cycle": to, "currency": "CNY", "amount": str(draw(cents))})
        elif does == "pay" and cycle:
            agreement = draw(st.sampled_from(sorted(AGREEMENTS)))
            due = balance(stream.entries, agreement, cycle)
            if due > 0 and not any(one.body["cycle"] == cycle and one.body["agreement"] == agreement for one in paid):
                withheld = due.quantize(CENT) * draw(st.integers(0, 1)) / 4
                currency = AGREEMENTS[agreement]
                paid.append(stream.instruct(cycle, agreement, str(due - withheld), str(withheld), currency))
        elif does == "answer" and paid:
            kind = draw(
                st.sampled_from([months.CONFIRMED, PARTLY, months.RETURNED, REJECTED_BY_BANK, months.CONTRADICTED])
            )
            one = draw(st.sampled_from(paid))
            part = Decimal(one.body["amount"]) / 2 if kind == PARTLY else None
            stream.answer(kind, one, None if part is None else str(part))
        elif does == "reopen" and paid:
            stream.reopen(paid.pop(draw(st.integers(0, len(paid) - 1))))
    return stream.entries


def reopened(entries: list[Entry], agreement: str) -> Decimal:
    """What people made due again."""
    mine = [one.body["what"] for one in entries if one.kind == "approved" and one.body["act"] == "reopen"]
    return sum((Decimal(one["amount"]) for one in mine if one["agreement"] == agreement), Decimal(0))


def total(postings: list[Posting], account: str, currency: str) -> Decimal:
    return sum((one.amount for one in postings if (one.account, one.currency) == (account, currency)), Decimal(0))


@settings(max_examples=150)
@given(decisions())
def test_transactions_balance_and_every_balance_is_what_payouts_take_as_owed(entries: list[Entry]) -> None:
    books = ledger(entries)

    for _, found in groupby(books, key=lambda one: (one.entry, one.reference)):
        sides = list(found)
        assert sum(one.amount for one in sides) == 0
        assert len({(one.currency, one.day, one.act, one.agreement) for one in sides}) == 1
    for upto in (*CYCLES, ""):
        said = {one.agreement: one.balance for one in balances(books, upto)}
        for agreement in AGREEMENTS:
            due = balance(entries, agreement, upto or "9999-12") + reopened(entries, agreement)
            assert said.get(agreement, 0) == due, (agreement, upto)
    for currency in set(AGREEMENTS.values()):
        owed = sum(one.balance for one in balances(books) if one.currency == currency)
        assert total(books, owed_to(RESELLER), currency) == -owed


@settings(max_examples=60)
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


@settings(max_examples=60)
@given(decisions())
def test_what_is_in_transit_is_what_neither_the_bank_nor_people_have_settled(entries: list[Entry]) -> None:
    by: dict[str, Decimal] = {}
    for one in ledger(entries):
        if one.account == IN_TRANSIT:
            instruction = ".".join(one.reference.split(".")[:3])
            by[instruction] = by.get(instruction, Decimal(0)) + one.amount

    assert all(value <= 0 for value in by.values())
    for entry in entries:
        if entry.kind == "approved" and entry.body["act"] == "reopen":
            assert by[entry.body["what"]["instruction"]] == 0
