"""Temporary credentials of the local cloud: whose they are, and whose they are not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta

import pytest

from infra.localcloud import identity
from infra.localcloud.common import Keys
from infra.localcloud.identity import Caller, ExpiredTokenError, InvalidTokenError, UnknownKeyError, caller_of, issue

KEYS = Keys("1000000000000001", "cn-hangzhou", "LTAImain", "main-secret", "clearbook", "control")
OTHER = Keys("1000000000000001", "cn-hangzhou", "LTAIother", "another-secret", "clearbook", "control")
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MADE = issue(KEYS, "settle-role", "settle", "settle-1", NOW)


def test_a_service_that_knows_the_keys_tells_the_caller_and_the_secret_it_signs_with() -> None:
    assert caller_of(KEYS, MADE.access_key_id, MADE.security_token, NOW) == (
        Caller("settle-role", "settle", "settle-1"),
        MADE.access_key_secret,
    )
    assert MADE.access_key_id.startswith("STS.")


def test_the_accounts_own_key_is_the_main_account() -> None:
    assert caller_of(KEYS, "LTAImain", "", NOW) == (Caller("", "", ""), "main-secret")


def test_each_instance_has_credentials_of_its_own() -> None:
    second = issue(KEYS, "settle-role", "settle", "settle-2", NOW)
    assert {second.access_key_id, second.access_key_secret, second.security_token}.isdisjoint(
        {MADE.access_key_id, MADE.access_key_secret, MADE.security_token}
    )


def test_credentials_end_after_their_lifetime() -> None:
    end = NOW + identity.LIFETIME
    caller_of(KEYS, MADE.access_key_id, MADE.security_token, end - timedelta(seconds=1))
    with pytest.raises(ExpiredTokenError):
        caller_of(KEYS, MADE.access_key_id, MADE.security_token, end)


def test_a_temporary_key_without_its_token_is_a_key_nobody_has() -> None:
    with pytest.raises(UnknownKeyError):
        caller_of(KEYS, MADE.access_key_id, "", NOW)
    with pytest.raises(UnknownKeyError):
        caller_of(KEYS, "LTAIwho", MADE.security_token, NOW)


def test_a_token_does_not_go_with_another_key() -> None:
    second = issue(KEYS, "sweep-role", "sweep", "sweep-1", NOW)
    with pytest.raises(InvalidTokenError, match="another access key"):
        caller_of(KEYS, MADE.access_key_id, second.security_token, NOW)
    with pytest.raises(InvalidTokenError, match="has no security token"):
        caller_of(KEYS, "LTAImain", MADE.security_token, NOW)


def test_a_token_of_another_cloud_is_refused() -> None:
    foreign = issue(OTHER, "settle-role", "settle", "settle-1", NOW)
    with pytest.raises(InvalidTokenError, match="not issued here"):
        caller_of(KEYS, foreign.access_key_id, foreign.security_token, NOW)


def test_a_token_that_promises_more_than_was_issued_is_refused() -> None:
    sealed = base64.urlsafe_b64decode(MADE.security_token)
    said = {**json.loads(sealed[32:]), "role": "everything"}
    forged = base64.urlsafe_b64encode(sealed[:32] + json.dumps(said, separators=(",", ":")).encode()).decode()
    for token in (forged, "ü", "!", "AAAA"):
        with pytest.raises(InvalidTokenError):
            caller_of(KEYS, MADE.access_key_id, token, NOW)


def test_secrets_do_not_show_when_credentials_are_printed() -> None:
    assert MADE.access_key_secret not in repr(MADE)
    assert MADE.security_token not in repr(MADE)
