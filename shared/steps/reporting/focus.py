"""The FOCUS export of a scope: who is billed and by whom, its rows, and what has none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shared.access.scope import Scope, View
from shared.columnar import quoted
from shared.cycle import Cycle
from shared.parties.parties import Parties
from shared.report import focus
from shared.report.asking import Ask
from shared.report.catalogue import Column, Report
from shared.report.focus import Billed
from shared.report.language import EN, Names, named
from shared.report.queries import where_sql
from shared.services import Services
from shared.steps import state

if TYPE_CHECKING:
    import duckdb


def select(
    services: Services,
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    report: Report,
    ask: Ask,
    columns: Sequence[Column],
    path: Path,
) -> list[Names]:
    """Write the rows, in order; what has no row is what is said of them."""
    parties, _ = state.parties(services)
    of, names = billed(parties, scope, ask.cycles), [one.name for one in columns]
    focus.prepare(connection, _product_names(services), sellers(parties, scope))
    where, given = where_sql(report, ask)
    [(lines, unknown)] = connection.execute(focus.left_out(of, where), given or None).fetchall()
    given = {**given, **focus.parameters(of, names)}
    connection.execute(
        f"COPY ({focus.focus_sql(of, where, names)}) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)",
        given or None,
    )
    if not unknown:
        return []
    return [
        {
            "en": f"{unknown} of {lines} lines are left out, for what is charged for them is not known: "
            "no price plan is in force, or a case holds them",
            "zh": f"{lines} 行中有 {unknown} 行未列出，因其金额未知：没有生效的价格方案，或处于待处理状态",
        }
    ]


def billed(parties: Parties, scope: Scope, cycles: Sequence[Cycle]) -> Billed:
    """Who is billed; an amount of no account is invoiced by whoever sells to them in these months."""
    if scope.view is View.OPERATOR:
        return Billed(scope.view, parties.operator, _operator(parties), focus.PROVIDER)
    if scope.view is View.RESELLER:
        name = named(parties.resellers[scope.who], EN, scope.who)
        return Billed(scope.view, scope.who, name, _operator(parties))
    mine = [one for cycle in cycles for one in parties.in_cycle(cycle) if one.customer == scope.who]
    issuers = sorted({_seller(parties, one.reseller) for one in mine}) or [_operator(parties)]
    return Billed(scope.view, scope.who, named(parties.customers[scope.who], EN, scope.who), ", ".join(issuers))


def sellers(parties: Parties, scope: Scope) -> list[tuple[str, str, str, str]]:
    """Who sells a customer its accounts: (account, first day, last day, name). Its invoices name them, too."""
    if scope.view is not View.CUSTOMER:
        return []
    return [
        (one.account, str(one.begins), str(one.ends or "9999-12-31"), _seller(parties, one.reseller))
        for one in parties.assignments
        if one.customer == scope.who
    ]


def _seller(parties: Parties, reseller: str | None) -> str:
    return _operator(parties) if reseller is None else named(parties.resellers[reseller], EN, reseller)


def _operator(parties: Parties) -> str:
    return named(parties.operator_names, EN, parties.operator)


def _product_names(services: Services) -> dict[str, str]:
    digest = state.catalogue_digest(services.chain.read(state.CONFIG))
    found = state.catalogue(services, digest).products if digest else {}
    return {code: one.names.en for code, one in found.items() if one.names.en}
