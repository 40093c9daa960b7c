"""Day parts: the bill of one payer account, cycle and date as typed, ordered, named Parquet.

Every row that comes in goes out as a line of the part or as a reject that says why (rows in = lines + rejects).
A part is named by the digest of its canonical rows, so the same content is the same part whenever it is seen.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.bill.line import AMOUNTS, COLUMNS, IDENTITY
from shared.bill.snapshot import Part
from shared.bill.tags import parse_tags
from shared.columnar import quoted
from shared.errors import BadInputError
from shared.ids import Digest, canonical_json
from shared.money import text
from shared.reference import currencies

if TYPE_CHECKING:
    import duckdb

FORMAT = "clearbook-part-2"  # changes whenever the canonical rows do
_DIGESTED_AT_ONCE = 4096


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
    # A table of its own: reading text is by far the largest query, and several others stand on it.
    connection.execute(f"CREATE OR REPLACE TEMP TABLE checked AS SELECT * FROM {rows}")  # noqa: S608
    _load_tags(connection, tags)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE numbered AS {_numbered_sql(_strange_currencies(connection))}")
    connection.execute("CREATE OR REPLACE TEMP VIEW part AS SELECT * FROM numbered WHERE reason IS NULL")
    _write(connection, part_path, trace_path)
    built = Built(_describe(connection), _rejects(connection), _broken(connection, equations), _repaired(connection))
    connection.execute("DROP VIEW part; DROP TABLE numbered; DROP TABLE checked")
    return built


def _load_tags(connection: duckdb.DuckDBPyConnection, notation: str) -> None:
    """Read each distinct tag text once, in Python, for the join back."""
    connection.execute("CREATE OR REPLACE TEMP TABLE tag (raw VARCHAR, parsed VARCHAR, problem VARCHAR)")
    found: list[tuple[str, str | None, str | None]] = []
    for (written,) in connection.execute("SELECT DISTINCT tags FROM checked WHERE tags IS NOT NULL").fetchall():
        try:
            found.append((written, parse_tags(written, notation), None))
        except BadInputError as exc:
            found.append((written, None, str(exc)))
    if found:
        connection.execute(
            "INSERT INTO tag SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [[row[i] for row in found] for i in range(3)],
        )


def _strange_currencies(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The texts that stand for a currency and are none."""
    found = connection.execute("SELECT DISTINCT currency FROM checked WHERE currency IS NOT NULL").fetchall()
    return sorted(currency for (currency,) in found if not currencies.known(currency))


def _numbered_sql(strange: list[str]) -> str:
    """Every checked row with its line id: the source's own, or a hash of the identity and an ordinal among equals."""
    absent = "chr(30)"
    identity = ", ".join(f"coalesce(CAST({name} AS VARCHAR), {absent})" for name in IDENTITY)
    content = ", ".join(f"coalesce(CAST({name} AS VARCHAR), {absent})" for name in COLUMNS if name != "line_id")
    ordered = ", ".join([*AMOUNTS, "usage"])
    reasons = ["c.reason", "tag.problem"]
    if strange:
        codes = ", ".join(quoted(code) for code in strange)
        said = "'currency ' || left(c.currency, 60) || ' is no ISO 4217 code'"
        reasons.append(f"CASE WHEN c.currency IN ({codes}) THEN {said} END")
    own = "'id' || chr(31) || payer || chr(31) || source_id"
    return f"""
        WITH tagged AS (
            SELECT c.* REPLACE (tag.parsed AS tags, coalesce({", ".join(reasons)}) AS reason)
            FROM checked c LEFT JOIN tag ON tag.raw = c.tags
        ), hashed AS (
            SELECT *, left(sha256(coalesce({own}, concat_ws(chr(31), {identity}))), 32) AS identity,
                   concat_ws(chr(31), {content}) AS content
            FROM tagged
        ), placed AS (
            SELECT *, row_number() OVER (
                PARTITION BY identity, reason IS NULL ORDER BY {ordered}, content, page, row) AS ordinal
            FROM hashed
        ), named AS (
            SELECT * EXCLUDE (identity, ordinal),
                   CASE WHEN source_id IS NULL THEN identity || '-' || ordinal ELSE identity END AS line_id,
                   CASE WHEN source_id IS NOT NULL AND ordinal > 1
                        THEN 'the line ' || left(source_id, 60) || ' is there already' END AS repeated
            FROM placed
        )
        SELECT * EXCLUDE (content, repeated) REPLACE (coalesce(reason, repeated) AS reason),
               sha256(line_id || chr(31) || content) AS row_hash
        FROM named"""  # noqa: S608 - names from our own schema


def _write(connection: duckdb.DuckDBPyConnection, part_path: Path, trace_path: Path) -> None:
    for select, path in (
        (f"{', '.join(COLUMNS)}, row_hash", part_path),
        ("line_id, page, row", trace_path),
    ):
        connection.execute(
            f"COPY (SELECT {select} FROM part ORDER BY account, line_id) TO {quoted(str(path))} "  # noqa: S608
            "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)"
        )


def _describe(connection: duckdb.DuckDBPyConnection) -> Part:
    hashes = hashlib.sha256(canonical_json([FORMAT, list(COLUMNS)]))
    found = connection.execute("SELECT row_hash FROM part ORDER BY account, line_id")
    rows = 0
    while batch := found.fetchmany(_DIGESTED_AT_ONCE):
        rows += len(batch)
        hashes.update("".join(hash_ for (hash_,) in batch).encode())
    totals = connection.execute(
        "SELECT currency, sum(gross), sum(pretax) FROM part GROUP BY currency ORDER BY currency"
    ).fetchall()
    accounts = connection.execute("SELECT account, count(*) FROM part GROUP BY account ORDER BY account").fetchall()
    return Part(
        Digest(hashes.hexdigest()),
        rows,
        {currency: {"gross": text(gross), "pretax": text(pretax)} for currency, gross, pretax in totals},
        dict(accounts),
    )


def _rejects(connection: duckdb.DuckDBPyConnection) -> list[Reject]:
    rows = connection.execute("SELECT page, row, reason FROM numbered WHERE reason IS NOT NULL ORDER BY ALL").fetchall()
    return [Reject(*row) for row in rows]


def _broken(connection: duckdb.DuckDBPyConnection, equations: list[str]) -> dict[str, int]:
    """Lines by equation; each holds the numbers of those it breaks."""
    found = connection.execute("SELECT broken, count(*) FROM part WHERE broken IS NOT NULL GROUP BY broken").fetchall()
    return _counted((equations[int(place)], count) for places, count in found for place in places.split(","))


def _repaired(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Lines by repair rule; each holds the names of those that changed it."""
    found = connection.execute("SELECT repair, count(*) FROM part WHERE repair IS NOT NULL GROUP BY repair").fetchall()
    return _counted((rule, count) for rules, count in found for rule in rules.split(" "))


def _counted(counts: Iterable[tuple[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for name, count in counts:
        total[name] += count
    return dict(sorted(total.items()))


def empty(connection: duckdb.DuckDBPyConnection, folder: Path) -> Path:
    """A part and trace without lines, in `folder`: what is left of a date that a bill no longer has."""
    path = folder / "empty.parquet"
    if not path.exists():
        typed = ", ".join(f"NULL::{type_} AS {name}" for name, type_ in COLUMNS.items())
        nothing = f"SELECT {typed}, NULL::VARCHAR AS row_hash, NULL::INTEGER AS page, NULL::INTEGER AS row WHERE false"
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
