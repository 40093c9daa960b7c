"""Checks the local cloud with independent clients: installs them with npm, starts the services, runs every *.test.js.

The clients and everything they need are pinned in package-lock.json, which holds integrity hashes and no addresses, so
npm takes them from whatever registry it is set up with. To add one, in this folder:
`npm install --package-lock-only --omit-lockfile-registry-resolved --save-exact NAME@VERSION`.

Usage: python -m tests.interop.run [FILE.test.js ...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.localcloud import common

HERE = Path(__file__).resolve().parent
BUILD = HERE.parent.parent / "build" / "interop"  # ignored by git
PINS = ("package.json", "package-lock.json")
NODE_LEAST = (20, 0)
INSTALL = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]


class InteropError(Exception):
    """The clients cannot be run; the message says what is missing."""


def main(arguments: Sequence[str]) -> int:
    """Run the tests of these files, of all without any; the exit code is that of node."""
    try:
        node, npm = _tools()
        _install(npm)
    except InteropError as problem:
        print(f"interop: {problem}", file=sys.stderr)
        return 2
    files = [str(HERE / Path(name).name) for name in arguments] or [
        str(path) for path in sorted(HERE.glob("*.test.js"))
    ]
    with tempfile.TemporaryDirectory(prefix="interop-") as folder:
        return _run([node, "--test", "--test-reporter=spec", *files], Path(folder))


def _run(command: Sequence[str], home: Path) -> int:
    services: list[common.Service] = []
    try:
        for name in ("oss", "tablestore"):
            services.append(common.start(name, home))
        return subprocess.run(command, env=_environment(home, services), check=False).returncode
    finally:
        for service in services:
            service.stop()


def _environment(home: Path, services: Sequence[common.Service]) -> Mapping[str, str]:
    """Where the services answer and what to sign with; no proxy is asked for either."""
    keys, ports = common.load_keys(home), {service.name: service.port for service in services}
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {
        **kept,
        "NODE_PATH": str(BUILD / "node_modules"),
        # ali-oss puts the bucket into the host name of an address, but not of a name with sldEnable.
        "OSS_ENDPOINT": f"http://localhost:{ports['oss']}",
        "OTS_ENDPOINT": f"http://localhost:{ports['tablestore']}",
        "OTS_INSTANCE": keys.instance,
        "ACCESS_KEY_ID": keys.access_key_id,
        "ACCESS_KEY_SECRET": keys.access_key_secret,
        "REGION": keys.region,
    }


def _tools() -> tuple[str, str]:
    """node and npm, new enough."""
    needed = f"Node.js {NODE_LEAST[0]} or newer, with npm"
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        missing = " and ".join(name for name, path in (("node", node), ("npm", npm)) if path is None)
        raise InteropError(f"{missing} not found; install {needed}, and put both on the PATH")
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(part) for part in told.removeprefix("v").split(".")[:2]) < NODE_LEAST:
        raise InteropError(f"{node} is {told}; install {needed}")
    return node, npm


def _install(npm: str) -> None:
    """The pinned clients in the build folder; nothing to do when they are there."""
    stamp = BUILD / ".installed"
    pins = b"".join((HERE / name).read_bytes() for name in PINS)
    if stamp.exists() and stamp.read_bytes() == pins:
        return
    print(f"interop: installing the clients into {BUILD}", flush=True)
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in PINS:
        shutil.copyfile(HERE / name, BUILD / name)
    if subprocess.run([npm, *INSTALL], cwd=BUILD, check=False).returncode != 0:
        raise InteropError(f"npm ci failed in {BUILD}; its message is above")
    stamp.write_bytes(pins)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
