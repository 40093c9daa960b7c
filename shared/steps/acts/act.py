"""What an act is: how it is proposed, what must still hold when it is approved, and what follows from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.chain.entry import Entry
from shared.control.approvals import Needs, Proposal
from shared.errors import BadInputError
from shared.services import Services


@dataclass(frozen=True, slots=True)
class Who:
    """Who does something, why and when (UTC text)."""

    by: str
    why: str
    at: str

    def named(self) -> dict[str, str]:
        """As arguments."""
        return {"by": self.by, "why": self.why, "at": self.at}


@dataclass(frozen=True, slots=True)
class Proposed:
    """What was proposed, and what could not be with the reason, or is to be looked at."""

    proposals: Sequence[Proposal]
    notes: Sequence[str] = ()


def nothing_follows(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    """An act that orders no work."""
    return []


def nothing_to_check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    """An act that still fits whatever came since."""


def one_approver(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    """One other person."""
    return Needs()


@dataclass(frozen=True, slots=True)
class Act:
    """One kind of decision."""

    name: str
    propose: Callable[
        [Services, Mapping[str, Any], Who], Proposed
    ]  # of plain data; refuses names that it does not know
    check: Callable[[Services, list[Entry], Proposal], None]  # raises where it no longer fits the stream as it is
    carry_out: Callable[[Services, str, Mapping[str, Any]], list[str]]  # the orders that were written
    show: Callable[[Services, Proposal], list[str]]  # what an approver is to look at
    needs: Callable[[Services, list[Entry], Proposal], Needs] = one_approver


def fields(
    asked: Mapping[str, Any], needed: Mapping[str, type], may: Mapping[str, type] | None = None
) -> dict[str, Any]:
    """What is asked for, each of its type; refused where something is missing, unknown or of another type."""
    known = {**needed, **(may or {})}
    for name in asked:
        if name not in known:
            raise BadInputError(str(name), "is not a known name here", f"known are {', '.join(known)}")
    for name, kind in known.items():
        if name not in asked and name in needed:
            raise BadInputError(name, "is missing", f"give it as {_said(kind)}")
        if name in asked and (not isinstance(asked[name], kind) or (kind is int and isinstance(asked[name], bool))):
            raise BadInputError(name, f"is {str(asked[name])[:80]!r}", f"give it as {_said(kind)}")
    return dict(asked)


def _said(kind: type) -> str:
    return {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "an object"}[kind]
