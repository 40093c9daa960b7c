"""The SQLite file of the local OSS: its tables, its transactions, and the events written with each change."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.localcloud.common import LocalCloudError

# Keys are BLOBs: SQLite compares those byte by byte, which is the order OSS lists in, and a prefix is then a
# range with an exact upper end. `inline` comes last so that listing does not read contents.
TABLES = """
CREATE TABLE IF NOT EXISTS bucket(
    name TEXT PRIMARY KEY, created INTEGER NOT NULL, rules TEXT NOT NULL DEFAULT '[]', worm TEXT,
    versioning TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS object(
    bucket TEXT NOT NULL, key BLOB NOT NULL, modified INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
    crc64 TEXT NOT NULL, type TEXT NOT NULL, headers TEXT NOT NULL, file TEXT, inline BLOB,
    PRIMARY KEY(bucket, key)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS upload(
    id TEXT PRIMARY KEY, bucket TEXT NOT NULL, key BLOB NOT NULL, headers TEXT NOT NULL, started INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS part(
    upload TEXT NOT NULL, number INTEGER NOT NULL, size INTEGER NOT NULL, md5 BLOB NOT NULL, file TEXT NOT NULL,
    modified INTEGER NOT NULL,
    PRIMARY KEY(upload, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS event(
    id INTEGER PRIMARY KEY AUTOINCREMENT, bucket TEXT NOT NULL, key TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Cause:
    """The request behind a change: who asked, from where, and when on the business clock."""

    request_id: str
    source_ip: str
    at: datetime


class Database:
    """One connection, used from the event loop's thread only; other processes may read while it is open."""

    def __init__(self, folder: Path, account_id: str, region: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            os.close(self._lock)
            raise LocalCloudError(f"another local OSS already serves {folder}; stop it first") from exc
        self._account_id, self._region = account_id, region
        self._connection = sqlite3.connect(folder / "oss.db", isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        # NORMAL does not sync at each commit: what is committed outlives the process however it ends, which is
        # what a local stand-in promises; only a power cut may lose the last moments.
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(TABLES)
        self._add_versioning()

    def close(self) -> None:
        """Close the file and let another process serve it."""
        self._connection.close()
        os.close(self._lock)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens or nothing does; the write lock is held from the first check on."""
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")

    def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(sql, values)

    def _add_versioning(self) -> None:
        """Bring a folder up to date that was made before buckets had a versioning state."""
        if "versioning" not in {column for _, column, *_ in self.execute("PRAGMA table_info(bucket)")}:
            self.execute("ALTER TABLE bucket ADD COLUMN versioning TEXT")

    def emit(self, cause: Cause, name: str, bucket: str, key: str, described: dict[str, Any]) -> None:
        """Write the event of a change beside the change; the function host reads the table `event`."""
        element = {
            "eventName": name,
            "eventSource": "acs:oss",
            "eventTime": f"{cause.at.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.000Z",
            "eventVersion": "1.0",
            "oss": {
                "bucket": {
                    "arn": f"acs:oss:{self._region}:{self._account_id}:{bucket}",
                    "name": bucket,
                    "ownerIdentity": self._account_id,
                    "virtualBucket": "",
                },
                "object": described,
                "ossSchemaVersion": "1.0",
                # OSS has a rule per trigger; here the host matches triggers, so the bucket stands for them.
                "ruleId": hashlib.sha1(bucket.encode(), usedforsecurity=False).hexdigest(),
            },
            "region": self._region,
            "requestParameters": {"sourceIPAddress": cause.source_ip},
            "responseElements": {"requestId": cause.request_id},
            "userIdentity": {"principalId": self._account_id},
        }
        body = json.dumps(element, ensure_ascii=False, separators=(",", ":"))
        self.execute("INSERT INTO event(bucket, key, name, body) VALUES(?,?,?,?)", bucket, key, name, body)


def to_ms(instant: datetime) -> int:
    """An instant as whole milliseconds, exactly: float seconds would move some of them."""
    elapsed = instant - EPOCH
    return (elapsed.days * 86_400 + elapsed.seconds) * 1000 + elapsed.microseconds // 1000


def from_ms(value: int) -> datetime:
    """The instant of whole milliseconds."""
    return datetime.fromtimestamp(value // 1000, UTC).replace(microsecond=value % 1000 * 1000)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
