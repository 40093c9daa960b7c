"""Ask for a run: who may, of what there is; found again where it was made, at once where it is small, else ordered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.access.principal import LacksRightError, Principal
from shared.access.roles import EXPORT, REPORTS
from shared.access.scope import Scope
from shared.cycle import parse_instant, shanghai_day
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.report.asking import FORMATS, Ask, parse_ask
from shared.report.catalogue import catalogue
from shared.services import Services
from shared.steps import state
from shared.steps.reporting import access_log, runs
from shared.steps.reporting.access_log import RUN
from shared.steps.reporting.runs import KINDS, QUEUED, SUCCEEDED, VIEW, Run

SMALL_LINES = 20_000  # bill lines that are read for an answer at once


def parse(principal: Principal, said: Mapping[str, Any], at: str) -> tuple[Ask, str]:
    """The question and the format of a request, which is an ask with `format`."""
    asked = {name: value for name, value in said.items() if name != "format"}
    format_ = said.get("format", VIEW)
    if format_ not in KINDS:
        raise BadInputError("format", f"is {str(format_)[:40]!r}", f"give one of {', '.join(KINDS)}")
    principal.need(REPORTS)
    return parse_ask(asked, principal.view, shanghai_day(parse_instant(at))), format_


def request(
    services: Services, principal: Principal, ask: Ask, format_: str, *, at: str, small_lines: int = SMALL_LINES,
    noted: str = "",
) -> Run:  # fmt: skip
    """The run that answers: the same while the data is the same. With `small_lines` 0 nothing is answered at once.

    What is asked once by a name, whatever is repeated, is `noted` so in the access log.

    Raises LacksRightError, and BadInputError where there is nothing to ask of; then nothing is made.
    """
    from shared.steps.reporting import answering

    refuse_unexportable(principal, format_)
    moment, parties = parse_instant(at), state.parties(services)[0]
    scope = principal.scope(parties)
    if scope.windows == ():
        raise BadInputError("scope", "holds no account", "ask whoever runs Clearbook to assign one")
    answering.mapping_of(services, scope, ask, at)  # one that is not there makes no run
    id_ = runs.id_of(scope, ask.digest, format_, answering.inputs_digest(services, scope, ask))
    run = runs.find(services, principal.owner, id_, moment)
    is_new = run is None
    if run is None:
        _refuse_without_data(services, scope, ask)
    if run is None or run.state not in (SUCCEEDED, runs.RUNNING, QUEUED):
        asked = {"ask": ask.as_json(), "format": format_, "by": principal.id}
        run, is_new = runs.open_(services, principal.owner, id_, asked, moment), True
    access_log.note(services, at, principal, RUN, {"run": id_, "report": ask.report, "format": format_}, noted)
    if run.state == QUEUED and is_new and _is_small(services, scope, ask, small_lines):
        from shared.steps.reporting import running

        return running.carry_out(services, run, moment)
    if not run.is_finished and (is_new or not _is_ordered(services, run)):
        _order(services, run)
    return run


def again(services: Services, principal: Principal, run: Run, at: str, small_lines: int = SMALL_LINES) -> Run:
    """The run of the same question on the data of now."""
    ask = parse_ask(run.said["ask"], principal.view, shanghai_day(parse_instant(at)))
    return request(services, principal, ask, run.format, at=at, small_lines=small_lines)


def refuse_unexportable(principal: Principal, format_: str) -> None:
    """Raise LacksRightError unless it may look, and take this format away if it is a file's."""
    principal.need(REPORTS)
    if format_ == VIEW:
        return
    principal.need(EXPORT)
    if format_ in FORMATS and format_ not in principal.formats:
        raise LacksRightError(f"{principal.id} may not take {format_} away; it may {', '.join(principal.formats)}")


def _is_ordered(services: Services, run: Run) -> bool:
    # One that is built at once has no order, and is either soon over or late.
    return run.state != QUEUED or services.buckets.reports.exists(runs.request_key(run))


def _order(services: Services, run: Run) -> None:
    # Written again where it is there: what was lost on its way comes once more, and building is safe to repeat.
    body = canonical_json({"owner": run.owner, "run": run.id, "attempt": run.said["attempt"]})
    services.buckets.reports.put_again(runs.request_key(run), body)


def _refuse_without_data(services: Services, scope: Scope, ask: Ask) -> None:
    """A question about dates of which nothing is known at all: said at once, with those that are known."""
    from shared.steps.reporting.availability import availability

    there = availability(services, scope, catalogue()[ask.report])
    if there.first is None or there.last is None:
        raise BadInputError("from", f"there is nothing yet: {there.why[0]['en']}", "ask again once a month is settled")
    remedy = f"there are numbers from {there.first} to {there.last}: ask for dates among them"
    if ask.period.last < there.first:
        raise BadInputError("to", f"{ask.period.last} is before all that is kept", remedy)
    if ask.period.first > there.last:
        raise BadInputError("from", f"{ask.period.first} is after all that is known", remedy)


def _is_small(services: Services, scope: Scope, ask: Ask, small_lines: int) -> bool:
    """Whether an answer at once is soon there: few lines, which are priced already."""
    from shared.steps.reporting import documents, facts

    report = catalogue()[ask.report]
    if not small_lines or report.rows == documents.SHARES:
        return False  # what becomes of a whole bill is added up from its lines
    if not report.is_of_facts:
        return True
    lines = 0
    for cycles in _read(ask, has_story=report.has_story):
        for month in facts.known(services, scope, cycles).months:
            if month.found is None:
                continue
            if not services.buckets.work.exists(month.found.key):
                return False
            lines += int(month.found.kept.summary(services)["lines"])
            if lines > small_lines:
                return False
    return True


def _read(ask: Ask, *, has_story: bool) -> list[Any]:
    """The months that an answer reads, and those that its story compares them with."""
    from shared.steps.reporting import before

    return [ask.cycles, *([before.asked_before(ask).cycles] if has_story else [])]
