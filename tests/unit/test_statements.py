"""Statements as files: what each format says is the same, and nothing in it runs or depends on the machine."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from pypdf import PdfReader

from shared.agreement import words
from shared.report import statements
from shared.report.cells import BOM
from shared.report.language import LANGUAGES, figure, moment, month
from shared.report.statements import Document, cause, page
from shared.report.terms import terms
from tests.stated import AT, ODD, RICH, document, line, statement, version


def rich(*, is_draft: bool = False, **more: Any) -> Document:
    """A statement with every part: 1094.10 and 6 % tax, 250.50 carried, 10 % withheld."""
    stated = statement(
        line("", "", "-55.00", "holdback", ""),
        line("acme", "ecs", "1234.56"),
        line("acme", "ecs", "-234.56", "cap"),
        line("acme", "oss", "60.00"),
        line("atlas", "oss", "-10.00", "adjustment"),
        line("atlas", "rds_" + "x" * 60, "99.10"),
        tax="65.65",
    )
    adjusted = {
        "agreement": "aurora-2025",
        "cycle": "2025-05",
        "lines": 4,
        "amount": "-10.004375",
        "because": "due less posted in 0c4007b4d127: other bill; refunds of 2025-06",
    }
    given = {"carried": Decimal("250.50"), "agreements": [version(**RICH)], "adjusted": [adjusted]}
    return document(stated, is_draft=is_draft, **{**given, **more})


def text_of(body: bytes) -> str:
    """What a PDF says, page after page, without the spaces that setting adds."""
    said = "\n".join(one.extract_text() for one in PdfReader(io.BytesIO(body)).pages)
    return said.replace("\u200b", "")


def solid(text: str) -> str:
    """A text without any space: a typesetter breaks lines, and sets some between Chinese and Latin."""
    return "".join(text.split())


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_pdf_says_every_figure_that_the_json_says(language: str) -> None:
    one = rich()
    said, data = text_of(statements.to_pdf(one, language)), json.loads(statements.to_json(one))

    for name in ("total", "tax", "payable", "balance", "transfer"):
        assert figure(data[name], 2) in said, name
    assert (data["balance"], data["withheld"], data["transfer"]) == ("1410.25", "141.03", "1269.22")
    for each in data["lines"]:
        assert figure(each["amount"], 2) in said
    assert solid(f"{data['settlement']}") in solid(said)
    assert solid(data["chain_head"]) in solid(said)


def test_the_first_page_says_what_it_comes_to() -> None:
    [first, *_] = PdfReader(io.BytesIO(statements.to_pdf(rich(), "en"))).pages
    said = first.extract_text()

    assert "Commission statement" in said
    assert "1,159.75 CNY" in said
    assert "1,269.22 CNY" in said


def test_chinese_can_be_read_out_of_a_pdf() -> None:
    said = solid(text_of(statements.to_pdf(rich(), "zh")))

    for expected in ("佣金结算单", "定稿", "极光网络科技有限公司", "江河云服务有限公司", "顶点贸易(acme)", "2025年6月",
                     "税额6%", "被调整账期", "账单变化", "云服务器ECS"):  # fmt: skip
        assert expected in said


@pytest.mark.parametrize(("language", "stamp"), [("en", "DRAFT"), ("zh", "草稿")])
def test_a_draft_says_so_on_every_page(language: str, stamp: str) -> None:
    draft = rich(is_draft=True, statement=statement(*(line("acme", f"p-{n}", "1.00") for n in range(90))))
    pages = PdfReader(io.BytesIO(statements.to_pdf(draft, language))).pages

    assert len(pages) > 2
    assert all(stamp in solid(one.extract_text()) for one in pages)
    assert json.loads(statements.to_json(draft))["status"] == "draft"
    assert json.loads(statements.to_json(draft))["chain_head"] is None


def test_what_is_no_draft_never_says_draft() -> None:
    assert "DRAFT" not in text_of(statements.to_pdf(rich(), "en"))


def test_text_from_outside_is_never_markup_and_never_a_formula() -> None:
    names = {"acme": {"en": ODD, "zh": ODD}}
    one = rich(customer_names=names, reseller_names={"en": ODD}, operator={"en": "#panic()"})
    said = text_of(statements.to_pdf(one, "en"))
    book = openpyxl.load_workbook(io.BytesIO(statements.to_xlsx(one)))

    assert solid(ODD) in solid(said)
    assert "#panic()" in said
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert any(cell.value == ODD for cell in cells)
    assert not [cell for cell in cells if cell.data_type == "f"]
    evil = document(statement(line("=cmd", "+sum", "1.00", rule="@x")))
    [row] = csv.DictReader(io.StringIO(statements.to_csv(evil).decode().removeprefix(BOM)))
    assert (row["customer"], row["product"], row["rule"]) == ("'=cmd", "'+sum", "'@x")


def test_amounts_in_a_workbook_are_numbers_and_add_up() -> None:
    one = rich()
    _, *lines, whole = openpyxl.load_workbook(io.BytesIO(statements.to_xlsx(one)))["Lines 明细"].values

    assert sum(Decimal(str(row[-1])) for row in lines) == Decimal(str(whole[-1])) == Decimal("1094.10")
    long = document(statement(line("acme", "ecs", "1234567890123456.78")))
    _, row, _ = openpyxl.load_workbook(io.BytesIO(statements.to_xlsx(long)))["Lines 明细"].values
    assert row[-1] == "1234567890123456.78"


def test_the_same_statement_is_the_same_bytes_in_any_process_and_zone() -> None:
    code = (
        "import hashlib\nfrom shared.report import statements\nfrom tests.unit.test_statements import rich\n"
        "print({end: hashlib.sha256(body).hexdigest() for end, body in statements.files(rich()).items()})"
    )
    root = Path(__file__).parents[2]
    other = {"TZ": "Pacific/Kiritimati", "LC_ALL": "C", "PYTHONHASHSEED": "7", "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", code]
    first = subprocess.run(command, env={**os.environ, **other}, cwd=root, capture_output=True, check=True)
    here = {end: hashlib.sha256(body).hexdigest() for end, body in statements.files(rich()).items()}
    assert first.stdout.decode().strip() == str(here)


def test_a_long_statement_shows_its_first_lines_and_says_where_the_others_are() -> None:
    lines = [line(f"c-{n:03d}", "ecs", "1.00") for n in range(500)]
    one = page(document(statement(*lines)), "en")
    [shown] = [section for section in one.sections if section.title == "Lines"]
    [customers] = [section for section in one.sections if section.title == "By customer"]

    assert sum(row.style == "plain" for row in shown.rows) == statements.PDF_LINES_MAX
    assert shown.notes == [
        "The first 400 of 500 lines. All of them are in the XLSX, CSV and JSON files of this statement."
    ]
    assert customers.rows[-2].cells == ("460 others", 1380, Decimal("460.00"))
    assert customers.rows[-1].cells == ("Total", 1500, Decimal("500.00"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sum_on_a_page_is_the_total(language: str) -> None:
    one = page(rich(), language)

    for section in one.sections[:2]:
        plain = [row.cells[-1] for row in section.rows if row.style == "plain"]
        assert sum(Decimal(str(cell)) for cell in plain) == section.rows[-1].cells[-1] == Decimal("1094.10")


@pytest.mark.parametrize(
    ("carried", "transfer", "note"),
    [
        ("-2000", "0.00", "The balance is owed to the operator and carried forward."),
        ("-1100", "0.00", "Below the minimum of 100.00 CNY: carried forward."),
        ("0", "1043.77", "Paid once an invoice has been entered."),
    ],
)
def test_a_statement_says_what_becomes_of_the_balance(carried: str, transfer: str, note: str) -> None:
    one = rich(carried=Decimal(carried))

    assert one.amounts["transfer"] == transfer
    assert note in page(one, "en").notes


def test_both_languages_say_as_many_terms_with_the_same_figures() -> None:
    one = version(**RICH)
    english, chinese = (terms(one, language) for language in LANGUAGES)

    def figures(found: list[tuple[str, str, str]]) -> list[list[str]]:
        return [sorted(c for c in "".join(term) if c.isdigit()) for term in found]

    assert len(english) == len(words.facts(one)) - 1  # whose statement it is stands above
    assert figures(chinese) == figures(english)
    assert ("规则 compute", "每客户封顶", "3,000.00") in chinese


def test_causes_of_adjustments_are_said_in_both_languages() -> None:
    because = "due less posted in 0c4007b4d127: other bill; refunds of 2025-06; something new"

    assert cause(because, "zh") == (
        "应计金额减已入账金额 (所属结算 0c4007b4d127)：账单变化；退款账期 2025-06；something new"
    )
    assert cause("typed by hand", "zh") == "typed by hand"
    assert cause("due less posted", "en") == "what is due less what was posted"


def test_figures_months_and_times_as_people_write_them() -> None:
    assert [figure(one, 2) for one in ("0", "-0.50", "1234567.125", "-1000")] == [
        "0.00", "-0.50", "1,234,567.125", "-1,000.00",
    ]  # fmt: skip
    assert figure("12345678901234567890.1234567890") == "12,345,678,901,234,567,890.123456789"
    assert [month("2025-06", one) for one in LANGUAGES] == ["June 2025", "2025年6月"]
    assert moment(AT, "en") == "4 July 2025, 17:30 Beijing time"
