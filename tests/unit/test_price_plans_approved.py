"""Price plans by approval: versions in order, one plan a day for a seller and buyer, and what is in force charges."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import PREPARER
from shared.control.approvals import Proposal
from shared.cycle import Cycle
from shared.documents import DocumentRefusedError
from shared.steps import decide
from shared.steps.plans import in_force
from tests.builders import parties
from tests.pump import World


def plan(version: int = 1, since: str = "2025-01-01", until: str | None = None, **more: Any) -> dict[str, Any]:
    """What the operator charges aurora: ten percent more than it pays."""
    return {
        "price_plan": "op-aurora",
        "seller": "op",
        "buyer": "aurora",
        "version": version,
        "effective": {"from": since, "until": until},
        "currency": "CNY",
        "rules": [{"id": "all", "when": "`true`", "price": {"basis": "pretax", "markup_percent": "10"}}],
        "examples": [{"name": "hundred", "lines": [{"pretax": "100.00"}], "expect": {"price": "110.00"}}],
        **more,
    }


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    world.decide_parties(parties())
    return world


def propose(world: World, document: dict[str, Any]) -> Proposal:
    asked = {"name": "plan.yaml", "text": json.dumps(document)}
    found = decide.propose(world.services, "price_plan", asked, by=PREPARER, why="", at=world.at)
    [proposal] = found.proposals
    return proposal


def test_an_approved_plan_is_in_force_by_date(world: World) -> None:
    proposal = propose(world, plan(until="2025-12-31"))
    assert any("110" in one or "10 %" in one for one in decide.show(world.services, proposal))
    assert in_force(world.services, Cycle.parse("2025-06")) == []

    world.approve(proposal)
    world.approve(propose(world, plan(2, "2026-01-01")))

    found = {month: [one.version for one in in_force(world.services, Cycle.parse(month))]
             for month in ("2024-12", "2025-06", "2026-01")}  # fmt: skip
    assert found == {"2024-12": [], "2025-06": [1], "2026-01": [2]}


def test_versions_come_in_order_and_one_plan_holds_on_a_day(world: World) -> None:
    late = propose(world, plan(2, "2026-01-01"))
    world.approve(propose(world, plan()))

    with pytest.raises(DocumentRefusedError, match="overlaps op-aurora version 1"):
        world.approve(late)
    with pytest.raises(DocumentRefusedError, match="version 1 of op-aurora is approved"):
        propose(world, plan(since="2026-01-01"))
    with pytest.raises(DocumentRefusedError, match="overlaps op-aurora version 1"):
        propose(world, plan(price_plan="other"))
    for stranger in (plan(seller="nobody"), plan(buyer="nobody")):
        with pytest.raises(DocumentRefusedError, match="'nobody' is neither"):
            propose(world, stranger)
