"""The books of a reseller: what each decision posts, the Beancount file, the commands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from beancount import loader
from beancount.core import data

from infra.clearbook import journal as command
from infra.clearbook import main
from shared.chain.entry import Draft
from shared.control import months
from shared.control.approvals import APPROVED
from shared.errors import BadInputError
from shared.journal.balances import Balance, balances
from shared.journal.beancount import to_beancount
from shared.journal.kinds import kinds_of
from shared.journal.ledger import PARTLY, REJECTED_BY_BANK, ledger
from shared.journal.postings import Posting, Subject, UnbalancedError, to_csv, transaction
from shared.steps import books
from tests.builders import CYCLE, agreement, parties
from tests.journals import Stream, statement, sums
from tests.pump import World, go_live, small_month

JULY = "2025-07"
OWED, HELD = "Liabilities:Resellers:aurora", "Liabilities:Holdback:aurora"


# -- statements ---------------------------------------------------------------------------------------------------


def test_a_lock_tells_commission_by_kind_and_what_is_held_back() -> None:
    stream = Stream()
    kinds = {"commission": "100.00", "retroactive": "7.00", "cap": "-20.00", "floor": "3.00", "holdback": "-10.00"}
    stream.lock(CYCLE, statement("main", "84.80", "4.80", total="80.00", kinds=kinds))

    assert sums(ledger(stream.entries)) == {
        "Expenses:Commission": "100.00",
        "Expenses:Commission:Retroactive": "7.00",
        "Expenses:Commission:Caps": "-20.00",
        "Expenses:Commission:Floors": "3.00",
        "Assets:InputTax": "4.80",
        HELD: "-10.00",
        OWED: "-84.80",
    }


def test_what_was_held_back_is_no_longer_a_liability_once_it_is_released() -> None:
    stream = Stream()
    stream.lock(CYCLE, statement("main", "90.00", kinds={"commission": "100.00", "holdback": "-10.00"}))
    assert [one.held for one in balances(ledger(stream.entries))] == [Decimal("10.00")]
    stream.lock(JULY, statement("main", "60.00", kinds={"commission": "50.00", "release": "10.00"}))

    assert sums(ledger(stream.entries)) == {"Expenses:Commission": "150.00", OWED: "-150.00"}


def test_tax_that_is_inclusive_is_no_commission() -> None:
    stream = Stream()
    stream.lock(CYCLE, statement("main", "106.00", "6.00", kinds={"commission": "106.00"}))

    assert sums(ledger(stream.entries)) == {"Expenses:Commission": "100.00", "Assets:InputTax": "6.00", OWED: "-106.00"}


def test_a_lock_that_tells_no_kinds_posts_all_as_commission() -> None:
    stream = Stream()
    stream.lock(CYCLE, statement("main", "90.00"))

    assert sums(ledger(stream.entries)) == {"Expenses:Commission": "90.00", OWED: "-90.00"}


def adjustment(cycle: str, amount: str, agreement: str = "main") -> dict[str, str]:
    return {"agreement": agreement, "cycle": cycle, "currency": "CNY", "amount": amount}


def test_adjustments_that_people_approved_and_corrections_of_earlier_months_stand_apart() -> None:
    stream = Stream()
    read = [
        stream.act("adjustment", adjustment(CYCLE, "5.00")),
        stream.act("adjustment", adjustment(CYCLE, "7", "side")),
    ]
    stream.act("adjustment", adjustment(CYCLE, "70.00"))  # approved after it was calculated
    said = statement("main", "102.00", kinds={"commission": "100.00", "adjustment": "2.00"})
    stream.lock(CYCLE, said, adjustments=read)

    posted = sums(ledger(stream.entries))
    assert posted["Expenses:Commission:Adjustments"] == "5.00"
    assert posted["Expenses:Commission:Corrections"] == "-3.00"
    assert posted["Expenses:Commission"] == "100.00"


def test_an_adjustment_with_more_places_than_the_statement_is_rounded_and_what_it_leaves_is_a_correction() -> None:
    stream = Stream()
    read = stream.act("adjustment", adjustment(CYCLE, "5.005"))
    stream.lock(CYCLE, statement("main", "5.00", kinds={"adjustment": "5.00"}), adjustments=[read])

    posted = sums(ledger(stream.entries))
    assert posted["Expenses:Commission:Adjustments"] == "5.01"
    assert posted["Expenses:Commission:Corrections"] == "-0.01"


def test_kinds_that_are_not_the_total_are_refused() -> None:
    stream = Stream()
    stream.lock(CYCLE, statement("main", "90.00", kinds={"commission": "91.00"}))

    with pytest.raises(UnbalancedError, match="the kinds of main are not its total"):
        ledger(stream.entries)


def test_the_kinds_of_a_statement_are_its_rounded_lines() -> None:
    lines = [("commission", "1.00"), ("commission", "2.005"), ("cap", "-0.50"), ("floor", "1.00"), ("floor", "-1.00")]
    found = kinds_of({"places": 3, "lines": [{"kind": kind, "amount": amount} for kind, amount in lines]})

    assert found == {"commission": "3.005", "cap": "-0.500"}


def test_postings_that_leave_something_are_refused() -> None:
    entry, of = Stream().lock(CYCLE), Subject("main", CYCLE, "CNY")

    with pytest.raises(UnbalancedError, match=r"2025-06\.x leave 0.01 CNY"):
        transaction(entry, "statement", of, "2025-06.x", "", [("A", Decimal("1.00")), ("B", Decimal("-0.99"))])


# -- payments -----------------------------------------------------------------------------------------------------


def paid(amount: str = "160.00", withheld: str = "0") -> tuple[Stream, Any]:
    stream = Stream()
    stream.lock(CYCLE, statement("main", str(Decimal(amount) + Decimal(withheld))))
    return stream, stream.instruct(CYCLE, "main", amount, withheld)


def settled(stream: Stream) -> dict[str, str]:
    """What the journal comes to, but for the expense."""
    return {account: value for account, value in sums(ledger(stream.entries)).items() if "Commission" not in account}


def test_a_payment_is_in_transit_until_the_bank_has_confirmed_it() -> None:
    stream, one = paid("150.00", "10.00")
    assert settled(stream) == {"Assets:PayoutsInTransit": "-150.00", "Liabilities:WithholdingTax": "-10.00"}

    stream.answer(months.CONFIRMED, one)
    assert settled(stream) == {"Assets:Bank": "-150.00", "Liabilities:WithholdingTax": "-10.00"}


@pytest.mark.parametrize("kind", [months.RETURNED, REJECTED_BY_BANK])
def test_what_the_bank_rejects_or_returns_is_owed_again_only_when_people_reopen_it(kind: str) -> None:
    stream, one = paid()
    stream.answer(kind, one)
    assert settled(stream) == {"Assets:PayoutsInTransit": "-160.00"}

    stream.reopen(one)
    assert settled(stream) == {OWED: "-160.00"}
    assert [one.balance for one in balances(ledger(stream.entries))] == [Decimal("160.00")]


@pytest.mark.parametrize("kind", [months.RETURNED, REJECTED_BY_BANK])
def test_a_payment_that_comes_back_after_it_was_confirmed_is_at_the_bank_again(kind: str) -> None:
    stream, one = paid()
    stream.answer(months.CONFIRMED, one)
    stream.answer(kind, one)

    assert settled(stream) == {"Assets:PayoutsInTransit": "-160.00"}
    stream.reopen(one)
    assert settled(stream) == {OWED: "-160.00"}


def test_the_answer_that_a_payment_came_back_may_come_before_the_one_that_it_was_made() -> None:
    stream, one = paid()
    stream.answer(months.RETURNED, one)
    stream.answer(months.CONFIRMED, one)

    assert settled(stream) == {"Assets:PayoutsInTransit": "-160.00"}
    stream.reopen(one)
    assert settled(stream) == {OWED: "-160.00"}


def test_what_was_withheld_of_a_payment_that_is_reopened_is_owed_again_too() -> None:
    stream, one = paid("150.00", "10.00")
    stream.answer(months.RETURNED, one)
    stream.reopen(one)

    assert settled(stream) == {OWED: "-160.00"}
    [left] = balances(ledger(stream.entries))
    assert (left.balance, left.withheld, left.reopened) == (Decimal("160.00"), Decimal(0), Decimal("160.00"))


def test_a_payment_that_was_made_again_is_another() -> None:
    stream, one = paid()
    stream.answer(months.RETURNED, one)
    stream.reopen(one)
    two = stream.instruct(CYCLE, "main", "160.00")
    stream.answer(months.CONFIRMED, two)

    assert two.body["instruction"] == f"{CYCLE}.aurora.main.2"
    assert settled(stream) == {"Assets:Bank": "-160.00"}


def test_a_part_that_the_bank_has_paid_leaves_it_and_the_rest_stays_in_transit() -> None:
    stream, one = paid()
    stream.answer(PARTLY, one, "100.00")
    assert settled(stream) == {"Assets:Bank": "-100.00", "Assets:PayoutsInTransit": "-60.00"}

    stream.answer(months.CONFIRMED, one)
    assert settled(stream) == {"Assets:Bank": "-160.00"}


def test_the_rest_of_a_partly_confirmed_payment_can_be_reopened() -> None:
    stream, one = paid()
    stream.answer(PARTLY, one, "100.00")
    stream.reopen(one, "60.00")

    assert settled(stream) == {"Assets:Bank": "-100.00", OWED: "-60.00"}
    stream.answer(months.CONFIRMED, one)  # of what is left of it: nothing
    assert settled(stream) == {"Assets:Bank": "-100.00", OWED: "-60.00"}


def test_a_contradiction_posts_nothing_and_what_people_make_of_it_does() -> None:
    """The bank confirmed, then said otherwise: by reopening it people say that the money came back."""
    stream, one = paid()
    stream.answer(months.CONFIRMED, one)
    before = len(ledger(stream.entries))
    stream.answer(months.CONTRADICTED, one)
    assert len(ledger(stream.entries)) == before

    stream.reopen(one)
    assert settled(stream) == {OWED: "-160.00"}


def test_an_answer_to_what_was_never_instructed_is_named() -> None:
    stream, one = paid()
    stream.entries.remove(one)
    stream.answer(months.CONFIRMED, one)

    with pytest.raises(UnbalancedError, match=r"2025-06\.aurora\.main was never instructed"):
        ledger(stream.entries)


# -- balances -----------------------------------------------------------------------------------------------------


def test_balances_say_what_is_carried_paid_and_owed_back_as_of_a_month_and_now() -> None:
    """Opened with 40.00, June 60.00, both paid; July owes 30.00 back and carries it."""
    stream = Stream()
    stream.opening(("main", "CNY", "40.00"))
    stream.lock(CYCLE, statement("main", "60.00"))
    stream.instruct(CYCLE, "main", "95.00", "5.00")
    stream.lock(JULY, statement("main", "-30.00"))
    found = {upto: balances(ledger(stream.entries), upto)[0] for upto in (CYCLE, JULY, "")}

    def figures(upto: str, *names: str) -> list[str]:
        return [f"{getattr(found[upto], name):f}" for name in names]

    named = ("carried", "payable", "paid", "withheld", "balance", "clawback")
    assert figures(CYCLE, *named) == ["40.00", "60.00", "100.00", "5.00", "0.00", "0"]
    assert figures(JULY, *named) == ["0.00", "-30.00", "0", "0", "-30.00", "30.00"]
    assert figures("", *named) == ["40.00", "30.00", "100.00", "5.00", "-30.00", "30.00"]


def test_of_openings_the_last_counts() -> None:
    stream = Stream()
    stream.opening(("main", "CNY", "40.00"))
    stream.opening(("main", "CNY", "41.00"))

    assert sums(ledger(stream.entries)) == {"Equity:Opening": "41.00", OWED: "-41.00"}


def test_agreements_and_currencies_are_not_added_up() -> None:
    stream = Stream()
    stream.lock(CYCLE, statement("main", "60.00"), statement("side", "-1.00"), statement("abroad", "9.00", "0", "USD"))

    found = [(one.agreement, one.currency, one.balance) for one in balances(ledger(stream.entries))]
    assert found == [("abroad", "USD", Decimal(9)), ("main", "CNY", Decimal(60)), ("side", "CNY", Decimal(-1))]


# -- Beancount ----------------------------------------------------------------------------------------------------


def checked(body: bytes) -> tuple[Sequence[Any], list[str]]:
    """What bean-check reads of a file, and what it finds."""
    entries, errors, _ = loader.load_string(body.decode())
    return entries, [str(one.message) for one in errors]


def accounts(entries: Sequence[Any]) -> dict[tuple[str, str], Decimal]:
    """The balances of accounts by what Beancount has read; those of 0 are left out."""
    found: dict[tuple[str, str], Decimal] = {}
    for posting in (one for entry in entries if isinstance(entry, data.Transaction) for one in entry.postings):
        assert posting.units is not None
        assert isinstance(posting.units.number, Decimal)
        key = (posting.account, posting.units.currency)
        found[key] = found.get(key, Decimal(0)) + posting.units.number
    return {key: amount for key, amount in found.items() if amount}


def lived() -> Stream:
    """A stream with everything that is posted, in two currencies."""
    stream = Stream()
    stream.opening(("main", "CNY", "250.1234"), ("abroad", "USD", "-3"))
    kinds = {"commission": "100.00", "holdback": "-10.00", "adjustment": "-0.01"}
    stream.lock(
        CYCLE,
        statement("main", "95.38", "5.39", total="89.99", kinds=kinds),
        statement("abroad", "50.00", currency="USD", forfeits_below="100.00"),
    )
    one = stream.instruct(CYCLE, "main", "345.5034")
    stream.answer(months.CONFIRMED, one)
    stream.answer(months.RETURNED, one, reference='"} \\ 2025-07-01 open X ; \n2025-01-01 close Assets:Bank')
    stream.reopen(one)
    return stream


def test_bean_check_accepts_the_journal_and_adds_it_up_to_the_same() -> None:
    found = ledger(lived().entries)
    entries, problems = checked(to_beancount(found, balances(found)))

    assert problems == []
    known = accounts(entries)
    assert known[("Liabilities:Resellers:Aurora", "CNY")] == Decimal("-345.5034")
    assert ("Liabilities:Resellers:Aurora", "USD") not in known  # forfeited
    assert known[("Income:Forfeited", "USD")] == -47
    written = [one for one in entries if isinstance(one, data.Transaction)]
    assert sorted(str(one.meta["entry"]) for one in written) == sorted(
        entry for entry, _ in {(one.entry, one.reference) for one in found}
    )
    assert {str(one.meta["hash"]) for one in written} <= {one.hash for one in lived().entries}
    assert [one.date for one in entries] == sorted(one.date for one in entries)


def test_every_amount_stands_in_the_beancount_file_as_it_is() -> None:
    found = ledger(lived().entries)
    body = to_beancount(found).decode()

    for one in found:
        assert f"  {one.amount:f} {one.currency}\n" in body


def test_bean_check_finds_an_amount_that_was_changed_by_the_last_digit() -> None:
    """Both sides of a transaction: it balances, and the balance at the end does not hold."""
    found = ledger(lived().entries)
    body = to_beancount(found, balances(found)).decode()
    changed = body.replace("Income:Forfeited  -47.00", "Income:Forfeited  -47.01").replace(
        "Resellers:Aurora  47.00", "Resellers:Aurora  47.01"
    )
    assert body != changed

    _, problems = checked(changed.encode())
    assert any("Balance failed for 'Liabilities:Resellers:Aurora'" in one for one in problems)


def test_what_a_bank_wrote_is_text_in_the_beancount_file_and_in_the_csv() -> None:
    found = ledger(lived().entries)
    entries, _ = checked(to_beancount(found))

    assert not any(isinstance(one, data.Close) for one in entries)
    rows = list(csv.DictReader(io.StringIO(to_csv(found).decode("utf-8-sig"), newline="")))
    assert len(rows) == len(found)
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())


def test_an_empty_journal_is_a_file_too() -> None:
    assert checked(to_beancount([], [])) == ([], [])


# -- a month ------------------------------------------------------------------------------------------------------


def decided(world: World, kind: str, body: dict[str, Any], reseller: str = "aurora") -> None:
    """Let somebody have decided it."""
    world.services.chain.append(f"reseller/{reseller}", lambda _: Draft(kind, "somebody", world.at, body))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """June is locked and paid; aurora's payment is confirmed, borealis's is returned and reopened."""
    world = World(tmp_path_factory.mktemp("world"))
    small_month(world)
    go_live(world)
    world.final()
    world.lock()
    world.pay()
    aurora, borealis = (f"{CYCLE}.{one}.{one}-2025" for one in ("aurora", "borealis"))
    world.bank_answers("a", (aurora, "confirmed", "160.00", "CNY", "x"), (borealis, "returned", "15.00", "CNY", "y"))
    of = {"instruction": borealis, "agreement": "borealis-2025", "cycle": CYCLE, "currency": "CNY"}
    what = {**of, "amount": "15.00", "because": "the account was closed"}
    decided(world, APPROVED, {"proposal": 1, "act": "reopen", "what": what}, "borealis")
    return world


def test_the_journal_of_a_month_passes_bean_check(world: World) -> None:
    body, found = command.export(world.services, None, [], "beancount")
    entries, problems = checked(body)

    assert problems == []
    assert accounts(entries) == {
        ("Assets:Bank", "CNY"): Decimal("-160.00"),
        ("Expenses:Commission", "CNY"): Decimal("175.00"),
        ("Liabilities:Resellers:Borealis", "CNY"): Decimal("-15.00"),
    }
    assert {one.act for one in found} == {"statement", "paid", "confirmed", "reopened"}


def test_the_files_of_a_month_are_what_the_journal_says_of_their_acts(world: World) -> None:
    found = books.journal(world.services)

    def rows(mine: Sequence[Posting]) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(to_csv(mine).decode("utf-8-sig"), newline="")))

    filed: dict[str, list[dict[str, str]]] = {}
    for key in world.keys("records", f"journal/{CYCLE}/"):
        name = key.removeprefix(f"journal/{CYCLE}/").partition("-")[0]
        text = world.cloud.records.get(key).decode("utf-8-sig")
        filed[name] = list(csv.DictReader(io.StringIO(text, newline="")))
    for reseller in ("aurora", "borealis"):
        mine = [one for one in found if one.reseller == reseller]
        assert filed[reseller] == rows([one for one in mine if one.act == "statement"])
    assert filed["payout"] == rows([one for one in found if one.act == "paid"])
    assert {row["account"] for row in filed["payout"]} >= {"Assets:PayoutsInTransit"}


def test_a_settlement_says_what_its_statements_are_made_of(world: World) -> None:
    calculated = world.month().calculated
    assert calculated is not None

    assert [one["kinds"] for one in calculated.body["statements"]] == [{"commission": "160.00"}]


def test_what_a_settlement_holds_back_is_a_liability(tmp_path: Path) -> None:
    """June earns 160.00 and holds back 16.00."""
    world = World(tmp_path)
    small_month(world)
    world.decide_parties(parties())
    world.decide_agreement(agreement(holdback={"percent": "10", "months": 1}))
    world.final()
    world.lock("aurora")
    found = books.journal(world.services, ["aurora"])

    assert sums(found) == {"Expenses:Commission": "160.00", HELD: "-16.00", OWED: "-144.00"}
    assert checked(to_beancount(found, balances(found)))[1] == []


def test_the_command_writes_the_journal(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "services", lambda home: world.services)

    def run(*arguments: str) -> str:
        main.app(["journal", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    assert checked(run().encode())[1] == []
    assert "borealis" not in run("--reseller", "aurora", "--format", "csv")
    file = tmp_path / "journal.beancount"
    assert run("--output", str(file)).endswith("6 transactions, 12 postings\n")
    assert file.read_bytes() == run().encode()
    locked = next(
        one
        for one in world.services.chain.read("reseller/aurora")
        if one.body.get("act") == "lock" and one.kind == APPROVED
    )
    [first, *_] = json.loads(run("--cycle", CYCLE, "--json", "-"))
    assert (first["account"], first["amount"], first["entry"]) == (
        "Expenses:Commission",
        "160.00",
        f"reseller/aurora#{locked.seq}",
    )
    assert json.loads(run("--cycle", JULY, "--json", "-")) == []
    with pytest.raises(BadInputError, match="'nobody' is not known"):
        run("--reseller", "nobody")


def test_the_command_shows_balances(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "services", lambda home: world.services)

    def run(*arguments: str) -> str:
        main.app(["journal", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    [aurora, borealis] = json.loads(run("balances", "--json", "-"))
    assert (aurora["paid"], aurora["balance"], aurora["in_transit"]) == ("160.00", "0.00", "0.00")
    assert (borealis["reopened"], borealis["balance"]) == ("15.00", "15.00")
    assert "borealis-2025" in run("balances", "--reseller", "borealis", "--cycle", CYCLE)
    with pytest.raises(Exception, match="write options after balances"):
        run("--cycle", CYCLE, "balances")


def test_a_balance_is_a_plain_sum() -> None:
    figures = [Decimal(value) for value in ("1", "2", "0.5", "4", "1", "8", "0", "0")]
    one = Balance("aurora", "main", "CNY", *figures)

    assert (one.balance, one.clawback) == (Decimal("6.5"), Decimal(0))  # 1 + 2 + 8 less 0.5 and 4
