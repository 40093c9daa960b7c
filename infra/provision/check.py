"""One thing a deployment needs: whether it is there, missing, or there and wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import ClearbookError


class State(StrEnum):
    """How something was found."""

    FINE = "fine"
    MISSING = "missing"
    WRONG = "wrong"


class UnfitError(ClearbookError):
    """Something is there and is not as it must be; nothing was changed."""

    code = "unfit_target"


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at and found. What is missing can be made; what is wrong is for people, who read `problem`.

    `make` is one step that is safe to repeat: a run that is killed before or after it goes on from what is there.
    """

    what: str
    state: State
    problem: str = ""
    make: Callable[[], None] | None = None


def fine(what: str) -> Check:
    """It is there, and as it must be."""
    return Check(what, State.FINE)


def missing(what: str, make: Callable[[], None]) -> Check:
    """It is not there yet."""
    return Check(what, State.MISSING, make=make)


def wrong(what: str, problem: str, remedy: str, make: Callable[[], None] | None = None) -> Check:
    """It is there and wrong; with `make` it can be put right where people ask for that."""
    return Check(what, State.WRONG, f"{what} {problem}; {remedy}", make)
