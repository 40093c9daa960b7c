"""Rows on Tablestore.

Traps of tablestore 6.4.8: failures of single rows in a batch raise nothing; network errors come as raw urllib3
exceptions; a batch is not cut to the service's limits; the default logger writes out every request.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from typing import Any

# Before the import, which may already warn. What the SDK logs as an error is an answer to us: a missing row, say.
logging.getLogger("tablestore-client").setLevel(logging.CRITICAL)

import tablestore as ots  # noqa: E402
import urllib3.exceptions  # noqa: E402

from shared.cloud.credentials import AccessKey  # noqa: E402
from shared.ports import Key, Row, ServiceError, Value  # noqa: E402

BATCH_ROWS = 200  # general limits of Tablestore
BATCH_BYTES = 3_500_000  # the limit is 4 MB with the encoding's overhead
_ROW_ATTEMPTS = 5
_RETRYABLE = {
    *("OTSTimeout", "OTSInternalServerError", "OTSServerUnavailable", "OTSServerBusy", "OTSPartitionUnavailable"),
    *("OTSRowOperationConflict", "OTSNotEnoughCapacityUnit", "OTSTableNotReady", "OTSQuotaExhausted"),
}
_REMEDIES = {
    "OTSObjectNotExist": "create the tables with `clearbook provision`",
    "OTSAuthFailed": "check the access key, the instance name and the role in the settings",
}


def client(endpoint: str, region: str, instance: str, key: AccessKey) -> Any:
    """The SDK's client, signing V4."""
    token = key.token or None
    return ots.OTSClient(
        endpoint, key.id, key.secret, instance, sts_token=token, region=region, logger_name="tablestore-client"
    )


class TablestoreRows:
    """The tables of one instance."""

    def __init__(self, endpoint: str, region: str, instance: str, key: AccessKey) -> None:
        self._client = client(endpoint, region, instance, key)

    def get(self, table: str, key: Key) -> Row | None:
        """One row, or None."""
        with translated(f"read a row of {table}"):
            _, row, _ = self._client.get_row(table, list(key), max_version=1)
        return None if row is None else _row(row)

    def create(self, table: str, key: Key, columns: Mapping[str, Value]) -> bool:
        """Put the row if there is none; False if there is one, whichever its content."""
        condition = ots.Condition(ots.RowExistenceExpectation.EXPECT_NOT_EXIST)
        with translated(f"create a row of {table}"):
            try:
                self._client.put_row(table, ots.Row(list(key), list(columns.items())), condition)
            except ots.OTSServiceError as exc:
                if exc.code == "OTSConditionCheckFail":
                    return False
                raise
        return True

    def put(self, table: str, key: Key, columns: Mapping[str, Value]) -> None:
        """Put the row, whatever was there."""
        with translated(f"write a row of {table}"):
            self._client.put_row(table, ots.Row(list(key), list(columns.items())))

    def put_newer(self, table: str, rows: Iterable[tuple[Key, Mapping[str, Value]]], column: str) -> int:
        """Put each row unless one with the same or a higher whole number in `column` is there; how many were put."""
        iterator, count = iter(rows), 0
        while batch := list(islice(iterator, BATCH_ROWS)):
            for part in _within_bytes(batch):
                count += self._put_batch(table, part, column)
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
            with translated(f"read rows of {table}"):
                _, position, rows, _ = self._client.get_range(
                    table, direction, position, list(end), limit=limit, max_version=1
                )
            for row in rows:
                yield _row(row)
            limit = None if limit is None else limit - len(rows)

    def _put_batch(self, table: str, batch: list[tuple[Key, Mapping[str, Value]]], column: str) -> int:
        """One batch; rows that fail for a passing reason are sent again, those that are not newer are left."""
        count = 0
        for _ in range(_ROW_ATTEMPTS):
            items = [ots.PutRowItem(ots.Row(list(k), list(c.items())), _newer(column, c[column])) for k, c in batch]
            request = ots.BatchWriteRowRequest()
            request.add(ots.TableInBatchWriteRowItem(table, items))
            with translated(f"write rows of {table}"):
                results = self._client.batch_write_row(request).get_put_by_table(table)
            failed = [(row, one) for row, one in zip(batch, results, strict=True) if not one.is_ok]
            count += len(batch) - len(failed)
            final = [one for _, one in failed if one.error_code not in {*_RETRYABLE, "OTSConditionCheckFail"}]
            if final:
                raise _service_error(f"write rows of {table}", final[0].error_code, final[0].error_message)
            batch = [row for row, one in failed if one.error_code in _RETRYABLE]
            if not batch:
                return count
        raise _service_error(f"write {len(batch)} rows of {table}", "OTSServerBusy", "still refused after retries")


def _newer(column: str, value: Value) -> Any:
    older = ots.SingleColumnCondition(column, value, ots.ComparatorType.LESS_THAN, pass_if_missing=True)
    return ots.Condition(ots.RowExistenceExpectation.IGNORE, older)


def _within_bytes(batch: list[tuple[Key, Mapping[str, Value]]]) -> Iterator[list[tuple[Key, Mapping[str, Value]]]]:
    part: list[tuple[Key, Mapping[str, Value]]] = []
    size = 0
    for row in batch:
        # Characters take up to 4 bytes; names, types and checksums add about 24 bytes a cell.
        weight = sum(24 + len(name) + 4 * len(str(value)) for name, value in row[1].items())
        if part and size + weight > BATCH_BYTES:
            yield part
            part, size = [], 0
        part.append(row)
        size += weight
    if part:
        yield part


def _row(row: Any) -> Row:
    return {**dict(row.primary_key), **{name: value for name, value, *_ in row.attribute_columns}}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise what the SDK raises as ServiceError."""
    try:
        yield
    except ots.OTSServiceError as exc:
        raise _service_error(doing, str(exc.code), f"{exc.message} (request {exc.request_id})") from exc
    except (ots.OTSClientError, urllib3.exceptions.HTTPError, OSError) as exc:
        raise ServiceError(
            f"cannot {doing}", f"Tablestore was not reached ({exc})", "check the endpoint, or run it again later",
            retryable=True,
        ) from exc  # fmt: skip


def _service_error(doing: str, code: str, message: str) -> ServiceError:
    retryable = code in _RETRYABLE
    remedy = _REMEDIES.get(code, "run it again later" if retryable else "see the Tablestore error code")
    return ServiceError(f"cannot {doing}", f"Tablestore answers {code}: {message}", remedy, retryable=retryable)
