"""What agreement and price plan documents refuse: each check by itself, with its place."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.agreement.agreement import Agreement, parse_agreement
from shared.agreement.document import AgreementDocument, agreement_document, agreement_findings, gaps
from shared.agreement.overlaps import overlapping
from shared.agreement.price_document import PriceDocument, checked_price_plan, price_findings
from shared.agreement.price_plan import parse_price_plan
from shared.documents import DocumentRefusedError, Finding, check, read_yaml, reading
from shared.errors import ClearbookError
from shared.parties.document import party_document
from shared.parties.parties import CustomerClass, parse_parties
from shared.settlement.examples import settle_example
from tests.builders import agreement, parties

README = (Path(__file__).parents[2] / "shared/agreement/README.md").read_text(encoding="utf-8")
FIRST, WHOLE, PLAN = (part.partition("```")[0] for part in README.split("```yaml\n")[1:])
Change = Callable[[dict[str, Any]], None]


def whole() -> dict[str, Any]:
    """The document that has every part."""
    return copy.deepcopy(dict(read_yaml(WHOLE.encode(), "whole")))


def plan() -> dict[str, Any]:
    return copy.deepcopy(dict(read_yaml(PLAN.encode(), "plan")))


def settled(_: Agreement, __: Sequence[Mapping[str, Any]]) -> Decimal:
    """An engine that gives what the example of the whole document expects."""
    return Decimal("30.00")


def submit(document: Mapping[str, Any]) -> bytes:
    return agreement_document(document, "agreement", settled)


def refusals(document: Mapping[str, Any]) -> list[Finding]:
    with pytest.raises(DocumentRefusedError) as refused:
        submit(document)
    return refused.value.findings


def put(path: str, value: object) -> Change:
    """Set what stands at a path with dots."""

    def change(document: dict[str, Any]) -> None:
        *steps, last = path.split(".")
        node: Any = document
        for step in steps:
            node = node[int(step)] if isinstance(node, list) else node.setdefault(step, {})
        if isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value

    return change


def test_the_whole_format_in_the_documentation_is_sound() -> None:
    assert agreement_findings(check(AgreementDocument, whole(), "whole")) == ([], [])
    assert parse_agreement(submit(whole())).id == "aurora-2026"


def test_the_price_plan_in_the_documentation_is_sound() -> None:
    checked = checked_price_plan(plan(), "plan", settle_example)

    assert [(one.expected, one.found) for one in checked.examples] == [(Decimal(110), Decimal(110))]
    assert parse_price_plan(checked.body).share == "operator to acme"


RULE, USAGE = "rules.0 (compute)", "scales.yearly-traffic"
NESTED = {"percent": "1", "gate": {"figure": "a", "at_least": "1", "otherwise": {"percent": "2"}}}
for _depth in range(4):
    NESTED = {"percent": str(3 + _depth), "gate": {"figure": "a", "at_least": "1", "otherwise": NESTED}}

CHECKS: list[tuple[str, object, str, str]] = [
    # path, what is put there, the place of the finding, what it says
    ("agreement", "Aurora", "agreement", "expected at most 40 small letters, digits and hyphens"),
    ("basis", "net", "basis", "expected 'gross', 'discounted', 'pretax' or 'paid' (found 'net')"),
    ("rules", {}, "rules", "expected a list (found {})"),
    ("payout", [], "payout", "expected names with values (found [])"),
    ("version", "3", "version", "expected a whole number, without quotes (found '3')"),
    ("rules.0.when", 5, "rules.0.when", "expected text; put it in quotes (found 5)"),
    ("payout.carry_forward", "no", "payout.carry_forward", "expected true or false (found 'no')"),
    ("approval", {"approvers": 2}, "approval", "is not a known name here"),
    ("approvals", {"approvers": 0}, "approvals.approvers", "greater than or equal to 1"),
    ("approvals", {"also": [{"act": "lock", "role": "reseller"}]}, "approvals.also.0.role", "expected"),
    ("approvals", {"adjustment_over": "-1"}, "approvals.adjustment_over", "below 0"),
    ("effective.until", "2026-06-30", "effective.until", "2026-06-30 is before its from 2026-07-01"),
    ("currency", "CNX", "currency", "'CNX' is no currency"),
    ("applies_to.currencies", ["ABC"], "applies_to.currencies.0", "'ABC' is no currency"),
    ("applies_to", {}, "applies_to", "names neither currencies nor payers"),
    ("scales.monthly-spend.measure", "gross", "scales.monthly-spend.measure", "measures the basis, pretax, not gross"),
    ("scales.monthly-spend.unit", "GB", "scales.monthly-spend.unit", "leave it out, or write measure: usage"),
    ("scales.yearly-traffic.unit", None, f"{USAGE}.unit", "is missing; usage is added up in one unit"),
    ("scales.yearly-traffic.over", "month", f"{USAGE}.retroactive", "not all_units over month"),
    ("scales.unused", {"scope": "customer", "measure": "pretax", "method": "graduated", "bands": [{"percent": "5"}]},
     "scales.unused", "is used by no rule"),
    ("scales.yearly-traffic.bands", [{"upto": "5", "percent": "2"}], f"{USAGE}.bands.0.upto", "has no upto"),
    ("scales.yearly-traffic.bands", [{"percent": "2"}, {"percent": "3"}], f"{USAGE}.bands.0.upto", "is missing"),
    ("scales.yearly-traffic.bands.0.upto", "0", f"{USAGE}.bands.0.upto", "is 0 and must be above 0"),
    ("scales.yearly-traffic.bands", [{"upto": "5", "percent": "2"}, {"upto": "5", "percent": "3"}, {"percent": "4"}],
     f"{USAGE}.bands.1.upto", "is 5 and must be above 5, where the band before ends"),
    ("scales.yearly-traffic.bands.0.percent", "101", f"{USAGE}.bands.0.percent", "a percent lies between 0 and 100"),
    ("rules.3.earn", {}, "rules.3 (rest).earn", "needs exactly one of percent, fixed and scale, and has none of them"),
    ("rules.3.earn", {"percent": "1", "fixed": "2"}, "rules.3 (rest).earn", "has percent and fixed"),
    ("rules.3.earn", {"scale": "weekly"}, "rules.3 (rest).earn.scale", "there are monthly-spend, yearly-traffic"),
    ("rules.3.earn.per", "line", "rules.3 (rest).earn.per", "goes with fixed alone"),
    ("rules.3.earn.prorate", "days", "rules.3 (rest).earn.prorate", "goes with fixed alone"),
    ("rules.3.earn.zero", True, "rules.3 (rest).earn.zero", "goes with fixed alone"),
    ("rules.2.earn.per", "usage_unit", "rules.2 (support-plan).earn.prorate", "not usage_unit"),
    ("rules.2.earn.per", None, "rules.2 (support-plan).earn.prorate", "not line"),
    ("rules.0.earn.gate.otherwise", {"scale": "monthly-spend"}, f"{RULE}.earn.gate.otherwise", "has no effect"),
    ("rules.0.earn.gate.otherwise", NESTED, f"{RULE}.earn{'.gate.otherwise' * 5}", "more than 4 gates"),
    ("rules.0.earn.gate.otherwise", {"scale": "none"}, f"{RULE}.earn.gate.otherwise.scale", "not among the scales"),
    ("rules.1.id", "compute", "rules.1 (compute).id", "stands here a second time"),
    ("rules.0.cap.amount", "99", f"{RULE}.floor.0.amount", "100, is above the cap, 99"),
    ("rules.0.cap.over", "contract_year", f"{RULE}.floor.0.over", "over month and the cap over contract_year"),
    ("rules.0.cap", [{"scope": "customer", "amount": "200"}] * 2, f"{RULE}.cap.1.scope", "a second time"),
    ("rules.0.cap", {"scope": "line", "amount": "1", "over": "contract_year"}, f"{RULE}.cap.0.over", "of one month"),
    ("floor", {"scope": "reseller", "amount": "1"}, "floor.0.over", "write the same for both"),
    ("refunds.within", "none", "refunds.window_days", "30 days limit what is netted within: same_month"),
    ("holdback.percent", "0", "holdback.percent", "has no effect"),
    ("holdback.months", 0, "holdback.months", "greater than or equal to 1"),
    ("payout.withholding.percent", "0", "payout.withholding.percent", "has no effect"),
    ("payout.minimum", "0", "payout.carry_forward", "forfeits what is below the minimum"),
    ("payout.minimum", "-1", "payout.minimum", "must not be below 0"),
    ("rules.0.cap.amount", 0.5, "rules.0.cap.0.amount", "write the amount as text"),
    ("rules.1.when", "product_code = 'cdn'", "rules.1 (traffic).when", "is no JMESPath at its character 14"),
    ("rules.1.when", "product_cod == 'cdn'", "rules.1 (traffic).when", "perhaps product_code"),
    ("rules.1.when", "kind != 'none'", "rules.2 (support-plan).when", "its lines are taken by exclude.0, rules.1 "),
    ("rules.1.when", "contains(['ecs', 'eci'], product_code) && subscription_type == 'PayAsYouGo'",
     "rules.1 (traffic).when", "stands in rules.0 (compute) before, an earlier rule or exclusion"),
    ("rules.1.when", "kind == 'refund'", "rules.1 (traffic).when", "is true of no line"),
    ("exclude.0.when", "kind == 'usag'", "exclude.0.when", "is true of no line"),
    ("examples.0.expect.commission", "30.01", "examples.0 (a yearly volume).expect.commission", "expects 30.01 but"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "place", "problem"), CHECKS)
def test_each_check_names_its_place_and_what_is_wrong(path: str, value: object, place: str, problem: str) -> None:
    document = whole()
    put(path, value)(document)
    found = refusals(document)

    assert [one for one, says in found if one == place and problem in says], found


def test_all_that_is_wrong_is_said_at_once() -> None:
    document = whole()
    for path, value in (("rules.3.earn.zero", True), ("holdback.percent", "0"), ("rules.1.when", "nothing == 'x'")):
        put(path, value)(document)

    assert [place for place, _ in refusals(document)] == [
        "rules.3 (rest).earn.zero",
        "holdback.percent",
        "rules.1 (traffic).when",
    ]


def test_a_doubt_does_not_refuse_a_document() -> None:
    document = whole()
    put("rules.1.when", "product_code != `null` && starts_with(product_code, 'ec') && product_code == 'cdn'")(document)
    findings, warnings = agreement_findings(check(AgreementDocument, document, "doubt"))

    assert findings == []
    assert [place for place, _ in warnings] == ["rules.1 (traffic).when"]


# -- line and column -------------------------------------------------------------------------------------------------


SHORT = """\
agreement: aurora-2026
reseller: aurora
version: 1
effective: {from: 2026-01-01}
currency: CNY
basis: pretax
rules:
  - id: storage
    when: "product_code == 'oss'"
    earn: {percent: "3.5"}
    floor: {scope: customer, amount: "5"}
    cap: {scope: customer, amount: "10"}
examples:
  - name: a hundred (of them)
    lines: [{product_code: oss, pretax: "100"}]
    expect: {commission: "30"}
"""


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("product_code ==", "product_cod ==", "rules.0 (storage).when, line 9, column 11"),
        ('"3.5"', '"350"', "rules.0.earn.percent, line 10, column 21"),
        ("earn: {percent", "earn: {part: 1, percent", "rules.0.earn.part, line 10, column 18"),
        ('    earn: {percent: "3.5"}\n', "", "rules.0.earn, line 8, column 5"),
        ('"10"', '"4"', "rules.0 (storage).floor.0.amount, line 11, column 38"),
        ('"30"', '"31"', "examples.0 (a hundred (of them)).expect.commission, line 16, column 26"),
    ],
)
def test_a_refusal_says_line_and_column(old: str, new: str, place: str) -> None:
    body = SHORT.replace(old, new, 1).encode()
    with pytest.raises(DocumentRefusedError) as refused, reading(body, "a.yaml") as data:
        agreement_document(data, "a.yaml", settled)

    assert place in [one for one, _ in refused.value.findings]


def test_what_is_missing_altogether_stands_nowhere() -> None:
    with pytest.raises(DocumentRefusedError) as refused, reading(b"agreement: a", "a.yaml") as data:
        agreement_document(data, "a.yaml", settled)

    assert ("reseller", "is missing; add it") in refused.value.findings


def test_what_is_refused_of_another_document_keeps_its_place() -> None:
    with pytest.raises(DocumentRefusedError) as refused, reading(b"agreement: a", "a.yaml"):
        raise DocumentRefusedError("past.csv", [("agreement", "is odd")])

    assert refused.value.findings == [("agreement", "is odd")]


# -- versions --------------------------------------------------------------------------------------------------------


def version(number: int, since: str, until: str | None, **more: Any) -> Agreement:
    document = agreement(version=number, since=since, until=until, **more)
    return parse_agreement(agreement_document(document, "version", lambda *_: Decimal(10)))


def test_versions_that_overlap_are_refused() -> None:
    earlier, later = version(1, "2025-01-01", "2025-06-30"), version(2, "2025-06-30", None)

    [(place, problem)] = overlapping(later, [earlier])
    assert (place, problem) == (
        "effective",
        "overlaps aurora-2025 version 1 (2025-01-01 to 2025-06-30); move the dates",
    )


def test_days_between_versions_are_a_warning() -> None:
    earlier, later = version(1, "2025-01-01", "2025-06-30"), version(2, "2025-07-02", None)

    [(_, problem)] = gaps([later, earlier])
    assert problem.startswith("version 1 of aurora-2025 ends 2025-06-30 and version 2 begins 2025-07-02")
    assert gaps([earlier, version(2, "2025-07-01", None)]) == []


# -- price plans -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "place", "problem"),
    [
        ("buyer", "operator", "buyer", "nobody buys from themselves"),
        ("rules.1.price.fixed", "5", "rules.1 (rest).price", "has markup_percent and fixed"),
        ("rules.1.price", {"basis": "pretax"}, "rules.1 (rest).price", "has none of them"),
        ("rules.0.price.basis", "gross", "rules.0 (compute).price.basis", "its graduated scale volume measures pretax"),
        ("rules.0.price.scale", "none", "rules.0 (compute).price.scale", "there are volume"),
        ("rules.0.when", "`true`", "rules.1 (rest).when", "an earlier rule or exclusion"),
        ("effective.until", "2025-01-01", "effective.until", "is before its from"),
        ("currency", "XXZ", "currency", "is no currency"),
    ],
)
def test_each_check_of_a_price_plan_names_its_place(path: str, value: object, place: str, problem: str) -> None:
    document = plan()
    put(path, value)(document)
    findings, _ = price_findings(check(PriceDocument, document, "plan"))

    assert [one for one, says in findings if one == place and problem in says], findings


def test_a_markup_has_an_end() -> None:
    document = plan()
    put("rules.1.price.markup_percent", "1001")(document)
    with pytest.raises(DocumentRefusedError, match="a markup lies between 0 and 1000 percent"):
        check(PriceDocument, document, "plan")


def test_a_price_earns_its_seller_what_the_buyer_pays() -> None:
    document = plan()
    document["rules"] = [
        {"id": "a", "when": "region == 'a'", "price": {"basis": "pretax", "discount_percent": "10"}},
        {"id": "b", "when": "region == 'b'", "price": {"basis": "pretax", "markup_percent": "10"}},
        {"id": "c", "when": "region == 'c'", "price": {"basis": "gross", "fixed": "5.00"}},
        {"id": "d", "when": "region == 'd'", "price": {"basis": "pretax", "scale": "volume"}},
    ]
    body = check(PriceDocument, document, "plan").model_dump_json(by_alias=True).encode()
    sold = parse_price_plan(body).as_agreement()

    assert [one.earn.rate for one in sold.rules] == [Decimal("0.9"), Decimal("1.1"), None, None]
    assert [(one.earn.fixed, one.basis) for one in sold.rules][2] == (Decimal(5), "gross")
    assert [band.rate for band in sold.scales["volume"].bands] == [Decimal(1), Decimal("0.95")]


# -- customer classes ------------------------------------------------------------------------------------------------


def classes(*entries: Mapping[str, Any]) -> dict[str, Any]:
    return {**parties(), "classes": list(entries)}


def test_a_customer_has_a_class_from_a_date_to_a_date() -> None:
    body = party_document(
        classes(
            {"customer": "acme", "class": "silver", "from": "2025-07-01"},
            {"customer": "acme", "class": "gold", "from": "2025-01-01", "until": "2025-06-30"},
        ),
        "parties",
    )
    first, second = parse_parties(body).classes

    assert (first.name, second.name) == ("gold", "silver")
    assert second == CustomerClass("acme", "silver", second.begins, None)


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([{"customer": "nobody", "class": "a", "from": "2025-01-01"}], "'nobody' is not among the customers"),
        ([{"customer": "acme", "class": "a", "from": "2025-02-01", "until": "2025-01-01"}], "is before its from"),
        (
            [
                {"customer": "acme", "class": "a", "from": "2025-01-01"},
                {"customer": "acme", "class": "b", "from": "2025-02-01"},
            ],
            "acme is a from 2025-01-01 without an end; end that the day before",
        ),
    ],
)
def test_classes_that_cannot_be_are_refused(entries: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(ClearbookError, match=problem):
        party_document(classes(*entries), "parties")
