"""How fresh and how good a bill is: figures from the chain and what is kept, with few calls, and none of an amount."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import PREPARER
from shared.bill import formats, quality
from shared.bill.snapshot import stream_of
from shared.chain.entry import Entry
from shared.cycle import SHANGHAI
from shared.steps import quality as figures
from shared.steps.acts.references import propose_repair
from tests.builders import ACME, CYCLE, DAYS, P1, P2, item
from tests.fakes import Item
from tests.pump import World, go_live, small_month


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    return world


def of(world: World, payer: str = P1, at: datetime | None = None) -> dict[str, Any]:
    """The figures of what the API said."""
    found = figures.figures(world.services, payer, CYCLE, at or world.now)
    source: dict[str, Any] = found["sources"]["api"]
    return source


# -- figures ----------------------------------------------------------------------------------------------------


def test_a_bill_that_nobody_has_seen_has_no_figures_and_says_what_it_is_to_be_settled_from(world: World) -> None:
    found = figures.figures(world.services, P1, CYCLE, world.now)

    assert (found["sources"], found["comparisons"], found["seq"], found["settled_source"]) == ({}, [], 0, "api")


def test_a_whole_bill_is_fresh_and_has_nothing_wrong_with_it(world: World) -> None:
    world.final()
    found = of(world, at=world.now + timedelta(hours=7, minutes=59))

    assert (found["kind"], found["status"], found["rows"]) == ("sealed", "final", 3)
    assert found["totals"] == {"CNY": {"gross": "600", "pretax": "600"}}
    assert (found["lag_hours"], found["gap_hours"]) == (7, None)
    assert found["rejects"] == {"count": 0, "reasons": {}}
    assert (found["broken"], found["repaired"], found["unknown_fields"], found["unknown_codes"]) == ({}, {}, [], {})
    assert (found["dates_missing"], found["dates_empty"]) == ([], [])
    assert (found["control"]["differences"], found["control"]["amounts"]) == (0, {})


def test_dates_up_to_yesterday_that_nobody_asked_for_are_missing(world: World) -> None:
    world.daily(DAYS[1])  # of the 28th alone: the connector begins with it

    assert of(world)["dates_missing"] == []
    later = datetime.fromisoformat("2025-06-30T09:00:00").replace(tzinfo=SHANGHAI)
    assert of(world, at=later)["dates_missing"] == [DAYS[1]]
    assert of(world, at=later + timedelta(days=40))["dates_missing"] == [DAYS[1], DAYS[2]]


def test_a_date_of_which_the_provider_says_that_there_is_nothing_is_empty_and_not_missing(world: World) -> None:
    world.bill(P1, DAYS[1])
    world.final()

    assert (of(world)["dates_missing"], of(world)["dates_empty"]) == ([], [DAYS[1]])


def test_what_the_lines_have_less_than_the_providers_sums_is_told_by_currency(world: World) -> None:
    world.cloud.provider.controls[P1, CYCLE] = {ACME: Decimal("12.50")}
    world.final()

    control = of(world)["control"]
    # The overview and the sums by month say the same: one difference, and its amount counts once.
    assert (control["differences"], control["open"], control["attempt"]) == (1, 1, 1)
    assert (control["amounts"], control["open_amounts"]) == ({"CNY": "-12.5"}, {"CNY": "-12.5"})


def test_each_pull_that_came_late_shows_in_the_hours_between_two_rounds(world: World) -> None:
    world.daily("2025-06-29")
    world.daily("2025-07-01")

    assert of(world)["gap_hours"] == 48


def test_rows_that_are_no_lines_count_by_the_class_of_their_reason(world: World) -> None:
    bad = [item(ACME, "7.00", PretaxAmount=text) for text in ("many", "few", "few")]
    world.bill(P1, DAYS[2], item(ACME, "300.00"), *bad, item(ACME, "7.00", Currency="yuan"))
    world.final()

    found = of(world)["rejects"]
    assert found["count"] == 4
    assert [(name, one["count"]) for name, one in found["reasons"].items()] == [
        ("PretaxAmount … is no number that can be held exactly", 3),
        ("currency … is no ISO 4217 code", 1),
    ]
    first = found["reasons"]["PretaxAmount … is no number that can be held exactly"]["first"]
    assert first == "PretaxAmount many is no number that can be held exactly"


def test_fields_that_nobody_knows_and_equations_that_do_not_hold_are_told(world: World) -> None:
    world.bill(P1, DAYS[0], item(ACME, "100.00", PretaxGrossAmount=Decimal("9.00"), NewThing="x"))
    world.final()

    assert of(world)["unknown_fields"] == ["NewThing"]
    assert sum(of(world)["broken"].values()) >= 1
    assert all(" = " in equation for equation in of(world)["broken"])


def test_lines_that_an_approved_repair_rule_changed_count_by_rule(world: World) -> None:
    rule = {"repair": "acme-zone", "version": 1, "when": {"product_code": ["ecs"]}, "set": {"zone": "cn-hangzhou-i"},
            "because": "the provider names the zone of a neighbour"}  # fmt: skip
    world.approve(propose_repair(world.services, rule, "rule", by=PREPARER, why="test", at=world.at))
    world.final()

    assert of(world)["repaired"] == {"acme-zone/1": 3}


@pytest.mark.parametrize("kept", [{"product x": 4, "product y": 1}, ["product x", "product y"], None])
def test_unknown_codes_are_taken_as_they_are_kept_or_not_at_all(world: World, kept: Any) -> None:
    world.final()
    for key in world.keys("work", f"ingested/{P1}/{CYCLE}/"):
        if key.endswith(f"{DAYS[0]}.json") and kept is not None:
            body = json.loads(world.cloud.work.objects[key]) | {"unknown_codes": kept}
            world.cloud.work.objects[key] = json.dumps(body).encode()
    world.cloud.work.delete(figures.key_of(P1, CYCLE))

    assert sorted(of(world)["unknown_codes"]) == sorted(kept or [])


# -- what is kept -----------------------------------------------------------------------------------------------


def test_every_seal_keeps_the_figures_of_its_bill_and_wakes_nobody_by_it(world: World) -> None:
    world.daily("2025-07-01")
    first = figures.kept(world.services, P1, CYCLE)
    world.final()
    second = figures.kept(world.services, P1, CYCLE)

    assert first is not None
    assert second is not None
    assert (first["seq"], second["seq"]) == (1, 2)
    assert second == figures.figures(world.services, P1, CYCLE, world.now)
    triggers = [trigger for function in world.pump.functions.values() for trigger in function.triggers]
    assert not any(trigger.takes(world.cloud.work.bucket, figures.key_of(P1, CYCLE)) for trigger in triggers)


def test_of_dates_that_a_round_did_not_ask_for_nothing_is_read_again(world: World) -> None:
    world.final()
    world.cloud.calls.begin()
    of(world)

    read = [call for call in world.cloud.calls.made if call.startswith(("find", "read "))]
    # The streams of the bill and of the parties, and the figures themselves.
    assert len(read) == 3, read
    assert not any("ingested/" in call or "sources/" in call for call in read)


def test_figures_of_another_format_are_made_anew(world: World) -> None:
    world.final()
    right = of(world)
    key = figures.key_of(P1, CYCLE)
    world.cloud.work.objects[key] = json.dumps({"format": 0, "sources": {"api": {"days": None}}}).encode()

    assert of(world) == right


def test_who_reads_before_another_appends_does_not_leave_older_figures(world: World) -> None:
    world.daily("2025-07-01")
    stale: list[Entry] = world.services.chain.read(stream_of(P1, CYCLE))
    world.final()
    figures.keep(world.services, P1, CYCLE, stale)

    kept = figures.kept(world.services, P1, CYCLE)
    assert kept is not None
    assert kept["seq"] == 2


# -- what is told of it -----------------------------------------------------------------------------------------


def test_metrics_are_counts_and_hours_of_the_newest_observation_and_no_amounts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Any, ...]] = []
    from functions import ingest_bill

    class Log:
        def metric(self, *metric: Any) -> None:
            told.append(metric)

        def info(self, *_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(ingest_bill, "step_log", lambda _: Log())
    bad = item(ACME, "7.00", PretaxAmount="many")
    world.bill(P2, DAYS[2], item(ACME, "987654.321"), bad)
    world.final()

    mine = {name: value for name, value, _, where in told if where["account"] == P2}
    assert mine == {
        "bill_rows": 3, "bill_rejects": 1, "bill_control_differences": 0, "bill_control_open": 0, "bill_broken": 0,
        "bill_repaired": 0, "bill_unknown_fields": 0, "bill_unknown_codes": 0, "bill_dates_missing": 0,
    }  # fmt: skip
    assert {tuple(where) for *_, where in told} == {("account", "cycle", "source")}
    assert all(type(value) is int and unit in ("count", "hours") for _, value, unit, _ in told)
    assert "987654" not in repr(told)


# -- classes of reasons -----------------------------------------------------------------------------------------


ROWS: dict[str, tuple[Item, str]] = {
    "date": (item(ACME, "7.00", BillingDate="2025-06-31"), "BillingDate … is no date"),
    "number": (item(ACME, "7.00", PretaxAmount="is no date"), "PretaxAmount … is no number that can be held exactly"),
    "kind": (item(ACME, "7.00", Item="Gift of the house"), "Item … is of no known kind"),
    "nul": (item(ACME, "7.00", NickName="a\x00b"), "NickName holds a NUL character"),
    "missing": (item(ACME, "7.00", SubscriptionType=""), "SubscriptionType is missing"),
    "tags": (
        item(ACME, "7.00", Tag="lonely text"),
        "Tag: … does not begin with 'key:'; expected 'key:K value:V; key:K2 value:V2'",
    ),
    "below": (item(ACME, "-7.00"), "PretaxGrossAmount … of a charge is below 0"),
    "other date": (item(ACME, "7.00", BillingDate=DAYS[0]), "BillingDate … is not …"),
    "payer": (item(ACME, "7.00", BillAccountID="999"), "BillAccountID … is not the payer"),
    "structure": (item(ACME, "7.00", NickName={"a": 1}), "NickName holds …, expected text or a number"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("case", ROWS)
def test_the_reason_of_a_row_that_is_no_line_loses_its_value(world: World, case: str) -> None:
    row, expected = ROWS[case]
    world.bill(P1, DAYS[2], row)
    world.final()

    assert list(of(world)["rejects"]["reasons"]) == [expected]


CLASSIC = formats.load("classic-zh")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("账期 2025年6月 is no month", "账期 … is no month"),
        ("消费类型, 账单类型 后付费 别的 is of no known kind", "消费类型, 账单类型 … is of no known kind"),
        ("the date 2025-07-01 is not of the cycle 2025-06", "the date … is not of the cycle …"),
        ("the line 17 of 20 is there already", "the line … is there already"),
        ("has 12 cells, expected 14", "has … cells, expected …"),
        ("its amounts break gross - discount = pretax", "its amounts break gross - discount = pretax"),
        ("no currency is known; declare it in the connector", "no currency is known; declare it in the connector"),
        ("something 4711 that 'nobody' foresaw", "something … that … foresaw"),
    ],
)
def test_reasons_of_bill_files_lose_their_values_too(reason: str, expected: str) -> None:
    assert list(quality.classes([reason], CLASSIC)) == [expected]


def test_no_class_is_longer_than_people_read(world: World) -> None:
    assert len(quality.reason_class("x " * 5_000, [])) <= 200
