"""The catalogue of self-service reports, as data: `reports.toml` says what each is, `glossary.toml` what columns mean,
`focus.toml` what those of FOCUS mean.

Column names are a contract: a report whose columns change in name, type or meaning gets another version.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from shared.access.scope import View
from shared.report.language import Names

_HERE = Path(__file__).parent
FACTS, FOCUS = "facts", "focus"  # what rows are made of: facts, in our columns or in those of FOCUS


class Type(StrEnum):
    """What a column holds, and how it is written: amounts and quantities are exact decimals, never floats."""

    TEXT = "text"
    DATE = "date"
    MONTH = "month"  # YYYY-MM
    COUNT = "count"
    AMOUNT = "amount"  # in the currency of the row, which the column named by its unit says
    QUANTITY = "quantity"
    PERCENT = "percent"  # 8 is 8 %

    @property
    def is_figure(self) -> bool:
        """Whether it is a number."""
        return self in (Type.COUNT, Type.AMOUNT, Type.QUANTITY, Type.PERCENT)

    @property
    def is_summed(self) -> bool:
        """Whether its sum means something."""
        return self in (Type.COUNT, Type.AMOUNT)


@dataclass(frozen=True, slots=True)
class Column:
    """A column, by its published name."""

    name: str
    type: Type
    labels: Names
    says: Names
    unit: str = ""  # "currency": that of the row; a column's name: what that column says; else the unit itself


@dataclass(frozen=True, slots=True)
class Filter:
    """What a report may be narrowed by; `default` is taken where nothing is asked."""

    name: str
    labels: Names
    says: Names
    default: str = ""
    is_many: bool = True  # whether several values may be given


@dataclass(frozen=True, slots=True)
class Report:
    """A report that may be run.

    `columns` are those of each view that may run it, in order: a view that is not there may not, and a party never
    has a column of what lies one level above it.
    """

    name: str
    version: int
    titles: Names
    says: Names
    columns: Mapping[View, Sequence[Column]]
    filters: Sequence[Filter]
    drill_down: str = ""  # the report that shows what a row is made of, with the row's own values as filters
    is_sensitive: bool = False  # what is downloaded says who fetched it, and when
    rows: str = FACTS  # what its rows are made of: facts, or what is named here
    is_detail: bool = False  # a row for each fact, not sums
    charges: Sequence[str] = ()  # of facts: only those
    has_story: bool = False  # what changed against the period before is told with it
    preset: str = "this_month"  # the dates where none are asked for

    @property
    def id(self) -> str:
        """Its name with its version."""
        return f"{self.name}.{self.version}"

    @property
    def is_of_facts(self) -> bool:
        """Whether its rows are made of facts, and not of what was settled and paid."""
        return self.rows in (FACTS, FOCUS)

    def may_run(self, view: View) -> bool:
        """Whether a view may run it at all."""
        return view in self.columns

    def filters_of(self, view: View) -> Sequence[Filter]:
        """What a view may narrow it by: who resells is a question of the operator alone."""
        return [one for one in self.filters if one.name != "reseller" or view is View.OPERATOR]


def catalogue() -> Mapping[str, Report]:
    """Every report by its name, in the order in which people read them."""
    return _catalogue()


@functools.cache
def _catalogue() -> Mapping[str, Report]:
    glossary = _toml("glossary.toml")
    named = {**glossary["columns"], **_toml("focus.toml")["columns"]}
    columns = {name: _column(name, one) for name, one in named.items()}
    filters = {name: _filter(name, one) for name, one in glossary["filters"].items()}
    return {name: _report(name, one, columns, filters) for name, one in _toml("reports.toml").items()}


def _report(
    name: str, said: Mapping[str, Any], columns: Mapping[str, Column], filters: Mapping[str, Filter]
) -> Report:  # fmt: skip
    return Report(
        name,
        said["version"],
        _names(said["title"]),
        _names(said["says"]),
        {View(view): tuple(columns[one] for one in named) for view, named in said["columns"].items()},
        tuple(filters[one] for one in said["filters"]),
        said.get("drill_down", ""),
        said.get("is_sensitive", False),
        said.get("rows", FACTS),
        said.get("is_detail", False),
        tuple(said.get("charges", ())),
        said.get("has_story", False),
        said.get("preset", "this_month"),
    )


def _column(name: str, said: Mapping[str, Any]) -> Column:
    return Column(name, Type(said["type"]), _names(said["label"]), _names(said["says"]), said.get("unit", ""))


def _filter(name: str, said: Mapping[str, Any]) -> Filter:
    many = said.get("is_many", True)
    return Filter(name, _names(said["label"]), _names(said["says"]), said.get("default", ""), many)


def _names(both: Sequence[str]) -> Names:
    english, chinese = both
    return {"en": english, "zh": chinese}


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((_HERE / name).read_text(encoding="utf-8"))
