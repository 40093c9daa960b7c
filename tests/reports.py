"""The small month with prices, and people of every view who ask the portal for reports of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from functions import portal
from infra.clearbook.people import OWNER, PREPARER
from shared.steps.acts import grants, price_plans
from tests.builders import ACME, DAYS, P1, item
from tests.desk import Names, event
from tests.granted import granted
from tests.pump import World, go_live, small_month
from tests.unit.test_pricing import plan

ADDRESS = "https://portal.example"
PEOPLE = {  # subject: (role, whose)
    "ria": ("reseller", "aurora"),
    "bo": ("reseller", "borealis"),
    "carl": ("customer", "acme"),
    "vic": ("customer_viewer", "acme"),
    "ann": ("analyst", ""),
    "ada": ("admin", ""),
}


def month(scratch: Path) -> World:
    """The month, settled; everybody has their role."""
    world = World(scratch)
    small_month(world, [(P1, DAYS[2], item(ACME, "40.00", "oss")), (P1, DAYS[1], item(ACME, "-10.00", Item="Refund"))])
    go_live(world)
    for one in (plan("op", "aurora", "80"), plan("aurora", "acme", "90")):
        named = {"by": PREPARER, "why": "sold so", "at": world.at}
        world.approve(price_plans.propose_price_plan(world.services, one, one["price_plan"], **named))
    for user, (role, of) in PEOPLE.items():
        named = {"by": PREPARER, "why": "reads reports", "at": world.at}
        world.approve(grants.propose_grant(world.services, user, user.title(), role, of, **named))
    world.final()
    return world


@dataclass
class Client:
    """The portal over a world, as anybody speaks to it; `at` is the platform's clock."""

    world: World
    at: str = "2025-07-05T04:00:00Z"
    small_lines: int = 20_000
    headers: Mapping[str, str] = field(default_factory=dict)

    def __call__(
        self, who: str, method: str, path: str, said: object = None, **headers: str
    ) -> tuple[int, Any]:  # fmt: skip
        path, _, query = path.partition("?")
        body = "" if said is None else json.dumps(said)
        came = json.loads(event(method, path, body, token=who, at=self.at, **headers))
        came["queryParameters"] = dict(parse_qsl(query))
        services = granted(self.world.services, "portal")
        answer = json.loads(
            portal.run(json.dumps(came).encode(), services, Names(), OWNER, None, ADDRESS, self.small_lines)
        )
        self.headers = answer["headers"]
        return answer["statusCode"], json.loads(answer["body"] or "null")

    def done(self, who: str, method: str, path: str, said: object = None, **headers: str) -> Any:
        """What is answered where it is done."""
        status, found = self(who, method, path, said, **headers)
        assert status in (200, 202), found
        return found

    def run(self, who: str, report: str = "billing_summary", **said: Any) -> Any:
        """A run of the month."""
        asked = {"report": report, "from": "2025-06", "to": "2025-06", **said}
        return self.done(who, "POST", "/v1/report-runs", asked)
