"""Reports of the small month: what each view sees of it, to the last digit, and nothing of anybody else."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shared.access.scope import Scope, View
from shared.report.answer import Answer
from shared.report.asking import parse_ask
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
