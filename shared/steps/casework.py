"""The cases of a share's month, with what was decided about each: read from the newest run and the chain."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.control import months, resolving
from shared.control.approvals import APPROVED
from shared.control.cases import Case
from shared.control.resolving import ACCEPT, ADJUSTMENT, DISMISS, DISPUTE, Decision
from shared.money import text
from shared.services import Services
from shared.steps import state

ID = re.compile(r"(20\d\d-\d\d)-[a-z_]+-[0-9a-f]{12}", re.ASCII)  # of a case
Named = tuple[str, str, str]  # kind, key, currency
NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class OpenCase:
    """A case that is open; one that was accepted lets its month be locked all the same."""

    id: str
    kind: str
    key: str
    currency: str
    lines: int
    amount: Decimal
    accepted: bool


def open_cases(services: Services, owner: str, cycle: str, entries: list[Entry]) -> list[OpenCase]:
    """The open cases of a share's month: those of its newest run and of its payments that nobody dismissed, disputes
    that nobody closed, and adjustments that are not in its settlement. `entries` are those of its stream."""
    found = found_by_runs(services, owner, cycle, entries)
    found += disputed(owner, cycle, entries) + adjusting(owner, cycle, entries)
    if (month := months.months(entries).get(cycle)) is not None:
        found += of_payments(month, owner)
    return _undismissed(services, cycle, entries, found)


def _undismissed(services: Services, cycle: str, entries: list[Entry], found: list[Case]) -> list[OpenCase]:
    decided = standing(services, entries, cycle)
    return [
        OpenCase(one.id, one.kind, one.key, one.currency, one.lines, one.amount, stands == ACCEPT)
        for one in found
        if (stands := _action(decided, one)) != DISMISS
    ]


def found_by_runs(services: Services, owner: str, cycle: str, entries: list[Entry]) -> list[Case]:
    """What the settlement that counts found; of a locked month, what the newest look at it still finds."""
    month = months.months(entries).get(cycle)
    if month is None or month.calculated is None:
        return []
    runs = [one for one in (month.calculated, *month.late[-1:]) if "cases" in one.body]
    lists = [kept_list(services, one.body["cases"], owner, cycle) for one in runs]
    still = set.intersection(*({case.id for case in one} for one in lists))
    return [case for case in lists[0] if case.id in still]


def kept_list(services: Services, listed: Mapping[str, Any], owner: str, cycle: str) -> list[Case]:
    """The cases that a run left, as its entry names them."""
    rows = json.loads(services.buckets.work.get(listed["key"])) if listed["count"] else []
    return [
        Case(cycle, owner, one["kind"], one["key"], one["currency"], one["lines"], Decimal(one["amount"]))
        for one in rows
    ]


def disputed(owner: str, cycle: str, entries: list[Entry]) -> list[Case]:
    """The disputes about a month, closed or not."""
    return [Case(cycle, owner, DISPUTE, dispute_key(one), "", 0, NOTHING) for one in resolving.disputes(entries, cycle)]


def dispute_key(entry: Entry) -> str:
    """What names a dispute: its entry and what it is about."""
    return f"{entry.stream}#{entry.seq} about {entry.body['about']}"


def adjusting(owner: str, cycle: str, entries: list[Entry]) -> list[Case]:
    """The adjustments that wait to be approved, or to be in a settlement of their cycle."""
    month = months.months(entries).get(cycle)
    calculated = month.calculated.body.get("adjustments", ()) if month and month.calculated else ()
    due = resolving.due_adjustments(entries, cycle)
    return [
        Case(cycle, owner, ADJUSTMENT, one.name, one.what["currency"], 0, Decimal(one.what["amount"]))
        for one in resolving.adjustments(entries)
        if (one.state == "proposed" and one.what["cycle"] == cycle) or (one.seq in due and one.seq not in calculated)
    ]


def of_payments(month: months.Month, owner: str) -> list[Case]:
    """What of payments is for people; once a payment is reopened nothing of it is."""
    unpaid = {key: entry for key, entry in month.not_instructed.items() if key not in month.instructed}
    told = {
        "payout_returned": month.returned,
        "payout_rejected": month.rejected_by_bank,
        "payout_partial": month.partly_confirmed,
    }
    alone = {
        kind: {key: entry for key, entry in entries.items() if key not in month.contradicted}
        for kind, entries in told.items()
    }
    found = {
        **alone,
        "payout_contradicted": month.contradicted,
        "payout_not_instructed": unpaid,
        "payout_unknown": month.answer_unknown,
    }
    return [
        Case(month.cycle, owner, kind, instruction, entry.body["currency"], 0, _held(entry))
        for kind, entries in found.items()
        for instruction, entry in entries.items()
        if instruction not in month.reopened or "after_reopening" in entry.body
    ]


def _held(entry: Entry) -> Decimal:
    """What a payment's case holds: of one that was paid in part the rest."""
    return Decimal(entry.body.get("missing", entry.body["amount"]))


# -- what was decided -------------------------------------------------------------------------------------------


def standing(services: Services, entries: list[Entry], cycle: str) -> dict[Named, list[tuple[Decision, int, Decimal]]]:
    """The decisions in force about each case, oldest first, with the lines and the amount that it had then."""
    found: dict[Named, list[tuple[Decision, int, Decimal]]] = {}
    for one in resolving.decisions(entries, cycle):
        if one.state == APPROVED:
            for case in cases_of(services, one.what):
                said = (one, case["lines"], Decimal(case["amount"]))
                found.setdefault(named(case), []).append(said)
    return found


def cases_of(services: Services, what: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The cases that a decision is about: a list that is long lies in a document of its own."""
    if "list" in what:
        return list(state.document(services, what["list"])["cases"])
    return list(what["cases"])


def named(case: Mapping[str, Any]) -> Named:
    """What a case is known by within its share and cycle."""
    return case["kind"], case["key"], case["currency"]


def _action(decided: Mapping[Named, Iterable[tuple[Decision, int, Decimal]]], case: Case) -> str:
    """What was decided last about a case as it is now; a case that has grown since is another matter."""
    for one, lines, amount in reversed(list(decided.get((case.kind, case.key, case.currency), ()))):
        if one.action in (ACCEPT, DISMISS) and (lines, amount) == (case.lines, case.amount):
            return one.action
    return ""


def as_asked(case: Case) -> dict[str, Any]:
    """A case as a decision names it, with what it holds."""
    return {
        "kind": case.kind,
        "key": case.key,
        "currency": case.currency,
        "lines": case.lines,
        "amount": text(case.amount),
    }
