"""HTTP triggers of a built-in runtime: the request becomes an event of form v1, the answer an HTTP response.

Form and answer as in "Use an HTTP trigger to invoke a function". What an answer without `statusCode` becomes is
not documented; here it is sent as it is with status 200.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import unquote

from aiohttp import web
from multidict import CIMultiDict

# The server sets these itself; a function that does too would send them twice.
_HOP_HEADERS = frozenset({"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"})


def event(
    request: web.Request, raw_path: str, body: bytes, account_id: str, request_id: str, now: datetime
) -> bytes:  # fmt: skip
    """The event of a request to `raw_path`, the encoded path without where the function is mounted."""
    text, is_base64 = _text(body)
    domain = request.host.partition(":")[0]
    document = {
        "version": "v1",
        "rawPath": raw_path,
        "body": text,
        "isBase64Encoded": is_base64,
        "headers": _joined((_canonical(name), value) for name, value in request.headers.items()),
        "queryParameters": _joined(request.query.items()),
        "requestContext": {
            "accountId": account_id,
            "domainName": domain,
            "domainPrefix": domain.partition(".")[0],
            "http": {
                "method": request.method,
                "path": unquote(raw_path),
                "protocol": f"HTTP/{request.version.major}.{request.version.minor}",
                "sourceIp": request.remote or "",
                "userAgent": request.headers.get("User-Agent", ""),
            },
            "requestId": request_id,
            "time": now.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "timeEpoch": str(int(now.timestamp() * 1000)),
        },
    }
    return json.dumps(document, ensure_ascii=False).encode()


def response(answer: bytes) -> web.Response:
    """The HTTP response that a function's answer describes; 502 when it describes none."""
    try:
        document = json.loads(answer)
    except ValueError:
        return web.Response(body=answer, content_type="text/plain", charset="utf-8")
    if not isinstance(document, dict) or "statusCode" not in document:
        return web.Response(body=answer, content_type="application/json")
    try:
        body = document.get("body") or ""
        content = base64.b64decode(body, validate=True) if document.get("isBase64Encoded") else body.encode()
        headers = CIMultiDict(
            (name, str(value))
            for name, value in (document.get("headers") or {}).items()
            if name.lower() not in _HOP_HEADERS
        )
        return web.Response(status=int(document["statusCode"]), body=content, headers=headers)
    except (binascii.Error, TypeError, ValueError, AttributeError) as exc:
        return web.Response(status=502, text=f"the function's answer is no HTTP response: {exc}")


def _text(body: bytes) -> tuple[str, bool]:
    try:
        return body.decode(), False
    except UnicodeDecodeError:
        return base64.b64encode(body).decode(), True


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in pairs:
        joined[name] = f"{joined[name]},{value}" if name in joined else value
    return joined


def _canonical(name: str) -> str:
    return "-".join(part.capitalize() for part in name.split("-"))
