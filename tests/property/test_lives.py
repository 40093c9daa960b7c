"""Months that follow each other, with all that agreements can say: the engine against the reference model.

Refunds and late lines arrive in later months, accounts change hands and versions change within one; each month is
locked before the next is settled, and what is due less what was posted must come out alike, line by line.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.agreement.agreement import (
    Agreement,
    Band,
    Bound,
    Earning,
    Exclusion,
    Gate,
    Holdback,
    Payout,
    Refunds,
    Rule,
    Scale,
    rate,
)
from shared.columnar import connect
from shared.cycle import Cycle
from shared.ids import digest
from shared.money import Mode
from shared.parties.parties import Assignment, CustomerClass
from shared.settlement.share import Approved, Closed, LinkedByHand, Opened, PastCharge, ScaleTotal
from tests.reference.compare import Inputs, life_by_engine, life_by_model

EXAMPLES = int(os.environ.get("CLEARBOOK_EXAMPLES", "9"))
# To shrink a life takes minutes: by hand it is as fast, with CLEARBOOK_SHRINK=1 it is done.
PHASES = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if os.environ.get("CLEARBOOK_SHRINK") else [])]
CYCLES = (Cycle(2026, 6), Cycle(2026, 7), Cycle(2026, 8))
ACCOUNTS = ("101", "102", "103")
PRODUCTS = ("ecs", "oss", None)
INSTANCES = ("i-1", "i-2", None)
CLOSED = ("unmapped_account", "no_agreement", "no_rule", "no_fx_rate")
CLOSED_LINES = ("missing_value", "unlinked_refund", "refund_exceeds_charge")
CONDITIONS = (
    "`true`",
    "`true`",
    "product_code == 'ecs'",
    "product_code != 'oss'",
    "kind == 'usage'",
    "customer_class == 'gold'",
    "account == '101' || instance_id == 'i-2'",
)
LIVES = settings(
    phases=PHASES,
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("spill"), memory_mb=512, threads=1) as opened:
        yield opened


# --- agreements ---------------------------------------------------------------------------------------------


def percents() -> st.SearchStrategy[Decimal]:
    return st.sampled_from([rate(text) for text in ("0", "5", "10", "33.333333", "100")])


def money() -> st.SearchStrategy[Decimal]:
    return st.one_of(
        st.integers(1, 9).map(lambda tens: Decimal(10 * tens)),
        st.sampled_from([Decimal(text) for text in ("0.1", "0.0000000001", "33.3333333333", "7.77")]),
    )


@st.composite
def scales(draw: st.DrawFn, name: str) -> Scale:
    method = draw(st.sampled_from(["graduated", "graduated", "all_units"]))
    over = draw(st.sampled_from(["month", "contract_year"]))
    limits = sorted(draw(st.sets(st.sampled_from([10, 25, 60, 120]), min_size=1, max_size=3)))
    bands = tuple(Band(None if limit is None else Decimal(limit), draw(percents())) for limit in [*limits, None])
    measure, unit = "", ""
    if method == "all_units":
        measure = draw(st.sampled_from(["", "gross", "paid", "usage"]))
        unit = "GB" if measure == "usage" else ""
    is_retroactive = method == "all_units" and over == "contract_year" and draw(st.booleans())
    scope = draw(st.sampled_from(["customer", "reseller", "product"]))
    return Scale(name, scope, bands, method, over, measure, unit, is_retroactive)


@st.composite
def earnings(draw: st.DrawFn, depth: int = 0) -> Earning:
    what = draw(st.sampled_from(["percent", "fixed", "fixed", "scale", "scale"]))
    gate = None
    if depth < 2 and draw(st.integers(0, 4)) == 0:
        figure = draw(st.sampled_from(["staff", "staff", "missing"]))
        gate = Gate(figure, Decimal(draw(st.sampled_from([1, 5]))), draw(earnings(depth + 1)))
    if what == "percent":
        return Earning(draw(percents()), gate=gate)
    if what == "scale":
        return Earning(scale=draw(st.sampled_from(["big", "small"])), gate=gate)
    per = draw(st.sampled_from(["line", "instance_month", "customer_month", "usage_unit"]))
    is_prorated = per.endswith("month") and draw(st.booleans())
    fixed = draw(st.sampled_from([Decimal("5"), Decimal("0.33"), Decimal("-2")]))
    return Earning(fixed=fixed, per=per, is_prorated=is_prorated, counts_zero=draw(st.booleans()), gate=gate)


@st.composite
def bounds(draw: st.DrawFn) -> tuple[Bound, ...]:
    found = []
    for scope in ("line", "instance", "customer", "reseller"):
        if draw(st.integers(0, 4)) > 0:
            continue
        over = "month" if scope == "line" else draw(st.sampled_from(["month", "contract_year"]))
        low = draw(st.sampled_from([Decimal("0.5"), Decimal(1), Decimal(4)]))
        kinds = draw(st.sampled_from(["cap", "floor", "both"]))
        if kinds != "floor":
            found.append(Bound("cap", scope, low + draw(st.sampled_from([0, 1, 5])), over))
        if kinds != "cap":
            found.append(Bound("floor", scope, low, over))
    return tuple(found)


@st.composite
def version(draw: st.DrawFn, number: int, begins: date, ends: date | None, basis: str) -> Agreement:
    rules = [
        Rule(id_, draw(st.sampled_from(CONDITIONS)), draw(earnings()), draw(bounds()))
        for id_ in draw(st.sampled_from([("a",), ("a", "b"), ("b", "a"), ("a", "b", "c")]))
    ]
    excluded = draw(st.sampled_from([(), (), (), (Exclusion("product_code == 'oss'", "not ours"),)]))
    return Agreement(
        id="aurora-main",
        reseller="aurora",
        version=number,
        begins=begins,
        ends=ends,
        currency="CNY",
        basis=basis,
        places=2,
        mode=draw(st.sampled_from(list(Mode))),
        currencies=(),
        payers=(),
        exclusions=excluded,
        scales={name: draw(scales(name)) for name in ("big", "small")},
        rules=tuple(rules),
        payout=Payout(Decimal(0), True, None),
        digest=digest(b"test"),
        bounds=draw(bounds()),
        refunds=Refunds(
            draw(st.sampled_from(["original", "original", "rerate"])),
            draw(st.sampled_from([True, True, False])),
            draw(st.sampled_from([None, None, 5])),
        ),
        holdback=draw(st.sampled_from([None, None, Holdback(rate("10"), 1), Holdback(rate("33.333333"), 2)])),
    )


@st.composite
def versions(draw: st.DrawFn) -> list[Agreement]:
    begins = draw(st.sampled_from([date(2026, 1, 1), date(2025, 8, 10), date(2025, 7, 5), date(2026, 6, 20)]))
    change = draw(st.sampled_from([None, None, date(2026, 7, 11), date(2026, 8, 1)]))
    bases = st.sampled_from(["pretax", "pretax", "gross", "paid"])
    if change is None:
        return [draw(version(1, begins, None, draw(bases)))]
    last = change - timedelta(days=1)
    first = draw(version(1, begins, last, draw(bases)))
    second = draw(version(2, change, None, draw(bases)))
    if draw(st.booleans()):  # the same terms but for the rules
        second = replace(second, scales=first.scales, basis=first.basis)
    return [first, second]


# --- lives --------------------------------------------------------------------------------------------------


@st.composite
def bill(draw: st.DrawFn, cycles: Sequence[Cycle]) -> list[dict[str, Any]]:
    """Charges of each cycle and refunds of them, each with the month that first knows it (`arrives`)."""
    rows: list[dict[str, Any]] = []
    for index, cycle in enumerate(cycles):
        for _ in range(draw(st.integers(0, 5))):
            rows.append(draw(charge(f"c{len(rows):02d}", index, cycle, len(cycles))))
        charges = [row for row in rows if row["kind"] in ("usage", "subscription")]
        for _ in range(draw(st.integers(0, 3)) if charges else 0):
            rows.append(draw(refund(f"r{len(rows):02d}", index, cycle, len(cycles), draw(st.sampled_from(charges)))))
    return draw(st.permutations(rows))


@st.composite
def charge(draw: st.DrawFn, line_id: str, index: int, cycle: Cycle, months: int) -> dict[str, Any]:
    day = cycle.first + timedelta(days=draw(st.sampled_from([0, 9, 10, 15, 27])))
    size = draw(money())
    kind = draw(st.sampled_from(["usage", "usage", "usage", "subscription", "credit", "adjustment"]))
    sign = -1 if kind in ("credit", "adjustment") and draw(st.booleans()) else 1
    begins = day - timedelta(days=draw(st.sampled_from([0, 3, 40])))
    return {
        "line_id": line_id,
        "record_id": line_id,
        "kind": kind,
        "cycle": str(cycle),
        "date": day,
        "account": draw(st.sampled_from(ACCOUNTS)),
        "payer": "1",
        "currency": draw(st.sampled_from(["CNY", "CNY", "CNY", "USD", "EUR"])),
        "product_code": draw(st.sampled_from(PRODUCTS)),
        "instance_id": draw(st.sampled_from(INSTANCES)),
        "pretax": sign * size * draw(st.sampled_from([1, 1, 1, 1, 0])),
        "gross": draw(st.sampled_from([sign * size, sign * size * 2, sign * size, None])),
        "payment": draw(st.sampled_from([sign * size, Decimal(0)])),
        "usage": draw(st.sampled_from([Decimal(3), Decimal("0.5"), Decimal(0), None])),
        "usage_unit": draw(st.sampled_from(["GB", "GB", "hour"])),
        **draw(st.sampled_from([{}, {"service_from": begins, "service_until": day}, {"service_until": day}])),
        "arrives": draw(st.sampled_from([index] * 4 + list(range(index, months)))),
    }


@st.composite
def refund(draw: st.DrawFn, line_id: str, index: int, cycle: Cycle, months: int, of: dict[str, Any]) -> dict[str, Any]:
    part = draw(st.sampled_from([Decimal(1), Decimal(1), Decimal("0.5"), Decimal("0.3"), Decimal(2), Decimal(0)]))
    amounts = {name: None if of[name] is None else -of[name] * part for name in ("pretax", "gross", "payment", "usage")}
    if draw(st.integers(0, 9)) == 0:
        amounts["gross"] = None
    exact = {name: None if value is None else round(value, 10) for name, value in amounts.items()}
    keys = ("account", "currency", "product_code", "instance_id", "usage_unit")
    return {
        "line_id": line_id,
        "kind": draw(st.sampled_from(["refund", "refund", "chargeback"])),
        "cycle": str(cycle),
        "date": cycle.first + timedelta(days=draw(st.sampled_from([9, 16, 27]))),
        "payer": "1",
        **{name: of[name] for name in keys},
        **exact,
        **({"related_record": of["line_id"]} if draw(st.integers(0, 2)) == 0 else {}),
        "arrives": draw(st.sampled_from([index] * 4 + list(range(index, months)))),
    }


@st.composite
def past_charges(draw: st.DrawFn) -> list[PastCharge]:
    """Charges of before the first cycle, some with less left than they were charged over."""
    found = []
    for number in range(draw(st.integers(0, 3))):
        pretax = draw(money())
        left = pretax if draw(st.booleans()) else draw(st.sampled_from([pretax / 2, pretax])).quantize(Decimal("1e-10"))
        earned = draw(st.sampled_from([Decimal(0), Decimal(1), Decimal("3.3333333333")]))
        day = draw(st.sampled_from([date(2026, 5, 9), date(2026, 4, 28), date(2025, 2, 3)]))
        account, customer = draw(st.sampled_from(ACCOUNTS)), draw(st.sampled_from(["acme", "birch"]))
        product, instance = draw(st.sampled_from(PRODUCTS)), draw(st.sampled_from(INSTANCES))
        key = (account, customer, product, None, None, instance, None, "CNY")
        rule = draw(st.sampled_from(["a", "old"]))
        found.append(PastCharge(f"p{number}", day, *key, pretax, left or pretax, "aurora-main", 1, rule, earned))
    return found


@st.composite
def assignments(draw: st.DrawFn) -> list[Assignment]:
    """Nearly all is aurora's; an account may change its customer, or go to the operator, within a month."""
    found = []
    for account in ACCOUNTS:
        change = draw(st.sampled_from([None, None, date(2026, 7, 11), date(2026, 8, 10)]))
        spans: list[tuple[date, date | None]] = [(date(2025, 1, 1), None)]
        if change is not None:
            spans = [(date(2025, 1, 1), change - timedelta(days=1)), (change, None)]
        for begins, ends in spans:
            how = draw(st.sampled_from(["reseller"] * 5 + ["direct", "own_use", "unmapped"]))
            customer = draw(st.sampled_from(["acme", "birch"]))
            if how == "reseller":
                found.append(Assignment(account, customer, "aurora", "reseller", begins, ends))
            elif how != "unmapped":
                found.append(Assignment(account, customer if how == "direct" else None, None, how, begins, ends))
    return found


@st.composite
def closings(draw: st.DrawFn, rows: Sequence[Mapping[str, Any]], months: int) -> list[tuple[int, Closed]]:
    """Cases that lines may be in, closed without settling, each with the month that first knows it."""
    found: dict[tuple[str, str, str], int] = {}
    is_any = bool(rows) and draw(st.booleans())
    for row in draw(st.lists(st.sampled_from(rows), min_size=1, max_size=5)) if is_any else []:
        account, product = row["account"], row["product_code"] or ""
        keys = {"unmapped_account": account, "no_agreement": account, "no_rule": f"aurora-main/{product}"}
        keys |= {"no_fx_rate": f"{row['currency']}/CNY"}
        arrives = draw(st.integers(0, months - 1))
        for kind in (*CLOSED, *CLOSED_LINES):  # whichever of them it is in
            found[row["cycle"], kind, keys.get(kind, row["line_id"])] = arrives
    return [
        (arrives, Closed(cycle, kind, key, currency, f"{kind}: let go"))
        for (cycle, kind, key), arrives in found.items()
        for currency in ("CNY", "USD", "EUR")  # the case of each
    ]


@st.composite
def linked(draw: st.DrawFn, rows: Sequence[Mapping[str, Any]], months: int) -> list[tuple[int, LinkedByHand]]:
    """Refunds that people link, to whatever line, each with the month that first knows it."""
    undone = [row for row in rows if row["kind"] in ("refund", "chargeback")]
    chosen = draw(st.lists(st.sampled_from(undone), max_size=2, unique_by=lambda row: row["line_id"])) if undone else []
    return [
        (
            draw(st.integers(0, months - 1)),
            LinkedByHand(row["cycle"], row["line_id"], draw(st.sampled_from(rows))["line_id"]),
        )
        for row in chosen
    ]


@st.composite
def lives(draw: st.DrawFn) -> list[Inputs]:
    """One to three months, each with all that is known when it is settled."""
    cycles = CYCLES[: draw(st.sampled_from([1, 2, 2, 3]))]
    rows = draw(bill(cycles))
    terms = draw(versions())
    owned = draw(assignments())
    classes = draw(st.sampled_from([(), (CustomerClass("acme", "gold", date(2026, 7, 11), None),)]))
    rates = {
        (str(cycle), "USD", "CNY"): draw(st.sampled_from([Decimal("7.1586"), Decimal("0.3333333333")]))
        for cycle in cycles
    }
    figures = {("aurora", "staff", str(cycle)): Decimal(draw(st.sampled_from([0, 3, 9]))) for cycle in cycles}
    approved = [
        Approved(f"adj-{n}", "aurora-main", str(cycle), draw(money()), "agreed", draw(st.sampled_from([None, "acme"])))
        for n, cycle in enumerate(cycles)
        if terms[0].begins <= cycle.last and draw(st.integers(0, 3)) == 0
    ]
    openings = {}
    if draw(st.integers(0, 2)) == 0:
        totals = [ScaleTotal("aurora-main", "big", draw(st.sampled_from([None, "acme"])), None, Decimal(50))]
        openings = {"aurora": Opened(str(cycles[0]), totals, draw(past_charges()))}
    late = {one.id: draw(st.integers(0, len(cycles) - 1)) for one in approved}  # when an adjustment is approved
    let_go = draw(closings(rows, len(cycles)))
    by_hand = draw(linked(rows, len(cycles)))
    # What is corrected later: an assignment, a rate, a figure.
    found = []
    for index, cycle in enumerate(cycles):
        if index and draw(st.integers(0, 3)) == 0:
            owned = draw(assignments())
        if index and draw(st.integers(0, 3)) == 0:
            figures = {**figures, ("aurora", "staff", str(cycles[0])): Decimal(2)}
            rates = {**rates, (str(cycles[0]), "USD", "CNY"): Decimal(8)}
        seen = [row for row in rows if row["arrives"] <= index and row["cycle"] <= str(cycle)]
        due = [one for one in approved if one.cycle <= str(cycle) and late[one.id] <= index]
        closed = [one for arrives, one in let_go if arrives <= index and one.cycle <= str(cycle)]
        links = [one for arrives, one in by_hand if arrives <= index and one.cycle <= str(cycle)]
        found.append(Inputs(cycle, seen, owned, terms, classes, rates, figures, due, openings, closed, links))
    return found


@LIVES
@given(months=lives())
def test_engine_and_model_live_alike(connection: duckdb.DuckDBPyConnection, months: list[Inputs]) -> None:
    by_engine, by_model = life_by_engine(connection, months), life_by_model(months)
    for mine, theirs in zip(by_engine, by_model, strict=True):
        assert mine.differences(theirs) == []
