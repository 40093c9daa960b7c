"""The commands that write reports: a reseller's statement, draft or final, and the summary of a month."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from shared.cycle import stamp
from shared.errors import BadInputError
from shared.report import statements, summary
from shared.report.language import figure
from shared.services import Services
from shared.steps.drafting import statement_documents
from shared.steps.summarising import month_summary


def write_statements(
    cycle: str, reseller: str, formats: Sequence[str], output: Path, home: Path | None, json_to: str | None
) -> None:
    """Write a reseller's statements of a month into a folder, and say what they come to."""
    _check_formats(formats, statements.FORMATS)
    with Console(stderr=True).status(f"{reseller} {cycle}"):
        found = statements_of(services(home), cycle, reseller, formats or statements.FORMATS)
        _write(output, {name: body for one in found for name, body in one["files"].items()})
    shown = [{**one, "files": [str(output / name) for name in one["files"]]} for one in found]
    if json_to is not None:
        write_json(shown, json_to)
    if json_to == "-":
        return
    for one in shown:
        state = "final" if one["status"] == "final" else "DRAFT, not locked"
        print(f"{one['agreement']} {cycle}, {state}: total {one['total']}, payable {one['payable']}, "
              f"to be transferred {one['transfer']} {one['currency']}")  # fmt: skip
        print("\n".join(f"  {file}" for file in one["files"]))
    if not shown:
        print(f"{reseller} {cycle}: no agreement was in force, there is no statement")


def statements_of(work: Services, cycle: str, reseller: str, formats: Sequence[str]) -> list[dict[str, Any]]:
    """A reseller's statements of a month with their files by name."""
    found = []
    for one in statement_documents(work, reseller, cycle):
        status = "draft" if one.lock is None else "final"
        stem = f"{one.statement.agreement}-{one.settlement[:12]}" + ("-draft" if one.lock is None else "")
        made = statements.files(one, formats)
        found.append(
            {
                "agreement": one.statement.agreement,
                "settlement": one.settlement,
                "status": status,
                "currency": one.statement.currency,
                "total": one.statement.total,
                "tax": one.statement.tax,
                "payable": one.statement.payable,
                **one.amounts,
                "files": {stem + end: body for end, body in made.items()},
            }
        )
    return found


def write_summary(cycle: str, formats: Sequence[str], output: Path, home: Path | None, json_to: str | None) -> None:
    """Write the summary of a month into a folder, and say what is read first."""
    _check_formats(formats, summary.FORMATS)
    with Console(stderr=True).status(f"summary {cycle}"):
        found = month_summary(services(home), cycle, stamp(now(home)))
        made = {f"summary-{cycle}{end}": body for end, body in summary.files(found, formats or summary.FORMATS).items()}
        _write(output, made)
    if json_to is not None:
        write_json(json.loads(summary.to_json(found)), json_to)
    if json_to == "-":
        return
    for name, value, *remark in summary.page(found, "en").headline:
        print(f"{name}: {value}" + "".join(f" ({one})" for one in remark if one))
    for one in found.compared:
        if one.unexplained:
            print(f"Unexplained, exactly: {figure(one.unexplained)} {one.currency}")
    if found.missing:
        print(f"Not settled yet: {', '.join(found.missing)}")
    print("\n".join(f"  {output / name}" for name in made))


def _check_formats(given: Sequence[str], known: Sequence[str]) -> None:
    for one in given:
        if one not in known:
            raise BadInputError("--format", f"{one!r} is none", f"give {', '.join(known)}")


def _write(output: Path, files: Mapping[str, bytes]) -> None:
    output.mkdir(parents=True, exist_ok=True)
    for name, body in files.items():
        (output / name).write_bytes(body)
