"""Functions run under the committed policies, and what happens to one that lacks a permission."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from infra.clearbook.context import ROOT, environment, services, start_local
from infra.clearbook.demo import acts
from infra.clearbook.people import SEEDED
from infra.clearbook.remote import portal
from infra.localcloud import common
from infra.localcloud.bss.load import add_items, add_payer
from infra.localcloud.client import InvocationError
from infra.localcloud.cloud import LocalCloud
from infra.provision import permissions
from infra.provision.permissions import Permission
from infra.provision.plan import functions, plan, variables
from infra.provision.roles import policy_of
from shared.cloud.credentials import from_environment
from shared.cloud.ram import RoleAdmin
from shared.control import approvals
from shared.cycle import Cycle, stamp
from shared.steps import projections
from shared.steps.ingest_bill import FINAL_TRIES
from tests.builders import ACME, CYCLE, DAYS, P1, agreement, item, parties

TIMER = (ROOT / "events" / "plan_pulls-daily.json").read_bytes()


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCloud]:
    with start_local(tmp_path_factory.mktemp("permissions") / "home") as running:
        for action in plan(environment(running.home)):
            action.make()
        yield running


def replace(cloud: LocalCloud, function: str, *, without: Permission | None) -> None:
    """Put the committed policy of a function in force, less one permission."""
    environ = environment(cloud.home)
    deployed = functions(environ).functions[function]
    granted = permissions.granted(policy_of(deployed, variables(environ)))
    assert without is None or without in granted
    admin = RoleAdmin(environ["CLEARBOOK_RAM_ENDPOINT"], environ["CLEARBOOK_RAM_PROTOCOL"], from_environment(environ))
    admin.replace_policy(deployed.role, permissions.document(granted - {without}))


def test_a_function_that_may_not_read_the_chain_fails_and_says_what_it_lacks(cloud: LocalCloud) -> None:
    table = "acs:ots:${region}:${account}:instance/${instance}/table/chain"
    lacking = Permission("ots:GetRange", permissions.fill(table, variables(environment(cloud.home))))
    assert cloud.host.invoke("plan_pulls", TIMER)

    replace(cloud, "plan_pulls", without=lacking)
    with pytest.raises(InvocationError, match=r"read rows of chain.*OTSNoPermissionAccess"):
        cloud.host.invoke("plan_pulls", TIMER)
    replace(cloud, "plan_pulls", without=None)
    assert cloud.host.invoke("plan_pulls", TIMER)


def test_a_function_that_may_not_quarantine_fails_instead_of_losing_the_event(cloud: LocalCloud) -> None:
    family = "acs:oss:*:${account}:${buckets}-work/quarantine/*"
    lacking = Permission("oss:PutObject", permissions.fill(family, variables(environment(cloud.home))))
    assert b"quarantine/settle/" in cloud.host.invoke("settle", b"no event")

    replace(cloud, "settle", without=lacking)
    with pytest.raises(InvocationError, match=r"write 'quarantine/.*AccessDenied"):
        cloud.host.invoke("settle", b"no event")


def test_a_home_is_provisioned_completely_before_the_first_event(cloud: LocalCloud) -> None:
    replace(cloud, "settle", without=None)
    assert plan(environment(cloud.home)) == []
    assert (Path(cloud.home) / "ram" / "ram.db").exists()


def test_a_month_with_a_row_that_is_no_line_and_an_open_difference_settles(cloud: LocalCloud) -> None:
    """The provider's sums hold the row as well; in the third round the bill is final with a case for each."""
    key, secret = "LTAIpayer", "payer-secret"
    add_payer(cloud.home, P1, "payer@example.com", key, secret)
    secrets = {"payer": {"access_key_id": key, "access_key_secret": secret}}
    common.write_atomically(cloud.home / "secrets.json", json.dumps(secrets).encode(), mode=0o600)
    bill = [item(ACME, "100.00"), item(ACME, "7.00", Item="Gift", InstanceID="i-2")]
    seen, work, last = f"{DAYS[-1]}T12:00:00+08:00", services(cloud.home), Cycle.parse(CYCLE).final_from()
    add_items(cloud.home, P1, CYCLE, [(seen, None, DAYS[-1], one) for one in bill], batch="bill")
    approvals.name_users(work.chain, SEEDED, stamp(last))
    ask = partial(portal, cloud.home)
    acts.decide_parties(ask, work, parties(payers=[P1], since=DAYS[-1]))
    acts.decide_agreement(ask, work, agreement())

    for number in range(FINAL_TRIES):
        at = last + timedelta(minutes=30, hours=3 * number)
        cloud.host.set_clock(at)
        timer = {"triggerTime": stamp(at), "triggerName": "final", "payload": "final"}
        cloud.host.invoke("plan_pulls", json.dumps(timer).encode())
        assert cloud.host.idle()["failed"] == 0, cloud.host.status()["failures"]

    open_cases = [row["kind"] for row in projections.listed(work, projections.CASES, CYCLE) if row["state"] == "open"]
    assert {"bad_line", "source_mismatch"} <= set(open_cases)
