"""Bill lines as rows: only what differs is written, and nothing that is there is lost."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from infra.provision.tables import INDEXES, TABLES
from shared.access.scope import Scope
from shared.bill import difference, rows
from shared.bill.difference import CHANGED, REMOVED
from shared.bill.line import COLUMNS
from shared.bill.lookup import BillLines
from shared.columnar import connect
from shared.cycle import Cycle
from shared.parties.document import party_document
from shared.parties.parties import parse_parties
from shared.ports import Key, Value
from tests.bill_parts import Line, bill_line, write_part
from tests.builders import ACME, parties
from tests.fakes import MemoryRows
from tests.pump import World, go_live, small_month

KEY_DIGITS = 32
Written = list[tuple[Key, dict[str, Value]]]


def changes(folder: Path, new: Sequence[Line], old: Sequence[Line] | None, seal: int) -> Written:
    """What is written for a day whose lines were `old` and are `new`."""
    new_part, trace = write_part(folder, f"new-{seal}", new)
    old_part = None if old is None else write_part(folder, f"old-{seal}", old)[0]
    with connect(folder) as connection:
        return list(rows.changed(connection, new_part, old_part, trace, lambda page: f"raw/page-{page}", seal))


def put(store: MemoryRows, written: Written) -> int:
    return store.put_newer(rows.TABLE, written, rows.STANDING)


def lines_of(store: MemoryRows) -> dict[str, Any]:
    return {str(row["line_id"]): row for row in store.tables[rows.TABLE].values()}


def test_a_row_has_every_column_its_line_has_and_where_it_comes_from(tmp_path: Path) -> None:
    full = {
        name: "2025-06-10" if kind == "DATE" else "1.5" if kind.startswith("DECIMAL") else f"the {name}"
        for name, kind in COLUMNS.items()
    }
    [(key, row)] = changes(tmp_path, [full], None, 7)

    of_line = {name: row[name] for name in COLUMNS}
    assert {name: value for name, value in of_line.items() if not COLUMNS[name].startswith("DECIMAL")} == {
        name: value for name, value in full.items() if not COLUMNS[name].startswith("DECIMAL")
    }
    assert (row["pretax"], row["usage"]) == ("1.5000000000", "1.500000000000000000")
    assert set(row) - set(COLUMNS) == {"account_key", "instance_key", "source", "source_row", "seal", "standing"}
    assert (row["source"], row["source_row"], row["seal"]) == ("raw/page-1", 0, 7)
    [(name, value)] = key
    assert (name, len(str(value))) == ("line", KEY_DIGITS)


def test_what_a_line_does_not_have_is_no_column(tmp_path: Path) -> None:
    [(_, row)] = changes(tmp_path, [bill_line("a", instance_id=None)], None, 1)

    assert {"instance_id", "instance_key", "zone", "tax"}.isdisjoint(row)
    assert row["account_key"]


def test_only_lines_that_are_new_or_differ_are_written(tmp_path: Path) -> None:
    old = [bill_line(f"line-{n}") for n in range(1000)]
    new = [bill_line(f"line-{n}", pretax="9.99") if n % 100 == 0 else bill_line(f"line-{n}") for n in range(1000)]
    written = changes(tmp_path, [*new, bill_line("new")], old, 2)

    assert sorted(str(row["line_id"]) for _, row in written) == sorted(
        ["new", *(f"line-{n}" for n in range(0, 1000, 100))]
    )


def test_parts_compare_whichever_columns_they_were_written_with(tmp_path: Path) -> None:
    lines = [bill_line("a"), bill_line("b", zone="z-1"), bill_line("c", repair="rule/1")]
    without = {name: type_ for name, type_ in COLUMNS.items() if name != "repair"}
    old, _ = write_part(tmp_path, "old", lines, {**without, "digest": "VARCHAR"})
    new, trace = write_part(tmp_path, "new", [*lines, bill_line("d")])
    with connect(tmp_path) as connection:
        written = list(rows.changed(connection, new, old, trace, lambda page: "raw/page", 2))
        back = list(difference.lines(connection, [str(new)], [str(old)]))

    assert sorted(str(row["line_id"]) for _, row in written) == ["c", "d"]
    assert [(one.how, one.line["line_id"], one.before, one.after) for one in back if one.how == CHANGED] == [
        (CHANGED, "c", {"repair": "rule/1"}, {})
    ]
    assert [(one.how, one.line["line_id"]) for one in back if one.how != CHANGED] == [(REMOVED, "d")]


def test_a_line_that_is_gone_says_so_and_is_found_where_it_was(tmp_path: Path) -> None:
    [(key, there)] = changes(tmp_path, [bill_line("a")], None, 1)
    [(gone_key, gone)] = changes(tmp_path, [], [bill_line("a")], 2)

    assert gone_key == key
    kept = ("line_id", "payer", "account", "cycle", "date", "instance_id", "account_key", "instance_key")
    assert {name: gone[name] for name in kept} == {name: there[name] for name in kept}
    assert set(gone) - set(kept) == {"gone", "seal", "standing"}
    assert (gone["gone"], gone["seal"]) == (True, 2)


def test_the_indexes_find_a_row_by_what_the_lookups_ask_for(tmp_path: Path) -> None:
    [(key, row)] = changes(tmp_path, [bill_line("a", account="77", instance_id="i/1")], None, 1)

    shard = str(key[0][1])[0]
    assert row["account_key"] == rows.account_key("77", shard)
    assert row["instance_key"] == rows.instance_key("77", "i/1")
    assert INDEXES[rows.TABLE] == rows.INDEXES
    assert {column for columns in rows.INDEXES.values() for column in columns} <= set(row)
    assert [name for name, _ in TABLES[rows.TABLE]] == ["line"]


def test_rows_of_one_account_spread_evenly_over_its_shards(tmp_path: Path) -> None:
    written = changes(tmp_path, [bill_line(f"line-{n}") for n in range(3200)], None, 1)

    count: dict[object, int] = {}
    for _, row in written:
        count[row["account_key"]] = count.get(row["account_key"], 0) + 1
    assert set(count) == {rows.account_key(ACME, shard) for shard in rows.SHARDS}
    assert max(count.values()) < 2 * min(count.values())
    assert len({str(key[0][1])[:2] for key, _ in written}) == 256  # the table's own keys, too


def test_a_line_that_moved_to_another_date_is_there_whatever_is_written_first(tmp_path: Path) -> None:
    """Sources with ids of their own: gone from one part, new in another, one key, one seal."""
    before, after = bill_line("a", date="2025-06-10"), bill_line("a", date="2025-06-11")
    gone, new = changes(tmp_path, [], [before], 2), changes(tmp_path, [after], None, 2)

    for order in ([gone, new], [new, gone]):
        store = MemoryRows()
        put(store, changes(tmp_path, [before], None, 1))
        for written in order:
            put(store, written)
        assert lines_of(store)["a"]["date"] == "2025-06-11"
        assert "gone" not in lines_of(store)["a"]


def test_an_older_writer_that_comes_late_changes_nothing(tmp_path: Path) -> None:
    store = MemoryRows()
    first = changes(tmp_path, [bill_line("a")], None, 1)
    put(store, changes(tmp_path, [], [bill_line("a")], 2))
    assert put(store, first) == 0
    assert lines_of(store)["a"]["gone"] is True

    put(store, changes(tmp_path, [bill_line("a", pretax="3.00")], [], 3))
    assert (lines_of(store)["a"]["pretax"], "gone" in lines_of(store)["a"]) == ("3.0000000000", False)


def test_the_same_line_id_of_another_payer_or_cycle_is_another_row(tmp_path: Path) -> None:
    lines = [bill_line("a"), bill_line("a", payer="300"), bill_line("a", cycle="2025-05")]
    keys = set()
    for one in lines:
        [(key, _)] = changes(tmp_path, [one], None, 1)
        keys.add(key)
    assert len(keys) == 3


def test_a_month_that_came_in_is_looked_up_by_those_it_belongs_to(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    lookup, june = BillLines(world.cloud.rows), Cycle(2025, 6)
    document = parse_parties(party_document(parties(), "parties"))

    [day, *_] = whole = lookup.of_account(Scope.operator(), ACME, june).lines
    assert [line["account"] for line in whole] == [ACME] * len(whole)
    assert lookup.line(Scope.operator(), str(day["line_id"])).lines == (day,)
    mine = lookup.of_account(Scope.customer(document, "acme"), ACME, june)
    assert [line["line_id"] for line in mine.lines] == [line["line_id"] for line in whole]
    assert (mine.outside, {"pretax", "payer"} & set(mine.lines[0])) == ((), set())
    others = lookup.of_account(Scope.customer(document, "atlas"), ACME, june)
    assert (others.lines, others.outside_days) == ((), 30)
