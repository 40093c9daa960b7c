"""The lines of a settlement's statements, and how each was rounded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.money import text, total
from shared.steps.explaining.kept import ContradictionError, Facts, Kept, decided, standing_on
from shared.steps.explaining.years import adjusting

if TYPE_CHECKING:
    from shared.settlement.statement import Statement


def lines_with(kept: Kept, rows: Sequence[Facts]) -> list[Facts]:
    """The statement lines that the settlement lines are part of."""
    names = ("customer", "product_code", "rule")
    groups = {(one["agreement"], *(one[name] or "" for name in names), one["version"], one["kind"]) for one in rows}
    return [
        told
        for statement in statements_of(kept)
        if any(group[0] == statement.agreement for group in groups)
        for told in statement_lines(
            kept,
            statement,
            [
                place
                for place, one in enumerate(statement.lines)
                if (statement.agreement, one.customer, one.product, one.rule, one.version, one.kind) in groups
            ],
        )
    ]


def statements_of(kept: Kept) -> list[Statement]:
    """The statements of a settlement."""
    from shared.settlement.statement import parse_statement

    return [parse_statement(one) for one in kept.summary["statements"]]


def statement_id(statement: Statement, cycle: str, place: int) -> str:
    """How a statement line is named: its agreement, its cycle, and its place in the statement, from 1."""
    return f"{statement.agreement}/{cycle}/{place + 1}"


def statement_lines(kept: Kept, statement: Statement, places: Sequence[int]) -> Iterator[Facts]:
    """Lines of a statement with how they were rounded: the whole once, then spread by largest remainder."""
    from shared.money import rounded, spread

    version = kept.begun(statement.agreement)[-1]
    exacts: dict[str, list[Decimal]] = {}
    for one in statement.lines:
        exacts.setdefault(one.customer, []).append(Decimal(one.exact))
    sums = {customer: total(found) for customer, found in exacts.items()}
    exact = total(list(sums.values()))
    whole = rounded(exact, version.places, version.mode)
    shares = dict(zip(sums, spread(whole, list(sums.values()), version.places), strict=True))
    for place in places:
        mine = statement.lines[place]
        first = next(at for at, one in enumerate(statement.lines) if one.customer == mine.customer)
        amount = spread(shares[mine.customer], exacts[mine.customer], version.places)[place - first]
        id_ = statement_id(statement, kept.cycle, place)
        if (whole, amount) != (Decimal(statement.total), Decimal(mine.amount)):
            raise ContradictionError(f"statement line {id_}", amount, mine.amount)
        yield {
            "id": id_,
            "customer": mine.customer,
            "product": mine.product,
            "rule": mine.rule,
            "version": mine.version,
            "kind": mine.kind,
            "lines": mine.lines,
            "basis": text(Decimal(mine.basis)),
            "exact": text(Decimal(mine.exact)),
            "amount": mine.amount,
            "currency": statement.currency,
            "customer_exact": text(sums[mine.customer]),
            "customer_amount": text(shares[mine.customer]),
            "total_exact": text(exact),
            "total": statement.total,
            "places": version.places,
            "mode": version.mode.value,
        }


def adjusted_months(kept: Kept, where: str, given: Facts) -> list[Facts]:
    """The months that adjustments are of, what of them is adjusted and why, and the settlements that are corrected."""
    query = f"""SELECT cycle, corrects, coalesce(approved, '') AS approved, count(*) AS lines, sum(amount) AS amount
                FROM {kept.source()} WHERE {where} GROUP BY ALL ORDER BY ALL"""  # noqa: S608
    found = []
    for row in kept.ask(query, **given):
        cycle, settlements = row["cycle"], []
        if cycle in kept.looked_back:
            settlements = [standing_on(kept, cycle).named(), *(one.named() for one in adjusting(kept, cycle))]
        told = {"cycle": cycle, "corrects": row["corrects"], "lines": row["lines"], "amount": text(row["amount"])}
        if row["approved"]:
            by_hand = {"proposal": row["approved"], **decided(kept.entries, row["approved"])}
            cause = next(one[4] for one in kept.manifest["adjustments"] if one[0] == row["approved"])
            found.append({**told, "why": cause, "settlements": [], "decision": by_hand})
        else:
            found.append({**told, "why": kept.looked_back.get(cycle), "settlements": settlements})
    return found
