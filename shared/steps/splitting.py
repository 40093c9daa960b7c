"""A bill file taken apart: its rows by payer, cycle and date, and the rows that are no line, none of them lost."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shared.bill import files, normalise, raw
from shared.bill.files import Member
from shared.bill.formats import Format
from shared.bill.line import COLUMNS
from shared.bill.normalise import REJECTED, TOTAL, Reading
from shared.bill.parts import Reject
from shared.bill.raw import Table
from shared.columnar import quoted
from shared.errors import BadInputError
from shared.money import text

if TYPE_CHECKING:
    import duckdb

Place = tuple[str, str, str]  # payer, cycle, date


def place_of(*place: str) -> str:
    """A place as `normalise` names it."""
    return "_".join(place)


@dataclass(slots=True)
class Split:
    """A file's rows: in which files of the scratch folder they are, and why some of them are no line."""

    form: Format
    reading: Reading
    rows: int = 0
    totals: int = 0  # rows of sums
    pages: list[str] = field(default_factory=list)  # the names of its tables
    checked: list[Path] = field(default_factory=list)  # the checked rows of each, as Parquet
    counts: dict[Place, int] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)

    @property
    def cycles(self) -> list[tuple[str, str]]:
        """The bills it speaks of: payer and cycle."""
        return sorted({(payer, cycle) for payer, cycle, _ in self.counts})

    def dates(self, payer: str, cycle: str) -> list[str]:
        """The dates of one bill that it has lines of."""
        return sorted(day for one, month, day in self.counts if (one, month) == (payer, cycle))

    @property
    def lines(self) -> str:
        """SQL for all rows that are lines, with their place."""
        return f"(SELECT * FROM {self.all} WHERE place NOT IN ('{REJECTED}', '{TOTAL}'))"  # noqa: S608

    def placed(self, place: str) -> str:
        """SQL for the rows of a place, as `normalise` names it."""
        return f"(SELECT * EXCLUDE (place) FROM {self.all} WHERE place = {quoted(place)})"  # noqa: S608

    @property
    def all(self) -> str:
        """SQL for all rows, with their place."""
        files = f"read_parquet([{', '.join(quoted(str(path)) for path in self.checked)}])"
        none = "".join(f", NULL::{COLUMNS[name]} AS {name}" for name in normalise.absent(self.reading))
        return f"(SELECT *{none} FROM {files})"  # noqa: S608


def split(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, reading_of: Callable[[Format], Reading], scratch: Path
) -> Split:
    """Take the file at `path` apart in a folder of its own in `scratch`; `reading_of` says how a form is read.

    BadInputError where the file as a whole cannot be read; a row that cannot is one of the rejects.
    """
    found: Split | None = None
    folder = Path(tempfile.mkdtemp(dir=scratch))
    for page, member in enumerate(files.unpack(path, name, folder), 1):
        table = _texts(connection, member, page, folder)
        if found is None:
            found = Split(table.form, reading_of(table.form))
        elif table.form.id != found.form.id:
            problem = f"is of form {table.form.id}, the tables before it of {found.form.id}"
            raise BadInputError(member.name, problem, "hand in files of one form")
        _check(connection, found, member, table, folder / f"checked-{page}.parquet")
        found.pages.append(member.name)
    assert found is not None  # noqa: S101 - a file without tables is refused before
    _refuse_repeated(connection, found, folder)
    _count(connection, found)
    _check_totals(connection, found, name)
    if sum(found.counts.values()) + len(found.rejects) + found.totals != found.rows:
        raise AssertionError(f"{name}: {found.rows} rows came in, others went out")
    return found


def _texts(connection: duckdb.DuckDBPyConnection, member: Member, page: int, folder: Path) -> Table:
    """The texts of a table; of what a plain reader stumbles over, read row by row."""
    import duckdb

    table, target = raw.open_table(connection, member, page), folder / f"texts-{page}.parquet"
    if member.is_parquet:
        return table
    seen = files.glance(member.path)
    if not seen.has_long_lines:
        # Whether a plain reader will do takes as long to find out as to read.
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(raw.plainly, connection, member, table, target, page, has_quotes=seen.has_quotes)
            is_plain = files.is_plain(member.path)
            failed = reading.exception()
        if is_plain and failed is None:
            return reading.result()
        if failed is not None and not isinstance(failed, (duckdb.InvalidInputException, duckdb.ConversionException)):
            raise failed
    try:
        return raw.tidily(connection, member, table, target, page)
    except (duckdb.InvalidInputException, duckdb.ConversionException) as exc:
        raise BadInputError(member.name, f"cannot be read ({files.said(exc)})", "export it again") from exc


def _check(connection: duckdb.DuckDBPyConnection, found: Split, member: Member, table: Table, target: Path) -> None:
    """Put every row of a table in the columns of a line, with its place."""
    import duckdb

    checked = normalise.checked_sql(found.reading, table.rows, table.headers)
    try:
        found.rows += _write(connection, found, checked, target)
    except (duckdb.InvalidInputException, duckdb.ConversionException) as exc:
        raise BadInputError(member.name, f"cannot be read ({files.said(exc)})", "export it again") from exc
    found.checked.append(target)


def _write(connection: duckdb.DuckDBPyConnection, found: Split, rows: str, target: Path) -> int:
    none = normalise.absent(found.reading)
    kept = f"SELECT * EXCLUDE ({', '.join(none)}) FROM ({rows})" if none else rows  # noqa: S608
    # Dates mostly follow each other in a bill, so that small groups of rows are of few of them.
    written = f"COPY ({kept}) TO {quoted(str(target))} (FORMAT parquet, COMPRESSION lz4, ROW_GROUP_SIZE 16384)"
    [(count,)] = connection.execute(written).fetchall()
    return int(count)


def _refuse_repeated(connection: duckdb.DuckDBPyConnection, found: Split, folder: Path) -> None:
    """Of rows that bear the same id of the source's own the first is a line, whatever date the others have."""
    if not found.form.unique:
        return
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE again AS SELECT page, row FROM {found.all} WHERE reason IS NULL "  # noqa: S608
        "QUALIFY row_number() OVER (PARTITION BY source_id ORDER BY page, row) > 1"
    )
    if connection.execute("SELECT 1 FROM again LIMIT 1").fetchall():
        place = f"CASE WHEN a.row IS NULL THEN place ELSE '{REJECTED}' END AS place"
        said = "'the line ' || left(source_id, 60) || ' is there already'"
        reason = f"CASE WHEN a.row IS NULL THEN reason ELSE {said} END AS reason"
        refused, target = f"{found.all} r LEFT JOIN again a ON a.page = r.page AND a.row = r.row", folder / "refused"
        _write(connection, found, f"SELECT r.* REPLACE ({place}, {reason}) FROM {refused}", target)  # noqa: S608
        found.checked = [target]


def _count(connection: duckdb.DuckDBPyConnection, found: Split) -> None:
    """How many rows each place has, and the rows that are no line."""
    for place, rows in connection.execute(f"SELECT place, count(*) FROM {found.all} GROUP BY place").fetchall():  # noqa: S608
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
    rows = f"{found.all} WHERE place <> '{TOTAL}'"
    ours = f"SELECT count(*) - count(gross), count(*) - count(pretax), sum(gross), sum(pretax) FROM {rows}"  # noqa: S608
    [(*unread, gross, pretax)] = connection.execute(ours).fetchall()
    for amount, total, sum_, missing in zip(("gross", "pretax"), stated, (gross, pretax), unread, strict=True):
        # Where a row's amount could not be read, its case says so, and nothing can be said of the sum.
        if total is not None and not missing and total != sum_:
            problem = f"its row of sums says {amount} {text(total)}, its rows come to {text(sum_)}"
            raise BadInputError(name, problem, "export the file again: it is not whole")
