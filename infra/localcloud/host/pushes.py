"""Bill files that BSS pushes into OSS: when the next are due, and having them pushed while time is played.

When they are due is read from BSS's own file, so that a host whose account has no subscription asks nobody.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import aiohttp

from infra.localcloud.common import LOOPBACK, LocalCloudError, load_keys


class BillPushes:
    """The pushes of the BSS beside us; none until it has made its file."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._path = home / "bss" / "subscriptions.db"
        self._db: sqlite3.Connection | None = None

    def next_due(self) -> datetime | None:
        """When files are pushed next; None while nobody is subscribed."""
        if self._db is None:
            if not self._path.exists():
                return None
            uri = f"{self._path.absolute().as_uri()}?mode=ro"
            self._db = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=60)
        try:
            (instant,) = self._db.execute("SELECT min(next_push) FROM subscription").fetchone()
        except sqlite3.OperationalError as exc:
            if "no such table" in str(exc):  # BSS is just making it
                return None
            raise
        return None if instant is None else datetime.fromtimestamp(instant, UTC)

    async def push(self, until: datetime) -> int:
        """Have BSS push everything due up to `until`; returns how many files that were."""
        try:
            port = json.loads((self._home / "ports.json").read_bytes())["bss"]
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
                session.post(
                    f"http://{LOOPBACK}:{port}/control/push",
                    json={"until": until.isoformat()},
                    headers={"Authorization": f"Bearer {load_keys(self._home).control_token}"},
                ) as answer,
            ):
                body = await answer.json()
        except (OSError, ValueError, KeyError, aiohttp.ClientError) as exc:
            raise LocalCloudError(
                f"bill files are due at {until.isoformat()} and the local BSS service does not answer ({exc!r}); "
                f"see {self._home / 'logs' / 'bss.log'}, then start the local cloud again"
            ) from exc
        if answer.status != 200:
            raise LocalCloudError(f"bill files are due at {until.isoformat()} and could not be pushed: {body}")
        return int(body["pushed"])
