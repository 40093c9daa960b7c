"""Lists and lookups: rows that show what the chain says, with the seq they stand at. Dropped, they are rebuilt."""

from __future__ import annotations

import json
from decimal import Decimal

from shared.chain.entry import Entry
from shared.control import months
from shared.control.cases import Case
from shared.parties.parties import OPERATOR
from shared.ports import Key, Row, Value
from shared.services import Services

SETTLEMENTS, CASES, PAYOUTS = "settlements", "cases", "payouts"


def refresh(services: Services, owner: str, cycle: str) -> bool:
    """Bring the rows of one share and cycle up to its stream; False where it has nothing to show."""
    entries = services.chain.read(months.stream_of(owner, cycle))
    month = months.months(entries).get(cycle)
    if month is None or month.calculated is None:
        return False
    seq = entries[-1].seq
    _settlements(services, owner, month, month.calculated, seq)
    _cases(services, owner, month, month.calculated, seq)
    if owner != OPERATOR:
        _payouts(services, owner, month, seq)
    return True


def listed(services: Services, table: str, cycle: str) -> list[Row]:
    """The rows of a projection for a cycle, in key order."""
    start: Key = (("cycle", cycle), ("id", ""))
    end: Key = (("cycle", cycle), ("id", "\U0010ffff"))
    return list(services.rows.range(table, start, end))


def _settlements(services: Services, owner: str, month: months.Month, calculated: Entry, seq: int) -> None:
    body = calculated.body
    row: dict[str, Value] = {
        "owner": owner,
        "settlement": month.settlement or "",
        "state": month.state,
        "lines": body["lines"],
        "statements": json.dumps(body["statements"], sort_keys=True),
        "seq": seq,
    }
    _put(services, SETTLEMENTS, month.cycle, owner, row)


def _cases(services: Services, owner: str, month: months.Month, calculated: Entry, seq: int) -> None:
    """The cases of the newest run; those that it no longer finds close, naming it."""
    body = calculated.body
    found = {case.pop("id"): case for case in json.loads(services.buckets.work.get(body["cases"]["key"]))}
    for case in _late_cases(month, owner):
        found[case.id] = case.as_row()
    for case in _payout_cases(month, owner):
        found[case.id] = case.as_row()
    for row in listed(services, CASES, month.cycle):
        if row["owner"] == owner and row["id"] not in found and row["state"] == "open":
            gone = {name: value for name, value in row.items() if name not in ("cycle", "id")}
            closed: dict[str, Value] = {**gone, "state": "closed", "closed_by": body["settlement"], "seq": seq}
            _put(services, CASES, month.cycle, str(row["id"]), closed)
    for id_, case in found.items():
        _put(services, CASES, month.cycle, id_, {**case, "state": "open", "seq": seq})


def _late_cases(month: months.Month, owner: str) -> list[Case]:
    """What the newest look at a locked month differs by, in the currencies that its bill moved in."""
    if not month.late or month.calculated is None or month.late[-1].body["settlement"] == month.settlement:
        return []
    then, now = month.calculated.body["bill"], month.late[-1].body["bill"]
    none = {"lines": 0, "pretax": "0"}
    cases = []
    for currency in sorted(then.keys() | now.keys()):
        before, after = then.get(currency, none), now.get(currency, none)
        moved = Decimal(after["pretax"]) - Decimal(before["pretax"])
        lines = after["lines"] - before["lines"]
        if moved or lines:
            cases.append(Case(month.cycle, owner, "arrived_after_lock", owner, currency, lines, moved))
    return cases or [Case(month.cycle, owner, "arrived_after_lock", owner, "", 0, Decimal(0))]


def _payout_cases(month: months.Month, owner: str) -> list[Case]:
    unpaid = {key: entry for key, entry in month.not_instructed.items() if key not in month.instructed}
    returned = {key: entry for key, entry in month.returned.items() if key not in month.contradicted}
    return [
        Case(month.cycle, owner, kind, instruction, entry.body["currency"], 0, Decimal(entry.body["amount"]))
        for kind, entries in (
            ("payout_returned", returned),
            ("payout_contradicted", month.contradicted),
            ("payout_not_instructed", unpaid),
        )
        for instruction, entry in entries.items()
    ]


def _payouts(services: Services, owner: str, month: months.Month, seq: int) -> None:
    for instruction, entry in month.instructed.items():
        answer = month.confirmed.get(instruction) or month.returned.get(instruction)
        row: dict[str, Value] = {
            "owner": owner,
            "batch": entry.body["batch"],
            "amount": entry.body["amount"],
            "currency": entry.body["currency"],
            "state": answer.kind if answer else "instructed",
            "seq": seq,
        }
        _put(services, PAYOUTS, month.cycle, instruction, row)


def _put(services: Services, table: str, cycle: str, id_: str, row: dict[str, Value]) -> None:
    """By condition on the seq, so that a late writer never brings an older state back."""
    services.rows.put_newer(table, [((("cycle", cycle), ("id", id_)), row)], "seq")
