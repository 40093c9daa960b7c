"""The JSON Schemas of the events, from the tables that the events are made by: published under `events/schemas`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from shared.events import owners
from shared.events.types import SHAPES, EventType, Fields, every

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def files() -> dict[str, bytes]:
    """Each schema by its file name."""
    return {
        f"{one.name}.schema.json": (json.dumps(schema_of(one), indent=2, ensure_ascii=False) + "\n").encode()
        for one in (*every(), *owners.TYPES.values())
    }


def schema_of(one: EventType) -> dict[str, Any]:
    """The schema of an event with its envelope."""
    entry = {
        "stream": {"type": "string"},
        "seq": {"type": "integer", "minimum": 1},
        "hash": dict(SHAPES["digest"]),
    }
    # What an owner is told of its own reports is of no entry.
    of_entry = {} if one.name in owners.TYPES else {"entry": _closed(entry)}
    lists = {name: {"type": "array", "items": _object(fields)} for name, fields in one.lists.items()}
    data = _closed({**of_entry, **_properties(one.fields), **lists}, _optional(one.fields))
    return {
        "$schema": DIALECT,
        "$id": one.schema,
        "title": one.type,
        "description": one.says,
        **_closed(
            {
                "specversion": {"const": "1.0"},
                "id": {"type": "string", "minLength": 1},
                "source": {"type": "string", "format": "uri-reference", "pattern": "^/clearbook/"},
                "type": {"const": one.type},
                "subject": {"type": "string", "minLength": 1},
                "time": {"type": "string", "format": "date-time"},
                "datacontenttype": {"const": "application/json"},
                "dataschema": {"const": one.schema},
                "data": data,
            }
        ),
    }


def _object(fields: Fields) -> dict[str, Any]:
    return _closed(_properties(fields), _optional(fields))


def _properties(fields: Fields) -> dict[str, Any]:
    return {name: dict(SHAPES[shape.removesuffix("?")]) for name, shape in fields.items()}


def _optional(fields: Fields) -> set[str]:
    return {name for name, shape in fields.items() if shape.endswith("?")}


def _closed(properties: Mapping[str, Any], optional: Collection[str] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required, "additionalProperties": False}
