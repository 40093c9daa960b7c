"""Order rounds of a payer's bill beside the planned ones: months of before, or one date once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from infra.clearbook import context
from infra.clearbook.main import write_json
from shared.bill import pulls
from shared.bill.pulls import CONTROL, MONTHLY, Pull
from shared.bill.snapshot import Seal, seals, stream_of
from shared.cycle import Cycle, parse_date, shanghai_day
from shared.errors import BadInputError, ClearbookError
from shared.parties.parties import Connector
from shared.services import Services
from shared.steps import state
from shared.steps.plan_pulls import order

WAIT_MOST_S = 3600
_BETWEEN_S = 2.0


class NotSealedError(ClearbookError):
    """The rounds were ordered, and are not sealed within the time one waits."""

    code = "not_sealed"
    retryable = True


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for: a date, or the cycles from one to another, both included."""

    account: str
    first: str | None
    last: str | None
    day: str | None


@dataclass(frozen=True, slots=True)
class Round:
    """A round of one cycle, and how many of its orders were not there before."""

    cycle: Cycle
    slot: str
    pulls: tuple[Pull, ...]
    ordered: int

    @property
    def dates(self) -> list[str]:
        """The dates it asks for."""
        return [pull.what for pull in self.pulls if pull.what not in (CONTROL, MONTHLY)]

    def as_json(self, seal: Seal | None) -> dict[str, Any]:
        """As plain data."""
        return {
            "account": self.pulls[0].account,
            "cycle": str(self.cycle),
            "slot": self.slot,
            "dates": [self.dates[0], self.dates[-1]],
            "orders": len(self.pulls),
            "ordered": self.ordered,
            "seal": seal.key if seal else None,
            "status": seal.status if seal else None,
        }


def show(asked: Asked, home: Path | None, json_to: str | None, *, wait: bool) -> None:
    """Order what is asked, say what that is, and wait until it is sealed where that is asked too."""
    services, console = context.services(home), Console(stderr=json_to == "-")
    rounds = order_rounds(services, asked, context.now(home))
    table = Table(title=f"Ordered of payer {asked.account}", title_justify="left")
    for column in ("Cycle", "Dates", "Round", "Orders"):
        table.add_column(column)
    for one in rounds:
        table.add_row(str(one.cycle), f"{one.dates[0]} to {one.dates[-1]}", one.slot, f"{one.ordered} new")
    console.print(table)
    sealed = _wait(services, rounds, console) if wait else {}
    for one in rounds if wait else []:
        seal = sealed[one.cycle]
        console.print(f"{one.cycle}: sealed {seal.status}, {seal.rows} lines, {seal.control['open']} differences open")
    if json_to is not None:
        write_json([one.as_json(sealed.get(one.cycle)) for one in rounds], json_to)


def order_rounds(services: Services, asked: Asked, now: datetime) -> list[Round]:
    """Write the orders; all of what is asked is checked before the first."""
    parties, _ = state.parties(services)
    connector = parties.connectors.get(asked.account)
    if connector is None:
        known = ", ".join(sorted(parties.connectors)) or "nobody"
        raise BadInputError("--account", f"{asked.account} has no connector", f"expected one of: {known}")
    day = parse_date(asked.day, "--date") if asked.day else None
    slot = pulls.extra_slot(now, day)
    wanted = {cycle: pulls.pulls_of(slot, asked.account, cycle, connector.since) for cycle in _cycles(asked, day, now)}
    for cycle, found in wanted.items():
        _refuse(connector, cycle, day, found, now)
    return [
        Round(cycle, slot, tuple(found), sum(order(services, pull) for pull in found))
        for cycle, found in wanted.items()
    ]  # fmt: skip


def _cycles(asked: Asked, day: date | None, now: datetime) -> Iterator[Cycle]:
    """The cycles asked for, oldest first; up to the last whole one where no end is given."""
    if day is not None:
        if asked.first or asked.last:
            raise BadInputError("--date", "stands beside --from or --to", "give a date, or cycles")
        yield Cycle.of(day)
        return
    if asked.first is None:
        raise BadInputError("--from", "is missing", "give the first cycle with --from, or one --date")
    cycle = Cycle.parse(asked.first, "--from")
    last = Cycle.parse(asked.last, "--to") if asked.last else Cycle.of(shanghai_day(now)).previous()
    if last < cycle:
        raise BadInputError("--to", f"{last} is before {cycle}", "give the later cycle")
    while cycle <= last:
        yield cycle
        cycle = cycle.next()


def _refuse(connector: Connector, cycle: Cycle, day: date | None, found: list[Pull], now: datetime) -> None:
    current = Cycle.of(shanghai_day(now))
    back = (current.year - cycle.year) * 12 + current.month - cycle.month
    what = day.isoformat() if day else str(cycle)
    if back > pulls.CYCLES_BACK:
        problem = f"is {back} months back, and the provider answers for {pulls.CYCLES_BACK}"
        raise BadInputError(what, problem, "import a bill file of that month instead")
    if not found and (day or cycle.last) < connector.since:
        problem = f"lies before {connector.since}, when the connector of {connector.account} begins"
        raise BadInputError(what, problem, "give a later one, or an earlier `since` in the party document")
    if not found:
        raise BadInputError(what, "is still to come, or today", "give a date that is over")


def _wait(
    services: Services,
    rounds: list[Round],
    console: Console,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[Cycle, Seal]:
    """The seals of the rounds, once they are all there."""
    end, sealed = clock() + WAIT_MOST_S, dict[Cycle, Seal]()
    with Progress(console=console) as progress:
        bars = {one.cycle: progress.add_task(f"{one.cycle}", total=len(one.pulls)) for one in rounds}
        while True:
            for one in rounds:
                if one.cycle not in sealed:
                    progress.update(bars[one.cycle], completed=_ingested(services, one))
                    seal = sealed_by(services, one)
                    if seal is not None:
                        sealed[one.cycle] = seal
            if len(sealed) == len(rounds):
                return sealed
            if clock() > end:
                missing = ", ".join(str(one.cycle) for one in rounds if one.cycle not in sealed)
                raise NotSealedError(f"{missing} not sealed within an hour; see `clearbook stuck`, or wait again")
            sleep(_BETWEEN_S)


def _ingested(services: Services, one: Round) -> int:
    pull = one.pulls[0]
    prefix = f"ingested/{pull.account}/{one.cycle}/{one.slot}/"
    return sum(1 for _ in services.buckets.work.keys(prefix))


def sealed_by(services: Services, one: Round) -> Seal | None:
    """The seal of the round, or a newer one that has seen every date of it."""
    found = seals(services.chain.read(stream_of(one.pulls[0].account, str(one.cycle))))
    for seal in found:
        if seal.slot == one.slot:
            return seal
    newest = found[-1] if found else None
    mine = pulls.asked(one.slot)
    is_seen = newest is not None and all(pulls.asked(newest.pulls.get(day, "")) > mine for day in one.dates)
    return newest if is_seen else None
