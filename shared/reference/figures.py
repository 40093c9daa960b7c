"""Figures of resellers that gates ask for (certified engineers, new customers): one a reseller, name and cycle.

A figure is an exact decimal that somebody imports and somebody else approves, kept as a table for each cycle that its
digest names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal

from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.money import NotAnAmountError, amount, text
from shared.reference.table import Finding, Row, read_table, refuse

COLUMNS = ("reseller", "figure", "cycle", "value")
ROWS_MAX = 20_000
CYCLES_MAX = 240  # an entry of the chain names each cycle's table
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}", re.ASCII)

Figures = Mapping[tuple[str, str], Decimal]  # (reseller, figure) -> value


def read_figures(body: bytes, name: str) -> dict[str, Figures]:
    """The figures of a CSV file by cycle; DocumentRefusedError lists every row that is wrong."""
    rows = read_table(body, name, COLUMNS, rows_max=ROWS_MAX, numbers=("value",))
    found: dict[str, dict[tuple[str, str], Decimal]] = {}
    lines: dict[tuple[str, ...], int] = {}
    findings: list[Finding] = []
    for row in rows:
        reseller, figure, cycle = key = tuple(row.cells[name_] for name_ in COLUMNS[:3])
        value, problems = _checked(row)
        earlier = lines.setdefault(key, row.line)
        if earlier != row.line:
            problem = f"{figure} of {reseller} in {cycle} stands in line {earlier}; keep one"
            problems.append((f"line {row.line}", problem))
        findings += problems
        if value is not None and not problems:
            found.setdefault(cycle, {})[reseller, figure] = value
    if len(found) > CYCLES_MAX:
        findings.append(("cycle", f"{len(found)} cycles, at most {CYCLES_MAX} are taken at once; split the file"))
    refuse(name, findings)
    return dict(sorted(found.items()))


def table(cycle: str, figures: Figures) -> bytes:
    """A cycle's table in canonical JSON; equal figures have equal bytes, whatever file they came in."""
    rows = [[reseller, figure, text(value)] for (reseller, figure), value in sorted(figures.items())]
    return canonical_json({"figures": cycle, "rows": rows})


def parse_table(body: bytes) -> dict[tuple[str, str], Decimal]:
    """The figures of a cycle's table."""
    return {(reseller, figure): Decimal(value) for reseller, figure, value in json.loads(body)["rows"]}


def _checked(row: Row) -> tuple[Decimal | None, list[Finding]]:
    findings: list[Finding] = []
    for column in ("reseller", "figure"):
        if not _NAME.fullmatch(row.cells[column]):
            problem = f"{row.cells[column][:40]!r} is no id; write small letters, digits and dashes"
            findings.append((row.place(column), problem))
    try:
        Cycle.parse(row.cells["cycle"])
    except BadInputError as exc:
        findings.append((row.place("cycle"), f"{exc.problem}; {exc.remedy}"))
    try:
        return amount(row.cells["value"]), findings
    except NotAnAmountError as exc:
        return None, [*findings, (row.place("value"), str(exc))]
