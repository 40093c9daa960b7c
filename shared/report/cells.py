"""CSV and XLSX cells that cannot run: text that a spreadsheet would take for a formula is written as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from decimal import Decimal

DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
BOM = "\ufeff"  # without it Excel reads UTF-8 as the local code page


def safe(value: object) -> str:
    """The cell's text; an apostrophe goes before text that begins like a formula. Decimals are no text."""
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return f"{value:f}"  # str() would write 0E-10
    if isinstance(value, int):
        return str(value)
    text = str(value)
    return "'" + text if text.startswith(DANGEROUS) else text


def csv_bytes(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """RFC 4180 with a BOM; amounts come as Decimal and keep their places."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows([safe(value) for value in row] for row in rows)
    return (BOM + out.getvalue()).encode()
