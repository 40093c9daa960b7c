"""Allocation mappings of an owner, version by version: written once, found by when they were submitted.

A mapping changes no money that anybody owes, so one person may submit one. What is asked later of an earlier moment
gets what was in force then. Checking needs models, which functions do not carry: `submitting` does that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.cycle import parse_instant
from shared.errors import ClearbookError
from shared.ids import digest
from shared.ports import Row
from shared.report.allocation.mapping import AllocationMapping, over, parse_mapping
from shared.services import Services

TABLE = "mappings"  # (owner, "<id>/<version, 8 digits>")


class DamagedMappingError(ClearbookError):
    """What is stored is not what was submitted."""

    code = "damaged_mapping"

    def __init__(self, owner: str, name: str) -> None:
        super().__init__(f"allocation mapping {name} of {owner} has another digest than when it was submitted; "
                         "find out who changed it, then submit a new version")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Submitted:
    """A version as it was submitted."""

    owner: str
    mapping: AllocationMapping
    body: bytes  # canonical JSON
    by: str
    at: str


def in_force(services: Services, owner: str, id_: str, at: str) -> AllocationMapping | None:
    """The mapping by all its versions that were submitted by the instant `at`; None where there is none.

    On each day the newest version holds that says anything of that day.
    """
    instant = parse_instant(at, "at")
    found = [one.mapping for one in versions(services, owner, id_) if parse_instant(one.at, "at") <= instant]
    return over(found) if found else None


def versions(services: Services, owner: str, id_: str) -> list[Submitted]:
    """The versions of one mapping, oldest first."""
    return list(_rows(services, owner, f"{id_}/", f"{id_}0"))  # "0" is the sign behind "/"


def listed(services: Services, owner: str) -> Sequence[Submitted]:
    """Every version of every mapping of an owner, by id and version."""
    return list(_rows(services, owner, "", "\U0010ffff"))


def count(services: Services, owner: str) -> int:
    """How many versions of all its mappings an owner has."""
    start, end = (("owner", owner), ("name", "")), (("owner", owner), ("name", "\U0010ffff"))
    return sum(1 for _ in services.rows.range(TABLE, start, end))


def key(owner: str, id_: str, version: int) -> tuple[tuple[str, str], tuple[str, str]]:
    """Where a version lies."""
    return ("owner", owner), ("name", f"{id_}/{version:08}")


def submitted(row: Row) -> Submitted:
    """What a row holds."""
    owner, name, body = str(row["owner"]), str(row["name"]), str(row["body"]).encode()
    if digest(body) != row["digest"]:
        raise DamagedMappingError(owner, name)
    return Submitted(owner, parse_mapping(body, name), body, str(row["by"]), str(row["at"]))


def _rows(services: Services, owner: str, first: str, last: str) -> Iterator[Submitted]:
    start, end = (("owner", owner), ("name", first)), (("owner", owner), ("name", last))
    yield from map(submitted, services.rows.range(TABLE, start, end))
