"""Reading bills: pages of items or of their groups, their number, and sums; all as of one business instant.

A page is one range read along an index that starts behind the last page's last row; nothing is skipped over.
"""

from __future__ import annotations

import calendar
import json
import sqlite3
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

from infra.localcloud.bss.item import instance_key_range
from infra.localcloud.bss.state import SUMS

BUSINESS_ZONE = ZoneInfo("Asia/Shanghai")
CYCLES_KEPT = 18


class Grain(Enum):
    """What one row of DescribeInstanceBill stands for: the columns that its lines have in common.

    Day grains are read date by date, month grains over the whole cycle.
    """

    LINE = ("instance_key", "seq")
    INSTANCE_DAY = ("instance_key", "date")
    INSTANCE_MONTH = ("instance_key",)
    ITEM_MONTH = ("instance_key", "item_key")
    # A part of a resource, and its tags while they last: those are what the lines of one shape share.
    SPLIT_MONTH = ("instance_key", "item_key", "shape")

    @property
    def is_daily(self) -> bool:
        """Whether a row is of one date."""
        return self in (Grain.LINE, Grain.INSTANCE_DAY)

    @classmethod
    def of(cls, *, daily: bool, by_billing_item: bool) -> Grain:
        """The grain of a granularity and of IsBillingItem."""
        if daily:
            return cls.LINE if by_billing_item else cls.INSTANCE_DAY
        return cls.ITEM_MONTH if by_billing_item else cls.INSTANCE_MONTH


@dataclass(frozen=True, slots=True)
class Filters:
    """What a caller narrows a bill to; None where it does not."""

    owner: str | None = None
    product: str | None = None
    product_type: str | None = None
    pip: str | None = None
    subscription: str | None = None
    instance: str | None = None
    hide_zero: bool = False
    kind: str | None = None  # of settlement records
    split_item: str | None = None
    tags: tuple[tuple[str, tuple[str, ...]], ...] = ()  # any of these keys, with any of its values if it names some

    def of_columns(self) -> list[tuple[str, str]]:
        """The filters that are a column of both `shape` and `tally`."""
        named = {
            "owner": self.owner,
            "product": self.product,
            "product_type": self.product_type,
            "pip": self.pip,
            "subscription": self.subscription,
        }
        return [(column, value) for column, value in named.items() if value is not None]

    @property
    def tally_counts(self) -> bool:
        """Whether the tally can tell the number of lines."""
        return self.instance is None and self.split_item is None and not self.tags


# The date, empty in month grains, and the grain's columns.
Position: TypeAlias = tuple[str | int, ...]


class Row(NamedTuple):
    """A line, or a group of lines summed. `amounts` are digits or, summed, numbers of 10^-10 yuan."""

    position: Position
    date: str
    body: str
    readings: tuple[str, ...]
    amounts: str | tuple[int, ...]


class Bill:
    """The bill of one payer and cycle as it stands at `now`."""

    def __init__(self, connection: sqlite3.Connection, payer: str, cycle: str, now: datetime) -> None:
        self._connection = connection
        today = now.astimezone(BUSINESS_ZONE).date()
        query = "SELECT id FROM bill WHERE payer = ? AND cycle = ?"
        row = connection.execute(query, (payer, cycle)).fetchone() if is_kept(cycle, today) else None
        self._id: int = -1 if row is None else row[0]  # -1: a bill without lines
        self._instant = int(now.timestamp())
        first = date.fromisoformat(f"{cycle}-01")
        last = first.replace(day=calendar.monthrange(first.year, first.month)[1])
        self._dates = (first.isoformat(), min(last, today).isoformat())
        self._appeared: tuple[int, int] | None = None

    def narrowed_to(self, day: date) -> Bill:
        """The same bill, its lines of `day` only; of a day that is not yet, none."""
        text = day.isoformat()
        narrowed = copy(self)
        narrowed._dates = (text, min(text, self._dates[1]))
        return narrowed

    def appeared(self, after: datetime, until: datetime) -> Bill:
        """The same bill, its lines that appeared behind `after` up to `until` only; totals do not heed it."""
        narrowed = copy(self)
        narrowed._appeared = (int(after.timestamp()), int(until.timestamp()))
        return narrowed

    def page(self, grain: Grain, filters: Filters, after: Position | None, rows: int) -> list[Row]:
        """The next `rows` rows behind `after`: by date for day grains, then by the grain's columns."""
        if not grain.is_daily:
            return self._groups(grain, filters, self._dates, after, rows)
        read = self._lines if grain is Grain.LINE else self._groups
        page: list[Row] = []
        for day in self.days(None if after is None else str(after[0])):
            behind = after if after is not None and after[0] == day else None
            page += read(grain, filters, (day, day), behind, rows - len(page))
            if len(page) == rows:
                break
        return page

    def count(self, grain: Grain, filters: Filters) -> int:
        """How many rows all pages have together."""
        if grain is Grain.LINE and filters.tally_counts:
            where, values = self.where_tally(filters)
            query = f"SELECT coalesce(sum(items), 0) FROM tally WHERE {where}"  # noqa: S608 - our own columns
            return int(self._connection.execute(query, values).fetchone()[0])
        where, values = self._where(filters, self._dates)
        columns = ", ".join(f"i.{column}" for column in ("date", *grain.value) if column != "date" or grain.is_daily)
        source = f"{_source(grain)} {_JOIN if 's.' in where else ''}"
        query = f"SELECT count(*) FROM (SELECT DISTINCT {columns} FROM {source} WHERE {where})"  # noqa: S608
        return int(self._connection.execute(query, values).fetchone()[0])

    def version(self) -> tuple[object, ...]:
        """What changes whenever the bill could: lines that were added, that appeared, and that vanished."""
        query = (
            "SELECT coalesce(sum(items), 0), coalesce(sum(items) FILTER (WHERE visible_from <= ?), 0), "
            "coalesce(sum(items) FILTER (WHERE visible_until <= ?), 0) FROM tally WHERE bill = ?"
        )
        row = self._connection.execute(query, (self._instant, self._instant, self._id)).fetchone()
        return (self._id, self._dates, *row)

    def sums(self, by: Iterable[str], filters: Filters) -> list[dict[str, Any]]:
        """Exact sums in 10^-10 yuan by columns of the tally, with the names of the first line of each."""
        columns = list(by)
        where, values = self.where_tally(filters)
        sums = [f"sum({name}) AS {name}" for name in ("round_down", *SUMS)]
        selected = [*columns, *sums, "min(product_name) AS product_name", "min(product_detail) AS product_detail"]
        grouped = ", ".join(columns)
        query = f"SELECT {', '.join(selected)} FROM tally WHERE {where} GROUP BY {grouped} ORDER BY {grouped}"  # noqa: S608
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def days(self, start: str | None) -> list[str]:
        """The bill's dates, from `start` on where it is given."""
        first, last = self._dates if start is None else (start, self._dates[1])
        span = (date.fromisoformat(last) - date.fromisoformat(first)).days
        return [(date.fromisoformat(first) + timedelta(days=day)).isoformat() for day in range(span + 1)]

    def _lines(
        self, grain: Grain, filters: Filters, dates: tuple[str, str], after: Position | None, rows: int
    ) -> list[Row]:
        where, values = self._where(filters, dates)
        # A bound on the index column of its own: SQLite does not use a row value that ends in the row's id.
        where += " AND i.instance_key >= ? AND (i.instance_key, i.seq) > (?, ?)"
        start = (-1, -1) if after is None else after[1:]
        query = (
            f"SELECT i.date, i.instance_key, i.seq, s.body, i.usage, i.package, i.period, i.price, i.digits "  # noqa: S608
            f"FROM {_source(grain)} {_JOIN} WHERE {where} ORDER BY i.instance_key, i.seq LIMIT ?"
        )
        found = self._connection.execute(query, (*values, start[0], *start, rows))
        return [Row((r[0], r[1], r[2]), r[0], r[3], r[4:8], r[8]) for r in found]

    def _groups(
        self, grain: Grain, filters: Filters, dates: tuple[str, str], after: Position | None, rows: int
    ) -> list[Row]:
        where, values = self._where(filters, dates)
        columns = tuple(column for column in grain.value if column != "date")
        start = tuple(-1 for _ in columns) if after is None else after[1:]
        keys = ", ".join(f"i.{column}" for column in columns)
        sums = ", ".join(f"sum(i.{name})" for name in SUMS)
        # Beside min(), SQLite takes the bare columns from the row that has the minimum: the group's first line.
        query = (
            f"SELECT {keys}, min(i.seq), i.date, i.shape, decimal_sum(i.usage), decimal_sum(i.package), "  # noqa: S608
            f"decimal_sum(i.period), i.price, {sums} FROM {_source(grain)} {_JOIN if 's.' in where else ''} "
            f"WHERE {where} AND ({keys}) > ({', '.join('?' * len(columns))}) GROUP BY {keys} ORDER BY {keys} LIMIT ?"
        )
        width = len(columns)
        return [
            Row(
                (r[width + 1] if grain.is_daily else "", *r[:width]),
                r[width + 1],
                self._body(r[width + 2]),
                r[width + 3 : width + 7],
                r[width + 7 :],
            )
            for r in self._connection.execute(query, (*values, *start, rows)).fetchall()
        ]

    def _body(self, shape: int) -> str:
        return str(self._connection.execute("SELECT body FROM shape WHERE id = ?", (shape,)).fetchone()[0])

    def _where(self, filters: Filters, dates: tuple[str, str]) -> tuple[str, list[str | int]]:
        if dates[0] == dates[1]:  # an equation lets the index go on with its next column
            where = "i.bill = ? AND i.date = ?"
            values: list[str | int] = [self._id, dates[0]]
        else:
            where, values = "i.bill = ? AND i.date BETWEEN ? AND ?", [self._id, *dates]
        where += " AND i.visible_from <= ? AND i.visible_until > ?"
        values += [self._instant, self._instant]
        for column, value in filters.of_columns():
            where += f" AND s.{column} = ?"
            values.append(value)
        if filters.instance is not None:
            where += " AND i.instance_key BETWEEN ? AND ? AND s.instance = ?"
            values += [*instance_key_range(filters.instance), filters.instance]
        if filters.split_item is not None:
            where += " AND split_item(s.body) = ?"
            values.append(filters.split_item)
        if filters.tags:
            where += " AND carries_tag(s.body, ?)"
            values.append(json.dumps(filters.tags))
        if filters.hide_zero:
            where += " AND i.is_zero = 0"
        if self._appeared is not None:
            where += " AND i.visible_from > ? AND i.visible_from <= ?"
            values += self._appeared
        return where, values

    def where_tally(self, filters: Filters) -> tuple[str, list[str | int]]:
        """The condition that a row of the tally is on this bill, and its values."""
        where = "bill = ? AND date BETWEEN ? AND ? AND visible_from <= ? AND visible_until > ?"
        values: list[str | int] = [self._id, *self._dates, self._instant, self._instant]
        for column, value in filters.of_columns():
            where += f" AND {column} = ?"
            values.append(value)
        if filters.kind is not None:
            where += " AND kind = ?"
            values.append(filters.kind)
        if filters.hide_zero:
            where += " AND is_zero = 0"
        return where, values


def _source(grain: Grain) -> str:
    return f"item i INDEXED BY {'item_by_date' if grain.is_daily else 'item_by_instance'}"


_JOIN = "CROSS JOIN shape s ON s.id = i.shape"  # CROSS keeps SQLite from starting at the shapes


def is_kept(cycle: str, today: date, cycles: int = CYCLES_KEPT) -> bool:
    """Whether the cycle is the running one or one of the last `cycles`."""
    months = (today.year - int(cycle[:4])) * 12 + today.month - int(cycle[5:7])
    return months <= cycles
