"""The small month in stages, with events that never arrive, and sweeps until nothing is missing."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from shared.cycle import SHANGHAI
from shared.steps import anchoring
from shared.steps.pay_resellers import PAID
from shared.steps.projections import TABLES
from shared.steps.sweep import Swept, sweep
from tests.builders import ACME, CYCLE, DAYS, P1, item
from tests.fakes import Cloud
from tests.pump import Delivery, Pump, World, go_live, small_month
from tests.registered import register

BETWEEN = timedelta(minutes=70)  # sweeps: longer than the wait after a second try
_HASH = re.compile(rb"[0-9a-f]{64}")
_AS_OF = re.compile(rb"\"as_of\":\"[^\"]*\"")  # a month that was settled later says so


class LossyPump(Pump):
    """Loses the deliveries that `lose` names; they are in `lost`."""

    def __init__(self, cloud: Cloud) -> None:
        super().__init__(cloud)
        self.lose: Callable[[Delivery], bool] = lambda _: False
        self.lost: list[Delivery] = []

    def collect(self) -> None:
        before = len(self.waiting)
        super().collect()
        arrived = self.waiting[before:]
        gone = [one for one in arrived if self.lose(one)]
        self.lost += gone
        self.waiting[before:] = [one for one in arrived if one not in gone]


class LossyWorld(World):
    """The small month, with a line of nobody, one that cannot be read, and a bucket that a reseller registered."""

    pump: LossyPump

    def __init__(self, scratch: Path) -> None:
        super().__init__(scratch)
        self.pump = LossyPump(self.cloud)
        small_month(self, [(P1, DAYS[1], item("1009", "5.00")), (P1, DAYS[1], item(ACME, "0", PretaxGrossAmount="x"))])
        go_live(self)
        register(self)

    def at_noon(self, day: str) -> None:
        """People come in at noon."""
        self.now = noon(day)

    def sweep_at(self, at: datetime) -> Swept:
        """One sweep, and what it wakes."""
        self.cloud.clock.now = at
        swept = sweep(self.services, at)
        self.pump.drain()
        return swept

    def sweep_until_quiet(self, begin: datetime, most: int = 12) -> int:
        """Sweep until nothing is missing any more; how many sweeps that took."""
        for number in range(most):
            swept = self.sweep_at(begin + number * BETWEEN)
            if not swept.mended and not swept.stuck:
                return number
        raise AssertionError(f"{most} sweeps did not do: {swept}")


def noon(day: str) -> datetime:
    """12:00 in Asia/Shanghai."""
    return datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=SHANGHAI)


@dataclass(frozen=True)
class Stage:
    """Something happens, and later there are sweeps."""

    name: str
    happen: Callable[[LossyWorld], None]
    swept_from: datetime


def _lock(world: LossyWorld) -> None:
    world.at_noon("2025-07-05")
    world.lock()


def _pay(world: LossyWorld) -> None:
    world.at_noon("2025-07-06")
    world.pay()


def _answer(world: LossyWorld) -> None:
    world.at_noon("2025-07-07")
    world.bank_answers(
        "one",
        (f"{CYCLE}.aurora.aurora-2025", "confirmed", "160.00", "CNY", "B1"),
        (f"{CYCLE}.borealis.borealis-2025", "returned", "15.00", "CNY", "B2"),
    )


STAGES = (
    Stage("daily", lambda world: world.daily("2025-07-01"), noon("2025-07-01")),
    Stage("final", lambda world: world.final(), noon("2025-07-03") + timedelta(hours=3)),
    Stage("lock", _lock, noon("2025-07-05") + timedelta(hours=1)),
    Stage("pay", _pay, noon("2025-07-06") + timedelta(hours=1)),
    Stage("answer", _answer, noon("2025-07-07") + timedelta(hours=1)),
)


def play(world: LossyWorld, upto: str = "answer") -> None:
    """The stages up to one, without any sweep."""
    for stage in STAGES:
        stage.happen(world)
        if stage.name == upto:
            return


def outcome(world: World) -> dict[str, Any]:
    """What a month came to, but for the times at which things were done and the hashes that hold them."""
    tables = copy.deepcopy(world.cloud.rows.tables)
    return {
        "chain": {key: _timeless(json.loads(str(row["entry"]))) for key, row in tables["chain"].items()},
        # An anchor is of when it was made: which days are swept, and what had happened by then, is not what came of it.
        "records": {
            key: _plain(key, body)
            for key, body in world.cloud.records.objects.items()
            if not key.startswith(anchoring.FOLDER)
        },
        "work": [key for key in world.keys("work") if not key.startswith(("stuck/", "quarantine/"))],
        # The seq of a list's row may be that of a later entry of its stream, about something else.
        **{name: {key: row | {"seq": 0} for key, row in tables[name].items()} for name in TABLES},
        "bill_lines": tables["bill_lines"],
        "refused": world.pump.refusals,
        "given up": world.pump.given_up,
        "stuck": world.keys("work", "stuck/"),
        "theirs": {name: sorted(store.objects) for name, store in world.cloud.others.items()},
    }


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Where two outcomes differ, in short."""
    found: dict[str, Any] = {}
    for name in one:
        mine, theirs = one[name], other[name]
        if isinstance(mine, dict):
            keys = [key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)]
            found |= {f"{name} {key}": (mine.get(key), theirs.get(key)) for key in keys[:3]}
        elif mine != theirs:
            found[name] = [one for one in mine if one not in theirs], [one for one in theirs if one not in mine]
    return found


def _timeless(entry: dict[str, Any]) -> dict[str, Any]:
    what = {name: entry[name] for name in ("stream", "seq", "kind", "actor", "why", "body")}
    what["reads"] = {stream: seq for stream, (seq, _) in entry["reads"].items()}
    if entry["kind"] in ("published", "payout_file_written"):
        what["body"] = {**entry["body"], "files": [one["key"] for one in entry["body"]["files"]]}
    if entry["kind"] == PAID:
        what["body"] = {**what["body"], "chain_head": ""}
    return what


def _plain(key: str, body: bytes) -> object:
    if key.endswith("_complete.json"):
        return {name: value for name, value in json.loads(body).items() if name != "at"}
    if key.startswith(("statements/", "payouts/")):
        return "" if key.endswith((".xlsx", ".pdf")) else _AS_OF.sub(b"", _HASH.sub(b"", body))
    return body
