"""Bill files that the local BSS service pushes into the local OSS: which, when, where to and what is in them."""

from __future__ import annotations

import csv
import io
import itertools
import json
import sqlite3
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import oss2
import pytest
from alibabacloud_bssopenapi20171214 import models
from alibabacloud_tea_openapi.exceptions import ClientException

from infra.clearbook.demo.month import month
from infra.localcloud.bss.billfile import Form, write
from infra.localcloud.bss.load import (
    add_items,
    add_payer,
    enable_split_bill,
    grant_dump_role,
    revoke_dump_role,
    set_file_format,
)
from infra.localcloud.bss.schedule import BillFile, Kind, files_at, first_push, push_on
from infra.localcloud.bss.state import connect, may_dump_to
from infra.localcloud.bss.subscriptions import Subscriptions
from tests.contract.bill_files import BUCKET, Files, beijing, services, subscribe
from tests.contract.bss_cloud import CYCLE, Payer, line, refused

DETAIL, INSTANCES = "BillingItemDetailForBillingPeriod", "InstanceDetailForBillingPeriod"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    with services(tmp_path_factory.mktemp("files")) as started:
        yield started


@pytest.fixture
def files(shared: Files) -> Iterator[Files]:
    """The services on the first of June, with nobody subscribed and an empty bucket."""
    shared.world.clock.set(beijing("2026-06-01T12:00"))
    yield shared
    for payer in shared.world.payers:
        unsubscribe_all(payer)
    shared.world.payers.clear()
    for key in shared.objects():
        shared.bucket.delete_object(key)


def unsubscribe_all(payer: Payer) -> None:
    subscriptions = Subscriptions(payer.world.home)
    for made in subscriptions.of(payer.account):
        subscriptions.remove(payer.account, made.order.kind, made.order.accounts)
    subscriptions.close()


def pretax(rows: list[dict[str, str]], column: str = "应付金额") -> list[Decimal]:
    return [Decimal(row[column]) for row in rows]


def seen(at: str, day: int, amount: str, **fields: Any) -> Any:
    """A line of a day of June that is on the bill from an instant on."""
    return (f"{at}+08:00", *line(day, amount, **fields)[1:])


# The schedule, without services.


def names(kind: Kind, day: str, begin: str | None = None) -> list[str]:
    return [file.name("7") for file in files_at(kind, push_on(date.fromisoformat(day)), begin)]


@pytest.mark.parametrize(
    ("kind", "day", "expected"),
    [
        (Kind.BILLING_ITEMS, "2026-06-02", ["7_BillingItemDetail_20260601"]),
        (Kind.BILLING_ITEMS, "2026-07-01", ["7_BillingItemDetail_20260630"]),
        (Kind.BILLING_ITEMS, "2026-07-04", ["7_BillingItemDetail_20260703", "7_BillingItemDetail_202606"]),
        (Kind.INSTANCES, "2027-01-04", ["7_InstanceDetail_20270103", "7_InstanceDetail_202612"]),
        (Kind.BILLING_ITEMS_MONTHLY, "2026-06-30", ["7_BillingItemDetailMonthly_202606"]),
        (Kind.BILLING_ITEMS_MONTHLY, "2026-07-01", ["7_BillingItemDetailMonthly_202606"]),
        (
            Kind.INSTANCES_MONTHLY, "2026-07-04",
            ["7_InstanceDetailMonthly_202606", "7_InstanceDetailMonthly_202607"],
        ),
        (Kind.SPLIT_ITEMS, "2026-07-05", ["7_SplitItemDetailDaily_202607"]),
    ],
)  # fmt: skip
def test_each_morning_has_its_files(kind: Kind, day: str, expected: list[str]) -> None:
    assert names(kind, day) == expected


def test_the_first_push_fills_up_from_the_cycle_asked_for() -> None:
    assert names(Kind.BILLING_ITEMS, "2026-07-03", "2026-04") == [
        "7_BillingItemDetail_202604",
        "7_BillingItemDetail_202605",
        *(f"7_BillingItemDetail_202606{day:02d}" for day in range(1, 31)),
        "7_BillingItemDetail_20260701",
        "7_BillingItemDetail_20260702",
    ]
    assert names(Kind.INSTANCES_MONTHLY, "2026-01-02", "2025-11") == [
        "7_InstanceDetailMonthly_202511", "7_InstanceDetailMonthly_202512", "7_InstanceDetailMonthly_202601",
    ]  # fmt: skip
    assert names(Kind.BILLING_ITEMS, "2026-07-04", "2026-06") == [
        *(f"7_BillingItemDetail_202607{day:02d}" for day in (1, 2, 3)), "7_BillingItemDetail_202606",
    ]  # fmt: skip


def test_the_first_push_is_on_the_next_day_of_beijing() -> None:
    assert first_push(beijing("2026-06-01T00:00")) == beijing("2026-06-02T10:00")
    assert first_push(beijing("2026-06-01T23:59")) == beijing("2026-06-02T10:00")


def test_daily_files_have_every_moment_between_pushes_once() -> None:
    windows = [BillFile(Kind.BILLING_ITEMS, CYCLE, date(2026, 6, day)).window() for day in range(1, 31)]

    assert all(earlier[1] == later[0] for earlier, later in itertools.pairwise(windows))
    with pytest.raises(ValueError, match="no window"):
        BillFile(Kind.BILLING_ITEMS, CYCLE).window()


# The calls.


def test_the_typed_client_subscribes_lists_and_unsubscribes(files: Files) -> None:
    payer = files.subscriber()

    body = subscribe(payer, DETAIL, bucket_path="from/bss", row_limit_per_file=300_000, using_ssl="true")
    listed = payer.typed().query_bill_to_osssubscription().body

    assert (body.code, body.message, body.success) == ("Success", "Successful!", True)
    (item,) = listed.data.items.item
    assert (listed.data.account_id, listed.code) == (payer.account, "Success")
    assert (item.subscribe_type, item.subscribe_bucket, item.bucket_path) == (DETAIL, BUCKET, "from/bss")
    assert (item.bucket_owner_id, item.row_limit_per_file) == (int(payer.account), 300_000)
    assert (item.subscribe_time, item.subscribe_language) == ("2026-06-01 12:00:00", "zh")

    body = payer.typed().unsubscribe_bill_to_oss(models.UnsubscribeBillToOSSRequest(subscribe_type=DETAIL)).body
    assert (body.code, body.success) == ("Success", True)
    assert payer.typed().query_bill_to_osssubscription().body.data.items.item == []


def test_an_answer_without_data_has_none(files: Files) -> None:
    payer = files.subscriber()

    answer = json.loads(payer.raw("UnsubscribeBillToOSS", SubscribeType=DETAIL))

    assert set(answer) == {"Code", "Message", "RequestId", "Success"}


def test_subscribing_again_changes_nothing_and_elsewhere_is_refused(files: Files) -> None:
    payer = files.subscriber(line(1))
    subscribe(payer, DETAIL)
    files.world.clock.set(beijing("2026-06-01T18:00"))

    assert subscribe(payer, DETAIL).success
    with pytest.raises(ClientException, match="unsubscribe first") as refusal:
        subscribe(payer, DETAIL, bucket_path="elsewhere")

    assert refusal.value.code == "InvalidParameter"
    (item,) = payer.typed().query_bill_to_osssubscription().body.data.items.item
    assert (item.subscribe_time, item.bucket_path) == ("2026-06-01 12:00:00", "")


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"SubscribeType": ""}, "MissingSubscribeType"),
        ({"SubscribeType": "Everything"}, "InvalidParameter"),
        ({"SubscribeType": "MonthBill"}, "InvalidAction.NotFound"),
        ({"SubscribeBucket": ""}, "MissingSubscribeBucket"),
        ({"SubscribeBucket": "no-such-bucket"}, "InvalidParameter"),
        ({"SubscribeBucket": "Bills!"}, "InvalidParameter"),
        ({"MultAccountRelSubscribe": "ALL"}, "InvalidParameter"),
        ({"RowLimitPerFile": "0"}, "InvalidParameter"),
        ({"UsingSsl": "yes"}, "InvalidParameter"),
        ({"BucketOwnerId": "1"}, "InvalidOwner"),
        ({"BucketPath": "/x"}, "InvalidParameter"),
        ({"BucketPath": "x//y"}, "InvalidParameter"),
        ({"BucketPath": "x/\U0001f4b0"}, "InvalidParameter"),
        ({"BucketPath": "x/../y"}, "InvalidParameter"),
        ({"BucketPath": "\\x"}, "InvalidParameter"),
        ({"BucketPath": "x" * 255}, "InvalidParameter"),
        ({"BeginBillingCycle": "2026-07"}, "InvalidParameter"),
        ({"BeginBillingCycle": "2025-05"}, "InvalidParameter"),
        ({"BeginBillingCycle": "June"}, "InvalidParameter"),
    ],
)
def test_a_subscription_that_cannot_be_is_refused(files: Files, query: dict[str, Any], code: str) -> None:
    payer = files.subscriber()
    asked = {"SubscribeType": DETAIL, "SubscribeBucket": BUCKET, **query}

    assert refused(payer, "SubscribeBillToOSS", **asked)[1] == code
    assert payer.call("QueryBillToOSSSubscription")["Items"]["Item"] == []


def test_the_owner_of_the_bucket_must_have_granted_the_role(files: Files) -> None:
    payer = files.world.payer(customers=("42",))

    with pytest.raises(ClientException, match="AliyunConsumeDump2OSSRole") as refusal:
        subscribe(payer, DETAIL)
    assert refusal.value.code == "NotAuthorized"
    with pytest.raises(ClientException, match="42 has not granted"):
        subscribe(payer, DETAIL, bucket_owner_id=42)


def test_split_bills_and_sub_accounts_are_for_those_who_have_them(files: Files) -> None:
    payer = files.subscriber()

    for asked in ({"SubscribeType": "SplitItemDetailDaily"}, {"MultAccountRelSubscribe": "ACP1"}):
        query: dict[str, Any] = {"SubscribeType": DETAIL, "SubscribeBucket": BUCKET, **asked}
        answer = json.loads(payer.raw("SubscribeBillToOSS", **query))
        assert (answer["Code"], answer["Success"]) == ("NotApplicable", False)


def test_sixty_questions_for_subscriptions_a_minute_are_answered(files: Files) -> None:
    payer = files.subscriber()

    for _ in range(60):
        payer.call("QueryBillToOSSSubscription")
    assert refused(payer, "QueryBillToOSSSubscription") == (400, "Throttling.User")
    assert subscribe(payer, DETAIL).success, "each call has a quota of its own"


# What is pushed.


def test_nothing_comes_before_the_next_morning_and_each_day_once(files: Files) -> None:
    payer = files.subscriber(line(1, "1"), line(2, "2"), line(3, "4"))
    subscribe(payer, DETAIL)

    assert files.push("2026-06-02T09:59") == 0
    assert (files.push("2026-06-02T10:00"), files.objects()) == (1, [f"{payer.account}_BillingItemDetail_20260601"])
    assert files.push("2026-06-02T23:00") == 0
    assert files.push("2026-06-04T12:00") == 2
    assert [pretax(files.rows(key)) for key in files.objects()] == [[1], [2], [4]]


def test_a_file_says_what_the_bill_says_in_chinese(files: Files) -> None:
    payer = files.subscriber(
        line(
            1, "12.50", ProductCode="ecs", ProductName="云服务器ECS\t", PipCode="ecs-pip", CommodityCode="ecs_c",
            Usage="24.0", UsageUnit="小时", Tag="key:env value:prod; key:team value:a,b", OwnerID="1002",
            NickName='web "1"', InvoiceDiscount=Decimal("0.0000000001"), OutstandingAmount=Decimal("-0.10"),
        )
    )  # fmt: skip
    subscribe(payer, DETAIL)
    files.push("2026-06-02T10:00")
    (key,) = files.objects()

    content = files.bucket.get_object(key).read()
    (row,) = files.rows(key)

    assert content.decode().splitlines()[0] == (
        "账期,财务单元,账号ID,账号,Owner账号,产品Code,产品,产品明细Code,产品明细,消费类型,消费时间,账单开始时间,账单结束时间,服务时长,"
        "订单号/账单号,账单类型,计费方式,实例ID,实例昵称,资源组,实例标签,实例配置,实例规格,公网IP,私网IP,地域,可用区,计费项,单价,"
        "单价单位,用量,用量单位,资源包抵扣,原价,优惠金额,优惠券抵扣,应付金额,现金支付,代金券抵扣,储值卡支付金额,欠费金额,主键"
    )
    assert {name: row[name] for name in ("账期", "账号ID", "Owner账号", "产品Code", "产品", "产品明细Code")} == {
        "账期": CYCLE, "账号ID": payer.account, "Owner账号": "1002", "产品Code": "ecs-pip", "产品": "云服务器ECS\t",
        "产品明细Code": "ecs_c",
    }  # fmt: skip
    assert (row["消费类型"], row["账单类型"], row["实例标签"]) == ("后付费", "后付费账单", "env:prod;team:a,b")
    assert (row["用量"], row["应付金额"], row["优惠金额"], row["欠费金额"]) == (
        "24.0",
        "12.50",
        "0.0000000001",
        "-0.10",
    )
    assert (row["账单开始时间"], row["账单结束时间"]) == ("2026-06-01 00:00:00", "2026-06-02 00:00:00")
    assert row["实例昵称"] == 'web "1"'
    (record,) = payer.call("QuerySettleBill", RecordID=row["订单号/账单号"])["Items"]["Item"]
    assert record["PretaxAmount"] == Decimal("12.5")


@pytest.mark.parametrize("with_currency", [False, True])
def test_a_file_can_be_in_english_with_or_without_a_currency(files: Files, *, with_currency: bool) -> None:
    payer = files.subscriber(line(1, "3"))
    set_file_format(files.world.home, payer.account, "en", with_currency=with_currency)
    subscribe(payer, DETAIL)
    files.push("2026-06-02T10:00")

    content = files.bucket.get_object(files.objects()[0]).read().decode()
    (row,) = csv.DictReader(io.StringIO(content))

    assert content.splitlines()[0] == (
        "Billing Cycle,Cost Center,Account ID,Account Name,Owner Account ID,Owner Account Name,Product Code,"
        "Product Name,Product Type,Product Detail,Subscription Type,Payment Time,Usage Start Time,Usage End Time,"
        "Service Duration,Order No./Bill No.,Item,Billing Type,Instance ID,Instance Name,Resource Group,Instance Tag,"
        "Instance Config,Instance Spec,Internet IP,Intranet IP,Region,Zone,Billing Item,List Price,List Price Unit,"
        "Usage,Usage Unit,Deducted By Resource Package,Pretax Gross Amount,Invoice Discount,Deducted By Coupons,"
        "Pretax Amount,Payment Amount,Deducted By Cash Coupons,Deducted By Prepaid Card,Outstanding Amount"
        + (",Currency" if with_currency else "")
        + ",Primary Key"
    )
    assert (row["Owner Account ID"], row["Pretax Gross Amount"], row["Item"]) == ("1001", "3", "PayAsYouGoBill")
    assert (row["Pretax Amount"], row["Payment Amount"], row["Outstanding Amount"]) == ("3", "3", "0")
    assert row.get("Currency") == ("CNY" if with_currency else None)


def test_late_lines_come_the_day_after_they_appear_and_in_the_file_of_the_month(files: Files) -> None:
    payer = files.subscriber(
        line(1, "1"), seen("2026-06-04T09:30", 1, "2"), seen("2026-06-04T10:30", 1, "4"), line(3, "8"),
        seen("2026-07-03T11:00", 30, "16"),
    )  # fmt: skip
    subscribe(payer, DETAIL)
    files.push("2026-07-04T10:00")

    found = {
        key.removeprefix(f"{payer.account}_BillingItemDetail_"): pretax(files.rows(key)) for key in files.objects()
    }

    assert {name: sorted(amounts) for name, amounts in found.items()} == {
        "20260601": [1], "20260603": [2, 8], "20260604": [4], "20260703": [16], "202606": [1, 2, 4, 8, 16],
    }  # fmt: skip
    late = files.rows(f"{payer.account}_BillingItemDetail_20260703")[0]
    assert (late["账期"], late["账单开始时间"]) == (CYCLE, "2026-06-30 00:00:00")


def test_a_line_that_vanished_is_missing_in_the_file_of_the_month(files: Files) -> None:
    gone = ("2026-06-02T08:00:00+08:00", "2026-06-20T00:00:00+08:00", *line(1, "1")[2:])
    payer = files.subscriber(gone, seen("2026-06-20T00:00", 1, "2"))
    subscribe(payer, INSTANCES)
    files.push("2026-07-04T10:00")

    assert pretax(files.rows(f"{payer.account}_InstanceDetail_20260601")) == [1]
    assert pretax(files.rows(f"{payer.account}_InstanceDetail_202606")) == [2]


def test_a_month_file_is_rewritten_daily_until_the_fourth(files: Files) -> None:
    payer = files.subscriber(*[line(day, "1") for day in range(1, 31)])
    subscribe(payer, "BillingItemDetailMonthly")
    key = f"{payer.account}_BillingItemDetailMonthly_202606"
    before = len(files.events())

    mornings = [*(f"2026-06-{day:02d}" for day in range(2, 31)), *(f"2026-07-{day:02d}" for day in range(1, 7))]
    sums = []
    for morning in mornings:
        files.push(f"{morning}T10:00")
        sums += pretax(files.rows(key))

    assert sums == [*range(1, 31), *[30] * 5]
    assert [(at[:10], name) for at, name in files.events()[before:]] == [
        (morning, key) for morning in mornings if morning <= "2026-07-04"
    ]
    (row,) = files.rows(key)
    assert (row["账单开始时间"], row["订单号/账单号"], row["实例ID"]) == ("", "", "i-1")


def test_instances_have_no_billing_items(files: Files) -> None:
    payer = files.subscriber(line(1, "1", BillingItem="cpu", Usage="5"), line(1, "2", BillingItemCode="net"))
    subscribe(payer, INSTANCES)
    subscribe(payer, "InstanceDetailMonthly")
    files.push("2026-06-02T10:00")

    rows = [row for key in files.objects() for row in files.rows(key)]

    assert [(row["应付金额"], row["实例ID"]) for row in rows] == [("3", "i-1")] * 2
    assert not {"计费项", "用量", "单价", "资源包抵扣"} & rows[0].keys()


def test_split_bills_name_the_parts(files: Files) -> None:
    payer = files.subscriber(
        line(1, "1", InstanceID="cbwp", SplitItemID="eip-1", SplitAccountID="1002"), line(2, "2", NickName="web")
    )
    enable_split_bill(files.world.home, payer.account, beijing("2026-05-01T00:00"))
    subscribe(payer, "SplitItemDetailDaily")
    files.push("2026-06-03T10:00")

    rows = files.rows(f"{payer.account}_SplitItemDetailDaily_202606")

    columns = ("实例ID", "分拆项ID", "分拆项名称", "分拆项所属账号ID", "分账月", "分账天", "应付金额")
    assert [tuple(row[column] for column in columns) for row in rows] == [
        ("cbwp", "eip-1", "", "1002", CYCLE, "2026-06-01", "1"),
        ("i-1", "i-1", "web", "1001", CYCLE, "2026-06-02", "2"),
    ]


def test_more_rows_than_the_limit_are_zipped_under_the_same_name(files: Files) -> None:
    payer = files.subscriber(*[line(1, str(n), InstanceID=f"i-{n}") for n in range(7)], *[line(2)] * 3)
    subscribe(payer, DETAIL, row_limit_per_file=3)
    files.push("2026-06-03T10:00")
    long, short = (f"{payer.account}_BillingItemDetail_2026060{day}" for day in (1, 2))

    parts = files.members(long)

    assert files.bucket.get_object(long).read(4) == b"PK\x03\x04"
    assert {name: len(rows) for name, rows in parts.items()} == {
        f"{long}_1.csv": 3, f"{long}_2.csv": 3, f"{long}_3.csv": 1,
    }  # fmt: skip
    assert sorted(amount for rows in parts.values() for amount in pretax(rows)) == list(range(7))
    assert len(files.rows(short)) == 3


def test_sub_accounts_have_files_of_their_own(files: Files) -> None:
    payer = files.subscriber(
        line(1, "1", OwnerID="42"), line(1, "2", OwnerID="43"), line(1, "4", OwnerID="99"),
        line(1, "8", OwnerID="98", BizType="trusteeship"), customers=("42", "43"),
    )  # fmt: skip
    subscribe(payer, DETAIL, bucket_path="own")
    subscribe(payer, DETAIL, bucket_path="partners", mult_account_rel_subscribe="ACP1")
    files.push("2026-06-02T10:00")

    name = f"{payer.account}_BillingItemDetail_20260601"
    assert files.objects() == [f"own/{name}", f"partners/{name}"]
    assert sorted(pretax(files.rows(f"own/{name}"))) == [1, 2, 4]
    assert sorted(pretax(files.rows(f"partners/{name}"))) == [1, 2]


def test_past_cycles_are_filled_up_once(files: Files) -> None:
    files.world.clock.set(beijing("2026-07-02T12:00"))
    payer = files.subscriber(line(5, "2"), line(30, "4"))
    may: Any = ("2026-05-11T08:00:00+08:00", None, "2026-05-10", line(1, "1")[3])
    add_items(files.world.home, payer.account, "2026-05", [may], batch=f"{payer.account}-may")
    subscribe(payer, DETAIL, begin_billing_cycle="2026-05")

    assert files.push("2026-07-03T10:00") == 3
    found = {key.rpartition("_")[2]: pretax(files.rows(key)) for key in files.objects()}
    assert found == {"202605": [1], "20260605": [2], "20260630": [4]}
    assert (files.push("2026-07-04T10:00"), files.push("2026-07-20T10:00")) == (1, 0)
    assert sorted(pretax(files.rows(f"{payer.account}_BillingItemDetail_202606"))) == [2, 4]


def test_after_unsubscribing_nothing_comes(files: Files) -> None:
    payer = files.subscriber(line(1), line(2))
    subscribe(payer, DETAIL)
    files.push("2026-06-02T10:00")
    payer.typed().unsubscribe_bill_to_oss(models.UnsubscribeBillToOSSRequest(subscribe_type=DETAIL))

    assert files.push("2026-07-04T10:00") == 0
    assert len(files.objects()) == 1


def test_pushing_stops_without_a_word_while_the_role_is_withdrawn(files: Files) -> None:
    payer = files.subscriber(line(1), line(2), line(3))
    subscribe(payer, DETAIL)
    revoke_dump_role(files.world.home, payer.account)
    assert files.push("2026-06-03T10:00") == 0

    grant_dump_role(files.world.home, payer.account)
    assert files.push("2026-06-04T10:00") == 1
    assert [key.rpartition("_")[2] for key in files.objects()] == ["20260603"]


def test_a_bucket_that_is_gone_holds_up_nobody(files: Files) -> None:
    keys = files.world.main
    auth = oss2.AuthV4(keys.access_key_id, keys.access_key_secret)
    gone = oss2.Bucket(auth, f"http://127.0.0.1:{files.oss.port}", "short-lived", region=keys.region)
    gone.create_bucket()
    payer, other = files.subscriber(line(1)), files.subscriber(line(1))
    subscribe(payer, DETAIL, subscribe_bucket="short-lived")
    subscribe(other, DETAIL)
    gone.delete_bucket()

    assert files.push("2026-06-02T10:00") == 1
    assert files.objects() == [f"{other.account}_BillingItemDetail_20260601"]


def test_a_month_of_files_adds_up_to_what_the_calls_say(files: Files) -> None:
    made = month(11, CYCLE, 600)
    payer = files.subscriber(*made.bill(made.payers[0].account))
    for kind in (DETAIL, INSTANCES, "BillingItemDetailMonthly", "InstanceDetailMonthly"):
        subscribe(payer, kind)

    files.push("2026-07-04T10:00")

    overview = payer.call("QueryBillOverview")["Items"]["Item"]
    columns = {"原价": "PretaxGrossAmount", "应付金额": "PretaxAmount", "欠费金额": "OutstandingAmount"}
    expected = {column: sum(row[field] for row in overview) for column, field in columns.items()}
    stems = ("BillingItemDetail", "InstanceDetail", "BillingItemDetailMonthly", "InstanceDetailMonthly")
    for stem in stems:
        rows = files.rows(f"{payer.account}_{stem}_202606")
        assert {column: sum(pretax(rows, column)) for column in columns} == expected
    # Only rows of days before the subscription's first could be missing, and there are none.
    daily = [row for key in files.objects(f"{payer.account}_BillingItemDetail_2026") if len(key.rpartition("_")[2]) == 8
             for row in files.rows(key)]  # fmt: skip
    whole = files.rows(f"{payer.account}_BillingItemDetail_202606")
    assert sorted(map(tuple, (row.values() for row in daily))) == sorted(map(tuple, (row.values() for row in whole)))


def test_a_home_of_before_bill_files_is_brought_up_to_date(tmp_path: Path) -> None:
    add_payer(tmp_path, "1", "one", "k", "s")
    add_items(tmp_path, "1", CYCLE, [line(1)], batch="a")
    with sqlite3.connect(tmp_path / "bss" / "bss.db") as database:
        database.executescript(
            "DROP TABLE split_bill; DROP TABLE dump_role; DROP TABLE file_format; DROP TABLE payer_role;"
        )
    database.close()

    grant_dump_role(tmp_path, "1")

    connection = connect(tmp_path)
    assert may_dump_to(connection, "1")
    assert connection.execute("SELECT count(*) FROM item").fetchone() == (1,)
    connection.close()


def test_one_bill_makes_one_content(tmp_path: Path) -> None:
    add_payer(tmp_path, "1", "one", "k", "s")
    add_items(tmp_path, "1", CYCLE, [line(1, str(n), InstanceID=f"i-{n}") for n in range(50)], batch="a")
    connection = connect(tmp_path)
    form, file = Form("1", "one", "MA", "zh", with_currency=False, rows_max=20), BillFile(Kind.BILLING_ITEMS, CYCLE)

    def written(folder: Path) -> bytes:
        folder.mkdir()
        path = write(folder, connection, file, form, beijing("2026-07-04T10:00"))
        assert path is not None
        return path.read_bytes()

    assert written(tmp_path / "a") == written(tmp_path / "b")
    connection.close()
