"""What a plan of faults does to events on their way to a function, and to the function while it has one."""

from __future__ import annotations

import contextlib
import logging
import resource
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from infra.localcloud.faults.plan import Call, Fault, Plan
from infra.localcloud.faults.service import order_kill, withdraw_kill
from infra.localcloud.host.queue import Delivery, Invocation

LOG = logging.getLogger(__name__)
SERVICE = "host"
UNTIL_IDLE = 0
_OVERTAKEN_MOST = 5
_CALLS_MOST = 12


class HostFaults:
    """The host under a plan."""

    def __init__(self, plan: Plan, home: Path) -> None:
        self._plan, self._home = plan, home
        self._limits: dict[int, int | None] = {}  # by process, while its disk is full
        self._seen: Counter[tuple[str, str]] = Counter()
        for order in (home / "host" / "kill").glob("*"):  # of processes that an earlier host had
            order.unlink(missing_ok=True)

    def taken(self, deliveries: Sequence[Delivery]) -> list[tuple[Delivery, int | None]]:
        """The events as they come: some twice; with each, how many younger ones pass before it, or None."""
        found: list[tuple[Delivery, int | None]] = []
        for delivery in deliveries:
            self._seen[delivery.function, delivery.subject] += 1
            times = self._seen[delivery.function, delivery.subject]
            fault = self._plan.of_event(Call(SERVICE, delivery.function, delivery.subject, times))
            if fault is not None:
                LOG.info("%s: %s %s", fault, delivery.function, delivery.subject)
            if fault is Fault.LATE:
                found.append((delivery, UNTIL_IDLE))
            elif fault is Fault.OUT_OF_ORDER:
                found.append((delivery, self._plan.number(_OVERTAKEN_MOST, delivery.function, delivery.subject)))
            else:
                found += [(delivery, None)] * (2 if fault is Fault.TWICE else 1)
        return found

    def begin(self, invocation: Invocation, process: int) -> None:
        """Let happen to the process what the plan has for this delivery."""
        call = Call(SERVICE, invocation.function, invocation.subject, invocation.attempts + 1)
        fault = self._plan.of_delivery(call)
        if fault is not None:
            LOG.info("%s: %s %s, delivery %d", fault, invocation.function, invocation.subject, call.attempt)
        if fault is Fault.FILL_DISK:
            self._limits[process] = limit_files(process, self._plan.disk_bytes)
        elif fault is not None:
            calls = self._plan.number(_CALLS_MOST, invocation.function, invocation.subject, invocation.attempts)
            order_kill(self._home, process, fault, calls)

    def end(self, process: int) -> None:
        """Its delivery has ended."""
        withdraw_kill(self._home, process)
        limit = self._limits.pop(process, None)
        if limit is not None:
            limit_files(process, limit)


def limit_files(process: int, size: int) -> int | None:
    """Let no file of the process grow beyond `size` bytes: writing more fails, as it does on a full disk.

    Returns the limit there was, or None where there is no such process. The error is EFBIG where a full disk gives
    ENOSPC; a disk of its own for each instance would need a mount. Linux only.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError, AttributeError):
        soft, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
        resource.prlimit(process, resource.RLIMIT_FSIZE, (size, hard))
        return soft
    return None
