"""Looking up bill lines: one by its id, an account's, an instance's; for a scope, page by page, named columns only.

Every question takes the Scope of who asks, and this is the only room that reads `bill_lines` (a test sees to it). What
lies outside the scope is not read: its dates are told instead, which the asker knows from its own accounts. A single
line outside the scope is answered as one that does not exist.

Pages come in order of date, then of key. The indexes that find the lines are a few milliseconds behind the rows: a line
that was written just now may be missing for that long, and none is shown as what it no longer is.
"""

from __future__ import annotations

import base64
import heapq
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import chain, islice
from typing import NamedTuple

from shared.access.scope import Period, Scope, View, scoped
from shared.bill import rows
from shared.bill.line import AMOUNT, COLUMNS
from shared.cycle import Cycle, parse_date
from shared.errors import BadInputError
from shared.ids import digest_of
from shared.ports import Key, Row, Rows, Value

PAGE_MAX = 1000
# What a row says beside its line: where it lies in the raw bill, since which seal, and whether it is gone.
_OF_ROW = ("source", "source_row", "seal", "gone")
# The list price is the provider's published one. Every other amount is what the operator pays, or tells it; a payer
# may serve several parties; repairs are the operator's doing.
_SHOWN_AMOUNTS = {"gross"}
_OPERATORS_OWN = {"payer", "repair"}
_OF_PARTIES = tuple(
    name
    for name, kind in COLUMNS.items()
    if name not in _OPERATORS_OWN and (kind != AMOUNT or name in _SHOWN_AMOUNTS)
)  # fmt: skip
SHOWN: Mapping[View, tuple[str, ...]] = {
    View.OPERATOR: (*COLUMNS, *_OF_ROW),
    View.RESELLER: (*_OF_PARTIES, "gone"),
    View.CUSTOMER: (*_OF_PARTIES, "gone"),
}
_CHECKED = ("account", "date", "instance_id", "gone")  # read with every line, to see whether it is one asked for


class BadTokenError(BadInputError):
    """A continuation token is damaged, or was made for another question or scope."""

    code = "bad_token"

    def __init__(self) -> None:
        super().__init__(
            "continuation token",
            "it was not given out for this question and what you may see",
            "ask for the first page again, and go on with the token of that answer",
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Lines with the columns that were asked for, the token of the next page, and what of the question lies outside.

    Absent values are absent columns; amounts are exact text. `token` is None on the last page. `outside` are the dates
    that the scope does not see of the account: nothing is said of whether it has lines on them.
    """

    lines: tuple[Mapping[str, Value], ...]
    token: str | None = None
    outside: tuple[Period, ...] = ()

    @property
    def outside_days(self) -> int:
        """How many of the dates asked for lie outside the scope."""
        return sum(one.days for one in self.outside)


class BillLines:
    """The current bill lines, as far as a scope sees them."""

    __slots__ = ("_rows",)

    def __init__(self, rows_: Rows) -> None:
        self._rows = rows_

    def line(
        self, scope: Scope, line_id: str, *, columns: Sequence[str] | None = None, is_gone_shown: bool = False
    ) -> Page:
        """The line of this id: none where there is none, or none that the scope sees."""
        wanted = _wanted(scope, columns, is_gone_shown)
        bounds = [(("line_id", line_id), ("line", end)) for end in (_BEFORE_ALL, _AFTER_ALL)]
        keys: list[Key] = [(("line", str(one["line"])),) for one in self._rows.range(rows.BY_ID, *bounds)]
        found = self._rows.get_many(rows.TABLE, keys, [*wanted.read, "line_id"])
        mine = (row for row in found if row is not None and row.get("line_id") == line_id and wanted.may_show(row))
        return Page(tuple(wanted.shown(row) for row in mine))

    def of_account(
        self,
        scope: Scope,
        account: str,
        over: Cycle | Period,
        *,
        columns: Sequence[str] | None = None,
        is_gone_shown: bool = False,
        size: int = 100,
        token: str | None = None,
    ) -> Page:
        """A page of an account's lines over a cycle or some dates; `token` goes on where the page before ended."""
        wanted = _wanted(scope, columns, is_gone_shown)
        keys = [rows.account_key(account, shard) for shard in rows.SHARDS]
        return self._page(_Question(wanted, rows.BY_ACCOUNT, keys, account, None, _period(over), _size(size)), token)

    def of_instance(
        self,
        scope: Scope,
        account: str,
        instance: str,
        over: Cycle | Period,
        *,
        columns: Sequence[str] | None = None,
        is_gone_shown: bool = False,
        size: int = 100,
        token: str | None = None,
    ) -> Page:
        """As `of_account`, for one instance of the account."""
        wanted = _wanted(scope, columns, is_gone_shown)
        keys = [rows.instance_key(account, instance)]
        over, size = _period(over), _size(size)
        return self._page(_Question(wanted, rows.BY_INSTANCE, keys, account, instance, over, size), token)

    def _page(self, question: _Question, token: str | None) -> Page:
        inside, outside = question.wanted.scope.within(question.account, question.over)
        after = _FIRST if token is None else _after(token, question)
        entries = chain.from_iterable(self._entries(question, period, after) for period in inside)
        found: list[Mapping[str, Value]] = []
        reached = None
        while batch := list(islice(entries, question.size - len(found))):
            found += self._lines(question, batch)
            reached = batch[-1]
        has_more = reached is not None and next(entries, None) is not None
        return Page(tuple(found), _token(question, reached) if reached and has_more else None, outside)

    def _lines(self, question: _Question, entries: Sequence[_Entry]) -> Iterator[Mapping[str, Value]]:
        """The lines behind entries of an index, as the rows say now: an entry may be older than its row."""
        keys: list[Key] = [(("line", one.line),) for one in entries]
        found = self._rows.get_many(rows.TABLE, keys, question.wanted.read)
        for entry, row in zip(entries, found, strict=True):
            if row is not None and row.get("date") == entry.date and question.asks_for(row):
                yield question.wanted.shown(row)

    def _entries(self, question: _Question, period: Period, after: _Entry) -> Iterator[_Entry]:
        """What an index has in a period after an entry, in order: the shards merged."""
        # Shards are about equal: with a little more than its part of each, most pages take one call a shard.
        ahead = question.size // len(question.keys) * 5 // 4 + 4
        return heapq.merge(*(self._shard(question, key, period, after, ahead) for key in question.keys))

    def _shard(self, question: _Question, key: str, period: Period, after: _Entry, ahead: int) -> Iterator[_Entry]:
        end = _Entry(str(period.last + timedelta(days=1)), _BEFORE_ALL)
        begin = max(_Entry(str(period.first), _BEFORE_ALL), after.next())
        while begin < end:
            bounds = [((question.column, key), ("date", one.date), ("line", one.line)) for one in (begin, end)]
            read = [
                _Entry(str(row["date"]), str(row["line"]))
                for row in self._rows.range(question.index, *bounds, limit=ahead)
            ]
            yield from read
            if len(read) < ahead:
                return
            begin = read[-1].next()


# Keys of lines are 32 hexadecimal digits.
_BEFORE_ALL, _AFTER_ALL = "0", "g"


class _Entry(NamedTuple):
    """An entry of an index, in the order of pages: the date and the key of a line."""

    date: str
    line: str

    def next(self) -> _Entry:
        """Behind this entry, and before every other one behind it: keys are all of one length."""
        return _Entry(self.date, self.line + "0")


_FIRST = _Entry("", "")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What of a row is shown, and to whom."""

    scope: Scope
    columns: tuple[str, ...]
    is_gone_shown: bool

    @property
    def read(self) -> list[str]:
        """The columns to read: those shown, and those that say whether the row may be."""
        return list(dict.fromkeys((*self.columns, *_CHECKED)))

    def may_show(self, row: Row) -> bool:
        """Whether the scope sees the line, and it is not gone or that is asked for."""
        if row.get("gone") and not self.is_gone_shown:
            return False
        return self.scope.sees(str(row["account"]), date.fromisoformat(str(row["date"])))

    def shown(self, row: Row) -> Mapping[str, Value]:
        """The named columns that the row has; that a line is gone is always told."""
        named = {name: row[name] for name in self.columns if name in row}
        return {**named, "gone": True} if row.get("gone") else named


@dataclass(frozen=True, slots=True)
class _Question:
    """What is asked of an index."""

    wanted: _Wanted
    index: str
    keys: Sequence[str]  # each finds some of the lines
    account: str
    instance: str | None
    over: Period
    size: int

    @property
    def column(self) -> str:
        """The index's first column."""
        return rows.INDEXES[self.index][0]

    @property
    def digest(self) -> str:
        """What the tokens of this question and scope have in common."""
        wanted, over = self.wanted, self.over
        asked = [self.index, self.account, self.instance, over.first, over.last, wanted.columns, wanted.is_gone_shown]
        return digest_of([wanted.scope.fingerprint, *asked])[:_CHECK]

    def asks_for(self, row: Row) -> bool:
        """Whether the row is a line asked for, and may be shown."""
        is_mine = row["account"] == self.account and self.instance in (None, row.get("instance_id"))
        return is_mine and self.wanted.may_show(row)


def _wanted(scope: Scope, columns: Sequence[str] | None, is_gone_shown: bool) -> _Wanted:
    """What a scope is shown; a column that its view does not have is refused as one that there is none of."""
    may = SHOWN[scoped(scope).view]
    unknown = sorted(set(columns or ()) - set(may))
    if unknown or (columns is not None and not columns):
        problem = f"there is no {', '.join(unknown)}" if unknown else "no column is named"
        raise BadInputError("columns of bill lines", problem, f"name some of {', '.join(may)}")
    return _Wanted(scope, may if columns is None else tuple(dict.fromkeys(columns)), is_gone_shown)


def _period(over: Cycle | Period) -> Period:
    return Period.of(over) if isinstance(over, Cycle) else over


def _size(size: int) -> int:
    if not 1 <= size <= PAGE_MAX:
        raise BadInputError("page size", f"{size} lines", f"ask for 1 to {PAGE_MAX}")
    return size


_CHECK = 24  # hex digits
_KEY = re.compile(r"[0-9a-f]{32}")


def _token(question: _Question, reached: _Entry) -> str:
    """Where to go on. It names the last line that was given out, by a hash, and holds nothing that is not the asker's.

    It is no key: whoever forges one gets no more than another page of what the scope sees anyway.
    """
    return base64.urlsafe_b64encode(json.dumps([question.digest, *reached]).encode()).decode().rstrip("=")


def _after(token: str, question: _Question) -> _Entry:
    try:
        padded = token + "=" * (-len(token) % 4)
        check, day, line = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        entry = _Entry(str(parse_date(day)), _KEY.fullmatch(line)[0])  # type: ignore[index] # no match is a TypeError
    except (ValueError, TypeError, BadInputError) as exc:
        raise BadTokenError from exc
    if check != question.digest:
        raise BadTokenError
    return entry
