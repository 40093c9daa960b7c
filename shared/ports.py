"""What the steps need from outside: object storage, rows, the provider's bill. Adapters are in `cloud`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from shared.errors import ClearbookError

if TYPE_CHECKING:
    from email.message import EmailMessage
Value = str | int | bool
Key = tuple[tuple[str, str | int], ...]
Row = dict[str, Value]  # key columns and attributes together


class ObjectMissingError(ClearbookError):
    """There is no such object."""

    code = "object_missing"

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(
            f"there is no object {key!r} in bucket {bucket!r}; check the name, or run the step that makes it"
        )
        self.bucket, self.key = bucket, key


class ObjectConflictError(ClearbookError):
    """A name that is made once already holds other content."""

    code = "object_conflict"

    def __init__(self, bucket: str, key: str) -> None:
        super().__init__(
            f"object {key!r} in bucket {bucket!r} already exists with other content; it is never overwritten: "
            "find out which of the two is right before anything else is run"
        )
        self.bucket, self.key = bucket, key


class ServiceError(ClearbookError):
    """A service refused or could not be reached; `retryable` says whether later may work."""

    code = "service_error"

    def __init__(self, doing: str, problem: str, remedy: str, *, retryable: bool) -> None:
        super().__init__(f"{doing}: {problem}; {remedy}")
        self.retryable = retryable


@dataclass(frozen=True, slots=True)
class TimerEvent:
    """A timer that fired."""

    at: datetime
    trigger: str
    payload: str


@dataclass(frozen=True, slots=True)
class ObjectEvent:
    """An object that was created."""

    bucket: str
    key: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Version:
    """What an object holds at the moment."""

    tag: str  # tells this content from another: the eTag in lower case
    at: datetime  # when it was written


class ObjectStore(Protocol):
    """One bucket."""

    @property
    def bucket(self) -> str:
        """Its name."""

    def get(self, key: str) -> bytes:
        """The whole object; raises ObjectMissingError."""

    def find(self, key: str) -> bytes | None:
        """The whole object, or None."""

    def exists(self, key: str) -> bool:
        """Whether the object is there."""

    def version(self, key: str) -> Version | None:
        """Which version of the object there is, or None where there is no object."""

    def put_once(self, key: str, body: bytes) -> bool:
        """Create the object; False if exactly it was there already; raises ObjectConflictError otherwise."""

    def put_again(self, key: str, body: bytes) -> None:
        """Write the object whether or not it is there: delivers its event once more."""

    def upload_once(self, key: str, path: Path) -> bool:
        """Create the object from a file, under a name made from its content; False if it was there already."""

    def upload_again(self, key: str, path: Path) -> None:
        """Write the object from a file, whether or not it is there: delivers its event once more."""

    def download(self, key: str, path: Path) -> None:
        """Fetch the object into a file, which appears whole or not at all."""

    def keys(self, prefix: str) -> Iterator[str]:
        """The names that begin with `prefix`, in order."""

    def delete(self, key: str) -> None:
        """Remove the object if it is there."""

    def link(self, key: str, expires_s: int, filename: str) -> str:
        """A signed link that downloads the object as `filename` until it expires."""


@dataclass(frozen=True, slots=True)
class Buckets:
    """The four buckets (design, the flow)."""

    inbox: ObjectStore
    work: ObjectStore
    records: ObjectStore
    reports: ObjectStore


class Rows(Protocol):
    """Tables of rows by key."""

    def get(self, table: str, key: Key) -> Row | None:
        """One row, or None."""

    def get_many(self, table: str, keys: Sequence[Key], columns: Sequence[str]) -> list[Row | None]:
        """Rows in the order of `keys`, their keys and of their attributes those named; None for one with none of them.

        They are not read at one moment.
        """

    def create(self, table: str, key: Key, columns: Mapping[str, Value]) -> bool:
        """Put the row if there is none; False if there is one, whichever its content."""

    def put(self, table: str, key: Key, columns: Mapping[str, Value]) -> None:
        """Put the row, whatever was there."""

    def put_newer(self, table: str, rows: Iterable[tuple[Key, Mapping[str, Value]]], column: str) -> int:
        """Put each row unless one with the same or a higher whole number in `column` is there; how many were put."""

    def range(
        self, table: str, start: Key, end: Key, *, backward: bool = False, limit: int | None = None
    ) -> Iterator[Row]:
        """Rows from `start` (included) to `end` (not included) in key order, or in reverse when `backward`."""


class BillApi(Protocol):
    """The provider's bill calls for one payer account."""

    def call(self, action: str, query: Mapping[str, str | int | bool]) -> bytes:
        """The raw JSON body of a successful HTTP answer; raises ServiceError."""


class UndeliveredError(ClearbookError):
    """A message did not arrive, or nobody says that it did; `is_final`: it never will."""

    code = "undelivered"

    def __init__(self, problem: str, *, is_final: bool = False) -> None:
        super().__init__(problem)
        self.is_final = is_final


@dataclass(frozen=True, slots=True)
class Target:
    """An address to post to, by https."""

    url: str
    host: str
    port: int
    path: str  # with its query


@dataclass(frozen=True, slots=True)
class Posted:
    """What was answered to a post."""

    status: int
    retry_after: str = ""  # as the header says it: seconds or a date


class Poster(Protocol):
    """Posts to addresses that others named."""

    def check(self, target: Target, place: str = "url") -> None:
        """Raise BadInputError unless the target may be posted to."""

    def post(self, target: Target, headers: Mapping[str, str], body: bytes) -> Posted:
        """Post a body; what was answered, whatever the status; raises UndeliveredError where nothing was."""


class Mailer(Protocol):
    """Hands messages to a mail server."""

    @property
    def sender(self) -> str:
        """The address that messages are from."""

    def send(self, message: EmailMessage) -> None:
        """Hand it over; raises UndeliveredError."""
