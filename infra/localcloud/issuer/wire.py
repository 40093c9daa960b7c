"""The issuer over HTTP: discovery (OpenID Connect Discovery 1.0), keys, the token endpoint, the device flow (RFC 8628).

Beside them a control side behind the token of keys.json: `POST /people/<id>` lets somebody sign in, `POST /sign` signs
whatever claims it is given, so that tests have tokens that no issuer would make. Times are the system's.
"""

from __future__ import annotations

import hmac
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from infra.localcloud.common import BODY_MAX, Keys
from infra.localcloud.issuer.people import ALGORITHM, People

AUDIENCE = "clearbook"
LIFE_S = 3600
DEVICE_LIFE_S = 600
_DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass(slots=True)
class Device:
    """A device that waits until somebody signs in for it."""

    user_code: str
    ends: float
    person: str = ""


def application(people: People, keys: Keys) -> web.Application:
    """The routes."""
    issuer = _Issuer(people, keys)
    app = web.Application(client_max_size=BODY_MAX)
    app.router.add_get("/.well-known/openid-configuration", issuer.discovery)
    app.router.add_get("/keys", issuer.keys)
    app.router.add_post("/token", issuer.token)
    app.router.add_post("/device", issuer.device)
    app.router.add_get("/device/page", issuer.device_page)
    app.router.add_post("/device/page", issuer.device_signed_in)
    app.router.add_post("/people/{person}", issuer.person)
    app.router.add_post("/sign", issuer.sign)
    return app


class _Issuer:
    def __init__(self, people: People, keys: Keys) -> None:
        self._people, self._keys = people, keys
        self._devices: dict[str, Device] = {}

    async def discovery(self, request: web.Request) -> web.Response:
        here = _here(request)
        return web.json_response(
            {
                "issuer": here,
                "jwks_uri": f"{here}/keys",
                "token_endpoint": f"{here}/token",
                "device_authorization_endpoint": f"{here}/device",
                "grant_types_supported": ["password", _DEVICE],
                "response_types_supported": ["none"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
            }
        )

    async def keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [self._people.key.as_dict(private=False)]})

    async def token(self, request: web.Request) -> web.Response:
        asked = await request.post()
        grant, person = asked.get("grant_type"), ""
        if grant == "password":
            person = str(asked.get("username", ""))
            if not self._people.is_right(person, str(asked.get("password", ""))):
                return _refused("invalid_grant", "nobody has this name and password")
        elif grant == _DEVICE:
            device = self._devices.get(str(asked.get("device_code", "")))
            if device is None or time.time() > device.ends:
                return _refused("expired_token", "ask for another code")
            if not device.person:
                return _refused("authorization_pending", "nobody signed in with the code yet")
            person = device.person
            del self._devices[str(asked["device_code"])]
        else:
            return _refused("unsupported_grant_type", f"{grant!r} is none of password and {_DEVICE}")
        now = int(time.time())
        claims = {"iss": _here(request), "aud": AUDIENCE, "sub": person, "iat": now, "nbf": now, "exp": now + LIFE_S}
        found = {"access_token": self._signed(claims), "token_type": "Bearer", "expires_in": LIFE_S}
        return web.json_response(found, headers={"Cache-Control": "no-store"})

    async def device(self, request: web.Request) -> web.Response:
        now = time.time()
        self._devices = {code: one for code, one in self._devices.items() if now <= one.ends}
        code, user_code = secrets.token_urlsafe(24), secrets.token_hex(4).upper()
        self._devices[code] = Device(user_code, now + DEVICE_LIFE_S)
        page = f"{_here(request)}/device/page"
        return web.json_response(
            {
                "device_code": code,
                "user_code": user_code,
                "verification_uri": page,
                "verification_uri_complete": f"{page}?user_code={user_code}",
                "expires_in": DEVICE_LIFE_S,
                "interval": 1,
            }
        )

    async def device_page(self, request: web.Request) -> web.Response:
        fields = "".join(
            f"<p><label>{name} <input name={name} type={kind}></label></p>"
            for name, kind in (("user_code", "text"), ("username", "text"), ("password", "password"))
        )
        body = f"<!doctype html><title>Sign in</title><form method=post>{fields}<button>Sign in</button></form>"
        return web.Response(text=body, content_type="text/html")

    async def device_signed_in(self, request: web.Request) -> web.Response:
        asked = {name: str(value) for name, value in (await request.post()).items()}
        if not self._people.is_right(asked.get("username", ""), asked.get("password", "")):
            return _refused("invalid_grant", "nobody has this name and password")
        waiting = [one for one in self._devices.values() if one.user_code == asked.get("user_code", "").upper()]
        for one in waiting:
            one.person = asked["username"]
        return web.Response(text="signed in; go back to where you came from" if waiting else "no such code")

    async def person(self, request: web.Request) -> web.Response:
        if not self._is_ours(request):
            return _refused("invalid_client", "send Authorization: Bearer with the control token of keys.json", 401)
        return web.json_response({"password": self._people.add(request.match_info["person"])})

    async def sign(self, request: web.Request) -> web.Response:
        if not self._is_ours(request):
            return _refused("invalid_client", "send Authorization: Bearer with the control token of keys.json", 401)
        return web.json_response({"access_token": self._signed(json.loads(await request.read()))})

    def _is_ours(self, request: web.Request) -> bool:
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return hmac.compare_digest(token.encode(), self._keys.control_token.encode())

    def _signed(self, claims: dict[str, Any]) -> str:
        from joserfc import jwt

        key = self._people.key
        return jwt.encode({"alg": ALGORITHM, "kid": key.kid or "", "typ": "at+jwt"}, claims, key, [ALGORITHM])


def _here(request: web.Request) -> str:
    """The issuer's name: where it is asked, on loopback."""
    return f"http://{request.host}"


def _refused(error: str, description: str, status: int = 400) -> web.Response:
    return web.json_response({"error": error, "error_description": description}, status=status)
