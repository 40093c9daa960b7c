"""Local transactions: the changes to the rows of one partition key value, seen by nobody else until committed.

Source: the topic "Local transactions" of the Tablestore documentation; texts from the tests of the published
SDKs. Every table allows them here, except, as in the service, one with an auto-increment column. They live in
memory: when the service ends, it has aborted them. Their 60 seconds are the system's, as the callers' are.
"""

from __future__ import annotations

import heapq
import operator
import re
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from infra.localcloud.tablestore.errors import (
    data_out_of_range,
    data_out_of_table,
    invalid,
    row_conflict,
    session_missing,
    transaction_too_large,
)
from infra.localcloud.tablestore.keys import read_bare_key
from infra.localcloud.tablestore.messages import pb

if TYPE_CHECKING:
    from infra.localcloud.tablestore.state import Store, Table

LIFE_S = 60
BYTES_MAX = 4 * 1024 * 1024
_ID_RULE = re.compile(r"[0-9a-f]{32}")


@dataclass(slots=True)
class Transaction:
    """An open transaction; `changes` are its rows by encoded key, None for one that is deleted."""

    table: Table
    partition: bytes
    ends_at: float
    changes: dict[bytes, bytes | None] = field(default_factory=dict)
    size: int = 0


class Transactions:
    """The open transactions of an instance; `seconds` is a clock that never goes back."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._open: dict[str, Transaction] = {}

    def begin(self, table: Table, partition: bytes) -> str:
        """Open a transaction on a partition key value that has none; its id."""
        self.refuse_locked(table, partition)
        name = uuid.uuid4().hex
        self._open[name] = Transaction(table, partition, self._seconds() + LIFE_S)
        return name

    def find(self, name: str) -> Transaction:
        """The open transaction of this id, or OtsError."""
        if _ID_RULE.fullmatch(name) is None:
            raise invalid("TransactionID is invalid.")
        self._end_overdue()
        if name not in self._open:
            raise session_missing()
        return self._open[name]

    def end(self, name: str) -> Transaction:
        """As `find`; it is no longer open."""
        found = self.find(name)
        del self._open[name]
        return found

    def forget(self, table: Table) -> None:
        """End the transactions of a table that is deleted."""
        self._open = {name: open_ for name, open_ in self._open.items() if open_.table.number != table.number}

    def refuse_locked(self, table: Table, key: bytes) -> None:
        """Refuse a row whose partition key value has an open transaction."""
        if not self._open:
            return  # what nearly every write finds
        self._end_overdue()
        for held in self._open.values():
            if held.table.number == table.number and key.startswith(held.partition):
                raise row_conflict()

    def _end_overdue(self) -> None:
        now = self._seconds()
        self._open = {name: held for name, held in self._open.items() if held.ends_at > now}


class Session:
    """The rows of an instance as one transaction sees and changes them."""

    def __init__(self, store: Store, transaction: Transaction) -> None:
        self._store, self._transaction = store, transaction

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Each change is in memory alone, and whole."""
        yield

    def check_write(self, table: Table, key: bytes, size: int) -> None:
        """Refuse a change outside the transaction's partition, or one too many."""
        self.check_read(table, key)
        if self._transaction.size + size > BYTES_MAX:
            raise transaction_too_large()

    def written(self, size: int) -> None:
        """Count what a change has written."""
        self._transaction.size += size

    def check_read(self, table: Table, *keys: bytes) -> None:
        """Refuse keys outside the transaction's partition."""
        held = self._transaction
        if table.number != held.table.number:
            raise data_out_of_table(held.table.name, table.name)
        for key in keys:
            if not key.startswith(held.partition):
                text = table.schema.partition_text
                raise data_out_of_range(text(held.partition), text(key))

    def get(self, table: Table, key: bytes) -> bytes | None:
        """The row under `key`."""
        changes = self._transaction.changes
        return changes[key] if key in changes else self._store.get(table, key)

    def put(self, table: Table, key: bytes, row: bytes) -> None:
        """Store the row, in place of one that may be there."""
        self._transaction.changes[key] = row

    def put_if_absent(self, table: Table, key: bytes, row: bytes) -> bool:
        """Store the row if there is none; whether it was stored."""
        if self.get(table, key) is not None:
            return False
        self.put(table, key, row)
        return True

    def delete(self, table: Table, key: bytes) -> None:
        """Remove the row if it is there."""
        self._transaction.changes[key] = None

    def scan(self, table: Table, start: bytes, end: bytes, backward: bool) -> Generator[bytes, None, None]:
        """The rows from `start` on, up to but without `end`; backward, `start` is the greater one."""
        changes = self._transaction.changes
        inside = [key for key in changes if (end < key <= start if backward else start <= key < end)]
        mine = ((key, changes[key]) for key in sorted(inside, reverse=backward))
        with closing(self._store.scan_keyed(table, start, end, backward)) as stored:
            others = (pair for pair in stored if pair[0] not in changes)
            for _, row in heapq.merge(mine, others, key=operator.itemgetter(0), reverse=backward):
                if row is not None:
                    yield row


def start_local_transaction(store: Store, request: Any) -> Any:
    """Open a transaction on one partition key value."""
    if not request.table_name:
        raise invalid("Invalid table name: ''.")
    table, sent = store.writable(request.table_name), read_bare_key(request.key)
    if table.schema.numbered is not None:
        raise invalid("Try to call method using explicit transaction on explicit-transaction-disabled table.")
    if len(sent.key) != 1:
        raise invalid("StartLocalTransaction support only one primary key.")
    name = store.transactions.begin(table, table.schema.partition(sent.key))
    return pb.StartLocalTransactionResponse(transaction_id=name)


def commit_transaction(store: Store, request: Any) -> Any:
    """Keep all changes of a transaction, at once."""
    done = store.transactions.end(request.transaction_id)
    with store.writing():
        for key, row in done.changes.items():
            if row is None:
                store.delete(done.table, key)
            else:
                store.put(done.table, key, row)
    return pb.CommitTransactionResponse()


def abort_transaction(store: Store, request: Any) -> Any:
    """Forget all changes of a transaction."""
    store.transactions.end(request.transaction_id)
    return pb.AbortTransactionResponse()
