"""The local BSS service, asked by the genuine SDKs: calls, paging, quotas, signatures, visibility, exact digits."""

from __future__ import annotations

import json
import sqlite3
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_bssopenapi20171214 import models
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.utils import Utils

from infra.clearbook.demo.month import month
from infra.localcloud.bss.item import AMOUNTS
from infra.localcloud.bss.load import Item, add_items, add_payer
from infra.localcloud.bss.quota import Quota, Quotas
from infra.localcloud.common import LocalCloudError, start
from tests.contract.bss_cloud import CYCLE, DAY, FINAL, Payer, World, line, on, refused


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    # The SDK asks a proxy of the environment for 127.0.0.1 too, whatever NO_PROXY says.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    world = World(tmp_path_factory.mktemp("bss"), "--describe-qps", "100000")
    yield world
    world.service.stop()


@pytest.fixture
def world(running: World) -> World:
    running.clock.set(FINAL)
    return running


def test_the_typed_client_reads_an_instance_bill(world: World) -> None:
    payer = world.payer(line(3, "12.5", ProductName="云服务器ECS\t", Usage="24", Tag="key:env value:prod"))

    body = payer.typed().describe_instance_bill(
        models.DescribeInstanceBillRequest(
            billing_cycle=CYCLE, granularity="DAILY", billing_date="2026-06-03", is_billing_item=True, max_results=300
        )
    ).body  # fmt: skip

    item = body.data.items[0]
    assert (body.code, body.success, body.data.total_count, body.data.account_id) == ("Success", True, 1, payer.account)
    assert (body.data.max_results, body.data.next_token, body.data.billing_cycle) == (300, "", CYCLE)
    assert (item.bill_account_id, item.owner_id, item.billing_date) == (payer.account, "1001", "2026-06-03")
    assert (item.product_name, item.usage, item.pretax_amount) == ("云服务器ECS\t", "24", 12.5)
    assert (item.item, item.subscription_type, item.currency) == ("PayAsYouGoBill", "PayAsYouGo", "CNY")


def test_an_item_has_every_field_of_the_sdk_model(world: World) -> None:
    payer = world.payer(line(3))
    (item,) = payer.items(**on(3))

    named = {name for name in item if getattr(_typed_item(item), _snake(name)) is not None}
    assert named == set(item)
    assert len(item) == 47


def _typed_item(item: Mapping[str, Any]) -> Any:
    return models.DescribeInstanceBillResponseBodyDataItems().from_map(dict(item))


def _snake(name: str) -> str:
    special = {"InstanceID": "instance_id", "InternetIP": "internet_ip", "IntranetIP": "intranet_ip"}
    special |= {"OwnerID": "owner_id", "BillAccountID": "bill_account_id"}
    if name in special:
        return special[name]
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")


def test_amounts_come_as_numbers_with_exactly_the_digits_they_were_given(world: World) -> None:
    given = ("0.1234567890", "123456789.0000000001", "-0.0000001", "1E+3", "0.00")
    payer = world.payer(*[line(3, InstanceID=f"i-{text}", OutstandingAmount=Decimal(text)) for text in given])

    body = payer.raw("DescribeInstanceBill", **on(3))

    for written in ("0.1234567890", "123456789.0000000001", "-0.0000001", "1000", "0.00"):
        assert f'"OutstandingAmount":{written},' in body
    numbers = {name for name, value in json.loads(body)["Data"]["Items"][0].items() if not isinstance(value, str)}
    assert numbers == set(AMOUNTS)


@pytest.mark.parametrize("pages_of", [1, 7, 20, 50, 300])
def test_paging_to_the_end_gives_every_line_once(world: World, pages_of: int) -> None:
    payer = world.payer(*[line(5, f"{n}.01", InstanceID=f"i-{n % 9}") for n in range(60)], line(6))

    pages = list(payer.pages(MaxResults=pages_of, **on(5)))

    assert [page["TotalCount"] for page in pages] == [60] * -(-60 // pages_of)
    assert sorted(item["PretaxAmount"] for page in pages for item in page["Items"]) == [
        Decimal(f"{n}.01") for n in range(60)
    ]


def test_a_page_has_twenty_rows_unless_asked_and_never_over_300(world: World) -> None:
    payer = world.payer(*[line(5, InstanceID=f"i-{n}") for n in range(301)])

    assert len(payer.call("DescribeInstanceBill", **on(5))["Items"]) == 20
    assert refused(payer, "DescribeInstanceBill", MaxResults=301, **on(5)) == (400, "InvalidParameter")


def test_a_next_token_must_be_the_one_handed_out_for_the_same_question(world: World) -> None:
    payer = world.payer(*[line(5, InstanceID=f"i-{n}") for n in range(3)], line(6), line(6))
    token = payer.call("DescribeInstanceBill", MaxResults=1, **on(5))["NextToken"]

    assert payer.call("DescribeInstanceBill", NextToken=token, **on(5))["TotalCount"] == 3
    for wrong in (token[:-2] + "AA", "CAESEgoQCg4KCm", "%%%", token + "A"):
        assert refused(payer, "DescribeInstanceBill", NextToken=wrong, **on(5)) == (400, "InvalidParameter")
    assert refused(payer, "DescribeInstanceBill", NextToken=token, **on(6)) == (400, "InvalidParameter")


def test_a_month_by_billing_item_sums_its_days_exactly(world: World) -> None:
    days = [line(day, "0.0000000001", Usage="0.5") for day in range(1, 31)]
    payer = world.payer(*days, line(4, "2", BillingItemCode="net"), line(4, "-0.5", Item="Refund"))

    items = payer.items(Granularity="MONTHLY", IsBillingItem=True)

    assert sorted((i["Item"], i["BillingItemCode"], i["PretaxAmount"], i["Usage"]) for i in items) == [
        ("PayAsYouGoBill", "cpu", Decimal("3E-9"), "15.0"),
        ("PayAsYouGoBill", "net", 2, "0"),
        ("Refund", "cpu", Decimal("-0.5"), "0"),
    ]
    assert all("BillingDate" not in item for item in items)


@pytest.mark.parametrize("query", [{}, {"Granularity": "MONTHLY", "IsBillingItem": False}])
def test_a_month_by_instance_has_no_billing_items(world: World, query: dict[str, object]) -> None:
    payer = world.payer(line(1, "1"), line(2, "2", BillingItemCode="net"), line(2, "4", InstanceID="i-2"))

    items = payer.items(**query)

    assert sorted((i["InstanceID"], i["PretaxAmount"]) for i in items) == [("i-1", 3), ("i-2", 4)]
    assert not {"BillingItem", "BillingItemCode", "Usage", "UsageUnit", "ListPrice"} & set(items[0])


def test_a_day_by_instance_sums_that_day_only(world: World) -> None:
    payer = world.payer(line(1, "1"), line(1, "2", BillingItemCode="net"), line(2, "4"), line(1, "8", InstanceID="j"))

    pages = list(payer.pages(Granularity="DAILY", BillingDate="2026-06-01", MaxResults=1))

    items = [item for page in pages for item in page["Items"]]
    assert sorted((i["InstanceID"], i["PretaxAmount"], i["BillingDate"]) for i in items) == [
        ("i-1", 3, "2026-06-01"),
        ("j", 8, "2026-06-01"),
    ]
    assert [page["TotalCount"] for page in pages] == [2, 2]


def test_groups_page_to_the_end_too(world: World) -> None:
    payer = world.payer(*[line(1 + n % 3, InstanceID=f"i-{n // 3}") for n in range(90)])

    pages = list(payer.pages(MaxResults=7))

    assert sorted(item["InstanceID"] for page in pages for item in page["Items"]) == sorted(f"i-{n}" for n in range(30))
    assert {page["TotalCount"] for page in pages} == {30}


@pytest.mark.parametrize(
    ("narrowed", "expected"),
    [
        ({"ProductCode": "oss"}, ["2"]),
        ({"SubscriptionType": "Subscription"}, ["3"]),
        ({"InstanceID": "i-9"}, ["4"]),
        ({"BillOwnerId": 1002}, ["5"]),
        ({"BillOwnerId": 1002, "ProductCode": "oss"}, []),
        ({"IsHideZeroCharge": True}, ["1", "2", "3", "4", "5"]),
        ({}, ["0", "1", "2", "3", "4", "5"]),
    ],
)
@pytest.mark.parametrize("grain", [on(1), {"IsBillingItem": True}, {}])
def test_filters_narrow_every_grain(
    world: World, grain: dict[str, object], narrowed: dict[str, object], expected: list[str]
) -> None:
    payer = world.payer(
        line(1, "0", InstanceID="i-free"), line(1, "1"), line(1, "2", ProductCode="oss"),
        line(1, "3", SubscriptionType="Subscription"), line(1, "4", InstanceID="i-9"), line(1, "5", OwnerID="1002"),
    )  # fmt: skip

    pages = list(payer.pages(**grain, **narrowed))

    assert sorted(str(item["PretaxAmount"]) for page in pages for item in page["Items"]) == expected
    assert pages[0]["TotalCount"] == len(expected)


def test_a_date_of_another_month_silently_answers_for_the_cycle(world: World) -> None:
    payer = world.payer(line(1, "1"), line(2, "2"))

    items = payer.items(**DAY, BillingDate="2026-05-31")

    assert [(item["BillingDate"], item["PretaxAmount"]) for item in items] == [("2026-06-01", 1), ("2026-06-02", 2)]


def test_a_line_appears_and_vanishes_with_the_business_time(world: World) -> None:
    provisional: Item = ("2026-06-11T08:00:00+08:00", "2026-06-14T00:00:00Z", *line(10, "1")[2:])
    corrected: Item = ("2026-06-14T00:00:00Z", None, *line(10, "2")[2:])
    payer = world.payer(provisional, corrected)

    def seen(instant: str) -> tuple[Any, ...]:
        world.clock.set(datetime.fromisoformat(instant))
        page = payer.call("DescribeInstanceBill", **on(10))
        months = payer.items(IsBillingItem=True)
        overview = payer.call("QueryBillOverview")["Items"]["Item"]
        controls = [item["PretaxAmount"] for item in overview]
        assert controls == [item["PretaxAmount"] for item in months]
        return [item["PretaxAmount"] for item in page["Items"]], page["TotalCount"], sum(controls)

    assert seen("2026-06-11T07:59:59+08:00") == ([], 0, 0)
    assert seen("2026-06-11T08:00:00+08:00") == ([1], 1, 1)
    assert seen("2026-06-13T23:59:59+00:00") == ([1], 1, 1)
    assert seen("2026-06-14T08:00:00+08:00") == ([2], 1, 2)


def test_dates_to_come_are_empty(world: World) -> None:
    early: Item = ("2026-01-01T00:00:00Z", None, *line(20)[2:])
    payer = world.payer(early)
    world.clock.set(datetime.fromisoformat("2026-06-19T23:59:59+08:00"))

    assert payer.items(**on(20)) == []
    assert payer.items(IsBillingItem=True) == []
    assert payer.call("QueryBillOverview")["Items"]["Item"] == []
    assert payer.call("QueryBillOverview", BillingCycle="2027-01")["Items"]["Item"] == []


def test_eighteen_past_months_can_be_asked_for(world: World) -> None:
    payer = world.payer(line(1))

    world.clock.set(datetime.fromisoformat("2027-12-31T23:00:00+08:00"))
    assert len(payer.items()) == 1
    world.clock.set(datetime.fromisoformat("2028-01-01T00:00:00+08:00"))
    assert payer.items() == []


def test_the_overview_sums_by_product_and_kind_and_has_its_round_down_as_text(world: World) -> None:
    refund = line(9, "-0.1", Item="Refund")
    payer = world.payer(line(1, "0.0000000001"), line(2, "3.5", RoundDownDiscount="0.004"), refund)

    body = payer.typed().query_bill_overview(models.QueryBillOverviewRequest(billing_cycle=CYCLE)).body
    exact = payer.call("QueryBillOverview")["Items"]["Item"]

    assert [(i.item, i.round_down_discount, i.owner_id) for i in body.data.items.item] == [
        ("PayAsYouGoBill", "0.004", "1001"),
        ("Refund", "0", "1001"),
    ]
    assert [(i["PretaxAmount"], i["AfterTaxAmount"]) for i in exact] == [
        (Decimal("3.5000000001"), Decimal("3.5000000001")),
        (Decimal("-0.1"), Decimal("-0.1")),
    ]
    assert len(exact[0]) == 28
    assert "RoundDownDiscount" not in payer.items(**on(2))[0]


def test_the_account_bill_groups_by_owner_and_on_demand_by_product(world: World) -> None:
    payer = world.payer(line(1, "1"), line(2, "2", ProductCode="oss"), line(2, "4", OwnerID="1002"))
    request = models.QueryAccountBillRequest(billing_cycle=CYCLE, page_num=2, page_size=2, is_group_by_product=True)

    data = payer.typed().query_account_bill(request).body.data
    plain = payer.call("QueryAccountBill")
    daily = payer.call("QueryAccountBill", Granularity="DAILY", BillingDate="2026-06-02")

    assert (data.total_count, data.page_num, data.page_size, len(data.items.item)) == (3, 2, 2, 1)
    assert [(i["OwnerID"], i["PretaxAmount"]) for i in plain["Items"]["Item"]] == [("1001", 3), ("1002", 4)]
    assert [(i["BillingDate"], i["PretaxAmount"]) for i in daily["Items"]["Item"]] == [
        ("2026-06-02", 2),
        ("2026-06-02", 4),
    ]
    assert (plain["PageNum"], plain["PageSize"], plain["TotalCount"]) == (1, 20, 2)
    assert len(daily["Items"]["Item"][0]) == 22
    assert len(plain["Items"]["Item"][0]) == 21, "the billing date is there for days only"


def test_the_customer_list_is_the_payers(world: World) -> None:
    payer, other = world.payer(customers=("1002", "1001")), world.payer()

    assert payer.typed().get_customer_list().body.data.uid_list == ["1001", "1002"]
    assert other.call("GetCustomerList") == {"UidList": []}


def test_each_payers_key_reads_its_own_bill_and_the_main_key_the_first(world: World) -> None:
    one, two = world.payer(line(1, "1")), world.payer(line(1, "2"))
    main = Payer(world, "", world.main.access_key_id, world.main.access_key_secret)

    assert [item["PretaxAmount"] for item in one.items()] == [1]
    assert [item["PretaxAmount"] for item in two.items()] == [2]
    assert main.call("QueryBillOverview")["AccountID"] == "1900000000000001"


def test_a_payer_it_is_not_for_gets_success_false(world: World) -> None:
    flagged, payer = world.payer(not_applicable=True), world.payer(line(1), customers=("1001",))

    body = flagged.typed().query_bill_overview(models.QueryBillOverviewRequest(billing_cycle=CYCLE)).body
    foreign = json.loads(payer.raw("DescribeInstanceBill", OwnerId=4711))

    assert (body.success, body.code, body.data) == (False, "NotApplicable", None)
    assert (foreign["Success"], foreign["Code"]) == (False, "NotApplicable")
    assert payer.call("DescribeInstanceBill", OwnerId=1001)["TotalCount"] == 1
    assert payer.call("DescribeInstanceBill", OwnerId=int(payer.account))["TotalCount"] == 1


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"BillingCycle": ""}, "MissingBillingCycle"),
        ({"BillingCycle": "2026-13"}, "InvalidParameter"),
        ({"BillingCycle": "0000-01"}, "InvalidParameter"),
        ({"Granularity": "HOURLY"}, "InvalidParameter"),
        ({"Granularity": "DAILY"}, "MissingBillingDate"),
        ({"Granularity": "DAILY", "BillingDate": "2026-06-31"}, "InvalidParameter"),
        ({"IsBillingItem": "maybe"}, "InvalidParameter"),
        ({"MaxResults": 0}, "InvalidParameter"),
    ],
)
def test_a_malformed_question_is_refused(world: World, query: dict[str, object], code: str) -> None:
    assert refused(world.payer(), "DescribeInstanceBill", **query) == (400, code)


def test_a_call_that_is_not_emulated_says_so(world: World) -> None:
    payer = world.payer()

    with pytest.raises(ClientException) as refusal:
        payer.typed().query_bill(models.QueryBillRequest(billing_cycle=CYCLE))

    assert (refusal.value.status_code, refusal.value.code) == (404, "InvalidAction.NotFound")
    assert "QueryBill is not implemented here" in str(refusal.value)


def test_wrong_keys_are_refused(world: World) -> None:
    payer = world.payer()

    wrong, unknown = Payer(world, "", payer.key_id, "wrong"), Payer(world, "", "LTAInobody", payer.secret)

    assert refused(wrong, "QueryBillOverview") == (400, "SignatureDoesNotMatch")
    assert refused(unknown, "QueryBillOverview") == (404, "InvalidAccessKeyId.NotFound")


class Signed:
    """A request signed by the SDK's code, to be bent before it is sent."""

    def __init__(self, payer: Payer, *, at: datetime | None = None, nonce: str = "") -> None:
        self.url = f"http://127.0.0.1:{payer.world.service.port}/?BillingCycle={CYCLE}"
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        self.headers = {
            "host": f"127.0.0.1:{payer.world.service.port}",
            "x-acs-action": "QueryBillOverview",
            "x-acs-version": "2017-12-14",
            "x-acs-date": (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "x-acs-signature-nonce": nonce or Utils.get_nonce(),
            "x-acs-content-sha256": empty,
        }

        class ToSign:
            method, pathname, query, headers = "POST", "/", {"BillingCycle": CYCLE}, self.headers

        self.headers["Authorization"] = Utils.get_authorization(
            ToSign, "ACS3-HMAC-SHA256", empty, payer.key_id, payer.secret
        )

    def send(self, body: bytes = b"") -> str:
        """The code of the answer."""
        request = urllib.request.Request(self.url, body, self.headers, method="POST")  # noqa: S310 - loopback
        try:
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
                return str(json.load(answer)["Code"])
        except urllib.error.HTTPError as error:
            return str(json.load(error)["Code"])


def test_a_replayed_request_is_refused_even_after_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path)
    payer = world.payer()
    signed = Signed(payer)

    assert [signed.send(), signed.send()] == ["Success", "SignatureNonceUsed"]
    port = world.service.port
    world.service.stop()
    world.service = start("bss", world.home, port=port)
    assert signed.send() == "SignatureNonceUsed"
    world.service.stop()


@pytest.mark.parametrize(
    ("skew_s", "code"),
    [(-870, "Success"), (870, "Success"), (-930, "InvalidTimeStamp.Expired"), (930, "InvalidTimeStamp.Expired")],
)
def test_a_signature_is_good_for_a_quarter_of_an_hour_of_system_time(world: World, skew_s: int, code: str) -> None:
    world.clock.set(datetime(2001, 1, 1, tzinfo=UTC))

    assert Signed(world.payer(), at=datetime.now(UTC) + timedelta(seconds=skew_s)).send() == code


def test_a_bent_request_is_refused_and_uses_up_no_nonce(world: World) -> None:
    signed = Signed(world.payer())
    url, headers = signed.url, dict(signed.headers)

    signed.url = url + "&ProductCode=ecs"
    assert signed.send() == "SignatureDoesNotMatch"
    signed.url, signed.headers = url, {**headers, "x-acs-action": "GetCustomerList"}
    assert signed.send() == "SignatureDoesNotMatch"
    signed.headers = headers
    assert signed.send(b"a=b") == "SignatureDoesNotMatch"
    signed.headers = {name: value for name, value in headers.items() if name != "Authorization"}
    assert signed.send() == "IncompleteSignature"
    signed.headers = {name: value for name, value in headers.items() if name != "x-acs-date"}
    assert signed.send() == "IncompleteSignature"
    signed.headers = headers | {"Authorization": headers["Authorization"].replace("=host;", "=absent;host;")}
    assert signed.send() == "IncompleteSignature"
    signed.headers = headers
    assert signed.send() == "Success"


def test_calls_beyond_the_quota_are_throttled(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clock.set(FINAL)
    payer, other = world.payer(line(1)), world.payer(line(1))

    def ask(_: int) -> str:
        try:
            payer.raw("DescribeInstanceBill")
        except ClientException as refusal:
            return f"{refusal.status_code} {refusal.code}"
        return "answered"

    with ThreadPoolExecutor(8) as pool:
        outcomes = Counter(pool.map(ask, range(40)))

    assert set(outcomes) == {"answered", "400 Throttling.User"}
    assert outcomes["answered"] >= 10
    assert len(other.items()) == 1, "another main account has a quota of its own"
    assert len([payer.call("QueryBillOverview") for _ in range(15)]) == 15, "the overview has none"
    world.service.stop()


def test_any_second_has_ten_calls_at_most_and_refused_ones_do_not_count() -> None:
    quotas = Quotas({"DescribeInstanceBill": Quota(10, 1.0)})

    taken = [quotas.take("DescribeInstanceBill", "1", sixteenth / 16) for sixteenth in range(33)]

    assert taken == [True] * 10 + [False] * 6 + [True] * 10 + [False] * 6 + [True]
    assert quotas.take("DescribeInstanceBill", "2", 2.0)
    assert all(quotas.take("QueryBillOverview", "1", 0.0) for _ in range(1000))


def test_a_restart_keeps_bills_and_a_chain_of_pages_goes_on(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.clock.set(FINAL)
    payer = world.payer(*[line(5, InstanceID=f"i-{n}") for n in range(30)])
    first = payer.call("DescribeInstanceBill", **on(5))

    world.restart()
    second = payer.call("DescribeInstanceBill", NextToken=first["NextToken"], **on(5))

    assert {item["InstanceID"] for page in (first, second) for item in page["Items"]} == {f"i-{n}" for n in range(30)}
    world.service.stop()


def test_a_batch_is_added_once_and_all_or_nothing(tmp_path: Path) -> None:
    add_payer(tmp_path, "1", "one", "k", "s")

    def broken() -> Iterator[Item]:
        yield from (line(1) for _ in range(6000))
        raise RuntimeError("the source broke off")

    with pytest.raises(RuntimeError, match="broke off"):
        add_items(tmp_path, "1", CYCLE, broken(), batch="a")
    assert add_items(tmp_path, "1", CYCLE, [line(1), line(2)], batch="a") == 2
    assert add_items(tmp_path, "1", CYCLE, [line(1), line(2)], batch="a") == 0
    with sqlite3.connect(tmp_path / "bss" / "bss.db") as database:
        assert database.execute("SELECT count(*), (SELECT sum(items) FROM tally) FROM item").fetchone() == (2, 2)


def test_two_payers_cannot_have_one_key(tmp_path: Path) -> None:
    add_payer(tmp_path, "1", "one", "k", "s")
    add_payer(tmp_path, "1", "renamed", "k", "s2")

    with pytest.raises(LocalCloudError, match="another payer's"):
        add_payer(tmp_path, "2", "two", "k", "s")


@pytest.mark.parametrize(
    ("item", "because"),
    [
        (line(1, "0.00000000001"), "at most 10 decimals"),
        (line(1, "1000000000"), "too large"),
        (line(1, "NaN"), "written in digits"),
        (line(1, Usage=Decimal(1)), "must be a str"),
        (line(1, PretaxAmount="1"), "must be a Decimal"),
        (("2026-06-02T08:00:00", *line(1)[1:]), "with its zone"),
        ((line(1)[0], None, "2026-07-01", {}), "no date of the cycle"),
    ],
)
def test_an_item_that_could_not_be_kept_exactly_is_refused(tmp_path: Path, item: Item, because: str) -> None:
    add_payer(tmp_path, "1", "one", "k", "s")

    with pytest.raises(LocalCloudError, match=because):
        add_items(tmp_path, "1", CYCLE, [item], batch="a")


def test_a_generated_month_comes_back_line_by_line_with_the_totals_of_its_controls(world: World) -> None:
    made = month(5, CYCLE, 600)
    payer = world.payer()
    given = list(made.bill(made.payers[0].account))
    payer.add(*given)

    pulled = [item for day in range(1, 31) for item in payer.items(**on(day))]

    def key(day: str, fields: Mapping[str, object]) -> list[str]:
        names = (*AMOUNTS, "OwnerID", "InstanceID", "Item", "ProductName", "Tag", "Usage", "BillingItemCode")
        return [day, *(str(fields[name]) for name in names)]

    assert sorted(key(i["BillingDate"], i) for i in pulled) == sorted(key(day, fields) for _, _, day, fields in given)
    total = sum(Decimal(item["PretaxAmount"]) for item in pulled)
    overview, account = payer.call("QueryBillOverview"), payer.call("QueryAccountBill", PageSize=300)
    assert sum(item["PretaxAmount"] for item in overview["Items"]["Item"]) == total
    assert sum(item["PretaxAmount"] for item in account["Items"]["Item"]) == total
    assert sum(item["PretaxAmount"] for item in payer.items(IsBillingItem=True)) == total
