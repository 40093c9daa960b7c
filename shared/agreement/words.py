"""Agreements and price plans in plain words: the facts of each part, for people to read and for two to be compared.

A fact is what a part says about one thing: ("rule compute", "cap per customer"): "20,000.00 a month". Everything that
can change what is paid is a fact; worked examples are none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from shared.agreement.agreement import (
    CONTRACT_YEAR,
    GRADUATED,
    ORIGINAL,
    PER_LINE,
    PER_UNIT,
    Agreement,
    Approvals,
    Bound,
    Earning,
    Payout,
    Refunds,
    Scale,
)
from shared.agreement.matching import FIELDS, compile_condition
from shared.agreement.price_plan import Price, PricePlan
from shared.money import EXACT, Mode, text

Facts = dict[tuple[str, str], str]  # (part, thing) -> what it says, in the order in which people read it

DOCUMENT, PLAN, REFUNDS, PAYOUT, EXCLUDED = "agreement", "price plan", "refunds", "payout", "excluded"
RULE, SCALE = "rule ", "scale "
APPROVALS = "approvals"
ACTS = {
    "lock": "locks",
    "payout_batch": "payouts",
    "adjustment": "adjustments",
    "agreement": "versions",
    "case": "cases",
}
_BASES = {
    "gross": "gross (the list total)",
    "discounted": "discounted (after discounts, before coupons)",
    "pretax": "pretax (what the bill asks for)",
    "paid": "paid (in cash)",
}
_MODES = {Mode.HALF_UP: "halves away from zero", Mode.HALF_EVEN: "halves to the even digit"}
_PER = {
    PER_LINE: "for each line",
    PER_UNIT: "for each unit of usage",
    "instance_month": "for each instance and month",
    "customer_month": "for each customer and month",
}


def figure(value: Decimal, places: int = 0) -> str:
    """An amount as people write it: thousands apart, and at least so many decimals."""
    whole, _, decimals = f"{Decimal(text(value)):,f}".partition(".")
    decimals = decimals.ljust(places, "0")
    return f"{whole}.{decimals}" if decimals else whole


def percent(rate: Decimal) -> str:
    """A rate as a percent."""
    return f"{text(EXACT.multiply(rate, Decimal(100)))} %"


def days(begins: date, ends: date | None) -> str:
    """From when to when, both included."""
    return f"{begins} to {ends}" if ends else f"from {begins} on, without an end"


def facts(one: Agreement | PricePlan) -> Facts:
    """Everything that a version says, part by part."""
    return _of_plan(one) if isinstance(one, PricePlan) else _of_agreement(one)


def lines(found: Facts) -> Iterator[str]:
    """Facts as text: each part, and below it what it says."""
    before = None
    for (part, thing), says in found.items():
        if part != before:
            yield part
            before = part
        yield f"  {thing}: {says}"


def _of_agreement(one: Agreement) -> Facts:
    found = {(DOCUMENT, "reseller"): one.reseller}
    found |= _of_version(one)
    if one.currencies or one.payers:
        named = [f"in {', '.join(one.currencies)}"] if one.currencies else []
        named += [f"of the payers {', '.join(one.payers)}"] if one.payers else []
        found[DOCUMENT, "applies to"] = f"lines {' '.join(named)}"
    found[DOCUMENT, "earns on"] = _BASES[one.basis]
    found |= {(DOCUMENT, thing): says for thing, says in _bounds(one.bounds)}
    if one.holdback is not None:
        months = "1 month" if one.holdback.months == 1 else f"{one.holdback.months} months"
        found[DOCUMENT, "holdback"] = f"{percent(one.holdback.rate)} of what a month earns, released {months} later"
    found |= _of_exclusions(one)
    for rule in one.rules:
        part = RULE + rule.id
        found[part, "where"] = condition_words(rule.when)
        found |= {(part, thing): says for thing, says in _earning(rule.earn)}
        found |= {(part, thing): says for thing, says in _bounds(rule.bounds)}
    found |= _of_scales(one.scales, "") | _of_refunds(one.refunds) | _of_payout(one.payout)
    return found | _of_approvals(one.approvals)


def _of_approvals(one: Approvals) -> Facts:
    """Nothing where one other person approves everything."""
    found: Facts = {}
    if one.approvers > 1:
        found[APPROVALS, "approvers"] = f"{one.approvers} people beside the proposer"
    for act, limit in one.over.items():
        found[APPROVALS, ACTS[act]] = f"one approver up to {figure(limit)}"
    for step in one.also:
        found[APPROVALS, f"{ACTS[step.act]}, also"] = f"one {step.role}"
    return found


def _of_plan(one: PricePlan) -> Facts:
    found = {(PLAN, "seller"): one.seller, (PLAN, "buyer"): one.buyer}
    found |= _of_version(one)
    found |= _of_exclusions(one)
    for price in one.prices:
        found[RULE + price.id, "where"] = condition_words(price.when)
        found[RULE + price.id, "price"] = _price(price)
    return found | _of_scales(one.scales, " off") | _of_refunds(one.refunds)


def _of_version(one: Agreement | PricePlan) -> Facts:
    part = PLAN if isinstance(one, PricePlan) else DOCUMENT
    return {
        (part, "in force"): days(one.begins, one.ends),
        (part, "currency"): one.currency,
        (part, "rounded"): f"to {one.places} decimals, {_MODES[one.mode]}",
    }


def _of_exclusions(one: Agreement | PricePlan) -> Facts:
    return {(EXCLUDED, f"where {condition_words(each.when)}"): each.because for each in one.exclusions}


def _of_scales(scales: Mapping[str, Scale], off: str) -> Facts:
    found: Facts = {}
    for name, scale in scales.items():
        part = SCALE + name
        each = "product of a customer" if scale.scope == "product" else scale.scope
        found[part, "adds up"] = f"{_measure(scale)} per {each}, over {_over(scale.over)}"
        graduated = "each band's percent for what lies in it"
        whole = "one percent for everything, that of the band which the total reaches"
        found[part, "applies"] = graduated if scale.method == GRADUATED else whole
        if scale.is_retroactive:
            found[part, "retroactive"] = "earlier months of the contract year are brought to the percent now reached"
        low: Decimal | None = None
        for band in scale.bands:
            found[part, f"band {_band(low, band.upto)}"] = percent(band.rate) + off
            low = band.upto
    return found


def _measure(scale: Scale) -> str:
    if scale.unit:
        return f"usage in {scale.unit}"
    return scale.measure or "the basis"


def _band(low: Decimal | None, high: Decimal | None) -> str:
    if low is None:
        return "of everything" if high is None else f"up to {figure(high)}"
    return f"above {figure(low)}" if high is None else f"{figure(low)} to {figure(high)}"


def _over(over: str) -> str:
    return "the contract year" if over == CONTRACT_YEAR else "the month"


def _earning(earn: Earning) -> Iterator[tuple[str, str]]:
    """What is earned, and below which figure something else."""
    thing, join = "earns", " where "
    for stage in earn.stages():
        yield thing, _stage(stage)
        if stage.gate is not None:
            thing += f"{join}{stage.gate.figure} is below {figure(stage.gate.at_least)}"
            join = " and "


def _stage(earn: Earning) -> str:
    if earn.rate is not None:
        return percent(earn.rate) if earn.rate else "nothing"
    if earn.fixed is None:
        return f"by scale {earn.scale}"
    says = f"{figure(earn.fixed, 2)} {_PER[earn.per]}"
    says += ", for the share of its days that were served" if earn.is_prorated else ""
    return says + (", on lines that come to 0, too" if earn.counts_zero else "")


def _price(price: Price) -> str:
    if price.discount is not None:
        return f"{price.basis} less {percent(price.discount)}"
    if price.markup is not None:
        return f"{price.basis} and {percent(price.markup)} on top"
    if price.fixed is not None:
        return f"{figure(price.fixed, 2)} for each line, whatever its {price.basis}"
    return f"{price.basis} less the percent of scale {price.scale}"


def _bounds(bounds: Sequence[Bound]) -> Iterator[tuple[str, str]]:
    for one in bounds:
        says = figure(one.amount, 2)
        yield f"{one.kind} per {one.scope}", f"{says} over the contract year" if one.over == CONTRACT_YEAR else says


def _of_refunds(refunds: Refunds) -> Facts:
    window = "" if refunds.window_days is None else f" within {refunds.window_days} days of the charge"
    same_month = f"netted{window}" if refunds.is_same_month_netted else "not netted, but taken back"
    later = "take back what the charge earned" if refunds.take_back == ORIGINAL else "make its month count anew"
    return {(REFUNDS, "of the same month"): same_month, (REFUNDS, "otherwise"): later}


def _of_payout(payout: Payout) -> Facts:
    minimum = f"from {figure(payout.minimum, 2)} on" if payout.minimum else "whatever the balance"
    below = "carried forward" if payout.carry_forward else "forfeited"
    found = {(PAYOUT, "paid"): minimum}
    if payout.minimum:
        found[PAYOUT, "what is below"] = below
    if payout.tax is not None:
        how = "on top of the total" if payout.tax.mode == "exclusive" else "contained in the total"
        found[PAYOUT, "tax"] = f"{percent(payout.tax.rate)}, {how}"
    if payout.withholding is not None:
        found[PAYOUT, "withheld"] = f"{percent(payout.withholding)} of what is paid"
    if payout.requires_invoice:
        found[PAYOUT, "invoice"] = "needed before it is paid"
    return found


# -- conditions --------------------------------------------------------------------------------------------------------

_COMPARED = {"eq": "is", "ne": "is not", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_ASKED = {"contains": "contains", "starts_with": "begins with", "ends_with": "ends with"}
_TAKEN = {"absent", "there", "and", "or", "not", "one", *FIELDS}  # words that stand for something here
Node = Mapping[str, Any]


class _NoWordsError(Exception):
    """A part of a condition that is better shown as it is written."""


def condition_words(when: str) -> str:
    """A condition in plain words, or as it is written where there are none for it."""
    try:
        return _words(compile_condition(when).expression.parsed)
    except _NoWordsError:
        return when


def _words(node: Node) -> str:
    kind, children = node["type"], node.get("children", [])
    if kind == "literal" and isinstance(node["value"], bool):
        return "every line" if node["value"] else "no line"
    if kind in ("and_expression", "or_expression"):
        join = " and " if kind == "and_expression" else " or "
        return join.join(_within(child, kind) for child in children)
    if kind == "not_expression":
        return f"not ({_words(children[0])})"
    if kind == "comparator":
        return _comparison(node["value"], *children)
    if kind == "function_expression" and node["value"] in _ASKED and len(children) == 2:
        if children[0]["type"] == "multi_select_list":
            return f"{_value(children[1])} is one of {', '.join(_value(one) for one in children[0]['children'])}"
        return f"{_value(children[0])} {_ASKED[node['value']]} {_value(children[1])}"
    if kind in ("field", "subexpression"):
        return f"{_value(node)} is there"
    raise _NoWordsError


def _within(node: Node, kind: str) -> str:
    """A part of a sentence, in brackets where it would run into the words around it."""
    words = _words(node)
    is_other = node["type"] in ("and_expression", "or_expression") and node["type"] != kind
    return f"({words})" if is_other else words


def _comparison(operator: str, left: Node, right: Node) -> str:
    if left["type"] == "literal" and right["type"] != "literal" and operator in ("eq", "ne"):
        left, right = right, left
    if right["type"] == "literal" and right["value"] is None:
        return f"{_value(left)} {_COMPARED[operator]} absent"
    return f"{_value(left)} {_COMPARED[operator]} {_value(right)}"


def _value(node: Node) -> str:
    if node["type"] == "literal" and isinstance(node["value"], str):
        return _plain(node["value"])
    if node["type"] == "literal" and isinstance(node["value"], int) and not isinstance(node["value"], bool):
        return str(node["value"])
    if node["type"] == "field":
        return str(node["value"])
    if node["type"] == "subexpression" and all(child["type"] == "field" for child in node["children"]):
        return "tag " + ".".join(_plain(child["value"]) for child in node["children"][1:])
    raise _NoWordsError


def _plain(value: str) -> str:
    """A text without quotes, unless it could be taken for something else."""
    is_plain = value and value not in _TAKEN and not set(value) & set(" ,()'\"")
    return value if is_plain else repr(value)
