"""The local BSS service's settlement records and split bills, asked by the genuine SDKs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from alibabacloud_bssopenapi20171214 import models
from alibabacloud_tea_openapi.exceptions import ClientException

from infra.clearbook.demo.month import month
from infra.localcloud.bss.item import AMOUNTS
from infra.localcloud.bss.load import enable_split_bill
from tests.contract.bss_cloud import CYCLE, FINAL, Payer, World, line, on, refused, running


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running(tmp_path_factory.mktemp("bss"), "--describe-qps", "100000") as world:
        yield world


@pytest.fixture
def world(service: World) -> World:
    service.clock.set(FINAL)
    return service


def settled(payer: Payer, size: int = 300, **query: Any) -> list[dict[str, Any]]:
    """Every record over all pages, which must agree on how many there are."""
    records: list[dict[str, Any]] = []
    token, totals = "", set()
    while True:
        data = payer.call("QuerySettleBill", MaxResults=size, NextToken=token, **query)
        records += data["Items"]["Item"]
        totals.add(data["TotalCount"])
        token = data["NextToken"]
        if token == "":
            assert totals == {len(records)}
            return records


def test_the_typed_client_reads_a_settlement_record(world: World) -> None:
    payer = world.payer(line(3, "12.5", ProductName="云服务器ECS"), line(3, "2.5", InstanceID="i-2"))

    body = payer.typed().query_settle_bill(models.QuerySettleBillRequest(billing_cycle=CYCLE, max_results=300)).body

    (record,) = body.data.items.item
    assert (body.code, body.success, body.data.total_count, body.data.account_id) == ("Success", True, 1, payer.account)
    assert (body.data.max_results, body.data.next_token, body.data.billing_cycle) == (300, "", CYCLE)
    assert (record.bill_account_id, record.owner_id, record.product_name) == (payer.account, "1001", "云服务器ECS")
    assert (record.pretax_amount, record.after_tax_amount, record.tax, record.currency) == (15, 15, 0, "CNY")
    assert (record.usage_start_time, record.usage_end_time) == ("2026-06-03 00:00:00", "2026-06-04 00:00:00")
    assert (record.item, record.status, record.round_down_discount) == ("PayAsYouGoBill", "PayFinish", "0")
    assert {name for name, value in record.to_map().items() if value is not None} == set(record.to_map())
    assert len(record.to_map()) == 35


def test_a_day_of_a_product_is_a_record_with_a_number_of_its_own(world: World) -> None:
    payer = world.payer(
        line(1, "1"), line(1, "2", InstanceID="j"), line(2, "4"), line(2, "8", ProductCode="oss"),
        line(2, "-1", Item="Refund"), line(2, "16", OwnerID="1002"),
    )  # fmt: skip

    records = settled(payer)

    assert sorted(record["PretaxAmount"] for record in records) == [-1, 3, 4, 8, 16]
    assert len({record["RecordID"] for record in records}) == 5
    assert {record["RecordID"][:8] for record in records} == {"20260601", "20260602"}
    assert records == settled(payer), "numbers are the same whenever they are asked for"


@pytest.mark.parametrize("size", [1, 7, 300])
def test_records_page_to_the_end_each_once(world: World, size: int) -> None:
    payer = world.payer(*[line(1 + n % 4, f"{n}.01", ProductCode=f"p{n // 4}") for n in range(40)])

    amounts = [record["PretaxAmount"] for record in settled(payer, size)]

    assert sorted(amounts) == [Decimal(f"{n}.01") for n in range(40)]


def test_a_record_is_found_by_its_number(world: World) -> None:
    payer = world.payer(line(1, "1"), line(2, "2"), line(2, "4", ProductCode="oss"))
    number = next(record["RecordID"] for record in settled(payer) if record["PretaxAmount"] == 4)

    assert [record["PretaxAmount"] for record in settled(payer, RecordID=number)] == [4]
    for other in ("2026060200000000000000", "20260702", "x"):
        assert settled(payer, RecordID=other) == []


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({"Type": "Refund"}, [-3]),
        ({"Type": "Adjustment"}, []),
        ({"ProductCode": "oss"}, [2]),
        ({"SubscriptionType": "Subscription"}, [5]),
        ({"BillOwnerId": 1002}, [7]),
        ({"IsHideZeroCharge": True}, [-3, 1, 2, 5, 7]),
        ({}, [-3, 0, 1, 2, 5, 7]),
    ],
)
def test_filters_narrow_records(world: World, narrowed: dict[str, Any], expected: list[int]) -> None:
    payer = world.payer(
        line(1, "1"), line(1, "2", ProductCode="oss"), line(1, "-3", Item="Refund"), line(1, "7", OwnerID="1002"),
        line(1, "5", SubscriptionType="Subscription", Item="SubscriptionOrder"), line(1, "0", ProductCode="free"),
    )  # fmt: skip

    assert sorted(record["PretaxAmount"] for record in settled(payer, **narrowed)) == expected


def test_the_state_of_payment_follows_the_amounts(world: World) -> None:
    owed = {"PaymentAmount": Decimal(0), "CashAmount": Decimal(0), "OutstandingAmount": Decimal(4)}
    payer = world.payer(
        line(1, "1"), line(1, "4", ProductCode="owed", **owed), line(1, "0", ProductCode="free"),
        line(1, "9", ProductCode="order", Item="SubscriptionOrder"),
    )  # fmt: skip

    found = {record["ProductCode"]: record for record in settled(payer, IsDisplayLocalCurrency=True)}

    assert {code: record["Status"] for code, record in found.items()} == {
        "ecs": "PayFinish", "owed": "PayUnclear", "free": "NoSettle", "order": "PayFinish",
    }  # fmt: skip
    assert [found["owed"]["PaymentTime"], found["ecs"]["PaymentTime"]] == ["", "2026-06-02 00:00:00"]
    assert found["order"]["SubOrderId"].startswith(found["order"]["RecordID"])
    assert found["ecs"]["SubOrderId"] == ""
    assert found["ecs"]["PaymentCurrency"] == "CNY"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"BillingCycle": ""}, "MissingBillingCycle"),
        ({"Type": "Gift"}, "InvalidParameter"),
        ({"MaxResults": 301}, "InvalidParameter"),
        ({"NextToken": "CAESEgoQCg4KCm"}, "InvalidParameter"),
        ({"IsDisplayLocalCurrency": "perhaps"}, "InvalidParameter"),
    ],
)
def test_a_malformed_question_for_records_is_refused(world: World, query: dict[str, object], code: str) -> None:
    assert refused(world.payer(), "QuerySettleBill", **query) == (400, code)


def test_a_token_of_records_is_good_for_the_same_question_only(world: World) -> None:
    payer = world.payer(line(1), line(2))
    token = payer.call("QuerySettleBill", MaxResults=1)["NextToken"]

    assert payer.call("QuerySettleBill", NextToken=token)["TotalCount"] == 2
    assert refused(payer, "QuerySettleBill", NextToken=token, Type="Refund") == (400, "InvalidParameter")
    assert refused(payer, "DescribeInstanceBill", NextToken=token, **on(1)) == (400, "InvalidParameter")


def test_six_hundred_questions_for_records_a_minute_are_answered(world: World) -> None:
    payer = world.payer()

    assert all(payer.call("QuerySettleBill")["TotalCount"] == 0 for _ in range(600))
    assert refused(payer, "QuerySettleBill") == (400, "Throttling.User")


def split(payer: Payer, size: int = 300, **query: Any) -> list[dict[str, Any]]:
    """Every item of the split bill over all pages."""
    items: list[dict[str, Any]] = []
    token = ""
    while True:
        data = payer.call("DescribeSplitItemBill", MaxResults=size, NextToken=token, **query)
        items += data["Items"]
        token = data["NextToken"]
        if token == "":
            assert data["TotalCount"] == len(items)
            return items


def enabled(payer: Payer) -> Payer:
    """The payer, Split Bill being enabled long since."""
    enable_split_bill(payer.world.home, payer.account, FINAL - timedelta(days=90))
    return payer


def part(day: int, pretax: str, item: str, **fields: Decimal | str) -> Any:
    """A line of what the bandwidth package `cbwp-1` costs for one address."""
    return line(day, pretax, InstanceID="cbwp-1", SplitItemID=item, SplitItemName=f"name of {item}", **fields)


def test_the_typed_client_reads_a_split_bill(world: World) -> None:
    payer = enabled(world.payer(part(3, "1.25", "eip-1", SplitAccountID="1002"), line(3, "4", NickName="web")))

    body = payer.typed().describe_split_item_bill(
        models.DescribeSplitItemBillRequest(
            billing_cycle=CYCLE, granularity="DAILY", billing_date="2026-06-03", max_results=300
        )
    ).body  # fmt: skip

    parts = {item.split_item_id: item for item in body.data.items}
    assert (body.code, body.data.total_count, body.data.next_token) == ("Success", 2, "")
    shared, own = parts["eip-1"], parts["i-1"]
    assert (shared.instance_id, shared.split_account_id, shared.split_item_name) == ("cbwp-1", "1002", "name of eip-1")
    assert (shared.pretax_amount, shared.split_billing_cycle, shared.split_billing_date) == (1.25, CYCLE, "2026-06-03")
    assert (own.instance_id, own.split_item_name, own.split_account_id) == ("i-1", "web", "1001")
    assert all(value is not None for value in own.to_map().values())
    assert len(own.to_map()) == 55


def test_split_bills_must_be_enabled_a_day_before(world: World) -> None:
    payer = world.payer(line(1))

    answer = json.loads(payer.raw("DescribeSplitItemBill"))
    assert (answer["Code"], answer["Success"]) == ("NotApplicable", False)

    enable_split_bill(world.home, payer.account, FINAL - timedelta(hours=23, minutes=59))
    assert split(payer) == []
    enable_split_bill(world.home, payer.account, FINAL - timedelta(hours=24))
    assert len(split(payer)) == 1


def test_split_bills_are_kept_for_twelve_months(world: World) -> None:
    payer = enabled(world.payer(line(1)))

    world.clock.set(FINAL.replace(year=2027, month=6))
    assert len(split(payer)) == 1
    world.clock.set(FINAL.replace(year=2027, month=7))
    assert (split(payer), len(payer.items(**on(1)))) == ([], 1)


def test_a_month_sums_the_days_of_each_part(world: World) -> None:
    payer = enabled(
        world.payer(*[part(day, f"0.0{n}", f"eip-{n}", Usage="0.5") for day in range(1, 11) for n in (1, 2)])
    )

    assert sorted((i["SplitItemID"], i["PretaxAmount"], i["Usage"]) for i in split(payer, 1)) == [
        ("eip-1", Decimal("0.1"), "5.0"),
        ("eip-2", Decimal("0.2"), "5.0"),
    ]
    assert [item["PretaxAmount"] for item in split(payer, SplitItemID="eip-2")] == [Decimal("0.2")]
    assert len(split(payer, SplitItemID="eip-2", **{**on(1), "BillingDate": "2026-05-01"})) == 10
    (whole,) = payer.items()
    assert whole["PretaxAmount"] == Decimal("0.3")
    assert not any(name.startswith("Split") for name in (*whole, *payer.items(**on(1))[0]))


def test_a_tag_filter_asks_for_any_of_its_keys_and_values(world: World) -> None:
    payer = enabled(
        world.payer(
            line(1, "1", InstanceID="a", Tag="key:env value:prod; key:team value:x; y"),
            line(1, "2", InstanceID="b", Tag="key:env value:test"), line(1, "4", InstanceID="c", Tag=""),
            line(1, "8", InstanceID="d", Tag="key:team value:key:env value:prod"),
        )
    )  # fmt: skip
    tag = models.DescribeSplitItemBillRequestTagFilter

    def asked(*tags: Any) -> list[float]:
        request = models.DescribeSplitItemBillRequest(billing_cycle=CYCLE, tag_filter=list(tags))
        return sorted(item.pretax_amount for item in payer.typed().describe_split_item_bill(request).body.data.items)

    assert asked(tag(tag_key="env")) == [1, 2]
    assert asked(tag(tag_key="env", tag_values=["prod"])) == [1]
    assert asked(tag(tag_key="env", tag_values=["prod", "test"])) == [1, 2]
    assert asked(tag(tag_key="env", tag_values=["test"]), tag(tag_key="team", tag_values=["x; y"])) == [1, 2]
    assert asked(tag(tag_key="Env")) == []
    assert asked() == [1, 2, 4, 8]
    with pytest.raises(ClientException) as refusal:
        asked(tag(tag_values=["prod"]))
    assert refusal.value.code == "InvalidParameter.TagValues"


@pytest.mark.parametrize("name", ["TagFilter.21.TagKey", "TagFilter.0.TagKey", "TagFilter.1.TagValues.21"])
def test_a_tag_filter_has_at_most_twenty_keys_and_values(world: World, name: str) -> None:
    assert refused(enabled(world.payer()), "DescribeSplitItemBill", **{name: "x"}) == (400, "InvalidParameter")


def test_a_generated_month_comes_to_the_same_sums_whichever_call_is_asked(world: World) -> None:
    made = month(7, CYCLE, 700)
    payer = enabled(world.payer())
    payer.add(*made.bill(made.payers[0].account))

    answers = {
        "settle": settled(payer, 97),
        "split month": split(payer),
        "split days": [item for day in range(1, 31) for item in split(payer, **on(day))],
        "instances": payer.items(),
        "overview": payer.call("QueryBillOverview")["Items"]["Item"],
        "account": payer.call("QueryAccountBill", PageSize=300)["Items"]["Item"],
    }

    def sums(rows: list[dict[str, Any]]) -> Counter[str]:
        names = [name for name in AMOUNTS if name != "AfterDiscountAmount"]
        return Counter({name: sum(Decimal(row[name]) for row in rows) for name in names})

    assert sums(answers["settle"])["PretaxAmount"] != 0
    assert {name: sums(rows) for name, rows in answers.items()} == dict.fromkeys(answers, sums(answers["instances"]))
