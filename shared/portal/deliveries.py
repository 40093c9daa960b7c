"""Schedules, webhooks and deliveries over HTTP, each for its owner: what is another's is as if it were not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.access.roles import EXPORT
from shared.cloud.http import Answer, Request, Route
from shared.cycle import parse_instant
from shared.errors import BadInputError
from shared.portal.door import RUN, Carried, Door, number
from shared.portal.openapi_parts import DATA, TEXT, TEXTS, collection, do, limit, listed, named, read, shape
from shared.services import Services
from shared.steps.delivering.reports import Reports

if TYPE_CHECKING:
    from shared.access.principal import Principal

_PAGE, _PAGE_MAX = 50, 100
_DELIVERY_ID = re.compile(r"msg_\w{1,60}", re.ASCII)


def routes(services: Services, reports: Callable[[], Reports], door: Door) -> Sequence[Route]:
    """Every address. What makes reports is asked for when it is needed: most requests do without."""
    desk = _Deliveries(services, reports)

    def reading(answer: Carried) -> Callable[..., Answer]:
        return door.reading(_allowed(answer))

    def doing(answer: Carried, *secrets: str) -> Callable[..., Answer]:
        return door.doing(_allowed(answer), cost=RUN, secrets=secrets)

    return (
        Route("GET", "/v1/schedules", reading(desk.schedules)),
        Route("POST", "/v1/schedules", doing(desk.create)),
        Route("GET", "/v1/schedules/<id>", reading(desk.schedule)),
        Route("POST", "/v1/schedules/<id>/pause", doing(desk.pause)),
        Route("POST", "/v1/schedules/<id>/resume", doing(desk.resume)),
        Route("POST", "/v1/schedules/<id>/delete", doing(desk.delete)),
        Route("GET", "/v1/webhooks", reading(desk.webhooks)),
        Route("POST", "/v1/webhooks", doing(desk.register, "secret")),
        Route("POST", "/v1/webhooks/<id>/rotate", doing(desk.rotate, "secret")),
        Route("POST", "/v1/webhooks/<id>/disable", doing(desk.disable)),
        Route("GET", "/v1/deliveries", reading(desk.deliveries)),
        Route("POST", "/v1/deliveries/<id>/replay", doing(desk.replay)),
    )


def _allowed(answer: Carried) -> Carried:
    """Only to who may have reports delivered: whoever may take them away."""

    def carry_out(who: Principal, request: Request, **named: str) -> Any:
        who.need(EXPORT)
        return answer(who, request, **named)

    return carry_out


@dataclass(frozen=True, slots=True)
class _Deliveries:
    services: Services
    reports: Callable[[], Reports]

    def schedules(self, who: Principal, request: Request) -> Any:
        from shared.steps.delivering import schedules

        return {"schedules": schedules.of_owner(self.services, who.owner)}

    def create(self, who: Principal, request: Request) -> Any:
        from shared.steps.delivering import schedules

        said, at = request.json(), parse_instant(request.at)
        return schedules.create(self.services, self.reports(), who.owner, who.id, said, at)

    def schedule(self, who: Principal, request: Request, id: str) -> Any:
        from shared.steps.delivering import schedules

        return schedules.get(self.services, who.owner, id)

    def pause(self, who: Principal, request: Request, id: str) -> Any:
        from shared.steps.delivering import schedules

        return schedules.pause(self.services, who.owner, id)

    def resume(self, who: Principal, request: Request, id: str) -> Any:
        from shared.steps.delivering import schedules

        return schedules.resume(self.services, who.owner, id, parse_instant(request.at))

    def delete(self, who: Principal, request: Request, id: str) -> Any:
        from shared.steps.delivering import kept, schedules

        schedules.delete(self.services, who.owner, id)
        return {"id": id, "state": kept.DELETED}

    def webhooks(self, who: Principal, request: Request) -> Any:
        from shared.steps.delivering import webhooks

        found = [one.as_json() for one in webhooks.of_owner(self.services, who.owner)]
        return {"webhooks": found, "events": webhooks.known_events(who.owner)}

    def register(self, who: Principal, request: Request) -> Any:
        from shared.steps.acts.act import fields
        from shared.steps.delivering import webhooks

        said, at = fields(request.json(), {"url": str}, {"events": list}), parse_instant(request.at)
        webhook, secret = webhooks.register(self.services, who.owner, who.id, said, at)
        return {**webhook.as_json(), "secret": secret}

    def rotate(self, who: Principal, request: Request, id: str) -> Any:
        from shared.steps.delivering import webhooks

        webhook, secret = webhooks.rotate(self.services, who.owner, id, parse_instant(request.at))
        return {**webhook.as_json(), "secret": secret}

    def disable(self, who: Principal, request: Request, id: str) -> Any:
        from shared.steps.delivering import webhooks

        return webhooks.disable(self.services, who.owner, id, f"disabled by {who.id}").as_json()

    def deliveries(self, who: Principal, request: Request) -> Any:
        from shared.steps.delivering import deliveries

        before, most = request.query.get("before", ""), number(request.query, "limit", _PAGE, _PAGE_MAX)
        if before and not _DELIVERY_ID.fullmatch(before):
            raise BadInputError("before", f"is {before[:40]!r}", "give what the page before answered, or leave it out")
        found = deliveries.listed(self.services, who.owner, before, most)
        return {"deliveries": found, "before": found[-1]["id"] if len(found) == most else ""}

    def replay(self, who: Principal, request: Request, id: str) -> Any:
        from shared.steps.delivering import deliveries

        return deliveries.replay(self.services, who.owner, id)


# -- as OpenAPI 3.1 describes it ----------------------------------------------------------------------------------

_RHYTHM = shape(
    {"every": {"enum": ["day", "week", "month", "final"]}},
    {
        "time": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        "zone": TEXT,
        "weekday": {"enum": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]},
        "day": {"type": "integer", "minimum": 1, "maximum": 31},
    },
    more=False,
)
_SLOT = shape(dict.fromkeys(("slot", "state", "run", "because"), TEXT))
_SCHEDULE = shape(
    {
        **dict.fromkeys(("id", "name", "by", "made_at", "state", "format", "starts", "ends", "next_at"), TEXT),
        "when": _RHYTHM,
        "ask": DATA,
        "mail": TEXTS,
    },
    {"slots": listed(_SLOT)},
)
_WEBHOOK = shape(
    {**dict.fromkeys(("id", "url", "by", "made_at", "state", "both_secrets_until", "because"), TEXT), "events": TEXTS}
)
_ATTEMPT = shape({**dict.fromkeys(("at", "is", "because"), TEXT), "status": {"type": "integer"}})
_DELIVERY = shape(
    {
        **dict.fromkeys(("id", "kind", "to", "event", "about", "state", "because", "next_at"), TEXT),
        "attempts": listed(_ATTEMPT),
    }
)
# For `components.schemas`.
SCHEMAS: Mapping[str, Any] = {
    "Schedule": _SCHEDULE,
    "NewSchedule": shape(
        {"name": TEXT, "when": _RHYTHM, "ask": DATA},
        {"format": {"enum": ["csv", "xlsx", "pdf", "json", "parquet"]}, "mail": TEXTS, "starts": TEXT, "ends": TEXT},
        more=False,
    ),
    "Webhook": _WEBHOOK,
    "WebhookWithSecret": shape({**_WEBHOOK["properties"], "secret": {"type": ["string", "null"]}}),
    "NewWebhook": shape({"url": TEXT}, {"events": TEXTS}, more=False),
    "Delivery": _DELIVERY,
}


def paths() -> dict[str, Any]:
    """For `paths`."""
    schedule, webhook, secret, delivery = map(named, ("Schedule", "Webhook", "WebhookWithSecret", "Delivery"))
    gone = shape({"id": TEXT, "state": TEXT})
    page = [{"name": "before", "in": "query", "schema": TEXT}, limit(_PAGE_MAX)]
    told = shape({"deliveries": listed(delivery), "before": TEXT})
    hooks = shape({"webhooks": listed(webhook), "events": TEXTS})
    return {
        "/v1/schedules": {
            "get": read("Your schedules.", collection("schedules", schedule)),
            "post": do("Create one; the same again is the same.", schedule, named("NewSchedule")),
        },
        "/v1/schedules/{id}": {"get": read("One, with what became of its last slots.", schedule, "id")},
        "/v1/schedules/{id}/pause": {"post": do("Open no slot until it is resumed.", schedule, of="id")},
        "/v1/schedules/{id}/resume": {"post": do("Open slots from now on.", schedule, of="id")},
        "/v1/schedules/{id}/delete": {"post": do("Never carry out a slot again.", gone, of="id")},
        "/v1/webhooks": {
            "get": read("Your webhooks, and what they can be told of.", hooks),
            "post": do("Register one; its secret is in the first answer.", secret, named("NewWebhook")),
        },
        "/v1/webhooks/{id}/rotate": {"post": do("A new secret; for a day both sign.", secret, of="id")},
        "/v1/webhooks/{id}/disable": {"post": do("Post nothing to it any more.", webhook, of="id")},
        "/v1/deliveries": {"get": read("What you were told, newest first.", told, query=page)},
        "/v1/deliveries/{id}/replay": {"post": do("Try one anew, by the same id.", delivery, of="id")},
    }
