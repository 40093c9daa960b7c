"""Facts with the target that each belongs to: what was directly allocated, what was shared, and what was not at all.

Every fact is there exactly once, or, where it is shared, once for each target that has a share of it; its parts add
up to it in every amount, to the last digit. An amount that is not known stays so in every part.

Who gets which share is found for each shared entry, month of the bill and currency, and for each amount by itself:
`share` reads what of that amount was directly allocated in that month, so a price is never spread by a cost. Usage is
spread as the price is. A target whose direct amount is not above 0 has no share; where none is above 0 all share
evenly. Where there is no target at all, the amount stays unallocated, and names the entry as its rule.

Shares are cut to 18 decimals and add up to 1. Each part is cut towards zero at the last decimal that its column has,
and the units still missing go, one each, to the largest remainders, ties to the first target by UTF-8.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.agreement.matching import Condition, compile_condition, first_met
from shared.bill.line import AMOUNT, QUANTITY
from shared.columnar import insert
from shared.money import EXACT
from shared.report.allocation.mapping import EVEN, FIELDS, TAGS, WEIGHTS, AllocationMapping, Entry, Term
from shared.report.facts import FACT_TYPES, MONEY

if TYPE_CHECKING:
    import duckdb

WHOLE = 10**18  # shares add up to it
_CHUNK = 50_000
_PLACES = {MONEY: 18, QUANTITY: 18, AMOUNT: 10}
_LIKE = {"usage": "price"}  # what is spread as something else is
_SPREAD = ("usage", "list_amount", "price", "cost", "commission")
_UNALLOCATED = ""


def allocate(
    connection: duckdb.DuckDBPyConnection, mapping: AllocationMapping, fact: str = "fact", into: str = "allocated"
) -> None:
    """Make the table `into`: the columns of `fact` (a view of FACT_TYPES), and `target` and `rule`, texts.

    `target` is "" where nothing took the fact; `rule` is the rule or shared entry that did, or whose condition failed
    on it, else "". Months are allocated whole: a fact table that holds a part of a month shares that part alone.
    """
    columns = [str(name) for name, *_ in connection.execute(f"DESCRIBE {fact}").fetchall()]
    shared = _entries(mapping)
    met = _try_distinct(connection, mapping.terms, shared, fact, columns)
    same = " AND ".join(f"v.{name} IS NOT DISTINCT FROM f.{name}" for name in met)
    dated = f"SELECT *, {_day_sql(columns)} AS allocation_day FROM {fact}"  # noqa: S608
    termed = f"SELECT *, {_term_sql(mapping.terms)} AS allocation_term FROM ({dated})"  # noqa: S608
    facts = ", ".join(f"f.{name}" for name in columns)
    joined = "v.term = f.allocation_term" + (f" AND {same}" if same else "")
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE {into} AS
            SELECT {facts}, coalesce(v.target, '') AS target, coalesce(v.rule, '') AS rule, v.share AS allocation_share
            FROM ({termed}) f LEFT JOIN allocation_met v ON {joined}"""  # noqa: S608
    )
    if shared:
        _spread(connection, shared, into, [name for name in _SPREAD if name in columns])
    connection.execute(f"ALTER TABLE {into} DROP COLUMN allocation_share")
    connection.execute("DROP TABLE allocation_met")


# -- who takes what ----------------------------------------------------------------------------------------------------


def _entries(mapping: AllocationMapping) -> dict[tuple[int, str], tuple[int, Entry]]:
    """Every shared entry of every version, with a number."""
    found = {(term.version, one.id): one for term in mapping.terms for one in term.entries if one.split}
    return {name: (number, one) for number, (name, one) in enumerate(found.items())}


def _day_sql(columns: Sequence[str]) -> str:
    """The day a fact counts on: what is of a whole month counts on the month's last."""
    return "coalesce(date, last_day(CAST(cycle || '-01' AS DATE)))" if "date" in columns else "NULL"


def _term_sql(terms: Sequence[Term]) -> str:
    """Which term a day is in, by its place; none: NULL."""
    cases = [
        f"WHEN allocation_day >= DATE '{one.begins}'"
        + ("" if one.ends is None else f" AND allocation_day <= DATE '{one.ends}'")
        + f" THEN {place}"
        for place, one in enumerate(terms)
    ]
    return f"CASE {' '.join(cases)} END" if cases else "CAST(NULL AS INTEGER)"


def _try_distinct(
    connection: duckdb.DuckDBPyConnection,
    terms: Sequence[Term],
    shared: Mapping[tuple[int, str], tuple[int, Entry]],
    fact: str,
    columns: Sequence[str],
) -> list[str]:
    """Make `allocation_met`: who takes each distinct value of the fields that conditions read; those fields."""
    compiled = [[(place, compile_condition(one.when)) for place, one in enumerate(term.entries)] for term in terms]
    read = {name for conditions in compiled for _, one in conditions for name in one.fields}
    fields = [name for name in FIELDS if name in read and name in columns]
    made = ", ".join(["term INTEGER", *(f"{name} VARCHAR" for name in fields)])
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE allocation_met ({made}, target VARCHAR, rule VARCHAR, share INTEGER)"
    )
    dated = f"SELECT *, {_day_sql(columns)} AS allocation_day FROM {fact}"  # noqa: S608
    selected = ", ".join(["allocation_term", *fields])
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE allocation_value AS SELECT *, row_number() OVER () AS place FROM ("  # noqa: S608
        f"SELECT DISTINCT {selected} FROM (SELECT *, {_term_sql(terms)} AS allocation_term FROM ({dated})) "
        "WHERE allocation_term IS NOT NULL)"
    )
    [(count,)] = connection.execute("SELECT count(*) FROM allocation_value").fetchall()
    chunk = "SELECT * EXCLUDE (place) FROM allocation_value WHERE place > ? AND place <= ?"
    for begin in range(0, count, _CHUNK):
        values = connection.execute(chunk, [begin, begin + _CHUNK]).fetchall()
        rows = list(_met(values, fields, terms, compiled, shared))
        insert(connection, "allocation_met", rows, len(fields) + 4)
    connection.execute("DROP TABLE allocation_value")
    return fields


def _met(
    values: Iterable[Sequence[Any]],
    fields: Sequence[str],
    terms: Sequence[Term],
    compiled: Sequence[Sequence[tuple[int, Condition]]],
    shared: Mapping[tuple[int, str], tuple[int, Entry]],
) -> Iterable[tuple[object, ...]]:
    for number, *row in values:
        # What the facts do not have, as a customer's have no reseller, is absent.
        line: dict[str, Any] = {**dict.fromkeys(FIELDS), **dict(zip(fields, row, strict=True))}
        if line[TAGS] is not None:
            line[TAGS] = json.loads(line[TAGS])
        found = first_met(compiled[number], line)
        if found is None:
            continue
        entry = terms[number].entries[found[0]]
        if found[1]:
            yield number, *row, _UNALLOCATED, entry.id, None
        elif entry.split:
            yield number, *row, _UNALLOCATED, entry.id, shared[terms[number].version, entry.id][0]
        else:
            yield number, *row, entry.target_of(line), entry.id, None


# -- what is shared ----------------------------------------------------------------------------------------------------


def shares(weights: Sequence[int]) -> list[int]:
    """Whole parts of WHOLE in proportion to weights, none below 0 and some above; leftovers by largest remainder."""
    total = sum(weights)
    parts = [divmod(weight * WHOLE, total) for weight in weights]
    found = [quotient for quotient, _ in parts]
    largest = sorted(range(len(parts)), key=lambda place: (-parts[place][1], place))
    for place in largest[: WHOLE - sum(found)]:
        found[place] += 1
    return found


def _spread(
    connection: duckdb.DuckDBPyConnection,
    shared: Mapping[tuple[int, str], tuple[int, Entry]],
    into: str,
    amounts: Sequence[str],
) -> None:
    """Replace what shared entries took by its parts."""
    spread_by = sorted({_LIKE.get(name, name) for name in amounts})
    typed = ", ".join(f"s_{name} HUGEINT" for name in spread_by)
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE allocation_share "
        f"(share INTEGER, cycle VARCHAR, currency VARCHAR, target VARCHAR, {typed})"
    )
    direct = _direct(connection, into, spread_by)
    wanted = connection.execute(
        f"SELECT DISTINCT allocation_share, cycle, currency FROM {into} WHERE allocation_share IS NOT NULL ORDER BY ALL"  # noqa: S608
    ).fetchall()
    by_number = dict(shared.values())
    rows = [
        (number, cycle, currency, *row)
        for number, cycle, currency in wanted
        for row in _shares_of(by_number[number], direct.get((cycle, currency), {}), spread_by)
    ]
    insert(connection, "allocation_share", rows, 4 + len(spread_by))
    connection.execute(
        f"""CREATE OR REPLACE TEMP TABLE allocation_part AS
            SELECT row_number() OVER () AS number, f.* FROM {into} f
            WHERE EXISTS (SELECT 1 FROM allocation_share s WHERE s.share = f.allocation_share AND s.cycle = f.cycle
                        AND s.currency IS NOT DISTINCT FROM f.currency)"""  # noqa: S608
    )
    connection.execute(
        f"""DELETE FROM {into} f WHERE EXISTS (SELECT 1 FROM allocation_share s
            WHERE s.share = f.allocation_share AND s.cycle = f.cycle
            AND s.currency IS NOT DISTINCT FROM f.currency)"""  # noqa: S608
    )
    connection.execute(f"INSERT INTO {into} BY NAME {_parts_sql(amounts)}")
    connection.execute("DROP TABLE allocation_part")
    connection.execute("DROP TABLE allocation_share")


def _direct(
    connection: duckdb.DuckDBPyConnection, into: str, amounts: Sequence[str]
) -> dict[tuple[str, str], dict[str, list[Decimal]]]:
    """What was directly allocated: (month, currency) -> target -> its total of each amount."""
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in amounts)
    found: dict[tuple[str, str], dict[str, list[Decimal]]] = {}
    rows = connection.execute(
        f"SELECT cycle, currency, target, {sums} FROM {into} WHERE target <> '' GROUP BY ALL ORDER BY ALL"  # noqa: S608
    ).fetchall()
    for cycle, currency, target, *totals in rows:
        found.setdefault((cycle, currency), {})[target] = [Decimal(one) for one in totals]
    return found


def _shares_of(
    entry: Entry, direct: Mapping[str, Sequence[Decimal]], amounts: Sequence[str]
) -> Iterable[tuple[object, ...]]:
    """The targets that have any share of an entry, and of each amount which, of WHOLE."""
    targets = sorted(entry.to or direct, key=str.encode)
    if not targets:
        return
    nothing = [Decimal(0)] * len(amounts)
    columns = [
        shares(_weights(entry, targets, [direct.get(one, nothing)[place] for one in targets]))
        for place in range(len(amounts))
    ]
    for place, target in enumerate(targets):
        own = [column[place] for column in columns]
        if any(own):
            yield target, *own


def _weights(entry: Entry, targets: Sequence[str], own: Sequence[Decimal]) -> list[int]:
    if entry.split == EVEN:
        return [1] * len(targets)
    if entry.split == WEIGHTS and entry.weights is not None:
        own = [entry.weights[one] for one in targets]
    whole = [max(int(EXACT.scaleb(one, Decimal(18))), 0) for one in own]
    return whole if any(whole) else [1] * len(targets)


def _parts_sql(amounts: Sequence[str]) -> str:
    """The parts of the facts in `allocation_part`, exactly.

    An amount is w + f units of its 18th decimal, and a share s of WHOLE: its part is w × s + f × s ÷ WHOLE units,
    none of which is too large for a whole number of 128 bits.
    """
    split, cut, ranked, parts = [], [], [], []
    for name in amounts:
        share, step = f"s.s_{_LIKE.get(name, name)}", 10 ** (18 - _PLACES[FACT_TYPES[name]])
        plain = f"abs(CAST(p.{name} AS {MONEY}))"
        fraction = f"CAST(({plain} - CAST(trunc({plain}) AS {MONEY})) * {WHOLE} AS HUGEINT)"
        split += [
            f"CAST(trunc({plain}) AS HUGEINT) AS w_{name}, {fraction} AS f_{name}, {share} AS q_{name}",
        ]
        cut.append(
            f"(w_{name} * q_{name} + (f_{name} * q_{name}) // {WHOLE}) AS u_{name}, "
            f"(f_{name} * q_{name}) % {WHOLE} AS r_{name}"
        )
        largest = f"PARTITION BY number ORDER BY u_{name} % {step} DESC, r_{name} DESC, target"
        # The units of all parts together are the amount's own, which may be more than 128 bits hold in the 18th
        # decimal; so what is missing is found from what was cut off: it adds up to whole steps.
        ranked.append(
            f"u_{name} // {step} AS k_{name}, row_number() OVER ({largest}) AS n_{name}, "
            f"(sum(u_{name} % {step}) OVER (PARTITION BY number) + "
            f"sum(r_{name}) OVER (PARTITION BY number) // {WHOLE}) // {step} AS m_{name}"
        )
        units = f"(k_{name} + CASE WHEN n_{name} <= m_{name} THEN 1 ELSE 0 END)"
        places = _PLACES[FACT_TYPES[name]]
        last = f"CAST('{Decimal(1).scaleb(-places):f}' AS DECIMAL(18,{places}))"
        value = (
            f"CAST({units} // {10**places} AS {FACT_TYPES[name]}) + "
            f"CAST(CAST({units} % {10**places} AS DECIMAL(18,0)) * {last} AS {FACT_TYPES[name]})"
        )
        sign = f"CASE WHEN {name} < 0 THEN -1 ELSE 1 END"
        # A part of nothing known is nothing known: units are NULL there.
        parts.append(f"CAST(({value}) * {sign} AS {FACT_TYPES[name]}) AS {name}")
    made, given = ", ".join(parts), ", ".join(f"p.{name}" for name in amounts)
    replaced = ", ".join(f"n.{name} AS {name}" for name in ("target", *amounts))
    # The sorting is of narrow rows; the rest of a fact is joined to its parts afterwards.
    return f"""SELECT p.* EXCLUDE (number) REPLACE ({replaced}) FROM (
        SELECT number, target, {made} FROM (
        SELECT *, {", ".join(ranked)} FROM (
        SELECT *, {", ".join(cut)} FROM (
        SELECT p.number, s.target, {given}, {", ".join(split)}
        FROM allocation_part p JOIN allocation_share s ON s.share = p.allocation_share AND s.cycle = p.cycle
        AND s.currency IS NOT DISTINCT FROM p.currency)))) n JOIN allocation_part p ON p.number = n.number"""  # noqa: S608
