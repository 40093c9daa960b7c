"""Reports add up to the settlement, statement and bill they rest on, and hold nothing outside the asker's scope."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from infra.clearbook.people import PREPARER
from shared.access.scope import Scope, View
from shared.cycle import parse_instant
from shared.errors import BadInputError
from shared.report.answer import Answer
from shared.report.asking import parse_ask
from shared.report.catalogue import catalogue
from shared.steps import inputs, state
from shared.steps.acts import price_plans
from shared.steps.reporting import answering, submitting
from shared.steps.reporting.availability import Availability, availability
from tests.builders import ACME, ATLAS, BIRCH, CYCLE, DAYS, P1, P2, assigned, item, parties
from tests.known import remembering
from tests.pump import World, go_live, small_month
from tests.unit.test_pricing import plan

TODAY = date(2025, 7, 5)
DIRECT, STRAY = "1099", "1098"  # of a customer of the operator itself; of nobody
PLANS = (plan("op", "aurora", "80"), plan("aurora", "acme", "90"), plan("op", "delta", "95"))
# What only some may read: each is in one account's lines, or names somebody.
SECRETS = {
    "acme": {ACME, "i-acme", "acme"},
    "atlas": {ATLAS, "i-atlas", "atlas"},
    "birch": {BIRCH, "i-birch", "birch"},
    "delta": {DIRECT, "i-delta", "delta"},
    "nobody": {STRAY, "i-stray"},
}
MINE = {
    (View.CUSTOMER, "acme"): {"acme"},
    (View.CUSTOMER, "atlas"): {"atlas"},
    (View.CUSTOMER, "birch"): {"birch"},
    (View.CUSTOMER, "delta"): {"delta"},
    (View.RESELLER, "aurora"): {"acme", "atlas"},
    (View.RESELLER, "borealis"): {"birch"},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """The small month with another product, a refund, a direct customer and an account of nobody, under price plans."""
    with remembering():
        world = World(tmp_path_factory.mktemp("reports") / "scratch")
        more = [
            (P1, DAYS[2], item(ACME, "40.00", "oss", InstanceID="i-acme")),
            (P1, DAYS[2], item(ACME, "-30.00", Item="Refund")),
            (P2, DAYS[2], item(ATLAS, "7.00", InstanceID="i-atlas")),
            (P2, DAYS[0], item(BIRCH, "3.00", InstanceID="i-birch")),
            (P1, DAYS[0], item(DIRECT, "20.00", InstanceID="i-delta")),
            (P2, DAYS[1], item(STRAY, "11.00", InstanceID="i-stray")),
        ]
        small_month(world, more)
        everyone = parties((assigned(ACME, "acme", "aurora"), assigned(ATLAS, "atlas", "aurora"),
                            assigned(BIRCH, "birch", "borealis"), assigned(DIRECT, "delta", None)))  # fmt: skip
        everyone["customers"].append({"id": "delta", "name": {"en": "Delta"}})
        go_live(world, everyone)
        for one in PLANS:
            named = {"by": PREPARER, "why": "sold so", "at": world.at}
            world.approve(price_plans.propose_price_plan(world.services, one, one["price_plan"], **named))
        world.final()
    return world


def scope_of(world: World, view: View, who: str = "") -> Scope:
    known, _ = state.parties(world.services)
    if view is View.OPERATOR:
        return Scope.operator()
    return Scope.reseller(known, who) if view is View.RESELLER else Scope.customer(known, who)


def run(world: World, folder: Path, view: View, who: str, report: str, **said: Any) -> Answer:
    folder.mkdir(exist_ok=True)
    ask = parse_ask({"report": report, "from": CYCLE, "to": CYCLE, **said}, view, TODAY)
    return answering.answer(world.services, scope_of(world, view, who), ask, at=world.at, folder=folder)


def of(found: Answer, sql: str) -> list[tuple[Any, ...]]:
    return duckdb.execute(sql.replace("ROWS", "read_parquet(?)"), [str(found.path)]).fetchall()


def billed(world: World) -> Decimal:
    return sum(
        (Decimal(seal.totals["CNY"]["pretax"]) for payer in (P1, P2) for seal in world.seals(payer)[-1:]), Decimal(0)
    )


@pytest.mark.parametrize("report", ["billing_summary", "service_costs", "usage_detail", "trend", "allocation"])
def test_the_operators_cost_is_the_bill_whatever_it_is_broken_down_by(
    world: World, tmp_path: Path, report: str
) -> None:  # fmt: skip
    found = run(world, tmp_path, View.OPERATOR, "", report)

    assert found.totals["CNY"]["cost"] == billed(world) == Decimal("1801")
    assert of(found, "SELECT sum(cost) FROM ROWS") == [(Decimal("1801"),)]


@pytest.mark.parametrize("reseller", ["aurora", "borealis"])
def test_commission_is_the_settlements_exact_total_and_its_detail_the_statement(
    world: World, tmp_path: Path, reseller: str
) -> None:  # fmt: skip
    kept = inputs.counting(world.services, reseller, CYCLE)
    stated = kept.summary(world.services)["statements"]
    summary = run(world, tmp_path, View.RESELLER, reseller, "billing_summary")
    detail = run(world, tmp_path / "detail", View.RESELLER, reseller, "commission_detail")
    listed = run(world, tmp_path / "listed", View.RESELLER, reseller, "statements")

    assert summary.totals["CNY"]["commission"] == sum(Decimal(one["exact"]) for one in stated) > 0
    assert detail.totals["CNY"]["amount"] == sum(Decimal(one["total"]) for one in stated) > 0
    assert of(listed, "SELECT total, payable FROM ROWS") == [
        (Decimal(one["total"]), Decimal(one["payable"])) for one in stated
    ]


def test_a_price_is_the_plans_at_every_level_and_unknown_where_there_is_none(world: World, tmp_path: Path) -> None:
    def price(view: View, who: str, column: str) -> Any:
        return run(world, tmp_path, view, who, "billing_summary").totals["CNY"].get(column)

    # Acme used 600.00 and 40.00 and got 30.00 back; by gross, of which a refund takes its part.
    assert price(View.CUSTOMER, "acme", "price") == Decimal("549")  # 610.00 at 90 %
    assert price(View.CUSTOMER, "delta", "price") == Decimal("19")  # 20.00 at 95 %
    assert price(View.CUSTOMER, "birch", "price") is None  # no plan of borealis
    assert price(View.RESELLER, "aurora", "resale_price") == Decimal("549")  # atlas has no plan
    assert price(View.OPERATOR, "", "resale_price") == Decimal("1312.60")  # 1,617.00 at 80 %, and delta's 19.00

    birch = run(world, tmp_path, View.CUSTOMER, "birch", "billing_summary")
    assert any("have no price" in one["en"] for one in birch.stated.notes)
    assert of(birch, "SELECT count(*) FROM ROWS WHERE price IS NOT NULL") == [(0,)]


def test_what_a_row_drills_down_to_adds_up_to_the_row(world: World, tmp_path: Path) -> None:
    found = run(world, tmp_path, View.RESELLER, "aurora", "billing_summary")
    keys = [one.name for one in found.columns if one.type.value == "text" and one.name in filters("service_costs")]
    rows = of(found, f"SELECT {', '.join(keys)}, lines, resale_price, commission FROM ROWS")
    assert len(rows) > 2

    for number, (*values, lines, price, commission) in enumerate(rows):
        context = {name: [value or ""] for name, value in zip(keys, values, strict=True)}
        below = run(world, tmp_path / str(number), View.RESELLER, "aurora", "service_costs", filters=context)
        sums = of(below, "SELECT sum(lines), sum(resale_price), sum(commission) FROM ROWS")
        assert sums == [(lines, price, commission)], context


def filters(report: str) -> set[str]:
    return {one.name for one in catalogue()[report].filters}


def said(found: Answer) -> bytes:
    """Everything that an answer says, in words and in its file."""
    rows = of(found, "SELECT * FROM ROWS")
    told = [asdict(found.stated), [dict(one) for one in found.story], found.totals, rows]
    return found.path.read_bytes() + json.dumps(told, default=str).encode()


@pytest.mark.parametrize("who", list(MINE), ids=lambda of_: of_[1])
def test_no_report_holds_a_byte_of_what_lies_outside_the_scope(
    world: World, tmp_path: Path, who: tuple[View, str]
) -> None:  # fmt: skip
    view, name = who
    outside = set().union(*(words for of_, words in SECRETS.items() if of_ not in MINE[who]))
    for report in catalogue().values():
        if report.may_run(view):
            body = said(run(world, tmp_path / report.name, view, name, report.name))
            assert [word for word in outside if word.encode() in body] == [], report.name
    others = {"aurora", "borealis"} - {name}
    if view is View.CUSTOMER:  # who sells to it, and what that earns or pays, is not its own
        body = said(run(world, tmp_path, view, name, "usage_detail"))
        assert [word for word in others if word.encode() in body] == []


def test_the_operator_reads_every_one_of_those_words(world: World, tmp_path: Path) -> None:
    rows = of(run(world, tmp_path, View.OPERATOR, "", "usage_detail"), "SELECT * FROM ROWS")

    body = json.dumps(rows, default=str)
    assert [word for words in SECRETS.values() for word in words if word not in body] == []


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], print_blob=True)
@given(data=st.data())
def test_a_named_stranger_answers_as_somebody_who_does_not_exist(world: World, tmp_path: Path, data: Any) -> None:
    view, name = data.draw(st.sampled_from(sorted(MINE)))
    report = data.draw(st.sampled_from([one for one in catalogue().values() if one.may_run(view)]))
    known = sorted({"customer", "account", "instance"} & filters(report.name))
    if not known:
        return
    field = data.draw(st.sampled_from(known))
    accounts = {"acme": ACME, "atlas": ATLAS, "birch": BIRCH, "delta": DIRECT}
    stranger = data.draw(st.sampled_from(sorted(set(SECRETS) - {"nobody"} - MINE[view, name])))

    named = {"customer": stranger, "account": accounts[stranger], "instance": f"i-{stranger}"}[field]
    theirs, none = (
        run(world, tmp_path, view, name, report.name, filters={field: [value]}) for value in (named, "nowhere")
    )

    assert theirs.rows == none.rows == 0
    assert theirs.digest == none.digest
    assert (theirs.totals, theirs.stated.notes, theirs.stated.hidden) == (
        none.totals, none.stated.notes, none.stated.hidden
    )  # fmt: skip


def available(world: World, view: View, who: str = "", report: str = "billing_summary") -> Availability:
    return availability(world.services, scope_of(world, view, who), catalogue()[report])


def test_availability_says_which_days_there_are_and_that_a_lock_makes_them_final(tmp_path: Path) -> None:
    with remembering():
        world = World(tmp_path / "scratch")
        small_month(world)
        go_live(world)
        nothing = available(world, View.OPERATOR)
        assert (nothing.first, nothing.last, nothing.updated_at, nothing.is_final_until) == (None, None, "", None)

        world.daily(DAYS[1])
        draft = available(world, View.RESELLER, "aurora")
        assert draft.first == date(2025, 6, 1)
        assert draft.last is not None
        assert draft.last < date(2025, 6, 30)
        assert [one["en"].split(":")[0] for one in draft.why] == [f"{CYCLE} is a draft"]

        seen = run(world, tmp_path, View.RESELLER, "aurora", "trend").stated
        assert (seen.is_final, parse_instant(seen.as_of)) == (False, parse_instant(draft.updated_at))

        world.final()
        settled = available(world, View.CUSTOMER, "acme")
        assert (settled.last, settled.is_final_until) == (date(2025, 6, 30), None)
        assert [one["en"].split(":")[0] for one in settled.why] == [f"{CYCLE} is settled and not locked"]

        def stated(report: str, last: str, view: View = View.OPERATOR, who: str = "") -> Any:
            found = run(world, tmp_path / f"{report}-{last}", view, who, report, to=last).stated
            return found.is_final, [one["en"].split(":")[0] for one in found.why_not_final]

        world.lock("aurora")
        assert stated("statements", "2025-06") == (False, ["2025-06 is not locked"])
        assert stated("statements", "2025-06", View.RESELLER, "aurora") == (True, [])
        locked = available(world, View.CUSTOMER, "acme")
        assert (locked.is_final_until, locked.why) == (date(2025, 6, 30), [])
        assert locked.updated_at > draft.updated_at
        assert available(world, View.CUSTOMER, "birch").is_final_until is None  # borealis has not locked it
        assert available(world, View.OPERATOR).is_final_until is None
        world.lock("borealis")
        assert available(world, View.OPERATOR).is_final_until == date(2025, 6, 30)
        for report in ("statements", "commission_detail", "finance_summary", "billing_summary"):
            assert stated(report, "2025-06") == (True, [])
        # What comes after the lock is in no row of June; that is said, to each what is its own.
        before = run(world, tmp_path / "before", View.OPERATOR, "", "billing_summary")
        world.bill(P1, DAYS[0], item(ACME, "100.00"), item(ACME, "5.00"))
        world.pull_again(1)
        after = run(world, tmp_path / "after", View.OPERATOR, "", "billing_summary")
        assert (after.digest, before.stated.notes) == (before.digest, after.stated.notes[:-1])
        changed = "2025-06: the bill of aurora changed after the lock by +1 lines"
        assert f"{changed} and 5 CNY; " in after.stated.notes[-1]["en"]
        theirs = run(world, tmp_path / "theirs", View.RESELLER, "aurora", "billing_summary").stated.notes
        assert f"{changed}; " in theirs[-1]["en"]
        for view, who in ((View.RESELLER, "borealis"), (View.CUSTOMER, "acme")):
            notes = run(world, tmp_path / who, view, who, "billing_summary").stated.notes
            assert [one for one in notes if "after the lock" in one["en"]] == []

        # July is not there, then a draft: it is not final because June is.
        assert stated("statements", "2025-07")[1] == ["2025-07 has not been settled yet, not even as a draft"]
        world.bill(P1, "2025-07-01", item(ACME, "9.00"))
        world.daily("2025-07-04")
        for report in ("statements", "commission_detail"):
            assert stated(report, "2025-07") == (False, ["2025-07 is not locked"])
        found = run(world, tmp_path / "july", View.OPERATOR, "", "statements", to="2025-07")
        assert parse_instant(found.stated.as_of) > parse_instant(locked.updated_at)


def test_a_report_that_a_view_may_not_run_has_nothing(world: World) -> None:
    assert available(world, View.RESELLER, "aurora", "reseller_margin").first == date(2025, 6, 1)
    assert available(world, View.CUSTOMER, "acme", "reseller_margin").first is None


def test_the_digest_of_inputs_changes_with_what_the_rows_rest_on_and_with_nothing_else(
    world: World, tmp_path: Path
) -> None:  # fmt: skip
    def digest(of_: str, **said: Any) -> str:
        ask = parse_ask({"report": "billing_summary", "from": CYCLE, "to": CYCLE, **said}, View.CUSTOMER, TODAY)
        return answering.inputs_digest(world.services, scope_of(world, View.CUSTOMER, of_), ask)

    assert digest("acme") == digest("acme")
    assert len({digest("acme"), digest("atlas"), digest("acme", filters={"service": ["ecs"]})}) == 3
    first, again = (run(world, tmp_path / one, View.CUSTOMER, "acme", "usage_detail") for one in ("one", "two"))
    assert first.path.read_bytes() == again.path.read_bytes()


def test_a_mapping_allocates_every_line_and_the_unallocated_is_a_row(world: World, tmp_path: Path) -> None:
    document = b"""
allocation: by-team
version: 1
effective: {from: 2025-01-01}
rules: [{id: storage, when: "product_code == 'oss'", target: storage}]
"""
    submitting.submit(world.services, "customer.acme", document, "carol", world.at)

    found = run(world, tmp_path, View.CUSTOMER, "acme", "allocation", allocation="by-team")

    assert of(found, "SELECT target, sum(price) FROM ROWS GROUP BY 1 ORDER BY 1") == [
        ("storage", Decimal("36")),  # 40.00 at 90 %
        (None, Decimal("513")),
    ]
    assert found.stated.allocation == "by-team 1"
    with pytest.raises(BadInputError, match="no mapping 'by-team'"):
        run(world, tmp_path, View.CUSTOMER, "atlas", "allocation", allocation="by-team")
    with pytest.raises(BadInputError, match="trend allocates nothing"):
        run(world, tmp_path, View.CUSTOMER, "acme", "trend", allocation="by-team")


@pytest.mark.parametrize("report", [one.name for one in catalogue().values()])
def test_every_filter_that_a_view_has_can_be_asked(world: World, tmp_path: Path, report: str) -> None:
    elsewhere = {
        "tag": "team=none", "group_by": "region", "month": "2025-05", "date": "2025-05-31", "charge": "credit",
    }  # fmt: skip
    for view, who in ((View.OPERATOR, ""), (View.RESELLER, "aurora"), (View.CUSTOMER, "acme")):
        if not catalogue()[report].may_run(view):
            continue
        for one in catalogue()[report].filters_of(view):
            found = run(world, tmp_path, view, who, report, filters={one.name: elsewhere.get(one.name, "none")})
            assert found.rows == 0 or one.name == "group_by", (view, one.name)


def test_who_resells_is_a_question_of_the_operator_alone(world: World, tmp_path: Path) -> None:
    theirs = run(world, tmp_path, View.OPERATOR, "", "billing_summary", filters={"reseller": "borealis"})
    assert of(theirs, "SELECT DISTINCT reseller, customer FROM ROWS") == [("borealis", "birch")]

    for view, who, report in ((View.CUSTOMER, "acme", "billing_summary"), (View.RESELLER, "aurora", "statements")):
        with pytest.raises(BadInputError, match="is no filter of this report"):
            run(world, tmp_path, view, who, report, filters={"reseller": "borealis"})
