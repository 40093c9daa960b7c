"""Read what a run came to: its rows page by page, what it says of itself, and what a row of it is made of."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from shared.access.scope import View
from shared.columnar import connect
from shared.errors import BadInputError
from shared.ids import canonical_json, digest
from shared.money import text
from shared.report.asking import grouped_by
from shared.report.catalogue import catalogue
from shared.services import Services
from shared.steps.reporting import runs
from shared.steps.reporting.runs import ROWS, SEAL, Run

PAGE, PAGE_MAX = 100, 1000
_FETCHED, _FETCHED_MAX = "report-rows", 16  # files of rows that an instance keeps


def about(services: Services, run: Run) -> dict[str, Any]:
    """What the run says of itself; raises NotReadyError and GoneError."""
    runs.refuse_unready(run)
    return dict(json.loads(services.buckets.reports.get(run.body + SEAL))["about"])


def page(services: Services, run: Run, token: str, limit: int) -> tuple[list[dict[str, Any]], str]:
    """The next rows, and the token of the page behind them, "" where there is none. Amounts are exact text."""
    runs.refuse_unready(run)
    if not 1 <= limit <= PAGE_MAX:
        raise BadInputError("limit", f"is {limit}", f"give 1 to {PAGE_MAX}")
    start = _start(run, token) if token else 0
    rows = _rows(services, run, start, limit)
    end = start + len(rows)
    return rows, _token(run, end) if end < int(run.said["rows"]) else ""


def below(services: Services, run: Run, number: int) -> dict[str, Any]:
    """The question whose rows a row is made of: its dates and filters are kept, and narrowed by what the row says.

    `number` is the row's, from 0. Raises BadInputError where there is no such row, or nothing below.
    """
    runs.refuse_unready(run)
    view, said = View(run.owner.partition(".")[0]), run.said["ask"]
    report = catalogue()[said["report"]]
    target = catalogue().get(report.drill_down)
    if target is None or not target.may_run(view):
        raise BadInputError("row", f"of {report.name} is made of nothing further", "read the lines as they are")
    if not 0 <= number < int(run.said["rows"]):
        raise BadInputError("row", f"is {number}", f"give 0 to {int(run.said['rows']) - 1}")
    [row] = _rows(services, run, number, 1)
    known = {one.name for one in target.filters_of(view)}
    context = {name: list(values) for name, values in said["filters"].items() if name in known}
    mine = {name: [str(value or "")] for name, value in row.items() if name in known}
    if "target" in row:
        mine |= _of_target(said, str(row["target"] or ""))
    asked = {name: said[name] for name in ("from", "to", "by", "language")}
    return {**asked, "report": target.name, "filters": {**context, **mine}}


def _of_target(said: Mapping[str, Any], target: str) -> dict[str, list[str]]:
    """What of the lines below is allocated to a target; BadInputError where a mapping decides, which no filter says."""
    if said["allocation"]:
        problem = f"is allocated by the mapping {said['allocation']}, part by part"
        raise BadInputError("row", problem, "ask for usage_detail with filters, or allocate by a field or tag")
    field, tag = grouped_by(said["filters"]["group_by"][0])
    return {field: [target]} if field else {"tag": [f"{tag}={target}"]}


def _rows(services: Services, run: Run, start: int, limit: int) -> list[dict[str, Any]]:
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        found = connection.execute(
            "SELECT * FROM read_parquet($path) LIMIT $limit OFFSET $start",
            {"path": str(_fetched(services, run)), "limit": limit, "start": start},
        )
        names: Sequence[str] = [one[0] for one in found.description or ()]
        return [dict(zip(names, map(plain, cells), strict=True)) for cells in found.fetchall()]


def plain(value: object) -> object:
    """A cell as JSON has it: amounts and quantities are exact text."""
    if isinstance(value, Decimal):
        return text(value)
    return value.isoformat() if isinstance(value, date) else value


def _fetched(services: Services, run: Run) -> Path:
    """The rows as a local file, which a warm instance has from the page before; those of older runs make room."""
    folder = services.scratch / _FETCHED
    folder.mkdir(exist_ok=True)
    path = folder / f"{digest(run.body.encode())}.parquet"
    if not path.exists():
        others = sorted(folder.glob("*.parquet"), key=lambda one: one.stat().st_mtime_ns)
        for one in others[: max(0, len(others) + 1 - _FETCHED_MAX)]:
            one.unlink(missing_ok=True)
        services.buckets.reports.download(run.body + ROWS, path)
    return path


def _token(run: Run, start: int) -> str:
    return base64.urlsafe_b64encode(canonical_json([run.id, run.said["attempt"], start])).decode()


def _start(run: Run, token: str) -> int:
    try:
        id_, attempt, start = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, TypeError, RecursionError) as exc:
        raise BadInputError("page", f"is {token[:40]!r}", "give what the page before answered") from exc
    is_start = type(start) is int and 0 <= start <= int(run.said["rows"])
    if (id_, attempt) != (run.id, run.said["attempt"]) or not is_start:
        raise BadInputError("page", "is of other rows", "begin without it, then give what each page answers")
    return int(start)
