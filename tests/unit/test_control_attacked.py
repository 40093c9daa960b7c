"""What a dishonest preparer, a hostile reseller, a bank's file or bad luck may try; each is told by what must hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import APPROVER, PREPARER
from shared.control.approvals import REFUSED, NotAllowedError, Proposal
from shared.errors import BadInputError
from shared.ports import ObjectEvent
from shared.steps import decide
from shared.steps.pay_resellers import pay_resellers
from tests.bank import due, owe, parties_with
from tests.builders import CYCLE, agreement
from tests.desk import of_world
from tests.pump import World, go_live, small_month

AURORA = f"{CYCLE}.aurora.aurora-2025"
BOREALIS = f"{CYCLE}.borealis.borealis-2025"
NEW = {"reseller": "aurora", "name": "Aurora (Hong Kong) Ltd", "account": "9999 0000 0007", "bank": "Bank of Lakes"}
Ask = Callable[..., tuple[int, Any]]


def propose(world: World, act: str, **asked: Any) -> Proposal:
    """Propose an act of plain data."""
    return decide.propose(world.services, act, asked, by=PREPARER, why="test", at=world.at).proposals[0]


def asked(world: World, who: str, path: str, body: dict[str, Any]) -> str:
    """What the portal answers somebody whom it refuses."""
    try:
        of_world(world)(who).post(path, body)
    except Exception as exc:
        return str(exc)
    return ""


def rhea(world: World) -> str:
    """Somebody of aurora's."""
    world.approve(propose(world, "grant", user="rhea", name="Rhea", role="reseller", of="aurora"))
    return "rhea"


def rows(world: World, prefix: str) -> str:
    """Every file below a prefix, as one text."""
    return "".join(world.cloud.records.objects[one].decode() for one in world.keys("records", prefix))


# -- who is not the operator's ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("lock", {"cycle": CYCLE, "reseller": "borealis"}),
        ("reopen", {"instruction": BOREALIS}),
        ("invoice", {"reseller": "borealis", "agreement": "x", "cycle": CYCLE, "number": "1", "date": "2025-07-01",
                     "amount": "1"}),
        ("adjustment", {"reseller": "borealis", "agreement": "x", "cycle": CYCLE, "amount": "1", "currency": "CNY",
                        "cause": "x"}),
        ("payee", {**NEW, "reseller": "nobody"}),
    ],
)  # fmt: skip
def test_a_resellers_person_learns_nothing_of_others_by_proposing(tmp_path: Path, act: str, body: Any) -> None:
    world = due(tmp_path)
    world.pay()
    who, kept = rhea(world), len(world.keys("records"))

    said = asked(world, who, "/v1/proposals", {"act": act, "asked": body})

    assert f"rhea may not propose {act}" in said
    assert not [one for one in ("borealis", "instructed", "amir") if one in said]
    assert len(world.keys("records")) == kept


def test_a_resellers_person_cannot_fill_the_records_with_documents(tmp_path: Path) -> None:
    world = due(tmp_path)
    who, kept = rhea(world), world.keys("records")
    for number in range(5):
        asked(world, who, "/v1/proposals", {"act": "payee", "asked": {**NEW, "account": f"9999 000{number}"}})

    assert world.keys("records") == kept
    refused = [one for stream, _ in world.heads().items() for one in world.services.chain.read(stream)
               if one.kind == REFUSED]  # fmt: skip
    assert len(refused) == 1


def test_trying_to_approve_what_nobody_proposed_fills_no_stream(tmp_path: Path) -> None:
    world = due(tmp_path)
    who, before = rhea(world), world.heads()
    for name in ("reseller/borealis#77", "reseller/borealis#78", "reseller/borealis#79", "made/up#1", "grants#900"):
        assert asked(world, who, "/v1/proposals/approve", {"name": name})

    assert world.heads() == before


def test_nobody_fills_a_stream_with_disputes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.steps.acts.notes._NOTES_MAX", 3)
    world = due(tmp_path)
    who, before = rhea(world), world.heads()["reseller/aurora"][0]
    for number in range(5):
        body = {"reseller": "aurora", "cycle": CYCLE, "about": "x", "text": f"no {number}"}
        asked(world, who, "/v1/proposals", {"act": "dispute", "asked": body})

    assert world.heads()["reseller/aurora"][0] - before == 3


# -- money to the wrong account, or twice -------------------------------------------------------------------------


def test_a_payee_that_changes_after_the_approval_is_not_paid_by_an_order_that_comes_late(tmp_path: Path) -> None:
    world = due(tmp_path)
    [payout] = world.propose_payouts()
    world.approve(payout, drain=False)
    world.pump.collect()
    late, world.pump.waiting = world.pump.waiting, []
    world.now += timedelta(hours=1)
    world.approve(propose(world, "payee", **NEW))
    world.pump.waiting = late
    world.pump.drain()

    assert AURORA not in world.month().instructed
    assert "6222 0000 0001" not in rows(world, "payouts/")
    assert BOREALIS in rows(world, "payouts/")


def test_an_order_delivered_again_makes_no_payment_that_it_could_not_make_before(tmp_path: Path) -> None:
    """July's batch holds June's balance too; June's payment comes first, and is returned and reopened."""
    world = due(tmp_path)
    for reseller, payable in (("aurora", "20.00"), ("borealis", "3.00")):
        owe(world, reseller, payable, "2025-07")
    [june], [july] = world.propose_payouts(), world.propose_payouts("2025-07")
    world.approve(june, drain=False)
    world.approve(july, drain=False)
    world.pump.drain()
    world.bank_answers("one", (AURORA, "returned", "160.00", "CNY", "B1"))
    world.approve(propose(world, "reopen", instruction=AURORA))

    order = ObjectEvent("work", f"work/pay/2025-07/{july.body['batch']}.json", world.now)
    pay_resellers(world.services, order)

    assert "aurora" not in rows(world, "payouts/2025-07/")
    assert world.month(cycle="2025-07").instructed == {}
    world.pay("2025-07")
    assert list(world.month(cycle="2025-07").instructed) == ["2025-07.aurora.aurora-2025"]
    assert "2025-07.aurora.aurora-2025" in rows(world, "payouts/2025-07/")


def test_what_was_reopened_and_then_confirmed_is_not_paid_again_before_people_say_which_is_true(
    tmp_path: Path,
) -> None:
    world = due(tmp_path)
    world.pay()
    world.bank_answers("one", (AURORA, "returned", "160.00", "CNY", "B1"))
    world.approve(propose(world, "reopen", instruction=AURORA))
    world.bank_answers("two", (AURORA, "confirmed", "160.00", "CNY", "B2"))

    proposals, left = decide.propose_payouts(world.services, CYCLE, by=PREPARER, why="", at=world.at)
    assert proposals == []
    assert any("contradict" in why for reseller, why in left if reseller == "aurora")
    dismissed = {
        "action": "dismiss",
        "cycle": CYCLE,
        "because": "the bank: it came back",
        "kind": "payout_contradicted",
    }
    world.approve(propose(world, "case", **dismissed))
    world.pay()
    assert f"{AURORA}.2" in world.month().instructed


def test_a_payment_whose_rest_came_as_a_second_part_is_not_owed_again(tmp_path: Path) -> None:
    world = due(tmp_path)
    world.pay()
    world.bank_answers("one", (AURORA, "partial", "60.00", "CNY", "B1"))
    world.bank_answers("two", (AURORA, "partial", "100.00", "CNY", "B2"))

    with pytest.raises(BadInputError, match="is contradicted"):
        propose(world, "reopen", instruction=AURORA)


def test_an_earlier_month_does_not_pay_what_a_later_lock_took_back(tmp_path: Path) -> None:
    world = due(tmp_path)
    owe(world, "aurora", "-150.00", "2025-07")
    world.pay()

    assert AURORA not in world.month().instructed
    world.pay("2025-07")
    assert world.month(cycle="2025-07").instructed["2025-07.aurora.aurora-2025"].body["amount"] == "10.00"


# -- payees -------------------------------------------------------------------------------------------------------


def test_a_party_document_cannot_end_the_waiting_of_the_payee_that_it_changes(tmp_path: Path) -> None:
    world = due(tmp_path)
    document = parties_with(payee_waiting_days=0)
    document["payees"] = [{**NEW}, document["payees"][1]]
    world.decide_parties(document)

    left = decide.propose_payouts(world.services, CYCLE, by=PREPARER, why="", at=world.at)[1]
    assert any("its payee changed on" in why for reseller, why in left if reseller == "aurora")


def test_a_payee_in_the_party_document_needs_whom_the_agreement_asks_for(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.decide_parties(parties_with())
    world.decide_agreement(agreement("aurora", approvals={"approvers": 2}))
    document = parties_with()
    document["payees"] = [{**NEW}, document["payees"][1]]
    proposal = decide.propose_parties(world.services, document, "p", by=PREPARER, why="", at=world.at)

    approved = decide.approve(world.services, proposal.name, by=APPROVER, at=world.at)
    assert list(approved.missing) == ["1 more approver"]


# -- files of the bank --------------------------------------------------------------------------------------------


def test_a_file_of_answers_to_nothing_fills_no_stream(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    before = sum(seq for seq, _ in world.heads().values())
    world.bank_answers("flood", *((f"{CYCLE}.x.y{n}", "confirmed", "1.00", "CNY", "B") for n in range(1500)))

    assert sum(seq for seq, _ in world.heads().values()) - before <= 101
    [kept] = world.keys("work", "quarantine/confirm_payouts/")
    assert len(json.loads(world.cloud.work.objects[kept])["problems"]) == 1500


@pytest.mark.parametrize(
    ("role", "of", "may"), [("reseller", "aurora", True), ("auditor", "", True), ("analyst", "", False)]
)
def test_only_who_may_disputes_and_a_resellers_person_its_own_alone(
    tmp_path: Path, role: str, of: str, may: bool
) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    asked = {"user": "rhea", "name": "Rhea", "role": role, **({"of": of} if of else {})}
    [grant] = decide.propose(world.services, "grant", asked, by=PREPARER, why="", at=world.at).proposals
    world.approve(grant)

    def dispute(reseller: str) -> None:
        said = {"reseller": reseller, "cycle": CYCLE, "about": "the statement", "text": "too little"}
        decide.propose(world.services, "dispute", said, by="rhea", why="", at=world.at)

    if may:
        dispute("aurora")
    others = ["borealis", "nobody"] if role == "reseller" else [] if may else ["aurora", "nobody"]
    for reseller in others:
        with pytest.raises(NotAllowedError) as refused:
            dispute(reseller)
        assert "borealis" not in str(refused.value)
