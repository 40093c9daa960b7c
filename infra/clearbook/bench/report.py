"""Reports: the files of one, beside the least that writes the same rows, in turns and in processes of their own.

CSV of all rows beside DuckDB's COPY of the same Parquet; XLSX of a tenth of them beside xlsxwriter in constant memory,
which writes the same cells as one would by hand. The first is ours in every other turn.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from infra.clearbook.bench.ingest import Cost, in_process
from shared.access.scope import View
from shared.columnar import connect, quoted
from shared.errors import BadInputError
from shared.ids import digest
from shared.report import files
from shared.report.answer import Answer, Stated
from shared.report.catalogue import Column, Report, Type

TARGETS = {"xlsx_ratio": 1.15, "csv_ratio": 2.0}
LINES_MIN, LINES_MAX = 1_000, 5_000_000
XLSX_SHARE = 10  # of the rows, one in so many is in the XLSX
RUNS = 3
_AT_ONCE = 2_000
_COLUMNS = {
    "month": (Type.MONTH, "'2025-06'"),
    "date": (Type.DATE, "DATE '2025-06-01' + (n % 30)::INT"),
    "account": (Type.TEXT, "(2000000000000000 + n % 50)::VARCHAR"),
    "service": (Type.TEXT, "'service-' || n % 40"),
    "region": (Type.TEXT, "'cn-region-' || n % 9"),
    "instance": (Type.TEXT, "'i-bp' || left(sha256((n // 8)::VARCHAR), 18)"),
    "lines": (Type.COUNT, "(n % 90)::BIGINT"),
    "quantity": (Type.QUANTITY, "((n % 9973) / 1000)::DECIMAL(38,10)"),
    "price": (Type.AMOUNT, "((n * 7919 % 1000003) / 10000)::DECIMAL(38,18)"),
    "currency": (Type.TEXT, "'CNY'"),
}


def measure(lines: int, *, runs: int = RUNS, say: Callable[[str], object] = str) -> dict[str, Any]:
    """The figures for so many rows: each ratio is ours over the bare one's, by the clock, with the seconds of both."""
    sizes = {"csv": lines, "xlsx": max(1, lines // XLSX_SHARE)}
    figures: dict[str, Any] = {"lines": lines, "xlsx_lines": sizes["xlsx"], "runs": runs}
    peaks = []
    with tempfile.TemporaryDirectory(prefix="clearbook-bench-") as name:
        folder = Path(name)
        for kind, (ours, bare) in {"csv": (_csv, _csv_bare), "xlsx": (_xlsx, _xlsx_bare)}.items():
            say(f"{kind} of {sizes[kind]:,} rows")
            _make(folder, sizes[kind])
            spent: dict[bool, list[Cost]] = {True: [], False: []}
            for number in range(runs):
                # What comes second finds warmer caches, so they take turns.
                for is_ours in (True, False) if number % 2 == 0 else (False, True):
                    spent[is_ours].append(in_process(ours if is_ours else bare, folder, sizes[kind]))
            ours_s, bare_s = (statistics.median(one.wall_s for one in spent[is_ours]) for is_ours in (True, False))
            figures[f"{kind}_ratio"] = round(ours_s / bare_s, 3)
            figures[f"{kind}_s"], figures[f"{kind}_bare_s"] = round(ours_s, 3), round(bare_s, 3)
            peaks += [one.peak_rss_mb for one in spent[True]]
    return {**figures, "peak_rss_mb": round(max(peaks))}


def show(lines: int, json_to: str | None) -> None:
    """Measure and print."""
    from rich.console import Console

    from infra.clearbook.main import write_json

    if not LINES_MIN <= lines <= LINES_MAX:
        raise BadInputError("--lines", f"is {lines}", f"give {LINES_MIN:,} to {LINES_MAX:,}")
    console = Console(stderr=json_to == "-", markup=False, highlight=False)
    figures = measure(lines, say=console.print)
    if json_to is not None:
        write_json({**figures, "targets": TARGETS}, json_to)
    if json_to == "-":
        return
    for kind, rows in (("csv", lines), ("xlsx", figures["xlsx_lines"])):
        console.print(
            f"{kind:5} of {rows:,} rows in {figures[f'{kind}_s']:,.2f} s, bare in {figures[f'{kind}_bare_s']:,.2f} s: "
            f"{figures[f'{kind}_ratio']:.2f} times"
        )
    console.print(f"At most {figures['peak_rss_mb']} MB in one process.")
    missed = ", ".join(name for name, target in TARGETS.items() if figures[name] > target)
    console.print(f"Above its target: {missed}." if missed else "All targets are met.")


# -- what is measured -----------------------------------------------------------------------------------------------


def _make(folder: Path, rows: int) -> None:
    values = ", ".join(f"{sql} AS {name}" for name, (_, sql) in _COLUMNS.items())
    with connect(folder / "scratch") as connection:
        connection.execute(
            f"COPY (SELECT {values} FROM range({rows}) numbers(n)) TO {quoted(str(_rows(folder)))} "  # noqa: S608
            "(FORMAT parquet, COMPRESSION zstd)"
        )


def _rows(folder: Path) -> Path:
    return folder / "rows.parquet"


def _answer(folder: Path, rows: int) -> Answer:
    columns = [Column(name, of, {"en": name, "zh": name}, {"en": "", "zh": ""}) for name, (of, _) in _COLUMNS.items()]
    names = {"en": "Usage and rate detail", "zh": "用量明细"}
    report = Report("usage_detail", 1, names, names, {View.OPERATOR: columns}, ())
    stated = Stated(
        "operator", {"from": "2025-06-01", "to": "2025-06-30"}, ["CNY"], "2025-07-04T02:00:00Z", True,
        "2025-07-05T02:00:00Z",
    )  # fmt: skip
    return Answer(report, columns, _rows(folder), rows, {"CNY": {"price": Decimal(0)}}, digest(b""), stated)


def _csv(folder: Path, rows: int) -> None:
    files.write(_answer(folder, rows), "csv", "en", folder / "ours.csv")


def _csv_bare(folder: Path, _rows_count: int) -> None:
    with connect(folder / "scratch") as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_parquet({quoted(str(_rows(folder)))})) TO "  # noqa: S608 - paths of ours
            f"{quoted(str(folder / 'bare.csv'))} (FORMAT csv, HEADER)"
        )


def _xlsx(folder: Path, rows: int) -> None:
    files.write(_answer(folder, rows), "xlsx", "en", folder / "ours.xlsx")


def _xlsx_bare(folder: Path, _rows_count: int) -> None:
    import xlsxwriter

    options = {"constant_memory": True, "default_date_format": "yyyy-mm-dd", "strings_to_urls": False}
    with connect(folder / "scratch") as connection, xlsxwriter.Workbook(str(folder / "bare.xlsx"), options) as book:
        sheet = book.add_worksheet()
        sheet.write_row(0, 0, list(_COLUMNS))
        found = connection.execute(f"SELECT * FROM read_parquet({quoted(str(_rows(folder)))})")  # noqa: S608
        row = 0
        while cells := found.fetchmany(_AT_ONCE):
            for one in cells:
                row += 1
                sheet.write_row(row, 0, one)
