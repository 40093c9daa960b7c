"""What must hold for any bytes: a reading that loses nothing and rounds nothing, or a refusal that people can read.

Each target takes bytes and raises where something does not hold. Rows and sums are counted a second time with Python's
own csv and decimal modules, and a text file is read twice: by the plain reader and row by row.
"""

from __future__ import annotations

import csv
import io
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import duckdb

from shared.bill import api, files, formats, parts, raw, tags
from shared.bill.formats import Format
from shared.bill.line import AMOUNTS, QUANTITIES
from shared.bill.normalise import Reading, checked_sql
from shared.bill.pages import PageReader
from shared.columnar import connect
from shared.errors import BadInputError
from shared.steps import splitting
from shared.steps.ingest_file import told_by
from shared.steps.splitting import Split, place_of
from tests.fuzz import seeds

NAME = "bills/fuzzed"
MESSAGE_MAX = 4_000
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?)([eE]-?\d+)?", re.ASCII)
_TWICE_EVERY, _PARTS_EVERY = 4, 3  # each takes as long as taking a file apart once


class BrokenError(AssertionError):
    """Something that must hold does not."""


def must(holds: object, what: str) -> None:
    """Raise where it does not hold."""
    if not holds:
        raise BrokenError(what)


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a file: why it was refused, or its rows."""

    refused: str = ""
    rejects: tuple[tuple[int, int, str], ...] = ()
    lines: tuple[tuple[Any, ...], ...] = ()  # every column of every line
    totals: int = 0


def rows(body: bytes) -> int:
    """The rows of a file's tables as texts: alike from the plain reader, from the other, and from `csv`; how many."""
    found = 0
    with _room() as (connection, folder):
        path = folder / "file"
        path.write_bytes(body)
        try:
            for page, member in enumerate(files.unpack(path, NAME, folder), 1):
                table = raw.open_table(connection, member, page)
                if member.is_parquet:
                    found += len(connection.execute(f"FROM {table.rows}").fetchall())
                    continue
                plain = _plain_rows(connection, member, table)
                tidy = list(files.tidy_rows(member.path, NAME, len(table.headers)))
                must(len(tidy) == len(_text_rows(member)), "rows are lost where they are read one by one")
                for row in tidy:
                    must(len(row) == len(table.headers) + 1, "a row is not as wide as its header")
                    "".join(row).encode()
                if plain is not None:
                    must(plain == tidy, f"the readers differ: {plain} and {tidy}")
                found += len(tidy)
        except BadInputError as exc:
            readable(str(exc))
    return found


def _plain_rows(
    connection: duckdb.DuckDBPyConnection, member: files.Member, table: raw.Table
) -> list[list[str]] | None:
    if files.glance(member.path).has_long_lines or not files.is_plain(member.path):
        return None
    try:
        found = connection.execute(f"SELECT * EXCLUDE (row, page) FROM {table.rows} ORDER BY row").fetchall()
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        return None
    try:
        list(files.tidy_rows(member.path, NAME, len(table.headers)))
    except BadInputError as exc:
        raise BrokenError(f"the plain reader takes what the other refuses: {exc}") from exc
    return [["" if cell is None else cell for cell in row] for row in found]


def split(body: bytes, payer: str) -> Answer:
    """A bill file taken apart, for one payer."""
    with _room() as (connection, folder):
        answer, is_plain = _answer(connection, body, payer, folder / "plain", is_forced=False)
        if is_plain and zlib.crc32(body) % _TWICE_EVERY == 0:
            tidy, _ = _answer(connection, body, payer, folder / "tidy", is_forced=True)
            must(bool(answer.refused) == bool(tidy.refused), f"plain: {answer.refused!r}, tidy: {tidy.refused!r}")
            if not answer.refused:
                must(answer == tidy, f"the readers differ: {answer} and {tidy}")
        return answer


def pages(body: bytes) -> int:
    """A page of the API, up to its day part; how many rows it has."""
    for before in (body, seeds.page(seeds.ITEM)):
        must(_next_text(before, body) == _next_text(b"", body), "a page is not read as the one before it")
    try:
        page = api.parse_page(body, "page 1")
    except BadInputError as exc:
        readable(str(exc))
        return 0
    with _room() as (connection, folder):
        try:
            table, *_ = raw.write_pages(folder / "rows.csv", [("page 1", body)])
            account = page.account if page.account.isdecimal() else ""  # whose page it is was asked when it was pulled
            reading = Reading(table.form, "negative", account, "2025-06", "2025-06-05")
            checked = checked_sql(reading, table.rows, table.headers, is_trimmed=True)
            rows = f"(SELECT * REPLACE ('' AS place) FROM ({checked}))"
            equations = [one.equation for one in table.form.identities]
            target = parts.Target(folder / "part", folder / "trace")
            built = parts.build(connection, rows, "api", equations, {"": target})[""]
        except BadInputError as exc:
            readable(str(exc))
            return 0
        must(built.part.rows + len(built.rejects) == len(page.items), "rows of the page are lost")
        for one in built.rejects:
            readable(one.reason)
        rejected = {one.row for one in built.rejects}
        kept = [item for number, item in enumerate(page.items) if number not in rejected]
        _sums(connection, f"read_parquet('{folder / 'part'}')", table.form, [_texts(item) for item in kept])
    return len(page.items)


def _next_text(before: bytes, body: bytes) -> str:
    """The rows of a page that is read after another, or why it is refused; without one before it, it is read alone."""
    reader = PageReader(pages=0 if before else 1)
    with suppress(BadInputError):
        if before:
            reader.text(before, "page 1")
    try:
        return reader.text(body, "page 2")
    except BadInputError as exc:
        return str(exc)


def told_tags(body: bytes) -> None:
    """Tags in each notation: a value of each key, and every letter of the raw text somewhere."""
    text = body.decode("utf-8", "replace")
    for notation in formats.TAG_NOTATIONS:
        try:
            parsed = tags.parse_tags(text, notation)
        except BadInputError as exc:
            readable(str(exc))
            continue
        parsed.encode()
        must(tags.parse_json_tags(parsed) == parsed, f"{parsed!r} is not canonical")
        if notation != "json":
            lost = set(re.sub(r"[\s:;\\\"]", "", text)) - set(re.sub(r"[\s:;\\]", "", parsed)) - set("keyvalu")
            must(all(not one.isprintable() for one in lost), f"{text!r} became {parsed!r}")


def names(body: bytes) -> None:
    """The name of an object, read in every form."""
    text = body.decode("utf-8", "replace")
    for form in formats.known().values():
        try:
            told = told_by(text, form)
        except BadInputError as exc:
            readable(str(exc))
            continue
        is_month = re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", told.cycle, re.ASCII)
        must(not told.cycle or is_month, f"{text!r} tells cycle {told.cycle!r}")
        must(told.covers in (formats.CYCLE, formats.DAY), f"{text!r} covers {told.covers!r}")


def readable(message: str) -> None:
    """A message that can be kept and shown."""
    message.encode()
    must(0 < len(message) <= MESSAGE_MAX, f"a message of {len(message)} characters")


@contextmanager
def _room() -> Iterator[tuple[duckdb.DuckDBPyConnection, Path]]:
    base = Path("/dev/shm")  # noqa: S108 - thousands of short files a minute
    with (
        tempfile.TemporaryDirectory(dir=base if base.is_dir() else None) as name,
        connect(Path(tempfile.gettempdir()), 1024, 1) as connection,
    ):
        yield connection, Path(name)


def _answer(
    connection: duckdb.DuckDBPyConnection, body: bytes, payer: str, folder: Path, *, is_forced: bool
) -> tuple[Answer, bool]:
    """What becomes of a file, and whether all of it went the plain way; `is_forced` reads every text row by row."""
    folder.mkdir()
    path = folder / "file"
    path.write_bytes(body)

    def reading_of(form: Format) -> Reading:
        return Reading(form, "negative", payer, "", "", "CNY", {"a": "2234567890123456"})

    odd = mock.patch.object(files, "is_plain", return_value=False)
    try:
        with odd if is_forced else nullcontext():
            found = splitting.split(connection, path, NAME, reading_of, folder)
    except BadInputError as exc:
        readable(str(exc))
        return Answer(str(exc)), not is_forced and not list(folder.rglob("tidy-*"))
    for one in found.rejects:
        readable(one.reason)
    _nothing_lost(connection, found, files.unpack(path, NAME, _made(folder / "again")))
    if not is_forced and zlib.crc32(body) % _PARTS_EVERY == 0:
        _parts(connection, found, folder)
    lines = connection.execute(f"SELECT * FROM {found.lines} ORDER BY page, row").fetchall()
    rejects = tuple((one.page, one.row, one.reason) for one in found.rejects)
    return Answer("", rejects, tuple(lines), found.totals), not list(folder.rglob("tidy-*"))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _nothing_lost(connection: duckdb.DuckDBPyConnection, found: Split, members: list[files.Member]) -> None:
    """Rows in are rows out, and what is kept of them adds up, as counted without our own readers."""
    rejected = {(one.page, one.row) for one in found.rejects}
    kept: list[Mapping[str, str]] = []
    rows_in = 0
    for page, member in enumerate(members, 1):
        rows = _parquet_rows(connection, member) if member.is_parquet else _text_rows(member)
        rows_in += len(rows)
        kept += [row for number, row in enumerate(rows) if (page, number) not in rejected]
    totals = [row for row in kept if _is_total(found.form, row)]
    kept = [row for row in kept if not _is_total(found.form, row)]
    must(rows_in == found.rows, f"{rows_in} rows are in the file, {found.rows} were read")
    must(len(totals) == found.totals, f"{len(totals)} rows of sums are in the file, {found.totals} were read")
    must(len(kept) == sum(found.counts.values()), f"{len(kept)} rows are lines, {found.counts} were kept")
    _sums(connection, found.lines, found.form, kept)


def _text_rows(member: files.Member) -> list[dict[str, str]]:
    text = member.path.read_bytes().decode("utf-8-sig", "surrogateescape")
    header, *rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    headers = [cell.strip(api.BLANKS) for cell in header]
    return [dict(zip(headers, row, strict=False)) for row in rows]


def _parquet_rows(connection: duckdb.DuckDBPyConnection, member: files.Member) -> list[dict[str, str]]:
    found = connection.execute(f"FROM read_parquet('{member.path}', file_row_number=true) ORDER BY file_row_number")
    headers = [name.strip() for name, *_ in found.description]
    return [
        {name: "" if value is None else str(value) for name, value in zip(headers, row, strict=True)}
        for row in found.fetchall()
    ]


def _is_total(form: Format, row: Mapping[str, str]) -> bool:
    return any(row.get(header, "").strip(api.BLANKS) in known for header, known in form.total.items())


def _texts(item: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in item.items() if isinstance(value, str)}


def _sums(
    connection: duckdb.DuckDBPyConnection, rows: str, form: Format, kept: list[Mapping[str, str]] | list[dict[str, str]]
) -> None:
    """Every amount to its last digit."""
    columns = [*AMOUNTS, *QUANTITIES]
    fetched = connection.execute(f"SELECT {', '.join(columns)} FROM {rows}").fetchall()
    for place, column in enumerate(columns):
        ours = _sum([_decimal(row.get(header, "")) for row in kept for header in form.headers_of(column)])
        theirs = _sum([row[place] for row in fetched if row[place] is not None])
        must(ours == theirs, f"{column}: {ours} in the file, {theirs} in its lines")


def _decimal(cell: str) -> Decimal:
    cell = cell.strip(api.BLANKS)
    must(not cell or _PLAIN.fullmatch(cell), f"{cell!r} was taken as a number")
    return Decimal(cell or 0)


def _sum(numbers: list[Decimal]) -> Decimal:
    """Exact whatever the numbers: whole units of 10^-40."""
    return Decimal(sum(int(one.scaleb(40)) for one in numbers))


def _parts(connection: duckdb.DuckDBPyConnection, found: Split, folder: Path) -> None:
    for place in list(found.counts)[:1]:
        equations = [one.equation for one in found.form.identities]
        part, trace = folder / "part", folder / "trace"
        named = place_of(*place)
        mine, targets = found.placed(named), {named: parts.Target(part, trace)}
        built = parts.build(connection, found.all, found.form.tags, equations, targets)[named]
        must(built.part.rows + len(built.rejects) == found.counts[place], f"rows of {place} are lost")
        for one in built.rejects:
            readable(one.reason)
        if not built.rejects:
            for column in ("gross", "pretax"):
                [pair] = connection.execute(
                    f"SELECT (SELECT sum({column}) FROM {mine}), (SELECT sum({column}) FROM read_parquet('{part}'))"
                ).fetchall()
                must(pair[0] == pair[1], f"{column} of {place}: {pair}")


Target = Callable[[bytes], object]


def known(payer: str) -> dict[str, Target]:
    """Every target by name."""
    return {"rows": rows, "split": lambda body: split(body, payer), "pages": pages, "tags": told_tags, "names": names}
