"""Whether the caller may do what a request asks: its RAM action on each table it names, and the refusal.

Source: help.aliyun.com/en/tablestore, "Custom RAM policy" (an action is the operation's name, a resource a table) and
"Error codes", section "Permission verification errors".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from infra.localcloud.common import Keys
from infra.localcloud.identity import Caller
from infra.localcloud.ram.authority import Authority
from infra.localcloud.ram.policy import Decision
from infra.localcloud.tablestore.errors import OtsError


def check(authority: Authority, keys: Keys, caller: Caller, operation: str, request: Any) -> None:
    """Return when `caller` may perform `operation` on every table of the request; raise the refusal otherwise."""
    if caller.role == "":
        return
    instance = f"acs:ots:{keys.region}:{keys.account_id}:instance/{keys.instance}"
    for table in _tables(operation, request):
        resource = f"{instance}/table/{table}" if table else instance
        if authority.decide(caller, f"ots:{operation}", resource) is not Decision.ALLOWED:
            text = "You have no permission to access the requested resource, please contact the resource owner."
            raise OtsError(403, "OTSNoPermissionAccess", text)


def _tables(operation: str, request: Any) -> Iterator[str]:
    """The tables a request names; an operation on the instance has the empty name alone."""
    if operation in ("ListTable", "CommitTransaction", "AbortTransaction"):  # a transaction was begun on its table
        yield ""
    elif operation == "CreateTable":
        yield request.table_meta.table_name
    elif operation in ("CreateIndex", "DropIndex"):
        yield request.main_table_name
    elif operation.startswith("Batch"):
        yield from (table.table_name for table in request.tables)
    else:
        yield request.table_name
