"""What refunds that are not netted take back of what their charges earned (semantics, refunds).

Table: `taken_back` (a row for each piece of a refund that takes something back).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.bill.line import ORDER
from shared.columnar import insert
from shared.money import EXACT, total
from shared.settlement import bounds
from shared.settlement.earnings import EARNED
from shared.settlement.refunds import quotient

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class _Charge:
    """A charge that earned something, or shared in what was earned once for several."""

    line_id: str
    group: str | None  # of a fixed amount: what it is earned once for
    earned: Decimal
    net: Decimal  # pretax after netting


@dataclass(frozen=True, slots=True)
class _Taken:
    """A piece that is not netted; in order of cycle, then of refund."""

    refund: str
    number: int
    charge: str
    pretax: Decimal  # below 0


def take_back(connection: duckdb.DuckDBPyConnection) -> None:
    """Make `taken_back`."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE taken_back (refund VARCHAR, number INTEGER, charge VARCHAR, amount {EARNED})"
    )
    connection.execute(
        """CREATE OR REPLACE TEMP VIEW charged AS
           SELECT line_id, agreement, version, customer, product_code, money, cycle, rule FROM item
           UNION ALL SELECT line_id, agreement, version, customer, product_code, pays, cycle, rule FROM past"""
    )
    _take_past(connection)
    pieces = _pieces(connection, "commission")
    if not pieces:
        return
    bounds.gather(connection)
    charges = _charges(connection)
    # What is earned by a line alone is a group of one.
    group_of = {charge.line_id: charge.group or charge.line_id for charge in charges}
    charges_of: dict[str, list[_Charge]] = {}
    for charge in charges:
        charges_of.setdefault(group_of[charge.line_id], []).append(charge)
    pieces_of: dict[str, list[_Taken]] = {}
    for piece in pieces:
        pieces_of.setdefault(group_of[piece.charge], []).append(piece)
    found: list[tuple[object, ...]] = []
    for name, group in charges_of.items():
        found += _in_proportion(group[0], pieces_of[name]) if group[0].group is None else _whole(group, pieces_of[name])
    insert(connection, "taken_back", found, 4)


def _take_past(connection: duckdb.DuckDBPyConnection) -> None:
    """Of charges of before the opening: in proportion, going on from what was taken back there."""
    rows = connection.execute("SELECT line_id, earned, pretax, pretax - left_over FROM past").fetchall()
    if not rows:
        return
    pieces = _pieces(connection, "past")
    found: list[tuple[object, ...]] = []
    for line_id, earned, pretax, before in rows:
        mine = [one for one in pieces if one.charge == line_id]
        found += _in_proportion(_Charge(line_id, None, earned, pretax), mine, before)
    insert(connection, "taken_back", found, 4)


def _pieces(connection: duckdb.DuckDBPyConnection, of: str) -> list[_Taken]:
    order = ORDER.replace("billed", "u.pretax").replace("line_id", "u.line_id")
    rows = connection.execute(
        f"""SELECT p.refund, p.number, p.charge, p.pretax FROM piece p JOIN line u ON u.line_id = p.refund
            WHERE NOT p.is_netted AND p.charge IN (SELECT line_id FROM {of})
            ORDER BY u.cycle, {order}, p.number"""  # noqa: S608
    ).fetchall()
    return [_Taken(*row) for row in rows]


def _charges(connection: duckdb.DuckDBPyConnection) -> list[_Charge]:
    """The charges that pieces fall on, and all that share a fixed amount with one of them."""
    group = (
        "CASE WHEN is_fixed THEN concat_ws(chr(31), cycle, agreement, rule, per, CASE per WHEN 'line' THEN line_id "
        "WHEN 'customer_month' THEN coalesce(customer, chr(30)) "
        "ELSE account || chr(31) || coalesce(instance_id, chr(30)) END) END"
    )
    rows = connection.execute(
        f"""WITH grouped AS (SELECT *, {group} AS group_ FROM earner),
            reached AS (SELECT line_id, group_ FROM grouped
                        WHERE line_id IN (SELECT charge FROM piece WHERE NOT is_netted))
            SELECT g.line_id, group_, commission + coalesce(b.part, 0) + coalesce(r.part, 0), pretax FROM grouped g
            LEFT JOIN (SELECT cycle, line_id, sum(part) AS part FROM bound_share GROUP BY ALL) b
            ON b.cycle = g.cycle AND b.line_id = g.line_id
            LEFT JOIN (SELECT of_cycle, line_id, sum(part) AS part FROM retroactive GROUP BY ALL) r
            ON r.of_cycle = g.cycle AND r.line_id = g.line_id
            WHERE g.line_id IN (SELECT line_id FROM reached) OR group_ IN (SELECT group_ FROM reached)
            ORDER BY g.line_id"""  # noqa: S608
    ).fetchall()
    return [_Charge(*row) for row in rows]


def _in_proportion(
    charge: _Charge, pieces: Sequence[_Taken], taken: Decimal = Decimal(0)
) -> Iterator[tuple[object, ...]]:
    """**Q** of the running sum, and all of it once nothing is left."""

    def due(taken: Decimal) -> Decimal:
        return charge.earned if taken == charge.net else quotient(charge.earned, taken, charge.net)

    for piece in pieces:
        before, taken = taken, EXACT.subtract(taken, piece.pretax)
        amount = EXACT.subtract(due(taken), due(before) if before else Decimal(0))
        if amount != 0:
            yield piece.refund, piece.number, piece.charge, -amount


def _whole(group: Sequence[_Charge], pieces: Sequence[_Taken]) -> Iterator[tuple[object, ...]]:
    """A fixed amount comes back with the refund that leaves nothing of the lines it was earned for."""
    left = {charge.line_id: charge.net for charge in group}
    standing = left.keys() - {piece.charge for piece in pieces}
    if standing:
        return  # something was never refunded, so the amount stands
    amount = total([charge.earned for charge in group])
    for piece in pieces:
        left[piece.charge] = EXACT.add(left[piece.charge], piece.pretax)
        if amount != 0 and not any(left.values()):
            yield piece.refund, piece.number, piece.charge, -amount
            return
