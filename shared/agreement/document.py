"""The agreement document: checked, and its worked examples settled, before anybody can approve it.

What the engine does not settle is refused by name, so that nothing in an approved document is ever without effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from shared.agreement.agreement import PERCENT_PLACES, Agreement, parse_agreement
from shared.agreement.matching import ConditionError, compile_condition
from shared.documents import DocumentRefusedError, Id, Model, check
from shared.ids import canonical_json
from shared.money import NotAnAmountError, amount, text
from shared.parties.document import Day

Finding = tuple[str, str]


def _amount_text(value: object) -> object:
    """Amounts are written as text or whole numbers; they are kept as canonical text."""
    if isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return text(amount(value))
        except NotAnAmountError as exc:
            raise ValueError(str(exc)) from exc
    raise ValueError('write the amount as text, such as "100.00"')


def _percent_text(value: object) -> object:
    try:
        percent = amount(value, places=PERCENT_PLACES)
    except NotAnAmountError as exc:
        raise ValueError(str(exc)) from exc
    if not 0 <= percent <= 100:
        raise ValueError("a percent lies between 0 and 100")
    return text(percent)


def _not_below_zero(value: str) -> str:
    if Decimal(value) < 0:
        raise ValueError("must not be below 0")
    return value


def _condition(value: str) -> str:
    try:
        compile_condition(value)
    except ConditionError as exc:
        raise ValueError(str(exc)) from exc
    return value


AmountText = Annotated[str, BeforeValidator(_amount_text)]
Percent = Annotated[str, BeforeValidator(_percent_text)]
When = Annotated[str, AfterValidator(_condition)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Effective(Model):
    from_: Day = Field(alias="from")
    until: Day | None = None


class AppliesTo(Model):
    currencies: list[Currency] = Field(default_factory=list)
    payers: list[str] = Field(default_factory=list)


class Rounding(Model):
    places: Annotated[int, Field(ge=0, le=6)] = 2
    mode: Literal["half_up", "half_even"] = "half_up"


class ExcludeModel(Model):
    when: When
    because: Annotated[str, Field(min_length=1, max_length=300)]


class BandModel(Model):
    upto: AmountText | None = None
    percent: Percent


class ScaleModel(Model):
    scope: Literal["customer", "reseller", "product"]
    measure: Literal["gross", "discounted", "pretax", "paid", "usage"]
    unit: Annotated[str, Field(min_length=1, max_length=60)] | None = None
    method: Literal["graduated", "all_units"]
    over: Literal["month", "contract_year"] = "month"
    retroactive: bool = False
    bands: Annotated[list[BandModel], Field(min_length=1)]


class GateModel(Model):
    figure: Id
    at_least: AmountText
    otherwise: Earn | None = None


class Earn(Model):
    percent: Percent | None = None
    fixed: AmountText | None = None
    per: Literal["line", "instance_month", "customer_month", "usage_unit"] | None = None
    prorate: Literal["days"] | None = None
    zero: bool = False
    scale: str | None = None
    gate: GateModel | None = None


class BoundModel(Model):
    scope: Literal["line", "instance", "customer", "reseller"]
    amount: AmountText
    over: Literal["month", "contract_year"] = "month"


def _listed(value: object) -> object:
    """One bound may stand alone; it is kept as a list of one."""
    return [value] if isinstance(value, dict) else value


Bounds = Annotated[list[BoundModel], BeforeValidator(_listed)]


class RuleModel(Model):
    id: Id
    when: When
    earn: Earn
    cap: Bounds = Field(default_factory=list)
    floor: Bounds = Field(default_factory=list)


class Refunds(Model):
    within: Literal["same_month", "none"] = "same_month"
    window_days: Annotated[int, Field(ge=0, le=1_000)] | None = None
    take_back: Literal["original", "rerate"] = "original"


class HoldbackModel(Model):
    percent: Percent
    months: Annotated[int, Field(ge=1, le=60)]


class WithholdingModel(Model):
    percent: Percent


class TaxModel(Model):
    percent: Percent
    mode: Literal["exclusive", "inclusive"]


class PayoutModel(Model):
    minimum: Annotated[AmountText, AfterValidator(_not_below_zero)] = "0"
    carry_forward: bool = True
    requires_invoice: bool = False
    tax: TaxModel | None = None
    withholding: WithholdingModel | None = None


class ExampleLine(Model):
    customer: str | None = None
    product_code: str | None = None
    commodity_code: str | None = None
    billing_item_code: str | None = None
    subscription_type: str | None = None
    kind: Literal["usage", "subscription", "adjustment", "credit", "refund"] = "usage"
    region: str | None = None
    instance_id: str | None = None
    account: str | None = None
    tags: dict[str, str] | None = None
    date: Day | None = None
    gross: AmountText | None = None
    discount: AmountText | None = None
    pretax: AmountText
    payment: AmountText | None = None


class Expect(Model):
    commission: AmountText


class Example(Model):
    name: Annotated[str, Field(min_length=1)]
    lines: Annotated[list[ExampleLine], Field(min_length=1)]
    expect: Expect


class AgreementDocument(Model):
    agreement: Id
    reseller: Id
    applies_to: AppliesTo | None = None
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    effective: Effective
    currency: Currency
    basis: Literal["gross", "discounted", "pretax", "paid"]
    rounding: Rounding = Rounding()
    exclude: list[ExcludeModel] = Field(default_factory=list)
    scales: dict[Id, ScaleModel] = Field(default_factory=dict)
    rules: Annotated[list[RuleModel], Field(min_length=1)]
    cap: Bounds = Field(default_factory=list)
    floor: Bounds = Field(default_factory=list)
    refunds: Refunds = Refunds()
    holdback: HoldbackModel | None = None
    payout: PayoutModel = PayoutModel()
    examples: Annotated[list[Example], Field(min_length=1)]


def agreement_document(
    data: Any,
    name: str,
    settle_example: Callable[[Agreement, Sequence[Mapping[str, Any]]], Decimal],
    unsettled: Callable[[Agreement], Sequence[Finding]],
) -> bytes:
    """The checked document in canonical JSON; DocumentRefusedError lists everything that is wrong.

    `settle_example` gives the commission that the engine computes for an example's lines, `unsettled` what of an
    agreement the engine does not settle.
    """
    document = check(AgreementDocument, data, name)
    findings = [*_dates(document), *_bands(document), *_rules(document)]
    if findings:
        raise DocumentRefusedError(name, findings)
    body = canonical_json(document.model_dump(mode="json", by_alias=True))
    agreement = parse_agreement(body)
    findings = [(place, f"{what}: not settled yet; leave it out") for place, what in unsettled(agreement)]
    findings = findings or _examples(document, agreement, settle_example)
    if findings:
        raise DocumentRefusedError(name, findings)
    return body


def overlapping(new: Agreement, others: Sequence[Agreement]) -> list[Finding]:
    """Where `new` and an approved version could both apply to one line, or a version number is taken."""
    findings = []
    for other in others:
        if new.id == other.id and new.currency != other.currency:
            problem = (
                f"version {other.version} of {new.id} is in {other.currency}; another currency is another agreement"
            )
            findings.append(("currency", problem))
        if (new.id, new.version) == (other.id, other.version):
            findings.append(("version", f"{new.id} version {new.version} is already approved; give the next number"))
        elif new.overlaps(other):
            until = other.ends or "without an end"
            findings.append(
                (
                    "effective",
                    f"overlaps {other.id} version {other.version} ({other.begins} to {until}); move the dates",
                )
            )
    return findings


def _dates(document: AgreementDocument) -> list[Finding]:
    begins, until = document.effective.from_, document.effective.until
    if until is not None and until < begins:
        return [("effective.until", f"{until} is before its from {begins}")]
    return []


def _bands(document: AgreementDocument) -> list[Finding]:
    findings = []
    for name, scale in document.scales.items():
        place = f"scales.{name}"
        if scale.measure != document.basis:
            problem = f"a graduated scale measures the basis, {document.basis}, not {scale.measure}"
            findings.append((f"{place}.measure", problem))
        limits = [None if band.upto is None else Decimal(band.upto) for band in scale.bands]
        for index, limit in enumerate(limits):
            where = f"{place}.bands.{index}.upto"
            if (limit is None) != (index == len(limits) - 1):
                findings.append((where, "every band but the last has an upto, and the last has none"))
            below = limits[index - 1] if index else Decimal(0)
            if limit is not None and below is not None and limit <= below:
                findings.append((where, f"{text(limit)} must be above {text(below)}"))
    return findings


def _rules(document: AgreementDocument) -> list[Finding]:
    findings, seen = [], set()
    for index, rule in enumerate(document.rules):
        place = f"rules.{index} ({rule.id})"
        if rule.id in seen:
            findings.append((f"{place}.id", f"{rule.id!r} stands here a second time; rename one"))
        seen.add(rule.id)
        earlier = [one.when for one in document.exclude] + [one.when for one in document.rules[:index]]
        if rule.when in earlier:
            findings.append((f"{place}.when", "stands in an earlier rule or exclusion, so this one never matches"))
        if [rule.earn.percent, rule.earn.fixed, rule.earn.scale].count(None) != 2:
            findings.append((f"{place}.earn", "needs one of percent, fixed and scale"))
        if rule.earn.scale is not None and rule.earn.scale not in document.scales:
            findings.append((f"{place}.earn.scale", f"{rule.earn.scale!r} is not among the scales; add it there"))
    return findings


def _examples(
    document: AgreementDocument,
    agreement: Agreement,
    settle_example: Callable[[Agreement, Sequence[Mapping[str, Any]]], Decimal],
) -> list[Finding]:
    findings = []
    for index, example in enumerate(document.examples):
        found = settle_example(agreement, [line.model_dump() for line in example.lines])
        expected = Decimal(example.expect.commission)
        if found != expected:
            problem = f"expects {text(expected)} but the rules give {text(found)}; mend the rules or the example"
            findings.append((f"examples.{index} ({example.name}).expect.commission", problem))
    return findings
