"""A file of others beside the figures that it is about: lines settled, statements, the bill, or what was paid.

The file is read elsewhere, by a map that says which column is what; here are its rows, and what they are held against.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

from shared.columnar import connect, quoted
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.money import EXACT, total
from shared.parties.parties import OPERATOR
from shared.reconciliation import tolerance
from shared.reconciliation.difference import LINES_KEPT, ZERO, Difference
from shared.reconciliation.expecting import MISSING_HERE, Key, Matched, Ours, Theirs, match
from shared.services import Services
from shared.steps import results, state
from shared.steps.inputs import Kept
from shared.steps.reconciling import published
from shared.steps.reconciling.gathering import Gathered, gather, snapshots_of

SETTLEMENT, STATEMENTS, BILL, PAYOUTS = "settlement", "statements", "bill", "payouts"
# What a file may be held against: the names that its key may have, and what its amounts may be (the first by default).
KEYS: Mapping[str, Sequence[str]] = {
    SETTLEMENT: ("reseller", "agreement", "customer", "product", "rule", "account", "line"),
    STATEMENTS: ("reseller", "agreement", "customer", "product", "rule"),
    BILL: ("payer", "account", "product", "instance", "line", "kind"),
    PAYOUTS: ("instruction", "reseller", "agreement"),
}
AMOUNTS: Mapping[str, Sequence[str]] = {
    SETTLEMENT: ("amount", "basis"),
    STATEMENTS: ("amount", "total", "tax", "payable"),
    BILL: ("pretax", "gross", "payment", "tax"),
    PAYOUTS: ("instructed", "confirmed"),
}
_OF_WHOLE = ("total", "tax", "payable")  # of a statement, not of a line of it
KINDS = ("debit", "credit", "debit adjustment", "credit adjustment")  # of a provider's invoice
_COLUMNS: Mapping[str, str] = {
    "line": "line_id",
    "product": "product_code",
    "instance": "instance_id",
    # Charges are debits and what undoes them credits; what the provider corrects of other months adjusts either.
    "kind": "CASE WHEN kind = 'adjustment' THEN CASE WHEN pretax < 0 THEN 'credit adjustment' ELSE 'debit adjustment' "
    "END WHEN kind IN ('refund', 'chargeback', 'credit') THEN 'credit' ELSE 'debit' END",
}


@dataclass(frozen=True, slots=True)
class Question:
    """What a file says it is: its name for policies, what it is held against, by which key, which amount."""

    name: str
    against: str
    keys: Sequence[str]
    amount: str


def asked(name: str, against: str, keys: Sequence[str], amount: str | None) -> Question:
    """The question of a map, or BadInputError where what it is held against has no such key or amount."""
    allowed, amounts = KEYS[against], AMOUNTS[against]
    wrong = [key for key in keys if key not in allowed]
    if wrong or not keys:
        problem = f"has no {' and no '.join(wrong)}" if wrong else "needs a key"
        raise BadInputError(f"against: {against}", problem, f"name columns for {', '.join(allowed)}")
    chosen = amount or amounts[0]
    if chosen not in amounts:
        raise BadInputError("amount_is", f"is {chosen!r}", f"{against} has {', '.join(amounts)}")
    if chosen in _OF_WHOLE and against == STATEMENTS and set(keys) - {"reseller", "agreement"}:
        raise BadInputError(
            "amount_is", f"{chosen} is of whole statements", "name them by reseller and agreement alone"
        )
    return Question(name, against, tuple(keys), chosen)


def compare(
    services: Services,
    gathered: Gathered,
    question: Question,
    rows: Sequence[Theirs],
    reseller: str = "",
    limit: int | None = LINES_KEPT,
) -> Matched:
    """Match a file's rows with our figures of the cycle, of one reseller or all; policies explain what they may."""
    ours = figures(services, gathered, question, reseller, limit)
    found = match(question.name, question.keys, rows, ours, gathered.cycle, owner=reseller)
    if any(one.reason == MISSING_HERE for one in found.differences):
        elsewhere = _elsewhere(services, gathered.cycle, question, rows, reseller)
        if elsewhere:
            found = match(question.name, question.keys, rows, ours, gathered.cycle, elsewhere, reseller)
    found.differences = [_with_lines(services, gathered, question, one, reseller, limit) for one in found.differences]
    found.differences = tolerance.explain(found.differences, gathered.policies, question.name)
    found.differences.sort(key=lambda one: (-abs(one.amount), one.what))
    return found


def _elsewhere(
    services: Services, cycle: str, question: Question, rows: Sequence[Theirs], reseller: str
) -> dict[Key, str]:
    """Keys that the month before or after has with just the amount that the rows say."""
    sums: dict[tuple[Key, str], Decimal] = {}
    for row in rows:
        sums[row.key, row.currency] = EXACT.add(sums.get((row.key, row.currency), ZERO), row.amount)
    found = {}
    for step in (1, -1):
        other = str(Cycle.parse(cycle).plus(step))
        for one in figures(services, gather(services, other), question, reseller, 0):
            if sums.get((one.key, one.currency)) == one.amount:
                found[one.key] = other
    return found


# -- our figures ------------------------------------------------------------------------------------------------


def figures(services: Services, gathered: Gathered, question: Question, reseller: str, limit: int | None) -> list[Ours]:
    """What we have by the question's key and currency."""
    if question.against == BILL:
        return list(_of_bill(services, gathered, question, reseller, limit))
    if question.against == PAYOUTS:
        return _added(_of_payouts(services, gathered, question, reseller))
    if question.against == STATEMENTS:
        return _added(_of_statements(services, gathered, question, reseller))
    return [one for kept in _settlements(gathered, reseller) for one in _of_lines(services, kept, question, limit)]


def _settlements(gathered: Gathered, reseller: str) -> list[Kept]:
    """The settlements that count: the locked one of each reseller, else its newest."""
    return [
        Kept(gathered.cycle, look.owner, str(look.month.settlement))
        for look in gathered.looks
        if look.owner != OPERATOR and reseller in ("", look.owner)
    ]


def _of_bill(
    services: Services, gathered: Gathered, question: Question, reseller: str, limit: int | None
) -> Iterator[Ours]:
    """The lines of the newest seals; of one reseller those of its accounts on its days."""
    snapshots = snapshots_of(services, gathered).values()
    paths = [str(state.local_part(services, one.part_key(day))) for one in snapshots for day in one.parts]
    if not paths:
        return
    mine = "true"
    if reseller:
        held = [one for one in gathered.parties.in_cycle(Cycle.parse(gathered.cycle)) if one.reseller == reseller]
        spans = [
            f"(account = {quoted(one.account)} AND date BETWEEN '{one.begins}' AND '{one.ends or '9999-12-31'}')"
            for one in held
        ]
        mine = " OR ".join(spans) or "false"
    keys = ", ".join(f"coalesce({_COLUMNS.get(key, key)}, '')" for key in question.keys)
    upto = "" if limit is None else f"[1:{limit}]"
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        rows = connection.execute(
            f"""SELECT [{keys}], currency, coalesce(sum({question.amount}), 0), coalesce(sum(round_down), 0), count(*),
                       list(line_id ORDER BY abs(pretax) DESC, line_id){upto}
                FROM read_parquet(?) WHERE {mine} GROUP BY 1, 2""",  # noqa: S608
            [paths],
        ).fetchall()
    for key, currency, amount, rounded_down, count, lines in rows:
        yield Ours(tuple(key), currency, amount, rounded_down, lines, count)


def _of_lines(services: Services, kept: Kept, question: Question, limit: int | None) -> Iterator[Ours]:
    columns = {**_COLUMNS, "reseller": quoted(kept.owner)}
    keys = ", ".join(f"coalesce({columns.get(key, key)}, '')" for key in question.keys)
    kinds = "kind = 'commission'" if question.amount == "basis" else "amount <> 0 OR kind = 'commission'"
    upto = "" if limit is None else f"[1:{limit}]"
    with (
        TemporaryDirectory(dir=services.scratch) as folder,
        connect(services.scratch, services.memory_mb, services.threads) as connection,
    ):
        path = Path(folder) / results.LINES
        services.buckets.work.download(kept.folder + results.LINES, path)
        rows = connection.execute(
            f"""SELECT [{keys}], currency, sum({question.amount}), count(*),
                       list(DISTINCT line_id ORDER BY line_id){upto}
                FROM read_parquet(?) WHERE {kinds} GROUP BY 1, 2""",  # noqa: S608
            [str(path)],
        ).fetchall()
    for key, currency, amount, count, lines in rows:
        yield Ours(tuple(key), currency, amount, ZERO, [line for line in lines if line], count)


def _of_statements(
    services: Services, gathered: Gathered, question: Question, reseller: str
) -> Iterator[tuple[Key, str, Decimal, int]]:
    for kept in _settlements(gathered, reseller):
        for one in kept.summary(services)["statements"]:
            named = {"reseller": kept.owner, "agreement": one["agreement"]}
            if question.amount in _OF_WHOLE:
                key = tuple(named[name] for name in question.keys)
                yield key, one["currency"], Decimal(one[question.amount]), 0
                continue
            for line in one["lines"]:
                key = tuple({**line, **named}[name] for name in question.keys)
                yield key, one["currency"], Decimal(line["amount"]), line["lines"]


def _of_payouts(
    services: Services, gathered: Gathered, question: Question, reseller: str
) -> Iterator[tuple[Key, str, Decimal, int]]:
    for one in published.read(services, gathered).payments:
        if reseller not in ("", one.reseller):
            continue
        _, _, agreement = one.instruction.split(".", 2)
        named = {"instruction": one.instruction, "reseller": one.reseller, "agreement": agreement}
        amount = one.instructed
        if question.amount == "confirmed":
            if one.state != "confirmed" or one.answered is None:
                continue
            amount = one.answered
        yield tuple(named[name] for name in question.keys), one.currency, amount, 0


def _added(found: Iterable[tuple[Key, str, Decimal, int]]) -> list[Ours]:
    sums: dict[tuple[Key, str], list[tuple[Decimal, int]]] = {}
    for key, currency, amount, count in found:
        sums.setdefault((key, currency), []).append((amount, count))
    return [
        Ours(key, currency, total([one[0] for one in of]), count=sum(one[1] for one in of))
        for (key, currency), of in sums.items()
    ]


# -- the lines behind them --------------------------------------------------------------------------------------


def _with_lines(
    services: Services, gathered: Gathered, question: Question, one: Difference, reseller: str, limit: int | None
) -> Difference:
    """A difference to a statement with the bill lines behind what we have of its key."""
    if question.against != STATEMENTS or one.ours is None or one.lines:
        return one
    keys = {name: value for name, value in one.keys.items() if name != "reseller"}
    owner = one.keys.get("reseller", reseller)
    where = " AND ".join(f"coalesce({_COLUMNS.get(name, name)}, '') = ?" for name in keys) or "true"
    found: list[str] = []
    with (
        TemporaryDirectory(dir=services.scratch) as folder,
        connect(services.scratch, services.memory_mb, services.threads) as connection,
    ):
        for kept in _settlements(gathered, owner):
            path = Path(folder) / f"{kept.owner}.parquet"
            services.buckets.work.download(kept.folder + results.LINES, path)
            rows = connection.execute(
                f"SELECT DISTINCT line_id FROM read_parquet(?) WHERE {where} AND line_id <> '' "  # noqa: S608
                "AND kind NOT IN ('netted', 'excluded') ORDER BY line_id",
                [str(path), *keys.values()],
            ).fetchall()
            found += [row[0] for row in rows]
    return replace(one, lines=found[:limit], count=len(found))


def period(text: str) -> str:
    """A month as `YYYY-MM`, from what files write of it; BadInputError where that is none."""
    digits = "".join(sign for sign in text if sign.isdigit())
    year, month = digits[:4], digits[4:6]
    return str(Cycle.parse(f"{year}-{month}")) if len(digits) >= len("YYYYMM") else str(Cycle.parse(text))
