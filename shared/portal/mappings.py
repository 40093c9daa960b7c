"""Allocation mappings over HTTP: each for its owner; what is another's is as if it were not there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.access.roles import REPORTS
from shared.cloud.http import Request, Route
from shared.portal.door import RUN, Door
from shared.services import Services

if TYPE_CHECKING:
    from shared.access.principal import Principal


def routes(services: Services, door: Door) -> Sequence[Route]:
    """Every address."""
    desk = _Mappings(services)
    return (
        Route("GET", "/v1/mappings", door.reading(desk.listed)),
        Route("POST", "/v1/mappings", door.doing(desk.submit, cost=RUN)),
    )


@dataclass(frozen=True, slots=True)
class _Mappings:
    services: Services

    def listed(self, who: Principal, request: Request) -> Any:
        """Every version, as it was submitted."""
        from shared.steps.reporting import mappings

        who.need(REPORTS)
        found = [
            {"allocation": one.mapping.id, "version": one.mapping.versions[0], "by": one.by, "at": one.at}
            for one in mappings.listed(self.services, who.owner)
        ]
        return {"mappings": found}

    def submit(self, who: Principal, request: Request) -> Any:
        """Keep a version; the same again is what it was before."""
        from shared.steps.acts.act import fields
        from shared.steps.reporting.submitting import submit

        who.need(REPORTS)
        asked = fields(request.json(), {"name": str, "text": str})
        found = submit(self.services, who.owner, asked["text"].encode(), who.id, request.at)
        version = found.version
        return {
            "owner": who.owner,
            "allocation": version.mapping.id,
            "version": version.mapping.versions[0],
            "new": found.is_new,
            "warnings": [list(one) for one in found.warnings],
        }
