"""Every line of a bill beside what became of it: in which share, of which kind, with how much of its basis.

Tables of the connection: `billed` (the lines of the day parts), `placement` (what the settlements say of each line, a
row a share and line), `joined` (both, a row a line). What a line should carry is worked out from the bill, not from the
settlement: its amount by the basis of the version that the settlement names, at the cycle's rate. All of it is one
statement a matter over all lines; nothing is done row by row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.bill.line import AMOUNT
from shared.columnar import insert, quoted
from shared.parties.parties import OPERATOR
from shared.reconciliation.difference import BILL, LINES_KEPT, SETTLEMENT, Difference

if TYPE_CHECKING:
    import duckdb

    from shared.parties.parties import Assignment

PLACED = ("settled", "netted", "excluded", "direct", "own_use", "cases")
PLACES = (*PLACED, "waiting", "unexplained")  # waiting: for the first settlement of its share
_KINDS = {"commission": "settled", **{kind: kind for kind in ("netted", "excluded", "direct", "own_use")}}
_BASES: Mapping[str, str] = {
    "pretax": "pretax",
    "gross": "gross",
    "discounted": "gross - discount - coalesce(round_down, 0)",
    "paid": "payment",
}
_READ = {"pretax": ("pretax",), "gross": ("gross",), "discounted": ("gross", "discount", "round_down"),
         "paid": ("payment",)}  # fmt: skip
_RATE = "DECIMAL(18,10)"
_MEMORY_MIN_MB, _MEMORY_A_LINE = 256, 450  # the latter in bytes
_LAST_PLACE = "0.0000000001"  # of a converted amount

NOBODYS, TWICE, NO_LINE, OTHER_AMOUNT = "unplaced", "twice", "not billed", "amount"
_WORDS: Mapping[str, str] = {
    NOBODYS: "no share has them, in no place",
    TWICE: "more than one share has them whole",
    NO_LINE: "a settlement has them, and the bill has not",
    OTHER_AMOUNT: "their places do not add up to what is billed",
}


@dataclass(frozen=True, slots=True)
class Terms:
    """What of a version says how much of a line it counts."""

    agreement: str
    version: int
    basis: str
    pays: str


@dataclass(frozen=True, slots=True)
class Share:
    """A settlement of the cycle: its two files, and the terms by which its lines are read."""

    owner: str
    lines: str
    held: str
    terms: Sequence[Terms] = ()
    rates: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)  # (currency, to) of the cycle


@dataclass(frozen=True, slots=True)
class Group:
    """A share's lines of one account, product and currency: what is billed, and the PLACES that it went to."""

    owner: str  # "": no share's yet
    account: str
    product: str
    currency: str
    lines: int
    billed: Decimal
    places: Mapping[str, Decimal]


def memory_mb(count: int, at_most_mb: int) -> int:
    """What DuckDB is allowed for so many lines: beyond it spills, which costs little as long as it is above that."""
    return min(max(_MEMORY_MIN_MB, count * _MEMORY_A_LINE // 1_000_000), at_most_mb)


def load(
    connection: duckdb.DuckDBPyConnection,
    parts: Sequence[str],
    shares: Sequence[Share],
    cycle: str,
    assignments: Iterable[Assignment] = (),
    waiting: Iterable[str] = (),
) -> None:
    """Make the tables; of accounts of the shares in `waiting`, which are not settled yet, no place is missed."""
    bases = {one.basis for share in shares for one in share.terms}
    _load_bill(connection, parts, bases)
    _load_terms(connection, shares)
    _load_places(connection, shares, cycle)
    _join(connection, bases, assignments, set(waiting))


def _load_bill(connection: duckdb.DuckDBPyConnection, parts: Sequence[str], bases: set[str]) -> None:
    amounts = sorted({column for basis in {"pretax", *bases} for column in _READ[basis]})
    others = [name for name in ("gross", "discount", "round_down", "payment") if name not in amounts]
    columns = ", ".join([*amounts, *(f"NULL::{AMOUNT} AS {name}" for name in others)])
    source = "read_parquet($paths)"
    select = f"SELECT line_id, payer, account, date, product_code, currency, kind, {columns} FROM"
    if not parts:
        names = ("line_id", "payer", "account", "date", "product_code", "currency", "kind", *amounts)
        source = f"(SELECT {', '.join(f'NULL AS {name}' for name in names)} LIMIT 0)"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE billed AS {select} {source}", {"paths": list(parts)} if parts else {}
    )


def _load_terms(connection: duckdb.DuckDBPyConnection, shares: Sequence[Share]) -> None:
    """Make `terms` (the basis of each version) and `rate` (of each share's table)."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE terms (owner VARCHAR, agreement VARCHAR, version INTEGER, basis_name VARCHAR, "
        "pays VARCHAR)"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE rate (owner VARCHAR, billed VARCHAR, pays VARCHAR, rate {_RATE})")
    terms = [(share.owner, one.agreement, one.version, one.basis, one.pays) for share in shares for one in share.terms]
    rates = [(share.owner, *pair, rate) for share in shares for pair, rate in share.rates.items()]
    insert(connection, "terms", terms, 5)
    insert(connection, "rate", rates, 4)


def _load_places(connection: duckdb.DuckDBPyConnection, shares: Sequence[Share], cycle: str) -> None:
    """Make `placement`: of each share and line the basis by place, and the terms that it was counted by."""
    sums = ", ".join(f"sum(basis) FILTER (kind = '{kind}') AS {place}" for kind, place in _KINDS.items())
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE placement (owner VARCHAR, line_id VARCHAR, basis_name VARCHAR, bases INTEGER, "
        f"pays VARCHAR, pieces INTEGER, is_without BOOLEAN, {', '.join(f'{place} {AMOUNT}' for place in PLACED)})"
    )
    kinds = ", ".join(map(quoted, _KINDS))
    for share in shares:
        connection.execute(
            f"""INSERT INTO placement
            WITH lines AS (
                SELECT line_id, min(basis_name) AS basis_name, count(DISTINCT basis_name) AS bases, min(pays) AS pays,
                       count(*) AS pieces, {sums}
                FROM (SELECT s.line_id, s.kind, s.basis, coalesce(t.basis_name, 'pretax') AS basis_name, t.pays
                      FROM read_parquet($lines) s
                      LEFT JOIN terms t ON t.owner = $owner AND t.agreement = s.agreement AND t.version = s.version
                      WHERE s.kind IN ({kinds}) AND s.cycle = $cycle AND s.line_id <> '')
                GROUP BY line_id
            ), held AS (
                SELECT line_id, count(*) AS pieces, sum(basis) AS cases, bool_or(kind = 'missing_value') AS is_without,
                       min(currency) AS pays
                FROM read_parquet($held) WHERE cycle = $cycle GROUP BY line_id
            )
            SELECT $owner, coalesce(l.line_id, h.line_id), l.basis_name, coalesce(l.bases, 0),
                   coalesce(l.pays, h.pays), coalesce(l.pieces, 0) + coalesce(h.pieces, 0),
                   coalesce(h.is_without, false),
                   {", ".join(PLACED)}
            FROM lines l FULL JOIN held h ON h.line_id = l.line_id""",  # noqa: S608
            {"owner": share.owner, "lines": share.lines, "held": share.held, "cycle": cycle},
        )


def _join(
    connection: duckdb.DuckDBPyConnection, bases: set[str], assignments: Iterable[Assignment], waiting: set[str]
) -> None:
    """Make `joined`: of each line that is billed or placed its places, what they should come to, what is wrong.

    `is_plain`: its places are parts of its pretax. A refund in pieces may lie in several shares, which together carry
    it; where these count by several bases or currencies, only the sums of each share can tell.
    """
    connection.execute("CREATE OR REPLACE TEMP TABLE waits (account VARCHAR, begins DATE, ends DATE)")
    mine = [one for one in assignments if (one.reseller or OPERATOR) in waiting]
    insert(connection, "waits", [(one.account, one.begins, one.ends or date.max) for one in mine], 3)
    held = " + ".join(f"coalesce(p.{place}, 0)" for place in PLACED)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE joined AS
        WITH p AS (
            SELECT line_id, min(owner) AS owner, count(*) AS shares, min(basis_name) AS basis_name,
                   count(DISTINCT basis_name) AS names, max(bases) AS bases, min(pays) AS pays,
                   count(DISTINCT pays) AS currencies, CAST(sum(pieces) AS INTEGER) AS pieces,
                   bool_or(is_without) AS is_without,
                   {", ".join(f"CAST(sum({place}) AS {AMOUNT}) AS {place}" for place in PLACED)}
            FROM placement GROUP BY line_id
        ), beside AS (
            SELECT p.* EXCLUDE (line_id, {", ".join(PLACED)}), b.* EXCLUDE (line_id), r.rate,
                   {", ".join(f"p.{place}" for place in PLACED)},
                   coalesce(b.line_id, p.line_id) AS line_id, b.line_id IS NOT NULL AS is_billed,
                   p.line_id IS NOT NULL AS is_placed, {held} AS got,
                   p.line_id IS NULL AND EXISTS (FROM waits w WHERE w.account = b.account
                                                 AND b.date BETWEEN w.begins AND w.ends) AS is_waiting
            FROM billed b FULL JOIN p ON p.line_id = b.line_id
            LEFT JOIN rate r ON r.owner = p.owner AND r.billed = b.currency AND r.pays = p.pays
        ), due AS (
            SELECT *, NOT is_placed OR (rate IS NULL AND names < 2 AND bases < 2 AND (
                          basis_name = 'pretax' OR (basis_name IS NULL AND got = pretax))) AS is_plain,
                   coalesce({_chosen()}, 0) AS own
            FROM beside
        )
        SELECT line_id, coalesce(owner, '') AS owner, coalesce(shares, 0) AS shares, coalesce(account, '') AS account,
               coalesce(product_code, '') AS product_code, coalesce(currency, pays, '') AS billed_in, pretax, got,
               {", ".join(PLACED)}, is_billed, is_placed, is_waiting, is_plain,
               CASE WHEN rate IS NULL THEN coalesce(currency, pays, '') ELSE pays END AS money,
               CASE WHEN rate IS NULL THEN own ELSE {_converted("own")} END AS expected,
               CASE WHEN NOT is_billed THEN '{NO_LINE}'
                    WHEN is_waiting THEN NULL
                    WHEN NOT is_placed THEN '{NOBODYS}'
                    WHEN names > 1 OR bases > 1 OR currencies > 1 OR {_agrees(bases)} THEN NULL
                    WHEN shares > 1 AND got = shares * pretax AND pretax <> 0 THEN '{TWICE}'
                    ELSE '{OTHER_AMOUNT}' END AS problem
        FROM due"""  # noqa: S608
    )


def _chosen() -> str:
    """SQL for a line's amount by the basis that its version names."""
    cases = " ".join(f"WHEN '{name}' THEN {sql}" for name, sql in _BASES.items())
    return f"CASE basis_name {cases} ELSE pretax END"


def _converted(value: str) -> str:
    return f"CAST(round(CAST({value} AS {AMOUNT}) * rate, 10) AS {AMOUNT})"


def _agrees(bases: set[str]) -> str:
    """SQL for whether a line's places come to what it should carry.

    A refund is converted with its charge, piece by piece: each piece may be off by one unit of the last place. A case
    names no version: what it alone holds is the line's amount by one of the bases, converted where a rate was known.
    """
    is_undo = "kind IN ('refund', 'chargeback')"

    def says(value: str) -> str:
        near = f"{is_undo} AND abs(got - {_converted(value)}) <= pieces * {_LAST_PLACE}"
        return f"(got = {_converted(value)} OR ({near}))"

    known = f"CASE WHEN rate IS NULL THEN got = own ELSE {says('own')} END"
    values = [f"coalesce({_BASES[name]}, 0)" for name in sorted({"pretax", *bases})]
    either = " OR ".join(f"got = {value} OR (rate IS NOT NULL AND {says(value)})" for value in values)
    return (
        f"coalesce(CASE WHEN basis_name IS NOT NULL THEN {known} ELSE {either} END OR (is_without AND got = 0), false)"
    )


# -- what was found ---------------------------------------------------------------------------------------------


def groups(connection: duckdb.DuckDBPyConnection) -> list[Group]:
    """What was billed by share, account, product and currency, and where it went; in order.

    A line that its version counts by another basis, or in another currency, stands with its pretax in one place.
    """
    order = ("cases", "settled", "excluded", "direct", "own_use", "netted")
    counted, own = " + ".join(PLACED), [f"coalesce(p.{place}, 0)" for place in PLACED]
    first = {
        place: [f"{place} IS NOT NULL", *(f"{other} IS NULL" for other in order[:n])] for n, place in enumerate(order)
    }
    whole = {place: f"CASE WHEN {' AND '.join(of)} THEN pretax ELSE 0 END" for place, of in first.items()}
    columns = ", ".join(
        f"CASE WHEN is_plain THEN coalesce({place}, 0) WHEN is_billed THEN {whole[place]} ELSE 0 END AS {place}"
        for place in PLACED
    )
    rows = connection.execute(
        f"""WITH one AS (
            SELECT owner, account, product_code, billed_in, line_id, coalesce(pretax, 0) AS billed, {columns},
                   CASE WHEN is_waiting THEN pretax ELSE 0 END AS waiting
            FROM joined WHERE NOT (shares > 1 AND is_plain AND problem IS NULL)
            UNION ALL  -- pieces of one refund in several shares: each with its own
            SELECT p.owner, j.account, j.product_code, j.billed_in, j.line_id, {" + ".join(own)},
                   {", ".join(own)}, 0
            FROM placement p JOIN joined j ON j.line_id = p.line_id
            WHERE j.shares > 1 AND j.is_plain AND j.problem IS NULL
        )
        SELECT owner, account, product_code, billed_in, count(*), sum(billed),
               {", ".join(f"sum({place})" for place in PLACED)}, sum(waiting),
               sum(billed - ({counted}) - waiting)
        FROM one GROUP BY ALL ORDER BY ALL"""  # noqa: S608
    ).fetchall()
    return [
        Group(owner, account, product, currency, count, billed, dict(zip(PLACES, places, strict=True)))
        for owner, account, product, currency, count, billed, *places in rows
    ]


def differences(connection: duckdb.DuckDBPyConnection, limit: int | None = LINES_KEPT) -> list[Difference]:
    """What no place explains, by share, account, product and what is wrong, with the first lines of each."""
    upto = "" if limit is None else f"[1:{limit}]"
    rows = connection.execute(
        f"""SELECT owner, account, product_code, money, problem, sum(got), sum(expected), count(*),
                   list(line_id ORDER BY abs(got - expected) DESC, line_id){upto}
            FROM joined WHERE problem IS NOT NULL
            GROUP BY owner, account, product_code, money, problem, sign(got - expected)
            ORDER BY abs(sum(got - expected)) DESC, 1, 2, 3, 4, 5"""  # noqa: S608
    ).fetchall()
    return [
        Difference(
            BILL if problem == NOBODYS else SETTLEMENT,
            owner,
            f"{account or 'no account'}/{product or '-'}: {_WORDS[problem]}",
            currency,
            got,
            expected,
            lines,
            count,
            problem,
            keys={"account": account, "product": product},
        )
        for owner, account, product, currency, problem, got, expected, count, lines in rows
    ]


def part_sums(connection: duckdb.DuckDBPyConnection, path: str) -> tuple[int, dict[str, dict[str, Decimal]]]:
    """The rows of a day part, and its sums by currency; raises what DuckDB raises where it cannot be read."""
    rows = connection.execute(
        "SELECT currency, count(*), coalesce(sum(gross), 0), coalesce(sum(pretax), 0) FROM read_parquet(?) GROUP BY 1",
        [path],
    ).fetchall()
    return sum(row[1] for row in rows), {row[0]: {"gross": row[2], "pretax": row[3]} for row in rows}


def billed_by_product(connection: duckdb.DuckDBPyConnection) -> dict[tuple[str, str, str, str], Decimal]:
    """The pretax of `billed` by payer, account, product and currency."""
    rows = connection.execute(
        "SELECT payer, account, product_code, currency, sum(pretax) FROM billed GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return {(row[0], row[1], row[2], row[3]): row[4] for row in rows}


def lines_of(
    connection: duckdb.DuckDBPyConnection, group: tuple[str, str, str, str], difference: Decimal, limit: int | None
) -> tuple[list[str], int]:
    """The lines of a payer's account, product and currency; those that are just the difference first."""
    rows = connection.execute(
        """SELECT line_id FROM billed WHERE payer = ? AND account = ? AND product_code IS NOT DISTINCT FROM ?
           AND currency = ? ORDER BY abs(pretax) <> abs(?), abs(pretax) DESC, line_id""",
        [*group, difference],
    ).fetchall()
    ids = [row[0] for row in rows]
    return ids[:limit], len(ids)
