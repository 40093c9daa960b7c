"""Bill files beside the classic ones: their columns, what holds in every row, and that their sums are the calls'."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
import zipfile
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest

from infra.localcloud.bss import exports
from infra.localcloud.bss.exports import console, partner
from infra.localcloud.bss.load import add_items, add_payer
from infra.localcloud.bss.state import connect
from infra.localcloud.common import LocalCloudError
from tests.bill_files import AS_OF, CYCLE, SELECTED, Billed, billed, headers_of_v2, others

PAYABLE, GROSS = "应付信息/应付金额（含税）", "费用信息/目录总价"
DISCOUNT, DISCOUNTED = "优惠信息/优惠金额", "优惠信息/优惠后金额"
COUPONS, DEDUCTED = "优惠券抵扣信息/优惠券抵扣金额", "订阅抵扣信息/订阅抵扣目录总价"
FEE, TRADE, ORDER = "账单信息/费用类型", "账单信息/交易类型", "标识信息/订单号"
Rows = list[dict[str, str]]


@pytest.fixture(scope="module")
def bill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Billed]:
    with billed(tmp_path_factory.mktemp("home"), 2_000) as made:
        yield made


@pytest.fixture(scope="module")
def written(bill: Billed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return others(tmp_path_factory.mktemp("files"), bill)


def rows_of(content: bytes) -> Rows:
    return list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def rows_in(path: Path) -> Rows:
    return rows_of(path.read_bytes())


def sums(rows: Rows, column: str, *by: str) -> dict[tuple[str, ...], Decimal]:
    found: dict[tuple[str, ...], Decimal] = defaultdict(Decimal)
    for row in rows:
        found[tuple(row[name].strip() for name in by)] += Decimal(row[column])
    return dict(found)


def of_calls(bill: Billed, amount: str, *by: str) -> dict[tuple[str, ...], Decimal]:
    return {key: amounts[amount] for key, amounts in bill.sums(*by).items()}


# The new bill.


def test_the_new_bill_has_61_columns_in_utf8_with_a_mark_and_lf(written: dict[str, Path], bill: Billed) -> None:
    content = written["v2"].read_bytes()
    header = content.decode("utf-8-sig").splitlines()[0].split(",")

    assert written["v2"].name == f"{bill.account}_2688801000001_consumeDetailBillV2_202506"
    assert (content[:3], b"\r" in content) == (b"\xef\xbb\xbf", False)
    assert (len(header), tuple(header)) == (61, headers_of_v2())
    # Places at which a public reader of real exports finds them.
    places = {12: "账单信息/消费时间", 16: "产品信息/产品名称", 19: "产品信息/计费项Code",
              24: "资源信息/实例ID（出账粒度）", 27: "资源信息/地域", 36: "用量信息/用量", 60: PAYABLE}  # fmt: skip
    assert {place: header[place] for place in places} == places


def test_every_row_of_the_new_bill_obeys_its_equations_and_has_an_id_of_its_own(written: dict[str, Path]) -> None:
    rows = rows_in(written["v2"])

    for row in rows:
        amounts = {name: Decimal(row[name]) for name in (GROSS, DEDUCTED, DISCOUNT, DISCOUNTED, COUPONS, PAYABLE)}
        assert amounts[GROSS] - amounts[DEDUCTED] - amounts[DISCOUNT] == amounts[DISCOUNTED], row
        assert amounts[DISCOUNTED] - amounts[COUPONS] == amounts[PAYABLE], row
    assert len({row["标识信息/账单明细ID"] for row in rows}) == len(rows)
    assert max(len(row[PAYABLE].partition(".")[2]) for row in rows) > 7


@pytest.mark.parametrize(
    ("column", "amount"),
    [(PAYABLE, "PretaxAmount"), (GROSS, "PretaxGrossAmount"), (COUPONS, "DeductedByCoupons")],
)
def test_sums_of_the_new_bill_by_account_and_product_are_the_calls(
    written: dict[str, Path], bill: Billed, column: str, amount: str
) -> None:
    found = sums(rows_in(written["v2"]), column, "身份信息/资源归属账号ID", "产品信息/产品Code")

    assert found == of_calls(bill, amount, "owner", "product")
    assert len(found) > 20


def test_the_new_bill_says_what_each_row_is(written: dict[str, Path]) -> None:
    rows = rows_in(written["v2"])

    assert {(row[FEE], row[TRADE]) for row in rows} == {
        ("云资源按量费用", "后付费"), ("云资源按量费用", "退款"), ("免费额度", "后付费"),
        ("订阅预付费用", "新购"), ("订阅预付费用", "续费"), ("调账费用", "调账"),
    }  # fmt: skip
    free = [row for row in rows if row[FEE] == "免费额度"]
    assert {row[PAYABLE] for row in free} == {"0"}
    assert {Decimal(row["用量信息/用量"]) for row in free} == {0}
    assert all(Decimal(row["用量信息/抵扣前用量"]) == Decimal(row["用量信息/抵扣用量"]) > 0 for row in free)
    # The documentation: an order's number stands on subscriptions alone.
    assert {(bool(row[ORDER]), row[FEE].startswith("订阅")) for row in rows} == {(True, True), (False, False)}
    assert all(Decimal(row[PAYABLE]) <= 0 for row in rows if row[TRADE] == "退款")


def test_cells_of_the_new_bill_hold_json_within_json(written: dict[str, Path]) -> None:
    row = next(row for row in rows_in(written["v2"]) if row["产品信息/选型配置"])

    process = json.loads(row["费用信息/计费过程"])
    assert (process["precision"], process["round"]) == ("10", "4")
    assert json.loads(process["variables"])["usage"] == row["用量信息/用量"]
    assert json.loads(row["产品信息/选型配置"])[0]["name"] == "CPU"
    assert b'\\""' in written["v2"].read_bytes()


def test_dates_and_regions_of_the_new_bill_are_codes(written: dict[str, Path]) -> None:
    rows = rows_in(written["v2"])

    assert {row["账单信息/账单月份"] for row in rows} == {"202506"}
    assert {row["账单信息/账单日期"][:6] for row in rows} == {"202506"}
    assert {(row["资源信息/地域Code"], row["资源信息/地域"]) for row in rows} == {
        ("cn-hangzhou", "华东1（杭州）"), ("cn-beijing", "华北2（北京）"), ("cn-shenzhen", "华南1（深圳）"),
        ("ap-southeast-1", "新加坡"),
    }  # fmt: skip


def test_a_selection_has_its_columns_in_its_order(written: dict[str, Path]) -> None:
    whole, some = rows_in(written["v2"]), rows_in(written["v2-selected"])

    assert tuple(some[0]) == SELECTED
    assert some == [{name: row[name] for name in SELECTED} for row in whole]


@pytest.mark.parametrize("fields", [["应付金额"], [PAYABLE, PAYABLE]])
def test_a_selection_of_other_columns_is_refused(bill: Billed, tmp_path: Path, fields: Sequence[str]) -> None:
    with pytest.raises(LocalCloudError, match="some of its 61"):
        exports.write_consumption(tmp_path, bill.connection, bill.account, CYCLE, AS_OF, fields=fields)


def test_a_large_new_bill_is_zipped_and_holds_the_same_rows(written: dict[str, Path]) -> None:
    with zipfile.ZipFile(written["v2-zip"]) as archive:
        parts = [rows_of(archive.read(name)) for name in archive.namelist()]

    assert written["v2-zip"].name == written["v2"].name
    assert [len(part) for part in parts[:-1]] == [500] * (len(parts) - 1)
    assert [row for part in parts for row in part] == rows_in(written["v2"])
    assert [path.name for path in written["v2-zip"].parent.iterdir()] == [written["v2"].name]


def test_a_daily_new_bill_holds_the_month_so_far_with_the_same_ids(bill: Billed, tmp_path: Path) -> None:
    at = AS_OF.replace(month=6, day=11)
    path = exports.write_consumption(tmp_path, bill.connection, bill.account, CYCLE, at, daily=True)
    rows = rows_in(path)

    assert path.name.endswith("_consumeDetailBillV2_20250610")
    assert {row["账单信息/账单日期"] for row in rows} == {f"202506{day:02d}" for day in range(1, 11)}
    whole = exports.write_consumption(tmp_path, bill.connection, bill.account, CYCLE, AS_OF)
    assert {row["标识信息/账单明细ID"] for row in rows} < {row["标识信息/账单明细ID"] for row in rows_in(whole)}


@pytest.fixture
def small(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A bill whose payable amount was rounded down."""
    add_payer(tmp_path, "1", "one", "key", "secret")
    amounts = {"PretaxGrossAmount": "10.129", "InvoiceDiscount": "1", "PretaxAmount": "9.12", "PaymentAmount": "9.12"}
    fields = {name: Decimal(text) for name, text in amounts.items()} | {"ProductCode": "ecs", "Region": "火星"}
    visible = "2025-06-02T08:00:00+08:00"
    add_items(
        tmp_path, "1", CYCLE, [(visible, None, "2025-06-01", {**fields, "RoundDownDiscount": "0.009"})], batch="a"
    )
    connection = connect(tmp_path)
    yield connection
    connection.close()


def test_what_was_rounded_down_is_a_row_of_its_own(small: sqlite3.Connection, tmp_path: Path) -> None:
    charge, rounding = rows_in(exports.write_consumption(tmp_path, small, "1", CYCLE, AS_OF))

    assert [charge[name] for name in (GROSS, DISCOUNT, DISCOUNTED, PAYABLE)] == ["10.129", "1", "9.129", "9.129"]
    assert [rounding[name] for name in (GROSS, DISCOUNT, DISCOUNTED, PAYABLE)] == ["0", "0.009", "-0.009", "-0.009"]
    assert (rounding[FEE], rounding["产品信息/产品Code"], rounding["用量信息/用量"]) == ("抹零费用", "ecs", "")
    assert charge["标识信息/账单明细ID"] != rounding["标识信息/账单明细ID"]
    assert (charge["资源信息/地域Code"], charge["资源信息/地域"]) == ("", "火星")


def test_a_bill_without_rows_is_a_header(small: sqlite3.Connection, tmp_path: Path) -> None:
    path = exports.write_consumption(tmp_path, small, "1", "2025-05", AS_OF)

    assert rows_in(path) == []
    assert path.read_text(encoding="utf-8-sig").count("\n") == 1


# What the console exports.


def test_the_console_names_the_new_bill_by_when_it_was_exported(written: dict[str, Path], bill: Billed) -> None:
    path = written["console-v2"]

    assert path.name == f"{bill.account}-20250704100000_consumedetailbillv2_2025-06.csv"
    assert {row["身份信息/资源购买账号ID"] for row in rows_in(path)} == {f"{bill.account}\t"}
    assert sums(rows_in(path), PAYABLE, "定价信息/定价币种") == of_calls(bill, "PretaxAmount", "currency")


def test_the_consoles_older_bill_ends_in_a_row_of_sums(written: dict[str, Path], bill: Billed) -> None:
    *rows, last = rows_in(written["console-zh"])
    (overall,) = bill.sums("currency").values()

    assert tuple(last) == console.HEADERS
    assert len(console.HEADERS) == 39
    assert (console.HEADERS.index("账单日期"), console.HEADERS.index("应付金额")) == (5, 34)
    assert (last["资源购买账号ID"], last["账单日期"]) == ("合计", "")
    assert Decimal(last["应付金额"]) == overall["PretaxAmount"] == sums(rows, "应付金额")[()]
    assert Decimal(last["目录总价"]) == overall["PretaxGrossAmount"]
    assert sums(rows, "应付金额", "资源归属账号ID", "产品Code") == of_calls(bill, "PretaxAmount", "owner", "product")
    assert len({row["主键"] for row in rows}) == len(rows)


def test_the_consoles_round_down_is_the_months_on_every_row(small: sqlite3.Connection, tmp_path: Path) -> None:
    path = exports.write_console(tmp_path, small, "1", CYCLE, AS_OF, with_round_down=True)

    charge, total = rows_in(path)
    assert (charge["抹零金额"], total["抹零金额"]) == ("0.009", "0.009")
    assert (charge["优惠后金额"], charge["应付金额"]) == ("9.129", "9.12")


# The partner platform's.


def test_partners_bills_have_their_customers_rows_alone(written: dict[str, Path], bill: Billed) -> None:
    rows = rows_in(written["partner-csv"])
    expected = {
        key: amount for key, amount in of_calls(bill, "PretaxAmount", "owner", "product").items()
        if key[0] in bill.customers
    }  # fmt: skip

    assert written["partner-csv"].name == f"{bill.account}_PartnerBillingItemDetail_202506_0001_01"
    assert sums(rows, "Pretax Cost(Before Round Down Discount)", "Linked User ID", "Product Code") == expected
    assert {row["User ID"] for row in rows} == {bill.account}


def test_partners_bills_in_parquet_hold_the_same_in_exact_types(written: dict[str, Path]) -> None:
    with duckdb.connect() as connection:
        found = connection.execute("SELECT * FROM read_parquet(?)", [str(written["partner-parquet"])])
        names = [(column[0], str(column[1])) for column in found.description]
        rows = found.fetchall()

    assert [name for name, _ in names] == list(partner.HEADERS)
    assert {type_ for name, type_ in names if name in partner.AMOUNTS} == {"DECIMAL(28,10)"}
    texts = rows_in(written["partner-csv"])
    place = partner.HEADERS.index("Pretax Cost(Before Round Down Discount)")
    assert [row[place] for row in rows] == [Decimal(row[partner.HEADERS[place]]) for row in texts]


@pytest.mark.parametrize("bill_format", ["csv", "parquet"])
def test_partners_bills_beyond_a_segment_are_several_files(bill: Billed, tmp_path: Path, bill_format: str) -> None:
    of = (bill.connection, bill.account, CYCLE, AS_OF)
    paths = exports.write_partner(tmp_path, *of, bill_format=bill_format, segment_size=300, sequence=2)

    stem = f"{bill.account}_PartnerBillingItemDetail_202506_0002"
    assert [path.name for path in paths] == [f"{stem}_{number:02d}" for number in range(1, len(paths) + 1)]
    assert len(paths) > 2
    with pytest.raises(LocalCloudError, match="csv or parquet"):
        exports.write_partner(tmp_path, *of, bill_format="xlsx")


def test_partners_monthly_bills_sum_up_billing_items(bill: Billed, tmp_path: Path) -> None:
    of = (bill.connection, bill.account, CYCLE, AS_OF)
    (path,) = exports.write_partner(tmp_path, *of, monthly=True)
    (daily,) = exports.write_partner(tmp_path, *of)
    rows = rows_in(path)

    assert path.name.startswith(f"{bill.account}_PartnerBillingItemDetailMonthly_202506_")
    assert sums(rows, "Original Cost", "Linked User ID") == sums(rows_in(daily), "Original Cost", "Linked User ID")
    assert {row["Consume Time"] for row in rows} == {""}
