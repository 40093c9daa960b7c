"""Whom money goes to, from when, whether at all; and what is owed again when it did not arrive."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import APPROVER, PREPARER
from shared.control.approvals import Proposal, StaleProposalError
from shared.documents import DocumentRefusedError
from shared.errors import BadInputError
from shared.ids import digest
from shared.parties.document import party_document
from shared.payout.batch import balance, parse_batch
from shared.payout.outcomes import status_of_payouts
from shared.steps import decide
from tests.bank import ACCOUNTS, due, owe, parties_with
from tests.builders import CYCLE, agreement, parties
from tests.pump import World

AURORA = f"{CYCLE}.aurora.aurora-2025"
NEW = {"reseller": "aurora", "name": "Aurora (Hong Kong) Ltd", "account": "9999 0000 0007", "bank": "Bank of Lakes"}


def propose(world: World, act: str, **asked: Any) -> Proposal:
    """Propose an act of plain data."""
    return decide.propose(world.services, act, asked, by=PREPARER, why="test", at=world.at).proposals[0]


def left_out(world: World, cycle: str = CYCLE) -> list[tuple[str, str]]:
    """What is not paid, and why."""
    return decide.propose_payouts(world.services, cycle, by=PREPARER, why="", at=world.at)[1]


def members(world: World, cycle: str = CYCLE) -> dict[str, str]:
    """The accounts that the proposed batches pay to, by reseller."""
    [proposal] = world.propose_payouts(cycle)
    body = world.cloud.records.objects[f"batches/{cycle}/{proposal.body['batch']}.json"]
    return {one.reseller: one.account for one in parse_batch(body)[1]}


# -- payees -------------------------------------------------------------------------------------------------------


def test_nothing_is_paid_while_a_payee_waits_and_then_to_the_new_one(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.approve(propose(world, "payee", **NEW))
    changed = world.now.date()

    said = f"its payee changed on {changed}, effective {changed + timedelta(days=3)}"
    assert left_out(world) == [("aurora", f"aurora-2025: 160 CNY is due, but {said}")]
    world.now += timedelta(days=3)
    assert members(world)["aurora"] == "9999 0000 0007"


def test_a_newer_payee_begins_to_wait_anew(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.approve(propose(world, "payee", **NEW))
    world.now += timedelta(days=2)
    world.approve(propose(world, "payee", **{**NEW, "account": "8888 0000 0001"}))
    world.now += timedelta(days=2)

    assert "effective" in left_out(world)[0][1]
    world.now += timedelta(days=1)
    assert members(world)["aurora"] == "8888 0000 0001"


def test_a_payee_that_changes_between_proposal_and_approval_stops_the_payout(tmp_path: Path) -> None:
    world = due(tmp_path, payee_waiting_days=0)
    [payout] = world.propose_payouts()
    world.approve(propose(world, "payee", **NEW))

    with pytest.raises(StaleProposalError, match="no longer due as it was shown"):
        world.approve(payout)
    assert world.month().instructed == {}


def test_a_payee_that_changes_in_the_party_document_waits_as_well(tmp_path: Path) -> None:
    world = due(tmp_path)
    document = parties_with()
    document["payees"] = [{**NEW}, document["payees"][1]]
    world.decide_parties(document)

    assert "its payee changed on" in left_out(world)[0][1]
    world.decide_parties({**document, "classes": []})
    world.now += timedelta(days=3)
    assert members(world)["aurora"] == "9999 0000 0007"


def test_a_payee_that_people_approved_by_itself_goes_before_the_party_document(tmp_path: Path) -> None:
    world = due(tmp_path, payee_waiting_days=0)
    world.approve(propose(world, "payee", **NEW))
    world.approve(propose(world, "payee", **{**NEW, "account": "7777 0000 0001", "currency": "USD"}))

    assert members(world) == {"aurora": "9999 0000 0007", "borealis": "6222 0000 0002"}


def test_an_account_stands_in_no_entry_of_the_chain(tmp_path: Path) -> None:
    world = due(tmp_path, payee_waiting_days=0)
    world.approve(propose(world, "payee", **NEW))
    world.pay()

    entries = "".join(str(row["entry"]) for row in world.cloud.rows.tables["chain"].values())
    assert "9999" not in entries
    assert world.month().instructed[AURORA].body["payee"] in entries


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"reseller": "nobody"}, "'nobody' is not known; known are aurora, borealis"),
        ({"name": "=cmd"}, "name: is '=cmd'"),
        ({"name": "a\x00b"}, "name: is"),
        ({"name": " "}, "name: is"),
        ({"bank": ""}, "bank: is ''"),
        ({"account": "+86 1"}, "account: is '+86 1'; give 4 to 34"),
        ({"account": "GB83 WEST 1234 5698 7654 32"}, "its check digits are wrong"),
        ({"account": "1" * 35}, "account: is"),
        ({"kind": "cash"}, "kind: is 'cash'; give bank or wallet"),
        ({"bic": "icbk"}, "bic: is 'icbk'"),
        ({"currency": "RMB"}, "'RMB' is no ISO 4217 code"),
        ({"amount": "1"}, "amount: is not a known name here"),
    ],
)
def test_a_payee_that_no_bank_could_pay_is_refused(tmp_path: Path, more: dict[str, str], said: str) -> None:
    world = World(tmp_path)
    world.decide_parties(parties_with())

    with pytest.raises(BadInputError) as refused:
        propose(world, "payee", **{**NEW, **more})
    assert said in str(refused.value)


def test_a_payee_proposed_under_another_waiting_period_is_stale(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.decide_parties(parties_with(payee_waiting_days=0))
    proposal = propose(world, "payee", **NEW)
    world.decide_parties(parties_with(payee_waiting_days=5))

    with pytest.raises(StaleProposalError, match="a payee waits 5 days now"):
        world.approve(proposal)


def test_the_operators_accounts_are_checked_and_a_document_without_them_keeps_its_digest() -> None:
    assert b"accounts" not in party_document(parties(), "p")
    assert digest(party_document(parties_with(accounts=[]), "p")) == digest(party_document(parties(), "p"))
    wrong = [{"currency": "RMB", "name": "x"}, {**ACCOUNTS[0], "iban": "GB83WEST12345698765432"}, ACCOUNTS[0]]

    with pytest.raises(DocumentRefusedError) as refused:
        party_document(parties_with(accounts=wrong), "p")
    for said in ("is no ISO 4217 code", "exactly one of account and iban", "is no IBAN", "needs a bank", "second time"):
        assert said in str(refused.value)


# -- whether to pay -----------------------------------------------------------------------------------------------


def test_a_reseller_that_is_not_switched_on_is_not_paid(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.approve(propose(world, "payouts_on", reseller="borealis", on=False, cycle=CYCLE))

    assert left_out(world) == [("borealis", "payouts are not switched on; it gets statements only")]


def test_a_switch_holds_from_its_cycle_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.decide_parties(parties_with())
    for cycle in (CYCLE, "2025-07"):
        owe(world, "aurora", "1.00", cycle)
    world.approve(propose(world, "payouts_on", reseller="aurora", on=True, cycle="2025-07"))

    assert left_out(world)[0] == ("aurora", "payouts are not switched on; it gets statements only")
    assert all(reseller != "aurora" for reseller, _ in left_out(world, "2025-07"))


# -- the files ----------------------------------------------------------------------------------------------------

TEMPLATE = """
template: rivers
for: {currencies: [CNY], kinds: [bank]}
columns: [{header: number, field: number}, {header: to, field: account}, {header: sum, field: amount},
          {header: id, field: end_to_end}]
"""


def test_a_batch_is_written_in_every_form_that_was_in_force_when_it_was_proposed(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.approve(propose(world, "payout_template", name="rivers.yaml", text=TEMPLATE))
    [payout] = world.propose_payouts()
    world.approve(payout)

    batch = payout.body["batch"]
    files = [one.removeprefix(f"payouts/{CYCLE}/{batch}") for one in world.keys("records", f"payouts/{CYCLE}/")]
    assert files == ["-rivers.csv", ".csv", ".xml"]
    approval = next(
        one for one in world.services.chain.read(f"cycle/{CYCLE}") if one.kind == "approved"
    ).hash  # the batch's
    for suffix in (".csv", ".xml"):
        assert approval.encode() in world.cloud.records.objects[f"payouts/{CYCLE}/{batch}{suffix}"]


def test_without_an_account_of_the_operator_there_is_no_payment_file_and_it_says_why(tmp_path: Path) -> None:
    world = due(tmp_path, accounts=[])
    [payout] = world.propose_payouts()
    said = "no pain.001: the party document names no account of the operator in CNY"
    assert said in decide.show(world.services, payout)
    world.approve(payout)

    assert [one for one in world.keys("records", "payouts/") if not one.endswith(".csv")] == []
    [paid] = [one for one in world.services.chain.read(f"cycle/{CYCLE}") if one.kind == "payout_file_written"]
    assert paid.body["notes"] == [said]


def test_a_batch_is_stale_once_it_would_be_paid_from_another_account(tmp_path: Path) -> None:
    world = due(tmp_path)
    [payout] = world.propose_payouts()
    world.decide_parties(parties_with(accounts=[{**ACCOUNTS[0], "account": "0200 0666"}]))

    with pytest.raises(StaleProposalError, match="the operator's account or the forms of files are others now"):
        world.approve(payout)


def test_a_second_form_for_the_same_payments_is_refused(tmp_path: Path) -> None:
    world = World(tmp_path)
    first = propose(world, "payout_template", name="a", text=TEMPLATE)
    second = propose(world, "payout_template", name="b", text=TEMPLATE.replace("rivers", "lakes"))
    world.approve(first)

    with pytest.raises(DocumentRefusedError, match="takes payments that rivers takes"):
        world.approve(second)
    with pytest.raises(BadInputError, match="there is nothing to propose"):
        propose(world, "payout_template", name="a", text=TEMPLATE)


# -- reopening ----------------------------------------------------------------------------------------------------


def test_what_came_back_is_owed_again_once_two_people_say_so_and_paid_under_a_new_id(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.pay()
    world.bank_answers("one", (AURORA, "returned", "160.00", "CNY", "B1"))
    reopened = propose(world, "reopen", instruction=AURORA)
    assert world.propose_payouts() == []
    world.approve(reopened)

    assert balance(world.services.chain.read("reseller/aurora"), "aurora-2025", CYCLE) == 160
    world.pay()
    assert list(world.month().instructed) == [AURORA, f"{AURORA}.2"]
    world.bank_answers("two", (f"{AURORA}.2", "confirmed", "160.00", "CNY", "B2"))
    assert world.month().state == "confirmed"
    first, second = status_of_payouts(world.services.chain.read("reseller/aurora"))
    assert [first.returned, first.reopened] == [160, 160]
    assert [second.confirmed, second.open] == [160, 0]
    assert (first.is_settled, second.is_settled) == (True, True)
    with pytest.raises(BadInputError, match="is reopened already"):
        propose(world, "reopen", instruction=AURORA)


def test_of_a_part_only_the_rest_is_owed_again_with_its_share_of_what_was_withheld(tmp_path: Path) -> None:
    """100.00 with 5.00 withheld pays 95.00; 57.00 arrive, 38.00 and 2.00 withheld are owed again."""
    world = World(tmp_path)
    world.decide_parties(parties_with())

    world.decide_agreement(agreement("aurora", payout={"withholding": {"percent": "5"}}))
    owe(world, "aurora", "100.00")
    world.pay()
    world.bank_answers("one", (AURORA, "partial", "57.00", "CNY", "B1"))
    proposal = propose(world, "reopen", instruction=AURORA)

    assert (proposal.body["amount"], proposal.body["withheld"]) == ("38", "2")
    world.approve(proposal)
    assert balance(world.services.chain.read("reseller/aurora"), "aurora-2025", CYCLE) == 40
    world.pay()
    assert world.month().instructed[f"{AURORA}.2"].body["amount"] == "38.00"
    assert Decimal(world.month().instructed[f"{AURORA}.2"].body["withheld"]) == 2


@pytest.mark.parametrize("said", ["confirmed", None])
def test_what_the_bank_did_not_send_back_is_not_reopened(tmp_path: Path, said: str | None) -> None:
    world = due(tmp_path)
    world.pay()
    if said:
        world.bank_answers("one", (AURORA, said, "160.00", "CNY", "B1"))

    with pytest.raises(BadInputError, match="only what the bank returned, rejected or paid in part is reopened"):
        propose(world, "reopen", instruction=AURORA)
    with pytest.raises(BadInputError, match="was never instructed"):
        propose(world, "reopen", instruction=f"{AURORA}.2")
    with pytest.raises(BadInputError, match="why: is missing"):
        decide.propose_reopen(world.services, AURORA, by=PREPARER, why=" ", at=world.at)


def test_a_reopening_is_stale_once_the_bank_answers_otherwise(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.pay()
    world.bank_answers("one", (AURORA, "partial", "60.00", "CNY", "B1"))
    proposal = propose(world, "reopen", instruction=AURORA)
    world.bank_answers("two", (AURORA, "confirmed", "160.00", "CNY", "B1"))

    with pytest.raises(StaleProposalError, match="is contradicted"):
        world.approve(proposal)


def test_an_answer_that_comes_after_the_reopening_is_a_contradiction(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.pay()
    world.bank_answers("one", (AURORA, "rejected", "160.00", "CNY", "B1"))
    world.approve(propose(world, "reopen", instruction=AURORA))
    world.bank_answers("two", (AURORA, "confirmed", "160.00", "CNY", "B2"))

    contradicted = world.month().contradicted[AURORA]
    assert (contradicted.body["says"], contradicted.body["after_reopening"]) == ("confirmed", True)


def test_the_proposer_does_not_approve_the_reopening(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.pay()
    world.bank_answers("one", (AURORA, "returned", "160.00", "CNY", "B1"))
    proposal = propose(world, "reopen", instruction=AURORA)

    lines = decide.show(world.services, proposal)
    assert f"{AURORA}: 160 CNY, returned, B1" in lines
    assert "owed again: 160 CNY, because test" in lines
    with pytest.raises(Exception, match="may not approve"):
        decide.approve(world.services, proposal.name, by=PREPARER, at=world.at)
    assert decide.approve(world.services, proposal.name, by=APPROVER, at=world.at).missing == ()
