"""The bill lines a settlement reads, each with its owner, version and exchange rate by date.

Tables of the connection, in the order they are made: `bill` (lines as billed), `line` (with owner and version, and the
condition of its version that it meets first).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from shared.agreement.matching import FIELDS, compile_condition
from shared.bill.line import AMOUNT, COLUMNS
from shared.bill.normalise import line_id_sql
from shared.columnar import insert
from shared.parties.parties import held_throughout
from shared.settlement.share import Share

if TYPE_CHECKING:
    import duckdb

# The fields that conditions may read; customer and customer_class come from the parties.
DESCRIPTIVE = tuple(name for name in FIELDS if name not in ("customer", "customer_class"))
NETTED = ("gross", "discount", "round_down", "payment", "usage")  # become net beside pretax
READ = (
    *("line_id", "payer", "cycle", "date", "service_from", "service_until", *DESCRIPTIVE, "pretax", *NETTED),
    *("usage_unit", "record_id", "related_record"),
)  # the rest of a line is not loaded
UNDO = "('refund', 'chargeback')"
CHARGE = "('usage', 'subscription')"
RATE = "DECIMAL(18,10)"  # of exchange
REFUND_KEY = (
    *("account", "product_code", "commodity_code", "billing_item_code", "instance_id", "subscription_type"),
    "currency",  # the last: a refund of a record must at least be in its currency
)
# What is still needed of a line once its condition is known.
LASTING = tuple(name for name in READ if name not in DESCRIPTIVE or name in ("kind", *REFUND_KEY))


def load_parts(
    connection: duckdb.DuckDBPyConnection,
    paths: Sequence[str],
    share: Share,
    others: Callable[[], Sequence[str]] = list,
) -> None:
    """Load the lines of the share's accounts from the day parts of the cycles that are looked at into `bill`.

    Where there are refunds, or cycles that are compared, what these need of `others`, the day parts of all other cycles
    that are known, is added.
    """
    if not paths:
        load_lines(connection, [])
        return
    condition, accounts = _whose_sql(share)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE bill AS SELECT {_read_sql(share)} "  # noqa: S608 - names from our own schema
        f"FROM read_parquet($paths) WHERE {condition}",
        {"paths": list(paths), "accounts": accounts},
    )
    is_asked = bool(share.compared)
    if is_asked or connection.execute(f"SELECT 1 FROM bill WHERE kind IN {UNDO} LIMIT 1").fetchall():  # noqa: S608
        add_reaching(connection, others(), share)


def add_reaching(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], share: Share) -> None:
    """Add to `bill` what other day parts have of refunds, and of the charges that any refund may fall on."""
    if not paths:
        return
    condition, accounts = _whose_sql(share)
    of_share = f"read_parquet($paths) p WHERE {condition}"
    given = {"paths": list(paths), "accounts": accounts}
    read, key = _read_sql(share), ", ".join(REFUND_KEY)
    connection.execute(f"INSERT INTO bill SELECT {read} FROM {of_share} AND kind IN {UNDO}", given)  # noqa: S608
    link_by_hand(connection, share)
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE asked AS SELECT DISTINCT {key} FROM bill WHERE kind IN {UNDO}"""  # noqa: S608
    )
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE named AS
            SELECT DISTINCT payer, related_record, {line_id_sql("payer", "related_record")} AS line FROM bill
            WHERE kind IN {UNDO} AND related_record IS NOT NULL"""  # noqa: S608
    )
    same = " AND ".join(f"a.{name} IS NOT DISTINCT FROM p.{name}" for name in REFUND_KEY)
    of_record = "n.related_record = p.record_id AND n.payer IS NOT DISTINCT FROM p.payer"
    connection.execute(
        f"""INSERT INTO bill SELECT {read} FROM (SELECT * FROM {of_share} AND kind IN {CHARGE}) p
            WHERE EXISTS (FROM asked a WHERE {same}) OR EXISTS (FROM named n WHERE {of_record})
               OR p.line_id IN (SELECT line FROM named) OR p.line_id IN (SELECT charge FROM by_hand)""",  # noqa: S608
        given,
    )


def link_by_hand(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `by_hand`: the charges that people have linked refunds to. Such a refund names its charge, whatever record
    it named before."""
    connection.execute("CREATE OR REPLACE TEMP TABLE by_hand (refund VARCHAR, charge VARCHAR)")
    if share.links:
        insert(connection, "by_hand", [(one.refund, one.charge) for one in share.links], 2)
        connection.execute(
            f"UPDATE bill SET related_record = '=' || h.charge FROM by_hand h "  # noqa: S608
            f"WHERE bill.line_id = h.refund AND kind IN {UNDO}"
        )


def has_refunds(connection: duckdb.DuckDBPyConnection, paths: Sequence[str], share: Share) -> bool:
    """Whether the share has a refund in one of the day parts."""
    if not paths:
        return False
    condition, accounts = _whose_sql(share)
    found = connection.execute(
        f"SELECT 1 FROM read_parquet($paths) WHERE {condition} AND kind IN {UNDO} LIMIT 1",  # noqa: S608
        {"paths": list(paths), "accounts": accounts},
    )
    return bool(found.fetchall())


def differ(
    connection: duckdb.DuckDBPyConnection, these: Sequence[str], those: Sequence[str], accounts: Iterable[str]
) -> bool:
    """Whether day parts have other lines of these accounts than others have."""
    columns = ", ".join(READ)
    mine = f"SELECT {columns} FROM read_parquet({{0}}) WHERE account IN (SELECT unnest($accounts::VARCHAR[]))"  # noqa: S608
    none = f"SELECT {', '.join(f'NULL::{COLUMNS[name]}' for name in READ)} WHERE false"
    given = {"accounts": sorted(accounts), **({"these": list(these)} if these else {})}
    given |= {"those": list(those)} if those else {}
    left, right = (mine.format(f"${name}") if name in given else none for name in ("these", "those"))
    other = f"({left} EXCEPT ALL {right}) UNION ALL ({right} EXCEPT ALL {left})"
    found = connection.execute(f"SELECT 1 FROM ({other}) LIMIT 1", given)  # noqa: S608
    return bool(found.fetchall())


def _read_sql(share: Share) -> str:
    """The columns of a line; what conditions alone may read, and none of the share's does, is left absent."""
    asked = {field for one in share.agreements for when in one.conditions for field in compile_condition(when).fields}
    return ", ".join(name if name in asked or name in LASTING else f"NULL::{COLUMNS[name]} AS {name}" for name in READ)


def _whose_sql(share: Share) -> tuple[str, list[str]]:
    """SQL that a line is of an account that the share may hold, and the value of its parameter `accounts`."""
    condition = "NOT list_contains($accounts::VARCHAR[], account)"
    if not share.is_operators:
        condition = "account IN (SELECT unnest($accounts::VARCHAR[]))"
    return condition, sorted(_accounts(share))


def count_lines(share: Share, lines_of: Iterable[Mapping[str, int]]) -> int:
    """How many lines `load_parts` loads from day parts whose lines of each account these are."""
    accounts, is_operator = _accounts(share), share.is_operators
    return sum(count for part in lines_of for account, count in part.items() if (account in accounts) != is_operator)


def _accounts(share: Share) -> set[str]:
    """The accounts of a reseller's share; for the operator's, those of which nothing is the operator's."""
    if share.is_operators:
        return held_throughout(share.assignments, share.known)
    return {one.account for one in share.assignments if one.reseller == share.owner}


def load_lines(connection: duckdb.DuckDBPyConnection, lines: Sequence[Mapping[str, Any]]) -> None:
    """Load lines given as mappings of column to value into `bill` (worked examples, tests)."""
    columns = ", ".join(f"{name} {COLUMNS[name]}" for name in READ)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE bill ({columns})")
    rows = [tuple(_plain(line, name) for name in READ) for line in lines]
    insert(connection, "bill", rows, len(READ))


def _plain(line: Mapping[str, Any], name: str) -> object:
    value = line.get(name)
    if name == "cycle" and value is None:
        return str(line["date"])[:7]
    return json.dumps(value) if isinstance(value, dict) else value


def place(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make the view `placed`: every line with its owner, agreement version and exchange rate, by its own date.

    `number` is that of a version of the share's own; a line without any version has the basis pretax. `rate_to` is
    absent where the line is in the currency of its version, or where no rate is known (`pays` tells them apart).
    """
    link_by_hand(connection, share)
    _say_whose(connection, share)
    connection.execute(
        """CREATE OR REPLACE TEMP TABLE whose AS
           SELECT d.*, a.customer, a.reseller, a.how, c.name AS customer_class,
                  v.number, v.agreement, v.version, v.pays, v.basis_name, r.rate_to
           FROM (SELECT DISTINCT cycle, date, account, payer, currency FROM bill) d
           LEFT JOIN assignment a ON a.account = d.account AND d.date BETWEEN a.begins AND a.ends
           LEFT JOIN class c ON c.customer = a.customer AND d.date BETWEEN c.begins AND c.ends
           LEFT JOIN version v ON v.reseller = a.reseller AND d.date BETWEEN v.begins AND v.ends
                AND (len(v.currencies) = 0 OR list_contains(v.currencies, d.currency))
                AND (len(v.payers) = 0 OR list_contains(v.payers, d.payer))
           LEFT JOIN exchange r ON r.cycle = d.cycle AND r.currency = d.currency AND r.pays = v.pays"""
    )
    # A day's lines of an account differ in nothing that says whose they are: they are placed together.
    connection.execute(
        """CREATE OR REPLACE TEMP VIEW placed AS
           SELECT b.*, w.* EXCLUDE (cycle, date, account, payer, currency) FROM bill b JOIN whose w
           ON w.cycle = b.cycle AND w.date = b.date AND w.account = b.account AND w.currency = b.currency
              AND w.payer IS NOT DISTINCT FROM b.payer"""
    )


def _say_whose(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """The tables that `whose` is made of."""
    days = "begins DATE, ends DATE"
    tables: Mapping[str, tuple[str, Sequence[Sequence[object]]]] = {
        "assignment": (
            f"account VARCHAR, {days}, customer VARCHAR, reseller VARCHAR, how VARCHAR",
            [(a.account, a.begins, a.ends or date.max, a.customer, a.reseller, a.how) for a in share.assignments],
        ),
        "class": (
            f"customer VARCHAR, {days}, name VARCHAR",
            [(c.customer, c.begins, c.ends or date.max, c.name) for c in share.classes],
        ),
        "exchange": (
            f"cycle VARCHAR, currency VARCHAR, pays VARCHAR, rate_to {RATE}",
            [(*of, rate) for of, rate in share.rates.items()],
        ),
    }
    for name, (columns, rows) in tables.items():
        connection.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({columns})")
        insert(connection, name, rows, len(columns.split(", ")))
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE version (number INTEGER, reseller VARCHAR, agreement VARCHAR, version INTEGER, "
        f"{days}, pays VARCHAR, currencies VARCHAR[], payers VARCHAR[], basis_name VARCHAR)"
    )
    for number, one in [*enumerate(share.agreements), *((None, one) for one in share.others)]:
        terms = [number, one.reseller, one.id, one.version, one.begins, one.ends or date.max, one.currency]
        applies = [list(one.currencies), list(one.payers), one.basis]
        connection.execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [*terms, *applies])


def amount_sql(alias: str, name: str) -> str:
    """An amount of the row `alias` in the bill's currency, absent where one it needs is absent (semantics, basis)."""
    # A source that names no round-down rounded nothing down.
    return _AMOUNTS[name].format(alias)


def basis_sql(alias: str) -> str:
    """The basis of the row `alias` by `basis_name`, in the bill's currency."""
    cases = " ".join(f"WHEN '{name}' THEN {amount_sql(alias, name)}" for name in _AMOUNTS)
    return f"CASE {alias}.basis_name {cases} ELSE {alias}.pretax END"


def converted_sql(alias: str, value: str) -> str:
    """`value` of the row `alias` at its exchange rate, **Q**; as it is where there is none."""
    at_rate = f"round(CAST({value} AS {AMOUNT}) * {alias}.rate_to, 10)"  # DuckDB rounds halves away from zero
    return f"CASE WHEN {alias}.rate_to IS NULL THEN {value} ELSE CAST({at_rate} AS {AMOUNT}) END"


_AMOUNTS = {
    "gross": "{0}.gross",
    "discounted": "{0}.gross - {0}.discount - coalesce({0}.round_down, 0)",
    "pretax": "{0}.pretax",
    "paid": "{0}.payment",
}
BASES = tuple(_AMOUNTS)
