"""From when to when a report has numbers for a scope, when they were last updated, and why they may still change.

A month is known once somebody settled it, even as a draft. Months are looked for where their decisions and drafts lie,
as far back as one question may reach.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from shared.access.scope import Scope, View, scoped
from shared.control import months
from shared.cycle import SHANGHAI, Cycle, parse_instant, stamp
from shared.parties.parties import OPERATOR
from shared.report.asking import MONTHS_MAX
from shared.report.catalogue import Report
from shared.report.language import Names
from shared.services import Services
from shared.steps import state
from shared.steps.reporting import facts
from shared.steps.reporting.facts import Known


@dataclass(frozen=True, slots=True)
class Availability:
    """What there is of a report: dates with both ends, None where there is nothing.

    `is_final_until` is the last day up to which nothing changes any more: that of the last month that is locked like
    all before it. `updated_at` is an instant as text, "" where there is nothing.
    """

    first: date | None
    last: date | None
    updated_at: str
    is_final_until: date | None
    why: Sequence[Names]  # why numbers may still change, or why there are none


def availability(services: Services, scope: Scope, report: Report) -> Availability:
    """What a scope may ask of a report; of one that its view may not run there is nothing."""
    if not report.may_run(scoped(scope).view):
        return _nothing()
    cycles = _cycles(services, scope)
    of_months = {cycle: facts.known(services, scope, [cycle]) for cycle in cycles}
    found = {cycle: one for cycle, one in of_months.items() if any(of.found is not None for of in one.months)}
    if not found:
        return _nothing()
    updated = {cycle: parse_instant(one.as_of).astimezone(SHANGHAI) for cycle, one in found.items()}
    first, last = min(found), max(found)
    return Availability(
        first.first,
        # Of a draft, the days that it has seen.
        last.last if _is_settled(found[last]) else updated[last].date(),
        stamp(max(updated.values())),
        _final_until(found),
        [_why(cycle, one) for cycle, one in found.items() if not one.is_final],
    )


def _nothing() -> Availability:
    return Availability(None, None, "", None, [{"en": "nothing has been settled yet", "zh": "尚无结算数据"}])


def _cycles(services: Services, scope: Scope) -> list[Cycle]:
    """The months that may have something for a scope, in order."""
    parties, _ = state.parties(services)
    owners = [scope.who] if scope.view is View.RESELLER else [*sorted(parties.resellers), OPERATOR]
    streams = [months.stream_of(one, "") for one in owners if one != OPERATOR]
    named = {cycle for entries in services.chain.read_all(streams).values() for cycle in months.months(entries)}
    # The operator's own share has a stream for each month; before that it has a draft of it.
    named |= {key.split("/")[1] for key in services.buckets.work.keys("drafts/")}
    found = sorted(Cycle.parse(one) for one in named)
    begun = [one for one in found if found[-1].since(one) < MONTHS_MAX]
    if scope.windows is None:
        return begun
    return [cycle for cycle in begun if any(_touches(one.begins, one.ends, cycle) for one in scope.windows)]


def _touches(begins: date, ends: date | None, cycle: Cycle) -> bool:
    return begins <= cycle.last and (ends is None or ends >= cycle.first)


def _is_settled(known: Known) -> bool:
    """Whether all of it is settled from final bills."""
    return all(one.found is not None and not one.found.kept.is_draft for one in known.months)


def _final_until(found: Mapping[Cycle, Known]) -> date | None:
    """The end of the months that are final, without a gap of one that is not."""
    until = None
    for cycle in sorted(found):
        if not found[cycle].is_final:
            break
        until = cycle.last
    return until


def _why(cycle: Cycle, known: Known) -> Names:
    if not _is_settled(known):
        return {
            "en": f"{cycle} is a draft: its bill is not final, and lines may still come",
            "zh": f"{cycle} 为草稿：账单尚未最终确定，仍可能有新的明细",
        }
    return {
        "en": f"{cycle} is settled and not locked: cases and adjustments may still change it",
        "zh": f"{cycle} 已结算但尚未锁定：待处理事项与调整仍可能改变数字",
    }
