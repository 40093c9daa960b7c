"""Pages of DescribeInstanceBill as text rows: a page like the one before it read in one go, any other by `api`.

The pages of a bill are alike: every item has the same fields, in the types that are documented. A page that was read
carefully tells which fields these are, and the next is decoded into objects made for just them, in a third of the
time. Nothing is judged there: a page with anything odd about it is left to the careful way, and both give one text.
"""

from __future__ import annotations

import csv
import functools
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from shared.bill import api
from shared.bill.files import ROW_MAX

CELL_END = "\x1f"  # between cells: texts of a bill have commas, and not this
_COUNT = re.compile(rb"[0-9]{1,12}")
_OF_NUMBERS = b"0123456789+-.eE\x1f\n"  # and what stands between them


@dataclass(slots=True)
class PageReader:
    """Reads the pages of one bill in their order."""

    pages: int = 0
    is_plain: bool = True  # whether no row had to be quoted
    unknown: set[str] = field(default_factory=set)  # fields that no part of Clearbook knows
    _fields: tuple[str, ...] = ()  # of every item of a page like the last

    def text(self, body: bytes, place: str) -> str:
        """The rows of the next page, each of `api.fields`, then what is wrong, page and row; `place` names the page."""
        self.pages += 1
        text = _alike(self._fields).text(body, self.pages) if self._fields else None
        return self._careful_text(body, place) if text is None else text

    def _careful_text(self, body: bytes, place: str) -> str:
        page = api.parse_page(body, place)
        unknown = api.unknown_fields(page)
        self.unknown |= unknown
        self._fields = tuple(page.items[0]) if page.items and not unknown else ()
        rows = list(api.raw_rows(page, self.pages))
        text = "".join([f"{CELL_END.join(row)}\n" for row in rows])
        if _is_plain(text, len(rows)):
            return text
        self.is_plain = False
        return _quoted(rows)


def _is_plain(text: str, rows: int) -> bool:
    """Whether these rows are read as they were written without a quote, which is fastest."""
    ends = rows * (len(api.fields()) + 2)
    return text.count(CELL_END) == ends and text.count("\n") == rows and not ('"' in text or "\r" in text)


def _quoted(rows: Iterable[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=CELL_END, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows(rows)
    return text.getvalue()


@dataclass(frozen=True, slots=True)
class _Alike:
    """How a page is read whose items all have the same known fields."""

    decode: Callable[[bytes], Any]
    texts: Callable[[Any], tuple[str, ...]]  # of an item
    numbers: Callable[[Any], tuple[bytes, ...]]  # of an item, their digits as sent
    strings: int  # of an item in JSON, the names of its fields among them

    def text(self, body: bytes, number: int) -> str | None:
        """The rows of the page, or None where it is not alike."""
        import msgspec

        try:
            answer = self.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        data, items = answer.Data, answer.Data.Items
        # Each string that was decoded has two quotes. A field that is there twice or that is not known has more, and so
        # has a text with a quote in it: where there are no more than these, nothing was passed over.
        strings = _strings(answer) + _strings(data) + len(items) * self.strings
        if not items or not answer.Success or not _COUNT.fullmatch(data.TotalCount) or body.count(b'"') != 2 * strings:
            return None
        numbers = b"\n".join([b"\x1f".join(self.numbers(item)) for item in items])
        if numbers.translate(None, _OF_NUMBERS):
            return None  # null, or no number at all
        blanks, end = api.BLANKS, f"{CELL_END}{CELL_END}{number}{CELL_END}"
        text = "".join([
            f"{CELL_END.join([cell.strip(blanks) for cell in self.texts(item)])}{CELL_END}{digits}{end}{row}\n"
            for row, (item, digits) in enumerate(zip(items, numbers.decode().split("\n"), strict=True))
        ])  # fmt: skip
        return text if _is_plain(text, len(items)) and "\x00" not in text and len(text) <= ROW_MAX else None


def _strings(part: Any) -> int:
    """The strings in JSON of an object, names among them, what it holds in other objects left out."""
    import msgspec

    return sum(1 + isinstance(value, str) for value in msgspec.structs.astuple(part) if value is not msgspec.UNSET)


@functools.lru_cache(maxsize=4)
def _alike(fields: tuple[str, ...]) -> _Alike:
    import msgspec  # here: a bill of one page is read without it
    from msgspec import UNSET, Raw, UnsetType

    def struct(name: str, fields: Iterable[Any]) -> Any:
        return msgspec.defstruct(name, fields, gc=False)  # no cycles, and far fewer walks of the collector

    sent = [(name, Raw if name in api.NUMBERS else str) for name in fields]
    missing = [name for name in api.fields() if name not in fields]
    empty = [(name, Raw, Raw(b"")) if name in api.NUMBERS else (name, str, "") for name in missing]
    item = struct("Item", [*sent, *empty])
    texts = ("AccountID", "AccountName", "BillingCycle", "NextToken")
    told = [(name, str | UnsetType | None, UNSET) for name in texts]
    items = list[item]  # type: ignore[valid-type] # a type that is made here
    data = struct("Data", [("Items", items), ("TotalCount", Raw), ("MaxResults", int | UnsetType, UNSET), *told])
    told = [(name, str | UnsetType | None, UNSET) for name in ("Message", "RequestId")]
    answer = struct("Answer", [("Success", bool), ("Code", Literal["Success", "200"]), ("Data", data), *told])
    return _Alike(
        decode=msgspec.json.Decoder(answer).decode,
        texts=attrgetter(*(name for name in api.fields() if name not in api.NUMBERS)),
        numbers=attrgetter(*(name for name in api.fields() if name in api.NUMBERS)),
        strings=sum(1 if name in api.NUMBERS else 2 for name in fields),
    )
