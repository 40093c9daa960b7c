"""Tells what a function sees; does not import json before it is called."""

from __future__ import annotations

INITIALIZED: list[object] = []
CALLS: list[str] = []


def initialize(context: object) -> None:
    INITIALIZED.append(context)


def handler(event: bytes, context: object) -> object:
    CALLS.append(context.request_id)  # type: ignore[attr-defined]
    if event == b"echo":
        return event
    if event == b"log":
        context.getLogger().info("told")  # type: ignore[attr-defined]
        return "logged"
    return _answer(event) if event.startswith(b"{") else _everything(event, context)


def _everything(event: bytes, context: object) -> object:
    import os
    import sys

    function = context.function  # type: ignore[attr-defined]
    return {
        "event_type": type(event).__name__,
        "environment": dict(os.environ),
        "path": sys.path,
        "folder": os.getcwd(),
        "modules": sorted(sys.modules),
        "initialized": len(INITIALIZED),
        "calls": len(CALLS),
        "pid": os.getpid(),
        "context": {name: str(value) for name, value in vars(context).items() if name != "function"},
        "function": vars(function),
        "has_credentials": hasattr(context, "credentials"),
        "has_tracing": hasattr(context, "tracing"),
    }


def _answer(event: bytes) -> object:
    import base64
    import json

    request = json.loads(event)
    if request["rawPath"] == "/picture":
        return {
            "statusCode": 201,
            "headers": {"Content-Type": "image/png", "X-Note": "a"},
            "isBase64Encoded": True,
            "body": base64.b64encode(b"\x89PNG").decode(),
        }
    if request["rawPath"] == "/broken":
        raise ValueError("no page")
    return {
        "statusCode": 200,
        "headers": {"Content-Type": "application/json; charset=utf-8"},
        "body": json.dumps(request),
    }
