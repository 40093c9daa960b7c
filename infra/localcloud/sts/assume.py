"""AssumeRole (STS 2015-04-01): a key of a role in a payer's account, for a function that the role trusts.

The role's owner says whom it trusts, the caller's policy that it may ask (`sts:AssumeRole`); both are needed.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from infra.localcloud import acs3, identity
from infra.localcloud.common import Keys
from infra.localcloud.ram.policy import Decision

ACTION, VERSION = "AssumeRole", "2015-04-01"
LIFE_LEAST_S, LIFE_MOST_S = 900, 3600  # unless the role's owner raises it, which none does here
_ARN = re.compile(r"acs:ram::(\d{1,20}):role/([A-Za-z0-9.@_-]{1,64})")
_SESSION = re.compile(r"[A-Za-z0-9.@_-]{2,64}")


def role_of(account: str, name: str) -> str:
    """How the token of an assumed role names it: no function's role is named so."""
    return f"{account}:role/{name}"


def payer_of(role: str) -> str | None:
    """The account of an assumed role; None for a function's own."""
    account, found, _ = role.partition(":role/")
    return account if found else None


def assume(
    keys: Keys,
    caller: identity.Caller,
    asked: Callable[[str], str | None],
    trusted: Callable[[str, str], str | None],
    may: Callable[[str, str], Decision],
    now: datetime,
) -> dict[str, Any]:
    """The answer's content; `trusted` tells whom a payer's role trusts, `may` what the caller is allowed."""
    match = _ARN.fullmatch(asked("RoleArn") or "")
    if match is None:
        raise acs3.RpcError(400, "InvalidParameter.RoleArn", "The parameter RoleArn is wrongly formed.")
    if not _SESSION.fullmatch(asked("RoleSessionName") or ""):
        raise acs3.RpcError(400, "InvalidParameter.RoleSessionName", "The parameter RoleSessionName is wrongly formed.")
    life = asked("DurationSeconds") or str(LIFE_MOST_S)
    if not life.isdecimal() or not LIFE_LEAST_S <= int(life) <= LIFE_MOST_S:
        text = "The Min/Max value of DurationSeconds is 15min/1hr."
        raise acs3.RpcError(400, "InvalidParameter.DurationSeconds", text)
    arn, account, name = match[0], match[1], match[2]
    if caller == identity.MAIN_ACCOUNT:
        raise acs3.RpcError(403, "NoPermission", "Roles may not be assumed by root accounts.")
    whom = trusted(account, name)
    if whom is None:
        raise acs3.RpcError(404, "EntityNotExist.Role", f"The role not exists : {arn} .")
    if whom != keys.account_id or may("sts:AssumeRole", arn) is not Decision.ALLOWED:
        text = "You are not authorized to do this action. You should be authorized by RAM."
        raise acs3.RpcError(403, "NoPermission", text)
    return _answer(keys, match, str(asked("RoleSessionName")), now, timedelta(seconds=int(life)))


def _answer(keys: Keys, arn: re.Match[str], session: str, now: datetime, life: timedelta) -> dict[str, Any]:
    key = identity.issue(keys, role_of(arn[1], arn[2]), session, secrets.token_hex(4), now, life)
    return {
        "AssumedRoleUser": {"Arn": f"acs:ram::{arn[1]}:role/{arn[2]}/{session}", "AssumedRoleId": f"3000:{session}"},
        "Credentials": {
            "AccessKeyId": key.access_key_id,
            "AccessKeySecret": key.access_key_secret,
            "SecurityToken": key.security_token,
            "Expiration": (now + life).strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }
