"""What happened in OSS, read from its event table and never written to."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

BATCH_MAX = 500


@dataclass(frozen=True, slots=True)
class OssEvent:
    """One row of OSS's event table; `body` is the JSON of one element of `events`."""

    id: int
    bucket: str
    key: str
    name: str
    body: str


class OssFeed:
    """The events of the OSS beside us; empty until OSS has made its database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def after(self, event_id: int) -> list[OssEvent]:
        """The next events after `event_id`, oldest first, at most BATCH_MAX."""
        try:
            rows = self._connection().execute(
                "SELECT id, bucket, key, name, body FROM event WHERE id > ? ORDER BY id LIMIT ?", (event_id, BATCH_MAX)
            )
            return [OssEvent(*row) for row in rows]
        except sqlite3.OperationalError as exc:
            self.close()
            if "no such table" in str(exc) or "unable to open" in str(exc):
                return []
            raise

    def close(self) -> None:
        """Let go of the database."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _connection(self) -> sqlite3.Connection:
        if self._db is None:
            self._db = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None)
        return self._db
