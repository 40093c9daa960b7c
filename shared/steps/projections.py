"""Lists and lookups: rows that show what the chain says, with the seq they stand at. Dropped, they are rebuilt."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from decimal import Decimal

from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import APPROVED
from shared.control.cases import Case
from shared.parties.parties import OPERATOR
from shared.ports import Key, Row, Value
from shared.services import Services
from shared.steps import casework

SETTLEMENTS, CASES, PAYOUTS = "settlements", "cases", "payouts"


TABLES = (SETTLEMENTS, CASES, PAYOUTS)
Columns = dict[str, Value]
Expected = Mapping[tuple[str, str], Columns]  # (table, id) -> columns


def refresh(services: Services, owner: str, cycle: str) -> bool:
    """Bring the rows of one share and cycle up to its stream; False where it has nothing to show."""
    return refresh_all(services, [owner], cycle)


def refresh_all(services: Services, owners: Iterable[str], cycle: str) -> bool:
    """The same for several shares of a cycle together; False where none has anything to show."""
    shares = {owner: expected(services, owner, cycle, _entries(services, owner, cycle)) for owner in owners}
    if not any(shares.values()):
        return False
    shown = listed(services, CASES, cycle)
    _put(services, CASES, cycle, [_closed(owner, rows, shown) for owner, rows in shares.items()])
    for table in TABLES:
        _put(services, table, cycle, shares.values())
    return True


def rebuild(services: Services, owner: str, cycle: str) -> None:
    """Bring the rows up to the stream even where one of the same or a higher seq says something else.

    A row that a step wrote meanwhile from a newer stream is brought back by the refresh at the end.
    """
    refresh(services, owner, cycle)
    entries = _entries(services, owner, cycle)
    rows, shown = expected(services, owner, cycle, entries), _shown(services, cycle)
    wanted = {**_closed(owner, rows, shown[CASES]), **rows}
    for table, id_ in differences(rows, newest_seq(entries, cycle), shown, owner):
        services.rows.put(table, (("cycle", cycle), ("id", id_)), wanted[table, id_])
    refresh(services, owner, cycle)


def expected(services: Services, owner: str, cycle: str, entries: list[Entry]) -> Expected:
    """The rows of one share and cycle that its stream calls for; none before it was first calculated.

    They stand at the newest entry that they show: whoever writes them, and after whatever else, writes the same.
    """
    known = months.months(entries)
    month = known.get(cycle)
    if month is None or month.calculated is None:
        return {}
    seq = newest_seq(entries, cycle)
    rows = {(SETTLEMENTS, owner): _settlement(owner, month, month.calculated, seq)}
    late = _late_cases(month, owner, months.last_adjusted(known, cycle)[0])
    rows |= {(CASES, id_): row for id_, row in _cases(services, owner, month, late, seq).items()}
    if owner != OPERATOR:
        rows |= {(PAYOUTS, id_): row for id_, row in _payouts(owner, month, seq).items()}
    return rows


def differences(rows: Expected, newest: int, shown: Mapping[str, Iterable[Row]], owner: str) -> list[tuple[str, str]]:
    """Where the lists do not show the rows: missing, of other content, of an older seq than the month's newest entry,
    or a case that nothing calls for."""
    if not rows:
        return []
    there = {(table, str(row["id"])): row for table, ones in shown.items() for row in ones}
    return [
        *(name for name, row in rows.items() if name not in there or not _shows(there[name], row, newest)),
        *(
            (CASES, str(row["id"]))
            for row in shown[CASES]
            if row["owner"] == owner and row["state"] == "open" and (CASES, str(row["id"])) not in rows
        ),
    ]


def is_stale(services: Services, owner: str, cycle: str) -> bool:
    """Whether the lists show something else than the stream of a share calls for now."""
    entries = _entries(services, owner, cycle)
    rows = expected(services, owner, cycle, entries)
    return bool(differences(rows, newest_seq(entries, cycle), _shown(services, cycle), owner))


def newest_seq(entries: list[Entry], cycle: str) -> int:
    """The seq of the newest entry that a month's rows show; whatever else a stream holds puts them not behind."""
    decided = (one.seq for one in entries if one.kind in months.OF_A_MONTH and one.body["cycle"] == cycle)
    known = months.months(entries)
    locks = {cycle, months.last_adjusted(known, cycle)[1]} if cycle in known else {cycle}
    locked = (
        one.seq
        for one in entries
        if months.is_about_a_lock(one) and one.body["what"]["cycle"] in (locks if one.kind == APPROVED else {cycle})
    )
    reopened = (
        one.seq
        for one in entries
        if one.kind == APPROVED and one.body["act"] == months.REOPEN and one.body["what"]["cycle"] == cycle
    )
    return max((*decided, *locked, *reopened), default=0)


def _shows(there: Row, wanted: Columns, newest: int) -> bool:
    same = {name: value for name, value in there.items() if name not in ("cycle", "id", "seq")}
    return same == {name: value for name, value in wanted.items() if name != "seq"} and int(there["seq"]) >= newest


def _entries(services: Services, owner: str, cycle: str) -> list[Entry]:
    return services.chain.read(months.stream_of(owner, cycle))


def _shown(services: Services, cycle: str) -> dict[str, list[Row]]:
    return {table: listed(services, table, cycle) for table in TABLES}


def listed(services: Services, table: str, cycle: str, last: str = "") -> list[Row]:
    """The rows of a projection for a cycle, or for those from it to `last`, in key order."""
    start: Key = (("cycle", cycle), ("id", ""))
    end: Key = (("cycle", last or cycle), ("id", "\U0010ffff"))
    return list(services.rows.range(table, start, end))


def _settlement(owner: str, month: months.Month, calculated: Entry, seq: int) -> Columns:
    body = calculated.body
    return {
        "owner": owner,
        "settlement": month.settlement or "",
        "state": month.state,
        "lines": body["lines"],
        "statements": json.dumps(body["statements"], sort_keys=True),
        "seq": seq,
    }


def _cases(services: Services, owner: str, month: months.Month, late: Iterable[Case], seq: int) -> dict[str, Columns]:
    """The open cases: of the newest run, of what came after the lock, of payments.

    Of a locked month those that the newest look at it finds no longer are settled.
    """
    runs = [one for one in (month.calculated, *month.late[-1:]) if one is not None and "cases" in one.body]
    kept = [one.body["cases"] for one in runs]
    lists = [json.loads(services.buckets.work.get(one["key"])) if one["count"] else [] for one in kept]
    still = set.intersection(*({case["id"] for case in one} for one in lists))
    found = {case.pop("id"): case for case in lists[0] if case["id"] in still}
    for case in (*late, *casework.of_payments(month, owner)):
        found[case.id] = case.as_row()
    return {id_: {**case, "state": "open", "seq": seq} for id_, case in found.items()}


def _closed(owner: str, rows: Expected, shown: Iterable[Row]) -> Expected:
    """The open cases that the newest run no longer finds: they close, naming it."""
    if not rows:
        return {}
    newest = rows[SETTLEMENTS, owner]
    closed: dict[tuple[str, str], Columns] = {}
    for row in shown:
        if row["owner"] == owner and row["state"] == "open" and (CASES, str(row["id"])) not in rows:
            gone = {name: value for name, value in row.items() if name not in ("cycle", "id")}
            stands = {"closed_by": newest["settlement"], "seq": newest["seq"]}
            closed[CASES, str(row["id"])] = {**gone, "state": "closed", **stands}
    return closed


def _late_cases(month: months.Month, owner: str, stands: Entry | None) -> list[Case]:
    """What the newest look at a locked month differs by from what stands, in the currencies that its bill moved in."""
    if not month.late or stands is None or month.late[-1].body["settlement"] == stands.body["settlement"]:
        return []
    then, now = stands.body["bill"], month.late[-1].body["bill"]
    none = {"lines": 0, "pretax": "0"}
    cases = []
    for currency in sorted(then.keys() | now.keys()):
        before, after = then.get(currency, none), now.get(currency, none)
        moved = Decimal(after["pretax"]) - Decimal(before["pretax"])
        lines = after["lines"] - before["lines"]
        if moved or lines:
            cases.append(Case(month.cycle, owner, "arrived_after_lock", owner, currency, lines, moved))
    return cases or [Case(month.cycle, owner, "arrived_after_lock", owner, "", 0, Decimal(0))]


def _payouts(owner: str, month: months.Month, seq: int) -> dict[str, Columns]:
    return {
        instruction: {
            "owner": owner,
            "batch": entry.body["batch"],
            "amount": entry.body["amount"],
            "currency": entry.body["currency"],
            "state": month.outcome(instruction),
            "seq": seq,
        }
        for instruction, entry in month.instructed.items()
    }


def _put(services: Services, table: str, cycle: str, shares: Iterable[Expected]) -> None:
    """Put what the shares have for a table, by condition on the seq: a late writer never brings an older state back."""
    named = (one for rows in shares for one in rows.items())
    rows = [((("cycle", cycle), ("id", id_)), row) for (of, id_), row in named if of == table]
    if rows:
        services.rows.put_newer(table, rows, "seq")
