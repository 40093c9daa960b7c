"""How long an object must stay (bucket WORM) and when it must go (bucket lifecycle): values, no storage."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final

DAYS_MAX: Final = 25_550  # developer-reference/initiatebucketworm: 1 to 25,550 days
LOCK_WINDOW: Final = timedelta(hours=24)  # developer-reference/completebucketworm


class WormState(enum.Enum):
    """Whether a retention policy may still be withdrawn."""

    IN_PROGRESS = "InProgress"
    LOCKED = "Locked"


@dataclass(frozen=True, slots=True)
class Worm:
    """A bucket's retention policy: objects stay for `days` after their last modification."""

    id: str
    state: WormState
    days: int
    created: datetime

    def is_active(self, now: datetime) -> bool:
        """A policy that nobody locks within 24 hours is void."""
        return self.state is WormState.LOCKED or now < self.created + LOCK_WINDOW

    def protects(self, modified: datetime, now: datetime) -> bool:
        """Whether an object last modified then may not be changed or removed now."""
        return self.is_active(now) and now < modified + timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Due:
    """When a rule acts: so many days after the last modification, or on all from before a date."""

    days: int | None = None
    before: datetime | None = None

    def is_due(self, modified: datetime, now: datetime) -> bool:
        """Whether the rule acts on what was last modified then."""
        if self.before is not None:
            return modified < self.before
        moment = self.expiry(modified)
        return moment is not None and moment <= now

    def expiry(self, modified: datetime) -> datetime | None:
        """When an object last modified then will be due; None where a date, not its age, decides."""
        # user-guide/the-reason-why-objects-in-a-bucket-are-not-deleted: the last modification is rounded up to
        # the next midnight in UTC, and the days are counted from there.
        return None if self.days is None else _midnight_after(modified) + timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Rule:
    """One lifecycle rule: what becomes of objects, and of unfinished uploads, under a prefix."""

    id: str
    prefix: str
    is_enabled: bool
    expiration: Due | None
    abort_multipart: Due | None

    def as_json(self) -> dict[str, Any]:
        """The rule as stored."""
        due = {"expiration": _due_json(self.expiration), "abort_multipart": _due_json(self.abort_multipart)}
        return {**asdict(self), **due}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rule:
        """The rule as it was stored."""
        due = {name: _due_from(value[name]) for name in ("expiration", "abort_multipart")}
        return cls(value["id"], value["prefix"], value["is_enabled"], **due)


def expiry_of(rules: tuple[Rule, ...], key: str, modified: datetime) -> tuple[datetime, str] | None:
    """The first moment a rule will remove the object, and that rule's id."""
    moments = [
        (moment, rule.id)
        for rule in rules
        if rule.is_enabled and rule.expiration is not None and key.startswith(rule.prefix)
        if (moment := rule.expiration.expiry(modified)) is not None
    ]
    return min(moments, default=None)


def _due_json(due: Due | None) -> dict[str, Any] | None:
    return None if due is None else {"days": due.days, "before": due.before and due.before.isoformat()}


def _due_from(value: Mapping[str, Any] | None) -> Due | None:
    if value is None:
        return None
    return Due(value["days"], value["before"] and datetime.fromisoformat(value["before"]))


def _midnight_after(instant: datetime) -> datetime:
    midnight = datetime.combine(instant.astimezone(UTC).date(), time(), UTC)
    return midnight if midnight == instant else midnight + timedelta(days=1)
