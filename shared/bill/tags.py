"""Tags as the provider writes them, read into one shape."""

from __future__ import annotations

import json
import re
from collections.abc import MutableMapping
from typing import Any

from shared.errors import BadInputError
from shared.ids import canonical_json

_START = re.compile(r"(?:^|;)\s*key:", re.ASCII)


def parse_api_tags(raw: str) -> str:
    """`key:K value:V; key:K2 value:V2` (DescribeInstanceBill, Tag) as a JSON object in canonical text.

    Keys and values may hold spaces, colons and semicolons; only `; key:` begins the next pair, and the
    first ` value:` in it divides the pair.
    """
    starts = list(_START.finditer(raw))
    if not starts or starts[0].start() != 0:
        raise BadInputError(
            "Tag", f"{raw[:200]!r} does not begin with 'key:'", "expected 'key:K value:V; key:K2 value:V2'"
        )
    tags: dict[str, str] = {}
    ends = [match.start() for match in starts[1:]] + [len(raw)]
    for match, end in zip(starts, ends, strict=True):
        name, divider, value = raw[match.end() : end].partition(" value:")
        if not divider:
            raise BadInputError("Tag", f"{raw[:200]!r} has a key without ' value:'", "expected 'key:K value:V'")
        _add(tags, name.strip(), value.strip(), raw)
    return canonical_json(tags).decode()


def parse_pairs(raw: str) -> str:
    """`key1:value1;key2:value2` (bill files, Tag) as a JSON object in canonical text.

    A value may hold colons. A piece without a colon belongs to the value before it, because values hold semicolons.
    """
    pairs: list[tuple[str, str]] = []
    for piece in raw.split(";"):
        key, divider, value = piece.partition(":")
        if divider:
            if not key.strip():
                raise BadInputError("Tag", f"{raw[:200]!r} has a value without a key", "expected 'key:value;key:value'")
            pairs.append((key.strip(), value.strip()))
        elif pairs:
            name, before = pairs[-1]
            pairs[-1] = (name, f"{before};{piece}".strip())
        elif piece.strip():
            raise BadInputError("Tag", f"{raw[:200]!r} begins without a key", "expected 'key:value;key:value'")
    tags: dict[str, str] = {}
    for name, value in pairs:
        _add(tags, name, value, raw)
    return canonical_json(tags).decode()


def parse_json_tags(raw: str) -> str:
    """A JSON object of texts, in canonical text."""
    try:
        tags = json.loads(raw, object_pairs_hook=lambda pairs: _object(pairs, raw))
    except (ValueError, RecursionError) as exc:
        raise BadInputError("Tag", f"{raw[:200]!r} is no JSON", "expected an object of texts") from exc
    if not isinstance(tags, dict) or not all(isinstance(value, str) for value in tags.values()):
        raise BadInputError("Tag", f"{raw[:200]!r} is no JSON object of texts", "expected an object of texts")
    try:
        return canonical_json(tags).decode()
    except UnicodeEncodeError as exc:
        raise BadInputError("Tag", f"{raw[:200]!r} holds half a character", "expected an object of texts") from exc


def _object(pairs: list[tuple[str, object]], raw: str) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in pairs:
        _add(found, name, value, raw)
    return found


def _add(tags: MutableMapping[str, Any], name: str, value: object, raw: str) -> None:
    """Nothing says which of two values would count, so neither is taken in silence."""
    if tags.setdefault(name, value) != value:
        raise BadInputError("Tag", f"{raw[:200]!r} has two values of {name[:60]!r}", "expected one value of each key")


def parse_tags(raw: str, notation: str) -> str:
    """Tags in one of the notations of a form (formats, `tags`)."""
    return {"api": parse_api_tags, "pairs": parse_pairs, "json": parse_json_tags}[notation](raw)
