"""Rows on Tablestore.

Traps of tablestore 6.4.8: failures of single rows in a batch raise nothing; network errors come as raw urllib3
exceptions and are not retried; its own retries (up to 20, 3 s each) know no deadline, leave out writes whose answer
was lost, and its policy for writes misspells UpdateRow; `pass_if_missing` is True unless said; a batch is not cut
to the service's limits; the default logger writes out every request.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

# Before the import, which may already warn. What the SDK logs as an error is an answer to us: a missing row, say.
logging.getLogger("tablestore-client").setLevel(logging.CRITICAL)

import certifi  # noqa: E402
import urllib3  # noqa: E402

from shared.cloud.ahead import ahead  # noqa: E402
from shared.cloud.credentials import AccessKey, KeySource  # noqa: E402
from shared.cloud.patience import PassingError, Patience  # noqa: E402
from shared.cloud.standins import standing_in  # noqa: E402
from shared.ports import Key, Row, ServiceError, Value  # noqa: E402

# Its asynchronous client alone uses aiohttp, and its time series numpy: together two fifths of what loading it takes.
with standing_in(aiohttp=SimpleNamespace(ClientTimeout=None), numpy=SimpleNamespace()):
    import tablestore as ots
    from tablestore.credentials import Credentials, CredentialsProvider
    from tablestore.retry import NoRetryPolicy

BATCH_ROWS, READ_ROWS = 200, 100  # general limits of Tablestore
BATCH_BYTES = 3_500_000  # the limit is 4 MB with the encoding's overhead
_BATCH_ROWS_LEAST = 10  # what a batch shrinks to while the service is busy
_CONNECTIONS_MAX = 32
# Refused before anything took effect, for the number of calls.
_THROTTLING = {"OTSServerBusy", "OTSNotEnoughCapacityUnit", "OTSOperationThrottled", "OTSQuotaExhausted"}
# Refused before anything took effect.
_BEFORE = {"OTSRowOperationConflict", "OTSOperationConflict", "OTSTableNotReady", "OTSPartitionUnavailable"}
# A write may have taken effect.
_DOUBTFUL = {"OTSTimeout", "OTSInternalServerError", "OTSServerUnavailable"}
_CONDITION_FAILED = "OTSConditionCheckFail"
_REMEDIES = {
    "OTSObjectNotExist": "create the tables with `clearbook provision`",
    "OTSAuthFailed": "check the access key, the region, the instance name and the role in the settings",
    "OTSNoPermissionAccess": "check the function's role: it may use only its own tables",
}

_Item = tuple[Key, Mapping[str, Value]]


def client(endpoint: str, region: str, instance: str, key: AccessKey) -> Any:
    """The SDK's client as it comes, signing V4: for provisioning, which has time for the SDK's own retries."""
    token = key.token or None
    return ots.OTSClient(
        endpoint, key.id, key.secret, instance, sts_token=token, region=region, logger_name="tablestore-client"
    )


class TablestoreRows:
    """The tables of one instance."""

    def __init__(
        self, endpoint: str, region: str, instance: str, keys: KeySource, patience: Patience | None = None
    ) -> None:
        self._patience = patience or Patience()
        self._batch_rows = BATCH_ROWS
        self._client = ots.OTSClient(
            endpoint, instance_name=instance, credentials_provider=_Keys(keys), region=region,
            retry_policy=NoRetryPolicy(), logger_name="tablestore-client",
        )  # fmt: skip
        self._client.connection = _Connections(endpoint, self._patience)

    def get(self, table: str, key: Key) -> Row | None:
        """One row, or None."""
        return self._patience.persist(lambda _: self._get(table, key))

    def get_many(self, table: str, keys: Sequence[Key], columns: Sequence[str]) -> list[Row | None]:
        """Rows in the order of `keys`, their keys and of their attributes those named; None for one with none of them.

        They are not read at one moment. Rows that failed alone are asked for again alone.
        """
        tries = self._patience.begin()
        found: dict[Key, Row | None] = {}
        waiting = deque(dict.fromkeys(keys))
        while waiting:
            batch = [waiting.popleft() for _ in range(min(len(waiting), READ_ROWS))]
            try:
                read, failed = self._get_batch(table, batch, columns)
            except PassingError as exc:
                read, failed = {}, exc
            found |= read
            waiting.extendleft(key for key in reversed(batch) if key not in read)
            if read:
                tries.went_on()
            if failed is not None:
                tries.pause_after(failed)
        return [found[key] for key in keys]

    def create(self, table: str, key: Key, columns: Mapping[str, Value]) -> bool:
        """Put the row if there is none; False if there is one, whichever its content.

        True also where an earlier try may have put it, its answer was lost, and the row is exactly this.
        """
        condition = ots.Condition(ots.RowExistenceExpectation.EXPECT_NOT_EXIST)

        def once(is_doubtful: bool) -> bool:
            with translated(f"create a row of {table}"):
                try:
                    self._client.put_row(table, ots.Row(list(key), list(columns.items())), condition)
                except ots.OTSServiceError as exc:
                    if exc.code != _CONDITION_FAILED:
                        raise
                else:
                    return True
            return is_doubtful and self._get(table, key) == {**dict(key), **columns}

        return self._patience.persist(once)

    def put(self, table: str, key: Key, columns: Mapping[str, Value]) -> None:
        """Put the row, whatever was there."""
        condition = ots.Condition(ots.RowExistenceExpectation.IGNORE)

        def once(_: bool) -> None:
            with translated(f"write a row of {table}"):
                self._client.put_row(table, ots.Row(list(key), list(columns.items())), condition)

        self._patience.persist(once)

    def put_newer(self, table: str, rows: Iterable[_Item], column: str) -> int:
        """Put each row unless one with the same or a higher whole number in `column` is there; how many were put.

        Rows of a batch whose answer was lost are sent again, and then count only if they had not been put.
        """
        if isinstance(rows, Sequence):
            return self._put_newer(table, iter(rows), column)
        with ahead(rows) as source:  # a batch is made ready while the one before is written
            return self._put_newer(table, source, column)

    def _put_newer(self, table: str, source: Iterator[_Item], column: str) -> int:
        tries, count = self._patience.begin(), 0
        waiting: deque[_Item] = deque()
        while batch := self._next_batch(waiting, source):
            try:
                put, refused = self._put_batch(table, batch, column)
                count += put
                failed = next((one for _, one in refused if one.is_throttling), refused[0][1] if refused else None)
                again = [row for row, _ in refused]
            except PassingError as exc:
                failed, again, put = exc, batch, 0
            if put:
                tries.went_on()
            waiting.extendleft(reversed(again))
            self._adapt(failed)
            if failed is not None:
                tries.pause_after(failed)
        return count

    def range(
        self, table: str, start: Key, end: Key, *, backward: bool = False, limit: int | None = None
    ) -> Iterator[Row]:
        """Rows from `start` (included) to `end` (not included) in key order, or in reverse when `backward`."""
        if start == end:
            return
        direction = ots.Direction.BACKWARD if backward else ots.Direction.FORWARD
        position: Any = list(start)
        while position is not None and limit != 0:
            page = self._patience.persist(
                lambda _, position=position, limit=limit: self._page(table, direction, position, end, limit)  # type: ignore[misc]
            )
            # A page that failed is asked for again from where it began: none of its rows were given out.
            position, rows = page
            for row in rows:
                yield _row(row)
            limit = None if limit is None else limit - len(rows)

    # -- one try of each ---------------------------------------------------------------------------------------

    def _get(self, table: str, key: Key) -> Row | None:
        with translated(f"read a row of {table}", writes=False):
            _, row, _ = self._client.get_row(table, list(key), max_version=1)
        return None if row is None else _row(row)

    def _get_batch(
        self, table: str, batch: list[Key], columns: Sequence[str]
    ) -> tuple[dict[Key, Row | None], PassingError | None]:
        """What was read of a batch, and why something of it was not."""
        request = ots.BatchGetRowRequest()
        request.add(ots.TableInBatchGetRowItem(table, [list(key) for key in batch], list(columns), max_version=1))
        doing = f"read rows of {table}"
        with translated(doing, writes=False):
            results = self._client.batch_get_row(request).get_result_by_table(table)
        read: dict[Key, Row | None] = {}
        failed: PassingError | None = None
        for key, result in zip(batch, results, strict=True):
            if result.is_ok:
                read[key] = None if result.row is None else _row(result.row)
                continue
            error = _service_error(doing, str(result.error_code), str(result.error_message), writes=False)
            if not isinstance(error, PassingError):
                raise error
            failed = failed or error
        return read, failed

    def _page(self, table: str, direction: str, position: Any, end: Key, limit: int | None) -> tuple[Any, list[Any]]:
        with translated(f"read rows of {table}", writes=False):
            _, following, rows, _ = self._client.get_range(
                table, direction, position, list(end), limit=limit, max_version=1
            )
        return following, rows

    def _next_batch(self, waiting: deque[_Item], source: Iterator[_Item]) -> list[_Item]:
        """The next rows, as many as a batch may have now; those that wait come first."""
        batch: list[_Item] = []
        size = 0
        while len(batch) < self._batch_rows:
            row = waiting.popleft() if waiting else next(source, None)
            if row is None:
                break
            size += _weight(row)
            if batch and size > BATCH_BYTES:
                waiting.appendleft(row)
                break
            batch.append(row)
        return batch

    def _put_batch(self, table: str, batch: list[_Item], column: str) -> tuple[int, list[tuple[_Item, PassingError]]]:
        """How many rows of a batch were put, and which are worth another try; those that are not newer are left."""
        newer = {value: _newer(column, value) for value in {columns[column] for _, columns in batch}}
        items = [ots.PutRowItem(ots.Row(list(k), list(c.items())), newer[c[column]]) for k, c in batch]
        request = ots.BatchWriteRowRequest()
        request.add(ots.TableInBatchWriteRowItem(table, items))
        doing = f"write rows of {table}"
        with translated(doing):
            results = self._client.batch_write_row(request).get_put_by_table(table)
        again = []
        for row, result in zip(batch, results, strict=True):
            if result.is_ok or result.error_code == _CONDITION_FAILED:
                continue
            error = _service_error(doing, str(result.error_code), str(result.error_message))
            if not isinstance(error, PassingError):
                raise error
            again.append((row, error))
        return sum(1 for result in results if result.is_ok), again

    def _adapt(self, failed: PassingError | None) -> None:
        """Send less at once while the service is busy, and more again as it keeps up."""
        if failed is None:
            self._batch_rows = min(BATCH_ROWS, self._batch_rows + BATCH_ROWS // 10)
        elif failed.is_throttling:
            self._batch_rows = max(_BATCH_ROWS_LEAST, self._batch_rows // 2)


class _Keys(CredentialsProvider):  # type: ignore[misc]
    """The key that is valid now."""

    def __init__(self, keys: KeySource) -> None:
        self._keys = keys

    def get_credentials(self) -> Any:
        key = self._keys()
        return Credentials(key.id, key.secret, key.token or None)


class _Connections:
    """What the SDK sends through: its own has one timeout for its lifetime, and repeats failed connects at once."""

    def __init__(self, endpoint: str, patience: Patience) -> None:
        self._endpoint, self._patience = endpoint.rstrip("/"), patience
        self._pool = urllib3.PoolManager(
            maxsize=_CONNECTIONS_MAX, block=True, cert_reqs="CERT_REQUIRED", ca_certs=certifi.where()
        )

    def send_receive(
        self, path: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, dict[str, str], bytes]:
        """The SDK's interface: status, reason, headers and body of the answer."""
        connect_s, read_s = self._patience.timeouts_s()
        answer = self._pool.urlopen(
            "POST", self._endpoint + path, body=body, headers=headers, redirect=False, retries=False,
            timeout=urllib3.Timeout(connect=connect_s, read=read_s),
        )  # fmt: skip
        return answer.status, str(answer.reason), dict(answer.headers), answer.data


def _newer(column: str, value: Value) -> Any:
    older = ots.SingleColumnCondition(column, value, ots.ComparatorType.LESS_THAN, pass_if_missing=True)
    return ots.Condition(ots.RowExistenceExpectation.IGNORE, older)


def _weight(row: _Item) -> int:
    """At most what a row takes in a request, in bytes."""
    # Characters take up to 4 bytes; names, types and checksums add about 24 bytes a cell. Every row is weighed, so
    # its texts are measured as one.
    key, columns = row
    cells = 24 * len(columns) + len("".join(columns)) + 4 * len("".join(map(str, columns.values())))
    return cells + sum(24 + len(name) + 4 * len(str(value)) for name, value in key)


def _row(row: Any) -> Row:
    return {**dict(row.primary_key), **{name: value for name, value, *_ in row.attribute_columns}}


@contextmanager
def translated(doing: str, *, writes: bool = True) -> Iterator[None]:
    """Raise what the SDK raises as ServiceError; of `writes` an answer that is lost leaves doubt."""
    try:
        yield
    except ots.OTSServiceError as exc:
        raise _service_error(
            doing, str(exc.code), f"{exc.message} (request {exc.request_id})", writes=writes, status=exc.http_status
        ) from exc
    except ots.OTSClientError as exc:
        # Without a status it is the call that the SDK refuses, with one an answer that it cannot read.
        if exc.http_status is None:
            remedy = "check the settings of Tablestore, and the row's key and columns"
            raise ServiceError(f"cannot {doing}", f"the SDK refuses ({exc})", remedy, retryable=False) from exc
        raise _unreached(doing, f"Tablestore's answer is unusable ({exc})", writes) from exc
    except (urllib3.exceptions.HTTPError, OSError) as exc:
        raise _unreached(doing, f"Tablestore was not reached ({exc})", writes) from exc


def _unreached(doing: str, problem: str, writes: bool) -> PassingError:
    return PassingError(
        f"cannot {doing}", problem, "check the endpoint, or run it again later", is_doubtful=writes
    )  # fmt: skip


def _service_error(
    doing: str, code: str, message: str, *, writes: bool = True, status: int | None = None
) -> ServiceError:
    doing, problem = f"cannot {doing}", f"Tablestore answers {code}: {message}"
    if code == "OTSAuthFailed":  # also for a token that has ended: asked once more, with the key that is valid then
        return PassingError(doing, problem, _REMEDIES[code], only_once=True)
    if code in _THROTTLING or code in _BEFORE:
        return PassingError(doing, problem, "run it again later", is_throttling=code in _THROTTLING)
    if code in _DOUBTFUL or (status or 0) >= 500:
        return PassingError(doing, problem, "run it again later", is_doubtful=writes)
    return ServiceError(doing, problem, _REMEDIES.get(code, "see the Tablestore error code"), retryable=False)
