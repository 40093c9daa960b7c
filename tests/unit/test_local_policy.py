"""The policy language of the local RAM."""

from __future__ import annotations

import json
from typing import Any

import pytest

from infra.localcloud.ram.policy import Decision, PolicyError, decide, parse

ALLOWED, SILENT, DENIED = Decision.ALLOWED, Decision.IMPLICIT_DENY, Decision.EXPLICIT_DENY
BOOKS = "acs:oss:oss-cn-hangzhou:1:books"


def statement(effect: str = "Allow", **changed: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": "oss:GetObject", "Resource": "acs:oss:*:1:books/a/*", **changed}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "1", "Statement": list(statements)})


def asked(text: str, action: str = "oss:GetObject", key: str = "/a/1", **context: str) -> Decision:
    return decide(parse(text), action, BOOKS + key, {f"oss:{name}": value for name, value in context.items()})


def test_what_nothing_allows_is_denied() -> None:
    assert asked(policy(statement())) is ALLOWED
    assert asked(policy(statement()), key="/b/1") is SILENT
    assert asked(policy(statement()), action="oss:PutObject") is SILENT
    assert decide((), "oss:GetObject", BOOKS) is SILENT


@pytest.mark.parametrize("order", [1, -1])
def test_a_denial_wins_in_whatever_order(order: int) -> None:
    statements = [statement(Resource="*"), statement("Deny", Resource="acs:oss:*:1:books/a/secret*")][::order]
    assert asked(policy(*statements), key="/a/1") is ALLOWED
    assert asked(policy(*statements), key="/a/secret/1") is DENIED


def test_wildcards_stand_for_any_characters_and_for_one() -> None:
    assert asked(policy(statement(Resource="acs:oss:*:*:books/*/1"))) is ALLOWED
    assert asked(policy(statement(Resource="acs:oss:*:1:books/*")), key="/a/b/c") is ALLOWED
    assert asked(policy(statement(Resource="acs:oss:*:1:books/?/1"))) is ALLOWED
    assert asked(policy(statement(Resource="acs:oss:*:1:books/?/1")), key="/aa/1") is SILENT
    assert asked(policy(statement(Action="oss:Get*"))) is ALLOWED
    assert asked(policy(statement(Action=["oss:PutObject", "OSS:GETOBJECT".lower()]))) is ALLOWED


def test_what_is_no_wildcard_stands_for_itself() -> None:
    assert asked(policy(statement(Resource="acs:oss:*:1:books/a.1")), key="/a-1") is SILENT
    assert asked(policy(statement(Resource="acs:oss:*:1:books/a/1")), key="/a/11") is SILENT


def test_a_condition_holds_for_any_of_its_values() -> None:
    listing = statement(
        Action="oss:ListObjects", Resource="acs:oss:*:1:books", Condition={"StringLike": {"oss:Prefix": ["a/*", "b/"]}}
    )
    for prefix, decision in (("a/", ALLOWED), ("a/2", ALLOWED), ("b/", ALLOWED), ("b/2", SILENT), ("", SILENT)):
        assert asked(policy(listing), "oss:ListObjects", "", Prefix=prefix) is decision
    assert asked(policy(listing), "oss:ListObjects", "") is SILENT


def test_all_conditions_must_hold() -> None:
    both = statement(
        Action="oss:ListObjects",
        Resource="*",
        Condition={"StringEquals": {"oss:Delimiter": "/"}, "StringNotLike": {"oss:Prefix": "secret*"}},
    )
    assert asked(policy(both), "oss:ListObjects", "", Prefix="a/", Delimiter="/") is ALLOWED
    assert asked(policy(both), "oss:ListObjects", "", Prefix="secret/", Delimiter="/") is SILENT
    assert asked(policy(both), "oss:ListObjects", "", Prefix="a/", Delimiter="") is SILENT


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("nothing", "is not JSON"),
        ("[]", "an object of Version and Statement"),
        ('{"Version": "2", "Statement": []}', 'Version must be "1"'),
        ('{"Version": "1", "Statement": []}', "at least one statement"),
        (policy(statement(Effect="allow")), "Allow or Deny"),
        (policy(statement(Action=[])), "a text or a list of texts"),
        (policy(statement(Action="GetObject")), "service:ActionName"),
        (policy(statement(Resource="books")), "acs:service:region:account:resource"),
        (policy(statement(NotAction="oss:GetObject")), "NotAction is not implemented here"),
        (policy(statement(Principal="*")), "a statement has no Principal"),
        (policy(statement(Condition={"IpAddress": {"acs:SourceIp": "10.0.0.0/8"}})), "IpAddress is not implemented"),
        (policy(statement(Resource="acs:oss:*:1:" + "b" * 7000)), "longer than 6144 bytes"),
    ],
)
def test_a_document_that_would_mean_something_else_is_refused(text: str, problem: str) -> None:
    with pytest.raises(PolicyError, match=problem):
        parse(text)
