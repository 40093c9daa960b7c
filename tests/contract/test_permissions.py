"""Functions run under the committed policies, and what happens to one that lacks a permission."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.clearbook.context import ROOT, environment, start_local
from infra.localcloud.client import InvocationError
from infra.localcloud.cloud import LocalCloud
from infra.provision import permissions
from infra.provision.permissions import Permission
from infra.provision.plan import functions, plan, variables
from infra.provision.roles import policy_of
from shared.cloud.credentials import from_environment
from shared.cloud.ram import RoleAdmin

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
