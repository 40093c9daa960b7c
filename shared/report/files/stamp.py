"""Who fetched a file and when, in a copy of it: the same body, person and time are the same bytes.

The body stays as it was kept for everybody. CSV has no place of its own for it: there the file beside it says so.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import IO
from xml.sax.saxutils import escape, unescape

from shared.columnar import quoted
from shared.errors import ClearbookError
from shared.ids import canonical_json
from shared.report.files.rows import opened
from shared.report.language import LANGUAGES, both, label

KEY = "fetched"  # of what the metadata says of it: {"by", "at"}
_CORE, _BOOK = "docProps/core.xml", "xl/workbook.xml"
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ufffe\uffff]")  # what XML has no way to write


class NotStampedError(ClearbookError):
    """A body is not one that was written here."""

    code = "not_stamped"

    def __init__(self, format_: str) -> None:
        super().__init__(
            f"cannot say in a {format_} who fetched it: it is none of ours, or damaged; run the report again"
        )


def stamped(path: Path, format_: str, who: str, at: str, into: Path) -> None:
    """Copy a file with who fetched it and when (an instant as text); `metadata` is the file beside a CSV.

    NotStampedError where the file is not of the format.
    """
    who = _CONTROL.sub(" ", who)
    if format_ == "csv":
        shutil.copyfile(path, into)
    elif format_ == "metadata":
        into.write_bytes(_metadata(path.read_bytes(), who, at))
    else:
        {"json": _json, "parquet": _parquet, "pdf": _pdf, "xlsx": _xlsx}[format_](path, who, at, into)


def _said(who: str, at: str) -> str:
    return f"{both('report_fetched')}: {who}, {at}"


def _metadata(body: bytes, who: str, at: str) -> bytes:
    return canonical_json({**json.loads(body), KEY: {"by": who, "at": at}})


def _json(path: Path, who: str, at: str, into: Path) -> None:
    """Before all that the object holds, so that its rows need not be read."""
    with path.open("rb") as source, into.open("wb") as target:
        if source.read(1) != b"{":
            raise NotStampedError("json")
        said = json.dumps({KEY: {"by": who, "at": at}}, ensure_ascii=False)
        target.write(said[:-1].encode() + b", ")
        shutil.copyfileobj(source, target)


def _parquet(path: Path, who: str, at: str, into: Path) -> None:
    rows = f"read_parquet({quoted(str(path))})"
    with opened() as connection:
        found = connection.execute(
            "SELECT decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'clearbook'", [str(path)]
        ).fetchone()
        if found is None:
            raise NotStampedError("parquet")
        about = quoted(_metadata(found[0].encode(), who, at).decode())
        connection.execute(
            f"COPY (SELECT * FROM {rows}) TO {quoted(str(into))} "  # noqa: S608 - a path of ours
            f"(FORMAT parquet, COMPRESSION zstd, KV_METADATA {{clearbook: {about}}})"
        )


def _pdf(path: Path, who: str, at: str, into: Path) -> None:
    """A line at the top of every page."""
    import pypdf

    from shared.report import pdf

    writer = pypdf.PdfWriter(clone_from=str(path))
    size = writer.pages[0].mediabox
    line = pypdf.PdfReader(io.BytesIO(pdf.line(_said(who, at), float(size.width), float(size.height)))).pages[0]
    for one in writer.pages:
        one.merge_page(line)
    writer.write(str(into))


def _xlsx(path: Path, who: str, at: str, into: Path) -> None:
    """A line on the sheet about the report, which is under its title, and in the properties of the document."""
    said = escape(_said(who, at))
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED) as target:
        changes = {
            _CORE: ("</cp:coreProperties>", f"<dc:description>{said}</dc:description></cp:coreProperties>"),
            _about(source): (
                "</row>",
                f'</row><row r="2"><c r="A2" t="inlineStr"><is><t>{said}</t></is></c></row>',
            ),
        }
        for one in source.infolist():
            with source.open(one) as body, target.open(_entry(one), "w", force_zip64=True) as out:
                if one.filename in changes:
                    before, after = changes[one.filename]
                    _replace(body, out, before, after)
                else:
                    shutil.copyfileobj(body, out)


def _replace(body: IO[bytes], out: IO[bytes], before: str, after: str) -> None:
    text = body.read().decode()
    if before not in text:
        raise NotStampedError("xlsx")
    out.write(text.replace(before, after, 1).encode())


def _entry(of: zipfile.ZipInfo) -> zipfile.ZipInfo:
    """The same name and time, so that the copy has nothing of the clock."""
    entry = zipfile.ZipInfo(of.filename, of.date_time)
    entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, of.external_attr
    return entry


def _about(source: zipfile.ZipFile) -> str:
    """The part that is the sheet about the report, whichever language it is in; it is small."""
    names = [unescape(one) for one in re.findall(r'<sheet name="([^"]*)"', source.read(_BOOK).decode())]
    for language in LANGUAGES:
        if label("report_about", language) in names:
            return f"xl/worksheets/sheet{names.index(label('report_about', language)) + 1}.xml"
    raise NotStampedError("xlsx")
