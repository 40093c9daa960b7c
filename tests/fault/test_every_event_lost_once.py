"""Every event of the month is lost once, by itself; sweeps find it, and the stage ends as if it had arrived.

Each stage is begun again from where the clean month stood, one of its events is lost, and sweeps follow until
nothing is missing. From equal states the rest of the month is equal.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests.losing import STAGES, LossyWorld, differing, outcome
from tests.pump import Delivery

SWEEPS_MOST = 2  # the first wakes the step


def test_whichever_event_is_lost_sweeps_bring_the_month_to_where_it_would_be(tmp_path: Path) -> None:
    world = LossyWorld(tmp_path)
    lost, wrong, most = Counter[str](), [], 0
    for stage in STAGES:
        begin = world.cloud.state()
        world.pump.delivered.clear()
        stage.happen(world)
        end, expected = world.cloud.state(), outcome(world)
        events = [one for one, _ in world.pump.delivered if one.function != "plan_pulls"]
        for event in events:
            world.cloud.restore(begin)
            world.pump.lost.clear()
            world.pump.lose = lambda one, event=event: _is_first(world, one, event)  # type: ignore[misc]
            stage.happen(world)
            assert [one.what for one in world.pump.lost] == [event.what]
            sweeps = world.sweep_until_quiet(stage.swept_from)
            most = max(most, sweeps)
            differs = differing(outcome(world), expected)
            if differs:
                wrong.append(f"{stage.name}, {event.function} {event.what}: {differs}")
            lost[event.function] += 1
        world.pump.lose = lambda _: False
        world.cloud.restore(end)
    assert wrong == []
    assert most <= SWEEPS_MOST
    assert set(lost) == {
        *("pull_bill", "ingest_bill", "route_settlements", "settle"),
        *("publish_statements", "pay_resellers", "confirm_payouts", "notify"),
    }


def _is_first(world: LossyWorld, one: Delivery, event: Delivery) -> bool:
    return not world.pump.lost and (one.function, one.what) == (event.function, event.what)
