"""What goes wrong, and when: a plan is a small document that names faults, or draws them from a seed.

A draw depends on the seed and on what is called (service, call, subject, how often before), never on the order in
which things happen: the same plan makes the same calls fail again, whatever else runs at the same time.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from infra.localcloud.common import LocalCloudError

MILLION = 1_000_000
SERVICES = ("oss", "tablestore", "bss", "host")
BATCH = "BatchWriteRow"  # the one call that has rows to fail


class Fault(StrEnum):
    """What can go wrong. `EVENT_FAULTS` befall an event, `INVOCATION_FAULTS` one delivery of it, the rest one call."""

    LOSE_REQUEST = "lose_request"  # the connection ends before anything took effect
    LOSE_RESPONSE = "lose_response"  # it took effect, and the connection ends without an answer
    CUT_RESPONSE = "cut_response"  # it took effect, and the connection ends in the middle of the answer
    THROTTLE = "throttle"  # refused for the number of calls
    SERVER_ERROR = "server_error"  # refused with an error of the service's own
    DOUBTFUL_ERROR = "doubtful_error"  # it took effect, and is answered with such an error
    TIME_OUT = "time_out"  # it took effect, and no answer comes until the caller gives up
    DELAY = "delay"  # the answer is late
    REFUSE_SIGNATURE = "refuse_signature"  # refused as badly signed
    FAIL_ROWS = "fail_rows"  # every other row of a batch is refused for a passing reason
    KILL_BEFORE = "kill_before"  # the calling process is killed before the call takes effect
    KILL_AFTER = "kill_after"  # the calling process is killed when it has taken effect
    KILL_WITHIN = "kill_within"  # the calling process is killed at a byte of what it sends
    FILL_DISK = "fill_disk"  # no file of the function may grow beyond some bytes
    TWICE = "twice"  # the event comes a second time
    LATE = "late"  # the event comes when no other waits
    OUT_OF_ORDER = "out_of_order"  # the event comes after some that are younger


EVENT_FAULTS = (Fault.TWICE, Fault.LATE, Fault.OUT_OF_ORDER)
INVOCATION_FAULTS = (Fault.KILL_BEFORE, Fault.KILL_AFTER, Fault.KILL_WITHIN, Fault.FILL_DISK)
CALL_FAULTS = tuple(one for one in Fault if one not in (*EVENT_FAULTS, Fault.FILL_DISK))
# What a plan drawn from a seed may give each kind, in parts per million of all calls, deliveries or events.
_CALLS_MOST = {
    Fault.LOSE_REQUEST: 12_000,
    Fault.LOSE_RESPONSE: 12_000,
    Fault.CUT_RESPONSE: 8_000,
    Fault.THROTTLE: 20_000,
    Fault.SERVER_ERROR: 12_000,
    Fault.DOUBTFUL_ERROR: 12_000,
    Fault.TIME_OUT: 400,  # each costs the caller's whole patience
    Fault.DELAY: 20_000,
    Fault.REFUSE_SIGNATURE: 1_500,
    Fault.FAIL_ROWS: 100_000,
}
_DELIVERIES_MOST = {
    Fault.KILL_BEFORE: 20_000,
    Fault.KILL_AFTER: 20_000,
    Fault.KILL_WITHIN: 10_000,
    Fault.FILL_DISK: 10_000,
}
_EVENTS_MOST = dict.fromkeys(EVENT_FAULTS, 60_000)


@dataclass(frozen=True, slots=True)
class Call:
    """One thing that can go wrong: `attempt` counts, from 1, the same call on the same subject."""

    service: str
    name: str
    subject: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Rule:
    """Names a fault for the calls that have everything it asks for; `call` and `subject` are patterns with `*`."""

    fault: Fault
    service: str = "*"
    call: str = "*"
    subject: str = "*"
    attempt: int | None = None

    def takes(self, call: Call) -> bool:
        """Whether the call is meant."""
        return (
            fnmatchcase(call.service, self.service)
            and fnmatchcase(call.name, self.call)
            and fnmatchcase(call.subject, self.subject)
            and self.attempt in (None, call.attempt)
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """Shares are parts per million by fault; rules come before them. A chance fault befalls a subject at most
    `attempts_most` times, so that whoever keeps trying gets through."""

    seed: int = 0
    calls: Mapping[Fault, int] = field(default_factory=dict)
    deliveries: Mapping[Fault, int] = field(default_factory=dict)
    events: Mapping[Fault, int] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    attempts_most: int = 3
    delay_ms: int = 40
    hold_ms: int = 60_000  # how long an answer that never comes is withheld
    disk_bytes: int = 4096  # what a file may hold on a full disk
    functions_only: bool = False  # spare callers with a lasting access key: people's commands

    def of_call(self, call: Call) -> Fault | None:
        """What befalls this call to a service."""
        for rule in self.rules:
            if rule.fault in CALL_FAULTS and rule.takes(call):
                return rule.fault
        fault = self._drawn(self.calls, call)
        return None if fault is Fault.FAIL_ROWS and call.name != BATCH else fault

    def of_delivery(self, call: Call) -> Fault | None:
        """What befalls this delivery of an event to a function (`call.name`)."""
        for rule in self.rules:
            if rule.fault in INVOCATION_FAULTS and rule.service == "host" and rule.takes(call):
                return rule.fault
        return self._drawn(self.deliveries, call)

    def of_event(self, call: Call) -> Fault | None:
        """What befalls this event on its way to a function (`call.name`)."""
        for rule in self.rules:
            if rule.fault in EVENT_FAULTS and rule.takes(call):
                return rule.fault
        return self._drawn(self.events, call)

    def number(self, most: int, *what: object) -> int:
        """A number from 1 to `most`, the same for the same question."""
        return 1 + _draw(self.seed, "number", *what) % most

    def _drawn(self, shares: Mapping[Fault, int], call: Call) -> Fault | None:
        if not shares or call.attempt > self.attempts_most:
            return None
        left = _draw(self.seed, call.service, call.name, call.subject, call.attempt) % MILLION
        for fault, share in shares.items():
            if left < share:
                return fault
            left -= share
        return None


def drawn(seed: int, *, functions_only: bool = True) -> Plan:
    """The plan of a seed: each kind of fault with a share of its own, some not at all."""
    chance = random.Random(seed)  # noqa: S311 - a draw that can be had again, no secret

    def shares(most: Mapping[Fault, int]) -> dict[Fault, int]:
        return {fault: chance.randrange(limit) for fault, limit in most.items() if chance.random() < 0.7}

    calls, deliveries, events = shares(_CALLS_MOST), shares(_DELIVERIES_MOST), shares(_EVENTS_MOST)
    return Plan(seed, calls, deliveries, events, functions_only=functions_only)


def read(path: Path) -> Plan:
    """The plan in a file; raises LocalCloudError naming what cannot be right."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise LocalCloudError(f"{path}: no readable plan of faults ({exc}); expected a JSON object") from exc
    return parse(data, str(path))


def parse(data: Any, place: str) -> Plan:
    """The plan that a document says."""
    known = {one.name for one in fields(Plan)}
    if not isinstance(data, dict):
        raise LocalCloudError(f"{place}: a plan is an object with {', '.join(sorted(known))}, not {data!r}")
    _only(data, known, place)
    numbers = {
        name: _whole(data[name], f"{place}: {name}", 0 if name in ("seed", "delay_ms") else 1)
        for name in ("seed", "attempts_most", "delay_ms", "hold_ms", "disk_bytes")
        if name in data
    }
    rules = data.get("rules", [])
    if not isinstance(rules, list):
        raise LocalCloudError(f"{place}: rules is {rules!r}; expected a list")
    functions_only = data.get("functions_only", False)
    if not isinstance(functions_only, bool):
        raise LocalCloudError(f"{place}: functions_only is {functions_only!r}; expected true or false")
    return Plan(
        calls=_shares(data, "calls", CALL_FAULTS, place),
        deliveries=_shares(data, "deliveries", INVOCATION_FAULTS, place),
        events=_shares(data, "events", EVENT_FAULTS, place),
        rules=tuple(_rule(one, f"{place}: rules[{number}]") for number, one in enumerate(rules)),
        functions_only=functions_only,
        **numbers,
    )


def write(plan: Plan) -> bytes:
    """The document of a plan, which `parse` reads."""
    return json.dumps(asdict(plan), indent=2, sort_keys=True).encode()


def _only(data: Mapping[str, Any], known: set[str], place: str) -> None:
    for name in data:
        if name not in known:
            raise LocalCloudError(f"{place}: {name!r} is unknown; expected one of {', '.join(sorted(known))}")


def _whole(value: Any, place: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise LocalCloudError(f"{place} is {value!r}; expected a whole number, {least} or more")
    return value


def _shares(data: Mapping[str, Any], name: str, allowed: tuple[Fault, ...], place: str) -> dict[Fault, int]:
    shares = data.get(name, {})
    if not isinstance(shares, dict):
        raise LocalCloudError(f"{place}: {name} is {shares!r}; expected parts per million by fault")
    _only(shares, {str(one) for one in allowed}, f"{place}: {name}")
    found = {Fault(fault): _whole(share, f"{place}: {name}.{fault}", 0) for fault, share in shares.items()}
    if sum(found.values()) > MILLION:
        raise LocalCloudError(f"{place}: the shares of {name} are {sum(found.values())} together; at most {MILLION}")
    return found


def _rule(data: Any, place: str) -> Rule:
    if not isinstance(data, dict) or "fault" not in data:
        raise LocalCloudError(f"{place} is {data!r}; expected an object with a fault")
    _only(data, {one.name for one in fields(Rule)}, place)
    if not isinstance(data["fault"], str) or data["fault"] not in set(Fault):
        raise LocalCloudError(f"{place}: fault is {data['fault']!r}; expected one of {', '.join(Fault)}")
    for name in ("service", "call", "subject"):
        if not isinstance(data.get(name, ""), str):
            raise LocalCloudError(f"{place}: {name} is {data[name]!r}; expected a text, which may hold *")
    service = data.get("service", "*")
    if not any(fnmatchcase(one, service) for one in SERVICES):
        raise LocalCloudError(f"{place}: service is {service!r}; expected one of {', '.join(SERVICES)}")
    attempt = data.get("attempt")
    attempt = None if attempt is None else _whole(attempt, f"{place}: attempt", 1)
    return Rule(**{**data, "fault": Fault(data["fault"]), "attempt": attempt})


def _draw(*what: object) -> int:
    return int.from_bytes(hashlib.blake2b(repr(what).encode(), digest_size=8).digest(), "big")
