"""Months that follow each other: what has reached a locked month is adjusted in the next one, and only that."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import PREPARER
from shared.columnar import connect
from shared.control.months import CALCULATED
from shared.reference.opening import CHARGE_COLUMNS
from shared.steps import verifying
from shared.steps.acts import references
from shared.steps.inputs import Kept
from tests.builders import ACME, ASSIGNMENTS, ATLAS, CYCLE, DAYS, P1, P2, agreement, assigned, item, parties
from tests.pump import World, go_live, small_month

JULY = "2025-07"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """June is locked at 160.00 and 15.00; in July acme uses 100.00, of which aurora earns 10.00."""
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    world.lock()
    world.bill(P1, "2025-07-10", item(ACME, "100.00"))
    return world


def lines(world: World, cycle: str = JULY, owner: str = "aurora", kind: str = "adjustment") -> list[Mapping[str, Any]]:
    """The lines of a kind of what counts of a month."""
    settlement = world.month(owner, cycle).settlement
    assert settlement is not None
    path = world.services.scratch / "seen.parquet"
    path.write_bytes(world.cloud.work.get(Kept(cycle, owner, settlement).folder + "lines.parquet"))
    with connect(world.services.scratch) as connection:
        found = connection.execute(f"SELECT * FROM read_parquet('{path}') WHERE kind = '{kind}' ORDER BY ALL")
        names = [one[0] for one in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def looked_back(world: World, cycle: str = JULY, owner: str = "aurora") -> Mapping[str, str]:
    """The cycles that a settlement looked back to, and why."""
    settlement = world.month(owner, cycle).settlement
    assert settlement is not None
    summary = Kept(cycle, owner, settlement).summary(world.services)
    return {one: why.partition(": ")[2] for one, why in summary.get("looked_back", {}).items()}


def proven(world: World, cycle: str = JULY, owner: str = "aurora") -> bool:
    """Whether a settlement comes to the same from its manifest alone."""
    scratch = world.services.scratch / f"again-{owner}-{cycle}"
    scratch.mkdir()
    kept = Kept(cycle, owner, str(world.month(owner, cycle).settlement))
    return all(check.holds for check in verifying.verify(world.services, kept, scratch))


def test_a_month_that_nothing_reached_is_not_looked_back_to(world: World) -> None:
    world.final(cycle=JULY)

    assert world.total(cycle=JULY) == "10.00"
    assert looked_back(world) == {}
    assert proven(world)


def test_a_refund_of_the_next_month_takes_back_what_its_charge_earned(world: World) -> None:
    world.bill(P1, "2025-07-20", item(ACME, "-300.00", Item="Refund"))
    world.final(cycle=JULY)

    assert world.total(cycle=JULY) == "-20.00"  # 10 of July; 30, that 300.00 of 30 June earned, comes back
    assert looked_back(world) == {CYCLE: "refunds of 2025-07"}
    [line] = lines(world)
    assert (str(line["amount"]).rstrip("0"), line["cycle"], line["corrects"]) == ("-30.", CYCLE, "adjustment")
    assert line["because"].startswith(f"due less posted in {str(world.month().settlement)[:12]}: refunds of {JULY}")
    assert [one for one in world.cases(JULY) if one["kind"] == "unlinked_refund"] == []
    assert looked_back(world, owner="borealis") == {}
    assert proven(world)


def test_a_statement_says_which_months_it_adjusts_and_why(world: World) -> None:
    world.bill(P1, "2025-07-20", item(ACME, "-300.00", Item="Refund"))
    world.final(cycle=JULY)
    world.lock("aurora", cycle=JULY)

    [key] = [key for key in world.keys("records", f"statements/{JULY}/aurora/") if key.endswith(".json")]
    [adjusted] = json.loads(world.cloud.records.get(key))["adjusted"]
    assert (adjusted["cycle"], adjusted["amount"], adjusted["lines"]) == (CYCLE, "-30", 1)
    assert adjusted["because"].endswith(": refunds of 2025-07")


def test_the_months_after_it_take_nothing_back_again(world: World) -> None:
    world.bill(P1, "2025-07-20", item(ACME, "-300.00", Item="Refund"))
    world.final(cycle=JULY)
    world.lock(cycle=JULY)
    world.bill(P1, "2025-08-01", item(ACME, "50.00"))
    world.final(cycle="2025-08")

    assert world.total(cycle="2025-08") == "5.00"
    assert looked_back(world, "2025-08") == {}
    # Another refund of the same charge finds nothing left of it, and takes from the one before.
    world.lock(cycle="2025-08")
    world.bill(P1, "2025-09-02", item(ACME, "-200.00", Item="Refund"))
    world.final(cycle="2025-09")
    assert looked_back(world, "2025-09") == {CYCLE: "refunds of 2025-09"}
    assert world.total(cycle="2025-09") == "-20.00"
    assert proven(world, "2025-09")


def test_lines_that_arrive_after_the_lock_are_adjusted_and_their_case_is_settled_by_the_next_lock(world: World) -> None:
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1)
    assert [case["kind"] for case in world.cases()] == ["arrived_after_lock"]
    world.final(cycle=JULY)

    assert world.total(cycle=JULY) == "20.00"  # 10 of July and 10 of the 100.00 more
    assert looked_back(world) == {CYCLE: "other bill"}
    assert [str(line["amount"])[:5] for line in lines(world)] == ["10.00"]
    assert [case["kind"] for case in world.cases()] == ["arrived_after_lock"]
    world.lock(cycle=JULY)
    assert world.cases() == []
    assert proven(world)


def test_what_arrives_while_the_next_month_is_calculated_calculates_it_anew(world: World) -> None:
    world.final(cycle=JULY)
    before = world.month(cycle=JULY).settlement
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1)

    assert world.total(cycle=JULY) == "20.00"
    assert world.month(cycle=JULY).settlement != before
    assert world.total() == "160.00"


def test_a_corrected_assignment_moves_what_both_resellers_earned(world: World) -> None:
    world.decide_parties(parties([ASSIGNMENTS[0], assigned(ATLAS, "atlas", "borealis"), ASSIGNMENTS[2]]))
    world.final(cycle=JULY)

    assert (world.total("aurora", JULY), world.total("borealis", JULY)) == ("-90.00", "100.00")
    assert looked_back(world) == {CYCLE: "other holders of its accounts"}
    assert proven(world)
    assert proven(world, owner="borealis")


def test_who_holds_nothing_any_more_is_settled_while_refunds_may_come(world: World) -> None:
    """Borealis takes over acme in July; what is refunded then of June is aurora's loss all the same."""
    moved = [assigned(ACME, "acme", "aurora", until="2025-06-30"), assigned(ACME, "acme", "borealis", "2025-07-01")]
    atlas = assigned(ATLAS, "atlas", "aurora", until="2025-06-30")
    world.decide_parties(parties([*moved, atlas, ASSIGNMENTS[2]]))
    world.bill(P1, "2025-07-20", item(ACME, "-300.00", Item="Refund"))
    world.final(cycle=JULY)

    assert (world.total("aurora", JULY), world.total("borealis", JULY)) == ("-30.00", "10.00")
    assert world.cases(JULY) == []
    assert looked_back(world, owner="borealis") == {}


def test_a_version_that_began_in_a_locked_month_is_settled_from_then_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    world.decide_parties(parties())
    world.decide_agreement(agreement("aurora", until="2025-06-29"))
    world.decide_agreement(agreement("borealis"))
    world.final()
    world.lock()
    assert world.total() == "30.00"
    assert {case["kind"] for case in world.cases()} == {"no_agreement"}
    world.decide_agreement(agreement("aurora", "20", version=2, since="2025-06-30"))
    world.bill(P1, "2025-07-10", item(ACME, "100.00"))
    world.final(cycle=JULY)

    assert world.total(cycle=JULY) == "280.00"  # 20, and 20 % of the 300.00 and 1000.00 of 30 June
    assert looked_back(world) == {CYCLE: "other agreement versions"}
    assert [case["kind"] for case in world.cases()] == ["arrived_after_lock"]
    world.lock(cycle=JULY)
    assert world.cases() == []


def test_a_case_that_only_the_new_look_finds_is_told_in_the_month_that_adjusts(world: World) -> None:
    world.bill(P1, DAYS[1], item(ACME, "200.00"), item(ACME, "70.00", "oss"))
    world.pull_again(1)
    world.final(cycle=JULY)

    [case] = [one for one in world.cases(JULY) if one["owner"] == "aurora"]
    assert (case["kind"], case["amount"]) == ("no_rule", "70")


def test_contract_years_stand_on_the_months_before(tmp_path: Path) -> None:
    """10 % of the first 1,600.00 of the year and 50 % above: June fills the first band."""
    world = World(tmp_path)
    small_month(world)
    world.decide_parties(parties())
    yearly = agreement("aurora")
    bands = [{"upto": "1600", "percent": "10"}, {"percent": "50"}]
    year = {"scope": "reseller", "over": "contract_year", "method": "graduated", "measure": "pretax", "bands": bands}
    yearly["scales"] = {"year": year}
    yearly["rules"] = [{**yearly["rules"][0], "earn": {"scale": "year"}}]
    world.decide_agreement(yearly)
    world.decide_agreement(agreement("borealis"))
    world.final()
    world.lock()
    assert world.total() == "160.00"
    world.bill(P1, "2025-07-10", item(ACME, "100.00"))
    world.final(cycle=JULY)
    assert world.total(cycle=JULY) == "50.00"
    assert lines(world) == []
    world.lock(cycle=JULY)

    # 100.00 less in June: 100.00 of July move to the first band.
    world.bill(P1, DAYS[2], item(ACME, "200.00"))
    world.pull_again(1)
    world.bill(P2, "2025-08-05", item(ATLAS, "10.00"))
    world.final(cycle="2025-08")
    assert looked_back(world, "2025-08") == {CYCLE: "other bill", JULY: "totals of the contract year"}
    assert world.total(cycle="2025-08") == "-45.00"  # 5 of August, -10 of June, -40 of July
    assert proven(world, "2025-08")


def test_a_refund_of_a_charge_before_the_opening_takes_back_what_it_earned(tmp_path: Path) -> None:
    """100.00 was charged in May and earned 8.00; a quarter of it was refunded and taken back before."""
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    row = f"c-1,2025-05-31,{ACME},acme,ecs,ecs,instance_type,i-9,PayAsYouGo,usage,CNY,100,75,aurora-2025,old,1,100,8"
    body = f"{','.join(CHARGE_COLUMNS)}\n{row}\n".encode()
    data = {"reseller": "aurora", "as_of": CYCLE, "past_charges": "past.csv"}
    named = {"by": PREPARER, "why": "go live", "at": world.at}
    world.approve(references.propose_opening(world.services, data, "o", lambda _: body, **named))
    world.bill(P1, DAYS[1], item(ACME, "200.00"), item(ACME, "-50.00", Item="Refund", InstanceID="i-9"))
    world.final()

    assert world.total() == "156.00"  # 4.00 of 8.00: it stands at three quarters now
    [line] = lines(world, CYCLE)
    assert (line["cycle"], line["rule"], line["version"], line["customer"]) == ("2025-05", "old", 1, "acme")
    assert proven(world, CYCLE)
    world.lock()
    # Nothing of it is taken again, and what is left goes with the next refund.
    world.bill(P1, "2025-07-10", item(ACME, "100.00"))
    world.final(cycle=JULY)
    assert (world.total(cycle=JULY), lines(world)) == ("10.00", [])
    world.lock(cycle=JULY)
    world.bill(P1, "2025-08-10", item(ACME, "-25.00", Item="Refund", InstanceID="i-9"))
    world.final(cycle="2025-08")
    assert world.total(cycle="2025-08") == "-2.00"
    assert proven(world, "2025-08")


def test_an_entry_names_what_was_looked_back_to(world: World) -> None:
    world.final(cycle=JULY)
    entry = world.month(cycle=JULY).calculated
    assert entry is not None
    assert entry.kind == CALCULATED

    earlier = json.loads(json.dumps(dict(entry.body["earlier"])))
    seals = {P1: world.seals(P1)[-1].seq, P2: world.seals(P2)[-1].seq}
    assert earlier == {CYCLE: {"seals": seals, "locked": world.month().settlement}}
