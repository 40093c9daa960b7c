"""Refunds and the charges they undo: linked, netted, and what each line is worth after it.

Tables, in the order they are made: `piece` and `unlinked` (refunds and what they undo), `item` (the share's lines and
every piece of a refund, with basis, measure, and what is wrong with them).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from shared.agreement.agreement import Refunds
from shared.bill.line import AMOUNT, ORDER, QUANTITY
from shared.bill.normalise import line_id_sql
from shared.columnar import insert, quoted
from shared.settlement import refunds
from shared.settlement.lines import BASES, CHARGE, NETTED, UNDO, amount_sql, basis_sql, converted_sql
from shared.settlement.refunds import Charge, Refund
from shared.settlement.share import Share

if TYPE_CHECKING:
    import duckdb

_KEY = (
    "account",
    "product_code",
    "commodity_code",
    "billing_item_code",
    "instance_id",
    "subscription_type",
    "currency",  # the last: a refund of a record must at least be in its currency
)
_AMOUNTS = ("pretax", *NETTED)
_TYPES = {name: QUANTITY if name == "usage" else AMOUNT for name in _AMOUNTS}
# Of a line that a refund does not become by taking its charge's.
_ITS_OWN = (
    *("line_id", "cycle", "date", "kind", "account", "currency", "product_code", "commodity_code"),
    *("billing_item_code", "instance_id", "service_from", "service_until", "usage_unit"),
)
_WHOSE = ("customer", "how", "number", "agreement", "version", "pays", "basis_name", "rate_to")


def link(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `piece` and `unlinked`. Only charges of a refunded key are fetched: a few per refund, never the month."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW undo AS SELECT * FROM line WHERE kind IN {UNDO}")  # noqa: S608
    _find_related(connection)
    lacking = ", ".join(f"CASE WHEN {amount_sql('r', name)} IS NULL THEN '{name}' END" for name in BASES)
    key, order = ", ".join(_KEY), ORDER.replace("billed", "pretax")
    same = " AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in _KEY)
    rows = connection.execute(
        f"""SELECT r.line_id, kind, cycle, date, row_number() OVER (ORDER BY {order.replace("line_id", "r.line_id")}),
                   pretax, coalesce(basis_name, 'pretax'), [{lacking}], number, usage_unit,
                   related_record IS NOT NULL, related.charge, {", ".join(NETTED)}, {key}
            FROM (SELECT * FROM undo WHERE pretax <= 0 UNION ALL
                  SELECT * FROM line c
                  WHERE kind IN {CHARGE} AND pretax > 0 AND (EXISTS (SELECT 1 FROM undo u WHERE {same})
                        OR line_id IN (SELECT charge FROM related))) r
            LEFT JOIN related ON related.refund = r.line_id"""  # noqa: S608
    ).fetchall()
    charges, found = [], []
    for line_id, kind, cycle, day, place, pretax, basis, lacks, number, unit, names, related, *others in rows:
        amounts, line_key = tuple(others[: len(NETTED)]), tuple(others[len(NETTED) :])
        months = int(cycle[:4]) * 12 + int(cycle[5:])
        if kind in ("usage", "subscription"):
            policy = Refunds() if number is None else share.agreements[number].refunds
            charges.append(Charge(line_id, line_key, months, day, place, pretax, basis, unit, policy))
        else:
            missing = frozenset(name for name in lacks if name is not None)
            found.append(Refund(line_id, line_key, months, day, place, pretax, amounts, missing, unit, names, related))
    _store(connection, refunds.link(charges, found))


def _find_related(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `related`: the charge that each refund says it undoes, by the provider's id of a line or of its record.

    Of several lines of one record it is the one that has the refund's key; where that is not one, it is none.
    """
    same = " AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in _KEY)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE related AS
            WITH named AS (
                SELECT u.line_id AS refund, c.line_id AS charge, true AS is_same
                FROM undo u JOIN line c ON c.line_id = {line_id_sql("u.payer", "u.related_record")}
                WHERE c.kind IN {CHARGE}
                UNION
                SELECT u.line_id, c.line_id, {same}
                FROM undo u JOIN line c ON c.record_id = u.related_record AND c.payer IS NOT DISTINCT FROM u.payer
                WHERE c.kind IN {CHARGE}
            )
            SELECT refund, coalesce(min(charge) FILTER (is_same), min(charge)) AS charge FROM named GROUP BY refund
            HAVING count(DISTINCT charge) = 1 OR count(DISTINCT charge) FILTER (is_same) = 1"""  # noqa: S608
    )


def _store(connection: duckdb.DuckDBPyConnection, links: refunds.Links) -> None:
    columns = ", ".join(f"{name} {_TYPES[name]}" for name in _AMOUNTS)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE piece (refund VARCHAR, number INTEGER, charge VARCHAR, is_netted BOOLEAN, "
        f"{columns})"
    )
    rows = [(p.refund, p.number, p.charge, p.is_netted, p.pretax, *p.amounts) for p in links.pieces]
    insert(connection, "piece", rows, 4 + len(_AMOUNTS))
    connection.execute("CREATE OR REPLACE TEMP TABLE unlinked (refund VARCHAR, problem VARCHAR)")
    insert(connection, "unlinked", links.cases, 2)
    connection.execute(
        f"INSERT INTO unlinked SELECT line_id, CASE WHEN pretax > 0 THEN '{refunds.SIGN}' ELSE 'missing_value' END "  # noqa: S608
        "FROM undo WHERE pretax > 0 OR pretax IS NULL"
    )


def net(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `item`: the share's lines, and every piece of a refund in place of it, refunds netted.

    A piece belongs where its charge belongs (`other_line`), and a netted charge carries what is left of it: nothing,
    where it `is_gone`. `net` is the basis in the agreement's currency, `whole` what it was before netting, `billed` the
    pretax as billed, `problem` why a line cannot be settled.
    """
    _value_pieces(connection)
    mine = "{0}.reseller IS NULL" if share.is_operators else f"{{0}}.reseller = {quoted(share.owner)}"
    if share.is_operators:
        unowned = "how IS NULL AND other_line IS NULL THEN 'unmapped_account'"
    else:
        unowned = "number IS NULL AND NOT is_undo THEN 'no_agreement'"
    own, whose = ", ".join(f"{{0}}.{name}" for name in _ITS_OWN), ", ".join(f"{{0}}.{name}" for name in _WHOSE)
    amounts = ", ".join(_AMOUNTS)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE item AS
            WITH netting AS (
                SELECT charge, {", ".join(map(_sum, _AMOUNTS))} FROM piece WHERE is_netted GROUP BY charge
            ), own AS (
                SELECT {own.format("b")}, {whose.format("b")}, b.pretax AS billed, {", ".join(map(_left, _AMOUNTS))},
                       n.charge IS NOT NULL AS is_netted, b.condition, b.is_bad,
                       CASE WHEN n.charge IS NOT NULL THEN {converted_sql("b", basis_sql("b"))} END AS whole
                FROM line b LEFT JOIN netting n ON n.charge = b.line_id
                WHERE b.kind NOT IN {UNDO} AND {mine.format("b")}
            ), seen AS (
                SELECT {own.format("o")}, {whose.format("o")}, billed, {amounts}, is_netted,
                       is_netted AND pretax = 0 AS is_gone, false AS is_undo, 0 AS piece, NULL AS other_line,
                       NULL AS said, condition, is_bad, whole, {converted_sql("o", basis_sql("o"))} AS net
                FROM own o
                UNION ALL
                SELECT {own.format("u")}, {whose.format("c")}, p.pretax, {amounts_of("p")}, false, false, true,
                       p.number, p.charge, NULL, NULL, false, NULL,
                       coalesce(v.basis, {basis_sql("p").replace("p.basis_name", "c.basis_name")}, 0)
                FROM piece p JOIN line u ON u.line_id = p.refund JOIN line c ON c.line_id = p.charge
                LEFT JOIN piece_basis v ON v.refund = p.refund AND v.number = p.number WHERE {mine.format("c")}
                UNION ALL
                SELECT {own.format("u")}, {whose.format("u")}, u.pretax, {amounts_of("u")}, false, false, true,
                       0, NULL, x.problem, NULL, false, NULL, {converted_sql("u", basis_sql("u"))}
                FROM line u LEFT JOIN unlinked x ON x.refund = u.line_id
                WHERE u.kind IN {UNDO} AND u.line_id NOT IN (SELECT refund FROM piece) AND {mine.format("u")}
            ), meant AS (
                SELECT s.*, m.* EXCLUDE (cycle, number, condition, measure, unit),
                       CASE WHEN m.scale IS NOT NULL THEN {_measure()} END AS measure,
                       s.kind IN {CHARGE} AND (s.net <> 0 OR m.counts_zero) AS is_counted
                FROM seen s LEFT JOIN meaning m
                ON m.cycle = s.cycle AND m.number = s.number AND m.condition = s.condition
            )
            SELECT * EXCLUDE (said),
                CASE WHEN is_gone THEN NULL
                     WHEN said IS NOT NULL THEN said
                     WHEN {unowned}
                     WHEN is_undo THEN NULL
                     WHEN pays <> currency AND rate_to IS NULL THEN 'no_fx_rate'
                     WHEN net IS NULL THEN 'missing_value'
                     WHEN is_bad THEN 'bad_condition'
                     WHEN number IS NOT NULL AND verdict IS NULL THEN 'no_rule'
                     WHEN verdict = 'no_figure' THEN 'no_figure'
                     WHEN per = 'usage_unit' AND is_counted AND usage IS NULL THEN 'missing_value'
                     WHEN scale IS NOT NULL AND measure IS NULL THEN 'missing_value' END AS problem,
                CASE WHEN rate_to IS NULL THEN currency ELSE pays END AS money
            FROM meant"""  # noqa: S608
    )


def _sum(name: str) -> str:
    """What was netted off an amount; not known where a refund does not state it, but for the round-down."""
    if name == "round_down":
        return "sum(coalesce(round_down, 0)) AS round_down"
    return f"CASE WHEN count({name}) = count(*) THEN sum({name}) END AS {name}"


def _left(name: str) -> str:
    own = "coalesce(b.round_down, 0)" if name == "round_down" else f"b.{name}"
    left = f"CASE WHEN n.charge IS NULL THEN b.{name} ELSE {own} + n.{name} END"
    return f"CAST({left} AS {_TYPES[name]}) AS {name}"


def amounts_of(alias: str) -> str:
    """The amounts that netting changes."""
    return ", ".join(f"{alias}.{name}" for name in _AMOUNTS)


def _measure() -> str:
    """What a line adds to its scale; usage of another unit is none of this one's."""
    cases = " ".join(f"WHEN '{name}' THEN {converted_sql('s', amount_sql('s', name))}" for name in BASES)
    usage = "CASE WHEN s.usage IS NOT NULL AND s.usage_unit IS DISTINCT FROM m.unit THEN 0 ELSE s.usage END"
    return f"CASE m.measure {cases} WHEN 'usage' THEN {usage} ELSE s.net END"


def _value_pieces(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `piece_basis`: what the pieces of charges in another currency are of their basis, netted pieces first."""
    rows = connection.execute(
        f"""SELECT p.refund, p.number, p.charge, c.rate_to,
                   row_number() OVER (PARTITION BY p.charge ORDER BY NOT p.is_netted, u.cycle, {_order("u")}, p.number),
                   coalesce({basis_sql("c")}, 0), {basis_sql("p").replace("p.basis_name", "c.basis_name")}
            FROM piece p JOIN line c ON c.line_id = p.charge JOIN line u ON u.line_id = p.refund
            WHERE c.rate_to IS NOT NULL ORDER BY p.charge"""  # noqa: S608
    ).fetchall()
    found: list[tuple[object, ...]] = []
    for _, group in groupby(rows, key=lambda row: row[2]):
        pieces = sorted(group, key=lambda row: row[4])
        bases = refunds.piece_bases(pieces[0][5], [row[6] for row in pieces], pieces[0][3])
        found += [(row[0], row[1], basis) for row, basis in zip(pieces, bases, strict=True)]
    connection.execute(f"CREATE OR REPLACE TEMP TABLE piece_basis (refund VARCHAR, number INTEGER, basis {AMOUNT})")
    insert(connection, "piece_basis", found, 3)


def _order(alias: str) -> str:
    columns = ("date", "account", "product_code", "commodity_code", "billing_item_code", "instance_id", "pretax")
    return ", ".join([*(f"{alias}.{name} NULLS FIRST" for name in columns), f"{alias}.line_id"])
