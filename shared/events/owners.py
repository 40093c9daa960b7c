"""Events for whoever asked for something: they are no entry of the chain, and are told to their owner alone.

Who leaves one makes its id of what it tells of, so that what is done again leaves the same object. Which owner an
event is for is in its key and in its body, and both must agree.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shared.events.events import month_of
from shared.events.types import EventType
from shared.ids import canonical_json, digest_of
from shared.ports import ObjectConflictError, ObjectStore

OWNERS = "outbox/owners/"
OPERATOR = "operator"
_OF_RUN = {"run": "text", "report": "text", "format": "text", "rows": "count", "because": "text", "expires_at": "text"}
_OF_SLOT = {
    "schedule": "text", "slot": "text", "report": "text", "format": "text", "run": "text", "link": "text",
    "because": "text", "skipped": "texts",
}  # fmt: skip
# All may be subscribed to.
TYPES: Mapping[str, EventType] = {
    one.name: one
    for one in (
        EventType("report.ready", "A report that was asked for is there.", _OF_RUN),
        EventType("report.failed", "A report that was asked for could not be made.", _OF_RUN),
        EventType("schedule.ready", "The report of a schedule is there, for one of its slots.", _OF_SLOT),
        EventType("schedule.failed", "The report of a schedule could not be made, for one of its slots.", _OF_SLOT),
    )
}
OWNER = re.compile(r"operator|(?:reseller|customer)\.[a-z0-9][a-z0-9-]{0,39}", re.ASCII)
_KEY = re.compile(rf"{OWNERS}20\d\d-\d\d/({OWNER.pattern})/([0-9a-f]{{32}})-([a-z_.]+)\.json", re.ASCII)


def owner_of_reseller(reseller: str) -> str:
    """A reseller as an owner."""
    return f"reseller.{reseller}"


@dataclass(frozen=True, slots=True)
class OwnerEvent:
    """One event of an owner; `about` tells it from all others of its type."""

    owner: str
    name: str  # of TYPES
    about: str
    at: str
    data: Mapping[str, Any]

    @property
    def id(self) -> str:
        """What tells it from others, as 32 hex digits."""
        return digest_of([self.owner, self.name, self.about])[:32]

    @property
    def key(self) -> str:
        """Its object (bucket work)."""
        return f"{OWNERS}{month_of(self.at)}/{self.owner}/{self.id}-{self.name}.json"

    @property
    def body(self) -> bytes:
        """As it is written: a CloudEvent, as all others."""
        return canonical_json(
            {
                "specversion": "1.0",
                "id": self.id,
                "source": f"/clearbook/{self.owner}",
                "type": f"clearbook.{self.name}",
                "subject": self.about,
                "time": self.at,
                "datacontenttype": "application/json",
                "dataschema": TYPES[self.name].schema,
                "data": self.data,
            }
        )

    def leave(self, work: ObjectStore) -> None:
        """Leave it in the bucket; what was told of the same before stays told."""
        with suppress(ObjectConflictError):
            work.put_once(self.key, self.body)


def parse_key(key: str) -> tuple[str, str, str] | None:
    """The owner, the id and the name that an event's key says, or None where it is no owner's."""
    match = _KEY.fullmatch(key)
    return (match[1], match[2], match[3]) if match and match[3] in TYPES else None
