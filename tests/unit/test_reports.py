"""Reports of the small month: what each view sees of it, to the last digit, and nothing of anybody else."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shared.access.scope import Scope, View
from shared.columnar import connect
from shared.report.answer import Answer
from shared.report.asking import parse_ask
from shared.report.catalogue import catalogue
from shared.report.facts import FACT_TYPES, fact_columns
from shared.steps import state
from shared.steps.acts import price_plans
from shared.steps.reporting import answering
from tests.builders import ACME, CYCLE, DAYS, P1, item
from tests.fakes import State
from tests.pump import World, go_live, small_month
from tests.unit.test_pricing import plan

TODAY = date(2025, 7, 5)
PLANS = (plan("op", "aurora", "80"), plan("aurora", "acme", "90"))  # of 100.00 gross: aurora pays 80, acme 90


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, State]:
    """The small month with a line of another product and two price plans, settled."""
    world = World(tmp_path_factory.mktemp("reports") / "scratch")
    small_month(world, [(P1, DAYS[2], item(ACME, "40.00", "oss"))])
    go_live(world)
    for one in PLANS:
        named = {"by": "paula", "why": "sold so", "at": world.at}
        proposal = price_plans.propose_price_plan(world.services, one, one["price_plan"], **named)
        world.approve(proposal)
    world.final()
    return world, world.cloud.state()


@pytest.fixture
def world(played: tuple[World, State]) -> World:
    world, kept = played
    world.cloud.restore(kept)
    return world


def scope_of(world: World, view: View, who: str = "") -> Scope:
    parties, _ = state.parties(world.services)
    if view is View.OPERATOR:
        return Scope.operator()
    return Scope.reseller(parties, who) if view is View.RESELLER else Scope.customer(parties, who)


def run(world: World, folder: Path, view: View, who: str, report: str, **said: Any) -> Answer:
    folder.mkdir(exist_ok=True)
    ask = parse_ask({"report": report, "from": CYCLE, "to": CYCLE, **said}, view, TODAY)
    return answering.answer(world.services, scope_of(world, view, who), ask, at=world.at, folder=folder)


def rows(found: Answer, *columns: str) -> list[tuple[Any, ...]]:
    named = ", ".join(columns) or "*"
    return duckdb.execute(f"SELECT {named} FROM read_parquet(?)", [str(found.path)]).fetchall()


def test_a_customer_sees_what_it_is_charged_and_the_list_price(world: World, tmp_path: Path) -> None:
    found = run(world, tmp_path, View.CUSTOMER, "acme", "billing_summary")

    # Three days of 100.00, 200.00 and 300.00 at 90 %, and 40.00 of another product.
    assert rows(found, "service", "charge", "list_amount", "price", "currency") == [
        ("ecs", "usage", Decimal(600), Decimal(540), "CNY"),
        ("oss", "usage", Decimal(40), Decimal(36), "CNY"),
    ]


def test_what_changed_is_told_in_both_languages_once_the_month_before_is_known(world: World, tmp_path: Path) -> None:
    alone = run(world, tmp_path, View.CUSTOMER, "acme", "billing_summary")
    assert alone.story == []

    world.bill(P1, "2025-07-01", item(ACME, "1000.00"))
    world.daily("2025-07-02")
    july = run(world, tmp_path, View.CUSTOMER, "acme", "billing_summary", **{"from": "2025-07", "to": "2025-07"})
    assert july.story[0] == {
        "en": "In total CNY 900.00, up 56 % (CNY 324.00) on the period before.",  # of 576.00
        "zh": "合计 CNY 900.00，较上期增加 56%（CNY 324.00）。",
    }


def test_a_plan_that_counts_over_unknown_months_leaves_its_lines_without_a_price_and_the_others_with_theirs(
    world: World, tmp_path: Path
) -> None:
    bands = [{"upto": "600", "percent": "0"}, {"percent": "50"}]
    scale = {"scope": "reseller", "measure": "gross", "method": "graduated", "bands": bands, "over": "contract_year"}
    rules = [{"id": "all", "when": "`true`", "price": {"basis": "gross", "scale": "volume"}}]
    yearly = plan("op", "borealis", "100", rules=rules, scales={"volume": scale})  # since January, of which nothing is
    named = {"by": "paula", "why": "sold so", "at": world.at}
    world.approve(price_plans.propose_price_plan(world.services, yearly, yearly["price_plan"], **named))

    found = run(world, tmp_path, View.OPERATOR, "", "billing_summary")

    assert rows(found, "reseller", "lines", "unpriced_lines", "cost", "resale_price", "commission") == [
        ("aurora", 3, 0, Decimal(600), Decimal(480), Decimal(60)),
        ("aurora", 1, 0, Decimal(40), Decimal(32), None),  # which no rule of the agreement takes
        ("aurora", 1, 0, Decimal(1000), Decimal(800), Decimal(100)),
        ("borealis", 3, 3, Decimal(150), None, Decimal(15)),
    ]
    assert [one["en"] for one in found.stated.notes] == [
        "3 of 8 lines have no price: no price plan is in force, a case holds them, or their plan counts over a year of "
        "which a month is not known"
    ]
    assert "op-borealis version 1" in found.stated.price_plans


def test_only_what_was_billed_in_the_month_and_has_a_price_in_no_currency_is_without_one(tmp_path: Path) -> None:
    report = catalogue()["billing_summary"]
    ask = parse_ask({"report": report.name, "from": "2025-06", "to": "2025-06"}, View.CUSTOMER, TODAY)
    facts = [("a", "USD", "10", None), ("a", "CNY", None, "72"), ("b", "USD", "5", None), (None, "CNY", None, "-1")]
    facts.append(("earlier", "CNY", None, None))  # what its reseller earned on it is adjusted
    with connect(tmp_path, 256) as connection:
        connection.execute("CREATE TABLE service (code VARCHAR, name VARCHAR, category VARCHAR)")
        nothing = ", ".join(f"NULL::{FACT_TYPES[name]} AS {name}" for name in fact_columns(View.CUSTOMER))
        connection.execute(f"CREATE TABLE fact AS SELECT {nothing} WHERE false")
        for line, currency, listed, price in facts:
            values = [line, currency, listed, price]
            connection.execute("INSERT INTO fact (line_id, currency, list_amount, price) VALUES (?, ?, ?, ?)", values)
        answering.select_facts(connection, report, ask, report.columns[View.CUSTOMER], tmp_path / "rows")
        found = connection.execute(
            "SELECT currency, lines, unpriced_lines, list_amount, price FROM read_parquet(?)", [str(tmp_path / "rows")]
        ).fetchall()

    assert [tuple(map(str, one)) for one in found] == [
        ("CNY", "2", "0", "None", "71.000000000000000000"),
        ("USD", "2", "1", "15.0000000000", "None"),
    ]
