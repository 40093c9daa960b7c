"""The HTTP face of the local Tablestore: one POST per operation, protobuf both ways, answers signed.

Every request is handled from its last byte to its answer without giving way, so the event loop is the one lock
around each check and the write that rests on it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

from aiohttp import web
from google.protobuf.message import DecodeError

from infra.localcloud.common import BODY_MAX, Keys
from infra.localcloud.faults.plan import Fault
from infra.localcloud.faults.service import FAIL_ROWS, Misbehaviour
from infra.localcloud.ram.authority import Authority
from infra.localcloud.tablestore import access, misbehave, reads, sign, tables, transactions, writes
from infra.localcloud.tablestore.errors import (
    OtsError,
    body_too_large,
    internal,
    invalid,
    method_not_allowed,
    not_implemented,
)
from infra.localcloud.tablestore.messages import pb
from infra.localcloud.tablestore.state import Store

REQUEST_BYTES_MAX = 5 * 1024 * 1024

Operation = Callable[[Store, Any], Any]

OPERATIONS: dict[str, tuple[Any, Operation]] = {
    "CreateTable": (pb.CreateTableRequest, tables.create_table),
    "ListTable": (pb.ListTableRequest, tables.list_table),
    "DescribeTable": (pb.DescribeTableRequest, tables.describe_table),
    "UpdateTable": (pb.UpdateTableRequest, tables.update_table),
    "DeleteTable": (pb.DeleteTableRequest, tables.delete_table),
    "CreateIndex": (pb.CreateIndexRequest, tables.create_index),
    "DropIndex": (pb.DropIndexRequest, tables.drop_index),
    "PutRow": (pb.PutRowRequest, writes.put_row),
    "GetRow": (pb.GetRowRequest, reads.get_row),
    "UpdateRow": (pb.UpdateRowRequest, writes.update_row),
    "DeleteRow": (pb.DeleteRowRequest, writes.delete_row),
    "BatchWriteRow": (pb.BatchWriteRowRequest, writes.batch_write_row),
    "BatchGetRow": (pb.BatchGetRowRequest, reads.batch_get_row),
    "GetRange": (pb.GetRangeRequest, reads.get_range),
    "StartLocalTransaction": (pb.StartLocalTransactionRequest, transactions.start_local_transaction),
    "CommitTransaction": (pb.CommitTransactionRequest, transactions.commit_transaction),
    "AbortTransaction": (pb.AbortTransactionRequest, transactions.abort_transaction),
}

_log = logging.getLogger(__name__)


def application(store: Store, keys: Keys, authority: Authority, faults: Misbehaviour | None = None) -> web.Application:
    """The service over `store`, known to callers by `keys`; `authority` says what their roles may do."""

    async def handle(request: web.Request, fault: Fault | None = None) -> web.StreamResponse:
        return _answer(request, await request.read(), store, keys, authority, fault)

    async def answer(request: web.Request) -> web.StreamResponse:
        if faults is None:
            return await handle(request)
        return await faults.around(
            request,
            request.path[1:],
            misbehave.subject(request.headers),
            lambda: handle(request),
            lambda fault: handle(request, fault),
        )

    app = web.Application(client_max_size=BODY_MAX)
    if faults is not None:
        faults.watch(app)
    app.router.add_route("*", "/{operation:.*}", answer)
    return app


def _answer(
    request: web.Request, body: bytes, store: Store, keys: Keys, authority: Authority, fault: Fault | None = None
) -> web.Response:
    operation, now = request.path[1:], datetime.now(UTC)
    caller = None
    try:
        if request.method != "POST":
            raise method_not_allowed()
        if len(body) > REQUEST_BYTES_MAX:
            raise body_too_large()
        headers = {name.lower(): value for name, value in request.headers.items()}
        caller = sign.authenticate(request.path, request.query_string, headers, body, keys, now)
        if fault is not None:
            raise misbehave.refusal(fault)
        partly = operation == "BatchWriteRow" and FAIL_ROWS in request
        message = _message(operation, body)
        access.check(authority, keys, caller.identity, operation, message)
        status, answer = 200, _perform(operation, message, store, partly=partly)
    except OtsError as error:
        status, answer = error.status, _error_body(error)
    except Exception:
        _log.exception("%s failed", operation)
        status, answer = 500, _error_body(internal())
    return web.Response(status=status, body=answer, headers=_headers(request.path, answer, caller, now))


def _message(operation: str, body: bytes) -> Any:
    """What a request asks, parsed."""
    if operation not in OPERATIONS:
        raise not_implemented(operation)
    try:
        request = OPERATIONS[operation][0].FromString(body)
    except DecodeError:
        raise invalid("Parse PBMessage from RawString failed.") from None
    if not request.IsInitialized():
        raise invalid("Cannot deserialize the request data.")
    return request


def _perform(operation: str, request: Any, store: Store, *, partly: bool = False) -> bytes:
    """Do and serialise; `partly` does every second row of a batch only."""
    perform = OPERATIONS[operation][1]
    done = misbehave.perform_partly(request, partial(perform, store)) if partly else perform(store, request)
    answer: bytes = done.SerializeToString()
    return answer


def _error_body(error: OtsError) -> bytes:
    body: bytes = pb.Error(code=error.code, message=error.message).SerializeToString()
    return body


def _headers(path: str, body: bytes, caller: sign.Caller | None, now: datetime) -> dict[str, str]:
    headers = {
        "x-ots-contentmd5": sign.content_md5(body),
        "x-ots-contenttype": "protocol buffer",
        "x-ots-date": now.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "x-ots-requestid": str(uuid.uuid4()),
    }
    if caller is not None:  # nobody else has the key to check it with
        headers["Authorization"] = sign.answer_authorization(path, headers, caller)
    return headers
