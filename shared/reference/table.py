"""Tables that people give as CSV: read whole and checked row by row, or refused with every row that is wrong."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.errors import DocumentRefusedError

Finding = tuple[str, str]
BYTES_MAX = 16 * 1024 * 1024
FINDINGS_MAX = 50  # a file of the wrong kind is wrong in every row
# What a spreadsheet would take for a formula. Somebody opens this file, or one that is made from it, in one.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@dataclass(frozen=True, slots=True)
class Row:
    """A row by column name; `line` is the line of the file that it begins on."""

    line: int
    cells: Mapping[str, str]

    def place(self, column: str) -> str:
        """How people find a cell of it."""
        return f"line {self.line}, {column}"


def read_table(
    body: bytes, name: str, columns: Sequence[str], *, rows_max: int, numbers: Collection[str] = ()
) -> list[Row]:
    """The rows of a CSV file with exactly these columns, cells trimmed; DocumentRefusedError for anything else.

    Cells of the columns `numbers` may begin with a sign: whoever reads them takes nothing but a number.
    """
    if len(body) > BYTES_MAX:
        raise DocumentRefusedError(name, [("size", f"{len(body)} bytes, at most {BYTES_MAX} are read")])
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise DocumentRefusedError(name, [(f"byte {exc.start}", "not UTF-8; save the file as CSV UTF-8")]) from exc
    rows: list[Row] = []
    findings: list[Finding] = []
    try:
        for line, cells in _lines(text, name, columns):
            row = Row(line, dict(zip(columns, cells, strict=False)))
            findings += _problems(row, cells, columns, numbers)
            rows.append(row)
            if len(rows) > rows_max:
                raise DocumentRefusedError(
                    name, [(f"line {line}", f"at most {rows_max} rows are read; split the file")]
                )
    except csv.Error as exc:
        raise DocumentRefusedError(name, [*findings, ("CSV", f"cannot be read ({exc}); save it as CSV again")]) from exc
    if not rows:
        findings.append(("file", "has no rows below its header"))
    refuse(name, findings)
    return rows


def refuse(name: str, findings: list[Finding]) -> None:
    """Raise DocumentRefusedError if anything was found."""
    if len(findings) > FINDINGS_MAX:
        findings = [*findings[:FINDINGS_MAX], ("and", f"{len(findings) - FINDINGS_MAX} more")]
    if findings:
        raise DocumentRefusedError(name, findings)


def _lines(text: str, name: str, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows below the header with the line that each begins on; lines without any text are left out."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header = [cell.strip() for cell in next(reader, [])]
    if header != list(columns):
        expected = f"expected exactly {','.join(columns)}"
        raise DocumentRefusedError(name, [("header", f"is {','.join(header)[:200]!r}, {expected}")])
    line = reader.line_num + 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, [cell.strip(" \t") for cell in cells]
        line = reader.line_num + 1


def _problems(row: Row, cells: list[str], columns: Sequence[str], numbers: Collection[str]) -> list[Finding]:
    if len(cells) != len(columns):
        return [(f"line {row.line}", f"has {len(cells)} cells, expected {len(columns)}: {','.join(columns)}")]
    findings = []
    for column, cell in row.cells.items():
        if any(ord(one) < 32 or ord(one) == 127 for one in cell):
            findings.append((row.place(column), f"{cell[:40]!r} holds a control character; remove it"))
        elif cell.startswith(_FORMULA) and column not in numbers:
            findings.append((row.place(column), f"{cell[:40]!r} begins like a formula; write plain text"))
    return findings
