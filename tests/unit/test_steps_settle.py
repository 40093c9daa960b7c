"""From seals to settlements: drafts and finals, whichever way the events come, and cases that close themselves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from shared.control.months import LATE
from tests.builders import (
    ACME,
    ASSIGNMENTS,
    ATLAS,
    BIRCH,
    CYCLE,
    DAYS,
    P1,
    P2,
    agreement,
    assigned,
    item,
    parties,
)
from tests.pump import Delivery, World, go_live, small_month


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    return world


# -- what wins ----------------------------------------------------------------------------------------------------


def test_a_bill_that_goes_a_b_a_ends_as_a(world: World) -> None:
    world.final()
    first = world.month().settlement
    world.bill(P1, DAYS[2], item(ACME, "900.00"))
    world.pull_again(1)
    assert world.total() == "220.00"
    world.bill(P1, DAYS[2], item(ACME, "300.00"))
    world.pull_again(2)

    assert world.total() == "160.00"
    assert world.month().settlement == first
    assert len(world.calculations()) == 3
    assert world.seals()[0].snapshot == world.seals()[-1].snapshot
    rows = world.cloud.rows.tables["bill_lines"].values()
    assert [row["pretax"] for row in rows if row["date"] == DAYS[2] and row["payer"] == P1] == ["300.0000000000"]


def test_the_final_waits_until_every_payer_is_final(world: World) -> None:
    world.cloud.provider.answers(P2, "DescribeInstanceBill", DAYS[0], b'{"Success":false,"Code":"NotApplicable"}')
    world.final(0)
    assert [seal.status for seal in world.seals(P1)] == ["final"]
    assert world.seals(P2) == []
    assert world.keys("work", "work/settle/") == []

    world.final(1)
    assert world.total() == "160.00"
    assert len(world.calculations()) == 1


def held_at_routing(tmp_path: Path) -> tuple[World, list[Delivery]]:
    """Both accounts are sealed final in the same second, and nothing has been routed."""
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final(drain=False)
    world.pump.drain(hold=lambda one: one.function == "route_settlements")
    return world, list(world.pump.waiting)


@pytest.mark.parametrize("order", [[0, 1], [1, 0], [0, 1, 0, 1], [1, 0, 0, 1], [0, 0, 1, 1]])
def test_two_accounts_sealed_in_the_same_second_give_one_settlement_over_both(tmp_path: Path, order: list[int]) -> None:
    world, waiting = held_at_routing(tmp_path)
    assert len(waiting) == 2
    world.pump.waiting = [waiting[place] for place in order]
    world.pump.drain(twice=len(order) > 2)

    assert world.total() == "160.00"
    assert len(world.calculations()) == 1
    assert len(world.keys("work", f"work/settle/{CYCLE}/aurora/final-")) == 1
    assert len(world.keys("work", f"settlements/{CYCLE}/aurora/")) == 4


@pytest.mark.parametrize("first", [P1, P2])
def test_every_share_is_settled_whichever_payer_is_sealed_first(world: World, first: str) -> None:
    """Borealis has accounts at payer 200 alone; it waits for payer 100 all the same."""
    world.final(drain=False)
    world.pump.drain(hold=lambda one: first not in one.what.split("/") and one.function != "plan_pulls")
    assert len(world.seals(first)) == 1
    world.pump.drain()

    assert (world.total("aurora"), world.total("borealis")) == ("160.00", "15.00")


@pytest.mark.parametrize("first", [P1, P2])
def test_every_share_has_its_draft_whichever_payer_is_sealed_first(world: World, first: str) -> None:
    world.daily("2025-07-01", drain=False)
    world.pump.drain(hold=lambda one: first not in one.what.split("/") and one.function != "plan_pulls")
    world.pump.drain()

    assert [key.split("/")[2] for key in world.keys("work", "drafts/")] == ["aurora", "borealis", "operator"]


@pytest.mark.parametrize("seed", range(6))
def test_events_out_of_order_and_twice_give_the_same_settlements(world: World, tmp_path: Path, seed: int) -> None:
    print(f"seed {seed}")
    world.daily("2025-07-01")
    world.final()
    shuffled = World(tmp_path / "shuffled")
    small_month(shuffled)
    go_live(shuffled)
    shuffled.daily("2025-07-01", drain=False)
    shuffled.pump.drain(seed, twice=True)
    shuffled.final(drain=False)
    shuffled.pump.drain(seed, twice=True)

    for owner in ("aurora", "borealis"):
        assert shuffled.month(owner).settlement == world.month(owner).settlement
    assert [seal.snapshot for seal in shuffled.seals()] == [seal.snapshot for seal in world.seals()]
    names = [key for key in shuffled.keys("work") if not key.startswith(("controls/", "cases/"))]
    assert names == [key for key in world.keys("work") if not key.startswith(("controls/", "cases/"))]


def test_a_late_settle_order_of_an_older_round_does_not_replace_a_newer_settlement(world: World) -> None:
    world.final(drain=False)
    world.pump.drain(hold=lambda one: one.function == "settle")
    late = list(world.pump.waiting)
    world.pump.waiting.clear()
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1)
    assert world.total() == "170.00"

    world.pump.waiting = late
    world.pump.drain()

    assert world.total() == "170.00"
    assert len(world.calculations()) == 1


def test_a_run_that_is_overtaken_by_a_decision_does_not_bring_the_old_inputs_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While aurora's month is computed, an account leaves it, and that is settled first."""
    upload = world.cloud.work.upload_once
    moved = parties([ASSIGNMENTS[0], assigned(ATLAS, "atlas", "borealis"), ASSIGNMENTS[2]])

    def overtaken(key: str, path: Path) -> bool:
        if key.startswith(f"settlements/{CYCLE}/aurora/"):
            monkeypatch.setattr(world.cloud.work, "upload_once", upload)
            world.decide_parties(moved)
            assert world.total() == "60.00"
        return upload(key, path)

    monkeypatch.setattr(world.cloud.work, "upload_once", overtaken)
    world.final()

    assert (world.total("aurora"), world.total("borealis")) == ("60.00", "115.00")


# -- drafts -------------------------------------------------------------------------------------------------------


def test_drafts_are_at_most_one_a_day_and_only_the_last_two_are_kept(world: World) -> None:
    world.bill(P2, DAYS[0], item(ATLAS, "1.00"))  # so that aurora has lines with both payers every day
    for number, day in enumerate(("2025-06-29", "2025-06-30", "2025-07-01", "2025-07-02")):
        world.bill(P1, DAYS[2], item(ACME, f"30{number}.00"))
        world.daily(day, drain=False)
        world.pump.drain(seed=number, twice=True)

    ordered = [key.rpartition("/")[2][:16] for key in world.keys("work", f"work/settle/{CYCLE}/aurora/")]
    assert ordered == ["draft-2025-06-29", "draft-2025-06-30", "draft-2025-07-01", "draft-2025-07-02"]
    assert world.keys("work", f"drafts/{CYCLE}/aurora/") == [
        f"drafts/{CYCLE}/aurora/2025-07-01.json",
        f"drafts/{CYCLE}/aurora/2025-07-02.json",
    ]
    assert len({key.split("/")[3] for key in world.keys("work", f"settlements/{CYCLE}/aurora/")}) == 2
    assert "calculated" not in {entry.kind for entry in world.services.chain.read("reseller/aurora")}


def test_a_draft_whose_content_becomes_the_final_one_survives_the_removal_of_drafts(world: World) -> None:
    world.daily("2025-07-01")
    world.final()
    folder = f"settlements/{CYCLE}/aurora/{world.month().settlement}/"
    for day in ("2025-07-02", "2025-07-03"):
        world.daily(day)

    assert [key.rpartition("/")[2] for key in world.keys("work", folder)] == [
        *("held.parquet", "lines.parquet", "manifest.json", "summary.json"),
    ]


# -- cases --------------------------------------------------------------------------------------------------------


def test_an_unmapped_account_is_a_case_with_its_lines_and_amount_and_closes_once_it_is_assigned(
    world: World,
) -> None:
    small_month(world, [(P1, DAYS[0], item("1009", "30.00")), (P1, DAYS[1], item("1009", "40.00"))])
    world.final()

    [case] = world.cases()
    assert (case["kind"], case["owner"], case["lines"], case["amount"]) == ("unmapped_account", "operator", 2, "70")
    assert "1009" in str(case["problem"])
    assert world.total() == "160.00"

    world.decide_parties(parties([*ASSIGNMENTS, assigned("1009", "acme", "aurora")]))

    assert world.cases() == []
    [closed] = world.cases(state="closed")
    assert closed["id"] == case["id"]
    assert closed["closed_by"] == world.month("operator").settlement
    assert world.total() == "167.00"


def test_a_product_without_a_rule_is_a_case_and_closes_with_a_version_that_has_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world, [(P1, DAYS[0], item(ACME, "30.00", "oss"))])
    world.decide_parties(parties())
    world.decide_agreement(agreement(until="2025-06-30"))
    world.decide_agreement(agreement("borealis"))
    world.final()

    [case] = world.cases()
    assert (case["kind"], case["owner"], case["lines"], case["amount"]) == ("no_rule", "aurora", 1, "30")
    assert "oss" in str(case["problem"])
    assert world.total() == "160.00"


def test_an_account_without_an_agreement_is_a_case_and_closes_with_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    world.decide_parties(parties())
    world.decide_agreement(agreement("aurora"))
    world.final()
    [case] = world.cases()
    assert (case["kind"], case["owner"], case["lines"], case["amount"]) == ("no_agreement", "borealis", 3, "150")

    world.decide_agreement(agreement("borealis"))

    assert world.cases() == []
    assert world.total("borealis") == "15.00"


def test_an_unmapped_account_with_two_currencies_shows_the_lines_of_both(world: World) -> None:
    usd = item("1009", "5.00", Currency="USD")
    small_month(world, [(P1, DAYS[0], item("1009", "30.00")), (P1, DAYS[1], usd)])
    world.final()

    held = sorted((str(one["currency"]), str(one["amount"]), one["lines"]) for one in world.cases())
    assert held == [("CNY", "30", 1), ("USD", "5", 1)]


def test_two_resellers_with_a_case_over_one_account_each_show_their_own(tmp_path: Path) -> None:
    """The account changes hands on the 30th, and neither reseller has an agreement."""
    world = World(tmp_path)
    small_month(world)
    moved = [
        assigned(ACME, "acme", "aurora", until=DAYS[1]),
        assigned(ACME, "acme", "borealis", since=DAYS[2]),
        assigned(ATLAS, "atlas", None),
        assigned(BIRCH, "birch", None),
    ]
    world.decide_parties(parties(moved))
    world.final()

    held = sorted((str(one["owner"]), str(one["amount"]), one["lines"]) for one in world.cases())
    assert held == [("aurora", "300", 2), ("borealis", "300", 1)]


# -- decisions that change what is settled ------------------------------------------------------------------------


def test_an_account_that_moves_to_another_reseller_is_settled_there_and_only_there(world: World) -> None:
    world.final()
    world.decide_parties(
        parties([assigned(ACME, "acme", "aurora"), assigned(ATLAS, "atlas", "borealis"), ASSIGNMENTS[2]])
    )

    assert (world.total("aurora"), world.total("borealis")) == ("60.00", "115.00")


def test_a_reseller_that_loses_its_last_account_is_owed_nothing_for_it(world: World) -> None:
    world.final()
    assert world.total("borealis") == "15.00"

    world.decide_parties(parties([*ASSIGNMENTS[:2], assigned(BIRCH, "birch", "aurora")]))

    assert world.total("aurora") == "175.00"
    assert world.total("borealis") == "0.00"


def test_parties_that_go_a_b_a_end_as_a(world: World) -> None:
    """The same party document, restored, calls for the same settlement: its order must run once more."""
    world.final()
    moved = parties([ASSIGNMENTS[0], assigned(ATLAS, "atlas", "borealis"), ASSIGNMENTS[2]])
    world.decide_parties(moved)
    assert (world.total("aurora"), world.total("borealis")) == ("60.00", "115.00")

    world.decide_parties(parties())

    assert (world.total("aurora"), world.total("borealis")) == ("160.00", "15.00")


def test_parties_that_go_a_b_a_are_mended_by_the_sweep_at_the_latest(world: World) -> None:
    world.final()
    world.decide_parties(parties([ASSIGNMENTS[0], assigned(ATLAS, "atlas", "borealis"), ASSIGNMENTS[2]]))
    world.decide_parties(parties())
    world.sweep("2025-07-04")

    assert (world.total("aurora"), world.total("borealis")) == ("160.00", "15.00")


# -- after the lock -----------------------------------------------------------------------------------------------


def test_after_the_lock_a_changed_bill_does_not_change_the_month_and_is_a_case(world: World) -> None:
    world.final()
    world.lock()
    locked = world.month().settlement
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1)

    assert world.total() == "160.00"
    assert world.month().settlement == locked
    [case] = world.cases()
    assert (case["kind"], case["owner"]) == ("arrived_after_lock", "aurora")
    assert world.month("borealis").late == []


def test_what_arrived_after_the_lock_and_was_taken_back_is_no_case_any_more(world: World) -> None:
    world.final()
    world.lock()
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1)
    assert [one["kind"] for one in world.cases()] == ["arrived_after_lock"]
    world.bill(P1, DAYS[2], item(ACME, "300.00"))
    world.pull_again(2)

    assert world.cases() == []


def test_the_same_late_bill_is_one_case_however_often_its_orders_come(world: World) -> None:
    world.final()
    world.lock()
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1, drain=False)
    world.pump.drain(seed=1, twice=True)

    assert [one["kind"] for one in world.cases()] == ["arrived_after_lock"]
    assert {entry.body["settlement"] for entry in world.month().late} == {world.month().late[0].body["settlement"]}
    assert world.month().late[0].kind == LATE


def test_the_calculation_names_every_seal_it_read(world: World) -> None:
    world.final()
    calculated = world.month().calculated
    assert calculated is not None

    assert calculated.body["seals"] == {P1: world.seals(P1)[-1].seq, P2: world.seals(P2)[-1].seq}
    assert {stream for stream in calculated.reads if stream.startswith("bill/")} == {
        f"bill/{P1}/{CYCLE}",
        f"bill/{P2}/{CYCLE}",
    }
    assert all(world.heads()[stream] == (head.seq, head.hash) for stream, head in calculated.reads.items())


def test_every_line_ends_in_exactly_one_place(world: World) -> None:
    small_month(world, [(P1, DAYS[0], item("1009", "30.00")), (P1, DAYS[1], item(ACME, "40.00", "oss"))])
    world.final()

    bill = sum((1 for _, items in world.cloud.provider.bills.items() for _ in items))
    settled = 0
    for owner in ("aurora", "borealis", "operator"):
        folder = f"settlements/{CYCLE}/{owner}/{world.month(owner).settlement}/"
        summary = json.loads(world.cloud.work.objects[folder + "summary.json"])
        settled += summary["bill"].get("CNY", {"lines": 0})["lines"]
    assert settled == bill
