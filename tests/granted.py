"""Services that hold each call of a function against its committed policy, as the cloud does by its role.

What a call needs is what the adapters ask at worst: a name or a row that is there already is compared, and so is one
whose answer was lost. What only they ask (places of the quota, roles of payers) is not seen here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

from infra.provision import permissions
from infra.provision.permissions import Permission
from shared.ports import Buckets, ObjectStore, Rows
from shared.services import Services

_OBJECTS = {
    **dict.fromkeys(("get", "find", "exists", "version", "download"), ("oss:GetObject",)),
    **dict.fromkeys(("put_once", "upload_once"), ("oss:PutObject", "oss:GetObject")),
    **dict.fromkeys(("put_again", "upload_again"), ("oss:PutObject",)),
    "delete": ("oss:DeleteObject",),
    "keys": ("oss:ListObjects",),
}
_ROWS = {
    "get": ("ots:GetRow",),
    "get_many": ("ots:BatchGetRow",),
    "create": ("ots:PutRow", "ots:GetRow"),
    "put": ("ots:PutRow",),
    "put_newer": ("ots:BatchWriteRow",),
    "range": ("ots:GetRange",),
}


class UngrantedError(BaseException):
    """A function calls what its policy does not grant; nothing of a step may take this for an answer."""


def granted(services: Services, function: str) -> Services:
    """The services as this function may use them."""

    def watched(store: ObjectStore) -> ObjectStore:
        return cast(ObjectStore, _Watched(store, _OBJECTS, functools.partial(_of_object, store.bucket), function))

    buckets = services.buckets
    mine = Buckets(*map(watched, (buckets.inbox, buckets.work, buckets.records, buckets.reports)))
    rows = cast(Rows, _Watched(services.rows, _ROWS, _of_table, function))
    chain = type(services.chain)(rows)
    scratch = services.scratch / function  # what another has fetched is not there for it
    scratch.mkdir(exist_ok=True)
    return replace(services, buckets=mine, rows=rows, chain=chain, scratch=scratch)


class _Watched:
    """A port each of whose calls is held against the policy before it is made."""

    def __init__(
        self, port: object, verbs: dict[str, tuple[str, ...]], needs: Callable[[str, str], Permission], function: str
    ) -> None:
        self._port, self._verbs, self._needs, self._function = port, verbs, needs, function

    def __getattr__(self, name: str) -> Any:
        verb = getattr(self._port, name)
        if name not in self._verbs:
            return verb

        def call(where: str, *given: Any, **named: Any) -> Any:
            for action in self._verbs[name]:
                if (needed := self._needs(action, where)) not in _granted(self._function):
                    raise UngrantedError(f"{self._function} may not {needed}: {where}")
            return verb(where, *given, **named)

        return call


def _of_object(bucket: str, action: str, key: str) -> Permission:
    name = f"acs:oss:oss-cn-hangzhou:1:{bucket}"
    if action == "oss:ListObjects":
        return permissions.needed(action, name, key).permission
    return permissions.needed(action, f"{name}/{key}", "").permission


def _of_table(action: str, table: str) -> Permission:
    return permissions.needed(action, f"acs:ots:cn-hangzhou:1:instance/books/table/{table}", "").permission


@functools.cache
def _granted(function: str) -> frozenset[Permission]:
    return permissions.granted(permissions.committed(function))
