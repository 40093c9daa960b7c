"""Tags as the provider writes them, read into one shape."""

from __future__ import annotations

import re

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
        raise BadInputError("Tag", f"{raw!r} does not begin with 'key:'", "expected 'key:K value:V; key:K2 value:V2'")
    tags: dict[str, str] = {}
    ends = [match.start() for match in starts[1:]] + [len(raw)]
    for match, end in zip(starts, ends, strict=True):
        name, divider, value = raw[match.end() : end].partition(" value:")
        if not divider:
            raise BadInputError("Tag", f"{raw!r} has a key without ' value:'", "expected 'key:K value:V'")
        tags[name.strip()] = value.strip()
    return canonical_json(tags).decode()
