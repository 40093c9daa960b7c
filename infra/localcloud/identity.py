"""Temporary credentials without a service: what a function instance signs with, and who that makes the caller.

A key id is made from what the token says, its secret from the key id, both with a secret of `keys.json`. So every
service that knows the keys can tell the caller by itself, and nothing is stored. Times are the system's, because
the SDKs that sign know no other.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from infra.localcloud.common import Keys

LIFETIME = timedelta(hours=36)  # Function Compute's (help.aliyun.com/document_detail/422182)
PREFIX = "STS."


class CredentialsError(Exception):
    """These are the credentials of nobody; each service has its own answer for each kind."""


class UnknownKeyError(CredentialsError):
    """No account has the access key, or it is a temporary one that came without its token."""


class InvalidTokenError(CredentialsError):
    """The security token was not issued here, or belongs to another access key."""


class ExpiredTokenError(CredentialsError):
    """The security token was good once."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller signs with; an access key of an account has no token."""

    access_key_id: str
    access_key_secret: str
    security_token: str

    def __repr__(self) -> str:
        return f"Credentials(access_key_id={self.access_key_id!r})"  # neither secret nor token reaches a log


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: an instance of a function in its role, or with role "" the main account itself."""

    role: str
    function: str
    instance: str


MAIN_ACCOUNT = Caller("", "", "")


def issue(
    keys: Keys, role: str, function: str, instance: str, now: datetime, lifetime: timedelta = LIFETIME
) -> Credentials:
    """Credentials of `role` for one instance, good for `lifetime` from `now` (the system's time)."""
    said = {"role": role, "function": function, "instance": instance, "expires": (now + lifetime).timestamp()}
    payload = json.dumps(said, separators=(",", ":")).encode()
    token = base64.urlsafe_b64encode(_mac(keys, "token", payload) + payload).decode()
    key_id = _key_id(keys, payload)
    return Credentials(key_id, _secret(keys, key_id), token)


def caller_of(keys: Keys, access_key_id: str, token: str, now: datetime) -> tuple[Caller, str]:
    """Who signs with this key id and token ("" when none came), and the secret that the signature must come from.

    Raises a CredentialsError; an expired token is only told from an invalid one when it was issued here.
    """
    if hmac.compare_digest(access_key_id.encode(), keys.access_key_id.encode()):
        if token:
            raise InvalidTokenError("an account's own access key has no security token")
        return MAIN_ACCOUNT, keys.access_key_secret
    if not access_key_id.startswith(PREFIX) or not token:
        raise UnknownKeyError(access_key_id)
    payload = _payload(keys, token)
    if not hmac.compare_digest(_key_id(keys, payload).encode(), access_key_id.encode()):
        raise InvalidTokenError("the security token belongs to another access key")
    said = json.loads(payload)
    if now >= datetime.fromtimestamp(said["expires"], UTC):
        raise ExpiredTokenError(f"the security token expired at {datetime.fromtimestamp(said['expires'], UTC)}")
    return Caller(said["role"], said["function"], said["instance"]), _secret(keys, access_key_id)


def _payload(keys: Keys, token: str) -> bytes:
    try:
        sealed = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        sealed = b""
    seal, payload = sealed[: hashlib.sha256().digest_size], sealed[hashlib.sha256().digest_size :]
    if not hmac.compare_digest(seal, _mac(keys, "token", payload)):
        raise InvalidTokenError("the security token was not issued here")
    return payload


def _key_id(keys: Keys, payload: bytes) -> str:
    return PREFIX + base64.b32encode(_mac(keys, "key id", payload)).decode()[:24]


def _secret(keys: Keys, key_id: str) -> str:
    return base64.urlsafe_b64encode(_mac(keys, "secret", key_id.encode())).decode()[:40]


def _mac(keys: Keys, purpose: str, text: bytes) -> bytes:
    """A MAC for one purpose: none of the three can be had from another."""
    return hmac.digest(keys.access_key_secret.encode(), f"sts {purpose}\0".encode() + text, "sha256")
