"""A bill file taken apart: its rows by payer, cycle and date, and the rows that are no line, none of them lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
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


@dataclass(slots=True)
class Split:
    """A file's rows: where those of each place lie, and why the others are no line."""

    form: Format
    reading: Reading
    rows: int = 0
    totals: int = 0  # rows of sums
    pages: list[str] = field(default_factory=list)  # the names of its tables
    places: dict[Place, list[Path]] = field(default_factory=dict)
    counts: dict[Place, int] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)

    @property
    def cycles(self) -> list[tuple[str, str]]:
        """The bills it speaks of: payer and cycle."""
        return sorted({(payer, cycle) for payer, cycle, _ in self.places})

    def dates(self, payer: str, cycle: str) -> list[str]:
        """The dates of one bill that it has lines of."""
        return sorted(day for one, month, day in self.places if (one, month) == (payer, cycle))


def split(
    connection: duckdb.DuckDBPyConnection,
    path: Path,
    name: str,
    reading_of: Callable[[Format, str], Reading],
    folder: Path,
) -> Split:
    """Take the file at `path` apart into `folder`; `reading_of` gets its form and the payer that its first row names.

    BadInputError where the file as a whole cannot be read; a row that cannot is one of the rejects.
    """
    found: Split | None = None
    for page, member in enumerate(files.unpack(path, name, folder), 1):
        table, is_plain = raw.open_table(connection, member, page), member.is_parquet
        if not is_plain:
            is_plain = files.look_through(member.path).is_plain and _begins(connection, table)
            table = table if is_plain else raw.tidied(member, table, page, folder)
        if found is None:
            found = Split(table.form, reading_of(table.form, _first_payer(connection, table)))
        elif table.form.id != found.form.id:
            problem = f"is of form {table.form.id}, the tables before it of {found.form.id}"
            raise BadInputError(member.name, problem, "hand in files of one form")
        _take(connection, found, member, table, page, folder)
        found.pages.append(member.name)
    assert found is not None  # noqa: S101 - a file without tables is refused before
    _find_rejects(connection, found, folder)
    _check_totals(connection, found, folder, name)
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


def _first_payer(connection: duckdb.DuckDBPyConnection, table: Table) -> str:
    """The payer that the first row names; empty where the form names none."""
    headers = [header for header in table.headers if table.form.column_of(header) == "payer"]
    if not headers:
        return ""
    name = '"' + headers[0].replace('"', '""') + '"'
    found = connection.execute(f"SELECT {name} FROM {table.rows} LIMIT 1").fetchall()  # noqa: S608
    return (found[0][0] or "").strip() if found else ""


def _take(
    connection: duckdb.DuckDBPyConnection, found: Split, member: Member, table: Table, page: int, folder: Path
) -> None:
    """Write the rows of a table by their place; a table that a plain reader stumbles over is read row by row."""
    import duckdb

    target = folder / f"split-{page}"
    try:
        found.rows += _copy(connection, found, table, target)
        return
    except (duckdb.InvalidInputException, duckdb.ConversionException) as exc:
        if member.is_parquet or (folder / f"tidy-{page}.csv").exists():
            raise BadInputError(member.name, f"cannot be read ({files.said(exc)})", "export it again") from exc
    shutil.rmtree(target, ignore_errors=True)
    found.rows += _copy(connection, found, raw.tidied(member, table, page, folder), target)


def _copy(connection: duckdb.DuckDBPyConnection, found: Split, table: Table, target: Path) -> int:
    query = normalise.checked_sql(found.reading, table.rows, table.headers)
    options = "FORMAT parquet, PARTITION_BY (place), COMPRESSION lz4_raw, ROW_GROUP_SIZE 16384"
    [(rows,)] = connection.execute(f"COPY ({query}) TO {quoted(str(target))} ({options})").fetchall()
    for directory in sorted(target.glob("place=*")):
        place = directory.name.removeprefix("place=")
        if place in (REJECTED, TOTAL):
            continue
        payer, cycle, day = place.split("_")
        paths = sorted(directory.glob("*.parquet"))
        found.places.setdefault((payer, cycle, day), []).extend(paths)
        [(count,)] = connection.execute(f"SELECT count(*) FROM {relation(paths)}").fetchall()  # noqa: S608
        found.counts[payer, cycle, day] = found.counts.get((payer, cycle, day), 0) + count
    return int(rows)


def relation(paths: list[Path]) -> str:
    """SQL for the rows in these files."""
    return f"read_parquet([{', '.join(quoted(str(path)) for path in paths)}], hive_partitioning=false)"


def _placed(folder: Path, place: str) -> list[Path]:
    return sorted(path for path in folder.glob(f"split-*/place={place}/*.parquet"))


def _find_rejects(connection: duckdb.DuckDBPyConnection, found: Split, folder: Path) -> None:
    paths = _placed(folder, REJECTED)
    if paths:
        query = f"SELECT page, row, reason FROM {relation(paths)} ORDER BY ALL"  # noqa: S608
        found.rejects = [Reject(*one) for one in connection.execute(query).fetchall()]


def _check_totals(connection: duckdb.DuckDBPyConnection, found: Split, folder: Path, name: str) -> None:
    """Hold the file's own sums against its rows: where they disagree, it is not whole."""
    paths, rejected = _placed(folder, TOTAL), _placed(folder, REJECTED)
    if not paths:
        return
    said = f"SELECT count(*), sum(gross), sum(pretax) FROM {relation(paths)}"  # noqa: S608
    [(found.totals, *stated)] = connection.execute(said).fetchall()
    rows = [*(path for mine in found.places.values() for path in mine), *rejected]
    if not rows:
        return
    ours = f"SELECT count(*) - count(gross), count(*) - count(pretax), sum(gross), sum(pretax) FROM {relation(rows)}"  # noqa: S608
    [(*unread, gross, pretax)] = connection.execute(ours).fetchall()
    for amount, total, sum_, missing in zip(("gross", "pretax"), stated, (gross, pretax), unread, strict=True):
        # Where a row's amount could not be read, its case says so, and nothing can be said of the sum.
        if total is not None and not missing and total != sum_:
            problem = f"its row of sums says {amount} {text(total)}, its rows come to {text(sum_)}"
            raise BadInputError(name, problem, "export the file again: it is not whole")
