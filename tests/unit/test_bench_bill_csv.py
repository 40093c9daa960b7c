"""The long bill file that is measured with: as long as asked for, exact, and of a form that is read."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path

from infra.clearbook.bench.bill_csv import Written, write_classic
from shared.bill import formats


def written(folder: Path, lines: int, pool: int) -> tuple[Written, list[dict[str, str]]]:
    path = folder / "bill.csv"
    about = write_classic(path, lines, pool=pool)
    with path.open(encoding="utf-8", newline="") as file:
        return about, list(csv.DictReader(file))


def test_the_file_has_as_many_lines_as_asked_for_and_the_sums_it_tells(tmp_path: Path) -> None:
    about, rows = written(tmp_path, 1_234, 400)

    assert len(rows) == about.lines == 1_234
    assert sum(Decimal(row["原价"]) for row in rows) == about.gross
    assert sum(Decimal(row["应付金额"]) for row in rows) == about.pretax
    assert formats.recognise(list(rows[0]), "bill.csv").name == "classic-zh"
    assert {row["账号ID"] for row in rows} == {about.account}


def test_repeated_rows_differ_in_key_instance_and_amounts_and_keep_their_equations(tmp_path: Path) -> None:
    _, rows = written(tmp_path, 1_000, 400)

    assert len({row["主键"] for row in rows}) == len(rows)
    assert len({row["实例ID"] for row in rows}) > 200
    for row in rows:
        amounts = {name: Decimal(row[name]) for name in row if name in ("原价", "优惠金额", "优惠券抵扣", "应付金额")}
        assert amounts["原价"] - amounts["优惠金额"] - amounts["优惠券抵扣"] == amounts["应付金额"]
        assert all("E" not in row[name] and not row[name].endswith(".") for name in amounts)
    assert any(Decimal(row["应付金额"]) < 0 for row in rows), "refunds"
    assert max(len(row["应付金额"].partition(".")[2]) for row in rows) == 10


def test_one_request_makes_one_content(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"

    write_classic(first, 700, pool=300)
    write_classic(second, 700, pool=300)

    assert first.read_bytes() == second.read_bytes()


def test_a_longer_file_begins_as_the_shorter_one_of_the_same_bill(tmp_path: Path) -> None:
    _, rows = written(tmp_path, 300, 300)
    again, _ = written(tmp_path, 600, 300)

    with (tmp_path / "bill.csv").open(encoding="utf-8", newline="") as file:
        repeated = list(csv.DictReader(file))
    assert [{**row, "主键": ""} for row in repeated[:300]] == [{**row, "主键": ""} for row in rows]
    assert again.lines == 600
    assert b'""' not in (tmp_path / "bill.csv").read_bytes().splitlines()[1]
