"""Lists and lookups: rows that show what the chain says, with the seq they stand at. Dropped, they are rebuilt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

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
    _settlements(services, owner, month, seq)
    _cases(services, owner, month, seq)
    if owner != OPERATOR:
        _payouts(services, owner, month, seq)
    return True


def listed(services: Services, table: str, cycle: str) -> list[Row]:
    """The rows of a projection for a cycle, in key order."""
    start: Key = (("cycle", cycle), ("id", ""))
    end: Key = (("cycle", cycle), ("id", "\U0010ffff"))
    return list(services.rows.range(table, start, end))


def _settlements(services: Services, owner: str, month: months.Month, seq: int) -> None:
    assert month.calculated is not None  # noqa: S101 - checked by refresh
    body = month.calculated.body
    row: dict[str, Value] = {
        "owner": owner,
        "settlement": month.settlement or "",
        "state": month.state,
        "lines": body["lines"],
        "statements": json.dumps(body["statements"], sort_keys=True),
        "seq": seq,
    }
    _put(services, SETTLEMENTS, month.cycle, owner, row)


def _cases(services: Services, owner: str, month: months.Month, seq: int) -> None:
    """The cases of the newest run; those that it no longer finds close, naming it."""
    assert month.calculated is not None  # noqa: S101 - checked by refresh
    body = month.calculated.body
    found = {case.pop("id"): case for case in json.loads(services.buckets.work.get(body["cases"]["key"]))}
    if month.late and month.late[-1].body["settlement"] != month.settlement:
        case = Case(month.cycle, owner, "arrived_after_lock", owner, "", 0, Decimal(0))
        found[case.id] = case.as_row()
    for entry in month.returned.values():
        returned = _returned_case(month, owner, entry.body)
        found[returned.id] = returned.as_row()
    for row in listed(services, CASES, month.cycle):
        if row["owner"] == owner and row["id"] not in found and row["state"] == "open":
            gone = {name: value for name, value in row.items() if name not in ("cycle", "id")}
            closed: dict[str, Value] = {**gone, "state": "closed", "closed_by": body["settlement"], "seq": seq}
            _put(services, CASES, month.cycle, str(row["id"]), closed)
    for id_, case in found.items():
        _put(services, CASES, month.cycle, id_, {**case, "state": "open", "seq": seq})


def _returned_case(month: months.Month, owner: str, body: Mapping[str, str]) -> Case:
    return Case(
        month.cycle, owner, "payout_returned", body["instruction"], body["currency"], 0, Decimal(body["amount"])
    )


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
