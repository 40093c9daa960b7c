"""Which condition of its version each line meets first, and what that means in each cycle.

Tables, in the order they are made: `line` (every line, with the condition it meets), `meaning` (what a condition says
in a cycle: an exclusion, or how its lines earn).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import CONTRACT_YEAR, PER_MONTH, USAGE, Agreement, Earning, Rule
from shared.agreement.matching import Condition, compile_condition, first_met
from shared.bill.line import AMOUNT
from shared.columnar import insert, quoted
from shared.cycle import Cycle
from shared.settlement.lines import LASTING, UNDO
from shared.settlement.share import Share

if TYPE_CHECKING:
    import duckdb

NEVER = 1_000_000  # more than any document's conditions
_CHUNK = 50_000
EARN_RATE = "DECIMAL(10,8)"
_PLACED = ("customer", "reseller", "how", "number", "agreement", "version", "pays", "rate_to")
_MEANING = {
    "cycle": "VARCHAR",
    "number": "INTEGER",
    "condition": "INTEGER",
    "verdict": "VARCHAR",  # excluded, commission, or no_figure
    "rule": "VARCHAR",
    "because": "VARCHAR",
    "rate": EARN_RATE,
    "fixed": AMOUNT,
    "per": "VARCHAR",
    "is_prorated": "BOOLEAN",
    "counts_zero": "BOOLEAN",
    "scale": "VARCHAR",
    "scope": "VARCHAR",
    "method": "VARCHAR",
    "is_yearly": "BOOLEAN",
    "measure": "VARCHAR",  # of a scale; absent: the basis
    "unit": "VARCHAR",
}


def match(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `line`: every line as placed, with the first condition it meets, if any, and whether that is bad.

    The basis of a line is its version's, or that which its rule names (prices).
    """
    compiled = [[compile_condition(when) for when in one.conditions] for one in share.agreements]
    by_fields: dict[tuple[str, ...], list[tuple[int, int, Condition]]] = {}
    for number, conditions in enumerate(compiled):
        for place, condition in enumerate(conditions):
            by_fields.setdefault(condition.fields, []).append((number, place, condition))
    joins, firsts = [], [str(NEVER)]
    for index, (fields, group) in enumerate(sorted(by_fields.items(), key=lambda one: one[0])):
        table = f"met_{index}"
        _try_distinct(connection, table, fields, group)
        same = "".join(f" AND {table}.{field} IS NOT DISTINCT FROM p.{field}" for field in fields)
        joins.append(f"LEFT JOIN {table} ON {table}.number = p.number AND p.kind NOT IN {UNDO}{same}")
        firsts.append(f"coalesce({table}.first, {NEVER})")
    basis = _basis_of_rules(share.agreements)
    select = ", ".join(f"{name}" for name in (*LASTING, *_PLACED))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE line AS
            SELECT {select}, CASE WHEN first < {NEVER} THEN first // 2 END AS condition, first % 2 = 1 AS is_bad,
                   {basis} AS basis_name
            FROM (SELECT p.*, least({", ".join(firsts)}) AS first FROM placed p {" ".join(joins)})"""  # noqa: S608
    )
    _add_past(connection, share)


def _add_past(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `past`, and add to `line` what refunds may fall on of it, as the kind `past`: nothing else is due for it."""
    types = {
        **dict.fromkeys(("line_id", "account", "customer", "product_code", "commodity_code"), "VARCHAR"),
        **dict.fromkeys(("billing_item_code", "instance_id", "subscription_type", "currency"), "VARCHAR"),
        "date": "DATE",
        "cycle": "VARCHAR",
        "pretax": AMOUNT,
        "left_over": AMOUNT,
        "agreement": "VARCHAR",
        "version": "INTEGER",
        "rule": "VARCHAR",
        "earned": AMOUNT,
        "pays": "VARCHAR",
    }
    columns = ", ".join(f"{name} {type_}" for name, type_ in types.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE past ({columns})")
    if not share.past:
        return
    pays = {one.id: one.currency for one in reversed(share.agreements)}
    same = ("line_id", "account", "customer", "product_code", "commodity_code", "billing_item_code", "instance_id")
    rows = [
        [
            *(
                getattr(one, name)
                for name in (*same, "subscription_type", "currency", "day", "cycle", "pretax", "left")
            ),
            *(one.agreement, one.version, one.rule, one.earned, pays.get(one.agreement, one.currency)),
        ]
        for one in share.past
    ]
    insert(connection, "past", rows, len(types))
    connection.execute(
        f"""INSERT INTO line BY NAME
            SELECT p.* EXCLUDE (left_over, rule, earned), 'past' AS kind, {quoted(share.owner)} AS reseller,
                   'reseller' AS how, r.rate_to, 'pretax' AS basis_name
            FROM past p LEFT JOIN exchange r
            ON r.cycle = p.cycle AND r.currency = p.currency AND r.pays = p.pays"""  # noqa: S608
    )


def _basis_of_rules(agreements: Sequence[Agreement]) -> str:
    """SQL for a line's basis: most rules name none of their own."""
    cases = [
        f"WHEN number = {number} AND first = {2 * place} THEN '{rule.basis}'"
        for number, one in enumerate(agreements)
        for place, rule in enumerate(one.rules, len(one.exclusions))
        if rule.basis
    ]
    return f"CASE {' '.join(cases)} ELSE basis_name END" if cases else "basis_name"


def _try_distinct(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    fields: tuple[str, ...],
    group: Sequence[tuple[int, int, Condition]],
) -> None:
    """Make `table`: the first condition of the group that each distinct value meets, as 2 × its place + is bad.

    Versions often have the same conditions: what a value meets of them is then found once.
    """
    mine: dict[int, list[tuple[int, Condition]]] = {}
    for number, place, condition in group:
        mine.setdefault(number, []).append((place, condition))
    texts = {number: tuple((place, one.when) for place, one in found) for number, found in mine.items()}
    alike = {number: next(other for other in texts if texts[other] == texts[number]) for number in texts}
    columns = ", ".join(["number INTEGER", *(f"{field} VARCHAR" for field in fields), "first INTEGER"])
    connection.execute(f"CREATE OR REPLACE TEMP TABLE {table} ({columns})")
    select = ", ".join(["number", *fields])
    numbers = ", ".join(str(number) for number in sorted(mine))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE distinct_value AS SELECT *, row_number() OVER () AS place "  # noqa: S608
        f"FROM (SELECT DISTINCT {select} FROM placed WHERE number IN ({numbers}) AND kind NOT IN {UNDO})"
    )
    chunk = "SELECT * EXCLUDE (place) FROM distinct_value WHERE place > ? AND place <= ?"
    for begin in range(0, _count(connection, "distinct_value"), _CHUNK):
        values = connection.execute(chunk, [begin, begin + _CHUNK]).fetchall()
        rows: list[tuple[object, ...]] = []
        known: dict[tuple[object, ...], tuple[int, bool] | None] = {}
        for number, *row in values:
            key = (alike[number], *row)
            if key not in known:
                line = {field: _field(field, value) for field, value in zip(fields, row, strict=True)}
                known[key] = first_met(mine[number], line)
            met = known[key]
            if met is not None:
                rows.append((number, *row, 2 * met[0] + met[1]))
        insert(connection, table, rows, len(fields) + 2)


def _count(connection: duckdb.DuckDBPyConnection, table: str) -> int:
    [(count,)] = connection.execute(f"SELECT count(*) FROM {table}").fetchall()  # noqa: S608
    return int(count)


def _field(field: str, value: Any) -> object:
    return json.loads(value) if field == "tags" and value is not None else value


# -- what conditions mean ---------------------------------------------------------------------------------------


def say_meanings(connection: duckdb.DuckDBPyConnection, share: Share) -> None:
    """Make `meaning`: for each cycle and condition, what becomes of the lines that meet it first."""
    rows: list[tuple[object, ...]] = []
    for cycle in share.cycles:
        for number, agreement in enumerate(share.agreements):
            for place, one in enumerate(agreement.exclusions):
                rows.append(_row(cycle, number, place, "excluded", because=one.because))
            for place, rule in enumerate(agreement.rules, len(agreement.exclusions)):
                earning = _effective(share, cycle, agreement, rule)
                rows.append(
                    _row(cycle, number, place, "no_figure", rule=rule.id)
                    if earning is None
                    else _earns(cycle, number, place, agreement, rule, earning)
                )
    columns = ", ".join(f"{name} {type_}" for name, type_ in _MEANING.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE meaning ({columns})")
    insert(connection, "meaning", rows, len(_MEANING))


def _row(cycle: Cycle, number: int, place: int, verdict: str, **more: object) -> tuple[object, ...]:
    given = {"cycle": cycle, "number": number, "condition": place, "verdict": verdict, **more}
    return tuple(given.get(name) for name in _MEANING)


def _earns(
    cycle: Cycle, number: int, place: int, agreement: Agreement, rule: Rule, earning: Earning
) -> tuple[object, ...]:
    scale = agreement.scales[earning.scale] if earning.scale else None
    return _row(
        cycle,
        number,
        place,
        "commission",
        rule=rule.id,
        rate=earning.rate,
        fixed=earning.fixed,
        per=earning.per if earning.fixed is not None else None,
        is_prorated=earning.is_prorated,
        counts_zero=earning.counts_zero,
        scale=scale.id if scale else None,
        scope=scale.scope if scale else None,
        method=scale.method if scale else None,
        is_yearly=scale.over == CONTRACT_YEAR if scale else None,
        measure=(scale.measure or None) if scale else None,
        unit=scale.unit if scale and scale.measure == USAGE else None,
    )


def _effective(share: Share, cycle: Cycle, agreement: Agreement, rule: Rule) -> Earning | None:
    """What lines earn by after the gates of the cycle; None where a figure is missing (semantics, earnings)."""
    earning, gates = rule.earn, 0
    while True:
        if earning.fixed is not None and earning.per in PER_MONTH:
            earning = _last_monthly(share, cycle, agreement, rule, earning, gates)
        gate = earning.gate
        if gate is None:
            return earning
        figure = share.figures.get((gate.figure, str(cycle)))
        if figure is None:
            return None
        if figure >= gate.at_least:
            return earning
        earning, gates = gate.otherwise, gates + 1


def _last_monthly(
    share: Share, cycle: Cycle, agreement: Agreement, rule: Rule, earning: Earning, gates: int
) -> Earning:
    """A once-a-month amount is that of the last version begun by the cycle's end that has it, the whole of it."""
    for version in reversed(share.begun(cycle)[agreement.id]):
        same = version.rule(rule.id)
        stages = [] if same is None else list(same.earn.stages())
        if len(stages) > gates and stages[gates].fixed is not None and stages[gates].per == earning.per:
            return stages[gates]
    return earning
