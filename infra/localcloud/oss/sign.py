"""Verifies signatures of version 4 (`OSS4-HMAC-SHA256`), in the header and in the URL.

Written from the documents "Include a V4 signature in the Authorization header" and "Include a V4 signature in a
URL" (help.aliyun.com/en/oss/developer-reference); it shares nothing with an SDK's signer, so that a mistake of
the signer shows. Times are the system's, because signers know no other.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final
from urllib.parse import quote

from infra.localcloud import identity
from infra.localcloud.common import Keys
from infra.localcloud.identity import Caller
from infra.localcloud.oss.errors import OssError, access_denied, invalid_argument, not_implemented

ALGORITHM: Final = "OSS4-HMAC-SHA256"
PAYLOAD: Final = "UNSIGNED-PAYLOAD"
TERMINATOR: Final = "aliyun_v4_request"
TIME_FORMAT: Final = "%Y%m%dT%H%M%SZ"
SKEW_MAX: Final = timedelta(minutes=15)  # help/en/oss/support/0002-00000504 and 0002-00000235
EXPIRES_MAX_S: Final = 604_800  # seven days
TOKEN_HEADER: Final = "x-oss-security-token"  # noqa: S105 - a name, and of the parameter too
ALWAYS_SIGNED: Final = frozenset({"content-type", "content-md5"})


@dataclass(frozen=True, slots=True)
class Request:
    """What of a request is signed. Bucket, key and query are decoded; header names are lower case."""

    method: str
    bucket: str
    key: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Claim:
    """What a request says of its own signature."""

    access_key_id: str
    token: str
    scope: str
    time: str
    additional: tuple[str, ...]
    signature: str


def verify(request: Request, keys: Keys, now: datetime) -> Caller:
    """Who signed it, with an account's key or temporary credentials; raises the refusal OSS gives otherwise."""
    query = dict(request.query)
    for name in ("authorization", "x-oss-date"):
        _check_ascii(name, request.headers.get(name, ""))
    for name, value in query.items():
        if name.startswith("x-oss-"):
            _check_ascii(name, value)
    if "x-oss-signature-version" in query or "x-oss-signature" in query:
        claim = _claim_of_url(query)
        caller, secret = _check_credential(claim, keys, now)
        _check_validity(claim, query.get("x-oss-expires", ""), now)
    else:
        claim = _claim_of_header(request.headers, query)
        caller, secret = _check_credential(claim, keys, now)
        _check_skew(claim, now)
    _check_signature(request, claim, secret)
    return caller


def _claim_of_url(query: Mapping[str, str]) -> _Claim:
    version = query.get("x-oss-signature-version", "")
    if version != ALGORITHM:
        raise not_implemented(f"signature version {version or 'without a name'} (V4 is)")
    for name in ("x-oss-credential", "x-oss-date", "x-oss-expires", "x-oss-signature"):
        if not query.get(name):
            raise invalid_argument(name, "", f"The {name} parameter is required by a V4 signature.")
    access_key_id, scope = _split_credential(query["x-oss-credential"])
    additional = _additional(query.get("x-oss-additional-headers", ""))
    token = query.get(TOKEN_HEADER, "")
    return _Claim(access_key_id, token, scope, query["x-oss-date"], additional, query["x-oss-signature"])


def _claim_of_header(headers: Mapping[str, str], query: Mapping[str, str]) -> _Claim:
    authorization = headers.get("authorization", "")
    version, _, rest = authorization.partition(" ")
    if not authorization:
        if "Signature" in query or "OSSAccessKeyId" in query:
            raise not_implemented("signature version 1 (V4 is)")
        raise access_denied("You have no right to access this object because of bucket acl.", ec="0003-00000001")
    if version != ALGORITHM:
        raise not_implemented(f"signature scheme {version} (V4, {ALGORITHM}, is)")
    fields = dict(field.strip().partition("=")[::2] for field in rest.split(","))
    if not fields.get("Credential") or not fields.get("Signature"):
        # help/en/oss/support/0002-00000202
        raise invalid_argument("Authorization", authorization, "Authorization header is invalid.", ec="0002-00000202")
    if "AdditionalHeaders" in fields and not fields["AdditionalHeaders"]:
        raise invalid_argument("Authorization", authorization, "AdditionalHeaders is empty.", ec="0002-00000209")
    payload = headers.get("x-oss-content-sha256", "")
    if payload != PAYLOAD:
        raise invalid_argument("x-oss-content-sha256", payload, f"x-oss-content-sha256 must be {PAYLOAD}.")
    access_key_id, scope = _split_credential(fields["Credential"])
    additional = _additional(fields.get("AdditionalHeaders", ""))
    token, time = headers.get(TOKEN_HEADER, ""), headers.get("x-oss-date", "")
    return _Claim(access_key_id, token, scope, time, additional, fields["Signature"])


def _check_ascii(name: str, value: str) -> None:
    if not value.isascii():
        raise invalid_argument(name, value, f"{name} is invalid.")


def _split_credential(credential: str) -> tuple[str, str]:
    access_key_id, _, scope = credential.partition("/")
    if scope.count("/") != 3:
        text = f"The credential must read <AccessKeyId>/<date>/<region>/oss/{TERMINATOR}."
        raise invalid_argument("Credential", credential, text)
    return access_key_id, scope


def _additional(text: str) -> tuple[str, ...]:
    return tuple(sorted(name.lower() for name in text.split(";") if name))


def _check_credential(claim: _Claim, keys: Keys, now: datetime) -> tuple[Caller, str]:
    """The caller and the secret the signature must come from."""
    try:
        found = identity.caller_of(keys, claim.access_key_id, claim.token, now)
    except identity.ExpiredTokenError:  # help/en/oss/support/0002-00000007
        raise OssError(
            403, "SecurityTokenExpired", "The security token you provided has expired.", ec="0002-00000007"
        ) from None
    except identity.InvalidTokenError:  # help/en/oss/support/0002-00000008
        raise OssError(
            403, "InvalidSecurityToken", "The security token you provided is invalid.", ec="0002-00000008"
        ) from None
    except identity.UnknownKeyError:
        raise OssError(
            403,
            "InvalidAccessKeyId",
            "The OSS Access Key Id you provided does not exist in our records.",
            ec="0002-00000902",
            fields={"OSSAccessKeyId": claim.access_key_id},
        ) from None
    date, region, product, terminator = claim.scope.split("/")
    if date != claim.time[:8]:
        raise invalid_argument("Credential", claim.scope, "The date of the credential is not that of x-oss-date.")
    if region != keys.region:
        raise invalid_argument("Credential", region, f"Invalid signing region {region}; expected {keys.region}.")
    if product != "oss" or terminator != TERMINATOR:
        raise invalid_argument("Credential", claim.scope, f"The scope must end with oss/{TERMINATOR}.")
    return found


def _signing_time(claim: _Claim) -> datetime:
    try:
        return datetime.strptime(claim.time, TIME_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise access_denied("OSS authentication requires a valid x-oss-date.") from None


def _check_skew(claim: _Claim, now: datetime) -> None:
    signed = _signing_time(claim)
    if abs(now - signed) > SKEW_MAX:
        raise OssError(
            403,
            "RequestTimeTooSkewed",
            "The difference between the request time and the current time is too large.",
            ec="0002-00000504",
            fields={
                "MaxAllowedSkewMilliseconds": str(int(SKEW_MAX.total_seconds() * 1000)),
                "RequestTime": f"{signed:%Y-%m-%dT%H:%M:%S.000Z}",
                "ServerTime": f"{now:%Y-%m-%dT%H:%M:%S.000Z}",
            },
        )


def _check_validity(claim: _Claim, expires: str, now: datetime) -> None:
    if not (expires.isascii() and expires.isdigit()) or not 1 <= int(expires[:12]) <= EXPIRES_MAX_S:
        text = f"x-oss-expires must be between 1 and {EXPIRES_MAX_S} seconds."
        raise invalid_argument("x-oss-expires", expires, text, ec="0002-00000232")
    signed = _signing_time(claim)
    if now < signed - SKEW_MAX:
        raise access_denied("Request is not yet valid.", ec="0002-00000235")
    end = signed + timedelta(seconds=int(expires))
    if now >= end:
        fields = {"Expires": f"{end:%Y-%m-%dT%H:%M:%S.000Z}", "ServerTime": f"{now:%Y-%m-%dT%H:%M:%S.000Z}"}
        raise access_denied("Request has expired.", fields=fields)


def _check_signature(request: Request, claim: _Claim, secret: str) -> None:
    canonical = _canonical_request(request, claim.additional)
    digest = hashlib.sha256(canonical).hexdigest()
    text = f"{ALGORITHM}\n{claim.time}\n{claim.scope}\n{digest}"
    date, region, _, _ = claim.scope.split("/")
    key = _signing_key(secret, date, region)
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected.encode(), claim.signature.encode()):
        raise OssError(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
            fields={
                "OSSAccessKeyId": claim.access_key_id,
                "SignatureProvided": claim.signature,
                "StringToSign": text,
                "CanonicalRequest": canonical.decode(errors="replace"),
            },
        )


def _canonical_request(request: Request, additional: tuple[str, ...]) -> bytes:
    path = f"/{request.bucket}/{request.key}" if request.bucket else "/"
    lines = [
        request.method,
        _encode(path, "/"),
        _canonical_query(request.query),
        _canonical_headers(request.headers, additional),
        ";".join(additional),
        request.headers.get("x-oss-content-sha256", PAYLOAD),
    ]
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _canonical_query(query: Sequence[tuple[str, str]]) -> str:
    # The signature covers every parameter but itself; one without a value stands without its "=".
    pairs = sorted((_encode(name), _encode(value)) for name, value in query if name != "x-oss-signature")
    return "&".join(f"{name}={value}" if value else name for name, value in pairs)


def _canonical_headers(headers: Mapping[str, str], additional: tuple[str, ...]) -> str:
    signed = (
        f"{name}:{value.strip()}\n"
        for name, value in sorted(headers.items())
        if name.startswith("x-oss-") or name in ALWAYS_SIGNED or name in additional
    )
    return "".join(signed)


def _encode(text: str, safe: str = "") -> str:
    # quote() leaves exactly the letters, digits and "_.-~" of the document as they are.
    return quote(text, safe=safe, errors="surrogateescape")


@lru_cache(maxsize=256)
def _signing_key(secret: str, date: str, region: str) -> bytes:
    key = f"aliyun_v4{secret}".encode()
    for step in (date, region, "oss", TERMINATOR):
        key = hmac.new(key, step.encode(), hashlib.sha256).digest()
    return key
