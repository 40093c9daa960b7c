"""The story of an answer: its facts beside those of the period before, which is as long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from shared.access.scope import Period, Scope, View
from shared.report.asking import BILLING, Ask
from shared.report.catalogue import Report
from shared.report.language import Names
from shared.report.queries import where_sql
from shared.services import Services
from shared.steps.reporting import facts

if TYPE_CHECKING:
    import duckdb

# What a story reads of a fact.
_READ = (
    *("cycle", "date", "line_id", "kind", "product_code", "product_name", "region", "account", "instance_id"),
    *("currency", "list_amount"),
)


def asked_before(ask: Ask) -> Ask:
    """The same question of the period before: so many months before, or so many days."""
    period = ask.period
    if ask.by == BILLING:
        count = len(ask.cycles)
        return replace(ask, period=Period(ask.cycles[0].plus(-count).first, ask.cycles[0].previous().last))
    return replace(
        ask, period=Period(period.first - timedelta(days=period.days), period.first - timedelta(days=1))
    )  # fmt: skip


def story(
    services: Services,
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    report: Report,
    ask: Ask,
    told: Callable[[str], None],
) -> list[Names]:
    """What changed and why; nothing where nothing is known of the period before. The view `fact` is that of the ask."""
    earlier = asked_before(ask)
    found = facts.known(services, scope, earlier.cycles)
    if all(one.found is None for one in found.months):
        return []
    from shared.report import story as stories  # most answers have none

    facts.load(services, connection, scope, found, told, "fact_before")
    amount = _amount(connection, scope)
    for table, source, one in (("now", "fact", ask), ("before", "fact_before", earlier)):
        where, given = where_sql(report, one)
        told_as = {"product_name": "coalesce(s.name, f.product_name) AS product_name"}  # one name, whatever was billed
        columns = ", ".join(told_as.get(name, f"f.{name}") for name in (*_READ, amount))
        connection.execute(
            f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT {columns} FROM {source} f "  # noqa: S608 - our own names
            f"LEFT JOIN service s ON s.code = f.product_code WHERE {where}",
            given or None,
        )
    return stories.tell(connection, "now", "before", amount)


def _amount(connection: duckdb.DuckDBPyConnection, scope: Scope) -> str:
    """What the story is about: what a party is charged; the operator's cost; what a reseller earns where it has no
    prices."""
    if scope.view is View.OPERATOR:
        return "cost"
    if scope.view is View.RESELLER:
        priced: Sequence[object] = connection.execute("SELECT 1 FROM fact WHERE price IS NOT NULL LIMIT 1").fetchall()
        return "price" if priced else "commission"
    return "price"
