"""What a report says in one language: facts, figures and tables, before it is a PDF or a sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

Cell = str | int | Decimal  # an amount is a Decimal: a number in a sheet, with its thousands apart in a PDF
PLAIN, GROUP, TOTAL = "plain", "group", "total"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `width` is its share of what is left, 0: as wide as it needs."""

    label: str
    width: int = 0
    is_figure: bool = False
    places: int = 0  # at least so many decimals


@dataclass(frozen=True, slots=True)
class Row:
    """A row; of a group only the first and the last cell are shown."""

    cells: Sequence[Cell]
    style: str = PLAIN


@dataclass(frozen=True, slots=True)
class Section:
    """A title, notes, and a table."""

    title: str
    columns: Sequence[Column] = ()
    rows: Sequence[Row] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Bars:
    """A bar chart: of each bar its label, its figure, and its length in thousandths of the longest."""

    title: str
    bars: Sequence[tuple[str, str, int]]


@dataclass(frozen=True, slots=True)
class Page:
    """A report; every text as it is to be read."""

    language: str
    issuer: str
    title: str
    subtitle: str
    status: str
    is_draft: bool
    footer: str
    facts: Sequence[tuple[str, str]]
    sections: Sequence[Section]
    warning: str = ""
    headline: Sequence[tuple[str, ...]] = ()  # a label, what is read first, and a remark
    figures: Sequence[tuple[str, Decimal, bool]] = ()  # whether it is set off
    places: int = 2  # of the figures, at least
    notes: Sequence[str] = ()
    is_wide: bool = False
    charts: Sequence[Bars] = ()
