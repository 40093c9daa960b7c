"""Snapshots and seals: what an account's bill for a cycle says, and who saw it say so when.

A snapshot is content: the day parts by date, named by their digest. A seal is an observation of it, an entry in
the chain stream of the account and cycle; the same snapshot may be sealed many times. What a seal says of its files
is an object of its own once it is too much for an entry.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from decimal import Decimal
from typing import Any

from shared.bill.pulls import asked
from shared.chain.entry import Entry
from shared.ids import Digest, canonical_json, digest
from shared.money import text

SEALED = "sealed"
OBSERVED = "observed"  # as a seal, of a source that the cycle is not settled from
_LIST_BYTES = 32 * 1024  # of what an entry, which has 64 KB, says of files and rejects itself
PROVISIONAL, FINAL = "provisional", "final"


def stream_of(account: str, cycle: str) -> str:
    """The chain stream of an account's bill."""
    return f"bill/{account}/{cycle}"


@dataclass(frozen=True, slots=True)
class Part:
    """What is known of a day part without opening it."""

    digest: Digest
    rows: int
    totals: Mapping[str, Mapping[str, str]]  # currency -> {"gross": ..., "pretax": ...} as exact text
    accounts: Mapping[str, int]  # owner account -> lines


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The day parts of one account and cycle."""

    account: str
    cycle: str
    parts: Mapping[str, Part] = field(default_factory=dict)  # by date

    @property
    def body(self) -> bytes:
        """The manifest; its digest is the snapshot's id."""
        parts = {day: asdict(part) for day, part in self.parts.items()}
        return canonical_json({"account": self.account, "cycle": self.cycle, "parts": parts})

    @property
    def id(self) -> Digest:
        """The digest of the manifest."""
        return digest(self.body)

    @property
    def key(self) -> str:
        """The manifest's object."""
        return snapshot_key(self.account, self.cycle, self.id)

    @property
    def rows(self) -> int:
        """Lines over all parts."""
        return sum(part.rows for part in self.parts.values())

    @property
    def totals(self) -> dict[str, dict[str, str]]:
        """Exact sums over all parts, by currency."""
        sums: dict[str, dict[str, Decimal]] = {}
        for part in self.parts.values():
            for currency, amounts in part.totals.items():
                into = sums.setdefault(currency, {})
                for name, value in amounts.items():
                    into[name] = into.get(name, Decimal(0)) + Decimal(value)
        return {currency: {name: text(value) for name, value in amounts.items()} for currency, amounts in sums.items()}

    @property
    def accounts(self) -> set[str]:
        """The owner accounts that have a line."""
        return {account for part in self.parts.values() for account in part.accounts}

    def part_key(self, day: str) -> str:
        """The object of a day's part."""
        return part_key(self.account, self.cycle, day, self.parts[day].digest)


def part_key(account: str, cycle: str, day: str, digest_: str) -> str:
    """The object that holds a day part (bucket work)."""
    return f"parts/{account}/{cycle}/{day}/{digest_}.parquet"


def snapshot_key(account: str, cycle: str, id_: str) -> str:
    """The object that holds a snapshot's manifest (bucket work)."""
    return f"snapshots/{account}/{cycle}/{id_}.json"


def parse_snapshot(body: bytes) -> Snapshot:
    """The snapshot whose manifest is `body`."""
    data = json.loads(body)
    return Snapshot(data["account"], data["cycle"], {day: Part(**part) for day, part in data["parts"].items()})


@dataclass(frozen=True, slots=True)
class Seal:
    """An observation: which snapshot, from which pulls, provisional or final, and how it compares to the controls."""

    account: str
    cycle: str
    slot: str
    source: str
    status: str
    snapshot: Digest
    rows: int
    totals: Mapping[str, Mapping[str, str]]
    pulls: Mapping[str, str]  # date -> slot it was last taken from
    rejects: Mapping[str, Mapping[str, Any]]  # date -> {"count", "key"}
    control: Mapping[str, Any]  # {"key", "differences", "attempt"}
    read: Mapping[str, str] = field(default_factory=dict)  # date -> digest of what its part was built from
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # bill files by the object's key
    listed: Digest | None = None  # of the object that has `files` and `rejects`, where the entry has neither
    seq: int = 0  # its place in the stream, once it has one

    def body(self) -> dict[str, Any]:
        """What its entry holds."""
        data = asdict(self)
        del data["seq"]
        if self.listed is None:
            del data["listed"]
        return data

    def shortened(self) -> tuple[Seal, bytes]:
        """The seal as its entry has room for it, and what its list then holds; nothing where the entry has it all."""
        listed = canonical_json({"files": self.files, "rejects": self.rejects})
        if not self.files or len(listed) <= _LIST_BYTES:
            return self, b""
        return replace(self, files={}, rejects={}, listed=digest(listed)), listed

    def completed(self, listed: bytes) -> Seal:
        """The seal with what its list holds."""
        data = json.loads(listed)
        return replace(self, files=data["files"], rejects=data["rejects"])

    @property
    def is_of_files(self) -> bool:
        """Whether it was read from bill files."""
        return bool(self.files) or self.listed is not None

    @property
    def list_key(self) -> str:
        """The object that has what is listed (bucket work), beside the snapshots."""
        return snapshot_key(self.account, self.cycle, f"files-{self.listed}")

    @property
    def key(self) -> str:
        """The object whose event wakes the next step (bucket work)."""
        return f"seals/{self.account}/{self.cycle}/{self.seq:06d}.json"


def seals(entries: list[Entry]) -> list[Seal]:
    """The seals of a stream, oldest first."""
    return [Seal(**entry.body, seq=entry.seq) for entry in entries if entry.kind == SEALED]


def observations(entries: list[Entry], source: str) -> list[Seal]:
    """What a source said, settled from it or not, oldest first."""
    found = (entry for entry in entries if entry.kind in (SEALED, OBSERVED) and entry.body["source"] == source)
    return [Seal(**entry.body, seq=entry.seq) for entry in found]


def merge(
    previous: Snapshot, last: Seal | None, slot: str, parts: Mapping[str, Part]
) -> tuple[Snapshot, dict[str, str]]:
    """The snapshot with the slot's `parts` in place of older ones, and the slot each date now comes from.

    A date that a newer slot has already delivered keeps that: the newest observation wins, not the last to arrive.
    """
    taken = dict(last.pulls) if last else {}
    merged = dict(previous.parts)
    for day, part in parts.items():
        if asked(taken.get(day, "")) <= asked(slot):
            merged[day], taken[day] = part, slot
    return Snapshot(previous.account, previous.cycle, merged), taken
