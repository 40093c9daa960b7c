"""A bill file taken apart: its rows by payer, cycle and date, and the rows that are no line, none of them lost."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shared.bill import files, normalise, raw
from shared.bill.files import Member
from shared.bill.formats import Format
from shared.bill.normalise import REJECTED, TOTAL, Reading
from shared.bill.parts import Reject
from shared.bill.raw import Table
from shared.columnar import quoted
from shared.errors import BadInputError
from shared.money import text

if TYPE_CHECKING:
    import duckdb

Place = tuple[str, str, str]  # payer, cycle, date


_PIECE = 32 * 1024 * 1024  # bytes of a plain file that are read at once


@dataclass(slots=True)
class Split:
    """A file's rows: in which tables of the scratch database they are, and why some of them are no line."""

    form: Format
    reading: Reading
    rows: int = 0
    totals: int = 0  # rows of sums
    pages: list[str] = field(default_factory=list)  # the names of its tables
    tables: list[str] = field(default_factory=list)  # where the checked rows are
    counts: dict[Place, int] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)

    @property
    def cycles(self) -> list[tuple[str, str]]:
        """The bills it speaks of: payer and cycle."""
        return sorted({(payer, cycle) for payer, cycle, _ in self.counts})

    def dates(self, payer: str, cycle: str) -> list[str]:
        """The dates of one bill that it has lines of."""
        return sorted(day for one, month, day in self.counts if (one, month) == (payer, cycle))

    def rows_of(self, *place: str) -> str:
        """SQL for the rows of payer, cycle and date."""
        return self.placed("_".join(place))

    @property
    def lines(self) -> str:
        """SQL for all rows that are lines."""
        are = f"place NOT IN ('{REJECTED}', '{TOTAL}')"
        each = (f"SELECT * EXCLUDE (place) FROM {table} WHERE {are}" for table in self.tables)  # noqa: S608
        return f"({' UNION ALL '.join(each)})"

    def placed(self, place: str) -> str:
        """SQL for the rows of a place, as `normalise` names it."""
        each = (f"SELECT * EXCLUDE (place) FROM {table} WHERE place = {quoted(place)}" for table in self.tables)  # noqa: S608
        return f"({' UNION ALL '.join(each)})"


class Scratch:
    """A database of its own on the disk, for the rows of files that are taken apart; gone when it is closed."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, folder: Path, threads: int = 1) -> None:
        self.connection, self.folder, self.threads = connection, folder, threads
        self._name = f"scratch_{secrets.token_hex(8)}"
        self._tables = 0
        connection.execute(f"ATTACH {quoted(str(folder / 'scratch.db'))} AS {self._name}")

    def close(self) -> None:
        """Let go of the database; its file goes with the folder."""
        self.connection.execute(f"DETACH {self._name}")

    def table(self) -> str:
        """The name of a further table."""
        self._tables += 1
        return f"{self._name}.rows_{self._tables}"


def split(scratch: Scratch, path: Path, name: str, reading_of: Callable[[Format], Reading]) -> Split:
    """Take the file at `path` apart; `reading_of` says how a form is read.

    BadInputError where the file as a whole cannot be read; a row that cannot is one of the rejects.
    """
    found: Split | None = None
    connection, folder = scratch.connection, Path(tempfile.mkdtemp(dir=scratch.folder))
    for page, member in enumerate(files.unpack(path, name, folder), 1):
        table, has_quotes = raw.open_table(connection, member, page), True
        if not member.is_parquet:
            looked = files.look_through(member.path)
            is_plain, has_quotes = looked.is_plain and _begins(connection, table), looked.has_quotes
            table = table if is_plain else raw.tidied(member, table, page, folder)
            has_quotes = has_quotes or not is_plain
        if found is None:
            found = Split(table.form, reading_of(table.form))
        elif table.form.id != found.form.id:
            problem = f"is of form {table.form.id}, the tables before it of {found.form.id}"
            raise BadInputError(member.name, problem, "hand in files of one form")
        tables = [table] if has_quotes else raw.pieces(member, table, page, folder, _PIECE)
        _take(scratch, found, member, tables, page, folder)
        found.pages.append(member.name)
    assert found is not None  # noqa: S101 - a file without tables is refused before
    _refuse_repeated(connection, found)
    _count(connection, found)
    _check_totals(connection, found, name)
    if sum(found.counts.values()) + len(found.rejects) + found.totals != found.rows:
        raise AssertionError(f"{name}: {found.rows} rows came in, others went out")
    return found


def _begins(connection: duckdb.DuckDBPyConnection, table: Table) -> bool:
    import duckdb

    try:
        connection.execute(f"SELECT * FROM {table.rows} LIMIT 1").fetchall()  # noqa: S608
    except (duckdb.InvalidInputException, duckdb.ConversionException):
        return False
    return True


def _take(scratch: Scratch, found: Split, member: Member, tables: list[Table], page: int, folder: Path) -> None:
    """Take in the rows of a table; one that a plain reader stumbles over is read row by row."""
    import duckdb

    try:
        _read(scratch, found, tables)
    except (duckdb.InvalidInputException, duckdb.ConversionException) as exc:
        if member.is_parquet or (folder / f"tidy-{page}.csv").exists():
            raise BadInputError(member.name, f"cannot be read ({files.said(exc)})", "export it again") from exc
        _read(scratch, found, [raw.tidied(member, tables[0], page, folder)])


def _read(scratch: Scratch, found: Split, tables: list[Table]) -> None:
    """Read all of these tables into the scratch database, or none of them."""
    made = [(scratch.table(), normalise.checked_sql(found.reading, one.rows, one.headers)) for one in tables]

    def one(name: str, query: str) -> int:
        with scratch.connection.cursor() as cursor:
            [(rows,)] = cursor.execute(f"CREATE TABLE {name} AS {query}").fetchall()
            return int(rows)

    if len(made) == 1:
        rows = [one(*made[0])]
    else:
        with ThreadPoolExecutor(scratch.threads) as pool:
            rows = list(pool.map(lambda each: one(*each), made))
    found.rows += sum(rows)
    found.tables += [name for name, _ in made]


def _refuse_repeated(connection: duckdb.DuckDBPyConnection, found: Split) -> None:
    """Of rows that bear the same id of the source's own the first is a line, whatever date the others have."""
    if not found.form.unique:
        return
    said = "'the line ' || left(source_id, 60) || ' is there already'"
    each = " UNION ALL ".join(f"SELECT source_id, page, row FROM {one} WHERE reason IS NULL" for one in found.tables)  # noqa: S608
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE again AS SELECT page, row FROM ({each}) "  # noqa: S608
        "QUALIFY row_number() OVER (PARTITION BY source_id ORDER BY page, row) > 1"
    )
    if connection.execute("SELECT 1 FROM again LIMIT 1").fetchall():
        for one in found.tables:
            connection.execute(
                f"UPDATE {one} SET place = '{REJECTED}', reason = {said} FROM again "  # noqa: S608
                f"WHERE {one}.page = again.page AND {one}.row = again.row"
            )


def _count(connection: duckdb.DuckDBPyConnection, found: Split) -> None:
    """How many rows each place has, and the rows that are no line."""
    each = " UNION ALL ".join(f"SELECT place, count(*) AS rows FROM {one} GROUP BY place" for one in found.tables)  # noqa: S608
    for place, rows in connection.execute(f"SELECT place, sum(rows)::BIGINT FROM ({each}) GROUP BY place").fetchall():  # noqa: S608
        if place == TOTAL:
            found.totals = rows
        elif place != REJECTED:
            payer, cycle, day = place.split("_")
            found.counts[payer, cycle, day] = rows
    query = f"SELECT page, row, reason FROM {found.placed(REJECTED)} ORDER BY ALL"  # noqa: S608
    found.rejects = [Reject(*one) for one in connection.execute(query).fetchall()]


def _check_totals(connection: duckdb.DuckDBPyConnection, found: Split, name: str) -> None:
    """Hold the file's own sums against its rows: where they disagree, it is not whole."""
    if not found.totals or found.totals == found.rows:
        return
    said = f"SELECT sum(gross), sum(pretax) FROM {found.placed(TOTAL)}"  # noqa: S608
    [stated] = connection.execute(said).fetchall()
    rows = " UNION ALL ".join(f"SELECT gross, pretax FROM {one} WHERE place <> '{TOTAL}'" for one in found.tables)  # noqa: S608
    ours = f"SELECT count(*) - count(gross), count(*) - count(pretax), sum(gross), sum(pretax) FROM ({rows})"  # noqa: S608
    [(*unread, gross, pretax)] = connection.execute(ours).fetchall()
    for amount, total, sum_, missing in zip(("gross", "pretax"), stated, (gross, pretax), unread, strict=True):
        # Where a row's amount could not be read, its case says so, and nothing can be said of the sum.
        if total is not None and not missing and total != sum_:
            problem = f"its row of sums says {amount} {text(total)}, its rows come to {text(sum_)}"
            raise BadInputError(name, problem, "export the file again: it is not whole")
