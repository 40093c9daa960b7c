"""The HTTP face of the local Tablestore: one POST per operation, protobuf both ways, answers signed.

Every request is handled from its last byte to its answer without giving way, so the event loop is the one lock
around each check and the write that rests on it.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from aiohttp import web
from google.protobuf.message import DecodeError

from infra.localcloud.common import BODY_MAX, Keys
from infra.localcloud.tablestore import rows, sign, tables
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
    "DeleteTable": (pb.DeleteTableRequest, tables.delete_table),
    "PutRow": (pb.PutRowRequest, rows.put_row),
    "GetRow": (pb.GetRowRequest, rows.get_row),
    "UpdateRow": (pb.UpdateRowRequest, rows.update_row),
    "DeleteRow": (pb.DeleteRowRequest, rows.delete_row),
    "BatchWriteRow": (pb.BatchWriteRowRequest, rows.batch_write_row),
    "BatchGetRow": (pb.BatchGetRowRequest, rows.batch_get_row),
    "GetRange": (pb.GetRangeRequest, rows.get_range),
}

_log = logging.getLogger(__name__)


def application(store: Store, keys: Keys) -> web.Application:
    """The service over `store`, known to callers by `keys`."""

    async def answer(request: web.Request) -> web.Response:
        return _answer(request, await request.read(), store, keys)

    app = web.Application(client_max_size=BODY_MAX)
    app.router.add_route("*", "/{operation:.*}", answer)
    return app


def _answer(request: web.Request, body: bytes, store: Store, keys: Keys) -> web.Response:
    operation, now = request.path[1:], datetime.now(UTC)
    caller = None
    try:
        if request.method != "POST":
            raise method_not_allowed()
        if len(body) > REQUEST_BYTES_MAX:
            raise body_too_large()
        headers = {name.lower(): value for name, value in request.headers.items()}
        caller = sign.authenticate(request.path, request.query_string, headers, body, keys, now)
        status, answer = 200, _perform(operation, body, store)
    except OtsError as error:
        status, answer = error.status, _error_body(error)
    except Exception:
        _log.exception("%s failed", operation)
        status, answer = 500, _error_body(internal())
    return web.Response(status=status, body=answer, headers=_headers(request.path, answer, caller, now))


def _perform(operation: str, body: bytes, store: Store) -> bytes:
    """Parse, do, serialise."""
    if operation not in OPERATIONS:
        raise not_implemented(operation)
    message, perform = OPERATIONS[operation]
    try:
        request = message.FromString(body)
    except DecodeError:
        raise invalid("Parse PBMessage from RawString failed.") from None
    if not request.IsInitialized():
        raise invalid("Cannot deserialize the request data.")
    answer: bytes = perform(store, request).SerializeToString()
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
