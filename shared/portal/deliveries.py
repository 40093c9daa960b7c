"""Schedules, webhooks and deliveries over HTTP, each for its owner: what is another's is as if it were not there."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.cloud.http import Answer, Request, Route
from shared.cycle import parse_instant
from shared.errors import BadInputError
from shared.services import Services
from shared.steps.delivering.reports import Reports

_PAGE_MAX = 100
_DELIVERY_ID = re.compile(r"msg_\w{1,60}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Asker:
    """Who asks: a person or a key, and whose."""

    id: str
    owner: str  # as `events.owners.OWNER` has it


Who = Callable[[Request], Asker]  # raises NotSignedInError, and NotAllowedError for who may have nothing delivered


def routes(services: Services, reports: Callable[[], Reports], who: Who) -> Sequence[Route]:
    """Every address. What makes reports is asked for when it is needed: most requests do without."""
    desk = _Deliveries(services, reports, who)
    return (
        Route("GET", "/v1/schedules", desk.schedules),
        Route("POST", "/v1/schedules", desk.create),
        Route("GET", "/v1/schedules/<id>", desk.schedule),
        Route("POST", "/v1/schedules/<id>/pause", desk.pause),
        Route("POST", "/v1/schedules/<id>/resume", desk.resume),
        Route("POST", "/v1/schedules/<id>/delete", desk.delete),
        Route("GET", "/v1/webhooks", desk.webhooks),
        Route("POST", "/v1/webhooks", desk.register),
        Route("POST", "/v1/webhooks/<id>/rotate", desk.rotate),
        Route("POST", "/v1/webhooks/<id>/disable", desk.disable),
        Route("GET", "/v1/deliveries", desk.deliveries),
        Route("POST", "/v1/deliveries/<id>/replay", desk.replay),
    )


@dataclass(frozen=True, slots=True)
class _Deliveries:
    services: Services
    reports: Callable[[], Reports]
    who: Who

    def schedules(self, request: Request) -> Answer:
        from shared.steps.delivering import schedules

        return Answer({"schedules": schedules.of_owner(self.services, self.who(request).owner)})

    def create(self, request: Request) -> Answer:
        from shared.steps.delivering import schedules

        who, at = self.who(request), parse_instant(request.at)
        return Answer(schedules.create(self.services, self.reports(), who.owner, who.id, request.json(), at))

    def schedule(self, request: Request, id: str) -> Answer:
        from shared.steps.delivering import schedules

        return Answer(schedules.get(self.services, self.who(request).owner, id))

    def pause(self, request: Request, id: str) -> Answer:
        from shared.steps.delivering import schedules

        return Answer(schedules.pause(self.services, self.who(request).owner, id))

    def resume(self, request: Request, id: str) -> Answer:
        from shared.steps.delivering import schedules

        return Answer(schedules.resume(self.services, self.who(request).owner, id, parse_instant(request.at)))

    def delete(self, request: Request, id: str) -> Answer:
        from shared.steps.delivering import schedules

        schedules.delete(self.services, self.who(request).owner, id)
        return Answer({"id": id, "state": schedules.DELETED})

    def webhooks(self, request: Request) -> Answer:
        from shared.steps.delivering import webhooks

        owner = self.who(request).owner
        found = [one.as_json() for one in webhooks.of_owner(self.services, owner)]
        return Answer({"webhooks": found, "events": webhooks.known_events(owner)})

    def register(self, request: Request) -> Answer:
        from shared.steps.acts.act import fields
        from shared.steps.delivering import webhooks

        who, said = self.who(request), fields(request.json(), {"url": str}, {"events": list})
        at = parse_instant(request.at)
        webhook, secret = webhooks.register(self.services, who.owner, who.id, said, at)
        return Answer({**webhook.as_json(), "secret": secret})

    def rotate(self, request: Request, id: str) -> Answer:
        from shared.steps.delivering import webhooks

        owner = self.who(request).owner
        webhook, secret = webhooks.rotate(self.services, owner, id, parse_instant(request.at))
        return Answer({**webhook.as_json(), "secret": secret})

    def disable(self, request: Request, id: str) -> Answer:
        from shared.steps.delivering import webhooks

        who = self.who(request)
        return Answer(webhooks.disable(self.services, who.owner, id, f"disabled by {who.id}").as_json())

    def deliveries(self, request: Request) -> Answer:
        from shared.steps.delivering import deliveries

        owner, before, limit = self.who(request).owner, request.query.get("before", ""), _limit(request.query)
        if before and not _DELIVERY_ID.fullmatch(before):
            raise BadInputError("before", f"is {before[:40]!r}", "give what the page before answered, or leave it out")
        found = deliveries.listed(self.services, owner, before, limit)
        return Answer({"deliveries": found, "before": found[-1]["id"] if len(found) == limit else ""})

    def replay(self, request: Request, id: str) -> Answer:
        from shared.steps.delivering import deliveries

        return Answer(deliveries.replay(self.services, self.who(request).owner, id))


def _limit(query: Mapping[str, str]) -> int:
    text = query.get("limit", "50")
    if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= _PAGE_MAX:
        return int(text)
    raise BadInputError("limit", f"is {text[:20]!r}", f"give 1 to {_PAGE_MAX}")


# -- as OpenAPI 3.1 describes it ----------------------------------------------------------------------------------

_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}


def _object(needed: Mapping[str, Any], may: Mapping[str, Any] | None = None, *, more: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": {**needed, **(may or {})}, "required": list(needed)}
    return found if more else {**found, "additionalProperties": False}


_RHYTHM = _object(
    {"every": {"enum": ["day", "week", "month", "final"]}},
    {
        "time": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
        "zone": _TEXT,
        "weekday": {"enum": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]},
        "day": {"type": "integer", "minimum": 1, "maximum": 31},
    },
    more=False,
)
_SLOT = _object(dict.fromkeys(("slot", "state", "run", "because"), _TEXT))
_SCHEDULE = _object(
    {
        **dict.fromkeys(("id", "name", "by", "made_at", "state", "format", "starts", "ends", "next_at"), _TEXT),
        "when": _RHYTHM,
        "ask": {"type": "object"},
        "mail": _TEXTS,
    },
    {"slots": {"type": "array", "items": _SLOT}},
)
_WEBHOOK = _object(
    {**dict.fromkeys(("id", "url", "made_at", "state", "both_secrets_until", "because"), _TEXT), "events": _TEXTS}
)
_ATTEMPT = _object({**dict.fromkeys(("at", "is", "because"), _TEXT), "status": {"type": "integer"}})
_DELIVERY = _object(
    {
        **dict.fromkeys(("id", "kind", "to", "event", "about", "state", "because", "next_at"), _TEXT),
        "attempts": {"type": "array", "items": _ATTEMPT},
    }
)
# For `components.schemas`.
SCHEMAS: Mapping[str, Any] = {
    "Schedule": _SCHEDULE,
    "NewSchedule": _object(
        {"name": _TEXT, "when": _RHYTHM, "ask": {"type": "object"}},
        {"format": {"enum": ["csv", "xlsx", "pdf", "json", "parquet"]}, "mail": _TEXTS, "starts": _TEXT, "ends": _TEXT},
        more=False,
    ),
    "Webhook": _WEBHOOK,
    "WebhookWithSecret": _object({**_WEBHOOK["properties"], "secret": _TEXT}),
    "NewWebhook": _object({"url": _TEXT}, {"events": _TEXTS}, more=False),
    "Delivery": _DELIVERY,
}


def paths() -> dict[str, Any]:
    """For `paths`; refusals are `#/components/schemas/Problem`."""
    schedule, webhook, secret, delivery = map(_named, ("Schedule", "Webhook", "WebhookWithSecret", "Delivery"))
    gone = _object({"id": _TEXT, "state": _TEXT})
    page = [
        {"name": "before", "in": "query", "schema": _TEXT},
        {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": _PAGE_MAX}},
    ]
    listed = _object({"deliveries": {"type": "array", "items": delivery}, "before": _TEXT})
    all_hooks = _object({"webhooks": {"type": "array", "items": webhook}, "events": _TEXTS})
    return {
        "/v1/schedules": {
            "get": _operation("Your schedules.", _object({"schedules": {"type": "array", "items": schedule}})),
            "post": _operation("Create one; the same again is the same.", schedule, _named("NewSchedule")),
        },
        "/v1/schedules/{id}": {"get": _operation("One, with what became of its last slots.", schedule, of_id=True)},
        "/v1/schedules/{id}/pause": {"post": _operation("Carry out no slot.", schedule, of_id=True)},
        "/v1/schedules/{id}/resume": {"post": _operation("Carry out slots from now on.", schedule, of_id=True)},
        "/v1/schedules/{id}/delete": {"post": _operation("Never carry out a slot again.", gone, of_id=True)},
        "/v1/webhooks": {
            "get": _operation("Your webhooks, and what they can be told of.", all_hooks),
            "post": _operation("Register one; its secret is in the answer.", secret, _named("NewWebhook")),
        },
        "/v1/webhooks/{id}/rotate": {
            "post": _operation("A new secret; for a day both sign.", secret, of_id=True),
        },
        "/v1/webhooks/{id}/disable": {"post": _operation("Post nothing to it any more.", webhook, of_id=True)},
        "/v1/deliveries": {"get": {**_operation("What you were told, newest first.", listed), "parameters": page}},
        "/v1/deliveries/{id}/replay": {"post": _operation("Try one anew, by the same id.", delivery, of_id=True)},
    }


def _named(schema: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{schema}"}


def _operation(
    says: str, answers: Mapping[str, Any], asked: Mapping[str, Any] | None = None, *, of_id: bool = False
) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": _named("Problem")}}
    found: dict[str, Any] = {
        "summary": says,
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": dict(answers)}}},
            "default": {"description": "refused, with the reason", "content": problem},
        },
    }
    if of_id:
        found["parameters"] = [{"name": "id", "in": "path", "required": True, "schema": _TEXT}]
    if asked is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(asked)}}}
    return found
