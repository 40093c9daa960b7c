"""The commands as clients of the portal, which alone decides: what is asked, who asks it, and what it answers.

Whatever is asked is safe to repeat, so a request whose answer was lost is sent again.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from infra.clearbook.context import environment
from shared.cloud.issuer import LOOPBACK
from shared.errors import ClearbookError, SettingError

_TRIES_MAX = 8
_PAUSE_S = 0.1  # before the second try; it doubles
_TIMEOUT_S = 130.0  # a little more than the function has
_AGAIN = (429, 502, 503, 504)
Send = Callable[[str, str, bytes], tuple[int, bytes]]  # method, path and body to status and body


class RefusedError(ClearbookError):
    """The portal says no: its code and its reason."""

    def __init__(self, code: str, detail: str, *, retryable: bool = False) -> None:
        super().__init__(detail)
        self.code, self.retryable = code, retryable


class UnreachableError(ClearbookError):
    """Nothing that answers like the portal or the issuer is there."""

    code = "unreachable"
    retryable = True


class Portal:
    """The portal, as one person speaks to it."""

    def __init__(self, send: Send) -> None:
        self._send = send

    def get(self, path: str) -> dict[str, Any]:
        """What it answers; raises RefusedError."""
        return self._answer("GET", path, b"")

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """What it answers; raises RefusedError."""
        return self._answer("POST", path, json.dumps(body, ensure_ascii=False).encode())

    def propose(self, act: str, asked: Mapping[str, Any], why: str) -> dict[str, Any]:
        """What was proposed, as the approver is to see it, and notes."""
        return self.post("/v1/proposals", {"act": act, "asked": asked, "why": why})

    def approve(self, name: str, seen: str = "") -> dict[str, Any]:
        """What the approval came to; with `seen` only while the proposal looks as it was shown."""
        return self.post("/v1/proposals/approve", {"name": name, **({"seen": seen} if seen else {})})

    def _answer(self, method: str, path: str, body: bytes) -> dict[str, Any]:
        status, answered = self._send(method, path, body)
        try:
            found = json.loads(answered)
            if 200 <= status < 300:
                return dict(found)
            refused = RefusedError(found["code"], found["detail"], retryable=status in _AGAIN)
        except (ValueError, TypeError, LookupError) as exc:
            said = answered[:200].decode(errors="replace")
            raise UnreachableError(f"the portal answers {status} {said!r}; check CLEARBOOK_PORTAL") from exc
        raise refused


def portal(home: Path | None, by: str) -> Portal:
    """The portal as `by` speaks to it, who signed in; at a local cloud people sign in by themselves."""
    from infra.clearbook.login import token_of

    settings = environment(home)
    url = settings.get("CLEARBOOK_PORTAL", "").rstrip("/")
    if not url:
        raise SettingError("CLEARBOOK_PORTAL", "is not set", "give the address of the function portal's HTTP trigger")
    headers = {"Authorization": f"Bearer {token_of(home, settings, by)}", "Content-Type": "application/json"}
    return Portal(lambda method, path, body: exchange(method, url + path, headers, body))


def exchange(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    """Send a request until it is answered; over TLS, or on loopback. Status and body."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
        raise SettingError("address", f"{url} is not https", "tokens and passwords are sent over TLS alone")
    for tries in range(_TRIES_MAX):
        if tries:
            time.sleep(_PAUSE_S * 2.0 ** (tries - 1))
        try:
            status, answered = _once(method, url, headers, body)
        except (OSError, http.client.HTTPException) as exc:
            problem = f"{parts.netloc} does not answer ({exc!r})"
            continue
        if status not in _AGAIN or tries == _TRIES_MAX - 1:
            return status, answered
        problem = f"{parts.netloc} answers {status}"
    raise UnreachableError(f"{problem}, after {_TRIES_MAX} tries; check the address and that it is up")


def _once(method: str, url: str, headers: Mapping[str, str], body: bytes) -> tuple[int, bytes]:
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        connection.request(method, parts.path or "/", body, dict(headers))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
