"""The committed policies: each permission is needed by a recorded call, and nothing else is granted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.clearbook import deploy
from infra.localcloud.common import Keys
from infra.localcloud.host import template
from infra.localcloud.ram import policy
from infra.localcloud.ram.policy import Decision
from infra.provision import operators, permissions, roles
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
        elif one.action == "sts:AssumeRole":
            # Which roles others give us is data; they say themselves whom they trust.
            assert one.resource == "acs:ram:*:*:role/*"
            assert function in ("pull_bill", "notify", "sweep")
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


def test_no_key_of_people_writes_a_row_and_every_function_that_does_is_one_of_ours() -> None:
    mine = permissions.granted(operators.policy(VARIABLES))
    tables = {(one.resource.rpartition("/")[2], one.action) for one in mine if one.resource.startswith("acs:ots:")}
    assert ("chain", "ots:GetRange") in tables
    assert {action for _, action in tables} == {"ots:GetRow", "ots:BatchGetRow", "ots:GetRange"}
    chain = "acs:ots:cn-hangzhou:1000000000000001:instance/books/table/chain"
    statements = policy.parse(json.dumps(operators.policy(VARIABLES)))
    for action in ("ots:PutRow", "ots:UpdateRow", "ots:DeleteRow", "ots:BatchWriteRow"):
        assert policy.decide(statements, action, chain, {}) is Decision.IMPLICIT_DENY
    assert policy.decide(statements, "ots:GetRange", chain, {}) is Decision.ALLOWED
    assert len(json.dumps(operators.policy(VARIABLES), separators=(",", ":"))) <= policy.DOCUMENT_BYTES_MAX
    writers = {
        function
        for function in EVIDENCE
        for one in permissions.granted(permissions.committed(function))
        if one.resource.endswith("/table/chain") and one.action == "ots:PutRow"
    }
    assert "portal" in writers


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


def _recorded(*calls: tuple[str, str]) -> dict[str, permissions.Calls]:
    found = [permissions.needed(action, f"acs:oss:oss-cn-hangzhou:1:acme-work/{key}", "") for action, key in calls]
    return {"settle": {one.permission: one for one in found}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Committed policies: settle may read seals, and put into quarantine."""
    permissions.write(_recorded(("oss:GetObject", "seals/1/a"), ("oss:PutObject", "quarantine/longer")), tmp_path)
    return tmp_path


def test_what_was_recorded_is_added_to_what_is_committed(folder: Path) -> None:
    more = _recorded(("oss:GetObject", "seals/1"), ("oss:GetObject", "cases/1"))
    permissions.write(permissions.added(more, folder), folder)

    said = {
        (one.permission.action, one.resource.rpartition("-work/")[2]) for one in permissions.evidence(folder)["settle"]
    }
    assert said == {("oss:GetObject", "seals/1"), ("oss:GetObject", "cases/1"), ("oss:PutObject", "quarantine/longer")}
    granted = permissions.granted(permissions.committed("settle", folder))
    assert granted == {one.permission for one in permissions.evidence(folder)["settle"]}


def test_adding_the_same_again_or_nothing_changes_nothing(folder: Path) -> None:
    assert permissions.write(permissions.added({"settle": {}}, folder), folder) == []
    assert permissions.write(permissions.added({}, folder), folder) == []


def test_a_permission_that_was_written_by_hand_is_not_taken_away_unasked(folder: Path) -> None:
    (folder / "evidence.json").write_text("{}")
    with pytest.raises(PolicyProblemError, match=r"settle is granted .*oss:PutObject on .*quarantine.*--forget-others"):
        permissions.added(_recorded(("oss:GetObject", "seals/1")), folder)


def test_damaged_evidence_is_named(folder: Path) -> None:
    (folder / "evidence.json").write_text("{")
    with pytest.raises(PolicyProblemError, match=r"evidence\.json is damaged"):
        permissions.added({}, folder)


def test_only_when_asked_is_what_was_not_recorded_taken_away_and_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = _recorded(("oss:GetObject", "cases/1"))
    monkeypatch.setattr(deploy, "environment", lambda _: {})
    monkeypatch.setattr(deploy, "functions", lambda _: TEMPLATE)
    monkeypatch.setattr(permissions, "recorded", lambda *_: more)
    name = "acs:oss:*:${account}:${buckets}-work"

    deploy.policies_from([], None, forget_others=False, policies=folder)
    said = capsys.readouterr().out
    assert f"+ settle: oss:GetObject on {name}/cases/*" in said
    assert "- settle" not in said

    deploy.policies_from([], None, forget_others=True, policies=folder)
    said = capsys.readouterr().out
    assert f"- settle: oss:PutObject on {name}/quarantine/*" in said
    assert f"- settle: oss:GetObject on {name}/seals/*" in said
    assert permissions.granted(permissions.committed("settle", folder)) == more["settle"].keys()
