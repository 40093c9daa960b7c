"""The HTTP face of the local RAM: RPC calls of the main account, each verified before it is looked at."""

from __future__ import annotations

import json
import logging
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from infra.localcloud import acs3
from infra.localcloud.common import BODY_MAX, load_keys
from infra.localcloud.ram import state
from infra.localcloud.ram.actions import Parameters, Ram

VERSION = "2015-05-01"
_log = logging.getLogger(__name__)


def application(home: Path) -> web.Application:
    """The service over `home`."""
    app = web.Application(client_max_size=BODY_MAX)
    app.router.add_route("*", "/{path:.*}", Service(home).answer)
    return app


class Service:
    """Answers calls; only the main account's key is known, as no role may administer RAM."""

    def __init__(self, home: Path) -> None:
        self._keys = load_keys(home)
        self._ram = Ram(state.connect(home), self._keys.account_id)
        self._nonces = acs3.Nonces(home / "ram" / "nonces.db")

    async def answer(self, http: web.Request) -> web.Response:
        """Answer one request, whatever becomes of it."""
        request_id = str(uuid.uuid4()).upper()
        body = await http.read()
        try:
            status, said = 200, self._call(http, body)
        except acs3.RpcError as refusal:
            status, said = refusal.status, _refusal(refusal, http.host)
        except Exception:  # an entry point: the caller gets the service's own 500, the log what happened
            _log.exception("request %s failed", request_id)
            status, said = 500, _refusal(acs3.internal_error(), http.host)
        text = json.dumps({**said, "RequestId": request_id}, ensure_ascii=False)
        return web.Response(
            status=status, text=text, content_type="application/json", headers={"x-acs-request-id": request_id}
        )

    def _call(self, http: web.Request, body: bytes) -> dict[str, Any]:
        path, _, query = http.raw_path.partition("?")
        headers = {name.lower(): value for name, value in http.headers.items()}
        pairs = parse_qsl(query, keep_blank_values=True)
        acs3.verify(
            acs3.Request(http.method, path, pairs, headers, body), datetime.now(UTC), self._secret, self._take_nonce
        )
        if headers["x-acs-version"] != VERSION:
            raise acs3.invalid_version(headers["x-acs-version"])
        action = headers["x-acs-action"]
        if action not in self._ram.actions:
            raise acs3.action_not_found(action)
        form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        pairs += parse_qsl(body.decode(errors="replace"), keep_blank_values=True) if form else []
        return self._ram.call(action, Parameters(dict(pairs)))

    def _secret(self, key_id: str) -> str | None:
        return self._keys.access_key_secret if key_id == self._keys.access_key_id else None

    def _take_nonce(self, key_id: str, nonce: str) -> bool:
        return self._nonces.take(key_id, nonce, time.time())


def _refusal(refusal: acs3.RpcError, host: str) -> dict[str, Any]:
    return {"Code": refusal.code, "Message": refusal.message, "HostId": host}
