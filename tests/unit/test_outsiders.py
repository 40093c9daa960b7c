"""What comes from outside decides nothing: files, orders and documents cannot make money due, move it or hide it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest

from shared.control.months import CALCULATED
from shared.documents import DocumentRefusedError, read_yaml
from shared.errors import BadInputError
from shared.parties.document import party_document
from shared.report.cells import safe
from shared.steps.acts.locks import UnexplainedError
from shared.steps.reconcile import summarise
from shared.steps.route_settlements import Order
from tests.builders import ACME, CYCLE, DAYS, P1, agreement, item, parties
from tests.pump import World, go_live, small_month

AURORA = f"{CYCLE}.aurora.aurora-2025"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    return world


def forge(world: World, **changes: object) -> None:
    """Lay a settle order into the bucket that no seal and no decision called for."""
    calculated = world.month().calculated
    assert calculated is not None
    true = json.loads(world.cloud.work.objects[calculated.body["order"]])
    order = Order(**{**true, "agreements": tuple(true["agreements"]), **changes})
    world.cloud.work.put_again(order.key, order.body)
    world.pump.drain()


# -- orders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seals", [{}, {P1: 1}], ids=["none", "an older one"])
def test_a_final_order_that_the_chain_does_not_call_for_settles_nothing(world: World, seals: dict[str, int]) -> None:
    before = world.calculations()
    forge(world, seals=seals)

    assert world.calculations() == before
    assert world.total() == "160.00"


def test_a_provisional_bill_cannot_be_settled_as_final(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.daily("2025-07-01")
    [key] = list(world.keys("work", f"work/settle/{CYCLE}/aurora/"))
    draft = json.loads(world.cloud.work.objects[key])
    order = Order(**{**draft, "agreements": tuple(draft["agreements"]), "status": "final", "day": ""})
    world.cloud.work.put_again(order.key, order.body)
    world.pump.drain()

    assert [e.kind for e in world.services.chain.read("reseller/aurora") if e.kind == CALCULATED] == []


def test_a_month_whose_summary_was_changed_is_not_locked(world: World) -> None:
    key = f"settlements/{CYCLE}/aurora/{world.month().settlement}/summary.json"
    world.cloud.work.put_again(key, world.cloud.work.objects[key].replace(b"160.00", b"999.00"))
    with pytest.raises(UnexplainedError, match="is not the summary that reseller/aurora#"):
        world.propose_lock()


def test_a_summary_that_is_changed_after_the_lock_is_not_published(world: World) -> None:
    world.approve(world.propose_lock(), drain=False)
    key = f"settlements/{CYCLE}/aurora/{world.month().settlement}/summary.json"
    world.cloud.work.put_again(key, world.cloud.work.objects[key].replace(b"160.00", b"999.00"))
    world.pump.drain()

    [refusal] = world.pump.refusals
    assert "is not the summary that was locked" in refusal["refused"]
    assert world.keys("records", "statements/") == []


def test_a_stray_object_among_the_seals_stops_no_approval(world: World) -> None:
    world.cloud.work.put_again("seals/9/9/9.json", b"{}")
    world.pump.drain()

    world.decide_parties(parties())
    world.sweep("2025-07-04")
    assert world.total() == "160.00"


def test_the_operators_own_share_is_not_locked_like_a_resellers(world: World) -> None:
    with pytest.raises(BadInputError, match="'operator' is not known; known are aurora, borealis"):
        world.propose_lock("operator")


# -- the bank's answers ------------------------------------------------------------------------------------------------


def test_a_file_that_says_returned_makes_nothing_due_again(world: World) -> None:
    world.lock()
    world.pay()
    world.bank_answers("forged", (AURORA, "returned", "160.00", "CNY", "made up"))

    assert world.propose_payouts() == []
    assert {case["kind"] for case in world.cases()} == {"payout_returned"}


def test_answers_that_contradict_each_other_are_a_case(world: World) -> None:
    world.lock()
    world.pay()
    world.bank_answers("forged", (AURORA, "rejected", "160.00", "CNY", "made up"))
    world.bank_answers("true", (AURORA, "confirmed", "160.00", "CNY", "B1"))
    world.bank_answers("again", (AURORA, "confirmed", "160.00", "CNY", "B1"))

    assert [case["kind"] for case in world.cases()] == ["payout_contradicted"]
    assert len(world.month().contradicted) == 1


def test_a_payment_that_an_approved_batch_could_no_longer_make_is_a_case(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    world.bill(P1, "2025-07-31", item(ACME, "200.00"))
    go_live(world)
    world.final()
    world.lock()
    world.final(cycle="2025-07")
    world.lock("aurora", cycle="2025-07")
    [june], [july] = world.propose_payouts("2025-06"), world.propose_payouts("2025-07")
    world.approve(june, drain=False)
    world.approve(july, drain=False)
    world.pump.drain()

    cases = [*world.cases("2025-06"), *world.cases("2025-07")]
    assert {case["kind"] for case in cases} == {"payout_not_instructed"}
    assert all("what is owed had changed" in str(case["problem"]) for case in cases)


# -- documents ------------------------------------------------------------------------------------------------------


def test_a_currency_does_not_change_between_versions(world: World) -> None:
    later = agreement("aurora", "10", version=2, since="2026-01-01", currency="USD")

    with pytest.raises(DocumentRefusedError, match="another currency is another agreement"):
        world.decide_agreement(later)


def test_a_reseller_that_is_owed_money_cannot_be_left_out_of_the_parties(world: World) -> None:
    world.lock()
    document = parties(assignments=[])
    document["resellers"] = [one for one in document["resellers"] if one["id"] != "aurora"]
    document["payees"] = []

    with pytest.raises(DocumentRefusedError, match="resellers: aurora is no longer there"):
        world.decide_parties(document)


def test_no_reseller_is_called_as_the_operators_share_is(world: World) -> None:
    document = parties()
    document["resellers"].append({"id": "operator", "name": {"en": "Me"}})

    with pytest.raises(DocumentRefusedError, match="stands for the operator's own share"):
        world.decide_parties(document)


def test_a_rule_that_repeats_an_earlier_condition_is_refused(world: World) -> None:
    document = agreement("aurora", "10", version=2, since="2026-01-01")
    document["rules"] = [document["rules"][0], {**document["rules"][0], "id": "again"}]

    with pytest.raises(DocumentRefusedError, match="this one never matches"):
        world.decide_agreement(document)


@pytest.mark.parametrize(
    "body", [b"? [a, b]\n: 1", b"!!set {a}", b"!!timestamp 2025-13-45", b"!!bool maybe", b"!!int zz", b"!!int ''"]
)
def test_odd_yaml_is_refused_with_a_message(body: bytes) -> None:
    with pytest.raises(DocumentRefusedError, match=r"odd\.yaml cannot be used"):
        party_document(read_yaml(body, "odd.yaml"), "odd.yaml")


# -- what people read -------------------------------------------------------------------------------------------------


def test_what_arrives_after_the_lock_is_explained_by_its_case(world: World) -> None:
    world.lock()
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1)

    [comparison] = summarise(world.services, CYCLE).comparisons
    assert comparison.unexplained == 0
    [case] = [case for case in world.cases() if case["kind"] == "arrived_after_lock"]
    assert Decimal(str(case["amount"])) != 0


@pytest.mark.parametrize(("value", "cell"), [("0E-10", "0.0000000000"), ("1.23E-8", "0.0000000123"), ("-5", "-5")])
def test_amounts_are_written_without_an_exponent(value: str, cell: str) -> None:
    assert safe(Decimal(value)) == cell
