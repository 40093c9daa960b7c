"""Golden months: a folder each, read as the product reads its documents, and written back in the same form.

A folder holds one month, or several that follow each other: each is locked before the next is settled. A bill line
is of the month of its date; one that becomes known only later says with which month in `arrives`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

from shared.agreement.agreement import Agreement, parse_agreement
from shared.agreement.document import agreement_document
from shared.cycle import Cycle
from shared.documents import read_yaml
from shared.parties.document import party_document
from shared.parties.parties import parse_parties
from shared.settlement.examples import settle_example
from tests.reference.compare import Case, Entry, Inputs, Line, Outcome

FOLDER = Path(__file__).parent
# `settled_in` is the month that found it, `cycle` the one that it is due for.
RESULTS = {
    "settled.csv": ("settled_in", *Line._fields),
    "held.csv": ("settled_in", *Case._fields),
    "statement.csv": ("settled_in", *Entry._fields),
}


def folders() -> list[Path]:
    """Every golden folder, by name."""
    return sorted(path.parent for path in FOLDER.glob("*/bill.csv"))


def read_inputs(folder: Path) -> list[Inputs]:
    """For each month, what is known when it is settled: bill and documents."""
    bill = []
    with (folder / "bill.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            given = {name: value or None for name, value in row.items()}
            cycle = row["date"][:7]
            bill.append({**given, "cycle": cycle, "arrives": given.get("arrives") or cycle})
    parties = parse_parties(party_document(_yaml(folder / "parties.yaml"), "parties.yaml"))
    agreements = [_agreement(path) for path in sorted(folder.glob("agreement*.yaml"))]
    known = sorted(str(row["arrives"]) for row in bill)
    first, last = Cycle.parse(min(str(row["cycle"]) for row in bill)), Cycle.parse(known[-1])
    cycles = [first.plus(months) for months in range(last.since(first) + 1)]
    return [
        Inputs(cycle, [row for row in bill if str(row["arrives"]) <= str(cycle)], parties.assignments, agreements)
        for cycle in cycles
    ]


def _agreement(path: Path) -> Agreement:
    return parse_agreement(agreement_document(_yaml(path), path.name, settle_example))


def _yaml(path: Path) -> object:
    return read_yaml(path.read_bytes(), path.name)


def read_results(folder: Path) -> dict[str, str]:
    """The expected files."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in RESULTS}


def written(months: Sequence[Inputs], found: Sequence[Outcome]) -> dict[str, str]:
    """What was found, in the form of the expected files: every figure with all its digits.

    All but statements, whose order means something, is sorted.
    """
    tables: dict[str, list[tuple[str, ...]]] = {name: [header] for name, header in RESULTS.items()}
    for inputs, outcome in zip(months, found, strict=True):
        tables["settled.csv"] += sorted(_texts(inputs, outcome.lines.elements()))
        tables["held.csv"] += sorted(_texts(inputs, outcome.cases.elements()))
        tables["statement.csv"] += _texts(inputs, outcome.entries)
    return {name: _table(rows) for name, rows in tables.items()}


def _texts(inputs: Inputs, rows: Iterable[Sequence[object]]) -> list[tuple[str, ...]]:
    return [(str(inputs.cycle), *map(_text, row)) for row in rows]


def _table(rows: Iterable[Sequence[str]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(rows)
    return file.getvalue()


def _text(value: object) -> str:
    if not isinstance(value, Fraction):
        return "" if value is None else str(value)
    digits = value * 10**18
    if digits.denominator != 1:
        raise ValueError(f"{value} has more than 18 decimals")
    whole, decimals = divmod(abs(int(digits)), 10**18)
    return f"{'-' if value < 0 else ''}{whole}.{decimals:018d}".rstrip("0").rstrip(".")
