"""The commands about reports that people fetch by themselves: what there is, and files of one of them.

They run with the operator's own key, and may look with the eyes of any party: what a reseller or a customer would get
is what its own scope shows. A mapping is submitted at the portal, by who is signed in.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from infra.clearbook import remote
from infra.clearbook.context import now, services
from infra.clearbook.decisions import document
from infra.clearbook.main import write_json
from shared.access.scope import Scope, View
from shared.cycle import shanghai_day, stamp
from shared.errors import BadInputError
from shared.money import text
from shared.report import files
from shared.report.asking import FORMATS, UnknownReportError, parse_ask
from shared.report.catalogue import Report, catalogue
from shared.report.language import LANGUAGES, Names, figure, named
from shared.services import Services
from shared.steps import state
from shared.steps.reporting import answering
from shared.steps.reporting.availability import availability

_SHOWN, _COLUMNS_SHOWN = 20, 20  # rows and columns, on the screen
_WIDTH_MAX = 400  # characters


def list_reports(as_: str, language: str, home: Path | None, json_to: str | None) -> None:
    """What there is for somebody."""
    view = _view(as_)
    found = [one for one in catalogue().values() if one.may_run(view)]
    if json_to is not None:
        write_json([_as_json(one, view) for one in found], json_to)
    if json_to == "-":
        return
    for one in found:
        print(f"{one.name:17} {named(one.titles, language, one.name)}: {named(one.says, language, '')}")


def show_report(name: str, as_: str, language: str, home: Path | None, json_to: str | None) -> None:
    """What one report has, what it may be narrowed by, and from when to when there are numbers."""
    work = services(home)
    scope = _scope(work, as_)
    report = _report(name, scope.view)
    there = availability(work, scope, report)
    whys = [named(one, language, "") for one in there.why]
    if json_to is not None:
        dates = {
            "from": there.first and str(there.first),
            "to": there.last and str(there.last),
            "updated_at": there.updated_at or None,
            "final_until": there.is_final_until and str(there.is_final_until),
            "why": [dict(one) for one in there.why],
        }
        write_json({**_as_json(report, scope.view), "available": dates}, json_to)
    if json_to == "-":
        return
    print(f"{named(report.titles, language, name)} ({report.id}): {named(report.says, language, '')}")
    if there.first is not None:
        print(f"numbers from {there.first} to {there.last}, last updated {there.updated_at}")
        print(f"final until {there.is_final_until}" if there.is_final_until else "nothing of it is final yet")
    for why in whys:
        print(f"  {why}")
    print("columns")
    for column in report.columns[scope.view]:
        print(f"  {column.name:16} {named(column.labels, language, '')}: {named(column.says, language, '')}")
    print("filters")
    for one in report.filters_of(scope.view):
        usual = f" (default {one.default})" if one.default else ""
        print(f"  {one.name:16} {named(one.says, language, '')}{usual}")
    if report.drill_down:
        print(f"what a row is made of: clearbook report run {report.drill_down} --filter NAME=VALUE")


def run_report(
    name: str,
    said: Mapping[str, Any],
    given: Sequence[str],
    formats: Sequence[str],
    as_: str,
    output: Path,
    home: Path | None,
    json_to: str | None,
) -> None:
    """Run a report, write its files, and show its first rows."""
    for one in formats:
        if one not in FORMATS:
            raise BadInputError("--format", f"{one!r} is none", f"give {', '.join(FORMATS)}")
    work, at = services(home), now(home)
    scope = _scope(work, as_)
    asked = {name: value for name, value in said.items() if value} | {"filters": filters_of(given)}
    ask = parse_ask({"report": name, **asked}, scope.view, shanghai_day(at))
    console = Console(stderr=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="clearbook-") as folder, console.status(name) as status:
        found = answering.answer(
            work, scope, ask, at=stamp(at), folder=Path(folder), told=lambda text: status.update(text)
        )  # fmt: skip
        output.mkdir(parents=True, exist_ok=True)
        written = []
        whose = str(scope.view) if scope.view is View.OPERATOR else scope.who
        stem = f"{name}-{whose}-{ask.period.first}-{ask.period.last}"
        for one in formats:
            status.update(f"writing {one}")
            path = output / f"{stem}.{one}"
            files.write(found, one, ask.language, path)
            written.append(path)
            if one in ("csv", "parquet"):
                beside = path.with_suffix(path.suffix + ".about.json")
                beside.write_bytes(files.sidecar(found))
                written.append(beside)
        rows = _first_rows(found) if json_to != "-" else []
    if json_to is not None:
        write_json({**files.metadata(found), "files": [str(one) for one in written]}, json_to)
    if json_to == "-":
        return
    # As wide as it is: figures that are cut off tell nothing.
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in found.columns[:_COLUMNS_SHOWN]:
        justify: Any = "right" if column.type.is_figure else "left"
        table.add_column(named(column.labels, ask.language, column.name), justify=justify, no_wrap=True)
    for cells in rows:
        table.add_row(*("" if one is None else _said(one) for one in cells[:_COLUMNS_SHOWN]))
    told = Console(highlight=False, markup=False, soft_wrap=True)
    Console(width=_WIDTH_MAX, highlight=False, markup=False).print(table)
    if found.rows > len(rows):
        told.print(f"… {found.rows:,} rows in all")
    if len(found.columns) > _COLUMNS_SHOWN:
        told.print(f"… {len(found.columns)} columns in all")
    for sentence in (*found.story, *found.stated.notes, *found.stated.hidden, *found.stated.why_not_final):
        told.print(named(sentence, ask.language, ""))
    for currency, sums in found.totals.items():
        told.print(f"{currency}: " + ", ".join(f"{column} {text(value)}" for column, value in sums.items()))
    for path in written:
        told.print(f"  {path}")


def submit_mapping(file: Path, by: str, home: Path | None, json_to: str | None) -> None:
    """Submit a version of an allocation mapping."""
    found = remote.portal(home, by).post("/v1/mappings", document(file))
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    what = "submitted" if found["new"] else "was there already"
    print(f"{found['allocation']} version {found['version']} of {found['owner']}: {what}")
    for place, problem in found["warnings"]:
        print(f"  {place}: {problem}")


def list_mappings(by: str, home: Path | None, json_to: str | None) -> None:
    """The mappings of whoever is signed in."""
    found = remote.portal(home, by).get("/v1/mappings")["mappings"]
    if json_to is not None:
        write_json(found, json_to)
    if json_to == "-":
        return
    for one in found:
        print(f"{one['allocation']} version {one['version']}, submitted by {one['by']} at {one['at']}")
    if not found:
        print("there are no mappings")


def _view(as_: str) -> View:
    kind = as_.partition(":")[0]
    if kind not in tuple(View):
        raise BadInputError("--as", f"is {as_!r}", "write operator, reseller:ID or customer:ID")
    return View(kind)


def _scope(work: Services, as_: str) -> Scope:
    view, who = _view(as_), as_.partition(":")[2]
    if view is View.OPERATOR:
        return Scope.operator()
    parties, _ = state.parties(work)
    return Scope.reseller(parties, who) if view is View.RESELLER else Scope.customer(parties, who)


def _report(name: str, view: View) -> Report:
    found = catalogue().get(name)
    if found is None or not found.may_run(view):
        raise UnknownReportError(name, view)
    return found


def filters_of(given: Sequence[str]) -> dict[str, list[str]]:
    """NAME=VALUE, as often as there are values."""
    found: dict[str, list[str]] = {}
    for one in given:
        name, sign, value = one.partition("=")
        if not name or not sign:
            raise BadInputError("--filter", f"is {one!r}", "write it as NAME=VALUE")
        found.setdefault(name, []).append(value)
    return found


def _first_rows(found: Any) -> list[tuple[Any, ...]]:
    from shared.report.files.rows import opened, rows_of

    with opened() as connection:
        return connection.execute(f"SELECT * FROM {rows_of(found)} LIMIT {_SHOWN}").fetchall()  # noqa: S608


def _said(value: Any) -> str:
    return figure(value) if isinstance(value, Decimal) else str(value)


def _as_json(report: Report, view: View) -> dict[str, Any]:
    def both(names: Names) -> dict[str, str]:
        return {language: names[language] for language in LANGUAGES}

    return {
        "report": report.name,
        "version": report.version,
        "title": both(report.titles),
        "says": both(report.says),
        "columns": [
            {"name": one.name, "type": str(one.type), "label": both(one.labels), "says": both(one.says)}
            for one in report.columns[view]
        ],
        "filters": [
            {"name": one.name, "says": both(one.says), "default": one.default or None}
            for one in report.filters_of(view)
        ],
        "drill_down": report.drill_down or None,
    }
