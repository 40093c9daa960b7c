"""A row of the raw bill as the provider sent it: an item of a pulled page, or a row of a bill file."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from shared.bill import api, files
from shared.bill.files import Member
from shared.columnar import connect, quoted
from shared.errors import BadInputError
from shared.services import Services

_FILES = "raw/files/"


def raw_row(work: Services, source: str, row: int) -> Mapping[str, Any]:
    """What lies at a line's raw place, every value as text with the digits that were sent.

    `source` and `row` are what the line says of itself: an object of bucket records, for a file with `#` and the
    number of its table.
    """
    found = _of_file(work, source, row) if source.startswith(_FILES) else _of_page(work, source, row)
    if found is None:
        raise BadInputError(source, f"has no row {row}", "compare the bucket with its backup")
    return found


def _of_page(work: Services, source: str, row: int) -> Mapping[str, Any] | None:
    items = api.parse_page(gzip.decompress(work.buckets.records.get(source)), source).items
    return items[row] if 0 <= row < len(items) else None


def _of_file(work: Services, source: str, row: int) -> Mapping[str, Any] | None:
    key, _, number = source.partition("#")
    with TemporaryDirectory() as name:
        folder = Path(name)
        work.buckets.records.download(key, folder / "file")
        members = files.unpack(folder / "file", key, folder)
        member = members[int(number) - 1]
        return _of_parquet(work, member, row) if member.is_parquet else _of_text(member, row)


def _of_text(member: Member, row: int) -> Mapping[str, Any] | None:
    headers = files.header_of(member.path, member.name)
    rows = files.tidy_rows(member.path, member.name, len(headers))
    cells = next(islice(rows, row, row + 1), None)
    return None if cells is None else dict(zip(headers, cells, strict=False))


def _of_parquet(work: Services, member: Member, row: int) -> Mapping[str, Any] | None:
    with connect(work.scratch, work.memory_mb, work.threads) as connection:
        query = f"SELECT * FROM read_parquet({quoted(str(member.path))}) LIMIT 1 OFFSET ?"  # noqa: S608
        cursor = connection.execute(query, [row])
        names = [one[0] for one in cursor.description or ()]
        found = cursor.fetchall()
    return (
        {name: None if value is None else str(value) for name, value in zip(names, found[0], strict=True)}
        if found
        else None
    )
