"""The spreadsheet that a team settles with today: XLSX or CSV, read by a map that says which column is what.

Amounts become exact decimals. A cell of text is read as it is written, with the map's separators. A number in XLSX is
binary, and spreadsheets show 15 digits of it: those are taken, at most 10 decimals of them, halves away from zero; how
it is formatted does not count. Other numbers than amounts (accounts, ids) are refused beyond 15 digits, for there the
spreadsheet has lost some. Formulas count as what they came to when the file was saved. Files come from outside: sizes
are bounded before anything is read.
"""

from __future__ import annotations

import csv
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import Field

from shared.bill import files
from shared.documents import DocumentRefusedError, Model, check, reading
from shared.errors import BadInputError
from shared.money import PLACES_IN, NotAnAmountError, amount, decimals

FILE_MAX = 256 * 1024**2  # bytes of a file
UNPACKED_MAX = 1024**3  # bytes of all that an XLSX file holds
MEMBERS_MAX = 1_000
ROWS_MAX = 1_048_576  # a spreadsheet has no more
FINDINGS_MAX = 20
DIGITS_SHOWN = 15  # of a binary number
KEYS = ("line", "customer", "product", "account", "instance")
_ZIP = b"PK"
_SMALLEST = Decimal(1).scaleb(-PLACES_IN)
_SHOWN = Context(prec=DIGITS_SHOWN, rounding=ROUND_HALF_UP)

Column = Annotated[str, Field(min_length=1)]
M = TypeVar("M", bound="MapModel")


class ColumnsModel(Model):
    amount: Column
    line: Column | None = None
    customer: Column | None = None
    product: Column | None = None
    account: Column | None = None
    instance: Column | None = None
    basis: Column | None = None


class SkipModel(Model):
    column: Column
    is_: Annotated[list[str], Field(alias="is", min_length=1)]


class MapModel(Model):
    """Which column of a spreadsheet is what."""

    columns: ColumnsModel
    sheet: str | None = None  # of XLSX; the first
    header: Annotated[int, Field(ge=1, le=1_000)] = 1  # the row that names the columns
    delimiter: Literal[",", ";", "\t", "|"] = ","  # of CSV
    decimal: Literal[".", ","] = "."
    thousands: Literal["", ",", ".", " ", "'"] = ""
    skip: list[SkipModel] = Field(default_factory=list)  # rows of sums
    names: dict[Literal["customer", "product", "account"], dict[str, str]] = Field(default_factory=dict)
    currency: str | None = None  # of its amounts, where a settlement has several
    places: Annotated[int, Field(ge=0, le=10)] | None = None  # at which both are compared; else exactly


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the spreadsheet: what names it, by the columns of the map, and its amounts."""

    number: int
    keys: tuple[str, ...]
    amount: Decimal
    basis: Decimal | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """What was read."""

    keys: tuple[str, ...]  # which of KEYS name a row
    rows: Sequence[Row]
    skipped: int  # rows of sums


def read_map(path: Path) -> MapModel:
    """The map of a spreadsheet, refused with every place that is wrong."""
    return read_map_as(MapModel, path, KEYS)


def read_map_as(model: type[M], path: Path, keys: Sequence[str]) -> M:
    """A map that names rows by one of `keys`, refused with every place that is wrong."""
    name = str(path)
    with reading(path.read_bytes(), name) as data:
        found = check(model, data, name)
        columns = found.columns
        if not any(getattr(columns, key) for key in keys):
            raise DocumentRefusedError(name, [("columns", f"name at least one of {', '.join(keys)}")])
        if found.decimal == found.thousands:
            raise DocumentRefusedError(name, [("thousands", "is the decimal separator, too")])
    return found


def read_sheet(path: Path, map_: MapModel, keys: Sequence[str] = KEYS) -> Sheet:
    """The rows of the spreadsheet; refused with what is wrong in the first rows that cannot be read."""
    name = path.name
    if path.stat().st_size > FILE_MAX:
        raise BadInputError(name, f"has more than {FILE_MAX} bytes", "split it, or export its rows as CSV")
    with path.open("rb") as file:
        is_packed = file.read(2) == _ZIP
    rows = _xlsx_rows(path, map_) if is_packed else _csv_rows(path, map_)
    header = next((cells for number, cells in rows if number == map_.header), [])
    named = [str(cell or "").strip() for cell in header]
    # A wider row of CSV has most often a separator in an amount: what is before it would be taken for the whole.
    width = files.COLUMNS_MAX if is_packed else len(named)
    places = _places(name, map_, named)
    return _Reading(name, map_, places, width, tuple(key for key in keys if key in places)).sheet(rows)


def _places(name: str, map_: MapModel, header: Sequence[str]) -> dict[str, int]:
    """The place of each column that the map names."""
    wanted = {one: column for one, column in map_.columns.model_dump().items() if column is not None}
    wanted |= {f"skip.{number}": one.column for number, one in enumerate(map_.skip)}
    findings = []
    for what, column in wanted.items():
        if header.count(column) != 1:
            there = "is there more than once" if column in header else f"is not in row {map_.header}, which has "
            said = there if column in header else there + (", ".join(one for one in header if one)[:500] or "no names")
            findings.append((f"{what}: {column}", f"{said}; correct the map or its `header`"))
    if findings:
        raise DocumentRefusedError(name, findings)
    return {what: header.index(column) for what, column in wanted.items()}


@dataclass(frozen=True, slots=True)
class _Reading:
    """How the rows below the header are read."""

    name: str
    map: MapModel
    places: Mapping[str, int]
    width: int  # of a row, at most
    keys: tuple[str, ...]  # what names a row, and has a column

    def sheet(self, rows: Iterator[tuple[int, list[object]]]) -> Sheet:
        keys = self.keys
        found, findings, skipped = list[Row](), list[tuple[str, str]](), 0
        for number, cells in rows:
            if all(cell is None or str(cell).strip() == "" for cell in cells):
                continue
            if self._is_sum(cells):
                skipped += 1
                continue
            try:
                found.append(self._row(number, cells, keys))
            except (BadInputError, NotAnAmountError) as exc:
                problem = exc.problem if isinstance(exc, BadInputError) else str(exc)
                findings.append((f"row {number}", f"{problem}; correct it, or name its row under `skip`"))
            if len(findings) == FINDINGS_MAX:
                break
        if findings:
            raise DocumentRefusedError(self.name, findings)
        return Sheet(keys, found, skipped)

    def _is_sum(self, cells: Sequence[object]) -> bool:
        return any(_text(self._cell(cells, f"skip.{number}")) in one.is_ for number, one in enumerate(self.map.skip))

    def _row(self, number: int, cells: Sequence[object], keys: Sequence[str]) -> Row:
        if any(_text(cell) for cell in cells[self.width :]):
            raise BadInputError(f"row {number}", f"has {len(cells)} cells, and the header has {self.width}", "")
        named = tuple(self._key(cells, key) for key in keys)
        if not any(named):
            raise BadInputError(f"row {number}", f"names no {' or '.join(keys)}", "")
        basis = self._cell(cells, "basis") if "basis" in self.places else None
        return Row(
            number, named, self._amount(self._cell(cells, "amount")), self._amount(basis) if _text(basis) else None
        )

    def _cell(self, cells: Sequence[object], what: str) -> object:
        place = self.places[what]
        return cells[place] if place < len(cells) else None

    def _key(self, cells: Sequence[object], key: str) -> str:
        cell = self._cell(cells, key)
        if isinstance(cell, int | float) and len(f"{abs(cell):.0f}") > DIGITS_SHOWN:
            problem = f"its {key} is a number of more than {DIGITS_SHOWN} digits, of which spreadsheets lose some"
            raise BadInputError(key, f"{problem}: make the column text, from the source", "")
        text = _text(cell)
        names: Mapping[str, Mapping[str, str]] = self.map.names  # type: ignore[assignment]
        return names.get(key, {}).get(text, text)

    def _amount(self, cell: object) -> Decimal:
        if isinstance(cell, bool):
            raise NotAnAmountError(cell, "an amount, found a truth value")
        if isinstance(cell, int | float):
            return _shown(cell)
        text = _text(cell)
        if not text:
            raise BadInputError("amount", "has no amount (a formula that was never calculated looks so, too)", "")
        point, apart = self.map.decimal, self.map.thousands
        plain = text.replace("\u00a0", " ").replace("\u202f", " ")
        if apart and apart in plain:
            if re.fullmatch(rf"[+-]?\d{{1,3}}({re.escape(apart)}\d{{3}})+({re.escape(point)}\d*)?", plain) is None:
                raise NotAnAmountError(text, f"thousands set apart by {apart!r}, and decimals by {point!r}")
            plain = plain.replace(apart, "")
        if point != "." and "." in plain:
            raise NotAnAmountError(text, f"decimals after {point!r}; where '.' sets thousands apart, the map says so")
        return amount(plain.replace(point, "."))


def _shown(number: float) -> Decimal:
    """A binary number as the digits that a spreadsheet shows of it."""
    exact = Decimal(repr(number))
    if isinstance(number, int) or not exact.is_finite():
        return amount(exact)
    shown = _SHOWN.plus(exact)
    return amount(shown.quantize(_SMALLEST, ROUND_HALF_UP) if decimals(shown) > PLACES_IN else shown)


def _text(cell: object) -> str:
    """The cell as text that can be shown: nothing in it moves the cursor of whoever reads it."""
    text = f"{cell:.0f}" if isinstance(cell, float) and cell.is_integer() else "" if cell is None else str(cell)
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


# -- files ------------------------------------------------------------------------------------------------------


def _csv_rows(path: Path, map_: MapModel) -> Iterator[tuple[int, list[object]]]:
    name = path.name
    csv.field_size_limit(files.CELL_MAX)
    rows = csv.reader(files.lines_of(path, name), delimiter=map_.delimiter, strict=True)
    number = 0
    try:
        for number, cells in enumerate(rows, 1):
            _check_row(name, number, len(cells))
            if any("\udc80" <= sign <= "\udcff" for cell in cells for sign in cell):
                raise BadInputError(f"{name}, row {number}", "is no UTF-8", "save it as CSV in UTF-8; it may be GBK")
            yield number, list(cells)
    except csv.Error as exc:
        raise BadInputError(f"{name}, row {number + 1}", f"cannot be read ({exc})", "export it again") from exc


def _xlsx_rows(path: Path, map_: MapModel) -> Iterator[tuple[int, list[object]]]:
    import openpyxl

    name = path.name
    _check_packed(path, name)
    try:
        with path.open("rb") as file:  # by its name openpyxl would take it for what its name says
            book = openpyxl.load_workbook(file, read_only=True, data_only=True, keep_links=False)
            if map_.sheet is not None and map_.sheet not in book.sheetnames:
                there = ", ".join(book.sheetnames)[:500]
                raise BadInputError(name, f"has no sheet {map_.sheet!r}", f"it has {there}; correct `sheet` of the map")
            sheet = book[map_.sheet or book.sheetnames[0]]
            sheet.reset_dimensions()  # what it says of its size need not be true
            for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
                _check_row(name, number, len(cells))
                yield number, list(cells)
    except BadInputError:
        raise
    except Exception as exc:  # of whatever in it is not as a spreadsheet writes it
        problem = f"is no readable XLSX file ({files.said(exc)})"
        raise BadInputError(name, problem, "save it again as XLSX, or as CSV in UTF-8") from exc


def _check_packed(path: Path, name: str) -> None:
    """Refuse what unpacks to more than any spreadsheet does; what is unpacked later is bounded by what it says here."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as exc:
        raise BadInputError(name, f"is no readable XLSX file ({files.said(exc)})", "save it again") from exc
    told = sum(one.file_size for one in infos)
    allowed = min(UNPACKED_MAX, max(files.RATIO_FREE, path.stat().st_size * files.RATIO_MAX))
    if len(infos) > MEMBERS_MAX or told > allowed:
        problem = f"unpacks to {told} bytes in {len(infos)} members, which no spreadsheet of its size does"
        raise BadInputError(name, problem, "check where it comes from, or export its rows as CSV")


def _check_row(name: str, number: int, width: int) -> None:
    if number > ROWS_MAX:
        raise BadInputError(name, f"has more than {ROWS_MAX} rows", "split it")
    files.check_width(width, name)
