"""The engine: settlement lines from bill lines, in exact DECIMAL arithmetic, columnar and out of core.

semantics.md says what is computed, this says how. Every step is one SQL statement over all lines; only refunds,
distinct condition inputs and statement groups pass through Python. DuckDB's traps: `/` and `avg` give DOUBLE and
a cast to a smaller scale rounds in silence, so neither stands near an amount here; `*`, `+` and `sum` are exact
and overflow loudly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import GRADUATED, MONTH, Agreement, Refunds, Scale
from shared.bill.line import AMOUNT, ORDER
from shared.columnar import insert
from shared.errors import ClearbookError
from shared.ids import Digest, digest
from shared.settlement import lines, rules
from shared.settlement.lines import Share

if TYPE_CHECKING:
    import duckdb

VERSION = "1"  # changes with anything that changes a result
_EARNED = "DECIMAL(38,18)"
_RATE = "DECIMAL(10,8)"
_RUNNING = "DECIMAL(38,10)"  # sums of amounts
_MEMORY_MIN_MB, _MEMORY_A_LINE = 256, 1500  # the latter in bytes
_ENDLESS = "9" * 28  # beyond any running total

LINE_COLUMNS = (
    *("agreement", "version", "customer", "product_code", "rule", "kind", "band", "date", "account"),
    *("line_id", "piece", "other_line", "basis", "rate", "amount", "because", "currency"),
)
HELD_COLUMNS = ("kind", "key", "currency", "line_id", "piece", "account", "customer", "product_code", "basis")


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
class Settled:
    """What a run found; the lines themselves are in the tables `settled` and `held` of the connection."""

    groups: list[Group]
    held: list[Held]
    bill: Mapping[str, tuple[int, Decimal]]  # currency -> lines of the share and their pretax
    lines: int
    digest: Digest  # of the canonical rows


def unsettled(agreement: Agreement) -> list[tuple[str, str]]:
    """What of an agreement this engine does not settle: (place, what). It is refused before anybody approves it."""
    found = [(f"scales.{one.id}", what) for one in agreement.scales.values() for what in _of_scale(one)]
    for number, rule in enumerate(agreement.rules):
        place = f"rules.{number} ({rule.id})"
        found += [(place, "gates")] * (rule.earn.gate is not None)
        found += [(place, "fixed amounts")] * any(one.fixed is not None for one in rule.earn.stages())
        found += [(place, f"{one.kind}s") for one in rule.bounds]
    found += [("document", f"{one.kind}s") for one in agreement.bounds]
    payout, refunds = agreement.payout, agreement.refunds
    others = {
        "refunds": refunds != Refunds(),
        "holdback": agreement.holdback is not None,
        "payout.carry_forward": not payout.carry_forward,
        "payout.requires_invoice": payout.requires_invoice,
        "payout.withholding": payout.withholding is not None,
    }
    return found + [(name, "this") for name, is_asked in others.items() if is_asked]


def _of_scale(scale: Scale) -> list[str]:
    return ["all-units scales"] * (scale.method != GRADUATED) + ["contract years"] * (scale.over != MONTH)


def memory_mb(count: int, at_most_mb: int) -> int:
    """What DuckDB is allowed for settling so many lines.

    It would fill whatever it may with what it can read again. It needs up to 0.9 KB for a line at hand, and beyond
    its limit it spills, which costs little as long as the limit is above that.
    """
    return min(max(_MEMORY_MIN_MB, count * _MEMORY_A_LINE // 1_000_000), at_most_mb)


def settle(connection: duckdb.DuckDBPyConnection, share: Share) -> Settled:
    """Settle the lines in the table `bill`; leaves the tables `settled` and `held`."""
    lines.place(connection, share)
    lines.link_refunds(connection)
    lines.net(connection, share)
    rules.base(connection, share)
    rules.match(connection, share.agreements)
    _own(connection, share.agreements)
    _earn(connection)
    _hold(connection)
    _prove(connection)
    return _describe(connection)


def write(connection: duckdb.DuckDBPyConnection, lines_path: Path, held_path: Path) -> None:
    """Write `settled` and `held` as Parquet, sorted, so that equal results are equal bytes."""
    for table, columns, path in (("settled", LINE_COLUMNS, lines_path), ("held", HELD_COLUMNS, held_path)):
        select = f"SELECT {', '.join(columns)} FROM {table} ORDER BY ALL NULLS FIRST"  # noqa: S608 - our own names
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)")


def _own(connection: duckdb.DuckDBPyConnection, agreements: Sequence[Agreement]) -> None:
    """Make `owned`: every item with what the condition it met first says."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE condition (number INTEGER, condition INTEGER, verdict VARCHAR, rule VARCHAR, "
        f"because VARCHAR, rate {_RATE}, scale VARCHAR, scope VARCHAR)"
    )
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE scale_band "
        f"(number INTEGER, scale VARCHAR, band INTEGER, low {_RUNNING}, high {_RUNNING}, rate {_RATE})"
    )
    for number, agreement in enumerate(agreements):
        insert(connection, "condition", _conditions(number, agreement), 8)
        insert(connection, "scale_band", _bands(number, agreement), 6)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE owned AS
           SELECT b.*, m.is_bad, c.verdict, c.rule, c.because, c.rate, c.scale, c.scope
           FROM based b LEFT JOIN matched m ON m.line_id = b.line_id AND NOT b.is_undo
           LEFT JOIN condition c ON c.number = b.number AND c.condition = m.condition"""
    )


def _conditions(number: int, agreement: Agreement) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for place, one in enumerate(agreement.exclusions):
        rows.append((number, place, "excluded", None, one.because, None, None, None))
    for place, rule in enumerate(agreement.rules, len(agreement.exclusions)):
        earn = rule.earn
        scope = agreement.scales[earn.scale].scope if earn.scale else None
        rows.append((number, place, "commission", rule.id, None, earn.rate, earn.scale, scope))
    return rows


def _bands(number: int, agreement: Agreement) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    for scale in agreement.scales.values():
        low: object = f"-{_ENDLESS}"
        for place, band in enumerate(scale.bands, 1):
            high = _ENDLESS if band.upto is None else band.upto
            rows.append((number, scale.id, place, low, high, band.rate))
            low = high
    return rows


def _earn(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `settled`: the settlement lines, each naming its rule, version, band and rate."""
    free = "NOT is_undo AND NOT is_gone AND problem IS NULL AND is_bad IS NOT TRUE"
    same = "agreement, version, customer, product_code, date, account, i.line_id, piece, other_line, i.currency"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE settled AS
        WITH scaled AS (
            SELECT *, sum(net) OVER (
                       PARTITION BY agreement, scale, CASE WHEN scope <> 'reseller' THEN customer END,
                                    CASE WHEN scope = 'product' THEN product_code END
                       ORDER BY {ORDER} ROWS UNBOUNDED PRECEDING) - net AS reached
            FROM owned WHERE {free} AND verdict = 'commission' AND scale IS NOT NULL
        ), cut AS (
            SELECT s.* EXCLUDE (rate), b.band, b.rate,
                   CAST(least(greatest(reached + net, low), high) - least(greatest(reached, low), high) AS {AMOUNT})
                       AS part
            FROM scaled s JOIN scale_band b ON b.number = s.number AND b.scale = s.scale
            WHERE net <> 0 OR (reached > low AND reached <= high)
        ), line AS (
            -- what was netted off a charge: all of it where nothing is left
            SELECT {same.replace("product_code, date, account", "i.product_code, i.date, i.account")},
                   'netted' AS kind, NULL AS rule, NULL AS band, NULL AS rate, NULL AS because,
                   coalesce({lines.basis_sql("b")}, 0) - CASE WHEN is_gone THEN 0 ELSE coalesce(net, 0) END AS basis
            FROM owned i JOIN bill b ON b.line_id = i.line_id WHERE is_netted
            UNION ALL
            SELECT {same}, 'netted', NULL, NULL, NULL, NULL, coalesce(net, 0)
            FROM owned i WHERE is_undo AND problem IS NULL
            UNION ALL
            SELECT {same}, how, NULL, NULL, NULL, NULL, net
            FROM owned i WHERE {free} AND number IS NULL AND how IN ('direct', 'own_use')
            UNION ALL
            SELECT {same}, 'excluded', NULL, NULL, NULL, because, net FROM owned i WHERE {free} AND verdict = 'excluded'
            UNION ALL
            SELECT {same}, 'commission', rule, NULL, rate, NULL, net
            FROM owned i WHERE {free} AND verdict = 'commission' AND scale IS NULL
            UNION ALL
            SELECT {same}, 'commission', rule, band, rate, NULL, part FROM cut i WHERE net = 0 OR part <> 0
        )
        SELECT * EXCLUDE (band, basis, rate), CAST(band AS INTEGER) AS band,
               CAST(basis AS {AMOUNT}) AS basis, CAST(rate AS {_RATE}) AS rate,
               CAST(coalesce(CAST(basis AS {AMOUNT}) * CAST(rate AS {_RATE}), 0) AS {_EARNED}) AS amount
        FROM line"""  # noqa: S608
    )


def _hold(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `held`: every item that is in a case, under the case's key."""
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE held AS
           WITH stuck AS (
               SELECT * REPLACE (coalesce(problem, CASE WHEN is_bad THEN 'bad_condition' ELSE 'no_rule' END) AS problem)
               FROM owned
               WHERE problem IS NOT NULL
                  OR (number IS NOT NULL AND NOT is_undo AND NOT is_gone AND (verdict IS NULL OR is_bad))
           )
           SELECT problem AS kind,
               CASE problem WHEN 'unmapped_account' THEN account WHEN 'no_agreement' THEN account
                   WHEN 'no_rule' THEN agreement || '/' || coalesce(product_code, '')
                   WHEN 'bad_condition' THEN agreement || '/' || coalesce(rule, because)
                   WHEN 'no_fx_rate' THEN currency || '/' || pays
                   ELSE line_id END AS key,
               currency, line_id, piece, account, customer, product_code, coalesce(net, 0) AS basis
           FROM stuck"""
    )


def _prove(connection: duckdb.DuckDBPyConnection) -> None:
    """Every line in exactly one place, its basis accounted for to the last digit, every refund's pieces its whole."""
    wrong = connection.execute(
        f"""
        WITH due AS (
            SELECT i.line_id, i.piece,
                   coalesce(CASE WHEN is_netted THEN {lines.basis_sql("b")} ELSE net END, 0) AS basis
            FROM based i LEFT JOIN bill b ON is_netted AND b.line_id = i.line_id
        ), got AS (
            SELECT line_id, piece, sum(basis) AS basis FROM (
                SELECT line_id, piece, basis FROM settled UNION ALL SELECT line_id, piece, basis FROM held)
            GROUP BY line_id, piece
        )
        SELECT line_id, due.basis, got.basis FROM due FULL JOIN got USING (line_id, piece)
        WHERE due.basis IS DISTINCT FROM got.basis
        UNION ALL
        SELECT refund, b.pretax, p.pretax FROM (SELECT refund, sum(pretax) AS pretax FROM piece GROUP BY refund) p
        JOIN bill b ON b.line_id = p.refund WHERE b.pretax <> p.pretax
        ORDER BY ALL LIMIT 100"""  # noqa: S608
    ).fetchall()
    if wrong:
        raise UnexplainedError([(line, str(due), str(got)) for line, due, got in wrong])


def _describe(connection: duckdb.DuckDBPyConnection) -> Settled:
    groups = connection.execute(
        """SELECT agreement, version, customer, product_code, rule, kind, currency, count(*), sum(basis), sum(amount)
           FROM settled GROUP BY ALL
           ORDER BY agreement NULLS FIRST, customer NULLS FIRST, product_code NULLS FIRST, rule NULLS FIRST,
                    version NULLS FIRST, kind, currency"""
    ).fetchall()
    held = connection.execute(
        "SELECT kind, key, currency, count(*), sum(basis) FROM held GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    bill = connection.execute(
        "SELECT currency, count(DISTINCT line_id), sum(billed) FROM based GROUP BY currency ORDER BY currency"
    ).fetchall()
    count = sum(row[7] for row in groups)
    return Settled(
        [Group(*row) for row in groups],
        [Held(*row) for row in held],
        {currency: (lines_, total) for currency, lines_, total in bill},
        count,
        _digest(connection),
    )


def _digest(connection: duckdb.DuckDBPyConnection) -> Digest:
    """The digest of the canonical rows, hashed in 256 buckets so that no list of a whole month is ever held."""
    row = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in LINE_COLUMNS)
    buckets = connection.execute(
        f"""SELECT bucket, sha256(string_agg(hash, '' ORDER BY hash)) FROM (
                SELECT left(line_id, 2) AS bucket, sha256(concat_ws(chr(31), {row})) AS hash FROM settled)
            GROUP BY bucket ORDER BY bucket"""  # noqa: S608
    ).fetchall()
    return digest("".join(f"{bucket}{hash_}" for bucket, hash_ in buckets).encode())
