"""One after another, each by itself: whatever one of them meets stops no other, and is said at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from shared.errors import ClearbookError
from shared.steps.stopping import never

_SAID_MAX = 3  # problems that are told in full
_T = TypeVar("_T")


class UnfinishedError(ClearbookError):
    """Some could not be carried on with now; the others were."""

    code = "timer_unfinished"
    retryable = True


@dataclass(slots=True)
class Each:
    """What was done, and what could not be; no more is begun once `stop` says so."""

    stop: Callable[[], bool] = never
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of(self, items: Iterable[_T], work: Callable[[_T], Iterable[dict[str, Any]]], what: str) -> None:
        """Work at each; a defect that one of them brings out is a problem like others."""
        for item in items:
            if self.stop():
                return
            name = " ".join(item) if isinstance(item, tuple) else item
            try:
                self.outcomes += work(item)
            except ClearbookError as exc:
                self.problems.append(f"{what} {name}: {exc}")
            except Exception as exc:
                self.problems.append(f"{what} {name}: failed unexpectedly: {exc!r}; this is a defect")

    def finish(self) -> list[dict[str, Any]]:
        """What was done; raises UnfinishedError where something could not be."""
        if self.problems:
            first = "; ".join(self.problems[:_SAID_MAX])
            raise UnfinishedError(f"{len(self.problems)} could not be carried on with, first {first}")
        return self.outcomes
