"""A settlement's files against its summary, and the summary's own sums: statement lines, kinds, what cases hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from shared.columnar import insert
from shared.money import total
from shared.reconciliation.difference import FIGURES, LINES_KEPT, SETTLEMENT, ZERO, Difference
from shared.settlement.statement import SHOWN_NOT

if TYPE_CHECKING:
    import duckdb

_ABSENT = ("agreement", "customer", "product_code", "rule")
_KEY = ("agreement", "customer", "product_code", "rule", "version", "kind", "currency")
_KEY_SQL = (
    ", ".join(f"coalesce({one}, '') AS {one}" for one in _ABSENT) + ", coalesce(version, 0) AS version, kind, currency"
)
Key = tuple[str, str, str, str, int, str, str]
Sums = tuple[int, Decimal, Decimal]  # lines, basis, amount


# -- the summary by itself --------------------------------------------------------------------------------------


def of_summary(summary: Mapping[str, Any], owner: str) -> list[Difference]:
    """Where a summary's own figures do not add up: I8 says that each statement is the sum of its lines."""
    found = []
    for one in summary["statements"]:
        found += list(statement_sums(one, owner, FIGURES))
    by_kind: dict[tuple[str, str], Decimal] = {}
    for one in summary["statements"]:
        for line in one["lines"]:
            key = (line["kind"], one["currency"])
            by_kind[key] = total([by_kind.get(key, ZERO), Decimal(line["exact"])])
    kinds = {(one["kind"], one["currency"]): Decimal(one["amount"]) for one in summary["kinds"]}
    for kind, currency in sorted(by_kind.keys() | kinds.keys()):
        ours, theirs = by_kind.get((kind, currency), ZERO), kinds.get((kind, currency), ZERO)
        if ours != theirs:
            what = f"{kind}: the statements' lines do not come to what the settlement has of the kind"
            found.append(Difference(FIGURES, owner, what, currency, ours, theirs, reason="amount"))
    return found


def statement_sums(statement: Mapping[str, Any], owner: str, check: str) -> Iterator[Difference]:
    """Where a statement is not the sum of its lines, or its payable not its total with or without its tax."""
    name, currency = f"statement {statement['agreement']}", statement["currency"]
    for of_line, of_all in (("exact", "exact"), ("amount", "total")):
        lines, whole = total([Decimal(line[of_line]) for line in statement["lines"]]), Decimal(statement[of_all])
        if lines != whole:
            what = f"{name}: its lines do not come to its {of_all}"
            yield Difference(check, owner, what, currency, lines, whole, reason="amount")
    whole, tax, payable = (Decimal(statement[one]) for one in ("total", "tax", "payable"))
    if payable not in (whole, total([whole, tax])):
        what = f"{name}: what is payable is neither its total nor that with tax"
        yield Difference(check, owner, what, currency, payable, whole, reason="amount")


# -- its files --------------------------------------------------------------------------------------------------


def of_files(
    connection: duckdb.DuckDBPyConnection,
    owner: str,
    lines: str,
    held: str,
    summary: Mapping[str, Any],
    limit: int | None = LINES_KEPT,
) -> list[Difference]:
    """Where the lines and cases of a settlement do not come to what its summary says, group by group."""
    sums = {(*row[:7],): row[7:] for row in _sums(connection, lines)}
    found = [*_of_statements(sums, summary, owner), *_of_kinds(sums, summary, owner)]
    named = _causes(connection, lines, [key for key, _ in found], limit)
    told = [_with_lines(one, *named.get(key, ([], 0))) for key, one in found]
    return [*told, *_rates(connection, owner, lines, limit), *_of_cases(connection, owner, held, summary, limit)]


def _sums(connection: duckdb.DuckDBPyConnection, lines: str) -> list[Any]:
    return connection.execute(
        f"SELECT {_KEY_SQL}, count(*), sum(basis), sum(amount) FROM read_parquet(?) "  # noqa: S608
        "GROUP BY ALL ORDER BY ALL",
        [lines],
    ).fetchall()


def _of_statements(
    sums: Mapping[Key, Sums], summary: Mapping[str, Any], owner: str
) -> Iterator[tuple[Key, Difference]]:
    said: dict[Key, Sums] = {}
    for one in summary["statements"]:
        for line in one["lines"]:
            named = (line["customer"], line["product"], line["rule"], line["version"], line["kind"])
            said[(one["agreement"], *named, one["currency"])] = (
                line["lines"],
                Decimal(line["basis"]),
                Decimal(line["exact"]),
            )
    shown = {key for key in sums if key[0] and key[5] not in SHOWN_NOT}
    for key in sorted(shown | said.keys()):
        ours, theirs = sums.get(key, (0, ZERO, ZERO)), said.get(key, (0, ZERO, ZERO))
        yield from _apart(key, ours, theirs, owner, _worded(key))


def _of_kinds(sums: Mapping[Key, Sums], summary: Mapping[str, Any], owner: str) -> Iterator[tuple[Key, Difference]]:
    """What no statement shows: by kind and currency alone."""
    ours: dict[tuple[str, str], list[Sums]] = {}
    for key, one in sums.items():
        if not key[0] or key[5] in SHOWN_NOT:
            ours.setdefault((key[5], key[6]), []).append(one)
    stated = {(line["kind"], one["currency"]) for one in summary["statements"] for line in one["lines"]}
    said = {
        (one["kind"], one["currency"]): (one["lines"], Decimal(one["basis"]), Decimal(one["amount"]))
        for one in summary["kinds"]
    }
    for kind, currency in sorted(ours.keys() | (said.keys() - stated)):
        counts = ours.get((kind, currency), [])
        mine = (sum(one[0] for one in counts), total([one[1] for one in counts]), total([one[2] for one in counts]))
        key = ("", "", "", "", 0, kind, currency)
        yield from _apart(key, mine, said.get((kind, currency), (0, ZERO, ZERO)), owner, kind)


def _apart(key: Key, ours: Sums, theirs: Sums, owner: str, what: str) -> Iterator[tuple[Key, Difference]]:
    keys = {name: str(value) for name, value in zip(_KEY, key, strict=True) if value}
    for name, mine, said in (("amount", ours[2], theirs[2]), ("basis", ours[1], theirs[1])):
        if mine != said:
            words = f"{what}: the {name} of its lines is not what the summary says"
            yield key, Difference(SETTLEMENT, owner, words, key[6], mine, said, reason=name, keys=keys)
    if ours[0] != theirs[0] and ours[1:] == theirs[1:]:
        words = f"{what}: {ours[0]:,} lines, the summary says {theirs[0]:,}"
        yield key, Difference(SETTLEMENT, owner, words, key[6], reason="lines", keys=keys)


def _worded(key: Key) -> str:
    agreement, customer, product, rule, version, kind, _ = key
    return f"{agreement} version {version}, {'/'.join(filter(None, (customer, product, rule))) or '-'}, {kind}"


def _causes(
    connection: duckdb.DuckDBPyConnection, lines: str, keys: Sequence[Key], limit: int | None
) -> dict[Key, tuple[list[str], int]]:
    """The bill lines of groups: first those whose amount is not their basis times their rate, then those that cannot
    be told by themselves (fixed amounts, bounds), then the rest."""
    if not keys:
        return {}
    typed = ", ".join(f"{name} {'INTEGER' if name == 'version' else 'VARCHAR'}" for name in _KEY)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE wanted ({typed})")
    insert(connection, "wanted", list(dict.fromkeys(keys)), len(_KEY))
    same = " AND ".join(f"s.{name} = w.{name}" for name in _KEY)
    upto = "" if limit is None else f"[1:{limit}]"
    rows = connection.execute(
        f"""WITH s AS (SELECT {_KEY_SQL}, line_id, rate IS NULL AS is_loose, amount <> basis * rate AS is_wrong
                       FROM read_parquet(?) WHERE line_id <> '')
            SELECT {", ".join(f"w.{name}" for name in _KEY)}, count(DISTINCT line_id),
                   list(line_id ORDER BY coalesce(is_wrong, false) DESC, is_loose DESC, line_id){upto}
            FROM s JOIN wanted w
              ON {same} OR (w.agreement = '' AND w.rule = '' AND s.kind = w.kind AND s.currency = w.currency
                            AND (s.agreement = '' OR s.kind IN {SHOWN_NOT}))
            GROUP BY ALL""",  # noqa: S608
        [lines],
    ).fetchall()
    return {(*row[:7],): (list(dict.fromkeys(row[8])), row[7]) for row in rows}


def _with_lines(one: Difference, lines: list[str], count: int) -> Difference:
    return Difference(
        one.check, one.owner, one.what, one.currency, one.ours, one.theirs, lines, count, one.reason, keys=one.keys
    )


def _rates(connection: duckdb.DuckDBPyConnection, owner: str, lines: str, limit: int | None) -> Iterator[Difference]:
    """Lines whose amount is not their basis at their rate."""
    upto = "" if limit is None else f"[1:{limit}]"
    rows = connection.execute(
        f"""SELECT agreement, rule, version, currency, sum(amount), sum(CAST(basis * rate AS DECIMAL(38,18))), count(*),
                   list(line_id ORDER BY line_id){upto}
            FROM read_parquet(?) WHERE kind = 'commission' AND rate IS NOT NULL AND amount <> basis * rate
            GROUP BY ALL ORDER BY ALL""",  # noqa: S608
        [lines],
    ).fetchall()
    for agreement, rule, version, currency, ours, theirs, count, ids in rows:
        what = f"{agreement} version {version}, rule {rule}: the amount is not the basis at its rate"
        keys = {"agreement": agreement, "rule": rule}
        yield Difference(SETTLEMENT, owner, what, currency, ours, theirs, ids, count, "rate", keys=keys)


def _of_cases(
    connection: duckdb.DuckDBPyConnection, owner: str, held: str, summary: Mapping[str, Any], limit: int | None
) -> Iterator[Difference]:
    upto = "" if limit is None else f"[1:{limit}]"
    rows = connection.execute(
        f"""SELECT kind, key, currency, count(*), sum(basis), list(line_id ORDER BY line_id){upto}
            FROM read_parquet(?) WHERE cycle = ? GROUP BY ALL ORDER BY ALL""",  # noqa: S608
        [held, summary["cycle"]],
    ).fetchall()
    ours = {(kind, key, currency): (count, basis, ids) for kind, key, currency, count, basis, ids in rows}
    said = {(one["kind"], one["key"], one["currency"]): one for one in summary["held"]}
    for name in sorted(ours.keys() | said.keys()):
        count, basis, ids = ours.get(name, (0, ZERO, []))
        theirs = Decimal(said[name]["amount"]) if name in said else ZERO
        if basis != theirs or count != (said[name]["lines"] if name in said else 0):
            what = f"case {name[0]} {name[1]}: its lines are not what the summary says"
            yield Difference(SETTLEMENT, owner, what, name[2], basis, theirs, ids, count, "case")


def lines_of_statement(
    connection: duckdb.DuckDBPyConnection, lines: str, keys: Sequence[Key], limit: int | None = LINES_KEPT
) -> dict[Key, tuple[list[str], int]]:
    """The bill lines behind lines of a statement."""
    return _causes(connection, lines, keys, limit)
