"""Parts of descriptions by OpenAPI 3.1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TEXT: Mapping[str, Any] = {"type": "string"}
TEXTS: Mapping[str, Any] = {"type": "array", "items": TEXT}
DATA: Mapping[str, Any] = {"type": "object"}


def shape(needed: Mapping[str, Any], may: Mapping[str, Any] | None = None, *, more: bool = True) -> dict[str, Any]:
    """An object with fields that must and that may be there, and others where `more` says so."""
    found: dict[str, Any] = {"type": "object", "properties": {**needed, **(may or {})}}
    if needed:
        found["required"] = list(needed)
    return found if more else {**found, "additionalProperties": False}


def listed(of: Mapping[str, Any]) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "items": dict(of)}


def named(schema: str) -> dict[str, Any]:
    """A schema of the document's components."""
    return {"$ref": f"#/components/schemas/{schema}"}


IDEMPOTENT = {"name": "Idempotency-Key", "in": "header", "schema": {**TEXT, "minLength": 1, "maxLength": 128}}


def part(name: str) -> dict[str, Any]:
    """A part of an address."""
    return {"name": name, "in": "path", "required": True, "schema": {**TEXT, "minLength": 1}}


def refused(says: str) -> dict[str, Any]:
    """The answer of a refusal (RFC 9457)."""
    return {"description": says, "content": {"application/problem+json": {"schema": named("Problem")}}}


def _operation(says: str, answers: Mapping[str, Any], of: str, more: list[Any], statuses: tuple[str, ...]) -> Any:
    done = {"application/json": {"schema": dict(answers)}}
    found: dict[str, Any] = {
        "summary": says,
        "responses": {
            **{
                status: {"description": "done" if status == "200" else "ordered", "content": done}
                for status in statuses
            },
            "401": refused("nobody signed in"),
            "429": refused("too many requests; Retry-After says when to ask again"),
            "default": refused("refused, with the reason"),
        },
    }
    parameters = [*([part(of)] if of else []), *more]
    return {**found, "parameters": parameters} if parameters else found


def read(
    says: str, answers: Mapping[str, Any], of: str = "", *, query: list[Any] | None = None
) -> dict[str, Any]:  # fmt: skip
    """An address that is read, as shared.portal.door has it: `of` is the part of the address that names one."""
    tag = {"name": "If-None-Match", "in": "header", "schema": TEXT}
    found: dict[str, Any] = _operation(says, answers, of, [*(query or []), tag], ("200",))
    found["responses"]["304"] = {"description": "as it was"}
    return found


def do(
    says: str,
    answers: Mapping[str, Any],
    asked: Mapping[str, Any] | None = None,
    *,
    of: str = "",
    statuses: tuple[str, ...] = ("200",),
) -> dict[str, Any]:
    """An address that does something, as shared.portal.door has it."""
    found: dict[str, Any] = _operation(says, answers, of, [IDEMPOTENT], statuses)
    if asked is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": dict(asked)}}}
    return found


def limit(most: int) -> dict[str, Any]:
    """The parameter by which pages are cut."""
    return {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": most}}


def collection(name: str, of: Mapping[str, Any]) -> dict[str, Any]:
    """An object that lists such under a name."""
    return shape({name: listed(of)})
