"""FOCUS 1.2, the FinOps Foundation's cost and usage columns: what each is made of, in SQL over facts.

A row is a fact that costs the party something known: the operator what the provider bills it, a reseller what the
operator charges it, a customer what its seller charges it. A line whose amount is not known (no price plan, a case) has
no row, for FOCUS has no cost without a figure: `left_out` counts these, and the file says it. An amount of no line (a
minimum, an adjustment) is a row of its own, so BilledCost adds up to the party's amounts.

Derived:

- Periods. Bills count days of Asia/Shanghai and FOCUS has UTC, so June begins on 31 May at 16:00; `x_Cycle` is the
  month as people say it. What belongs to no day has the whole month. Ends are exclusive.
- ChargeCategory. Subscriptions are purchases, refunds are usage or purchases below 0, amounts of no line adjustments. A
  correction is what is of a day before the month that bills it.
- EffectiveCost and ContractedCost are BilledCost. FOCUS spreads what a savings or resource plan costs over the use that
  it pays for, and has 0 for its purchase: lines do not say which use that is, and no sum is to lack the purchase.
- ListCost is the provider's list amount; of credits, adjustments, and prices in another currency than the bill's it is
  BilledCost, as FOCUS has it where there is no list unit price.
- Quantities are the line's usage, below 0 where the amount is; a purchase without one is of 1. PricingQuantity is
  ConsumedQuantity, which is of usage alone.
- ListUnitPrice is the provider's where it makes the list amount to the last digit; else (free quota, tiers, rounded
  bills), as ContractedUnitPrice always is, cost by quantity, cut off after 18 decimals. None is below 0.
- SkuId is product, commodity and billing item; SkuPriceId that with spec, region and subscription type.
- ServiceName is the catalogue's English name, else the code, for bills name products in the language of their payer;
  billing items are told by code for the same reason, with the bill's words in `x_BillingItem`.
- Service categories, units and regions are those of `services.toml`, `units.toml` and `regions.toml`, where they are
  known: else the category is Other, and units and regions are as billed.

Absent, for no fact says them: InvoiceId, CommitmentDiscount*, CapacityReservation* and SkuPriceDetails are always NULL.
Quantities and unit prices are NULL where the line has no usage, PricingCurrencyEffectiveCost where a price is in
another currency than the bill. Taxes have no rows: amounts are before tax. Accounts are called by their numbers.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.access.scope import View
from shared.bill.line import QUANTITY
from shared.columnar import insert
from shared.report.facts import FACT_ORDER, MONEY

if TYPE_CHECKING:
    import duckdb

PROVIDER = "Alibaba Cloud"
OTHER = ("Other", "Other (Other)")
# What a party is charged, by its view.
CHARGED: Mapping[View, str] = {View.OPERATOR: "cost", View.RESELLER: "cost", View.CUSTOMER: "price"}

_IS_PRICED = "category IN ('Usage', 'Purchase')"
_CATEGORY = (
    "CASE WHEN kind = 'credit' THEN 'Credit' WHEN kind NOT IN ('usage', 'subscription', 'refund', 'chargeback') "
    "THEN 'Adjustment' WHEN 'Subscription' = subscription_type OR kind = 'subscription' THEN 'Purchase' "
    "ELSE 'Usage' END"
)


def _named(*names: str) -> str:
    """Each, or a sign that it is not there: what lacks one is no other's id."""
    return ", ".join(f"coalesce({one}, '-')" for one in names)


_SKU = f"concat_ws('/', {_named('product_code', 'commodity_code', 'billing_item_code')})"
_SKU_PRICE = f"concat_ws('/', {_SKU}, {_named('instance_spec', 'region', 'subscription_type')})"
_SERVICE = "coalesce(service_name, product_code, product_name, 'Other')"
_ITEM = "coalesce(billing_item_code, billing_item, commodity_code)"
_UNIT = "coalesce(unit, usage_unit, 'Units')"
_MONTH = "CAST(cycle || '-01' AS DATE)"


def _instant(day: str) -> str:
    """When a day of Asia/Shanghai, which has no summer time, begins in UTC."""
    return f"strftime(CAST({day} AS TIMESTAMP) - INTERVAL 8 HOUR, '%Y-%m-%dT%H:%M:%SZ')"


def _of_sku(told: str) -> str:
    return f"CASE WHEN {_IS_PRICED} THEN {told} END"


# The usage, with the sign of its amount; a purchase is of 1 where the line says none.
_QUANTITY = (
    "CASE WHEN usage <> 0 OR (usage = 0 AND listed = 0) "
    "THEN CASE WHEN listed < 0 THEN -abs(usage) WHEN listed > 0 THEN abs(usage) ELSE usage END "
    "WHEN category = 'Purchase' THEN CASE WHEN listed < 0 THEN -1 ELSE 1 END END"
)
# Whether price times usage is the amount, to the last digit: with more digits than these it would have to be rounded.
_MAKES_IT = (
    "TRY(CAST(list_price AS DECIMAL(18,12)) = list_price AND CAST(quantity AS DECIMAL(20,6)) = quantity "
    "AND CAST(list_price AS DECIMAL(18,12)) * CAST(quantity AS DECIMAL(20,6)) = listed)"
)
_LIST_UNIT_PRICE = (
    f"CASE WHEN {_MAKES_IT} THEN CASE WHEN list_price >= 0 THEN list_price END "
    "WHEN quantity <> 0 THEN CASE WHEN listed = 0 THEN 0 ELSE quotient(listed, quantity) END END"
)
_UNIT_PRICE = (
    "CASE WHEN quantity IS NOT NULL AND charged = 0 THEN 0 "
    "WHEN (charged < 0) = (quantity < 0) THEN quotient(charged, quantity) END"
)
_DIVISION = {
    "unscaled(x)": "CAST(replace(CAST(CAST(abs(x) AS DECIMAL(38,18)) AS VARCHAR), '.', '') AS HUGEINT)",
    "digits_by(n, d)": (
        "CAST((n // d) * 1000000000000000000 + ((n % d) * 1000000 // d) * 1000000000000 "
        "+ (((n % d) * 1000000 % d) * 1000000 // d) * 1000000 "
        "+ (((n % d) * 1000000 % d) * 1000000 % d) * 1000000 // d AS DECIMAL(38,0)) "
        "* CAST('0.000000000000000001' AS DECIMAL(18,18))"
    ),
    # NULL for a divisor of 0, and one of more than 14 digits before its point.
    "quotient(n, d)": "TRY(digits_by(unscaled(n), unscaled(d)))",
}

# What each column is made of, of a row of `priced` (`focus_sql`); $ are parameters.
_COLUMNS: Mapping[str, str] = {
    "ChargePeriodStart": _instant(f"coalesce(service_from, service_until, date, {_MONTH})"),
    "ChargePeriodEnd": _instant(
        f"coalesce(greatest(service_until, service_from) + 1, date + 1, {_MONTH} + INTERVAL 1 MONTH)"
    ),
    "BillingPeriodStart": _instant(_MONTH),
    "BillingPeriodEnd": _instant(f"{_MONTH} + INTERVAL 1 MONTH"),
    "ServiceName": _SERVICE,
    "SubAccountId": "account",
    "ChargeCategory": "category",
    "BilledCost": "charged",
    "BillingCurrency": "currency",
    "ChargeDescription": f"concat_ws(', ', {_SERVICE}, {_ITEM}, kind)",
    "ChargeClass": f"CASE WHEN date < {_MONTH} OR (kind NOT IN ('usage', 'subscription') AND service_until < {_MONTH}) "
    "THEN 'Correction' END",
    "ChargeFrequency": "CASE WHEN category = 'Usage' THEN 'Usage-Based' ELSE 'One-Time' END",
    "EffectiveCost": "charged",
    "ListCost": f"CASE WHEN {_IS_PRICED} AND currency = list_currency THEN coalesce(listed, charged) ELSE charged END",
    "ContractedCost": "charged",
    "ListUnitPrice": "CASE WHEN currency = list_currency THEN list_unit_price END",
    "ContractedUnitPrice": "unit_price",
    "PricingQuantity": "quantity",
    "PricingUnit": f"CASE WHEN quantity IS NOT NULL THEN {_UNIT} END",
    "PricingCategory": _of_sku("'Standard'"),
    "PricingCurrency": "list_currency",
    "PricingCurrencyEffectiveCost": "CASE WHEN currency = list_currency THEN charged END",
    "PricingCurrencyListUnitPrice": "list_unit_price",
    "PricingCurrencyContractedUnitPrice": "CASE WHEN currency = list_currency THEN unit_price END",
    "ConsumedQuantity": "CASE WHEN category = 'Usage' THEN quantity END",
    "ConsumedUnit": f"CASE WHEN category = 'Usage' AND quantity IS NOT NULL THEN {_UNIT} END",
    "ServiceCategory": f"coalesce(service_category, '{OTHER[0]}')",
    "ServiceSubcategory": f"coalesce(service_subcategory, '{OTHER[1]}')",
    "ProviderName": f"'{PROVIDER}'",
    "PublisherName": f"'{PROVIDER}'",
    "InvoiceId": "NULL",
    "InvoiceIssuerName": "coalesce(issuer, $issuer)",
    "BillingAccountId": "$billed_id",
    "BillingAccountName": "$billed_name",
    "BillingAccountType": "$billed_type",
    "SubAccountName": "account",
    "SubAccountType": "CASE WHEN account IS NOT NULL THEN 'Account' END",
    "RegionId": "coalesce(region_id, region)",
    "RegionName": "coalesce(region_name, region)",
    "AvailabilityZone": "zone",
    "ResourceId": "instance_id",
    "ResourceName": "CASE WHEN instance_id IS NOT NULL THEN instance_name END",
    "ResourceType": "CASE WHEN instance_id IS NOT NULL THEN coalesce(product_type, commodity_code, product_code) END",
    "SkuId": _of_sku(_SKU),
    "SkuMeter": _of_sku(f"coalesce({_ITEM}, product_code)"),
    "SkuPriceId": _of_sku(_SKU_PRICE),
    "SkuPriceDetails": "NULL",
    "Tags": "tags",
    "CommitmentDiscountCategory": "NULL",
    "CommitmentDiscountId": "NULL",
    "CommitmentDiscountName": "NULL",
    "CommitmentDiscountQuantity": "NULL",
    "CommitmentDiscountStatus": "NULL",
    "CommitmentDiscountType": "NULL",
    "CommitmentDiscountUnit": "NULL",
    "CapacityReservationId": "NULL",
    "CapacityReservationStatus": "NULL",
    "x_LineId": "line_id",
    "x_Cycle": "cycle",
    "x_Kind": "kind",
    "x_BillingItem": "billing_item",
    "x_CostUnit": "cost_unit",
    "x_ResourceGroup": "resource_group",
    "x_Customer": "customer",
    "x_Reseller": "reseller",
    "x_OpenCase": "open_case",
}


@dataclass(frozen=True, slots=True)
class Billed:
    """Who is billed, by its id and name, and who issues the invoice where no account tells."""

    view: View
    id: str
    name: str
    issuer: str

    @property
    def charged(self) -> str:
        """The column of facts that says what it is charged."""
        return CHARGED[self.view]


def prepare(
    connection: duckdb.DuckDBPyConnection,
    names: Mapping[str, str],
    sellers: Sequence[tuple[str, str, str, str]] = (),
) -> None:
    """Make what `focus_sql` reads beside facts.

    These are the names of products by code, their categories, units, (account, first day, last day, name) of who sells
    it, and a division.
    """
    tables: dict[str, Sequence[Sequence[object]]] = {
        "focus_name (code VARCHAR, service_name VARCHAR)": list(names.items()),
        "focus_service (code VARCHAR, service_category VARCHAR, service_subcategory VARCHAR)": [
            (code, *of) for code, of in categories().items()
        ],
        "focus_unit (spelling VARCHAR, unit VARCHAR)": list(units().items()),
        "focus_region (spelling VARCHAR, region_id VARCHAR, region_name VARCHAR)": [
            (spelling, *of) for spelling, of in regions().items()
        ],
        "seller (account VARCHAR, begins DATE, ends DATE, issuer VARCHAR)": list(sellers),
    }
    for table, rows in tables.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {table}")
        insert(connection, table.partition(" ")[0], rows, table.count(",") + 1)
    # DuckDB divides decimals as floats, and whole numbers exactly: so digits are divided, three times six decimals.
    for name, made_of in _DIVISION.items():
        connection.execute(f"CREATE OR REPLACE TEMP MACRO {name} AS {made_of}")


def focus_sql(of: Billed, where: str, named: Sequence[str], table: str = "fact") -> str:
    """The SELECT of these columns over what is asked of `fact f` beside `service s`; `parameters` are beside those."""
    columns = ", ".join(f"CAST({_COLUMNS[name]} AS {column_type(name)}) AS {name}" for name in named)
    return f"""
        WITH asked AS (
          SELECT f.*, f.{of.charged} AS charged, {_CATEGORY} AS category
          FROM {table} f LEFT JOIN service s ON s.code = f.product_code
          WHERE {where} AND f.{of.charged} IS NOT NULL),
        line AS (
          -- A price in another currency than the bill's stands in a row of its own: the line's first has the rest.
          SELECT a.* REPLACE (coalesce(a.usage, o.usage) AS usage, coalesce(a.usage_unit, o.usage_unit) AS usage_unit,
                              coalesce(a.list_price, o.list_price) AS list_price),
                 coalesce(a.list_amount, o.list_amount) AS listed, coalesce(o.currency, a.currency) AS list_currency
          FROM asked a LEFT JOIN {table} o ON o.line_id = CASE WHEN a.list_amount IS NULL THEN a.line_id END
                                          AND o.cycle = a.cycle AND o.list_amount IS NOT NULL),
        counted AS (
          SELECT *, CAST(CASE WHEN {_IS_PRICED} THEN {_QUANTITY} END AS {QUANTITY}) AS quantity FROM line),
        priced AS (
          SELECT c.*, {_LIST_UNIT_PRICE} AS list_unit_price, {_UNIT_PRICE} AS unit_price,
                 service_name, service_category, service_subcategory, unit, region_id, region_name,
                 issuer
          FROM counted c LEFT JOIN focus_name n ON n.code = c.product_code
          LEFT JOIN focus_service p ON p.code = c.product_code
          LEFT JOIN focus_unit u ON u.spelling = c.usage_unit
          LEFT JOIN focus_region r ON r.spelling = c.region
          LEFT JOIN seller w ON w.account = c.account AND c.date BETWEEN w.begins AND w.ends)
        SELECT {columns} FROM priced
        ORDER BY {FACT_ORDER}, customer NULLS LAST, product_code NULLS LAST, charged"""  # noqa: S608 - our own names


def parameters(of: Billed, named: Sequence[str]) -> dict[str, str]:
    """The parameters of `focus_sql` for these columns."""
    given = {"issuer": of.issuer, "billed_id": of.id, "billed_name": of.name, "billed_type": str(of.view).title()}
    return {name: value for name, value in given.items() if any(f"${name}" in _COLUMNS[one] for one in named)}


def left_out(of: Billed, where: str, table: str = "fact") -> str:
    """The SELECT of (lines that are asked for, those of them whose amount is not known)."""
    return f"""
        SELECT count(*), count(*) FILTER (charged IS NULL) FROM (
          SELECT max(f.{of.charged}) AS charged FROM {table} f LEFT JOIN service s ON s.code = f.product_code
          WHERE {where} AND line_id IS NOT NULL GROUP BY cycle, line_id HAVING count(list_amount) > 0)"""  # noqa: S608


def column_type(name: str) -> str:
    """The type that a column has in Parquet."""
    if name.endswith("Cost"):
        return MONEY
    return QUANTITY if name.endswith(("Quantity", "UnitPrice")) else "VARCHAR"


@functools.cache
def categories() -> Mapping[str, tuple[str, str]]:
    """Service category and subcategory by product code."""
    return {
        code: (category, subcategory)
        for category, below in _toml("services.toml").items()
        for subcategory, codes in below.items()
        for code in codes
    }


@functools.cache
def units() -> Mapping[str, str]:
    """Units as FOCUS spells them, by how bills do."""
    return {spelling: unit for unit, spellings in _toml("units.toml").items() for spelling in spellings}


@functools.cache
def regions() -> Mapping[str, tuple[str, str]]:
    """Id and English name of regions, by how bills call them."""
    found = _toml("regions.toml")
    return {spelling: (id_, names[0]) for id_, names in found.items() for spelling in (id_, *names)}


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
