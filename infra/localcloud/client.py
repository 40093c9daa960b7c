"""Speaks to the function host's control API: the clock, playing time, calling functions, figures."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlsplit

from infra.localcloud.common import LocalCloudError

Progress = Callable[[dict[str, Any]], None]


class InvocationError(LocalCloudError):
    """The function failed; `document` is Function Compute's error document."""

    def __init__(self, function: str, error_type: str, document: dict[str, Any]) -> None:
        super().__init__(f"{function} failed ({error_type}): {document.get('errorMessage')}")
        self.function, self.error_type, self.document = function, error_type, document


class HostClient:
    """One function host; every call has a connection of its own."""

    def __init__(self, endpoint: str, token: str, timeout_s: float | None = None) -> None:
        self._address = urlsplit(endpoint).netloc
        self._token = token
        self._timeout_s = timeout_s

    def clock(self) -> datetime:
        """The cloud's business time."""
        return datetime.fromisoformat(self._json("GET", "/clock")["now"])

    def set_clock(self, instant: datetime | None) -> None:
        """Stop the clock at `instant` without firing anything; None lets it run with the system's."""
        self._json("PUT", "/clock", {"now": None if instant is None else instant.isoformat()})

    def advance(self, to: datetime, on_progress: Progress | None = None) -> dict[str, Any]:
        """Play time up to `to`; `on_progress` is told of each instant, the summary is returned."""
        connection, response = self._open("POST", "/advance", json.dumps({"to": to.isoformat()}).encode())
        try:
            if response.status != 200:
                raise _refused(response)
            for line in response:
                message: dict[str, Any] = json.loads(line)
                if "summary" in message:
                    return dict(message["summary"])
                if "problem" in message:
                    raise LocalCloudError(f"time stands where it was reached: {message['problem']}")
                if on_progress is not None:
                    on_progress(message)
        except (OSError, http.client.HTTPException):
            pass  # it was cut off; what that means is said below
        finally:
            connection.close()
        raise LocalCloudError("the function host ended while time was being played; see logs/host.log")

    def idle(self) -> dict[str, Any]:
        """Wait until nothing is running or waiting; returns what became of asynchronous events so far."""
        return self._json("POST", "/idle")

    def status(self) -> dict[str, Any]:
        """Figures per function, counts of the queue, last failures."""
        return self._json("GET", "/status")

    def invoke(self, function: str, event: bytes) -> bytes:
        """Call a function and wait for its answer; raises InvocationError when it fails."""
        connection, response = self._open("POST", f"/invoke/{quote(function)}", event)
        try:
            if response.status != 200:
                raise _refused(response)
            body, error_type = response.read(), response.getheader("X-Fc-Error-Type")
        finally:
            connection.close()
        if error_type is not None:
            raise InvocationError(function, error_type, json.loads(body))
        return body

    def invoke_later(self, function: str, event: bytes) -> None:
        """Put an event into a function's queue, as its triggers do."""
        connection, response = self._open(
            "POST", f"/invoke/{quote(function)}", event, {"X-Fc-Invocation-Type": "Async"}
        )
        try:
            if response.status != 202:
                raise _refused(response)
        finally:
            connection.close()

    def _json(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        connection, response = self._open(method, path, b"" if body is None else json.dumps(body).encode())
        try:
            if response.status != 200:
                raise _refused(response)
            return dict(json.loads(response.read()))
        finally:
            connection.close()

    def _open(
        self, method: str, path: str, body: bytes, headers: dict[str, str] | None = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection(self._address, timeout=self._timeout_s)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self._token}", **(headers or {})})
            return connection, connection.getresponse()
        except (OSError, http.client.HTTPException) as exc:
            connection.close()
            raise LocalCloudError(f"the function host at {self._address} does not answer ({exc!r})") from exc


def _refused(response: http.client.HTTPResponse) -> LocalCloudError:
    body = response.read()
    try:
        message = json.loads(body)["Message"]
    except (ValueError, KeyError, TypeError):
        message = body.decode(errors="replace")[:500]
    return LocalCloudError(f"the function host refused ({response.status}): {message}")
