"""From the provider's answer to a seal: what is taken, what is kept as a case, what is refused and waits."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from shared.ids import digest
from tests.builders import ACME, ATLAS, BIRCH, DAYS, P1, P2, assigned, item, parties
from tests.fakes import Item, envelope
from tests.pump import World, go_live, small_month


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    return world


def test_a_last_provisional_bill_that_equals_the_final_one_becomes_final(world: World) -> None:
    world.daily("2025-07-01")
    world.final()

    provisional, final = world.seals()
    assert (provisional.status, final.status) == ("provisional", "final")
    assert provisional.snapshot == final.snapshot
    assert (world.total(), world.total("borealis")) == ("160.00", "15.00")


def test_what_is_pulled_twice_with_the_same_content_is_one_part_and_one_snapshot(world: World) -> None:
    world.daily("2025-07-01")
    parts, snapshots = world.keys("work", "parts/"), world.keys("work", "snapshots/")
    world.final()

    assert world.keys("work", "parts/") == parts
    assert world.keys("work", "snapshots/") == snapshots
    assert len(parts) == 6
    assert len(snapshots) == 2


def test_parts_and_snapshots_do_not_depend_on_the_order_the_provider_lists_lines_in(world: World) -> None:
    lines = [item(ACME, f"{n}.00", InstanceID=f"i-{n}") for n in range(1, 8)]
    world.bill(P1, DAYS[0], *lines)
    world.daily("2025-07-01")
    [parts] = [world.keys("work", f"parts/{P1}/2025-06/{DAYS[0]}/")]
    world.bill(P1, DAYS[0], *reversed(lines))
    world.final()

    assert world.keys("work", f"parts/{P1}/2025-06/{DAYS[0]}/") == parts
    assert len({seal.snapshot for seal in world.seals()}) == 1


def test_a_bill_before_noon_of_the_third_is_never_final(world: World) -> None:
    for day in ("2025-07-01", "2025-07-02", "2025-07-03"):
        world.daily(day)

    assert {seal.status for seal in world.seals()} == {"provisional"}
    assert "calculated" not in {entry.kind for entry in world.services.chain.read("reseller/aurora")}


def test_an_older_round_that_is_sealed_late_changes_no_date_a_newer_round_has_seen(world: World) -> None:
    world.daily("2025-07-01", drain=False)
    page = f"raw/{P1}/2025-06/{DAYS[2]}-d20250701/_complete.json"
    world.pump.drain(hold=lambda one: one.what == page)
    world.bill(P1, DAYS[2], item(ACME, "400.00"))
    late = list(world.pump.waiting)
    world.pump.waiting.clear()
    assert len(late) == 1
    world.final()
    assert world.total() == "170.00"

    world.pump.waiting = late
    world.pump.drain()

    assert world.total() == "170.00"
    assert world.seals()[-1].totals == {"CNY": {"gross": "700", "pretax": "700"}}
    assert world.pump.refusals == []


def test_a_round_that_was_cut_off_at_its_seal_is_sealed_after_a_newer_one_was(world: World) -> None:
    """The first attempt has written its control comparison; meanwhile another round of the account is sealed."""
    world.decide_parties(parties(since="2025-06-27"))
    world.bill(P1, "2025-06-27", item(ACME, "10.00"))
    world.bill(P2, "2025-06-27")
    fail_seal(world)
    world.daily("2025-06-30", drain=False)
    world.pump.drain()
    [cut_off] = world.pump.given_up
    assert cut_off.function == "ingest_bill"
    world.cloud.services = world.services
    world.daily("2025-07-01")
    assert [seal.slot for seal in world.seals()] == ["d20250701"]

    world.pump.waiting.append(cut_off)
    world.pump.drain()

    assert world.pump.refusals == []
    assert sorted(seal.slot for seal in world.seals()) == ["d20250630", "d20250701"]


def fail_seal(world: World) -> None:
    """Until it is mended, no entry can be appended to the stream of payer 100's bill."""
    from dataclasses import replace

    from shared.chain.chain import Chain
    from shared.chain.entry import Entry
    from shared.ports import ServiceError

    class Broken(Chain):
        def _put(self, entry: Entry) -> bool:
            if entry.stream == f"bill/{P1}/2025-06":
                raise ServiceError("cannot append", "the table is busy", "run it again later", retryable=True)
            return super()._put(entry)

    world.cloud.services = replace(world.services, chain=Broken(world.cloud.rows))


BAD_LINES: dict[str, Item] = {
    "BillingDate 2025-06-31 is no date": item(ACME, "7.00", BillingDate="2025-06-31"),
    "PretaxAmount many is no number that can be held exactly": item(ACME, "7.00", PretaxAmount="many"),
    "PretaxGrossAmount 0.00000000001 is no number that can be held exactly": item(
        ACME, "7.00", PretaxGrossAmount=Decimal("0.00000000001")
    ),
    "Item Gift is of no known kind": item(ACME, "7.00", Item="Gift"),
    "NickName holds a NUL character": item(ACME, "7.00", NickName="a\x00b"),
    "SubscriptionType is missing": item(ACME, "7.00", SubscriptionType=""),
    "currency yuan is no ISO 4217 code": item(ACME, "7.00", Currency="yuan"),
}


@pytest.mark.parametrize("reason", BAD_LINES)
def test_a_line_that_cannot_be_read_is_a_case_and_the_rest_of_its_page_goes_on(world: World, reason: str) -> None:
    small_month(world, [(P1, DAYS[2], BAD_LINES[reason])])
    for round_ in range(3):  # the provider's own total holds the line: three rounds disagree with it
        world.final(round_)

    assert world.total() == "160.00"
    [bad] = [one for one in world.cases() if one["kind"] == "bad_line"]
    assert reason in str(bad["problem"])
    assert bad["lines"] == 1
    assert world.seals()[-1].rows == 3


def test_control_totals_that_disagree_three_times_seal_final_with_a_case(world: World) -> None:
    world.cloud.provider.controls[P2, "2025-06"] = {BIRCH: Decimal("0.01")}
    for round_ in range(3):
        world.final(round_)

    assert [seal.status for seal in world.seals(P2)] == ["provisional", "provisional", "final"]
    [case] = [one for one in world.cases() if one["kind"] == "source_mismatch"]
    assert (case["owner"], case["amount"], case["currency"]) == ("operator", "-0.01", "CNY")
    assert f"{P2}/{BIRCH}/ecs" in str(case["problem"])
    assert world.total("borealis") == "15.00"


def test_control_totals_that_agree_in_the_second_round_leave_no_case(world: World) -> None:
    world.cloud.provider.controls[P2, "2025-06"] = {BIRCH: Decimal("0.01")}
    world.final(0)
    world.cloud.provider.controls.clear()
    world.final(1)

    assert [seal.status for seal in world.seals(P2)] == ["provisional", "final"]
    assert world.cases() == []


def test_an_answer_with_success_false_is_kept_and_the_next_round_asks_again(world: World) -> None:
    refused = envelope({}, success=False, code="NotApplicable", message="This API is not applicable for caller.")
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[1], refused)
    world.final(0)

    [refusal] = world.pump.refusals
    assert "Code=NotApplicable" in refusal["refused"]
    [kept] = [key for key in world.keys("records", f"raw/{P1}/") if "refused-" in key]
    assert gzip.decompress(world.cloud.records.objects[kept]) == refused
    assert world.seals() == []

    world.final(1)
    assert world.total() == "160.00"


def test_a_count_that_the_pages_do_not_reach_is_refused_and_the_next_round_asks_again(world: World) -> None:
    page = envelope({"Items": [dict(item(ACME, "200.00"))], "TotalCount": 2, "NextToken": ""})
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[1], page, page, page)
    world.final(0)

    [refusal] = world.pump.refusals
    assert refusal["code"] == "pull_inconsistent"
    assert "1 rows where the provider counts 2" in refusal["refused"]
    assert world.seals() == []

    world.final(1)
    assert world.total() == "160.00"


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"Success":true,"Code":"Success","Data":{"Items":{}}}', b"NaN"])
def test_an_answer_that_is_no_page_is_refused_and_named(world: World, body: bytes) -> None:
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[0], body)
    world.final(0)

    [refusal] = world.pump.refusals
    assert refusal["kept"] in world.keys("work")
    assert f"{P1} {DAYS[0]}-f20250703T1230" in refusal["refused"]
    assert world.seals() == []


@pytest.mark.parametrize("body", [b"<html>", b'{"Success":true,"Code":"Success","Data":{"Items":{}}}'])
def test_an_answer_that_is_no_page_does_not_stand_in_the_way_of_the_same_order(world: World, body: bytes) -> None:
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[0], body)
    world.final(0)
    order = f"work/pull/{P1}/2025-06/{DAYS[0]}-f20250703T1230.json"
    world.cloud.work.put_again(order, world.cloud.work.objects[order])
    world.pump.drain()

    assert [seal.status for seal in world.seals()] == ["final"]


def test_a_sweep_goes_on_past_a_round_whose_first_date_is_missing(world: World) -> None:
    """The provider refuses a date of payer 100; nothing of that stops what the sweep mends for others."""
    refused = b'{"Success":false,"Code":"NotApplicable"}'
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[0], refused, refused)
    world.final(0)
    world.pump.refusals.clear()
    world.sweep("2025-07-04")

    assert [one for one in world.pump.refusals if "NotApplicable" not in one["refused"]] == []
    assert ("sweep", "2025-07-04T14:15:00Z") in world.cloud.rows.tables["steps"]


def test_pages_of_three_hundred_are_followed_to_the_last(world: World) -> None:
    lines = [item(ACME, "1.00", InstanceID=f"i-{n}") for n in range(1801)]
    world.bill(P1, DAYS[0], *lines)
    world.final()

    assert [key.rpartition("/")[2] for key in world.keys("records", f"raw/{P1}/2025-06/{DAYS[0]}-")] == [
        "_complete.json", *(f"page-{number:05d}.json.gz" for number in range(1, 8)),
    ]  # fmt: skip
    assert world.seals()[-1].rows == 1803
    assert world.total() == "330.10"  # 1801.00 + 200.00 + 300.00 + 1000.00, at 10 %


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (None, "is missing"),
        (b"no gzip", "is no gzip"),
        (gzip.compress(b"{}", mtime=0), "does not have its digest"),
    ],
)
def test_a_raw_page_that_is_missing_or_damaged_is_refused_by_name(
    world: World, damage: bytes | None, said: str
) -> None:
    world.final(drain=False)
    world.pump.drain(hold=lambda one: one.function == "ingest_bill")
    page = f"raw/{P1}/2025-06/{DAYS[0]}-f20250703T1230/page-00001.json.gz"
    if damage is None:
        del world.cloud.records.objects[page]
    else:
        world.cloud.records.objects[page] = damage
    world.pump.drain()

    [refusal] = world.pump.refusals
    assert page in refusal["refused"]
    assert said in refusal["refused"]
    assert world.seals() == []


def test_a_field_that_nobody_knows_changes_nothing_and_is_noted(world: World) -> None:
    world.final()
    before = world.seals()[-1].snapshot
    world.bill(P1, DAYS[0], item(ACME, "100.00", GreenSurcharge="0.00"))
    world.daily("2025-07-01")

    assert world.seals()[-1].snapshot == before
    ingested = json.loads(world.cloud.work.objects[f"ingested/{P1}/2025-06/d20250701/{DAYS[0]}.json"])
    assert ingested["unknown_fields"] == ["GreenSurcharge"]


def test_the_raw_page_is_kept_byte_by_byte(world: World) -> None:
    body = envelope({"Items": [dict(item(ACME, "200.00"))], "TotalCount": 1, "NextToken": "", "New": "字段"})
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[1], body)
    world.final()

    folder = f"raw/{P1}/2025-06/{DAYS[1]}-f20250703T1230/"
    assert gzip.decompress(world.cloud.records.objects[folder + "page-00001.json.gz"]) == body
    complete = json.loads(world.cloud.records.objects[folder + "_complete.json"])
    assert complete["pages"] == [{"key": folder + "page-00001.json.gz", "digest": digest(body), "rows": 1}]


def test_bill_lines_show_the_newest_seal_and_say_what_is_gone(world: World) -> None:
    world.daily("2025-07-01")
    world.bill(P1, DAYS[0], item(ACME, "100.50", InstanceID="i-2"))
    world.final()

    rows = [row for row in world.cloud.rows.tables["bill_lines"].values() if row["payer"] == P1]
    gone, there = [row for row in rows if row.get("gone")], [row for row in rows if not row.get("gone")]
    assert len(gone) == 1
    assert sorted(str(row["pretax"]) for row in there) == ["100.5000000000", "200.0000000000", "300.0000000000"]
    assert {row["seal"] for row in gone} == {world.seals()[-1].seq}


def test_a_payer_without_a_connector_is_refused_by_name(world: World) -> None:
    world.cloud.work.put_once("work/pull/300/2025-06/2025-06-30-d20250701.json", b"{}")
    world.pump.drain()

    [refusal] = world.pump.refusals
    assert "payer account 300 has no connector" in refusal["refused"]


def test_what_is_billed_before_the_connector_begins_is_not_asked_for(world: World) -> None:
    world.decide_parties(parties([assigned(ACME, "acme", "aurora"), assigned(ATLAS, "atlas", "aurora")], since=DAYS[1]))
    world.daily("2025-07-01")

    assert sorted(world.seals()[-1].pulls) == [DAYS[1], DAYS[2]]
