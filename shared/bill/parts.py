"""Day parts: the bill of one payer account, cycle and date, from rows of text to typed, ordered, named Parquet.

Every row that comes in goes out as a line of the part or as a reject that says why (rows in = lines + rejects).
A part is named by the digest of its canonical rows, so the same content is the same part whenever it is seen.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.bill import api
from shared.bill.line import AMOUNT, AMOUNTS, COLUMNS, IDENTITY, QUANTITIES, QUANTITY
from shared.bill.snapshot import Part
from shared.bill.tags import parse_api_tags
from shared.columnar import quoted
from shared.errors import BadInputError
from shared.ids import Digest, canonical_json, digest
from shared.money import text

if TYPE_CHECKING:
    import duckdb

FORMAT = "clearbook-part-1"  # changes whenever the canonical rows do

# JSON numbers and numeric text, plain or with a small exponent; what would need rounding is refused, because a
# cast to DECIMAL rounds in silence.
_PLAIN_AMOUNT = r"[+-]?[0-9]{1,18}(\.[0-9]{0,10}0*)?"
_PLAIN_QUANTITY = r"[+-]?[0-9]{1,20}(\.[0-9]{0,18}0*)?"
_SCIENTIFIC = r"[+-]?[0-9](\.[0-9]{1,7})?[eE](-?0?[0-9]|-10)"
_BLANKS = " \\t\\r\\n\\v\\f\u00a0\u3000\ufeff"


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that is no line, where it lies in the raw bill, and why."""

    page: int  # from 1
    row: int  # of the page, from 0
    reason: str


@dataclass(frozen=True, slots=True)
class Scope:
    """Which bill a part belongs to, and how its source writes refunds."""

    payer: str
    cycle: str
    date: str
    refund_sign: str  # "negative" or "positive", declared by the connector


def write_raw_csv(path: Path, pages: Iterable[api.Page], scope: Scope) -> Digest:
    """Write the items of the pages as text rows to `path`; the digest of what was read and how it is to be read.

    It holds nothing of when or in which pull the pages were seen: the same bill has the same digest.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        for number, page in enumerate(pages, 1):
            writer.writerows(api.raw_rows(page, number))
    with path.open("rb") as written:
        content = hashlib.file_digest(written, "sha256").hexdigest()
    return digest(canonical_json([FORMAT, content, scope.payer, scope.cycle, scope.date, scope.refund_sign]))


def build(
    connection: duckdb.DuckDBPyConnection, raw_csv: Path, scope: Scope, part_path: Path, trace_path: Path
) -> tuple[Part, list[Reject]]:
    """Build the day part of `scope` from `raw_csv` into `part_path`, and (line id, page, row) into `trace_path`."""
    _load_raw(connection, raw_csv)
    _load_tags(connection)
    connection.execute(f"CREATE OR REPLACE TEMP TABLE numbered AS {_numbered_sql()}", _scope_parameters(scope))
    connection.execute("CREATE OR REPLACE TEMP VIEW part AS SELECT * FROM numbered WHERE reason IS NULL")
    _write(connection, part_path, trace_path)
    return _describe(connection), _rejects(connection)


def _load_raw(connection: duckdb.DuckDBPyConnection, raw_csv: Path) -> None:
    names = ", ".join(f"'{name}': 'VARCHAR'" for name in api.RAW_COLUMNS)
    # parallel = false: a quoted cell may hold line ends.
    source = (
        f"read_csv({quoted(str(raw_csv))}, header=false, columns={{{names}}}, delim=',', quote='\"', escape='\"', "
        "nullstr='', strict_mode=true, parallel=false, max_line_size=16777216, auto_detect=false)"
    )
    trimmed = ", ".join(
        f"nullif(trim({name}, e'{_BLANKS}'), '') AS {name}" for name in api.RAW_COLUMNS if name not in ("page", "row")
    )
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW raw AS "  # noqa: S608 - names from our own mapping
        f"SELECT {trimmed}, CAST(page AS INTEGER) AS page, CAST(row AS INTEGER) AS row FROM {source}"
    )


def _load_tags(connection: duckdb.DuckDBPyConnection) -> None:
    """Read each distinct tag text once, in Python, for the join back."""
    connection.execute("CREATE OR REPLACE TEMP TABLE tag (raw VARCHAR, parsed VARCHAR, problem VARCHAR)")
    rows: list[tuple[str, str | None, str | None]] = []
    for (raw,) in connection.execute("SELECT DISTINCT tags FROM raw WHERE tags IS NOT NULL").fetchall():
        try:
            rows.append((raw, parse_api_tags(raw), None))
        except BadInputError as exc:
            rows.append((raw, None, str(exc)))
    if rows:
        connection.execute(
            "INSERT INTO tag SELECT unnest(?::VARCHAR[]), unnest(?::VARCHAR[]), unnest(?::VARCHAR[])",
            [[row[i] for row in rows] for i in range(3)],
        )


def _scope_parameters(scope: Scope) -> dict[str, str]:
    if scope.refund_sign not in ("negative", "positive"):
        raise BadInputError(
            f"connector of payer {scope.payer}",
            f"refund_sign is {scope.refund_sign!r}",
            "declare 'negative' or 'positive', as this source writes refunds",
        )
    flip = "-1" if scope.refund_sign == "positive" else "1"
    return {"payer": scope.payer, "cycle": scope.cycle, "date": scope.date, "flip": flip}


_NEEDED = {
    "OwnerID": "account",
    "BillingDate": "date",
    "ProductCode": "product_code",
    "Item": "item",
    "SubscriptionType": "subscription_type",
    "Currency": "currency",
    "PretaxGrossAmount": "gross",
    "PretaxAmount": "pretax",
}
_READ_AMOUNTS = tuple(name for name in AMOUNTS if name in api.FIELDS.values())


def _number_sql(name: str, plain: str, type_: str) -> str:
    pattern = f"({plain})|({_SCIENTIFIC})"
    return f"CASE WHEN regexp_full_match({name}, '{pattern}') THEN try_cast({name} AS {type_}) END AS exact_{name}"


def _typed_sql() -> str:
    """The raw rows with the numbers and the kind that their text stands for."""
    numbers = [_number_sql(name, _PLAIN_AMOUNT, AMOUNT) for name in _READ_AMOUNTS]
    numbers += [_number_sql(name, _PLAIN_QUANTITY, QUANTITY) for name in QUANTITIES]
    kinds = " ".join(f"WHEN '{item}' THEN '{kind}'" for item, kind in api.KINDS.items())
    return f"SELECT *, {', '.join(numbers)}, CASE item {kinds} END AS kind FROM raw"  # noqa: S608


def _reason_sql() -> str:
    """Why a typed row cannot be a line; the first of these that holds."""
    field_of = {column: field for field, column in api.FIELDS.items()}
    reasons = [
        "t.problem",
        *(f"CASE WHEN t.{column} IS NULL THEN '{field} is missing' END" for field, column in _NEEDED.items()),
        "CASE WHEN t.bill_account <> $payer THEN 'BillAccountID ' || t.bill_account || ' is not the payer' END",
        "CASE WHEN t.date <> $date THEN 'BillingDate ' || t.date || ' is not ' || $date END",
        "CASE WHEN t.currency NOT SIMILAR TO '[A-Z]{3}' THEN 'Currency ' || t.currency || ' is no ISO code' END",
        "CASE WHEN t.kind IS NULL THEN 'Item ' || t.item || ' is of no known kind' END",
        "tag.problem",
        *(
            f"CASE WHEN t.{name} IS NOT NULL AND exact_{name} IS NULL "
            f"THEN '{field_of[name]} ' || t.{name} || ' is no number that can be held exactly' END"
            for name in (*_READ_AMOUNTS, *QUANTITIES)
        ),
    ]
    return f"coalesce({', '.join(reasons)})"


def _checked_sql() -> str:
    """Every raw row in the columns of a line and, where it cannot be one, the reason."""
    flipped = "CASE WHEN t.item = 'Refund' THEN CAST($flip AS TINYINT) ELSE 1 END"
    values = {
        "payer": "$payer",
        "cycle": "$cycle",
        "date": "CAST($date AS DATE)",
        "tags": "tag.parsed",
        "kind": "t.kind",
        **{name: f"exact_{name} * {flipped}" for name in _READ_AMOUNTS},
        **{name: f"exact_{name}" for name in QUANTITIES},
        **dict.fromkeys(("service_from", "service_until", "order_type", "related_record", "tax"), "NULL"),
    }
    select = ", ".join(
        f"CAST({values.get(name, f't.{name}')} AS {type_}) AS {name}"
        for name, type_ in COLUMNS.items()
        if name != "line_id"
    )
    return (
        f"SELECT {select}, page, row, {_reason_sql()} AS reason "  # noqa: S608
        f"FROM ({_typed_sql()}) t LEFT JOIN tag ON tag.raw = t.tags"
    )


def _rejects(connection: duckdb.DuckDBPyConnection) -> list[Reject]:
    rows = connection.execute("SELECT page, row, reason FROM numbered WHERE reason IS NOT NULL ORDER BY ALL").fetchall()
    return [Reject(*row) for row in rows]


def _numbered_sql() -> str:
    """Every row with its line id: a hash of the identity, and an ordinal among equal lines."""
    absent = "chr(30)"
    identity = ", ".join(f"coalesce(CAST({name} AS VARCHAR), {absent})" for name in IDENTITY)
    content = ", ".join(f"coalesce(CAST({name} AS VARCHAR), {absent})" for name in COLUMNS if name != "line_id")
    ordered = ", ".join([*AMOUNTS, "usage"])
    return f"""
        WITH checked AS ({_checked_sql()}), hashed AS (
            SELECT *, left(sha256(concat_ws(chr(31), {identity})), 32) AS identity,
                   concat_ws(chr(31), {content}) AS content
            FROM checked
        ), placed AS (
            SELECT *, identity || '-' || row_number() OVER (
                PARTITION BY identity, reason IS NULL ORDER BY {ordered}, content, page, row) AS line_id
            FROM hashed
        )
        SELECT * EXCLUDE (identity, content), sha256(line_id || chr(31) || content) AS row_hash
        FROM placed"""  # noqa: S608 - names from our own schema


def _write(connection: duckdb.DuckDBPyConnection, part_path: Path, trace_path: Path) -> None:
    for select, path in (
        (f"{', '.join(COLUMNS)}, row_hash", part_path),
        ("line_id, page, row", trace_path),
    ):
        connection.execute(
            f"COPY (SELECT {select} FROM part ORDER BY account, line_id) TO '{path}' "  # noqa: S608
            "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 65536)"
        )


def _describe(connection: duckdb.DuckDBPyConnection) -> Part:
    hashes, rows = connection.execute(
        "SELECT coalesce(string_agg(row_hash, '' ORDER BY account, line_id), ''), count(*) FROM part"
    ).fetchall()[0]
    totals = connection.execute(
        "SELECT currency, sum(gross), sum(pretax) FROM part GROUP BY currency ORDER BY currency"
    ).fetchall()
    accounts = connection.execute("SELECT account, count(*) FROM part GROUP BY account ORDER BY account").fetchall()
    return Part(
        digest(canonical_json([FORMAT, list(COLUMNS)]) + hashes.encode()),
        rows,
        {currency: {"gross": text(gross), "pretax": text(pretax)} for currency, gross, pretax in totals},
        dict(accounts),
    )


def rejects_json(rejects: Iterable[Reject]) -> bytes:
    """The rejects as canonical JSON, for the object that keeps them."""
    return canonical_json([[r.page, r.row, r.reason] for r in rejects])


def parse_rejects(body: bytes) -> list[Reject]:
    """The rejects kept by `rejects_json`."""
    return [Reject(*row) for row in json.loads(body)]
