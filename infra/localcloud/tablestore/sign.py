"""Who may call: the signatures of requests (V2, V4) and of answers, the body's MD5, the date.

Source: the signing rules of help.aliyun.com/en/tablestore/developer-reference/signature, confirmed against the
Python SDK 6.4.8 on the wire. Written from the rules; the SDK's own signer is not called. A session token
(x-ots-ststoken) is covered by the signature like every x-ots- header.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from infra.localcloud import identity
from infra.localcloud.common import Keys
from infra.localcloud.tablestore.errors import auth_failed, invalid

PREFIX = "x-ots-"
SKEW_MAX = timedelta(minutes=15)
REQUIRED = ("x-ots-date", "x-ots-apiversion", "x-ots-accesskeyid", "x-ots-instancename", "x-ots-contentmd5")


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller whose signature was right, and the key that signs the answer to it."""

    identity: identity.Caller
    access_key_id: str
    signing_key: bytes


def authenticate(path: str, query: str, headers: Mapping[str, str], body: bytes, keys: Keys, now: datetime) -> Caller:
    """The caller of this request, or OtsError. `headers` have lower-case names; `now` is the system's time."""
    ots = {name: value.strip() for name, value in headers.items() if name.startswith(PREFIX)}
    for name in REQUIRED:
        if name not in ots:
            raise invalid(f"Missing header: '{name}'.")
    _check_date(ots["x-ots-date"], now)
    who, secret = _identify(ots, keys, now)
    if ots["x-ots-instancename"] != keys.instance:
        raise auth_failed("The instance is not found.")
    signing_key = _check_signature(f"{path}\nPOST\n{_sorted_query(query)}\n", ots, secret, keys.region, now)
    if ots["x-ots-contentmd5"] != content_md5(body):
        raise auth_failed("Mismatch between MD5 value of request body and x-ots-contentmd5 in header.")
    return Caller(who, ots["x-ots-accesskeyid"], signing_key)


def content_md5(body: bytes) -> str:
    """The MD5 of a body as the headers carry it."""
    return base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()


def answer_authorization(path: str, headers: Mapping[str, str], caller: Caller) -> str:
    """The Authorization header of an answer; it covers the answer's x-ots- headers and the path."""
    text = f"{_canonical(headers)}\n{path}"
    return f"OTS {caller.access_key_id}:{_hmac(caller.signing_key, text, 'sha1')}"


def _identify(ots: Mapping[str, str], keys: Keys, now: datetime) -> tuple[identity.Caller, str]:
    """Who calls, and the secret the signature must come from."""
    try:
        return identity.caller_of(keys, ots["x-ots-accesskeyid"], ots.get("x-ots-ststoken", ""), now)
    except identity.ExpiredTokenError:
        raise auth_failed("The STS token has expired.") from None  # text from memory, as the next one
    except identity.InvalidTokenError:
        raise auth_failed("The STS token is invalid.") from None
    except identity.UnknownKeyError:
        raise auth_failed("The AccessKeyID does not exist.") from None


def _check_date(text: str, now: datetime) -> None:
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise invalid(f"Invalid date format: {text}.") from None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    if abs(date - now) > SKEW_MAX:
        raise auth_failed(f"Mismatch between system time and x-ots-date: {text}.")


def _check_signature(start: str, ots: dict[str, str], secret: str, region: str, now: datetime) -> bytes:
    """Compare the signature with ours; the key that made it."""
    given_v4, given_v2 = ots.pop("x-ots-signaturev4", None), ots.pop("x-ots-signature", None)
    if given_v4 is not None:
        key = _v4_key(secret, _sign_date(ots, now), _sign_region(ots, region))
        given, wanted = given_v4, _hmac(key, f"{start}{_canonical(ots)}\nots", "sha256")
    elif given_v2 is not None:
        key = secret.encode()
        given, wanted = given_v2, _hmac(key, f"{start}{_canonical(ots)}\n", "sha1")
    else:
        raise invalid("Missing header: 'x-ots-signature'.")
    if not hmac.compare_digest(given.encode(), wanted.encode()):
        raise auth_failed("Signature mismatch.")
    return key


def _sign_date(ots: Mapping[str, str], now: datetime) -> str:
    """The day the V4 key is for: today in UTC, or a neighbour within the allowed skew."""
    date = ots.get("x-ots-signdate", "")
    if date not in {(now + skew).strftime("%Y%m%d") for skew in (-SKEW_MAX, SKEW_MAX)}:
        raise auth_failed("Signature mismatch.")
    return date


def _sign_region(ots: Mapping[str, str], region: str) -> str:
    if ots.get("x-ots-signregion") != region:
        raise auth_failed("Signature mismatch.")
    return region


@functools.lru_cache(maxsize=256)
def _v4_key(secret: str, date: str, region: str) -> bytes:
    key = f"aliyun_v4{secret}".encode()
    for part in (date, region, "ots", "aliyun_v4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return base64.b64encode(key)


def _canonical(headers: Mapping[str, str]) -> str:
    return "\n".join(sorted(f"{name}:{value}" for name, value in headers.items()))


def _sorted_query(query: str) -> str:
    return urlencode(sorted(parse_qsl(query)))


def _hmac(key: bytes, text: str, method: str) -> str:
    return base64.b64encode(hmac.digest(key, text.encode(), method)).decode()
