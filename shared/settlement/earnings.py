"""What each line earns: a rate of its basis, a fixed amount, or by a scale (semantics, earnings and scales).

Tables, in the order they are made: `year` (the contract year of each agreement's cycles), `scale_band`, `scale_total`
(what each scope came to in a cycle, and before it), `commission` (each line by the band it falls in), `retroactive`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import ALL_UNITS, GRADUATED, PER_UNIT, Agreement, Earning
from shared.bill.line import AMOUNT, ORDER, QUANTITY
from shared.columnar import insert
from shared.errors import ClearbookError
from shared.settlement.rules import EARN_RATE
from shared.settlement.share import Opened, Share

if TYPE_CHECKING:
    import duckdb

EARNED = "DECIMAL(38,18)"
_ENDLESS = "9" * 20  # beyond any running total
_WIDE = f"CAST({{}} AS {QUANTITY})"
# The lines that rules own and that earn.
EARNERS = "verdict = 'commission' AND problem IS NULL AND NOT is_undo AND NOT is_gone"
SCOPE = (
    "CASE WHEN {0}scope <> 'reseller' THEN {0}customer END AS scope_customer, "
    "CASE WHEN {0}scope = 'product' THEN {0}product_code END AS scope_product"
)
_SAME_SCOPE = "{0}.agreement = {1}.agreement AND {0}.scale = {1}.scale AND {0}.scope = {1}.scope"
_SAME_SCOPE += "".join(
    f" AND {{0}}.{name} IS NOT DISTINCT FROM {{1}}.{name}" for name in ("scope_customer", "scope_product")
)
_LINE = (
    "cycle, agreement, version, number, customer, product_code, date, account, instance_id, line_id, piece, money, rule"
)
_FIXED_PLACES, _USAGE_PLACES = 8, 10  # of an amount per unit, and of the usage it is multiplied by


class UnholdableError(ClearbookError):
    """An amount that would overflow or lose a digit."""

    code = "unholdable_amount"

    def __init__(self, found: Sequence[Any]) -> None:
        line, what, value = found[0]
        super().__init__(
            f"line {line}: {what} {value} leads to an amount that cannot be held exactly; nothing was written: "
            f"correct the bill or the agreement ({len(found)} such lines)"
        )


def earn(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `commission` and `retroactive`."""
    if any(stage.fixed is not None and stage.per == PER_UNIT for stage in _stages(share)):
        _refuse_unholdable(connection)
    _say_years(connection, share)
    _say_bands(connection, share)
    _add_up(connection, share)
    _pay(connection, share)
    _bring_to_rate(connection, share)


def _stages(share: Share) -> Iterator[Earning]:
    """All that rules earn by, whatever their gates lead to."""
    return (stage for one in share.agreements for rule in one.rules for stage in rule.earn.stages())


def _refuse_unholdable(connection: duckdb.DuckDBPyConnection) -> None:
    """Usage that is paid for by the unit is multiplied exactly, or not at all."""
    at_most = f"CAST({'9' * 20} AS HUGEINT) // CAST(greatest(1, ceil(abs(fixed))) AS HUGEINT)"
    found = connection.execute(
        f"""SELECT line_id, 'its usage', CAST(usage AS VARCHAR) FROM item
            WHERE {EARNERS} AND per = 'usage_unit' AND is_counted
              AND (usage <> round(usage, {_USAGE_PLACES}) OR fixed <> round(fixed, {_FIXED_PLACES})
                   OR abs(usage) >= {at_most}) ORDER BY line_id LIMIT 100"""  # noqa: S608
    ).fetchall()
    if found:
        raise UnholdableError(found)


def _say_years(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    connection.execute("CREATE OR REPLACE TEMP TABLE year (agreement VARCHAR, cycle VARCHAR, year INTEGER)")
    ids = {one.id for one in share.agreements}
    rows = [(id_, cycle, share.year(id_, cycle)) for id_ in sorted(ids) for cycle in share.cycles]
    insert(connection, "year", rows, 3)


def _say_bands(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE scale_band "
        f"(number INTEGER, scale VARCHAR, band INTEGER, low {QUANTITY}, high {QUANTITY}, rate {EARN_RATE})"
    )
    bands = [band for number, agreement in enumerate(share.agreements) for band in _bands(number, agreement)]
    insert(connection, "scale_band", bands, 6)


def _bands(number: int, agreement: Agreement) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for scale in agreement.scales.values():
        low: object = f"-{_ENDLESS}"
        for place, band in enumerate(scale.bands, 1):
            high = _ENDLESS if band.upto is None else band.upto
            rows.append((number, scale.id, place, low, high, band.rate))
            low = high
    return rows


def _add_up(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `scale_total`: what each scope came to in a cycle, and in its contract year before it, as due now."""
    opened = "0"
    if share.opened is not None and share.opened.scale_totals:
        _say_opened(connection, share, share.opened)
        opened = """coalesce((SELECT sum(o.amount) FROM opened o
                   WHERE o.agreement = s.agreement AND o.scale = s.scale AND o.year = y.year AND o.as_of <= s.cycle
                     AND o.scope_customer IS NOT DISTINCT FROM s.scope_customer
                     AND o.scope_product IS NOT DISTINCT FROM s.scope_product), 0)"""
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE scale_total AS
        WITH sums AS (
            SELECT cycle, agreement, scale, scope, {SCOPE.format("")}, CAST(sum(measure) AS {QUANTITY}) AS total
            FROM item WHERE {EARNERS} AND scale IS NOT NULL GROUP BY ALL
        )
        SELECT s.*, year, CAST(coalesce(sum(total) OVER (
                   PARTITION BY s.agreement, scale, scope, scope_customer, scope_product, year
                   ORDER BY s.cycle ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
               + {opened} AS {QUANTITY}) AS before
        FROM sums s JOIN year y ON y.agreement = s.agreement AND y.cycle = s.cycle"""  # noqa: S608
    )


def _say_opened(connection: duckdb.DuckDBPyConnection, share: Share, opened: Opened) -> None:
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE opened (agreement VARCHAR, scale VARCHAR, scope_customer VARCHAR, "
        f"scope_product VARCHAR, year INTEGER, as_of VARCHAR, amount {QUANTITY})"
    )
    ids, as_of = {one.id for one in share.agreements}, opened.as_of
    rows = [
        (one.agreement, one.scale, one.customer, one.product, share.year_of(one.agreement, as_of), as_of, one.amount)
        for one in opened.scale_totals
        if one.agreement in ids
    ]
    insert(connection, "opened", rows, 7)


def _pay(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `commission`: what each line earns, a row for each band that it falls in."""
    methods = {scale.method for one in share.agreements for scale in one.scales.values()}
    line, scoped = _columns("i"), f"SELECT *, {SCOPE.format('')} FROM item WHERE {EARNERS} AND scale IS NOT NULL"  # noqa: S608
    before = "CASE WHEN i.is_yearly THEN t.before ELSE 0 END"
    same = f"t.cycle = i.cycle AND {_SAME_SCOPE.format('t', 'i')}"
    rated = [
        f"SELECT {line}, NULL::INTEGER AS band, rate, net AS part FROM item i "  # noqa: S608
        f"WHERE {EARNERS} AND scale IS NULL AND fixed IS NULL"
    ]
    if GRADUATED in methods:
        rated.append(_climbing(line, scoped, before, same))
    if ALL_UNITS in methods:
        rated.append(
            f"""SELECT {line}, b.band, b.rate, i.net
                FROM ({scoped} AND method = 'all_units') i JOIN scale_total t ON {same}
                JOIN scale_band b ON b.number = i.number AND b.scale = i.scale
                    AND {before} + t.total > b.low AND {before} + t.total <= b.high"""  # noqa: S608
        )
    earned = [
        f"""SELECT {_LINE}, band, CAST(rate AS {EARN_RATE}) AS rate, part AS basis,
                   CAST(part * CAST(rate AS {EARN_RATE}) AS {EARNED}) AS amount
            FROM ({" UNION ALL ".join(rated)})"""  # noqa: S608
    ]
    if any(stage.fixed is not None for stage in _stages(share)):
        earned.append(f"SELECT {_LINE}, NULL, NULL, net, CAST(amount AS {EARNED}) FROM ({_fixed()})")  # noqa: S608
    connection.execute(f"CREATE OR REPLACE TEMP TABLE commission AS {' UNION ALL '.join(earned)}")


def _columns(alias: str) -> str:
    return ", ".join(f"{alias}.{name}" for name in _LINE.split(", "))


def _climbing(line: str, scoped: str, before: str, same: str) -> str:
    """SQL for the members of graduated scales, cut by the bands that they pass."""
    group = "i.cycle, i.agreement, i.scale, i.scope, i.scope_customer, i.scope_product"
    climbed = f"sum(net) OVER (PARTITION BY {group} ORDER BY {_order()} ROWS UNBOUNDED PRECEDING) - net"
    return f"""
        SELECT {_LINE}, band, rate, part FROM (
            SELECT {line}, b.band, b.rate, i.net = 0 AS is_nothing,
                   CAST(least(greatest(reached + net, low), high) - least(greatest(reached, low), high) AS {AMOUNT})
                       AS part
            FROM (SELECT i.*, {_WIDE.format(before)} + {_WIDE.format(climbed)} AS reached
                  FROM ({scoped} AND method = 'graduated') i JOIN scale_total t ON {same}) i
            JOIN scale_band b ON b.number = i.number AND b.scale = i.scale
            WHERE net <> 0 OR (reached > low AND reached <= high))
        WHERE is_nothing OR part <> 0"""  # noqa: S608


def _order() -> str:
    return ORDER.replace("line_id", "i.line_id")


def _fixed() -> str:
    """The lines of fixed amounts with what they earn: of a month's, the first line in order earns it all."""
    first, last = "CAST(cycle || '-01' AS DATE)", "last_day(CAST(cycle || '-01' AS DATE))"
    begins, ends = f"greatest(coalesce(service_from, service_until), {first})", f"least(service_until, {last})"
    served = f"(1::BIGINT << day({ends})) - (1::BIGINT << (day({begins}) - 1))"
    days = (
        f"CASE WHEN service_until IS NOT NULL AND {begins} <= {ends} THEN {served} "
        "ELSE 1::BIGINT << (day(date) - 1) END"
    )
    key = "cycle, agreement, rule, per, is_counted, CASE WHEN per = 'customer_month' THEN customer ELSE account END, "
    key += "CASE WHEN per = 'instance_month' THEN instance_id END"
    # fixed × days ÷ days of the cycle, half up to 10 places, in whole numbers.
    units, whole = "CAST(abs(fixed) * 10000000000::DECIMAL(11,0) AS HUGEINT)", f"day({last})"
    prorated = (
        f"sign(fixed) * CAST((2 * {units} * bit_count(days) + {whole}) // (2 * {whole}) AS DECIMAL(27,0)) "
        "* 0.0000000001::DECIMAL(10,10)"
    )
    per_unit = f"CAST(fixed AS DECIMAL(18,{_FIXED_PLACES})) * CAST(usage AS DECIMAL(30,{_USAGE_PLACES}))"
    # Each result is cast by itself: where a CASE has to find a type for several, DuckDB gives up decimals in silence.
    return f"""
        SELECT {_LINE}, net, CASE WHEN NOT is_counted THEN CAST(0 AS {EARNED})
               WHEN per = 'usage_unit' THEN CAST({per_unit} AS {EARNED})
               WHEN per <> 'line' AND place > 1 THEN CAST(0 AS {EARNED})
               WHEN is_prorated THEN CAST({prorated} AS {EARNED}) ELSE CAST(fixed AS {EARNED}) END AS amount
        FROM (SELECT *, row_number() OVER (PARTITION BY {key} ORDER BY {ORDER}) AS place,
                     bit_or({days}) OVER (PARTITION BY {key}) AS days
              FROM item WHERE {EARNERS} AND fixed IS NOT NULL)"""  # noqa: S608


def _bring_to_rate(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `retroactive`: what brings earlier members of a scope to the rate that a later cycle of the year reached.

    A row for each later cycle with a member and each earlier member: `part` is that member's own.
    """
    connection.execute("CREATE OR REPLACE TEMP TABLE raising (agreement VARCHAR, scale VARCHAR, cycle VARCHAR)")
    rows = [
        (id_, scale, cycle)
        for cycle in share.cycles
        for id_, versions in share.begun(cycle).items()
        for scale in sorted({name for one in versions for name in one.scales})
        if [one.scales[scale] for one in versions if scale in one.scales][-1].is_retroactive
    ]
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE retroactive (cycle VARCHAR, agreement VARCHAR, scale VARCHAR, customer VARCHAR, "
        f"product_code VARCHAR, line_id VARCHAR, of_cycle VARCHAR, part {EARNED})"
    )
    if not rows:
        return
    insert(connection, "raising", rows, 3)
    connection.execute(
        f"""
        INSERT INTO retroactive
        WITH raised AS (
            SELECT t.*, before + total AS reached
            FROM scale_total t JOIN raising USING (agreement, scale, cycle)
        ), member AS (
            SELECT i.cycle, i.agreement, i.number, i.scale, i.scope, i.line_id, i.net, {SCOPE.format("i.")}, y.year,
                   (SELECT sum(amount) FROM commission c WHERE c.line_id = i.line_id AND c.cycle = i.cycle) AS earned
            FROM item i JOIN year y ON y.agreement = i.agreement AND y.cycle = i.cycle
            WHERE {EARNERS} AND i.scale IN (SELECT scale FROM raising)
        ), due AS (
            SELECT r.cycle AS raised_in, m.*, CAST(m.net * b.rate AS {EARNED}) AS due
            FROM raised r JOIN member m ON {_SAME_SCOPE.format("m", "r")} AND m.year = r.year AND m.cycle < r.cycle
            JOIN scale_band b ON b.number = m.number AND b.scale = m.scale AND r.reached > b.low AND r.reached <= b.high
        )
        SELECT raised_in AS cycle, agreement, scale, scope_customer AS customer, scope_product AS product_code,
               line_id, cycle AS of_cycle,
               due - coalesce(lag(due) OVER (PARTITION BY line_id, cycle ORDER BY raised_in), earned) AS part
        FROM due"""  # noqa: S608
    )
