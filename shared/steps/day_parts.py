"""Day parts as the steps keep them: built from raw rows, kept with what is known of them, found again by what was read.

What is read is named by its digest, so a bill that reads like one seen before is that one, without computing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.bill import normalise, parts
from shared.bill.formats import Format
from shared.bill.normalise import Reading
from shared.bill.raw import Table
from shared.bill.snapshot import part_key
from shared.ids import Digest, canonical_json, digest
from shared.services import Services

if TYPE_CHECKING:
    import duckdb


def source_key(account: str, cycle: str, day: str, read: str, suffix: str) -> str:
    """What is known of a bill of this date that reads `read`, whoever saw it (bucket work).

    `json` is the description, `parquet` the page and row of each line, `rejects.json` the rows that are no line.
    """
    return f"sources/{account}/{cycle}/{day}/{read}.{suffix}"


def read_as(reading: Reading, contents: list[str]) -> Digest:
    """What is read: these raw contents, in this way."""
    return digest(canonical_json([parts.FORMAT, contents, reading.key()]))


def known(services: Services, account: str, cycle: str, day: str, read: str) -> dict[str, Any] | None:
    """The description of a bill that was read before."""
    body = services.buckets.work.find(source_key(account, cycle, day, read, "json"))
    return None if body is None else dict(json.loads(body))


def of_table(
    services: Services, connection: duckdb.DuckDBPyConnection, table: Table, reading: Reading, read: str, folder: Path
) -> dict[str, Any]:
    """The day part of a table all of whose rows are of one payer, cycle and date (`reading` names them)."""
    checked = normalise.checked_sql(reading, table.rows, table.headers, is_trimmed=table.is_trimmed)
    # A table of its own: reading text is the largest query by far, and several others stand on it.
    connection.execute(f"CREATE OR REPLACE TEMP TABLE checked AS SELECT * REPLACE ('' AS place) FROM ({checked})")  # noqa: S608
    return keep(services, reading, read, build(connection, "checked", reading.form, {"": folder})[""])


@dataclass(frozen=True, slots=True)
class Draft:
    """A part that is built and not yet kept."""

    built: parts.Built
    part_path: Path
    trace_path: Path


def build(
    connection: duckdb.DuckDBPyConnection, rows: str, form: Format, folders: Mapping[str, Path]
) -> dict[str, Draft]:
    """Build the day parts of checked rows, by their place, each in its folder."""
    targets = {place: parts.Target(at / "part.parquet", at / "trace.parquet") for place, at in folders.items()}
    built = parts.build(connection, rows, form.tags, [one.equation for one in form.identities], targets)
    return {place: Draft(built[place], target.part, target.trace) for place, target in targets.items()}


def keep(
    services: Services, reading: Reading, read: str, draft: Draft, more: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Keep a part; its description, with `more` in it, is kept last."""
    work, where, built = services.buckets.work, (reading.payer, reading.cycle, reading.date), draft.built
    work.upload_once(part_key(*where, built.part.digest), draft.part_path)
    work.upload_once(source_key(*where, read, "parquet"), draft.trace_path)
    if built.rejects:
        work.put_once(source_key(*where, read, "rejects.json"), parts.rejects_json(built.rejects))
    described = {
        "source": read,
        "part": asdict(built.part),
        "rows": built.part.rows,
        "rejects": len(built.rejects),
        "form": reading.form.id,
        "broken": built.broken,
        "repaired": built.repaired,
        **(more or {}),
    }
    body = canonical_json(described)
    work.put_once(source_key(*where, read, "json"), body)
    return dict(json.loads(body))
