"""Plans of faults: what they say, what they refuse, and that the same plan means the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud.common import LocalCloudError
from infra.localcloud.faults import plan
from infra.localcloud.faults.plan import CALL_FAULTS, MILLION, Call, Fault, Plan, Rule

PUT = Call("oss", "PutObject", "clearbook-work/seals/1.json", 1)


def test_a_plan_is_read_back_as_it_was_written() -> None:
    drawn = plan.drawn(7)
    assert plan.parse(json.loads(plan.write(drawn)), "here") == drawn


def test_the_same_seed_draws_the_same_plan_and_another_seed_another() -> None:
    assert plan.drawn(7) == plan.drawn(7)
    assert len({plan.write(plan.drawn(seed)) for seed in range(50)}) == 50


def test_what_befalls_a_call_depends_on_what_it_is_and_not_on_when() -> None:
    half = Plan(3, calls={Fault.THROTTLE: MILLION // 2})
    calls = [Call("oss", "GetObject", f"key-{n}", 1) for n in range(1000)]
    first = {call: half.of_call(call) for call in calls}
    assert {call: half.of_call(call) for call in reversed(calls)} == first
    assert 400 < sum(fault is not None for fault in first.values()) < 600


def test_whoever_keeps_trying_gets_through() -> None:
    always = Plan(calls={Fault.SERVER_ERROR: MILLION}, attempts_most=2)
    assert [always.of_call(Call("oss", "GetObject", "key", attempt)) for attempt in (1, 2, 3)] == [
        *(Fault.SERVER_ERROR, Fault.SERVER_ERROR),
        None,
    ]


def test_each_share_befalls_as_many_as_it_says() -> None:
    shares: dict[Fault, int] = dict.fromkeys(CALL_FAULTS, 50_000)
    drawn = Plan(1, calls=shares)
    found = [drawn.of_call(Call("oss", "GetObject", f"key-{n}", 1)) for n in range(20_000)]
    for fault in CALL_FAULTS:
        if fault is Fault.FAIL_ROWS:
            continue
        assert 800 < found.count(fault) < 1200, fault


@pytest.mark.parametrize(
    ("rule", "is_meant"),
    [
        (Rule(Fault.THROTTLE), True),
        (Rule(Fault.THROTTLE, service="oss", call="PutObject", subject="*/seals/*", attempt=1), True),
        (Rule(Fault.THROTTLE, service="tablestore"), False),
        (Rule(Fault.THROTTLE, call="GetObject"), False),
        (Rule(Fault.THROTTLE, subject="seals/*"), False),
        (Rule(Fault.THROTTLE, attempt=2), False),
    ],
)
def test_a_rule_takes_the_calls_that_have_everything_it_asks_for(rule: Rule, is_meant: bool) -> None:
    assert (Plan(rules=(rule,)).of_call(PUT) is Fault.THROTTLE) is is_meant


def test_rules_of_events_and_deliveries_leave_calls_alone() -> None:
    both = Plan(rules=(Rule(Fault.TWICE), Rule(Fault.FILL_DISK, service="host")))
    assert both.of_call(PUT) is None
    event = Call("host", "settle", "order", 1)
    assert (both.of_event(event), both.of_delivery(event)) == (Fault.TWICE, Fault.FILL_DISK)


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "a plan is an object with"),
        ({"sed": 1}, "'sed' is unknown; expected one of attempts_most"),
        ({"seed": "7"}, "seed is '7'; expected a whole number, 0 or more"),
        ({"seed": True}, "seed is True; expected a whole number"),
        ({"hold_ms": 0}, "hold_ms is 0; expected a whole number, 1 or more"),
        ({"calls": {"twice": 1}}, "calls: 'twice' is unknown; expected one of"),
        ({"calls": {"delay": -1}}, "calls.delay is -1; expected a whole number, 0 or more"),
        ({"calls": {"delay": 600_000, "throttle": 600_000}}, "are 1200000 together; at most 1000000"),
        ({"events": ["twice"]}, "events is ['twice']; expected parts per million by fault"),
        ({"rules": {"fault": "delay"}}, "rules is {'fault': 'delay'}; expected a list"),
        ({"rules": [{"service": "oss"}]}, "rules[0] is {'service': 'oss'}; expected an object with a fault"),
        ({"rules": [{"fault": "explode"}]}, "rules[0]: fault is 'explode'; expected one of lose_request"),
        ({"rules": [{"fault": ["twice"]}]}, "rules[0]: fault is ['twice']; expected one of lose_request"),
        (
            {"rules": [{"fault": "delay", "service": "osss"}]},
            "rules[0]: service is 'osss'; expected one of oss, tables",
        ),
        ({"rules": [{"fault": "delay", "when": 1}]}, "rules[0]: 'when' is unknown; expected one of attempt"),
        ({"rules": [{"fault": "delay", "call": 1}]}, "rules[0]: call is 1; expected a text"),
        ({"rules": [{"fault": "delay", "attempt": 0}]}, "rules[0]: attempt is 0; expected a whole number, 1 or more"),
        ({"functions_only": "yes"}, "functions_only is 'yes'; expected true or false"),
    ],
)
def test_a_plan_that_cannot_be_right_is_refused_with_its_place(document: Any, said: str) -> None:
    with pytest.raises(LocalCloudError) as caught:
        plan.parse(document, "plan.json")
    assert str(caught.value).startswith("plan.json")
    assert said in str(caught.value)


def test_only_a_batch_has_rows_that_fail() -> None:
    always = Plan(calls={Fault.FAIL_ROWS: MILLION})
    assert always.of_call(PUT) is None
    assert always.of_call(Call("tablestore", "BatchWriteRow", "digest", 1)) is Fault.FAIL_ROWS


@pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
def test_a_file_that_is_no_plan_is_refused_with_its_name(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(body)
    with pytest.raises(LocalCloudError, match=r"plan\.json: no readable plan of faults"):
        plan.read(path)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(LocalCloudError, match=r"none\.json: no readable plan"):
        plan.read(tmp_path / "none.json")
