"""The local services in this process, under a plan of faults that a test can change from call to call."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from aiohttp import web

from infra.localcloud import common
from infra.localcloud.bss.wire import application as bss_application
from infra.localcloud.faults.plan import Fault, Plan, Rule
from infra.localcloud.faults.service import Misbehaviour
from infra.localcloud.oss.call import Endpoint
from infra.localcloud.oss.state import Store as OssObjects
from infra.localcloud.oss.wire import application as oss_application
from infra.localcloud.ram.authority import Authority
from infra.localcloud.tablestore.state import Store as Tables
from infra.localcloud.tablestore.wire import application as tablestore_application

HOLD_MS = 700  # longer than any read timeout of these tests


class Misbehaving(Misbehaviour):
    """A service that behaves until it is told otherwise, and tells which calls it got."""

    port = 0

    def __init__(self, service: str, home: Path) -> None:
        super().__init__(service, Plan(), home)

    def behave(self) -> None:
        """No faults from here."""
        self._begin(Plan())

    def fail(self, fault: Fault, call: str = "*", *, always: bool = False) -> None:
        """The first such call on each subject goes wrong from here, or every one."""
        rule = Rule(fault, call=call, attempt=None if always else 1)
        self._begin(Plan(rules=(rule,), hold_ms=HOLD_MS, delay_ms=1))

    def calls(self) -> list[str]:
        """The calls since the last change, by name and in order of first appearance."""
        return list(dict.fromkeys(name for name, _ in self._seen))

    def attempts(self) -> int:
        """How many calls there were since then."""
        return sum(self._seen.values())

    def _begin(self, plan: Plan) -> None:
        self.plan = plan
        self._seen.clear()


@contextmanager
def misbehaving(service: str, home: Path) -> Iterator[Misbehaving]:
    """The service, answering on a loopback port while the block runs."""
    faults = Misbehaving(service, home)
    started, failed = threading.Event(), list[BaseException]()
    loop = asyncio.new_event_loop()

    def serve() -> None:
        try:
            loop.run_until_complete(_serve(service, home, faults, started))
        except BaseException as exc:
            failed.append(exc)
            started.set()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    started.wait(20)
    if failed:
        raise failed[0]
    try:
        yield faults
    finally:
        loop.call_soon_threadsafe(_ends[faults].set)
        thread.join(20)
        loop.close()


_ends: dict[Misbehaving, asyncio.Event] = {}


async def _serve(service: str, home: Path, faults: Misbehaving, started: threading.Event) -> None:
    app, close = _application(service, home, faults)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, auto_decompress=False, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    faults.port = runner.addresses[0][1]
    end = _ends[faults] = asyncio.Event()
    started.set()
    await end.wait()
    await runner.cleanup()
    close()


def _application(service: str, home: Path, faults: Misbehaving) -> tuple[web.Application, Callable[[], None]]:
    if service == "bss":
        return bss_application(home, 100_000, faults), lambda: None
    keys, clock, authority = common.load_keys(home), common.Clock(home), Authority(home, service)
    if service == "oss":
        objects = OssObjects(home / "oss", keys.account_id, keys.region)
        app = oss_application(Endpoint(keys, objects, clock, authority), faults)
        return app, partial(_close, objects, authority)
    tables = Tables(home / "tablestore", keys.instance, clock)
    app = tablestore_application(tables, keys, authority, faults)
    return app, partial(_close, tables, authority)


def _close(*opened: OssObjects | Tables | Authority) -> None:
    for one in opened:
        one.close()
