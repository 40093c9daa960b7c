"""Rows of an owner that change one version at a time: who changes what another changed meanwhile learns it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from shared.errors import ClearbookError
from shared.ids import canonical_json
from shared.ports import Key, Row
from shared.services import Services

SCHEDULES, SLOTS, WEBHOOKS, DELIVERIES = "schedules", "slots", "webhooks", "deliveries"
DELETED = "deleted"  # of a schedule: its row stays, for what it delivered
DUE = "due"  # the column of the index: a row without it waits for nothing
_LAST = "\U0010ffff"
_TRIES = 5
_ID_MAX = 200


class UnknownIdError(ClearbookError):
    """There is none of this id, or none of this owner: the two look alike."""

    code = "unknown_id"

    def __init__(self, what: str, id_: str) -> None:
        super().__init__(f"there is no {what} {id_[:80]!r}; list them to see which there are")


class ChangedMeanwhileError(ClearbookError):
    """Others changed the same row again and again."""

    code = "changed_meanwhile"
    retryable = True


@dataclass(frozen=True, slots=True)
class Kept:
    """A row as it was read."""

    table: str
    owner: str
    id: str
    version: int
    said: dict[str, Any]
    due: str = ""


def find(services: Services, table: str, owner: str, id_: str) -> Kept | None:
    """The row, or None."""
    # Longer than any of ours, and longer than a key may be: asked for by somebody who tries.
    row = services.rows.get(table, _key(owner, id_)) if len(id_) <= _ID_MAX else None
    return None if row is None else _kept(table, row)


def create(services: Services, table: str, owner: str, id_: str, said: dict[str, Any], due: str = "") -> Kept:
    """The row, made if there was none: whether it is what was said here its reader sees."""
    services.rows.create(table, _key(owner, id_), _columns(1, said, due))
    found = find(services, table, owner, id_)
    if found is None:
        raise ChangedMeanwhileError(f"{table} {id_} is gone as soon as it was made; run it again")
    return found


def replace(services: Services, kept: Kept, said: dict[str, Any], due: str = "") -> Kept | None:
    """The row with this instead; None where somebody changed it since it was read."""
    columns = _columns(kept.version + 1, said, due)
    put = services.rows.put_newer(kept.table, [(_key(kept.owner, kept.id), columns)], "version")
    found = Kept(kept.table, kept.owner, kept.id, kept.version + 1, said, due)
    # An answer that was lost makes the adapter's own repeat find the row as new as its own.
    return found if put or find(services, kept.table, kept.owner, kept.id) == found else None


def change(
    services: Services, what: str, table: str, owner: str, id_: str,
    changed: Callable[[Kept], tuple[dict[str, Any], str] | None],
) -> Kept:  # fmt: skip
    """The row after a change, which is given it as it is and says what and when due, or None for nothing to do.

    Raises UnknownIdError, and ChangedMeanwhileError where others never let it through.
    """
    for _ in range(_TRIES):
        kept = find(services, table, owner, id_)
        if kept is None:
            raise UnknownIdError(what, id_)
        wanted = changed(kept)
        found = kept if wanted is None else replace(services, kept, *wanted)
        if found is not None:
            return found
    raise ChangedMeanwhileError(f"{what} {id_} was changed by others {_TRIES} times meanwhile; run it again")


def of_owner(services: Services, table: str, owner: str, prefix: str = "") -> Iterator[Kept]:
    """The rows of an owner, of which those whose ids begin so, by id."""
    for row in services.rows.range(table, _key(owner, prefix), _key(owner, prefix + _LAST)):
        yield _kept(table, row)


def newest(services: Services, table: str, owner: str, before: str, limit: int) -> list[Kept]:
    """The last rows of an owner by id, or the last before an id."""
    rows = services.rows.range(table, _key(owner, before or _LAST), _key(owner, ""), backward=True, limit=limit + 1)
    return [_kept(table, row) for row in rows if row["id"] != before][:limit]


def due(services: Services, table: str, until: str) -> list[tuple[str, str]]:
    """(owner, id) of the rows that are due up to an instant, longest due first, each owner in turn.

    So that nobody waits for all of another's, who may have many and slow ones.
    """
    start, end = (((DUE, when), ("owner", ""), ("id", "")) for when in ("", until + _LAST))
    rows = services.rows.range(f"{table}_due", start, end)
    turns, found = Counter[str](), list[tuple[int, str, str]]()
    for row in rows:
        owner = str(row["owner"])
        found.append((turns[owner], owner, str(row["id"])))
        turns[owner] += 1
    return [(owner, id_) for _, owner, id_ in sorted(found, key=lambda one: one[0])]


def _key(owner: str, id_: str) -> Key:
    return (("owner", owner), ("id", id_))


def _columns(version: int, said: dict[str, Any], due: str) -> dict[str, str | int]:
    columns: dict[str, str | int] = {"version": version, "said": canonical_json(said).decode()}
    return columns | ({DUE: due} if due else {})


def _kept(table: str, row: Row) -> Kept:
    said = json.loads(str(row["said"]))
    return Kept(table, str(row["owner"]), str(row["id"]), int(row["version"]), said, str(row.get(DUE, "")))
