"""From the lock to the bank's answer: two people, one total in every file, one payment."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import io
import json
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest

from infra.clearbook.people import APPROVER, PREPARER
from shared.chain.entry import Draft
from shared.control.approvals import PROPOSED, NoSuchProposalError, NotAllowedError, StaleProposalError
from shared.control.months import INSTRUCTED, stream_of
from shared.documents import DocumentRefusedError
from shared.errors import BadInputError
from shared.ports import ObjectEvent
from shared.steps import decide
from shared.steps.pay_resellers import pay_resellers
from tests.builders import ACME, CYCLE, DAYS, P1, P2, agreement, item, parties
from tests.pump import World, go_live, small_month

AURORA = f"{CYCLE}.aurora.aurora-2025"
BOREALIS = f"{CYCLE}.borealis.borealis-2025"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    return world


def rows_of(world: World, key: str) -> list[dict[str, str]]:
    """A CSV file of the bucket records as the csv module reads it."""
    return list(csv.DictReader(io.StringIO(world.cloud.records.objects[key].decode("utf-8-sig"), newline="")))


# -- two people ---------------------------------------------------------------------------------------------------


def test_who_may_propose_may_not_approve(world: World) -> None:
    proposal = world.propose_lock()

    with pytest.raises(NotAllowedError, match="paula may not approve; amir, anna may"):
        decide.approve(world.services, proposal.name, by=PREPARER, at=world.at)
    assert world.month().locked is None


def test_nobody_approves_what_they_proposed_even_after_becoming_an_approver(world: World) -> None:
    """The proposal is of a time when amir was a preparer."""
    body = world.propose_lock().body
    draft = Draft(PROPOSED, APPROVER, world.at, {"act": "lock", "what": dict(body)}, "")
    entry = world.services.chain.append("reseller/aurora", lambda _: draft)
    assert entry is not None

    with pytest.raises(NotAllowedError, match=r"amir proposed .* and cannot approve it; ask another approver"):
        decide.approve(world.services, f"reseller/aurora#{entry.seq}", by=APPROVER, at=world.at)
    assert world.month().locked is None


def test_only_a_preparer_proposes(world: World) -> None:
    with pytest.raises(NotAllowedError, match="amir may not propose lock"):
        decide.propose_lock(world.services, CYCLE, "aurora", by=APPROVER, why="", at=world.at)


@pytest.mark.parametrize("name", ["mallory", "", "operator"])
def test_somebody_unknown_decides_nothing(world: World, name: str) -> None:
    proposal = world.propose_lock()

    with pytest.raises(NotAllowedError, match="there is no user"):
        decide.approve(world.services, proposal.name, by=name, at=world.at)
    with pytest.raises(NotAllowedError, match="there is no user"):
        decide.propose_lock(world.services, CYCLE, "aurora", by=name, why="", at=world.at)


@pytest.mark.parametrize("name", ["reseller/aurora#1", "reseller/aurora#99", "nowhere#1"])
def test_what_nobody_proposed_cannot_be_approved(world: World, name: str) -> None:
    if name == "reseller/aurora#1":
        name = "reseller/aurora#2"  # the approval of the agreement
    with pytest.raises(NoSuchProposalError):
        decide.approve(world.services, name, by=APPROVER, at=world.at)


@pytest.mark.parametrize("name", ["reseller/aurora", "#3", "reseller/aurora#x", ""])
def test_a_name_that_is_no_proposals_name_is_refused(world: World, name: str) -> None:
    with pytest.raises(BadInputError, match="names none"):
        decide.approve(world.services, name, by=APPROVER, at=world.at)


def test_a_lock_of_a_month_that_was_calculated_anew_is_stale(world: World) -> None:
    proposal = world.propose_lock()
    world.bill(P1, DAYS[2], item(ACME, "900.00"))
    world.pull_again(1)

    with pytest.raises(StaleProposalError, match="calculated anew"):
        world.approve(proposal)
    assert world.month().locked is None


def test_a_party_document_made_before_another_was_approved_is_stale(world: World) -> None:
    one = decide.propose_parties(world.services, parties(since=DAYS[1]), "p", by=PREPARER, why="", at=world.at)
    two = decide.propose_parties(world.services, parties(since=DAYS[2]), "p", by="pavel", why="", at=world.at)
    world.approve(two)

    with pytest.raises(StaleProposalError, match="propose it anew"):
        world.approve(one)


def test_a_month_that_is_not_calculated_cannot_be_locked(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.daily("2025-07-01")

    with pytest.raises(BadInputError, match="has no final settlement"):
        world.propose_lock()


def test_approving_twice_locks_and_publishes_once(world: World) -> None:
    proposal = world.propose_lock()
    world.approve(proposal)
    before = world.cloud.state()
    world.approve(proposal)

    assert world.cloud.state().objects == before.objects
    assert world.cloud.state().tables["chain"] == before.tables["chain"]
    with pytest.raises(NotAllowedError, match="already approved, by amir"):
        decide.approve(world.services, proposal.name, by="anna", at=world.at)


def test_a_locked_month_cannot_be_locked_again(world: World) -> None:
    world.lock()

    with pytest.raises(BadInputError, match="is locked already"):
        world.propose_lock()


def test_an_agreement_whose_example_does_not_add_up_is_refused_with_its_place(world: World) -> None:
    wrong = agreement(version=2, since="2026-01-01")
    wrong["examples"][0]["expect"]["commission"] = "11"

    with pytest.raises(DocumentRefusedError, match=r"expects 11 but the rules give 10"):
        world.decide_agreement(wrong)


def test_an_agreement_that_overlaps_one_in_force_is_refused(world: World) -> None:
    with pytest.raises(DocumentRefusedError, match="overlaps aurora-2025 version 1"):
        world.decide_agreement(agreement(version=2, since="2025-06-01"))


# -- the same total everywhere ------------------------------------------------------------------------------------


def test_statement_lines_journal_and_payout_file_say_the_same_amount(world: World) -> None:
    world.lock()
    world.pay()

    for reseller, expected in (("aurora", "160.00"), ("borealis", "15.00")):
        stem = f"statements/{CYCLE}/{reseller}/{reseller}-2025-{world.month(reseller).settlement or '':.12}"
        lines = rows_of(world, f"{stem}.csv")
        statement = json.loads(world.cloud.records.objects[f"{stem}.json"])
        [journal] = world.keys("records", f"journal/{CYCLE}/{reseller}-")
        owed = [
            row["amount"] for row in rows_of(world, journal) if row["account"] == f"Liabilities:Resellers:{reseller}"
        ]
        [payout] = world.keys("records", f"payouts/{CYCLE}/")
        paid = [row["amount"] for row in rows_of(world, payout) if f".{reseller}." in row["instruction"]]

        assert str(sum(Decimal(row["amount"]) for row in lines)) == expected
        assert (statement["total"], statement["payable"]) == (expected, expected)
        assert str(sum(Decimal(line["amount"]) for line in statement["lines"])) == expected
        assert [str(-Decimal(one)) for one in owed] == [expected]
        assert paid == [expected]


def test_the_workbook_holds_the_same_lines_as_numbers(world: World) -> None:
    world.lock()
    [key] = [one for one in world.keys("records", f"statements/{CYCLE}/aurora/") if one.endswith(".xlsx")]
    book = openpyxl.load_workbook(io.BytesIO(world.cloud.records.objects[key]))
    _, *lines, whole = book["Lines 明细"].values
    totals = [one[1] for sheet in ("Statement", "结算单") for one in book[sheet].values if one[0] in ("Total", "合计")]

    assert sorted((one[1], one[-1]) for one in lines) == [("Acme", 60), ("Atlas", 100)]
    assert whole[-1] == totals[0] == 160
    assert {type(one[-1]) for one in (*lines, whole)} <= {int, float}


def test_the_journal_balances(world: World) -> None:
    world.lock()
    world.pay()

    for key in world.keys("records", f"journal/{CYCLE}/"):
        assert sum(Decimal(row["amount"]) for row in rows_of(world, key)) == 0, key


def test_published_names_each_file_by_its_digest(world: World) -> None:
    world.lock()
    published = world.month().published
    assert published is not None

    for file in published.body["files"]:
        assert hashlib.sha256(world.cloud.records.objects[file["key"]]).hexdigest() == file["digest"]
    assert {file["key"].rpartition(".")[2] for file in published.body["files"]} == {"csv", "json", "xlsx", "pdf"}


def test_publishing_again_writes_the_same_bytes_even_after_the_parties_change(world: World) -> None:
    """A customer is renamed between the lock and a second delivery of its order."""
    world.now = world.now.replace(hour=13)
    world.approve(world.propose_lock(), drain=False)
    world.pump.collect()
    [order] = [one for one in world.pump.waiting if one.function == "publish_statements"]
    world.pump.drain()
    renamed = parties()
    renamed["customers"][0]["name"] = {"en": "Acme Holdings"}
    world.decide_parties(renamed)
    world.pump.waiting.append(order)
    world.pump.drain()

    assert world.pump.refusals == []


# -- one payment --------------------------------------------------------------------------------------------------


def test_a_payout_is_instructed_once_although_its_order_is_delivered_twice(world: World) -> None:
    world.lock()
    [proposal] = world.propose_payouts()
    world.approve(proposal, drain=False)
    world.pump.drain(twice=True)

    entries = world.services.chain.read("reseller/aurora")
    assert [entry.kind for entry in entries].count(INSTRUCTED) == 1
    [file] = world.keys("records", f"payouts/{CYCLE}/")
    assert sorted(row["instruction"] for row in rows_of(world, file)) == [AURORA, BOREALIS]
    assert world.propose_payouts() == []


def test_a_payout_writes_its_lists_a_table_at_a_time(world: World) -> None:
    world.lock()
    [proposal] = world.propose_payouts()
    world.approve(proposal, drain=False)
    order = ObjectEvent("work", f"work/pay/{CYCLE}/{proposal.body['batch']}.json", world.now)
    world.cloud.calls.begin()
    assert pay_resellers(world.services, order)["members"] == 2

    written = [call for call in world.cloud.calls.made if call.startswith("put newer")]
    assert written == ["put newer rows of settlements", "put newer rows of payouts"]
    assert world.cloud.calls.made.count("read rows of cases") == 1
    assert {id_ for _, id_ in world.cloud.rows.tables["payouts"]} == {AURORA, BOREALIS}


@pytest.mark.parametrize("seed", range(4))
def test_of_two_batches_that_compete_each_payment_is_in_one(world: World, seed: int) -> None:
    """Borealis' payee changes between two proposals, and both are approved before either is carried out."""
    print(f"seed {seed}")
    world.lock("aurora")
    [first] = world.propose_payouts()
    world.lock("borealis")
    [second] = world.propose_payouts()
    assert first.body["batch"] != second.body["batch"]
    world.approve(first, drain=False)
    world.approve(second, drain=False)
    world.pump.drain(seed, twice=True)

    paid = [row["instruction"] for key in world.keys("records", f"payouts/{CYCLE}/") for row in rows_of(world, key)]
    assert sorted(paid) == [AURORA, BOREALIS]
    instructed = [entry for entry in world.services.chain.read("reseller/aurora") if entry.kind == INSTRUCTED]
    assert len(instructed) == 1


def test_a_batch_whose_payee_changed_is_stale(world: World) -> None:
    world.lock()
    [proposal] = world.propose_payouts()
    changed = parties()
    changed["payees"][0]["account"] = "6222 0000 0009"
    world.decide_parties(changed)

    with pytest.raises(StaleProposalError, match=f"{AURORA} is no longer due as it was shown"):
        world.approve(proposal)


def two_months(tmp_path: Path) -> World:
    """June and July are final and locked; aurora earns 160.00 in June and 20.00 in July, borealis 15.00 and 3.00."""
    world = World(tmp_path)
    small_month(world)
    world.bill(P1, "2025-07-31", item(ACME, "200.00"))
    world.bill(P2, "2025-07-31", item("2001", "30.00"))
    go_live(world)
    world.final()
    world.lock()
    world.final(cycle="2025-07")
    world.lock(cycle="2025-07")
    return world


def test_what_july_paid_of_june_is_not_paid_again_for_june(tmp_path: Path) -> None:
    """July's payout holds what June left owing; a June batch proposed afterwards has nothing to pay."""
    world = two_months(tmp_path)
    world.pay("2025-07")
    [july] = world.keys("records", "payouts/2025-07/")
    assert {row["instruction"]: row["amount"] for row in rows_of(world, july)} == {
        "2025-07.aurora.aurora-2025": "180.00",
        "2025-07.borealis.borealis-2025": "18.00",
    }

    world.pay("2025-06")

    assert world.keys("records", "payouts/2025-06/") == []


def test_june_and_july_batches_approved_side_by_side_pay_june_once(tmp_path: Path) -> None:
    world = two_months(tmp_path)
    [june], [july] = world.propose_payouts("2025-06"), world.propose_payouts("2025-07")
    world.approve(june, drain=False)
    with contextlib.suppress(StaleProposalError):  # refused at the approval is as good as at the payment
        world.approve(july, drain=False)
    world.pump.drain()

    keys = world.keys("records", "payouts/")
    paid = sum(Decimal(row["amount"]) for key in keys for row in rows_of(world, key))
    assert paid <= Decimal("198.00")


def test_cycles_lock_in_order(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    world.bill(P1, "2025-07-31", item(ACME, "200.00"))
    go_live(world)
    world.final()
    world.final(cycle="2025-07")

    with pytest.raises(BadInputError, match="has no final settlement"):
        world.propose_lock(cycle="2025-07")
    world.lock()
    assert world.total(cycle="2025-07") == "20.00"


def test_what_is_below_the_minimum_is_carried_into_the_next_month(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    world.bill(P1, "2025-07-31", item(ACME, "500.00"))
    world.bill(P2, "2025-07-31")
    world.decide_parties(parties())
    world.decide_agreement(agreement(payout={"minimum": "200.00"}))
    world.decide_agreement(agreement("borealis"))
    world.switch_on()
    world.final()
    world.lock()
    _, left_out = decide.propose_payouts(world.services, CYCLE, by=PREPARER, why="", at=world.at)
    assert left_out == [("aurora", "aurora-2025: 160 CNY is carried forward")]

    world.final(cycle="2025-07")
    world.lock("aurora", cycle="2025-07")
    world.pay("2025-07")

    [file] = world.keys("records", "payouts/2025-07/")
    assert {row["instruction"]: row["amount"] for row in rows_of(world, file)}["2025-07.aurora.aurora-2025"] == "210.00"


def test_what_a_month_holds_back_the_next_one_releases(tmp_path: Path) -> None:
    """June earns 160.00 and holds back 16.00; July earns 50.00, holds back 5.00 and releases the 16.00."""
    world = World(tmp_path)
    small_month(world)
    world.bill(P1, "2025-07-31", item(ACME, "500.00"))
    world.bill(P2, "2025-07-31")
    world.decide_parties(parties())
    world.decide_agreement(agreement(holdback={"percent": "10", "months": 1}))
    world.decide_agreement(agreement("borealis"))
    world.final()
    assert world.total() == "144.00"
    world.lock()
    world.final(cycle="2025-07")

    assert world.total(cycle="2025-07") == "61.00"


# -- what the bank answers ----------------------------------------------------------------------------------------


@pytest.fixture
def paid(world: World) -> World:
    world.lock()
    world.pay()
    return world


def problems(world: World) -> list[str]:
    """What of the bank's files was refused, as it is kept."""
    found: list[str] = []
    for key in world.keys("work", "quarantine/confirm_payouts/"):
        found += json.loads(world.cloud.work.objects[key])["problems"]
    return found


def test_a_confirmed_payout_is_confirmed_once(paid: World) -> None:
    paid.bank_answers("one", (AURORA, "confirmed", "160.00", "CNY", "B1"))
    paid.bank_answers("two", (AURORA, "confirmed", "160", "CNY", "B1"))

    assert paid.month().state == "confirmed"
    kinds = [entry.kind for entry in paid.services.chain.read("reseller/aurora")]
    assert kinds.count("confirmed") == 1
    assert problems(paid) == []
    assert paid.cloud.rows.tables["payouts"][CYCLE, AURORA]["state"] == "confirmed"


def test_a_returned_payout_is_a_case(paid: World) -> None:
    paid.bank_answers("one", (AURORA, "returned", "160.00", "CNY", "B1"))

    [case] = paid.cases()
    assert (case["kind"], case["owner"], case["amount"]) == ("payout_returned", "aurora", "160")
    assert paid.month().state == "returned"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ((AURORA, "confirmed", "159.99", "CNY", "B1"), "was instructed over 160 CNY, the answer says 159.99 CNY"),
        ((AURORA, "confirmed", "160.00", "USD", "B1"), "the answer says 160 USD"),
        (("2025-06.nobody.x", "confirmed", "1", "CNY", "B1"), "was never instructed"),
        (("gibberish", "confirmed", "1", "CNY", "B1"), "is no instruction of ours"),
        ((AURORA, "maybe", "160.00", "CNY", "B1"), "status is 'maybe'"),
        ((AURORA, "confirmed", "a lot", "CNY", "B1"), "is not an amount"),
    ],
)
def test_an_answer_that_fits_no_instruction_is_kept_with_its_reason(
    paid: World, row: tuple[str, str, str, str, str], said: str
) -> None:
    paid.bank_answers("one", row, (BOREALIS, "confirmed", "15.00", "CNY", "B2"))

    [problem] = problems(paid)
    assert "payouts/one.csv, line 2" in problem
    assert said in problem
    assert paid.month("borealis").state == "confirmed"
    assert paid.month("aurora").state == "paid"


def test_an_answer_under_another_reference_is_refused(paid: World) -> None:
    paid.bank_answers("one", (AURORA, "confirmed", "160.00", "CNY", "B1"))
    paid.bank_answers("two", (AURORA, "confirmed", "160.00", "CNY", "B2"))

    [problem] = problems(paid)
    assert f"{AURORA} is already confirmed (B1); ask the bank" in problem
    assert paid.month().state == "confirmed"


@pytest.mark.parametrize("body", [b"", b"a,b\r\n1,2\r\n", b"\xff\xfe\x00", b'"'])
def test_a_file_that_is_no_file_of_answers_is_refused(paid: World, body: bytes) -> None:
    paid.cloud.stores["inbox"].put_again("payouts/odd.csv", body)
    paid.pump.drain()

    [refusal] = paid.pump.refusals
    assert "payouts/odd.csv" in refusal["refused"]
    assert paid.month().state == "paid"


def test_an_approval_whose_order_was_lost_is_carried_out_by_the_sweep(world: World) -> None:
    proposal = world.propose_lock()
    world.approve(proposal, drain=False)
    del world.cloud.work.objects[f"work/publish/{CYCLE}/aurora.json"]
    world.cloud.take_created()
    world.sweep("2025-07-04")

    assert world.month().published is not None
    assert world.cloud.rows.tables["settlements"][CYCLE, "aurora"]["state"] == "locked"


def test_a_sweep_over_a_finished_month_changes_nothing(paid: World) -> None:
    paid.bank_answers("one", (AURORA, "confirmed", "160.00", "CNY", "B1"))
    paid.sweep("2025-07-04")
    before = paid.cloud.state()
    paid.sweep("2025-07-05")

    after = paid.cloud.state()
    anchored = {"anchors/2025-07-05/day.json"}
    assert after.objects["records"].keys() - before.objects["records"].keys() == anchored
    for bucket, objects in before.objects.items():
        assert {key: body for key, body in after.objects[bucket].items() if key not in anchored} == objects
    assert after.tables["chain"] == before.tables["chain"]
    assert stream_of("aurora", CYCLE) == "reseller/aurora"
