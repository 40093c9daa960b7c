"""A report that is asked: its rows as Parquet, their control totals, and all that a file of them says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from shared.access.scope import Scope, View, scoped
from shared.columnar import connect, insert, quoted
from shared.cycle import parse_instant
from shared.errors import BadInputError
from shared.ids import Digest, digest_of
from shared.parties.parties import OPERATOR
from shared.report.allocation import AllocationMapping, allocate
from shared.report.answer import Answer, Chart, Stated
from shared.report.asking import Ask
from shared.report.catalogue import FOCUS, Column, Report, catalogue
from shared.report.language import Names, figure, in_both
from shared.report.queries import UNPRICED, column_type, facts_sql, where_sql
from shared.report.queries.digests import rows_digest
from shared.services import Services
from shared.steps import state
from shared.steps.reporting import before, documents, facts, focus, mappings
from shared.steps.reporting.facts import Known

if TYPE_CHECKING:
    import duckdb

    from shared.report.allocation import AllocationMapping  # type: ignore[import-not-found,unused-ignore]

VERSION = 2  # changes with anything that changes what is answered
_CURRENCIES = ("currency", "BillingCurrency")  # of the amounts of a row
_CHARTED = ("price", "resale_price", "cost", "amount", "total")  # the first that a report has is drawn


def inputs_digest(services: Services, scope: Scope, ask: Ask) -> Digest:
    """What the answer to a question rests on, and the question: as long as it stays the same, so do the rows."""
    report = catalogue()[ask.report]
    names = state.catalogue_digest(services.chain.read(state.CONFIG))
    _, entries = state.parties(services)
    made_of: list[object] = [VERSION, scope.fingerprint, ask.digest, names, state.party_digest(entries)]
    if report.is_of_facts:
        made_of.append(facts.known(services, scope, ask.cycles).digest)
        if report.has_story:
            made_of.append(facts.known(services, scope, before.asked_before(ask).cycles).digest)
        if ask.allocation:
            made_of.append([one.mapping.digest for one in mappings.versions(services, scope.owner, ask.allocation)])
    else:
        made_of.append(documents.digest(services, scope, ask.cycles))
    return digest_of(made_of)


def answer(
    services: Services,
    scope: Scope,
    ask: Ask,
    *,
    at: str,
    folder: Path,
    told: Callable[[str], None] = lambda text: None,
) -> Answer:
    """Run a report for a scope; its rows lie in `folder`, and `at` is when it was made."""
    report = catalogue()[ask.report]
    known = {one.name: one for one in report.columns[scoped(scope).view]}
    columns = [known[name] for name in ask.columns]
    path, told_of, left_out = folder / "rows.parquet", list[Names](), list[Names]()
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        _list_services(services, connection)
        if report.is_of_facts:
            found = facts.known(services, scope, ask.cycles)
            facts.load(services, connection, scope, found, told)
            told("computing")
            mapping = mapping_of(services, scope, ask, at)
            if mapping is not None:
                allocate(connection, mapping)
            if report.rows == FOCUS:
                left_out = focus.select(services, connection, scope, report, ask, columns, path)
            else:
                select_facts(connection, report, ask, columns, path, "fact" if mapping is None else "allocated")
                left_out = _unpriced(connection, report, ask)
            notes = [*left_out, *_late(scope, found)]
            stated = _stated(scope, ask, at, found, notes, "" if mapping is None else mapping.label)
            told_of = before.story(services, connection, scope, report, ask, told) if report.has_story else []
        else:
            _select_documents(services, connection, scope, report, ask, columns, path)
            stated = _stated_documents(services, scope, ask, at)
        count, totals, digest = counted(connection, columns, path)
    stated = replace(stated, currencies=[one for one in totals if one])
    if not count and not left_out:
        stated = replace(stated, notes=[*stated.notes, _nothing(ask)])
    return Answer(report, columns, path, count, totals, digest, stated, told_of, _charts(report, columns))


def mapping_of(services: Services, scope: Scope, ask: Ask, at: str) -> AllocationMapping | None:
    """The mapping that the question names, of whoever asks; BadInputError where there is none of that name."""
    if not ask.allocation:
        return None
    found = mappings.in_force(services, scope.owner, ask.allocation, at)
    if found is None:
        known = dict.fromkeys(one.mapping.id for one in mappings.listed(services, scope.owner))
        remedy = f"name one of {', '.join(known)}" if known else "submit one first"
        raise BadInputError("allocation", f"there is no mapping {ask.allocation!r}", remedy)
    return found


# -- rows -------------------------------------------------------------------------------------------------------


def _list_services(services: Services, connection: duckdb.DuckDBPyConnection) -> None:
    """Make `service`: what the catalogue calls products, in both languages, and of which category they are."""
    connection.execute("CREATE OR REPLACE TEMP TABLE service (code VARCHAR, name VARCHAR, category VARCHAR)")
    digest = state.catalogue_digest(services.chain.read(state.CONFIG))
    if digest:
        found = state.catalogue(services, digest)
        rows = [
            (code, in_both({"en": one.names.en, "zh": one.names.zh}, code), one.category)
            for code, one in found.products.items()
        ]
        insert(connection, "service", rows, 3)


def select_facts(
    connection: duckdb.DuckDBPyConnection,
    report: Report,
    ask: Ask,
    columns: Sequence[Column],
    path: Path,
    table: str = "fact",
) -> None:
    """Write the rows of a report over the facts of a table, in order."""
    sql, given = facts_sql(report, ask, [one.name for one in columns], {one.name: one.type for one in columns}, table)
    connection.execute(f"COPY ({sql}) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)", given or None)


def _select_documents(
    services: Services,
    connection: duckdb.DuckDBPyConnection,
    scope: Scope,
    report: Report,
    ask: Ask,
    columns: Sequence[Column],
    path: Path,
) -> None:
    """The rows of a report that is made of what was settled and paid, not of facts."""
    known = [one for one in report.columns[scope.view] if one.name != "service_name"]
    typed = ", ".join(f"{one.name} {column_type(one.type, one.name)}" for one in known)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE document ({typed})")
    rows = documents.rows(services, scope, report.rows, ask.cycles)
    insert(connection, "document", [[row.get(one.name) for one in known] for row in rows], len(known))
    given = {f"of_{name}": list(values) for name, values in ask.filters.items()}
    conditions = [f"list_contains($of_{name}::VARCHAR[], coalesce({name}, ''))" for name in ask.filters] or ["true"]
    named = ", ".join("s.name AS service_name" if one.name == "service_name" else one.name for one in columns)
    joined = "LEFT JOIN service s ON s.code = d.service" if any(one.name == "service" for one in known) else ""
    order = ", ".join(f"{one.name} NULLS LAST" for one in columns)
    connection.execute(
        f"COPY (SELECT {named} FROM document d {joined} WHERE {' AND '.join(conditions)} ORDER BY {order}) "  # noqa: S608
        f"TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)",
        given or None,
    )


def counted(
    connection: duckdb.DuckDBPyConnection, columns: Sequence[Column], path: Path
) -> tuple[int, dict[str, dict[str, Decimal]], Digest]:
    """How many rows there are, their control totals, and their digest."""
    rows = f"read_parquet({quoted(str(path))})"
    [(count,)] = connection.execute(f"SELECT count(*) FROM {rows}").fetchall()  # noqa: S608 - a path of ours
    return count, _totals(connection, rows, columns), rows_digest(connection, rows, [one.name for one in columns])


def _totals(
    connection: duckdb.DuckDBPyConnection, rows: str, columns: Sequence[Column]
) -> dict[str, dict[str, Decimal]]:
    """The control totals: by currency, the exact sum of every amount that is there, and of counts."""
    summed = [one.name for one in columns if one.type.is_summed and one.name != "version"]
    currency = next((one.name for one in columns if one.name in _CURRENCIES), "")
    if not summed or not currency:
        return {}
    sums = ", ".join(f"sum({name})" for name in summed)
    found = connection.execute(
        f"SELECT coalesce({currency}, ''), {sums} FROM {rows} GROUP BY 1 ORDER BY 1"  # noqa: S608
    ).fetchall()
    return {
        of: {name: Decimal(value) for name, value in zip(summed, values, strict=True) if value is not None}
        for of, *values in found
    }


def _charts(report: Report, columns: Sequence[Column]) -> tuple[Chart, ...]:
    names = {one.name for one in columns}
    value = next((name for name in _CHARTED if name in names), "")
    if not value or report.is_detail:
        return ()
    if report.name == "trend":
        return (Chart("line", "month", value, "service"),)
    by = next((name for name in ("target", "service", "reseller") if name in names), "")
    return (Chart("bar", by, value),) if by else ()


# -- what is said of them ---------------------------------------------------------------------------------------


def _stated(
    scope: Scope, ask: Ask, at: str, found: Known, notes: Sequence[Names], allocation: str
) -> Stated:  # fmt: skip
    missing = sorted({str(one.cycle) for one in found.months if one.found is None})
    open_ = [one for one in found.months if one.found is not None and not one.is_locked]
    changing = {str(one.cycle) for one in open_ if scope.view is not View.OPERATOR or one.holder != OPERATOR}
    operators = {str(one.cycle) for one in open_} - changing
    return Stated(
        scope=said_scope(scope),
        filters=said_filters(ask),
        currencies=(),
        as_of=found.as_of,
        is_final=found.is_final and not missing,
        made_at=at,
        allocation=allocation,
        price_plans=found.plans if scope.view is not View.CUSTOMER else [],
        why_not_final=[
            *map(_changing, sorted(changing)),
            *map(_operators, sorted(operators)),
            *map(_missing, missing),
        ],
        hidden=facts.hidden(scope, ask.filters.get("account", ())),
        notes=notes,
    )


def _stated_documents(services: Services, scope: Scope, ask: Ask, at: str) -> Stated:
    found = documents.counting(services, scope, ask.cycles)
    seen = {kept.cycle for kept, _ in found}
    changing = {kept.cycle for kept, month in found if month is None or month.locked is None}
    as_of = [
        facts.seen(services, kept) if month is None or month.calculated is None else month.calculated.at
        for kept, month in found
    ]
    whys = [*map(_changing, sorted(changing)), *(_missing(str(one)) for one in ask.cycles if str(one) not in seen)]
    return Stated(
        scope=said_scope(scope),
        filters=said_filters(ask),
        currencies=(),
        as_of=max(as_of, key=parse_instant, default=""),
        is_final=not whys,
        made_at=at,
        why_not_final=whys,
    )


def _changing(cycle: str) -> Names:
    return {"en": f"{cycle} is not locked: its numbers may still change", "zh": f"{cycle} 尚未锁定，数字仍可能变化"}


def _missing(cycle: str) -> Names:
    return {"en": f"{cycle} has not been settled yet, not even as a draft", "zh": f"{cycle} 尚未结算，也没有草稿"}


def _operators(cycle: str) -> Names:
    """Why a month that every reseller has locked may still change for the operator."""
    return {
        "en": f"{cycle}: cases of lines that no reseller has are open, and may still change its numbers",
        "zh": f"{cycle}：不属于任何经销商的明细有待处理事项，数字仍可能变化",
    }


def said_scope(scope: Scope) -> str:
    """Whose eyes, as people read it."""
    return str(scope.view) if scope.view is View.OPERATOR else f"{scope.view} {scope.who}"


def said_filters(ask: Ask) -> dict[str, str]:
    """Everything that narrows a question, as text."""
    dates = {"from": str(ask.period.first), "to": str(ask.period.last), "by": ask.by}
    return {**dates, **{name: ", ".join(values) for name, values in ask.filters.items()}}


def _unpriced(connection: duckdb.DuckDBPyConnection, report: Report, ask: Ask) -> list[Names]:
    """How many of the lines that are asked for have no price."""
    where, given = where_sql(report, ask)
    [(lines, unpriced)] = connection.execute(
        f"SELECT count(DISTINCT line_id), {UNPRICED} FROM fact f "  # noqa: S608 - our own names
        f"LEFT JOIN service s ON s.code = f.product_code WHERE list_amount IS NOT NULL AND {where}",
        given or None,
    ).fetchall()
    if not unpriced:
        return []
    return [
        {
            "en": f"{unpriced} of {lines} lines have no price: no price plan is in force, a case holds them, or their "
            "plan counts over a year of which a month is not known",
            "zh": f"{lines} 行中有 {unpriced} 行没有价格：没有生效的价格方案、处于待处理状态，"
            "或其方案按年度累计而其中有账期未知",
        }
    ]


def _late(scope: Scope, found: Known) -> list[Names]:
    """What came after a month was locked; how much of a bill that is only the operator may know."""
    notes = list[Names]()
    if scope.view is View.CUSTOMER:
        return notes
    for month, one in ((of, late) for of in found.months for late in of.late):
        amount = f"{figure(one.pretax)} {one.currency}"
        en, zh = (f" and {amount}", f"、{amount}") if scope.view is View.OPERATOR else ("", "")
        notes.append(
            {
                "en": f"{month.cycle}: the bill of {month.holder} changed after the lock by {one.lines:+} lines{en}; "
                "that is in no row of it, and adjusts a later month",
                "zh": f"{month.cycle}：锁定后 {month.holder} 的账单变动 {one.lines:+} 行{zh}，"
                "不在该账期的数据中，由后续账期调整",
            }
        )
    return notes


def _nothing(ask: Ask) -> Names:
    """Why there are no rows."""
    narrowed = [name for name in ask.filters if name != "group_by"]
    if narrowed:
        names = ", ".join(narrowed)
        return {
            "en": f"nothing fits: leave out one of the filters {names}, or ask for other dates than "
            f"{ask.period.first} to {ask.period.last}",
            "zh": f"没有符合条件的数据：请减少筛选条件（{names}），或更换日期范围",
        }
    return {
        "en": f"there is nothing from {ask.period.first} to {ask.period.last}: no bill of these dates has come in, or "
        "nothing was used",
        "zh": f"{ask.period.first} 至 {ask.period.last} 没有数据：账单尚未到达，或没有使用",
    }
