"""Where figures come from: every line of a month explained from what is kept, and what cannot be."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook import explain as command
from infra.clearbook.main import main
from infra.clearbook.people import PREPARER
from shared.money import text
from shared.steps import state
from shared.steps.acts import references
from shared.steps.explaining import asking
from shared.steps.explaining.asking import AmbiguousIdError, UnknownIdError, explain, find
from shared.steps.explaining.kept import ContradictionError
from shared.steps.explaining.words import _earning, words
from tests.builders import ACME, ASSIGNMENTS, ATLAS, CYCLE, DAYS, P1, P2, agreement, assigned, item, parties
from tests.fakes import Item
from tests.pump import World, small_month

ROOT = Path(__file__).parents[2]
CORRECTION = "provider corrections earn nothing"
REFUND = item(ACME, "-75.00", Item="Refund")
Run = Callable[..., str]


def terms(**more: Any) -> dict[str, Any]:
    """Compute by two bands within a cap for each customer, storage by percent; refunds take back what was earned."""
    given: dict[str, Any] = {
        "exclude": [{"when": "kind == 'adjustment'", "because": CORRECTION}],
        "scales": {
            "monthly-spend": {
                "scope": "customer",
                "measure": "pretax",
                "method": "graduated",
                "over": "month",
                "bands": [{"upto": "400", "percent": "5"}, {"percent": "8"}],
            }
        },
        "rules": [
            {"id": "storage", "when": "product_code == 'oss'", "earn": {"percent": "3.5"}},
            {
                "id": "compute",
                "when": "contains(['ecs', 'eci'], product_code) && subscription_type == 'PayAsYouGo'",
                "earn": {"scale": "monthly-spend"},
                "cap": {"scope": "customer", "amount": "30.00"},
            },
        ],
        "refunds": {"within": "none"},
        "examples": [
            {"name": "a hundred", "lines": [{"product_code": "oss", "pretax": "100"}], "expect": {"commission": "3.5"}}
        ],
    }
    return {**agreement("aurora"), **given, **more}


def month(
    tmp_path: Path, document: dict[str, Any], *items: tuple[str, str, Item], assignments: Any = ASSIGNMENTS
) -> World:
    """The small month with these items, settled for aurora by this agreement."""
    world = World(tmp_path / "scratch")
    small_month(world, items)
    world.decide_parties(parties(assignments))
    world.decide_agreement(document)
    world.decide_agreement(agreement("borealis"))
    world.final()
    return world


@pytest.fixture
def world(tmp_path: Path) -> World:
    storage = item(ACME, "10.333", "oss", InstanceID="o-1", NickName="archive")
    return month(tmp_path, terms(), (P1, DAYS[2], REFUND), (P1, DAYS[2], storage), (P1, DAYS[0], item("1009", "3.00")))


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command over the world's services: what it said when it ended with the status."""
    monkeypatch.setattr(command, "services", lambda _: world.services)

    def run(*arguments: object, status: int = 0) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["explain", *(str(one) for one in arguments)])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == status, out + err
        return out + err

    return run


def line_of(world: World, pretax: str, account: str = ACME) -> str:
    """The id of the line that costs so much."""
    rows = world.cloud.rows.tables["bill_lines"].values()
    [found] = [
        row for row in rows if row["account"] == account and Decimal(str(row.get("pretax", 0))) == Decimal(pretax)
    ]
    return str(found["line_id"])


def facts(world: World, id_: str) -> dict[str, Any]:
    """The facts behind an id, which must be plain data, and have words."""
    [found] = explain(world.services, id_)
    assert words(found)
    return dict(json.loads(json.dumps(found)))


# -- bill lines ---------------------------------------------------------------------------------------------------


def test_a_line_is_followed_from_its_raw_row_to_its_statement_line(world: World) -> None:
    found = facts(world, line_of(world, "300"))

    assert (found["raw"]["object"], found["raw"]["row"]) == (
        f"raw/{P1}/{CYCLE}/{DAYS[2]}-f20250703T1230/page-00001.json.gz",
        0,
    )
    assert (found["raw"]["seal"], found["raw"]["status"]) == (f"bill/{P1}/{CYCLE}#1", "final")
    assert found["settlement"]["id"] == world.month().settlement
    assert (found["mapped"]["customer"], found["mapped"]["reseller"]) == ("acme", "aurora")
    assert found["agreement"]["approval"]["entry"] == "reseller/aurora#2"
    assert [one["id"] for one in found["statement_lines"]] == [f"aurora-2025/{CYCLE}/{n}" for n in (1, 2, 3)]


def test_conditions_say_what_they_read_and_why_they_are_false(world: World) -> None:
    tried = facts(world, line_of(world, "300"))["conditions"]

    assert [(one["name"], one["outcome"]) for one in tried] == [
        (CORRECTION, False),
        ("storage", False),
        ("compute", True),
    ]
    assert [one["read"] for one in tried] == [
        {"kind": "usage"},
        {"product_code": "ecs"},
        {"subscription_type": "PayAsYouGo", "product_code": "ecs"},
    ]


def test_a_line_in_two_bands_shows_the_total_before_it_its_parts_cap_and_refund(world: World) -> None:
    found = facts(world, line_of(world, "300"))
    scale, [cap], [refund] = found["earning"]["scale"], found["bounds"], found["refunds"]

    assert (scale["before"], scale["after"]) == ("300", "600")
    assert [(one["part"], one["amount"]) for one in scale["parts"]] == [("100", "5"), ("200", "16")]
    # 36 were earned, 21 of them by this line: of the 6 that the cap takes 6 × 21 ÷ 36 fall on it.
    assert (cap["before"], cap["line"], cap["share"], found["earned"]) == ("36", "-6", "-3.5", "17.5")
    # 75 of 300 come back.
    assert (refund["is_netted"], refund["basis"], refund["taken_back"]) == (False, "-75", "-4.375")


def test_lines_of_a_day_are_added_up_in_the_stated_order(tmp_path: Path) -> None:
    same_day = [(P1, DAYS[2], item(ACME, amount, InstanceID=name)) for amount, name in (("7", "i-0"), ("9", "i-2"))]
    world = month(tmp_path, terms(), *same_day)

    before = {
        pretax: facts(world, line_of(world, pretax))["earning"]["scale"]["before"] for pretax in ("7", "300", "9")
    }
    assert before == {"7": "300", "300": "307", "9": "607"}


def test_a_refund_names_its_charge_and_what_it_takes_back(world: World) -> None:
    found = facts(world, line_of(world, "-75"))
    charge = line_of(world, "300")

    assert found["conditions"] == []
    assert {(one["kind"], one["other_line"]) for one in found["rows"]} == {("netted", charge), ("adjustment", charge)}
    assert any("takes back -4.375 CNY" in line for line in words(found))


def test_a_netted_refund_leaves_the_charge_with_the_rest(tmp_path: Path) -> None:
    whole = item(ACME, "-200.00", Item="Refund")
    world = month(tmp_path, terms(refunds={"within": "same_month"}), (P1, DAYS[2], REFUND), (P1, DAYS[2], whole))

    part = facts(world, line_of(world, "300"))
    assert (part["basis"]["netted"], part["basis"]["left"]) == ("75", "225")
    assert [(one["id"], one["is_netted"]) for one in part["refunds"]] == [(line_of(world, "-75"), True)]
    gone = facts(world, line_of(world, "200"))
    assert (gone["basis"]["left"], gone["earning"], gone["conditions"]) == (None, None, [])
    assert any("nothing is left" in line for line in words(gone))


def test_a_line_in_a_case_says_what_would_resolve_it(world: World) -> None:
    found = facts(world, line_of(world, "3", "1009"))

    assert found["mapped"]["how"] is None
    assert [one["kind"] for one in found["cases"]] == ["unmapped_account"]
    assert "assign it" in found["cases"][0]["remedy"]


def test_excluded_and_direct_lines_say_why_they_earn_nothing(tmp_path: Path) -> None:
    excluding = terms(exclude=[{"when": "product_code == 'oss'", "because": "storage is ours"}])
    excluding["rules"] = excluding["rules"][1:]
    excluding["examples"][0]["expect"] = {"commission": "0"}
    direct = [ASSIGNMENTS[0], assigned(ATLAS, "atlas", None), ASSIGNMENTS[2]]
    world = month(tmp_path, excluding, (P1, DAYS[0], item(ACME, "8", "oss")), assignments=direct)

    excluded = facts(world, line_of(world, "8"))
    assert excluded["conditions"][-1] | {"when": ""} == {
        "kind": "exclusion",
        "name": "storage is ours",
        "when": "",
        "outcome": True,
        "read": {"product_code": "oss"},
    }
    assert facts(world, line_of(world, "1000", ATLAS))["mapped"]["how"] == "direct"


@pytest.mark.parametrize(
    ("earn", "expected"),
    [
        ({"fixed": "2.00"}, {"by": "fixed", "per": "line", "amount": "2"}),
        ({"fixed": "0.5", "per": "usage_unit"}, {"usage": "24", "amount": "12"}),
        ({"fixed": "9.00", "per": "customer_month"}, {"amount": "0"}),
        ({"fixed": "9.00", "per": "instance_month", "prorate": "days"}, {"amount": "0"}),
        ({"percent": "4"}, {"by": "percent", "rate": "0.04", "amount": "12"}),
    ],
)
def test_each_way_to_earn_is_told(tmp_path: Path, earn: dict[str, Any], expected: dict[str, Any]) -> None:
    rules = [{"id": "only", "when": "`true`", "earn": earn}]
    [example] = terms()["examples"]
    lines = [{"product_code": "ecs", "pretax": "100", "usage": "24", "usage_unit": "小时"}]
    amounts = {"2.00": "2", "0.5": "12", "9.00": "9"}
    expect = {"commission": amounts.get(str(earn.get("fixed")), "4")}
    if "prorate" in earn:
        expect = {"commission": "0.29"}
    document = terms(rules=rules, scales={}, examples=[{**example, "lines": lines, "expect": expect}])
    world = month(tmp_path, document)

    earning = facts(world, line_of(world, "300"))["earning"]
    assert expected.items() <= earning.items()
    if "once" in earning:
        assert earning["once"]["by"] == line_of(world, "100")
        assert earning["once"]["lines"] == 3


@pytest.mark.parametrize("measure", ["pretax", "gross", "usage"])
def test_all_units_show_the_total_that_the_scope_reached(tmp_path: Path, measure: str) -> None:
    unit = {"unit": "小时"} if measure == "usage" else {}
    scale = {"scope": "reseller", "measure": measure, "method": "all_units", "over": "month", **unit}
    bands = [{"upto": "70", "percent": "2"}, {"percent": "3"}]
    document = terms(scales={"monthly-spend": {**scale, "bands": bands}})
    world = month(tmp_path, document)

    told = facts(world, line_of(world, "300"))["earning"]["scale"]
    assert (told["total"], told["parts"][0]["band"]) == (("96" if measure == "usage" else "1600"), 2)


def test_a_line_in_another_currency_shows_the_rate_it_was_converted_at(tmp_path: Path) -> None:
    world = World(tmp_path / "scratch")
    small_month(world, [(P1, DAYS[0], item(ACME, "10.00", Currency="USD"))])
    world.decide_parties(parties())
    world.decide_agreement(terms())
    world.decide_agreement(agreement("borealis"))
    rates = f"currency,to,cycle,rate\nUSD,CNY,{CYCLE},7.1586\n".encode()
    world.approve(
        references.propose_fx(
            world.services, rates, "rates.csv", by=PREPARER, why="monthly", at=world.at, backdate=False
        )
    )
    world.final()

    basis = facts(world, line_of(world, "10"))["basis"]
    assert (basis["billed"], basis["rate"], basis["value"], basis["left"]) == ("10", "7.1586", "71.586", "71.586")


def test_a_line_behind_a_gate_shows_the_figure_it_earned_by(tmp_path: Path) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    world.decide_parties(parties())
    document = agreement("aurora")
    gate = {"figure": "engineers", "at_least": "3", "otherwise": {"percent": "2"}}
    document["rules"][0]["earn"]["gate"] = gate
    other = {"name": "nothing", "lines": [{"product_code": "oss", "pretax": "1"}], "expect": {"commission": "0"}}
    world.decide_agreement({**document, "examples": [other]})
    world.decide_agreement(agreement("borealis"))
    table = f"reseller,figure,cycle,value\naurora,engineers,{CYCLE},2\n".encode()
    world.approve(
        references.propose_figures(world.services, table, "figures.csv", by=PREPARER, why="June", at=world.at)
    )
    world.final()

    earning = facts(world, line_of(world, "300"))["earning"]
    assert earning["gates"] == [{"figure": "engineers", "value": "2", "at_least": "3"}]
    assert (earning["rate"], earning["amount"]) == ("0.02", "6")
    assert "the reseller's figure engineers is 2, below 3, so what is said otherwise holds" in list(
        _earning(earning, {})
    )


def test_a_locked_line_is_explained_as_it_was_locked(world: World) -> None:
    id_ = line_of(world, "300")
    world.lock()
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    world.pull_again(1)

    found = facts(world, id_)
    assert (found["line"]["pretax"], found["settlement"]["state"]) == ("300", "locked")
    assert found["settlement"]["locked"]["approved_by"] == "amir"


def test_a_line_that_no_settlement_has_is_shown_as_the_bill_has_it(world: World) -> None:
    world.lock()
    world.bill(P1, DAYS[2], item(ACME, "300.00"), item(ACME, "44.00", InstanceID="i-9"))
    world.pull_again(1)

    found = facts(world, line_of(world, "44"))
    assert found["settlement"] is None
    assert found["raw"]["object"].startswith("raw/")


def test_a_draft_is_explained_while_the_month_runs(tmp_path: Path) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    world.decide_parties(parties())
    world.decide_agreement(terms())
    world.daily("2025-07-01")

    assert facts(world, line_of(world, "300"))["settlement"]["state"] == "draft"


def test_what_does_not_follow_from_the_inputs_is_a_contradiction(world: World) -> None:
    """Somebody put another settlement's lines in the place of these."""
    id_ = line_of(world, "300")
    folder = state.folder_of(CYCLE, "aurora", str(world.month().settlement))
    path = world.services.scratch / f"{folder}lines.parquet".replace("/", "_")
    from shared.columnar import connect

    with connect(world.services.scratch) as connection:
        read = "SELECT * REPLACE (CASE WHEN band = 1 THEN basis + 1 ELSE basis END AS basis)"
        other = world.services.scratch / "other.parquet"
        world.cloud.work.download(f"{folder}lines.parquet", other)
        connection.execute(f"COPY ({read} FROM read_parquet('{other}')) TO '{path}' (FORMAT parquet)")
    with pytest.raises(ContradictionError, match=id_):
        explain(world.services, id_)


# -- statement lines, settlements, payouts ------------------------------------------------------------------------


def test_a_statement_line_shows_its_sum_and_how_it_was_rounded(world: World) -> None:
    found = facts(world, f"aurora-2025/{CYCLE}/2")

    assert (found["kind"], found["exact"], found["amount"]) == ("adjustment", "-4.375", "-4.37")
    assert (found["customer_exact"], found["customer_amount"]) == ("25.986655", "25.99")
    assert (found["total_exact"], found["total"]) == ("55.986655", "55.99")
    assert [one["amount"] for one in found["rows"]] == ["-4.375"]


def test_every_statement_line_is_the_sum_of_its_settlement_lines(world: World) -> None:
    for number in range(1, 7):
        found = facts(world, f"aurora-2025/{CYCLE}/{number}")
        assert text(sum((Decimal(one["amount"]) for one in found["rows"]), Decimal(0))) == found["exact"]


def test_a_settlement_says_what_it_read_and_what_it_came_to(world: World) -> None:
    settlement = str(world.month().settlement)
    found = facts(world, settlement[:10])

    assert [(one["payer"], one["seal"]) for one in found["bills"]] == [(p, f"bill/{p}/{CYCLE}#1") for p in (P1, P2)]
    assert found["agreements"][0]["approval"]["proposed_by"] == "paula"
    assert found["statements"][0]["payable"] == "55.99"
    assert f"Settlement {settlement}" in words(found)


def test_a_payout_says_what_was_owed_who_approved_it_and_what_the_bank_said(world: World) -> None:
    world.lock()
    world.pay()
    id_ = f"{CYCLE}.aurora.aurora-2025"
    world.bank_answers("a", (id_, "confirmed", "55.99", "CNY", "b-1"))

    found = facts(world, id_)
    assert [(one["what"], one["amount"]) for one in found["owed"]] == [("statement", "55.99")]
    assert found["approval"]["approved_by"] == "amir"
    assert [one["says"] for one in found["answers"]] == ["confirmed"]


# -- names --------------------------------------------------------------------------------------------------------


def test_the_first_digits_stand_for_a_line_while_no_other_begins_so(world: World) -> None:
    id_ = line_of(world, "300")
    assert facts(world, id_[:8])["id"] == id_


def test_an_id_that_may_be_several_is_refused_with_what_it_may_be(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_DIGITS", re.compile("[0-9a-f]+"))
    first = Counter(str(row["line_id"])[0] for row in world.cloud.rows.tables["bill_lines"].values())
    [(digit, _)] = first.most_common(1)
    with pytest.raises(
        AmbiguousIdError, match=f"{digit} may be .*line {digit}.*, .*line {digit}.*; give more of the id"
    ):
        explain(world.services, digit)


@pytest.mark.parametrize(
    ("id_", "problem"),
    [
        ("deadbeef01", "no bill line or settlement has an id that begins with deadbeef01"),
        (f"aurora-2025/{CYCLE}/9", "its lines are 1 to 6"),
        (f"aurora-9/{CYCLE}/1", "there are aurora-2025, borealis-2025"),
        (f"{CYCLE}.aurora.nope", "was not instructed; aurora has no payout"),
        ("reseller/aurora#2", "is an entry of the chain"),
        (f"{CYCLE}-no_rule-0123456789ab", f"is a case, and is shown by `clearbook cases --cycle {CYCLE}`"),
        ("7c1", "is no id of anything that is explained"),
    ],
)
def test_what_is_nothing_or_something_else_is_refused_with_what_there_is(world: World, id_: str, problem: str) -> None:
    with pytest.raises(UnknownIdError, match=problem.replace("(", r"\(")):
        explain(world.services, id_)


@pytest.mark.parametrize(
    ("sought", "found"),
    [
        ("Acme", [f"aurora-2025/{CYCLE}/{n}" for n in (1, 2, 3, 4)]),
        ("storage", [f"aurora-2025/{CYCLE}/4"]),
        ("-4.37", [f"aurora-2025/{CYCLE}/2"]),
        ("o-1", ["10.333"]),
        ("Archive", ["10.333"]),
        ("10.333", ["10.333"]),
        ("1,000.00", ["1000"]),
        ("nothing like it", []),
    ],
)
def test_what_is_sought_is_found_by_name_amount_or_text(world: World, sought: str, found: list[str]) -> None:
    lines = {"10.333": line_of(world, "10.333"), "1000": line_of(world, "1000", ATLAS)}
    assert [one["id"] for one in find(world.services, sought, CYCLE)] == [lines.get(one, one) for one in found]


def test_what_is_sought_of_one_reseller_is_only_its_own(world: World) -> None:
    assert {one["owner"] for one in find(world.services, "i-1", CYCLE)} == {"aurora", "borealis", "operator"}
    assert {one["owner"] for one in find(world.services, "i-1", CYCLE, "borealis")} == {"borealis"}


# -- the command --------------------------------------------------------------------------------------------------


def test_the_readme_shows_what_the_command_says(world: World, run: Run) -> None:
    world.lock()
    said = run(line_of(world, "300"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("\n## Explain\n")[2].partition("\n## ")[0]
    shown = section.partition("```\n$ clearbook explain ")[2].partition("```")[0]

    assert shown.partition("\n")[2] == said
    assert line_of(world, "300").startswith(shown.partition("\n")[0])


def test_the_row_as_it_was_sent_is_shown_where_it_is_asked_for(world: World, run: Run) -> None:
    [found] = json.loads(run(line_of(world, "10.333"), "--raw", "--json", "-"))

    assert found["raw"]["values"]["InstanceID"] == "o-1"
    assert "NickName" in run(line_of(world, "10.333"), "--raw")


def test_several_finds_are_listed_and_one_is_explained(run: Run) -> None:
    assert f"aurora-2025/{CYCLE}/1  statement line of aurora: acme, compute, cap: -6.00 CNY" in run(
        "--find", "acme", "--cycle", CYCLE
    )
    assert run("--find", "storage", "--cycle", CYCLE).startswith(f"Statement line aurora-2025/{CYCLE}/4")
    assert "nothing in 2025-06 has 'zebra'" in run("--find", "zebra", "--cycle", CYCLE, status=1)
    assert len(json.loads(run("--find", "acme", "--cycle", CYCLE, "--json", "-"))) == 4


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "give an ID, or --find TEXT"),
        (("12345678", "--find", "x"), "give an ID, or --find TEXT"),
        (("--find", "x"), "--find goes with --cycle"),
        (("12345678", "--reseller", "aurora"), "--reseller goes with --find"),
    ],
)
def test_options_that_do_not_go_together_are_refused(run: Run, arguments: tuple[str, ...], problem: str) -> None:
    assert problem in run(*arguments, status=2)
