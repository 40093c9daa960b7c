"""Sign-in: whose bearer token it is, by the keys that the issuer publishes (OpenID Connect).

A token must be signed with one of those keys by an algorithm of `ALGORITHMS` (never `none` or a shared secret), be for
us and of our issuer, and not be out of its time. Its text appears in no message and in no log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.errors import ClearbookError
from shared.ports import ServiceError

if TYPE_CHECKING:
    from joserfc.jwk import KeySet

ALGORITHMS = ("RS256", "ES256", "EdDSA", "Ed25519")
LENGTH_MAX = 8 * 1024  # Function Compute takes 8 KB of headers in all
SUBJECT_MAX = 128
LEEWAY_S = 30
KEYS_LIFE_S = 600
_AGAIN_S = 30  # keys that are not known yet are looked up once in this time, whoever asks
_DISCOVERY = "/.well-known/openid-configuration"


class NotSignedInError(ClearbookError):
    """The request says nobody, or nobody whom it proves to be."""

    code = "not_signed_in"

    def __init__(self, problem: str) -> None:
        super().__init__(f"{problem}; sign in again (`clearbook login`)")


class SignIn:
    """Verifies the tokens of one issuer for one audience; keeps the issuer's keys for a while.

    `fetch` gets a document by its URL; `now` is the system's time.
    """

    def __init__(self, issuer: str, audience: str, fetch: Callable[[str], bytes], now: Callable[[], datetime]) -> None:
        self._issuer, self._audience = issuer, audience
        self._fetch, self._now = fetch, now
        self._keys: KeySet | None = None
        self._fetched_at = 0.0

    def subject(self, authorization: str) -> str:
        """Who sends this `Authorization` header; raises NotSignedInError."""
        scheme, _, token = authorization.strip().partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise NotSignedInError("there is no bearer token")
        claims = self._verified(token.strip())
        subject = claims["sub"]
        if not 0 < len(subject) <= SUBJECT_MAX or not subject.isprintable():
            raise NotSignedInError("the token's subject names nobody")
        return str(subject)

    def _verified(self, token: str) -> Mapping[str, Any]:
        from joserfc import jws, jwt
        from joserfc.errors import ClaimError, JoseError

        if len(token) > LENGTH_MAX or not token.isascii():
            raise NotSignedInError(f"the token is no token, or longer than {LENGTH_MAX} characters")
        kid = self._of_our_issuer(token)
        # Issuers add headers of their own; one that must be understood (`crit`) is refused all the same.
        rules = jws.JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        try:
            claims = jwt.decode(token, self._keys_with(kid), registry=rules).claims
        except (JoseError, ValueError, TypeError, KeyError) as exc:
            raise NotSignedInError("no key of the issuer signed the token") from exc
        said = {
            "iss": {"essential": True, "value": self._issuer},
            "aud": {"essential": True, "value": self._audience},
            **{name: {"essential": True} for name in ("sub", "exp", "iat")},
        }
        registry = jwt.JWTClaimsRegistry(int(self._now().timestamp()), LEEWAY_S, **said)  # type: ignore[arg-type]
        try:
            registry.validate(claims)
        except ClaimError as exc:
            raise NotSignedInError(_refused(exc)) from exc
        return claims

    def _of_our_issuer(self, token: str) -> str | None:
        """The key that the token names, of a token that says to be our issuer's: others cause no look at the keys."""
        from joserfc import jws
        from joserfc.errors import JoseError

        try:
            parts = jws.extract_compact(token.encode())
            header, claims = parts.headers(), json.loads(parts.payload)
        except (JoseError, ValueError, TypeError, RecursionError) as exc:
            raise NotSignedInError("the token is no signed token") from exc
        if header.get("alg") not in ALGORITHMS:
            raise NotSignedInError(f"the token is signed by no algorithm of {', '.join(ALGORITHMS)}")
        if not isinstance(claims, dict) or claims.get("iss") != self._issuer:
            raise NotSignedInError("the token is of another issuer")
        kid = header.get("kid")
        return kid if isinstance(kid, str) else None

    def _keys_with(self, kid: str | None) -> KeySet:
        """The issuer's keys; read anew when they are old, or when none of them is the one that is asked for."""
        age_s = self._now().timestamp() - self._fetched_at
        keys = self._keys
        is_known = keys is not None and (kid is None or any(key.kid == kid for key in keys))
        if keys is not None and (age_s < _AGAIN_S or (is_known and age_s < KEYS_LIFE_S)):
            return keys
        self._keys, self._fetched_at = self._read_keys(), self._now().timestamp()
        return self._keys

    def _read_keys(self) -> KeySet:
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet

        found = self._document(self._issuer.rstrip("/") + _DISCOVERY)
        if found.get("issuer") != self._issuer or not isinstance(found.get("jwks_uri"), str):
            raise _unusable(f"{_DISCOVERY} of {self._issuer} is not its own")
        try:
            return KeySet.import_key_set(self._document(found["jwks_uri"]))  # type: ignore[arg-type]
        except (JoseError, ValueError, TypeError, KeyError) as exc:
            raise _unusable(f"{found['jwks_uri']} holds no keys") from exc

    def _document(self, url: str) -> dict[str, Any]:
        try:
            found = json.loads(self._fetch(url))
        except (ValueError, RecursionError) as exc:
            raise _unusable(f"{url} is no JSON") from exc
        if not isinstance(found, dict):
            raise _unusable(f"{url} is no JSON object")
        return found


def _unusable(problem: str) -> ServiceError:
    return ServiceError("sign-in", problem, "check CLEARBOOK_OIDC_ISSUER and the issuer", retryable=False)


def _refused(exc: Exception) -> str:
    """Why a token that is well signed does not count."""
    from joserfc.errors import ExpiredTokenError, MissingClaimError

    claim = str(getattr(exc, "claim", ""))
    if isinstance(exc, ExpiredTokenError):
        return "the token has expired"
    if isinstance(exc, MissingClaimError):
        return f"the token lacks {claim}"
    because = {"aud": "is for another audience", "nbf": "is not valid yet", "iat": "was issued in the future"}
    return f"the token {because.get(claim, f'says an unusable {claim}')}"
