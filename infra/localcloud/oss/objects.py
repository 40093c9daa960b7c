"""Operations on objects: put, get, head, delete."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from typing import Final
from urllib.parse import quote

from aiohttp import web

from infra.localcloud.oss import errors, tags
from infra.localcloud.oss.blobs import CHUNK, Content, Receiver
from infra.localcloud.oss.call import Call, check_key
from infra.localcloud.oss.documents import document, element, parse_delete
from infra.localcloud.oss.ranges import Range, effective_range
from infra.localcloud.oss.retention import expiry_of
from infra.localcloud.oss.state import Bucket, StoredObject

# developer-reference/putobject: these are kept and returned with the object; so is x-oss-meta-*.
KEPT: Final = (
    "Content-Type",
    "Cache-Control",
    "Content-Disposition",
    "Content-Encoding",
    "Content-Language",
    "Expires",
    "x-oss-server-side-encryption",
)
# developer-reference/getobject: a signed request may replace these in its answer.
OVERRIDABLE: Final = {
    "content-type": "Content-Type",
    "content-language": "Content-Language",
    "expires": "Expires",
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
}
# Headers that change what a put means: only these values mean nothing beyond what is done here.
HARMLESS: Final = {
    "x-oss-object-acl": {"default", "private"},
    "x-oss-storage-class": {"Standard"},
    "x-oss-server-side-encryption": {"AES256"},
    "x-oss-forbid-overwrite": {"true", "false"},
}
NOT_HERE: Final = {
    "x-oss-callback": "x-oss-callback",
    "x-oss-persistent-headers": "x-oss-persistent-headers",
    "x-oss-server-side-data-encryption": "x-oss-server-side-data-encryption",
    "x-oss-server-side-encryption-key-id": "x-oss-server-side-encryption-key-id",
    "if-match": "a conditional PutObject",
    "if-none-match": "a conditional PutObject",
}


async def put(call: Call) -> web.Response:
    """PutObject."""
    headers, forbid = kept_headers(call.headers), forbids_overwrite(call.headers)
    call.bucket()
    content = await received(call)
    # The bucket is read again: it may have got a retention policy, or gone, while the body arrived.
    cause = call.cause()
    stored = call.endpoint.store.put(call.bucket(cause.at), call.key, content, headers, cause, forbid=forbid)
    return web.Response(
        headers={
            "ETag": f'"{stored.etag}"',
            "x-oss-hash-crc64ecma": stored.crc64,
            "Content-MD5": base64.b64encode(content.md5).decode(),
        }
    )


async def get(call: Call) -> web.StreamResponse:
    """GetObject."""
    stored, headers = _described(call)
    part = effective_range(call.headers.get("range"), call.headers.get("x-oss-range-behavior"), stored.size)
    if part is None:
        part, status = Range(0, stored.size), 200
    else:
        headers["Content-Range"], status = f"bytes {part.start}-{part.end - 1}/{stored.size}", 206
    if stored.file is None:
        return web.Response(status=status, headers=headers, body=(stored.inline or b"")[part.start : part.end])
    return await _send_file(call, stored.file, part, status, headers)


async def head(call: Call) -> web.StreamResponse:
    """HeadObject and GetObjectMeta."""
    stored, headers = _described(call)
    response = web.StreamResponse(headers=headers)
    response.content_length = stored.size
    return response


async def delete(call: Call) -> web.Response:
    """DeleteObject: 204 whether or not the object was there."""
    cause = call.cause()
    call.endpoint.store.delete(call.bucket(cause.at), [call.key], "ObjectRemoved:DeleteObject", cause)
    return web.Response(status=204)


async def delete_many(call: Call) -> web.Response:
    """DeleteMultipleObjects."""
    if "content-md5" not in call.headers:
        text = "Missing Some Required Arguments."
        raise errors.OssError(400, "MissingArgument", text, fields={"ArgumentName": "Content-MD5"})
    keys, is_quiet = parse_delete(await call.document())
    for key in keys:
        check_key(key)
    cause = call.cause()
    call.endpoint.store.delete(call.bucket(cause.at), keys, "ObjectRemoved:DeleteObjects", cause)
    if is_quiet:
        return web.Response()
    encoding = call.params.get("encoding-type") == "url"
    parts = [element("EncodingType", "url")] if encoding else []
    parts += [element("Deleted", [element("Key", quote(key, safe="") if encoding else key)]) for key in keys]
    return web.Response(body=document("DeleteResult", parts), content_type="application/xml")


async def received(call: Call, *, always_file: bool = False) -> Content:
    """The body of a call as content, whole and safe on disk where it is a file."""
    receiver = Receiver(call.endpoint.store.contents, always_file=always_file)
    try:
        await call.receive(receiver)
        return receiver.finish() if receiver.is_small else await asyncio.to_thread(receiver.finish)
    finally:
        receiver.discard()


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that stay with an object, its tags among them, once none asks for what is not implemented here."""
    for name, operation in NOT_HERE.items():
        if name in headers:
            raise errors.not_implemented(operation)
    for name, values in HARMLESS.items():
        if name in headers and headers[name] not in values:
            raise errors.not_implemented(f"{name}: {headers[name]}")
    kept = {name: headers[name.lower()] for name in KEPT if name.lower() in headers}
    kept.update({name: value for name, value in headers.items() if name.startswith("x-oss-meta-")})
    for name, value in kept.items():
        _check_header(name, value)
    return tags.tagged(kept, tags.from_header(headers.get(tags.HEADER, "")))


def forbids_overwrite(headers: Mapping[str, str]) -> bool:
    """Whether a write may only create."""
    return headers.get("x-oss-forbid-overwrite") == "true"


def _described(call: Call) -> tuple[StoredObject, dict[str, str]]:
    """The object a call reads, its conditions checked, and the headers that describe it."""
    bucket = call.bucket()
    stored = call.endpoint.store.find(bucket, call.key)
    check_conditions(call.headers, stored)
    headers = {
        "Content-Type": "application/octet-stream",
        **tags.tagged(stored.headers, {}),
        "ETag": f'"{stored.etag}"',
        "Last-Modified": format_datetime(stored.modified.replace(microsecond=0), usegmt=True),
        "Accept-Ranges": "bytes",
        "x-oss-object-type": stored.type,
        "x-oss-storage-class": "Standard",
        "x-oss-hash-crc64ecma": stored.crc64,
        **_expiration(bucket, stored),
    }
    if found := tags.of(stored.headers):
        headers["x-oss-tagging-count"] = str(len(found))
    if stored.type == "Appendable":
        headers["x-oss-next-append-position"] = str(stored.size)
    for name, value in call.params.items():
        header = OVERRIDABLE.get(name.removeprefix("response-")) if name.startswith("response-") else None
        if header is not None:
            _check_header(name, value)
            headers[header] = value
    return stored, headers


def _expiration(bucket: Bucket, stored: StoredObject) -> dict[str, str]:
    expiry = expiry_of(bucket.rules, stored.key, stored.modified)
    if expiry is None:
        return {}
    moment, rule = expiry
    text = f'expiry-date="{format_datetime(moment, usegmt=True)}", rule-id="{quote(rule)}"'
    return {"x-oss-expiration": text}


def _check_header(name: str, value: str) -> None:
    # Line ends would end the header; bytes that are no UTF-8 could not be sent back.
    if any(character in value for character in "\r\n\0") or any("\ud800" <= c <= "\udfff" for c in value):
        raise errors.invalid_argument(name, "", f"The value of {name} cannot be a header.")


def check_conditions(headers: Mapping[str, str], stored: StoredObject, prefix: str = "") -> None:
    """Refuse to go on when the object is not as the headers of that prefix want it.

    developer-reference/getobject: what fails to match is 412, what matches the copy the caller has is 304.
    """
    modified = stored.modified.replace(microsecond=0)
    if (etag := headers.get(f"{prefix}if-match")) is not None and not _names(etag, stored.etag):
        raise errors.precondition_failed("If-Match")
    if (since := _date(headers.get(f"{prefix}if-unmodified-since"))) is not None and modified > since:
        raise errors.precondition_failed("If-Unmodified-Since")
    if (etag := headers.get(f"{prefix}if-none-match")) is not None and _names(etag, stored.etag):
        raise errors.not_modified()
    if (since := _date(headers.get(f"{prefix}if-modified-since"))) is not None and modified <= since:
        raise errors.not_modified()


def _names(condition: str, etag: str) -> bool:
    return condition.strip() == "*" or condition.strip().strip('"').upper() == etag


def _date(text: str | None) -> datetime | None:
    with suppress(ValueError, TypeError):
        if text is not None:
            return parsedate_to_datetime(text).astimezone(UTC)
    return None


async def _send_file(call: Call, name: str, part: Range, status: int, headers: dict[str, str]) -> web.StreamResponse:
    # Opened before anything is awaited: an overwrite may remove the name while we send, not the open file.
    file = call.endpoint.store.contents.open_at(name, part.start)
    try:
        response = web.StreamResponse(status=status, headers=headers)
        response.headers["x-oss-request-id"] = call.request_id
        response.headers["Server"] = "AliyunOSS"
        response.content_length = left = part.end - part.start
        await response.prepare(call.request)
        while left > 0 and (chunk := file.read(min(CHUNK, left))):
            await response.write(chunk)
            left -= len(chunk)
        await response.write_eof()
        return response
    finally:
        file.close()
