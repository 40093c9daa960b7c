"""The bill lines a settlement reads, and each of them mapped to its owner by date, refunds netted.

Tables of the connection, in the order they are made: `bill` (lines as billed), `piece` and `unlinked` (refunds
and what they undo), `item` (every line, and every piece of a refund in place of it, with its customer).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import duckdb

from shared.agreement.agreement import Agreement
from shared.bill.line import AMOUNT, COLUMNS, ORDER
from shared.columnar import insert, quoted
from shared.cycle import Cycle
from shared.parties.parties import OPERATOR, Assignment
from shared.settlement import refunds

# The fields that conditions may read; customer and customer_class come from the parties.
DESCRIPTIVE = (
    "kind",
    "subscription_type",
    "order_type",
    "product_code",
    "commodity_code",
    "billing_item_code",
    "region",
    "zone",
    "instance_id",
    "instance_spec",
    "resource_group",
    "cost_unit",
    "tags",
    "currency",
    "account",
)
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
        accounts = {one.account for one in share.assignments if one.reseller == share.owner}
        condition = "account IN (SELECT unnest($accounts::VARCHAR[]))"
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE bill AS SELECT {', '.join(READ)} "  # noqa: S608 - names from our own schema
        f"FROM read_parquet($paths) WHERE {condition}",
        {"paths": list(paths), "accounts": sorted(accounts)},
    )


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
    connection.execute(f"CREATE OR REPLACE TEMP VIEW undo AS SELECT * FROM bill WHERE kind IN {_UNDO}")  # noqa: S608
    key, order = ", ".join(_KEY), ORDER.replace("billed", "pretax")
    same = " AND ".join(f"u.{name} IS NOT DISTINCT FROM c.{name}" for name in _KEY)
    rows = connection.execute(
        f"""SELECT line_id, kind, date, row_number() OVER (ORDER BY {order}), pretax, {", ".join(_NETTED)}, {key}
            FROM (SELECT * FROM undo WHERE pretax <= 0 UNION ALL
                  SELECT * FROM bill c
                  WHERE kind IN {_CHARGE} AND pretax > 0 AND EXISTS (SELECT 1 FROM undo u WHERE {same}))"""  # noqa: S608
    ).fetchall()
    first_key = 5 + len(_NETTED)
    charges, found = [], []
    for line_id, kind, day, place, pretax, *others in rows:
        amounts, line_key = tuple(others[: first_key - 5]), tuple(others[first_key - 5 :])
        if kind in ("usage", "subscription"):
            charges.append(refunds.Charge(line_id, line_key, day, place, pretax))
        else:
            found.append(refunds.Refund(line_id, line_key, day, place, pretax, amounts))
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
        f"INSERT INTO unlinked SELECT line_id, '{refunds.SIGN}' FROM undo WHERE pretax > 0"  # noqa: S608
    )


def map_items(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `item`: a piece belongs where its charge belongs, and a netted charge carries what is left of it.

    `mapped` is the date that decides owner and version, `billed` the pretax as billed, `other_line` the charge
    that a piece undoes, `problem` why a refund was not linked.
    """
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE assignment "
        "(account VARCHAR, begins DATE, ends DATE, customer VARCHAR, reseller VARCHAR, how VARCHAR)"
    )
    rows = [(a.account, a.begins, a.ends or date.max, a.customer, a.reseller, a.how) for a in share.assignments]
    insert(connection, "assignment", rows, 6)
    amounts = ("pretax", *_NETTED)
    same = ", ".join(f"b.{name}" for name in READ if name not in amounts)
    billed = ", ".join(f"b.{name}" for name in amounts)
    # A charge without an amount stays without it; a refund without one takes nothing from it (semantics, basis).
    net = ", ".join(f"CAST(b.{name} + coalesce(n.{name}, 0) AS {AMOUNT}) AS {name}" for name in amounts)
    sums = ", ".join(f"sum({name}) AS {name}" for name in amounts)
    cut = ", ".join(f"p.{name}" for name in amounts)
    owner = "a.reseller IS NULL" if share.owner == OPERATOR else f"a.reseller = {quoted(share.owner)}"
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP VIEW item AS
        WITH netting AS (SELECT charge, {sums} FROM piece GROUP BY charge),
        placed AS (
            SELECT {same}, {net}, b.pretax AS billed, n.charge IS NOT NULL AS is_netted, false AS is_undo,
                   0 AS piece, NULL AS other_line, b.date AS mapped, NULL AS problem
            FROM bill b LEFT JOIN netting n ON n.charge = b.line_id WHERE b.kind NOT IN {_UNDO}
            UNION ALL
            SELECT {same}, {cut}, p.pretax, false, true, p.number, p.charge, c.date, NULL
            FROM piece p JOIN bill b ON b.line_id = p.refund JOIN bill c ON c.line_id = p.charge
            UNION ALL
            SELECT {same}, {billed}, b.pretax, false, true, 0, NULL, b.date, u.problem
            FROM undo b LEFT JOIN unlinked u ON u.refund = b.line_id
            WHERE b.line_id NOT IN (SELECT refund FROM piece)
        )
        SELECT i.*, a.customer, a.how
        FROM placed i LEFT JOIN assignment a ON a.account = i.account AND i.mapped BETWEEN a.begins AND a.ends
        WHERE {owner}"""  # noqa: S608
    )
