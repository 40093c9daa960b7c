"""The whole local cloud: OSS, Tablestore, BSS, RAM, Log Service, an issuer and the function host over one home folder.

The services are processes of their own that end with the one that started them; state stays in the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from infra.localcloud import common
from infra.localcloud.client import HostClient
from infra.localcloud.common import LOOPBACK, Keys, LocalCloudError, Service
from infra.localcloud.faults.plan import Plan, write

PREDECESSOR_WAIT_S = 15.0
DATA_SERVICES = ("oss", "tablestore", "bss")
ADMIN_SERVICES = ("ram", "sls")  # no function calls them
ISSUER = "issuer"  # signs people in; it does not misbehave


class LocalCloud:
    """A running local cloud; make it with `start`, end it with `stop` or by leaving its `with` block."""

    def __init__(self, home: Path, lock: int) -> None:
        self._home, self._lock = home, lock
        self._services: dict[str, Service] = {}
        self._keys = common.load_keys(home)

    def __enter__(self) -> LocalCloud:
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    @property
    def home(self) -> Path:
        """The folder that holds its state."""
        return self._home

    @property
    def keys(self) -> Keys:
        """Its one account and access key."""
        return self._keys

    @property
    def host(self) -> HostClient:
        """Speaks to its function host."""
        return HostClient(self._url("host"), self._keys.control_token)

    def endpoints(self) -> dict[str, dict[str, str]]:
        """Where each service answers and what to sign with, as the SDKs take it."""
        signing = {
            "region": self._keys.region,
            "access_key_id": self._keys.access_key_id,
            "access_key_secret": self._keys.access_key_secret,
        }
        return {
            "oss": {"endpoint": self._url("oss"), **signing},
            "tablestore": {"endpoint": self._url("tablestore"), "instance": self._keys.instance, **signing},
            "bss": {"endpoint": self._url("bss").removeprefix("http://"), "protocol": "HTTP", **signing},
            "ram": {"endpoint": self._url("ram").removeprefix("http://"), "protocol": "HTTP", **signing},
            "sls": {"endpoint": self._url("sls"), **signing},
            "issuer": {"endpoint": self._url(ISSUER), "token": self._keys.control_token},
            "host": {"endpoint": self._url("host"), "token": self._keys.control_token},
        }

    def check(self) -> None:
        """Raise LocalCloudError when a service has ended by itself, naming it and its log."""
        for service in self._services.values():
            code = service.process.poll()
            if code is not None:
                raise LocalCloudError(
                    f"the local {service.name} service ended with exit code {code}; "
                    f"see {self._home / 'logs' / f'{service.name}.log'}, then start the local cloud again"
                )

    def stop(self) -> None:
        """End every service, functions first; state stays. Does nothing the second time."""
        for name in reversed(list(self._services)):
            self._services.pop(name).stop()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _url(self, name: str) -> str:
        return f"http://{LOOPBACK}:{self._services[name].port}"

    def _start(self, arguments: Mapping[str, Sequence[str]], ports: Mapping[str, int]) -> None:
        """Start services side by side and wait for all of them."""
        begun = [
            common.begin(name, self._home, *options, port=_usable(ports.get(name, 0)), hold=[self._lock])
            for name, options in arguments.items()
        ]
        try:
            while begun:
                self._services[begun[0].name] = begun[0].ready()
                begun.pop(0)
        finally:
            for unready in begun:
                unready.process.kill()
                unready.process.wait()


def start(
    home: Path,
    template: Path,
    code: Path | None,
    python_path: Sequence[Path],
    environment: Mapping[str, str] | None = None,
    instances: int = 4,
    describe_qps: int = 10,
    faults: Plan | None = None,
    people: Sequence[str] = (),
) -> LocalCloud:
    """Start all services over `home` and wait until they answer.

    Functions run from `code`, or without it from the directories that the template names. They get the template's
    environment, the endpoints, then `environment`, the later winning. `describe_qps` is
    BSS's quota of DescribeInstanceBill calls a second and main account, 10 in the service. Everything misbehaves by
    the plan `faults`, which is kept in `home/faults.json`. `people` can sign in at the issuer, with the passwords of
    `home/issuer/people.json`. Call it from a
    thread that lives as long as the cloud: the kernel ends the services with the thread that started them.
    """
    home = home.resolve()
    cloud = LocalCloud(home, _lock(home))
    try:
        ports = _ports(home)
        quota = ["--describe-qps", str(describe_qps)]
        misbehave = _faults(home, faults)
        options: dict[str, list[str]] = {name: [] for name in ADMIN_SERVICES}
        options[ISSUER] = [f"--person={one}" for one in people]
        options |= {name: [*misbehave, *(quota if name == "bss" else [])] for name in DATA_SERVICES}
        cloud._start(options, ports)
        settings = home / "host" / "environment.json"
        settings.parent.mkdir(exist_ok=True)
        # Functions are told where people reach the portal, so its port is chosen before the host starts.
        ports["host"] = _usable(ports.get("host", 0)) or _free()
        portal = {"CLEARBOOK_PORTAL": f"http://{LOOPBACK}:{ports['host']}/http/portal"}
        overrides = {**_endpoint_settings(cloud), **portal, **(environment or {})}
        common.write_atomically(settings, json.dumps(overrides, indent=2).encode(), mode=0o600)
        paths = [argument for path in python_path for argument in ("--python-path", str(path))]
        host = [
            "--template", str(template), *([] if code is None else ["--code", str(code)]), *paths,
            "--environment", str(settings), "--instances", str(instances), *misbehave,
        ]  # fmt: skip
        cloud._start({"host": host}, ports)
        now = {name: service.port for name, service in cloud._services.items()}
        common.write_atomically(home / "ports.json", json.dumps(now, indent=2).encode())
    except BaseException:
        cloud.stop()
        raise
    return cloud


def _faults(home: Path, plan: Plan | None) -> list[str]:
    path = home / "faults.json"
    if plan is None:
        path.unlink(missing_ok=True)
        return []
    common.write_atomically(path, write(plan))
    return ["--faults", str(path)]


def _endpoint_settings(cloud: LocalCloud) -> dict[str, str]:
    return {
        "CLEARBOOK_OSS_ENDPOINT": cloud._url("oss"),
        "CLEARBOOK_TABLESTORE_ENDPOINT": cloud._url("tablestore"),
        "CLEARBOOK_TABLESTORE_INSTANCE": cloud.keys.instance,
        "CLEARBOOK_BSS_ENDPOINT": cloud._url("bss").removeprefix("http://"),
        "CLEARBOOK_BSS_PROTOCOL": "HTTP",
        "CLEARBOOK_STS_ENDPOINT": cloud._url("bss").removeprefix("http://"),
        "CLEARBOOK_STS_PROTOCOL": "HTTP",
        "CLEARBOOK_REGION": cloud.keys.region,
        "CLEARBOOK_OIDC_ISSUER": cloud._url(ISSUER),
    }


def has_ended(home: Path) -> bool:
    """Whether a local cloud ran over `home` and does no more."""
    try:
        descriptor = os.open(home / "lock", os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _lock(home: Path) -> int:
    """Keep others out of `home`; the services hold the lock too, so it is free only once all of them have ended."""
    home.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    deadline = time.monotonic() + PREDECESSOR_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode().strip()
            # A starter that was killed leaves services that are just ending; a living one keeps its home.
            if _is_alive(holder) or time.monotonic() > deadline:
                os.close(descriptor)
                raise LocalCloudError(
                    f"a local cloud already runs over {home} (process {holder or 'unknown'}); "
                    "stop it, or give another home"
                ) from None
            time.sleep(0.02)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _is_alive(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError):
        return True
    return True


def _ports(home: Path) -> dict[str, int]:
    with contextlib.suppress(FileNotFoundError, ValueError, AttributeError):
        return {str(name): int(port) for name, port in json.loads((home / "ports.json").read_bytes()).items()}
    return {}


def _usable(port: int) -> int:
    """`port` when it is free, else 0: links and settings of an earlier run stay good where they can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return 0
    return port


def _free() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
