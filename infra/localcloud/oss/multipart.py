"""Multipart uploads: parts arrive in any order under an upload id and become an object at once."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from infra.localcloud.oss import errors
from infra.localcloud.oss.blobs import Content, Piece, joined
from infra.localcloud.oss.database import Cause, from_ms, to_ms
from infra.localcloud.oss.state import Bucket, Store, StoredObject, described, event_object

PART_MIN: Final = 100 << 10  # developer-reference/uploadpart: 100 KB to 5 GB, the last part may be smaller
PARTS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True)
class Listed:
    """A part as the completing request names it."""

    number: int
    etag: str


@dataclass(frozen=True, slots=True)
class Part:
    """A part as it was uploaded."""

    number: int
    size: int
    md5: bytes
    file: str
    modified: datetime

    @property
    def etag(self) -> str:
        """The part's ETag, without its quotes."""
        return self.md5.hex().upper()


@dataclass(frozen=True, slots=True)
class Started:
    """An unfinished upload as a listing shows it."""

    key: str
    id: str
    at: datetime


class Uploads:
    """The unfinished uploads of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._database = store.database

    def start(self, bucket: Bucket, key: str, headers: Mapping[str, str], cause: Cause) -> str:
        """Begin an upload; the headers are those of the object to be."""
        self._store.refuse_versioned(bucket)
        upload = secrets.token_hex(16).upper()
        with self._database.transaction():
            values = (upload, bucket.name, key.encode(), json.dumps(dict(headers)), to_ms(cause.at))
            self._database.execute("INSERT INTO upload VALUES(?,?,?,?,?)", *values)
            self._emit(bucket, key, "ObjectCreated:InitiateMultipartUpload", cause, 0, "", headers)
        return upload

    def headers(self, bucket: Bucket, key: str, upload: str) -> dict[str, str]:
        """The headers an upload was started with; NoSuchUpload where there is none for this key."""
        query = "SELECT headers FROM upload WHERE id=? AND bucket=? AND key=?"
        row = self._database.execute(query, upload, bucket.name, key.encode()).fetchone()
        if row is None:
            raise errors.no_such_upload(upload)
        return dict(json.loads(row[0]))

    def put_part(
        self,
        bucket: Bucket,
        key: str,
        upload: str,
        number: int,
        content: Content,
        cause: Cause,
        event: str = "ObjectCreated:UploadPart",
    ) -> None:
        """Keep a part; one of the same number is replaced."""
        try:
            with self._database.transaction():
                headers = self.headers(bucket, key, upload)
                replaced = self._database.execute(
                    "SELECT file FROM part WHERE upload=? AND number=?", upload, number
                ).fetchone()
                values = (upload, number, content.size, content.md5, content.file, to_ms(cause.at))
                self._database.execute("INSERT OR REPLACE INTO part VALUES(?,?,?,?,?,?)", *values)
                etag = content.md5.hex().upper()
                self._emit(bucket, key, event, cause, content.size, etag, headers)
        except BaseException:
            self._store.contents.remove([content.file])
            raise
        self._store.contents.remove(replaced or ())

    async def complete(
        self, bucket: Bucket, key: str, upload: str, listed: Sequence[Listed] | None, cause: Cause, *, forbid: bool
    ) -> StoredObject:
        """Make the listed parts (None: all) the object `key`, in one step for everybody who looks."""
        parts = self._chosen(bucket, key, upload, listed)
        try:
            # Joining takes as long as the object is large; other requests go on meanwhile.
            pieces = [Piece(b"", part.file, 0, part.size) for part in parts]
            content = await asyncio.to_thread(joined, self._store.contents, pieces)
        except FileNotFoundError:  # aborted, completed or a part replaced while we joined
            raise errors.no_such_upload(upload) from None
        try:
            with self._database.transaction():
                if self._chosen(bucket, key, upload, listed) != parts:
                    raise errors.no_such_upload(upload)
                headers = self.headers(bucket, key, upload)
                put = described(key, content, _joined_etag(parts), "Multipart", headers, cause)
                event = "ObjectCreated:CompleteMultipartUpload"
                replaced = self._store.write(bucket, put, event, cause, forbid=forbid)
                files = self._store.forget_upload(upload)
        except BaseException:
            self._store.contents.remove([content.file])
            raise
        self._store.contents.remove([replaced, *files])
        return put

    def abort(self, bucket: Bucket, key: str, upload: str, cause: Cause) -> None:
        """Forget an upload and its parts."""
        with self._database.transaction():
            headers = self.headers(bucket, key, upload)
            files = self._store.forget_upload(upload)
            self._emit(bucket, key, "ObjectRemoved:AbortMultipartUpload", cause, 0, "", headers)
        self._store.contents.remove(files)

    def unfinished(self, bucket: Bucket, prefix: str) -> list[Started]:
        """The uploads under a prefix, by key in the order of UTF-8 bytes, then by id."""
        query = "SELECT key,id,started FROM upload WHERE bucket=? AND substr(key,1,?)=? ORDER BY key,id"
        start = prefix.encode()
        rows = self._database.execute(query, bucket.name, len(start), start)
        return [Started(key.decode(), upload, from_ms(at)) for key, upload, at in rows]

    def parts(self, bucket: Bucket, key: str, upload: str) -> list[Part]:
        """The parts uploaded so far, by number."""
        self.headers(bucket, key, upload)
        query = "SELECT number,size,md5,file,modified FROM part WHERE upload=? ORDER BY number"
        rows = self._database.execute(query, upload)
        return [Part(number, size, md5, file, from_ms(at)) for number, size, md5, file, at in rows]

    def _chosen(self, bucket: Bucket, key: str, upload: str, listed: Sequence[Listed] | None) -> list[Part]:
        uploaded = {part.number: part for part in self.parts(bucket, key, upload)}
        if listed is None:
            listed = [Listed(part.number, part.etag) for part in uploaded.values()]
        numbers = [part.number for part in listed]
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            raise errors.invalid_part_order()
        for part in listed:
            if part.number not in uploaded or uploaded[part.number].etag != part.etag:
                raise errors.invalid_part(upload, part.number, part.etag)
        chosen = [uploaded[number] for number in numbers]
        for small in chosen[:-1]:
            if small.size < PART_MIN:
                raise errors.entity_too_small(small.number, small.etag, small.size, PART_MIN)
        if not chosen:
            raise errors.malformed_xml("no part is listed")
        return chosen

    def _emit(
        self, bucket: Bucket, key: str, name: str, cause: Cause, size: int, etag: str, headers: Mapping[str, str]
    ) -> None:
        self._database.emit(cause, name, bucket.name, key, event_object(key, size, size, etag, headers))


def _joined_etag(parts: Sequence[Part]) -> str:
    digest = hashlib.md5(b"".join(part.md5 for part in parts), usedforsecurity=False)
    return f"{digest.hexdigest().upper()}-{len(parts)}"
