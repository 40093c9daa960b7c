"""What is found by a secret that was shown once: rows by its hash, and by whose they are.

The secret is 32 random bytes, so its plain hash tells nothing of it. A row is never removed: what was revoked is known
to be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from shared.ids import canonical_json
from shared.ports import Key, Row
from shared.services import Services
from shared.steps.delivering.kept import UnknownIdError

_ID = 20  # digits of the hash by which people name it


@dataclass(frozen=True, slots=True)
class Held:
    """A row."""

    table: str
    hash: str
    owner: str
    said: Mapping[str, Any]

    @property
    def id(self) -> str:
        """How people name it: it tells nothing of the secret."""
        return self.hash[:_ID]

    @property
    def is_revoked(self) -> bool:
        """Whether somebody took it back."""
        return bool(self.said["revoked_at"])

    def is_over(self, at: str) -> bool:
        """Whether its time has come; both are stamps."""
        return bool(self.said["expires_at"] <= at)


def id_of(secret: str) -> str:
    """How people name what a secret leads to."""
    return _hash(secret)[:_ID]


def keep(services: Services, table: str, secret: str, owner: str, said: Mapping[str, Any]) -> Held:
    """Make the row of a secret; made again it is as it was."""
    held = Held(table, _hash(secret), owner, {**said, "revoked_at": ""})
    services.rows.create(table, _key(held.hash), _columns(held))
    return held


def find(services: Services, table: str, secret: str) -> Held | None:
    """The row of a secret, or None."""
    row = services.rows.get(table, _key(_hash(secret)))
    return None if row is None else _held(table, row)


def of_owner(services: Services, table: str, owner: str) -> Iterator[Held]:
    """The rows of an owner."""
    # A blank is before every sign that an owner's name may have.
    start, end = ((("owner", one), ("hash", "")) for one in (owner, f"{owner} "))
    for row in services.rows.range(f"{table}_owner", start, end):
        found = services.rows.get(table, _key(str(row["hash"])))
        if found is not None:
            yield _held(table, found)


def revoke(services: Services, table: str, what: str, owner: str, id_: str, at: str) -> Held:
    """Take one back, for good; again changes nothing. Raises UnknownIdError for another owner's, too."""
    for one in of_owner(services, table, owner):
        if one.id == id_:
            if one.is_revoked:
                return one
            revoked = Held(table, one.hash, owner, {**one.said, "revoked_at": at})
            services.rows.put(table, _key(one.hash), _columns(revoked))
            return revoked
    raise UnknownIdError(what, id_)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(hash_: str) -> Key:
    return (("hash", hash_),)


def _columns(held: Held) -> dict[str, str | int]:
    return {"owner": held.owner, "said": canonical_json(held.said).decode()}


def _held(table: str, row: Row) -> Held:
    return Held(table, str(row["hash"]), str(row["owner"]), json.loads(str(row["said"])))
