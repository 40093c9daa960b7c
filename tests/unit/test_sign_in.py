"""Who signs in: every token that must not count is refused with its reason, and its text is said nowhere."""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from shared.access.tokens import KEYS_LIFE_S, LEEWAY_S, LENGTH_MAX, NotSignedInError, SignIn
from shared.cloud.issuer import Issuer, sign_in
from shared.cloud.patience import Patience
from shared.errors import SettingError
from shared.ports import ServiceError

ISSUER, AUDIENCE = "https://issuer.example", "clearbook"
NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
AT = int(NOW.timestamp())
KEYS: Mapping[str, Any] = {
    "RS256": RSAKey.generate_key(2048, {"kid": "rs"}),
    "ES256": ECKey.generate_key("P-256", {"kid": "es"}),
    "Ed25519": OKPKey.generate_key("Ed25519", {"kid": "ed"}),
}
STRANGER = ECKey.generate_key("P-256", {"kid": "es"})
CLAIMS = {"iss": ISSUER, "aud": AUDIENCE, "sub": "paula", "iat": AT, "nbf": AT, "exp": AT + 600}


class Published:
    """What the issuer publishes, and how often it was read."""

    def __init__(self) -> None:
        self.keys = [key.as_dict(private=False) for key in KEYS.values()]
        self.issuer, self.jwks_uri, self.reads = ISSUER, f"{ISSUER}/keys", 0

    def fetch(self, url: str) -> bytes:
        if url == f"{ISSUER}/.well-known/openid-configuration":
            return json.dumps({"issuer": self.issuer, "jwks_uri": self.jwks_uri}).encode()
        assert url == self.jwks_uri
        self.reads += 1
        return json.dumps({"keys": self.keys}).encode()


@pytest.fixture
def published() -> Published:
    return Published()


@pytest.fixture
def door(published: Published) -> SignIn:
    return SignIn(ISSUER, AUDIENCE, published.fetch, lambda: NOW)


def token(algorithm: str = "ES256", key: Any = None, header: Mapping[str, Any] | None = None, **claims: Any) -> str:
    """A token as the issuer would make it, but for what is said."""
    key = key or KEYS[algorithm]
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode({"alg": algorithm, "kid": key.kid, **(header or {})}, said, key, [algorithm])


def unsigned(header: Mapping[str, Any], signature: str = "") -> str:
    parts = (json.dumps(one).encode() for one in (header, CLAIMS))
    return ".".join([*(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in parts), signature])


def signed_with_the_public_key() -> str:
    """The old trick: an RSA public key taken for a shared secret."""
    said = unsigned({"alg": "HS256", "kid": "rs"}).rstrip(".")
    mac = hmac.digest(KEYS["RS256"].as_pem(private=False), said.encode(), "sha256")
    return f"{said}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def tampered() -> str:
    head, _, tail = token().split(".")
    other = base64.urlsafe_b64encode(json.dumps({**CLAIMS, "sub": "amir"}).encode()).rstrip(b"=").decode()
    return f"{head}.{other}.{tail}"


BAD = {
    "another issuer": (token(iss="https://elsewhere.example"), "of another issuer"),
    "another audience": (token(aud="payroll"), "for another audience"),
    "no audience": (token(aud=None), "lacks aud"),
    "expired": (token(exp=AT - LEEWAY_S - 1), "has expired"),
    "without an end": (token(exp=None), "lacks exp"),
    "an end that is text": (token(exp="never"), "unusable exp"),
    "not valid yet": (token(nbf=AT + LEEWAY_S + 1), "is not valid yet"),
    "issued in the future": (token(iat=AT + LEEWAY_S + 1), "was issued in the future"),
    "no subject": (token(sub=None), "lacks sub"),
    "an empty subject": (token(sub=""), "unusable sub"),
    "a subject that is a number": (token(sub=7), "unusable sub"),
    "a subject of two lines": (token(sub="paula\nadmin"), "subject names nobody"),
    "signed by nothing": (unsigned({"alg": "none"}), "signed by no algorithm"),
    "signed by nothing, said otherwise": (unsigned({"alg": "ES256", "kid": "es"}), "no key of the issuer"),
    "signed with the public key": (signed_with_the_public_key(), "signed by no algorithm"),
    "signed by a stranger's key of the same name": (token(key=STRANGER), "no key of the issuer"),
    "a key of another kind": (unsigned({"alg": "RS256", "kid": "es"}, "c2ln"), "no key of the issuer"),
    "an unknown key": (token(key=ECKey.generate_key("P-256", {"kid": "new"})), "no key of the issuer"),
    "tampered": (tampered(), "no key of the issuer"),
    "cut": (token()[:-5], "no key of the issuer"),
    "too large": (token(more="x" * LENGTH_MAX), "longer than"),
    "no token": ("paula", "is no signed token"),
    "no JSON": ("e30.e30x.", "is no signed token"),
    "not ASCII": ("é" * 9, "is no token"),
}


@pytest.mark.parametrize(("bad", "said"), BAD.values(), ids=BAD)
def test_a_token_that_must_not_count_is_refused_with_its_reason(door: SignIn, bad: str, said: str) -> None:
    with pytest.raises(NotSignedInError) as refused:
        door.subject(f"Bearer {bad}")
    assert said in str(refused.value)
    assert bad not in str(refused.value)


@pytest.mark.parametrize("algorithm", KEYS)
def test_a_token_of_the_issuer_names_its_subject(door: SignIn, algorithm: str) -> None:
    assert door.subject(f"Bearer {token(algorithm)}") == "paula"
    assert door.subject(f"bearer  {token(algorithm, aud=['other', AUDIENCE], exp=AT - LEEWAY_S + 1)}") == "paula"


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic cGF1bGE6eA==", "paula"])
def test_without_a_bearer_token_nobody_signs_in(door: SignIn, header: str) -> None:
    with pytest.raises(NotSignedInError, match="there is no bearer token"):
        door.subject(header)


def test_a_header_that_must_be_understood_is_refused_and_another_is_passed_over(door: SignIn) -> None:
    rules = jws.JWSRegistry(algorithms=["ES256"], strict_check_header=False)
    head = {"alg": "ES256", "kid": "es", "x-tenant": "7"}
    fine = jwt.encode(head, dict(CLAIMS), KEYS["ES256"], registry=rules)
    assert door.subject(f"Bearer {fine}") == "paula"
    odd = unsigned({**head, "crit": ["x-tenant"]}, fine.rpartition(".")[2])
    with pytest.raises(NotSignedInError):
        door.subject(f"Bearer {odd}")


def test_keys_are_kept_for_a_while_and_looked_up_once_for_a_new_one(published: Published) -> None:
    now = AT
    door = SignIn(ISSUER, AUDIENCE, published.fetch, lambda: datetime.fromtimestamp(now, UTC))
    for _ in range(3):
        door.subject(f"Bearer {token()}")
    assert published.reads == 1

    new = ECKey.generate_key("P-256", {"kid": "new"})
    now += 60
    for _ in range(3):  # looked for once, whoever asks how often
        with pytest.raises(NotSignedInError):
            door.subject(f"Bearer {token(key=new)}")
    assert published.reads == 2
    published.keys.append(new.as_dict(private=False))
    now += 60
    assert door.subject(f"Bearer {token(key=new)}") == "paula"
    assert published.reads == 3

    published.keys = published.keys[-1:]  # the others were withdrawn
    assert door.subject(f"Bearer {token()}") == "paula"
    now += KEYS_LIFE_S
    with pytest.raises(NotSignedInError, match="no key of the issuer"):
        door.subject(f"Bearer {token(exp=now + 60)}")


def test_tokens_of_another_issuer_cause_no_look_at_the_keys(door: SignIn, published: Published) -> None:
    with pytest.raises(NotSignedInError):
        door.subject(f"Bearer {token(iss='https://elsewhere.example')}")
    assert published.reads == 0


def test_an_issuer_that_is_not_itself_or_has_no_keys_is_our_problem(door: SignIn, published: Published) -> None:
    published.issuer = "https://elsewhere.example"
    with pytest.raises(ServiceError, match="is not its own"):
        door.subject(f"Bearer {token()}")
    published.issuer, published.keys = ISSUER, []
    with pytest.raises(ServiceError, match="holds no keys"):
        door.subject(f"Bearer {token()}")


def test_keys_are_read_over_tls_alone_but_on_loopback() -> None:
    issuer = Issuer(Patience(total_s=0.01))
    for url in ("http://issuer.example/keys", "ftp://127.0.0.1/keys", "file:///etc/passwd"):
        with pytest.raises(SettingError, match="is not https"):
            issuer.fetch(url)
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1:1"):
        issuer.fetch("http://127.0.0.1:1/keys")
    with pytest.raises(SettingError, match="CLEARBOOK_OIDC_AUDIENCE"):
        sign_in({"CLEARBOOK_OIDC_ISSUER": ISSUER})
