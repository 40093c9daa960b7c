"""`clearbook bill`: files in, what was said, what differs, over the small month and a generated month of files."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.bills import differing, importing, judging, showing
from infra.clearbook.main import main
from shared.bill import formats
from shared.bill.snapshot import stream_of
from shared.cycle import SHANGHAI
from shared.errors import BadInputError
from shared.ports import Version
from shared.steps import ingest_file
from tests.bill_files import write_all
from tests.builders import ACME, ATLAS, CYCLE, DAYS, P1, P2, item, parties
from tests.pump import World, go_live, small_month

Run = Callable[..., Any]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path / "scratch")
    small_month(world)
    go_live(world)
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command over the world's services: its JSON, or with `status` what it said when it ended with that."""
    for module in (importing, showing, differing, judging):
        monkeypatch.setattr(module, "services", lambda _: world.services)
    for module in (importing, judging):
        monkeypatch.setattr(module, "now", lambda _: world.now)
    # While the command waits, the functions work; where they leave no note, a test must not wait either.
    monkeypatch.setattr("infra.clearbook.bills.importing.time.sleep", lambda _: world.pump.drain())
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str, status: int = 0, text: bool = False) -> Any:
        capsys.readouterr()
        waits = ["--timeout", "20"] if "import" in arguments else []
        with pytest.raises(SystemExit) as ended:
            main(["bill", *arguments, *waits, *([] if text or status else ["--json", "-"])])
        out, err = capsys.readouterr()
        # In one process the functions log to where the command answers.
        out = "".join(line for line in out.splitlines(keepends=True) if not line.startswith('{"level":'))
        assert int(ended.value.code or 0) == status, err
        return out + err if text or status else json.loads(out, parse_float=_refuse_float)

    return run


def _refuse_float(text: str) -> Any:
    raise AssertionError(f"{text} is a float")


# -- diff -------------------------------------------------------------------------------------------------------


def test_of_lines_that_came_late_the_difference_of_the_last_two_seals_lists_exactly_those(
    world: World, run: Run
) -> None:
    world.final()
    world.bill(P1, DAYS[0], item(ACME, "100.00"), item(ATLAS, "7.25", InstanceID="late-1"))
    world.bill(P1, DAYS[1], item(ACME, "200.50"))
    world.bill(P1, DAYS[2])
    world.pull_again(30)

    found = run("diff", "--account", P1, "--cycle", CYCLE)

    assert (found["added"], found["removed"], found["changed"]) == (1, 1, 1)
    told = [(one["how"], one["date"], one["account"], one["before"].get("pretax"), one["after"].get("pretax"))
            for one in found["lines"]]  # fmt: skip
    assert told == [
        ("added", DAYS[0], ATLAS, None, "7.25"),
        ("changed", DAYS[1], ACME, "200", "200.5"),
        ("removed", DAYS[2], ACME, "300", None),
    ]
    assert found["lines"][0]["instance_id"] == "late-1"
    assert (found["from"]["totals"]["CNY"]["pretax"], found["to"]["totals"]["CNY"]["pretax"]) == ("600", "307.75")
    said = run("diff", "--account", P1, "--cycle", CYCLE, "--limit", "1", text=True)
    assert "1 added, 1 removed, 1 changed" in said
    assert "2 more; --limit 0 lists all" in said
    assert "late-1" in said


def test_any_two_snapshots_can_be_compared_however_they_are_named(world: World, run: Run) -> None:
    world.daily("2025-07-01")
    world.bill(P1, DAYS[2], item(ACME, "301.00"))
    world.final()
    world.bill(P1, DAYS[2], item(ACME, "302.00"))
    world.pull_again(30)
    first, second, third = world.seals()
    of = ("diff", "--account", P1, "--cycle", CYCLE)

    def pretax(*names: str) -> list[str]:
        return [text for one in run(*of, *names)["lines"] for text in (one["before"]["pretax"], one["after"]["pretax"])]

    assert pretax() == ["301", "302"]
    assert pretax("1") == ["300", "302"]
    assert pretax("1", "2") == pretax(first.snapshot[:8], second.snapshot) == ["300", "301"]
    assert pretax("source:api", "2") == ["302", "301"]
    assert pretax(third.snapshot, str(third.seq)) == []


def test_a_snapshot_that_there_is_not_is_refused_with_what_there_is(world: World, run: Run) -> None:
    world.final()

    for names, said in (
        ([], "there are 1 seals of the bill, and without FROM the last two are compared"),
        (["7"], "entry 7 saw no bill (these did: 1)"),
        (["0123456789abcdef"], "no snapshot begins with 0123456789abcdef"),
        (["newest"], "'newest' names no snapshot"),
        (["source:v2"], "source 'v2' has said nothing of this bill (these have: api)"),
    ):
        assert said in run("diff", "--account", P1, "--cycle", CYCLE, *names, status=1)


def test_a_bill_that_nobody_has_seen_is_refused_with_those_that_were(world: World, run: Run) -> None:
    world.final()

    assert f"its known cycles are: {CYCLE}" in run("diff", "--account", P1, "--cycle", "2024-01", status=1)
    unknown = "--account: no bill of '999' is known; give the account of a payer; payers are: 100, 200"
    assert unknown in run("show", "--account", "999", "--cycle", CYCLE, status=1)
    assert unknown in run("show", "--account", "999", status=1)


# -- show -------------------------------------------------------------------------------------------------------


def test_a_bill_is_shown_with_every_seal_its_dates_and_what_is_no_line(world: World, run: Run) -> None:
    world.daily("2025-07-01")
    world.bill(P1, DAYS[2], item(ACME, "300.00"), item(ACME, "7.00", PretaxAmount="many"))
    world.cloud.provider.controls[P1, CYCLE] = {ACME: Decimal("1")}
    world.final()

    found = run("show", "--account", P1, "--cycle", CYCLE)

    assert [(one["seq"], one["kind"], one["status"]) for one in found["entries"]] == [
        (1, "sealed", "provisional"), (2, "sealed", "provisional"),
    ]  # fmt: skip
    assert [(one["date"], one["rows"], one["totals"]["CNY"]["pretax"]) for one in found["parts"]] == [
        (DAYS[0], 1, "100"), (DAYS[1], 1, "200"), (DAYS[2], 1, "300"),
    ]  # fmt: skip
    last = found["entries"][-1]
    assert (last["rejects"], last["control"], last["snapshot"]) == (1, {"differences": 1, "open": 1}, found["snapshot"])
    assert found["rejects"] == {
        DAYS[2]: [f"{DAYS[2]}, page 1 row 1: PretaxAmount many is no number that can be held exactly"]
    }
    said = run("show", "--account", P1, "--cycle", CYCLE, text=True)
    assert "sealed provisional" in said
    assert "entry 2: 1 difference to the provider's sums, 1 open" in said
    assert "entry 2: 1 row is no line" in said
    assert "PretaxAmount many is no number" in said


def test_the_bills_of_an_account_are_listed_by_cycle(world: World, run: Run) -> None:
    world.final()
    world.daily("2025-07-03")

    found = run("show", "--account", P1)["bills"]

    assert [(one["cycle"], one["source"]) for one in found] == [(CYCLE, "api"), ("2025-07", "api")]
    assert CYCLE in run("show", "--account", P1, text=True)


def test_a_line_is_shown_with_its_raw_place_and_the_item_as_it_was_sent(world: World, run: Run) -> None:
    world.final()
    world.bill(P1, DAYS[2])
    world.pull_again(30)
    rows = {row["date"]: row for row in world.cloud.rows.tables["bill_lines"].values() if row["payer"] == P1}
    kept, gone = (str(rows[day]["line_id"]) for day in (DAYS[1], DAYS[2]))

    [line] = run("show", "--account", P1, "--line", kept, "--raw")

    assert (line["pretax"], line["source_row"], line["seal"]) == ("200.0000000000", 0, 1)
    page = json.loads(gzip.decompress(world.cloud.records.get(line["source"])), parse_float=str, parse_int=str)
    assert line["raw"] == page["Data"]["Items"][0]
    assert line["raw"]["PretaxAmount"] == "200.00"
    assert "as the provider said it:" in run("show", "--account", P1, "--line", kept, "--raw", text=True)
    [lost] = run("show", "--account", P1, "--line", gone, "--raw")
    assert (lost["gone"], "raw" in lost, "source" in lost) == (True, False, False)
    # A line of another payer is not one of this bill.
    assert f"no line '{kept}' in the bills of {P2}" in run("show", "--account", P2, "--line", kept, status=1)


def test_a_line_that_only_an_observed_source_has_is_found_in_its_cycle(
    world: World, run: Run, month: dict[str, Path], payer: str
) -> None:
    of = ("--account", payer, "--cycle", CYCLE)
    run("import", str(month["v2"]), *of)
    run("import", str(month["classic-zh-zip"]), *of)
    [name, *_] = [one["line_id"] for one in run("diff", *of, "source:v2", "source:classic")["lines"]
                  if one["how"] == "added"]  # fmt: skip

    [line] = run("show", *of, "--line", name, "--raw")

    assert (line["line_id"], line["said_by"], line["seal"]) == (name, "classic", 2)
    assert Decimal(line["raw"]["应付金额"]) == Decimal(line["pretax"])
    assert "with --cycle it is looked for" in run("show", "--account", payer, "--line", name, status=1)


# -- what is printed ----------------------------------------------------------------------------------------------


def test_what_people_copy_is_whole_in_a_terminal_that_is_too_narrow(
    world: World, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    world.final()
    instance = "i-:smile:[red]" + "x" * 60  # neither a picture nor a colour
    world.bill(P1, DAYS[0], item(ACME, "12345678901234.0123456789", InstanceID=instance))
    world.pull_again(30)
    of = ("--account", P1, "--cycle", CYCLE)

    total = "12345678901734.0123456789 CNY"  # with the 200 and the 300 of the other dates
    assert total in run("show", *of, text=True)
    assert total in run("show", "--account", P1, text=True)
    assert total in run("quality", *of, text=True)
    said = run("diff", *of, text=True)
    assert f"  {instance}  CNY\n" in said
    assert "none  ->  12345678901234.0123456789\n" in said
    for line in run("diff", *of)["lines"]:
        assert f"{line['how']:10}{line['line_id']}  {DAYS[0]}  {ACME}\n" in said


def test_a_usual_bill_fits_80_columns(world: World, run: Run, month: dict[str, Path], payer: str) -> None:
    of = ("--account", payer, "--cycle", CYCLE)
    for one in ("v2", "classic-zh", "classic-zh-instance"):
        run("import", str(month[one]), *of)

    for command in (("show", *of), ("show", "--account", payer), ("quality", *of), ("diff", *of, "--sources")):
        widest = max(run(*command, text=True).splitlines(), key=len)
        assert len(widest) <= 80, widest


def test_how_other_sources_differ_is_told_with_both_figures(
    world: World, run: Run, month: dict[str, Path], payer: str, tmp_path: Path
) -> None:
    of = ("--account", payer, "--cycle", CYCLE)
    shorter = tmp_path / month["classic-zh"].name
    lines = month["classic-zh"].read_text(encoding="utf-8-sig").splitlines()
    shorter.write_text("\n".join(lines[:-2]) + "\n", encoding="utf-8")
    run("import", str(month["v2"]), *of)
    run("import", str(shorter), *of)

    [compared] = run("diff", *of, "--sources")
    said = run("diff", *of, "--sources", "--limit", "1", text=True)

    assert compared["count"] == len(compared["differences"]) > 1
    assert f"{compared['count']} differences, {compared['amounts']['CNY']} CNY pretax in all\n" in said
    assert "          by account, product_code, date, currency\n" in said
    first = compared["differences"][0]
    assert f"  {first['date']}  {first['account']}  {first['product_code']}  CNY\n" in said
    assert f"  {first['pretax']}  ->  " in said
    assert f"\n{compared['count'] - 1} more; --limit 0 lists all\n" in said
    assert f"  classic beside v2: {compared['count']} differences, " in run("quality", *of, text=True)


# -- quality ----------------------------------------------------------------------------------------------------


def test_quality_tells_of_every_payer_and_of_one_whose_bill_never_came(world: World, run: Run) -> None:
    world.final()
    world.now = datetime(2025, 7, 20, 9, tzinfo=SHANGHAI)

    found = run("quality")

    assert [(one["account"], one["cycle"], list(one["sources"])) for one in found] == [
        (P1, CYCLE, ["api"]), (P1, "2025-07", []), (P2, CYCLE, ["api"]), (P2, "2025-07", []),
    ]  # fmt: skip
    assert "days" not in found[0]["sources"]["api"]
    assert found[0]["sources"]["api"]["lag_hours"] > 24 * 16
    assert "nothing was heard of it yet" in run("quality", text=True)
    [mine] = run("quality", "--account", P1, "--cycle", CYCLE)
    assert mine == found[0]
    for nothing in (("--account", "999"), ("--cycle", "2025-08")):
        assert "no such bill is known or due; payers are: 100, 200" in run("quality", *nothing, status=1)


def test_what_is_wrong_with_a_bill_is_said_in_words(world: World, run: Run) -> None:
    odd = item(ACME, "7.00", PretaxAmount="many")
    world.bill(P1, DAYS[2], odd, odd, item(ACME, "300.00", PretaxGrossAmount=Decimal(301), NewThing="x"))
    world.cloud.provider.controls[P1, CYCLE] = {ACME: Decimal("1.50")}
    world.final()

    said = run("quality", "--account", P1, "--cycle", CYCLE, text=True)

    assert said.startswith(f"{P1} {CYCLE}\n  api, the settled source\n    sealed, provisional, ")
    assert "2 rows are no lines: PretaxAmount … is no number that can be held exactly" in said
    assert "1 difference to the provider's sums, 1 open, -1.5 CNY in all, -1.5 CNY unexplained\n" in said
    assert "unknown field NewThing" in said
    assert "1 line breaks " in said
    assert "nothing rejected" not in said


# -- import -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("month"), lines=300)


@pytest.fixture
def payer(world: World, month: dict[str, Path]) -> str:
    """The payer of the generated files, settled from the new bill."""
    account = month["v2"].name.partition("_")[0]
    settle_from(world, account, "v2")
    return account


def settle_from(world: World, account: str, source: str) -> None:
    """Put a party document in force that settles a further payer from a source."""
    document = parties(payers=(P1, P2, account))
    document["payers"][2]["connector"] |= {"since": "2025-06-01", "settled_source": source, "currency": "CNY"}
    world.decide_parties(document)
    world.now = datetime(2025, 7, 4, 10, tzinfo=SHANGHAI)
    world.cloud.clock.now = world.now


def test_a_file_of_the_settled_source_is_sealed_and_one_of_another_observed_and_both_are_compared(
    world: World, run: Run, month: dict[str, Path], payer: str
) -> None:
    of = ("--account", payer, "--cycle", CYCLE)
    [sealed] = run("import", str(month["v2-zip"]), *of)
    [observed] = run("import", str(month["console-zh"]), *of)

    [bill] = sealed["bills"]
    assert (sealed["form"], sealed["covers"], sealed["rejects"]) == ("v2/1", "cycle", 0)
    assert sealed["rows"] == sealed["lines"] == bill["rows"]
    assert (bill["kind"], bill["seq"], bill["status"], bill["control"]) == ("sealed", 1, "final", None)
    assert (observed["bills"][0]["kind"], observed["bills"][0]["seq"]) == ("observed", 2)
    assert observed["totals"] == 1  # the console's files end in a row of sums
    assert observed["bills"][0]["totals"] == bill["totals"]
    assert world.keys("inbox")[0].startswith(f"bills/import/{payer}/{CYCLE}/")
    assert run("diff", *of, "source:v2", "2")["from"]["source"] == "v2"
    [compared] = run("diff", *of, "--sources")
    assert (compared["settled"]["source"], compared["other"]["source"], compared["count"]) == ("v2", "classic", 0)
    assert "classic beside v2" in run("diff", *of, "--sources", text=True)
    [figures] = run("quality", *of)
    assert sorted(figures["sources"]) == ["classic", "v2"]
    assert figures["comparisons"][0]["count"] == 0


@pytest.mark.parametrize("form", ["classic-zh-zip", "v2", "partner-parquet"])
def test_the_raw_row_of_a_files_line_is_found_in_its_table(
    world: World, run: Run, month: dict[str, Path], payer: str, form: str
) -> None:
    settle_from(world, payer, {"classic-zh-zip": "classic", "v2": "v2", "partner-parquet": "partner"}[form])
    run("import", str(month[form]), "--account", payer, "--cycle", CYCLE)
    rows = [row for row in world.cloud.rows.tables["bill_lines"].values() if row["payer"] == payer]
    of_form = formats.known()[form.removesuffix("-zip").removesuffix("-parquet")]
    [pretax] = of_form.headers_of("pretax")

    for row in sorted(rows, key=lambda row: str(row["line_id"]))[::60]:
        [line] = run("show", "--account", payer, "--line", str(row["line_id"]), "--raw")
        assert Decimal(line["raw"][pretax]) == Decimal(line["pretax"])
        if of_form.unique:
            [unique] = of_form.headers_of("source_id")
            assert line["raw"][unique]


def test_a_file_that_is_no_bill_is_refused_here_with_its_reason_and_nothing_is_sent(
    world: World, run: Run, month: dict[str, Path], payer: str, tmp_path: Path
) -> None:
    other = tmp_path / "list.csv"
    text = month["classic-zh"].read_text(encoding="utf-8-sig")
    other.write_text(text.replace("应付金额", "应付", 1), encoding="utf-8")
    empty = tmp_path / "empty.csv"
    empty.write_bytes(b"")

    bad = [str(other), str(empty), str(tmp_path), str(tmp_path / "none.csv")]

    said = run("import", str(month["v2"]), *bad, "--account", payer, "--cycle", CYCLE, status=1)

    assert "nothing was sent: 4 of 5 files cannot be used:\n" in said
    assert f"{tmp_path}: is a directory; give the files in it" in said
    assert f"{tmp_path / 'none.csv'}: is not there" in said
    assert "is nearest to classic-zh/" in said
    assert "lacks 应付金额 (1) and has unknown 应付 (1)" in said
    assert f"{empty}: is empty" in said
    assert world.keys("inbox") == []


def test_a_file_that_the_step_refuses_ends_with_its_reason(
    world: World, run: Run, month: dict[str, Path], payer: str
) -> None:
    said = run("import", str(month["classic-zh"]), "--account", P1, "--cycle", CYCLE, status=1)

    assert "file_refused: 1 of 1 files cannot be used:\n  " in said
    assert "is not the payer" in said
    assert f"if a file is of another payer or cycle than {P1} and {CYCLE}, say so with --account and --cycle" in said
    # It is taken once its cause is gone: what was noted of the same content before is no answer any more.
    assert "is not the payer" in run("import", str(month["classic-zh"]), "--account", P1, "--cycle", CYCLE, status=1)


def test_a_bill_that_stands_because_its_corrected_file_was_refused_says_so(
    world: World, run: Run, month: dict[str, Path], payer: str, tmp_path: Path
) -> None:
    of = ("--account", payer, "--cycle", CYCLE)
    corrected = tmp_path / month["v2"].name
    corrected.write_bytes(month["v2"].read_bytes())
    run("import", str(corrected), *of)
    assert "refused" not in run("quality", *of, text=True)
    corrected.write_text(month["v2"].read_text("utf-8-sig").replace(payer, "999"), encoding="utf-8")
    run("import", str(corrected), *of, status=1)

    key = f"bills/import/{payer}/{CYCLE}/{corrected.name}"
    told = f"{key} was written again and refused, what it said before stands: "
    for name in ("show", "quality"):
        assert told in run(name, *of, text=True)
    assert told in run("show", "--account", payer, text=True)
    assert list(run("show", *of)["entries"][-1]["refused_files"]) == [key]
    assert list(run("quality", *of)[0]["sources"]["v2"]["refused_files"]) == [key]


def test_a_file_is_sent_without_being_held_in_memory(
    world: World, month: dict[str, Path], payer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def whole(path: Path) -> bytes:
        raise AssertionError(f"{path} was read into memory")

    [one] = importing.check(world.services, [month["v2"]], payer, CYCLE, world.now)
    kept: list[Path] = []
    monkeypatch.setattr(world.cloud.stores["inbox"], "upload_again", lambda key, path: kept.append(path))
    monkeypatch.setattr(world.cloud.stores["inbox"], "version", lambda key: Version("tag", world.now))
    monkeypatch.setattr(Path, "read_bytes", whole)

    assert importing.put(world.services, one, forget=True) == "tag"
    assert kept == [month["v2"]]


def test_the_same_file_again_says_the_same_and_seals_nothing_new(
    world: World, run: Run, month: dict[str, Path], payer: str
) -> None:
    of = (str(month["v2"]), "--account", payer, "--cycle", CYCLE)
    first = run("import", *of)
    entries = len(world.services.chain.read(stream_of(payer, CYCLE)))

    assert run("import", *of) == first
    assert len(world.services.chain.read(stream_of(payer, CYCLE))) == entries
    said = run("import", *of, text=True)
    assert f"{payer} {CYCLE}: sealed as entry 1, final\n" in said
    assert "0 rejected" in said


def test_rows_that_are_no_lines_are_told_with_the_first_reasons(
    world: World, run: Run, month: dict[str, Path], payer: str, tmp_path: Path
) -> None:
    path = tmp_path / month["v2"].name
    lines = month["v2"].read_text(encoding="utf-8-sig").splitlines()
    path.write_text("\n".join([*lines, lines[-1], "x" + "," * lines[0].count(",")]) + "\n", encoding="utf-8")

    said = run("import", str(path), "--account", payer, "--cycle", CYCLE, text=True)

    assert "is there already" in said
    assert "file bills/import/" in said


def test_handing_in_without_waiting_leaves_the_file_to_the_function(
    world: World, run: Run, month: dict[str, Path], payer: str
) -> None:
    [told] = run("import", str(month["v2"]), "--account", payer, "--cycle", CYCLE, "--no-wait")

    assert "bills" not in told
    assert not ingest_file.is_taken(world.services, told["key"])
    world.pump.drain()
    assert ingest_file.is_taken(world.services, told["key"])


def test_who_waits_in_vain_is_told_where_to_look(world: World, month: dict[str, Path], payer: str) -> None:
    with pytest.raises(importing.NotReadYetError, match="see `clearbook stuck`"):
        importing.await_note(world.services, "bills/x", "v", 0)


def test_accounts_cycles_and_names_that_cannot_be_are_refused_before_anything_is_read(
    world: World, month: dict[str, Path], payer: str
) -> None:
    files = [month["v2"], month["v2-zip"]]
    for account, cycle, said in (
        ("999", CYCLE, "payer '999' has no connector"),
        (payer, "June", "'June' is no billing cycle"),
        (payer, "2025-08", "2025-08 is still to come"),
        (payer, CYCLE, "is there more than once"),
    ):
        with pytest.raises(BadInputError, match=said):
            importing.check(world.services, files, account, cycle, world.now)
