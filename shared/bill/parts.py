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
    _load_tags(connection, rows, tags)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE named AS {_named_sql(rows, _strange_currencies(connection, rows))}"
    )
    connection.execute(f"CREATE OR REPLACE TEMP TABLE equal AS {_equal_sql(connection)}")
    connection.execute(f"CREATE OR REPLACE TEMP TABLE refused AS {_refused_sql()}")
    _write(connection, part_path, trace_path)
    built = Built(
        _describe(connection, part_path), _rejects(connection), _broken(connection, equations), _repaired(connection)
    )
    connection.execute("DROP TABLE named; DROP TABLE refused; DROP TABLE equal; DROP TABLE tag")
    return built


def _load_tags(connection: duckdb.DuckDBPyConnection, rows: str, notation: str) -> None:
    """Read each distinct tag text once, in Python, for the join back."""
    connection.execute("CREATE OR REPLACE TEMP TABLE tag (raw VARCHAR, parsed VARCHAR, problem VARCHAR)")
    found: list[tuple[str, str | None, str | None]] = []
    query = f"SELECT DISTINCT tags FROM {rows} WHERE tags IS NOT NULL"  # noqa: S608
    for (written,) in connection.execute(query).fetchall():
        try:
            found.append((written, parse_tags(written, notation), None))
        except BadInputError as exc:
            found.append((written, None, str(exc)))
    if found:
        connection.execute(
            "INSERT INTO tag SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [[row[i] for row in found] for i in range(3)],
        )


def _strange_currencies(connection: duckdb.DuckDBPyConnection, rows: str) -> list[str]:
    """The texts that stand for a currency and are none."""
    query = f"SELECT DISTINCT currency FROM {rows} WHERE currency IS NOT NULL"  # noqa: S608
    return sorted(currency for (currency,) in connection.execute(query).fetchall() if not currencies.known(currency))


_ABSENT = "chr(30)"
_CONTENT = ", ".join(f"coalesce(CAST({name} AS VARCHAR), {_ABSENT})" for name in COLUMNS if name != "line_id")


def _named_sql(rows: str, strange: list[str]) -> str:
    """Every row with what names its line: the source's own id, or a hash of its identity."""
    identity = ", ".join(f"coalesce(CAST({name} AS VARCHAR), {_ABSENT})" for name in IDENTITY)
    reasons = ["r.reason", "tag.problem"]
    if strange:
        codes = ", ".join(quoted(code) for code in strange)
        said = "'currency ' || left(r.currency, 60) || ' is no ISO 4217 code'"
        reasons.append(f"CASE WHEN r.currency IN ({codes}) THEN {said} END")
    own = "'id' || chr(31) || payer || chr(31) || source_id"
    return f"""
        SELECT r.* REPLACE (tag.parsed AS tags, coalesce({", ".join(reasons)}) AS reason),
               left(sha256(coalesce({own}, concat_ws(chr(31), {identity}))), 32) AS identity
        FROM {rows} r LEFT JOIN tag ON tag.raw = r.tags"""  # noqa: S608 - names from our own schema


# One that has an id of its own, and is there already, is no second charge.
_REPEATED = "source_id IS NOT NULL AND coalesce(ordinal, 1) > 1"
_LINE_ID = "CASE WHEN source_id IS NULL THEN identity || '-' || coalesce(ordinal, 1) ELSE identity END"
_LINES = (
    f"(SELECT named.*, {_LINE_ID} AS line_id FROM named LEFT JOIN equal USING (page, row) "  # noqa: S608
    f"WHERE reason IS NULL AND NOT ({_REPEATED}))"
)


def _equal_sql(connection: duckdb.DuckDBPyConnection) -> str:
    """The ordinals of equal lines. They are rare, so only they are put in order: two of them are two charges."""
    found = connection.execute(
        "SELECT identity FROM named WHERE reason IS NULL GROUP BY identity HAVING count(*) > 1"
    ).fetchall()
    if not found:
        return "SELECT 0 AS page, 0::BIGINT AS row, 0::BIGINT AS ordinal WHERE false"
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE repeated AS SELECT unnest(?::VARCHAR[]) AS identity", [[one for (one,) in found]]
    )
    ordered = f"{', '.join([*AMOUNTS, 'usage'])}, concat_ws(chr(31), {_CONTENT}), page, row"
    return f"""
        SELECT page, row, row_number() OVER (PARTITION BY identity ORDER BY {ordered}) AS ordinal
        FROM named SEMI JOIN repeated USING (identity) WHERE reason IS NULL"""  # noqa: S608


def _refused_sql() -> str:
    said = "'the line ' || left(source_id, 60) || ' is there already'"
    return f"""
        SELECT page, row, coalesce(reason, {said}) AS reason FROM named LEFT JOIN equal USING (page, row)
        WHERE reason IS NOT NULL OR ({_REPEATED})"""  # noqa: S608


def _write(connection: duckdb.DuckDBPyConnection, part_path: Path, trace_path: Path) -> None:
    """Write the lines in order."""
    for columns, path in ((", ".join(COLUMNS), part_path), ("line_id, page, row", trace_path)):
        connection.execute(
            f"COPY (SELECT {columns} FROM {_LINES} ORDER BY account, line_id) TO {quoted(str(path))} "  # noqa: S608
            "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)"
        )


def _describe(connection: duckdb.DuckDBPyConnection, part_path: Path) -> Part:
    totals = connection.execute(
        f"SELECT currency, sum(gross), sum(pretax) FROM {_LINES} GROUP BY currency ORDER BY currency"  # noqa: S608
    ).fetchall()
    query = f"SELECT account, count(*) FROM {_LINES} GROUP BY account ORDER BY account"  # noqa: S608
    accounts = dict(connection.execute(query).fetchall())
    with part_path.open("rb") as file:
        name = Digest(hashlib.file_digest(file, "sha256").hexdigest())
    sums = {currency: {"gross": text(gross), "pretax": text(pretax)} for currency, gross, pretax in totals}
    return Part(name, sum(accounts.values()), sums, accounts)


def _rejects(connection: duckdb.DuckDBPyConnection) -> list[Reject]:
    return [Reject(*row) for row in connection.execute("SELECT page, row, reason FROM refused ORDER BY ALL").fetchall()]


def _broken(connection: duckdb.DuckDBPyConnection, equations: list[str]) -> dict[str, int]:
    """Lines by equation; each holds the numbers of those it breaks."""
    query = f"SELECT broken, count(*) FROM {_LINES} WHERE broken IS NOT NULL GROUP BY broken"  # noqa: S608
    found = connection.execute(query).fetchall()
    return _counted((equations[int(place)], count) for places, count in found for place in places.split(","))


def _repaired(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Lines by repair rule; each holds the names of those that changed it."""
    query = f"SELECT repair, count(*) FROM {_LINES} WHERE repair IS NOT NULL GROUP BY repair"  # noqa: S608
    found = connection.execute(query).fetchall()
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
