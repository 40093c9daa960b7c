"""Pulls at the local provider: a bill that changes between pages, a quota of many, roles, all over the real wire."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud import identity
from infra.localcloud.bss.load import add_role
from shared.bill.pulls import Pull
from shared.cloud.bss import BssApi
from shared.cloud.credentials import AccessKey
from shared.cloud.patience import PassingError, Patience
from shared.cloud.places import Places
from shared.cloud.sts import AssumedRole
from shared.cycle import Cycle
from shared.ports import ObjectEvent, ServiceError
from shared.steps.pull_bill import pull_bill
from tests.builders import parties as party_document_of
from tests.contract.bss_cloud import CYCLE, FINAL, Payer, World, line, running
from tests.fakes import MemoryRows
from tests.pump import World as Month

ONCE = Patience(total_s=0.001, first_pause_s=0.0)
ROLE = "bill-reader"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path / "cloud") as made:
        made.clock.set(FINAL)
        yield made


def host(world: World) -> str:
    return f"127.0.0.1:{world.service.port}"


def key(payer: Payer) -> AccessKey:
    return AccessKey(payer.key_id, payer.secret)


def function_key(world: World, function: str = "pull_bill") -> AccessKey:
    made = identity.issue(world.main, f"clearbook-{function}", function, "1", datetime.now(UTC))
    return AccessKey(made.access_key_id, made.access_key_secret, made.security_token)


# -- pages


@pytest.mark.parametrize("page", [2, 3])
def test_a_bill_to_which_the_provider_adds_between_pages_is_read_anew(world: World, page: int, tmp_path: Path) -> None:
    payer = world.payer(*(line(1, InstanceID=f"i-{n}") for n in range(700)))
    inner = BssApi(host(world), "HTTP", "cn-hangzhou", key(payer), ONCE)
    asked: list[str] = []

    class Api:
        def call(self, action: str, query: Mapping[str, Any]) -> bytes:
            asked.append(str(query.get("NextToken", "")))
            if len(asked) == page:
                payer.add(line(1, InstanceID="i-late"))
            return inner.call(action, query)

    month = Month(tmp_path / "month")
    month.decide_parties(party_document_of([], payers=[payer.account], since=f"{CYCLE}-01"))
    services = replace(month.services, bill_api=lambda _: Api())
    pull = Pull(payer.account, Cycle.parse(CYCLE), f"{CYCLE}-01", "f20260703T1230")
    outcome = pull_bill(services, ObjectEvent("clearbook-work", pull.order_key, FINAL))

    assert (outcome["try"], outcome["pages"], outcome["rows"]) == (2, 3, 701)
    assert len(asked) == page + 3


# -- the quota


def test_instances_that_share_places_are_never_throttled_and_together_keep_nearly_to_the_quota(world: World) -> None:
    payer = world.payer(line(1))
    rows, throttled, made = MemoryRows(), [], []

    class Told(Patience):
        def persist(self, attempt: Any) -> Any:
            try:
                return attempt(False)
            except PassingError as exc:
                throttled.append(str(exc))
                raise

    def instance() -> None:
        api = BssApi(
            host(world), "HTTP", "cn-hangzhou", key(payer), Told(), places=Places(rows, payer.account, 10)
        )  # fmt: skip
        api.call("GetCustomerList", {})  # a first call loads what later ones have
        for _ in range(8):
            api.call(
                "DescribeInstanceBill",
                {"BillingCycle": CYCLE, "Granularity": "DAILY", "IsBillingItem": True, "BillingDate": f"{CYCLE}-01"},
            )
            made.append(time.monotonic())

    threads = [threading.Thread(target=instance) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert throttled == []
    assert len(made) == 32
    assert max(made) - min(made) < 12


# -- roles


def assumed(world: World, payer: Payer, own: AccessKey, role: str = ROLE, clock: Any = time.time) -> AssumedRole:
    arn = f"acs:ram::{payer.account}:role/{role}"
    return AssumedRole(host(world), "HTTP", "cn-hangzhou", lambda: own, arn, "pull_bill", ONCE, clock)


def test_a_role_that_trusts_the_account_reads_its_payers_bill_and_no_others(world: World) -> None:
    one, other = world.payer(line(1, "1.00"), customers=("1001",)), world.payer(line(1, "2.00"), customers=("2001",))
    for payer in (one, other):
        add_role(world.home, payer.account, ROLE, world.main.account_id)
        api = BssApi(host(world), "HTTP", "cn-hangzhou", assumed(world, payer, function_key(world)), ONCE)
        assert payer.customers[0].encode() in api.call("GetCustomerList", {})


def test_a_key_is_assumed_once_and_anew_before_it_ends(world: World) -> None:
    payer = world.payer(line(1))
    add_role(world.home, payer.account, ROLE, world.main.account_id)
    now = [time.time()]
    role = assumed(world, payer, function_key(world), clock=lambda: now[0])
    first = role()
    assert first.token
    assert role() == first
    now[0] += 3600 - 301
    assert role() == first
    now[0] += 2
    assert role() != first


@pytest.mark.parametrize(
    ("trusts", "role", "said"),
    [("other", ROLE, "NoPermission"), ("main", "nobody", "EntityNotExist.Role")],
)
def test_a_role_that_is_not_given_is_named_with_what_to_check(world: World, trusts: str, role: str, said: str) -> None:
    payer = world.payer(line(1))
    add_role(world.home, payer.account, ROLE, world.main.account_id if trusts == "main" else "42")
    with pytest.raises(ServiceError, match=said) as refusal:
        assumed(world, payer, function_key(world), role)()

    assert f"acs:ram::{payer.account}:role/{role}" in str(refusal.value)
    assert "trusts this account" in str(refusal.value)
    assert refusal.value.retryable is False


def test_the_main_accounts_own_key_assumes_nothing(world: World) -> None:
    payer = world.payer(line(1))
    add_role(world.home, payer.account, ROLE, world.main.account_id)
    own = AccessKey(world.main.access_key_id, world.main.access_key_secret)
    with pytest.raises(ServiceError, match="root accounts"):
        assumed(world, payer, own)()


def test_a_key_that_has_ended_or_lost_its_token_reads_nothing(world: World) -> None:
    payer = world.payer(line(1))
    made = identity.issue(
        world.main, f"{payer.account}:role/{ROLE}", "x", "1", datetime.now(UTC) - timedelta(hours=2), timedelta(hours=1)
    )
    ended = AccessKey(made.access_key_id, made.access_key_secret, made.security_token)
    for given, said in ((ended, "InvalidSecurityToken.Expired"), (replace(ended, token=""), "InvalidAccessKeyId")):
        with pytest.raises(ServiceError, match=said):
            BssApi(host(world), "HTTP", "cn-hangzhou", given, ONCE).call("GetCustomerList", {})
    assert "HTTP_PROXY" not in os.environ
