"""Stand-ins for everything outside, in memory: object storage, rows, the provider's bill. They keep state.

Every call from outside passes one counter, `Calls`, which can let a chosen call fail before it takes effect or
lose its answer after it did.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from infra.localcloud.faults.plan import Fault
from infra.provision.tables import TABLES, indexes_of
from shared.chain.chain import Chain
from shared.errors import BadInputError, SettingError
from shared.events.destination import Destination
from shared.parties.parties import Connector
from shared.ports import (
    BillApi,
    Buckets,
    Key,
    ObjectConflictError,
    ObjectMissingError,
    ObjectStore,
    Posted,
    Row,
    ServiceError,
    Target,
    UndeliveredError,
    Value,
    Version,
)
from shared.services import Outside, Services

LINK_SECONDS_MAX = 7 * 24 * 3600
PAGE_ROWS_MAX = 300
PREFIX = "clearbook"


BEFORE = (Fault.LOSE_REQUEST, Fault.THROTTLE, Fault.SERVER_ERROR, Fault.REFUSE_SIGNATURE)
AFTER = (Fault.LOSE_RESPONSE, Fault.CUT_RESPONSE, Fault.DOUBTFUL_ERROR, Fault.TIME_OUT)
KILLS = (Fault.KILL_BEFORE, Fault.KILL_WITHIN, Fault.KILL_AFTER)


class KilledError(BaseException):
    """The function was killed at this call: nothing of it goes on."""


class Calls:
    """Counts the calls to what is outside; the one that is chosen fails, once, and those that `befall` names.

    What adapters would try again fails here at once: the tests are about what comes after their last try.
    """

    def __init__(self) -> None:
        self.made: list[str] = []
        self.befall: Callable[[int, str], Fault | None] = lambda number, what: None
        self._chosen: tuple[int, Fault] | None = None

    def begin(self, fail: int | None = None, how: Fault = Fault.LOSE_REQUEST) -> None:
        """Count from here; let call number `fail`, from 0, go wrong."""
        self.made = []
        self._chosen = None if fail is None else (fail, how)

    @contextmanager
    def one(self, what: str) -> Iterator[None]:
        """A call."""
        number = len(self.made)
        self.made.append(what)
        is_chosen = self._chosen is not None and self._chosen[0] == number
        fault = self._chosen[1] if is_chosen and self._chosen else self.befall(number, what)
        if fault in (Fault.KILL_BEFORE, Fault.KILL_WITHIN):
            raise KilledError
        if fault in BEFORE:
            raise _unreachable(what)
        yield
        if fault is Fault.KILL_AFTER:
            raise KilledError
        if fault in AFTER:
            raise _unreachable(what)


def _unreachable(what: str) -> ServiceError:
    return ServiceError(f"cannot {what}", "the connection broke", "run it again later", retryable=True)


@dataclass(frozen=True, slots=True)
class Created:
    """An object that was created, as its event will tell."""

    bucket: str
    key: str
    size: int
    etag: str
    at: datetime


class Clock:
    """The time at which objects are created: that of the event which is being carried out."""

    def __init__(self) -> None:
        self.now = datetime(2025, 6, 1, tzinfo=UTC)


class MemoryStore:
    """One bucket."""

    def __init__(self, bucket: str, clock: Clock | None = None, calls: Calls | None = None) -> None:
        self._bucket, self._clock, self._calls = bucket, clock or Clock(), calls or Calls()
        self.objects: dict[str, bytes] = {}
        self.written: dict[str, datetime] = {}
        self.created: list[Created] = []

    @property
    def bucket(self) -> str:
        return self._bucket

    def get(self, key: str) -> bytes:
        with self._calls.one(f"read {key}"):
            return self._get(key)

    def find(self, key: str) -> bytes | None:
        with self._calls.one(f"find {key}"):
            return self.objects.get(key)

    def exists(self, key: str) -> bool:
        with self._calls.one(f"look for {key}"):
            return key in self.objects

    def version(self, key: str) -> Version | None:
        with self._calls.one(f"look at {key}"):
            body = self.objects.get(key)
            if body is None:
                return None
            return Version(hashlib.md5(body, usedforsecurity=False).hexdigest(), self.written[key])

    def put_once(self, key: str, body: bytes) -> bool:
        with self._calls.one(f"create {key}"):
            if key not in self.objects:
                self._put(key, body)
                return True
            if self.objects[key] != body:
                raise ObjectConflictError(self.bucket, key)
            return False

    def put_again(self, key: str, body: bytes) -> None:
        with self._calls.one(f"write {key}"):
            self._put(key, body)

    def upload_once(self, key: str, path: Path) -> bool:
        with self._calls.one(f"upload {key}"):
            if key in self.objects:
                return False
            self._put(key, path.read_bytes())
            return True

    def upload_again(self, key: str, path: Path) -> None:
        with self._calls.one(f"upload {key} again"):
            self._put(key, path.read_bytes())

    def download(self, key: str, path: Path) -> None:
        with self._calls.one(f"download {key}"):
            path.write_bytes(self._get(key))

    def keys(self, prefix: str) -> Iterator[str]:
        with self._calls.one(f"list {prefix}"):
            yield from sorted((key for key in self.objects if key.startswith(prefix)), key=str.encode)

    def delete(self, key: str) -> None:
        with self._calls.one(f"delete {key}"):
            self.objects.pop(key, None)

    def link(self, key: str, expires_s: int, filename: str) -> str:
        if not 1 <= expires_s <= LINK_SECONDS_MAX:
            raise SettingError("link life", f"is {expires_s} s", f"give 1 to {LINK_SECONDS_MAX} seconds")
        return f"memory://{self.bucket}/{quote(key)}?{urlencode({'filename': filename})}"

    def opened(self, link: str) -> tuple[bytes, str]:
        """What a link gives: the object, and the name it is saved under."""
        parts = urlsplit(link)
        return self._get(unquote(parts.path.removeprefix("/"))), parse_qs(parts.query)["filename"][0]

    def _get(self, key: str) -> bytes:
        if key not in self.objects:
            raise ObjectMissingError(self.bucket, key)
        return self.objects[key]

    def _put(self, key: str, body: bytes) -> None:
        self.objects[key], self.written[key] = body, self._clock.now
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest().upper()
        self.created.append(Created(self.bucket, key, len(body), etag, self._clock.now))


KeyValues = tuple[str | int, ...]


class MemoryRows:
    """Tables of rows by key, with the key columns and the indexes that provisioning makes."""

    def __init__(self, calls: Calls | None = None, tables: Mapping[str, list[tuple[str, str]]] = TABLES) -> None:
        self._calls, self._keys = calls or Calls(), {name: [one for one, _ in keys] for name, keys in tables.items()}
        self._base = {index.name: table for table in tables for index in indexes_of(table)}
        for table in tables:
            self._keys |= {index.name: [*index.columns, *self._keys[table]] for index in indexes_of(table)}
        self.tables: dict[str, dict[KeyValues, dict[str, Value]]] = {name: {} for name in tables}

    def get(self, table: str, key: Key) -> Row | None:
        with self._calls.one(f"get a row of {table}"):
            values = self._key(table, key)
            row = self._table(table).get(values)
            return None if row is None else self._row(table, values, row)

    def get_many(self, table: str, keys: Sequence[Key], columns: Sequence[str]) -> list[Row | None]:
        with self._calls.one(f"get rows of {table}"):
            return [self._named(table, self._key(table, key), columns) for key in keys]

    def create(self, table: str, key: Key, columns: Mapping[str, Value]) -> bool:
        with self._calls.one(f"create a row of {table}"):
            if self._key(table, key) in self._table(table):
                return False
            self._put(table, key, columns)
            return True

    def put(self, table: str, key: Key, columns: Mapping[str, Value]) -> None:
        with self._calls.one(f"put a row of {table}"):
            self._put(table, key, columns)

    def put_newer(self, table: str, rows: Iterable[tuple[Key, Mapping[str, Value]]], column: str) -> int:
        with self._calls.one(f"put newer rows of {table}"):
            count = 0
            for key, columns in rows:
                there = self._table(table).get(self._key(table, key), {}).get(column)
                if there is None or int(there) < int(columns[column]):
                    self._put(table, key, columns)
                    count += 1
            return count

    def range(
        self, table: str, start: Key, end: Key, *, backward: bool = False, limit: int | None = None
    ) -> Iterator[Row]:
        with self._calls.one(f"read rows of {table}"):
            first, last = self._key(table, start), self._key(table, end)
            stored = self._stored(table)
            keys = sorted(stored, key=_in_order, reverse=backward)
            begins, ends = _in_order(first), _in_order(last)
            if backward:
                found = [key for key in keys if begins >= _in_order(key) > ends]
            else:
                found = [key for key in keys if begins <= _in_order(key) < ends]
            yield from [self._row(table, key, stored[key]) for key in found[:limit]]

    def _stored(self, table: str) -> dict[KeyValues, dict[str, Value]]:
        """The rows of a table, or of an index: of each row that has all its columns, the key."""
        if table not in self._base:
            return self._table(table)
        base = self._base[table]
        rows = (self._row(base, key, columns) for key, columns in self._table(base).items())
        wanted = self._keys[table]
        return {tuple(row[name] for name in wanted): {} for row in rows if all(name in row for name in wanted)}

    def _named(self, table: str, key: KeyValues, columns: Sequence[str]) -> Row | None:
        row = self._table(table).get(key, {})
        named = {name: row[name] for name in columns if name in row}
        return self._row(table, key, named) if named else None

    def _put(self, table: str, key: Key, columns: Mapping[str, Value]) -> None:
        values = self._key(table, key)
        for name, value in columns.items():
            if not isinstance(value, str | int) or (isinstance(value, int) and not -(1 << 63) <= value < 1 << 63):
                raise TypeError(f"{table}.{name} cannot hold {value!r}")
        self._table(table)[values] = dict(columns)

    def _table(self, table: str) -> dict[KeyValues, dict[str, Value]]:
        if table not in self.tables:
            problem, remedy = "there is no such table", "create the tables with `clearbook provision`"
            raise ServiceError(f"cannot use table {table}", problem, remedy, retryable=False)
        return self.tables[table]

    def _key(self, table: str, key: Key) -> KeyValues:
        self._table(self._base.get(table, table))
        wanted = self._keys[table]
        if [name for name, _ in key] != wanted:
            raise ServiceError(f"cannot use table {table}", f"its key is not {key}", f"give {wanted}", retryable=False)
        return tuple(value for _, value in key)

    def _row(self, table: str, key: KeyValues, columns: Mapping[str, Value]) -> Row:
        return {**dict(zip(self._keys[table], key, strict=True)), **columns}


def _in_order(key: KeyValues) -> tuple[bytes | int, ...]:
    return tuple(value.encode() if isinstance(value, str) else value for value in key)


Item = Mapping[str, Decimal | str]


@dataclass
class Provider:
    """The provider: the bills of payer accounts, and answers that are scripted in place of the true ones."""

    calls: Calls = field(default_factory=Calls)
    bills: dict[tuple[str, str], list[Item]] = field(default_factory=dict)  # (payer, date) -> items
    controls: dict[tuple[str, str], dict[str, Decimal]] = field(default_factory=dict)  # (payer, cycle) -> owner: more
    customers: dict[str, list[str]] = field(default_factory=dict)  # payer -> accounts; others are refused the list
    scripts: dict[tuple[str, str, str], list[bytes]] = field(default_factory=dict)  # (payer, action, date or "")

    def bill(self, payer: str, date: str, *items: Item) -> None:
        """From now on the bill of this date is these items."""
        self.bills[payer, date] = list(items)

    def answers(self, payer: str, action: str, date: str, *bodies: bytes) -> None:
        """Answer the next calls with these bodies, then with the truth again."""
        self.scripts[payer, action, date] = list(bodies)

    def api(self, connector: Connector) -> BillApi:
        """The calls of one payer."""
        return ScriptedBill(self, connector.account)


class ScriptedBill:
    """The bill calls of one payer account."""

    def __init__(self, provider: Provider, payer: str) -> None:
        self._provider, self._payer = provider, payer

    def call(self, action: str, query: Mapping[str, str | int | bool]) -> bytes:
        with self._provider.calls.one(f"ask for {action} {query.get('BillingDate', '')}".rstrip()):
            scripted = self._provider.scripts.get((self._payer, action, str(query.get("BillingDate", ""))))
            if scripted:
                return scripted.pop(0)
            if action == "DescribeInstanceBill":
                return self._page(query)
            if action == "QueryBillOverview":
                return self._overview(str(query["BillingCycle"]))
            if action == "GetCustomerList" and self._payer in self._provider.customers:
                return envelope({"UidList": self._provider.customers[self._payer]})
            return envelope({}, success=False, code="InvalidAction", message=f"no {action} here")

    def _page(self, query: Mapping[str, str | int | bool]) -> bytes:
        date, size = str(query.get("BillingDate", "")), min(int(query.get("MaxResults", 20)), PAGE_ROWS_MAX)
        items = self._provider.bills.get((self._payer, date), []) if date else self._month(str(query["BillingCycle"]))
        token = str(query.get("NextToken", ""))
        begin = int(token.removeprefix("after-")) if token else 0
        end = begin + size
        dated = {"BillingDate": date} if date else {}
        return envelope(
            {
                "NextToken": f"after-{end}" if end < len(items) else "",
                "BillingCycle": query["BillingCycle"],
                "MaxResults": size,
                "AccountID": self._payer,
                "AccountName": f"{self._payer}@example.aliyunid.com",
                "TotalCount": len(items),
                "Items": [{"BillAccountID": self._payer, **dated, **one} for one in items[begin:end]],
            }
        )

    def _month(self, cycle: str) -> list[Item]:
        """The lines by month: one a group, as the service sums them by billing item."""
        rows = json.loads(self._overview(cycle), parse_float=Decimal)["Data"]["Items"]["Item"]
        return [{**row, "PretaxAmount": Decimal(str(row["PretaxAmount"]))} for row in rows]

    def _overview(self, cycle: str) -> bytes:
        """Sums by what the service groups by; a line without readable pretax counts as nothing."""
        sums: dict[tuple[str, ...], Decimal] = {}
        names = ("OwnerID", "ProductCode", "SubscriptionType", "Item", "Currency")
        for (payer, date), items in self._provider.bills.items():
            if payer == self._payer and date.startswith(cycle):
                for item in items:
                    group, pretax = tuple(str(item[name]) for name in names), item["PretaxAmount"]
                    sums[group] = sums.get(group, Decimal(0)) + (pretax if isinstance(pretax, Decimal) else 0)
        more = dict(self._provider.controls.get((self._payer, cycle), {}))
        rows = []
        for group, pretax in sorted(sums.items()):
            pretax += more.pop(group[0], Decimal(0))
            named = dict(zip(names, group, strict=True))
            rows.append({"BillAccountID": self._payer, **named, "PretaxAmount": pretax, "RoundDownDiscount": "0"})
        data = {"BillingCycle": cycle, "AccountID": self._payer, "Items": {"Item": rows}}
        return envelope(data)


def envelope(
    data: Mapping[str, Any], *, success: bool = True, code: str = "Success", message: str = "Successful!"
) -> bytes:
    """An answer of BSS OpenAPI, amounts as numbers with exactly the digits they have."""
    answer = {"Code": code, "Message": message, "RequestId": "79EE7556-0CFD-44EB-9CD6-B3B526E3A85F"}
    return _written({**answer, "Success": success, "Data": data}).encode()


def _written(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(one)}" for name, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class State:
    """Everything that is kept, for going back to it and for comparing."""

    objects: Mapping[str, Mapping[str, bytes]]
    tables: Mapping[str, Mapping[KeyValues, Mapping[str, Value]]]
    created: Mapping[str, list[Created]]


class Posts:
    """The world's webhooks: what each was sent, and what it answers next (200 where nothing else is said)."""

    def __init__(self, calls: Calls | None = None) -> None:
        self._calls = calls or Calls()
        self.sent: list[tuple[str, dict[str, str], bytes]] = []  # url, headers, body
        self.answers: list[Posted | UndeliveredError] = []

    def check(self, target: Target, place: str = "url") -> None:
        if not target.host.endswith(".example"):
            raise BadInputError(place, "names no host that the whole internet can reach", "name another")

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Posted:
        with self._calls.one(f"post to {target.host}"):
            self.sent.append((target.url, dict(headers), body))
            answer = self.answers.pop(0) if self.answers else Posted(200)
        if isinstance(answer, UndeliveredError):
            raise answer
        return answer


class Mails:
    """The mail server: what it was given."""

    def __init__(self, calls: Calls | None = None) -> None:
        self._calls = calls or Calls()
        self.sender = "reports@clearbook.example"
        self.sent: list[EmailMessage] = []

    def send(self, message: EmailMessage) -> None:
        with self._calls.one("hand over a mail"):
            self.sent.append(message)


class Cloud:
    """All of it together, and the services built of it."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self.clock, self.calls = Clock(), Calls()
        self.stores = {
            name: MemoryStore(f"{PREFIX}-{name}", self.clock, self.calls)
            for name in ("inbox", "work", "records", "reports")
        }
        self.others: dict[str, MemoryStore] = {}  # buckets of others, by name
        self.rows = MemoryRows(self.calls)
        self.provider = Provider(self.calls)
        self.post, self.mail = Posts(self.calls), Mails(self.calls)
        self.services = Services(
            buckets=Buckets(**self.stores),
            rows=self.rows,
            chain=Chain(self.rows),
            bill_api=self.provider.api,
            buckets_of_others=self.other,
            scratch=scratch,
            memory_mb=256,
            threads=1,
            outside=Outside(self.post, lambda: self.mail, lambda: b"m" * 32, lambda: self.clock.now),
        )

    def other(self, destination: Destination) -> ObjectStore:
        """The bucket of somebody else, as far as its owner lets us."""
        if destination.bucket not in self.others:
            problem, remedy = "there is no such bucket", "ask its owner"
            raise ServiceError(f"cannot use bucket {destination.bucket}", problem, remedy, retryable=False)
        return self.others[destination.bucket]

    def has_bucket(self, name: str) -> MemoryStore:
        """Somebody else has a bucket."""
        return self.others.setdefault(name, MemoryStore(name, self.clock, self.calls))

    @property
    def work(self) -> MemoryStore:
        """The bucket of the pipeline."""
        return self.stores["work"]

    @property
    def records(self) -> MemoryStore:
        """The bucket of what is kept for good."""
        return self.stores["records"]

    def take_created(self) -> list[Created]:
        """The objects that were created since this was last asked."""
        stores = [*self.stores.values(), *self.others.values()]
        taken = [one for store in stores for one in store.created]
        for store in stores:
            store.created.clear()
        return taken

    def state(self) -> State:
        """A copy of everything that is kept."""
        return State(
            {name: dict(store.objects) for name, store in (self.stores | self.others).items()},
            copy.deepcopy(self.rows.tables),
            {name: list(store.created) for name, store in (self.stores | self.others).items()},
        )

    def restore(self, state: State) -> None:
        """Go back to a state."""
        for name in self.others.keys() - state.objects.keys():
            del self.others[name]
        for name, objects in state.objects.items():
            store = self.stores[name] if name in self.stores else self.has_bucket(name)
            store.objects, store.created = dict(objects), list(state.created[name])
        self.rows.tables = {name: {key: dict(row) for key, row in rows.items()} for name, rows in state.tables.items()}
