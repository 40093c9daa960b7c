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
