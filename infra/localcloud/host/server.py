"""The function host over HTTP: a control API behind a token, and the public side of HTTP triggers.

Public: `/http/<function>/<path>`, and any path when the host name is `<function>.localhost`, so that a portal has
its own root as it has in the cloud. Everything else asks for `Authorization: Bearer <control token>`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

from aiohttp import web

from infra.localcloud.common import BODY_MAX, Clock, Keys, LocalCloudError
from infra.localcloud.host import http_trigger
from infra.localcloud.host.dispatch import BusyError, Dispatcher, StoppedError
from infra.localcloud.host.queue import Delivery, new_request_id
from infra.localcloud.host.template import Function
from infra.localcloud.host.timers import PlayingError, Timers

SYNC_EVENT_MAX = 32 << 20
ASYNC_EVENT_MAX = 128 << 10
DOMAIN = ".localhost"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """The routes, over a dispatcher and its timers."""

    def __init__(self, dispatcher: Dispatcher, timers: Timers, clock: Clock, keys: Keys) -> None:
        self._dispatcher, self._timers, self._clock, self._keys = dispatcher, timers, clock, keys

    def app(self) -> web.Application:
        """The application; it starts and ends the dispatcher and the timers with itself."""
        app = web.Application(client_max_size=BODY_MAX, middlewares=[self._guard])
        app.router.add_get("/clock", self._get_clock)
        app.router.add_put("/clock", self._put_clock)
        app.router.add_post("/advance", self._advance)
        app.router.add_post("/idle", self._idle)
        app.router.add_post("/invoke/{function}", self._invoke)
        app.router.add_get("/status", self._status)
        app.router.add_route("*", "/http/{function}", self._http)
        app.router.add_route("*", "/http/{function}/{path:.*}", self._http)
        app.cleanup_ctx.append(self._running)
        app.on_shutdown.append(self._shut_down)
        return app

    async def _running(self, app: web.Application) -> AsyncIterator[None]:
        self._timers.recover()
        self._dispatcher.start()
        live = asyncio.create_task(self._timers.live())
        yield
        live.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await live

    async def _shut_down(self, app: web.Application) -> None:
        # Before aiohttp waits for open requests: an advance or a call in progress would hold it up.
        await self._dispatcher.stop()

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        name = request.host.partition(":")[0]
        try:
            if name.endswith(DOMAIN) and name.removesuffix(DOMAIN) in self._dispatcher.template.functions:
                return await self._public(request, name.removesuffix(DOMAIN), request.raw_path)
            token = request.headers.get("Authorization", "").removeprefix("Bearer ")
            allowed = hmac.compare_digest(token.encode(), self._keys.control_token.encode())
            if not allowed and not request.path.startswith("/http/"):
                return _problem(401, "Unauthorized", "send Authorization: Bearer with the control token of keys.json")
            return await handler(request)
        except PlayingError as exc:
            return _problem(409, "Playing", str(exc))
        except LocalCloudError as exc:
            return _problem(400, "InvalidArgument", str(exc))
        except StoppedError:
            return _problem(503, "Stopped", "the host is ending; what was accepted runs after its next start")

    async def _get_clock(self, request: web.Request) -> web.Response:
        return web.json_response({"now": self._clock.now().isoformat(), "set": self._timers.clock_stands})

    async def _put_clock(self, request: web.Request) -> web.Response:
        body = await _json(request)
        self._timers.set_clock(None if body.get("now") is None else _instant(body, "now"))
        return await self._get_clock(request)

    async def _advance(self, request: web.Request) -> web.StreamResponse:
        to = _instant(await _json(request), "to")
        stream = web.StreamResponse(headers={"Content-Type": "application/jsonl"})

        async def report(line: dict[str, object]) -> None:
            if not stream.prepared:
                await stream.prepare(request)
            await stream.write(json.dumps(line).encode() + b"\n")

        # The answer begins with the first line, so that a refusal can still have its own status.
        try:
            summary = await self._timers.play(to, report)
            await report({"summary": summary})
        except LocalCloudError as exc:
            if not stream.prepared:
                raise
            await report({"problem": str(exc)})
        except (ConnectionResetError, StoppedError):
            # The caller left, or we end: time stands at the instant reached, and no summary says so.
            if not stream.prepared:
                raise
        return stream

    async def _idle(self, request: web.Request) -> web.Response:
        await self._dispatcher.idle()
        return web.json_response(self._dispatcher.counts())

    async def _status(self, request: web.Request) -> web.Response:
        clock = {"now": self._clock.now().isoformat(), "set": self._timers.clock_stands}
        return web.json_response({"clock": clock, **self._dispatcher.status()})

    async def _invoke(self, request: web.Request) -> web.Response:
        function = self._dispatcher.template.functions.get(request.match_info["function"])
        if function is None:
            return _unknown(request.match_info["function"])
        event = await request.read()
        if request.headers.get("X-Fc-Invocation-Type", "Sync").lower() == "async":
            if len(event) > ASYNC_EVENT_MAX:
                return _problem(413, "RequestEntityTooLarge", "asynchronous events have at most 128 KB")
            self._dispatcher.take([Delivery(function.name, "invoke", "asynchronous call", event)])
            return web.Response(status=202, headers={"X-Fc-Request-Id": new_request_id()})
        if len(event) > SYNC_EVENT_MAX:
            return _problem(413, "RequestEntityTooLarge", "events have at most 32 MB")
        return await self._called(function, event)

    async def _called(self, function: Function, event: bytes) -> web.Response:
        try:
            request_id, outcome = await self._dispatcher.call(function, event)
        except BusyError:
            return _throttled(function)
        headers = {"X-Fc-Request-Id": request_id}
        if outcome.error_type:
            headers["X-Fc-Error-Type"] = outcome.error_type
        return web.Response(body=outcome.body, headers=headers, content_type="application/octet-stream")

    async def _http(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["function"]
        return await self._public(request, name, request.raw_path.removeprefix(f"/http/{name}"))

    async def _public(self, request: web.Request, name: str, raw: str) -> web.StreamResponse:
        function = self._dispatcher.template.functions.get(name)
        if function is None or function.http is None:
            return _unknown(name)
        if request.method not in function.http.methods:
            return _problem(405, "MethodNotAllowed", f"{name} answers {', '.join(sorted(function.http.methods))}")
        path = raw.partition("?")[0] or "/"
        body, account, now = await request.read(), self._keys.account_id, self._clock.now()
        event = http_trigger.event(request, path, body, account, new_request_id(), now)
        try:
            request_id, outcome = await self._dispatcher.call(function, event)
        except BusyError:
            return _throttled(function)
        if outcome.error_type:
            response = web.Response(status=502, body=outcome.body, content_type="application/json")
            response.headers["X-Fc-Error-Type"] = outcome.error_type
        else:
            response = http_trigger.response(outcome.body)
        response.headers["X-Fc-Request-Id"] = request_id
        return response


async def _json(request: web.Request) -> dict[str, object]:
    try:
        body = json.loads(await request.read())
    except ValueError as exc:
        raise LocalCloudError(f"the body must be a JSON object ({exc})") from exc
    if not isinstance(body, dict):
        raise LocalCloudError(f"the body must be a JSON object, not {body!r}")
    return body


def _instant(body: dict[str, object], key: str) -> datetime:
    value = body.get(key)
    try:
        instant = datetime.fromisoformat(str(value))
    except ValueError:
        instant = None
    if instant is None or instant.tzinfo is None:
        raise LocalCloudError(f"{key} must be a time with its zone, such as 2025-06-01T00:00:00Z, not {value!r}")
    return instant.astimezone(UTC)


def _problem(status: int, code: str, message: str) -> web.Response:
    return web.json_response({"Code": code, "Message": message}, status=status)


def _unknown(name: str) -> web.Response:
    return _problem(404, "FunctionNotFound", f"no function {name} here (with this kind of trigger)")


def _throttled(function: Function) -> web.Response:
    return _problem(
        429,
        "ResourceThrottled",
        f"{function.name} already runs {function.concurrency_max} times, its reserved concurrency",
    )
