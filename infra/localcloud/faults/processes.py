"""Which function instance is at the other end of a connection, and its end (Linux: /proc tells)."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable
from pathlib import Path

_TCP = Path("/proc/net/tcp")


def process_of(port: int, processes: Iterable[int]) -> int | None:
    """The one of `processes` whose socket on loopback has this port, or None."""
    inode = _inode(port)
    if inode is None:
        return None
    wanted = f"socket:[{inode}]"
    for process in processes:
        with contextlib.suppress(OSError):
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) == wanted:
                        return process
    return None


def kill(process: int) -> None:
    """End a process and all it started, at once, where it leads a group of its own, as instances do."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if os.getpgid(process) == process:
            os.killpg(process, signal.SIGKILL)
        else:
            os.kill(process, signal.SIGKILL)


def _inode(port: int) -> str | None:
    local = f"0100007F:{port:04X}"
    for line in _TCP.read_text().splitlines()[1:]:
        columns = line.split()
        if columns[1] == local:
            return columns[9]
    return None
