"""The stand-in for Function Compute's python3.12 bootstrap: one process, one function, one event at a time.

Started by the host as a script over one end of a socket pair (`runtime.py FD`). It imports next to nothing, so
that what a cold start costs is what the function itself imports: no json, logging, socket, traceback, typing or
dataclasses before somebody needs them.

A message on the socket is a list of byte strings (`pack`). The host sends the configuration, then one request
(id, event) at a time; it is answered `loaded` / `ready` / `ok` + result / `error` + type, message and stack frames.
"""

from __future__ import annotations

import os
import sys

LENGTH_BYTES = 4
READ_MAX = 1 << 20

_log_handler = None


def pack(*parts: bytes) -> bytes:
    """One message: its length, then each part with its own."""
    body = b"".join(len(part).to_bytes(LENGTH_BYTES, "big") + part for part in parts)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def unpack(body: bytes) -> list[bytes]:
    """The parts of a message, given without its leading length."""
    parts, at = [], 0
    while at < len(body):
        start = at + LENGTH_BYTES
        at = start + int.from_bytes(body[at:start], "big")
        parts.append(body[start:at])
    return parts


class HandlerNotFound(Exception):  # noqa: N818 - the name is the errorType that callers see
    """The module exists and has no such function."""


class ImportModuleError(Exception):
    """The handler's module cannot be imported."""


class FunctionInfo:
    """`context.function`, as python3.12 gives it."""

    def __init__(self, name: str, handler: str, memory: int, timeout: int) -> None:
        self.name = name
        self.handler = handler
        self.memory = memory
        self.timeout = timeout
        self.version_id = ""
        self.qualifier = "LATEST"


class FCContext:
    """The context of python3.12: no `credentials`, no `service`, no `tracing`; `logger` is None until asked for."""

    def __init__(self, request_id: str, region: str, account_id: str, function: FunctionInfo) -> None:
        self.request_id = request_id
        self.region = region
        self.account_id = account_id
        self.function = function
        self.log_project = ""
        self.log_store = ""
        self.logger: object = None

    def getLogger(self) -> object:  # noqa: N802 - Function Compute's name
        """The root logger, writing lines that carry the request id."""
        self.logger = _root_logger(self.request_id)
        return self.logger


class _Socket:
    """The host's end of the line; the process ends when the host hangs up."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def receive(self) -> list[bytes]:
        return unpack(self._read(int.from_bytes(self._read(LENGTH_BYTES), "big")))

    def send(self, *parts: bytes) -> None:
        left = memoryview(pack(*parts))
        while left:
            left = left[os.write(self._descriptor, left) :]

    def _read(self, size: int) -> bytes:
        chunks = []
        while size > 0:
            chunk = os.read(self._descriptor, min(size, READ_MAX))
            if not chunk:
                os._exit(0)
            chunks.append(chunk)
            size -= len(chunk)
        return b"".join(chunks)


def main() -> None:
    """Load the function the host names, then answer its events until the host hangs up."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # so that a killed instance has logged
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)  # a process the function starts must not hold our line open
    host = _Socket(descriptor)
    name, handler_name, initializer_name, memory, timeout, region, account, log_project, log_store, *paths = (
        part.decode() for part in host.receive()
    )
    sys.path[:0] = paths
    function = FunctionInfo(name, handler_name, int(memory), int(timeout))

    def context(request_id: str) -> FCContext:
        made = FCContext(request_id, region, account, function)
        made.log_project, made.log_store = log_project, log_store
        return made

    try:
        handler = _load(handler_name)
        initializer = _load(initializer_name) if initializer_name else None
        host.send(b"loaded")
        if initializer is not None:
            initializer(context(""))
    except Exception as exc:
        host.send(*_error(exc))
        return
    host.send(b"ready")
    while True:
        request_id, event = host.receive()
        host.send(*_answer(handler, event, context(request_id.decode())))


def _load(name: str):  # type: ignore[no-untyped-def]  # Callable would need an import
    module_name, _, function_name = name.partition(".")
    try:
        module = __import__(module_name)
    except ImportError as exc:
        raise ImportModuleError(f"Unable to import module '{module_name}': {exc}") from exc
    if not hasattr(module, function_name):
        raise HandlerNotFound(f"Handler '{function_name}' is missing on module '{module_name}'")
    return getattr(module, function_name)


def _answer(handler, event: bytes, context: FCContext) -> list[bytes]:  # type: ignore[no-untyped-def]
    print(f"FC Invoke Start RequestId: {context.request_id}")  # noqa: T201 - the function's log
    try:
        answer = [b"ok", _encoded(handler(event, context))]
    except Exception as exc:
        answer = _error(exc)
        print(f"{context.request_id} [ERROR] {_formatted(exc)}", end="")  # noqa: T201
    print(f"FC Invoke End RequestId: {context.request_id}")  # noqa: T201
    sys.stdout.flush()
    sys.stderr.flush()
    return answer


def _encoded(result: object) -> bytes:
    if isinstance(result, bytes):
        return result
    if isinstance(result, str):
        return result.encode()
    import json

    return json.dumps(result).encode()


def _error(exc: BaseException) -> list[bytes]:
    import traceback

    parts = [b"error", type(exc).__name__.encode(), str(exc).encode(errors="replace")]
    # The cause is what a reader needs when an import failed; our own frames are none of theirs.
    for frame in traceback.extract_tb((exc.__cause__ or exc).__traceback__):
        if frame.filename != __file__ and not frame.filename.startswith("<frozen"):
            parts.append(f"{frame.filename}\n{frame.lineno}\n{frame.name}\n{frame.line}".encode(errors="replace"))
    return parts


def _formatted(exc: BaseException) -> str:
    import traceback

    return "".join(traceback.format_exception(exc))


def _root_logger(request_id: str) -> object:
    import logging
    import time

    global _log_handler
    root = logging.getLogger()
    if _log_handler is None:
        _log_handler = logging.StreamHandler(sys.stdout)
        root.addHandler(_log_handler)
        root.setLevel(logging.INFO)
    line = f"%(asctime)s.%(msecs)03dZ {request_id} [%(levelname)s] %(message)s"
    formatter = logging.Formatter(line, datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    _log_handler.setFormatter(formatter)
    return root


if __name__ == "__main__":
    main()
