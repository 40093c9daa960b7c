"""`clearbook compare`: a team's spreadsheet beside the settlement, and what is refused of one."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import yaml

from infra.clearbook import beside, sheets
from infra.clearbook.main import main
from shared.errors import ClearbookError
from tests.builders import ACME, ATLAS, CYCLE, DAYS, P1, agreement, item, parties
from tests.pump import World, small_month

Run = Callable[..., Any]
MAP: dict[str, Any] = {"columns": {"customer": "Customer", "product": "Product", "amount": "Commission"}}
HEADER = ("Customer", "Product", "Commission")
RIGHT = (("acme", "ecs", "60"), ("atlas", "ecs", "99.999"), ("acme", "oss", "0.01"))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Acme earns 60 on ecs and a capped 5 on oss; atlas 100; a line of rds is in a case, one of cdn excluded."""
    world = World(tmp_path_factory.mktemp("compare") / "scratch")
    more = [("40.00", "oss"), ("7.00", "rds"), ("8.00", "cdn")]
    small_month(
        world, [(P1, DAYS[2], item(ACME, pretax, product, InstanceID=f"i-{product}")) for pretax, product in more]
    )
    world.decide_parties(parties())
    document = agreement("aurora", "10", products=("ecs", "oss"))
    document["rules"][1] |= {"earn": {"percent": "20"}, "cap": {"scope": "customer", "amount": "5.00"}}
    document["exclude"] = [{"when": "product_code == 'cdn'", "because": "cdn earns nothing"}]
    world.decide_agreement(document)
    world.decide_agreement(agreement("borealis"))
    world.final()
    return world


def as_csv(path: Path, rows: Sequence[Sequence[object]], delimiter: str = ",") -> Path:
    path.write_text("\n".join(delimiter.join(map(str, row)) for row in rows) + "\n", encoding="utf-8")
    return path


def as_xlsx(path: Path, rows: Sequence[Sequence[object]], title: str = "Sheet") -> Path:
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(list(row))
    book.save(path)
    return path


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    monkeypatch.setattr(beside, "services", lambda _: world.services)

    def run(file: Path, map_: dict[str, Any] = MAP, *options: str, status: int = 0) -> Any:
        named = tmp_path / "map.yaml"
        named.write_text(yaml.safe_dump(map_, allow_unicode=True), encoding="utf-8")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["compare", str(file), "--map", str(named), "--cycle", CYCLE, "--reseller", "aurora", *options])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == status, out + err
        return json.loads(out) if "--json" in options else out + err

    return run


def said(answer: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (one["how"], one.get("customer", ""), one.get("product", ""), one["difference"]) for one in answer["mismatches"]
    ]


@pytest.mark.parametrize("write", [as_csv, as_xlsx], ids=["csv", "xlsx"])
def test_every_mismatch_is_listed_with_how_ours_came_about(
    run: Run, tmp_path: Path, write: Callable[..., Path]
) -> None:
    rows = [HEADER, ("acme", "ecs", "61"), ("acme", "cdn", "0.80"), ("nobody", "ecs", "1.5"), ("acme", "rds", "0.7")]
    answer = run(write(tmp_path / "file", rows), MAP, "--json", "-")

    assert said(answer) == [
        ("missing there", "atlas", "ecs", "100"),
        ("missing there", "acme", "oss", "8"),
        ("missing there", "acme", "", "-3"),
        ("missing here", "nobody", "ecs", "-1.5"),
        ("amount differs", "acme", "ecs", "-1"),
        ("amount differs", "acme", "cdn", "-0.8"),
        ("missing here", "acme", "rds", "-0.7"),
    ]
    because = [one["because"] for one in answer["mismatches"]]
    assert because == [
        ["rule sells-ecs of version 1: 10 % of 1,000 is 100"],
        ["rule sells-oss of version 1: 20 % of 40 is 8"],
        ["-3 taken off by the cap of rule sells-oss"],
        ["nothing of it is in the settlement"],
        ["rule sells-ecs of version 1: 10 % of 600 is 60 on 3 lines"],
        ["8 excluded: cdn earns nothing"],
        ["7 held by a case no_rule: no rule of agreement/product aurora-2025/rds matches"],
    ]
    assert (answer["theirs"], answer["ours"], answer["unexplained"]) == ("64", "165", "0")


def test_what_agrees_at_the_places_is_rounding_and_nothing_is_left_unexplained(run: Run, tmp_path: Path) -> None:
    rows = [HEADER, ("acme", "ecs", "60"), ("atlas", "ecs", "99.999"), ("acme", "oss", "8"), ("acme", "", "-3")]
    file = as_csv(tmp_path / "a.csv", rows)
    exact = run(file, MAP, "--json", "-")
    assert said(exact) == [("amount differs", "atlas", "ecs", "0.001")]

    answer = run(file, {**MAP, "places": 2}, "--json", "-")
    assert (answer["mismatches"], answer["rounding"], answer["unexplained"]) == ([], "0.001", "0")
    assert "no mismatch" in run(file, {**MAP, "places": 2})


def test_a_team_s_own_form_is_read_by_its_map(run: Run, tmp_path: Path) -> None:
    rows = [
        ("Commission June",),
        (),
        ("Kunde", "Produkt", "Provision"),
        ("ACME Ltd", "ecs", "60,00"),
        ("Atlas", "ecs", "1.100,00"),
        ("Summe", "", "1.160,00"),
    ]
    map_ = {
        "columns": {"customer": "Kunde", "product": "Produkt", "amount": "Provision"},
        "header": 3,
        "delimiter": ";",
        "decimal": ",",
        "thousands": ".",
        "skip": [{"column": "Kunde", "is": ["Summe"]}],
        "names": {"customer": {"ACME Ltd": "acme", "Atlas": "atlas"}},
    }
    answer = run(as_csv(tmp_path / "a.csv", rows, ";"), map_, "--json", "-")

    assert answer["rows_skipped"] == 1
    assert said(answer)[0] == ("amount differs", "atlas", "ecs", "-1000")
    assert answer["mismatches"][0]["rows"] == [5]


@pytest.mark.parametrize(
    ("cell", "expected"),
    [("1.204,10", "1204.10"), ("-1.204.100", "-1204100"), ("12,5", "12.5"), ("1204", "1204"),
     ("1.5", None), ("1204.10", None), ("1,204.10", None), ("12.04,1", None), ("(5)", None)],
)  # fmt: skip
def test_separators_are_those_of_the_map_and_never_guessed(tmp_path: Path, cell: str, expected: str | None) -> None:
    map_ = sheets.MapModel.model_validate({**MAP, "delimiter": ";", "decimal": ",", "thousands": "."})
    file = as_csv(tmp_path / "a.csv", [HEADER, ("acme", "ecs", cell)], ";")
    if expected is not None:
        assert [row.amount for row in sheets.read_sheet(file, map_).rows] == [Decimal(expected)]
        return
    with pytest.raises(ClearbookError, match="is not an amount"):
        sheets.read_sheet(file, map_)
    with pytest.raises(ClearbookError, match="is not an amount"):
        sheets.read_sheet(as_csv(tmp_path / "b.csv", [HEADER, ("acme", "ecs", "1.204")], ";"),
                          map_.model_copy(update={"thousands": ""}))  # fmt: skip


def test_entities_in_a_workbook_do_not_grow(run: Run, tmp_path: Path) -> None:
    good, bad = as_xlsx(tmp_path / "good.xlsx", [HEADER, *RIGHT]), tmp_path / "bad.xlsx"
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            body = source.read(info)
            if b">acme<" in body:
                head, _, document = body.decode().rpartition("?>")
                laughing = document.replace(">acme<", ">&l11;<", 1)
                body = f"{head}{'?>' if head else ''}<!DOCTYPE x [<!ENTITY l0 'haha'>{laughs}]>{laughing}".encode()
            target.writestr(info.filename, body)
    assert "amplification" in run(bad, status=1)


def test_lines_are_compared_by_account_and_instance_and_rows_of_one_key_added_up(run: Run, tmp_path: Path) -> None:
    map_ = {"columns": {"account": "A", "instance": "I", "amount": "C", "basis": "B"}, "sheet": "June"}
    rows = [("A", "I", "C", "B"), (ACME, "i-1", 20, 200), (ACME, "i-1", 40, 400), (ATLAS, "i-1", 100, 999)]
    answer = run(as_xlsx(tmp_path / "a.xlsx", rows, "June"), map_, "--json", "-")

    assert [(one["how"], one["account"], one["instance"]) for one in answer["mismatches"]] == [
        ("missing there", ACME, "i-oss"),
        ("missing there", "", ""),
        ("basis differs", ATLAS, "i-1"),
    ]
    assert (answer["mismatches"][2]["their_basis"], answer["mismatches"][2]["our_basis"]) == ("999", "1000")


def test_what_is_printed_and_written_runs_nowhere(run: Run, tmp_path: Path) -> None:
    rows = [HEADER, ("=cmd|'/c calc'!A1", "[red]x\x1b[2J", "1")]
    out = tmp_path / "out.csv"
    printed = run(as_csv(tmp_path / "a.csv", rows), MAP, "--lines", str(out))

    assert "\x1b" not in printed
    assert "[red]x" in printed
    assert "'=cmd" in out.read_text(encoding="utf-8-sig")
    assert "there 1, here 165, difference 164" in printed
    assert "rounding 0, unexplained 0" in printed


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (0.1, "0.1"),
        (0.1 + 0.2, "0.3"),
        (1204.1, "1204.1"),
        (100 / 3, "33.3333333333"),
        (60.12 * 3, "180.36"),
        (123456789012345, "123456789012345"),
        ("1204.1000000001", "1204.1000000001"),
    ],
)
def test_amounts_are_the_digits_that_a_spreadsheet_shows(tmp_path: Path, cell: object, expected: str) -> None:
    file = as_xlsx(tmp_path / "a.xlsx", [HEADER, ("acme", "ecs", cell)])
    [row] = sheets.read_sheet(file, sheets.MapModel.model_validate(MAP)).rows

    assert row.amount == Decimal(expected)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([HEADER, ("acme", "ecs", "=1+1")], "row 2: '=1+1' is not an amount"),
        ([HEADER, ("acme", "ecs", "")], "row 2: has no amount"),
        ([HEADER, ("acme", "ecs", "1,5")], "row 2: has 4 cells, and the header has 3"),
        ([HEADER, ("acme", "ecs", "NaN")], "is not an amount"),
        ([HEADER, ("", "", "5")], "row 2: names no customer or product"),
        ([("Customer", "Commission")], "Product: is not in row 1, which has Customer, Commission"),
        ([("Customer", "Product", "Commission", "Product")], "is there more than once"),
        ([HEADER, ('"acme', "ecs", "1")], "cannot be read"),
    ],
)
def test_rows_that_cannot_be_read_are_refused_with_their_place(
    run: Run, tmp_path: Path, rows: Sequence[Sequence[object]], problem: str
) -> None:
    assert problem in run(as_csv(tmp_path / "a.csv", rows), status=1)


def test_an_xlsx_file_is_refused_where_it_lost_digits_or_was_not_calculated(run: Run, tmp_path: Path) -> None:
    map_ = {"columns": {"account": "A", "amount": "C"}}
    lost = as_xlsx(tmp_path / "a.xlsx", [("A", "C"), (1223491473667452, 1)])
    assert "is a number of more than 15 digits" in run(lost, map_, status=1)
    formula = as_xlsx(tmp_path / "b.xlsx", [("A", "C"), (ACME, "=1+1")])
    assert "a formula that was never calculated" in run(formula, map_, status=1)
    assert "has no sheet 'X'" in run(formula, {**map_, "sheet": "X"}, status=1)


def test_what_is_no_spreadsheet_or_unpacks_to_too_much_is_refused(run: Run, tmp_path: Path) -> None:
    bomb, odd, gbk = tmp_path / "bomb.xlsx", tmp_path / "odd.xlsx", tmp_path / "gbk.csv"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/worksheets/sheet1.xml", b"\0" * (65 * 1024**2))
    assert "which no spreadsheet of its size does" in run(bomb, status=1)
    with zipfile.ZipFile(odd, "w") as archive:
        archive.writestr("a.txt", "x")
    assert "is no readable XLSX file" in run(odd, status=1)
    odd.write_bytes(b"PK\x03\x04 and no more")
    assert "is no readable XLSX file" in run(odd, status=1)
    gbk.write_bytes("Customer,Product,Commission\n云,ecs,1\n".encode("gbk"))
    assert "it may be GBK" in run(gbk, status=1)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"columns": {"amount": "C"}}, "name at least one of line, customer"),
        ({"columns": {"customer": "C"}}, "columns.amount"),
        ({"decimal": ",", "thousands": ","}, "is the decimal separator, too"),
        ({"colums": {}}, "is not a known name here"),
        ({"skip": [{"column": "Nope", "is": ["x"]}]}, "skip.0: Nope: is not in row 1"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused(run: Run, tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    assert problem in run(as_csv(tmp_path / "a.csv", [HEADER, *RIGHT]), {**MAP, **change}, status=1)


def test_rows_and_columns_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    map_ = sheets.MapModel.model_validate(MAP)
    monkeypatch.setattr(sheets, "ROWS_MAX", 3)
    many = as_xlsx(tmp_path / "a.xlsx", [HEADER, *RIGHT])
    with pytest.raises(ClearbookError, match="has more than 3 rows"):
        sheets.read_sheet(many, map_)
    wide = as_csv(tmp_path / "a.csv", [[*HEADER, *("x",) * 1000]])
    with pytest.raises(ClearbookError, match="has 1003 columns"):
        sheets.read_sheet(wide, map_)
    monkeypatch.setattr(sheets, "FILE_MAX", 10)
    with pytest.raises(ClearbookError, match="has more than 10 bytes"):
        sheets.read_sheet(many, map_)
