"""What must hold within an agreement or a price plan, beyond its shape: findings with the place and the remedy.

Whatever would be without effect is refused, so that an approved document does all that it says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from shared.agreement.agreement import (
    ALL_UNITS,
    CONTRACT_YEAR,
    GRADUATED,
    LINE,
    PER_MONTH,
    USAGE,
)
from shared.agreement.conditions import LENGTH_MAX, problems, reached
from shared.documents import Finding
from shared.money import text
from shared.reference.currencies import known

if TYPE_CHECKING:
    from shared.agreement.document import (
        AgreementDocument,
        AppliesTo,
        BandModel,
        BoundModel,
        Earn,
        Effective,
        RefundsModel,
        RuleModel,
        ScaleModel,
    )

GATES_MAX = 4  # one within the other
Placed = tuple[str, str]  # a place and the condition that stands there


def of_agreement(document: AgreementDocument) -> list[Finding]:
    """Everything that is wrong with the parts of an agreement; its conditions are looked at by `of_conditions`."""
    uses = [one.scale for rule in document.rules for _, one in stages("", rule.earn) if one.scale is not None]
    return [
        *of_dates(document.effective),
        *of_currency("currency", document.currency),
        *_of_applies(document.applies_to),
        *of_scales(document.scales, uses),
        *(finding for name, one in document.scales.items() for finding in _of_measure(name, one, document.basis)),
        *repeated_rules([rule.id for rule in document.rules]),
        *(finding for number, rule in enumerate(document.rules) for finding in _of_rule(number, rule, document)),
        *_of_bounds("", document.cap, document.floor),
        *of_refunds(document.refunds),
        *_of_payout(document),
    ]


def of_conditions(placed: Sequence[Placed]) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with conditions that are tried in this order, and what may be."""
    length = sum(len(when) for _, when in placed)
    if length > LENGTH_MAX:
        problem = f"the conditions have {length:,} characters together, at most {LENGTH_MAX:,} are taken"
        return [("rules", f"{problem}; list texts with contains(['a', 'b'], field)")], []
    findings = [(place, f"{problem} ({_short(when)})") for place, when in placed for problem in problems(when)]
    if findings:
        return findings, []
    first: dict[str, str] = {}
    for place, when in placed:
        if first.setdefault(when, place) != place:
            problem = f"stands in {_owner(first[when])} before, an earlier rule or exclusion, so this one never matches"
            findings.append((place, f"{problem}; take it out ({_short(when)})"))
    if findings:
        return findings, []
    found = reached([when for _, when in placed])
    owners = [_owner(place) for place, _ in placed]
    return (
        [(placed[number][0], problem.format(*owners)) for number, problem in found.problems.items()],
        [(placed[number][0], problem.format(*owners)) for number, problem in found.doubts.items()],
    )


def whens(exclude: Sequence[str], rules: Sequence[tuple[str, str]]) -> list[Placed]:
    """The conditions of a document with their places, in the order in which they are tried."""
    placed = [(f"exclude.{number}.when", when) for number, when in enumerate(exclude)]
    return placed + [(f"rules.{number} ({id_}).when", when) for number, (id_, when) in enumerate(rules)]


def stages(place: str, earn: Earn) -> Iterator[tuple[str, Earn]]:
    """This earning, and those that its gates lead to, with their places."""
    stage: Earn | None = earn
    while stage is not None:
        yield place, stage
        place, stage = f"{place}.gate.otherwise", stage.gate.otherwise if stage.gate else None


def of_dates(effective: Effective) -> list[Finding]:
    """Dates that no day lies between."""
    begins, until = effective.from_, effective.until
    if until is not None and until < begins:
        return [("effective.until", f"{until} is before its from {begins}; until is the last day, itself included")]
    return []


def of_currency(place: str, currency: str) -> list[Finding]:
    """A currency that nobody has."""
    return [] if known(currency) else [(place, f"{currency!r} is no currency; write its ISO 4217 code, such as CNY")]


def of_scales(scales: Mapping[str, ScaleModel], uses: Collection[str]) -> list[Finding]:
    """Scales that nothing earns by, or whose parts do not fit each other."""
    findings = []
    for name, scale in scales.items():
        place = f"scales.{name}"
        if name not in uses:
            findings.append((place, "is used by no rule, so it has no effect; take it out, or let a rule earn by it"))
        if (scale.unit is not None) != (scale.measure == USAGE):
            if scale.unit is None:
                findings.append((f"{place}.unit", "is missing; usage is added up in one unit, such as unit: GB"))
            else:
                problem = f"{scale.unit!r} is the unit of usage, but the measure is {scale.measure}"
                findings.append((f"{place}.unit", f"{problem}; leave it out, or write measure: usage"))
        is_of_year = scale.method == ALL_UNITS and scale.over == CONTRACT_YEAR
        if scale.retroactive and not is_of_year:
            problem = f"goes with method: all_units and over: contract_year, not {scale.method} over {scale.over}"
            findings.append((f"{place}.retroactive", f"{problem}; leave it out, or change them"))
        findings += _of_bands(f"{place}.bands", scale.bands)
    return findings


def repeated_rules(ids: Sequence[str]) -> list[Finding]:
    """Rules of one id."""
    return [
        (f"rules.{number} ({id_}).id", f"{id_!r} stands here a second time; rename one")
        for number, id_ in enumerate(ids)
        if id_ in ids[:number]
    ]


def of_scale_name(place: str, name: str | None, scales: Collection[str]) -> list[Finding]:
    """A scale that is not there."""
    if name is None or name in scales:
        return []
    there = f"there are {', '.join(sorted(scales))}" if scales else "there are none"
    return [(place, f"{name!r} is not among the scales; {there}; add it, or name another")]


def of_refunds(refunds: RefundsModel) -> list[Finding]:
    """A window for refunds that are not netted at all."""
    if refunds.window_days is not None and refunds.within != "same_month":
        problem = f"{refunds.window_days} days limit what is netted within: same_month, and this says {refunds.within}"
        return [("refunds.window_days", f"{problem}; leave it out")]
    return []


def _of_applies(applies: AppliesTo | None) -> list[Finding]:
    if applies is None:
        return []
    if not applies.currencies and not applies.payers:
        return [("applies_to", "names neither currencies nor payers; leave it out to apply to every line")]
    return [
        finding
        for number, currency in enumerate(applies.currencies)
        for finding in of_currency(f"applies_to.currencies.{number}", currency)
    ]


def _of_measure(name: str, scale: ScaleModel, basis: str) -> list[Finding]:
    if scale.method == GRADUATED and scale.measure != basis:
        problem = f"a graduated scale measures the basis, {basis}, not {scale.measure}"
        return [(f"scales.{name}.measure", f"{problem}; write measure: {basis}, or method: all_units")]
    return []


def _of_bands(place: str, bands: Sequence[BandModel]) -> list[Finding]:
    findings = []
    below: Decimal | None = Decimal(0)
    for number, band in enumerate(bands):
        where, is_last = f"{place}.{number}.upto", number == len(bands) - 1
        limit = None if band.upto is None else Decimal(band.upto)
        if is_last and limit is not None:
            findings.append((where, f"{text(limit)}: what lies above is in no band; the last band has no upto"))
        elif not is_last and limit is None:
            findings.append((where, "is missing; every band but the last has an upto, at which the next begins"))
        if limit is not None and below is not None and limit <= below:
            expected = "above 0" if number == 0 else f"above {text(below)}, where the band before ends"
            findings.append((where, f"is {text(limit)} and must be {expected}; write the bands in rising order"))
        below = limit
    return findings


def _of_rule(number: int, rule: RuleModel, document: AgreementDocument) -> list[Finding]:
    place = f"rules.{number} ({rule.id})"
    findings = []
    for depth, (where, earn) in enumerate(stages(f"{place}.earn", rule.earn)):
        if depth > GATES_MAX:
            findings.append((where, f"more than {GATES_MAX} gates stand within each other; use fewer"))
            break
        findings += [*_of_earning(where, earn), *of_scale_name(f"{where}.scale", earn.scale, document.scales)]
    return findings + _of_bounds(f"{place}.", rule.cap, rule.floor)


def _of_earning(place: str, earn: Earn) -> list[Finding]:
    findings = []
    given = [name for name in ("percent", "fixed", "scale") if getattr(earn, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        findings.append((place, f"needs exactly one of percent, fixed and scale, and has {found}"))
    if earn.fixed is None:
        named = {"per": earn.per is not None, "prorate": earn.prorate is not None, "zero": earn.zero}
        findings += [
            (f"{place}.{name}", "goes with fixed alone; leave it out, or earn by fixed")
            for name, is_given in named.items()
            if is_given
        ]
    elif earn.prorate is not None and earn.per not in PER_MONTH:
        problem = f"days are counted of a month, so it goes with per: {' or '.join(PER_MONTH)}, not {earn.per or LINE}"
        findings.append((f"{place}.prorate", f"{problem}; leave it out, or change per"))
    if earn.gate is not None and earn.gate.otherwise == earn.model_copy(update={"gate": None}):
        findings.append((f"{place}.gate.otherwise", "is what is earned anyway, so the gate has no effect; take it out"))
    return findings


def _of_bounds(owner: str, caps: Sequence[BoundModel], floors: Sequence[BoundModel]) -> list[Finding]:
    """`owner` is "" for the agreement, else the rule's place with a dot."""
    findings = []
    for kind, bounds in (("cap", caps), ("floor", floors)):
        scopes = [one.scope for one in bounds]
        for number, one in enumerate(bounds):
            place = f"{owner}{kind}.{number}"
            if one.scope in scopes[:number]:
                findings.append((f"{place}.scope", f"a {kind} by {one.scope} stands here a second time; keep one"))
            if one.scope == LINE and one.over == CONTRACT_YEAR:
                problem = "a line is of one month, so it has no bound over a contract_year"
                findings.append((f"{place}.over", f"{problem}; leave over out, or choose a wider scope"))
    for number, floor in enumerate(floors):
        for cap in caps:
            if cap.scope != floor.scope:
                continue
            if cap.over != floor.over:
                problem = f"the floor by {floor.scope} is over {floor.over} and the cap over {cap.over}"
                findings.append((f"{owner}floor.{number}.over", f"{problem}; write the same for both"))
            elif Decimal(cap.amount) < Decimal(floor.amount):
                problem = f"the floor by {floor.scope}, {floor.amount}, is above the cap, {cap.amount}"
                findings.append((f"{owner}floor.{number}.amount", f"{problem}; lower it, or raise the cap"))
    return findings


def _of_payout(document: AgreementDocument) -> list[Finding]:
    findings = []
    payout, holdback = document.payout, document.holdback
    without = "0 % has no effect; leave it out"
    if holdback is not None and Decimal(holdback.percent) == 0:
        findings.append(("holdback.percent", without))
    if payout.withholding is not None and Decimal(payout.withholding.percent) == 0:
        findings.append(("payout.withholding.percent", without))
    if not payout.carry_forward and Decimal(payout.minimum) == 0:
        problem = "forfeits what is below the minimum, and there is none"
        findings.append(("payout.carry_forward", f"{problem}; give a minimum, or leave it out"))
    return findings


def _short(when: str) -> str:
    return when if len(when) <= 120 else f"{when[:117]}…"


def _owner(place: str) -> str:
    return place.removesuffix(".when")
