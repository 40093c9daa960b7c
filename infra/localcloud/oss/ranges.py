"""Range requests as OSS answers them, which is not as RFC 9110 does."""

from __future__ import annotations

import re
from dataclasses import dataclass

from infra.localcloud.oss import errors

FORM = re.compile(r"bytes=(\d*)-(\d*)(?:,.*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Range:
    """Bytes from `start` up to, not including, `end`."""

    start: int
    end: int


def effective_range(header: str | None, behavior: str | None, size: int) -> Range | None:
    """The range to send, or None for the whole object.

    A range that reaches outside the object does not take effect and the whole object is sent with 200; only
    with `x-oss-range-behavior: standard` is it cut to the object, or refused when it begins behind it. Of
    several ranges the first counts (how-to-obtain-oss-resources-by-segmenting-http-range-requests).
    """
    if header is None:
        return None
    found = FORM.fullmatch(header.strip())
    if found is None or found.group(0) == "bytes=-":
        return None
    asked = _asked(found.group(1)[:20], found.group(2)[:20], size)
    if asked is None:
        return None
    if asked.start >= 0 and asked.end <= size and asked.start < size:
        return asked
    if behavior != "standard":
        return None
    if asked.start >= size:
        raise errors.invalid_range(header, size)
    return Range(max(asked.start, 0), min(asked.end, size))


def _asked(first: str, last: str, size: int) -> Range | None:
    if first == "":
        length = int(last or "0")
        return Range(size - length, size) if length else None
    if last == "":
        # An open end reaches the last byte, and one beyond the start where there is none.
        return Range(int(first), max(size, int(first) + 1))
    return Range(int(first), int(last) + 1) if int(first) <= int(last) else None
