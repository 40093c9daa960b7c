"""The gateway that all RPC services answer behind: ACS3-HMAC-SHA256 signatures, nonces, and its refusals.

Verified from the documentation of the signature ("V3 request structure and signature mechanism") and not from an
SDK's code. Time and nonces follow the system clock, because the SDKs that sign know no other. The services behind it
are called with access keys of accounts: a security token that comes along is part of what was signed and is not
looked at further.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

ALGORITHM = "ACS3-HMAC-SHA256"
SKEW_S = 15 * 60
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<key>[^,\s]+),\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>\w+)$"
)
# What must have been signed, or a request could be bent into another on its way.
_MUST_SIGN = frozenset(
    {"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
)


class RpcError(Exception):
    """A call that is refused with an HTTP error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was signed; header names in lower case, the query decoded."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


def verify(
    request: Request,
    now: datetime,
    secret_of: Callable[[str], str | None],
    take_nonce: Callable[[str, str], bool],
) -> str:
    """The access key id that signed `request`; raises RpcError where it is not, or no longer, a valid request.

    `take_nonce` remembers (access key id, nonce) and says whether it is new; it is asked last, so that a request
    that was refused uses up no nonce.
    """
    match = _AUTHORIZATION.match(request.headers.get("authorization", ""))
    if match is None:
        raise incomplete_signature(f"the Authorization header is not of the form {ALGORITHM} Credential=...")
    signed = match["headers"].split(";")
    if missing := sorted((_MUST_SIGN - set(signed)) | (set(signed) - request.headers.keys())):
        raise incomplete_signature(f"unsigned or absent headers: {', '.join(missing)}")
    _check_time(request.headers["x-acs-date"], now)
    key_id = match["key"]
    secret = secret_of(key_id)
    if secret is None:
        raise unknown_access_key()
    canonical = canonical_request(request, signed)
    string_to_sign = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    expected = hmac.new(secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, match["signature"]):
        raise signature_does_not_match(string_to_sign)
    if hashlib.sha256(request.body).hexdigest() != request.headers["x-acs-content-sha256"]:
        raise signature_does_not_match("the body has another digest than x-acs-content-sha256")
    if not take_nonce(key_id, request.headers["x-acs-signature-nonce"]):
        raise nonce_used()
    return key_id


def canonical_request(request: Request, signed: Sequence[str]) -> str:
    """The text that is hashed and signed (help.aliyun.com, "V3 request structure and signature mechanism")."""
    query = "&".join(f"{_encode(name)}={_encode(value)}" for name, value in sorted(request.query))
    headers = "".join(f"{name}:{request.headers[name].strip()}\n" for name in sorted(signed))
    digest = request.headers["x-acs-content-sha256"]
    return "\n".join((request.method, request.path, query, headers, ";".join(sorted(signed)), digest))


def _encode(text: str) -> str:
    return quote(text, safe="-_.~")


def _check_time(text: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise malformed_timestamp() from None
    if abs((now - signed_at).total_seconds()) > SKEW_S:
        raise expired_timestamp()


class Nonces:
    """Used nonces, in a file of their own: a bulk load may hold another file's write lock for long."""

    _PURGE_EVERY = 1000
    _WAIT_S = 30.0

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=self._WAIT_S, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=OFF")
        self._connection.execute(
            "CREATE TABLE IF NOT EXISTS nonce(key TEXT, nonce TEXT, until REAL, PRIMARY KEY(key, nonce)) WITHOUT ROWID"
        )
        self._taken = 0

    def take(self, key: str, nonce: str, now_s: float, keep_s: float = 2 * SKEW_S) -> bool:
        """Remember a nonce for `keep_s` seconds; False where it was used before.

        A signature stays valid from one skew before its date to one after it, hence the default.
        """
        if self._taken % self._PURGE_EVERY == 0:
            self._connection.execute("DELETE FROM nonce WHERE until < ?", (now_s,))
        self._taken += 1
        cursor = self._connection.execute("INSERT OR IGNORE INTO nonce VALUES(?, ?, ?)", (key, nonce, now_s + keep_s))
        return cursor.rowcount == 1


def action_not_found(action: str) -> RpcError:
    """The service's form for an action it does not have, said of one that only the local stand-in lacks."""
    return RpcError(404, "InvalidAction.NotFound", f"{action} is not implemented here")


def invalid_version(version: str) -> RpcError:
    """The API version is not the one served."""
    return RpcError(400, "InvalidVersion", f"Specified parameter Version is not valid: {version!r}.")


def incomplete_signature(detail: str) -> RpcError:
    """The request lacks something that a signed request carries."""
    text = "The request signature does not conform to Alibaba Cloud standards"
    return RpcError(400, "IncompleteSignature", f"{text}: {detail}.")


def signature_does_not_match(string_to_sign: str) -> RpcError:
    """Another secret, or another request, was signed."""
    text = "Specified signature is not matched with our calculation. server string to sign is:"
    return RpcError(400, "SignatureDoesNotMatch", text + string_to_sign)


def unknown_access_key() -> RpcError:
    """No account has the access key."""
    return RpcError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")


def malformed_timestamp() -> RpcError:
    """x-acs-date is no instant in UTC."""
    return RpcError(400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")


def expired_timestamp() -> RpcError:
    """x-acs-date is too far from now."""
    return RpcError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")


def nonce_used() -> RpcError:
    """The request was seen before."""
    return RpcError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")


def throttled() -> RpcError:
    """The main account's quota for the call is used up; the answer has no x-acs-retry-after header."""
    return RpcError(400, "Throttling.User", "Request was denied due to user flow control.")


def internal_error() -> RpcError:
    """Something that the service did not expect; its log says what."""
    return RpcError(500, "InternalError", "The request processing has failed due to some unknown error.")
