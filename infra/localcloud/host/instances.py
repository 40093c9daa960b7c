"""Function instances: operating system processes that each serve one event at a time, kept warm between events."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from infra.localcloud import identity
from infra.localcloud.common import Keys
from infra.localcloud.host import runtime
from infra.localcloud.host.template import Function

# Importing the function's module has a limit of its own: it is no part of the function's timeout.
LOAD_TIMEOUT_S = 60
IDLE_S = 300.0
IDLE_MAX = 16
UNHANDLED = "UnhandledInvocationError"
INITIALIZATION = "InitializationError"
_PR_SET_PDEATHSIG = 1
_TICK_MS = 1000 / os.sysconf("SC_CLK_TCK")
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one delivery ended: `body` is the function's answer, or Function Compute's error document.

    `error_type` is empty for an answer; otherwise it is the header `X-Fc-Error-Type`. Python errors are all
    UnhandledInvocationError there ("Error handling", Python runtime, 2026-03-31; HandledInvocationError is what
    Node.js callbacks return). `cold_ms` is what starting the instance took, 0 for a warm one, and no part of
    `busy_ms`; `cpu_ms` is the processor time of both, to the system's tick of some 10 ms.
    """

    body: bytes
    error_type: str
    busy_ms: float
    peak_mb: float
    cold_ms: float
    cpu_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Launch:
    """What every instance is started with."""

    home: Path
    python_path: tuple[Path, ...]
    overrides: Mapping[str, str]
    keys: Keys
    pipes_logs: bool = False  # so that a limit on the files of an instance does not fall on its log


class InstanceDiedError(Exception):
    """The process ended before it answered."""


class Instance:
    """One running process of one function."""

    def __init__(self, function: Function, launch: Launch, number: int) -> None:
        self.function = function
        self.created: float | None = time.perf_counter()  # until it is loaded
        self.idle_since = 0.0
        self.delivered_at: float | None = None
        self._cpu_seen_ms = 0.0
        self._launch = launch
        self._folder = launch.home / "host" / "tmp" / f"{function.name}-{os.getpid()}-{number}"
        self._folder.mkdir(parents=True)
        self._pid_file = launch.home / "host" / "instances" / self._folder.name
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self._socket = ours
        with theirs, _log_file(launch.home, function.name) as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
                # -S: site-packages come from the python path alone, as on Function Compute, and start-up is quicker.
                # -P: this folder must not shadow modules of the standard library.
                [sys.executable, "-S", "-s", "-P", str(Path(runtime.__file__).resolve()), str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if launch.pipes_logs else log,
                stderr=subprocess.STDOUT if launch.pipes_logs else log,
                cwd=function.code,
                env=environment(function, launch, self._folder),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                preexec_fn=_die_with_host(os.getpid()),
            )
        if self._process.stdout is not None:
            copying = (self._process.stdout, log_path(launch.home, function.name))
            threading.Thread(target=_copy_log, args=copying, daemon=True).start()
        # Its calls say which instance makes them; by this file that is a process again.
        self._pid_file.parent.mkdir(exist_ok=True)
        self._pid_file.write_text(str(self._process.pid))

    @property
    def process(self) -> int:
        """Its process id."""
        return self._process.pid

    async def load(self) -> tuple[bytes, str] | None:
        """Make the process ready for events; returns the error document and its type when it cannot be."""
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket)
        self._writer.write(runtime.pack(*(text.encode() for text in self._configuration())))
        try:
            async with asyncio.timeout(LOAD_TIMEOUT_S):
                message = await self._receive()
        except TimeoutError:
            return _document(f"Loading the function's code time out after {LOAD_TIMEOUT_S} seconds"), UNHANDLED
        if message[0] == b"error":
            return _error_document(message), UNHANDLED
        limit_s = self.function.initializer_timeout_s
        try:
            async with asyncio.timeout(limit_s):
                message = await self._receive()
        except TimeoutError:
            return _document(f"Function initialization time out after {limit_s} seconds"), INITIALIZATION
        return (_error_document(message), INITIALIZATION) if message[0] == b"error" else None

    async def invoke(self, request_id: str, event: bytes) -> list[bytes]:
        """Deliver one event and wait for the answer; TimeoutError after the function's timeout."""
        self._reset_peak()
        self.delivered_at = time.monotonic()
        self._writer.write(runtime.pack(request_id.encode(), event))
        async with asyncio.timeout(self.function.timeout_s):
            return await self._receive()

    def peak_mb(self) -> float:
        """The most memory the process held at once during its last event; 0 where the system does not tell."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) / 1024
        return 0.0

    def cpu_ms(self) -> float:
        """The processor time it took since this was last asked; 0 where the system does not tell."""
        with contextlib.suppress(OSError):
            # The name, in brackets, may hold blanks; utime and stime are fields 14 and 15 (man proc_pid_stat).
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            seen, before = (int(fields[11]) + int(fields[12])) * _TICK_MS, self._cpu_seen_ms
            self._cpu_seen_ms = seen
            return seen - before
        return 0.0

    def kill(self) -> None:
        """End the process and everything it started, at once, and remove its /tmp."""
        if self._process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        if hasattr(self, "_writer"):
            self._writer.close()
        self._socket.close()
        self._pid_file.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _configuration(self) -> list[str]:
        function, launch = self.function, self._launch
        return [
            function.name, function.handler, function.initializer, str(function.memory_mb), str(function.timeout_s),
            launch.keys.region, launch.keys.account_id, function.log_project, function.log_store,
            str(function.code), *map(str, launch.python_path),
        ]  # fmt: skip

    async def _receive(self) -> list[bytes]:
        try:
            size = int.from_bytes(await self._reader.readexactly(runtime.LENGTH_BYTES), "big")
            return runtime.unpack(await self._reader.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError) as exc:
            raise InstanceDiedError from exc

    def _reset_peak(self) -> None:
        # "5" resets VmHWM (man proc_pid_clear_refs). getrusage cannot be used: after exec it still has the parent's.
        with contextlib.suppress(OSError):
            Path(f"/proc/{self._process.pid}/clear_refs").write_text("5")


class Pool:
    """The instances of all functions: warm ones are used again, the longest idle ones end first."""

    def __init__(self, launch: Launch, idle_max: int = IDLE_MAX) -> None:
        self._launch = launch
        self._idle_max = idle_max
        self._idle: dict[str, deque[Instance]] = {}
        self._busy: set[Instance] = set()
        self._started = 0
        shutil.rmtree(launch.home / "host" / "tmp", ignore_errors=True)
        shutil.rmtree(launch.home / "host" / "instances", ignore_errors=True)

    def take(self, function: Function) -> Instance:
        """An instance for one event, the one used last if any is free, else a new one; give it to `run`."""
        idle = self._idle.get(function.name)
        if idle:
            instance = idle.pop()
        else:
            self._started += 1
            instance = Instance(function, self._launch, self._started)
        self._busy.add(instance)
        return instance

    async def run(self, instance: Instance, request_id: str, event: bytes) -> Outcome:
        """Deliver one event to an instance that was taken, and keep or end the instance."""
        try:
            outcome, reusable = await _delivered(instance, request_id, event)
        except BaseException:
            self._dispose(instance)
            raise
        if reusable:
            self._keep(instance)
        else:
            self._dispose(instance)
        return outcome

    def has_idle(self, function: str) -> bool:
        """Whether a warm instance of `function` is free."""
        return bool(self._idle.get(function))

    def longest_ms(self, function: str) -> float:
        """How long the event that `function` has been working on for longest has taken so far."""
        begun = [one.delivered_at for one in self._busy if one.function.name == function and one.delivered_at]
        return (time.monotonic() - min(begun)) * 1000 if begun else 0.0

    def end_idle(self) -> None:
        """End the instances that have been idle for long."""
        limit = time.monotonic() - IDLE_S
        for instances in self._idle.values():
            while instances and instances[0].idle_since < limit:
                instances.popleft().kill()

    def close(self) -> None:
        """End every instance."""
        for instance in [*self._busy, *(one for idle in self._idle.values() for one in idle)]:
            instance.kill()
        self._busy.clear()
        self._idle.clear()

    def _keep(self, instance: Instance) -> None:
        self._busy.discard(instance)
        instance.idle_since, instance.delivered_at = time.monotonic(), None
        self._idle.setdefault(instance.function.name, deque()).append(instance)
        if sum(map(len, self._idle.values())) > self._idle_max:
            min((idle for idle in self._idle.values() if idle), key=lambda idle: idle[0].idle_since).popleft().kill()

    def _dispose(self, instance: Instance) -> None:
        self._busy.discard(instance)
        instance.kill()


async def _delivered(instance: Instance, request_id: str, event: bytes) -> tuple[Outcome, bool]:
    """Load the instance if it is new and deliver; returns how it ended and whether the instance may serve again."""
    started, cold_ms = time.perf_counter(), 0.0
    function = instance.function

    def outcome(body: bytes, error_type: str) -> Outcome:
        busy_ms = (time.perf_counter() - started) * 1000
        return Outcome(body, error_type, busy_ms, instance.peak_mb(), cold_ms, instance.cpu_ms())

    try:
        if instance.created is not None:
            refused = await instance.load()
            started = time.perf_counter()
            cold_ms, instance.created = (started - instance.created) * 1000, None
            if refused is not None:
                return outcome(*refused), False
        message = await instance.invoke(request_id, event)
    except TimeoutError:
        return outcome(_document(f"Function time out after {function.timeout_s} seconds"), UNHANDLED), False
    except InstanceDiedError:
        return outcome(_exit_document(started, instance.peak_mb()), UNHANDLED), False
    if message[0] == b"error":
        return outcome(_error_document(message), UNHANDLED), True
    answered = outcome(message[1], "")
    if answered.peak_mb > function.memory_mb:
        # The cloud would have ended it in the middle; here it is noticed afterwards, which a repeat must bear too.
        text = f"Function ran out of memory: it used {answered.peak_mb:.0f} MB of its {function.memory_mb} MB"
        return outcome(_document(text, "FunctionOOMError"), UNHANDLED), False
    return answered, True


def environment(function: Function, launch: Launch, tmp: Path) -> dict[str, str]:
    """The environment of an instance: the template's, the overrides, Function Compute's own; nothing inherited.

    `/code` in PYTHONPATH, where Function Compute mounts the code, is the code folder here. Each instance has its
    own temporary folder `tmp`, as each has its own /tmp there; clocks run in UTC. Credentials are of the function's
    role and name the instance by its folder; without a role there are none, as on Function Compute.
    """
    mine = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    mine |= {"LANG": "C.UTF-8", "TZ": "UTC", "TMPDIR": str(tmp)}
    mine |= {**function.environment, **launch.overrides}
    if "PYTHONPATH" in mine:
        parts = mine["PYTHONPATH"].split(os.pathsep)
        mine["PYTHONPATH"] = os.pathsep.join(
            str(function.code) + part.removeprefix("/code") if part == "/code" or part.startswith("/code/") else part
            for part in parts
        )
    return mine | {
        "FC_FUNC_CODE_PATH": str(function.code),
        "FC_FUNCTION_NAME": function.name,
        "FC_REGION": launch.keys.region,
        "FC_ACCOUNT_ID": launch.keys.account_id,
        **_credentials(function, launch.keys, tmp.name),
    }


def _credentials(function: Function, keys: Keys, instance: str) -> dict[str, str]:
    if function.role == "":
        return {}
    issued = identity.issue(keys, function.role, function.name, instance, datetime.now(UTC))
    return {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": issued.access_key_id,
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": issued.access_key_secret,
        "ALIBABA_CLOUD_SECURITY_TOKEN": issued.security_token,
    }


def log_path(home: Path, function: str) -> Path:
    """Where a function's output goes."""
    return home / "logs" / "functions" / f"{function}.log"


def _log_file(home: Path, function: str) -> BinaryIO:
    path = log_path(home, function)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _copy_log(output: BinaryIO, path: Path) -> None:
    with output, path.open("ab", buffering=0) as log:
        while written := output.read1(1 << 16):  # type: ignore[attr-defined]  # Popen's pipes are buffered readers
            log.write(written)


def _die_with_host(host: int) -> Callable[[], None] | None:
    if _LIBC is None:
        return None
    libc = _LIBC

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != host:  # the host ended before the kernel was asked
            os._exit(1)

    return ask


def _error_document(message: list[bytes]) -> bytes:
    """An exception as Function Compute returns it, each stack frame a list of four texts."""
    _, kind, text, *frames = message
    stack = []
    for frame in frames:
        file, line, name, source = frame.decode().split("\n", 3)
        stack.append([f'File "{file}"', f"line {line}", f"in {name}", source])
    document = {"errorMessage": text.decode(), "errorType": kind.decode(), "stackTrace": stack}
    return json.dumps(document, indent=4, ensure_ascii=False).encode()


def _exit_document(started: float, peak_mb: float) -> bytes:
    spent_ms = (time.perf_counter() - started) * 1000
    text = f"(duration: {spent_ms:.0f}ms, maxMemoryUsage: {peak_mb:.0f}MB)"
    return _document(f"Process exited unexpectedly before completing request {text}")


def _document(message: str, kind: str | None = None) -> bytes:
    return json.dumps({"errorMessage": message, **({} if kind is None else {"errorType": kind})}).encode()
