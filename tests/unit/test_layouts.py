"""A reseller's own layout: refused with the place, and written as it asks."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from shared.documents import DocumentRefusedError, read_yaml
from shared.report import layout
from shared.report.layout import FIELDS, LAYOUT, parse_layout
from shared.report.layout_document import layout_document
from shared.steps import decide
from shared.steps.drafting import statement_documents
from tests.builders import CYCLE
from tests.pump import World, go_live, small_month
from tests.stated import ODD, document, line, statement

ERP = """
reseller: aurora
columns:
  - {header: Kunde, field: customer_name_en}
  - {header: 类型, constant: "=COMMISSION"}
  - {header: Bis, field: last_day}
  - {header: Betrag, field: amount}
delimiter: ";"
decimal: ","
dates: DD.MM.YYYY
encoding: gb18030
"""


def written(text: str, **more: Any) -> bytes:
    """A statement in a layout."""
    found = parse_layout(layout_document(read_yaml(text.encode(), "layout"), "layout", ["aurora"]))
    assert found is not None
    return layout.write(document(**more), found)


def test_a_csv_has_the_columns_marks_dates_and_encoding_that_were_asked_for() -> None:
    rows = written(ERP).decode("gb18030").splitlines()

    assert rows[:2] == ["Kunde;类型;Bis;Betrag", "Acme;'=COMMISSION;30.06.2025;60,00"]
    assert rows[2].endswith(";30.06.2025;-10,00")
    assert rows[2].startswith("\"'" + ODD[:4])


def test_an_xlsx_has_numbers_and_no_formulas() -> None:
    body = written(ERP.replace('decimal: ","', "format: xlsx"))
    [sheet] = openpyxl.load_workbook(io.BytesIO(body))

    assert [cell.value for cell in sheet[2]] == ["Acme", "=COMMISSION", "30.06.2025", 60]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row} == {"s", "n"}


def test_every_field_can_be_asked_for() -> None:
    columns = "\n".join(f"  - {{header: {one}, field: {one}}}" for one in FIELDS)
    header, first, *_ = written(f"reseller: aurora\ncolumns:\n{columns}").decode().splitlines()

    assert header.split(",") == list(FIELDS)
    assert len(first.split(",")) == len(FIELDS)
    assert first.startswith("2025-06,2025-06-01,2025-06-30,2025-07-04,final,aurora,Aurora Ltd,极光网络科技有限公司")


def test_a_long_amount_is_written_exactly() -> None:
    stated = statement(line("acme", "ecs", "1234567890123456.78"))

    assert "1234567890123456,78" in written(ERP, statement=stated).decode("gb18030")


@pytest.mark.parametrize(
    ("change", "place", "problem"),
    [
        (("field: amount", "field: amuont"), "columns.3.field, line 6", "'amuont' is none; there are: cycle"),
        (("Betrag, field: amount", "Kunde, field: amount"), "columns.3.header", "'Kunde' stands here a second time"),
        (("field: amount", "field: amount, constant: x"), "columns.3", "give either a field or a constant"),
        ((", field: amount", ""), "columns.3", "give either a field or a constant"),
        (('decimal: ","', 'decimal: ";"'), "decimal", "expected '.' or ','"),
        (('delimiter: ";"', 'delimiter: ","'), "decimal", "is the delimiter as well"),
        (("DD.MM.YYYY", "D.M.Y"), "dates", "'D.M.Y' is none; there are: YYYY-MM-DD"),
        (("gb18030", "latin-1"), "encoding", "'latin-1' is none; there are: utf-8"),
        (("reseller: aurora", "reseller: nobody"), "reseller", "'nobody' is none; there are: aurora"),
        (("Kunde,", '"a\\nb",'), "columns.0", "control character"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(change: tuple[str, str], place: str, problem: str) -> None:
    from shared.documents import reading

    with (
        pytest.raises(DocumentRefusedError) as refused,
        reading(ERP.strip().replace(*change).encode(), "layout") as data,
    ):
        layout_document(data, "layout", ["aurora"])

    assert any(place in at and problem in says for at, says in refused.value.findings), refused.value.findings


def test_a_layout_in_force_is_published_beside_the_others_until_it_ends(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    for text, is_there in ((ERP, True), (ERP + "ends: true\n", False), (ERP, True)):
        asked = {"name": "layout", "text": text}
        [proposal] = decide.propose(world.services, LAYOUT, asked, by="paula", why="", at=world.at).proposals
        world.approve(proposal)
        [draft] = statement_documents(world.services, "aurora", CYCLE)
        assert (draft.layout is not None) == is_there
    world.lock()

    [key] = [one for one in world.keys("records", f"statements/{CYCLE}/") if one.endswith("-own.csv")]
    assert world.cloud.records.objects[key].decode("gb18030").splitlines()[1].endswith(";60,00")
    published = world.month().published
    assert published is not None
    assert key in [one["key"] for one in published.body["files"]]
