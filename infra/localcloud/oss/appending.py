"""AppendObject: an object that grows at its end, and only there."""

from __future__ import annotations

import asyncio
import hashlib

from aiohttp import web

from infra.localcloud.oss import errors
from infra.localcloud.oss.blobs import Content, Piece, joined
from infra.localcloud.oss.call import UPLOAD_MAX, Call
from infra.localcloud.oss.documents import integer
from infra.localcloud.oss.objects import kept_headers, received
from infra.localcloud.oss.state import Bucket, Store, StoredObject, described


async def append(call: Call) -> web.Response:
    """AppendObject: `position` is where the object ends now, 0 where there is none."""
    if "position" not in call.params:
        # user-guide/0016-00000501
        raise errors.invalid_argument("position", "", "The position parameter is missing.", ec="0016-00000501")
    position = integer(call.params["position"], "position", 0, UPLOAD_MAX)
    headers = kept_headers(call.headers)
    _growing(call.endpoint.store, call.bucket(), call.key, position, headers)
    content = await received(call)
    try:
        stored = await _put(call, position, content, headers)
    finally:
        call.endpoint.store.contents.remove([content.file])
    return web.Response(
        headers={
            "ETag": f'"{stored.etag}"',
            "x-oss-hash-crc64ecma": stored.crc64,
            "x-oss-next-append-position": str(stored.size),
        }
    )


async def _put(call: Call, position: int, content: Content, headers: dict[str, str]) -> StoredObject:
    """The object with `content` at its end; of appends to one position exactly one succeeds."""
    store, key, cause = call.endpoint.store, call.key, call.cause()
    before = _growing(store, call.bucket(cause.at), key, position, headers)
    whole = await _extended(store, before, content)
    try:
        with store.database.transaction():
            bucket = call.bucket(cause.at)
            if _growing(store, bucket, key, position, headers) != before:
                # The same length and yet not the same object: it was replaced while we wrote.
                raise errors.position_not_equal_to_length(key, position)
            etag = _etag(before, content)
            kept = headers if before is None else before.headers
            put = described(key, whole, etag, "Appendable", kept, cause)
            replaced = store.write(bucket, put, "ObjectCreated:AppendObject", cause, forbid=False)
    except BaseException:
        store.contents.remove([whole.file])
        raise
    store.contents.remove([replaced])
    return put


def _growing(store: Store, bucket: Bucket, key: str, position: int, headers: dict[str, str]) -> StoredObject | None:
    """The object that shall grow, None where this begins it, once it may grow at that position."""
    before = store.seek(bucket, key)
    if before is None:
        if position != 0:
            raise errors.position_not_equal_to_length(key, 0)
        return None
    if before.type != "Appendable":
        raise errors.object_not_appendable(key)
    if position != before.size:
        raise errors.position_not_equal_to_length(key, before.size)
    meta = next((name for name in headers if name.startswith("x-oss-meta-")), None)
    if meta is not None:
        # developer-reference/appendobject: they can be given when the object is created, not when it is continued.
        raise errors.invalid_argument(meta, headers[meta], "x-oss-meta-* can only be given by the first append.")
    return before


async def _extended(store: Store, before: StoredObject | None, content: Content) -> Content:
    size = (0 if before is None else before.size) + content.size
    if size > UPLOAD_MAX:
        raise errors.entity_too_large(UPLOAD_MAX)
    held = None if before is None or before.file is None else store.contents.link(before.file)
    pieces = [] if before is None else [Piece(before.inline or b"", held, 0, before.size)]
    pieces.append(Piece(content.inline or b"", content.file, 0, content.size))
    try:
        return await asyncio.to_thread(joined, store.contents, pieces, always_file=False)
    finally:
        store.contents.remove([held])


def _etag(before: StoredObject | None, content: Content) -> str:
    # An appendable object's ETag is no MD5 of its content; OSS's own end in eight zeros (user-guide/0026-00000016).
    text = f"{before.etag if before else ''}{content.md5.hex()}{content.size}"
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:24].upper() + "00000000"
