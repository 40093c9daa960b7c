"""Signing in: a token of the issuer, kept in a file that nobody else reads until it ends.

Of a real issuer by its device flow (RFC 8628): the person signs in with a browser, wherever that is. At a local cloud
with the password of a seeded person, without being asked.
"""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from infra.clearbook.context import DEMO_HOME, environment
from infra.clearbook.main import write_json
from infra.clearbook.remote import RefusedError, UnreachableError, exchange
from infra.localcloud.common import load_keys, write_atomically
from shared.errors import ClearbookError, SettingError

_DISCOVERY = "/.well-known/openid-configuration"
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"
_FORM = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
_LEFT_S = 60.0  # a token that ends sooner is not used any more
_CLIENT = "clearbook"


class SignedOutError(ClearbookError):
    """Nobody of this name is signed in."""

    code = "signed_out"


def sign_in(user: str | None, home: Path | None, json_to: str | None) -> None:
    """Sign in and keep the token."""
    settings = environment(home)
    token = _by_password(settings, home, user) if user and _is_local(home) else _by_device(settings, json_to)
    claims = _claims(token)
    if user is not None and claims["sub"] != user:
        raise RefusedError("other_user", f"{claims['sub']} signed in, not {user}; sign in again as {user}")
    _keep(home, settings, claims, token)
    said = {"user": claims["sub"], "until": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(claims["exp"]))}
    if json_to is not None:
        write_json(said, json_to)
    if json_to != "-":
        print(f"signed in as {said['user']} until {said['until']}")


def sign_out(user: str | None, home: Path | None) -> None:
    """Forget the token of one person, or all tokens."""
    kept = _read(home)
    gone = [(issuer, one) for issuer, people in kept.items() for one in people if user in (None, one)]
    for issuer, one in gone:
        del kept[issuer][one]
    _write(home, kept)
    print(f"signed out: {', '.join(sorted({one for _, one in gone})) or 'nobody was signed in'}")


def token_of(home: Path | None, settings: Mapping[str, str], by: str) -> str:
    """The token by which somebody acts; raises SignedOutError where there is none that holds."""
    people = _read(home).get(_issuer(settings), {})
    kept = people.get(by)
    if kept is not None and kept["ends"] - _LEFT_S > time.time():
        return str(kept["token"])
    if _is_local(home):
        token = _by_password(settings, home, by)
        _keep(home, settings, _claims(token), token)
        return token
    there = ", ".join(name for name, one in people.items() if one["ends"] - _LEFT_S > time.time()) or "nobody"
    remedy = f"`clearbook login --user {by}`, or say who acts with --by or CLEARBOOK_USER"
    raise SignedOutError(f"{by} is not signed in, {there} is; {remedy}")


def _by_password(settings: Mapping[str, str], home: Path | None, user: str) -> str:
    # The issuer of a local cloud lets in whoever holds its keys, and makes a password for a new person.
    control = {"Authorization": f"Bearer {load_keys(home or DEMO_HOME).control_token}"}
    made = _json(*exchange("POST", f"{_issuer(settings)}/people/{quote(user, safe='')}", control, b""))
    asked = {"grant_type": "password", "username": user, "password": made["password"]}
    return _token(settings, asked)


def _by_device(settings: Mapping[str, str], json_to: str | None) -> str:
    """A token for whoever signs in with the code that is shown."""
    found = _discovered(settings)
    if "device_authorization_endpoint" not in found:
        problem = f"names an issuer without a device flow ({_issuer(settings)})"
        raise SettingError("CLEARBOOK_OIDC_ISSUER", problem, "allow the device flow for this client")
    client = settings.get("CLEARBOOK_OIDC_CLIENT") or _CLIENT
    asked = {"client_id": client, "audience": settings.get("CLEARBOOK_OIDC_AUDIENCE", ""), "scope": "openid"}
    code = _posted(found["device_authorization_endpoint"], asked)
    where = code.get("verification_uri_complete") or code["verification_uri"]
    if json_to != "-":
        print(f"open {where} and sign in; the code is {code['user_code']}", flush=True)
    pause_s, ends = float(code.get("interval", 5)), time.time() + float(code["expires_in"])
    while time.time() < ends:
        time.sleep(pause_s)
        try:
            asked = {"grant_type": _DEVICE, "device_code": code["device_code"], "client_id": client}
            return _token(settings, asked)
        except RefusedError as exc:
            if exc.code == "slow_down":
                pause_s += 5.0
            elif exc.code != "authorization_pending":
                raise
    raise SignedOutError("nobody signed in with the code in time; run it again")


def _token(settings: Mapping[str, str], asked: Mapping[str, str]) -> str:
    return str(_posted(_discovered(settings)["token_endpoint"], asked)["access_token"])


def _discovered(settings: Mapping[str, str]) -> dict[str, Any]:
    return _json(*exchange("GET", _issuer(settings).rstrip("/") + _DISCOVERY, {}, b""))


def _posted(url: str, asked: Mapping[str, str]) -> dict[str, Any]:
    return _json(*exchange("POST", url, _FORM, urlencode(asked).encode()))


def _json(status: int, body: bytes) -> dict[str, Any]:
    try:
        found = dict(json.loads(body))
        if status == 200:
            return found
        refused = RefusedError(found["error"], str(found.get("error_description") or found["error"]))
    except (ValueError, TypeError, LookupError) as exc:
        raise UnreachableError(f"the issuer answers {status}, and nothing to use; check CLEARBOOK_OIDC_ISSUER") from exc
    raise refused


def _issuer(settings: Mapping[str, str]) -> str:
    issuer = settings.get("CLEARBOOK_OIDC_ISSUER")
    if not issuer:
        raise SettingError("CLEARBOOK_OIDC_ISSUER", "is not set", "give the address of the issuer of sign-in tokens")
    return issuer


def _claims(token: str) -> dict[str, Any]:
    """What a token says of itself; the portal verifies it, we only look."""
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        return {"sub": str(claims["sub"]), "exp": int(claims["exp"])}
    except (LookupError, ValueError, TypeError) as exc:
        remedy = "let it issue access tokens that are JWTs for CLEARBOOK_OIDC_AUDIENCE"
        raise UnreachableError(f"the issuer's token is none that can be read; {remedy}") from exc


# -- what is kept -------------------------------------------------------------------------------------------------


def _is_local(home: Path | None) -> bool:
    return home is not None or "CLEARBOOK_OSS_ENDPOINT" not in os.environ


def _file(home: Path | None) -> Path:
    if _is_local(home):
        return (home or DEMO_HOME) / "logins.json"
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "clearbook" / "logins.json"


def _read(home: Path | None) -> dict[str, dict[str, Any]]:
    """Tokens by issuer and person; a damaged file is as good as none, since anybody can sign in again."""
    try:
        return dict(json.loads(_file(home).read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return {}


def _keep(home: Path | None, settings: Mapping[str, str], claims: Mapping[str, Any], token: str) -> None:
    kept = _read(home)
    kept.setdefault(_issuer(settings), {})[claims["sub"]] = {"token": token, "ends": claims["exp"]}
    _write(home, kept)


def _write(home: Path | None, kept: Mapping[str, Any]) -> None:
    path = _file(home)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, json.dumps(kept, indent=2).encode(), mode=0o600)
