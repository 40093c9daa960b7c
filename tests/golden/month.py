"""Golden months: a folder each, read as the product reads its documents, and written back in the same form."""

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
from shared.settlement.engine import unsettled
from shared.settlement.examples import settle_example
from tests.reference.compare import Case, Entry, Inputs, Line, Outcome

FOLDER = Path(__file__).parent
CYCLE = Cycle(2026, 7)
RESULTS = {"settled.csv": Line._fields, "held.csv": Case._fields, "statement.csv": Entry._fields}


def months() -> list[Path]:
    """Every golden month, by name."""
    return sorted(path.parent for path in FOLDER.glob("*/bill.csv"))


def read_inputs(folder: Path) -> Inputs:
    """The month's bill and documents."""
    with (folder / "bill.csv").open(encoding="utf-8", newline="") as file:
        bill = [{name: value or None for name, value in row.items()} for row in csv.DictReader(file)]
    parties = parse_parties(party_document(_yaml(folder / "parties.yaml"), "parties.yaml"))
    agreements = [_agreement(path) for path in sorted(folder.glob("agreement*.yaml"))]
    return Inputs(CYCLE, bill, parties.in_cycle(CYCLE), agreements)


def _agreement(path: Path) -> Agreement:
    return parse_agreement(agreement_document(_yaml(path), path.name, settle_example, unsettled))


def _yaml(path: Path) -> object:
    return read_yaml(path.read_bytes(), path.name)


def read_results(folder: Path) -> dict[str, str]:
    """The month's expected files."""
    return {name: (folder / name).read_text(encoding="utf-8") for name in RESULTS}


def written(outcome: Outcome) -> dict[str, str]:
    """What was found, in the form of the expected files: sorted, every figure with all its digits."""
    found: dict[str, Iterable[Sequence[object]]] = {
        "settled.csv": outcome.lines.elements(),
        "held.csv": outcome.cases.elements(),
        "statement.csv": outcome.entries,
    }
    return {name: _table(RESULTS[name], rows, in_order=name == "statement.csv") for name, rows in found.items()}


def _table(header: Sequence[str], rows: Iterable[Sequence[object]], *, in_order: bool) -> str:
    texts = [[_text(value) for value in row] for row in rows]
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([header, *(texts if in_order else sorted(texts))])
    return file.getvalue()


def _text(value: object) -> str:
    if not isinstance(value, Fraction):
        return "" if value is None else str(value)
    digits = value * 10**18
    if digits.denominator != 1:
        raise ValueError(f"{value} has more than 18 decimals")
    whole, decimals = divmod(abs(int(digits)), 10**18)
    return f"{'-' if value < 0 else ''}{whole}.{decimals:018d}".rstrip("0").rstrip(".")
