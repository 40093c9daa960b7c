"""Differences of what is due for locked cycles to what was posted for them (semantics, adjustments).

Table: `posted`, handed in: the lines of earlier settlements that are due for a cycle that is looked back to.
"""

from __future__ import annotations

from shared.columnar import quoted
from shared.settlement.share import Share

# What differences are taken by: an adjustment keeps the kind it corrects.
COMPARED = (
    *("cycle", "line_id", "agreement", "rule", "version", "band", "customer", "product_code", "account"),
    *("instance_id", "currency"),
)
NOTCOMPARED = ("holdback", "release")


def differences_sql(share: Share) -> str:
    """SQL for what is due less what was posted: (the compared columns, kind, date, amount), each not 0."""
    cycles = ", ".join(quoted(str(cycle)) for cycle in share.compared)
    names = ", ".join(COMPARED)
    kind = "CASE WHEN kind = 'adjustment' THEN corrects ELSE kind END"
    counted = f"cycle IN ({cycles}) AND approved IS NULL AND kind NOT IN ({', '.join(map(quoted, NOTCOMPARED))})"
    return f"""
        SELECT {names}, corrects, min(date) AS date, sum(amount) AS amount FROM (
            SELECT {names}, {kind} AS corrects, date, amount FROM due WHERE {counted}
            UNION ALL SELECT {names}, {kind}, date, -amount FROM posted WHERE {counted})
        GROUP BY {names}, corrects HAVING sum(amount) <> 0"""  # noqa: S608


def because_sql(share: Share) -> str:
    """SQL for why a cycle was looked back to."""
    whens = " ".join(f"WHEN {quoted(cycle)} THEN {quoted(why)}" for cycle, why in share.reached_by.items())
    return f"'due less posted' || CASE cycle {whens} ELSE '' END" if whens else "'due less posted'"
