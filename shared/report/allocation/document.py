"""The allocation mapping document: checked before it is stored, so that nothing in it is without effect.

What it says is explained by example in README.md beside this room.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from shared.agreement.checks import of_conditions, of_dates
from shared.agreement.conditions import problems
from shared.agreement.document import Effective, QuantityText
from shared.agreement.matching import compile_condition
from shared.documents import DocumentRefusedError, Finding, Id, Model, check
from shared.ids import canonical_json
from shared.report.allocation.mapping import (
    FIELDS,
    SHARE,
    TAGS,
    TARGETS,
    WEIGHTS,
    AllocationMapping,
    Period,
    condition,
    covers,
    parse_mapping,
    periods,
)

ENTRIES_MAX = 500
TARGETS_MAX = 200  # that one entry is spread over
PERIODS_MAX = 24  # by the dates of rules: conditions are looked at in each
STORED_MAX = 1_000_000  # bytes: of one column of a row


def _target(value: str) -> str:
    if value != value.strip() or not value.isprintable():
        raise ValueError("begins or ends with a space, or holds a control character; write it without")
    return value


Target = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_target)]


class TakenModel(Model):
    field: str | None = None
    tag: Annotated[str, Field(min_length=1, max_length=128)] | None = None


class RuleModel(Model):
    id: Id
    when: str | None = None
    target: Target | TakenModel
    effective: Effective | None = None


class SharedModel(Model):
    id: Id
    when: str
    split: Literal["even", "share", "weights"]
    to: Annotated[list[Target], Field(max_length=TARGETS_MAX)] = Field(default_factory=list)
    weights: Annotated[dict[Target, QuantityText], Field(max_length=TARGETS_MAX)] | None = None
    effective: Effective | None = None


class AllocationDocument(Model):
    allocation: Id
    version: Annotated[int, Field(ge=1, le=99_999_999)]
    effective: Effective
    shared: Annotated[list[SharedModel], Field(max_length=ENTRIES_MAX)] = Field(default_factory=list)
    rules: Annotated[list[RuleModel], Field(min_length=1, max_length=ENTRIES_MAX)]


@dataclass(frozen=True, slots=True)
class Checked:
    """A document that may be stored: canonical JSON, what it comes to, and what may be wrong with it."""

    body: bytes
    mapping: AllocationMapping
    warnings: Sequence[Finding]


def checked_mapping(data: Any, name: str) -> Checked:
    """The checked document; DocumentRefusedError lists everything that is wrong."""
    document = check(AllocationDocument, data, name)
    findings, warnings = mapping_findings(document)
    body = canonical_json(document.model_dump(mode="json", by_alias=True))
    if len(body) > STORED_MAX:
        findings.append(("size", f"{len(body):,} bytes, at most {STORED_MAX:,} are stored; list fewer rules"))
    if findings:
        raise DocumentRefusedError(name, findings)
    return Checked(body, parse_mapping(body, name), warnings)


def mapping_findings(document: AllocationDocument) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with a document, and what may be."""
    entries = list(_entries(document))
    findings = [*of_dates(document.effective), *_repeated(entries)]
    for place, one in entries:
        findings += _of_dates(place, one, document.effective)
        findings += _of_target(place, one) if isinstance(one, RuleModel) else _of_split(place, one)
    if findings:
        return findings, []
    conditions, warnings = _of_conditions(document, entries)
    targets = {rule.target for rule in document.rules if isinstance(rule.target, str)}
    is_open = any(not isinstance(rule.target, str) for rule in document.rules)
    for place, one in entries:
        if isinstance(one, SharedModel) and one.split == SHARE and not is_open:
            warnings += [
                (f"{place}.to", f"{target!r} is the target of no rule, so its share is 0 unless all are; add a rule")
                for target in one.to
                if target not in targets
            ]
    return conditions, warnings


def gaps(older: AllocationMapping, newer: AllocationMapping) -> list[Finding]:
    """Days between a version and the next one, on which neither holds."""
    ends, begins = older.terms[-1].ends, newer.terms[0].begins
    if ends is not None and (begins - ends).days > 1:
        problem = f"begins on {begins}, and what holds before it ends on {ends}; nothing is allocated in between"
        return [("effective.from", f"{problem}: begin earlier, unless that is meant")]
    return []


Placed = tuple[str, RuleModel | SharedModel]


def _entries(document: AllocationDocument) -> Iterator[Placed]:
    """Everything that takes facts, in the order in which it is tried."""
    yield from ((f"shared.{number} ({one.id})", one) for number, one in enumerate(document.shared))
    yield from ((f"rules.{number} ({one.id})", one) for number, one in enumerate(document.rules))


def _repeated(entries: Sequence[Placed]) -> list[Finding]:
    first: dict[str, str] = {}
    return [
        (f"{place}.id", f"{one.id!r} stands in {first[one.id]} before; give each rule and shared entry its own")
        for place, one in entries
        if first.setdefault(one.id, place) != place
    ]


def _of_dates(place: str, one: RuleModel | SharedModel, whole: Effective) -> list[Finding]:
    if one.effective is None:
        return []
    findings = [(f"{place}.{where}", problem) for where, problem in of_dates(one.effective)]
    outer, inner = (whole.from_, whole.until), _dates(one.effective, whole)
    if not findings and not covers(outer, inner):
        problem = f"lies outside of the version, which holds {whole.from_} to {whole.until or 'no end'}"
        findings.append((f"{place}.effective", f"{problem}; keep it within, or change the version's dates"))
    return findings


def _dates(said: Effective | None, whole: Effective) -> Period:
    if said is None:
        return whole.from_, whole.until
    return said.from_, whole.until if said.until is None else said.until


def _of_target(place: str, rule: RuleModel) -> list[Finding]:
    taken = rule.target
    if isinstance(taken, str):
        if rule.when is None:
            return [(f"{place}.when", "is missing; add it, or take the target from a field or tag")]
        return []
    if (taken.field is None) == (taken.tag is None):
        return [(f"{place}.target", "give either a field or a tag, or the target itself as text")]
    if taken.field is not None and taken.field not in TARGETS:
        problem = f"{taken.field!r} is none that a target is taken from; there are {', '.join(TARGETS)}"
        return [(f"{place}.target.field", f"{problem}, and tags by tag")]
    return []


def _of_split(place: str, one: SharedModel) -> list[Finding]:
    findings = [
        (f"{place}.to", f"{target!r} stands there twice; take one out")
        for target in dict.fromkeys(one.to)
        if one.to.count(target) > 1
    ]
    if one.split != WEIGHTS:
        if one.weights is not None:
            findings.append((f"{place}.weights", f"goes with split: weights, not {one.split}; take it out"))
        return findings
    if not one.weights:
        return [*findings, (f"{place}.weights", "is missing; give each target its weight, such as {web: '2'}")]
    if one.to:
        findings.append((f"{place}.to", "goes with split: even or share; weights name their targets; take it out"))
    for target, weight in one.weights.items():
        if Decimal(weight) <= 0:
            problem = f"{target!r} has the weight {weight}; a weight is above 0: give one, or leave the target out"
            findings.append((f"{place}.weights", problem))
    return findings


def _of_conditions(document: AllocationDocument, entries: Sequence[Placed]) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with conditions; one that is never first on any of its days is, too."""
    placed = [(f"{place}.when", _condition(one), _dates(one.effective, document.effective)) for place, one in entries]
    findings = [
        *((place, problem) for place, when, _ in placed for problem in problems(when)),
        *((place, problem) for place, when, _ in placed for problem in _unknown(when)),
    ]
    if findings:
        return list(dict.fromkeys(findings)), []
    cut = periods((document.effective.from_, document.effective.until), [period for _, _, period in placed])
    if len(cut) > PERIODS_MAX:
        problem = f"the dates of rules make {len(cut)} periods, at most {PERIODS_MAX} are taken"
        return [("rules", f"{problem}; submit a version for a year of its own")], []
    never: dict[str, list[str]] = {}
    doubted: dict[str, list[str]] = {}
    held: dict[str, int] = {}
    for period in cut:
        here = [(place, when) for place, when, own in placed if covers(own, period)]
        for place, _ in here:
            held[place] = held.get(place, 0) + 1
        wrong, doubts = of_conditions(here)
        for into, found in ((never, wrong), (doubted, doubts)):
            for place, problem in found:
                into.setdefault(place, []).append(problem)
    sure = [(place, found[0]) for place, found in never.items() if len(found) == held.get(place, 1)]
    surely = {place for place, _ in sure}
    maybe = doubted | {place: found for place, found in never.items() if place not in surely}
    return sure, [(place, found[0]) for place, found in maybe.items()]


def _condition(one: RuleModel | SharedModel) -> str:
    path: tuple[str, ...] = ()
    if isinstance(one, RuleModel) and isinstance(one.target, TakenModel):
        path = (TAGS, one.target.tag) if one.target.tag is not None else (str(one.target.field),)
    return condition(one.when, path)


def _unknown(when: str) -> list[str]:
    """Fields that lines have and facts do not; problems() knows those that no line has, and what is no JMESPath."""
    if problems(when):
        return []
    return [
        f"reads {name}, which facts do not have; there are {', '.join(FIELDS)}"
        for name in compile_condition(when).fields
        if name not in FIELDS
    ]
