"""Answers as files, read with other libraries: the same rows in each, nothing that runs, the same bytes each time."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pypdf
import pytest

from infra.clearbook.bench import report as bench
from shared.access.scope import View
from shared.errors import BadInputError
from shared.ids import digest
from shared.report import files
from shared.report.answer import Answer, Chart, Stated
from shared.report.asking import FORMATS
from shared.report.catalogue import Column, Report, Type
from shared.report.cells import DANGEROUS, safe
from shared.report.files import pdf, sheets
from shared.report.files.charts import drawn
from shared.report.files.rows import opened

SHAPE = {
    "day": (Type.DATE, "DATE"),
    "service": (Type.TEXT, "VARCHAR"),
    "note": (Type.TEXT, "VARCHAR"),
    "lines": (Type.COUNT, "BIGINT"),
    "quantity": (Type.QUANTITY, "DECIMAL(38,0)"),
    "price": (Type.AMOUNT, "DECIMAL(38,18)"),
    "currency": (Type.TEXT, "VARCHAR"),
}
ROWS: list[tuple[Any, ...]] = [
    (date(2025, 6, 1), "云服务器 ecs", 'says "hi", twice', 3, Decimal(100), Decimal("12.50"), "CNY"),
    (date(2025, 6, 2), "oss", "=HYPERLINK(1)", 1, Decimal(0), Decimal("-0.000000000000000001"), "CNY"),
    (None, "cdn", "two\nlines", 0, None, Decimal("12345678901234567890.123456789012345678"), "CNY"),
    (date(2025, 6, 3), "rds", None, 2, Decimal(20), None, "CNY"),
]
WHO, AT = "王芳 <fang&co>", "2025-07-06T08:00:00Z"


def answer(folder: Path, rows: list[tuple[Any, ...]] = ROWS, *charts: Chart, is_final: bool = False) -> Answer:
    """An answer of such rows."""
    path = folder / "rows.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE t ({', '.join(f'{name} {sql}' for name, (_, sql) in SHAPE.items())})")
        if rows:
            connection.executemany(f"INSERT INTO t VALUES ({', '.join('?' for _ in SHAPE)})", rows)
        connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    columns = [Column(name, of, {"en": name.title(), "zh": f"列{name}"}, {"en": f"what {name} is", "zh": "含义"})
               for name, (of, _) in SHAPE.items()]  # fmt: skip
    titles = {"en": "Service cost", "zh": "服务费用"}
    report = Report("service_cost", 2, titles, titles, {View.OPERATOR: columns}, ())
    why = [] if is_final else [{"en": "2025-06 is not locked", "zh": "2025-06 尚未锁定"}]
    stated = Stated(
        "reseller aurora", {"from": "2025-06-01", "to": "2025-06-30", "by": "billing"}, ["CNY"], "2025-07-04T02:00:00Z",
        is_final, "2025-07-05T02:00:00Z", "teams.3", ["op-aurora.1"], why,
        [{"en": "2 accounts are outside your access", "zh": "2 个账号不在您的权限内"}],
    )  # fmt: skip
    summed = sum((one[5] for one in rows if one[5] is not None), Decimal(0))
    story = [{"en": "Compute up 38 %", "zh": "计算上涨 38%"}]
    return Answer(report, columns, path, len(rows), {"CNY": {"price": summed}}, digest(b"rows"), stated, story, charts)


def written(of: Answer, format_: str, folder: Path, language: str = "en") -> Path:
    path = folder / f"made.{format_}"
    files.write(of, format_, language, path)
    return path


def as_text(cell: Any) -> str:
    """A value of any library as one text: what is equal is equal text."""
    if cell is None:
        return ""
    if isinstance(cell, datetime):
        return cell.date().isoformat()
    if isinstance(cell, int | float | Decimal):
        digits = f"{Decimal(str(cell)):f}"
        return digits.rstrip("0").rstrip(".") if "." in digits else digits
    return str(cell)


def wanted(name: str, cell: Any) -> str:
    return as_text(cell) if SHAPE[name][0] is not Type.TEXT else str(cell or "")


def sheet_rows(sheet: Any) -> list[list[str]]:
    return [[as_text(cell) for cell in row] for row in sheet.iter_rows(min_row=2, values_only=True)]


def test_all_formats_of_rows_hold_the_same_rows(tmp_path: Path) -> None:
    of = answer(tmp_path)
    expected = [[wanted(name, cell) for name, cell in zip(SHAPE, row, strict=True)] for row in ROWS]

    said = json.loads(written(of, "json", tmp_path).read_bytes())
    assert [[as_text(row[name]) for name in SHAPE] for row in said["rows"]] == expected
    kept = duckdb.execute("SELECT * FROM read_parquet(?)", [str(written(of, "parquet", tmp_path))]).fetchall()
    assert [[as_text(cell) for cell in row] for row in kept] == expected
    book = openpyxl.load_workbook(written(of, "xlsx", tmp_path))
    assert [[cell.replace("_x000a_", "\n") for cell in row] for row in sheet_rows(book.worksheets[0])] == expected
    header, *lines = csv.reader(io.StringIO(written(of, "csv", tmp_path).read_text("utf-8-sig"), newline=""))
    assert header == list(SHAPE)
    expected[1][2] = "'=HYPERLINK(1)"
    quantity, price = list(SHAPE).index("quantity"), list(SHAPE).index("price")
    for line in lines:
        line[quantity], line[price] = (as_text(Decimal(one) if one else None) for one in (line[quantity], line[price]))
    assert lines == expected


def test_a_csv_cell_is_safe_by_the_same_rule_as_everywhere(tmp_path: Path) -> None:
    texts = [*(f"{sign}1+1" for sign in DANGEROUS), "plain", "a=b", "", "'", "，＝", *DANGEROUS]
    of = answer(tmp_path, [(None, text, text, 0, None, None, "CNY") for text in texts])

    body = written(of, "csv", tmp_path).read_bytes()

    assert body.startswith(b"\xef\xbb\xbfday,")
    assert body.count(b"\xef\xbb\xbf") == 1
    _, *lines = csv.reader(io.StringIO(body.decode("utf-8-sig"), newline=""))
    assert [line[1] for line in lines] == [safe(text) for text in texts]


def test_a_sheet_has_no_formula_and_longer_numbers_than_it_holds_are_text(tmp_path: Path) -> None:
    book = openpyxl.load_workbook(written(answer(tmp_path), "xlsx", tmp_path))

    sheet = book.worksheets[0]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} <= {"s", "inlineStr", "n", "d"}
    assert [cell.data_type for cell in sheet["F"][1:3]] == ["n", "n"]
    assert (sheet["F4"].data_type, sheet["F4"].value) == ("s", "12345678901234567890.123456789012345678")
    # A sum of the column leaves out what is text: what a cell holds to the sixth decimal is a number.
    long = answer(tmp_path, [(None, "s", None, 0, None, Decimal("14846.150300170445678901"), "CNY")])
    book = openpyxl.load_workbook(written(long, "xlsx", tmp_path))
    assert (book.worksheets[0]["F2"].data_type, book.worksheets[0]["F2"].value) == ("n", 14846.15030017045)
    said = [str(cell) for row in book["About this report"].values for cell in row]
    assert any(one.startswith("A cell holds 15 digits") for one in said)
    assert (sheet.freeze_panes, sheet.auto_filter.ref) == ("A2", "A1:G5")


def test_rows_past_the_limit_of_a_sheet_go_on_in_the_next(tmp_path: Path) -> None:
    many = [(None, f"s{number}", None, number, None, None, "CNY") for number in range(7)]
    path = tmp_path / "many.xlsx"

    sheets.write(answer(tmp_path, many), "en", path, rows_max=3)

    book = openpyxl.load_workbook(path)
    data = [sheet for sheet in book.worksheets if sheet.title.startswith("Data")]
    assert [len(sheet_rows(sheet)) for sheet in data] == [3, 3, 1]
    assert [row[3] for sheet in data for row in sheet_rows(sheet)] == [str(number) for number in range(7)]


def test_two_charts_have_a_sheet_each(tmp_path: Path) -> None:
    few = [row for row in ROWS if row[1] != "cdn"]
    both = (Chart("bar", "service", "price"), Chart("line", "day", "price", "service"))

    book = openpyxl.load_workbook(written(answer(tmp_path, few, *both), "xlsx", tmp_path))

    assert [len(book[name]._charts) for name in ("Chart", "Chart 2")] == [1, 1]


@pytest.mark.parametrize(("sign", "kept"), [("x", 32_766), ("𠮷", 16_383)])  # the second takes two places of a cell
def test_text_longer_than_a_cell_ends_with_a_sign_that_there_was_more(sign: str, kept: int, tmp_path: Path) -> None:
    of = answer(tmp_path, [(None, sign * 40_000, None, 0, None, None, "CNY")])

    cell = openpyxl.load_workbook(written(of, "xlsx", tmp_path)).worksheets[0]["B2"].value

    assert cell == sign * kept + "…"


@pytest.mark.parametrize("format_", FORMATS)
def test_the_same_answer_is_the_same_bytes(format_: str, tmp_path: Path) -> None:
    of = answer(tmp_path, [ROWS[0]], Chart("bar", "service", "price"))

    first = written(of, format_, tmp_path).read_bytes()

    assert written(of, format_, tmp_path).read_bytes() == first


def said_by(of: Answer, format_: str, folder: Path) -> str:
    """What a file says of itself, as text."""
    path = written(of, format_, folder)
    if format_ == "csv":
        return files.sidecar(of).decode()
    if format_ == "parquet":
        [(value,)] = duckdb.execute(
            "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'clearbook'", [str(path)]
        ).fetchall()
        return str(value)
    if format_ == "xlsx":
        about = openpyxl.load_workbook(path)["About this report"]
        return "\n".join(str(cell) for row in about.iter_rows(values_only=True) for cell in row)
    if format_ == "pdf":
        return "".join(page.extract_text() for page in pypdf.PdfReader(path).pages)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("format_", FORMATS)
def test_every_file_says_what_it_is_of_and_how_to_check_it(format_: str, tmp_path: Path) -> None:
    of = answer(tmp_path, [ROWS[0]])

    said = said_by(of, format_, tmp_path).replace("\u200b", "").replace("\n", " ")

    wanted = ("service_cost", "reseller aurora", "2025-06-30", "CNY", "2025-07-04T02:00:00Z", "draft",
              "2025-06 is not locked", "teams.3", "op-aurora.1", "2025-07-05T02:00:00Z", "12.5",
              "2 accounts are outside", "Compute up 38 %")  # fmt: skip
    assert [one for one in wanted if one not in said] == []
    assert of.digest in said.replace(" ", "")


def test_a_pdf_in_chinese_says_how_many_rows_are_left_to_other_files(tmp_path: Path) -> None:
    rows = [ROWS[0]] * (pdf.ROWS_MAX + 5)

    reader = pypdf.PdfReader(written(answer(tmp_path, rows), "pdf", tmp_path, "zh"))

    said = "".join(page.extract_text() for page in reader.pages)
    assert "服务费用" in said
    assert "云服务器" in said
    assert "计算上涨" in said
    assert "共 205 行" in said


@pytest.mark.parametrize("chart", [Chart("bar", "service", "price"), Chart("line", "day", "price", "service")])
def test_a_chart_draws_all_of_the_report_and_calls_the_small_ones_others(chart: Chart, tmp_path: Path) -> None:
    days = (date(2025, 5, 31), date(2025, 6, 1))
    rows = [(day, f"s{number}", None, 1, None, Decimal(number - 9), "CNY") for number in range(40) for day in days]
    of = answer(tmp_path, rows)

    with opened() as connection:
        drawn_ = drawn(connection, of, chart, "(others)")

    names = drawn_.series if chart.series else [name for name, _ in drawn_.points]
    assert names[-1] == "(others)"
    assert len(names) == (6 if chart.series else 12)
    sums = [sum(value or 0 for value in values) for _, values in drawn_.points]
    assert sum(sums) == of.totals["CNY"]["price"]
    assert [name for name, _ in drawn_.points] == [str(day) for day in days] or not chart.series


def test_a_pdf_rounds_each_amount_and_has_the_rounded_totals_and_the_exact_ones(tmp_path: Path) -> None:
    prices = {"a": "1.005", "b": "-2.004", "c": "1000000"}
    of = answer(tmp_path, [(None, name, None, 1, None, Decimal(price), "CNY") for name, price in prices.items()])

    said = "".join(page.extract_text() for page in pypdf.PdfReader(written(of, "pdf", tmp_path)).pages)

    for shown in (
        "1.01",
        "-2.00",
        "1,000,000.00",
        "999,999.00 CNY",
        "price 999999.001 CNY",
        "Amounts are rounded here",
    ):
        assert shown in said.replace("\n", " ").replace("\u200b", ""), shown
    assert "Total" in said


@pytest.mark.parametrize("format_", ["json", "parquet", "pdf", "xlsx", "metadata"])
def test_a_stamped_copy_says_who_fetched_it_and_when_and_holds_the_same(format_: str, tmp_path: Path) -> None:
    of = answer(tmp_path, [ROWS[0]] * 60, Chart("bar", "service", "price"))
    path = tmp_path / "body.json"
    if format_ == "metadata":
        path.write_bytes(files.sidecar(of))
    else:
        path = written(of, format_, tmp_path)
    before = path.read_bytes()
    copies = [tmp_path / "one", tmp_path / "two"]

    for copy in copies:
        files.stamped(path, format_, WHO, AT, copy)

    assert copies[0].read_bytes() == copies[1].read_bytes()
    assert path.read_bytes() == before
    if format_ in ("json", "metadata"):
        said = json.loads(copies[0].read_bytes())
        assert said.pop("fetched") == {"by": WHO, "at": AT}
        assert said == json.loads(before)
    elif format_ == "parquet":
        [(about,)] = duckdb.execute("SELECT decode(value) FROM parquet_kv_metadata(?)", [str(copies[0])]).fetchall()
        assert json.loads(about)["fetched"] == {"by": WHO, "at": AT}
        query = "SELECT count(*), sum(price) FROM read_parquet(?)"
        assert duckdb.execute(query, [str(copies[0])]).fetchall() == [(60, Decimal("750.00"))]
    elif format_ == "pdf":
        pages = pypdf.PdfReader(copies[0]).pages
        assert len(pages) > 1
        assert all(WHO in page.extract_text() and AT in page.extract_text() for page in pages)
    else:
        book = openpyxl.load_workbook(io.BytesIO(copies[0].read_bytes()))
        assert book["About this report"]["A2"].value == book.properties.description
        assert WHO in book.properties.description
        assert AT in book.properties.description
        assert sheet_rows(book.worksheets[0]) == sheet_rows(openpyxl.load_workbook(path).worksheets[0])


def test_what_is_no_file_of_ours_is_not_stamped(tmp_path: Path) -> None:
    body = tmp_path / "body"
    body.write_bytes(b"[]")

    with pytest.raises(files.NotStampedError, match="run the report again"):
        files.stamped(body, "json", WHO, AT, tmp_path / "copy")


@pytest.mark.parametrize("format_", FORMATS)
def test_an_answer_without_rows_is_a_file_that_says_why(format_: str, tmp_path: Path) -> None:
    of = answer(tmp_path, [], Chart("bar", "service", "price"))
    of = replace(of, stated=replace(of.stated, notes=[{"en": "nothing was used", "zh": "没有使用"}]))

    assert "nothing was used" in said_by(of, format_, tmp_path)


def test_the_bench_refuses_what_it_does_not_measure() -> None:
    with pytest.raises(BadInputError, match="--lines"):
        bench.show(0, 1, None)


def test_the_bench_writes_what_it_measures_and_names_each_ratio_with_both_times() -> None:
    figures = bench.measure(20_000, 1)

    assert figures["xlsx_rows"] == 20_000
    assert min(*figures["csv_seconds"], *figures["xlsx_seconds"]) > 0
    assert all(figures[name] > 0 for name in ("csv_ratio", "xlsx_ratio", "summary_ms", "drilldown_ms", "peak_rss_mb"))
