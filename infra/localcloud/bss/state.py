"""What the service remembers, in SQLite: payers and their keys, bill items, and their totals by visibility.

Items are only ever added. Whether one is on the bill is decided when it is asked for, from the instants between
which it is visible. `tally` holds counts and exact sums for every combination that a total may be asked by, so
that overviews and the TotalCount of a page need not read the items.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from infra.localcloud.acs3 import Nonces
from infra.localcloud.bss.item import AMOUNTS
from infra.localcloud.common import Keys

ALWAYS = 1 << 62
WRITE_WAIT_S = 600
SUMS = tuple(f"a{place}" for place in range(len(AMOUNTS)))
# By what totals may be asked. `product_name` and `product_detail` are those of the first line.
TALLY_KEY = (
    "bill",
    "date",
    "visible_from",
    "visible_until",
    "is_zero",
    "owner",
    "product",
    "product_type",
    "pip",
    "commodity",
    "subscription",
    "kind",
    "biz_type",
    "currency",
)

_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS setting(name TEXT PRIMARY KEY, value BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS payer(
    account TEXT PRIMARY KEY, name TEXT NOT NULL,
    access_key_id TEXT NOT NULL UNIQUE, access_key_secret TEXT NOT NULL, not_applicable INT NOT NULL DEFAULT 0);
CREATE TABLE IF NOT EXISTS customer(payer TEXT, uid TEXT, PRIMARY KEY(payer, uid)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bill(id INTEGER PRIMARY KEY, payer TEXT NOT NULL, cycle TEXT NOT NULL, UNIQUE(payer, cycle));
CREATE TABLE IF NOT EXISTS split_bill(payer TEXT PRIMARY KEY, enabled_at INT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS dump_role(account TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS file_format(
    payer TEXT PRIMARY KEY, language TEXT NOT NULL, with_currency INT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batch(name TEXT PRIMARY KEY, items INT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS shape(
    id INTEGER PRIMARY KEY, owner TEXT, product TEXT, product_type TEXT, pip TEXT, subscription TEXT, instance TEXT,
    body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS item(
    seq INTEGER PRIMARY KEY, bill INT NOT NULL, date TEXT NOT NULL, instance_key INT NOT NULL, item_key INT NOT NULL,
    shape INT NOT NULL, visible_from INT NOT NULL, visible_until INT NOT NULL, is_zero INT NOT NULL,
    usage TEXT, package TEXT, period TEXT, price TEXT, digits TEXT NOT NULL,
    {", ".join(f"{name} INT NOT NULL" for name in SUMS)});
CREATE INDEX IF NOT EXISTS item_by_date ON item(bill, date, instance_key);
CREATE INDEX IF NOT EXISTS item_by_instance ON item(
    bill, instance_key, item_key, date, visible_from, visible_until, is_zero);
CREATE TABLE IF NOT EXISTS tally(
    {", ".join(f"{name} NOT NULL" for name in TALLY_KEY)}, product_name TEXT, product_detail TEXT,
    items INT NOT NULL, round_down INT NOT NULL, {", ".join(f"{name} INT NOT NULL" for name in SUMS)},
    PRIMARY KEY({", ".join(TALLY_KEY)})) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS payer_role(
    payer TEXT, name TEXT, trusts TEXT NOT NULL, PRIMARY KEY(payer, name)) WITHOUT ROWID;
INSERT OR IGNORE INTO setting VALUES('token_key', randomblob(32));
"""


@dataclass(frozen=True, slots=True)
class Caller:
    """For whom a call is answered, and the secret that its signature must come from."""

    account: str
    name: str
    secret: str
    is_applicable: bool


def connect(home: Path) -> sqlite3.Connection:
    """A connection to the service's database in `home`, which is made where there is none."""
    path = home / "bss" / "bss.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=WRITE_WAIT_S, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'payer_role'").fetchone() is None:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
    connection.create_function("split_item", 1, _split_item, deterministic=True)
    connection.create_function("carries_tag", 2, _carries_tag, deterministic=True)
    connection.create_aggregate("decimal_sum", 1, _DecimalSum)  # type: ignore[arg-type] # its stub wants floats
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection, kind: str = "DEFERRED") -> Iterator[None]:
    """Everything inside sees, or leaves, one state of the database."""
    connection.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def may_dump_to(connection: sqlite3.Connection, account: str) -> bool:
    """Whether the account lets the service write to its buckets."""
    return connection.execute("SELECT 1 FROM dump_role WHERE account = ?", (account,)).fetchone() is not None


class State:
    """Who may call and what is remembered of calls; the bills themselves are read by `bills`."""

    def __init__(self, home: Path, keys: Keys) -> None:
        self.connection = connect(home)
        self._keys = keys
        self._nonces = Nonces(home / "bss" / "nonces.db")
        row = self.connection.execute("SELECT value FROM setting WHERE name = 'token_key'").fetchone()
        self.token_key: bytes = row[0]

    def caller(self, access_key_id: str) -> Caller | None:
        """Whose key it is: a payer's own, or the main account's, which answers for the first payer."""
        query = "SELECT account, name, access_key_secret, not_applicable FROM payer"
        row = self.connection.execute(f"{query} WHERE access_key_id = ?", (access_key_id,)).fetchone()
        if row is not None:
            return Caller(row[0], row[1], row[2], not row[3])
        if access_key_id != self._keys.access_key_id:
            return None
        first = self.connection.execute(f"{query} ORDER BY rowid LIMIT 1").fetchone()
        account, name, _, not_applicable = first or (self._keys.account_id, self._keys.account_id, "", 0)
        return Caller(account, name, self._keys.access_key_secret, not not_applicable)

    def assumed(self, payer: str, secret: str) -> Caller | None:
        """A caller in an assumed role of the payer, who signs with `secret`."""
        query = "SELECT account, name, not_applicable FROM payer WHERE account = ?"
        row = self.connection.execute(query, (payer,)).fetchone()
        return None if row is None else Caller(row[0], row[1], secret, not row[2])

    def trusted(self, payer: str, role: str) -> str | None:
        """The account that a role of the payer trusts; None where there is no such role."""
        query = "SELECT trusts FROM payer_role WHERE payer = ? AND name = ?"
        row = self.connection.execute(query, (payer, role)).fetchone()
        return None if row is None else str(row[0])

    def customers(self, payer: str) -> list[str]:
        """The accounts that pay through `payer`."""
        rows = self.connection.execute("SELECT uid FROM customer WHERE payer = ? ORDER BY uid", (payer,))
        return [uid for (uid,) in rows]

    def split_bill_since(self, payer: str) -> datetime | None:
        """When the payer enabled Split Bill; None where it did not."""
        row = self.connection.execute("SELECT enabled_at FROM split_bill WHERE payer = ?", (payer,)).fetchone()
        return None if row is None else datetime.fromtimestamp(row[0], UTC)

    def may_dump_to(self, account: str) -> bool:
        """Whether the account lets the service write to its buckets, by the role AliyunConsumeDump2OSSRole."""
        return may_dump_to(self.connection, account)

    def file_format(self, payer: str) -> tuple[str, bool]:
        """The language of the payer's bill files, and whether they have a column for the currency."""
        query = "SELECT language, with_currency FROM file_format WHERE payer = ?"
        row = self.connection.execute(query, (payer,)).fetchone()
        return ("zh", False) if row is None else (row[0], bool(row[1]))

    def take_nonce(self, access_key_id: str, nonce: str, now_s: float, keep_s: float) -> bool:
        """Remember a nonce; False where it was used before."""
        return self._nonces.take(access_key_id, nonce, now_s, keep_s)


def tags_of(text: str) -> dict[str, str]:
    """The tags of an item, which writes them `key:env value:prod; key:team value:a`."""
    return dict(_TAG.findall(text))


_TAG = re.compile(r"key:(.*?) value:(.*?)(?:; (?=key:)|;?\s*$)")


def _split_item(body: str) -> str:
    texts = json.loads(f"{{{body}}}")
    return str(texts.get("SplitItemID", texts["InstanceID"]))


def _carries_tag(body: str, wanted: str) -> bool:
    tags = tags_of(json.loads(f"{{{body}}}")["Tag"])
    return any(key in tags and (not values or tags[key] in values) for key, values in json.loads(wanted))


class _DecimalSum:
    """Adds numbers kept as text, exactly; one that is no number leaves the sum empty."""

    def __init__(self) -> None:
        self._sum: Decimal | None = Decimal(0)

    def step(self, text: str) -> None:
        try:
            self._sum = None if self._sum is None else self._sum + Decimal(text)
        except ArithmeticError:
            self._sum = None

    def finalize(self) -> str:
        return "" if self._sum is None else format(self._sum, "f")
