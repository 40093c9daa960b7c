"""What was tried to mend a loss, and when it is worth trying again: small objects `stuck/…` in bucket work.

No correctness rests on them: without them the sweep tries at once what it would have left for later, and counts
from the beginning.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta

from shared.cycle import parse_instant, stamp
from shared.errors import BadInputError
from shared.ids import canonical_json, digest
from shared.services import Services
from shared.steps.losses.loss import KINDS, Loss

PREFIX = "stuck/"
# After the first, second, ... try. Some minutes less than whole days, so that a nightly sweep is never just too early.
WAITS = tuple(timedelta(minutes=minutes) for minutes in (15, 60, 350, 1_430, 2_870, 10_070))


@dataclass(frozen=True, slots=True)
class Tried:
    """A loss that remained after a sweep."""

    kind: str
    key: str
    cycle: str
    owner: str
    since: str  # when it was due, or first missed
    cause: str
    tries: int
    last: str  # when it was last tried, or first seen
    problem: str  # what the last try met; empty while the step was only woken

    @property
    def name(self) -> tuple[str, str]:
        """That of the loss."""
        return self.kind, self.key

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return KINDS[self.kind].remedy

    @property
    def object_key(self) -> str:
        """Where it is kept (bucket work)."""
        return f"{PREFIX}{self.kind}/{digest(self.key.encode())[:32]}.json"

    def is_due(self, now: datetime) -> bool:
        """Whether another try is worth it."""
        if self.tries == 0:
            return True
        return now >= parse_instant(self.last) + WAITS[min(self.tries, len(WAITS)) - 1]

    def is_late(self, now: datetime) -> bool:
        """Whether it is missing longer than the bound of its kind."""
        return now - parse_instant(self.since) > KINDS[self.kind].bound


def first_seen(loss: Loss, now: datetime) -> Tried:
    """A loss that no sweep has met before."""
    since = stamp(loss.since or now)
    return Tried(loss.kind, loss.key, loss.cycle, loss.owner, since, loss.cause, 0, stamp(now), "")


def tried(before: Tried, loss: Loss, now: datetime, problem: str) -> Tried:
    """The record after one more try."""
    return replace(before, cause=loss.cause, tries=before.tries + 1, last=stamp(now), problem=problem)


def keep(services: Services, one: Tried) -> None:
    """Keep the record for the next sweep."""
    services.buckets.work.put_again(one.object_key, canonical_json(asdict(one)))


def forget(services: Services, one: Tried) -> None:
    """The loss is mended."""
    services.buckets.work.delete(one.object_key)


def kept(services: Services) -> Mapping[tuple[str, str], Tried]:
    """The records of the sweeps before, by the losses' names; one that cannot be read is none."""
    found = {}
    for key in services.buckets.work.keys(PREFIX):
        body = services.buckets.work.find(key)
        one = _parse(body) if body is not None else None
        if one is not None and one.object_key == key:
            found[one.name] = one
    return found


def _parse(body: bytes) -> Tried | None:
    try:
        one = Tried(**json.loads(body))
        parse_instant(one.since), parse_instant(one.last)
    except (ValueError, TypeError, BadInputError, RecursionError):
        return None
    return one if one.kind in KINDS and isinstance(one.tries, int) and one.tries >= 0 else None
