"""The bill lines a settlement reads, each with its owner and version by date, refunds netted.

Tables and views of the connection, in the order they are made: `bill` (lines as billed), `placed` (with owner and
version), `piece` and `unlinked` (refunds and what they undo), `item` (the share's lines, refunds netted).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import Agreement
from shared.agreement.matching import FIELDS
from shared.bill.line import AMOUNT, COLUMNS, ORDER
from shared.columnar import insert, quoted
from shared.cycle import Cycle
from shared.parties.parties import OPERATOR, Assignment
from shared.settlement import refunds

if TYPE_CHECKING:
    import duckdb

# The fields that conditions may read; customer and customer_class come from the parties.
DESCRIPTIVE = tuple(name for name in FIELDS if name not in ("customer", "customer_class"))
_NETTED = ("gross", "discount", "round_down", "payment")  # become net beside pretax
READ = ("line_id", "payer", "date", *DESCRIPTIVE, "pretax", *_NETTED)  # the rest of a line is not loaded
_KEY = (
    "account",
    "product_code",
    "commodity_code",
    "billing_item_code",
    "instance_id",
    "subscription_type",
    "currency",
)
_UNDO = "('refund', 'chargeback')"
_CHARGE = "('usage', 'subscription')"


@dataclass(frozen=True, slots=True)
class Share:
    """Whose lines are settled: a reseller's, or the operator's own and all that no reseller owns."""

    owner: str
    cycle: Cycle
    assignments: Sequence[Assignment]  # of every account, in force in the cycle
    agreements: Sequence[Agreement]  # the owner's versions in force in the cycle


def load_parts(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], share: Share) -> None:
    """Load the lines of the share's accounts from day parts into `bill`."""
    if not paths:
        load_lines(connection, [])
        return
    if share.owner == OPERATOR:
        accounts, condition = _held_throughout(share), "NOT list_contains($accounts::VARCHAR[], account)"
    else:
        accounts, condition = _accounts(share), "account IN (SELECT unnest($accounts::VARCHAR[]))"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE bill AS SELECT {', '.join(READ)} "  # noqa: S608 - names from our own schema
        f"FROM read_parquet($paths) WHERE {condition}",
        {"paths": list(paths), "accounts": sorted(accounts)},
    )


def count_lines(share: Share, lines_of: Iterable[Mapping[str, int]]) -> int:
    """How many lines `load_parts` loads from day parts whose lines of each account these are."""
    is_operator = share.owner == OPERATOR
    accounts = _held_throughout(share) if is_operator else _accounts(share)
    return sum(count for part in lines_of for account, count in part.items() if (account in accounts) != is_operator)


def _accounts(share: Share) -> set[str]:
    return {one.account for one in share.assignments if one.reseller == share.owner}


def load_lines(connection: duckdb.DuckDBPyConnection, lines: Sequence[Mapping[str, Any]]) -> None:
    """Load lines given as mappings of column to value into `bill` (worked examples, tests)."""
    columns = ", ".join(f"{name} {COLUMNS[name]}" for name in READ)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE bill ({columns})")
    rows = [tuple(_plain(line.get(name)) for name in READ) for line in lines]
    insert(connection, "bill", rows, len(READ))


def _plain(value: object) -> object:
    return json.dumps(value) if isinstance(value, dict) else value


def _held_throughout(share: Share) -> set[str]:
    """Accounts that resellers hold on every day of the cycle: nothing of them is the operator's."""
    days: dict[str, int] = {}
    for one in share.assignments:
        if one.reseller is not None:
            begins, ends = max(one.begins, share.cycle.first), min(one.ends or date.max, share.cycle.last)
            days[one.account] = days.get(one.account, 0) + (ends - begins).days + 1
    return {account for account, count in days.items() if count == len(share.cycle.dates())}


def link_refunds(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `piece` and `unlinked`. Only charges of a refunded key are fetched: a few per refund, never the month."""
    connection.execute(f"CREATE OR REPLACE TEMP VIEW undo AS SELECT * FROM placed WHERE kind IN {_UNDO}")  # noqa: S608
    lacking = ", ".join(f"CASE WHEN {sql.format('r')} IS NULL THEN '{name}' END" for name, sql in _BASIS.items())
    key, order = ", ".join(_KEY), ORDER.replace("billed", "pretax")
    same = " AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in _KEY)
    rows = connection.execute(
        f"""SELECT line_id, kind, date, row_number() OVER (ORDER BY {order}), pretax, coalesce(basis_name, 'pretax'),
                   [{lacking}], {", ".join(_NETTED)}, {key}
            FROM (SELECT * FROM undo WHERE pretax <= 0 UNION ALL
                  SELECT * FROM placed c
                  WHERE kind IN {_CHARGE} AND pretax > 0 AND EXISTS (SELECT 1 FROM undo u WHERE {same})) r"""  # noqa: S608
    ).fetchall()
    charges, found = [], []
    for line_id, kind, day, place_, pretax, basis, lacks, *others in rows:
        amounts, line_key = tuple(others[: len(_NETTED)]), tuple(others[len(_NETTED) :])
        if kind in ("usage", "subscription"):
            charges.append(refunds.Charge(line_id, line_key, day, place_, pretax, basis))
        else:
            missing = frozenset(name for name in lacks if name is not None)
            found.append(refunds.Refund(line_id, line_key, day, place_, pretax, amounts, missing))
    _store(connection, refunds.link(charges, found))


def _store(connection: duckdb.DuckDBPyConnection, links: refunds.Links) -> None:
    columns = ", ".join(f"{name} {AMOUNT}" for name in ("pretax", *_NETTED))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE piece (refund VARCHAR, number INTEGER, charge VARCHAR, {columns})"
    )
    rows = [(p.refund, p.number, p.charge, p.pretax, *p.amounts) for p in links.pieces]
    insert(connection, "piece", rows, 4 + len(_NETTED))
    connection.execute("CREATE OR REPLACE TEMP TABLE unlinked (refund VARCHAR, problem VARCHAR)")
    insert(connection, "unlinked", links.cases, 2)
    connection.execute(
        f"INSERT INTO unlinked SELECT line_id, CASE WHEN pretax > 0 THEN '{refunds.SIGN}' ELSE 'missing_value' END "  # noqa: S608
        "FROM undo WHERE pretax > 0 OR pretax IS NULL"
    )


def place(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make the view `placed`: every line with its owner and agreement version, by its own date.

    A line without a version of the share's keeps `number` absent and has the basis pretax.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE assignment "
        "(account VARCHAR, begins DATE, ends DATE, customer VARCHAR, reseller VARCHAR, how VARCHAR)"
    )
    rows = [(a.account, a.begins, a.ends or date.max, a.customer, a.reseller, a.how) for a in share.assignments]
    insert(connection, "assignment", rows, 6)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE version (number INTEGER, agreement VARCHAR, version INTEGER, begins DATE, "
        "ends DATE, pays VARCHAR, currencies VARCHAR[], payers VARCHAR[], basis_name VARCHAR)"
    )
    for number, one in enumerate(share.agreements):
        terms = [number, one.id, one.version, one.begins, one.ends or date.max, one.currency]
        applies = [list(one.currencies), list(one.payers), one.basis]
        connection.execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [*terms, *applies])
    connection.execute(
        """CREATE OR REPLACE TEMP VIEW placed AS
           SELECT b.*, a.customer, a.reseller, a.how, v.number, v.agreement, v.version, v.pays, v.basis_name
           FROM bill b LEFT JOIN assignment a ON a.account = b.account AND b.date BETWEEN a.begins AND a.ends
           LEFT JOIN version v ON b.date BETWEEN v.begins AND v.ends
                AND (len(v.currencies) = 0 OR list_contains(v.currencies, b.currency))
                AND (len(v.payers) = 0 OR list_contains(v.payers, b.payer))"""
    )


def net(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make the view `item`: the share's lines, and every piece of a refund in place of it, refunds netted.

    A piece belongs where its charge belongs (`other_line`), and a netted charge carries what is left of it. `billed`
    is the pretax as billed, `problem` why a refund was not linked.
    """
    amounts = ("pretax", *_NETTED)
    same = ", ".join(f"b.{name}" for name in READ if name not in amounts)
    whose = ", ".join(f"{{0}}.{name}" for name in _WHOSE)
    billed = ", ".join(f"b.{name}" for name in amounts)
    # An amount that is absent stays absent, but for the round-down, which most sources do not carry: that is none.
    left = ", ".join(f"CAST({_left(name)} AS {AMOUNT}) AS {name}" for name in amounts)
    sums = ", ".join(f"sum({name}) AS {name}" for name in amounts)
    cut = ", ".join(f"p.{name}" for name in amounts)
    mine = "{0}.reseller IS NULL" if share.owner == OPERATOR else f"{{0}}.reseller = {quoted(share.owner)}"
    connection.execute(
        f"""CREATE OR REPLACE TEMP VIEW undoing AS
            SELECT p.*, {whose.format("c")}, c.reseller FROM piece p JOIN placed c ON c.line_id = p.charge"""  # noqa: S608
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP VIEW item AS
            WITH netting AS (SELECT charge, {sums} FROM undoing GROUP BY charge)
            SELECT {same}, {left}, b.pretax AS billed, {whose.format("b")}, n.charge IS NOT NULL AS is_netted,
                   false AS is_undo, 0 AS piece, NULL AS other_line, NULL AS problem
            FROM placed b LEFT JOIN netting n ON n.charge = b.line_id
            WHERE b.kind NOT IN {_UNDO} AND {mine.format("b")}
            UNION ALL
            SELECT {same}, {cut}, p.pretax, {whose.format("p")}, false, true, p.number, p.charge, NULL
            FROM undoing p JOIN bill b ON b.line_id = p.refund WHERE {mine.format("p")}
            UNION ALL
            SELECT {same}, {billed}, b.pretax, {whose.format("b")}, false, true, 0, NULL, u.problem
            FROM placed b LEFT JOIN unlinked u ON u.refund = b.line_id
            WHERE b.kind IN {_UNDO} AND b.line_id NOT IN (SELECT refund FROM piece) AND {mine.format("b")}"""  # noqa: S608
    )


def basis_sql(alias: str) -> str:
    """The basis of the row `alias` by `basis_name`, absent where an amount it needs is absent (semantics, basis)."""
    cases = " ".join(f"WHEN '{name}' THEN {sql.format(alias)}" for name, sql in _BASIS.items())
    return f"CASE basis_name {cases} ELSE {alias}.pretax END"


_BASIS = {
    "gross": "{0}.gross",
    "discounted": "{0}.gross - {0}.discount - coalesce({0}.round_down, 0)",
    "pretax": "{0}.pretax",
    "paid": "{0}.payment",
}
_WHOSE = ("customer", "how", "number", "agreement", "version", "pays", "basis_name")


def _left(name: str) -> str:
    own = "coalesce(b.round_down, 0)" if name == "round_down" else f"b.{name}"
    return f"{own} + coalesce(n.{name}, 0)"
