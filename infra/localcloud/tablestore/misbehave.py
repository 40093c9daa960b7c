"""How the local Tablestore names a request to a plan of faults, and how it answers one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from infra.localcloud.faults.plan import Fault
from infra.localcloud.tablestore.errors import OtsError, auth_failed, internal
from infra.localcloud.tablestore.messages import pb

_BUSY = OtsError(503, "OTSServerBusy", "Server is busy.")
_REFUSALS = {
    Fault.THROTTLE: _BUSY,
    Fault.SERVER_ERROR: internal(),
    Fault.DOUBTFUL_ERROR: OtsError(503, "OTSTimeout", "Operation timeout."),
    Fault.REFUSE_SIGNATURE: auth_failed("Signature mismatch."),
}


def subject(headers: Mapping[str, str]) -> str:
    """What a request is about: the digest of its body, which says table, keys and values."""
    return headers.get("x-ots-contentmd5", "")


def refusal(fault: Fault) -> OtsError:
    """The service's answer to a fault."""
    return _REFUSALS[fault]


def perform_partly(request: Any, perform: Callable[[Any], Any]) -> Any:
    """A BatchWriteRow of which every second row, the first among them, is refused because the server is busy."""
    kept = type(request)()
    kept.CopyFrom(request)
    for table, whole in zip(kept.tables, request.tables, strict=True):
        del table.rows[:]
        table.rows.extend(whole.rows[1::2])
    filled = [table for table in kept.tables if table.rows]
    answered = {} if not filled else _by_table(perform(_with_tables(kept, filled)))
    response = pb.BatchWriteRowResponse()
    for whole in request.tables:
        done = iter(answered.get(whole.table_name, ()))
        answer = response.tables.add(table_name=whole.table_name)
        for number in range(len(whole.rows)):
            if number % 2:
                answer.rows.append(next(done))
            else:
                answer.rows.add(is_ok=False, error={"code": _BUSY.code, "message": _BUSY.message})
    return response


def _with_tables(request: Any, tables: list[Any]) -> Any:
    made = type(request)()
    made.CopyFrom(request)
    del made.tables[:]
    made.tables.extend(tables)
    return made


def _by_table(response: Any) -> dict[str, list[Any]]:
    return {table.table_name: list(table.rows) for table in response.tables}
