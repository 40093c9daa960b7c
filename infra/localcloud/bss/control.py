"""The one call of the local service that the real one has not: pushing bill files while time is played."""

from __future__ import annotations

import hmac
import json
from datetime import UTC, datetime

from aiohttp import web

from infra.localcloud.bss.push import OssSilentError, Pusher, StoppingError

PUSH = "/control/push"


class Control:
    """`POST /control/push {"until": instant}` with the control token: answers when all files due are in OSS."""

    def __init__(self, pusher: Pusher, token: str) -> None:
        self._pusher, self._token = pusher, token

    async def push(self, http: web.Request) -> web.Response:
        """Push what is due and tell how many files that were."""
        token = http.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return _problem(401, "Unauthorized", "send Authorization: Bearer with the control token of keys.json")
        until = _instant(await http.read())
        if until is None:
            return _problem(400, "InvalidArgument", 'the body must be {"until": a time with its zone}')
        try:
            return web.json_response({"pushed": await self._pusher.push(until)})
        except OssSilentError as exc:
            return _problem(503, "OssSilent", str(exc))
        except StoppingError:
            return _problem(503, "Stopped", "the service is ending; what is due is pushed after its next start")


def _instant(body: bytes) -> datetime | None:
    try:
        instant = datetime.fromisoformat(json.loads(body)["until"])
    except (ValueError, TypeError, KeyError):
        return None
    return None if instant.tzinfo is None else instant.astimezone(UTC)


def _problem(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"Code": code, "Message": message}, status=status)
