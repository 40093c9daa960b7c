"""What is paid of a balance: withheld for the tax office, carried to the next month, or forfeited."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import PREPARER
from shared.control.approvals import Proposal
from shared.errors import BadInputError
from shared.payout.batch import balance, movements
from shared.steps import decide
from shared.steps.decide import Invoice
from shared.steps.explaining.asking import explain
from shared.steps.explaining.words import words
from tests.builders import ACME, CYCLE, P1, P2, agreement, item, parties
from tests.pump import World, small_month

JULY, AUGUST = "2025-07", "2025-08"


def locked(tmp_path: Path, payout: Mapping[str, Any]) -> World:
    """June is locked: aurora earned 160.00."""
    world = World(tmp_path)
    small_month(world)
    world.decide_parties(parties())
    world.decide_agreement({**agreement("aurora"), "payout": dict(payout)})
    world.decide_agreement(agreement("borealis"))
    world.final()
    world.lock()
    return world


def owed(world: World, cycle: str) -> Decimal:
    """What aurora is owed up to a month."""
    return balance(world.services.chain.read("reseller/aurora"), "aurora-2025", cycle)


def posted(world: World, prefix: str) -> dict[str, Decimal]:
    """The sums of the postings in the journals whose names begin so, by account."""
    sums: dict[str, Decimal] = {}
    for key in world.keys("records", prefix):
        text = world.cloud.records.get(key).decode("utf-8-sig")
        for row in csv.DictReader(io.StringIO(text)):
            sums[row["account"]] = sums.get(row["account"], Decimal(0)) + Decimal(row["amount"])
    return sums


def test_what_is_withheld_is_not_transferred_and_no_longer_owed_to_the_reseller(tmp_path: Path) -> None:
    world = locked(tmp_path, {"withholding": {"percent": "3.3333"}})
    world.pay()

    [entry] = world.month().instructed.values()
    assert (entry.body["amount"], entry.body["withheld"]) == ("154.67", "5.33")  # 3.3333 % of 160.00 is 5.33328
    assert owed(world, CYCLE) == 0
    sums = posted(world, f"journal/{CYCLE}/payout-")
    assert sums["Liabilities:WithholdingTax"] == Decimal("-5.33")
    assert sums["Liabilities:Resellers:aurora"] == Decimal("160.00")
    assert sum(sums.values()) == 0
    [key] = world.keys("records", "payouts/")
    assert ",154.67,CNY," in world.cloud.records.get(key).decode()
    [facts] = explain(world.services, f"{CYCLE}.aurora.aurora-2025")
    assert facts["withheld"] == "5.33"
    assert any("of which withheld: 5.33" in one for one in words(json.loads(json.dumps(facts))))
    # Returned by the bank or not: what was withheld stays settled, and is not paid again.
    world.bank_answers("a", (f"{CYCLE}.aurora.aurora-2025", "confirmed", "154.67", "CNY", "x"))
    assert world.month().confirmed


def test_a_balance_below_the_minimum_is_forfeited_at_the_lock(tmp_path: Path) -> None:
    world = locked(tmp_path, {"minimum": "200.00", "carry_forward": False})

    assert [one.what for one in movements(world.services.chain.read("reseller/aurora"), "aurora-2025", CYCLE)] == [
        "statement",
        "forfeited",
    ]
    assert owed(world, CYCLE) == 0
    assert [one.body["total"] for one in world.propose_payouts()] == ["15"]  # borealis alone
    sums = posted(world, f"journal/{CYCLE}/aurora-")
    assert sums["Income:Forfeited"] == Decimal("-160.00")
    assert sums["Liabilities:Resellers:aurora"] == 0
    [key] = [key for key in world.keys("records", f"statements/{CYCLE}/aurora/") if key.endswith(".json")]
    statement = json.loads(world.cloud.records.get(key))
    assert (statement["forfeited"], statement["balance"]) == ("160.00", "0.00")


def test_what_is_carried_is_not_forfeited_later_and_what_is_owed_back_is_carried(tmp_path: Path) -> None:
    """June 160.00 is due and not yet paid; July owes 30.00 back; August earns 5.00."""
    world = locked(tmp_path, {"minimum": "100.00", "carry_forward": False})
    world.bill(P1, "2025-07-20", item(ACME, "-300.00", Item="Refund"))
    world.final(cycle=JULY)
    world.lock(cycle=JULY)
    assert world.total(cycle=JULY) == "-30.00"
    assert owed(world, JULY) == 130  # above the minimum: due, nothing is lost

    world.pay(JULY)
    assert [entry.body["amount"] for entry in world.month(cycle=JULY).instructed.values()] == ["130.00"]
    world.bill(P2, "2025-08-05", item(ACME, "50.00"))
    world.final(cycle=AUGUST)
    world.lock(cycle=AUGUST)
    assert owed(world, AUGUST) == 0
    assert sum(posted(world, "journal/").values()) == 0


def test_nothing_is_paid_before_the_invoice_that_an_agreement_asks_for(tmp_path: Path) -> None:
    world = locked(tmp_path, {"requires_invoice": True})
    assert [one.body["total"] for one in world.propose_payouts()] == ["15"]  # borealis alone

    sent = Invoice("aurora", "aurora-2025", CYCLE, "INV-7", date(2025, 7, 5), Decimal("160.00"))
    world.approve(decide.propose_invoice(world.services, sent, by=PREPARER, why="", at=world.at))
    [proposal] = world.propose_payouts()
    assert proposal.body["total"] == "175"
    world.approve(proposal)
    assert owed(world, CYCLE) == 0


def test_an_invoice_is_entered_once(tmp_path: Path) -> None:
    world = locked(tmp_path, {"requires_invoice": True})
    sent = Invoice("aurora", "aurora-2025", CYCLE, "INV-7", date(2025, 7, 5), Decimal("160.00"))

    def propose(**changes: Any) -> Proposal:
        return decide.propose_invoice(world.services, replace(sent, **changes), by=PREPARER, why="", at=world.at)

    first, second = propose(), propose(number="INV-8")
    world.approve(first)
    for again in (lambda: propose(cycle=JULY), lambda: world.approve(second)):
        with pytest.raises(BadInputError, match="INV-7 is entered already, for aurora-2025 in 2025-06"):
            again()
    with pytest.raises(BadInputError, match="none of aurora"):
        propose(agreement="borealis-2025")
    with pytest.raises(BadInputError, match="above 0"):
        propose(amount=Decimal(0))
    with pytest.raises(BadInputError, match="printed characters"):
        propose(number="")


def test_a_negative_balance_is_carried_whatever_the_agreement_says(tmp_path: Path) -> None:
    world = locked(tmp_path, {"minimum": "100.00", "carry_forward": False})
    world.pay()
    world.bill(P1, "2025-07-20", item(ACME, "-300.00", Item="Refund"))
    world.final(cycle=JULY)
    world.lock(cycle=JULY)

    assert owed(world, JULY) == -30
