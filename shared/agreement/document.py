"""The agreement document: checked, and its worked examples settled, before anybody can approve it.

What the engine does not settle is refused by name, so that nothing in an approved document is ever without effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from shared.agreement import checks
from shared.agreement.agreement import PERCENT_PLACES, Agreement, parse_agreement
from shared.documents import DocumentRefusedError, Finding, Id, Model, check
from shared.ids import canonical_json
from shared.money import NotAnAmountError, amount, text
from shared.parties.document import Account, Day

QUANTITY_PLACES = 18
SettleExample = Callable[[Agreement, Sequence[Mapping[str, Any]]], Decimal]


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


def _quantity_text(value: object) -> object:
    try:
        return text(amount(value, places=QUANTITY_PLACES))
    except NotAnAmountError as exc:
        raise ValueError(f'{exc}; write it as text, such as "12.5"') from exc


AmountText = Annotated[str, BeforeValidator(_amount_text)]
Percent = Annotated[str, BeforeValidator(_percent_text)]
QuantityText = Annotated[str, BeforeValidator(_quantity_text)]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$")]


class Effective(Model):
    from_: Day = Field(alias="from")
    until: Day | None = None


class AppliesTo(Model):
    currencies: list[Currency] = Field(default_factory=list)
    payers: list[Account] = Field(default_factory=list)


class Rounding(Model):
    places: Annotated[int, Field(ge=0, le=6)] = 2
    mode: Literal["half_up", "half_even"] = "half_up"


class ExcludeModel(Model):
    when: str
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
    when: str
    earn: Earn
    cap: Bounds = Field(default_factory=list)
    floor: Bounds = Field(default_factory=list)


class RefundsModel(Model):
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


class StepModel(Model):
    act: Literal["lock", "payout_batch", "adjustment", "agreement", "case"]
    role: Literal["preparer", "approver", "operator", "admin", "auditor", "analyst"]


class ApprovalsModel(Model):
    approvers: Annotated[int, Field(ge=1, le=9)] = 1
    adjustment_over: Annotated[AmountText, AfterValidator(_not_below_zero)] | None = None
    payout_over: Annotated[AmountText, AfterValidator(_not_below_zero)] | None = None
    also: list[StepModel] = Field(default_factory=list)


class ExampleLine(Model):
    customer: str | None = None
    payer: str | None = None
    account: str | None = None
    date: Day | None = None
    service_from: Day | None = None
    service_until: Day | None = None
    product_code: str | None = None
    commodity_code: str | None = None
    billing_item_code: str | None = None
    region: str | None = None
    zone: str | None = None
    instance_id: str | None = None
    instance_spec: str | None = None
    resource_group: str | None = None
    cost_unit: str | None = None
    tags: dict[str, str] | None = None
    subscription_type: str | None = None
    order_type: str | None = None
    kind: Literal["usage", "subscription", "adjustment", "credit", "refund", "chargeback"] = "usage"
    usage: QuantityText | None = None
    usage_unit: str | None = None
    gross: AmountText | None = None
    discount: AmountText | None = None
    round_down: AmountText | None = None
    coupon: AmountText | None = None
    pretax: AmountText
    payment: AmountText | None = None
    currency: Currency | None = None
    record_id: str | None = None
    related_record: str | None = None


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
    refunds: RefundsModel = RefundsModel()
    holdback: HoldbackModel | None = None
    payout: PayoutModel = PayoutModel()
    approvals: ApprovalsModel | None = None
    examples: Annotated[list[Example], Field(min_length=1)]

    def canonical(self) -> bytes:
        """What is kept of it; without what it does not say of approvals, so that its digest is that of before."""
        data = self.model_dump(mode="json", by_alias=True)
        if data["approvals"] is None:
            del data["approvals"]
        return canonical_json(data)


@dataclass(frozen=True, slots=True)
class ExampleResult:
    """What a worked example expects, and what the rules give."""

    name: str
    expected: Decimal
    found: Decimal


@dataclass(frozen=True, slots=True)
class Checked:
    """A document that may be submitted: in canonical JSON, with what its author should still look at."""

    body: bytes
    warnings: Sequence[Finding]
    examples: Sequence[ExampleResult]


def agreement_document(data: Any, name: str, settle_example: SettleExample) -> bytes:
    """The checked document in canonical JSON; DocumentRefusedError lists everything that is wrong.

    `settle_example` gives the commission that the engine computes for an example's lines.
    """
    return checked_agreement(data, name, settle_example).body


def checked_agreement(data: Any, name: str, settle_example: SettleExample) -> Checked:
    """The checked document with warnings and the results of its examples; DocumentRefusedError as above."""
    document = check(AgreementDocument, data, name)
    findings, warnings = agreement_findings(document)
    body = document.canonical()
    agreement = parse_agreement(body)
    if findings:
        raise DocumentRefusedError(name, findings)
    cases = [(one.name, one.lines, one.expect.commission) for one in document.examples]
    results = run_examples(name, "commission", agreement, cases, settle_example)
    return Checked(body, warnings, results)


def agreement_findings(document: AgreementDocument) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with a document, and what may be, without settling anything."""
    placed = checks.whens([one.when for one in document.exclude], [(one.id, one.when) for one in document.rules])
    findings, warnings = checks.of_conditions(placed)
    return checks.of_agreement(document) + findings, warnings


def run_examples(
    name: str,
    what: str,
    agreement: Agreement,
    examples: Sequence[tuple[str, Sequence[ExampleLine], str]],
    settle_example: SettleExample,
) -> list[ExampleResult]:
    """The worked examples (name, lines, expected) settled; DocumentRefusedError where one comes out otherwise."""
    results, findings = [], []
    for number, (title, lines, expects) in enumerate(examples):
        expected = Decimal(expects)
        found = settle_example(agreement, [line.model_dump() for line in lines])
        results.append(ExampleResult(title, expected, found))
        if found != expected:
            problem = f"expects {text(expected)} but the rules give {text(found)}; mend the rules or the example"
            findings.append((f"examples.{number} ({title}).expect.{what}", problem))
    if findings:
        raise DocumentRefusedError(name, findings)
    return results


def gaps(versions: Sequence[Agreement]) -> list[Finding]:
    """Days between versions of one agreement on which none is in force: no refusal, for it may have paused."""
    findings = []
    ordered = sorted(versions, key=lambda one: (one.id, one.begins, one.version))
    for one, other in pairwise(ordered):
        # Versions for other payers or currencies stand beside each other, not one after the other.
        is_same = (one.id, one.payers, one.currencies) == (other.id, other.payers, other.currencies)
        if is_same and one.ends is not None and other.begins - one.ends > timedelta(days=1):
            problem = f"version {one.version} of {one.id} ends {one.ends} and version {other.version} begins"
            findings.append(("effective", f"{problem} {other.begins}; lines between are cases no_agreement"))
    return findings
