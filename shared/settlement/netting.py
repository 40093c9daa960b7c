"""Refunds and the charges they undo: linked, netted, and what each line is worth after it.

Tables, in the order they are made: `piece` and `unlinked` (refunds and what they undo), `item` (the share's lines and
every piece of a refund, with basis, measure, and what is wrong with them).
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import Refunds
from shared.bill.line import AMOUNT, QUANTITY
from shared.bill.normalise import line_id_sql
from shared.columnar import insert, quoted
from shared.settlement import refunds
from shared.settlement.lines import (
    BASES,
    CHARGE,
    NETTED,
    REFUND_KEY,
    UNDO,
    amount_sql,
    basis_sql,
    converted_sql,
)
from shared.settlement.refunds import Charge, Refund
from shared.settlement.share import Share

if TYPE_CHECKING:
    import duckdb

_AMOUNTS = ("pretax", *NETTED)
_TYPES = {name: QUANTITY if name == "usage" else AMOUNT for name in _AMOUNTS}
# Of a line that a refund does not become by taking its charge's.
_ITS_OWN = (
    *("line_id", "cycle", "date", "kind", "account", "currency", "product_code", "commodity_code"),
    *("billing_item_code", "instance_id", "service_from", "service_until", "usage_unit"),
)
# What nothing asks for once a line's basis, measure and problem are known.
_DONE_WITH = (
    *("said", "condition", "is_bad", "counts_zero", "basis_name", "rate_to", "gross", "discount", "round_down"),
    *("payment", "usage_unit"),
)
_WHOSE = ("customer", "how", "number", "agreement", "version", "pays", "basis_name", "rate_to")


def link(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `piece` and `unlinked`. Only charges that a refund may fall on are fetched: never the month."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW undo AS SELECT * FROM line WHERE kind IN {UNDO}")  # noqa: S608
    links = refunds.Links()
    if _has_undo(connection):
        _find_related(connection)
        _find_keys(connection)
        links = refunds.link(_charges(connection, share), _refunds(connection))
    _store(connection, links)


def links(connection: duckdb.DuckDBPyConnection, share: Share) -> set[tuple[Any, ...]]:
    """What of the share refunds fall on, after `link`: (refund, its cycle, charge, the charge's cycle, and all that is
    known of the piece); and refunds of the share that fall on nothing, without a charge."""
    amounts = ", ".join(f"p.{name}" for name in _AMOUNTS)
    rows = connection.execute(
        f"""SELECT p.refund, u.cycle, p.charge, c.cycle, p.number, p.is_netted, NULL, {amounts}
            FROM piece p JOIN line u ON u.line_id = p.refund JOIN line c ON c.line_id = p.charge
            WHERE {owned_sql(share).format("c")}
            UNION ALL
            SELECT x.refund, u.cycle, NULL, NULL, NULL, NULL, x.problem, {", ".join(["NULL"] * len(_AMOUNTS))}
            FROM unlinked x JOIN line u ON u.line_id = x.refund WHERE {owned_sql(share).format("u")}"""  # noqa: S608
    ).fetchall()
    return set(rows)


def _has_undo(connection: duckdb.DuckDBPyConnection) -> bool:
    return bool(connection.execute("SELECT 1 FROM undo LIMIT 1").fetchall())


def _find_keys(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `refunded`: a number for each key that refunds have, and until when charges of it may be looked for.

    A refund that names a record looks for nothing else.
    """
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE refunded AS
            SELECT {", ".join(REFUND_KEY)}, max(date) FILTER (related_record IS NULL) AS until,
                   row_number() OVER () AS key
            FROM undo WHERE pretax <= 0 GROUP BY {", ".join(REFUND_KEY)}"""  # noqa: S608
    )


def _charges(connection: duckdb.DuckDBPyConnection, share: Share) -> list[Charge]:
    rows = connection.execute(
        f"""SELECT line_id, key, currency, cycle, date, coalesce(left_over, pretax), coalesce(basis_name, 'pretax'),
                   usage_unit, number
            FROM ({_keyed("line")}) l LEFT JOIN (SELECT line_id, left_over FROM past) p USING (line_id)
            WHERE (kind IN {CHARGE} OR kind = 'past') AND pretax > 0
                AND (date <= until OR line_id IN (SELECT charge FROM related)) ORDER BY {_order("l")}"""  # noqa: S608
    ).fetchall()
    return [
        Charge(id_, (key, currency), _months(cycle), day, place, pretax, basis, unit, _policy(share, number))
        for place, (id_, key, currency, cycle, day, pretax, basis, unit, number) in enumerate(rows)
    ]


def _refunds(connection: duckdb.DuckDBPyConnection) -> list[Refund]:
    lacking = ", ".join(f"CASE WHEN {amount_sql('l', name)} IS NULL THEN '{name}' END" for name in BASES)
    rows = connection.execute(
        f"""SELECT line_id, key, currency, cycle, date, pretax, [{lacking}], usage_unit, related_record IS NOT NULL,
                   charge, {", ".join(NETTED)}
            FROM ({_keyed("undo")}) l LEFT JOIN related ON related.refund = l.line_id
            WHERE pretax <= 0 ORDER BY {_order("l")}"""  # noqa: S608
    ).fetchall()
    found = []
    for place, (id_, key, currency, cycle, day, pretax, lacks, unit, names, related, *amounts) in enumerate(rows):
        missing = frozenset(name for name in lacks if name is not None)
        line_key, months = (key, currency), _months(cycle)
        found.append(Refund(id_, line_key, months, day, place, pretax, tuple(amounts), missing, unit, names, related))
    return found


def _keyed(table: str) -> str:
    """SQL for the lines of a table with the number of their key, if refunds have it."""
    same = " AND ".join(f"r.{name} IS NOT DISTINCT FROM l.{name}" for name in REFUND_KEY)
    return f"SELECT l.*, r.key, r.until FROM {table} l LEFT JOIN refunded r ON {same}"  # noqa: S608


def _months(cycle: str) -> int:
    return int(cycle[:4]) * 12 + int(cycle[5:])


def _policy(share: Share, number: int | None) -> Refunds:
    return Refunds() if number is None else share.agreements[number].refunds


def _find_related(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `related`: the charge that each refund says it undoes, by the provider's id of a line or of its record; or
    that people say it undoes, of the same account.

    Of several lines of one record it is the one that has the refund's key; where that is not one, it is none.
    """
    connection.execute("CREATE OR REPLACE TEMP TABLE related (refund VARCHAR, charge VARCHAR)")
    if not connection.execute("SELECT 1 FROM undo WHERE related_record IS NOT NULL LIMIT 1").fetchall():
        return
    same = " AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in REFUND_KEY)
    connection.execute(
        f"""INSERT INTO related
            WITH named AS (
                SELECT u.line_id AS refund, c.line_id AS charge, true AS is_same
                FROM undo u JOIN line c ON c.line_id = {line_id_sql("u.payer", "u.related_record")}
                WHERE c.kind IN {CHARGE}
                UNION
                SELECT u.line_id, c.line_id, {same}
                FROM undo u JOIN line c ON c.record_id = u.related_record AND c.payer IS NOT DISTINCT FROM u.payer
                WHERE c.kind IN {CHARGE}
                UNION
                SELECT u.line_id, c.line_id, true
                FROM undo u JOIN by_hand h ON h.refund = u.line_id JOIN line c ON c.line_id = h.charge
                WHERE c.kind IN {CHARGE} AND c.account = u.account AND c.payer IS NOT DISTINCT FROM u.payer
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
    _value_pieces(connection, share)
    mine = owned_sql(share)
    # Of other cycles there are only charges that refunds may fall on, and refunds that may have taken of them.
    of_cycles = f"{{0}}.cycle IN ({', '.join(quoted(str(cycle)) for cycle in share.cycles)})"
    asked = f"{mine} AND {of_cycles}"
    if share.is_operators:
        unowned = "how IS NULL AND other_line IS NULL THEN 'unmapped_account'"
    else:
        unowned = "number IS NULL AND NOT is_undo THEN 'no_agreement'"
    at_rate = converted_sql if share.rates else _as_it_is
    own, whose = ", ".join(f"{{0}}.{name}" for name in _ITS_OWN), ", ".join(f"{{0}}.{name}" for name in _WHOSE)
    seen = [
        f"""SELECT {own.format("o")}, {whose.format("o")}, billed, {", ".join(_AMOUNTS)}, is_netted,
                   is_netted AND pretax = 0 AS is_gone, false AS is_undo, 0 AS piece,
                   NULL::VARCHAR AS other_line, NULL::VARCHAR AS said, condition, is_bad, whole,
                   {at_rate("o", basis_sql("o"))} AS net
            FROM own o"""  # noqa: S608
    ]
    if _has_undo(connection):
        seen.append(
            f"""SELECT {own.format("u")}, {whose.format("c")}, p.pretax, {amounts_of("p")}, false, false, true,
                       p.number, p.charge, NULL, NULL, false, NULL,
                       coalesce(v.basis, {basis_sql("p").replace("p.basis_name", "c.basis_name")}, 0)
                FROM piece p JOIN line u ON u.line_id = p.refund JOIN line c ON c.line_id = p.charge
                LEFT JOIN piece_basis v ON v.refund = p.refund AND v.number = p.number
                WHERE {mine.format("c")} AND {of_cycles.format("u")}"""  # noqa: S608
        )
        seen.append(
            f"""SELECT {own.format("u")}, {whose.format("u")}, u.pretax, {amounts_of("u")}, false, false, true,
                       0, NULL, x.problem, NULL, false, NULL, {at_rate("u", basis_sql("u"))}
                FROM undo u LEFT JOIN unlinked x ON x.refund = u.line_id
                WHERE u.line_id NOT IN (SELECT refund FROM piece) AND {asked.format("u")}"""  # noqa: S608
        )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE item AS
            WITH netting AS (
                SELECT charge, {", ".join(map(_sum, _AMOUNTS))} FROM piece WHERE is_netted GROUP BY charge
            ), own AS (
                SELECT {own.format("b")}, {whose.format("b")}, b.pretax AS billed, {", ".join(map(_left, _AMOUNTS))},
                       n.charge IS NOT NULL AS is_netted, b.condition, b.is_bad,
                       CASE WHEN n.charge IS NOT NULL THEN {at_rate("b", basis_sql("b"))} END AS whole
                FROM line b LEFT JOIN netting n ON n.charge = b.line_id
                WHERE b.kind NOT IN {UNDO} AND b.kind <> 'past' AND {asked.format("b")}
            ), seen AS (
                {" UNION ALL ".join(seen)}
            ), meant AS (
                SELECT s.*, m.* EXCLUDE (cycle, number, condition, measure, unit),
                       CASE WHEN m.scale IS NOT NULL THEN {_measure(share)} END AS measure,
                       s.kind IN {CHARGE} AND (s.net <> 0 OR m.counts_zero) AS is_counted
                FROM seen s LEFT JOIN meaning m
                ON m.cycle = s.cycle AND m.number = s.number AND m.condition = s.condition
            )
            SELECT * EXCLUDE ({", ".join(_DONE_WITH)}),
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


def owned_sql(share: Share) -> str:
    """SQL that a line (of the alias {0}) is the share's."""
    return "{0}.reseller IS NULL" if share.is_operators else f"{{0}}.reseller = {quoted(share.owner)}"


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


def _as_it_is(alias: str, value: str) -> str:
    return value


def _measure(share: Share) -> str:
    """What a line adds to its scale; usage of another unit is none of this one's."""
    if not any(scale.measure for one in share.agreements for scale in one.scales.values()):
        return "s.net"
    amounts = {name: converted_sql("s", amount_sql("s", name)) for name in BASES}
    cases = " ".join(f"WHEN '{name}' THEN CAST({value} AS {QUANTITY})" for name, value in amounts.items())
    is_other = "s.usage IS NOT NULL AND s.usage_unit IS DISTINCT FROM m.unit"
    usage = f"CASE WHEN {is_other} THEN CAST(0 AS {QUANTITY}) ELSE s.usage END"
    # Each is cast by itself: where a CASE has to find a type for several, DuckDB gives up decimals in silence.
    return f"CASE m.measure {cases} WHEN 'usage' THEN {usage} ELSE CAST(s.net AS {QUANTITY}) END"


def _value_pieces(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `piece_basis`: what the pieces of charges in another currency are of their basis, netted pieces first."""
    connection.execute(f"CREATE OR REPLACE TEMP TABLE piece_basis (refund VARCHAR, number INTEGER, basis {AMOUNT})")
    if not share.rates:
        return
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
    insert(connection, "piece_basis", found, 3)


def _order(alias: str) -> str:
    columns = ("date", "account", "product_code", "commodity_code", "billing_item_code", "instance_id", "pretax")
    return ", ".join([*(f"{alias}.{name} NULLS FIRST" for name in columns), f"{alias}.line_id"])
