"""`clearbook reconcile`: a month leaves nothing unexplained, and whatever is changed of it is found, with its line."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import openpyxl
import pytest
import yaml

from infra.clearbook import reconcile as command
from infra.clearbook.main import main
from infra.clearbook.people import APPROVER, PREPARER
from shared.errors import BadInputError, DocumentRefusedError
from shared.reconciliation import anomalies
from shared.reconciliation.placing import PLACES
from shared.reconciliation.tolerance import tolerance_document
from shared.steps import decide
from shared.steps.inputs import counting
from shared.steps.reconcile import reconcile, summarise, unexplained
from tests.builders import ACME, ATLAS, CYCLE, DAYS, P1, P2, agreement, item, parties
from tests.fakes import State
from tests.pump import World, small_month

Run = Callable[..., Any]
TOLERANCE = {
    "tolerance": "cents",
    "version": 1,
    "applies_to": ["controls", "invoice"],
    "amount": {"CNY": "0.01"},
    "because": "they round to cents",
}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, State, State]:
    """A month with a refund, a case, an exclusion and a fixed amount; before its lock, and paid and answered."""
    world = World(tmp_path_factory.mktemp("reconcile") / "scratch")
    more = [("-40.00", "ecs", "Refund"), ("5.00", "rds", "PayAsYouGoBill"), ("8.00", "cdn", "PayAsYouGoBill")]
    small_month(
        world,
        [
            *((P1, DAYS[2], item(ACME, pretax, product, Item=kind)) for pretax, product, kind in more),
            (P2, DAYS[1], item(ATLAS, "70.00", "oss")),
        ],
    )
    world.decide_parties(parties())
    document = agreement("aurora", "10", products=("ecs", "oss"))
    document["rules"][1]["earn"] = {"fixed": "3.00", "per": "line"}
    document["exclude"] = [{"when": "product_code == 'cdn'", "because": "cdn earns nothing"}]
    world.decide_agreement(document)
    world.decide_agreement(agreement("borealis"))
    world.final()
    settled = world.cloud.state()
    world.lock()
    world.pay()
    world.bank_answers(
        "answer",
        (f"{CYCLE}.aurora.aurora-2025", "confirmed", "159.00", "CNY", "b-1"),
    )
    return world, settled, world.cloud.state()


@pytest.fixture(autouse=True)
def world(played: tuple[World, State, State]) -> World:
    world, _, state = played
    world.cloud.restore(state)
    return world


@pytest.fixture
def open_world(played: tuple[World, State, State], monkeypatch: pytest.MonkeyPatch) -> World:
    world, state, _ = played
    world.cloud.restore(state)
    monkeypatch.setattr(world.cloud.provider, "bills", dict(world.cloud.provider.bills))
    return world


@pytest.fixture
def run(played: tuple[World, State, State], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command's answer as JSON, or what it prints; what is unexplained decides how it ends."""
    monkeypatch.setattr(command, "services", lambda _: played[0].services)

    def run(*options: str, status: int = 0, cycle: str = CYCLE) -> Any:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["reconcile", "--cycle", cycle, *options])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == status, out + err
        return json.loads(out) if "-" in options else out + err

    return run


def folder(world: World, owner: str = "aurora") -> str:
    return counting(world.services, owner, CYCLE).folder


def rewrite(world: World, key: str, tmp_path: Path, select: str, bucket: str = "work") -> None:
    """Write a Parquet object anew with what a query makes of its rows `t`."""
    objects, was, now = world.cloud.stores[bucket].objects, tmp_path / "was.parquet", tmp_path / "now.parquet"
    was.write_bytes(objects[key])
    query = select.replace("FROM t", f"FROM read_parquet('{was}')")
    duckdb.execute(f"COPY ({query}) TO '{now}' (FORMAT parquet)")
    objects[key] = now.read_bytes()


def line_of(world: World, tmp_path: Path, where: str, name: str = "lines.parquet") -> str:
    """The id of the one line of aurora's settlement that a condition holds for."""
    path = tmp_path / "asked.parquet"
    path.write_bytes(world.cloud.work.objects[folder(world) + name])
    [[line]] = duckdb.execute(f"SELECT DISTINCT line_id FROM read_parquet('{path}') WHERE {where}").fetchall()
    return str(line)


def replace(world: World, key: str, was: str, now: str, bucket: str = "records") -> None:
    objects = world.cloud.stores[bucket].objects
    assert was.encode() in objects[key], objects[key]
    objects[key] = objects[key].replace(was.encode(), now.encode(), 1)


def one_key(world: World, prefix: str, suffix: str = "", bucket: str = "records") -> str:
    [key] = [key for key in world.keys(bucket, prefix) if key.endswith(suffix)]
    return key


def told(answer: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["check"], one["amount"]) for one in answer["differences"]]


# -- what adds up -----------------------------------------------------------------------------------------------------


def test_every_line_has_its_place_and_nothing_is_unexplained(world: World, run: Run) -> None:
    answer = run("--json", "-")

    assert (answer["differences"], answer["unexplained"]) == ([], {"differences": 0, "amounts": {}})
    assert answer["currencies"] == [{"currency": "CNY", "billed": "1793", "settled": "1793", "unexplained": "0"}]
    groups = {(one["reseller"], one["account"], one["product"]): one for one in answer["groups"]}
    places = {
        key: {name: value for name, value in one.items() if name in PLACES and value != "0"}
        for key, one in groups.items()
    }
    assert places == {
        ("aurora", ACME, "cdn"): {"excluded": "8"},
        ("aurora", ACME, "ecs"): {"settled": "560"},
        ("aurora", ACME, "rds"): {"cases": "5"},
        ("aurora", ATLAS, "ecs"): {"settled": "1000"},
        ("aurora", ATLAS, "oss"): {"settled": "70"},
        ("borealis", "2001", "ecs"): {"settled": "150"},
    }
    assert [(one["instruction"], one["instructed"], one["state"]) for one in answer["payments"]] == [
        (f"{CYCLE}.aurora.aurora-2025", "159.00", "confirmed"),
        (f"{CYCLE}.borealis.borealis-2025", "15.00", "open"),
    ]
    assert answer["statements"] == 2
    assert answer["files"] == sum(
        len(world.keys("records", f"{one}/{CYCLE}/")) for one in ("statements", "journal", "payouts")
    )


def test_it_is_printed_so_that_a_person_can_read_it(run: Run) -> None:
    text = run()

    assert "Nothing is unexplained." in text
    assert "CNY: billed 1793, settled, excluded, netted and in cases 1793, unexplained 0" in text
    [paid] = [line.split() for line in text.splitlines() if line.startswith(f"{CYCLE}.aurora.aurora-2025")]
    assert paid == [f"{CYCLE}.aurora.aurora-2025", "CNY", "159", "159", "0", "confirmed", "159", "(b-1)"]


def test_of_one_reseller_only_its_own_is_said(run: Run) -> None:
    answer = run("--reseller", "borealis", "--json", "-")

    assert {one["reseller"] for one in answer["groups"]} == {"borealis"}
    assert [one["reseller"] for one in answer["payments"]] == ["borealis"]
    assert "is not known" in run("--reseller", "nobody", status=1)


def test_a_share_that_is_not_settled_is_waited_for_and_keeps_nobody_from_locking(open_world: World, run: Run) -> None:
    rows = open_world.cloud.rows.tables["chain"]
    for key in [key for key, row in rows.items() if key[0] == "reseller/borealis" and row["kind"] == "calculated"]:
        del rows[key]
    answer = run("--json", "-")

    assert answer["not_settled"] == ["borealis"]
    assert [one["waiting"] for one in answer["groups"] if one["account"] == "2001"] == ["150"]
    assert answer["differences"] == []
    assert unexplained(open_world.services, CYCLE, "aurora") == []


# -- what is changed is found -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "where", "column", "change"),
    [
        ("lines.parquet", "product_code = 'ecs' AND basis = 1000", "basis", "+ 0.0000000001"),
        ("lines.parquet", "product_code = 'ecs' AND basis = 1000", "amount", "- 1"),
        ("lines.parquet", "product_code = 'oss'", "amount", "+ 0.01"),  # a fixed one
        ("lines.parquet", "kind = 'excluded'", "basis", "+ 3"),
        ("held.parquet", "kind = 'no_rule'", "basis", "- 5"),
    ],
)
def test_a_changed_figure_of_a_settlement_names_its_line(
    open_world: World, run: Run, tmp_path: Path, name: str, where: str, column: str, change: str
) -> None:
    line = line_of(open_world, tmp_path, where, name)
    changed = f"CAST(CASE WHEN {where} THEN {column} {change} ELSE {column} END AS "
    types = {"basis": "DECIMAL(28,10)", "amount": "DECIMAL(38,18)"}
    select = f"SELECT * REPLACE ({changed}{types[column]}) AS {column}) FROM t"
    rewrite(open_world, folder(open_world) + name, tmp_path, select)
    answer = run("--json", "-", status=1)

    assert [one for one in answer["differences"] if one["check"] == "settlement" and line in one["lines"]]
    assert abs(Decimal(change.replace(" ", ""))) in {abs(Decimal(one["amount"])) for one in answer["differences"]}


def test_a_line_that_a_settlement_lost_or_has_twice_is_named(open_world: World, run: Run, tmp_path: Path) -> None:
    key, where = folder(open_world) + "lines.parquet", "kind = 'commission' AND basis = 200"
    line, before = line_of(open_world, tmp_path, where), open_world.cloud.work.objects[key]
    rewrite(open_world, key, tmp_path, f"SELECT * FROM t WHERE NOT ({where})")
    lost = run("--json", "-", status=1)["differences"]
    open_world.cloud.work.objects[key] = before
    rewrite(open_world, key, tmp_path, f"SELECT * FROM t UNION ALL SELECT * FROM t WHERE {where}")
    twice = run("--json", "-", status=1)["differences"]

    assert [(one["reason"], one["amount"], one["lines"]) for one in lost if one["check"] == "bill"] == [
        ("unplaced", "-200", [line])
    ]
    assert [one["amount"] for one in twice if one["reason"] == "amount" and one["lines"] == [line]] == ["200"]


def test_a_line_that_two_shares_have_is_named(open_world: World, run: Run, tmp_path: Path) -> None:
    line = line_of(open_world, tmp_path, "basis = 1000")
    taken = tmp_path / "taken.parquet"
    taken.write_bytes(open_world.cloud.work.objects[folder(open_world) + "lines.parquet"])
    also = f"SELECT * REPLACE ('borealis-2025' AS agreement) FROM read_parquet('{taken}') WHERE line_id = '{line}'"
    rewrite(open_world, folder(open_world, "borealis") + "lines.parquet", tmp_path, f"SELECT * FROM t UNION ALL {also}")
    found = run("--json", "-", status=1)["differences"]

    assert [(one["amount"], one["lines"]) for one in found if one["reason"] == "twice"] == [("1000", [line])]


def test_a_changed_line_of_the_bill_is_named_and_so_are_its_part_and_its_control_total(
    open_world: World, run: Run, tmp_path: Path
) -> None:
    line = line_of(open_world, tmp_path, "basis = 1000")
    [key] = open_world.keys("work", f"parts/{P2}/{CYCLE}/{DAYS[2]}/")
    changed = f"CAST(pretax + CASE WHEN line_id = '{line}' THEN 1 ELSE 0 END AS DECIMAL(28,10))"
    rewrite(open_world, key, tmp_path, f"SELECT * REPLACE ({changed} AS pretax) FROM t")
    found = run("--json", "-", status=1)["differences"]

    assert [one["lines"] for one in found if one["check"] == "settlement"] == [[line]]
    assert {one["reason"] for one in found if one["check"] == "day parts"} == {"digest", "amount"}
    assert [one["lines"][0] for one in found if one["check"] == "controls"] == [line]


def test_a_control_total_that_is_not_what_the_seal_was_compared_with_is_found(open_world: World, run: Run) -> None:
    [key] = [one for one in open_world.keys("work", f"ingested/{P2}/{CYCLE}/") if one.endswith("/control.json")]
    replace(open_world, key, '"1000"', '"1001.5"', "work")
    found = run("--json", "-", status=1)["differences"]

    assert [(one["check"], one["amount"], one["line_count"]) for one in found] == [("controls", "-1.5", 1)]


@pytest.mark.parametrize(
    ("prefix", "suffix", "was", "now", "check"),
    [
        (f"statements/{CYCLE}/aurora/", ".json", '"total":"159.00"', '"total":"160.00"', "statement"),
        (f"statements/{CYCLE}/aurora/", ".json", '"amount":"100.00"', '"amount":"101.00"', "statement"),
        (f"statements/{CYCLE}/aurora/", ".csv", ",100.00,", ",101.00,", "statement"),
        (f"journal/{CYCLE}/aurora", ".csv", "-159.00", "-160.00", "journal"),
        (f"journal/{CYCLE}/payout", ".csv", "-159.00", "-160.00", "journal"),
        (f"payouts/{CYCLE}/", ".csv", "159.00", "160.00", "payout"),
        (f"batches/{CYCLE}/", ".json", '"159.00"', '"160.00"', "payout"),
    ],
)
def test_a_changed_amount_of_a_published_file_is_found(
    world: World, run: Run, prefix: str, suffix: str, was: str, now: str, check: str
) -> None:
    replace(world, one_key(world, prefix, suffix), was, now)
    found = run("--json", "-", status=1)["differences"]

    assert check in {one["check"] for one in found}
    assert {abs(Decimal(one["amount"])) for one in found} >= {Decimal(1)}


def test_a_changed_line_of_a_statement_names_the_bill_lines_behind_it(world: World, run: Run, tmp_path: Path) -> None:
    line = line_of(world, tmp_path, "basis = 1000")
    replace(world, one_key(world, f"statements/{CYCLE}/aurora/", ".csv"), ",100.00,", ",99.00,")
    found = run("--json", "-", status=1)["differences"]

    assert [one["lines"] for one in found if one["reason"] == "amount"] == [[line]]


@pytest.mark.parametrize("missing", ["statements", "journal", "payouts"])
def test_a_published_file_that_is_gone_is_found(world: World, run: Run, missing: str) -> None:
    key = world.keys("records", f"{missing}/{CYCLE}/")[0]
    del world.cloud.records.objects[key]

    assert f"{key} is missing" in str(run("--json", "-", status=1)["differences"])


@pytest.mark.parametrize("name", ["lines.parquet", "held.parquet", "summary.json", "manifest.json"])
@pytest.mark.parametrize("how", ["gone", "no more than bytes"])
def test_what_cannot_be_read_is_a_difference_and_no_crash(open_world: World, run: Run, name: str, how: str) -> None:
    key = folder(open_world) + name
    open_world.cloud.work.objects[key] = b"PAR1?"
    if how == "gone":
        del open_world.cloud.work.objects[key]
    answer = run("--json", "-", status=1)

    assert answer["unexplained"]["differences"] > 0
    assert "missing, or cannot be read" in str(answer) or "is missing" in str(answer) or "cannot be read" in str(answer)


def test_what_came_back_is_said_and_its_case_explains_it(world: World, run: Run) -> None:
    world.bank_answers("second", (f"{CYCLE}.borealis.borealis-2025", "returned", "15.00", "CNY", "b-2"))
    answer = run("--json", "-")

    assert [(one["instruction"][8:16], one["state"]) for one in answer["payments"]] == [
        ("aurora.a", "confirmed"),
        ("borealis", "returned"),
    ]
    assert [(one["check"], one["explained"]) for one in answer["differences"]] == [
        ("bank", f"case of {CYCLE}.borealis.borealis-2025")
    ]


# -- what a lock asks for ---------------------------------------------------------------------------------------------


def test_a_lock_is_told_of_a_summary_that_is_not_what_was_calculated(open_world: World) -> None:
    assert unexplained(open_world.services, CYCLE, "aurora") == []
    replace(open_world, folder(open_world) + "summary.json", '"total":"159.00"', '"total":"160.00"', "work")
    found = unexplained(open_world.services, CYCLE, "aurora")

    assert {one.amount for one in found} == {Decimal(0), Decimal(1), Decimal(-1)}
    assert "is not the summary that reseller/aurora#" in found[0].what
    assert unexplained(open_world.services, CYCLE, "borealis") == []


def test_a_lock_is_told_of_sums_of_the_whole_month(open_world: World) -> None:
    open_world.bill(P1, DAYS[2], item(ACME, "400.00"))
    open_world.pump.fault = None
    open_world.pull_again(1, drain=False)
    open_world.pump.drain(hold=lambda delivery: delivery.function in ("route_settlements", "settle"))
    [found] = unexplained(open_world.services, CYCLE, "aurora")

    assert (found.check, found.amount) == ("bill", Decimal(-127))
    assert found.what.endswith(f"{P1}, {P2} was sealed again and is not settled since")
    open_world.pump.drain()
    assert unexplained(open_world.services, CYCLE, "aurora") == []
    assert summarise(open_world.services, CYCLE).differences == []


# -- figures of others ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mismatched(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A month whose lines come to half a fen less than the provider's control total of acme."""
    world = World(tmp_path_factory.mktemp("mismatched") / "scratch")
    small_month(world)
    world.decide_parties(parties())
    for reseller in ("aurora", "borealis"):
        world.decide_agreement(agreement(reseller))
    world.cloud.provider.controls[P1, CYCLE] = {ACME: Decimal("0.005")}
    for number in range(3):
        world.final(number)
    return world


def test_a_difference_to_the_provider_is_explained_by_its_case_or_by_a_policy(mismatched: World) -> None:
    def controls() -> list[tuple[Decimal, str, int]]:
        found = reconcile(mismatched.services, CYCLE).differences
        return [(one.amount, one.explained, one.count) for one in found if one.check == "controls"]

    [case] = [one["id"] for one in mismatched.cases() if one["kind"] == "source_mismatch"]
    assert controls() == [(Decimal("-0.005"), f"case {case}", 3)]
    decided(mismatched, TOLERANCE)
    assert controls() == [(Decimal("-0.005"), "policy cents/1", 3)]
    assert unexplained(mismatched.services, CYCLE, "aurora") == []
    decided(mismatched, {**TOLERANCE, "version": 2, "amount": {"CNY": "0.001"}})
    assert controls() == [(Decimal("-0.005"), f"case {case}", 3)]


def decided(world: World, document: dict[str, Any]) -> None:
    """Put a tolerance in force."""
    asked = {"name": "tolerance.yaml", "text": yaml.safe_dump(document)}
    [proposal] = decide.propose(world.services, "tolerance", asked, by=PREPARER, why="test", at=world.at).proposals
    decide.approve(world.services, proposal.name, by=APPROVER, at=world.at)


def test_a_tolerance_is_numbered_in_order_and_an_approver_sees_what_changes(mismatched: World) -> None:
    fen = {**TOLERANCE, "tolerance": "fen"}
    decided(mismatched, {**fen, "applies_to": ["invoice"]})
    with pytest.raises(BadInputError, match="number it 2"):
        decided(mismatched, fen)
    asked = {"name": "t.yaml", "text": yaml.safe_dump({**fen, "version": 2, "amount": {"CNY": "5"}})}
    [proposal] = decide.propose(
        mismatched.services, "tolerance", asked, by=PREPARER, why="", at=mismatched.at
    ).proposals

    shown = decide.show(mismatched.services, proposal)
    assert "-  CNY: '0.01'" in shown
    assert "+  CNY: '5'" in shown


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"amount": {"CNY": "-1"}}, "amount.CNY.*below 0"),
        ({"amount": {"XYZ": "1"}}, "amount.XYZ.*no currency"),
        ({"amount": {"CNY": "a cent"}}, "amount.CNY.*not an amount"),
        ({"amount": {}}, "amount.*by currency"),
        ({"applies_to": []}, "applies_to"),
        ({"applies_to": ["Bill!"]}, "applies_to.0"),
        ({"version": True}, "version"),
        ({"because": " "}, "because"),
        ({"more": 1}, "more.*not a known name"),
    ],
)
def test_a_tolerance_that_says_nothing_clear_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(DocumentRefusedError, match=says):
        tolerance_document({**TOLERANCE, **change}, "tolerance.yaml")


INVOICE = {
    "name": "invoice", "against": "bill", "currency": "CNY", "reversed": ["credit"],
    "columns": {"account": "Account", "kind": "Type", "amount": "Amount"},
    "names": {"kind": {"Invoice": "debit", "Credit Note": "credit"}},
}  # fmt: skip


@pytest.fixture
def against(run: Run, tmp_path: Path) -> Run:
    """What a file of others differs in."""

    def against(map_: dict[str, Any], *rows: str, status: int = 1, more: tuple[str, ...] = ()) -> Any:
        file, named = tmp_path / "theirs.csv", tmp_path / "map.yaml"
        file.write_text("\n".join(rows) + "\n", encoding="utf-8")
        named.write_text(yaml.safe_dump(map_, allow_unicode=True), encoding="utf-8")
        return run("--against", str(file), "--map", str(named), *more, "--json", "-", status=status)

    return against


def said(answer: dict[str, Any]) -> list[tuple[str, str, str]]:
    return sorted((one["reason"], ", ".join(one["keys"].values()), one["amount"]) for one in answer["differences"])


def test_an_invoice_of_the_provider_is_matched_by_its_kinds_and_each_difference_has_its_reason(against: Run) -> None:
    rows = (f"{ACME},Invoice,613", f"{ACME},Credit Note,40", f"{ATLAS},Invoice,1070", "2001,Invoice,150")
    agreed = against(INVOICE, "Account,Type,Amount", *rows, status=0)
    assert (agreed["agreeing"], agreed["differences"]) == (4, [])

    rows = (f"{ACME},Invoice,612", f"{ATLAS},Invoice,1070", f"{ATLAS},Invoice,1070", "9999,Invoice,1")
    found = against(INVOICE, "Account,Type,Amount", *rows)
    assert said(found) == [
        ("amount", f"{ACME}, debit", "1"),
        ("duplicate", f"{ATLAS}, debit", "-1070"),
        ("missing here", "9999, debit", "-1"),
        ("missing there", f"{ACME}, credit", "-40"),
        ("missing there", "2001, debit", "150"),
    ]
    assert [one["line_count"] for one in found["differences"] if one["reason"] == "amount"] == [5]
    assert found["unexplained"] == {"differences": 5, "amounts": {"CNY": "1262"}}


def test_other_currencies_months_and_cut_amounts_are_told_apart(against: Run) -> None:
    map_ = {
        "name": "books", "against": "statements", "amount_is": "payable",
        "columns": {"reseller": "Who", "amount": "Amount", "currency": "In", "period": "Month"},
    }  # fmt: skip
    found = against(map_, "Who,Amount,In,Month", "aurora,159,USD,2025-06", "borealis,15,CNY,2025/05")
    assert said(found) == [
        ("currency", "aurora", "-159"),
        ("currency", "aurora", "159"),
        ("missing there", "borealis", "15"),
        ("period", "borealis", "-15"),
    ]

    lines = {"name": "books", "against": "settlement", "currency": "CNY",
             "columns": {"customer": "C", "product": "P", "amount": "A"}}  # fmt: skip
    cut = ("C,P,A", "acme,ecs,56.0", "atlas,ecs,100", "atlas,oss,2.9", "birch,ecs,15")
    assert said(against(lines, *cut)) == [("amount", "atlas, oss", "0.1")]


def test_a_row_that_is_rounded_down_says_so_and_a_policy_explains_what_it_may(open_world: World, against: Run) -> None:
    map_ = {"name": "invoice", "against": "settlement", "currency": "CNY", "amount_is": "basis",
            "columns": {"account": "A", "amount": "B"}}  # fmt: skip
    open_world.bill(P1, DAYS[0], item(ACME, "100.008"))
    open_world.pull_again(2)
    rows = ("A,B", f"{ACME},560.00", f"{ATLAS},1070", "2001,150.01")
    assert said(against(map_, *rows)) == [("amount", "2001", "-0.01"), ("round-down", ACME, "0.008")]

    decided(open_world, TOLERANCE)
    found = against(map_, *rows, status=0)
    assert {one["explained"] for one in found["differences"]} == {"policy cents/1"}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"against": "payouts"}, "against: payouts.*no account"),
        ({"amount_is": "payable"}, "bill has pretax"),
        ({"places": 2}, "nothing is rounded here"),
        ({"currency": None}, "say the currency"),
        ({"names": {"colour": {}}}, "names.colour"),
        ({"against": "moon"}, "against"),
        ({"columns": {"amount": "Amount"}}, "name at least one of"),
    ],
)
def test_a_map_that_cannot_be_used_is_refused(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    change: dict[str, Any], says: str,
) -> None:  # fmt: skip
    file, named = tmp_path / "a.csv", tmp_path / "map.yaml"
    file.write_text("Account,Type,Amount\n", encoding="utf-8")
    named.write_text(yaml.safe_dump({**INVOICE, **change}), encoding="utf-8")
    monkeypatch.setattr(command, "services", lambda _: world.services)
    with pytest.raises(SystemExit) as ended:
        main(["reconcile", "--cycle", CYCLE, "--against", str(file), "--map", str(named)])

    assert ended.value.code == 1
    assert says.split(".*")[0] in (err := capsys.readouterr().err), err


# -- files ------------------------------------------------------------------------------------------------------------


def test_everything_is_written_as_a_workbook_and_differences_as_csv_and_nothing_in_them_runs(
    world: World, run: Run, tmp_path: Path
) -> None:
    replace(world, one_key(world, f"statements/{CYCLE}/aurora/", ".csv"), ",atlas,", ",=1+1,")
    book, table = tmp_path / "all.xlsx", tmp_path / "all.csv"
    run("--output", str(book), status=1)
    run("--output", str(table), status=1)
    sheets = openpyxl.load_workbook(book)

    assert sheets.sheetnames == ["Bill", "Differences", "Lines", "Payments"]
    cells = [cell for sheet in sheets for row in sheet.iter_rows() for cell in row]
    assert not [cell.value for cell in cells if cell.data_type == "f"]
    assert sheets["Payments"]["A2"].value == f"{CYCLE}.aurora.aurora-2025"
    assert table.read_text(encoding="utf-8-sig").startswith("number,check,reseller,what,reason,currency,ours,theirs")
    assert "FILE.csv" in run("--output", str(tmp_path / "a.txt"), status=1)


# -- month against month ----------------------------------------------------------------------------------------------


def statement(*lines: tuple[str, str, str, str, int]) -> tuple[str, dict[str, Any]]:
    return "aurora", {
        "currency": "CNY",
        "lines": [
            {"customer": customer, "product": product, "exact": exact, "basis": basis, "rule": "r",
             "version": version, "kind": "commission"}
            for customer, product, exact, basis, version in lines
        ],
    }  # fmt: skip


def test_signals_tell_of_signs_sizes_what_vanished_what_is_new_and_of_rules() -> None:
    before = anomalies.figures([statement(
        ("acme", "ecs", "100", "1000", 1), ("acme", "oss", "50", "500", 1), ("atlas", "rds", "200", "2000", 1),
        ("birch", "cdn", "150", "1500", 1), ("birch", "ecs", "1", "10", 1),
    )])  # fmt: skip
    now = anomalies.figures([statement(
        ("acme", "ecs", "-100", "-1000", 1), ("acme", "oss", "101", "1010", 1), ("cedar", "ecs", "120", "1200", 1),
        ("birch", "cdn", "150", "1500", 2), ("birch", "ecs", "9", "90", 1),
    )])  # fmt: skip
    found = anomalies.anomalies(before, now, anomalies.Policy(Decimal(2), Decimal(100)))
    by_product = [(one.signal, *one.key[1:3], one.what) for one in found if one.level == "product"]

    assert sorted(by_product) == [
        ("new", "cedar", "ecs", "earned"),
        ("rules", "birch", "cdn", "earned"),
        ("sign", "acme", "ecs", "basis"),
        ("sign", "acme", "ecs", "earned"),
        ("size", "acme", "oss", "basis"),
        ("size", "acme", "oss", "earned"),
        ("vanished", "atlas", "rds", "earned"),
    ]
    assert [(one.signal, one.before, one.now) for one in found if one.key[1] == "acme" and one.level == "customer"] == [
        ("sign", Decimal(0), Decimal(0))
    ] or not [one for one in found if one.key == ("aurora", "birch", "ecs", "CNY")]


def test_signals_block_nothing_and_a_month_without_one_before_is_refused(run: Run) -> None:
    assert "is settled both then and in" in run("--month-against-month", status=1)
    assert "above 1" in run("--month-against-month", "--factor", "1", status=1)
