"""What the local services share: their keys, their clock, how one is started and how it ends.

Every service is a process of its own over one folder, `home`. It prints one line, `ready <port>`, when it
answers, serves on loopback only, and ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiohttp import web

LOOPBACK = "127.0.0.1"
START_TIMEOUT_S = 30
# aiohttp's default cuts bodies at 1 MiB; services refuse what is too large with their own error instead.
BODY_MAX = 1 << 40


class LocalCloudError(Exception):
    """The local cloud itself cannot do what it was asked; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Keys:
    """The one main account that the local cloud knows, and its access key."""

    account_id: str
    region: str
    access_key_id: str
    access_key_secret: str
    instance: str
    control_token: str


def load_keys(home: Path) -> Keys:
    """The keys of the local cloud in `home`, made on its first start and kept from then on."""
    path = home / "keys.json"
    if not path.exists():
        keys = Keys(
            account_id="1000000000000001",
            region="cn-hangzhou",
            access_key_id="LTAI" + secrets.token_hex(8),
            access_key_secret=secrets.token_urlsafe(24),
            instance="clearbook",
            control_token=secrets.token_urlsafe(24),
        )
        home.mkdir(parents=True, exist_ok=True)
        home.chmod(0o700)  # keys and bills are nobody else's
        write_atomically(path, json.dumps(asdict(keys), indent=2).encode(), mode=0o600)
    try:
        return Keys(**json.loads(path.read_bytes()))
    except (ValueError, TypeError) as exc:
        raise LocalCloudError(f"{path} is damaged ({exc}); restore it, or give another home") from exc


def write_atomically(path: Path, body: bytes, mode: int = 0o644) -> None:
    """Replace `path` by `body`, so that a reader sees the old file or the new one, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


class Clock:
    """The cloud's business time: the system's, until it is set; once set it stands still until set again.

    Timers, event times, bill availability and retention follow it. Signatures and their expiry follow the
    system clock, because the SDKs that sign know no other.
    """

    def __init__(self, home: Path) -> None:
        self._path = home / "clock"

    def now(self) -> datetime:
        """The current business time, in UTC."""
        try:
            return datetime.fromisoformat(self._path.read_text())
        except FileNotFoundError:
            return datetime.now(UTC)

    def set(self, instant: datetime | None) -> None:
        """Stop the clock at `instant` (any zone); None lets it run with the system's again."""
        if instant is None:
            self._path.unlink(missing_ok=True)
            return
        if instant.tzinfo is None:
            raise LocalCloudError(f"the clock needs a time with its zone, such as 2025-06-01T00:00:00Z, not {instant}")
        write_atomically(self._path, instant.astimezone(UTC).isoformat().encode())


@dataclass(frozen=True, slots=True)
class Service:
    """A running service process and the loopback port it answers on."""

    name: str
    process: subprocess.Popen[str]
    port: int

    def stop(self) -> None:
        """End the service and wait for it; state on disk stays."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True, slots=True)
class Starting:
    """A service process that was started and does not answer yet."""

    name: str
    process: subprocess.Popen[str]
    log: Path

    def ready(self) -> Service:
        """Wait until it answers; raises LocalCloudError with the end of its log when it does not come up."""
        assert self.process.stdout is not None  # noqa: S101 - stdout=PIPE in begin()
        line = self.process.stdout.readline().split()
        if line[:1] == ["ready"]:
            return Service(self.name, self.process, int(line[1]))
        self.process.kill()
        self.process.wait()
        tail = self.log.read_text(errors="replace")[-2000:]
        raise LocalCloudError(f"the local {self.name} service did not start; the end of {self.log}:\n{tail}")


def begin(name: str, home: Path, *arguments: str, port: int = 0, hold: Sequence[int] = ()) -> Starting:
    """Start `python -m infra.localcloud.<name>` over `home` without waiting for it, so that several start at once.

    `port` 0 takes a free one; the descriptors in `hold` stay open in it, so that a lock behind one is held until the
    service has ended too. Its log goes to `home/logs/<name>.log`.
    """
    log_path = home / "logs" / f"{name}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", f"infra.localcloud.{name}", "--home", str(home), "--port", str(port), *arguments]
    # A proxy in the environment would be asked for 127.0.0.1 too (some SDKs ignore NO_PROXY).
    environment = {k: v for k, v in os.environ.items() if k.lower() not in {"http_proxy", "https_proxy", "all_proxy"}}
    with log_path.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603 - our own module, no shell
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            stdin=subprocess.DEVNULL,
            text=True,
            env=environment,
            pass_fds=tuple(hold),
        )
    return Starting(name, process, log_path)


def start(name: str, home: Path, *arguments: str, port: int = 0) -> Service:
    """Start `python -m infra.localcloud.<name>` over `home` and wait until it answers.

    `port` 0 takes a free one. Its log goes to `home/logs/<name>.log`. Raises LocalCloudError when it does not
    come up, with the end of that log.
    """
    return begin(name, home, *arguments, port=port).ready()


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, however the parent ended (Linux only)."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGTERM)


def run(app: web.Application, port: int) -> None:
    """Serve `app` on loopback until terminated; prints `ready <port>` once connections are accepted.

    Make the application with `client_max_size=BODY_MAX` so that the service decides what is too large.
    """
    import asyncio

    from aiohttp import web

    async def serve() -> None:
        # A body is what was sent: aiohttp would otherwise unpack one whose Content-Encoding is gzip.
        runner = web.AppRunner(app, access_log=None, handle_signals=False, auto_decompress=False)
        await runner.setup()
        site = web.TCPSite(runner, LOOPBACK, port, reuse_address=True)
        await site.start()
        bound = runner.addresses[0][1]
        print(f"ready {bound}", flush=True)  # noqa: T201 - the starter waits for this line
        stopped = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        await stopped.wait()
        await runner.cleanup()

    # Standard error is the service's log file.
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    die_with_parent()
    asyncio.run(serve())
