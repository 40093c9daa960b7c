"""A month of all resellers for the finance team: what it came to, what is open, and what has changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import months
from shared.cycle import Cycle
from shared.money import EXACT, total
from shared.payout.batch import balance
from shared.report.summary import Case, Changed, Compared, Share, Summary
from shared.services import Services
from shared.steps import caselist, inputs, state
from shared.steps.reconcile import reconcile

Stated = Sequence[Mapping[str, Any]]  # {"agreement", "currency", "total", "tax", "payable"} of a share


def month_summary(services: Services, cycle: str, now: str) -> Summary:
    """The month as the chain and the lists say it is."""
    before = str(Cycle.parse(cycle).previous())
    parties, entries = state.parties(services)
    operator = state.document(services, state.party_digest(entries))["operator"]["name"]
    streams = {months.stream_of(reseller, cycle): reseller for reseller in sorted(parties.resellers)}
    shares: list[Share] = []
    changes: list[Changed] = []
    for stream, found in services.chain.read_all(streams).items():
        reseller, known = streams[stream], months.months(found)
        names = parties.resellers[reseller]
        runs = _runs(services, found, reseller, cycle)
        newest = runs[-1] if runs else []
        shares += [_share(found, known.get(cycle), reseller, names, one, cycle) for one in newest]
        earlier = known[before].calculated if before in known else None
        last = earlier.body["statements"] if earlier is not None else []
        changes += _changed(reseller, names, runs[-2] if len(runs) > 1 else None, last, newest)
    compared = reconcile(services, cycle)
    return Summary(
        cycle,
        now,
        {"en": operator} if isinstance(operator, str) else operator,
        shares,
        [Compared(one.currency, one.billed, one.shared, one.unexplained) for one in compared.comparisons],
        compared.missing,
        _cases(services, cycle),
        changes,
    )


def _runs(services: Services, entries: list[Entry], reseller: str, cycle: str) -> list[Stated]:
    """What the final settlements of a month came to, oldest first; of one without any, its last drafts."""
    found = [one.body["statements"] for one in entries if one.kind == months.CALCULATED and one.body["cycle"] == cycle]
    if found:
        return found
    work = services.buckets.work
    drafts = [json.loads(work.get(key))["settlement"] for key in work.keys(inputs.drafts_prefix(cycle, reseller))]
    return [inputs.Kept(cycle, reseller, one, True).summary(services)["statements"] for one in drafts]


def _share(
    entries: list[Entry],
    month: months.Month | None,
    reseller: str,
    names: Mapping[str, str],
    stated: Mapping[str, Any],
    cycle: str,
) -> Share:
    is_calculated = month is not None and month.calculated is not None
    return Share(
        reseller, names, stated["agreement"], stated["currency"],
        month.state if month is not None and is_calculated else "draft",
        Decimal(stated["total"]), Decimal(stated["tax"]), Decimal(stated["payable"]),
        paid(month, stated["agreement"]) if month else Decimal(0), balance(entries, stated["agreement"], cycle),
    )  # fmt: skip


def paid(month: months.Month, agreement: str) -> Decimal:
    """What was paid of a month under an agreement, without what came back and is owed again."""
    instructed = _sum_of(agreement, [one.body for one in month.instructed.values()])
    return EXACT.subtract(instructed, _sum_of(agreement, month.reopened.values()))


def _sum_of(agreement: str, found: Iterable[Mapping[str, Any]]) -> Decimal:
    """What payments under an agreement came to, with what was withheld of them."""
    mine = [one for one in found if one["agreement"] == agreement]
    return total([Decimal(one[name]) for one in mine for name in ("amount", "withheld") if name in one])


def _changed(
    reseller: str, names: Mapping[str, str], run: Stated | None, month: Stated, newest: Stated
) -> list[Changed]:
    """Each agreement beside what it came to in the run before and in the month before."""
    runs = {one["agreement"]: Decimal(one["total"]) for one in run or ()}
    earlier = {one["agreement"]: Decimal(one["total"]) for one in month}
    return [
        Changed(
            reseller, names, one["agreement"], one["currency"], Decimal(one["total"]),
            runs.get(one["agreement"]), earlier.get(one["agreement"]),
        )
        for one in newest
    ]  # fmt: skip


def _cases(services: Services, cycle: str) -> list[Case]:
    """The open cases by kind and currency, the most money first."""
    sums: dict[tuple[str, str], list[Any]] = {}
    for one in caselist.listed(services, cycle):
        if one.is_open:
            into = sums.setdefault((one.case.kind, one.case.currency), [0, 0, Decimal(0)])
            into[:] = into[0] + 1, into[1] + one.case.lines, EXACT.add(into[2], one.case.amount)
    found = [Case(kind, currency, *sums_) for (kind, currency), sums_ in sums.items()]
    return sorted(found, key=lambda one: (-abs(one.amount), one.kind, one.currency))
