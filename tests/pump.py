"""The events of the small month, in one process: what the functions leave wakes the functions that s.yaml names.

Deliveries happen in the order they came or in a seeded one, once or twice, and a failed one is delivered again,
as Function Compute does. No function may call what its committed policy does not grant. A `World` is the pump with a
bill, the people who decide, and what came of it.
"""

from __future__ import annotations

import functools
import importlib
import json
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from infra.clearbook.people import APPROVER, PREPARER, SEEDED
from infra.localcloud.faults.plan import Fault
from shared.bill import pulls
from shared.bill.snapshot import Seal, seals
from shared.bill.snapshot import stream_of as bill_stream
from shared.control import approvals, months
from shared.control.approvals import Proposal
from shared.control.months import Month
from shared.cycle import SHANGHAI, Cycle, stamp
from shared.ports import Row
from shared.services import Services
from shared.steps import decide, projections, state
from shared.steps.acts import locks, payees
from tests.builders import ACME, ATLAS, BIRCH, CYCLE, DAYS, P1, P2, agreement, item, parties
from tests.fakes import PREFIX, Cloud, Created, Item, KilledError
from tests.granted import granted

ROOT = Path(__file__).parents[1]
RETRIES = 3  # s.yaml: maxAsyncRetryAttempts


@dataclass(frozen=True, slots=True)
class Trigger:
    """A trigger of s.yaml."""

    function: str
    name: str
    kind: str  # timer or oss
    bucket: str = ""
    prefix: str = ""
    suffix: str = ""
    payload: str = ""

    def takes(self, bucket: str, key: str) -> bool:
        """Whether an object of this name wakes the function."""
        is_mine = self.kind == "oss" and bucket == self.bucket
        return is_mine and key.startswith(self.prefix) and key.endswith(self.suffix)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of s.yaml."""

    name: str
    handler: str
    triggers: tuple[Trigger, ...]

    @property
    def run(self) -> Callable[[bytes, Services], str]:
        """What its module's `handler` carries out, given its services."""
        module = importlib.import_module(f"functions.{self.handler.partition('.')[0]}")
        run: Callable[[bytes, Services], str] = module.run
        return run


@functools.cache
def functions() -> Mapping[str, Function]:
    """Every function of s.yaml that events wake, by its name; the portal is asked by people."""
    text = (ROOT / "s.yaml").read_text(encoding="utf-8").replace("${vars.buckets}", PREFIX)
    template = yaml.safe_load(re.sub(r"\$\{[^}]*\}", "given", text))
    found = {}
    for resource in template["resources"].values():
        props = resource["props"]
        name = props["functionName"]
        if all(one["triggerType"] != "http" for one in props["triggers"]):
            found[name] = Function(name, props["handler"], tuple(_trigger(name, one) for one in props["triggers"]))
    return found


def _trigger(function: str, data: Mapping[str, Any]) -> Trigger:
    given = data["triggerConfig"]
    if data["triggerType"] == "timer":
        return Trigger(function, data["triggerName"], "timer", payload=given["payload"])
    named = given["filter"]["key"]
    bucket = data["sourceArn"].rpartition(":")[2]
    return Trigger(function, data["triggerName"], data["triggerType"], bucket, named["prefix"], named["suffix"])


def timer_event(trigger: Trigger, at: datetime) -> bytes:
    """What a timer trigger sends."""
    return json.dumps({"triggerTime": stamp(at), "triggerName": trigger.name, "payload": trigger.payload}).encode()


def object_event(created: Created) -> bytes:
    """What an OSS trigger sends."""
    one = {
        "eventName": "ObjectCreated:PutObject",
        "eventSource": "acs:oss",
        "eventTime": created.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "eventVersion": "1.0",
        "oss": {
            "bucket": {
                "arn": f"acs:oss:cn-hangzhou:1000000000000001:{created.bucket}",
                "name": created.bucket,
                "ownerIdentity": "1000000000000001",
                "virtualBucket": "",
            },
            "object": {
                "deltaSize": created.size,
                "eTag": created.etag,
                "key": created.key,
                "objectMeta": {"mimeType": "application/octet-stream"},
                "size": created.size,
            },
            "ossSchemaVersion": "1.0",
            "ruleId": "9adac8e253828f4f7c0466d941fa3db81161e853",
        },
        "region": "cn-hangzhou",
        "requestParameters": {"sourceIPAddress": "192.0.2.1"},
        "responseElements": {"requestId": "58F9FF2D3DF792092E12044C"},
        "userIdentity": {"principalId": "1000000000000001"},
    }
    return json.dumps({"events": [one]}).encode()


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to a function."""

    function: str
    event: bytes
    at: datetime
    what: str  # the key of the object, or the timer's name
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class FailAt:
    """Let one call from outside of one delivery fail."""

    delivery: int  # counted from 0
    call: int
    how: Fault
    later: bool = False  # delivered again only when nothing else waits


class Pump:
    """Delivers what the functions leave."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.functions = functions()
        self.waiting: list[Delivery] = []
        self.delivered: list[tuple[Delivery, int]] = []  # with the calls each made
        self.refusals: list[dict[str, Any]] = []
        self.given_up: list[Delivery] = []
        self.fault: FailAt | None = None

    def timer(self, function: str, name: str, at: datetime) -> None:
        """Let a timer fire."""
        self.cloud.clock.now = at
        trigger = next(one for one in self.functions[function].triggers if one.name == name)
        self.waiting.append(Delivery(function, timer_event(trigger, at), at, name))

    def collect(self) -> None:
        """Turn what was created into deliveries."""
        self.waiting += [delivery for delivery, _ in self.coming()]

    def coming(self) -> Iterator[tuple[Delivery, Created]]:
        """The deliveries that follow from what was created."""
        for created in self.cloud.take_created():
            for function in self.functions.values():
                for trigger in function.triggers:
                    if trigger.takes(created.bucket, created.key):
                        yield Delivery(function.name, object_event(created), created.at, created.key), created

    def drain(self, seed: int | None = None, *, twice: bool = False, hold: Callable[[Delivery], bool] | None = None
              ) -> None:  # fmt: skip
        """Deliver until nothing is left; in a seeded order, and each of them twice, where asked.

        What `hold` names is kept back and still waits afterwards.
        """
        chance = None if seed is None else random.Random(seed)  # noqa: S311 - an order that can be had again, no secret
        held: list[Delivery] = []
        self.collect()
        while self.waiting:
            delivery = self.waiting.pop(chance.randrange(len(self.waiting)) if chance else 0)
            if hold is not None and hold(delivery):
                held.append(delivery)
                continue
            self.deliver(delivery)
            if twice:
                if chance and chance.random() < 0.5:
                    self.waiting.append(replace(delivery, attempt=RETRIES))
                else:
                    self.deliver(delivery)
            self.collect()
        self.waiting = held

    def deliver(self, delivery: Delivery) -> None:
        """Carry out a delivery; one that fails waits for the next attempt."""
        fault = self.fault if self.fault and self.fault.delivery == len(self.delivered) else None
        self.cloud.clock.now = delivery.at
        self.cloud.calls.begin(fault.call if fault else None, fault.how if fault else Fault.LOSE_REQUEST)
        try:
            services = granted(self.cloud.services, delivery.function)
            answer = json.loads(self.functions[delivery.function].run(delivery.event, services))
        except (Exception, KilledError):
            again = replace(delivery, attempt=delivery.attempt + 1)
            if again.attempt > RETRIES:
                self.given_up.append(delivery)
            elif fault and fault.later:
                self.waiting.append(again)
            else:
                self.waiting.insert(0, again)
        else:
            self.refusals += [one for one in answer if "code" in one]
        self.delivered.append((delivery, len(self.cloud.calls.made)))
        self.cloud.calls.begin()


class World:
    """The small month with its people: what the provider bills, what time brings, what is decided."""

    def __init__(self, scratch: Path) -> None:
        self.cloud = Cloud(scratch)
        self.pump = Pump(self.cloud)
        self.services = self.cloud.services
        self.now = datetime(2025, 6, 1, 8, tzinfo=SHANGHAI)
        approvals.name_users(self.services.chain, SEEDED, self.at)

    @property
    def at(self) -> str:
        """The time of what people do."""
        self.cloud.clock.now = self.now
        return stamp(self.now)

    # -- what people decide

    def decide_parties(self, document: Mapping[str, Any]) -> None:
        """Put a party document in force, and let what follows happen."""
        proposal = decide.propose_parties(self.services, document, "parties", by=PREPARER, why="test", at=self.at)
        self.approve(proposal)

    def decide_agreement(self, document: Mapping[str, Any]) -> None:
        """Put an agreement version in force, and let what follows happen."""
        name = str(document["agreement"])
        self.approve(decide.propose_agreement(self.services, document, name, by=PREPARER, why="test", at=self.at))

    def approve(self, proposal: Proposal, *, drain: bool = True) -> None:
        """Approve what the preparer proposed."""
        decide.approve(self.services, proposal.name, by=APPROVER, at=self.at)
        if drain:
            self.pump.drain()

    def accept_cases(self, reseller: str = "aurora", cycle: str = CYCLE) -> None:
        """Let a month be locked while its cases are open."""
        entries = self.services.chain.read(months.stream_of(reseller, cycle))
        open_ = [one for one in locks.in_the_way(self.services, entries, reseller, cycle) if not one.accepted]
        if open_:
            asked = {"action": "accept", "cycle": cycle, "because": "test", "cases": [one.id for one in open_]}
            named = {"by": PREPARER, "why": "test", "at": self.at}
            for proposal in decide.propose(self.services, "case", asked, **named).proposals:
                self.approve(proposal)

    def propose_lock(self, reseller: str = "aurora", cycle: str = CYCLE) -> Proposal:
        """Propose to lock a month; what is open is accepted first."""
        self.accept_cases(reseller, cycle)
        return decide.propose_lock(self.services, cycle, reseller, by=PREPARER, why="test", at=self.at)

    def lock(self, *resellers: str, cycle: str = CYCLE) -> None:
        """Lock a month and publish it."""
        for reseller in resellers or ("aurora", "borealis"):
            self.approve(self.propose_lock(reseller, cycle))

    def switch_on(self, *resellers: str, cycle: str = CYCLE) -> None:
        """Let resellers be paid from a cycle on, unless they are."""
        for one in resellers or ("aurora", "borealis"):
            entries = self.services.chain.read(months.stream_of(one, ""))
            if not payees.is_paid(entries, cycle):
                named = {"by": PREPARER, "why": "test", "at": self.at}
                self.approve(decide.propose_payouts_on(self.services, one, cycle, on=True, **named))

    def propose_payouts(self, cycle: str = CYCLE) -> list[Proposal]:
        """Propose to pay what is due, to resellers that are switched on now at the latest."""
        self.switch_on(cycle=cycle)
        return decide.propose_payouts(self.services, cycle, by=PREPARER, why="test", at=self.at)[0]

    def pay(self, cycle: str = CYCLE) -> None:
        """Pay what is due."""
        for proposal in self.propose_payouts(cycle):
            self.approve(proposal)

    def bank_answers(self, name: str, *rows: tuple[str, str, str, str, str]) -> None:
        """The bank's file of answers lands."""
        lines = ["instruction,status,amount,currency,reference", *(",".join(row) for row in rows)]
        self.cloud.clock.now = self.now
        self.cloud.stores["inbox"].put_again(f"payouts/{name}.csv", "\r\n".join(lines).encode())
        self.pump.drain()

    # -- what time brings

    def daily(self, day: str, *, drain: bool = True) -> None:
        """The daily round of a day."""
        self.now = datetime.fromisoformat(f"{day}T09:00:00").replace(tzinfo=SHANGHAI)
        self.pump.timer("plan_pulls", "daily", self.now)
        if drain:
            self.pump.drain()

    def final(self, number: int = 0, cycle: str = CYCLE, *, drain: bool = True) -> None:
        """A round of final bills: on the 3rd at 12:30, 15:30, 18:30, then the next days."""
        first = Cycle.parse(cycle).final_from() + timedelta(minutes=30)
        self.now = first + timedelta(days=number // 3, hours=3 * (number % 3))
        self.pump.timer("plan_pulls", "final", self.now)
        if drain:
            self.pump.drain()

    def pull_again(self, number: int, cycle: str = CYCLE, *, drain: bool = True) -> None:
        """Somebody orders a further round of a bill that is final already."""
        self.now = Cycle.parse(cycle).final_from() + timedelta(minutes=30 + number)
        self.cloud.clock.now = self.now
        parties, _ = state.parties(self.services)
        for payer, connector in parties.connectors.items():
            slot = pulls.final_slot(self.now)
            for pull in pulls.pulls_of(slot, payer, Cycle.parse(cycle), connector.since):
                self.cloud.work.put_once(pull.order_key, b"{}")
        if drain:
            self.pump.drain()

    def sweep(self, day: str) -> None:
        """The sweep of an evening."""
        self.now = datetime.fromisoformat(f"{day}T22:15:00").replace(tzinfo=SHANGHAI)
        self.pump.timer("sweep", "nightly", self.now)
        self.pump.drain()

    def bill(self, payer: str, date: str, *items: Item) -> None:
        """From now on the provider bills these items for a date."""
        self.cloud.provider.bill(payer, date, *items)

    # -- what came of it

    def seals(self, payer: str = P1, cycle: str = CYCLE) -> list[Seal]:
        """The seals of a payer's bill, oldest first."""
        return seals(self.services.chain.read(bill_stream(payer, cycle)))

    def month(self, owner: str = "aurora", cycle: str = CYCLE) -> Month:
        """Where a month stands."""
        return months.months(self.services.chain.read(months.stream_of(owner, cycle)))[cycle]

    def total(self, owner: str = "aurora", cycle: str = CYCLE) -> str:
        """The statement total that was last calculated."""
        calculated = self.month(owner, cycle).calculated
        assert calculated is not None, f"{owner} {cycle} is not calculated"
        [statement] = calculated.body["statements"]
        return str(statement["total"])

    def calculations(self, owner: str = "aurora", cycle: str = CYCLE) -> list[str]:
        """The settlements that were calculated, in the order of the chain."""
        return [
            str(entry.body["settlement"])
            for entry in self.services.chain.read(months.stream_of(owner, cycle))
            if entry.kind == months.CALCULATED and entry.body["cycle"] == cycle
        ]

    def cases(self, cycle: str = CYCLE, state: str = "open") -> list[Row]:
        """The cases of a cycle."""
        return [row for row in projections.listed(self.services, projections.CASES, cycle) if row["state"] == state]

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """The objects of a bucket."""
        return list(self.cloud.stores[bucket].keys(prefix))

    def heads(self) -> dict[str, tuple[int, str]]:
        """The newest (seq, hash) of every stream."""
        found: dict[str, tuple[int, str]] = {}
        for (stream, seq), row in sorted(self.cloud.rows.tables["chain"].items()):
            found[str(stream)] = (int(seq), str(row["hash"]))
        return found


def small_month(world: World, items: Iterable[tuple[str, str, Item]] = ()) -> None:
    """Three days: aurora sells 600.00 on payer 100 and 1000.00 on payer 200, borealis 150.00; at 10 %.

    Aurora earns 160.00, borealis 15.00.
    """
    for day, pretax in zip(DAYS, ("100.00", "200.00", "300.00"), strict=True):
        world.bill(P1, day, item(ACME, pretax), *(one for payer, on, one in items if (payer, on) == (P1, day)))
        atlas = [item(ATLAS, "1000.00")] if day == DAYS[-1] else []
        more = [one for payer, on, one in items if (payer, on) == (P2, day)]
        world.bill(P2, day, item(BIRCH, "50.00"), *atlas, *more)


def go_live(world: World, document: Mapping[str, Any] | None = None) -> None:
    """Parties and one agreement for each reseller are in force."""
    world.decide_parties(document or parties())
    for reseller in ("aurora", "borealis"):
        world.decide_agreement(agreement(reseller))
    world.switch_on()
