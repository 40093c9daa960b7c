"""Where figures of months that follow each other come from: what was settled, what was posted since, and why."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.steps.explaining.asking import explain, find
from shared.steps.explaining.words import words
from tests.builders import ACME, ASSIGNMENTS, ATLAS, CYCLE, DAYS, P1, P2, agreement, assigned, item, parties
from tests.fakes import Item
from tests.pump import World, go_live, small_month

JULY, AUGUST = "2025-07", "2025-08"
REFUND = item(ACME, "-200.00", Item="Refund")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """June is locked at 160.00; in July acme uses 100.00 of another instance."""
    return begun(tmp_path)


def begun(tmp_path: Path, document: dict[str, Any] | None = None) -> World:
    """The same by another agreement of aurora."""
    world = World(tmp_path / "scratch")
    small_month(world)
    if document is None:
        go_live(world)
    else:
        world.decide_parties(parties())
        world.decide_agreement(document)
        world.decide_agreement(agreement("borealis"))
    world.final()
    world.lock()
    world.bill(P1, "2025-07-10", item(ACME, "100.00", InstanceID="i-7"))
    return world


def arrive(world: World, *items: Item) -> None:
    """The last day of June is billed again, after the lock."""
    world.bill(P1, DAYS[2], *items)
    world.pull_again(1)


def line_of(world: World, pretax: str, cycle: str = CYCLE, account: str = ACME) -> str:
    """The id of the line of a month that costs so much now."""
    rows = [row for row in world.cloud.rows.tables["bill_lines"].values() if row["cycle"] == cycle]
    mine = (row for row in rows if row["account"] == account and not row.get("gone"))
    [found] = [row for row in mine if Decimal(str(row["pretax"])) == Decimal(pretax)]
    return str(found["line_id"])


def all_facts(world: World, id_: str) -> list[dict[str, Any]]:
    """The facts behind an id, which must be plain data, and have words."""
    found = explain(world.services, id_)
    assert all(words(one) for one in found)
    return list(json.loads(json.dumps(found)))


def facts(world: World, id_: str) -> dict[str, Any]:
    """The same of what is in one share."""
    [found] = all_facts(world, id_)
    return found


def said(found: dict[str, Any]) -> str:
    """The facts as a person reads them."""
    return "\n".join(words(found))


def settle(world: World, *cycles: str) -> None:
    """Settle months, and lock all but the last."""
    for cycle in cycles:
        world.final(cycle=cycle)
        if cycle != cycles[-1]:
            world.lock(cycle=cycle)


# -- refunds ------------------------------------------------------------------------------------------------------


def test_a_refund_names_its_charge_of_the_month_before_and_where_it_was_posted(world: World) -> None:
    world.bill(P1, "2025-07-20", REFUND)
    settle(world, JULY)
    charge, refund = line_of(world, "200"), line_of(world, "-200", JULY)

    found = facts(world, refund)
    [undone] = found["undoes"]
    assert (undone["cycle"], undone["taken_back"], undone["re_rated"]) == (CYCLE, "-20", None)
    assert undone["charges"] == [{"id": charge, "basis": "-200", "is_netted": False}]
    assert undone["settlement"]["locked"]["approved_by"] == "amir"
    assert f"It undoes -200.00 CNY of charge {charge} of {CYCLE}" in said(found)
    assert f"It takes back -20.00 CNY of {CYCLE}, posted in {JULY} as an adjustment" in said(found)


def test_a_charge_shows_the_refunds_of_later_months(world: World) -> None:
    world.bill(P1, "2025-07-20", REFUND)
    settle(world, JULY)
    refund = line_of(world, "-200", JULY)

    found = facts(world, line_of(world, "200"))
    [look] = found["since"]
    assert (look["settlement"]["cycle"], look["why"]) == (JULY, f"refunds of {JULY}")
    assert look["refunds"][0] | {"basis": ""} == {
        "id": refund,
        "cycle": JULY,
        "date": "2025-07-20",
        "basis": "",
        "is_netted": False,
        "taken_back": "-20",
        "with": [],
    }
    assert found["now"] == {"settled": "20", "since": "0", "total": "20"}
    assert f"refund {refund} of {JULY}, -200.00: takes back -20.00, posted in {JULY}" in said(found)


def test_what_a_refund_takes_of_two_charges_of_a_month_is_told_once_for_both(world: World) -> None:
    world.bill(P1, "2025-07-20", item(ACME, "-400.00", Item="Refund"))
    settle(world, JULY)
    last, before = line_of(world, "300"), line_of(world, "200")

    [undone] = facts(world, line_of(world, "-400", JULY))["undoes"]
    assert ({one["id"] for one in undone["charges"]}, undone["taken_back"]) == ({last, before}, "-40")
    [look] = facts(world, last)["since"]
    assert (look["refunds"][0]["taken_back"], look["refunds"][0]["with"]) == ("-40", [before])


def test_a_netted_refund_says_what_its_charge_was_adjusted_by(tmp_path: Path) -> None:
    world = begun(tmp_path, {**agreement("aurora"), "refunds": {"within": "same_month", "take_back": "rerate"}})
    world.bill(P1, "2025-07-20", item(ACME, "-50.00", Item="Refund"))
    settle(world, JULY)

    [undone] = facts(world, line_of(world, "-50", JULY))["undoes"]
    assert (undone["taken_back"], undone["re_rated"]) == ("0", "-5")
    charge = facts(world, line_of(world, "300"))
    assert (charge["since"][0]["refunds"][0]["is_netted"], charge["now"]["total"]) == (True, "25")
    assert (charge["due"]["basis"]["netted"], charge["due"]["basis"]["left"]) == ("50", "250")


def test_a_refund_that_arrives_after_the_lock_is_linked_to_its_charge(world: World) -> None:
    arrive(world, item(ACME, "300.00"), REFUND)
    settle(world, JULY)
    charge = line_of(world, "200")

    found = facts(world, line_of(world, "-200"))
    assert (found["settlement"], found["is_late"]) == (None, True)
    [undone] = found["since"][0]["undoes"]
    assert [one["id"] for one in undone["charges"]] == [charge]
    assert undone["re_rated"] == "-20"  # of the same month: netted
    [refund] = facts(world, charge)["since"][0]["refunds"]
    assert (refund["id"], refund["is_netted"]) == (line_of(world, "-200"), True)


# -- what arrived, what changed, who holds it --------------------------------------------------------------------------


def test_a_line_that_arrives_after_the_lock_is_explained_by_the_adjustment(world: World) -> None:
    arrive(world, item(ACME, "300.00"), item(ACME, "44.00", InstanceID="i-9"))
    late = line_of(world, "44")
    assert "adjusted by the next month's settlement" in said(facts(world, late))
    settle(world, JULY)

    found = facts(world, late)
    assert (found["settlement"], found["not_in"]["id"]) == (None, world.month().settlement)
    assert found["raw"]["seal"] == f"bill/{P1}/{CYCLE}#2"
    assert (found["basis"]["left"], found["earning"]["rate"], found["earning"]["amount"]) == ("44", "0.1", "4.4")
    assert found["now"] == {"settled": "0", "since": "4.4", "total": "4.4"}
    assert found["since"][0]["statement_lines"][0]["id"] == f"aurora-2025/{JULY}/1"
    text = said(found)
    assert f"aurora {CYCLE}, locked: it arrived after the lock" in text
    assert f"posted 4.40 CNY for {CYCLE}: commission of rule sells-ecs, aurora-2025 version 1" in text
    assert "By itself it comes to 4.40 now" in text


def test_a_line_that_changed_says_what_it_was_and_what_was_posted(world: World) -> None:
    arrive(world, item(ACME, "400.00"))
    settle(world, JULY)

    found = facts(world, line_of(world, "400"))
    assert (found["line"]["pretax"], found["earning"]["amount"]) == ("300", "30")
    [look] = found["since"]
    assert {"name": "pretax", "was": "300", "is": "400"} in look["changes"]
    assert (look["amount"], look["corrects"]) == ("10", world.month().settlement)
    assert found["now"] == {"settled": "30", "since": "10", "total": "40"}
    assert (found["due"]["basis"]["left"], found["due"]["earning"]["amount"]) == ("400", "40")
    assert "pretax was 300.00, is 400.00" in said(found)


def test_a_line_that_is_gone_says_so(world: World) -> None:
    id_ = line_of(world, "300")
    arrive(world)
    settle(world, JULY)

    found = facts(world, id_)
    assert found["now"] == {"settled": "30", "since": "-30", "total": "0"}
    assert "the bill no longer has it" in said(found)


def test_an_account_that_changed_hands_is_explained_in_both_shares(world: World) -> None:
    world.decide_parties(parties([ASSIGNMENTS[0], assigned(ATLAS, "atlas", "borealis"), ASSIGNMENTS[2]]))
    settle(world, JULY)

    found = all_facts(world, line_of(world, "1000", account=ATLAS))
    now = {(one["settlement"] or one["not_in"])["owner"]: one["now"]["total"] for one in found}
    assert now == {"aurora": "0", "borealis": "100"}
    text = "\n".join(map(said, found))
    assert "it is another's now" in text
    assert f"borealis {CYCLE}, locked: it was another's at the lock" in text


def test_a_line_that_waited_in_a_case_shows_the_version_that_settled_it(tmp_path: Path) -> None:
    world = begun(tmp_path, agreement("aurora", until="2025-06-29"))
    world.decide_agreement(agreement("aurora", "20", version=2, since="2025-06-30"))
    settle(world, JULY)

    found = facts(world, line_of(world, "300"))
    assert [one["kind"] for one in found["cases"]] == ["no_agreement"]
    changes = found["since"][0]["changes"]
    assert changes == [{"name": "agreement", "was": None, "is": "aurora-2025 version 2"}]
    assert (found["now"]["total"], found["due"]["earning"]["rate"]) == ("60", "0.2")


def test_a_late_line_that_no_rule_owns_is_told_with_its_case(world: World) -> None:
    arrive(world, item(ACME, "300.00"), item(ACME, "70.00", "oss"))
    settle(world, JULY)

    found = facts(world, line_of(world, "70"))
    assert [one["kind"] for one in found["since"][0]["cases"]] == ["no_rule"]
    assert found["now"]["total"] == "0"


def test_a_late_line_is_found_by_what_it_says(world: World) -> None:
    arrive(world, item(ACME, "300.00"), item(ACME, "44.00", InstanceID="i-9"))
    settle(world, JULY)

    assert [one["id"] for one in find(world.services, "i-9", CYCLE)] == [line_of(world, "44")]
    assert [one["id"] for one in find(world.services, "4.40", CYCLE)] == [line_of(world, "44")]


# -- statements and settlements ----------------------------------------------------------------------------------------


def test_a_statement_line_of_adjustments_says_what_it_adjusts_and_who_locked_that(world: World) -> None:
    arrive(world, item(ACME, "400.00"), item(ACME, "44.00", InstanceID="i-9"))
    world.bill(P1, "2025-07-20", REFUND)
    settle(world, JULY)

    found = facts(world, f"aurora-2025/{JULY}/1")
    assert [(one["cycle"], one["corrects"], one["lines"], one["amount"]) for one in found["adjusts"]] == [
        (CYCLE, "adjustment", 1, "-20"),
        (CYCLE, "commission", 2, "14.4"),
    ]
    assert {one["why"] for one in found["adjusts"]} == {f"other bill; refunds of {JULY}"}
    assert [one["id"] for one in found["adjusts"][0]["settlements"]] == [world.month().settlement]
    text = said(found)
    assert f"{CYCLE}, commission: 2 lines, 14.40 CNY: other bill" in text
    assert f"{line_of(world, '44')}, 2025-06-30, commission for {CYCLE}: 4.40" in text


def test_a_month_that_was_adjusted_twice_names_both_settlements_that_are_corrected(world: World) -> None:
    arrive(world, item(ACME, "400.00"))
    settle(world, JULY, AUGUST)
    world.bill(P1, DAYS[2], item(ACME, "500.00"))
    world.pull_again(2)
    world.lock(cycle=AUGUST)
    settle(world, "2025-09")

    found = facts(world, line_of(world, "500"))
    assert [(one["settlement"]["cycle"], one["amount"]) for one in found["since"]] == [(JULY, "10"), (AUGUST, "10")]
    assert found["now"]["total"] == "50"
    [adjusted] = facts(world, f"aurora-2025/{AUGUST}/1")["adjusts"]
    assert [one["cycle"] for one in adjusted["settlements"]] == [CYCLE, JULY]


def test_a_settlement_says_which_months_it_looked_back_to(world: World) -> None:
    arrive(world, item(ACME, "400.00"))
    settle(world, JULY)

    found = facts(world, str(world.month(cycle=JULY).settlement))
    assert found["looked_back"] == [{"cycle": CYCLE, "settlement": world.month().settlement, "why": "other bill"}]
    assert f"{CYCLE}, settled by {str(world.month().settlement)[:12]}: other bill" in said(found)


# -- contract years ----------------------------------------------------------------------------------------------------


def yearly(first: str = "10", **more: Any) -> dict[str, Any]:
    """By a scale over the contract year: 10 % of the first 1,600.00 and 50 % above."""
    document = agreement("aurora")
    bands = [{"upto": "1600", "percent": first}, {"percent": "50"}]
    scale = {"scope": "reseller", "over": "contract_year", "method": "graduated", "measure": "pretax", "bands": bands}
    rules = [{**document["rules"][0], "earn": {"scale": "year"}}]
    commission = str(int(first))  # of the example's 100.00
    examples = [{**one, "expect": {"commission": commission}} for one in document["examples"]]
    return {**document, "scales": {"year": {**scale, **more}}, "rules": rules, "examples": examples}


def test_a_total_over_the_year_begins_with_the_months_before(tmp_path: Path) -> None:
    world = begun(tmp_path, yearly())
    settle(world, JULY)

    scale = facts(world, line_of(world, "100", JULY))["earning"]["scale"]
    assert [(one["cycle"], one["id"], one["total"]) for one in scale["year"]["months"]] == [
        (CYCLE, world.month().settlement, "1600")
    ]
    assert (scale["before"], scale["after"], scale["parts"][0]["band"]) == ("1600", "1700", 2)


def test_a_total_over_the_year_is_that_of_months_as_they_are_adjusted(tmp_path: Path) -> None:
    world = begun(tmp_path, yearly())
    settle(world, JULY)
    world.lock(cycle=JULY)
    arrive(world, item(ACME, "200.00"))  # 100.00 less
    world.bill(P2, "2025-08-05", item(ATLAS, "10.00"))
    settle(world, AUGUST)

    found = facts(world, line_of(world, "10", AUGUST, ATLAS))
    year = found["earning"]["scale"]["year"]
    assert [(one["cycle"], one["total"]) for one in year["months"]] == [(CYCLE, "1500"), (JULY, "100")]
    assert found["earning"]["scale"]["before"] == "1600"
    assert f"{CYCLE} came to 1,500.00, settled by {str(world.month().settlement)[:12]}, adjusted by" in said(found)
    moved = facts(world, line_of(world, "100", JULY))
    assert (moved["since"][0]["why"], moved["now"]["total"]) == ("totals of the contract year", "10")


def test_what_an_adjusted_month_came_to_in_a_band_that_earns_nothing_is_not_guessed(tmp_path: Path) -> None:
    world = begun(tmp_path, yearly("0"))
    arrive(world, item(ACME, "400.00"))
    settle(world, JULY)

    found = facts(world, line_of(world, "100", JULY))
    year = found["earning"]["scale"]["year"]
    assert (year["total"], "before" in found["earning"]["scale"]) == (None, False)
    assert "look at what those settlements say" in said(found)


@pytest.mark.parametrize("is_retroactive", [False, True])
def test_all_units_over_the_year_are_told_with_the_line_that_raises_the_months_before(
    tmp_path: Path, *, is_retroactive: bool
) -> None:
    world = begun(tmp_path, yearly(method="all_units", retroactive=is_retroactive))
    settle(world, JULY)

    found = facts(world, line_of(world, "100", JULY))
    scale = found["earning"]["scale"]
    assert (scale["total"], scale["parts"][0]["rate"]) == ("1700", "0.5")
    assert scale.get("retroactive") == ("640" if is_retroactive else None)  # 40 % of 1,600.00 more
    assert ("brings the year's earlier lines to the rate now reached: 640.00" in said(found)) == is_retroactive


def test_a_cap_over_the_year_shows_what_the_year_earned_before(tmp_path: Path) -> None:
    cap = {"scope": "reseller", "amount": "165.00", "over": "contract_year"}
    world = begun(tmp_path, {**agreement("aurora"), "cap": cap})
    settle(world, JULY)

    found = facts(world, line_of(world, "100", JULY))
    [bound] = found["bounds"]
    assert (bound["year"]["commission"], bound["commission"], bound["line"], bound["share"]) == (
        "160",
        "10",
        "-5",
        "-5",
    )
    assert found["earned"] == "5"
    assert "the year earned 160.00 before the month and 10.00 in it; a line of its own says -5.00" in said(found)


def test_a_cap_that_later_months_adjusted_is_told_with_its_lines(tmp_path: Path) -> None:
    world = begun(tmp_path, {**agreement("aurora"), "cap": {"scope": "customer", "amount": "50.00"}})
    arrive(world, item(ACME, "200.00"))  # acme earns 10.00 less, and its cap takes 10.00 less
    settle(world, JULY)

    [look] = facts(world, line_of(world, "100"))["since"]
    assert [(one["corrects"], one["amount"]) for one in look["shared"]] == [("cap", "10")]


# -- all of it ---------------------------------------------------------------------------------------------------------


def test_every_line_of_both_months_is_explained(world: World) -> None:
    arrive(world, item(ACME, "400.00"), item(ACME, "44.00", InstanceID="i-9"), item(ACME, "-40.00", Item="Refund"))
    world.bill(P1, "2025-07-20", REFUND, item(ACME, "-30.00", Item="Refund", InstanceID="i-9"))
    settle(world, JULY)

    posted = Decimal(0)
    for row in list(world.cloud.rows.tables["bill_lines"].values()):
        for found in all_facts(world, str(row["line_id"])):
            if (found["settlement"] or found["not_in"])["owner"] == "aurora" and "now" in found:
                posted += Decimal(found["now"]["since"])
    own = [facts(world, f"aurora-2025/{JULY}/{number}") for number in (1, 2)]
    assert {one["kind"] for one in own} == {"adjustment", "commission"}
    taken_back = Decimal("-20") + Decimal("-3")  # by lines of July itself
    assert posted + taken_back == Decimal(own[0]["exact"])
