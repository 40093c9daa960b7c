"""Raw rows as text, from the pages of a pull or the tables of a bill file, as relations that SQL can read.

A relation has a column for each header, text as it was written, and `problem` (what is wrong with the row as such),
`page` (of the pull, or table of the file, from 1) and `row` (from 0).
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shared.bill import api, files, formats
from shared.bill.files import Member
from shared.bill.formats import Format
from shared.bill.pages import CELL_END, PageReader
from shared.columnar import quoted
from shared.errors import BadInputError

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one form: SQL for their relation, and the headers that it has."""

    form: Format
    rows: str
    headers: tuple[str, ...]
    is_trimmed: bool = False  # no text has blanks at its ends, and what is empty is absent


def write_pages(path: Path, pages: Iterable[tuple[str, bytes]]) -> tuple[Table, str, set[str]]:
    """Write the items of the pages, each with its name, as text rows to `path`.

    Their table, the digest of what was read, and the fields of which nothing is known. The digest holds nothing of when
    or in which pull the pages were seen: the same bill has the same.
    """
    reader, content = PageReader(), hashlib.sha256()
    with path.open("wb") as file:
        for name, body in pages:
            text = reader.text(body, name).encode()
            content.update(text)
            file.write(text)
    columns, quote = [*api.fields(), "problem", "page", "row"], "" if reader.is_plain else '"'
    source = _csv(path, columns, delim=CELL_END, quote=quote)
    typed = f"(SELECT * REPLACE (CAST(page AS INTEGER) AS page, CAST(row AS INTEGER) AS row) FROM {source})"  # noqa: S608
    table = Table(formats.load(api.FORM), typed, api.fields(), is_trimmed=True)
    return table, content.hexdigest(), reader.unknown


def open_table(connection: duckdb.DuckDBPyConnection, member: Member, page: int) -> Table:
    """The table of a bill file as a plain reader sees it, its form recognised by its headers.

    BadInputError where it cannot be read at all. Reading its rows may still fail; `tidied` reads any text file.
    """
    if member.is_parquet:
        return _parquet(member, page)
    headers = files.header_of(member.path, member.name)
    form = formats.recognise(headers, member.name)
    return Table(form, _numbered(_csv(member.path, headers, is_plain=True), page), tuple(headers))


def plainly(
    connection: duckdb.DuckDBPyConnection, member: Member, table: Table, target: Path, page: int, *, has_quotes: bool
) -> Table:
    """The same table of a plain text file as Parquet at `target`, read by all threads where no cell has quotes."""
    found = _csv(member.path, table.headers, is_plain=True, is_parallel=not has_quotes)
    # Bytes that are no UTF-8 are only refused in cells that are read. So the others are asked for what they never are.
    unread = [_identifier(header) for header in table.headers if not table.form.column_of(header)]
    is_absent = " OR ".join(f"{header} IS NULL" for header in unread) or "false"
    rows = f"(SELECT *, CASE WHEN {is_absent} THEN 'lacks a cell' END AS problem FROM {found})"  # noqa: S608
    return _kept(connection, table, rows, target, page)


def tidily(connection: duckdb.DuckDBPyConnection, member: Member, table: Table, target: Path, page: int) -> Table:
    """The same table of any text file as Parquet at `target`, read row by row, each with what is wrong with it."""
    tidy = target.with_name(f"tidy-{page}.csv")
    with tidy.open("w", encoding="utf-8", newline="") as file:
        rows = files.tidy_rows(member.path, member.name, len(table.headers))
        csv.writer(file, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return _kept(connection, table, _csv(tidy, [*table.headers, "problem"]), target, page)


def _kept(connection: duckdb.DuckDBPyConnection, table: Table, rows: str, target: Path, page: int) -> Table:
    """The texts that the form reads, in their order, as Parquet: there each text of a column that has few is read once.

    That makes reading them several times as fast, which is worth more than writing them costs.
    """
    headers = [header for header in table.headers if table.form.column_of(header)]
    texts = ", ".join(map(_identifier, [*headers, "problem"]))
    # Several threads read some 8 MB at a time: of a bill that is about a group of rows, which is then written as it is.
    connection.execute(
        f"COPY (SELECT {texts} FROM {rows}) TO {quoted(str(target))} "  # noqa: S608
        "(FORMAT parquet, COMPRESSION lz4, ROW_GROUP_SIZE 16384)"
    )
    source = f"read_parquet({quoted(str(target))}, file_row_number=true)"
    numbered = f"(SELECT * EXCLUDE (file_row_number), file_row_number AS row, {page} AS page FROM {source})"  # noqa: S608
    return Table(table.form, numbered, tuple(headers))


def _csv(
    path: Path,
    columns: Sequence[str],
    *,
    is_plain: bool = False,
    is_parallel: bool = False,
    delim: str = ",",
    quote: str = '"',
) -> str:
    types = ", ".join(f"{quoted(name)}: 'VARCHAR'" for name in columns)
    # Read by one where a quoted cell may hold line ends. A cell too many is passed over where it is empty, unless empty
    # is not what stands for NULL: then a row whose cells have moved is none that can be read.
    # In files that we wrote the line end is known; where it is guessed, one of another kind in a cell breaks a row.
    null, longest, end = (
        ("chr(0)", files.PLAIN_LINE_MAX, "") if is_plain else ("''", files.LINE_MAX, "new_line='\\n', ")
    )
    return (
        f"read_csv({quoted(str(path))}, header={str(is_plain).lower()}, columns={{{types}}}, delim='{delim}', "
        f"quote='{quote}', escape='{quote}', nullstr={null}, {end}strict_mode=true, "
        f"parallel={str(is_parallel).lower()}, max_line_size={longest}, auto_detect=false)"
    )


def _numbered(source: str, page: int) -> str:
    return f"(SELECT *, row_number() OVER () - 1 AS row, {page} AS page, '' AS problem FROM {source})"  # noqa: S608


_ROWS_FREE = 1_000_000  # a row of a real bill takes more than a byte
_EXACT_TYPES = ("VARCHAR", "DECIMAL", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "DATE", "TIMESTAMP", "BOOLEAN")


def _parquet(member: Member, page: int) -> Table:
    source = f"read_parquet({quoted(str(member.path))}, file_row_number=true)"
    types = _read_through(member, source)
    form = formats.recognise([name.strip() for name in types], member.name)
    for name, type_ in types.items():
        if form.column_of(name.strip()) and type_.partition("(")[0] not in _EXACT_TYPES:
            problem = f"column {name} is {type_}, which does not hold amounts to their last digit"
            raise BadInputError(member.name, problem, "write it as text, DECIMAL, signed whole numbers or dates")
    texts = ", ".join(f'CAST("{name}" AS VARCHAR) AS "{name.strip()}"' for name in types)
    rows = f"(SELECT {texts}, {_odd(types)} AS problem, {page} AS page, file_row_number AS row FROM {source})"  # noqa: S608
    return Table(form, rows, tuple(name.strip() for name in types))


def _read_through(member: Member, source: str) -> dict[str, str]:
    """Read the whole file once while nothing rests on it: damage shows, and what would unpack to far more.

    The type of each column. Some damage breaks the database that meets it, for good: so this is one of its own.
    """
    import duckdb

    size, path = member.path.stat().st_size, quoted(str(member.path))
    groups = f"SELECT DISTINCT row_group_id, row_group_num_rows AS rows FROM parquet_metadata({path})"  # noqa: S608
    try:
        with duckdb.connect(config={"threads": 1, "memory_limit": "512MB"}) as own:
            described = own.execute(f"DESCRIBE SELECT * FROM {source}").fetchall()  # noqa: S608
            files.check_width(len(described), member.name)
            types = {name: str(type_) for name, type_, *_ in described if name != "file_row_number"}
            [(told,)] = own.execute(f"SELECT coalesce(sum(rows), 0) FROM ({groups})").fetchall()  # noqa: S608
            if not 0 <= told <= max(_ROWS_FREE, size):
                problem = f"says it holds {told} rows in {size} bytes, which no bill does"
                raise BadInputError(member.name, problem, "check where it comes from; split it if it is a bill")
            length = " + ".join(f"coalesce(strlen(CAST({_identifier(name)} AS VARCHAR)), 0)" for name in types)
            # Texts are only looked into where something asks for more than their length.
            whole = f"bit_xor(hash({', '.join(map(_identifier, types))}))"
            [(length_, _)] = own.execute(f"SELECT coalesce(sum({length}), 0), {whole} FROM {source}").fetchall()  # noqa: S608
    except (duckdb.Error, RuntimeError) as exc:  # RuntimeError: what a decoder of a column throws
        raise BadInputError(member.name, f"is no readable Parquet ({files.said(exc)})", "export it again") from exc
    if length_ > min(files.UNPACKED_MAX, max(files.RATIO_FREE, size * files.RATIO_MAX)):
        problem = f"unpacks from {size} to {length_} bytes, which no bill does"
        raise BadInputError(member.name, problem, "check where it comes from; split it if it is a bill")
    return types


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _odd(names: Iterable[str]) -> str:
    """What is wrong with a row of Parquet as such, in the words of `files.tidy_rows`."""
    whole = "concat(" + ", ".join(f'"{name}"' for name in names) + ")"
    return (
        f"CASE WHEN length({whole}) > {files.ROW_MAX} THEN 'has ' || length({whole}) || ' characters, at most "
        f"{files.ROW_MAX} are read' WHEN contains({whole}, chr(0)) THEN 'holds a NUL character' ELSE '' END"
    )
