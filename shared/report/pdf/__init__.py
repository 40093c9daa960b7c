"""Reports as PDF: a template beside this code, fonts with it, and data; the same data is the same bytes.

typst is asked for nothing of the machine: no fonts, no clock, no network. What comes from outside goes to it as JSON
and is set as text, so that no mark in a customer's name means anything.
"""

from __future__ import annotations

import ctypes
import functools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.errors import ClearbookError
from shared.report.language import figure, label
from shared.report.page import Cell, Page, Section

if TYPE_CHECKING:
    import typst

_HERE = Path(__file__).parent
_LONG = re.compile(r"([!-~]{22})(?=[!-~])")  # what has no place to break gets one

_REMEMBERED = 10  # documents for which typst keeps what it worked out (comemo's age of eviction)
_ROWS_REMEMBERED = 100  # ten documents of more rows than that take too much memory


class PdfError(ClearbookError):
    """A report that could not be set: a defect."""

    code = "pdf"


def render(page: Page, at: datetime) -> bytes:
    """The report as PDF; `at` is the time that the file says it was made."""
    with _setting(page) as compiler:
        [body] = _bodies(compiler.compile(format="pdf", timestamp=int(at.timestamp()), pdf_tags=False))
    if sum(len(one.rows) for one in page.sections) > _ROWS_REMEMBERED:
        _forget()
    _give_back()
    return body


def line(text: str, width_pt: float, height_pt: float) -> bytes:
    """A page of this size with one line of text at its top and nothing else, to lay over others."""
    import typst

    source = (_HERE / "line.typ").read_bytes()
    said = {"text": text, "width": str(width_pt), "height": str(height_pt)}
    compiler = typst.Compiler(source, font_paths=_fonts(), ignore_system_fonts=True, sys_inputs=said)
    [body] = _bodies(compiler.compile(format="pdf", timestamp=0, pdf_tags=False))
    return body


@contextmanager
def _setting(page: Page) -> Iterator[typst.Compiler]:
    """typst with the template, the fonts and what the page says."""
    import typst  # 80 MB that only a report pays for

    data = json.dumps(_plain(page), ensure_ascii=False)
    source = (_HERE / "report.typ").read_bytes()
    try:
        yield typst.Compiler(source, font_paths=_fonts(), ignore_system_fonts=True, sys_inputs={"data": data})
    except typst.TypstError as exc:
        raise PdfError(f"the report could not be set: {exc.message}; report this") from exc


def _forget() -> None:
    """Let typst forget what a long report taught it: what ten documents after it did not ask for."""
    import typst

    for _ in range(_REMEMBERED + 1):
        typst.Compiler(b"", font_paths=_fonts(), ignore_system_fonts=True).compile(format="pdf", timestamp=0)


def _give_back() -> None:
    """Return what was freed to the machine. The C library keeps it in pieces, in some processes a megabyte a report,
    until an instance has no memory left."""
    trim = getattr(_libc(), "malloc_trim", None)  # of glibc alone, which is what functions run on
    if trim is not None:
        trim(0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def _bodies(compiled: bytes | list[bytes] | None) -> list[bytes]:
    return compiled if isinstance(compiled, list) else [compiled or b""]


@functools.cache
def _fonts() -> typst.Fonts:
    import typst

    return typst.Fonts(include_system_fonts=False, include_embedded_fonts=False, font_paths=[str(_HERE / "fonts")])


def _plain(page: Page) -> dict[str, Any]:
    """The page as the template reads it: nothing but text."""
    return {
        "language": page.language,
        "issuer": page.issuer,
        "title": page.title,
        "subtitle": page.subtitle,
        "status": page.status,
        "is_draft": page.is_draft,
        "is_wide": page.is_wide,
        "footer": page.footer,
        "page": label("page", page.language, page="{page}", pages="{pages}"),
        "warning": page.warning,
        "headline": [list(one) for one in page.headline],
        "facts": [[name, _breakable(value)] for name, value in page.facts],
        "figures": [[name, figure(value, page.places), is_set_off] for name, value, is_set_off in page.figures],
        "notes": list(page.notes),
        "charts": [{"title": one.title, "bars": [list(bar) for bar in one.bars]} for one in page.charts],
        "sections": [_section(one) for one in page.sections],
    }


def _section(section: Section) -> dict[str, Any]:
    columns = section.columns
    return {
        "title": section.title,
        "notes": list(section.notes),
        "columns": [{"label": one.label, "width": one.width, "is_figure": one.is_figure} for one in columns],
        "rows": [
            {
                "style": row.style,
                "cells": [_cell(cell, one.places) for cell, one in zip(row.cells, columns, strict=True)],
            }
            for row in section.rows
        ],
    }


def _cell(cell: Cell, places: int) -> str:
    if isinstance(cell, Decimal):
        return figure(cell, places)
    return f"{cell:,}" if isinstance(cell, int) else _breakable(cell)


def _breakable(text: str) -> str:
    return _LONG.sub("\\1\u200b", text)
