"""Verifies signatures of version 4 (`SLS4-HMAC-SHA256`), from "Request signatures" of Log Service's API reference.

Every content-type, host, x-log- and x-acs- header is signed. Times are the system's, because signers know no other.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from infra.localcloud.common import Keys
from infra.localcloud.sls import errors

ALGORITHM: Final = "SLS4-HMAC-SHA256"
SKEW_MAX: Final = timedelta(minutes=15)
_AUTHORIZATION: Final = re.compile(
    rf"{ALGORITHM} Credential=(?P<key>[^/]+)/(?P<date>\d{{8}})/(?P<region>[^/]*)/sls/aliyun_v4_request,"
    r"Signature=(?P<signature>\w+)"
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it was signed; header names in lower case, path and query decoded."""

    method: str
    path: str
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes


def verify(request: Request, keys: Keys, now: datetime) -> None:
    """Return when the main account signed the request; raise the refusal otherwise."""
    match = _AUTHORIZATION.fullmatch(request.headers.get("authorization", ""))
    if match is None:
        raise errors.unauthorized(f"the Authorization header is not of the form {ALGORITHM} Credential=...,Signature=")
    if match["key"] != keys.access_key_id:
        raise errors.unauthorized(f"AccessKeyId not found: {match['key']}")
    time = _time(request.headers.get("x-log-date", ""), now)
    content = hashlib.sha256(request.body).hexdigest()
    scope = f"{match['date']}/{match['region']}/sls/aliyun_v4_request"
    canonical = hashlib.sha256(_canonical(request, content).encode()).hexdigest()
    text = f"{ALGORITHM}\n{time}\n{scope}\n{canonical}"
    key = f"aliyun_v4{keys.access_key_secret}".encode()
    for step in (match["date"], match["region"], "sls", "aliyun_v4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    expected = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    is_right = hmac.compare_digest(expected, match["signature"])
    is_stated = request.headers.get("x-log-content-sha256") == content
    if not (is_right and is_stated and match["region"] == keys.region and time.startswith(match["date"])):
        raise errors.signature_not_match(match["signature"])


def _time(text: str, now: datetime) -> str:
    try:
        signed = datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise errors.unauthorized("x-log-date is missing or malformed") from None
    if abs(now - signed) > SKEW_MAX:
        raise errors.time_expired()
    return text


def _canonical(request: Request, content: str) -> str:
    query = "&".join(f"{name}={_encode(value)}" if value else name for name, value in sorted(request.query))
    signed = {
        name: value.strip()
        for name, value in sorted(request.headers.items())
        if name in ("content-type", "host") or name.startswith(("x-log-", "x-acs-"))
    }
    headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
    return "\n".join((request.method, request.path, query, headers, ";".join(signed), content))


def _encode(text: str) -> str:
    return quote(text, safe="~")
