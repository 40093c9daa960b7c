"""`clearbook settle --prices`: what buyers would be charged for a month, and what stays with their sellers."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.clearbook import settling
from infra.clearbook.main import main
from infra.clearbook.people import PREPARER
from shared.steps.acts import references
from tests.builders import ACME, ATLAS, BIRCH, CYCLE, DAYS, P1, agreement, assigned, item, parties
from tests.fakes import State
from tests.pump import World, go_live, small_month
from tests.unit.test_what_if import read_only

JULY = "2025-07"
Run = Callable[..., Any]


def plan(seller: str, buyer: str, hundred: str, *, when: str = "`true`", since: str = "2025-01-01", **more: Any
         ) -> dict[str, Any]:  # fmt: skip
    """A price plan by which a line of 100.00 costs so much: a discount off gross, or a markup on pretax."""
    percent = int(hundred) - 100
    price = {"basis": "pretax", "markup_percent": str(percent)} if percent >= 0 else {
        "basis": "gross", "discount_percent": str(-percent)}  # fmt: skip
    until, rules = more.pop("until", None), more.pop("rules", [{"id": "all", "when": when, "price": price}])
    line = {"product_code": "ecs", "pretax": "100.00", "gross": "100.00"}
    return {
        "price_plan": f"{seller}-{buyer}",
        "seller": seller,
        "buyer": buyer,
        "version": 1,
        "effective": {"from": since, "until": until},
        "currency": "CNY",
        "rules": rules,
        "examples": [{"name": "a hundred", "lines": [line], "expect": {"price": f"{hundred}.00"}}],
        **more,
    }


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, State]:
    """The small month with a line of another product, settled."""
    world = World(tmp_path_factory.mktemp("prices") / "scratch")
    small_month(world, [(P1, DAYS[2], item(ACME, "40.00", "oss"))])
    go_live(world)
    world.final()
    return world, world.cloud.state()


@pytest.fixture
def world(played: tuple[World, State]) -> World:
    world, state = played
    world.cloud.restore(state)
    return world


@pytest.fixture
def run(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command, on services that refuse every write."""

    def run(
        *plans: dict[str, Any], status: int = 0, options: tuple[str, ...] = (), is_json: bool = True, of: World = world
    ) -> Any:
        files = []
        for number, document in enumerate(plans):
            file = tmp_path / f"{number}.yaml"
            file.write_text(yaml.safe_dump(document), encoding="utf-8")
            files += ["--prices", str(file)]
        monkeypatch.setattr(settling, "services", lambda _: read_only(of.services))
        capsys.readouterr()
        given = () if "--cycle" in options else ("--cycle", CYCLE)
        with pytest.raises(SystemExit) as ended:
            main(["settle", *given, *files, *options, *(["--json", "-"] if is_json else [])])
        out, err = capsys.readouterr()
        assert int(ended.value.code or 0) == status, out + err
        return json.loads(out) if is_json and not status else out + err

    return run


def charges(sale: dict[str, Any]) -> list[tuple[Any, ...]]:
    names = ("customer", "product_code", "price", "cost", "margin")
    return [tuple(one[name] for name in names) for one in sale["charges"]]


def test_a_reseller_is_charged_by_customer_and_product_and_the_bill_is_what_it_costs(run: Run) -> None:
    [sale] = run(plan("op", "aurora", "110"))["sales"]

    assert (sale["seller"], sale["buyer"], sale["draft"]) == ("operator", "aurora", False)
    assert charges(sale) == [
        ("acme", "ecs", "660", "600", "60"),
        ("acme", "oss", "44", "40", "4"),
        ("atlas", "ecs", "1100", "1000", "100"),
    ]
    assert sale["totals"] == [{"plan": "op-aurora", "currency": "CNY", "total": "1804"}]
    assert sale["sums"] == {"CNY": {"price": "1804", "cost": "1640", "margin": "164", "without_cost": "0"}}
    assert (sale["cases"], sale["not_charged"]) == ([], [])


def test_what_a_reseller_sells_costs_it_what_the_operator_charges_it(run: Run) -> None:
    answer = run(plan("aurora", "acme", "90"), plan("op", "aurora", "80"))

    to_acme, to_aurora = answer["sales"]
    assert charges(to_acme) == [("acme", "ecs", "540", "480", "60"), ("acme", "oss", "36", "32", "4")]
    assert charges(to_aurora)[0] == ("acme", "ecs", "480", "600", "-120")
    assert answer["without_plan"] == ["aurora to atlas", "operator to borealis"]


def test_costs_that_are_not_known_make_no_margin(run: Run) -> None:
    [alone] = run(plan("aurora", "acme", "90"))["sales"]
    assert charges(alone) == [("acme", "ecs", "540", None, None), ("acme", "oss", "36", None, None)]
    assert alone["notes"] == ["costs are not known: no plan of operator to aurora is given"]
    assert alone["sums"]["CNY"] == {"price": "0", "cost": "0", "margin": "0", "without_cost": "576"}

    # By the operator's plan there is no price of oss.
    sold, _ = run(plan("aurora", "acme", "90"), plan("op", "aurora", "80", when="product_code == 'ecs'"))["sales"]
    assert charges(sold) == [("acme", "ecs", "540", "480", "60"), ("acme", "oss", "36", None, None)]


def test_what_the_plan_does_not_charge_for_is_said_and_costs_nothing(run: Run) -> None:
    document = plan("op", "aurora", "110", when="product_code == 'ecs'", since=DAYS[1])
    [sale] = run(document)["sales"]

    # On the first day acme used 100.00; oss has no rule.
    assert charges(sale) == [("acme", "ecs", "550", "500", "50"), ("atlas", "ecs", "1100", "1000", "100")]
    assert [(one["kind"], one["key"], one["held"]) for one in sale["cases"]] == [("no_rule", "op-aurora/oss", "40")]
    [outside] = sale["not_charged"]
    assert (outside["why"], outside["basis"]) == ("no version of the plan on that day: account 1001", "100")

    given_away = [{"when": "product_code == 'oss'", "because": "a present"}]
    [sale] = run(plan("op", "aurora", "110", exclude=given_away))["sales"]
    assert charges(sale)[1] == ("acme", "oss", "0", "40", "-40")
    assert [one["why"] for one in sale["not_charged"]] == ["excluded: a present"]


def test_versions_follow_each_other_and_a_plan_of_other_days_is_charged_as_if_in_force(run: Run) -> None:
    first = plan("op", "aurora", "110", until=DAYS[0])
    [sale] = run(first, plan("op", "aurora", "120", since=DAYS[1], version=2))["sales"]
    assert charges(sale)[0] == ("acme", "ecs", "710", "600", "110")  # 100 at 110 %, 500 at 120 %

    later = plan("op", "aurora", "110", since="2026-01-01")
    [sale] = run(later)["sales"]
    assert sale["totals"][0]["total"] == "1804"
    assert f"charged as if it had been in force in all of {CYCLE}" in run(later, is_json=False)


def test_percents_of_a_scale_are_discounts(run: Run) -> None:
    bands = [{"upto": "600", "percent": "0"}, {"percent": "50"}]
    scale = {"scope": "reseller", "measure": "gross", "method": "graduated", "bands": bands}
    rules = [{"id": "all", "when": "`true`", "price": {"basis": "gross", "scale": "volume"}}]
    [sale] = run(plan("op", "aurora", "100", rules=rules, scales={"volume": scale}))["sales"]
    assert sale["totals"][0]["total"] == "1120"  # 600 and half of 1,040

    yearly = plan("op", "aurora", "100", rules=rules, scales={"volume": {**scale, "over": "contract_year"}})
    told = run(yearly, status=1)
    assert "its scale volume counts over contract years, and the bill of 2025-01 is not known" in told


def test_only_the_sales_that_a_reseller_takes_part_in(run: Run) -> None:
    documents = (plan("op", "aurora", "110"), plan("op", "borealis", "110"), plan("aurora", "acme", "120"))
    answer = run(*documents, options=("--reseller", "aurora"))
    assert [(one["seller"], one["buyer"]) for one in answer["sales"]] == [("operator", "aurora"), ("aurora", "acme")]
    assert "borealis: is in no sale of the plans" in run(documents[0], options=("--reseller", "borealis"), status=1)


def test_what_is_printed_names_plans_sums_and_that_nothing_changed(run: Run, world: World, tmp_path: Path) -> None:
    world.lock("aurora")
    before, file = world.heads(), tmp_path / "charges.csv"
    said = run(plan("op", "aurora", "110"), options=("--csv", str(file)), is_json=False)

    assert "op-aurora version 1, op to aurora" in said
    assert "op-aurora: 1,804.00 CNY, rounded as its statement" in said
    assert "CNY: price 1,804, cost 1,640, margin 164\n" in said
    assert "no plan is given for: operator to borealis" in said
    assert said.endswith("nothing was changed\n")
    assert world.heads() == before
    rows = list(csv.DictReader(file.read_text(encoding="utf-8-sig").splitlines()))
    assert [(one["buyer"], one["customer"], one["margin"].rstrip("0")) for one in rows] == [
        ("aurora", "acme", "60."),
        ("aurora", "acme", "4."),
        ("aurora", "atlas", "100."),
    ]


@pytest.mark.parametrize(
    ("document", "options", "problem"),
    [
        (plan("nobody", "acme", "90"), (), "its seller 'nobody' is neither the operator nor a reseller; known are op"),
        (plan("op", "acme", "90"), (), "'acme' has no account in 2025-06 that op sells to it; its buyers are aurora"),
        (plan("borealis", "acme", "90"), (), "its buyers are birch"),
        (agreement("aurora", "10"), (), "is an agreement"),
        ({**plan("op", "aurora", "90"), "rules": []}, (), "rules"),
        (plan("op", "aurora", "90"), ("--cycle", "2025-01"), "is not settled, and there is no draft of it"),
    ],
)
def test_what_cannot_be_charged_is_refused(run: Run, document: dict[str, Any], options: Any, problem: str) -> None:
    said = run(document, options=options, status=1)
    assert problem in " ".join(said.split())


def test_two_plans_of_one_sale_on_one_day_are_refused(run: Run) -> None:
    one, other = plan("op", "aurora", "90"), plan("operator", "aurora", "95")
    assert "overlaps op-aurora version 1" in run(one, other, status=1)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (("--what-if", "a.yaml", "--prices", "b.yaml"), "ask one of them"),
        (("--csv", "a.csv"), "--csv goes with --prices"),
        (("--prices", "b.yaml", "--lines", "a.csv"), "--lines goes with --what-if"),
    ],
)
def test_options_that_do_not_go_together(run: Run, options: tuple[str, ...], problem: str) -> None:
    assert problem in run(options=options, status=2, is_json=False)


# -- other worlds -----------------------------------------------------------------------------------------------


def test_a_direct_customer_is_charged_from_the_operators_own_share(tmp_path: Path, run: Run) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    go_live(world, parties([assigned(ACME, "acme", "aurora"), assigned(ATLAS, "atlas", "aurora"),
                            assigned(BIRCH, "birch", None)]))  # fmt: skip
    world.daily("2025-07-01")

    [sale] = run(plan("op", "birch", "120"), of=world)["sales"]
    assert charges(sale) == [("birch", "ecs", "180", "150", "30")]
    assert sale["draft"]
    assert "the last draft" in sale["notes"][0]


def test_a_refund_gives_back_what_its_charge_was_charged_for_in_an_earlier_month(tmp_path: Path, run: Run) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    go_live(world)
    world.final()
    world.lock()
    world.bill(P1, "2025-07-10", item(ACME, "100.00", InstanceID="i-2"))
    world.bill(P1, "2025-07-20", item(ACME, "-150.00", Item="Refund"))
    world.final(cycle=JULY)

    # 150 of the 300 of 30 June: charged with 110 %, they come back with as much; sold to acme at 90 %, likewise.
    sold = run(plan("op", "aurora", "110"), plan("aurora", "acme", "90"), options=("--cycle", JULY), of=world)["sales"]
    assert [charges(one) for one in sold] == [
        [("acme", "ecs", "-55", "-50", "-5")],
        [("acme", "ecs", "-45", "-55", "10")],
    ]
    assert [one["not_charged"] for one in sold] == [[], []]

    # 30 June is charged by the version in force then; what began in July has charged nothing in June.
    versions = (plan("op", "aurora", "120", until=DAYS[1]), plan("op", "aurora", "110", since=DAYS[2], version=2))
    assert charges(run(*versions, options=("--cycle", JULY), of=world)["sales"][0]) == charges(sold[0])
    [new] = run(plan("op", "aurora", "110", since="2025-07-01"), options=("--cycle", JULY), of=world)["sales"]
    assert charges(new) == [("acme", "ecs", "110", "100", "10")]
    assert [(one["why"], one["basis"]) for one in new["not_charged"]] == [
        ("refunds of what no version of the plan charged", "-150")
    ]


def test_refunds_that_an_earlier_month_knew_are_not_given_back_again(tmp_path: Path, run: Run) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    go_live(world)
    world.final()
    for cycle, pretax in ((JULY, "-100.00"), ("2025-08", "-50.00")):
        world.lock(cycle=str(CYCLE if cycle == JULY else JULY))
        world.bill(P1, f"{cycle}-02", item(ACME, pretax, Item="Refund"))
        world.final(cycle=cycle)

    [sale] = run(plan("op", "aurora", "110"), options=("--cycle", "2025-08"), of=world)["sales"]
    assert charges(sale) == [("acme", "ecs", "-55", "-50", "-5")]


def yearly_plan(method: str, policy: str) -> dict[str, Any]:
    """From June on: 10 % off what the year comes to above 1,500.00, or off all of it once it is above."""
    bands = [{"upto": "1500", "percent": "0"}, {"percent": "10"}]
    scale = {"scope": "reseller", "measure": "gross", "method": method, "bands": bands, "over": "contract_year"}
    rules = [{"id": "all", "when": "`true`", "price": {"basis": "gross", "scale": "volume"}}]
    more: dict[str, Any] = {"rules": rules, "scales": {"volume": scale}, "refunds": {"take_back": policy}}
    return plan("op", "aurora", "100", since="2025-06-01", **more)


@pytest.mark.parametrize(
    ("method", "policy", "june", "july", "august"),
    [
        # 1,600.00 in June, 300.00 in July; in August the 200.00 of the second day come back, which cost 200.00.
        ("graduated", "original", "1590", "270", "-200"),
        # June is above 1,500.00, and all of it costs 90 %.
        # Without them June costs 1,400.00, and July's 300.00 still 270.00.
        ("all_units", "rerate", "1440", "270", "-40"),
    ],
)
def test_contract_years_count_the_months_before(
    method: str, policy: str, june: str, july: str, august: str, tmp_path: Path, run: Run
) -> None:
    world = World(tmp_path / "scratch")
    small_month(world)
    go_live(world)
    world.final()
    undone = item(ACME, "-200.00", Item="Refund")
    for cycle, before, one in ((JULY, CYCLE, item(ACME, "300.00")), ("2025-08", JULY, undone)):
        world.lock(cycle=str(before))
        world.bill(P1, f"{cycle}-02", one)
        world.final(cycle=cycle)

    totals = [
        run(yearly_plan(method, policy), options=("--cycle", cycle), of=world)["sales"][0]["totals"][0]["total"]
        for cycle in (CYCLE, JULY, "2025-08")
    ]
    assert totals == [june, july, august]


def test_a_refund_of_what_has_no_price_has_no_cost_either(tmp_path: Path, run: Run) -> None:
    world = World(tmp_path / "scratch")
    more = [item(ACME, "40.00", "oss"), item(ACME, "-10.00", "oss", Item="Refund")]
    small_month(world, [(P1, DAYS[2], one) for one in more])
    go_live(world)
    world.final()
    document = plan("op", "aurora", "110", when="product_code == 'ecs'", refunds={"within": "none"})

    [sale] = run(document, of=world)["sales"]
    assert charges(sale) == [("acme", "ecs", "660", "600", "60"), ("atlas", "ecs", "1100", "1000", "100")]
    assert [(one["kind"], one["held"]) for one in sale["cases"]] == [("no_rule", "40")]
    [all_] = run(plan("op", "aurora", "110", refunds={"within": "none"}), of=world)["sales"]
    assert charges(all_)[1] == ("acme", "oss", "33", "30", "3")


def test_prices_in_another_currency_are_converted_and_compare_with_costs_in_theirs(world: World, run: Run) -> None:
    dollars = plan("op", "aurora", "110", currency="USD")
    [sale] = run(dollars)["sales"]
    assert {one["kind"] for one in sale["cases"]} == {"no_fx_rate"}
    assert sale["charges"] == []

    body = f"currency,to,cycle,rate\nCNY,USD,{CYCLE},0.125\n".encode()
    world.approve(references.propose_fx(world.services, body, "f", by=PREPARER, why="test", at=world.at),
                  drain=False)  # fmt: skip
    [sale] = run(dollars)["sales"]
    assert charges(sale)[0] == ("acme", "ecs", "82.5", "75", "7.5")
    to_acme, _ = run(plan("aurora", "acme", "90"), dollars)["sales"]
    assert charges(to_acme)[0] == ("acme", "ecs", "540", None, None)
    assert to_acme["notes"] == ["costs are not known: operator to aurora is charged in another currency"]
