"""Allocation against a model of its own, in exact rationals and written from the README: it always adds up."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shared.columnar import connect, insert
from shared.money import EXACT
from shared.report.allocation import allocate
from shared.report.allocation.document import checked_mapping
from shared.report.facts import FACT_TYPES

AMOUNTS = {"price": 18, "cost": 18, "list_amount": 10}
Fact = Mapping[str, Any]
_TEAMS = ("web", "data", None)

JANUARY = {"from": "2026-01-01", "until": "2026-01-31"}
MAPPING: dict[str, Any] = {
    "allocation": "by-team",
    "version": 1,
    "effective": {"from": "2026-01-01", "until": "2026-02-28"},
    "shared": [
        {"id": "support", "when": "product_code == 'support'", "split": "share"},
        {"id": "network", "when": "product_code == 'cdn'", "split": "even", "to": ["web", "data", "ops"]},
        {"id": "licences", "when": "product_code == 'rds'", "split": "weights", "weights": {"ops": "1", "web": "2.5"}},
    ],
    "rules": [
        {"id": "january", "when": "region == 'cn-beijing'", "target": "north", "effective": JANUARY},
        {"id": "team", "target": {"tag": "team"}},
    ],
}  # fmt: skip


def model(fact: Fact) -> tuple[str, str]:
    """The rule that takes a fact and its target: by hand, for MAPPING."""
    day = fact["date"] or date(int(fact["cycle"][:4]), int(fact["cycle"][5:]), 28)
    if day > date(2026, 2, 28):
        return "", ""
    shared = {"support": "support", "cdn": "network", "rds": "licences"}.get(fact["product_code"])
    if shared:
        return shared, "*"
    if fact["region"] == "cn-beijing" and day.month == 1:
        return "january", "north"
    team = json.loads(fact["tags"] or "{}").get("team")
    return ("team", team) if team else ("", "")


def amounts(places: int) -> st.SearchStrategy[Decimal | None]:
    units = st.one_of(st.integers(-50, 50), st.integers(-(10**28) + 1, 10**28 - 1))
    return st.none() | units.map(lambda unit: EXACT.scaleb(Decimal(unit), Decimal(-places)))


@st.composite
def facts(draw: st.DrawFn) -> list[Fact]:
    found: list[Fact] = []
    for number in range(draw(st.integers(0, 30))):
        cycle = draw(st.sampled_from(["2026-01", "2026-02", "2026-03"]))
        day = draw(st.sampled_from([None, 1, 28]))
        team = draw(st.sampled_from(_TEAMS))
        found.append(
            {
                "line_id": str(number),
                "cycle": cycle,
                "date": None if day is None else date.fromisoformat(f"{cycle}-{day:02}"),
                "product_code": draw(st.sampled_from(["ecs", "support", "cdn", "rds"])),
                "region": draw(st.sampled_from(["cn-beijing", None])),
                "tags": None if team is None else json.dumps({"team": team}),
                "currency": draw(st.sampled_from(["CNY", "USD"])),
                "kind": draw(st.sampled_from(["usage", "refund"])),
                **{name: draw(amounts(places)) for name, places in AMOUNTS.items()},
            }
        )
    return found


def weights(fact: Fact, rule: str, column: str, all_facts: Sequence[Fact]) -> dict[str, Fraction]:
    """The targets of a shared fact, each with its exact share."""
    if rule == "licences":
        return {"ops": Fraction(2, 7), "web": Fraction(5, 7)}
    if rule == "network":
        return dict.fromkeys(("web", "data", "ops"), Fraction(1, 3))
    direct: dict[str, Fraction] = {}
    for other in all_facts:
        _, target = model(other)
        if target not in ("", "*") and (other["cycle"], other["currency"]) == (fact["cycle"], fact["currency"]):
            direct[target] = direct.get(target, Fraction(0)) + Fraction(other[column] or 0)
    above = {target: max(own, Fraction(0)) for target, own in direct.items()}
    whole = sum(above.values(), Fraction(0))
    return {target: own / whole if whole else Fraction(1, len(above)) for target, own in above.items()}


@settings(max_examples=14, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=facts())
@example(found=[])
def test_allocated_is_the_total_to_the_last_digit_and_everybody_has_their_share(
    found: list[Fact], tmp_path: Path
) -> None:
    with connect(tmp_path) as connection:
        columns = ", ".join(f"{name} {type_}" for name, type_ in FACT_TYPES.items())
        connection.execute(f"CREATE OR REPLACE TEMP TABLE fact ({columns})")
        rows = [tuple(one.get(name) for name in FACT_TYPES) for one in found]
        insert(connection, "fact", rows, len(FACT_TYPES))
        allocate(connection, checked_mapping(MAPPING, "by-team").mapping)
        got = connection.execute("SELECT line_id, target, rule, price, cost, list_amount FROM allocated").fetchall()

    for fact in found:
        rule, target = model(fact)
        parts = {row[1]: row for row in got if row[0] == fact["line_id"]}
        assert len(parts) == len([row for row in got if row[0] == fact["line_id"]])
        assert {row[2] for row in parts.values()} == {rule}
        if target != "*":
            assert set(parts) == {target}
        for place, (column, places) in enumerate(AMOUNTS.items(), 3):
            own = [row[place] for row in parts.values()]
            if fact[column] is None:
                assert own == [None] * len(parts)
                continue
            assert sum(map(Fraction, own)) == Fraction(fact[column])
            share = weights(fact, rule, column, found) if target == "*" else {target: Fraction(1)}
            near = Fraction(len(share) + 1, 10**places) + abs(Fraction(fact[column])) / 10**17
            for one, row in parts.items():
                if share:
                    assert abs(Fraction(row[place]) - Fraction(fact[column]) * share.get(one, Fraction(0))) <= near
                else:
                    assert (one, row[place]) == ("", fact[column])
    assert {row[0] for row in got} == {one["line_id"] for one in found}
