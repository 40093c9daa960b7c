"""The engine: settlement lines from bill lines, in exact DECIMAL arithmetic, columnar and out of core.

semantics.md says what is computed, this says how. Every step is one SQL statement over all lines; only refunds,
distinct condition inputs and statement groups pass through Python. DuckDB's traps: `/` and `avg` give DOUBLE and
a cast to a smaller scale rounds in silence, so neither stands near an amount here; `*`, `+` and `sum` are exact
and overflow loudly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import Agreement
from shared.bill.line import AMOUNT
from shared.columnar import insert, quoted
from shared.cycle import Cycle
from shared.errors import ClearbookError
from shared.ids import Digest, digest
from shared.settlement import adjusting, bounds, earnings, lines, netting, rules, taking_back
from shared.settlement.earnings import EARNED
from shared.settlement.refunds import quotient
from shared.settlement.rules import EARN_RATE
from shared.settlement.share import Share

if TYPE_CHECKING:
    import duckdb

VERSION = "2"  # changes with anything that changes a result
_BEARING = "'commission', 'netted', 'excluded', 'direct', 'own_use'"  # the kinds that carry a basis
_MEMORY_MIN_MB, _MEMORY_A_LINE = 256, 1500  # the latter in bytes

LINE_TYPES = {
    "agreement": "VARCHAR",
    "version": "INTEGER",
    "customer": "VARCHAR",
    "product_code": "VARCHAR",
    "rule": "VARCHAR",
    "kind": "VARCHAR",
    "band": "INTEGER",
    "date": "DATE",
    "account": "VARCHAR",
    "line_id": "VARCHAR",  # empty where it is not of one bill line
    "piece": "INTEGER",
    "other_line": "VARCHAR",  # of a refund: its charge
    "basis": AMOUNT,
    "rate": EARN_RATE,
    "amount": EARNED,
    "because": "VARCHAR",
    "currency": "VARCHAR",
    "cycle": "VARCHAR",  # that it is due for
    "instance_id": "VARCHAR",  # of a bound
    "corrects": "VARCHAR",  # of an adjustment: the kind of what it corrects
    "approved": "VARCHAR",  # of an adjustment that people approved: its id
}
LINE_COLUMNS = tuple(LINE_TYPES)
HELD_COLUMNS = ("kind", "key", "currency", "line_id", "piece", "account", "customer", "product_code", "basis", "cycle")


class UnexplainedError(ClearbookError):
    """A bill line did not end in exactly one place: a defect of the engine, never of the data."""

    code = "unexplained"

    def __init__(self, found: list[Any]) -> None:
        super().__init__(
            f"the settlement leaves {len(found)} bill lines unexplained, first {found[:3]}; nothing was written: "
            "keep the inputs and report this"
        )


@dataclass(frozen=True, slots=True)
class Group:
    """Settlement lines that a statement shows as one, with their exact sums."""

    agreement: str | None
    version: int | None
    customer: str | None
    product: str | None
    rule: str | None
    kind: str
    currency: str
    lines: int
    basis: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Held:
    """Bill lines in one case: what is wrong, with what, how many, and the basis they hold."""

    kind: str
    key: str
    currency: str
    lines: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Adjusted:
    """What is adjusted of a locked cycle, under an agreement."""

    agreement: str
    cycle: str
    currency: str
    lines: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Settled:
    """What a run found; the lines themselves are in the tables `settled` and `held` of the connection."""

    groups: list[Group]
    held: list[Held]
    bill: Mapping[str, tuple[int, Decimal]]  # currency -> lines of the share and their pretax
    lines: int
    digest: Digest  # of the canonical rows
    held_before: Sequence[tuple[str, Held]] = ()  # what cases hold of cycles that were looked back to, by cycle
    adjusted: Sequence[Adjusted] = ()


def memory_mb(count: int, at_most_mb: int) -> int:
    """What DuckDB is allowed for settling so many lines.

    It would fill whatever it may with what it can read again. It needs up to 0.9 KB for a line at hand, and beyond
    its limit it spills, which costs little as long as the limit is above that.
    """
    return min(max(_MEMORY_MIN_MB, count * _MEMORY_A_LINE // 1_000_000), at_most_mb)


def settle(connection: duckdb.DuckDBPyConnection, share: Share) -> Settled:
    """Settle the lines in the table `bill`, of the share's cycles; leaves the tables `settled` and `held`.

    Where cycles are looked back to, the table `posted` has the lines that were posted for them (LINE_TYPES).
    """
    lines.place(connection, share)
    rules.match(connection, share)
    netting.link(connection, share)
    rules.say_meanings(connection, share)
    netting.net(connection, share)
    earnings.earn(connection, share)
    bounds.bind(connection, share)
    taking_back.take_back(connection)
    _hold(connection, share)
    _write_down(connection, share)
    _prove(connection)
    return _describe(connection, share)


def load_posted(connection: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> None:
    """Make `posted` of the lines that earlier settlements wrote."""
    typed = ", ".join(f"{name} {type_}" for name, type_ in LINE_TYPES.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE posted ({typed})")
    if paths:
        connection.execute("INSERT INTO posted BY NAME SELECT * FROM read_parquet(?)", [list(paths)])


def write(connection: duckdb.DuckDBPyConnection, lines_path: Path, held_path: Path) -> None:
    """Write `settled` and `held` as Parquet, sorted, so that equal results are equal bytes."""
    for table, columns, path in (("settled", LINE_COLUMNS, lines_path), ("held", HELD_COLUMNS, held_path)):
        select = f"SELECT {', '.join(columns)} FROM {table} ORDER BY ALL NULLS FIRST"  # noqa: S608 - our own names
        written = "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 122880"
        connection.execute(f"COPY ({select}) TO '{path}' ({written})")


def _write_down(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make the view `settled`: the settlement lines of the cycle, each naming its rule, version, band and rate.

    Tables: `due` (what every line comes to, of all cycles that are looked at), `added` (what no line comes to alone).
    """
    _list_due(connection, share)
    typed = ", ".join(f"{name} {type_}" for name, type_ in LINE_TYPES.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE added ({typed})")
    if share.compared:
        given = ", ".join(adjusting.COMPARED)
        connection.execute(
            f"INSERT INTO added BY NAME SELECT {given}, corrects, date, amount, 'adjustment' AS kind, 0 AS piece, "  # noqa: S608
            f"0 AS basis, {adjusting.because_sql(share)} AS because FROM ({adjusting.differences_sql(share)})"
        )
    more = [*_held_back(connection, share), *_released(share), *_approved(share)]
    rows = [{"line_id": "", "piece": 0, "basis": 0, **one} for one in more]
    insert(connection, "added", [[row.get(name) for name in LINE_COLUMNS] for row in rows], len(LINE_COLUMNS))
    all_, cycle = ", ".join(LINE_COLUMNS), quoted(str(share.cycle))
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW settled AS SELECT {all_} FROM due WHERE cycle = {cycle} "  # noqa: S608
        f"UNION ALL SELECT {all_} FROM added"
    )


def _list_due(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `due`: what every line that is looked at comes to."""
    free = "NOT is_undo AND NOT is_gone AND problem IS NULL"
    same = "agreement, version, customer, product_code, date, account, line_id, piece, other_line, money, cycle"
    last = _last_versions(share)
    lines_of = {  # by the table that has them, if it has any
        "item": f"""
            -- what was netted off a charge: all of it where nothing is left
            SELECT {same}, 'netted' AS kind, NULL::VARCHAR AS rule, NULL::INTEGER AS band, NULL AS rate,
                   NULL::VARCHAR AS because,
                   CASE WHEN is_gone THEN coalesce(whole, 0) WHEN whole IS NULL OR net IS NULL THEN 0
                        ELSE whole - net END AS basis,
                   0 AS amount, NULL::VARCHAR AS instance_id, NULL::VARCHAR AS corrects
            FROM item WHERE is_netted
            UNION ALL
            SELECT {same}, 'netted', NULL, NULL, NULL, NULL, coalesce(net, 0), 0, NULL, NULL
            FROM item WHERE is_undo AND problem IS NULL
            UNION ALL
            SELECT {same}, how, NULL, NULL, NULL, NULL, net, 0, NULL, NULL
            FROM item WHERE {free} AND number IS NULL AND how IN ('direct', 'own_use')
            UNION ALL
            SELECT {same}, 'excluded', NULL, NULL, NULL, because, net, 0, NULL, NULL
            FROM item WHERE {free} AND verdict = 'excluded'""",  # noqa: S608
        "commission": f"""
            SELECT {same.replace("other_line", "NULL")}, 'commission', rule, band, rate, NULL, basis, amount, NULL, NULL
            FROM commission""",  # noqa: S608
        "retroactive": f"""
            SELECT r.agreement, l.version, r.customer, r.product_code, NULL, NULL, '', 0, NULL, l.pays, r.cycle,
                   'retroactive', NULL, NULL, NULL, 'scale ' || scale, 0, r.amount, NULL, NULL
            FROM (SELECT cycle, agreement, scale, customer, product_code, sum(part) AS amount FROM retroactive
                  GROUP BY ALL HAVING sum(part) <> 0) r
            JOIN ({last}) l ON l.agreement = r.agreement AND l.cycle = r.cycle""",  # noqa: S608
        "bound_line": f"""
            SELECT b.agreement, b.version, b.customer, b.product_code, NULL, b.account, coalesce(b.line_id, ''), 0,
                   NULL, l.pays, b.cycle, b.kind, b.rule, NULL, NULL, NULL, 0, b.amount, b.instance_id, NULL
            FROM bound_line b JOIN ({last}) l ON l.agreement = b.agreement AND l.cycle = b.cycle""",  # noqa: S608
        "taken_back": """
            SELECT e.agreement, e.version, e.customer, e.product_code, u.date, u.account, t.refund, t.number, t.charge,
                   e.money, e.cycle, 'adjustment', e.rule, NULL, NULL, 'taken back', 0, t.amount, NULL, 'adjustment'
            FROM taken_back t JOIN charged e ON e.line_id = t.charge JOIN line u ON u.line_id = t.refund""",
        "let_go": """
            SELECT agreement, version, customer, product_code, date, account, line_id, piece, other_line, currency,
                   cycle, 'excluded', NULL, NULL, NULL, closed_because, basis, 0, NULL, NULL
            FROM let_go""",
    }
    filled = ", ".join(f"EXISTS (FROM {table})" for table in lines_of if table != "item")
    is_filled = (True, *connection.execute(f"SELECT {filled}").fetchall()[0])
    given = [of for of, is_any in zip(lines_of.values(), is_filled, strict=True) if is_any]
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE due AS
        SELECT * EXCLUDE (basis, rate, amount, money), money AS currency, CAST(basis AS {AMOUNT}) AS basis,
               CAST(rate AS {EARN_RATE}) AS rate, CAST(amount AS {EARNED}) AS amount, NULL::VARCHAR AS approved
        FROM ({" UNION ALL ".join(given)})"""  # noqa: S608
    )


def _last_versions(share: Share) -> str:
    """SQL for each agreement's last version begun by the end of each cycle."""
    rows = [
        f"({quoted(id_)}, {quoted(str(cycle))}, {versions[-1].version}, {quoted(versions[-1].currency)})"
        for cycle in share.cycles
        for id_, versions in share.begun(cycle).items()
    ]
    values = ", ".join(rows) or "('', '', 0, '')"
    return f"SELECT * FROM (VALUES {values}) v(agreement, cycle, version, pays)"  # noqa: S608


def _held_back(connection: duckdb.DuckDBPyConnection, share: Share) -> Iterator[dict[str, object]]:
    """What is kept of what each agreement earned in the cycle."""
    if not any(one.holdback for one in share.agreements):
        return
    earned = dict(
        connection.execute(
            "SELECT agreement, sum(amount) FROM due WHERE cycle = ? "
            "AND kind IN ('commission', 'retroactive', 'cap', 'floor') GROUP BY agreement",
            [str(share.cycle)],
        ).fetchall()
    )
    for id_, versions in share.begun(share.cycle).items():
        last, amount = versions[-1], earned.get(id_, Decimal(0))
        if last.holdback is not None and amount > 0:
            held = quotient(amount, last.holdback.rate, Decimal(1))
            yield {**_of_version(last, str(share.cycle)), "kind": "holdback", "amount": -held}


def _released(share: Share) -> Iterator[dict[str, object]]:
    """What earlier cycles held back, each after as many cycles as the version said that held it."""
    by_version = {(one.id, one.version): one for one in share.agreements}
    for one in share.held_back:
        holdback = by_version[one.agreement, one.version].holdback
        if holdback is not None and Cycle.parse(one.cycle).plus(holdback.months) == share.cycle:
            last = share.begun(share.cycle)[one.agreement][-1]
            because = f"held back in {one.cycle}"
            named = _of_version(last, str(share.cycle))
            yield {**named, "kind": "release", "amount": one.amount, "because": because}


def _approved(share: Share) -> Iterator[dict[str, object]]:
    """Approved adjustments, of the last version of their cycle."""
    for one in share.adjustments:
        last = share.begun(Cycle.parse(one.cycle))[one.agreement][-1]
        named = {**_of_version(last, one.cycle), "customer": one.customer, "product_code": one.product}
        yield {**named, "kind": "adjustment", "amount": one.amount, "because": one.cause, "approved": one.id}


def _of_version(version: Agreement, cycle: str) -> dict[str, object]:
    return {"agreement": version.id, "version": version.version, "currency": version.currency, "cycle": cycle}


def _hold(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `held`: every item that is in a case, under the case's key; and `let_go`: those of cases that are closed."""
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE held AS
           SELECT problem AS kind,
               CASE problem WHEN 'unmapped_account' THEN account WHEN 'no_agreement' THEN account
                   WHEN 'no_rule' THEN agreement || '/' || coalesce(product_code, '')
                   WHEN 'bad_condition' THEN agreement || '/' || coalesce(rule, because)
                   WHEN 'no_figure' THEN agreement || '/' || rule
                   WHEN 'no_fx_rate' THEN currency || '/' || pays
                   ELSE line_id END AS key,
               money AS currency, line_id, piece, account, customer, product_code, coalesce(net, 0) AS basis, cycle,
               agreement, version, date, other_line
           FROM item WHERE problem IS NOT NULL"""
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE closed "
        "(cycle VARCHAR, kind VARCHAR, key VARCHAR, currency VARCHAR, closed_because VARCHAR)"
    )
    rows = [[one.cycle, one.kind, one.key, one.currency, one.because] for one in share.closed]
    insert(connection, "closed", rows, 5)
    same = "c.cycle = h.cycle AND c.kind = h.kind AND c.key = h.key AND c.currency = h.currency"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE let_go AS SELECT h.*, c.closed_because FROM held h JOIN closed c ON {same}"  # noqa: S608
    )
    if rows:
        connection.execute(f"DELETE FROM held h WHERE EXISTS (FROM closed c WHERE {same})")  # noqa: S608


def _prove(connection: duckdb.DuckDBPyConnection) -> None:
    """Every line in exactly one place, its basis accounted for to the last digit, every refund's pieces its whole."""
    wrong = connection.execute(
        f"""
        WITH expected AS (
            SELECT cycle, line_id, piece, CASE WHEN is_netted AND whole IS NOT NULL THEN whole ELSE coalesce(net, 0) END
                AS basis FROM item
        ), got AS (
            SELECT cycle, line_id, piece, sum(basis) AS basis FROM (
                SELECT cycle, line_id, piece, basis FROM due WHERE kind IN ({_BEARING})
                UNION ALL SELECT cycle, line_id, piece, basis FROM held)
            GROUP BY cycle, line_id, piece
        )
        SELECT line_id, e.basis, g.basis FROM expected e FULL JOIN got g USING (cycle, line_id, piece)
        WHERE e.basis IS DISTINCT FROM g.basis
        UNION ALL
        SELECT refund, u.pretax, p.pretax FROM (SELECT refund, sum(pretax) AS pretax FROM piece GROUP BY refund) p
        JOIN line u ON u.line_id = p.refund WHERE u.pretax <> p.pretax
        ORDER BY ALL LIMIT 100"""  # noqa: S608
    ).fetchall()
    if wrong:
        raise UnexplainedError([(line, str(due), str(got)) for line, due, got in wrong])


def _describe(connection: duckdb.DuckDBPyConnection, share: Share) -> Settled:
    groups = connection.execute(
        """SELECT agreement, version, customer, product_code, rule, kind, currency, count(*), sum(basis), sum(amount)
           FROM settled GROUP BY ALL
           ORDER BY agreement NULLS FIRST, customer NULLS FIRST, product_code NULLS FIRST, rule NULLS FIRST,
                    version NULLS FIRST, kind, currency"""
    ).fetchall()
    held = connection.execute(
        "SELECT kind, key, currency, count(*), sum(basis) FROM held WHERE cycle = ? GROUP BY ALL ORDER BY ALL",
        [str(share.cycle)],
    ).fetchall()
    before = connection.execute(
        "SELECT cycle, kind, key, currency, count(*), sum(basis) FROM held WHERE list_contains(?, cycle) "
        "GROUP BY ALL ORDER BY ALL",
        [[str(cycle) for cycle in share.looked_back]],
    ).fetchall()
    adjusted = connection.execute(
        "SELECT agreement, cycle, currency, count(*), sum(amount) FROM added WHERE corrects IS NOT NULL "
        "GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    bill = connection.execute(
        "SELECT currency, count(DISTINCT line_id), sum(billed) FROM item WHERE cycle = ? GROUP BY ALL ORDER BY ALL",
        [str(share.cycle)],
    ).fetchall()
    count = sum(row[7] for row in groups)
    return Settled(
        [Group(*row) for row in groups],
        [Held(*row) for row in held],
        {currency: (lines_, total) for currency, lines_, total in bill},
        count,
        _digest(connection),
        [(cycle, Held(*row)) for cycle, *row in before],
        [Adjusted(*row) for row in adjusted],
    )


def _digest(connection: duckdb.DuckDBPyConnection) -> Digest:
    """The digest of the canonical rows, hashed in 256 buckets so that no list of a whole month is ever held."""
    row = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in LINE_COLUMNS)
    buckets = connection.execute(
        f"""SELECT bucket, sha256(array_to_string(list_sort(list(hash)), '')) FROM (
                SELECT left(line_id, 2) AS bucket, sha256(concat_ws(chr(31), {row})) AS hash FROM settled)
            GROUP BY bucket ORDER BY bucket"""  # noqa: S608
    ).fetchall()
    return digest("".join(f"{bucket}{hash_}" for bucket, hash_ in buckets).encode())
