"""What a bill file is, by its content: text or Parquet, alone, gzipped, or zipped in parts under one name.

Names are not believed: parts are zipped under the same name as a single file, and have no extension. Files come from
outside, so what is unpacked is bounded before it is written.
"""

from __future__ import annotations

import codecs
import csv
import errno
import gzip
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shared.errors import BadInputError

MEMBERS_MAX = 1_000
UNPACKED_MAX = 32 * 1024**3  # beyond any bill (a line takes some 500 bytes), and what a function's disk bounds anyway
# A packed byte of a real bill yields 10 to 40 bytes; what yields more after the first megabytes is made to fill disks.
RATIO_MAX, RATIO_FREE = 200, 64 * 1024**2
DIRECTORY_MAX = MEMBERS_MAX * 1024  # bytes of a zip file's list of members
LINE_MAX = 16 * 1024**2  # characters of a line
PLAIN_LINE_MAX = 1024**2  # bytes of a line that a plain reader takes; a longer one is read row by row
_OPEN_MAX = 4 * 1024**2  # bytes of a cell that a plain reader takes
ROW_MAX = CELL_MAX = 1024**2  # characters
COLUMNS_MAX = 1_000
_BLANKS = " \t\r\n\v\f\u00a0\u3000\ufeff"
_CHUNK = 1 << 20
_ZIP, _ZIP_EMPTY, _GZIP, _PARQUET = b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"PAR1"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
# A quoted cell, in which quotes are doubled.
_QUOTED = re.compile(rb'"[^"]*(?:""[^"]*)*"')
# Patterns are found in half the time that `in` takes for two bytes.
_EMPTY_LINE, _LONE_RETURN = re.compile(rb"\n\r?\n"), re.compile(rb"\r(?!\n)")


@dataclass(frozen=True, slots=True)
class Member:
    """A table of a bill file: itself, or one of those packed in it."""

    path: Path
    name: str
    is_parquet: bool


def unpack(path: Path, name: str, folder: Path) -> list[Member]:
    """The tables in the file, unpacked into `folder`, in the order of their names; BadInputError for what is none."""
    magic = _magic(path)
    if magic.startswith(_ZIP_EMPTY):
        raise BadInputError(name, "is a zip file without members", "export it again")
    if magic.startswith(_ZIP):
        return _unzip(path, name, folder)
    if magic.startswith(_GZIP):
        inner = folder / "gunzipped"
        _gunzip(path, name, inner)
        path, magic = inner, _magic(inner)
        if magic.startswith((_ZIP, _GZIP)):
            raise BadInputError(name, "is packed twice", "unpack it once, and hand that in")
    return [_member(path, name, magic)]


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def said(exc: Exception) -> str:
    """The part of a library's message that is for people; the rest may be the file itself."""
    return str(exc).partition("\n")[0][:300].encode(errors="backslashreplace").decode()


def _member(path: Path, name: str, magic: bytes) -> Member:
    if not magic:
        raise BadInputError(name, "is empty", "export it again")
    if magic.startswith(_UTF16):
        raise BadInputError(name, "is UTF-16", "save it as CSV in UTF-8")
    return Member(path, name, magic == _PARQUET)


def _unzip(path: Path, name: str, folder: Path) -> list[Member]:
    _check_directory(path, name)
    try:
        with zipfile.ZipFile(path) as archive:
            infos = sorted((one for one in archive.infolist() if not one.is_dir()), key=lambda one: one.filename)
            _check_members(infos, name, path.stat().st_size)
            members, left = [], UNPACKED_MAX
            for number, info in enumerate(infos, 1):
                target, place = folder / f"member-{number}", f"{name}, {info.filename[:200]}"
                with archive.open(info) as packed:
                    written = _copy(packed, target, min(left, info.file_size), place)
                if written != info.file_size:
                    raise BadInputError(place, f"has {written} bytes and says {info.file_size}", "export it again")
                left -= written
                magic = _magic(target)
                if magic.startswith((_ZIP, _GZIP)):
                    raise BadInputError(place, "is packed twice", "unpack it once")
                members.append(_member(target, place, magic))
    except (
        zipfile.BadZipFile, NotImplementedError, RuntimeError, zlib.error, struct.error, EOFError, ValueError
    ) as exc:  # fmt: skip
        # RuntimeError: a password is asked for. NotImplementedError: patches, and encryption of another kind.
        raise BadInputError(name, f"is no readable zip file ({said(exc)})", "export it again, unencrypted") from exc
    except OSError as exc:
        if exc.errno != errno.EINVAL:
            raise  # of the disk
        raise BadInputError(name, "names places outside of itself", "export it again") from exc
    return members


def _check_directory(path: Path, name: str) -> None:
    """Refuse a list of members so long that reading it alone takes the memory; zipfile reads it as a whole."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 65_557))  # the end record and the longest comment
        tail = file.read()
    place = tail.rfind(_ZIP_EMPTY)
    # A file beyond 4 GiB says 0xFFFFFFFF, and its size elsewhere: no bill has so many members that it comes to that.
    size = int.from_bytes(tail[place + 12 : place + 16], "little") if place >= 0 else 0
    if size == 0xFFFFFFFF:
        place = tail.rfind(b"PK\x06\x06")
        size = int.from_bytes(tail[place + 40 : place + 48], "little") if place >= 0 else size
    if size > DIRECTORY_MAX:
        problem = f"has a list of members of {size} bytes, at most {DIRECTORY_MAX} are read"
        raise BadInputError(name, problem, "split it, or check where it comes from")


def _check_members(infos: list[zipfile.ZipInfo], name: str, packed: int) -> None:
    if not infos:
        raise BadInputError(name, "is a zip file without members", "export it again")
    if len(infos) > MEMBERS_MAX:
        raise BadInputError(name, f"has {len(infos)} members, at most {MEMBERS_MAX} are read", "split it")
    if any(one.compress_type not in _PACKINGS for one in infos):
        raise BadInputError(name, "is packed in a way that bills are not", "zip it with the usual method, deflate")
    told = sum(one.file_size for one in infos)
    if told > UNPACKED_MAX or told > max(RATIO_FREE, packed * RATIO_MAX):
        problem = f"says it unpacks from {packed} to {told} bytes, which no bill does"
        raise BadInputError(name, problem, "check where it comes from; split it if it is a bill")


def _gunzip(path: Path, name: str, target: Path) -> None:
    allowed = min(UNPACKED_MAX, max(RATIO_FREE, path.stat().st_size * RATIO_MAX))
    try:
        with gzip.open(path) as packed:
            _copy(packed, target, allowed, name)
    except (OSError, EOFError, zlib.error) as exc:
        if isinstance(exc, OSError) and not isinstance(exc, gzip.BadGzipFile):
            raise  # of the disk
        raise BadInputError(name, f"is no readable gzip file ({said(exc)})", "export it again") from exc


def _copy(packed: IO[bytes] | gzip.GzipFile, target: Path, allowed: int, name: str) -> int:
    written = 0
    with target.open("wb") as file:
        while chunk := packed.read(_CHUNK):
            written += len(chunk)
            if written > allowed:
                problem = f"unpacks to more than {allowed} bytes, which no bill of its size does"
                raise BadInputError(name, problem, "check where it comes from; split it if it is a bill")
            file.write(chunk)
    return written


@dataclass(frozen=True, slots=True)
class Glance:
    """What a first look at a text file shows."""

    has_quotes: bool  # only then may a cell hold the end of a line
    has_long_lines: bool  # a plain reader takes gigabytes before it says that a line is too long


def glance(path: Path) -> Glance:
    """Look at the whole file once, for what is found fast."""
    has_quotes = False
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            has_quotes = has_quotes or b'"' in chunk
            if len(chunk) == _CHUNK and b"\n" not in chunk:
                return Glance(has_quotes, True)
    return Glance(has_quotes, False)


def is_plain(path: Path) -> bool:
    """Whether nothing in the file is passed over or misread by a plain CSV reader in silence.

    So it is without NUL, empty lines, line ends of different kinds, or quotes but around whole cells. What is no UTF-8
    the reader itself refuses.
    """
    line_end, before, rest = "", b"", b"\n"
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            both = before[-3:] + chunk
            line_end = line_end or _line_end(both)
            text = chunk if before else chunk.removeprefix(codecs.BOM_UTF8)
            if not before and text.startswith((b"\r", b"\n")):
                return False
            open_: bytes | None = text[-1:]
            if b'"' in chunk or b'"' in rest:
                open_ = _open_end(rest + text)
            if open_ is None or len(open_) > _OPEN_MAX or _is_odd(both, line_end):
                return False
            before, rest = chunk, open_
    at_end = _open_end(rest + b"\n")
    return at_end is not None and b'"' not in at_end


def _open_end(text: bytes) -> bytes | None:
    """What of the text is still open at its end, with the byte before it; None where quotes are not around cells.

    A plain reader drops what follows a quote that is never closed, and reads over blanks beside quotes.
    """
    place = text.find(b'"')
    while place >= 0:
        if text[place - 1 : place] not in (b",", b"\n"):
            return None
        cell = _QUOTED.match(text, place)
        after = text[cell.end() : cell.end() + 1] if cell else b""
        if cell is None or after in (b"", b'"'):
            return text[place - 1 :]  # it may go on in the next chunk; at the end of the file the caller knows better
        if after not in (b",", b"\r", b"\n"):
            return None
        place = text.find(b'"', cell.end())
    return text[-1:]


def _line_end(chunk: bytes) -> str:
    place = chunk.find(b"\n")
    return "" if place < 0 else "\r\n" if chunk[:place].endswith(b"\r") else "\n"


def _is_odd(chunk: bytes, line_end: str) -> bool:
    if b"\0" in chunk or _EMPTY_LINE.search(chunk):
        return True
    if line_end == "\r\n":
        # Of a pair that lies across two chunks one half may be seen alone.
        whole = chunk.removesuffix(b"\r").removeprefix(b"\n")
        return bool(_LONE_RETURN.search(whole)) or whole.count(b"\n") != whole.count(b"\r")
    return b"\r" in chunk


def header_of(path: Path, name: str) -> list[str]:
    """The cells of the first row, trimmed."""
    csv.field_size_limit(CELL_MAX)
    rows = csv.reader(lines_of(path, name))
    try:
        first = next((row for row in rows if row), None)
    except csv.Error as exc:
        raise BadInputError(f"{name}, row 0", f"cannot be read ({exc})", "expected a header row") from exc
    if first is None:
        raise BadInputError(name, "has no header row", "export it again")
    check_width(len(first), name)
    text = "".join(first)
    if not _is_utf8(text):
        raise BadInputError(name, "has a header that is no UTF-8", "save it as CSV in UTF-8; it may be GBK")
    if "\x00" in text:
        raise BadInputError(
            name, "has a header that holds a NUL character", "save it as CSV in UTF-8; it may be UTF-16"
        )
    return [cell.strip(_BLANKS) for cell in first]


def check_width(columns: int, name: str) -> None:
    """Refuse what has so many columns that only to compare them takes long."""
    if columns > COLUMNS_MAX:
        problem = f"has {columns} columns, at most {COLUMNS_MAX} are read"
        raise BadInputError(name, problem, "expected a bill file with its header row")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def lines_of(path: Path, name: str) -> Iterator[str]:
    """The lines of a text file; bytes that are no UTF-8 become half characters, which `tidy_rows` tells of."""
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        while line := file.readline(LINE_MAX):
            if len(line) == LINE_MAX:
                problem = f"has a line of more than {LINE_MAX} characters"
                raise BadInputError(name, problem, "expected a bill's rows; export it again")
            yield line


def tidy_rows(path: Path, name: str, width: int) -> Iterator[list[str]]:
    """Row by row what a plain reader would stumble over: the cells, then what is wrong with the row, or nothing.

    Every row after the header comes out once, empty lines apart. Where a row cannot be told from the next one, the
    file is refused.
    """
    csv.field_size_limit(CELL_MAX)
    rows = csv.reader(lines_of(path, name), strict=True)
    number = -1  # the header's
    try:
        for cells in rows:
            if not cells:
                continue
            if number >= 0:
                yield _tidied(cells, width)
            number += 1
    except csv.Error as exc:
        problem = f"cannot be told from what follows ({exc})"
        if "field larger" in str(exc):
            problem = f"has a cell of more than {CELL_MAX} characters, or a quote that is never closed"
        remedy = "correct the quotes there, or export it again; nothing of the file was taken"
        raise BadInputError(f"{name}, row {max(number, 0)}", problem, remedy) from exc


def _tidied(cells: list[str], width: int) -> list[str]:
    text = "".join(cells)
    problem = ""
    if len(cells) != width:
        problem = f"has {len(cells)} cells, expected {width}"
    elif len(text) > ROW_MAX:
        problem = f"has {len(text)} characters, at most {ROW_MAX} are read"
    elif "\x00" in text:
        problem = "holds a NUL character"
    if not _is_utf8(text):
        problem = problem or "holds bytes that are no UTF-8"
        cells = [cell.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace") for cell in cells[:width]]
    if problem:
        longest = ROW_MAX // (8 * width)  # what is left of it is shown to people, and read no more
        cells = [cell[:longest].replace("\x00", "\\u0000") for cell in cells[:width]]
    return [*cells, *[""] * (width - len(cells)), problem]
