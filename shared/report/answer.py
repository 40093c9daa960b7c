"""What a report came to: rows in a Parquet file, and what every file made of them says about itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from shared.ids import Digest
from shared.report.catalogue import Column, Report
from shared.report.language import Names


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of the rows: figures of `value` by `by`, one series for each value of `series` where it is named."""

    kind: str  # "bar", "line"
    by: str
    value: str
    series: str = ""


@dataclass(frozen=True, slots=True)
class Stated:
    """What a file says of itself beside its rows. Times are instants as text; nothing in it is of the clock."""

    scope: str  # whose eyes, as people read it: operator, reseller aurora, customer acme
    filters: Mapping[str, str]  # all that are in force, defaults too, as text
    currencies: Sequence[str]
    as_of: str  # when the newest of what it was made of was seen
    is_final: bool
    made_at: str  # of the run that made it; one that finds it again says the same
    allocation: str = ""  # the mapping and its version
    price_plans: Sequence[str] = ()  # each with its version
    why_not_final: Sequence[Names] = ()
    hidden: Sequence[Names] = ()  # what of the question lies outside the scope, without saying what it is
    notes: Sequence[Names] = ()  # why there are no rows, what is not priced


@dataclass(frozen=True, slots=True)
class Answer:
    """A report that was run.

    `path` is Parquet with exactly `columns`, in order: DECIMAL for amounts and quantities, BIGINT for counts, DATE,
    VARCHAR. Whatever is not known is NULL. `totals` are the control totals: currency -> column -> exact sum.
    """

    report: Report
    columns: Sequence[Column]
    path: Path
    rows: int
    totals: Mapping[str, Mapping[str, Decimal]]
    digest: Digest  # of the canonical rows: the same in every format
    stated: Stated
    story: Sequence[Names] = ()
    charts: Sequence[Chart] = field(default=())
