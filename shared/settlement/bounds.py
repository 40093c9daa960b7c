"""Caps and floors: lines of their own, never a changed line (semantics, bounds).

Tables: `bound_line`, `bound_share` (how much of a bound line fell on each charge) and `earner` (each line that earns,
with all its commission). What fell on each charge is found only where something depends on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from shared.agreement.agreement import BOUND_SCOPES, CONTRACT_YEAR, LINE, Agreement, Bound
from shared.bill.line import ORDER
from shared.columnar import insert, quoted
from shared.cycle import Cycle
from shared.settlement.earnings import EARNED, EARNERS
from shared.settlement.lines import CHARGE
from shared.settlement.refunds import in_proportion
from shared.settlement.share import Share

if TYPE_CHECKING:
    import duckdb

# Of what a scope of each width is made, the wider ones' first: a narrower scope's key begins with the wider one's.
_KEYS = {
    "line": ("customer", "account", "instance_id", "line_id"),
    "instance": ("customer", "account", "instance_id"),
    "customer": ("customer",),
    "reseller": (),
}
_WIDEST = _KEYS["line"]
_LINE = (
    f"cycle VARCHAR, turn INTEGER, kind VARCHAR, agreement VARCHAR, version INTEGER, rule VARCHAR, customer VARCHAR, "
    f"account VARCHAR, instance_id VARCHAR, line_id VARCHAR, product_code VARCHAR, amount {EARNED}"
)
_SHARE = f"cycle VARCHAR, turn INTEGER, agreement VARCHAR, owner VARCHAR, line_id VARCHAR, part {EARNED}"


@dataclass(frozen=True, slots=True)
class _InForce:
    """A bound, whose it is, and when its turn comes: from narrow to wide, rules first, caps first."""

    rule: str | None
    bound: Bound
    version: Agreement

    @property
    def turn(self) -> int:
        return 4 * BOUND_SCOPES.index(self.bound.scope) + 2 * (self.rule is None) + (self.bound.kind == "floor")

    @property
    def members(self) -> str:
        """SQL for the lines it is about."""
        of = f"agreement = {quoted(self.version.id)}"
        return of if self.rule is None else f"{of} AND rule = {quoted(self.rule)}"


def bind(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `bound_line` and `bound_share`, cycle by cycle, narrow scopes first."""
    connection.execute("DROP TABLE IF EXISTS earner")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE bound_line ({_LINE})")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE bound_share ({_SHARE})")
    if not _has_bounds(share):
        return
    unshared: dict[str, list[tuple[Cycle, _InForce]]] = {}  # by agreement: bounds whose lines are not shared out yet
    for cycle in share.cycles:
        for id_, versions in share.begun(cycle).items():
            waiting = unshared.setdefault(id_, [])
            for one in sorted(_in_force(versions), key=lambda one: (one.turn, one.rule or "")):
                if one.rule is not None and any(earlier.rule is None for _, earlier in waiting):
                    _share_out(connection, waiting)
                _bind(connection, share, cycle, id_, one)
                if one.bound.kind == "floor":
                    _keep_earning(connection, share, cycle, one, waiting)
                waiting.append((cycle, one))
            if _is_taken_back(connection, cycle, id_):
                _share_out(connection, waiting)


def _has_bounds(share: Share) -> bool:
    return any(one.bounds or any(rule.bounds for rule in one.rules) for one in share.agreements)


def _share_out(connection: duckdb.DuckDBPyConnection, waiting: list[tuple[Cycle, _InForce]]) -> None:
    """Share the lines of all bounds that wait for it, in the order in which they were bound."""
    gather(connection)
    for cycle, one in waiting:
        _spread(connection, cycle, one)
    waiting.clear()


def gather(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `earner`, if it is not there yet: each line that rules own, with all that it earns by them."""
    connection.execute(
        f"""CREATE TEMP TABLE IF NOT EXISTS earner AS
            SELECT i.cycle, i.line_id, i.agreement, i.version, i.number, i.rule, i.customer, i.account, i.instance_id,
                   i.product_code, i.commodity_code, i.billing_item_code, i.date, i.billed, i.pretax, i.money,
                   i.kind IN {CHARGE} AS is_charge, i.per, c.amount AS commission,
                   i.fixed IS NOT NULL AND i.per <> 'usage_unit' AND i.is_counted AS is_fixed
            FROM item i JOIN (SELECT cycle, line_id, CAST(sum(amount) AS {EARNED}) AS amount FROM commission
                              GROUP BY cycle, line_id) c ON c.cycle = i.cycle AND c.line_id = i.line_id
            WHERE {EARNERS}"""  # noqa: S608
    )


def _in_force(versions: Sequence[Agreement]) -> Iterator[_InForce]:
    """The last version's bounds; for a rule it no longer has, those of the last version that had the rule."""
    for bound in versions[-1].bounds:
        yield _InForce(None, bound, versions[-1])
    for id_ in sorted({rule.id for version in versions for rule in version.rules}):
        last = [version for version in versions if version.rule(id_) is not None][-1]
        rule = last.rule(id_)
        for bound in rule.bounds if rule else ():
            yield _InForce(id_, bound, last)


def _span(share: Share, cycle: Cycle, one: _InForce) -> str:
    """The cycles that a bound adds up, as an SQL list."""
    id_ = one.version.id
    if one.bound.over != CONTRACT_YEAR:
        return quoted(str(cycle))
    year = share.year(id_, cycle)
    return ", ".join(quoted(str(c)) for c in share.cycles if c <= cycle and share.year(id_, c) == year)


def _bind(connection: duckdb.DuckDBPyConnection, share: Share, cycle: Cycle, id_: str, one: _InForce) -> None:
    """Write the lines of a bound in a cycle: one for each scope that it changes."""
    bound, keys = one.bound, _KEYS[one.bound.scope]
    is_yearly = bound.over == CONTRACT_YEAR
    if bound.kind == "floor" and is_yearly and not share.is_last_of_year(id_, cycle):
        return
    cycles = _span(share, cycle, one)
    same = " AND ".join(f"s.{key} IS NOT DISTINCT FROM b.{key}" for key in keys) or "true"
    cap = f"least(0, {bound.amount} - total - coalesce(bound, 0)) - coalesce(before, 0)"
    floor = f"greatest(0, {bound.amount} - total - coalesce(bound, 0))"
    others = ", ".join(f"s.{key}" if key in keys else f"NULL AS {key}" for key in _WIDEST)
    product = "any_value(product_code)" if bound.scope == LINE else "NULL"
    connection.execute(
        f"""
        INSERT INTO bound_line
        WITH sums AS (
            SELECT {"".join(f"{key}, " for key in keys)} sum(amount) AS total, {product} AS product_code
            FROM commission WHERE {one.members} AND cycle IN ({cycles})
            GROUP BY {"".join(f"{key}, " for key in keys)} 1 = 1
        ), bound AS (
            SELECT {"".join(f"{key}, " for key in keys)} sum(amount) AS bound
            FROM ({_earlier(one, cycles)}) GROUP BY ALL
        ), drawn AS (
            SELECT {"".join(f"{key}, " for key in keys)} sum(amount) AS before FROM bound_line
            WHERE turn = {one.turn} AND {_of(one)} AND rule IS NOT DISTINCT FROM {_text(one.rule)}
              AND cycle IN ({cycles}) AND cycle <> {quoted(str(cycle))} GROUP BY ALL
        ), found AS (
            SELECT s.*, CAST({cap if bound.kind == "cap" else floor} AS {EARNED}) AS amount
            FROM sums s LEFT JOIN bound b ON {same}
            LEFT JOIN drawn d ON {same.replace("b.", "d.")}
        )
        SELECT {quoted(str(cycle))}, {one.turn}, '{bound.kind}', {quoted(one.version.id)}, {one.version.version},
               {_text(one.rule)}, {others}, s.product_code, s.amount
        FROM found s WHERE s.amount <> 0"""  # noqa: S608
    )


def _keep_earning(
    connection: duckdb.DuckDBPyConnection,
    share: Share,
    cycle: Cycle,
    one: _InForce,
    waiting: list[tuple[Cycle, _InForce]],
) -> None:
    """Of a floor's lines keep those in whose scope a member earned more than 0, with what fell on it before."""
    cycles = _span(share, cycle, one)
    mine = f"turn = {one.turn} AND {_of(one)} AND rule IS NOT DISTINCT FROM {_text(one.rule)}"
    mine += f" AND cycle = {quoted(str(cycle))}"
    same = "".join(f" AND {{0}}.{key} IS NOT DISTINCT FROM b.{key}" for key in _KEYS[one.bound.scope])
    within = f"l.turn < {one.turn} AND l.{_of(one)} AND l.cycle IN ({cycles}){same.format('l')}"
    found = connection.execute(
        f"SELECT bool_or(EXISTS (SELECT 1 FROM bound_line l WHERE {within})) FROM bound_line b WHERE {mine}"  # noqa: S608
    ).fetchall()
    if found[0][0] is None:
        return
    if found[0][0]:
        _share_out(connection, waiting)
    line = ", ".join(f"e.{key}" for key in _WIDEST)
    drawn = f"(SELECT * FROM bound_line b WHERE {mine})"  # noqa: S608
    connection.execute(
        f"""DELETE FROM bound_line b WHERE {mine} AND NOT EXISTS (
                SELECT 1 FROM (
                    SELECT {line} FROM commission e SEMI JOIN {drawn} b ON true{same.format("e")}
                    LEFT JOIN (
                        SELECT cycle, line_id, sum(part) AS part FROM bound_share WHERE turn < {one.turn} AND {_of(one)}
                        GROUP BY cycle, line_id) p ON p.cycle = e.cycle AND p.line_id = e.line_id
                    WHERE e.{one.members.replace(" AND rule", " AND e.rule")} AND e.cycle IN ({cycles})
                    GROUP BY e.cycle, {line}, p.part HAVING sum(e.amount) + coalesce(p.part, 0) > 0) e
                WHERE true{same.format("e")})"""  # noqa: S608
    )


def _earlier(one: _InForce, cycles: str) -> str:
    """Of bound lines as wide or narrower whose turn was before: what belongs to the sum of the bound's scope.

    Of a line of the agreement, a rule's sum holds what fell on the rule's own charges; otherwise the two bounds would
    take the same amount twice.
    """
    keys = ", ".join(_WIDEST)
    mine = f"SELECT {keys}, amount FROM bound_line WHERE turn < {one.turn} AND {_of(one)} AND cycle IN ({cycles})"  # noqa: S608
    if one.rule is None:
        return mine
    shares = (
        f"SELECT {', '.join(f'e.{key}' for key in _WIDEST)}, p.part FROM bound_share p "  # noqa: S608
        "JOIN item e ON e.cycle = p.cycle AND e.line_id = p.line_id "
        f"WHERE p.turn < {one.turn} AND p.owner = '' AND p.agreement = {quoted(one.version.id)} "
        f"AND e.rule = {quoted(one.rule)} AND p.cycle IN ({cycles})"
    )
    return f"{mine} AND rule = {quoted(one.rule)} UNION ALL {shares}"


def _spread(connection: duckdb.DuckDBPyConnection, cycle: Cycle, one: _InForce) -> None:
    """Share the bound's lines of the cycle among its charges that earned above 0 so far."""
    keys = _KEYS[one.bound.scope]
    same = "".join(f" AND b.{key} IS NOT DISTINCT FROM e.{key}" for key in keys)
    rows = connection.execute(
        f"""WITH spread AS (
                SELECT line_id, sum(part) AS part FROM bound_share
                WHERE turn < {one.turn} AND {_of(one)} AND cycle = {quoted(str(cycle))} GROUP BY line_id
            ), line AS (
                SELECT *, row_number() OVER () AS place FROM bound_line
                WHERE turn = {one.turn} AND {_of(one)} AND rule IS NOT DISTINCT FROM {_text(one.rule)}
                  AND cycle = {quoted(str(cycle))}
            )
            SELECT place, amount, line_id, so_far FROM (
                SELECT b.place, b.amount, e.*, e.commission + coalesce(p.part, 0) AS so_far
                FROM line b JOIN earner e ON e.{one.members.replace(" AND rule", " AND e.rule")}
                    AND e.cycle = {quoted(str(cycle))} AND e.is_charge{same}
                LEFT JOIN spread p ON p.line_id = e.line_id)
            WHERE so_far > 0 ORDER BY place, {ORDER}"""  # noqa: S608
    ).fetchall()
    found: list[tuple[object, ...]] = []
    for (_, amount), group in groupby(rows, key=lambda row: (row[0], row[1])):
        bearing = list(group)
        parts = in_proportion(amount, [so_far for *_, so_far in bearing])
        found += [
            (cycle, one.turn, one.version.id, one.rule or "", row[2], part)
            for row, part in zip(bearing, parts, strict=True)
            if part != 0
        ]
    insert(connection, "bound_share", found, 6)


def _of(one: _InForce) -> str:
    return f"agreement = {quoted(one.version.id)}"


def _text(value: str | None) -> str:
    return "CAST(NULL AS VARCHAR)" if value is None else quoted(value)


def _is_taken_back(connection: duckdb.DuckDBPyConnection, cycle: Cycle, id_: str) -> bool:
    """Whether something of the agreement's charges of the cycle is taken back: then it matters what fell on each."""
    return bool(
        connection.execute(
            "SELECT 1 FROM piece p JOIN commission e ON e.line_id = p.charge "
            "WHERE NOT p.is_netted AND e.cycle = ? AND e.agreement = ? LIMIT 1",
            [str(cycle), id_],
        ).fetchall()
    )
