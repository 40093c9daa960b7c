"""Report files as other programs read them: the same rows from each format, and what each says of itself."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pypdf

from infra.clearbook.reports import run_report

FORMATS = ("csv", "xlsx", "pdf", "json", "parquet")
Row = Mapping[str, Any]


def by(column: str, value: str) -> Callable[[Row], bool]:
    """Which rows have a value."""
    return lambda row: bool(row[column] == value)


class Reported:
    """A report of a month in every format, by the command; what it says of itself as `about`."""

    def __init__(
        self, home: Path, folder: Path, name: str, as_: str, cycle: str, formats: Sequence[str] = FORMATS, **said: Any
    ) -> None:
        given = [f"{one}={value}" for one, value in said.pop("filters", {}).items()]
        told = folder / f"{name}.json-said"
        asked = {"from": cycle, "to": cycle, **said}
        run_report(name, asked, given, formats, as_, folder / as_.replace(":", "-"), home, str(told))
        self.about: dict[str, Any] = json.loads(told.read_bytes())
        self.paths = {Path(one).suffix[1:]: Path(one) for one in self.about["files"] if not one.endswith("about.json")}
        self.rows = self._parquet()

    def total(self, column: str, of: Callable[[Row], bool] = lambda _: True) -> Decimal:
        """The exact sum of a column of the Parquet file."""
        return sum((one[column] for one in self.rows if one[column] is not None and of(one)), Decimal(0))

    def same_everywhere(self) -> list[str]:
        """What the files do not agree on: rows, totals, the digest."""
        wrong = [
            f"{name}: other rows"
            for name in ("csv", "json", "xlsx")
            if getattr(self, f"_is_{name}_the_same")() is False
        ]
        sums: dict[str, dict[str, Decimal]] = {}
        for row in self.rows:
            of = sums.setdefault(row.get("currency") or row["BillingCurrency"], {})
            for column in self.about["columns"]:
                name = column["name"]
                if column["type"] in ("amount", "count") and name != "version" and row[name] is not None:
                    of[name] = of.get(name, Decimal(0)) + row[name]
        said = {
            currency: {name: Decimal(value) for name, value in totals.items()}
            for currency, totals in self.about["control_totals"].items()
        }
        if said != sums:
            wrong.append(f"totals: {said}, rows come to {sums}")
        text = self._pdf()
        for currency, totals in self.about["control_totals"].items():
            wrong += [f"pdf: no {name}" for name, value in totals.items() if f"{name}{value}{currency}" not in text]
        if self.about["digest"] not in text:
            wrong.append("pdf: another digest")
        return wrong

    def _parquet(self) -> list[Row]:
        found = duckdb.execute("SELECT * FROM read_parquet(?)", [str(self.paths["parquet"])])
        names = [(one[0], str(one[1])) for one in found.description or ()]
        kinds = {"text": "VARCHAR", "month": "VARCHAR", "date": "DATE", "count": "BIGINT"}
        for (name, kind), column in zip(names, self.about["columns"], strict=True):
            assert (name, kind.partition("(")[0]) == (column["name"], kinds.get(column["type"], "DECIMAL"))
        return [dict(zip([name for name, _ in names], cells, strict=True)) for cells in found.fetchall()]

    def _texts(self) -> list[list[str]]:
        """The rows as text: figures without zeros behind them."""
        return [[_text(cell) for cell in row.values()] for row in self.rows]

    def _is_csv_the_same(self) -> bool:
        body = self.paths["csv"].read_text(encoding="utf-8-sig")
        header, *lines = csv.reader(io.StringIO(body, newline=""))
        beside = json.loads(Path(f"{self.paths['csv']}.about.json").read_bytes())
        figures = [column["type"] in ("amount", "quantity") for column in self.about["columns"]]
        found = [
            [
                _text(Decimal(cell)) if is_figure and cell else cell
                for cell, is_figure in zip(line, figures, strict=True)
            ]
            for line in lines
        ]
        return (found, header, beside["digest"]) == (self._texts(), self._names(), self.about["digest"])

    def _is_json_the_same(self) -> bool:
        said = json.loads(self.paths["json"].read_bytes())
        found = [["" if cell is None else str(cell) for cell in row.values()] for row in said["rows"]]
        return (found, said["digest"]) == (self._texts(), self.about["digest"])

    def _is_xlsx_the_same(self) -> bool:
        book = openpyxl.load_workbook(self.paths["xlsx"])
        header, *rows = book.worksheets[0].values
        about = {str(row[0]): str(row[1]) for row in book["About this report"].values if row[0]}
        expected = [[_as_cell(cell) for cell in row.values()] for row in self.rows]
        found = [[cell.date() if isinstance(cell, datetime) else cell for cell in row] for row in rows]
        is_said = about["Digest of the rows"] == self.about["digest"]
        return found == expected and list(header) == self._names() and is_said

    def _pdf(self) -> str:
        """What the last pages say, where it says what it is of; spaces are left out, for lines break anywhere."""
        pages = pypdf.PdfReader(self.paths["pdf"]).pages[-3:]
        return "".join("".join(page.extract_text() for page in pages).replace("\u200b", "").split())

    def _names(self) -> list[str]:
        return [column["name"] for column in self.about["columns"]]


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if not isinstance(cell, Decimal):
        return str(cell)
    text = f"{cell:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _as_cell(cell: Any) -> Any:
    """What a sheet holds of it: a number as binary as the format has it, which is exact for fifteen digits."""
    if not isinstance(cell, Decimal):
        return cell if isinstance(cell, date | int) or cell is None else str(cell)
    return float(f"{cell:.16G}")
