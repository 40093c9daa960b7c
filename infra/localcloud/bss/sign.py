"""Verification of ACS3-HMAC-SHA256 signatures, from their documentation and not from an SDK's code.

Time and nonces follow the system clock, because the SDKs that sign know no other. The local cloud issues no STS
tokens: one that comes along is part of what was signed and is not looked at further.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from infra.localcloud.bss import errors

ALGORITHM = "ACS3-HMAC-SHA256"
SKEW_S = 15 * 60
_AUTHORIZATION = re.compile(
    rf"{ALGORITHM} Credential=(?P<key>[^,\s]+),\s*SignedHeaders=(?P<headers>[^,\s]+),\s*Signature=(?P<signature>\w+)$"
)
# What must have been signed, or a request could be bent into another on its way.
_MUST_SIGN = frozenset(
    {"host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"}
)


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
    """The access key id that signed `request`; raises BssError where it is not, or no longer, a valid request.

    `take_nonce` remembers (access key id, nonce) and says whether it is new; it is asked last, so that a request
    that was refused uses up no nonce.
    """
    match = _AUTHORIZATION.match(request.headers.get("authorization", ""))
    if match is None:
        raise errors.incomplete_signature(f"the Authorization header is not of the form {ALGORITHM} Credential=...")
    signed = match["headers"].split(";")
    if missing := sorted((_MUST_SIGN - set(signed)) | (set(signed) - request.headers.keys())):
        raise errors.incomplete_signature(f"unsigned or absent headers: {', '.join(missing)}")
    _check_time(request.headers["x-acs-date"], now)
    key_id = match["key"]
    secret = secret_of(key_id)
    if secret is None:
        raise errors.unknown_access_key()
    canonical = canonical_request(request, signed)
    string_to_sign = f"{ALGORITHM}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    expected = hmac.new(secret.encode(), string_to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, match["signature"]):
        raise errors.signature_does_not_match(string_to_sign)
    if hashlib.sha256(request.body).hexdigest() != request.headers["x-acs-content-sha256"]:
        raise errors.signature_does_not_match("the body has another digest than x-acs-content-sha256")
    if not take_nonce(key_id, request.headers["x-acs-signature-nonce"]):
        raise errors.nonce_used()
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
        raise errors.malformed_timestamp() from None
    if abs((now - signed_at).total_seconds()) > SKEW_S:
        raise errors.expired_timestamp()
