"""Day parts: the bill of one payer account, cycle and date as typed, ordered, named Parquet.

Every row that comes in goes out as a line of the part or as a reject that says why (rows in = lines + rejects).
A part is named by the digest of its bytes, and its lines are in order: the same lines are the same part whenever they
are seen, and whoever holds a part can see that it is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
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


def build(
    connection: duckdb.DuckDBPyConnection, rows: str, tags: str, equations: list[str], part_path: Path, trace_path: Path
) -> Built:
    """Build the day part of `rows` into `part_path`, and (line id, page, row) into `trace_path`.

    `rows` is SQL for what `normalise.checked_sql` gives, of one payer, cycle and date; `tags` is how tags are written
    there, and `equations` are those that `broken` counts.
    """
    named = _named_sql(rows, *_odd_texts(connection, rows, tags))
    connection.execute(f"CREATE OR REPLACE TEMP TABLE equal AS {_equal_sql(connection, named)}")
    refused = connection.execute(_refused_sql(named)).fetchall()
    _write(connection, _lines_sql(named), part_path, trace_path)
    accounts, totals, broken, repaired = _counts(connection, _lines_sql(named))
    connection.execute("DROP TABLE equal; DROP TABLE tag")
    with part_path.open("rb") as file:
        name = Digest(hashlib.file_digest(file, "sha256").hexdigest())
    part = Part(name, accounts.total(), totals, dict(sorted(accounts.items())))
    said = Counter[str]()
    for places, count in broken.items():
        for place in places.split(","):
            said[equations[int(place)]] += count
    changed = Counter[str]()
    for rules, count in repaired.items():
        for rule in rules.split(" "):
            changed[rule] += count
    return Built(part, [Reject(*row) for row in refused], dict(sorted(said.items())), dict(sorted(changed.items())))


def _odd_texts(connection: duckdb.DuckDBPyConnection, rows: str, notation: str) -> tuple[bool, list[str]]:
    """Whether there are tags, each distinct text of which is read once, in Python, for the join back (table `tag`).

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
    return bool(found), sorted(strange)


def _named_sql(rows: str, has_tags: bool, strange: list[str]) -> str:
    """Every row with its tags as they are read, and whatever is still found wrong with it."""
    if not has_tags and not strange:
        return rows
    reasons = ["r.reason", "tag.problem"]
    if strange:
        codes = ", ".join(quoted(code) for code in strange)
        said = "'currency ' || left(r.currency, 60) || ' is no ISO 4217 code'"
        reasons.append(f"CASE WHEN r.currency IN ({codes}) THEN {said} END")
    replaced = f"tag.parsed AS tags, coalesce({', '.join(reasons)}) AS reason"
    return f"(SELECT r.* REPLACE ({replaced}) FROM {rows} r LEFT JOIN tag ON tag.raw = r.tags)"  # noqa: S608


# One that has an id of its own, and is there already, is no second charge.
_REPEATED = "source_id IS NOT NULL AND coalesce(ordinal, 1) > 1"
_LINE_ID = "CASE WHEN source_id IS NULL THEN identity || '-' || coalesce(ordinal, 1) ELSE identity END"
_CONTENT = ", ".join(f"coalesce(CAST({name} AS VARCHAR), chr(30))" for name in COLUMNS if name != "line_id")


def _equal_sql(connection: duckdb.DuckDBPyConnection, named: str) -> str:
    """The ordinals of equal lines. They are rare, so only they are put in order: two of them are two charges."""
    found = connection.execute(
        f"SELECT identity FROM {named} WHERE reason IS NULL GROUP BY identity HAVING count(*) > 1"  # noqa: S608
    ).fetchall()
    if not found:
        return "SELECT 0 AS page, 0::BIGINT AS row, 0::BIGINT AS ordinal WHERE false"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT unnest(?::VARCHAR[]) AS identity", [[one for (one,) in found]]
    )
    ordered = f"{', '.join([*AMOUNTS, 'usage'])}, concat_ws(chr(31), {_CONTENT}), page, row"
    return f"""
        SELECT page, row, row_number() OVER (PARTITION BY identity ORDER BY {ordered}) AS ordinal
        FROM {named} SEMI JOIN repeated USING (identity) WHERE reason IS NULL"""  # noqa: S608


def _refused_sql(named: str) -> str:
    said = "'the line ' || left(source_id, 60) || ' is there already'"
    return f"""
        SELECT page, row, coalesce(reason, {said}) AS reason FROM {named} LEFT JOIN equal USING (page, row)
        WHERE reason IS NOT NULL OR ({_REPEATED}) ORDER BY ALL"""  # noqa: S608


def _lines_sql(named: str) -> str:
    return f"""(
        SELECT *, {_LINE_ID} AS line_id FROM {named} LEFT JOIN equal USING (page, row)
        WHERE reason IS NULL AND NOT ({_REPEATED}))"""  # noqa: S608


def _write(connection: duckdb.DuckDBPyConnection, lines: str, part_path: Path, trace_path: Path) -> None:
    """Write the lines, in their order, and where they come from, as the rows lie there."""
    for query, path in (
        (f"SELECT {', '.join(COLUMNS)} FROM {lines} ORDER BY account, line_id", part_path),  # noqa: S608
        (f"SELECT line_id, page, row FROM {lines}", trace_path),  # noqa: S608
    ):
        connection.execute(
            f"COPY ({query}) TO {quoted(str(path))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)"
        )


def _counts(
    connection: duckdb.DuckDBPyConnection, lines: str
) -> tuple[Counter[str], dict[str, dict[str, str]], Counter[str], Counter[str]]:
    """Lines by account, sums by currency, lines by the equations they break, and by the repair rules they went through."""
    accounts, broken, repaired = Counter[str](), Counter[str](), Counter[str]()
    sums: dict[str, list[Decimal]] = {}
    found = connection.execute(
        "SELECT account, currency, broken, repair, count(*), sum(gross), sum(pretax) "
        f"FROM {lines} GROUP BY account, currency, broken, repair"
    ).fetchall()
    for account, currency, breaks, rules, count, *amounts in found:
        accounts[account] += count
        if breaks is not None:
            broken[breaks] += count
        if rules is not None:
            repaired[rules] += count
        before = sums.get(currency, [Decimal(0), Decimal(0)])
        sums[currency] = [EXACT.add(sum_, amount) for sum_, amount in zip(before, amounts, strict=True)]
    totals = {one: {"gross": text(sums[one][0]), "pretax": text(sums[one][1])} for one in sorted(sums)}
    return accounts, totals, broken, repaired


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
