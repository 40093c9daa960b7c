"""The forms in which a bill comes, each a file of data beside this one: which column means what, and how it is read.

A file of this folder is one form. It names the headers that are known and the column of the line (or a helper, see
HELPERS) that each stands for; what localised values mean; how a row's kind follows from its texts; and which
equations its amounts obey. Adding a form is adding a file. `version` rises whenever rows would read differently.

    format, version     the name of the form, and which reading of it
    source              api, classic, v2 or partner: whose bill it is, for settling and comparing
    grain               billing_item, instance or split: of what a row is; only billing items by day are settled
    tags                how tags are written: "api" (key:K value:V; ...), "pairs" (K:V;K2:V2) or "json"
    unique              a header whose value occurs once in a bill and names the line
    required, optional  header -> column; two headers of one amount are added up
    ignored             headers that are known and not carried into the line
    values              column -> text as written -> text that is kept; other texts stay as they are. Instead of a
                        table it may be the name of one in the folder `words`, which several forms share
    kinds               first match wins: {is = kind, when = {column = [texts as written]}}
    not_negative        amounts that a charge (usage, subscription) must not have below zero
    identities          {equation, proven}: of amounts, such as "gross - discount = after_discount". A row that breaks a
                        proven one is no line; others are counted
    total               header -> texts by which a row of sums is known: it is checked against the lines, and is none
    names               {pattern, covers}: what an object of that name holds: the whole "cycle", or what has come to
                        light on a "day"; groups payer and cycle (YYYYMM) are checked against the rows; objects whose
                        names differ in group part alone belong together. `by` is
                        "month" where a row is of a whole month, and so has no date
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.bill.line import AMOUNTS, COLUMNS
from shared.errors import BadInputError

SOURCES = ("api", "classic", "v2", "partner")
GRAINS = ("billing_item", "instance", "split")
CYCLE, DAY, MONTH = "cycle", "day", "month"  # what an object covers, and by what its rows are
# What a row may hold beside the columns of a line, to find those or to check them.
HELPERS = ("paid_at", "payer_name", "account_name", "item", "fee", "trade", "source_id")
# Amounts that are read to check equations, and not kept.
CHECKED_AMOUNTS = ("after_discount", "deducted_gross", "cash", "credit_refund")
TAG_NOTATIONS = ("api", "pairs", "json")
_TERM = re.compile(r"([+-]?)\s*([a-z_]+)")


class UnknownFormatError(BadInputError):
    """A header row that is none of the known forms."""

    code = "unknown_format"


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of line and the texts by which it is known."""

    name: str
    when: Mapping[str, tuple[str, ...]]  # column -> any of these, as written


@dataclass(frozen=True, slots=True)
class Identity:
    """An equation between amounts: these with their signs come to 0."""

    equation: str
    terms: Mapping[str, int]
    is_proven: bool


@dataclass(frozen=True, slots=True)
class Name:
    """How objects of this form are named, and what one covers."""

    pattern: re.Pattern[str]
    covers: str
    by: str  # "day", or "month": its rows have no date


@dataclass(frozen=True, slots=True)
class Format:
    """One form of a bill."""

    name: str
    version: int
    source: str
    grain: str
    tags: str
    unique: bool  # whether `source_id` names a line for good
    required: Mapping[str, str]
    optional: Mapping[str, str]
    ignored: frozenset[str]
    values: Mapping[str, Mapping[str, str]]
    kinds: tuple[Kind, ...]
    not_negative: tuple[str, ...]
    identities: tuple[Identity, ...]
    total: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    names: tuple[Name, ...] = ()

    @property
    def id(self) -> str:
        """The form and its reading, as lines and errors name it."""
        return f"{self.name}/{self.version}"

    def column_of(self, header: str) -> str | None:
        """What a header stands for."""
        return self.required.get(header) or self.optional.get(header)

    def headers_of(self, column: str) -> list[str]:
        """The headers that stand for a column."""
        both = [*self.required.items(), *self.optional.items()]
        return [header for header, mine in both if mine == column]

    def missing(self, headers: Iterable[str]) -> list[str]:
        """Required headers that are not there."""
        there = set(headers)
        return [header for header in self.required if header not in there]

    def unknown(self, headers: Iterable[str]) -> list[str]:
        """Headers of which nothing is known."""
        return [one for one in headers if self.column_of(one) is None and one not in self.ignored]


@functools.cache
def known() -> Mapping[str, Format]:
    """Every form there is, by name."""
    folder = Path(__file__).parent
    found = [parse(path.read_bytes(), path.name) for path in sorted(folder.glob("*.toml"))]
    return {one.name: one for one in found}


@functools.cache
def load(name: str) -> Format:
    """One form, without reading the others."""
    return parse((Path(__file__).parent / f"{name}.toml").read_bytes(), f"{name}.toml")


def recognise(headers: Sequence[str], place: str) -> Format:
    """The form whose headers these are; UnknownFormatError says which form comes nearest and what it lacks."""
    repeated = sorted(one for one, count in Counter(headers).items() if count > 1)
    if repeated:
        remedy = "each column is named once"
        named = ", ".join(one or "(no name)" for one in repeated)[:300]
        raise UnknownFormatError(place, f"has these columns more than once: {named}", remedy)
    fitting = [one for one in known().values() if not one.missing(headers) and not one.unknown(headers)]
    if fitting:
        # A form that asks for more is the more exact reading of the same headers.
        return max(fitting, key=lambda one: len(one.required))
    nearest = max(known().values(), key=lambda one: sum(one.column_of(h) is not None for h in headers))
    missing, unknown = nearest.missing(headers), nearest.unknown(headers)
    if len(unknown) == len(headers):
        problem = f"has no known column; its first row holds {', '.join(headers)[:200]!r}"
        raise UnknownFormatError(place, problem, "expected a bill file with its header row")
    problem = f"is nearest to {nearest.id}, but lacks {_listed(missing)} and has unknown {_listed(unknown)}"
    raise UnknownFormatError(place, problem, "export it with its usual columns, or describe the form in a mapping file")


def parse(body: bytes, name: str) -> Format:
    """The form that a file of data describes; BadInputError names what is wrong with it."""
    try:
        data = _toml(body.decode())
    except (ValueError, UnicodeDecodeError) as exc:
        raise BadInputError(name, f"is no TOML ({exc})", "correct the file") from exc
    try:
        form = _format(data)
    except (KeyError, TypeError, AttributeError, ValueError) as exc:
        raise BadInputError(name, f"does not describe a form ({exc!r})", "see the folder's own description") from exc
    problems = list(_problems(form, data))
    if problems:
        raise BadInputError(name, "; ".join(problems), "correct the file")
    return form


def _format(data: Mapping[str, Any]) -> Format:
    unique = data.get("unique", "")
    required = dict(data["required"])
    if unique:
        required[unique] = "source_id"
    return Format(
        name=data["format"],
        version=data["version"],
        source=data["source"],
        grain=data["grain"],
        tags=data.get("tags", "api"),
        unique=bool(unique),
        required=required,
        optional=data.get("optional", {}),
        ignored=frozenset(data.get("ignored", [])),
        values={column: _words(known) for column, known in data.get("values", {}).items()},
        kinds=tuple(
            Kind(one["is"], {column: tuple(texts) for column, texts in one["when"].items()}) for one in data["kinds"]
        ),
        not_negative=tuple(data.get("not_negative", [])),
        identities=tuple(
            Identity(one["equation"], _terms(one["equation"]), one["proven"]) for one in data.get("identities", [])
        ),
        total={header: tuple(texts) for header, texts in data.get("total", {}).items()},
        names=tuple(
            Name(re.compile(one["pattern"], re.ASCII), one["covers"], one.get("by", DAY))
            for one in data.get("names", [])
        ),
    )


def _words(known: Mapping[str, str] | str) -> Mapping[str, str]:
    if not isinstance(known, str):
        return known
    path = Path(__file__).parent / "words" / f"{known}.toml"
    if not path.is_file():
        raise ValueError(f"there are no words {known!r}")
    return _toml(path.read_text(encoding="utf-8"))


def _toml(text: str) -> dict[str, Any]:
    import tomllib  # here: who pulls a bill reads no form

    return tomllib.loads(text)


def _terms(equation: str) -> dict[str, int]:
    left, divider, right = equation.partition("=")
    if not divider:
        raise ValueError(f"{equation!r} has no '='")
    terms: dict[str, int] = {}
    for side, sign in ((left, 1), (right, -1)):
        if _TERM.sub("", side).strip():
            raise ValueError(f"{equation!r} is no sum of amounts")
        for operator, name in _TERM.findall(side):
            terms[name] = -sign if operator == "-" else sign
    return terms


_KINDS = ("usage", "subscription", "refund", "chargeback", "adjustment", "credit")
_KNOWN_KEYS = frozenset(
    {
        *("format", "version", "source", "grain", "tags", "unique", "required", "optional", "ignored"),
        *("values", "kinds", "not_negative", "identities", "total", "names"),
    }
)


def _problems(form: Format, data: Mapping[str, Any]) -> Iterable[str]:
    targets = {*COLUMNS, *HELPERS, *CHECKED_AMOUNTS} - {"line_id", "kind", "repair"}
    amounts = {*AMOUNTS, *CHECKED_AMOUNTS}
    yield from (f"{key} is no known key" for key in data.keys() - _KNOWN_KEYS)
    if form.source not in SOURCES:
        yield f"source {form.source!r} is none of {', '.join(SOURCES)}"
    if form.grain not in GRAINS:
        yield f"grain {form.grain!r} is none of {', '.join(GRAINS)}"
    if form.tags not in TAG_NOTATIONS:
        yield f"tags {form.tags!r} is none of {', '.join(TAG_NOTATIONS)}"
    both = [*form.required.items(), *form.optional.items()]
    yield from (f"{header} stands for {column}, which is no column" for header, column in both if column not in targets)
    columns = [column for _, column in both]
    yield from (
        f"{column} is given by several headers, and is no amount"
        for column in sorted(set(columns))
        if columns.count(column) > 1 and column not in amounts
    )
    used = set(columns)
    for kind in form.kinds:
        if kind.name not in _KINDS:
            yield f"kind {kind.name!r} is none of {', '.join(_KINDS)}"
        yield from (f"kind {kind.name} looks at {column}, which is not read" for column in kind.when.keys() - used)
    for identity in form.identities:
        yield from (f"{identity.equation!r}: {name} is not read" for name in identity.terms.keys() - amounts)
    yield from (f"values of {column}, which is not read" for column in form.values.keys() - used)
    yield from (f"not_negative: {name} is no amount" for name in form.not_negative if name not in amounts)
    yield from (f"covers {one.covers!r}: say cycle or day" for one in form.names if one.covers not in (CYCLE, DAY))
    yield from (f"by {one.by!r}: say day or month" for one in form.names if one.by not in (DAY, MONTH))


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)[:400]} ({len(names)})" if names else "nothing"
