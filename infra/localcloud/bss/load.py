"""Putting payers and bills into the local BSS service, before it runs or while it does.

These are plain functions over the folder, not calls of the service: the real one has none that would do it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TypeAlias

from infra.localcloud.bss.item import Dissector, Line
from infra.localcloud.bss.state import ALWAYS, SUMS, TALLY_KEY, connect, transaction
from infra.localcloud.common import LocalCloudError

# (visible from, visible until or None, billing date, the fields that differ from the skeleton).
Item: TypeAlias = tuple[str, str | None, str, Mapping[str, Decimal | str]]

_CHUNK = 5_000
_SHAPES_REMEMBERED = 200_000


def add_payer(
    home: Path,
    account: str,
    name: str,
    key_id: str,
    secret: str,
    customers: Iterable[str] = (),
    *,
    not_applicable: bool = False,
) -> None:
    """Make `account` a payer whose calls are signed with its own key; again, it replaces name, key and flag.

    The first payer ever added is the one that the main account's key answers for. A payer that is
    `not_applicable` gets HTTP 200 with Success false, as the service does for accounts of the wrong kind.
    """
    connection = connect(home)
    try:
        with transaction(connection, "IMMEDIATE"):
            connection.execute(
                "INSERT INTO payer VALUES(?, ?, ?, ?, ?) ON CONFLICT(account) DO UPDATE SET name = excluded.name, "
                "access_key_id = excluded.access_key_id, access_key_secret = excluded.access_key_secret, "
                "not_applicable = excluded.not_applicable",
                (account, name, key_id, secret, int(not_applicable)),
            )
            connection.executemany("INSERT OR IGNORE INTO customer VALUES(?, ?)", ((account, uid) for uid in customers))
    except sqlite3.IntegrityError:
        raise LocalCloudError(f"the access key {key_id} is another payer's; each payer has its own") from None
    finally:
        connection.close()


def add_role(home: Path, account: str, name: str, trusts: str) -> None:
    """Give the payer `account` a role that may read its bill and trusts the account `trusts`; again, it trusts anew."""
    _set(home, "INSERT OR REPLACE INTO payer_role VALUES(?, ?, ?)", account, name, trusts)


def enable_split_bill(home: Path, account: str, since: datetime) -> None:
    """Let the payer `account` ask for split bills, which the console does; the first answer comes a day later."""
    if since.tzinfo is None:
        raise LocalCloudError(f"split bills are enabled at an instant with its zone, not {since}")
    _set(home, "INSERT OR REPLACE INTO split_bill VALUES(?, ?)", account, int(since.timestamp()))


def grant_dump_role(home: Path, account: str) -> None:
    """Let bills be pushed to buckets of `account`, which the role AliyunConsumeDump2OSSRole does."""
    _set(home, "INSERT OR IGNORE INTO dump_role VALUES(?)", account)


def revoke_dump_role(home: Path, account: str) -> None:
    """Take that back; pushing then stops without a word."""
    _set(home, "DELETE FROM dump_role WHERE account = ?", account)


def set_file_format(home: Path, account: str, language: str, *, with_currency: bool = False) -> None:
    """The form of bill files that the payer `account` subscribes to from now on; zh without a currency otherwise."""
    if language not in ("zh", "en"):
        raise LocalCloudError(f"bill files are written in zh or en, not {language!r}")
    _set(home, "INSERT OR REPLACE INTO file_format VALUES(?, ?, ?)", account, language, int(with_currency))


def _set(home: Path, statement: str, *values: object) -> None:
    connection = connect(home)
    try:
        connection.execute(statement, values)
    finally:
        connection.close()


def add_items(home: Path, account: str, cycle: str, items: Iterable[Item], *, batch: str) -> int:
    """Append `items` to the bill of the payer `account` for `cycle`; returns how many were added.

    All of them or none: the batch is one transaction. A batch name that was added before adds nothing. Items are
    taken from the iterable as they are written, so a bill of millions needs no memory.
    """
    connection = connect(home)
    connection.execute("PRAGMA cache_size = -65536")  # 64 MiB: the index by instance is written all over
    try:
        with transaction(connection, "IMMEDIATE"):
            if connection.execute("SELECT 1 FROM batch WHERE name = ?", (batch,)).fetchone() is not None:
                return 0
            added = _Loader(connection, account, cycle).add(items)
            connection.execute("INSERT INTO batch VALUES(?, ?)", (batch, added))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return added
    finally:
        connection.close()


class _Loader:
    """Writes items in chunks: rows, the shapes they are the first of, and what they add to the tally."""

    def __init__(self, connection: sqlite3.Connection, account: str, cycle: str) -> None:
        if connection.execute("SELECT 1 FROM payer WHERE account = ?", (account,)).fetchone() is None:
            raise LocalCloudError(f"{account} is no payer of the local cloud; call add_payer for it first")
        connection.execute("INSERT OR IGNORE INTO bill(payer, cycle) VALUES(?, ?)", (account, cycle))
        query = "SELECT id FROM bill WHERE payer = ? AND cycle = ?"
        self._bill: int = connection.execute(query, (account, cycle)).fetchone()[0]
        self._connection, self._cycle, self._dissector = connection, cycle, Dissector(account)
        self._shapes: set[int] = set()
        self._instants: dict[str, int] = {}
        self._dates: set[str] = set()

    def add(self, items: Iterable[Item]) -> int:
        source, added = iter(items), 0
        while chunk := list(islice(source, _CHUNK)):
            self._connection.executemany(_INSERT_ITEM, self._rows(chunk))
            added += len(chunk)
        return added

    def _rows(self, chunk: list[Item]) -> Iterator[tuple[object, ...]]:
        shapes: list[tuple[object, ...]] = []
        tally: dict[tuple[object, ...], list[int]] = {}
        names: dict[tuple[object, ...], tuple[str, str]] = {}
        for visible_from, visible_until, billed, fields in chunk:
            line = self._dissector.take_apart(fields)
            seen = (self._instant(visible_from), ALWAYS if visible_until is None else self._instant(visible_until))
            head = (self._bill, self._date(billed))
            if line.keys.shape not in self._shapes:
                self._remember(line, shapes)
            key = (*head, *seen, int(line.is_zero), *[line.texts[name] for name in _TALLY_TEXTS])
            if key not in names:
                names[key] = (line.texts["ProductName"], line.texts["ProductDetail"])
            _count(tally, key, line)
            keys = (line.keys.instance, line.keys.item, line.keys.shape)
            yield (*head, *keys, *seen, int(line.is_zero), *line.readings, line.digits, *line.scaled)
        self._connection.executemany(_INSERT_SHAPE, shapes)
        self._connection.executemany(_INSERT_TALLY, ((*key, *names[key], *sums) for key, sums in tally.items()))

    def _remember(self, line: Line, shapes: list[tuple[object, ...]]) -> None:
        if len(self._shapes) >= _SHAPES_REMEMBERED:
            self._shapes.clear()  # forgetting one costs an insert that is ignored
        self._shapes.add(line.keys.shape)
        shapes.append((line.keys.shape, *(line.texts[name] for name in _SHAPE_TEXTS), line.body()))

    def _instant(self, text: str) -> int:
        if text not in self._instants:
            instant = datetime.fromisoformat(text)
            if instant.tzinfo is None:
                raise LocalCloudError(f"an item is visible from an instant with its zone, not {text}")
            if len(self._instants) >= _SHAPES_REMEMBERED:
                self._instants.clear()
            self._instants[text] = int(instant.timestamp())
        return self._instants[text]

    def _date(self, text: str) -> str:
        if text not in self._dates:
            if date.fromisoformat(text).isoformat() != text or not text.startswith(self._cycle):
                raise LocalCloudError(f"{text} is no date of the cycle {self._cycle}; dates are written YYYY-MM-DD")
            self._dates.add(text)
        return text


def _count(tally: dict[tuple[object, ...], list[int]], key: tuple[object, ...], line: Line) -> None:
    sums = tally.get(key)
    if sums is None:
        tally[key] = [1, line.round_down, *line.scaled]
        return
    sums[0] += 1
    sums[1] += line.round_down
    for place, amount in enumerate(line.scaled, 2):
        if amount:
            sums[place] += amount


_TALLY_TEXTS = (
    "OwnerID", "ProductCode", "ProductType", "PipCode", "CommodityCode", "SubscriptionType", "Item", "BizType",
    "Currency",
)  # fmt: skip
_SHAPE_TEXTS = ("OwnerID", "ProductCode", "ProductType", "PipCode", "SubscriptionType", "InstanceID")

_ITEM_COLUMNS = (
    "bill", "date", "instance_key", "item_key", "shape", "visible_from", "visible_until", "is_zero",
    "usage", "package", "period", "price", "digits", *SUMS,
)  # fmt: skip
_TALLY_COLUMNS = (*TALLY_KEY, "product_name", "product_detail", "items", "round_down", *SUMS)


def _values(columns: int) -> str:
    return "(" + ", ".join("?" * columns) + ")"


_INSERT_ITEM = f"INSERT INTO item({', '.join(_ITEM_COLUMNS)}) VALUES{_values(len(_ITEM_COLUMNS))}"
_INSERT_SHAPE = f"INSERT OR IGNORE INTO shape VALUES{_values(len(_SHAPE_TEXTS) + 2)}"
_INSERT_TALLY = (
    f"INSERT INTO tally({', '.join(_TALLY_COLUMNS)}) VALUES{_values(len(_TALLY_COLUMNS))} ON CONFLICT DO UPDATE SET "
    + ", ".join(f"{name} = {name} + excluded.{name}" for name in ("items", "round_down", *SUMS))
)
