"""A month that adjusts the one before: whichever call of settling and publishing it fails, it comes to the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from infra.localcloud.faults.plan import Fault
from tests.builders import ACME, DAYS, P1, item
from tests.fault.test_every_call_fails_once import Step, deliveries, difference, kept
from tests.pump import FailAt, World, go_live, small_month

JULY = "2025-07"
STEPS = ("route_settlements", "settle", "publish_statements")
HOW = (Fault.LOSE_REQUEST, Fault.LOSE_RESPONSE, Fault.KILL_AFTER)


def played(world: World) -> list[Step]:
    """June is locked; July refunds a charge of it and is locked too; the deliveries of July's shares."""
    small_month(world)
    go_live(world)
    world.final()
    world.lock()
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1)
    world.bill(P1, "2025-07-10", item(ACME, "100.00"))
    world.bill(P1, "2025-07-20", item(ACME, "-200.00", Item="Refund"))

    def july(world: World) -> None:
        world.final(cycle=JULY)
        world.lock(cycle=JULY)

    return [one for one in deliveries(world, july) if one.delivery.function in STEPS]


def test_whichever_call_fails_the_months_come_to_the_same(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    world = World(tmp_path)
    steps = played(world)
    assert world.total(cycle=JULY) == "0.00"  # 10 of July, 10 of what arrived late, 20 taken back
    assert {one.delivery.function for one in steps} == set(STEPS)
    cases, differing = 0, []
    for step in steps:
        for call in range(cases % 3, step.calls, 3):  # every third one: the ways they fail go round
            how = HOW[(cases := cases + 1) % len(HOW)]
            world.cloud.restore(step.before)
            if how is Fault.LOSE_REQUEST:
                shutil.rmtree(world.services.scratch)
                world.services.scratch.mkdir()
            world.pump.delivered.clear()
            world.pump.waiting.clear()
            world.pump.fault = FailAt(0, call, how)
            world.pump.deliver(step.delivery)
            for again in world.pump.waiting:
                world.pump.deliver(again)
            after = world.cloud.state()
            if kept(after) != kept(step.after):
                differing.append(f"{step.delivery.what}, call {call} {how.value}: {difference(after, step.after)}")
    record_property("figures", f"{cases} cases over {len(steps)} deliveries of a month that looks back")
    assert not differing, "\n".join(differing[:20])
    assert cases > 60
