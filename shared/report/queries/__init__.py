"""Questions to facts, as SQL: what each published column is made of, what filters mean, in which order rows come.

The tables are `fact` (what the asker may see, shared.report.facts), `service` (code, name, category) and, where
something is allocated, `allocated` (facts with `target`). Everything that comes from outside is a parameter; columns
are our own names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from shared.bill.line import AMOUNT, QUANTITY
from shared.report.asking import USAGE, Ask, grouped_by, tag_of
from shared.report.catalogue import Report, Type
from shared.report.facts import MONEY

CHARGE = (
    "CASE WHEN kind IN ('usage', 'subscription') THEN 'usage' WHEN kind IN ('refund', 'chargeback') THEN 'refund' "
    "WHEN kind = 'credit' THEN 'credit' ELSE 'adjustment' END"
)
# What a column says of one fact.
_OF_FACT: Mapping[str, str] = {
    "month": "cycle",
    "date": "date",
    "customer": "customer",
    "reseller": "reseller",
    "account": "account",
    "service": "product_code",
    "service_name": "coalesce(s.name, product_name)",
    "category": "s.category",
    "item": "coalesce(billing_item, billing_item_code, commodity_code)",
    "region": "region",
    "zone": "zone",
    "subscription_type": "subscription_type",
    "instance": "instance_id",
    "project": "cost_unit",
    "resource_group": "resource_group",
    "charge": CHARGE,
    "kind": "kind",
    "usage_unit": "usage_unit",
    "list_price_unit": "list_price_unit",
    "currency": "f.currency",
    "line": "line_id",
}
_FIGURES: Mapping[str, str] = {
    "usage": "usage",
    "list_price": "list_price",
    "list_amount": "list_amount",
    "price": "price",
    "resale_price": "price",
    "cost": "cost",
    "margin": f"CAST(price - cost AS {MONEY})",
    "commission": "commission",
}
# Of what was billed in the month: adjustments of earlier lines have no price of their own. A price in another currency
# than the bill stands in a fact of its own, beside that of the line.
UNPRICED = (
    "count(DISTINCT line_id) FILTER (price IS NULL AND list_amount IS NOT NULL AND line_id NOT IN "
    "(SELECT line_id FROM fact WHERE price IS NOT NULL AND list_amount IS NULL AND line_id IS NOT NULL))"
)
_COUNTS: Mapping[str, str] = {
    "lines": "count(DISTINCT line_id)",
    "unpriced_lines": UNPRICED,
}
_TYPES: Mapping[Type, str] = {Type.COUNT: "BIGINT", Type.DATE: "DATE", Type.QUANTITY: QUANTITY, Type.AMOUNT: MONEY}


def column_type(type_: Type, name: str) -> str:
    """The type that a column has in Parquet."""
    return AMOUNT if name == "list_amount" else _TYPES.get(type_, "VARCHAR")


def where_sql(report: Report, ask: Ask) -> tuple[str, dict[str, Any]]:
    """Which facts are asked for, of `fact f` beside `service s`, and the parameters of that."""
    given: dict[str, Any] = {}
    return " AND ".join(_conditions(report, ask, given)), given


def facts_sql(
    report: Report, ask: Ask, named: Sequence[str], types: Mapping[str, Type], table: str = "fact"
) -> tuple[str, dict[str, Any]]:
    """The SELECT of a report over facts, and its parameters; `named` are the columns, in order."""
    where, given = where_sql(report, ask)
    told = {**_OF_FACT, **_target(ask, given)}
    columns, groups = [], []
    for name in named:
        if name in _FIGURES:
            found = _FIGURES[name] if report.is_detail else f"sum({_FIGURES[name]})"
        elif name in _COUNTS:
            found = _COUNTS[name]
        else:
            found = told[name]
            groups.append(found)
        columns.append(f"CAST({found} AS {column_type(types[name], name)}) AS {name}")
    grouped = "" if report.is_detail else f" GROUP BY {', '.join(groups)}"
    order = ", ".join(f"{name} NULLS LAST" for name in named)
    sql = (
        f"SELECT {', '.join(columns)} FROM {table} f LEFT JOIN service s ON s.code = f.product_code "  # noqa: S608
        f"WHERE {where}{grouped} ORDER BY {order}"
    )
    return sql, given


def _conditions(report: Report, ask: Ask, given: dict[str, Any]) -> list[str]:
    """What a fact must be; the values become parameters."""
    found = [_in_period(ask, given)]
    if report.charges:
        given["charges"] = list(report.charges)
        found.append(f"list_contains($charges::VARCHAR[], {CHARGE})")
    for name, values in ask.filters.items():
        if name == "group_by":
            continue
        given[f"of_{name}"] = list(values)
        found.append(_condition(name, values, given))
    return found


def _in_period(ask: Ask, given: dict[str, Any]) -> str:
    """By usage, what belongs to no day is in no period shorter than its month."""
    if ask.by != USAGE:
        return "true"  # the facts are those of the months that are asked for
    given |= {"first": ask.period.first, "last": ask.period.last}
    period = ask.period
    given["whole"] = [str(one) for one in ask.cycles if period.first <= one.first and one.last <= period.last]
    return "(date BETWEEN $first AND $last OR (date IS NULL AND list_contains($whole::VARCHAR[], cycle)))"


def _condition(name: str, values: Sequence[str], given: dict[str, Any]) -> str:
    if name == "date":
        return "list_contains($of_date::VARCHAR[], CAST(date AS VARCHAR))"
    if name == "tag":
        tags = [tag_of(one) for one in values]
        given |= {"of_tag": [key for key, _ in tags], "of_value": [value for _, value in tags]}
        return (
            "EXISTS (FROM (SELECT unnest($of_tag::VARCHAR[]) AS k, unnest($of_value::VARCHAR[]) AS v) "
            "WHERE coalesce(json_extract_string(f.tags, '$.\"' || k || '\"'), '') = v)"
        )
    # An empty value means what has none.
    return f"list_contains($of_{name}::VARCHAR[], coalesce({_OF_FACT[name]}, ''))"


def _target(ask: Ask, given: dict[str, Any]) -> dict[str, str]:
    """What a fact is allocated to, where it is asked."""
    if "group_by" not in ask.filters:
        return {}
    if ask.allocation:
        return {"target": "nullif(target, '')"}
    by, tag = grouped_by(ask.filters["group_by"][0])
    if by:
        return {"target": _OF_FACT[by]}
    given["by_tag"] = f'$."{tag}"'
    return {"target": "json_extract_string(f.tags, $by_tag)"}
