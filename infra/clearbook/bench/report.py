"""Reports: what a file of many rows takes beside the least that writes the same, and how soon a question is answered.

`xlsx_ratio` holds a workbook against bare xlsxwriter in constant memory, which fetches and writes the same cells;
`csv_ratio` a CSV file against DuckDB's own COPY of the same rows. `summary_ms` is the monthly summary of a month of so
many lines, `drilldown_ms` the lines behind one of its rows, both on priced lines that an instance has already: rows,
control totals and digest, as every answer has them. What is sent to OSS is not measured.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.clearbook.bench.ingest import Cost, in_process
from shared.access.scope import View
from shared.columnar import connect, quoted
from shared.errors import BadInputError
from shared.ids import Digest
from shared.report.answer import Answer, Stated
from shared.report.asking import Ask, parse_ask
from shared.report.catalogue import Column, Type, catalogue
from shared.report.facts import FACT_TYPES
from shared.report.files import plain, sheets

TARGETS = {"xlsx_ratio": 1.15, "csv_ratio": 2.0, "summary_ms": 1000, "drilldown_ms": 200}
LINES_MIN, LINES_MAX, SHEET_ROWS = 1_000, 10_000_000, 100_000
_CYCLE = "2025-06"
_REPORT, _VIEW = "usage_detail", View.OPERATOR
_PRODUCTS, _ACCOUNTS, _DAYS, _REGIONS = 40, 200, 30, 8
_ROWS, _SOME, _FACTS, _TIMES = "rows.parquet", "some.parquet", "facts.parquet", "times.json"
_WARM = 5  # questions, of which the middle one counts


def measure(lines: int, runs: int, *, say: Callable[[str], object] = str) -> dict[str, Any]:
    """The figures for so many lines."""
    with tempfile.TemporaryDirectory(prefix="clearbook-bench-") as name:
        folder = Path(name)
        say(f"a month of {lines:,} lines")
        in_process(_write_month, folder, lines)
        sheet_rows = min(lines, SHEET_ROWS)
        costs: dict[str, list[Cost]] = {"csv": [], "bare_csv": [], "xlsx": [], "bare_xlsx": []}
        works = {"csv": _csv, "bare_csv": _bare_csv, "xlsx": _xlsx, "bare_xlsx": _bare_xlsx}
        for run in range(runs):
            for what, work in works.items():
                say(f"{what}, run {run + 1} of {runs}")
                costs[what].append(in_process(work, folder, sheet_rows if "xlsx" in what else lines))
        say("questions")
        asked = in_process(_questions, folder, lines)
        times = json.loads((folder / _TIMES).read_text(encoding="utf-8"))
    seconds = {what: statistics.median(one.wall_s for one in found) for what, found in costs.items()}
    peaks = [one.peak_rss_mb for what in ("csv", "xlsx") for one in costs[what]]
    return {
        "lines": lines,
        "xlsx_rows": sheet_rows,
        "xlsx_ratio": round(seconds["xlsx"] / seconds["bare_xlsx"], 2),
        "xlsx_seconds": [round(seconds["xlsx"], 2), round(seconds["bare_xlsx"], 2)],
        "csv_ratio": round(seconds["csv"] / seconds["bare_csv"], 2),
        "csv_seconds": [round(seconds["csv"], 2), round(seconds["bare_csv"], 2)],
        **times,
        "peak_rss_mb": round(max(*peaks, asked.peak_rss_mb)),
    }


def show(lines: int, runs: int, json_to: str | None) -> None:
    """Measure and print."""
    from rich.console import Console

    from infra.clearbook.main import write_json

    if not LINES_MIN <= lines <= LINES_MAX:
        raise BadInputError("--lines", f"is {lines}", f"give {LINES_MIN:,} to {LINES_MAX:,}")
    if runs < 1:
        raise BadInputError("--runs", f"is {runs}", "give at least 1")
    console = Console(stderr=json_to == "-", markup=False, highlight=False)
    figures = measure(lines, runs, say=console.print)
    if json_to is not None:
        write_json({**figures, "targets": TARGETS}, json_to)
    if json_to == "-":
        return
    for what, rows in (("xlsx", figures["xlsx_rows"]), ("csv", lines)):
        ours, bare = figures[f"{what}_seconds"]
        console.print(f"{what:10} {figures[f'{what}_ratio']:6.2f}  {rows:,} rows in {ours:,.2f} s, bare {bare:,.2f} s")
    for what in ("summary", "drilldown"):
        console.print(f"{what:10} {figures[f'{what}_ms']:6.0f} ms")
    console.print(f"peak       {figures['peak_rss_mb']:6} MB")
    missed = ", ".join(name for name, target in TARGETS.items() if figures[name] > target)
    console.print(f"Above its target: {missed}." if missed else "All targets are met.")


# -- the month --------------------------------------------------------------------------------------------------


def _write_month(folder: Path, lines: int) -> None:
    """Priced lines of a month, and the line items that a report has of them."""
    told = {
        "cycle": quoted(_CYCLE),
        "date": f"DATE '2025-06-01' + CAST(n % {_DAYS} AS INTEGER)",
        "line_id": "md5(CAST(n AS VARCHAR))",
        "customer": f"'customer-' || (n % {_ACCOUNTS}) // 4",
        "reseller": f"'reseller-' || (n % {_ACCOUNTS}) // 40",
        "account": f"CAST(1000000000000000 + n % {_ACCOUNTS} AS VARCHAR)",
        "product_code": f"'product-' || (n // 7) % {_PRODUCTS}",
        "product_name": f"'云产品 ' || (n // 7) % {_PRODUCTS}",
        "billing_item": "'计费项 ' || (n // 3) % 5",
        "region": f"'cn-region-' || n % {_REGIONS}",
        "instance_id": "'i-' || left(md5(CAST(n // 30 AS VARCHAR)), 16)",
        "cost_unit": "CASE WHEN n % 9 > 0 THEN 'project-' || n % 9 END",
        "kind": "CASE WHEN n % 50 = 0 THEN 'refund' ELSE 'usage' END",
        "usage": "CAST(n % 997 AS DECIMAL(38,18)) / 1",
        "usage_unit": "'小时'",
        "list_price": "CAST(0.25 AS DECIMAL(38,18))",
        "list_price_unit": "'元'",
        "list_amount": "CAST((n % 9973) * 0.0137 AS DECIMAL(28,10))",
        "price": "CAST((n % 9973) * 0.012193 AS DECIMAL(38,18))",
        "cost": "CAST((n % 9973) * 0.0111 AS DECIMAL(38,18))",
        "commission": "CAST((n % 9973) * 0.00111 AS DECIMAL(38,18))",
        "currency": "'CNY'",
    }
    columns = ", ".join(f"CAST({told.get(name, 'NULL')} AS {type_}) AS {name}" for name, type_ in FACT_TYPES.items())
    with connect(folder) as connection:
        connection.execute(
            f"COPY (SELECT {columns} FROM range({lines}) r(n) ORDER BY date, account, line_id) "  # noqa: S608
            f"TO {quoted(str(folder / _FACTS))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)"
        )
        _load(connection, folder)
        _select(connection, _ask(_REPORT), folder / _ROWS)
        connection.execute(
            f"COPY (SELECT * FROM read_parquet({quoted(str(folder / _ROWS))}) LIMIT {SHEET_ROWS}) "  # noqa: S608
            f"TO {quoted(str(folder / _SOME))} (FORMAT parquet, COMPRESSION zstd)"
        )


def _load(connection: Any, folder: Path) -> None:
    connection.execute("CREATE OR REPLACE TEMP TABLE service (code VARCHAR, name VARCHAR, category VARCHAR)")
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW fact AS SELECT * FROM read_parquet({quoted(str(folder / _FACTS))})"  # noqa: S608
    )


def _ask(report: str, **filters: str) -> Ask:
    said = {"report": report, "from": _CYCLE, "to": _CYCLE, "filters": filters}
    return parse_ask(said, _VIEW, date(2025, 7, 5))


def _columns(ask: Ask) -> list[Column]:
    known = {one.name: one for one in catalogue()[ask.report].columns[_VIEW]}
    return [known[name] for name in ask.columns]


def _select(connection: Any, ask: Ask, path: Path) -> None:
    from shared.steps.reporting.answering import select_facts

    select_facts(connection, catalogue()[ask.report], ask, _columns(ask), path)


def _answer(path: Path, rows: int) -> Answer:
    ask = _ask(_REPORT)
    dates = {"from": str(ask.period.first), "to": str(ask.period.last), "by": ask.by}
    stated = Stated("operator", dates, ["CNY"], "2025-07-03T04:30:00Z", True, "2025-07-05T01:00:00Z")
    totals = {"CNY": {"cost": Decimal(1)}}
    return Answer(catalogue()[_REPORT], _columns(ask), path, rows, totals, Digest("0" * 64), stated)


# -- what is measured -------------------------------------------------------------------------------------------


def _csv(folder: Path, lines: int) -> None:
    plain.to_csv(_answer(folder / _ROWS, lines), folder / "ours.csv")


def _bare_csv(folder: Path, lines: int) -> None:
    with connect(folder) as connection:
        rows = f"read_parquet({quoted(str(folder / _ROWS))})"
        connection.execute(f"COPY (SELECT * FROM {rows}) TO {quoted(str(folder / 'bare.csv'))} (FORMAT csv, HEADER)")  # noqa: S608


def _xlsx(folder: Path, rows: int) -> None:
    sheets.write(_answer(folder / _SOME, rows), "en", folder / "ours.xlsx")


def _bare_xlsx(folder: Path, rows: int) -> None:
    """What a script would do: fetch the rows, and write each cell by its type."""
    import xlsxwriter

    columns = _columns(_ask(_REPORT))
    options = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with xlsxwriter.Workbook(str(folder / "bare.xlsx"), options) as book, connect(folder) as connection:
        sheet, day = book.add_worksheet(), book.add_format({"num_format": "yyyy-mm-dd"})
        for number, column in enumerate(columns):
            sheet.write_string(0, number, column.name)
        found = connection.execute(f"SELECT * FROM read_parquet({quoted(str(folder / _SOME))})")  # noqa: S608
        row = 0
        while cells := found.fetchmany(2_000):
            for values in cells:
                row += 1
                for number, (column, value) in enumerate(zip(columns, values, strict=True)):
                    if value is None:
                        continue
                    if column.type is Type.DATE:
                        sheet.write_datetime(row, number, value, day)
                    elif column.type.is_figure:
                        sheet.write_number(row, number, value)
                    else:
                        sheet.write_string(row, number, value)


def _questions(folder: Path, lines: int) -> None:
    """Answer each question several times on an instance that has the priced lines."""
    from shared.steps.reporting.answering import counted

    asks = {
        "summary_ms": _ask("billing_summary"),
        "drilldown_ms": _ask(_REPORT, service="product-3", account="1000000000000021", region="cn-region-5"),
    }
    times: dict[str, float] = {}
    with connect(folder) as connection:
        _load(connection, folder)
        for name, ask in asks.items():
            spent = []
            for _ in range(_WARM + 1):
                begun = time.perf_counter()
                _select(connection, ask, folder / "answer.parquet")
                rows, _, _ = counted(connection, _columns(ask), folder / "answer.parquet")
                spent.append(time.perf_counter() - begun)
                if not rows and lines > _ACCOUNTS * _PRODUCTS:
                    raise RuntimeError(f"{name} answered nothing")
            times[name] = round(statistics.median(spent[1:]) * 1000, 1)
    (folder / _TIMES).write_text(json.dumps(times), encoding="utf-8")
