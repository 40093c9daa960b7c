"""Months under plans drawn from seeds: whatever goes wrong, however often, they end as the clean month does.

`CLEARBOOK_MONTHS=N` plays more of them, `CLEARBOOK_SEED=S` begins at another seed; a month that differs says its
seed, and `CLEARBOOK_SEED=S CLEARBOOK_MONTHS=1` plays it again.
"""

from __future__ import annotations

import os
import random
import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from infra.clearbook.demo import acts
from infra.localcloud.faults.plan import EVENT_FAULTS, MILLION, Call, Fault, Plan, Rule, drawn
from shared.control.months import Month
from shared.errors import ClearbookError
from tests.builders import ACME, ATLAS, BIRCH, CYCLE, DAYS, P1, P2, agreement, item, parties
from tests.desk import desk
from tests.fakes import AFTER, BEFORE, Created, KilledError, State
from tests.fault.test_every_call_fails_once import outcome
from tests.pump import Delivery, Pump, World

MONTHS = int(os.environ.get("CLEARBOOK_MONTHS", "300"))
FIRST_SEED = int(os.environ.get("CLEARBOOK_SEED", "1"))
SHARDS = 10
NIGHTS_MOST = 12
ATTEMPTS_MOST = 50
RESELLERS = ("aurora", "borealis")
OWNERS = (*RESELLERS, "operator")
LAST = DAYS[-1]
LAST_NIGHTS = (28, 29, 30)
DAILY_EVERY = 10  # months that also have a round of drafts
CALLS_MOST = 12
_DAY = re.compile(r"/20\d\d-\d\d-\d\d/")


class Misfortune:
    """A plan at work on what the functions call, on their deliveries and on the events between them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.befallen = Counter[str]()
        self._seen = Counter[tuple[str, str]]()
        self._kill: tuple[int, Fault] | None = None

    def of_call(self, number: int, what: str) -> Fault | None:
        """What befalls a call; with a kill ordered, the call it comes to."""
        if self._kill is not None and self._kill[0] == number:
            return self._count(self._kill[1])
        name, _, subject = what.partition(" ")
        return self._count(self.plan.of_call(Call("port", name, subject, self._times("call", what))))

    def begin(self, delivery: Delivery) -> None:
        """Order what is to befall this delivery."""
        subject = delivery.what
        fault = self.plan.of_delivery(Call("host", delivery.function, subject, self._times(delivery.function, subject)))
        number = self.plan.number(CALLS_MOST, delivery.function, subject)
        # A full disk is met where a function first writes to it: here, when it fetches.
        self._kill = None if fault in (None, Fault.FILL_DISK) else (number, fault)

    def of_event(self, function: str, created: Created) -> Fault | None:
        """What befalls an event."""
        times = self._times(f"event {function}", created.key)
        return self._count(self.plan.of_event(Call("host", function, created.key, times)))

    def _times(self, kind: str, what: str) -> int:
        self._seen[kind, what] += 1
        return self._seen[kind, what]

    def _count(self, fault: Fault | None) -> Fault | None:
        if fault is not None:
            self.befallen[fault] += 1
        return fault


class UnluckyPump(Pump):
    """Delivers under a plan."""

    def __init__(self, world: World, misfortune: Misfortune) -> None:
        super().__init__(world.cloud)
        self._misfortune, self._services = misfortune, world.services
        self._chance = random.Random(misfortune.plan.seed)  # noqa: S311 - an order that can be had again
        self._late: list[Delivery] = []
        world.cloud.calls.befall = misfortune.of_call

    def collect(self) -> None:
        for delivery, created in self.coming():
            fault = self._misfortune.of_event(delivery.function, created)
            if fault is Fault.LATE:
                self._late.append(delivery)
            elif fault is Fault.OUT_OF_ORDER:
                self.waiting.insert(self._chance.randrange(len(self.waiting) + 1), delivery)
            else:
                self.waiting += [delivery] * (2 if fault is Fault.TWICE else 1)
        if not self.waiting:
            self.waiting, self._late = self._late, []

    def deliver(self, delivery: Delivery) -> None:
        self._misfortune.begin(delivery)
        super().deliver(delivery)
        # Half of what fails comes to a new instance, with nothing on its disk.
        if self.waiting and self.waiting[0].attempt and self._chance.random() < 0.5:
            forget(self._services.scratch)


def forget(scratch: Path) -> None:
    """A new instance: nothing is in its scratch folder."""
    shutil.rmtree(scratch)
    scratch.mkdir()


def until_done(act: Callable[[], object]) -> None:
    """People, and their commands, try again."""
    for _ in range(ATTEMPTS_MOST):
        try:
            act()
        except KilledError:
            continue
        except ClearbookError as exc:
            if not exc.retryable:
                raise
        else:
            return
    raise AssertionError("people gave up")


def people(world: World) -> acts.Ask:
    """The portal as the world's people speak to it."""
    return desk(lambda: world.services, lambda: world.at)


def month_of(world: World, owner: str) -> Month | None:
    """Where a month stands, looked at by somebody nothing befalls."""
    befall, world.cloud.calls.befall = world.cloud.calls.befall, lambda number, what: None
    try:
        return acts.month_of(world.services, CYCLE, owner)
    finally:
        world.cloud.calls.befall = befall


def nights(
    world: World, is_done: Callable[[Month | None], bool], first: int, owners: Sequence[str] = RESELLERS
) -> None:
    """Let nights pass, each with its sweep, until these months are so far."""
    for night in range(first, first + NIGHTS_MOST):
        if all(is_done(month_of(world, owner)) for owner in owners):
            return
        world.sweep(f"2025-07-{night:02d}")
    raise AssertionError(f"not done after {NIGHTS_MOST} nights")


def play(world: World, *, daily: bool) -> None:
    """The small month, from the first round of its last day on to the bank's answer."""
    ask = people(world)
    if daily:
        world.daily("2025-07-01")
    world.final()
    nights(world, lambda month: month is not None and month.calculated is not None, 3, OWNERS)
    for reseller in RESELLERS:
        until_done(lambda owner=reseller: acts.lock(ask, world.services, CYCLE, owner))  # type: ignore[misc]
    world.pump.drain()
    nights(world, lambda month: month is not None and month.published is not None, 4)
    until_done(lambda: acts.pay(ask, world.services, CYCLE))
    world.pump.drain()
    nights(world, lambda month: month is not None and bool(month.instructed), 5)
    until_done(lambda: acts.answer(world.services, CYCLE))
    world.pump.drain()
    nights(world, lambda month: month is not None and month.state == "confirmed", 6)
    for night in LAST_NIGHTS:  # lists that an interrupted step left behind
        world.sweep(f"2025-07-{night}")


def live(scratch: Path, decided: State | None = None) -> World:
    """A world with its bills, where parties and agreements are in force; `decided` is one where they are."""
    world = World(scratch)
    unreadable = item(ACME, "0", PretaxGrossAmount="many")
    world.bill(P1, LAST, item(ACME, "600.00"), item(ACME, "0.50"), item("1009", "5.00"), unreadable)
    world.bill(P2, LAST, item(BIRCH, "150.00"), item(ATLAS, "1000.00"))
    if decided is not None:
        world.cloud.restore(decided)
        return world
    ask = people(world)
    acts.decide_parties(ask, world.services, parties(since=LAST))
    for reseller in RESELLERS:
        acts.decide_agreement(ask, world.services, agreement(reseller))
    return world


def of_seed(seed: int) -> Plan:
    """The seed's plan without what an adapter never passes on: what is late, and rows refused for a moment."""
    plan = drawn(seed)
    calls = {fault: share for fault, share in plan.calls.items() if fault in (*BEFORE, *AFTER)}
    return replace(plan, calls=calls)


def came_to(world: World) -> dict[str, object]:
    """What must be the same; what was given up on the way may not."""
    world.cloud.calls.befall = lambda number, what: None
    found = outcome(world)
    del found["given up"]
    # When something happened is the misfortune's: a payment of the next day is anchored there, and its events say so.
    found["records"] = sorted(_DAY.sub("/", key) for key in world.keys("records") if not key.endswith("/day.json"))
    found["events"] = sorted(key for key in world.keys("work", "outbox/"))
    return found


@pytest.fixture(scope="module")
def decided(tmp_path_factory: pytest.TempPathFactory) -> State:
    """Where each month begins: decided, and nothing asked of the provider yet."""
    return live(tmp_path_factory.mktemp("live")).cloud.state()


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory, decided: State) -> Mapping[bool, Mapping[str, object]]:
    """What the months come to when nothing befalls them, with and without a round of drafts."""
    found = {}
    for daily in (False, True):
        world = live(tmp_path_factory.mktemp("clean"), decided)
        play(world, daily=daily)
        found[daily] = came_to(world)
    return found


def test_shares_leave_most_calls_alone() -> None:
    assert all(sum(of_seed(seed).calls.values()) < MILLION // 10 for seed in range(100))


@pytest.mark.parametrize("fault", EVENT_FAULTS)
def test_each_event_of_the_month_that_comes_so_ends_as_the_clean_one(
    fault: Fault,
    clean: Mapping[bool, Mapping[str, object]],
    decided: State,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    world = live(tmp_path / "clean", decided)
    play(world, daily=False)
    events = [delivery for delivery, _ in world.pump.delivered if "/" in delivery.what]
    # A third of the events for each way, others for the next.
    for event in events[list(EVENT_FAULTS).index(fault) % 3 :: 3]:
        rule = Rule(fault, "host", event.function, event.what, attempt=1)
        misfortune = Misfortune(Plan(rules=(rule,)))
        world = live(tmp_path / "scratch", decided)
        world.pump = UnluckyPump(world, misfortune)
        play(world, daily=False)
        found = came_to(world)
        assert misfortune.befallen == {fault: 1}
        assert {name for name in found if found[name] != clean[False][name]} == set(), f"{event.function} {event.what}"
    record_property("figures", f"a third of {len(events)} events, each {fault} once")


@pytest.mark.parametrize("shard", range(SHARDS))
def test_a_month_under_a_drawn_plan_ends_as_the_clean_one(
    shard: int,
    clean: Mapping[bool, Mapping[str, object]],
    decided: State,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    befallen, given_up, months = Counter[str](), 0, 0
    for seed in range(FIRST_SEED + shard, FIRST_SEED + MONTHS, SHARDS):
        daily = seed % DAILY_EVERY == 0
        misfortune = Misfortune(of_seed(seed))
        world = live(tmp_path / "scratch", decided)
        world.pump = UnluckyPump(world, misfortune)
        play(world, daily=daily)
        found = came_to(world)
        differing = {name for name in found if found[name] != clean[daily][name]}
        assert not differing, f"seed {seed}: {differing}"
        befallen += misfortune.befallen
        given_up, months = given_up + len(world.pump.given_up), months + 1
    first = FIRST_SEED + shard
    said = f"{months} months, seeds {first}, {first + SHARDS}, …; {befallen.total()} faults, {given_up} events given up"
    record_property("figures", said)
    if months > 10:
        assert befallen.total() > months
