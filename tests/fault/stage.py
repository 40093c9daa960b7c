"""The demo's month on the rig: what time and people do, delivery by delivery, with what each left behind.

    python -m tests.fault.stage --since 28 --distinct --jobs 2

plays the month from the 28th on (30 dates instead of 3 with `--since 1`), goes back to each of its deliveries, and
lets each of its calls go wrong once, in each way there is. With `--distinct` it goes back to one delivery of each sort:
the longest of those to one function that make the same kinds of calls; without, to every pull of every date. After
the event has come again everything that is kept must be what the clean delivery left. It prints how many cases that
were, each that differs, and what a function called on the way that its policy does not grant.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from infra.clearbook.demo import acts
from infra.clearbook.demo.month import Month, month
from infra.clearbook.demo.provider import load_bills
from infra.localcloud import common
from infra.localcloud.bss.load import add_items
from infra.localcloud.faults.plan import Fault
from infra.localcloud.host import template
from infra.localcloud.host.template import Function, Template, TimerTrigger
from infra.localcloud.ram.authority import LEARN
from infra.provision import permissions
from infra.provision.plan import plan
from shared.bootstrap import build_services
from shared.cycle import SHANGHAI, Cycle, stamp
from shared.steps import projections
from shared.steps.ingest_bill import FINAL_TRIES
from tests.desk import desk
from tests.fault.rig import FailAt, Instance, Made, Outcome, Services, handler_of, oss_event, preload

ROOT = Path(__file__).parents[2]
CYCLE = "2025-06"
LINES, SEED = 400, 1
RETRIES = 3
# All of them for each call; only a batch has rows, and only what is sent can be cut off.
CALL_FAULTS = (
    Fault.LOSE_REQUEST, Fault.LOSE_RESPONSE, Fault.CUT_RESPONSE, Fault.THROTTLE, Fault.SERVER_ERROR,
    Fault.DOUBTFUL_ERROR, Fault.TIME_OUT, Fault.DELAY, Fault.REFUSE_SIGNATURE, Fault.FAIL_ROWS,
    Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.KILL_WITHIN,
)  # fmt: skip
DISKS = (0, 3000)  # bytes a file may grow to: nothing is written, or a part


@dataclass(frozen=True, slots=True)
class Delivery:
    """A piece of work for a function, or for people's command (`function` is "people")."""

    function: str
    what: str
    event: bytes
    at: datetime
    act: Callable[[], None] | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """A delivery of the clean month: what was there before it, what it asked for, what it left."""

    number: int  # under which the services know what it left
    delivery: Delivery
    before: tuple[bytes, bytes]
    mark: int
    calls: tuple[Made, ...]
    told: Counter[str]

    @property
    def sort(self) -> tuple[str, frozenset[str]]:
        """The function, or what people do, and the kinds of calls that were made."""
        does = self.delivery.what.partition(" ")[0] if self.delivery.act else ""
        return f"{self.delivery.function} {does}", frozenset(f"{call.service} {call.name}" for call in self.calls)


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which one delivery goes wrong."""

    fail: FailAt | None
    disk_bytes: int | None = None
    twice: bool = False

    def __str__(self) -> str:
        if self.fail is not None:
            return f"{self.fail.fault} at call {self.fail.call}"
        return "twice" if self.twice else f"a disk full at {self.disk_bytes} bytes"


class Stage:
    """The month, its functions and what wakes them."""

    def __init__(self, home: Path, since: int, *, has_drafts: bool = True) -> None:
        self.home, self.cycle, self._has_drafts = home, Cycle.parse(CYCLE), has_drafts
        self.month: Month = month(SEED, CYCLE, LINES)
        self._since = date(self.cycle.year, self.cycle.month, since)
        master = {"webhooks": {"master": base64.b64encode(bytes(32)).decode()}}
        common.write_atomically(home / "secrets.json", json.dumps(master).encode(), mode=0o600)
        common.write_atomically(home / "record-calls", LEARN.encode())
        self._clock = common.Clock(home)
        self._clock.set(self._morning(-2))
        load_bills(home, self.month, since=self._since)
        self._bill_strangely()
        self.services = Services(home)
        settings = {"CLEARBOOK_BUCKET_PREFIX": "clearbook"}
        self._template: Template = template.load(ROOT / "s.yaml", ROOT / "functions", self.services.keys, settings)
        self._handlers = {
            one.name: handler_of(one.handler.partition(".")[0], one.timeout_s)
            for one in self._template.functions.values()
        }
        preload()
        self._mark = 0
        self._warm: dict[str, Instance] = {}
        self.waiting: list[Delivery] = []
        self._provision()

    # -- what happens in the month

    def script(self) -> Iterator[Callable[[], None]]:
        """What time and people bring, one thing after the other; each is worked off before the next."""
        yield partial(self._people, "go live", lambda: self._go_live())
        if self._has_drafts:
            yield partial(self._timer, "plan_pulls", "daily", self._morning(0))
        for number in range(FINAL_TRIES):  # the provider's sums hold the line that cannot be read
            yield partial(self._timer, "plan_pulls", "final", self._first_final + timedelta(hours=3 * number))
        for reseller in self.month.resellers:
            yield partial(self._people, f"lock {reseller.id}", partial(self._lock, reseller.id))
        yield partial(self._people, "pay", lambda: acts.pay(self._ask, self._work(), CYCLE))
        yield partial(self._people, "the bank answers", lambda: acts.answer(self._work(), CYCLE))
        yield partial(self._people, "spoil the lists", lambda: spoil(self._work()))
        yield partial(self._timer, "sweep", "nightly", self._first_final.replace(hour=22, minute=15))
        for hour in (8, 20):  # the slot of the 4th is opened, then told
            yield partial(self._timer, "deliver", "due", self._morning(3).replace(hour=hour, minute=30))

    def _bill_strangely(self) -> None:
        """One line is of no known kind: it is rejected, and the bill differs from the provider's sums."""
        payer = self.month.payers[0].account
        seen, _, billed, fields = next(line for line in self.month.bill(payer) if line[2] >= str(self._since))
        strange = {**fields, "Item": "Gift", "InstanceID": "i-strange"}
        add_items(self.home, payer, CYCLE, [(seen, None, billed, strange)], batch="strange")

    def _go_live(self) -> None:
        acts.go_live(self._ask, self._work(), self.month, self._since)
        acts.schedule(self._ask, CYCLE)

    def _lock(self, reseller: str) -> None:
        acts.lock(self._ask, self._work(), CYCLE, reseller)

    @property
    def _first_final(self) -> datetime:
        return (self.cycle.final_from() + timedelta(minutes=30)).astimezone(SHANGHAI)

    def _morning(self, day: int) -> datetime:
        """09:00 so many days after the month's last."""
        return self._first_final.replace(hour=9, minute=0) - timedelta(days=2 - day)

    @property
    def _at(self) -> str:
        return stamp(self._clock.now())

    @property
    def _ask(self) -> acts.Ask:
        return desk(self._work, lambda: self._at)

    @staticmethod
    def _work() -> Any:
        return build_services(os.environ)

    def _provision(self) -> None:
        for action in plan({**self.services.environment, **self.services.main_key()}):
            action.make()
        self._mark = max([0, *(one[0] for one in self.services.ask("created", 0))])

    def _people(self, what: str, act: Callable[[], None]) -> None:
        self.waiting.append(Delivery("people", what, b"", self._clock.now(), act))

    def _timer(self, function: str, name: str, at: datetime) -> None:
        trigger: TimerTrigger = next(
            one for one in self._template.timers if (one.function, one.name) == (function, name)
        )
        event = {"triggerTime": stamp(at), "triggerName": name, "payload": trigger.payload}
        self.waiting.append(Delivery(function, f"{name} {stamp(at)}", json.dumps(event).encode(), at))

    # -- how it is delivered

    def collect(self) -> None:
        """Turn what OSS says was created into deliveries."""
        for id_, bucket, key, name, body in self.services.ask("created", self._mark):
            self._mark = id_
            at = datetime.fromisoformat(json.loads(body)["eventTime"])
            self.waiting += [
                Delivery(trigger.function, key, oss_event(body), at)
                for trigger in self._template.oss_triggers
                if trigger.matches(bucket, key, name)
            ]

    def instance(self, delivery: Delivery) -> Instance:
        """A fresh instance for it."""
        if delivery.act is not None:
            return Instance(self.services, self.services.main_key(), partial(_acted, delivery.act))
        function: Function = self._template.functions[delivery.function]
        key = self.services.role_key(function.role, function.name)
        return Instance(self.services, key, self._handlers[function.name])

    def told(self, after: int) -> Counter[str]:
        """What woke somebody since an event, with whom."""
        created = self.services.ask("created", after)
        return Counter(
            f"{trigger.function} {bucket}/{key}"
            for _, bucket, key, name, _ in created
            for trigger in self._template.oss_triggers
            if trigger.matches(bucket, key, name)
        )

    def play(self) -> list[Step]:
        """The clean month, step by step."""
        steps: list[Step] = []
        for happen in self.script():
            happen()
            while self.waiting:
                steps.append(self._clean(len(steps), self.waiting.pop(0)))
                self.collect()
        return steps

    def _clean(self, number: int, delivery: Delivery) -> Step:
        self._clock.set(delivery.at)
        before, mark = self.services.ask("save"), self._mark
        instance = self.instance(delivery)
        outcome = instance.deliver(delivery.event)
        instance.end()
        if outcome.answer is None or _refusals(outcome.answer):
            raise AssertionError(f"{delivery.function} {delivery.what}: {outcome}")
        calls = tuple(self.services.ask("made"))
        self.services.ask("know", number)
        return Step(number, delivery, before, mark, calls, self.told(mark))

    def retry(self, step: Step, case: Case) -> str | None:
        """Let the step go wrong and come again; what is then not as it should be, or None."""
        self._clock.set(step.delivery.at)
        self.services.ask("load", step.before)
        instance = self._warm.pop(step.delivery.what, None) or self.instance(step.delivery)
        instance.forget_made()
        outcome = instance.deliver(step.delivery.event, case.fail, case.disk_bytes)
        tries = 0
        while outcome.answer is None or (case.twice and tries == 0):
            tries += 1
            if tries > RETRIES:
                instance.end()
                return f"it never got through: {outcome}"
            if outcome.was_killed:
                instance.end()
                instance = self.instance(step.delivery)
            outcome = instance.deliver(step.delivery.event)
        self._warm[step.delivery.what] = instance
        return self._difference(step, outcome)

    def ungranted(self) -> list[str]:
        """What a function called, however things went, that its committed policy does not grant."""
        roles = {one.role: one.name for one in self._template.functions.values()}
        needed = permissions.recorded([self.home / "calls"], roles)
        return sorted(
            f"{function}: {permission}"
            for function, mine in needed.items()
            for permission in mine.keys() - permissions.granted(permissions.committed(function))
        )

    def open_cases(self) -> list[str]:
        """The kinds of what is open of the month."""
        environment = {**self.services.environment, **self.services.main_key()}
        rows = projections.listed(build_services(environment), projections.CASES, CYCLE)
        return sorted({str(row["kind"]) for row in rows if row["state"] == "open"})

    def forget(self, step: Step) -> None:
        """End the warm instance of a step."""
        if instance := self._warm.pop(step.delivery.what, None):
            instance.end()

    def _difference(self, step: Step, outcome: Outcome) -> str | None:
        if refusals := _refusals(outcome.answer or ""):
            return f"it was refused: {refusals}"
        # People do not ask again for what is in force: the event that their cut-off request left out is the sweep's.
        is_sweeps = step.delivery.function == "people"
        differing = self.services.ask("differing", step.number)
        if differing := [one for one in differing if not (is_sweeps and "-work/outbox/" in one)]:
            return f"{len(differing)} differ: {', '.join(differing[:4])}"
        told, wanted = self.told(step.mark), step.told
        if is_sweeps:
            told, wanted = (Counter({k: n for k, n in of.items() if "outbox" not in k}) for of in (told, wanted))
        if wanted - told or told.keys() - wanted.keys():
            return f"told of {told}, should be {wanted}"
        return None


def spoil(work: Any) -> None:
    """Of each list let one row say what nobody decided."""
    for table in projections.TABLES:
        row = projections.listed(work, table, CYCLE)[0]
        key = (("cycle", row.pop("cycle")), ("id", row.pop("id")))
        work.rows.put(table, key, {**row, "state": "strange"})


def _refusals(answer: str) -> list[Any]:
    return [one for one in json.loads(answer or "[]") if "code" in one]


def _acted(act: Callable[[], None], _: bytes) -> str:
    act()
    return ""


def cases(step: Step, *, kinds: bool = False) -> Iterator[Case]:
    """Everything that can go wrong with a delivery, once; of calls of one kind to one place the first, with `kinds`."""
    seen: set[tuple[str, str, str]] = set()
    yield Case(None, twice=True)
    if step.delivery.function != "people":
        yield from (Case(None, disk_bytes=size) for size in DISKS)
    for number, call in enumerate(step.calls):
        place = "/".join(call.subject.split("/")[:2]) if call.service == "oss" else ""
        kind = (call.service, call.name, place)
        if kinds and kind in seen:
            continue
        seen.add(kind)
        for fault in CALL_FAULTS:
            if fault is Fault.FAIL_ROWS and call.name != "BatchWriteRow":
                continue
            if fault is Fault.KILL_WITHIN and not call.size:
                continue
            yield Case(FailAt(number, fault))


def main() -> int:
    """Play, go back, and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--since", type=int, default=28, help="the day of June on which the operator goes live")
    parser.add_argument("--shard", default="1/1", help="N/M: every M-th case, from the N-th on")
    parser.add_argument("--jobs", type=int, default=1, help="so many shards side by side, each in a process")
    parser.add_argument("--no-drafts", action="store_true", help="leave out the daily round")
    parser.add_argument(
        "--distinct", action="store_true", help="of deliveries with the same kinds of calls, the longest"
    )
    parser.add_argument("--kinds", action="store_true", help="of a delivery's calls of one kind to one place the first")
    parser.add_argument("--only", default="", help="only functions or faults whose name holds this")
    arguments = parser.parse_args()
    if arguments.jobs > 1:
        return _side_by_side(arguments.jobs)
    number, of = map(int, arguments.shard.split("/"))
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="clearbook-") as folder:
        stage = Stage(Path(folder), arguments.since, has_drafts=not arguments.no_drafts)
        steps = played = stage.play()
        open_cases = stage.open_cases()
        if arguments.distinct:
            longest = {step.sort: step for step in sorted(played, key=lambda one: len(one.calls))}
            steps = [step for step in played if longest[step.sort] is step]
        counted, differing = Counter[str](), []
        calls = sum(len(step.calls) for step in steps)
        seconds = time.monotonic() - begun
        print(f"{len(played)} deliveries, {len(steps)} of them with {calls} calls are gone back to, {seconds:.1f} s")
        for index, step in enumerate(steps):
            at = f"{step.delivery.function} ({step.delivery.what})"
            print(f"{counted.total()} cases; {index + 1} of {len(steps)}: {at}", flush=True)
            for position, case in enumerate(cases(step, kinds=arguments.kinds)):
                name = f"{at}: {case}"
                if (index + position) % of != number - 1 or arguments.only not in name:
                    continue
                counted[str(case).partition(" at ")[0]] += 1
                wrong = stage.retry(step, case)
                if wrong is not None:
                    differing.append(f"{name} {_named(step, case)}: {wrong}")
                    print(differing[-1], flush=True)
            stage.forget(step)
        ungranted = stage.ungranted()
        stage.services.close()
    print("".join(f"not granted: {one}\n" for one in ungranted), end="")
    result = {
        "deliveries": len(steps), "calls": calls, "cases": counted.total(), "by_fault": dict(counted),
        "differing": len(differing), "ungranted": len(ungranted), "open": open_cases,
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    print(json.dumps(result))
    return 1 if differing or ungranted else 0


def _side_by_side(jobs: int) -> int:
    """Run the cases in so many processes; what each prints, then the sum of their results."""

    def run(number: int) -> tuple[int, dict[str, Any]]:
        # The last of an option that is given twice counts.
        command = [sys.executable, "-m", "tests.fault.stage", *sys.argv[1:], "--jobs=1", f"--shard={number}/{jobs}"]
        last = "{}"
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for line in process.stdout:
                last = line
                if not line.startswith("{"):
                    print(f"[{number}] {line}", end="", flush=True)
        return process.returncode, json.loads(last) if last.startswith("{") else {}

    with ThreadPoolExecutor(jobs) as pool:
        done = list(pool.map(run, range(1, jobs + 1)))
    results = [result for _, result in done]
    by_fault = sum((Counter(result.get("by_fault", {})) for result in results), Counter[str]())
    sums = {name: sum(result.get(name, 0) for result in results) for name in ("cases", "differing", "ungranted")}
    once = {name: results[0].get(name) for name in ("deliveries", "calls", "open")}
    seconds = max(result.get("seconds", 0) for result in results)
    print(json.dumps({**once, **sums, "by_fault": by_fault, "seconds": seconds}))
    return max(abs(code) for code, _ in done)


def _named(step: Step, case: Case) -> str:
    if case.fail is None:
        return ""
    call = step.calls[case.fail.call]
    return f"({call.service} {call.name} {call.subject})"


if __name__ == "__main__":
    sys.exit(main())
