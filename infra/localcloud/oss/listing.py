"""ListObjects, ListObjectsV2 and ListMultipartUploads."""

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
from infra.localcloud.oss.multipart import Started
from infra.localcloud.oss.state import Listed, Page, Position

KEYS_DEFAULT: Final = 100
KEYS_MAX: Final = 1000  # developer-reference/listobjectsv2
UPLOADS_DEFAULT: Final = 1000  # developer-reference/listmultipartuploads


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

    def common_prefix(self, key: str) -> str | None:
        """What a key is listed under, None where it is listed itself."""
        head, found, _ = key.removeprefix(self.prefix).partition(self.delimiter) if self.delimiter else ("", "", "")
        return self.prefix + head + found if found and key.startswith(self.prefix) else None


async def list_v2(call: Call) -> web.Response:
    """ListObjectsV2."""
    params = call.params
    if params["list-type"] != "2":
        raise errors.invalid_argument("list-type", params["list-type"], "list-type must be 2.")
    query = _query(call)
    after, token = params.get("start-after", ""), params.get("continuation-token", "")
    page = _page(call, query, _from_token(token) if token else _behind(after, query))
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
    page = _page(call, query, _behind(marker, query))
    parts = [element("Marker", query.text(marker))]
    parts += [element("NextMarker", query.text(page.next.key.decode()))] if page.next else []
    return _answer(call, query, page, parts, call.endpoint.keys.account_id)


async def list_uploads(call: Call) -> web.Response:
    """ListMultipartUploads, in which a key and, among those of one key, an upload id are the marker."""
    query = _query(call, "max-uploads", UPLOADS_DEFAULT)
    marker, id_marker = call.params.get("key-marker", ""), call.params.get("upload-id-marker", "")
    uploads = call.endpoint.uploads.unfinished(call.bucket(), query.prefix)
    behind = (upload for upload in uploads if _is_behind(upload, marker, id_marker, query))
    shown, is_cut = _grouped(behind, query)
    last = shown[-1] if shown else None
    next_key = last.key if isinstance(last, Started) else last or ""
    parts = [
        element("Bucket", call.bucket_name),
        element("KeyMarker", query.text(marker)),
        element("UploadIdMarker", id_marker),
        element("NextKeyMarker", query.text(next_key)),
        element("NextUploadIdMarker", last.id if isinstance(last, Started) else ""),
        element("Delimiter", query.text(query.delimiter)),
        element("Prefix", query.text(query.prefix)),
        element("MaxUploads", str(query.limit)),
        element("IsTruncated", "true" if is_cut else "false"),
    ]
    parts += [element("EncodingType", "url")] if query.is_encoded else []
    parts += [element("Upload", _upload(query, entry)) for entry in shown if isinstance(entry, Started)]
    prefixes = (entry for entry in shown if isinstance(entry, str))
    parts += [element("CommonPrefixes", [element("Prefix", query.text(prefix))]) for prefix in prefixes]
    body = document("ListMultipartUploadsResult", parts)
    return web.Response(body=body, content_type="application/xml")


def _is_behind(upload: Started, marker: str, id_marker: str, query: _Query) -> bool:
    """Whether an upload comes after the markers; without a key's, an upload id's means nothing."""
    if not marker:
        return True
    if query.common_prefix(marker) == marker and upload.key.startswith(marker):
        return False  # listed already, all of them
    if upload.key == marker:
        return bool(id_marker) and upload.id > id_marker
    return upload.key.encode() > marker.encode()


def _grouped(uploads: Iterable[Started], query: _Query) -> tuple[list[Started | str], bool]:
    """The uploads and common prefixes of one page, and whether there are more."""
    shown: list[Started | str] = []
    for upload in uploads:
        entry = query.common_prefix(upload.key) or upload
        if shown and entry == shown[-1]:
            continue
        if len(shown) == query.limit:
            return shown, True
        shown.append(entry)
    return shown, False


def _upload(query: _Query, upload: Started) -> Iterable[str]:
    yield element("Key", query.text(upload.key))
    yield element("UploadId", upload.id)
    yield element("Initiated", timestamp(upload.at))
    yield element("StorageClass", "Standard")


def _query(call: Call, limit_name: str = "max-keys", default: int = KEYS_DEFAULT) -> _Query:
    params = call.params
    limit = integer(params.get(limit_name) or str(default), limit_name, 1, KEYS_MAX)
    encoding = params.get("encoding-type", "")
    if encoding not in {"", "url"}:
        raise errors.invalid_argument("encoding-type", encoding, "Invalid Encoding Method specified in Request.")
    for name in ("prefix", "delimiter", "marker", "start-after", "key-marker", "upload-id-marker"):
        if not _is_utf8(params.get(name, "")):
            raise errors.invalid_argument(name, "", f"{name} must be UTF-8.")
    return _Query(params.get("prefix", ""), params.get("delimiter", ""), limit, encoding == "url")


def _page(call: Call, query: _Query, start: Position | None) -> Page:
    return call.endpoint.store.page(call.bucket(), query.prefix, query.delimiter, start, query.limit)


def _behind(marker: str, query: _Query) -> Position | None:
    # A marker that is a common prefix was listed already: go on behind all of it.
    return Position(marker.encode(), query.common_prefix(marker) == marker) if marker else None


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
