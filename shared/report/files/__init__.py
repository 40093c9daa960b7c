"""Answers as files: the same rows, amounts and metadata as CSV, XLSX, PDF, JSON or Parquet.

Rows go from the answer's Parquet to the file in bulk or in a stream, so that memory stays as it is however many there
are. Text that a spreadsheet would run is text in every format (shared.report.cells).
"""

from __future__ import annotations

from pathlib import Path

from shared.report.answer import Answer
from shared.report.asking import FORMATS
from shared.report.files.metadata import metadata as metadata
from shared.report.files.metadata import sidecar as sidecar
from shared.report.files.stamp import NotStampedError as NotStampedError
from shared.report.files.stamp import stamped as stamped

TYPES = {
    "csv": "text/csv",
    "json": "application/json",
    "parquet": "application/vnd.apache.parquet",
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


def write(answer: Answer, format_: str, language: str, path: Path) -> None:
    """Write the answer in a format; what is read of it is in `language`, its rows and columns are the same in each."""
    from shared.report.files import pdf, plain, sheets  # each loads what its format alone needs, when it is asked for

    if format_ not in FORMATS:
        raise ValueError(f"no format {format_!r}")
    if format_ == "xlsx":
        sheets.write(answer, language, path)
    elif format_ == "pdf":
        pdf.write(answer, language, path)
    else:
        getattr(plain, f"to_{format_}")(answer, path)
