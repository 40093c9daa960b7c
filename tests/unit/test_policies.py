"""The committed policies: each permission is needed by a recorded call, and nothing else is granted."""

from __future__ import annotations

import json

import pytest

from infra.localcloud.common import Keys
from infra.localcloud.host import template
from infra.localcloud.ram import policy
from infra.localcloud.ram.policy import Decision
from infra.provision import permissions, roles
from infra.provision.families import FAMILIES, UnknownFamilyError
from infra.provision.permissions import Evidence, Permission, PolicyProblemError
from infra.provision.plan import ROOT

VARIABLES = {"account": "1000000000000001", "region": "cn-hangzhou", "instance": "books", "buckets": "acme"}
EVIDENCE = permissions.evidence()
TEMPLATE = template.load(
    ROOT / "s.yaml", ROOT / "functions", Keys(VARIABLES["account"], "cn-hangzhou", "", "", "books", ""), {}
)
CASES = [
    pytest.param(function, one, id=f"{function}: {one.permission}")
    for function, calls in EVIDENCE.items()
    for one in calls
]


def decision(granted: set[Permission], call: Evidence) -> Decision:
    """What a policy that grants these says of a recorded call, as the services ask."""
    document = permissions.resolved(permissions.document(granted), VARIABLES)
    statements = policy.parse(json.dumps(document))
    resource = permissions.fill(call.resource, VARIABLES).replace("acs:oss:*:", "acs:oss:oss-cn-hangzhou:")
    return policy.decide(statements, call.permission.action, resource, {"oss:Prefix": call.prefix})


@pytest.mark.parametrize(("function", "call"), CASES)
def test_without_a_permission_a_recorded_call_is_denied(function: str, call: Evidence) -> None:
    granted = set(permissions.granted(permissions.committed(function)))
    assert call.permission in granted
    assert decision(granted, call) is Decision.ALLOWED
    assert decision(granted - {call.permission}, call) is Decision.IMPLICIT_DENY


@pytest.mark.parametrize("function", sorted(EVIDENCE))
def test_nothing_is_granted_that_was_never_called(function: str) -> None:
    assert permissions.granted(permissions.committed(function)) == {one.permission for one in EVIDENCE[function]}


def test_every_function_that_is_deployed_has_its_policy_and_no_other_is_committed() -> None:
    with_role = {name for name, one in TEMPLATE.functions.items() if one.role}
    assert with_role == set(EVIDENCE)
    assert with_role == {path.stem for path in permissions.FOLDER.glob("*.json")} - {"evidence"}
    assert len({one.role for one in TEMPLATE.functions.values()}) == len(TEMPLATE.functions)


@pytest.mark.parametrize("function", sorted(EVIDENCE))
def test_a_policy_names_every_action_and_keeps_to_one_family_or_table(function: str) -> None:
    for one in permissions.granted(permissions.committed(function)):
        assert "*" not in one.action
        _, _, resource = one.resource.rpartition(":")
        bucket, _, family = resource.partition("/")
        if one.resource.startswith("acs:oss:"):
            assert bucket in {f"${{buckets}}-{name}" for name in FAMILIES}
            assert family == "" or family.removesuffix("*") in FAMILIES[bucket.rpartition("-")[2]]
        else:
            assert "*" not in resource


def test_nobody_may_take_back_what_the_chain_says() -> None:
    for function in EVIDENCE:
        for one in permissions.granted(permissions.committed(function)):
            if one.resource.endswith("/table/chain"):
                assert one.action in {"ots:PutRow", "ots:GetRow", "ots:GetRange"}
    chain = "acs:ots:cn-hangzhou:1:instance/books/table/chain"
    with pytest.raises(PolicyProblemError, match="DeleteRow was called on chain, which nobody may"):
        permissions.needed("ots:DeleteRow", chain, "")


def test_every_policy_fits_what_ram_takes_with_the_longest_names() -> None:
    longest = {**VARIABLES, "buckets": "b" * 56, "instance": "i" * 16, "region": "cn-wulanchabu-acdr-1"}
    for function in TEMPLATE.functions.values():
        document = roles.policy_of(function, longest)
        assert len(json.dumps(document, separators=(",", ":"))) <= policy.DOCUMENT_BYTES_MAX


def test_a_failed_invocation_may_be_given_to_the_function_that_keeps_it() -> None:
    granted = permissions.granted(roles.policy_of(TEMPLATE.functions["settle"], VARIABLES))
    keeps = Permission("fc:InvokeFunction", "acs:fc:cn-hangzhou:1000000000000001:functions/sweep")
    assert keeps in granted
    assert keeps not in permissions.granted(permissions.resolved(permissions.committed("settle"), VARIABLES))


def test_a_call_is_generalised_to_its_family() -> None:
    where = "acs:oss:oss-cn-hangzhou:1:acme-work"
    put = permissions.needed("oss:PutObject", f"{where}/work/settle/2025-06/aurora/x.json", "")
    assert put.permission == Permission("oss:PutObject", "acs:oss:*:${account}:${buckets}-work/work/settle/*")
    assert permissions.needed("oss:ListObjects", where, "seals/1/").permission.prefix == "seals/*"
    assert permissions.needed("oss:ListObjects", where, "").permission.prefix == ""
    with pytest.raises(UnknownFamilyError, match="work/surprise/1 is of no family"):
        permissions.needed("oss:PutObject", f"{where}/surprise/1", "")
    with pytest.raises(PolicyProblemError, match="none of our tables and buckets"):
        permissions.needed("oss:PutObject", "acs:oss:oss-cn-hangzhou:1:elsewhere/1", "")
