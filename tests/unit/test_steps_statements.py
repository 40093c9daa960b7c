"""Statements and summaries of the small month: drafts, what was published, and what is read first."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from pypdf import PdfReader

from infra.clearbook import statement as commands
from shared.errors import BadInputError
from shared.ports import ObjectEvent
from shared.report import statements, summary
from shared.steps.drafting import statement_documents
from shared.steps.publish_statements import publish_statements
from shared.steps.summarising import month_summary
from tests.builders import ATLAS, CYCLE, DAYS, P2, item
from tests.pump import World, go_live, small_month
from tests.stated import ODD

NOW = "2025-07-04T02:00:00Z"


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    return world


def published(world: World, reseller: str = "aurora") -> dict[str, bytes]:
    """The statement files of a reseller's month by what their names end with."""
    stem = f"statements/{CYCLE}/{reseller}/{reseller}-2025-{world.month(reseller).settlement or '':.12}"
    return {key.removeprefix(stem): world.cloud.records.objects[key] for key in world.keys("records", stem)}


def test_a_month_is_published_in_every_format_and_language(world: World) -> None:
    world.lock()

    found = published(world)
    assert found.keys() == {".csv", ".json", ".xlsx", "-en.pdf", "-zh.pdf"}
    data = json.loads(found[".json"])
    said = "".join(one.extract_text() for one in PdfReader(io.BytesIO(found["-en.pdf"])).pages)
    assert (data["status"], data["total"]) == ("final", "160.00")
    assert "160.00 CNY" in said
    assert data["computed_by"][0]["version"] == 1


def test_a_draft_becomes_what_is_published_once_it_is_locked(world: World) -> None:
    [draft] = statement_documents(world.services, "aurora", CYCLE)
    world.lock()
    [final] = statement_documents(world.services, "aurora", CYCLE)

    assert draft.lock is None
    assert (draft.is_bill_final, draft.statement) == (True, final.statement)
    assert statements.files(final) == published(world)


def test_the_first_draft_of_a_month_can_be_read_before_its_bill_is_final(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.daily("2025-06-30")
    [draft] = statement_documents(world.services, "aurora", CYCLE)

    assert not draft.is_bill_final
    assert Decimal(draft.statement.total) > 0
    assert draft.made_at.isoformat() == "2025-06-29T15:59:00+00:00"


def test_who_is_no_reseller_and_what_is_not_settled_is_refused(world: World) -> None:
    with pytest.raises(BadInputError, match=r"'nobody' is none.*aurora, borealis"):
        statement_documents(world.services, "nobody", CYCLE)
    with pytest.raises(BadInputError, match="is not settled"):
        statement_documents(world.services, "aurora", "2025-01")


def test_a_file_that_is_missing_comes_back_as_it_was(world: World) -> None:
    world.lock()
    before = published(world)
    key = next(one for one in world.keys("records", "statements/") if one.endswith("-zh.pdf"))
    body = world.cloud.records.objects.pop(key)
    order = ObjectEvent("work", f"work/publish/{CYCLE}/aurora.json", world.now)

    assert publish_statements(world.services, order)["files"] != []
    assert world.cloud.records.objects[key] == body
    assert published(world) == before
    assert publish_statements(world.services, order)["files"] == []


def test_names_that_mean_something_to_a_typesetter_are_published_as_they_are(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    from tests.builders import parties

    document = parties()
    document["customers"][0]["name"] = {"en": ODD, "zh": "顶点"}
    go_live(world, document)
    world.final()
    world.lock("aurora")

    said = "".join(one.extract_text() for one in PdfReader(io.BytesIO(published(world)["-en.pdf"])).pages)
    assert "".join(ODD.split()) in "".join(said.split())


# -- the month's summary ------------------------------------------------------------------------------------------


def test_a_summary_says_what_is_payable_paid_and_open(world: World) -> None:
    world.lock("aurora")
    world.pay()
    found = month_summary(world.services, CYCLE, NOW)
    data = json.loads(summary.to_json(found))

    assert {(one.reseller, one.state, one.payable, one.paid, one.balance) for one in found.shares} == {
        ("aurora", "paid", Decimal(160), Decimal(160), Decimal(0)),
        ("borealis", "calculated", Decimal(15), Decimal(0), Decimal(0)),
    }
    assert data["sums"] == {"CNY": {"balance": "0", "paid": "160", "payable": "175", "tax": "0", "total": "175"}}
    assert [one.unexplained for one in found.compared] == [0]
    assert not found.is_final


def test_a_summary_lists_cases_by_kind_and_what_has_changed_since_the_run_before(world: World) -> None:
    world.bill(P2, DAYS[-1], item("2001", "50.00"), item(ATLAS, "1100.00"), item("9999", "7.00"))
    world.pull_again(1)
    found = month_summary(world.services, CYCLE, NOW)

    assert ("unmapped_account", 1, Decimal("7.00")) in [(one.kind, one.count, one.amount) for one in found.cases]
    [aurora] = [one for one in found.changes if one.reseller == "aurora"]
    assert (aurora.run_before, aurora.total, aurora.month_before) == (Decimal(160), Decimal(170), None)
    [changes] = [one for one in summary.page(found, "en").sections if one.title == "Changes"]
    assert [row.cells for row in changes.rows] == [
        ("Aurora (aurora)", "aurora-2025", "CNY", Decimal("170.00"), Decimal("160.00"), Decimal(10), "", "")
    ]


def test_a_summary_says_the_same_in_each_format_and_language(world: World) -> None:
    found = month_summary(world.services, CYCLE, NOW)
    made = summary.files(found)

    assert made == summary.files(month_summary(world.services, CYCLE, NOW))
    assert made.keys() == {".json", ".xlsx", "-en.pdf", "-zh.pdf"}
    book = openpyxl.load_workbook(io.BytesIO(made[".xlsx"]))
    for sheet, end, kind in (("Summary", "-en.pdf", "Totals"), ("汇总", "-zh.pdf", "总计")):
        said = "".join(one.extract_text() for one in PdfReader(io.BytesIO(made[end])).pages)
        rows = list(book[sheet].values)
        start = next(number for number, row in enumerate(rows) if row[0] == kind)
        assert rows[start + 2][:4] == ("CNY", 175, 0, 175)
        assert kind in said
        assert "175.00 CNY" in said


# -- the commands -------------------------------------------------------------------------------------------------


def test_the_commands_write_files_and_say_what_they_come_to(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands, "services", lambda home: world.services)
    monkeypatch.setattr(commands, "now", lambda home: world.now)
    commands.write_statements(CYCLE, "aurora", ["csv", "pdf"], tmp_path / "out", None, None)
    commands.write_summary(CYCLE, ["json"], tmp_path / "out", None, None)
    said = capsys.readouterr().out

    ends = sorted(one.name.partition("-draft")[2] or one.name for one in (tmp_path / "out").iterdir())
    assert ends == ["-en.pdf", "-zh.pdf", ".csv", f"summary-{CYCLE}.json"]
    assert "DRAFT, not locked: total 160.00, payable 160.00, to be transferred 160.00 CNY" in said
    assert "Payable: 175.00 CNY (Paid 0.00 · Open balance 0.00)" in said
    with pytest.raises(BadInputError, match="'docx' is none"):
        commands.write_summary(CYCLE, ["docx"], tmp_path, None, None)
