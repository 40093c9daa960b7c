"""Reports as schedules use them: by the rights that whoever made the schedule has now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from shared.access.principal import Principal, scope_of
from shared.access.roles import EXPORT
from shared.cycle import Cycle, stamp
from shared.report.asking import parse_ask
from shared.services import Services
from shared.steps import state
from shared.steps.delivering.reports import Outcome, Reports, Wanted
from shared.steps.reporting import facts, keys, links, requesting, runs


def reports(address: str, clock: Callable[[], datetime]) -> Reports:
    """For a portal at an address; `clock` is what tells whether a run has expired."""

    def link(services: Services, owner: str, run: str) -> str:
        at = clock()
        found = runs.get(services, owner, run, at)
        return address.rstrip("/") + links.delivered(services, owner, found, str(found.said["by"]), stamp(at))

    def outcome(services: Services, owner: str, run: str) -> Outcome | None:
        found = runs.get(services, owner, run, clock())
        if not found.is_finished:
            return None
        return Outcome(found.state == runs.SUCCEEDED, found.because)

    def check(services: Services, wanted: Wanted) -> None:
        who = _who(services, wanted, stamp(clock()))
        who.need(EXPORT)
        requesting.refuse_unexportable(who, wanted.format)
        parse_ask(wanted.ask, who.view, wanted.today)

    return Reports(check, _request, outcome, link, _is_final)


def _request(services: Services, wanted: Wanted, at: str) -> str:
    """Always as a job: the timer has others to carry on with."""
    who = _who(services, wanted, at)
    ask = parse_ask(wanted.ask, who.view, wanted.today)
    return requesting.request(services, who, ask, wanted.format, at=at, small_lines=0).id


def _who(services: Services, wanted: Wanted, at: str) -> Principal:
    return keys.by_id(services, wanted.owner, wanted.by, at)


def _is_final(services: Services, owner: str, cycle: Cycle) -> bool:
    parties, _ = state.parties(services)
    return facts.known(services, scope_of(parties, owner), [cycle]).is_final
