"""Allocation mappings over HTTP: each for its owner; what is another's is as if it were not there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from shared.cloud.http import Answer, Request, Route
from shared.services import Services

Who = Callable[[Request], tuple[str, str]]  # the subject, and whose documents are theirs, as Scope.owner says it


def routes(services: Services, who: Who) -> Sequence[Route]:
    """Every address."""
    desk = _Mappings(services, who)
    return (Route("GET", "/v1/mappings", desk.listed), Route("POST", "/v1/mappings", desk.submit))


@dataclass(frozen=True, slots=True)
class _Mappings:
    services: Services
    who: Who

    def listed(self, request: Request) -> Answer:
        """Every version, as it was submitted."""
        from shared.steps.reporting import mappings

        _, owner = self.who(request)
        found = [
            {"allocation": one.mapping.id, "version": one.mapping.versions[0], "by": one.by, "at": one.at}
            for one in mappings.listed(self.services, owner)
        ]
        return Answer({"mappings": found})

    def submit(self, request: Request) -> Answer:
        """Keep a version; the same again is what it was before."""
        from shared.steps.acts.act import fields
        from shared.steps.reporting.submitting import submit

        by, owner = self.who(request)
        asked = fields(request.json(), {"name": str, "text": str})
        found = submit(self.services, owner, asked["text"].encode(), by, request.at)
        version = found.version
        return Answer(
            {
                "owner": owner,
                "allocation": version.mapping.id,
                "version": version.mapping.versions[0],
                "new": found.is_new,
                "warnings": [list(one) for one in found.warnings],
            }
        )
