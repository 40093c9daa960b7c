"""A mapping as it is stored: what takes a fact on a day, in terms that no two of share a day.

Conditions are those of agreements, over what a fact says (`FIELDS`). Shared entries are tried before rules, both in
their order; what takes its target from a field takes only facts that have it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from shared.agreement import matching
from shared.errors import BadInputError
from shared.ids import Digest, digest, digest_of
from shared.report.facts import FACT_TYPES

EVEN, SHARE, WEIGHTS = SPLITS = ("even", "share", "weights")
TAGS = "tags"
FIELDS = tuple(one for one in matching.FIELDS if one in FACT_TYPES)  # that conditions may read of a fact
TARGETS = tuple(one for one in FIELDS if one not in (TAGS, "kind", "currency"))  # that a target may be taken from
_DAY = timedelta(days=1)
Period = tuple[date, date | None]  # both included; None: without an end


@dataclass(frozen=True, slots=True)
class Entry:
    """A rule, or a shared entry: then `split` says how what it takes is spread."""

    id: str
    when: str  # with what its target needs
    target: str = ""  # the target itself, or "" where it is taken from the path or spread
    path: tuple[str, ...] = ()  # a field, or a tag as ("tags", name)
    split: str = ""
    to: tuple[str, ...] = ()  # the targets it is spread over; none: all that were directly allocated to
    weights: Mapping[str, Decimal] | None = None

    def target_of(self, line: Mapping[str, Any]) -> str:
        """What a fact that it takes is allocated to."""
        if not self.path:
            return self.target
        field, *tag = self.path
        value = line[field]
        return str(value[tag[0]] if tag else value)


@dataclass(frozen=True, slots=True)
class Term:
    """What is in force from `begins` to `ends` (None: for good), both included."""

    version: int
    begins: date
    ends: date | None
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class AllocationMapping:
    """One version of a mapping, or several by the dates on which they hold; `terms` are in order of dates."""

    id: str
    versions: tuple[int, ...]
    terms: tuple[Term, ...]
    digest: Digest

    @property
    def label(self) -> str:
        """What reports say was used: by-team 2."""
        return f"{self.id} {', '.join(map(str, self.versions))}"


def parse_mapping(body: bytes, name: str) -> AllocationMapping:
    """The mapping of a checked document in canonical JSON; BadInputError where it is none."""
    try:
        data: dict[str, Any] = json.loads(body)
        whole = _period(data["effective"])
        entries = [
            *((_shared(one), _period(one["effective"], whole)) for one in data["shared"]),
            *((_rule(one), _period(one["effective"], whole)) for one in data["rules"]),
        ]
        terms = _terms(data["version"], whole, entries)
        return AllocationMapping(data["allocation"], (data["version"],), tuple(terms), digest(body))
    except (ValueError, LookupError, TypeError, ArithmeticError) as exc:
        problem = "is no allocation mapping as they are stored"
        raise BadInputError(name, problem, "submit the document again, which checks and stores it") from exc


def over(versions: Sequence[AllocationMapping]) -> AllocationMapping:
    """Versions of one mapping, oldest first, as one: on each day the newest holds that says anything of that day."""
    if len(versions) == 1:
        return versions[0]
    terms: list[Term] = []
    for one in versions:
        for term in one.terms:
            terms = [rest for old in terms for rest in _without(old, term)]
        terms += one.terms
    terms.sort(key=lambda term: term.begins)
    used = tuple(sorted({term.version for term in terms}))
    return AllocationMapping(versions[-1].id, used, tuple(terms), digest_of([one.digest for one in versions]))


def condition(when: str | None, path: Sequence[str]) -> str:
    """A condition with what a target needs that is taken from a path: that the fact has it."""
    if not path:
        return when or "`true`"
    # Names in quotes are read as JSON, so that a tag may be called anything.
    read = ".".join([path[0], *(json.dumps(name) for name in path[1:])])
    needs = f"{read} != `null` && {read} != ''"
    return f"({when}) && {needs}" if when else needs


def periods(whole: Period, parts: Iterable[Period]) -> list[Period]:
    """The whole, cut wherever a part begins or ends."""
    begins, ends = whole
    cuts = {begins}
    for first, last in parts:
        cuts.add(first)
        if last is not None and last != date.max:
            cuts.add(last + _DAY)
    inside = sorted(cut for cut in cuts if cut >= begins and (ends is None or cut <= ends))
    return [(cut, inside[place + 1] - _DAY if place + 1 < len(inside) else ends) for place, cut in enumerate(inside)]


def covers(outer: Period, inner: Period) -> bool:
    """Whether the inner period lies in the outer one."""
    return outer[0] <= inner[0] and (outer[1] is None or (inner[1] is not None and inner[1] <= outer[1]))


def _terms(version: int, whole: Period, entries: Sequence[tuple[Entry, Period]]) -> list[Term]:
    return [
        Term(version, first, last, tuple(entry for entry, period in entries if covers(period, (first, last))))
        for first, last in periods(whole, [period for _, period in entries])
    ]


def _without(old: Term, newer: Term) -> Iterable[Term]:
    """What of a term a newer one leaves."""
    if old.begins < newer.begins:
        last = newer.begins - _DAY
        yield Term(old.version, old.begins, last if old.ends is None else min(old.ends, last), old.entries)
    if newer.ends is not None and newer.ends < date.max and (old.ends is None or old.ends > newer.ends):
        yield Term(old.version, max(old.begins, newer.ends + _DAY), old.ends, old.entries)


def _period(
    said: Mapping[str, Any] | None, whole: Period | None = None
) -> Period:  # fmt: skip
    """The dates that are said; those of the version where none are."""
    if said is None:
        if whole is None:
            raise ValueError("a version without dates")
        return whole
    begins, ends = date.fromisoformat(said["from"]), said["until"]
    if ends is None:
        return begins, whole[1] if whole else None
    return begins, date.fromisoformat(ends)


def _rule(said: Mapping[str, Any]) -> Entry:
    target = said["target"]
    if isinstance(target, str):
        return Entry(said["id"], condition(said["when"], ()), target)
    path = (TAGS, target["tag"]) if target["tag"] is not None else (target["field"],)
    return Entry(said["id"], condition(said["when"], path), path=path)


def _shared(said: Mapping[str, Any]) -> Entry:
    weights = None
    if said["weights"] is not None:
        weights = {target: Decimal(weight) for target, weight in said["weights"].items()}
    return Entry(said["id"], said["when"], split=said["split"], to=tuple(weights or said["to"]), weights=weights)
