"""Agreements in plain words, and what changed between two: sentences that hold for every valid document."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.agreement.agreement import Agreement, parse_agreement
from shared.agreement.differences import differences
from shared.agreement.document import AgreementDocument, agreement_findings
from shared.agreement.price_plan import parse_price_plan
from shared.agreement.words import condition_words, facts, figure, lines, percent
from shared.documents import check
from shared.ids import canonical_json
from tests.unit.test_agreement_documents import plan as plan_document
from tests.unit.test_agreement_documents import put, whole


def parsed(document: dict[str, Any]) -> Agreement:
    model = check(AgreementDocument, document, "agreement")
    return parse_agreement(model.canonical())


def sentences(**changes: object) -> list[str]:
    """What the whole document says differently after changes, path by path with __ for dots and D for dashes."""
    after = whole()
    for path, value in changes.items():
        put(path.replace("__", ".").replace("D", "-"), value)(after)
    return [one.sentence for one in differences(parsed(whole()), parsed(after))]


def test_an_agreement_reads_as_sentences() -> None:
    said = list(lines(facts(parsed(whole()))))

    assert said[said.index("rule compute") : said.index("rule support-plan")] == [
        "rule compute",
        "  where: product_code is one of ecs, eci and subscription_type is PayAsYouGo",
        "  earns: by scale monthly-spend",
        "  earns where new-customers is below 5: 2 %",
        "  cap per customer: 20,000.00",
        "  floor per customer: 100.00",
        "  floor per reseller: 1,000.00 over the contract year",
        "rule traffic",
        "  where: product_code is cdn",
        "  earns: by scale yearly-traffic",
    ]
    assert "  holdback: 10 % of what a month earns, released 3 months later" in said
    assert "  adds up: usage in GB per reseller, over the contract year" in said
    assert "  tax: 6 %, on top of the total" in said


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("`true`", "every line"),
        ("product_code == 'oss'", "product_code is oss"),
        ("'oss' == product_code", "product_code is oss"),
        ("region != `null`", "region is not absent"),
        ("zone == 'region'", "zone is 'region'"),
        ("zone == 'a b'", "zone is 'a b'"),
        ("tags.team == 'blue' || !(region == 'a')", "tag team is blue or not (region is a)"),
        ("kind == 'usage' && (zone == 'a' || zone == 'b')", "kind is usage and (zone is a or zone is b)"),
        ("region != `null` && starts_with(region, 'cn-')", "region is not absent and region begins with cn-"),
        ("length(region || '') == `3`", "length(region || '') == `3`"),
    ],
)
def test_a_condition_reads_as_a_sentence_or_as_it_is_written(when: str, words: str) -> None:
    assert condition_words(when) == words


@pytest.mark.parametrize(
    ("value", "places", "written"),
    [("20000", 2, "20,000.00"), ("100000", 0, "100,000"), ("-0.5", 2, "-0.50"), ("1234.5678", 2, "1,234.5678"),
     ("0", 2, "0.00")],
)  # fmt: skip
def test_figures_keep_all_their_digits(value: str, places: int, written: str) -> None:
    assert figure(Decimal(value), places) == written
    assert percent(Decimal("0.035")) == "3.5 %"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rules__0__cap__amount": "25000"}, "rule compute: cap per customer: 20,000.00 -> 25,000.00"),
        ({"scales__monthlyDspend__bands__1__percent": "9"},
         "scale monthly-spend: band 100,000 to 500,000: 8 % -> 9 %"),
        ({"rules__3__earn__percent": "4"}, "rule rest: earns: 3.5 % -> 4 %"),
        ({"rules__1__when": "product_code == 'dcdn'"},
         "rule traffic: where: product_code is cdn -> product_code is dcdn"),
        ({"effective__until": None},
         "agreement: in force: 2026-07-01 to 2027-06-30 -> from 2026-07-01 on, without an end"),
        ({"payout__tax": None}, "payout: tax: removed, was 6 %, on top of the total"),
        ({"refunds__take_back": "rerate"},
         "refunds: otherwise: take back what the charge earned -> make its month count anew"),
        ({"exclude__0__because": "other"},
         "excluded: where kind is adjustment: provider corrections earn nothing -> other"),
    ],
)  # fmt: skip
def test_a_change_is_one_sentence(changes: dict[str, object], expected: str) -> None:
    assert sentences(**changes) == [expected]


def test_rules_that_come_go_and_move_are_said_so() -> None:
    after = whole()
    first, traffic, support, rest = after["rules"]
    after["rules"] = [support, first, traffic, {"id": "oss", "when": "product_code == 'oss'", "earn": {"percent": "1"}}]
    said = [one.sentence for one in differences(parsed(whole()), parsed(after))]

    assert said == [
        "rule support-plan: tried: after rule traffic -> first",
        "rule oss added (where: product_code is oss; earns: 1 %)",
        "rule rest removed (where: every line; earns: 3.5 %)",
    ]
    assert rest["id"] == "rest"


def test_price_plans_compare_alike() -> None:
    after = plan_document()
    put("rules.1.price", {"basis": "gross", "discount_percent": "5"})(after)
    before, then = (parse_price_plan(canonical_json(checked_plan(one))) for one in (plan_document(), after))

    assert [one.sentence for one in differences(before, then)] == [
        "rule rest: price: pretax and 10 % on top -> gross less 5 %"
    ]
    assert ("scale volume", "band above 10,000") in facts(before)


def checked_plan(document: dict[str, Any]) -> dict[str, Any]:
    from shared.agreement.price_document import PriceDocument

    return check(PriceDocument, document, "plan").model_dump(mode="json", by_alias=True)


# -- every valid document --------------------------------------------------------------------------------------------

amounts = st.integers(1, 10**9).map(lambda cents: f"{cents // 100}.{cents % 100:02d}")
percents = st.integers(1, 1000).map(lambda tenths: f"{tenths // 10}.{tenths % 10}")
products = st.lists(st.sampled_from(["ecs", "eci", "oss", "cdn", "rds"]), min_size=1, max_size=5, unique=True)


@st.composite
def scales(draw: st.DrawFn) -> dict[str, Any]:
    limits = sorted(draw(st.sets(st.integers(1, 10**6), max_size=4)))
    bands = [{"upto": str(limit), "percent": draw(percents)} for limit in limits]
    scale: dict[str, Any] = {
        "scope": draw(st.sampled_from(["customer", "reseller", "product"])),
        "measure": "pretax",
        "method": draw(st.sampled_from(["graduated", "all_units"])),
        "over": draw(st.sampled_from(["month", "contract_year"])),
        "bands": [*bands, {"percent": draw(percents)}],
    }
    if scale["method"] == "all_units":
        scale["measure"] = draw(st.sampled_from(["gross", "pretax", "usage"]))
        scale["retroactive"] = scale["over"] == "contract_year" and draw(st.booleans())
        if scale["measure"] == "usage":
            scale["unit"] = "GB"
    return scale


@st.composite
def earnings(draw: st.DrawFn, gated: bool = True) -> dict[str, Any]:
    kind = draw(st.sampled_from(["percent", "fixed", "month", "scale"]))
    if kind == "percent":
        earn: dict[str, Any] = {"percent": draw(percents)}
    elif kind == "scale":
        earn = {"scale": "volume"}
    elif kind == "fixed":
        earn = {
            "fixed": draw(amounts),
            "per": draw(st.sampled_from(["line", "usage_unit"])),
            "zero": draw(st.booleans()),
        }
    else:
        earn = {"fixed": draw(amounts), "per": draw(st.sampled_from(["instance_month", "customer_month"]))}
        earn |= draw(st.sampled_from([{}, {"prorate": "days"}]))
    if gated and draw(st.booleans()):
        earn["gate"] = {"figure": "sales", "at_least": draw(amounts), "otherwise": {"percent": "0.05"}}
    return earn


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Documents that can be submitted: a rule for each of some products, and one for the rest."""
    rules = [{"id": code, "when": f"product_code == '{code}'", "earn": draw(earnings())} for code in draw(products)]
    last = {"id": "rest", "when": "`true`", "earn": {"scale": "volume"}}
    last |= draw(st.sampled_from([{}, {"cap": {"scope": "customer", "amount": "90.00"}}]))
    return {
        "agreement": "a",
        "reseller": "aurora",
        "version": 1,
        "effective": {"from": "2026-01-01", "until": draw(st.sampled_from([None, "2026-12-31"]))},
        "currency": "CNY",
        "basis": "pretax",
        "scales": {"volume": draw(scales())},
        "rules": [*rules, last],
        "payout": draw(st.sampled_from([{}, {"minimum": "100.00", "carry_forward": False}])),
        "holdback": draw(st.sampled_from([None, {"percent": "10", "months": 3}])),
        "examples": [{"name": "one", "lines": [{"pretax": "1"}], "expect": {"commission": "1"}}],
    }


@settings(max_examples=60, deadline=None)
@given(document=documents())
def test_a_valid_document_is_refused_nothing_and_differs_from_itself_in_nothing(document: dict[str, Any]) -> None:
    model = check(AgreementDocument, copy.deepcopy(document), "random")

    assert agreement_findings(model) == ([], [])
    one, again = parsed(document), parsed(json.loads(json.dumps(document)))
    assert differences(one, again) == []


@settings(max_examples=60, deadline=None)
@given(before=documents(), after=documents())
def test_whatever_two_documents_say_differently_is_a_sentence(before: dict[str, Any], after: dict[str, Any]) -> None:
    one, other = parsed(before), parsed(after)
    is_same = {name: getattr(one, name) for name in _TERMS} == {name: getattr(other, name) for name in _TERMS}

    assert (differences(one, other) == []) == is_same


_TERMS = ("begins", "ends", "scales", "rules", "bounds", "payout", "holdback", "refunds", "exclusions")
