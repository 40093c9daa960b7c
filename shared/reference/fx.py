"""Exchange rates: one a currency, target and cycle, kept as a table for each cycle that its digest names.

A rate says what one unit of `currency` is in `to`. Rates are exact decimals; nothing here is inverted or chained.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.money import NotAnAmountError, amount, text
from shared.reference.currencies import known
from shared.reference.table import Finding, Row, read_table, refuse

COLUMNS = ("currency", "to", "cycle", "rate")
PLACES = 10  # with 8 digits before the point a rate fits DECIMAL(18, 10)
RATE_BELOW = Decimal(10) ** 8
ROWS_MAX = 20_000
CYCLES_MAX = 240  # an entry of the chain names each cycle's table

Rates = Mapping[tuple[str, str], Decimal]  # (currency, to) -> rate


def read_rates(body: bytes, name: str) -> dict[str, Rates]:
    """The rates of a CSV file by cycle; DocumentRefusedError lists every row that is wrong."""
    rows = read_table(body, name, COLUMNS, rows_max=ROWS_MAX, numbers=("rate",))
    found: dict[str, dict[tuple[str, str], Decimal]] = {}
    lines: dict[tuple[str, str, str], int] = {}
    findings: list[Finding] = []
    for row in rows:
        currency, to, cycle = (row.cells[name_] for name_ in COLUMNS[:3])
        problems = [*_currencies(row), *_cycle(row)]
        rate, problem = _rate(row)
        earlier = lines.setdefault((currency, to, cycle), row.line)
        if earlier != row.line:
            problems.append((f"line {row.line}", f"{currency} to {to} of {cycle} stands in line {earlier}; keep one"))
        findings += [*problems, *problem]
        if rate is not None and not problems:
            found.setdefault(cycle, {})[currency, to] = rate
    if len(found) > CYCLES_MAX:
        findings.append(("cycle", f"{len(found)} cycles, at most {CYCLES_MAX} are taken at once; split the file"))
    refuse(name, findings)
    return dict(sorted(found.items()))


def table(cycle: str, rates: Rates) -> bytes:
    """A cycle's table in canonical JSON; equal rates have equal bytes, whatever file they came in."""
    rows = [[currency, to, text(rate)] for (currency, to), rate in sorted(rates.items())]
    return canonical_json({"fx": cycle, "rates": rows})


def parse_table(body: bytes) -> dict[tuple[str, str], Decimal]:
    """The rates of a cycle's table."""
    return {(currency, to): Decimal(rate) for currency, to, rate in json.loads(body)["rates"]}


def _currencies(row: Row) -> list[Finding]:
    findings = [
        (row.place(column), f"{row.cells[column][:20]!r} is no currency; write its ISO 4217 code, such as USD")
        for column in ("currency", "to")
        if not known(row.cells[column])
    ]
    if not findings and row.cells["currency"] == row.cells["to"]:
        findings.append((row.place("to"), f"{row.cells['to']!r} is the currency itself; leave the row out"))
    return findings


def _cycle(row: Row) -> list[Finding]:
    try:
        Cycle.parse(row.cells["cycle"])
    except BadInputError as exc:
        return [(row.place("cycle"), f"{exc.problem}; {exc.remedy}")]
    return []


def _rate(row: Row) -> tuple[Decimal | None, list[Finding]]:
    place, value = row.place("rate"), row.cells["rate"]
    try:
        rate = amount(value, places=PLACES)
    except NotAnAmountError:
        expected = f"expected a decimal number with at most {PLACES} decimals, such as 7.1586"
        return None, [(place, f"{value[:40]!r} is no rate: {expected}")]
    if not 0 < rate < RATE_BELOW:
        return None, [(place, f"{value[:40]!r} lies not between 0 and {RATE_BELOW}; write what one unit is worth")]
    return rate, []
