"""The FOCUS export: what the standard asks of columns, each party's own amounts exactly, nothing of anybody else."""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from decimal import ROUND_DOWN, Context, Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shared.access.scope import View
from shared.columnar import connect, insert
from shared.report import files, focus
from shared.report.catalogue import catalogue
from shared.report.facts import FACT_TYPES, fact_columns
from shared.report.focus import Billed
from shared.steps import state
from shared.steps.reporting.focus import billed, sellers
from tests.builders import ACME, CYCLE
from tests.unit.test_reports_add_up import run, scope_of
from tests.unit.test_reports_add_up import world as world

# Of the standard: columns that no row may lack, those of figures, and the values that some may have.
NEVER_NULL = {
    *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingAccountType", "BillingCurrency"),
    *("BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeDescription", "ChargeFrequency"),
    *("ChargePeriodEnd", "ChargePeriodStart", "ContractedCost", "EffectiveCost", "InvoiceIssuerName", "ListCost"),
    *("PricingCurrency", "ProviderName", "PublisherName", "ServiceCategory", "ServiceName", "ServiceSubcategory"),
}
MAY_BE_NULL = {
    *("AvailabilityZone", "CapacityReservationId", "CapacityReservationStatus", "ChargeClass", "ConsumedQuantity"),
    *(f"CommitmentDiscount{one}" for one in ("Category", "Id", "Name", "Quantity", "Status", "Type", "Unit")),
    *("ConsumedUnit", "ContractedUnitPrice", "InvoiceId", "ListUnitPrice", "PricingCategory", "PricingQuantity"),
    *(f"PricingCurrency{one}" for one in ("ContractedUnitPrice", "EffectiveCost", "ListUnitPrice")),
    *("PricingUnit", "RegionId", "RegionName", "ResourceId", "ResourceName", "ResourceType", "SkuId", "SkuMeter"),
    *("SkuPriceDetails", "SkuPriceId", "SubAccountId", "SubAccountName", "SubAccountType", "Tags"),
}
ALLOWED: Mapping[str, set[str | None]] = {
    "ChargeCategory": {"Usage", "Purchase", "Tax", "Credit", "Adjustment"},
    "ChargeClass": {None, "Correction"},
    "ChargeFrequency": {"One-Time", "Recurring", "Usage-Based"},
    "PricingCategory": {None, "Standard", "Committed", "Dynamic", "Other"},
}
CATEGORIES = {
    "AI and Machine Learning": "AI Platforms;Bots;Generative AI;Machine Learning;Natural Language Processing",
    "Analytics": "Analytics Platforms;Business Intelligence;Data Processing;Search;Streaming Analytics",
    "Compute": "Containers;End User Computing;Quantum Compute;Serverless Compute;Virtual Machines",
    "Databases": "Caching;Data Warehouses;Ledger Databases;NoSQL Databases;Relational Databases;Time Series Databases",
    "Integration": "API Management;Messaging;Workflow Orchestration",
    "Management and Governance": "Architecture;Compliance;Cost Management;Data Governance;Disaster Recovery;"
    "Endpoint Management;Observability;Support",
    "Media": "Content Creation;Gaming;Media Streaming;Mixed Reality",
    "Mobile": "",
    "Networking": "Application Networking;Content Delivery;Network Connectivity;Network Infrastructure;"
    "Network Routing;Network Security",
    "Security": "Secret Management;Security Posture Management;Threat Detection and Response",
    "Storage": "Backup Storage;Block Storage;File Storage;Object Storage;Storage Platforms",
    "Other": "",
}
SEED = 20250603
CHARGED = {View.OPERATOR: "cost", View.RESELLER: "cost", View.CUSTOMER: "price"}
EXACT = Context(prec=80, rounding=ROUND_DOWN)
OF = {view: Billed(view, "who", "Who", "Whoever sells") for view in View}
WIDEST = [one.name for one in catalogue()["focus_export"].columns[View.OPERATOR]]
FACT: Mapping[str, Any] = {
    "cycle": CYCLE, "date": "2025-06-03", "line_id": "one", "customer": "acme", "reseller": "aurora", "account": ACME,
    "product_code": "ecs", "commodity_code": "ecs", "billing_item_code": "instance_type", "region": "华东1（杭州）",
    "instance_id": "i-1", "subscription_type": "PayAsYouGo", "kind": "usage", "usage": "24", "usage_unit": "小时",
    "list_price": "0.5", "list_amount": "12", "price": "10.8", "cost": "9.6", "currency": "CNY",
}  # fmt: skip


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("focus"), 512) as made:
        made.execute("CREATE TEMP TABLE service (code VARCHAR, name VARCHAR, category VARCHAR)")
        focus.prepare(made, {"ecs": "Elastic Compute Service"})
        yield made


def exported(
    connection: duckdb.DuckDBPyConnection, *facts: Mapping[str, Any], view: View = View.CUSTOMER
) -> list[dict[str, Any]]:
    """The rows of facts that differ from FACT as each says, as a view has them."""
    columns = fact_columns(view)
    typed = ", ".join(f"{name} {FACT_TYPES[name]}" for name in columns)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE fact ({typed})")
    insert(connection, "fact", [[{**FACT, **one}.get(name) for name in columns] for one in facts], len(columns))
    named = [one.name for one in catalogue()["focus_export"].columns[view]]
    found = connection.execute(focus.focus_sql(OF[view], "true", named), focus.parameters(OF[view], named))
    return [dict(zip(named, cells, strict=True)) for cells in found.fetchall()]


def exact(first: Decimal, second: Decimal) -> Decimal:
    return EXACT.multiply(first, second)


@pytest.mark.parametrize("view", View)
def test_the_columns_are_those_of_the_standard_and_ours_say_that_they_are(view: View) -> None:
    columns = catalogue()["focus_export"].columns[view]
    names = [one.name for one in columns]

    assert len(names) == len(set(names))
    assert {one for one in names if not one.startswith("x_")} == NEVER_NULL | MAY_BE_NULL
    assert all(one.labels["en"] and one.labels["zh"] and one.says["en"] and one.says["zh"] for one in columns)
    assert ("x_Reseller" in names) == (view is View.OPERATOR)
    assert ("x_OpenCase" in names) == (view is not View.CUSTOMER)


def test_figures_are_decimals_and_all_else_is_text(world: Any, tmp_path: Path) -> None:
    found = run(world, tmp_path, View.OPERATOR, "", "focus_export")
    types = dict(duckdb.execute("SELECT name, type FROM (DESCRIBE FROM read_parquet(?)) t(name, type, a, b, c, d)",
                                [str(found.path)]).fetchall())  # fmt: skip

    assert list(types) == WIDEST
    for name, type_ in types.items():
        is_figure = name.endswith(("Cost", "UnitPrice", "Quantity"))
        assert type_ == ("DECIMAL(38,18)" if is_figure else "VARCHAR"), name


def test_every_product_of_the_catalogue_has_a_category_of_the_standard() -> None:
    table = Path(focus.__file__).parents[2] / "reference" / "products.csv"
    with table.open(encoding="utf-8", newline="") as file:
        codes = {one["code"] for one in csv.DictReader(file) if one["kind"] == "product"}

    assert codes - set(focus.categories()) == {"savingplan"}  # of everything
    for code, (category, subcategory) in focus.categories().items():
        assert subcategory in {*CATEGORIES[category].split(";"), f"Other ({category})"}, code


@pytest.mark.parametrize(
    ("view", "who"),
    [(View.OPERATOR, ""), (View.RESELLER, "aurora"), (View.CUSTOMER, "acme"), (View.CUSTOMER, "delta")],
    ids=["operator", "aurora", "acme", "delta"],
)
def test_billed_cost_adds_up_to_what_the_party_is_charged(world: Any, tmp_path: Path, view: View, who: str) -> None:
    found = run(world, tmp_path / "focus", view, who, "focus_export")
    lines = run(world, tmp_path / "lines", view, who, "usage_detail" if view is View.CUSTOMER else "reseller_margin")

    charged = lines.totals["CNY"][CHARGED[view]]
    assert found.totals["CNY"]["BilledCost"] == found.totals["CNY"]["EffectiveCost"] == charged > 0
    assert found.stated.currencies == ["CNY"]
    [(total,)] = duckdb.execute("SELECT sum(BilledCost) FROM read_parquet(?)", [str(found.path)]).fetchall()
    assert total == charged


def test_lines_whose_amount_is_not_known_are_left_out_and_counted(world: Any, tmp_path: Path) -> None:
    birch = run(world, tmp_path, View.CUSTOMER, "birch", "focus_export")  # no plan of borealis

    assert birch.rows == 0
    [note] = birch.stated.notes
    assert note["en"].startswith("4 of 4 lines are left out, for what is charged for them is not known")
    assert note["zh"].startswith("4 行中有 4 行未列出")
    nowhere = run(world, tmp_path / "none", View.CUSTOMER, "birch", "focus_export", filters={"service": "none"})
    assert [one["en"].split(":")[0] for one in nowhere.stated.notes] == ["nothing fits"]
    assert run(world, tmp_path / "all", View.OPERATOR, "", "focus_export").stated.notes == []


def test_a_customers_export_names_its_seller_as_issuer_and_has_nothing_else_of_it(world: Any, tmp_path: Path) -> None:
    detail = run(world, tmp_path / "lines", View.OPERATOR, "", "usage_detail", filters={"customer": "acme"})
    [(costs,)] = duckdb.execute("SELECT list(DISTINCT x) FROM (SELECT unnest([resale_price, commission]) AS x "
                                "FROM read_parquet(?)) WHERE x <> 0", [str(detail.path)]).fetchall()  # fmt: skip
    found = run(world, tmp_path, View.CUSTOMER, "acme", "focus_export")
    rows = duckdb.execute("SELECT * FROM read_parquet(?)", [str(found.path)]).fetchall()

    assert {"aurora", "x_Reseller", "x_OpenCase"} & {str(cell) for row in rows for cell in row} == set()
    assert b"aurora" not in found.path.read_bytes()
    assert {Decimal("80"), Decimal("160")} <= set(costs)  # what acme's seller pays for its first two days
    assert set(costs) & {cell for row in rows for cell in row if isinstance(cell, Decimal)} == set()
    issuer = [one.name for one in found.columns].index("InvoiceIssuerName")
    assert {row[issuer] for row in rows} == {"Aurora"}


def test_invoices_are_of_the_provider_of_the_operator_or_of_the_seller(world: Any) -> None:
    known, _ = state.parties(world.services)

    def issuer(view: View, who: str) -> tuple[str, str, str]:
        of = billed(known, scope_of(world, view, who), [])
        return of.id, of.name, of.issuer

    assert issuer(View.OPERATOR, "") == ("op", "The Operator", "Alibaba Cloud")
    assert issuer(View.RESELLER, "aurora") == ("aurora", "Aurora", "The Operator")
    assert issuer(View.CUSTOMER, "delta") == ("delta", "Delta", "The Operator")
    acme = sellers(known, scope_of(world, View.CUSTOMER, "acme"))
    assert acme == [(ACME, "2025-01-01", "9999-12-31", "Aurora")]
    assert sellers(known, scope_of(world, View.RESELLER, "aurora")) == []


def test_files_have_the_names_as_the_standard_spells_them(world: Any, tmp_path: Path) -> None:
    found = run(world, tmp_path, View.CUSTOMER, "acme", "focus_export")
    names = [one.name for one in found.columns]
    for format_ in ("csv", "json", "parquet"):
        files.write(found, format_, "en", tmp_path / f"made.{format_}")

    with (tmp_path / "made.csv").open(encoding="utf-8-sig", newline="") as file:
        lines: list[dict[str, str]] = list(csv.DictReader(file))
    said = json.loads((tmp_path / "made.json").read_bytes())["rows"]
    kept = duckdb.execute("SELECT * FROM read_parquet(?)", [str(tmp_path / "made.parquet")])
    assert names == list(lines[0]) == list(said[0]) == [one[0] for one in kept.description or ()]
    assert len(lines) == len(said) == found.rows == 5
    assert [Decimal(one["BilledCost"]) for one in lines] == [Decimal(one["BilledCost"]) for one in said]


# -- what each column is made of --------------------------------------------------------------------------------


def test_a_line_of_usage_says_what_the_standard_wants_of_one(connection: duckdb.DuckDBPyConnection) -> None:
    [row] = exported(connection, {})

    wanted = {
        "ChargePeriodStart": "2025-06-02T16:00:00Z", "ChargePeriodEnd": "2025-06-03T16:00:00Z",
        "BillingPeriodStart": "2025-05-31T16:00:00Z", "BillingPeriodEnd": "2025-06-30T16:00:00Z",
        "ChargeCategory": "Usage", "ChargeClass": None, "ChargeFrequency": "Usage-Based",
        "BilledCost": Decimal("10.8"), "EffectiveCost": Decimal("10.8"), "ContractedCost": Decimal("10.8"),
        "ListCost": Decimal("12"), "ListUnitPrice": Decimal("0.5"), "ContractedUnitPrice": Decimal("0.45"),
        "PricingQuantity": Decimal("24"), "PricingUnit": "Hours", "ConsumedQuantity": Decimal("24"),
        "ServiceName": "Elastic Compute Service", "ServiceCategory": "Compute",
        "ServiceSubcategory": "Virtual Machines",
        "RegionId": "cn-hangzhou", "RegionName": "China (Hangzhou)", "SubAccountId": ACME, "ResourceId": "i-1",
        "SkuId": "ecs/ecs/instance_type", "InvoiceIssuerName": "Whoever sells", "BillingAccountType": "Customer",
        "ProviderName": "Alibaba Cloud", "x_LineId": "one", "x_Cycle": CYCLE,
    }  # fmt: skip
    assert {name: row[name] for name in wanted} == wanted


def test_a_subscription_is_one_purchase_over_all_its_days(connection: duckdb.DuckDBPyConnection) -> None:
    bought = {
        "kind": "subscription", "subscription_type": "Subscription", "service_from": "2025-06-03",
        "service_until": "2025-07-02", "usage": None, "usage_unit": None, "list_price": None,
    }  # fmt: skip
    [row] = exported(connection, bought)

    assert (row["ChargeCategory"], row["ChargeFrequency"], row["ConsumedQuantity"]) == ("Purchase", "One-Time", None)
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2025-06-02T16:00:00Z", "2025-07-02T16:00:00Z")
    assert (row["PricingQuantity"], row["PricingUnit"], row["ListUnitPrice"]) == (1, "Units", 12)


def test_a_refund_is_usage_below_nothing_and_of_an_earlier_month_a_correction(
    connection: duckdb.DuckDBPyConnection,
) -> None:  # fmt: skip
    back = {"kind": "refund", "usage": "4", "list_amount": "-2", "price": "-1.8"}
    now, before = exported(connection, back, {**back, "line_id": "two", "service_until": "2025-05-31"})

    assert (now["ChargeCategory"], now["PricingQuantity"], now["ListUnitPrice"]) == ("Usage", -4, Decimal("0.5"))
    assert (now["ContractedUnitPrice"], now["ChargeClass"]) == (Decimal("0.45"), None)
    assert before["ChargeClass"] == "Correction"


def test_what_is_free_has_a_unit_price_of_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    [row] = exported(connection, {"list_amount": "0", "price": "0"})
    assert (row["PricingQuantity"], row["ListUnitPrice"], row["ContractedUnitPrice"], row["ListCost"]) == (24, 0, 0, 0)


def test_a_credit_is_at_what_it_is_worth_and_has_no_unit(connection: duckdb.DuckDBPyConnection) -> None:
    [row] = exported(connection, {"kind": "credit", "list_amount": "-5", "price": "-4", "usage": "1"})

    assert (row["ChargeCategory"], row["BilledCost"], row["ListCost"]) == ("Credit", -4, -4)
    assert {row[one] for one in ("PricingQuantity", "PricingUnit", "ListUnitPrice", "SkuId", "PricingCategory")} == {
        None
    }


def test_an_amount_of_no_line_is_an_adjustment_of_the_whole_month(connection: duckdb.DuckDBPyConnection) -> None:
    loose = dict.fromkeys((*FACT, "list_amount")) | {"cycle": CYCLE, "kind": "floor", "price": "3", "currency": "CNY"}
    [row] = exported(connection, loose)

    assert (row["ChargeCategory"], row["BilledCost"], row["ListCost"]) == ("Adjustment", 3, 3)
    assert (row["ChargePeriodStart"], row["ChargePeriodEnd"]) == ("2025-05-31T16:00:00Z", "2025-06-30T16:00:00Z")
    assert (row["ServiceName"], row["ServiceCategory"], row["ServiceSubcategory"]) == (
        "Other",
        "Other",
        "Other (Other)",
    )
    assert (row["SubAccountId"], row["SubAccountName"], row["SubAccountType"]) == (None, None, None)


def test_a_price_in_another_currency_than_the_bills_is_one_row_of_that_currency(
    connection: duckdb.DuckDBPyConnection,
) -> None:  # fmt: skip
    bare = dict.fromkeys(("usage", "usage_unit", "list_price", "list_amount")) | {"price": "1.5", "currency": "USD"}
    [row] = exported(connection, {"price": None}, bare)

    assert (row["BilledCost"], row["BillingCurrency"], row["PricingCurrency"]) == (Decimal("1.5"), "USD", "CNY")
    assert (row["ListCost"], row["ListUnitPrice"]) == (Decimal("1.5"), None)  # no rate is guessed
    assert (row["PricingCurrencyListUnitPrice"], row["PricingCurrencyEffectiveCost"]) == (Decimal("0.5"), None)
    assert (row["PricingQuantity"], row["PricingUnit"]) == (24, "Hours")
    left = connection.execute(focus.left_out(OF[View.CUSTOMER], "true")).fetchall()
    assert left == [(1, 0)]


def test_an_account_that_changes_its_seller_is_invoiced_by_each_for_its_own_days(
    connection: duckdb.DuckDBPyConnection,
) -> None:  # fmt: skip
    focus.prepare(connection, {}, [(ACME, "2025-01-01", "2025-06-15", "Aurora"),
                                   (ACME, "2025-06-16", "9999-12-31", "Borealis")])  # fmt: skip
    days = [{"date": day, "line_id": day} for day in ("2025-06-15", "2025-06-16")]
    rows = exported(connection, *days, {"date": None, "account": None, "line_id": None, "kind": "floor"})
    focus.prepare(connection, {"ecs": "Elastic Compute Service"})

    assert [(row["x_LineId"], row["InvoiceIssuerName"]) for row in rows] == [
        ("2025-06-15", "Aurora"), ("2025-06-16", "Borealis"), (None, "Whoever sells")
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("dividend", "divisor"),
    [
        ("10", "3"),
        ("-10", "3"),
        ("14846.150300170445", "99886633.2515"),
        ("0.0000000001", "0.3"),
        ("68102.16", "77875"),
    ],
)
def test_a_unit_price_is_divided_exactly_and_cut_off(
    connection: duckdb.DuckDBPyConnection, dividend: str, divisor: str
) -> None:  # fmt: skip
    asked = "SELECT quotient(CAST(? AS DECIMAL(28,10)), CAST(? AS DECIMAL(38,18)))"
    [(found,)] = connection.execute(asked.replace("28,10", "38,18"), [dividend, divisor]).fetchall()
    wanted = EXACT.divide(abs(Decimal(dividend)), Decimal(divisor)).quantize(Decimal("1e-18"), ROUND_DOWN, EXACT)

    assert found == wanted
    assert connection.execute(asked, ["1", "0"]).fetchall() == [(None,)]
    assert connection.execute(asked, ["12345678901234567", "99999999999999999999"]).fetchall() == [(None,)]


def random_facts(luck: random.Random, count: int) -> list[dict[str, Any]]:
    """Facts as bills and price plans make them, and as no sane bill would."""

    def number(places: int, most: int, *usual: str | None) -> str | None:
        some = EXACT.scaleb(Decimal(luck.randint(-most * 10**places, most * 10**places)), -places)
        return luck.choice([*usual, None, "0", f"{some:f}"])

    def day() -> str | None:
        return luck.choice([None, str(date(2025, 4, 1) + timedelta(days=luck.randrange(120)))])

    texts = (
        *("product_code", "product_name", "product_type", "commodity_code", "billing_item_code", "billing_item"),
        *("region", "zone", "usage_unit", "instance_id", "instance_name", "instance_spec", "account", "customer"),
    )
    kinds = ("usage", "subscription", "refund", "chargeback", "adjustment", "credit", "cap", "floor")
    return [
        {
            **{name: luck.choice([None, "ecs", "x", "-", "流量"]) for name in texts},
            **{name: day() for name in ("date", "service_from", "service_until")},
            "subscription_type": luck.choice([None, "PayAsYouGo", "Subscription"]),
            "kind": luck.choice(kinds),
            "line_id": f"line-{line}",
            "usage": number(luck.choice([0, 8, 18]), 10**9, "24"),
            "list_price": number(luck.choice([0, 6, 18]), 100, "0.5"),
            "list_amount": number(10, 10**8, "12"),
            "price": number(18, 10**8),
            "cost": number(18, 10**8),
            "currency": luck.choice(["CNY", "USD"]),
        }
        for line in range(count)
    ]


@pytest.mark.parametrize("view", View)
def test_whatever_the_facts_no_row_breaks_a_rule_of_the_standard_and_no_amount_is_lost(
    connection: duckdb.DuckDBPyConnection, view: View
) -> None:  # fmt: skip
    print(f"seed {SEED}")
    made = random_facts(random.Random(SEED), 1_000)  # noqa: S311 - facts that can be had again, no secret

    rows = exported(connection, *made, view=view)

    charged = {one["line_id"]: Decimal(one[CHARGED[view]]) for one in made if one[CHARGED[view]] is not None}
    assert {row["x_LineId"]: row["BilledCost"] for row in rows} == charged
    assert len(rows) == len(charged) > 500
    told = {one["line_id"]: one for one in made}
    for row in rows:
        keeps_the_rules(row, told[row["x_LineId"]])


def keeps_the_rules(row: Mapping[str, Any], fact: Mapping[str, Any]) -> None:
    """The rules about one row, as the standard has them."""
    assert [name for name in NEVER_NULL if row[name] is None] == []
    assert [name for name, values in ALLOWED.items() if row[name] not in values] == []
    category = row["ServiceCategory"]
    assert row["ServiceSubcategory"] in {*CATEGORIES[category].split(";"), f"Other ({category})"}
    assert row["ChargePeriodStart"] < row["ChargePeriodEnd"]
    is_priced = row["ChargeCategory"] in ("Usage", "Purchase")
    for name in ("SkuId", "SkuPriceId", "PricingCategory"):
        assert (row[name] is not None) == is_priced, name
    assert (row["ConsumedQuantity"] is None) or row["ChargeCategory"] == "Usage"
    for unit, of in (("PricingUnit", "PricingQuantity"), ("ConsumedUnit", "ConsumedQuantity"),
                     ("SubAccountName", "SubAccountId"), ("RegionName", "RegionId")):  # fmt: skip
        assert (row[unit] is None) == (row[of] is None), unit
    for price, cost in (("ListUnitPrice", "ListCost"), ("ContractedUnitPrice", "ContractedCost")):
        quantity = row["PricingQuantity"]
        if row[price] is not None:
            assert row[price] >= 0
            assert quantity is not None
            # Cut off after 18 decimals, it lacks less than that times the quantity.
            assert abs(row[cost] - exact(row[price], quantity)) <= abs(exact(quantity, Decimal("1e-18"))), price
        elif quantity and fact["list_amount"] is not None:
            assert price == "ContractedUnitPrice", fact  # which is not there where it would be below 0
            assert (row[cost] < 0) != (quantity < 0), fact
