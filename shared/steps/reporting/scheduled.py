"""Reports as schedules use them: by the rights that whoever made the schedule has now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shared.access.principal import Principal, is_known, scope_of
from shared.access.roles import EXPORT
from shared.cycle import Cycle, stamp
from shared.report.asking import Ask, parse_ask
from shared.services import Services
from shared.steps import state
from shared.steps.delivering.reports import Outcome, Reports, Standing, Wanted
from shared.steps.reporting import facts, keys, links, overdue, requesting, runs


def reports(address: str, clock: Callable[[], datetime]) -> Reports:
    """For a portal at an address; `clock` tells whether a run has expired."""

    def outcome(services: Services, owner: str, run: str) -> Outcome | None:
        found = runs.get(services, owner, run, clock())
        if found.is_late or not found.is_finished:
            return None  # a late one is woken
        return Outcome(found.state == runs.SUCCEEDED, found.because)

    def link(services: Services, wanted: Wanted, run: str, slot: str) -> str:
        at = clock()
        found = runs.get(services, wanted.owner, run, at)
        return address.rstrip("/") + links.delivered(services, found, wanted.by, slot, stamp(at))

    return Reports(_check, _request, outcome, link, overdue.wake, _standing)


def _check(services: Services, wanted: Wanted, at: str) -> None:
    who = _who(services, wanted, at)
    who.need(EXPORT)
    requesting.refuse_unexportable(who, wanted.format)
    _ask(who, wanted)


def _request(services: Services, wanted: Wanted, at: str) -> str:
    """Always as a job: the timer has others to carry on with."""
    who = _who(services, wanted, at)
    ask = _ask(who, wanted)
    name = f"{wanted.by} {wanted.today} {ask.digest} {wanted.format}"
    return requesting.request(services, who, ask, wanted.format, at=at, small_lines=0, noted=name).id


def _who(services: Services, wanted: Wanted, at: str) -> Principal:
    return keys.by_id(services, wanted.owner, wanted.by, at)


def _ask(who: Principal, wanted: Wanted) -> Ask:
    return parse_ask(wanted.ask, who.view, wanted.today)


def _standing(services: Services, owner: str, cycle: Cycle) -> Standing:
    parties, _ = state.parties(services)
    if not is_known(parties, owner):
        return Standing.NOTHING
    found = facts.known(services, scope_of(parties, owner), [cycle])
    if found.is_final:
        return Standing.FINAL
    return Standing.OPEN if any(one.found is not None for one in found.months) else Standing.NOTHING
