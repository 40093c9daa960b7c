"""Whether a caller may do something, asked at every call; and the record of what roles called.

The main account may do anything. A role may do what its policies allow; the file they are in is looked at before
each decision, and read again only when another process changed it. Over a home in which RAM was never started, a
service by itself allows everything.

With a file `home/record-calls` each (role, action, resource) that is asked for goes once to
`home/calls/<service>.jsonl`, whatever becomes of it. When the file says `learn`, everything is allowed as well: so
the first policies can be made from what a month calls.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path

from infra.localcloud.identity import Caller
from infra.localcloud.ram import policy, state
from infra.localcloud.ram.policy import Decision, Statement

LEARN = "learn"


class Authority:
    """The decisions of one service over one home."""

    def __init__(self, home: Path, service: str) -> None:
        self._home = home
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._roles: dict[str, tuple[Statement, ...]] = {}
        self._calls = _Calls(home, service)

    def decide(self, caller: Caller, action: str, resource: str, context: Mapping[str, str] | None = None) -> Decision:
        """Whether `caller` may do `action` on `resource`; `context` holds the condition keys the call has."""
        if caller.role == "":
            return Decision.ALLOWED
        if self._calls.are_recorded:
            self._calls.record(caller.role, action, resource, context or {})
            if self._calls.are_allowed:
                return Decision.ALLOWED
        if not state.path(self._home).exists():
            return Decision.ALLOWED
        return policy.decide(self._statements(caller.role), action, resource, context)

    def close(self) -> None:
        """Let go of the files."""
        if self._connection is not None:
            self._connection.close()
        self._calls.close()

    def _statements(self, role: str) -> tuple[Statement, ...]:
        """What is in force for a role; one that does not exist has no policies, so nothing is allowed."""
        if self._connection is None:
            # Not read-only: the first to open a write-ahead log must be able to make its shared memory.
            self._connection = sqlite3.connect(f"{state.path(self._home).as_uri()}?mode=rw", uri=True)
            self._connection.execute("PRAGMA query_only = ON")
        # Another connection's commit changes this number; asking for it reads one page of shared memory.
        version = self._connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._roles.clear()
            self._version = version
        if role not in self._roles:
            found = state.documents(self._connection, role) or []
            self._roles[role] = tuple(statement for text in found for statement in policy.parse(text))
        return self._roles[role]


class _Calls:
    """The record of one service: appended line by line, each line in one write, so that a kill loses none."""

    def __init__(self, home: Path, service: str) -> None:
        switch = home / "record-calls"
        self.are_recorded = switch.exists()
        self.are_allowed = self.are_recorded and switch.read_text().strip() == LEARN
        self._seen: set[tuple[str, str, str, str]] = set()
        self._file = -1
        if self.are_recorded:
            path = home / "calls" / f"{service}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            self._seen = {(role, action, resource, prefix) for role, action, resource, prefix in recorded(path)}
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def record(self, role: str, action: str, resource: str, context: Mapping[str, str]) -> None:
        prefix = context.get("oss:Prefix", "")
        call = (role, action, resource, prefix)
        if call in self._seen:
            return
        self._seen.add(call)
        said = {"role": role, "action": action, "resource": resource, **({"prefix": prefix} if prefix else {})}
        os.write(self._file, json.dumps(said, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)


def recorded(path: Path) -> Iterator[tuple[str, str, str, str]]:
    """The calls in a record: role, action, resource, and for a listing its prefix; a torn last line is left out."""
    if not path.exists():
        return
    for line in path.read_bytes().split(b"\n")[:-1]:
        said = json.loads(line)
        yield said["role"], said["action"], said["resource"], said.get("prefix", "")
