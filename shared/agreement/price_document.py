"""The price plan document: what a seller charges a buyer, checked like an agreement.

price_plan: acme-2026
seller: operator              # who sells: the operator's id, or a reseller
buyer: acme                   # who buys
version: 1
effective: {from: 2026-01-01}
currency: CNY
rules:
  - id: compute
    when: "product_code == 'ecs'"
    price: {basis: gross, discount_percent: "10"}   # or markup_percent, fixed, scale
examples:
  - name: ten percent off
    lines: [{product_code: ecs, gross: "100.00", pretax: "80.00"}]
    expect: {price: "90.00"}
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from shared.agreement import checks
from shared.agreement.agreement import GRADUATED, PERCENT_PLACES
from shared.agreement.document import (
    AmountText,
    Checked,
    Currency,
    Effective,
    ExampleLine,
    ExcludeModel,
    Percent,
    RefundsModel,
    Rounding,
    ScaleModel,
    SettleExample,
    run_examples,
)
from shared.agreement.price_plan import parse_price_plan
from shared.documents import DocumentRefusedError, Finding, Id, Model, check
from shared.ids import canonical_json
from shared.money import NotAnAmountError, amount, text

MARKUP_MAX = 1000  # percent
_PRICES = ("discount_percent", "markup_percent", "fixed", "scale")


def _markup_text(value: object) -> object:
    try:
        percent = amount(value, places=PERCENT_PLACES)
    except NotAnAmountError as exc:
        raise ValueError(str(exc)) from exc
    if not 0 <= percent <= MARKUP_MAX:
        raise ValueError(f"a markup lies between 0 and {MARKUP_MAX} percent")
    return text(percent)


class PriceModel(Model):
    basis: Literal["gross", "discounted", "pretax", "paid"]
    discount_percent: Percent | None = None
    markup_percent: Annotated[str, BeforeValidator(_markup_text)] | None = None
    fixed: AmountText | None = None
    scale: str | None = None


class PriceRuleModel(Model):
    id: Id
    when: str
    price: PriceModel


class PriceExpect(Model):
    price: AmountText


class PriceExample(Model):
    name: Annotated[str, Field(min_length=1)]
    lines: Annotated[list[ExampleLine], Field(min_length=1)]
    expect: PriceExpect


class PriceDocument(Model):
    price_plan: Id
    seller: Id
    buyer: Id
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    effective: Effective
    currency: Currency
    rounding: Rounding = Rounding()
    exclude: list[ExcludeModel] = Field(default_factory=list)
    scales: dict[Id, ScaleModel] = Field(default_factory=dict)
    rules: Annotated[list[PriceRuleModel], Field(min_length=1)]
    refunds: RefundsModel = RefundsModel()
    examples: Annotated[list[PriceExample], Field(min_length=1)]


def checked_price_plan(data: Any, name: str, settle_example: SettleExample) -> Checked:
    """The checked document with warnings and the results of its examples; DocumentRefusedError lists what is wrong."""
    document = check(PriceDocument, data, name)
    findings, warnings = price_findings(document)
    body = canonical_json(document.model_dump(mode="json", by_alias=True))
    agreement = parse_price_plan(body).as_agreement()
    if findings:
        raise DocumentRefusedError(name, findings)
    cases = [(one.name, one.lines, one.expect.price) for one in document.examples]
    return Checked(body, warnings, run_examples(name, "price", agreement, cases, settle_example))


def price_findings(document: PriceDocument) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with a document, and what may be, without settling anything."""
    placed = checks.whens([one.when for one in document.exclude], [(one.id, one.when) for one in document.rules])
    of_conditions, warnings = checks.of_conditions(placed)
    uses = [rule.price.scale for rule in document.rules if rule.price.scale is not None]
    findings = [
        *checks.of_dates(document.effective),
        *checks.of_currency("currency", document.currency),
        *checks.of_scales(document.scales, uses),
        *checks.repeated_rules([rule.id for rule in document.rules]),
        *(finding for number, rule in enumerate(document.rules) for finding in _of_rule(number, rule, document)),
        *checks.of_refunds(document.refunds),
        *of_conditions,
    ]
    if document.seller == document.buyer:
        findings.append(("buyer", f"{document.buyer!r} is the seller, too; nobody buys from themselves"))
    return findings, warnings


def _of_rule(number: int, rule: PriceRuleModel, document: PriceDocument) -> list[Finding]:
    place, price = f"rules.{number} ({rule.id}).price", rule.price
    findings = checks.of_scale_name(f"{place}.scale", price.scale, document.scales)
    given = [name for name in _PRICES if getattr(price, name) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        findings.append((place, f"needs exactly one of {', '.join(_PRICES)}, and has {found}"))
    scale = document.scales.get(price.scale or "")
    if scale is not None and scale.method == GRADUATED and scale.measure != price.basis:
        problem = f"is {price.basis}, but its graduated scale {price.scale} measures {scale.measure}"
        findings.append((f"{place}.basis", f"{problem}; write the same for both"))
    return findings
