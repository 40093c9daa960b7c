"""Pulls: cut off at every call and gone on with, read anew where the bill changes, re-queued where time runs out."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud.faults.plan import Fault
from shared.bill import control, pulls
from shared.bill.pulls import Pull
from shared.cloud.places import Places
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.parties.document import party_document
from shared.parties.parties import parse_parties
from shared.ports import ObjectEvent, ServiceError
from shared.steps.pull_bill import PAGE_ROWS, PullInconsistentError, pull_bill
from tests.builders import ACME, BIRCH, CYCLE, DAYS, P1, P2, item, parties
from tests.fakes import KilledError, MemoryRows, Provider, State, envelope
from tests.pump import World, go_live, small_month

DAY = Pull(P1, Cycle.parse(CYCLE), DAYS[0], "f20250703T1230")
AT = datetime(2025, 7, 3, 4, 30, tzinfo=UTC)
LINES = 2 * PAGE_ROWS + 1  # three pages


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    return world


def order(pull: Pull) -> ObjectEvent:
    return ObjectEvent("clearbook-work", pull.order_key, AT)


def long_bill(world: World, lines: int = LINES) -> None:
    world.bill(P1, DAYS[0], *(item(ACME, "1.00", InstanceID=f"i-{n}") for n in range(lines)))


def raw(world: World) -> dict[str, bytes]:
    return {key: body for key, body in world.cloud.records.objects.items() if key.startswith("raw/")}


class Changing(Provider):
    """A provider whose bill changes before chosen calls, counted from 1."""

    changes: dict[int, Callable[[], None]]
    asked = 0

    def api(self, connector: Any) -> Any:
        inner = super().api(connector)

        class Api:
            def call(_, action: str, query: Any) -> bytes:  # noqa: N805
                self.asked += 1
                self.changes.get(self.asked, lambda: None)()
                return inner.call(action, query)

        return Api()


def changing(world: World, changes: dict[int, Callable[[], None]]) -> Changing:
    provider = Changing(world.cloud.calls, world.cloud.provider.bills)
    provider.changes = changes
    world.cloud.provider = provider
    world.services = world.cloud.services = replace(world.services, bill_api=provider.api)
    return provider


# -- cut off


def cut_off_everywhere(world: World) -> Iterator[tuple[int, Fault, State]]:
    """The state that a pull leaves which goes wrong at each of its calls, in each way."""
    before = world.cloud.state()
    world.cloud.calls.begin()
    pull_bill(world.services, order(DAY))
    calls = len(world.cloud.calls.made)
    for fault in (Fault.LOSE_REQUEST, Fault.LOSE_RESPONSE, Fault.KILL_BEFORE, Fault.KILL_AFTER):
        for call in range(calls):
            world.cloud.restore(before)
            world.cloud.calls.begin(call, fault)
            with pytest.raises((ServiceError, KilledError)):
                pull_bill(world.services, order(DAY))
            world.cloud.calls.begin()
            yield call, fault, world.cloud.state()


def test_a_pull_that_was_cut_off_at_any_call_and_is_resumed_equals_one_that_was_not(world: World) -> None:
    long_bill(world)
    before = world.cloud.state()
    pull_bill(world.services, order(DAY))
    whole = raw(world)
    assert len(whole) == 4
    world.cloud.restore(before)

    cases = 0
    for call, fault, _ in cut_off_everywhere(world):
        pull_bill(world.services, order(DAY))
        assert raw(world) == whole, f"call {call}, {fault}"
        cases += 1
    assert cases > 4 * 10


def test_a_resumed_pull_asks_for_no_page_it_has(world: World) -> None:
    long_bill(world)
    provider = changing(world, {3: fail})
    with pytest.raises(ServiceError):
        pull_bill(world.services, order(DAY))
    provider.asked, provider.changes = 0, {}
    pull_bill(world.services, order(DAY))

    assert provider.asked == 1


def fail() -> None:
    raise ServiceError("cannot call", "the connection broke", "run it again later", retryable=True)


# -- changed while it is read


@pytest.mark.parametrize("page", [2, 3])
@pytest.mark.parametrize("lines", [LINES - 1, LINES + 5, PAGE_ROWS - 1])
def test_a_bill_that_changes_between_pages_is_read_anew_under_a_prefix_of_its_own(
    world: World, page: int, lines: int
) -> None:
    long_bill(world)
    changing(world, {page: lambda: long_bill(world, lines)})

    assert pull_bill(world.services, order(DAY))["try"] == 2
    complete = json.loads(world.cloud.records.objects[DAY.complete_key])
    assert (complete["try"], sum(one["rows"] for one in complete["pages"])) == (2, lines)
    assert all(one["key"].startswith(f"{DAY.raw_prefix}try-2/") for one in complete["pages"])
    assert DAY.page_key(1) in world.keys("records")
    assert "counted as" in json.loads(world.cloud.records.objects[DAY.changed_key(1)])["why"]


def refuse() -> None:
    raise ServiceError("cannot call", "400 InvalidParameter NextToken", "check", retryable=False)


def test_a_token_that_is_refused_begins_another_try(world: World) -> None:
    long_bill(world)
    changing(world, {2: refuse})

    assert pull_bill(world.services, order(DAY))["try"] == 2


def test_a_refusal_that_is_no_tokens_fault_is_told_as_what_it_is(world: World) -> None:
    long_bill(world)
    changing(world, dict.fromkeys(range(2, 20), refuse))
    with pytest.raises(ServiceError, match="400 InvalidParameter"):
        pull_bill(world.services, order(DAY))


def test_a_bill_that_changes_each_time_is_given_up_after_three_tries_and_stays_so(world: World) -> None:
    long_bill(world)
    provider = changing(world, {n: lambda n=n: long_bill(world, LINES + n) for n in range(2, 40)})  # type: ignore[misc]
    for _ in range(2):
        with pytest.raises(PullInconsistentError, match="was read 3 times and the bill changed each time"):
            pull_bill(world.services, order(DAY))
        assert provider.asked == 6  # two pages each, and none for the second order
    assert DAY.complete_key not in world.keys("records")


def test_a_try_that_was_cut_off_is_gone_on_with_and_the_one_before_is_not_read_again(world: World) -> None:
    long_bill(world)
    provider = changing(world, {2: lambda: long_bill(world, LINES + 1), 5: fail})
    with pytest.raises(ServiceError):
        pull_bill(world.services, order(DAY))
    provider.changes, provider.asked = {}, 0

    assert pull_bill(world.services, order(DAY))["try"] == 2
    assert provider.asked == 1


def test_a_page_of_another_account_is_refused_and_says_whose_it_is(world: World) -> None:
    body = envelope({"Items": [], "TotalCount": 0, "NextToken": "", "AccountID": "999", "BillingCycle": CYCLE})
    world.cloud.provider.answers(P1, "DescribeInstanceBill", DAYS[0], body)
    with pytest.raises(BadInputError, match="is of account 999"):
        pull_bill(world.services, order(DAY))


# -- out of time


def after(calls: int) -> Callable[[], bool]:
    left = iter(range(calls))
    return lambda: next(left, None) is None


def test_a_pull_whose_time_is_up_goes_on_by_way_of_the_planner_and_equals_one_that_had_time(world: World) -> None:
    long_bill(world, 20 * PAGE_ROWS)
    before = world.cloud.state()
    pull_bill(world.services, order(DAY))
    whole = raw(world)
    world.cloud.restore(before)
    world.cloud.take_created()

    world.cloud.work.put_once(DAY.order_key, b"{}")
    runs = 0
    while DAY.complete_key not in world.keys("records"):
        outcome = pull_bill(world.services, order(DAY), after(5))
        runs += 1
        if "note" in outcome:
            [again] = world.keys("work", "again/")
            assert again == DAY.again_key(1, outcome["pages"])
            world.pump.collect()
            world.pump.waiting = [one for one in world.pump.waiting if one.what == again]
            world.pump.deliver(world.pump.waiting.pop())
            assert world.keys("work", "again/") == []
            woken = [one for one in world.cloud.take_created() if one.key == DAY.order_key]
            assert len(woken) == 1
    assert runs > 3
    assert raw(world) == whole


def test_each_time_it_is_asked_again_there_is_a_further_page_or_it_fails(world: World) -> None:
    long_bill(world, 4 * PAGE_ROWS)
    pull_bill(world.services, order(DAY), after(1))
    [first] = world.keys("work", "again/")
    changing(world, {1: fail})
    with pytest.raises(ServiceError):
        pull_bill(world.services, order(DAY), lambda: True)

    assert world.keys("work", "again/") == [first]


def test_what_nobody_ordered_again_is_ordered_by_the_sweep(world: World) -> None:
    long_bill(world)
    world.final(drain=False)
    world.pump.drain(hold=lambda one: one.function == "pull_bill" and DAY.name in one.what)
    world.pump.waiting.clear()
    pull_bill(world.services, order(DAY), after(1))
    world.cloud.take_created()  # its event is lost

    world.sweep("2025-07-03")

    assert world.keys("work", "again/") == []
    assert [seal.status for seal in world.seals()] == ["final"]


# -- slots


def test_slots_compare_in_the_order_they_were_begun() -> None:
    slots = ["d20250605", "b20250605T1430", "b20250605T1430d03", "d20250606", "f20250703T1230", "b20250703T1300"]

    assert sorted(set(slots), key=pulls.asked) == slots
    assert pulls.asked("") < pulls.asked(slots[0])


def test_an_extra_round_asks_for_a_whole_cycle_or_one_day_and_never_for_what_is_still_to_come() -> None:
    cycle, since = Cycle.parse("2025-06"), datetime(2025, 6, 3, tzinfo=UTC).date()

    def whats(slot: str) -> list[str]:
        return [one.what for one in pulls.pulls_of(slot, P1, cycle, since)]

    assert whats("b20250606T1430") == ["2025-06-03", "2025-06-04", "2025-06-05", "control"]
    assert whats("b20250606T1430d05") == ["2025-06-05", "control"]
    assert whats("b20250606T1430d02") == []
    assert len(whats("b20250801T0900")) == 28 + 2
    assert whats("b20250801T0900")[-2:] == ["monthly", "control"]


def test_keys_tell_the_pull_they_are_of() -> None:
    cycle = Cycle.parse(CYCLE)
    for what, slot in (
        (DAYS[0], "d20250701"), (pulls.CONTROL, "f20250703T1230"), (pulls.MONTHLY, "b20250703T1230"),
        (pulls.WATCH, "w20250901"), (pulls.CUSTOMERS, "d20250701"), (DAYS[0], "b20250703T1230d28"),
    ):  # fmt: skip
        pull = Pull(P1, cycle, what, slot)
        assert pulls.from_order_key(pull.order_key) == pull
        assert pulls.from_complete_key(pull.complete_key) == pull
        assert pulls.from_again_key(pull.again_key(2, 40)) == pull
    assert pulls.from_again_key(pulls.round_again_key(P1, cycle, "b20250703T0900")) == (P1, cycle, "b20250703T0900")


# -- controls


def test_a_final_round_is_held_against_the_overview_and_the_month_by_billing_item(world: World) -> None:
    world.final()

    assert f"work/pull/{P1}/{CYCLE}/monthly-f20250703T1230.json" in world.keys("work")
    assert world.seals()[-1].control["differences"] == 0


def test_a_difference_names_the_controls_that_say_so() -> None:
    def totals(**amounts: str) -> dict[control.Group, control.Control]:
        read = control.totals_from_json([name, "ecs", "CNY", amount, "0"] for name, amount in amounts.items())
        return dict(read)

    lines = {group: one.pretax for group, one in totals(a="10", b="10", c="10", d="10").items()}
    both = {"overview": totals(a="11", b="11", c="10", d="11"), "monthly": totals(a="11", b="10", c="11", d="12")}
    found = [(one.account, one.difference, one.against) for one in control.compare_all(lines, both)]

    assert found == [
        ("a", "-1", "overview, monthly"), ("b", "-1", "overview"), ("c", "-1", "monthly"),
        ("d", "-2", "monthly"), ("d", "-1", "overview"),
    ]  # fmt: skip


# -- final cycles


def watched(world: World, day: str) -> list[str]:
    before = set(world.keys("work", "work/pull/"))
    world.daily(day)
    return sorted(set(world.keys("work", "work/pull/")) - before)


def test_a_final_cycle_that_did_not_move_is_looked_at_and_asked_nothing_more(world: World) -> None:
    world.final()
    seals = len(world.seals())
    ordered = [key for key in watched(world, "2025-08-06") if f"/{P1}/{CYCLE}/" in key]

    assert ordered == [f"work/pull/{P1}/{CYCLE}/watch-w20250806.json"]
    assert len(world.seals()) == seals


def test_a_final_cycle_that_moved_and_only_it_is_pulled_again_and_then_rests(world: World) -> None:
    world.final()
    world.bill(P1, DAYS[1], item(ACME, "250.00"))
    watched(world, "2025-08-06")

    assert [seal.slot for seal in world.seals()] == ["f20250703T1230", "b20250806T0900"]
    assert world.seals()[-1].status == "final"
    assert len(world.seals(P2)) == 1
    assert world.keys("work", "again/") == []
    watched(world, "2025-08-07")
    assert len(world.seals()) == 2


def test_older_cycles_are_looked_at_on_mondays_as_far_as_the_provider_answers(world: World) -> None:
    world.final()

    def is_watched(day: str) -> bool:
        return any(f"/{CYCLE}/watch-" in key for key in watched(world, day))

    assert is_watched("2025-09-30")  # a Tuesday, three cycles on
    assert not is_watched("2025-10-07")
    assert is_watched("2025-10-06")
    assert is_watched("2026-12-28")  # the 18th
    assert not is_watched("2027-01-04")


# -- customers


def test_a_customer_that_nobody_is_assigned_is_a_case_until_it_is(world: World) -> None:
    world.cloud.provider.customers = {P1: [ACME, "1777"]}
    world.daily("2025-06-30")
    world.final()
    assert [case["key"] for case in world.cases() if case["kind"] == "new_account"] == ["1777"]

    from tests.builders import ASSIGNMENTS, assigned

    world.decide_parties(parties([*ASSIGNMENTS, assigned("1777", "acme", "aurora")]))
    assert [case for case in world.cases() if case["kind"] == "new_account"] == []


def test_a_list_of_customers_is_told_once_until_it_changes(world: World) -> None:
    world.cloud.provider.customers = {P1: [ACME, BIRCH]}
    world.daily("2025-06-28")
    stream = f"bill/{P1}/{CYCLE}"
    assert not [entry for entry in world.services.chain.read(stream) if entry.kind == "customers"]
    world.cloud.provider.customers = {P1: ["1777"]}
    world.daily("2025-06-29")
    world.daily("2025-06-30")

    told = [entry.body for entry in world.services.chain.read(stream) if entry.kind == "customers"]
    assert [(one["slot"], one["unassigned"]) for one in told] == [("d20250629", 1)]
    assert json.loads(world.cloud.work.objects[told[0]["key"]])["customers"] == ["1777"]


def test_a_provider_that_lists_no_customers_is_no_failure_and_noted(world: World) -> None:
    world.daily("2025-06-30")

    complete = json.loads(world.cloud.records.objects[f"raw/{P1}/{CYCLE}/customers-d20250630/_complete.json"])
    assert complete["pages"] == []
    assert "InvalidAction" in complete["refused"]
    [kept] = world.keys("records", f"raw/{P1}/{CYCLE}/customers-d20250630/refused-")
    assert b"InvalidAction" in gzip.decompress(world.cloud.records.objects[kept])
    assert world.pump.refusals == []


# -- the quota of many


class Time:
    def __init__(self) -> None:
        self.now = 1_000_000.03

    def __call__(self) -> float:
        return self.now


def test_no_window_of_a_second_holds_more_calls_than_the_quota_however_many_instances_there_are() -> None:
    rows, time = MemoryRows(), Time()
    instances = [Places(rows, "100", 10, time) for _ in range(5)]
    at: list[float] = []
    for step in range(200):
        at.append(time.now + instances[step % 5].wait_s("call"))
        time.now += 0.013
    at.sort()

    assert max(sum(one <= other < one + 1.0 for other in at) for one in at) <= 8
    assert at[-1] - at[0] < 200 / 7 + 1.0


def test_instances_that_start_together_never_share_a_place() -> None:
    rows, taken, lock = MemoryRows(), [], threading.Lock()
    time = Time()

    def call() -> None:
        places = Places(rows, "100", 10, time)
        for _ in range(20):
            wait = places.wait_s("call")
            with lock:
                taken.append(round(wait * 7))

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(rows.tables["quotas"]) == [("100", 7_000_000 + n) for n in range(80)]
    assert len(taken) == 80


# -- connectors


def with_connector(**changes: Any) -> dict[str, Any]:
    document = parties()
    for payer in document["payers"]:
        payer["connector"] = {**payer["connector"], **changes}
    return document


ROLE = "acs:ram::190:role/bill-reader"


def test_a_connector_names_a_secret_or_a_role_and_its_quota_group() -> None:
    [one, _] = parse_parties(party_document(with_connector(secret=None, role=ROLE), "p")).connectors.values()
    assert (one.secret, one.role, one.quota_group, one.site) == (None, ROLE, P1, "china")
    [one, _] = parse_parties(party_document(with_connector(quota_group="main"), "p")).connectors.values()
    assert (one.secret, one.role, one.quota_group) == ("payer", None, "main")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"role": ROLE}, "exactly one of secret"),
        ({"secret": None}, "exactly one of secret"),
        ({"secret": None, "role": "bill-reader"}, "role"),
        ({"endpoint": "business.ap-southeast-1.aliyuncs.com"}, "write business.aliyuncs.com"),
        ({"endpoint": "business.aliyuncs.com", "site": "international"}, "write business.ap-southeast-1.aliyuncs.com"),
    ],
)
def test_a_connector_that_cannot_be_meant_is_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        party_document(with_connector(**changes), "p")


def test_an_approved_document_of_before_still_reads() -> None:
    document = json.loads(party_document(parties(), "p"))
    for payer in document["payers"]:
        for name in ("role", "quota_group"):
            del payer["connector"][name]

    assert parse_parties(canonical_json(document)).connectors[P1].quota_group == P1
