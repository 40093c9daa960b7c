"""Misbehaviour of one HTTP service: every request passes through `around`, which does to it what the plan says."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import web

from infra.localcloud.common import write_atomically
from infra.localcloud.faults import processes
from infra.localcloud.faults.plan import Call, Fault, Plan, read

LOG = logging.getLogger(__name__)
_BEFORE = (Fault.THROTTLE, Fault.SERVER_ERROR, Fault.REFUSE_SIGNATURE)
_LOOK_S = 0.01
# Marks on a request, for those who answer it.
_LOST = web.RequestKey("lost", bool)
_CUT = web.RequestKey("cut", bool)
FAIL_ROWS = web.RequestKey("fail_rows", bool)

Handle = Callable[[], Awaitable[web.StreamResponse]]
Refuse = Callable[[Fault], Awaitable[web.StreamResponse]]


class Misbehaviour:
    """One service under a plan. Kill orders for function instances lie in `<home>/host/kill/<process>`.

    `died` is told the process that a plan's kill ended; by default it is found by its connection and killed here.
    """

    def __init__(self, service: str, plan: Plan, home: Path, kill: Callable[[web.Request], None] | None = None) -> None:
        self.plan = plan
        self._service, self._orders = service, home / "host" / "kill"
        self._seen: Counter[tuple[str, str]] = Counter()
        self._kill = kill or self._kill_caller

    def watch(self, app: web.Application) -> None:
        """Let answers that stream be lost or cut too."""
        app.on_response_prepare.append(_on_prepare)

    async def around(
        self, request: web.Request, name: str, subject: str, handle: Handle, refuse: Refuse
    ) -> web.StreamResponse:
        """Handle the request as the plan has it go; `refuse` makes the service's own answer to a fault."""
        if self.plan.functions_only and not _is_temporary(request):
            return await handle()
        self._seen[name, subject] += 1
        fault = self.plan.of_call(Call(self._service, name, subject, self._seen[name, subject])) or self._order(request)
        if fault is None:
            return await handle()
        LOG.info("%s: %s %s, attempt %d", fault, name, subject, self._seen[name, subject])
        return await self.commit(fault, request, handle, refuse)

    async def commit(self, fault: Fault, request: web.Request, handle: Handle, refuse: Refuse) -> web.StreamResponse:
        """Do this to the request."""
        if fault in _BEFORE:
            await request.read()
            return await refuse(fault)
        if fault is Fault.DELAY:
            await asyncio.sleep(self.plan.delay_ms / 1000)
            return await handle()
        if fault is Fault.LOSE_REQUEST:
            return _hung_up(request)
        if fault is Fault.KILL_BEFORE:
            self._kill(request)
            return _hung_up(request)
        if fault is Fault.KILL_WITHIN:
            length = request.content_length or 0
            with contextlib.suppress(asyncio.IncompleteReadError):
                await request.content.readexactly(self.plan.number(length, request.path) - 1 if length else 0)
            self._kill(request)
            return _hung_up(request)
        if fault is Fault.FAIL_ROWS:
            request[FAIL_ROWS] = True
            return await handle()
        return await self._afterwards(fault, request, handle, refuse)

    async def _afterwards(
        self, fault: Fault, request: web.Request, handle: Handle, refuse: Refuse
    ) -> web.StreamResponse:
        """It takes effect, and then it goes wrong."""
        request[_CUT if fault is Fault.CUT_RESPONSE else _LOST] = True
        try:
            response = await handle()
        except ConnectionError:  # a streamed answer met its end
            return _hung_up(request)
        if fault is Fault.DOUBTFUL_ERROR and not response.prepared:
            return await refuse(fault)
        if fault is Fault.CUT_RESPONSE and isinstance(response, web.Response) and not response.prepared:
            return await _cut(request, response)
        if fault is Fault.KILL_AFTER:
            self._kill(request)
        if fault is Fault.TIME_OUT:
            await self._hold(request)
        return _hung_up(request)

    async def _hold(self, request: web.Request) -> None:
        for _ in range(max(1, int(self.plan.hold_ms / 1000 / _LOOK_S))):
            if request.transport is None or request.transport.is_closing():
                return
            await asyncio.sleep(_LOOK_S)

    def _order(self, request: web.Request) -> Fault | None:
        """The kill that the host has ordered for the instance that calls, once its calls have come to it."""
        if not self._orders.is_dir():
            return None
        process = self._caller(request)
        if process is None:
            return None
        path = self._orders / str(process)
        try:
            order = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            return None
        order["calls"] -= 1
        if order["calls"] > 0:
            write_atomically(path, json.dumps(order).encode())
            return None
        path.unlink(missing_ok=True)
        return Fault(order["fault"])

    def _caller(self, request: web.Request) -> int | None:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        known = [int(path.name) for path in self._orders.iterdir() if path.name.isdecimal()]
        return processes.process_of(peer[1], known) if peer and known else None

    def _kill_caller(self, request: web.Request) -> None:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        instances = self._orders.parent / "instances"
        known = [int(path.read_text()) for path in instances.iterdir()] if instances.is_dir() else []
        process = processes.process_of(peer[1], known) if peer else None
        if process is not None:
            processes.kill(process)


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--faults FILE`, for a service's command line."""
    parser.add_argument("--faults", type=Path, help="misbehave by the plan in this file")


def of_option(service: str, arguments: argparse.Namespace) -> Misbehaviour | None:
    """How the service misbehaves, which `--faults` says."""
    return None if arguments.faults is None else Misbehaviour(service, read(arguments.faults), arguments.home)


def order_kill(home: Path, process: int, fault: Fault, calls: int) -> None:
    """Have an instance killed at its `calls`-th call from now."""
    folder = home / "host" / "kill"
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / str(process), json.dumps({"fault": fault, "calls": calls}).encode())


def withdraw_kill(home: Path, process: int) -> None:
    """Spare it: its delivery has ended with fewer calls, or it is dead."""
    (home / "host" / "kill" / str(process)).unlink(missing_ok=True)


def _is_temporary(request: web.Request) -> bool:
    """Whether the caller signs with a function's temporary credentials (or, at BSS, is a function by its nature)."""
    names = ("x-oss-security-token", "x-ots-ststoken", "x-acs-action")
    return any(name in request.headers for name in names) or "x-oss-security-token" in request.query


def _hung_up(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response()  # nobody is there to read it


async def _cut(request: web.Request, whole: web.Response) -> web.StreamResponse:
    """The head of the answer and half of its body."""
    request[_CUT] = False  # done here
    body = bytes(whole.body) if isinstance(whole.body, bytes | bytearray) else b""
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = max(len(body), 1)
    await response.prepare(request)
    await response.write(body[: len(body) // 2])
    return _hung_up(request)


async def _on_prepare(request: web.Request, response: web.StreamResponse) -> None:
    if request.get(_LOST) and not isinstance(response, web.Response) and request.transport is not None:
        request.transport.abort()
    elif request.get(_CUT) and not isinstance(response, web.Response):
        send = response.write

        async def once(data: bytes | bytearray | memoryview) -> None:
            await send(bytes(data[: len(data) // 2]))
            if request.transport is not None:
                request.transport.abort()
            raise ConnectionResetError

        response.write = once  # type: ignore[method-assign]
