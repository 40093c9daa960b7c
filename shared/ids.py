"""Canonical text and digests: equal values have equal bytes, so a name made from content can be trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import NewType

from shared.money import text

Digest = NewType("Digest", str)  # 64 lower-case hex digits of SHA-256
AccountId = NewType("AccountId", str)  # an account of the provider: a payer's or a resource owner's
ResellerId = NewType("ResellerId", str)
CustomerId = NewType("CustomerId", str)
SettlementId = NewType("SettlementId", str)


def canonical_json(value: object) -> bytes:
    """UTF-8 JSON with sorted names and no spaces; decimals and dates become text; a float is refused."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def digest(body: bytes) -> Digest:
    """The SHA-256 of `body` in hex."""
    return Digest(hashlib.sha256(body).hexdigest())


def digest_of(value: object) -> Digest:
    """The digest of the canonical JSON of `value`."""
    return digest(canonical_json(value))


def _plain(value: object) -> object:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, Decimal):
        return text(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    raise TypeError(f"canonical JSON holds text, whole numbers, decimals, dates, booleans and null, not {value!r}")
