"""Sweep: find what should have happened and has not, mend it once, and say what cannot be mended.

What is missing is found by the rooms of `losses`, oldest cycle first. The first time, the step is woken with its
order; a sweep that still misses it carries out the step's own function itself. Both are as safe to repeat as the
steps are, and safe beside a step that runs at the same moment. What remains is stuck: tried again ever more
seldom, listed with how often and since when, and told to people once its bound is over.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

from shared.chain.chain import RememberingChain
from shared.control import months
from shared.cycle import Cycle, stamp
from shared.errors import ClearbookError
from shared.parties.parties import OPERATOR, NoPartiesError
from shared.services import Services
from shared.steps import anchoring, state
from shared.steps.losses import answers, bills, events, files, given_up, lists, shares, tries
from shared.steps.losses.books import Books, bill_matters, open_books, shares_matter
from shared.steps.losses.loss import KINDS, Loss, Losses
from shared.steps.losses.tries import Tried
from shared.steps.reporting import access_log
from shared.steps.stopping import never

_ACTOR = "sweep"
_GIVEN_UP = "invocations that were given up"


class SweepUnfinishedError(ClearbookError):
    """Something could not be reached; the rest of the sweep is done."""

    code = "sweep_unfinished"
    retryable = True


@dataclass(frozen=True, slots=True)
class Mended:
    """What a sweep did about a loss."""

    kind: str
    key: str
    cycle: str
    owner: str
    cause: str
    how: str  # "done" here, or "woken": the step has its order again


@dataclass(slots=True)
class Swept:
    """What a sweep found and did."""

    mended: list[Mended] = field(default_factory=list)
    stuck: list[Tried] = field(default_factory=list)
    gone: list[Tried] = field(default_factory=list)  # missed by an earlier sweep, and there now
    left: list[str] = field(default_factory=list)  # places that there was no time to look at
    unreachable: list[str] = field(default_factory=list)  # what may work when the sweep is tried again

    @property
    def counts(self) -> dict[str, int]:
        """In short."""
        return {
            "mended": len(self.mended),
            "stuck": len(self.stuck),
            "gone": len(self.gone),
            "left": len(self.left),
        }

    def outcomes(self) -> list[dict[str, Any]]:
        """For the answer and the log: ids and counts. What a problem says may hold amounts: see the records."""
        return [
            {"swept": self.counts, "left": self.left},
            *(
                {"mended": one.kind, "key": one.key, "cause": one.cause, "how": one.how, "owner": one.owner}
                for one in self.mended
            ),
            *(
                {
                    "stuck": one.kind,
                    "key": one.key,
                    "owner": one.owner,
                    "since": one.since,
                    "tries": one.tries,
                    "remedy": one.remedy,
                }
                for one in self.stuck
            ),
        ]


def sweep(services: Services, now: datetime, stop: Callable[[], bool] = never) -> Swept:
    """Mend what is missing, oldest first; where `stop` says so, end and say what was not looked at."""
    swept, chain = Swept(), RememberingChain(services.rows)
    services = replace(services, chain=chain)
    chain.read_between(state.CONFIG, months.stream_of("\U0010ffff", ""))  # everything but the bills
    try:
        books = open_books(services, now)
    except NoPartiesError:
        return swept
    known = tries.kept(services)
    found: dict[tuple[str, str], Loss] = {}
    sweeper = _Sweeper(services, chain, now, stop, known, swept, found)
    for name, look in _places(services, books, known, now):
        sweeper.look_at(name, look)
    if not swept.left and not swept.unreachable:
        # Whether the work of these is done is known once everything has been looked at.
        missing = frozenset(key for loss in found.values() for key in (loss.key, *loss.covers))
        sweeper.look_at(_GIVEN_UP, lambda: given_up.losses(services, missing, now))
    else:
        swept.left.append(_GIVEN_UP)
    if not swept.left and not swept.unreachable:
        for one in known.values():
            if one.name not in sweeper.met:
                tries.forget(services, one)
                swept.gone.append(one)
    services.record(_ACTOR, stamp(now), stamp(now), json.dumps({**swept.counts, "not looked at": swept.left}))
    return swept


def stuck(services: Services, now: datetime) -> list[tuple[Tried, bool]]:
    """What the last sweeps left, oldest first, and whether each is missing longer than its bound."""
    found = sorted(tries.kept(services).values(), key=lambda one: (one.since, one.name))
    return [(one, one.is_late(now)) for one in found]


def keep_failed(services: Services, event: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Keep an invocation that Function Compute gave up, for people; what it should have done the sweep will find."""
    request = event["requestContext"]
    key = f"{given_up.FAILED}{request.get('requestId', 'unknown')}.json"
    services.buckets.work.put_again(key, json.dumps(event, sort_keys=True, ensure_ascii=False).encode())
    services.record(_ACTOR, key, stamp(now), f"given up: {request.get('condition')}")
    return {"given_up": request.get("functionArn"), "condition": request.get("condition"), "kept": key}


# -- where to look ----------------------------------------------------------------------------------------------


def _places(
    services: Services, books: Books, known: Mapping[tuple[str, str], Tried], now: datetime
) -> Iterator[tuple[str, Callable[[], Losses]]]:
    yield "access log", partial(_sealed, services, now)
    yield "anchor of the chain", partial(_anchored, services, now)
    for cycle in books.cycles:
        for connector in books.parties.connectors.values():
            if bill_matters(books, connector.account, cycle):
                look = partial(bills.losses, services, books, connector, Cycle.parse(cycle), now)
                yield f"bill of {connector.account}, {cycle}", look
        yield f"shares of {cycle}", partial(_shares, services, books, cycle, now)
    # After all that writes rows: those of all cycles are read together.
    shown = lists.Shown(services, books.cycles)
    for cycle in books.cycles:
        yield f"lists of {cycle}", partial(lists.losses, services, books, shown, cycle)
    yield "answers of the bank", partial(answers.losses, services, now)
    yield "bill files", partial(files.losses, services, now)
    yield "events", partial(events.untold, services, books)
    late = {one.cycle for one in known.values() if one.kind == "delivery"}
    yield "deliveries", partial(events.undelivered, services, books, late.union(books.recent), now)


def _sealed(services: Services, now: datetime) -> Losses:
    access_log.seal(services, now)
    yield from ()


def _anchored(services: Services, now: datetime) -> Losses:
    anchoring.anchor_day(services, now)
    yield from ()


def _shares(services: Services, books: Books, cycle: str, now: datetime) -> Losses:
    if shares_matter(books, cycle, services.chain.read(months.stream_of(OPERATOR, cycle))):
        yield from shares.losses(services, books, cycle, now)


# -- one after another ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Sweeper:
    services: Services
    chain: RememberingChain
    now: datetime
    stop: Callable[[], bool]
    known: Mapping[tuple[str, str], Tried]
    swept: Swept
    found: dict[tuple[str, str], Loss]  # what is missing still
    met: set[tuple[str, str]] = field(default_factory=set)

    def look_at(self, place: str, look: Callable[[], Losses]) -> None:
        """Mend what is missing there; a place that cannot be looked at is a loss itself, and stops no other."""
        if self.stop():
            self.swept.left.append(place)
            return
        try:
            for loss in look():
                if self.stop():
                    self.swept.left.append(place)
                    return
                self.meet(loss)
        except ClearbookError as exc:
            self.cannot_look(place, exc)

    def cannot_look(self, place: str, exc: ClearbookError) -> None:
        if exc.retryable:
            self.swept.unreachable.append(f"{place}: {exc}")
            return

        def refuse() -> None:
            raise exc

        self.meet(Loss("place", place, "", OPERATOR, None, "it cannot be looked at", lambda: False, refuse))

    def meet(self, loss: Loss) -> None:
        """Mend the loss once, unless it is too early for another try."""
        self.met.add(loss.name)
        before = self.known.get(loss.name)
        if loss.is_under_way(self.now):
            self.found[loss.name] = loss
            return
        record = before or tries.first_seen(loss, self.now)
        if not record.is_due(self.now):
            self.found[loss.name] = loss
            self.swept.stuck.append(record)
        elif loss.wake is not None and record.tries == 0:
            self.wake(loss, record)
        elif loss.run is not None:
            self.mend(loss, loss.run, record)
        else:
            self.found[loss.name] = loss
            self.swept.stuck.append(record)
            if before is None:
                tries.keep(self.services, record)

    def wake(self, loss: Loss, record: Tried) -> None:
        self.found[loss.name] = loss
        problem = self.attempt(loss, loss.wake or never)
        tries.keep(self.services, tries.tried(record, loss, self.now, problem))
        if problem:
            self.swept.stuck.append(tries.tried(record, loss, self.now, problem))
        else:
            self.say(loss, "woken")

    def mend(self, loss: Loss, run: Callable[[], object], record: Tried) -> None:
        problem = self.attempt(loss, run)
        if not problem and loss.is_done():
            self.say(loss, "done")
            if loss.name in self.known:
                tries.forget(self.services, record)
            return
        after = tries.tried(record, loss, self.now, problem or "it was carried out, and is missing still")
        self.found[loss.name] = loss
        tries.keep(self.services, after)
        self.swept.stuck.append(after)
        self.services.record(_ACTOR, f"{loss.kind} {loss.key}", stamp(self.now), f"stuck: {after.problem}")

    def attempt(self, loss: Loss, how: Callable[[], object]) -> str:
        """What the attempt met; empty if nothing."""
        self.chain.forget()  # steps go by what is there now
        try:
            how()
        except ClearbookError as exc:
            if exc.retryable:
                self.swept.unreachable.append(f"{loss.kind} {loss.key}: {exc}")
            return str(exc)
        except Exception as exc:  # a defect that one input brings out must not keep the sweep from all the others
            return f"failed unexpectedly: {exc!r}; this is a defect"
        return ""

    def say(self, loss: Loss, how: str) -> None:
        self.swept.mended.append(Mended(loss.kind, loss.key, loss.cycle, loss.owner, loss.cause, how))
        self.services.record(_ACTOR, f"{loss.kind} {loss.key}", stamp(self.now), f"{how}: {loss.cause}")


# -- what people and machines are told --------------------------------------------------------------------------


def alerts(swept: Swept, now: datetime) -> list[dict[str, str]]:
    """One for each thing that is stuck longer than its bound; the fields are stable."""
    return [_alert(one.kind, one.key, one.cycle, one.owner, one.since) for one in swept.stuck if one.is_late(now)]


def given_up_alert(kept: Mapping[str, Any], at: datetime) -> dict[str, str]:
    """That of an invocation which was just given up: it was tried often enough."""
    function = str(kept["given_up"]).rpartition("functions/")[2].partition("/")[0]
    return _alert("given_up", str(kept["kept"]), "", function, stamp(at))


def _alert(kind: str, key: str, cycle: str, owner: str, since: str) -> dict[str, str]:
    hours = int(KINDS[kind].bound.total_seconds()) // 3600
    bound, remedy = f"PT{hours}H", KINDS[kind].remedy
    return {
        "kind": kind, "key": key, "cycle": cycle, "owner": owner, "since": since, "bound": bound, "remedy": remedy,
    }  # fmt: skip


def metrics(swept: Swept, duration_s: float) -> list[tuple[str, float, str, dict[str, str]]]:
    """(name, value, unit, dimensions) of a sweep; a kind of which there is nothing counts 0."""
    stuck_, mended = Counter(one.kind for one in swept.stuck), Counter(one.kind for one in swept.mended)
    return [
        *(("sweep_stuck", stuck_[kind], "count", {"kind": kind}) for kind in KINDS),
        *(("sweep_mended", mended[kind], "count", {"kind": kind}) for kind in KINDS),
        ("sweep_left", len(swept.left), "count", {}),
        ("sweep_duration", round(duration_s, 3), "seconds", {}),
    ]
