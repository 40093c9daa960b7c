"""How far months are, and the statements of them, as each may see them."""

from __future__ import annotations

from typing import Any

from shared.access.scope import Scope, View
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.report.asking import MONTHS_MAX
from shared.services import Services
from shared.steps.reporting import documents, facts
from shared.steps.reporting.facts import Month
from shared.steps.reporting.reading import plain

NOTHING, DRAFT, SETTLED, LOCKED = STATES = ("nothing", "draft", "settled", "locked")


def cycles_of(first: str, last: str) -> list[Cycle]:
    """The months from one to another, both included; raises BadInputError."""
    begins, ends = Cycle.parse(first, "from"), Cycle.parse(last, "to")
    count = ends.since(begins) + 1
    if not 1 <= count <= MONTHS_MAX:
        problem = f"{first} to {last} is {count} months"
        raise BadInputError("to", problem, f"put them in order, and ask for at most {MONTHS_MAX} at a time")
    return [begins.plus(number) for number in range(count)]


def months(services: Services, scope: Scope, cycles: list[Cycle]) -> list[dict[str, Any]]:
    """Each month: it stands where the least of its parts does; the operator sees whose those are."""
    return [_month(services, scope, cycle) for cycle in cycles]


def statements(services: Services, scope: Scope, cycles: list[Cycle]) -> list[dict[str, Any]]:
    """The statements of some months, in order; a customer has none."""
    found = documents.rows(services, scope, documents.STATEMENTS, cycles)
    return [{name: plain(value) for name, value in one.items()} for one in found]


def _month(services: Services, scope: Scope, cycle: Cycle) -> dict[str, Any]:
    found = facts.known(services, scope, [cycle])
    states = [_state(one) for one in found.months]
    said = {
        "month": str(cycle),
        "state": min(states, key=STATES.index, default=NOTHING),
        "is_final": found.is_final,
        "as_of": found.as_of,
    }
    if scope.view is not View.OPERATOR:
        return said
    return {**said, "of": [{"owner": one.holder, "state": _state(one)} for one in found.months]}


def _state(month: Month) -> str:
    if month.found is None:
        return NOTHING
    if month.found.kept.is_draft:
        return DRAFT
    return LOCKED if month.is_locked else SETTLED
