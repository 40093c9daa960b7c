"""Day parts: the bill of one payer account, cycle and date as typed, ordered, named Parquet.

Every row that comes in goes out as a line of the part or as a reject that says why (rows in = lines + rejects).
A part is named by the digest of its bytes, and its lines are in order: the same lines are the same part whenever they
are seen, and whoever holds a part can see that it is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from shared.bill.line import AMOUNTS, COLUMNS
from shared.bill.snapshot import Part
from shared.bill.tags import parse_tags
from shared.columnar import quoted
from shared.errors import BadInputError
from shared.ids import Digest, canonical_json
from shared.money import EXACT, text
from shared.reference import currencies

if TYPE_CHECKING:
    import duckdb

FORMAT = "clearbook-part-3"  # changes whenever the same lines would be written otherwise


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that is no line, where it lies in the raw bill, and why."""

    page: int  # of a pull, or table of a file, from 1
    row: int  # of the page, from 0
    reason: str


@dataclass(frozen=True, slots=True)
class Built:
    """A part, the rows that are none of its lines, and what was noticed on the way."""

    part: Part
    rejects: list[Reject]
    broken: dict[str, int]  # equation -> lines that break it
    repaired: dict[str, int]  # repair rule -> lines it changed


@dataclass(frozen=True, slots=True)
class Target:
    """Where a part is to be written, and (line id, page, row) of each of its lines."""

    part: Path
    trace: Path


def build(
    connection: duckdb.DuckDBPyConnection, rows: str, tags: str, equations: list[str], targets: Mapping[str, Target]
) -> dict[str, Built]:
    """Build the day parts of `rows`, by their `place`, each into its target.

    `rows` is SQL for what `normalise.checked_sql` gives; those of other places are passed over. `tags` is how tags are
    written there, and `equations` are those that `broken` counts.
    """
    places = ", ".join(f"({quoted(place)})" for place in targets)
    wanted = f"(SELECT * FROM {rows} SEMI JOIN (VALUES {places}) wanted(place) USING (place))"  # noqa: S608
    odd = _odd_texts(connection, wanted, tags)
    judged = _judged_sql(wanted, *odd)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE equal AS {_equal_sql(connection, judged)}")
    rejects: dict[str, list[Reject]] = {place: [] for place in targets}
    for place, *reject in connection.execute(_refused_sql(judged)).fetchall():
        rejects[place].append(Reject(*reject))
    counted = _counts(connection, _lines_sql(judged), equations, targets)
    for place, target in targets.items():
        placed = _judged_sql(f"(SELECT * FROM {rows} WHERE place = {quoted(place)})", *odd)  # noqa: S608
        _write(connection, _lines_sql(placed), counted[place].same, target)
    connection.execute("DROP TABLE equal; DROP TABLE tag")
    return {place: counted[place].built(target.part, rejects[place]) for place, target in targets.items()}


def _odd_texts(connection: duckdb.DuckDBPyConnection, rows: str, notation: str) -> tuple[bool, list[str]]:
    """Read each distinct text of tags once, in Python (table `tag`); whether some cannot be read.

    And the texts that stand for a currency and are none.
    """
    connection.execute("CREATE OR REPLACE TEMP TABLE tag (raw VARCHAR, parsed VARCHAR, problem VARCHAR)")
    query = f"SELECT DISTINCT tags, currency FROM {rows}"  # noqa: S608
    texts = connection.execute(query).fetchall()
    found: list[tuple[str, str | None, str | None]] = []
    for written in dict.fromkeys(tags for tags, _ in texts if tags is not None):
        try:
            found.append((written, parse_tags(written, notation), None))
        except BadInputError as exc:
            found.append((written, None, str(exc)))
    if found:
        connection.execute(
            "INSERT INTO tag SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [[row[i] for row in found] for i in range(3)],
        )
    strange = {currency for _, currency in texts if currency is not None and not currencies.known(currency)}
    return any(problem for *_, problem in found), sorted(strange)


def _judged_sql(rows: str, has_bad_tags: bool, strange: list[str]) -> str:
    """Every row with whatever is still found wrong with it."""
    reasons = ["reason"]
    if has_bad_tags:
        reasons.append("problem")
        rows = f"(SELECT r.*, problem FROM {rows} r LEFT JOIN tag ON raw = tags)"  # noqa: S608
    if strange:
        codes = ", ".join(quoted(code) for code in strange)
        said = "'currency ' || left(currency, 60) || ' is no ISO 4217 code'"
        reasons.append(f"CASE WHEN currency IN ({codes}) THEN {said} END")
    return f"(SELECT * REPLACE (coalesce({', '.join(reasons)}) AS reason) FROM {rows})" if reasons[1:] else rows  # noqa: S608


def _tagged_sql(rows: str) -> str:
    """The rows with their tags as they are read."""
    return f"(SELECT r.* REPLACE (parsed AS tags) FROM {rows} r LEFT JOIN tag ON raw = tags)"  # noqa: S608


# One that has an id of its own, and is there already, is no second charge.
_REPEATED = "source_id IS NOT NULL AND coalesce(ordinal, 1) > 1"
_LINE_ID = "CASE WHEN source_id IS NULL THEN identity || coalesce('-' || ordinal, '-1') ELSE identity END"
_CONTENT = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in COLUMNS if name != "line_id")


def _equal_sql(connection: duckdb.DuckDBPyConnection, judged: str) -> str:
    """The ordinals of equal lines. They are rare, so only they are put in order: two of them are two charges."""
    found = connection.execute(
        f"SELECT identity FROM {judged} WHERE reason IS NULL GROUP BY identity HAVING count(*) > 1"  # noqa: S608
    ).fetchall()
    if not found:
        return "SELECT 0 AS page, 0::BIGINT AS row, 0::BIGINT AS ordinal WHERE false"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT unnest(?::VARCHAR[]) AS identity", [[one for (one,) in found]]
    )
    ordered = f"{', '.join([*AMOUNTS, 'usage'])}, concat_ws(chr(31), {_CONTENT}), page, row"
    return f"""
        SELECT page, row, row_number() OVER (PARTITION BY identity ORDER BY {ordered}) AS ordinal
        FROM {_tagged_sql(f"(FROM {judged} SEMI JOIN repeated USING (identity) WHERE reason IS NULL)")}"""  # noqa: S608


def _refused_sql(judged: str) -> str:
    said = "'the line ' || left(source_id, 60) || ' is there already'"
    return f"""
        SELECT place, page, row, coalesce(reason, {said}) AS reason FROM {judged} LEFT JOIN equal USING (page, row)
        WHERE reason IS NOT NULL OR ({_REPEATED}) ORDER BY ALL"""  # noqa: S608


def _lines_sql(judged: str) -> str:
    return f"""(
        SELECT *, {_LINE_ID} AS line_id FROM {judged} LEFT JOIN equal USING (page, row)
        WHERE reason IS NULL AND NOT ({_REPEATED}))"""  # noqa: S608


def _write(connection: duckdb.DuckDBPyConnection, lines: str, same: Mapping[str, str | None], target: Target) -> None:
    """Write the lines, in their order, and where they come from, as the rows lie there.

    What is the `same` in all of them is not carried through the sort.
    """
    sorted_ = f"SELECT {', '.join(COLUMNS.keys() - same)} FROM {_tagged_sql(lines)} ORDER BY account, line_id"  # noqa: S608
    columns = ", ".join(
        f"CAST({_literal(same[name])} AS {type_}) AS {name}" if name in same else name
        for name, type_ in COLUMNS.items()
    )
    for query, path in (
        (f"SELECT {columns} FROM ({sorted_})", target.part),  # noqa: S608
        (f"SELECT line_id, page, row FROM {lines}", target.trace),  # noqa: S608
    ):
        connection.execute(
            f"COPY ({query}) TO {quoted(str(path))} "
            "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 65536)"
        )


def _literal(value: str | None) -> str:
    return "NULL" if value is None else quoted(value)


# Most sources leave these empty; that they do is asked of the lines.
_SELDOM = ("product_type", "billing_item_code", "order_type", "round_down", "tax", "related_record", "repair")


class _Counted:
    """What the lines of one part come to."""

    def __init__(self) -> None:
        self.accounts, self.broken, self.repaired = Counter[str](), Counter[str](), Counter[str]()
        self.same: dict[str, str | None] = dict.fromkeys(_SELDOM)  # column -> what all of them have in it
        self._sums: dict[str, tuple[Decimal, Decimal]] = {}

    def add(self, currency: str, gross: Decimal, pretax: Decimal) -> None:
        """Add the sums of some lines, exactly."""
        before = self._sums.get(currency, (Decimal(0), Decimal(0)))
        self._sums[currency] = EXACT.add(before[0], gross), EXACT.add(before[1], pretax)

    def built(self, path: Path, rejects: list[Reject]) -> Built:
        """The part at `path`."""
        with path.open("rb") as file:
            name = Digest(hashlib.file_digest(file, "sha256").hexdigest())
        totals = {
            currency: {"gross": text(gross), "pretax": text(pretax)}
            for currency, (gross, pretax) in sorted(self._sums.items())
        }
        part = Part(name, self.accounts.total(), totals, dict(sorted(self.accounts.items())))
        return Built(part, rejects, dict(sorted(self.broken.items())), dict(sorted(self.repaired.items())))


def _counts(
    connection: duckdb.DuckDBPyConnection, lines: str, equations: list[str], places: Iterable[str]
) -> dict[str, _Counted]:
    columns = "place, account, currency, broken, repair"
    same = "any_value(payer), any_value(cycle), any_value(date)"  # of which a place is
    sums = ", ".join(["count(*)", "sum(gross)", "sum(pretax)", *(f"count({name})" for name in _SELDOM)])
    query = f"SELECT {columns}, {same}, {sums} FROM {lines} GROUP BY {columns}"  # noqa: S608
    found = {place: _Counted() for place in places}
    for row in connection.execute(query).fetchall():
        place, account, currency, broken, repair, payer, cycle, date, count, gross, pretax, *filled = row
        counted = found[place]
        counted.accounts[account] += count
        counted.add(currency, gross, pretax)
        counted.same |= {"payer": payer, "cycle": cycle, "date": str(date)}
        for name in compress(_SELDOM, filled):
            counted.same.pop(name, None)
        for number in broken.split(",") if broken else ():
            counted.broken[equations[int(number)]] += count
        for rule in repair.split(" ") if repair else ():
            counted.repaired[rule] += count
    return found


def empty(connection: duckdb.DuckDBPyConnection, folder: Path) -> Path:
    """A part and trace without lines, in `folder`: what is left of a date that a bill no longer has."""
    path = folder / "empty.parquet"
    if not path.exists():
        typed = ", ".join(f"NULL::{type_} AS {name}" for name, type_ in COLUMNS.items())
        nothing = f"SELECT {typed}, NULL::INTEGER AS page, NULL::INTEGER AS row WHERE false"
        made = path.with_suffix(".new")
        connection.execute(f"COPY ({nothing}) TO {quoted(str(made))} (FORMAT parquet)")
        made.rename(path)
    return path


def rejects_json(rejects: Iterable[Reject]) -> bytes:
    """The rejects as canonical JSON, for the object that keeps them."""
    return canonical_json([[r.page, r.row, r.reason] for r in rejects])


def parse_rejects(body: bytes) -> list[Reject]:
    """The rejects kept by `rejects_json`."""
    return [Reject(*row) for row in json.loads(body)]
