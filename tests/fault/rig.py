"""The real thing in two processes: the local services, of which any call can be made to go wrong, and the functions.

The functions' modules are loaded once; each instance is a fork of the loaded process, so that it can be killed at
any of its calls and another one be there in a millisecond. Services keep their state in memory here and can go back
to any state they were in. Everything else is the shipped code and the genuine SDKs over the real protocols.
"""

from __future__ import annotations

import asyncio
import functools
import json
import multiprocessing
import os
import resource
import secrets
import shutil
import signal
import sqlite3
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from aiohttp import web

from infra.localcloud import identity
from infra.localcloud.bss import wire as bss
from infra.localcloud.common import LOOPBACK, Clock, Keys, load_keys
from infra.localcloud.faults.plan import Fault, Plan
from infra.localcloud.faults.service import Handle, Misbehaviour, Refuse
from infra.localcloud.oss import wire as oss
from infra.localcloud.oss.call import Endpoint
from infra.localcloud.oss.state import Store as OssStore
from infra.localcloud.ram.authority import Authority
from infra.localcloud.tablestore import plainbuffer
from infra.localcloud.tablestore import wire as tablestore
from infra.localcloud.tablestore.state import Store as TableStore

PREFIX = "clearbook"
# What an SDK waits for an answer here; only calls that are made to time out wait so long.
PATIENCE_S = "0.5"
FIRST_PAUSE_S = 0.002  # before a call is tried again; in the cloud a tenth of a second
# The diary for people, on which no correctness rests; the quota's places, which are moments of the system's time; how
# far runs of reports said they were, whose files are compared; how much somebody may ask at the moment.
UNCOMPARED_TABLES = ("steps", "quotas", "reports", "limits")
_FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Made:
    """A call that was made to a service; `size` is what it sent, in bytes."""

    service: str
    name: str
    subject: str
    size: int


@dataclass(frozen=True, slots=True)
class FailAt:
    """The call, counted from 0, that goes wrong, and how."""

    call: int
    fault: Fault


class OneCall(Misbehaviour):
    """Lets one call of one instance go wrong; counts are shared by the services."""

    def __init__(self, service: str, home: Path, watch: Watch) -> None:
        super().__init__(service, Plan(delay_ms=20, hold_ms=3_000), home, kill=lambda _: watch.kill())
        self._name, self._watch = service, watch

    async def around(
        self, request: web.Request, name: str, subject: str, handle: Handle, refuse: Refuse
    ) -> web.StreamResponse:
        fault = self._watch.next(Made(self._name, name, subject, request.content_length or 0))
        return await (handle() if fault is None else self.commit(fault, request, handle, refuse))


class Watch:
    """Which call is next, and which is to go wrong."""

    def __init__(self) -> None:
        self.made: list[Made] = []
        self._fail: FailAt | None = None
        self._process = 0

    def begin(self, process: int, fail: FailAt | None) -> None:
        """Count from here, the calls of this process."""
        self.made, self._process, self._fail = [], process, fail

    def next(self, made: Made) -> Fault | None:
        self.made.append(made)
        is_chosen = self._fail is not None and self._fail.call == len(self.made) - 1
        return self._fail.fault if is_chosen and self._fail is not None else None

    def kill(self) -> None:
        os.kill(self._process, signal.SIGKILL)


class Services:
    """OSS, Tablestore and BSS in one process of their own; what is here asks it."""

    def __init__(self, home: Path) -> None:
        self.home, self.keys = home, load_keys(home)
        self._line, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_serve, args=(home, self.keys, theirs, self._line), daemon=True)
        self._process.start()
        theirs.close()
        self.ports: dict[str, int] = self._line.recv()

    def ask(self, what: str, *given: Any) -> Any:
        """Have the process do something, and its answer."""
        self._line.send((what, given))
        answer = self._line.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self._process.terminate()
        self._process.join()

    @property
    def environment(self) -> dict[str, str]:
        """The settings that functions and commands have in common."""
        return {
            "CLEARBOOK_REGION": self.keys.region,
            "CLEARBOOK_BUCKET_PREFIX": PREFIX,
            "CLEARBOOK_OSS_ENDPOINT": f"http://{LOOPBACK}:{self.ports['oss']}",
            "CLEARBOOK_TABLESTORE_ENDPOINT": f"http://{LOOPBACK}:{self.ports['tablestore']}",
            "CLEARBOOK_TABLESTORE_INSTANCE": self.keys.instance,
            "CLEARBOOK_BSS_ENDPOINT": f"{LOOPBACK}:{self.ports['bss']}",
            "CLEARBOOK_BSS_PROTOCOL": "HTTP",
            "CLEARBOOK_BSS_CALLS_PER_S": "1000",  # as the provider here: no call waits for its place
            "CLEARBOOK_SECRETS": f"file:{self.home / 'secrets.json'}",
            "CLEARBOOK_PORTAL": "https://portal.localhost",
            "CLEARBOOK_THREADS": "1",
            "CLEARBOOK_MEMORY_MB": "512",
            "CLEARBOOK_CONNECT_TIMEOUT_S": PATIENCE_S,
            "CLEARBOOK_READ_TIMEOUT_S": PATIENCE_S,
        }

    def main_key(self) -> dict[str, str]:
        """What the main account signs with."""
        return {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": self.keys.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": self.keys.access_key_secret,
        }

    def role_key(self, role: str, function: str) -> dict[str, str]:
        """What an instance of a function signs with."""
        made = identity.issue(self.keys, role, function, secrets.token_hex(4), datetime.now(UTC))
        return {
            "ALIBABA_CLOUD_ACCESS_KEY_ID": made.access_key_id,
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": made.access_key_secret,
            "ALIBABA_CLOUD_SECURITY_TOKEN": made.security_token,
        }


def _serve(home: Path, keys: Keys, line: Connection, other: Connection) -> None:
    other.close()
    # The provider's request id is kept with the raw answer: here the same answer is the same bytes.
    vars(bss)["uuid"] = SimpleNamespace(uuid4=lambda: UUID(int=0))
    asyncio.run(_Served(home, keys, line).run())


class _Served:
    """The services' side."""

    def __init__(self, home: Path, keys: Keys, line: Connection) -> None:
        self._line, self.watch = line, Watch()
        self._known: dict[int, dict[str, dict[str, Any]]] = {}
        self._objects = OssStore(home / "oss", keys.account_id, keys.region)
        self._rows = TableStore(home / "tablestore", keys.instance, Clock(home))
        for database in (self._database, self._table_database):
            database.execute("PRAGMA journal_mode = DELETE")  # a copy in memory cannot have a write-ahead log
            database.deserialize(database.serialize())
        clock, watch = Clock(home), self.watch
        endpoint = Endpoint(keys, self._objects, clock, Authority(home, "oss"))
        authority = Authority(home, "tablestore")
        self._apps = {
            "oss": oss.application(endpoint, OneCall("oss", home, watch)),
            "tablestore": tablestore.application(self._rows, keys, authority, OneCall("tablestore", home, watch)),
            "bss": bss.application(home, 1_000, OneCall("bss", home, watch)),
        }

    async def run(self) -> None:
        ports = {}
        for name, app in self._apps.items():
            runner = web.AppRunner(app, access_log=None, handle_signals=False, auto_decompress=False)
            await runner.setup()
            await web.TCPSite(runner, LOOPBACK, 0).start()
            ports[name] = runner.addresses[0][1]
        self._line.send(ports)
        asyncio.get_running_loop().add_reader(self._line.fileno(), self._obey)
        await asyncio.Event().wait()

    def _obey(self) -> None:
        try:
            what, given = self._line.recv()
        except EOFError:
            os._exit(0)
        try:
            self._line.send(getattr(self, what)(*given))
        except Exception as exc:
            self._line.send(RuntimeError(f"{what}: {exc!r}\n{traceback.format_exc()}"))

    def begin(self, process: int, fail: FailAt | None) -> None:
        self.watch.begin(process, fail)

    def made(self) -> list[Made]:
        return self.watch.made

    def save(self) -> tuple[bytes, bytes]:
        """Everything kept."""
        return self._database.serialize(), self._table_database.serialize()

    def load(self, saved: tuple[bytes, bytes]) -> None:
        """Go back to it."""
        self._database.deserialize(saved[0])
        self._table_database.deserialize(saved[1])

    def know(self, number: int) -> None:
        """Remember what is kept now, under a number."""
        self._known[number] = self._state()

    def differing(self, number: int) -> list[str]:
        """What is kept now and was not, or was and is not, when this number was remembered."""
        known, now = self._known[number], self._state()
        return sorted(
            f"{table}/{key}"
            for table in known
            if known[table] != now[table]
            for key in known[table].keys() | now[table].keys()
            if known[table].get(key) != now[table].get(key)
        )

    def _state(self) -> dict[str, dict[str, Any]]:
        """What is kept, as far as it must be the same: objects by bucket and key, rows by table and key."""
        objects = self._database.execute("SELECT bucket, key, etag, size FROM object")
        found: dict[str, dict[str, Any]] = {"objects": {f"{b}/{bytes(k).decode()}": (e, s) for b, k, e, s in objects}}
        for table in self._rows.table_names():
            if table not in UNCOMPARED_TABLES:
                number = self._rows.table(table).number
                rows = self._table_database.execute(f"SELECT key, row FROM rows_{number}")
                found[table] = {bytes(key).hex(): _columns(bytes(row)) for key, row in rows}
        return found

    def created(self, after: int) -> list[tuple[int, str, str, str, str]]:
        """The events after one: (id, bucket, key, name, body)."""
        query = "SELECT id, bucket, key, name, body FROM event WHERE id > ? ORDER BY id"
        return list(self._database.execute(query, (after,)))

    @property
    def _database(self) -> sqlite3.Connection:
        return self._objects.database._connection

    @property
    def _table_database(self) -> sqlite3.Connection:
        return self._rows._sql


@functools.lru_cache(maxsize=1 << 16)
def _columns(row: bytes) -> dict[str, str]:
    """The cells of a stored row without their time stamps, which are the system's."""
    cells = plainbuffer.split_row(row).cells
    return {name.decode(): repr(plainbuffer.cell_value(name, cell)) for name, cell in cells.items()}


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one delivery to an instance ended: its answer, or why it failed, or that it was killed."""

    answer: str | None
    failure: str = ""
    was_killed: bool = False


class Instance:
    """A process that works off one piece of work after the other, until it is ended or killed."""

    def __init__(self, services: Services, key: Mapping[str, str], work: Callable[..., str]) -> None:
        self._services = services
        self._scratch = services.home / "scratch" / secrets.token_hex(6)
        self._scratch.mkdir(parents=True)
        environment = {**services.environment, **key, "CLEARBOOK_SCRATCH": str(self._scratch)}
        self._line, theirs = _FORK.Pipe()
        self._process = _FORK.Process(target=_work, args=(environment, theirs, self._line, work))
        self._process.start()
        theirs.close()

    def deliver(self, given: Any, fail: FailAt | None = None, disk_bytes: int | None = None) -> Outcome:
        """Have it do a piece of work, of which a call may go wrong or whose files may not grow."""
        assert self._process.pid is not None
        self._services.ask("begin", self._process.pid, fail)
        self._line.send((given, disk_bytes))
        try:
            answer, failure = self._line.recv()
        except (EOFError, ConnectionResetError):
            self._process.join()
            return Outcome(None, was_killed=True)
        return Outcome(answer, failure)

    def forget_made(self) -> None:
        """Go back to before it priced lines: what it keeps of them is of objects that are gone now."""
        for path in self._scratch.rglob("facts_*"):
            path.unlink()

    def end(self) -> None:
        """End it; what it kept on its disk goes with it."""
        self._line.close()
        self._process.join()
        shutil.rmtree(self._scratch, ignore_errors=True)


def _work(environment: Mapping[str, str], line: Connection, other: Connection, work: Callable[..., str]) -> None:
    other.close()
    os.environ.update(environment)
    log = os.open(os.devnull, os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    while True:
        try:
            given, disk_bytes = line.recv()
        except EOFError:
            os._exit(0)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard if disk_bytes is None else disk_bytes, hard))
        try:
            answer, failure = work(given), ""
        except Exception as exc:
            answer, failure = None, f"{type(exc).__name__}: {exc}"
        line.send((answer, failure))


def handler_of(module: str, timeout_s: int) -> Callable[[bytes], str]:
    """A function's handler as the host calls it; the module is imported now, so that instances have it."""
    loaded = __import__(f"functions.{module}", fromlist=["handler"])

    def handle(event: bytes) -> str:
        function = SimpleNamespace(name=module, handler=f"{module}.handler", memory=512, timeout=timeout_s)
        context = SimpleNamespace(request_id="1-0-0", region="cn-hangzhou", account_id="1", function=function)
        return str(loaded.handler(event, context))

    return handle


def preload() -> None:
    """Import what the functions import when they are first used, so that instances need not."""
    import aws_lambda_powertools.logging  # noqa: F401
    import duckdb  # noqa: F401
    import xlsxwriter  # noqa: F401

    import shared.cloud.bss
    import shared.cloud.oss
    import shared.cloud.tablestore  # noqa: F401
    from shared.cloud import patience

    usual = patience.from_settings
    vars(patience)["from_settings"] = lambda environ: replace(usual(environ), first_pause_s=FIRST_PAUSE_S)
    sys.stdout.flush()


def oss_event(body: str) -> bytes:
    """What an OSS trigger sends for one of OSS's events."""
    return json.dumps({"events": [json.loads(body)]}).encode()
