"""Reports of the small month: what each view sees of it, to the last digit, and nothing of anybody else."""

from __future__ import annotations

from datetime import date
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
    small_month(world, [(P1, DAYS[2], item(ACME, "40.00", "oss")), (P1, DAYS[1], item(ACME, "-10.00", kind="refund"))])
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

    assert rows(found, "service", "charge", "price", "currency") == []
