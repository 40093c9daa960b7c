"""Reference data from outside: what is taken exactly as it stands, and what is refused with its place."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from infra.clearbook.demo import products
from shared.columnar import connect
from shared.cycle import Cycle
from shared.documents import DocumentRefusedError
from shared.ids import digest
from shared.reference import catalogue, currencies, fx
from shared.reference.catalogue import Codes, parse_catalogue, read_catalogue
from shared.reference.opening import CHARGE_COLUMNS, opening_document, read_past_charges

STARTER = Path(__file__).parents[2] / "shared/reference/products.csv"
HEAD = "currency,to,cycle,rate\n"


def csv_of(*rows: str, head: str = HEAD) -> bytes:
    return (head + "\n".join(rows) + "\n").encode()


def refusal(body: bytes) -> str:
    with pytest.raises(DocumentRefusedError) as caught:
        fx.read_rates(body, "rates.csv")
    return str(caught.value)


# -- currencies ---------------------------------------------------------------------------------------------------


def test_currencies_are_those_of_iso_4217_with_their_minor_units() -> None:
    assert [currencies.minor_units(code) for code in ("CNY", "JPY", "KWD", "CLF")] == [2, 0, 3, 4]
    assert len(currencies.CODES) == 165
    assert all(currencies.known(code) for code in currencies.CODES)


@pytest.mark.parametrize("code", ["RMB", "cny", "XXX", "XTS", "XAU", "DEM", "", "CN", "CNYY"])
def test_what_is_no_currency_is_not_known(code: str) -> None:
    assert not currencies.known(code)


# -- exchange rates -----------------------------------------------------------------------------------------------


def test_rates_are_read_exactly_by_cycle() -> None:
    body = csv_of("USD,CNY,2025-06,7.1586", "JPY,CNY,2025-06,0.0493100000", "USD,CNY,2025-07,7.1500000001")

    assert fx.read_rates(b"\xef\xbb\xbf" + body, "rates.csv") == {
        "2025-06": {("USD", "CNY"): Decimal("7.1586"), ("JPY", "CNY"): Decimal("0.04931")},
        "2025-07": {("USD", "CNY"): Decimal("7.1500000001")},
    }


def test_equal_rates_of_a_cycle_have_one_name_whatever_the_file_says_besides() -> None:
    one = fx.read_rates(csv_of("USD,CNY,2025-06,7.10", "EUR,CNY,2025-06,8"), "a")["2025-06"]
    other = fx.read_rates(csv_of("EUR,CNY,2025-06,8.000", "USD,CNY,2025-05,9", "USD,CNY,2025-06,7.1"), "b")["2025-06"]
    changed = fx.read_rates(csv_of("EUR,CNY,2025-06,8", "USD,CNY,2025-06,7.11"), "c")["2025-06"]

    assert digest(fx.table("2025-06", one)) == digest(fx.table("2025-06", other))
    assert digest(fx.table("2025-06", one)) != digest(fx.table("2025-06", changed))
    assert digest(fx.table("2025-06", one)) != digest(fx.table("2025-07", one))
    assert fx.parse_table(fx.table("2025-06", one)) == one


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("USD,CNY,2025-06,7.15860000001", "line 2, rate: '7.15860000001' is no rate: expected a decimal number with"),
        ("USD,CNY,2025-06,0", "line 2, rate: '0' lies not between 0 and 100000000"),
        ("USD,CNY,2025-06,-7.1", "line 2, rate: '-7.1' lies not between"),
        ("USD,CNY,2025-06,100000000", "lies not between"),
        ("USD,CNY,2025-06,=7+1", "line 2, rate: '=7+1' is no rate"),
        ("USD,CNY,2025-06,7,1", "line 2: has 5 cells, expected 4: currency,to,cycle,rate"),
        ("USD,CNY,2025-06", "line 2: has 3 cells, expected 4"),
        ("USD,CNY,2025-06,nan", "is no rate"),
        ("USD,CNY,2025-06,７.1", "is no rate"),
        ("USD,CNY,2025-06,", "line 2, rate: '' is no rate"),
        ("RMB,CNY,2025-06,1", "line 2, currency: 'RMB' is no currency; write its ISO 4217 code"),
        ("USD,cny,2025-06,1", "line 2, to: 'cny' is no currency"),
        ("CNY,CNY,2025-06,1", "line 2, to: 'CNY' is the currency itself"),
        ("USD,CNY,2025-13,1", "line 2, cycle: '2025-13' is no billing cycle; write it as YYYY-MM"),
        ("=cmd,CNY,2025-06,1", "line 2, currency: '=cmd' begins like a formula"),
        ("U\0D,CNY,2025-06,1", "line 2, currency: 'U\\x00D' holds a control character"),
        ('"U\nSD",CNY,2025-06,1', "holds a control character"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_row_value_and_what_was_expected(row: str, said: str) -> None:
    assert said in refusal(csv_of(row))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "header: is '', expected exactly currency,to,cycle,rate"),
        (b"currency,to,rate,cycle\nUSD,CNY,7,2025-06\n", "expected exactly currency,to,cycle,rate"),
        (b"currency;to;cycle;rate\nUSD;CNY;2025-06;7\n", "expected exactly currency,to,cycle,rate"),
        (HEAD.encode(), "file: has no rows below its header"),
        (HEAD.encode() + b"\xff\xfe", "byte 23: not UTF-8"),
        (HEAD.encode() + b'USD,"CNY,2025-06,7\n', "CSV: cannot be read"),
        (b"x" * (16 * 1024 * 1024 + 1), "size: 16777217 bytes, at most 16777216 are read"),
    ],
)
def test_a_file_that_is_no_table_of_rates_is_refused(body: bytes, said: str) -> None:
    assert said in refusal(body)


def test_one_rate_a_currency_target_and_cycle() -> None:
    said = refusal(csv_of("USD,CNY,2025-06,7.1", "", "USD,EUR,2025-06,0.9", "USD,CNY,2025-06,7.1"))

    assert "line 5: USD to CNY of 2025-06 stands in line 2; keep one" in said


def test_every_wrong_row_is_named_at_once() -> None:
    said = refusal(csv_of("RMB,CNY,2025-06,1", "USD,CNY,2025-06,7.1", "USD,EUR,2025-6,0.9"))

    assert "line 2, currency" in said
    assert "line 4, cycle" in said


def test_a_file_of_the_wrong_kind_is_told_in_fifty_lines() -> None:
    said = refusal(csv_of(*("a,b,c,d" for _ in range(400))))

    assert said.count("\n") == 51
    assert said.endswith("more")


# -- the catalogue ------------------------------------------------------------------------------------------------

ROWS = (
    "billing_item,instance_type,ecs-payg,实例规格,Instance type,",
    "commodity,ecs-payg,ecs,按量付费,Pay as you go,",
    "product,ecs,,云服务器ECS,Elastic Compute Service,compute",
    "product,oss,,对象存储OSS,Object Storage Service,compute",
    "category,compute,,计算,Compute,",
)
CATALOGUE_HEAD = "kind,code,parent,name_zh,name_en,category\n"


def known(*rows: str) -> catalogue.Catalogue:
    return parse_catalogue(read_catalogue(csv_of(*rows, head=CATALOGUE_HEAD), "codes.csv"))


@pytest.mark.parametrize(
    ("codes", "unknown"),
    [
        (("ecs", "ecs-payg", "instance_type"), None),
        (("ecs", "ecs-payg", None), None),
        (("ecs", None, "anything"), None),
        (("oss", "whatever", "anything"), None),  # nothing is listed below oss
        (("rds", "ecs-payg", "instance_type"), "product rds"),
        (("ecs", "ecs-month", "instance_type"), "commodity ecs/ecs-month"),
        (("ecs", "ecs-payg", "bandwidth"), "billing item ecs/ecs-payg/bandwidth"),
        ((None, None, None), None),
    ],
)
def test_what_a_catalogue_lists_below_a_code_is_all_that_there_is(
    codes: tuple[str | None, str | None, str | None], unknown: str | None
) -> None:
    assert known(*ROWS).unknown(Codes(*codes, 1, {})) == unknown


def test_names_and_categories_come_in_both_languages_whatever_the_order_of_the_rows() -> None:
    found = known(*ROWS)

    assert found == known(*reversed(ROWS))
    assert (found.products["ecs"].names.zh, found.products["ecs"].names.en) == (
        "云服务器ECS",
        "Elastic Compute Service",
    )
    assert found.categories[found.products["ecs"].category].zh == "计算"
    assert found.products["ecs"].commodities["ecs-payg"].items["instance_type"].en == "Instance type"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("thing,a,,b,c,", "line 7, kind: 'thing' is no kind, expected category, product, commodity or billing_item"),
        ("product,ecs,,b,c,compute", "line 7, code: product 'ecs' stands in line 4; keep one"),
        ("product,rds,,b,c,database", "line 7, category: 'database' is no category of this file; add a row for it"),
        ("product,rds,,b,c,", "line 7, category: '' is no category"),
        ("product,rds,ecs,b,c,compute", "line 7, parent: 'ecs': a product has no parent"),
        ("commodity,rds-payg,rds,b,c,", "line 7, parent: 'rds' is no product of this file"),
        ("billing_item,cpu,ecs,b,c,", "line 7, parent: 'ecs' is no commodity of this file"),
        ("commodity,x,ecs,b,c,compute", "line 7, category: only a product has a category"),
        ("product,,,b,c,compute", "line 7, code: has 0 characters, expected 1 to 128"),
        ("product,r ds,,b,c,compute", "line 7, code: 'r ds' holds a blank"),
        ("product,rds,,,c,compute", "line 7, name_zh: has 0 characters"),
        ("product,@rds,,b,c,compute", "line 7, code: '@rds' begins like a formula"),
        ("product,rds,,＝1+1,c,compute", "line 7, name_zh: '＝1+1' begins like a formula"),
    ],
)
def test_a_row_of_the_catalogue_that_is_wrong_is_refused_with_its_place(row: str, said: str) -> None:
    with pytest.raises(DocumentRefusedError) as caught:
        known(*ROWS, row)

    assert said in str(caught.value)


def test_a_commodity_may_stand_under_the_product_that_it_moved_from() -> None:
    found = known(*ROWS, "commodity,ecs-payg,oss,按量付费,Pay as you go,")

    for product in ("ecs", "oss"):
        assert found.unknown(Codes(product, "ecs-payg", "instance_type", 1, {})) is None
        assert found.unknown(Codes(product, "ecs-payg", "other", 1, {})) is not None


def test_unknown_codes_of_a_bill_are_counted_exactly(tmp_path: Path) -> None:
    with connect(tmp_path) as connection:
        connection.execute(
            "CREATE TEMP TABLE bill AS SELECT * FROM (VALUES "
            "('ecs', 'ecs-payg', 'instance_type', 'CNY', 1.5), ('rds', 'r', 'x', 'CNY', 0.1), "
            "('rds', 'r', 'x', 'CNY', 0.2), ('rds', 'r', 'x', 'USD', 7), ('rds', NULL, NULL, 'CNY', NULL)"
            ") AS t(product_code, commodity_code, billing_item_code, currency, pretax)"
        )
        found = catalogue.unknown(connection, "bill", known(*ROWS))

    assert {(one.commodity, one.lines): dict(one.pretax) for one in found} == {
        ("r", 3): {"CNY": Decimal("0.3"), "USD": Decimal(7)},
        (None, 1): {},
    }
    assert catalogue.unknown_lines(known(*ROWS), found) == {"product rds": 4}


def test_the_starter_catalogue_knows_every_product_of_the_demo_but_the_one_that_is_to_be_seen() -> None:
    starter = parse_catalogue(read_catalogue(STARTER.read_bytes(), "products.csv"))
    made = (*products.USAGE, *products.SUBSCRIPTIONS, products.FREE, products.MESSAGES)

    assert [one.code for one in made if starter.unknown(Codes(one.code, one.commodity, one.item_code, 1, {}))] == []
    assert starter.unknown(Codes(products.UNKNOWN.code, None, None, 1, {})) == "product iovcc"
    for one in made:
        assert (starter.products[one.code].names.zh, starter.products[one.code].names.en) == one.name


# -- openings -----------------------------------------------------------------------------------------------------

CHARGE = {
    "id": "c-1",
    "date": "2025-05-31",
    "account": "1001",
    "customer": "acme",
    "product_code": "ecs",
    "commodity_code": "ecs",
    "billing_item_code": "instance_type",
    "instance_id": "i-1",
    "subscription_type": "PayAsYouGo",
    "kind": "usage",
    "currency": "CNY",
    "pretax": "100.00",
    "left": "60.5",
    "agreement": "aurora-2025",
    "rule": "compute",
    "version": "1",
    "basis": "100",
    "earned": "-0.5",
}


def charges(*changes: dict[str, str]) -> bytes:
    rows = [",".join({**CHARGE, **one}.values()) for one in changes]
    return csv_of(*rows, head=",".join(CHARGE_COLUMNS) + "\n")


def test_past_charges_are_known_by_their_digest_and_what_is_left_of_them() -> None:
    body = charges({}, {"id": "c-2", "left": "0.0000000001"}, {"id": "c-3", "currency": "USD"})
    found = read_past_charges(body, "past.csv", Cycle(2025, 6))

    assert list(CHARGE) == list(CHARGE_COLUMNS)
    assert (found.digest, found.rows, dict(found.left)) == (digest(body), 3, {"CNY": "60.5000000001", "USD": "60.5"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"date": "2025-06-01"}, "line 3, date: 2025-06-01 is no past charge; expected 2023-12-01 or later"),
        ({"date": "2023-11-30"}, "line 3, date: 2023-11-30 is no past charge"),
        ({"date": "31.5.2025"}, "line 3, date: '31.5.2025' is no date"),
        (
            {"left": "100.01"},
            "line 3, left: is 100.01; what is left of a charge is above 0 and at most its pretax",
        ),
        ({"left": "0"}, "line 3, left: is 0"),
        ({"left": "-1"}, "line 3, left: is -1"),
        ({"earned": "=1"}, "line 3, earned: '=1' is not an amount"),
        ({"pretax": "1.00000000001"}, "line 3, pretax: '1.00000000001' is not an amount"),
        ({"currency": "RMB"}, "line 3, currency: 'RMB' is no ISO 4217 code"),
        ({"kind": "refund"}, "line 3, kind: 'refund': expected usage or subscription"),
        ({"version": "1.0"}, "line 3, version: '1.0' is no version number"),
        ({"id": "c-1"}, "line 3, id: 'c-1' stands in line 2; keep one"),
        ({"account": ""}, "line 3, account: is empty"),
    ],
)
def test_a_past_charge_that_is_wrong_is_refused_with_its_place(change: dict[str, str], said: str) -> None:
    with pytest.raises(DocumentRefusedError) as caught:
        read_past_charges(charges({}, {"id": "c-2", **change}), "past.csv", Cycle(2025, 6))

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"as_of": "June"}, "as_of: 'June' is no billing cycle"),
        ({"balances": [{"agreement": "a", "currency": "RMB", "amount": "1"}]}, "balances.0.currency: is no currency"),
        ({"balances": [{"agreement": "a", "currency": "CNY", "amount": 1.5}]}, "balances.0.amount: 1.5 is not an"),
        ({"balances": [{"agreement": "a", "currency": "CNY", "amount": "1"}] * 2}, "balances.1: 'a' stands here a"),
        ({"scale_totals": [{"agreement": "a", "scale": "s", "amount": "1"}] * 2}, "scale_totals.1: the same scope"),
        ({}, "document: opens nothing"),
        ({"balance": []}, "balance: is not a known name here"),
    ],
)
def test_an_opening_that_is_wrong_is_refused_with_its_place(change: dict[str, object], said: str) -> None:
    with pytest.raises(DocumentRefusedError) as caught:
        opening_document({"reseller": "aurora", "as_of": "2025-06", **change}, "opening.yaml")

    assert said in str(caught.value)
