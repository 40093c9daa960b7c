"""Requests with an idempotency key: carried out once, and answered the same when they come again within a day."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from shared.cycle import parse_instant
from shared.errors import BadInputError, ClearbookError
from shared.ids import canonical_json, digest
from shared.services import Services

TABLE = "requests"
_KEY_MAX = 128
_DIES = timedelta(minutes=3)  # more than the function has: it died, and the request is carried out anew
_IN_FLIGHT, _DONE = "in flight", "done"


class InFlightError(ClearbookError):
    """The same request is being carried out."""

    code = "in_flight"
    retry_after_s = 1


class OtherRequestError(ClearbookError):
    """The key was used for another request."""

    code = "other_request"


@dataclass(frozen=True, slots=True)
class Begun:
    """A request that is to be carried out now."""

    who: str
    key: str
    body: str
    version: int
    at: str


@dataclass(frozen=True, slots=True)
class Before:
    """What was answered to it before."""

    status: int
    answer: Any


def begin(services: Services, who: str, key: str, request: bytes, at: str) -> Begun | Before:
    """Begin a request, or know it; raises InFlightError, OtherRequestError, and BadInputError for no key."""
    if not 1 <= len(key) <= _KEY_MAX or not key.isascii() or not key.isprintable():
        raise BadInputError("Idempotency-Key", "is none", f"give 1 to {_KEY_MAX} printable ASCII characters")
    begun = Begun(who, key, digest(request), 1, at)
    if services.rows.create(TABLE, _key(who, key), _columns(begun, _IN_FLIGHT)):
        return begun
    row = services.rows.get(TABLE, _key(who, key))
    if row is None:  # its day is over just now
        raise InFlightError("the same request is being carried out; send it again")
    if row["body"] != begun.body:
        raise OtherRequestError(f"Idempotency-Key {key} was used for another request; use a new one")
    if row["state"] == _DONE:
        return Before(int(row["status"]), json.loads(str(row["answer"])))
    if parse_instant(at) - parse_instant(str(row["at"])) < _DIES:
        raise InFlightError("the same request is being carried out; send it again")
    again = Begun(who, key, begun.body, int(row["version"]) + 1, at)
    if services.rows.put_newer(TABLE, [(_key(who, key), _columns(again, _IN_FLIGHT))], "version"):
        return again
    raise InFlightError("the same request is being carried out; send it again")


def end(services: Services, begun: Begun, status: int, answer: Mapping[str, Any]) -> None:
    """Keep the answer."""
    said = {**_columns(begun, _DONE), "version": begun.version + 1, "status": status}
    put = {**said, "answer": canonical_json(answer).decode()}
    services.rows.put_newer(TABLE, [(_key(begun.who, begun.key), put)], "version")


def give_up(services: Services, begun: Begun) -> None:
    """It came to nothing that is to be repeated: the same key may be tried again at once."""
    then = {**_columns(begun, _IN_FLIGHT), "version": begun.version + 1, "at": "2000-01-01T00:00:00Z"}
    services.rows.put_newer(TABLE, [(_key(begun.who, begun.key), then)], "version")


def _key(who: str, key: str) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("who", who), ("key", key)


def _columns(begun: Begun, state: str) -> dict[str, str | int]:
    return {"body": begun.body, "version": begun.version, "state": state, "at": begun.at}
