"""ListObjects and ListObjectsV2."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from aiohttp import web

from infra.localcloud.oss import errors
from infra.localcloud.oss.call import Call
from infra.localcloud.oss.documents import document, element, integer, timestamp
from infra.localcloud.oss.state import Listed, Page, Position

KEYS_DEFAULT: Final = 100
KEYS_MAX: Final = 1000  # developer-reference/listobjectsv2


@dataclass(frozen=True, slots=True)
class _Query:
    """What both versions ask."""

    prefix: str
    delimiter: str
    limit: int
    is_encoded: bool

    def text(self, key: str) -> str:
        """A key, prefix or delimiter as the answer shows it."""
        return quote(key, safe="") if self.is_encoded else key


async def list_v2(call: Call) -> web.Response:
    """ListObjectsV2."""
    params = call.params
    if params["list-type"] != "2":
        raise errors.invalid_argument("list-type", params["list-type"], "list-type must be 2.")
    query = _query(call)
    after, token = params.get("start-after", ""), params.get("continuation-token", "")
    page = _page(call, query, _from_token(token) if token else _behind(after, query.delimiter))
    owner = call.endpoint.keys.account_id if params.get("fetch-owner") == "true" else None
    parts = [element("StartAfter", query.text(after))] if after else []
    parts += [element("ContinuationToken", token)] if token else []
    parts += [element("KeyCount", str(len(page.objects) + len(page.prefixes)))]
    parts += [element("NextContinuationToken", _to_token(page.next))] if page.next else []
    return _answer(call, query, page, parts, owner)


async def list_v1(call: Call) -> web.Response:
    """ListObjects, in which a key is the marker."""
    query = _query(call)
    marker = call.params.get("marker", "")
    page = _page(call, query, _behind(marker, query.delimiter))
    parts = [element("Marker", query.text(marker))]
    parts += [element("NextMarker", query.text(page.next.key.decode()))] if page.next else []
    return _answer(call, query, page, parts, call.endpoint.keys.account_id)


def _query(call: Call) -> _Query:
    params = call.params
    limit = integer(params.get("max-keys") or str(KEYS_DEFAULT), "max-keys", 1, KEYS_MAX)
    encoding = params.get("encoding-type", "")
    if encoding not in {"", "url"}:
        raise errors.invalid_argument("encoding-type", encoding, "Invalid Encoding Method specified in Request.")
    for name in ("prefix", "delimiter", "marker", "start-after"):
        if not _is_utf8(params.get(name, "")):
            raise errors.invalid_argument(name, "", f"{name} must be UTF-8.")
    return _Query(params.get("prefix", ""), params.get("delimiter", ""), limit, encoding == "url")


def _page(call: Call, query: _Query, start: Position | None) -> Page:
    return call.endpoint.store.page(call.bucket(), query.prefix, query.delimiter, start, query.limit)


def _behind(key: str, delimiter: str) -> Position | None:
    # A marker that ends with the delimiter is a common prefix already listed: go on behind all of it.
    return Position(key.encode(), bool(delimiter) and key.endswith(delimiter)) if key else None


def _answer(call: Call, query: _Query, page: Page, parts: list[str], owner: str | None) -> web.Response:
    front = [
        element("Name", call.bucket_name),
        element("Prefix", query.text(query.prefix)),
        element("MaxKeys", str(query.limit)),
        element("Delimiter", query.text(query.delimiter)),
        element("IsTruncated", "true" if page.next else "false"),
    ]
    front += [element("EncodingType", "url")] if query.is_encoded else []
    contents = (element("Contents", _contents(query, listed, owner)) for listed in page.objects)
    prefixes = (element("CommonPrefixes", [element("Prefix", query.text(prefix))]) for prefix in page.prefixes)
    body = document("ListBucketResult", [*front, *parts, *contents, *prefixes])
    return web.Response(body=body, content_type="application/xml")


def _contents(query: _Query, listed: Listed, owner: str | None) -> Iterable[str]:
    yield element("Key", query.text(listed.key))
    yield element("LastModified", timestamp(listed.modified))
    yield element("ETag", f'"{listed.etag}"')
    yield element("Type", listed.type)
    yield element("Size", str(listed.size))
    yield element("StorageClass", "Standard")
    if owner is not None:
        yield element("Owner", [element("ID", owner), element("DisplayName", owner)])


def _to_token(position: Position) -> str:
    kind = b"p" if position.is_prefix else b"k"
    return base64.urlsafe_b64encode(kind + position.key).decode().rstrip("=")


def _from_token(token: str) -> Position:
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        raw[1:].decode()
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) < 2 or raw[:1] not in {b"k", b"p"}:
        raise errors.invalid_argument("continuation-token", token, "The continuation token is incorrect.")
    return Position(raw[1:], raw[:1] == b"p")


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
