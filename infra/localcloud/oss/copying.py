"""Operations that make an object, or a part, of one that is already there: CopyObject and UploadPartCopy.

A copy shares its source's content, ETag, CRC-64 and type. The documents disagree on whether an appendable object can
be copied (CopyObject no longer says no, the SDK guides do), so that is not implemented here; only its headers can be
replaced, by copying it onto itself.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import unquote_to_bytes

from aiohttp import web

from infra.localcloud.oss import errors, tags
from infra.localcloud.oss.blobs import Content, Piece, joined
from infra.localcloud.oss.call import Call, check_bucket_name, check_key
from infra.localcloud.oss.database import Cause
from infra.localcloud.oss.documents import document, element, timestamp
from infra.localcloud.oss.objects import check_conditions, forbids_overwrite, kept_headers
from infra.localcloud.oss.ranges import Range, effective_range
from infra.localcloud.oss.state import Bucket, Store, StoredObject
from infra.localcloud.oss.uploads import part_number

SOURCE: Final = "x-oss-copy-source"
ENCRYPTION: Final = "x-oss-server-side-encryption"


@dataclass(frozen=True, slots=True)
class _Source:
    """What is copied, and from where."""

    bucket: str
    key: str
    stored: StoredObject


async def copy(call: Call) -> web.Response:
    """CopyObject."""
    cause = call.cause()
    bucket, source = call.bucket(cause.at), _source(call, cause)
    is_itself = (source.bucket, source.key) == (bucket.name, call.key)
    if source.stored.type == "Appendable" and not is_itself:
        raise errors.not_implemented("copying an appendable object")
    headers = _headers(call, source.stored, is_itself=is_itself)
    forbid = forbids_overwrite(call.headers)
    made = _put(call.endpoint.store, bucket, call.key, source.stored, headers, cause, forbid=forbid)
    response = _answer("CopyObjectResult", made.etag, made.crc64, timestamp(made.modified))
    if ENCRYPTION in headers:
        response.headers[ENCRYPTION] = headers[ENCRYPTION]
    return response


async def copy_part(call: Call) -> web.Response:
    """UploadPartCopy: a range that is none, or reaches outside the source, copies the whole of it."""
    number, upload = part_number(call), call.params["uploadId"]
    begun = call.cause()
    call.endpoint.uploads.headers(call.bucket(begun.at), call.key, upload)
    stored = _source(call, begun).stored
    if stored.type == "Appendable":
        raise errors.not_implemented("copying an appendable object")
    asked = effective_range(call.headers.get("x-oss-copy-source-range"), None, stored.size)
    content = await _extract(call.endpoint.store, stored, asked or Range(0, stored.size))
    cause = call.cause()
    event = "ObjectCreated:UploadPartCopy"
    call.endpoint.uploads.put_part(call.bucket(cause.at), call.key, upload, number, content, cause, event)
    response = _answer("CopyPartResult", content.md5.hex().upper(), str(content.crc64), timestamp(cause.at))
    if asked is not None:
        response.headers["Content-Range"] = f"bytes {asked.start}-{asked.end - 1}/{stored.size}"
    return response


def _source(call: Call, cause: Cause) -> _Source:
    """The object that `x-oss-copy-source` names, once the conditions on it hold."""
    text = call.headers[SOURCE]
    path, question, version = text.partition("?")
    bucket_name, slash, key = path[1:].partition("/")
    if not path.startswith("/") or not slash or (question and not version.startswith("versionId=")):
        # user-guide/0042-00000301
        form = f"{SOURCE} must read /<bucket>/<object>, the object's name URL-encoded."
        raise errors.invalid_argument(SOURCE, text, form, ec="0042-00000301" if "uploadId" in call.params else "")
    if question:
        raise errors.not_implemented("a version of an object")
    key = unquote_to_bytes(key.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    check_bucket_name(bucket_name)
    check_key(key)
    stored = call.endpoint.store.find(call.endpoint.store.bucket(bucket_name, cause.at), key)
    check_conditions(call.headers, stored, f"{SOURCE}-")
    return _Source(bucket_name, key, stored)


def _headers(call: Call, source: StoredObject, *, is_itself: bool) -> dict[str, str]:
    """The headers of a copy.

    A copy onto itself takes those of the request whatever the directive says, and a source's encryption is never
    handed on (developer-reference/copyobject).
    """
    given = kept_headers(call.headers)
    replaces = _is_replace(call, "x-oss-metadata-directive") or is_itself
    wanted = tags.of(given if _is_replace(call, "x-oss-tagging-directive") else source.headers)
    headers = {name: value for name, value in (given if replaces else source.headers).items() if name != ENCRYPTION}
    if ENCRYPTION in given:
        headers[ENCRYPTION] = given[ENCRYPTION]
    return tags.tagged(headers, wanted)


def _is_replace(call: Call, name: str) -> bool:
    directive = call.headers.get(name, "COPY")
    if directive.upper() not in {"COPY", "REPLACE"}:
        raise errors.invalid_argument(name, directive, f"{name} must be COPY or REPLACE.")
    return directive.upper() == "REPLACE"


def _put(
    store: Store, bucket: Bucket, key: str, source: StoredObject, headers: dict[str, str], cause: Cause, *, forbid: bool
) -> StoredObject:
    """Make `key` a copy of the source; nothing is awaited in between, so the source cannot change meanwhile."""
    file = None if source.file is None else store.contents.link(source.file)
    made = replace(source, key=key, modified=cause.at, headers=headers, file=file)
    try:
        with store.database.transaction():
            replaced = store.write(bucket, made, "ObjectCreated:CopyObject", cause, forbid=forbid)
    except BaseException:
        store.contents.remove([file])
        raise
    store.contents.remove([replaced])
    return made


async def _extract(store: Store, source: StoredObject, part: Range) -> Content:
    """A range of an object as a content of its own; overwriting the object meanwhile changes nothing."""
    held = None if source.file is None else store.contents.link(source.file)
    try:
        pieces = [Piece(source.inline or b"", held, part.start, part.end)]
        return await asyncio.to_thread(joined, store.contents, pieces)
    finally:
        store.contents.remove([held])


def _answer(name: str, etag: str, crc64: str, modified: str) -> web.Response:
    parts = [element("ETag", f'"{etag}"'), element("LastModified", modified)]
    headers = {"ETag": f'"{etag}"', "x-oss-hash-crc64ecma": crc64}
    return web.Response(body=document(name, parts), content_type="application/xml", headers=headers)
