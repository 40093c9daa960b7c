"""Run the function host over one home folder: `python -m infra.localcloud.host --home DIR --template s.yaml …`."""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from pathlib import Path

from infra.localcloud.common import Clock, LocalCloudError, load_keys, run
from infra.localcloud.faults import plan
from infra.localcloud.faults.service import add_option
from infra.localcloud.host import template
from infra.localcloud.host.dispatch import Dispatcher
from infra.localcloud.host.feed import OssFeed
from infra.localcloud.host.instances import Launch, Pool
from infra.localcloud.host.misbehave import HostFaults
from infra.localcloud.host.queue import Queue
from infra.localcloud.host.server import Server
from infra.localcloud.host.timers import Timers

PREDECESSOR_WAIT_S = 10.0


def main() -> None:
    """Serve until terminated."""
    arguments = _arguments()
    home: Path = arguments.home.resolve()
    (home / "host").mkdir(parents=True, exist_ok=True)
    with (home / "host" / "lock").open("w") as lock:
        try:
            _take(lock.fileno())
            server = _server(arguments, home)
        except LocalCloudError as exc:
            sys.exit(str(exc))
        run(server.app(), arguments.port)


def _server(arguments: argparse.Namespace, home: Path) -> Server:
    keys, clock = load_keys(home), Clock(home)
    overrides = {} if arguments.environment is None else json.loads(arguments.environment.read_bytes())
    loaded = template.load(arguments.template, arguments.code, keys, overrides)
    queue = Queue(home / "host" / "host.db")
    python_path = tuple(path.resolve() for path in arguments.python_path)
    faults = None if arguments.faults is None else HostFaults(plan.read(arguments.faults), home)
    pool = Pool(Launch(home, python_path, overrides, keys, pipes_logs=faults is not None))
    dispatcher = Dispatcher(
        loaded, queue, OssFeed(home / "oss" / "oss.db"), pool, clock, keys,
        slots=arguments.instances, backoff_s=arguments.backoff, faults=faults,
    )  # fmt: skip
    return Server(dispatcher, Timers(loaded.timers, dispatcher, queue, clock, home), clock, keys)


def _take(descriptor: int) -> None:
    """Wait for a host that is just ending over the same folder, then keep others out."""
    deadline = time.monotonic() + PREDECESSOR_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LocalCloudError("another function host runs over this home; stop it first") from None
            time.sleep(0.02)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="infra.localcloud.host")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--code", type=Path, help="every function's code; default: what the template says of each")
    parser.add_argument("--python-path", type=Path, action="append", default=[])
    parser.add_argument("--environment", type=Path)
    parser.add_argument("--instances", type=int, default=4)
    parser.add_argument("--backoff", type=float, default=0.05, help="seconds before the first repeat, then doubling")
    add_option(parser)
    return parser.parse_args()


if __name__ == "__main__":
    main()
