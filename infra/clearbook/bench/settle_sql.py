"""The month of `settle_month` settled by SQL written for it: what the engine is held against.

It knows what this month has: one cycle, currency and payer, no gates, figures or fixed amounts, refunds of at most
what is left of their charges, all netted. Conditions are SQL, in one CASE; nothing is compiled, proven or hashed. Like
the engine it settles one share after the other, from the same parts, into the same columns, in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from infra.clearbook.bench.settle_month import RULES, condition_sql
from shared.columnar import insert, quoted
from shared.settlement.engine import HELD_COLUMNS, LINE_COLUMNS
from shared.settlement.share import Share

if TYPE_CHECKING:
    import duckdb

_READ = (
    "line_id, account, cycle, date, product_code, commodity_code, billing_item_code, instance_id, subscription_type, "
    "kind, region, tags, currency, gross, discount, round_down, pretax, record_id, related_record"
)
_KEY = ("account", "product_code", "commodity_code", "billing_item_code", "instance_id", "subscription_type")
_ORDER = "date, account, product_code, commodity_code, billing_item_code, instance_id, pretax, line_id"
_Q = "CAST((2 * {value} * {part} + {whole}) // (2 * {whole}) AS DECIMAL(28,0)) * 0.0000000001::DECIMAL(28,10)"


def settle(connection: duckdb.DuckDBPyConnection, share: Share, parts: Sequence[str], lines: Path, held: Path) -> None:
    """Settle a share and write its lines and what is held."""
    _tables(connection, share)
    accounts = sorted({one.account for one in share.assignments if one.reseller == share.owner})
    rules = " ".join(f"WHEN {condition_sql(n)} THEN {n}" for n in range(RULES))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE line AS
            SELECT b.* EXCLUDE (region, tags), a.customer, a.reseller, v.version, v.agreement,
                   CASE v.basis WHEN 'discounted' THEN gross - discount - round_down ELSE pretax END AS basis,
                   CASE WHEN kind IN ('refund', 'chargeback') THEN NULL
                        WHEN product_code = 'product-11' AND region = 'region-7' THEN -1 {rules} END AS rule
            FROM (SELECT {_READ} FROM read_parquet($parts) WHERE account IN (SELECT unnest($accounts::VARCHAR[]))) b
            JOIN assignment a ON a.account = b.account AND b.date BETWEEN a.begins AND a.ends
            LEFT JOIN version v ON v.reseller = a.reseller AND b.date BETWEEN v.begins AND v.ends""",  # noqa: S608
        {"parts": list(parts), "accounts": accounts},
    )
    _link(connection)
    _earn(connection, share)
    _bind(connection, share)
    _write(connection, lines, held)


def _tables(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Who has which account, the versions, and what their rules earn."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE assignment "
        "(account VARCHAR, begins DATE, ends DATE, customer VARCHAR, reseller VARCHAR)"
    )
    assigned = [
        (one.account, one.begins, one.ends or "9999-12-31", one.customer, one.reseller) for one in share.assignments
    ]
    insert(connection, "assignment", assigned, 5)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE version (reseller VARCHAR, agreement VARCHAR, version INTEGER, begins DATE, "
        "ends DATE, basis VARCHAR)"
    )
    versions = [
        (one.reseller, one.id, one.version, one.begins, one.ends or "9999-12-31", one.basis) for one in share.agreements
    ]
    insert(connection, "version", versions, 6)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE earning (version INTEGER, rule INTEGER, id VARCHAR, rate DECIMAL(10,8), "
        "scale VARCHAR)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE band (version INTEGER, scale VARCHAR, band INTEGER, low DECIMAL(38,10), "
        "high DECIMAL(38,10), rate DECIMAL(10,8))"
    )
    for one in share.agreements:
        earned = [(one.version, n, rule.id, rule.earn.rate, rule.earn.scale) for n, rule in enumerate(one.rules)]
        insert(connection, "earning", earned, 5)
        for scale in one.scales.values():
            uptos = [-(10**20), *(band.upto or 10**20 for band in scale.bands)]
            bands = [(one.version, scale.id, n, uptos[n - 1], uptos[n], b.rate) for n, b in enumerate(scale.bands, 1)]
            insert(connection, "band", bands, 6)


def _link(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `piece`: by record, then exactly, then from the newest charges on; `item`: what is left of each line."""
    same = " AND ".join(f"c.{name} IS NOT DISTINCT FROM u.{name}" for name in _KEY)
    units = "CAST({0} * 10000000000 AS HUGEINT)"
    part = _Q.format(value=units.format("-u.{0}"), part=units.format("upto"), whole=units.format("-u.pretax"))
    before = _Q.format(value=units.format("-u.{0}"), part=units.format("before"), whole=units.format("-u.pretax"))
    connection.execute("CREATE OR REPLACE TEMP VIEW undo AS SELECT * FROM line WHERE kind IN ('refund', 'chargeback')")
    connection.execute(
        "CREATE OR REPLACE TEMP VIEW charge AS SELECT * FROM line WHERE kind IN ('usage', 'subscription')"
    )
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE piece AS
           SELECT u.line_id AS refund, 0 AS number, c.line_id AS charge, u.pretax, u.gross, u.discount
           FROM undo u JOIN charge c ON c.record_id = u.related_record"""
    )
    connection.execute(
        f"""INSERT INTO piece
            SELECT u.line_id, 0, c.line_id, u.pretax, u.gross, u.discount
            FROM undo u JOIN charge c ON {same} AND c.pretax = -u.pretax AND c.date <= u.date
            WHERE u.related_record IS NULL AND c.line_id NOT IN (SELECT charge FROM piece)
            QUALIFY row_number() OVER (PARTITION BY u.line_id ORDER BY c.date DESC) = 1"""  # noqa: S608
    )
    connection.execute(
        f"""INSERT INTO piece
            WITH candidate AS (
                SELECT u.line_id AS refund, u.pretax, u.gross, u.discount, c.line_id AS charge, c.date,
                       c.pretax + coalesce(t.pretax, 0) AS remains,
                       sum(remains) OVER (PARTITION BY u.line_id ORDER BY c.date DESC, c.line_id DESC) AS running
                FROM undo u JOIN charge c ON {same} AND c.date <= u.date
                LEFT JOIN (SELECT charge, sum(pretax) AS pretax FROM piece GROUP BY charge) t ON t.charge = c.line_id
                WHERE u.related_record IS NULL AND u.line_id NOT IN (SELECT refund FROM piece)
                    AND c.pretax + coalesce(t.pretax, 0) > 0
            ), cut AS (
                SELECT *, running - remains AS before, least(running, -pretax) AS upto,
                       row_number() OVER (PARTITION BY refund ORDER BY date DESC, charge DESC) - 1 AS number
                FROM candidate WHERE running - remains < -pretax
            )
            SELECT refund, number, charge, before - upto, {
            ", ".join(f"{before.format(name)} - {part.format(name)}" for name in ("gross", "discount"))
        } FROM cut u"""  # noqa: S608
    )
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE item AS
           SELECT b.* EXCLUDE (basis), b.basis AS whole, t.charge IS NOT NULL AS is_netted,
                  t.charge IS NOT NULL AND b.pretax + t.pretax = 0 AS is_gone, b.pretax AS billed,
                  b.basis + coalesce(CASE v.basis WHEN 'discounted' THEN t.gross - t.discount ELSE t.pretax END, 0)
                      AS net
           FROM charge b JOIN version v USING (agreement, version)
           LEFT JOIN (SELECT charge, sum(pretax) AS pretax, sum(gross) AS gross, sum(discount) AS discount
                      FROM piece GROUP BY charge) t ON t.charge = b.line_id"""
    )


def _earn(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `commission`, a row for each line and band."""
    owner = quoted(share.owner)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE commission AS
            WITH earner AS (
                SELECT i.* EXCLUDE (rule), e.id AS rule, e.rate, e.scale,
                       CASE WHEN scale <> 'volume' THEN customer END AS of_customer,
                       CASE WHEN scale = 'product' THEN product_code END AS of_product
                FROM item i JOIN earning e ON e.version = i.version AND e.rule = i.rule
                WHERE reseller = {owner} AND NOT is_gone
            ), climbing AS (
                SELECT *, sum(net) OVER (PARTITION BY scale, of_customer, of_product ORDER BY {_ORDER}
                                         ROWS UNBOUNDED PRECEDING) - net AS reached,
                       sum(net) OVER (PARTITION BY scale, of_customer, of_product) AS total
                FROM earner WHERE scale IS NOT NULL
            ), cut AS (
                SELECT c.* EXCLUDE (rate), b.band, b.rate, CASE WHEN c.scale = 'volume' THEN c.net
                    ELSE least(greatest(reached + net, low), high) - least(greatest(reached, low), high) END AS part
                FROM climbing c JOIN band b ON b.version = c.version AND b.scale = c.scale
                AND CASE WHEN c.scale = 'volume' OR net = 0 THEN
                        CASE WHEN c.scale = 'volume' THEN total ELSE reached END > low
                        AND CASE WHEN c.scale = 'volume' THEN total ELSE reached END <= high
                    ELSE true END
            ), rated AS (
                SELECT agreement, version, customer, product_code, rule, NULL::INTEGER AS band, date, account, line_id,
                       instance_id, net AS basis, rate FROM earner WHERE scale IS NULL
                UNION ALL
                SELECT agreement, version, customer, product_code, rule, band, date, account, line_id, instance_id,
                       part, rate FROM cut WHERE part <> 0 OR net = 0
            )
            SELECT *, CAST(CAST(basis AS DECIMAL(28,10)) * rate AS DECIMAL(38,18)) AS amount FROM rated"""  # noqa: S608
    )


def _bind(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `bound`: caps of instances, then caps of customers, then floors of customers."""
    last = share.agreements[-1]
    instance, customer, floor = (bound.amount for bound in last.bounds)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE bound AS
            WITH instance AS (
                SELECT customer, account, instance_id, CAST({instance} - sum(amount) AS DECIMAL(38,18)) AS amount
                FROM commission GROUP BY ALL HAVING sum(amount) > {instance}
            ), customer AS (
                SELECT customer, sum(amount) AS amount, bool_or(earns) AS earns
                FROM (SELECT customer, amount, amount > 0 AS earns FROM commission
                      UNION ALL SELECT customer, amount, false FROM instance) GROUP BY ALL
            )
            SELECT 'cap' AS kind, * FROM instance UNION ALL
            SELECT 'cap', customer, NULL, NULL, CAST({customer} - amount AS DECIMAL(38,18)) FROM customer
            WHERE amount > {customer} UNION ALL
            SELECT 'floor', customer, NULL, NULL, CAST({floor} - amount AS DECIMAL(38,18)) FROM customer
            WHERE amount < {floor} AND earns"""  # noqa: S608
    )
    same = ", ".join(f"{what} AS {name}" for what, name in ((quoted(last.id), "agreement"), (last.version, "version")))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE settled AS
            WITH given AS (
                SELECT agreement, version, customer, product_code, NULL AS rule, 'netted' AS kind,
                       NULL::INTEGER AS band, date, account, line_id, 0 AS piece, NULL AS other_line,
                       CASE WHEN is_gone THEN whole ELSE whole - net END AS basis, NULL::DECIMAL(10,8) AS rate,
                       0 AS amount, NULL AS because, NULL AS instance_id
                FROM item WHERE reseller = {quoted(share.owner)} AND is_netted
                UNION ALL
                SELECT c.agreement, c.version, c.customer, u.product_code, NULL, 'netted', NULL, u.date, u.account,
                       p.refund, p.number, p.charge,
                       CASE v.basis WHEN 'discounted' THEN p.gross - p.discount ELSE p.pretax END, NULL, 0, NULL, NULL
                FROM piece p JOIN line c ON c.line_id = p.charge JOIN line u ON u.line_id = p.refund
                JOIN version v ON v.agreement = c.agreement AND v.version = c.version
                WHERE c.reseller = {quoted(share.owner)}
                UNION ALL
                SELECT agreement, version, customer, product_code, NULL, 'excluded', NULL, date, account, line_id, 0,
                       NULL, net, NULL, 0, 'not resold', NULL
                FROM item WHERE reseller = {quoted(share.owner)} AND rule = -1 AND NOT is_gone
                UNION ALL
                SELECT agreement, version, customer, product_code, rule, 'commission', band, date, account, line_id, 0,
                       NULL, basis, rate, amount, NULL, NULL FROM commission
                UNION ALL
                SELECT {same}, customer, NULL, NULL, kind, NULL, NULL, account, '', 0, NULL, 0, NULL, amount, NULL,
                       instance_id FROM bound
            )
            SELECT *, 'CNY' AS currency, '{share.cycle}' AS cycle, NULL::VARCHAR AS corrects, NULL::VARCHAR AS approved
            FROM given"""  # noqa: S608
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE held AS
            SELECT 'no_rule' AS kind, agreement || '/' || product_code AS key, currency, line_id, 0 AS piece, account,
                   customer, product_code, net AS basis, cycle
            FROM item WHERE reseller = {quoted(share.owner)} AND rule IS NULL AND NOT is_gone
            UNION ALL
            SELECT 'unlinked_refund', line_id, currency, line_id, 0, account, customer, product_code, basis, cycle
            FROM undo WHERE reseller = {quoted(share.owner)} AND line_id NOT IN (SELECT refund FROM piece)"""  # noqa: S608
    )


def _write(connection: duckdb.DuckDBPyConnection, lines: Path, held: Path) -> None:
    for table, columns, path in (("settled", LINE_COLUMNS, lines), ("held", HELD_COLUMNS, held)):
        select = f"SELECT {', '.join(columns)} FROM {table} ORDER BY ALL NULLS FIRST"  # noqa: S608
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)")
    connection.execute(
        """SELECT agreement, version, customer, product_code, rule, kind, currency, count(*), sum(basis), sum(amount)
           FROM settled GROUP BY ALL ORDER BY ALL"""
    ).fetchall()
