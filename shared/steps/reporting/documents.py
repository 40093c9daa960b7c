"""Rows of reports about what was settled, stated and paid: from settlements' summaries and the chain, by scope.

A reseller sees its own; a customer none, for nothing here is the customer's. The operator sees all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.access.scope import Scope, View, scoped
from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.months import Month
from shared.cycle import Cycle, parse_instant, shanghai_day
from shared.ids import Digest, digest_of
from shared.money import text
from shared.parties.parties import OPERATOR
from shared.services import Services
from shared.settlement.statement import parse_statement
from shared.steps import inputs, state, stating
from shared.steps.inputs import Kept
from shared.steps.summarising import month_summary, paid

STATEMENTS, LINES, SHARES = "statements", "statement_lines", "shares"
Row = Mapping[str, Any]  # by the names of columns; amounts are exact text


def streams(services: Services, scope: Scope, cycles: Sequence[Cycle]) -> dict[str, list[Entry]]:
    """The streams of the resellers whose documents the scope may see, by reseller."""
    if scoped(scope).view is View.CUSTOMER:
        return {}
    parties, _ = state.parties(services)
    mine = sorted(parties.resellers) if scope.view is View.OPERATOR else [scope.who]
    named = {months.stream_of(one, str(cycles[0])): one for one in mine}
    return {named[stream]: entries for stream, entries in services.chain.read_all(named).items()}


def digest(services: Services, scope: Scope, cycles: Sequence[Cycle]) -> Digest:
    """What tells what there is now from what there was before."""
    found = streams(services, scope, cycles)
    heads = {one: entries[-1].hash if entries else "" for one, entries in found.items()}
    kept = {f"{cycle}/{one}": _kept_id(services, one, cycle) for one in found for cycle in cycles}
    operators = {str(cycle): _kept_id(services, OPERATOR, cycle) for cycle in cycles}
    return digest_of([heads, kept, operators if scope.view is View.OPERATOR else {}])


def _kept_id(services: Services, owner: str, cycle: Cycle) -> str:
    kept = inputs.find_counting(services, owner, str(cycle))
    return kept.settlement if kept is not None else ""


def rows(services: Services, scope: Scope, which: str, cycles: Sequence[Cycle]) -> list[Row]:
    """The rows of one kind of report over some months."""
    if which == SHARES:
        return [one for cycle in cycles for one in _shares(services, scope, cycle)]
    found: list[Row] = []
    for of in _stated(services, scope, cycles):
        found += of.statements() if which == STATEMENTS else of.lines()
    return found


def counting(services: Services, scope: Scope, cycles: Sequence[Cycle]) -> list[tuple[Kept, Month | None]]:
    """The settlements and drafts that rows are of, and what was decided about each."""
    return [(one.kept, one.month) for one in _stated(services, scope, cycles)]


def _stated(services: Services, scope: Scope, cycles: Sequence[Cycle]) -> Iterator[_Stated]:
    for reseller, entries in streams(services, scope, cycles).items():
        known = months.months(entries)
        for cycle in cycles:
            kept = inputs.find_counting(services, reseller, str(cycle))
            if kept is not None:
                yield _Stated(services, reseller, entries, known.get(str(cycle)), kept)


class _Stated:
    """The statements of one reseller's month."""

    def __init__(
        self, services: Services, reseller: str, entries: list[Entry], month: Month | None, kept: Kept
    ) -> None:  # fmt: skip
        self._reseller, self._entries, self.month, self.kept = reseller, entries, month, kept
        self._found = [parse_statement(one) for one in kept.summary(services)["statements"]]

    def statements(self) -> Iterator[Row]:
        """One row each."""
        lock = stating.lock_of(self._entries, self.kept.cycle)
        issued = shanghai_day(parse_instant(lock.at)) if lock is not None else None
        for one in self._found:
            yield {
                **self._named(one.agreement),
                "issued": issued,
                "due": issued if self._is_due(one.agreement) else None,
                "state": self._state,
                "invoice": self._invoice(one.agreement),
                "total": one.total,
                "tax": one.tax,
                "payable": one.payable,
                "paid": self._paid(one.agreement),
                "currency": one.currency,
            }

    def lines(self) -> Iterator[Row]:
        """A row for each line of each statement, as it is shown."""
        for one in self._found:
            for line in one.lines:
                yield {
                    **self._named(one.agreement),
                    "customer": line.customer or None,
                    "service": line.product or None,
                    "rule": line.rule or None,
                    "version": line.version,
                    "kind": line.kind,
                    "lines": line.lines,
                    "basis": line.basis,
                    "amount": line.amount,
                    "currency": one.currency,
                }

    def _named(self, agreement: str) -> dict[str, Any]:
        number = f"{self.kept.cycle}-{agreement}-{self.kept.settlement[:12]}"
        return {"month": self.kept.cycle, "reseller": self._reseller, "statement": number, "agreement": agreement}

    @property
    def _state(self) -> str:
        is_calculated = self.month is not None and self.month.calculated is not None
        return self.month.state if self.month is not None and is_calculated else "draft"

    def _is_due(self, agreement: str) -> bool:
        """Whether the statement of a locked month has anything to be paid."""
        if self.month is None or self.month.locked is None:
            return False
        return any(one.agreement == agreement and one.payable != "0" for one in self._found)

    def _paid(self, agreement: str) -> str:
        return text(paid(self.month, agreement)) if self.month is not None else "0"

    def _invoice(self, agreement: str) -> str | None:
        for what in approvals.in_force(self._entries, months.INVOICE):
            if what["cycle"] == self.kept.cycle and what["agreement"] == agreement:
                return str(what["number"])
        return None


def _shares(services: Services, scope: Scope, cycle: Cycle) -> Iterator[Row]:
    """The shares of a month, and how the bill in each currency was accounted for."""
    if scope.view is not View.OPERATOR:
        return
    if inputs.find_counting(services, OPERATOR, str(cycle)) is None:
        return
    summary = month_summary(services, str(cycle), "")
    for one in summary.compared:
        yield {
            "month": str(cycle),
            "billed": text(one.billed),
            "settled": text(one.settled),
            "unexplained": text(one.unexplained),
            "currency": one.currency,
        }
    for share in summary.shares:
        yield {
            "month": str(cycle),
            "reseller": share.reseller,
            "agreement": share.agreement,
            "state": share.state,
            "total": text(share.total),
            "tax": text(share.tax),
            "payable": text(share.payable),
            "paid": text(share.paid),
            "balance": text(share.balance),
            "currency": share.currency,
        }
