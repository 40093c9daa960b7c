"""What schedules ask of reports: the requests, and nothing of how they are answered."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from shared.cycle import Cycle
from shared.services import Services
from shared.steps.delivering.each import Each


class Standing(StrEnum):
    """Where an owner's month stands."""

    NOTHING = "nothing"  # is known of it
    OPEN = "open"
    FINAL = "final"  # nothing of it changes any more


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended."""

    is_ready: bool
    because: str = ""  # why it failed, and what to do


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for, by whom: their rights are looked at when it is asked, not when it was planned."""

    owner: str
    by: str  # the id of the person or key
    ask: Mapping[str, Any]  # as `asking.parse_ask` takes it
    format: str
    today: date  # what presets count from


@dataclass(frozen=True, slots=True)
class Reports:
    """Reports as schedules use them. All are safe to repeat.

    `check` raises ClearbookError for what could not be asked, with nothing done. `request` gives the id of the run,
    the same while the data is the same. `outcome` is None while it is not finished. `link` leads people to it, and is
    the same each time.
    """

    check: Callable[[Services, Wanted, str], None]  # at an instant
    request: Callable[[Services, Wanted, str], str]  # at an instant, too
    outcome: Callable[[Services, str, str], Outcome | None]  # of an owner's run
    link: Callable[[Services, Wanted, str, str], str]  # to a run, for whoever asked for it, and for a slot
    wake: Callable[[Services, datetime, Each], None]  # the makers of runs whose order was lost
    standing: Callable[[Services, str, Cycle], Standing]  # of an owner's month
