"""Reads what the issuer of sign-in tokens publishes: over TLS, or on loopback; small, whole, and in good time."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

from shared.access.tokens import SignIn
from shared.cloud.patience import PassingError, Patience, from_settings
from shared.errors import SettingError
from shared.ports import ServiceError

_BYTES_MAX = 1024 * 1024
_TOTAL_S = 10.0  # somebody waits for the answer
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def sign_in(environ: Mapping[str, str]) -> SignIn:
    """What verifies people's tokens by the settings; raises SettingError for what is missing.

    It is wired here and not in `shared.bootstrap`, whose every import goes into the bundle of every function.
    """
    for name in ("CLEARBOOK_OIDC_ISSUER", "CLEARBOOK_OIDC_AUDIENCE"):
        if not environ.get(name):
            raise SettingError(name, "is not set", "set it in the function's environment (s.yaml)")
    issuer = Issuer(replace(from_settings(environ), total_s=_TOTAL_S))
    return SignIn(
        environ["CLEARBOOK_OIDC_ISSUER"], environ["CLEARBOOK_OIDC_AUDIENCE"], issuer.fetch, lambda: datetime.now(UTC)
    )


class Issuer:
    """Documents by their URL."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience

    def fetch(self, url: str) -> bytes:
        """The document; raises ServiceError when it cannot be had, SettingError for an address that is not safe."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in LOOPBACK):
            problem = f"leads to {url}, which is not https"
            raise SettingError("CLEARBOOK_OIDC_ISSUER", problem, "give an issuer that answers over TLS")
        return self._patience.persist(lambda _: self._once(url))

    def _once(self, url: str) -> bytes:
        parts, doing, remedy = urlsplit(url), f"reading {url}", "check the issuer"
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connect_s, read_s = self._patience.timeouts_s()
        connection = kind(parts.hostname or "", parts.port, timeout=connect_s)
        try:
            connection.connect()
            connection.sock.settimeout(read_s)
            # What it redirects to is not followed: the issuer says itself where its documents are.
            connection.request("GET", (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
            answer = connection.getresponse()
            body = answer.read(_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as exc:
            raise PassingError(doing, f"{type(exc).__name__}: {exc}", remedy) from exc
        finally:
            connection.close()
        if answer.status >= 500 or answer.status == 429:
            raise PassingError(doing, f"answers {answer.status}", remedy)
        if answer.status != 200 or len(body) > _BYTES_MAX:
            raise ServiceError(doing, f"answers {answer.status} with {len(body)} bytes", remedy, retryable=False)
        return body
