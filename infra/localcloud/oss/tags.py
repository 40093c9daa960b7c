"""The tags of an object: what they may be, and how a header writes them.

The rules are those of user-guide/0010-00000208, -212, -213, -217 and -219. Tags are kept with the headers an object
was stored with, under the name `x-oss-tagging`, which no answer shows.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, unquote_plus

from infra.localcloud.oss import errors

HEADER: Final = "x-oss-tagging"
TAGS_MAX: Final = 10
KEY_MAX: Final = 128
VALUE_MAX: Final = 256
ALLOWED: Final = re.compile(r"[A-Za-z0-9 +\-=._:/]*")
RESERVED: Final = ("http://", "https://", "aliyun")

Tags = dict[str, str]


def from_header(text: str) -> Tags:
    """The tags of `key1=value1&key2`, each part URL-encoded; an empty text has none."""
    pairs = []
    for part in text.split("&") if text else []:
        key, _, value = part.partition("=")
        if "=" in value:
            raise errors.invalid_tag("The tag must be in the format of key or key=value.", part, ec="0010-00000219")
        pairs.append((unquote_plus(key), unquote_plus(value)))
    return checked(pairs)


def to_header(tags: Mapping[str, str]) -> str:
    """The tags as a header writes them."""
    return "&".join(f"{quote(key, safe='')}={quote(value, safe='')}" for key, value in tags.items())


def of(headers: Mapping[str, str]) -> Tags:
    """The tags of an object stored with these headers."""
    return from_header(headers.get(HEADER, ""))


def tagged(headers: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, str]:
    """The headers of an object with these tags and no others."""
    others = {name: value for name, value in headers.items() if name != HEADER}
    return {**others, HEADER: to_header(tags)} if tags else others


def checked(pairs: Iterable[tuple[str, str]]) -> Tags:
    """The tags, once there are not too many and each is as OSS takes it."""
    tags: Tags = {}
    for key, value in pairs:
        _check_key(key)
        if len(value) > VALUE_MAX or not ALLOWED.fullmatch(value):
            raise errors.invalid_tag("The TagValue you have provided is invalid.", value, ec="0010-00000217")
        if key in tags:
            raise errors.invalid_tag("Cannot provide multiple Tags with the same key.", key, ec="0010-00000217")
        tags[key] = value
    if len(tags) > TAGS_MAX:
        text = f"Object tags cannot be greater than {TAGS_MAX}."
        raise errors.invalid_tag(text, str(len(tags)), ec="0010-00000217")
    return tags


def _check_key(key: str) -> None:
    if not key:
        raise errors.invalid_tag("The TagKey cannot be empty.", key, ec="0010-00000208")
    if key.lower().startswith(RESERVED):
        raise errors.invalid_tag("The prefix of the TagKey is reserved.", key, ec="0010-00000213")
    if len(key) > KEY_MAX or not ALLOWED.fullmatch(key):
        raise errors.invalid_tag("The TagKey you have provided is invalid.", key, ec="0010-00000212")
