"""What the portal answers, as OpenAPI 3.1 describes it. Acts and what each is asked for are named, not spelt out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.portal import deliveries, described

_SAYS = (
    "Decisions: propose, look, approve, reject. Reports: what there is, runs, rows, links, selections, keys, schedules."
)
_KEYS = "an API key, as POST /v1/keys shows it once; for reports, schedules and webhooks"
_TEXT = {"type": "string"}
_LINES = {"type": "array", "items": _TEXT}
_DATA = {"type": "object"}


def openapi() -> dict[str, Any]:
    """The document."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "Clearbook", "version": "1", "description": _SAYS},
        "security": [{"token": []}, {"key": []}],
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "key": {"type": "http", "scheme": "bearer", "bearerFormat": "cbk_…", "description": _KEYS},
            },
            "schemas": {
                "Proposal": _object(_PROPOSAL),
                "Shown": _object(_SHOWN),
                "Problem": _object(_PROBLEM),
                **described.SCHEMAS,
                **deliveries.SCHEMAS,
            },
        },
        "paths": {
            **described.paths(),
            **deliveries.paths(),
            "/v1/openapi.json": {"get": {**_operation("This document.", _DATA), "security": []}},
            "/v1/me": {"get": _operation("Who is signed in, and what they may.", _DATA)},
            "/v1/init": {"post": _operation("Name the first people, once.", _DATA, {"users": _DATA})},
            "/v1/proposals": {
                "get": _operation("What waits, and what an approver is to look at.", _of("proposals")),
                "post": _operation(
                    "Propose an act; what waits already is answered as it is.",
                    _object({**_of("proposals")["properties"], "notes": _LINES}),
                    {"act": _TEXT, "asked": _DATA},
                    {"why": _TEXT},
                ),
            },
            "/v1/proposals/approve": {
                "post": _operation(
                    "Approve a proposal of somebody else; with `seen`, only while it looks as it was shown.",
                    _object({**_PROPOSAL, "approved_by": _TEXT, "missing": _LINES, "orders": _LINES}),
                    {"name": _TEXT},
                    {"seen": _TEXT},
                )
            },
            "/v1/proposals/reject": {
                "post": _operation(
                    "Reject a proposal, or withdraw one's own.",
                    _object({**_PROPOSAL, "rejected_by": _TEXT, "because": _TEXT}),
                    {"name": _TEXT, "why": _TEXT},
                )
            },
        },
    }


_PROPOSAL = {**dict.fromkeys(("proposal", "act", "by", "at", "why"), _TEXT), "what": _DATA}
_SHOWN = {**_PROPOSAL, "shows": _LINES, "waits_for": _LINES, "seen": _TEXT}
_PROBLEM = {
    **dict.fromkeys(("type", "title", "code", "detail", "request"), _TEXT),
    "status": {"type": "integer"},
    "findings": {"type": "array", "items": {"type": "object", "properties": {"place": _TEXT, "problem": _TEXT}}},
}


def _object(names: Mapping[str, Any], needed: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"type": "object", "properties": dict(names), **({"required": list(needed)} if needed else {})}


def _of(name: str) -> dict[str, Any]:
    return _object({name: {"type": "array", "items": {"$ref": "#/components/schemas/Shown"}}})


def _operation(
    says: str, answers: Mapping[str, Any], needed: Mapping[str, Any] | None = None, may: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    found: dict[str, Any] = {
        "summary": says,
        "responses": {
            "200": {"description": "done", "content": {"application/json": {"schema": dict(answers)}}},
            "default": {"description": "refused, with the reason", "content": problem},
        },
    }
    if needed is not None:
        body = {**_object({**needed, **(may or {})}, needed), "additionalProperties": False}
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return found
