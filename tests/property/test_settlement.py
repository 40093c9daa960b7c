"""Random small months: the engine against the reference model, and what must hold whatever the month.

CLEARBOOK_EXAMPLES sets how many months each test tries. A failure prints the month, shrunk, and a blob that
replays it with `@reproduce_failure`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from shared.agreement.agreement import Agreement, Band, Earning, Exclusion, Payout, Rule, Scale, rate
from shared.bill.line import COLUMNS
from shared.columnar import connect, insert
from shared.cycle import Cycle
from shared.ids import digest
from shared.money import Mode, rounded, spread, total
from shared.parties.parties import Assignment
from shared.settlement import engine, lines
from shared.settlement.share import Share
from tests.reference import model
from tests.reference.compare import BillRow, Inputs, Outcome, by_engine, by_model

EXAMPLES = int(os.environ.get("CLEARBOOK_EXAMPLES", "9"))
MONTHS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
JULY = Cycle(2026, 7)
DAYS = [date(2026, 7, day) for day in (1, 9, 10, 15, 16, 17, 31)]
RESELLERS = ("aurora", "borealis")
CUSTOMERS = ("acme", "birch", "cedar")
ACCOUNTS = ("101", "102", "103", "104", "105")

# Each answers true or false on a line whose fields are absent, as documents must; some fail on other lines.
CONDITIONS = (
    "product_code == 'ecs'",
    "product_code != 'ecs'",
    "subscription_type == 'Subscription' || kind == 'credit'",
    "contains(['oss', 'rds'], product_code)",
    "customer == 'acme'",
    "account == '102' && kind != 'adjustment'",
    "currency == 'USD'",
    "instance_id == `null`",
    "tags.env == 'prod'",
    "region == `null` || starts_with(region, 'cn-')",
    "product_code != 'oss' || tags.env",  # neither true nor false on oss
    "tags == `null` || contains(tags.team, 'a')",  # fails where there are tags without a team
)
# Charges outnumber what undoes them.
KINDS = (*["usage"] * 6, *["subscription"] * 2, *["refund"] * 4, "chargeback", "credit", "adjustment")
UNDOING = ("refund", "chargeback")
ANY_AMOUNT = ("pretax", "gross", "discount", "round_down", "payment")
TENTH_PLACE = Decimal("0.0000000001")
TAGS: tuple[dict[str, str] | None, ...] = (None, {"env": "prod"}, {"env": "测试", "team": "a"}, {"team": "b"}, {})


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("spill"), memory_mb=512, threads=1) as opened:
        yield opened


@pytest.fixture(scope="module")
def wide_connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(tmp_path_factory.mktemp("spill"), memory_mb=512, threads=2) as opened:
        yield opened


# --- months -------------------------------------------------------------------------------------------------


def amounts() -> st.SearchStrategy[Decimal]:
    """Amounts above 0 that often add up to each other, some with all ten decimals."""
    round_ones = st.integers(1, 6).map(lambda tens: Decimal(10 * tens))
    odd_ones = st.sampled_from([Decimal(text) for text in ("0.1", "0.0000000001", "33.3333333333", "9.9999999999")])
    any_ones = st.integers(1, 10**12).map(lambda units: Decimal(units).scaleb(-10))
    return st.one_of(round_ones, round_ones, round_ones, odd_ones, any_ones)


@st.composite
def assignments(draw: st.DrawFn) -> list[Assignment]:
    """Each account whole, or changing hands within the month, or known for a part of it only."""
    found = []
    for account in ACCOUNTS:
        change = draw(st.sampled_from([None, None, date(2026, 7, 10), date(2026, 7, 16)]))
        spans: list[tuple[date, date | None]] = [(date(2026, 1, 1), None)]
        if change is not None:
            spans = [(date(2026, 1, 1), change - timedelta(days=1)), (change, draw(st.sampled_from([None, DAYS[-1]])))]
        for begins, ends in spans:
            how = draw(st.sampled_from([*RESELLERS, *RESELLERS, *RESELLERS, "direct", "own_use", "unmapped"]))
            customer = draw(st.sampled_from(CUSTOMERS))
            if how in RESELLERS:
                found.append(Assignment(account, customer, how, "reseller", begins, ends))
            elif how == "direct":
                found.append(Assignment(account, customer, None, "direct", begins, ends))
            elif how == "own_use":
                found.append(Assignment(account, None, None, "own_use", begins, ends))
    return found


@st.composite
def agreements(draw: st.DrawFn, reseller: str) -> list[Agreement]:
    """One or two versions over the month, sometimes beginning late, sometimes leaving dollars to a sibling."""
    begins = draw(st.sampled_from([date(2026, 1, 1), date(2026, 1, 1), date(2026, 7, 9)]))
    change = draw(st.sampled_from([None, date(2026, 7, 16)]))
    spans: list[tuple[date, date | None]] = [(begins, None)]
    if change is not None:
        spans = [(begins, change - timedelta(days=1)), (change, None)]
    splits = draw(st.booleans())
    scopes = {name: draw(st.sampled_from(["customer", "reseller", "product"])) for name in ("big", "small")}
    basis = draw(bases())
    versions = []
    for number, (first, last) in enumerate(spans, 1):
        currencies = ("CNY",) if splits else ()
        common = (reseller, number, first, last, draw(st.one_of(st.just(basis), bases())))
        versions.append(draw(version(f"{reseller}-main", *common, "CNY", currencies, scopes)))
        if splits and draw(st.booleans()):
            versions.append(draw(version(f"{reseller}-usd", *common, "USD", ("USD",), scopes)))
    return versions


def bases() -> st.SearchStrategy[str]:
    return st.sampled_from(["pretax", "gross", "discounted", "paid"])


@st.composite
def version(
    draw: st.DrawFn,
    name: str,
    reseller: str,
    number: int,
    begins: date,
    ends: date | None,
    basis: str,
    currency: str,
    currencies: tuple[str, ...],
    scopes: dict[str, str],
) -> Agreement:
    percents = st.sampled_from(["0", "3.5", "5", "10", "33.333333", "100"]).map(rate)
    limits = [Decimal(text) for text in ("5", "10", "10.5", "30", "50", "100", "0.0000000001")]
    scales = {}
    for scale, scope in scopes.items():
        uptos = sorted(draw(st.lists(st.sampled_from(limits), min_size=1, max_size=3, unique=True)))
        bands = tuple(Band(upto, draw(percents)) for upto in (*uptos, None))
        scales[scale] = Scale(scale, scope, bands)
    conditions = st.sampled_from(CONDITIONS)
    whens = draw(st.lists(conditions, max_size=3))
    if not whens or draw(st.integers(0, 3)) > 0:
        whens.append("`true`")
    rules = []
    for place, when in enumerate(whens):
        scale_name = draw(st.sampled_from(["big", "small", None]))
        percent = draw(percents) if scale_name is None else None
        rules.append(Rule(f"rule-{place}", when, Earning(percent, scale=scale_name)))
    excludes = draw(st.lists(conditions, max_size=1))
    return Agreement(
        id=name,
        reseller=reseller,
        version=number,
        begins=begins,
        ends=ends,
        currency=currency,
        basis=basis,
        places=draw(st.sampled_from([0, 2, 2, 4])),
        mode=draw(st.sampled_from(list(Mode))),
        currencies=currencies,
        payers=(),
        exclusions=tuple(Exclusion(when, "agreed to earn nothing") for when in excludes),
        scales=scales,
        rules=tuple(rules),
        payout=Payout(Decimal(0), True, None),
        digest=digest(b"test"),
    )


@st.composite
def bills(draw: st.DrawFn, *, gaps: Sequence[str] = (), refund_gaps: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Lines of few keys, so that refunds meet charges; `gaps` may be absent from lines, `refund_gaps` from refunds."""
    keys = draw(
        st.lists(
            st.fixed_dictionaries(
                {
                    "account": st.sampled_from(ACCOUNTS),
                    "product_code": st.sampled_from(["ecs", "ecs", "oss", "数据库", None]),
                    "commodity_code": st.sampled_from(["c1", None]),
                    "billing_item_code": st.sampled_from(["b1", None]),
                    "instance_id": st.sampled_from(["i-1", None]),
                    "subscription_type": st.sampled_from(["PayAsYouGo", None]),
                    "currency": st.sampled_from(["CNY", "CNY", "CNY", "USD"]),
                }
            ),
            min_size=1,
            max_size=3,
        )
    )
    found = []
    for number in range(draw(st.integers(0, 16))):
        kind = draw(st.sampled_from(KINDS))
        line = {
            **draw(st.sampled_from(keys)),
            "kind": kind,
            "date": draw(st.sampled_from(DAYS[2:] if kind in UNDOING else DAYS[:-1])),
            "line_id": f"{draw(st.integers(0, 9))}{number:02d}",
            "payer": "1",
            "tags": draw(st.sampled_from(TAGS)),
            "region": draw(st.sampled_from([None, "cn-hangzhou", "eu-central-1"])),
        }
        found.append(line | draw(line_amounts(kind, refund_gaps if kind in UNDOING else gaps)))
    return draw(st.permutations(found))


@st.composite
def line_amounts(draw: st.DrawFn, kind: str, gaps: Sequence[str]) -> dict[str, Decimal | None]:
    size = draw(amounts())
    if kind in UNDOING:
        sign = draw(st.sampled_from([*[-1] * 10, 0, 1]))
    elif kind in ("usage", "subscription"):
        sign = draw(st.sampled_from([*[1] * 10, 0, -1]))
    else:
        sign = draw(st.sampled_from([1, -1]))
    found: dict[str, Decimal | None] = {"pretax": sign * size}
    direction = -1 if sign < 0 or kind in UNDOING else 1
    for name in ("gross", "discount", "round_down", "payment"):
        other = draw(st.one_of(st.just(size), amounts(), st.just(Decimal(0))))
        found[name] = None if name in gaps and draw(st.integers(0, 9)) == 9 else direction * other
    if "pretax" in gaps and draw(st.integers(0, 9)) == 9:
        found["pretax"] = None
    return found


@st.composite
def months(draw: st.DrawFn, *, gaps: Sequence[str] = (), refund_gaps: Sequence[str] = ()) -> Inputs:
    versions = [one for reseller in RESELLERS for one in draw(agreements(reseller))]
    return Inputs(JULY, draw(bills(gaps=gaps, refund_gaps=refund_gaps)), draw(assignments()), versions)


@st.composite
def scaled_months(draw: st.DrawFn) -> Inputs:
    """Months of one reseller whose lines nearly all climb one scale, often to the very end of a band."""
    mapped = [
        Assignment(account, draw(st.sampled_from(CUSTOMERS[:2])), "aurora", "reseller", date(2026, 1, 1), None)
        for account in ACCOUNTS[:3]
    ]
    scopes = {"big": draw(st.sampled_from(["customer", "reseller", "product"]))}
    change = date(2026, 7, 16)
    begins = date(2026, 1, 1)
    spans: list[tuple[date, date | None]] = [(begins, None)]
    if draw(st.integers(0, 2)) > 0:
        spans = [(begins, change - timedelta(days=1)), (change, None)]
    versions = []
    for number, days in enumerate(spans, 1):
        one = draw(version("aurora-main", "aurora", number, *days, "pretax", "CNY", (), scopes))
        climbs = draw(st.sampled_from(["`true`", "`true`", "kind != 'credit'"]))
        rules = (Rule("climbs", climbs, Earning(scale="big")), Rule("rest", "`true`", Earning(rate("1"))))
        versions.append(replace(one, exclusions=(), rules=rules))
    line = st.fixed_dictionaries(
        {
            "account": st.sampled_from(ACCOUNTS[:3]),
            "product_code": st.sampled_from(["ecs", "oss", None]),
            "kind": st.sampled_from(["usage", "usage", "credit", "subscription"]),
            "date": st.sampled_from(DAYS),
            "pretax": st.sampled_from([*(Decimal(10 * n) for n in (-2, -1, 0, 1, 2, 3, 5)), Decimal("0.0000000001")]),
        }
    )
    bill = draw(st.lists(line, min_size=1, max_size=10))
    common = {"currency": "CNY", "payer": "1"}
    return Inputs(JULY, [{**common, **one, "line_id": f"{n:02d}"} for n, one in enumerate(bill)], mapped, versions)


# --- the engine against the model ---------------------------------------------------------------------------


@MONTHS
@given(inputs=months(gaps=("gross", "discount", "payment")))
def test_engine_and_model_settle_alike(connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> None:
    assert by_engine(connection, inputs).differences(by_model(inputs)) == []


@MONTHS
@given(inputs=scaled_months())
def test_engine_and_model_climb_scales_alike(connection: duckdb.DuckDBPyConnection, inputs: Inputs) -> None:
    assert by_engine(connection, inputs).differences(by_model(inputs)) == []


# What this one finds is named below, in fewer words than a shrunk month, and sooner.
@settings(MONTHS, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(inputs=months(gaps=ANY_AMOUNT, refund_gaps=ANY_AMOUNT))
def test_engine_and_model_settle_alike_when_any_amount_may_be_absent(
    connection: duckdb.DuckDBPyConnection, inputs: Inputs
) -> None:
    assert by_engine(connection, inputs).differences(by_model(inputs)) == []


# --- what holds whatever the month --------------------------------------------------------------------------


@MONTHS
@given(inputs=months())
def test_every_pretax_is_found_in_exactly_one_place_over_all_shares(
    connection: duckdb.DuckDBPyConnection, inputs: Inputs
) -> None:
    on_pretax = replace(inputs, agreements=[replace(one, basis="pretax") for one in inputs.agreements])

    outcome = by_engine(connection, on_pretax)

    found: dict[str, Fraction] = {}
    owners: dict[tuple[str, int], set[str]] = {}
    for line in outcome.lines.elements():
        found[line.line_id] = found.get(line.line_id, Fraction(0)) + line.basis
        owners.setdefault((line.line_id, line.piece), set()).add(line.owner)
    for case in outcome.cases.elements():
        found[case.line_id] = found.get(case.line_id, Fraction(0)) + case.basis
        owners.setdefault((case.line_id, 0), set()).add(case.owner)
    assert found == {row["line_id"]: Fraction(row["pretax"]) for row in inputs.bill}
    assert all(len(ones) == 1 for ones in owners.values())


@MONTHS
@given(inputs=months(gaps=("gross", "discount", "payment")), data=st.data())
def test_a_charge_and_its_whole_refund_leave_the_month_as_it_was(
    connection: duckdb.DuckDBPyConnection, inputs: Inputs, data: st.DataObject
) -> None:
    pair = data.draw(undone_charges(), label="charge and refunds")
    ids = {row["line_id"] for row in pair}

    before = by_engine(connection, inputs)
    after = by_engine(connection, replace(inputs, bill=[*inputs.bill, *pair]))

    assert {line.kind for line in after.lines if line.line_id in ids} == {"netted"}
    others = Counter({line: count for line, count in after.lines.items() if line.line_id not in ids})
    assert replace(after, lines=others).differences(before) == []


@st.composite
def undone_charges(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A charge of an instance of its own with one or two refunds that together equal it."""
    shape = {
        "account": draw(st.sampled_from(ACCOUNTS)),
        "currency": draw(st.sampled_from(["CNY", "USD"])),
        "product_code": draw(st.sampled_from(["ecs", "oss", None])),
        "subscription_type": "PayAsYouGo",
        "instance_id": "i-undone",
        "payer": "1",
    }
    charge: dict[str, Any] = {**shape, "line_id": "charge", "kind": "usage", "date": draw(st.sampled_from(DAYS))}
    charge |= {name: draw(amounts()) for name in ANY_AMOUNT}
    share = draw(st.sampled_from([1, 2, 10]))
    first = {name: charge[name] // share // TENTH_PLACE * TENTH_PLACE for name in ANY_AMOUNT}
    parts = [first, {name: charge[name] - first[name] for name in ANY_AMOUNT}]
    refunds = []
    for number, part in enumerate(parts):
        if part["pretax"] > 0:
            day = draw(st.sampled_from([day for day in DAYS if day >= charge["date"]]))
            undone = {name: -value for name, value in part.items()}
            refunds.append({**shape, "line_id": f"refund-{number}", "kind": "refund", "date": day, **undone})
    return draw(st.permutations([charge, *refunds]))


@MONTHS
@given(inputs=months(), data=st.data())
def test_row_order_threads_and_files_change_no_byte_of_the_output(
    connection: duckdb.DuckDBPyConnection,
    wide_connection: duckdb.DuckDBPyConnection,
    tmp_path: Path,
    inputs: Inputs,
    data: st.DataObject,
) -> None:
    shuffled = data.draw(st.permutations(inputs.bill), label="other order")
    share = data.draw(st.sampled_from(inputs.shares()), label="share")
    whole, parts = tmp_path / "whole.parquet", [tmp_path / f"part-{n}.parquet" for n in range(3)]
    write_part(connection, inputs.bill, whole)
    for number, path in enumerate(parts):
        write_part(connection, shuffled[number::3], path)

    once = written(connection, [whole], share, tmp_path)
    again = written(wide_connection, parts, share, tmp_path)

    assert once == again


def write_part(connection: duckdb.DuckDBPyConnection, bill: Sequence[BillRow], path: Path) -> None:
    """The rows as a day part would hold them."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE part ({', '.join(f'{name} {type_}' for name, type_ in COLUMNS.items())})"
    )
    rows = [
        [json.dumps(row[name]) if name == "tags" and row.get(name) is not None else row.get(name) for name in COLUMNS]
        for row in bill
    ]
    insert(connection, "part", rows, len(COLUMNS))
    connection.execute(f"COPY part TO '{path}' (FORMAT parquet)")


def written(
    connection: duckdb.DuckDBPyConnection, parts: Sequence[Path], share: Share, folder: Path
) -> tuple[bytes, bytes, str]:
    """The bytes of both output files, and the digest of the rows."""
    lines.load_parts(connection, [str(path) for path in parts], share)
    settled = engine.settle(connection, share)
    found, held = folder / "lines.parquet", folder / "held.parquet"
    engine.write(connection, found, held)
    return found.read_bytes(), held.read_bytes(), settled.digest


def test_a_month_of_many_row_groups_has_the_same_bytes_over_threads_and_files(
    connection: duckdb.DuckDBPyConnection, wide_connection: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    make_large_part(connection, 150_000)
    whole, parts = tmp_path / "whole.parquet", [tmp_path / f"part-{n}.parquet" for n in range(3)]
    connection.execute(f"COPY (SELECT * FROM part ORDER BY line_id) TO '{whole}' (FORMAT parquet, ROW_GROUP_SIZE 8192)")
    for number, path in enumerate(parts):
        select = f"SELECT * FROM part WHERE hash(line_id) % 3 = {number} ORDER BY hash(line_id)"
        connection.execute(f"COPY ({select}) TO '{path}' (FORMAT parquet, ROW_GROUP_SIZE 4096)")
    share = Share("aurora", JULY, [assigned("101", "acme"), assigned("102", "birch")], [scaled_agreement()])

    once = written(connection, [whole], share, tmp_path)
    again = written(wide_connection, parts, share, tmp_path)

    assert once == again


def make_large_part(connection: duckdb.DuckDBPyConnection, count: int) -> None:
    values = {
        "line_id": "'l' || i",
        "payer": "'1'",
        "account": "CASE WHEN i % 3 = 0 THEN '101' ELSE '102' END",
        "date": "DATE '2026-07-01' + CAST(i % 31 AS INTEGER)",
        "product_code": "'ecs'",
        "instance_id": "'i-' || i // 20",
        "kind": "CASE WHEN i % 20 = 19 THEN 'refund' ELSE 'usage' END",
        "pretax": "CASE WHEN i % 20 = 19 THEN -0.5 ELSE CAST(i % 997 AS DECIMAL(28,10)) * 0.01 + 0.01 END",
        "currency": "'CNY'",
    }
    select = ", ".join(f"CAST({values.get(name, 'NULL')} AS {type_}) AS {name}" for name, type_ in COLUMNS.items())
    connection.execute(f"CREATE OR REPLACE TEMP TABLE part AS SELECT {select} FROM range({count}) r(i)")


@settings(MONTHS, max_examples=10 * EXAMPLES)
@given(
    exact=st.one_of(
        st.lists(st.integers(-(10**20), 10**20).map(lambda units: Decimal(units).scaleb(-18)), max_size=9),
        st.lists(st.integers(-9, 9).map(lambda halves: Decimal(5 * halves).scaleb(-3)), max_size=9),  # many ties
    ),
    places=st.integers(0, 6),
    mode=st.sampled_from(list(Mode)),
)
def test_statement_parts_add_up_to_the_total_and_lie_within_one_unit(
    exact: list[Decimal], places: int, mode: Mode
) -> None:
    whole = rounded(total(exact), places, mode)
    parts = spread(whole, exact, places)

    assert total(parts) == whole
    assert all(abs(part - one) < Decimal(1).scaleb(-places) for part, one in zip(parts, exact, strict=True))
    assert whole == model.rounded(sum(map(Fraction, exact), Fraction(0)), places, mode.value)
    assert parts == model.spread(Fraction(whole), [Fraction(one) for one in exact], places)


# --- what random months found, in figures that can be checked in the head -----------------------------------


def assigned(account: str, customer: str) -> Assignment:
    return Assignment(account, customer, "aurora", "reseller", date(2026, 1, 1), None)


def percent_agreement(percent: str, basis: str) -> Agreement:
    """Aurora earns one percent of everything."""
    return Agreement(
        id="aurora-main",
        reseller="aurora",
        version=1,
        begins=date(2026, 1, 1),
        ends=None,
        currency="CNY",
        basis=basis,
        places=2,
        mode=Mode.HALF_UP,
        currencies=(),
        payers=(),
        exclusions=(),
        scales={},
        rules=(Rule("all", "`true`", Earning(rate(percent))),),
        payout=Payout(Decimal(0), True, None),
        digest=digest(b"test"),
    )


def scaled_agreement() -> Agreement:
    """Aurora earns 5 percent up to 10 000, then 8.5 percent, by customer."""
    bands = (Band(Decimal(10_000), rate("5")), Band(None, rate("8.5")))
    return replace(
        percent_agreement("1", "pretax"),
        scales={"monthly": Scale("monthly", "customer", bands)},
        rules=(Rule("all", "`true`", Earning(scale="monthly")),),
    )


def row(line_id: str, kind: str, pretax: str | None, account: str = "101", **others: str) -> dict[str, Any]:
    return {
        "line_id": line_id,
        "kind": kind,
        "date": date(2026, 7, 9),
        "account": account,
        "payer": "1",
        "product_code": "ecs",
        "currency": "CNY",
        "pretax": pretax,
        **others,
    }


def one_month(*bill: dict[str, Any], basis: str) -> Inputs:
    direct = Assignment("103", "birch", None, "direct", date(2026, 1, 1), None)
    return Inputs(JULY, bill, [assigned("101", "acme"), direct], [percent_agreement("10", basis)])


def commissions(outcome: Outcome) -> dict[str, Fraction]:
    return {line.line_id: line.amount for line in outcome.lines if line.kind == "commission"}


def waiting(outcome: Outcome) -> list[tuple[str, str]]:
    return sorted((case.line_id, case.kind) for case in outcome.cases)


@pytest.mark.parametrize("refunded", ["-30", "-100"])
def test_a_refund_without_gross_waits_where_gross_is_what_earns(
    connection: duckdb.DuckDBPyConnection, refunded: str
) -> None:
    inputs = one_month(row("charge", "usage", "100", gross="100"), row("refund", "refund", refunded), basis="gross")

    found = by_engine(connection, inputs)

    assert waiting(found) == [("refund", "missing_value")]
    assert commissions(found) == {"charge": 10}


def test_a_refund_takes_its_round_down_with_it_where_its_charge_names_none(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    charge = row("charge", "usage", "100", gross="100", discount="0")
    refund = row("refund", "refund", "-50", gross="-50", discount="0", round_down="-10")  # discounted: -40

    found = by_engine(connection, one_month(charge, refund, basis="discounted"))

    assert commissions(found) == {"charge": 6}


def test_a_refund_without_a_payable_amount_waits(connection: duckdb.DuckDBPyConnection) -> None:
    found = by_engine(connection, one_month(row("refund", "refund", None), basis="pretax"))

    assert waiting(found) == [("refund", "missing_value")]


def test_a_direct_line_without_a_payable_amount_waits(connection: duckdb.DuckDBPyConnection) -> None:
    found = by_engine(connection, one_month(row("line", "usage", None, account="103"), basis="pretax"))

    assert waiting(found) == [("line", "missing_value")]
