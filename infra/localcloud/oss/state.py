"""What the local OSS remembers: buckets and objects, and what it refuses to do to them.

Every method runs on the event loop's thread and every change is one SQLite transaction that checks before it
writes, so two requests can never both pass a check that only one may pass.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from infra.localcloud.oss import errors, tags
from infra.localcloud.oss.blobs import Content, Folder
from infra.localcloud.oss.database import Cause, Database, from_ms, to_ms
from infra.localcloud.oss.retention import Rule, Worm, WormState


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and the rules that bind its objects."""

    name: str
    created: datetime
    rules: tuple[Rule, ...]
    worm: Worm | None
    versioning: str | None  # Enabled or Suspended; None: never enabled


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as OSS describes it; `headers` are those it was stored with and is returned with."""

    key: str
    modified: datetime
    size: int
    etag: str
    crc64: str
    type: str
    headers: Mapping[str, str]
    file: str | None
    inline: bytes | None


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing shows it."""

    key: str
    modified: datetime
    size: int
    etag: str
    type: str


@dataclass(frozen=True, slots=True)
class Position:
    """Where a listing stands: behind this key, or behind everything under this common prefix."""

    key: bytes
    is_prefix: bool = False

    def first(self) -> bytes:
        """The smallest key that may still be listed."""
        return _after_prefix(self.key) if self.is_prefix else self.key + b"\0"


@dataclass(frozen=True, slots=True)
class Page:
    """Part of a listing, in the order of UTF-8 bytes; `next` is where to go on, None at the end."""

    objects: Sequence[Listed]
    prefixes: Sequence[str]
    next: Position | None


class Store:
    """Buckets and objects in one folder."""

    def __init__(self, folder: Path, account_id: str, region: str) -> None:
        self.database = Database(folder, account_id, region)
        self.contents = Folder(folder / "objects")
        named = self.database.execute("SELECT file FROM object WHERE file IS NOT NULL UNION SELECT file FROM part")
        self.contents.remove_orphans({file for (file,) in named})
        self._swept: dict[str, date] = {}

    def close(self) -> None:
        """Close the database; nothing is lost by not calling it."""
        self.database.close()

    # Buckets

    def buckets(self) -> list[Bucket]:
        """Every bucket, by name."""
        return [
            _bucket(row)
            for row in self.database.execute("SELECT name,created,rules,worm,versioning FROM bucket ORDER BY name")
        ]

    def bucket(self, name: str, now: datetime) -> Bucket:
        """The bucket, after its lifecycle rules have removed what is due."""
        query = "SELECT name,created,rules,worm,versioning FROM bucket WHERE name=?"
        row = self.database.execute(query, name).fetchone()
        if row is None:
            raise errors.no_such_bucket(name)
        bucket = _bucket(row)
        if bucket.rules and self._swept.get(name) != now.date():
            self._sweep(bucket, now)
        return bucket

    def create_bucket(self, name: str, now: datetime) -> None:
        """Create the bucket; to create one's own bucket again changes nothing."""
        self.database.execute("INSERT OR IGNORE INTO bucket(name,created) VALUES(?,?)", name, to_ms(now))

    def delete_bucket(self, bucket: Bucket) -> None:
        """Remove the bucket, which must hold neither objects nor unfinished uploads."""
        with self.database.transaction():
            for table in ("object", "upload"):
                query = f"SELECT 1 FROM {table} WHERE bucket=? LIMIT 1"  # noqa: S608 - our own table names
                if self.database.execute(query, bucket.name).fetchone():
                    raise errors.bucket_not_empty(bucket.name)
            self.database.execute("DELETE FROM bucket WHERE name=?", bucket.name)
        self._swept.pop(bucket.name, None)

    def set_rules(self, bucket: Bucket, rules: Sequence[Rule]) -> None:
        """Replace the bucket's lifecycle rules; none removes them."""
        text = json.dumps([rule.as_json() for rule in rules])
        self.database.execute("UPDATE bucket SET rules=? WHERE name=?", text, bucket.name)
        self._swept.pop(bucket.name, None)

    def set_worm(self, bucket: Bucket, worm: Worm | None) -> None:
        """Replace the bucket's retention policy."""
        text = None
        if worm is not None:
            text = json.dumps({**asdict(worm), "state": worm.state.value, "created": to_ms(worm.created)})
        self.database.execute("UPDATE bucket SET worm=? WHERE name=?", text, bucket.name)

    def set_versioning(self, bucket: Bucket, status: str) -> None:
        """Remember the bucket's versioning state; it cannot go back to none."""
        self.database.execute("UPDATE bucket SET versioning=? WHERE name=?", status, bucket.name)

    # Objects

    def find(self, bucket: Bucket, key: str) -> StoredObject:
        """The object, or NoSuchKey."""
        stored = self.seek(bucket, key)
        if stored is None:
            raise errors.no_such_key(key)
        return stored

    def seek(self, bucket: Bucket, key: str) -> StoredObject | None:
        """The object, or None."""
        row = self.database.execute(
            "SELECT modified,size,etag,crc64,type,headers,file,inline FROM object WHERE bucket=? AND key=?",
            bucket.name,
            key.encode(),
        ).fetchone()
        if row is None:
            return None
        modified, size, etag, crc64, type_, headers, file, inline = row
        return StoredObject(key, from_ms(modified), size, etag, crc64, type_, json.loads(headers), file, inline)

    def refuse_existing(self, bucket: Bucket, key: str) -> None:
        """Raise FileAlreadyExists when the object is there."""
        query = "SELECT 1 FROM object WHERE bucket=? AND key=?"
        if self.database.execute(query, bucket.name, key.encode()).fetchone():
            raise errors.file_already_exists(key, completing=False)

    def put(
        self, bucket: Bucket, key: str, content: Content, headers: Mapping[str, str], cause: Cause, *, forbid: bool
    ) -> StoredObject:
        """Make `content` the object `key`, and say so in an event."""
        etag = content.md5.hex().upper()
        put = described(key, content, etag, "Normal", headers, cause)
        try:
            with self.database.transaction():
                replaced = self.write(bucket, put, "ObjectCreated:PutObject", cause, forbid=forbid)
        except BaseException:
            self.contents.remove([content.file])
            raise
        self.contents.remove([replaced])
        return put

    def write(self, bucket: Bucket, put: StoredObject, event: str, cause: Cause, *, forbid: bool) -> str | None:
        """Within a transaction: check, write the row and its event; answers the content file it replaced."""
        self.refuse_versioned(bucket)
        key = put.key.encode()
        query = "SELECT modified,size,file FROM object WHERE bucket=? AND key=?"
        before = self.database.execute(query, bucket.name, key).fetchone()
        if before is not None:
            if forbid:
                raise errors.file_already_exists(put.key, completing=event.endswith("CompleteMultipartUpload"))
            self._check_mutable(bucket, put.key, before[0], cause)
        row = (bucket.name, key, to_ms(put.modified), put.size, put.etag, put.crc64, put.type)
        text = json.dumps(dict(put.headers))
        self.database.execute(
            "INSERT OR REPLACE INTO object VALUES(?,?,?,?,?,?,?,?,?,?)", *row, text, put.file, put.inline
        )
        delta = put.size - (before[1] if before is not None else 0)
        described = event_object(put.key, put.size, delta, put.etag, put.headers)
        self.database.emit(cause, event, bucket.name, put.key, described)
        return None if before is None else before[2]

    def delete(self, bucket: Bucket, keys: Iterable[str], event: str, cause: Cause) -> None:
        """Remove the objects; absent ones are fine. One that may not go keeps all of them.

        What OSS does with the others then is not documented; here the request is refused whole.
        """
        self.refuse_versioned(bucket)
        files = []
        with self.database.transaction():
            for key in keys:
                files.append(self._delete_one(bucket, key, event, cause))
        self.contents.remove(files)

    def _delete_one(self, bucket: Bucket, key: str, event: str, cause: Cause) -> str | None:
        query = "SELECT modified,size,etag,headers,file FROM object WHERE bucket=? AND key=?"
        row = self.database.execute(query, bucket.name, key.encode()).fetchone()
        if row is None:
            return None
        modified, size, etag, headers, file = row
        self._check_mutable(bucket, key, modified, cause)
        self.database.execute("DELETE FROM object WHERE bucket=? AND key=?", bucket.name, key.encode())
        described = event_object(key, size, -size, etag, json.loads(headers))
        self.database.emit(cause, event, bucket.name, key, described)
        return str(file) if file is not None else None

    def set_tags(self, bucket: Bucket, key: str, wanted: Mapping[str, str]) -> None:
        """Give the object these tags and no others."""
        text = json.dumps(tags.tagged(self.find(bucket, key).headers, wanted))
        self.database.execute("UPDATE object SET headers=? WHERE bucket=? AND key=?", text, bucket.name, key.encode())

    @staticmethod
    def refuse_versioned(bucket: Bucket) -> None:
        """Refuse to change objects where OSS would keep versions of them."""
        if bucket.versioning is not None:
            raise errors.not_implemented(f"changing objects of a bucket whose versioning is {bucket.versioning}")

    @staticmethod
    def _check_mutable(bucket: Bucket, key: str, modified: int, cause: Cause) -> None:
        if bucket.worm is not None and bucket.worm.protects(from_ms(modified), cause.at):
            raise errors.file_immutable(key)

    # Listing

    def page(self, bucket: Bucket, prefix: str, delimiter: str, start: Position | None, limit: int) -> Page:
        """Up to `limit` objects and common prefixes behind `start`.

        A common prefix costs one step however many keys are under it: the query jumps behind them.
        """
        objects: list[Listed] = []
        prefixes: list[str] = []
        last: Position | None = None
        end = _after_prefix(prefix.encode()) if prefix else None
        first: bytes | None = max(prefix.encode(), start.first() if start else b"")
        while first is not None:
            rows, first = self._rows(bucket, first, end), None
            for row in rows:
                if len(objects) + len(prefixes) == limit:
                    return Page(objects, prefixes, last)
                common = _common_prefix(row[0], prefix.encode(), delimiter.encode())
                if common is not None:
                    prefixes.append(common.decode())
                    last = Position(common, is_prefix=True)
                    first = last.first()
                    break
                objects.append(Listed(row[0].decode(), from_ms(row[1]), *row[2:]))
                last = Position(row[0])
        return Page(objects, prefixes, None)

    def _rows(self, bucket: Bucket, first: bytes, end: bytes | None) -> Iterable[Any]:
        query = "SELECT key,modified,size,etag,type FROM object WHERE bucket=? AND key>=?"
        if end is None:
            return self.database.execute(f"{query} ORDER BY key", bucket.name, first)
        return self.database.execute(f"{query} AND key<? ORDER BY key", bucket.name, first, end)

    # Lifecycle

    def _sweep(self, bucket: Bucket, now: datetime) -> None:
        """Remove what the lifecycle rules say is due; a retention policy wins.

        Rules act at midnight in UTC, so once a day is enough. It makes no events: those of the trigger
        (functioncompute/fc, OSS trigger) are of requests only.
        """
        files: list[str | None] = []
        with self.database.transaction():
            for rule in bucket.rules:
                if rule.is_enabled:
                    files += self._expire_objects(bucket, rule, now)
                    files += self._expire_uploads(bucket, rule, now)
        self._swept[bucket.name] = now.date()
        self.contents.remove(files)

    def _expire_objects(self, bucket: Bucket, rule: Rule, now: datetime) -> list[str | None]:
        if rule.expiration is None:
            return []
        query = "SELECT key,modified,file FROM object WHERE bucket=? AND substr(key,1,?)=?"
        prefix = rule.prefix.encode()
        files = []
        for key, modified, file in self.database.execute(query, bucket.name, len(prefix), prefix).fetchall():
            is_kept = bucket.worm is not None and bucket.worm.protects(from_ms(modified), now)
            if rule.expiration.is_due(from_ms(modified), now) and not is_kept:
                self.database.execute("DELETE FROM object WHERE bucket=? AND key=?", bucket.name, key)
                files.append(file)
        return files

    def _expire_uploads(self, bucket: Bucket, rule: Rule, now: datetime) -> list[str | None]:
        if rule.abort_multipart is None:
            return []
        query = "SELECT id,started FROM upload WHERE bucket=? AND substr(key,1,?)=?"
        prefix = rule.prefix.encode()
        files: list[str | None] = []
        for upload, started in self.database.execute(query, bucket.name, len(prefix), prefix).fetchall():
            if rule.abort_multipart.is_due(from_ms(started), now):
                files += self.forget_upload(upload)
        return files

    def forget_upload(self, upload: str) -> list[str | None]:
        """Within a transaction: remove an upload and its parts; answers their content files."""
        files = [file for (file,) in self.database.execute("SELECT file FROM part WHERE upload=?", upload)]
        self.database.execute("DELETE FROM part WHERE upload=?", upload)
        self.database.execute("DELETE FROM upload WHERE id=?", upload)
        return files


def _bucket(row: tuple[str, int, str, str | None, str | None]) -> Bucket:
    name, created, rules, worm, versioning = row
    parsed = None if worm is None else json.loads(worm)
    if parsed is not None:
        parsed = Worm(parsed["id"], WormState(parsed["state"]), parsed["days"], from_ms(parsed["created"]))
    known = tuple(Rule.from_json(rule) for rule in json.loads(rules))
    return Bucket(name, from_ms(created), known, parsed, versioning)


def described(
    key: str, content: Content, etag: str, type_: str, headers: Mapping[str, str], cause: Cause
) -> StoredObject:
    crc64 = str(content.crc64)
    return StoredObject(key, cause.at, content.size, etag, crc64, type_, headers, content.file, content.inline)


def event_object(key: str, size: int, delta: int, etag: str, headers: Mapping[str, str]) -> dict[str, Any]:
    meta = {"mimeType": headers.get("Content-Type", "application/octet-stream")}
    return {"deltaSize": delta, "eTag": etag, "key": key, "objectMeta": meta, "size": size}


def _common_prefix(key: bytes, prefix: bytes, delimiter: bytes) -> bytes | None:
    if not delimiter:
        return None
    end = key.find(delimiter, len(prefix))
    return None if end < 0 else key[: end + len(delimiter)]


def _after_prefix(prefix: bytes) -> bytes:
    # UTF-8 has no byte 0xFF, so the last byte can always be raised by one.
    return prefix[:-1] + bytes([prefix[-1] + 1])
