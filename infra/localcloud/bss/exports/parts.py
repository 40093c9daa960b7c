"""Rows written as comma-separated values, into as many files as they need; more than one are zipped under one name."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from infra.localcloud.bss.bills import BUSINESS_ZONE

_BOM = "\ufeff"


class Parts:
    """Rows in files of at most `rows_max`, each with the header; `bom` is what spreadsheets know UTF-8 by."""

    def __init__(
        self, folder: Path, name: str, header: Sequence[str], rows_max: int | None = None, *, bom: bool = False
    ) -> None:
        self._folder, self._name, self._header, self._rows_max, self._bom = folder, name, header, rows_max, bom
        self._paths: list[Path] = []
        self._file: IO[str] | None = None
        self._writer: Any = None
        self._rows = 0

    def add(self, row: Iterable[str]) -> None:
        """Write one row, into a new file where the last is full."""
        if self._file is None or self._rows == self._rows_max:
            self.open()
        self._writer.writerow(row)
        self._rows += 1

    def open(self) -> None:
        """Begin the next file; a bill without rows is a header alone only where its writer says so."""
        self.close()
        path = self._folder / f"{self._name}_{len(self._paths) + 1}.csv"
        self._paths.append(path)
        self._file = path.open("w", encoding="utf-8", newline="")
        if self._bom:
            self._file.write(_BOM)
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(self._header)
        self._rows = 0

    def close(self) -> None:
        """Close the last file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def joined(self, at: datetime) -> Path | None:
        """One file: the only one, or all of them zipped as of `at`; None where nothing was written."""
        if len(self._paths) < 2:
            return self._paths[0] if self._paths else None
        path = self._folder / self._name
        zipped(path, self._paths, at)
        return path

    def named(self, at: datetime) -> Path:
        """The same under the name alone, and a header alone where there are no rows; the parts are gone."""
        if not self._paths:
            self.open()
            self.close()
        path = self._folder / self._name
        if len(self._paths) == 1:
            return self._paths[0].replace(path)
        zipped(path, self._paths, at)
        for part in self._paths:
            part.unlink()
        return path


def zipped(path: Path, parts: Sequence[Path], at: datetime) -> None:
    """Zip `parts` into `path`; one content makes one file, byte by byte."""
    local = at.astimezone(BUSINESS_ZONE)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for part in parts:
            member = zipfile.ZipInfo(part.name, local.timetuple()[:6])
            member.compress_type = zipfile.ZIP_DEFLATED
            with part.open("rb") as source, archive.open(member, "w", force_zip64=True) as target:
                while chunk := source.read(1 << 20):
                    target.write(chunk)
