"""Who subscribed to bill files, what was pushed and what is due; in a file of its own, which no bulk load locks.

A push is noted before it is made and again when it is done. One that was cut short between the two is looked for in
the bucket, so that it is neither lost nor made twice.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.localcloud.bss.schedule import Kind, first_push, push_after
from infra.localcloud.bss.state import transaction

WAIT_S = 60
_SCHEMA = """
CREATE TABLE IF NOT EXISTS subscription(
    id INTEGER PRIMARY KEY AUTOINCREMENT, payer TEXT NOT NULL, type TEXT NOT NULL, accounts TEXT NOT NULL,
    bucket TEXT NOT NULL, path TEXT NOT NULL, bucket_owner TEXT NOT NULL, rows_max INT, begin_cycle TEXT,
    language TEXT NOT NULL, with_currency INT NOT NULL, subscribed_at INT NOT NULL, next_push INT NOT NULL,
    UNIQUE(payer, type, accounts));
CREATE TABLE IF NOT EXISTS push(
    subscription INT NOT NULL, instant INT NOT NULL, key TEXT NOT NULL, etag TEXT NOT NULL, is_done INT NOT NULL,
    PRIMARY KEY(subscription, instant, key)) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Order:
    """What SubscribeBillToOSS asks for. `accounts` is MA or ACP1; `begin` is the cycle to fill up from."""

    payer: str
    kind: Kind
    accounts: str
    bucket: str
    path: str
    bucket_owner: str
    rows_max: int | None
    begin: str | None
    language: str
    with_currency: bool

    def key(self, name: str) -> str:
        """The key of a file of this subscription."""
        return f"{self.path}/{name}" if self.path else name


@dataclass(frozen=True, slots=True)
class Subscription:
    """An order that is being carried out. Instants are UTC."""

    id: int
    order: Order
    subscribed_at: datetime
    next_push: datetime

    @property
    def begin(self) -> str | None:
        """The cycle to fill up from at the next push; None once the first is done."""
        return self.order.begin if self.next_push == first_push(self.subscribed_at) else None


class Subscriptions:
    """The subscriptions of `home`, over a connection of its own; use it from one thread."""

    def __init__(self, home: Path) -> None:
        path = home / "bss" / "subscriptions.db"
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def add(self, order: Order, now: datetime) -> Subscription:
        """Subscribe; returns what is subscribed to, which is another order where the payer has one of that kind."""
        with transaction(self._connection, "IMMEDIATE"):
            self._connection.execute(
                "INSERT OR IGNORE INTO subscription(payer, type, accounts, bucket, path, bucket_owner, rows_max, "
                "begin_cycle, language, with_currency, subscribed_at, next_push) VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
                (
                    order.payer, order.kind.subscribe_type, order.accounts, order.bucket, order.path,
                    order.bucket_owner, order.rows_max, order.begin, order.language, int(order.with_currency),
                    int(now.timestamp()), int(first_push(now).timestamp()),
                ),
            )  # fmt: skip
            return self._read(
                "payer = ? AND type = ? AND accounts = ?", order.payer, order.kind.subscribe_type, order.accounts
            )[0]

    def remove(self, payer: str, kind: Kind, accounts: str) -> None:
        """Unsubscribe; nothing to do where there is no such subscription."""
        key = (payer, kind.subscribe_type, accounts)
        with transaction(self._connection, "IMMEDIATE"):
            for made in self._read("payer = ? AND type = ? AND accounts = ?", *key):
                self._connection.execute("DELETE FROM push WHERE subscription = ?", (made.id,))
                self._connection.execute("DELETE FROM subscription WHERE id = ?", (made.id,))

    def of(self, payer: str) -> list[Subscription]:
        """The subscriptions of a payer, oldest first."""
        return self._read("payer = ?", payer)

    def next_due(self) -> datetime | None:
        """The instant of the next push of all; None when nobody is subscribed."""
        (instant,) = self._connection.execute("SELECT min(next_push) FROM subscription").fetchone()
        return None if instant is None else datetime.fromtimestamp(instant, UTC)

    def due_at(self, instant: datetime) -> list[Subscription]:
        """Whose push is due at that instant, oldest subscription first."""
        return self._read("next_push = ?", int(instant.timestamp()))

    def is_done(self, subscription: Subscription, key: str) -> bool:
        """Whether the file `key` of the next push is in its bucket."""
        query = "SELECT is_done FROM push WHERE subscription = ? AND instant = ? AND key = ?"
        row = self._connection.execute(query, (*_push(subscription), key)).fetchone()
        return row is not None and bool(row[0])

    def begin(self, subscription: Subscription, key: str, etag: str) -> bool:
        """Note that the file is about to be put; False where that was noted of the same content before."""
        statement = "INSERT INTO push VALUES(?, ?, ?, ?, 0) ON CONFLICT DO UPDATE SET etag = ? WHERE etag <> ?"
        cursor = self._connection.execute(statement, (*_push(subscription), key, etag, etag, etag))
        return cursor.rowcount == 1

    def done(self, subscription: Subscription, key: str) -> None:
        """Note that the file is in its bucket."""
        statement = "UPDATE push SET is_done = 1 WHERE subscription = ? AND instant = ? AND key = ?"
        self._connection.execute(statement, (*_push(subscription), key))

    def finish(self, subscription: Subscription) -> None:
        """Note that all files of the push are; the next one is a day later."""
        following = int(push_after(subscription.next_push).timestamp())
        with transaction(self._connection, "IMMEDIATE"):
            self._connection.execute("UPDATE subscription SET next_push = ? WHERE id = ?", (following, subscription.id))
            self._connection.execute("DELETE FROM push WHERE subscription = ?", (subscription.id,))

    def _read(self, where: str, *values: object) -> list[Subscription]:
        query = (
            "SELECT id, payer, type, accounts, bucket, path, bucket_owner, rows_max, begin_cycle, language, "  # noqa: S608
            f"with_currency, subscribed_at, next_push FROM subscription WHERE {where} ORDER BY id"
        )
        return [
            Subscription(
                row[0],
                Order(row[1], Kind.of(row[2]), row[3], row[4], row[5], row[6], row[7], row[8], row[9], bool(row[10])),
                datetime.fromtimestamp(row[11], UTC),
                datetime.fromtimestamp(row[12], UTC),
            )
            for row in self._connection.execute(query, values)
        ]


def _push(subscription: Subscription) -> tuple[int, int]:
    return subscription.id, int(subscription.next_push.timestamp())
