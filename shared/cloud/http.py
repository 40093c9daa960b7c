"""HTTP triggers: Function Compute's event of form v1 as a request, routed by Powertools' resolver, and its answer.

The resolver knows AWS's events: what it needs beside ours is put in, and what Function Compute does not document in an
answer is left out. Problems are answered as RFC 9457 says. Neither a header nor a body is ever logged.
"""

from __future__ import annotations

import base64
import binascii
import json
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from http import HTTPStatus
from typing import Any

from shared.cloud.fc import StepLog
from shared.cloud.uncollected import uncollected
from shared.cycle import parse_instant, stamp
from shared.errors import BadInputError, ClearbookError, DocumentRefusedError, SettingError
from shared.ports import ServiceError

BODY_MAX = 5 * 1024 * 1024
JSON, PROBLEM = "application/json", "application/problem+json"


class TooLargeError(ClearbookError):
    """A body is larger than anything that is asked for here."""

    code = "too_large"


class NotJsonError(ClearbookError):
    """A body of another kind than the one that is read here."""

    code = "not_json"


class NoSuchAddressError(ClearbookError):
    """There is nothing at this address."""

    code = "no_such_address"


class WrongMethodError(ClearbookError):
    """The address is right and the method is not."""

    code = "wrong_method"


_OURS = (
    *("bad_setting", "service_error", "object_missing", "object_conflict", "chain_broken"),
    *("contradiction", "unbalanced", "unexplained", "unholdable_amount"),
)
# What is not here is the request's fault where a person can mend it (400), else ours (500) or passing (503).
STATUS: Mapping[str, HTTPStatus] = {
    "not_signed_in": HTTPStatus.UNAUTHORIZED,
    "not_allowed": HTTPStatus.FORBIDDEN,
    "unscoped": HTTPStatus.FORBIDDEN,
    "no_such_proposal": HTTPStatus.NOT_FOUND,
    "no_such_address": HTTPStatus.NOT_FOUND,
    "unknown_id": HTTPStatus.NOT_FOUND,
    "gone": HTTPStatus.GONE,
    "not_ready": HTTPStatus.CONFLICT,
    "in_flight": HTTPStatus.CONFLICT,
    "other_request": HTTPStatus.UNPROCESSABLE_ENTITY,
    "too_many_requests": HTTPStatus.TOO_MANY_REQUESTS,
    "wrong_method": HTTPStatus.METHOD_NOT_ALLOWED,
    "no_parties": HTTPStatus.CONFLICT,
    "stale_proposal": HTTPStatus.CONFLICT,
    "too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "not_json": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "document_refused": HTTPStatus.UNPROCESSABLE_ENTITY,
    "bad_condition": HTTPStatus.UNPROCESSABLE_ENTITY,
    **dict.fromkeys(_OURS, HTTPStatus.INTERNAL_SERVER_ERROR),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What came, and when by the platform's clock."""

    method: str
    path: str
    headers: Mapping[str, str]  # names in small letters
    query: Mapping[str, str]
    body: bytes
    at: str
    id: str

    def json(self) -> dict[str, Any]:
        """The body's JSON object: no name twice, and nothing read as a float."""
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
            raise NotJsonError(f"the body is no JSON; send Content-Type: {JSON}")
        try:
            found = json.loads(
                self.body, object_pairs_hook=_object, parse_float=Decimal, parse_constant=_no_constant
            )  # fmt: skip
            # Half a sign, which an escape can say, is no text.
            json.dumps(found, ensure_ascii=False, default=str).encode()
        except (ValueError, RecursionError) as exc:
            raise BadInputError("body", f"cannot be read as JSON ({exc})", "send one JSON object, in UTF-8") from exc
        if not isinstance(found, dict):
            raise BadInputError("body", "is no JSON object", "send one JSON object")
        return found


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered: plain data, sent as JSON."""

    body: Any
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    type: str = JSON


@dataclass(frozen=True, slots=True)
class Route:
    """An address, and what answers it; parts of the path in angle brackets are given to it by name."""

    method: str
    path: str
    answer: Callable[..., Answer]


def answer(event: bytes, routes: Sequence[Route], log: StepLog) -> str:
    """The answer to an HTTP trigger's event, as Function Compute takes it."""
    request_id = ""
    try:
        data = _event(event)
        request_id = str(data["requestContext"]["requestId"])
        found = _routed(data, routes, log)
    except Exception as exc:  # a request must be answered, whatever happens
        found = problem(exc, request_id, log)
    headers = {
        "Content-Type": f"{found.type}; charset=utf-8" if found.type == JSON else found.type,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        **found.headers,
    }
    body = "" if found.status is HTTPStatus.NOT_MODIFIED else json.dumps(found.body, ensure_ascii=False)
    return json.dumps(
        {"statusCode": int(found.status), "headers": headers, "isBase64Encoded": False, "body": body},
        ensure_ascii=False,
    )


def problem(exc: Exception, request_id: str, log: StepLog) -> Answer:
    """An error as RFC 9457 writes it: for what is ours it names the request and nothing from inside."""
    is_told = isinstance(exc, ClearbookError)
    code = exc.code if isinstance(exc, ClearbookError) else "defect"
    status = _status(exc)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        trace = {} if is_told else {"trace": traceback.format_exc()}
        log.error(str(exc) if is_told else f"failed unexpectedly: {exc!r}", step="portal", code=code, **trace)
    inside = not is_told or isinstance(exc, ServiceError | SettingError)
    said: dict[str, Any] = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "code": code,
        "detail": f"this failed here; ask whoever runs Clearbook about request {request_id}" if inside else str(exc),
        "request": request_id,
    }
    if isinstance(exc, DocumentRefusedError):
        said["findings"] = [{"place": place, "problem": what} for place, what in exc.findings]
    headers = {}
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="clearbook"'
    if status is HTTPStatus.SERVICE_UNAVAILABLE or hasattr(exc, "retry_after_s"):
        headers["Retry-After"] = str(getattr(exc, "retry_after_s", 1))
    if isinstance(exc, WrongMethodError):
        headers["Allow"] = str(exc).rpartition(" ")[2]
    return Answer(said, status, headers, PROBLEM)


def _status(exc: Exception) -> HTTPStatus:
    if not isinstance(exc, ClearbookError):
        return HTTPStatus.INTERNAL_SERVER_ERROR
    if exc.retryable:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return STATUS.get(exc.code, HTTPStatus.BAD_REQUEST)


# -- the event ----------------------------------------------------------------------------------------------------


def _event(event: bytes) -> dict[str, Any]:
    """The event with all that is used of it."""
    try:
        data = json.loads(event)
        context = data["requestContext"]
        texts = [data["rawPath"], context["requestId"], context["time"], context["http"]["method"]]
        texts += [*data["headers"], *data["headers"].values(), data.get("body") or ""]
        if data["version"] != "v1" or not all(isinstance(one, str) for one in texts):
            raise TypeError("version or a text")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as exc:
        raise BadInputError("event", f"is no HTTP trigger's of form v1 ({exc!r})", "check the trigger") from exc
    return dict(data)


def _request(data: Mapping[str, Any]) -> Request:
    context = data["requestContext"]
    text = data.get("body") or ""
    try:
        body = base64.b64decode(text, validate=True) if data.get("isBase64Encoded") else text.encode()
    except (binascii.Error, UnicodeEncodeError) as exc:
        raise BadInputError("body", f"cannot be read ({exc})", "send it again") from exc
    if len(body) > BODY_MAX:
        raise TooLargeError(f"the body has {len(body)} bytes; at most {BODY_MAX} are read")
    headers = {name.lower(): value for name, value in data["headers"].items()}
    query = dict(data.get("queryParameters") or {})
    at = stamp(parse_instant(context["time"], "time of the event"))
    return Request(context["http"]["method"], data["rawPath"], headers, query, body, at, context["requestId"])


def _routed(data: Mapping[str, Any], routes: Sequence[Route], log: StepLog) -> Answer:
    """What the route that fits answers."""
    with uncollected():
        from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
        from aws_lambda_powertools.event_handler.exceptions import NotFoundError

    request, answers = _request(data), []

    def answering(route: Route) -> Callable[..., Response[str]]:
        def carry_out(**named: str) -> Response[str]:
            answers.append(route.answer(request, **named))
            return Response(status_code=200)

        return carry_out

    app = APIGatewayHttpResolver()

    @app.not_found
    def nothing(_: NotFoundError) -> Response[str]:
        there = sorted({one.method for one in routes if _fits(one.path, request.path)})
        if there:
            raise WrongMethodError(f"{request.method} is not answered here, only {','.join(there)}")
        raise NoSuchAddressError("there is nothing at this address; GET /v1/openapi.json says what there is")

    @app.exception_handler(Exception)  # type: ignore[untyped-decorator]
    def failed(exc: Exception) -> Response[str]:
        answers.append(problem(exc, request.id, log))
        return Response(status_code=200)

    for route in routes:
        app.route(route.path, method=route.method)(answering(route))
    app.resolve(_as_aws(data), None)  # type: ignore[arg-type]
    return answers[-1]


def _fits(path: str, asked: str) -> bool:
    """Whether an address is this one; parts in angle brackets may be anything."""
    parts, given = path.split("/"), asked.split("/")
    return len(parts) == len(given) and all(
        one == other or (one.startswith("<") and other != "") for one, other in zip(parts, given, strict=True)
    )


def _as_aws(data: Mapping[str, Any]) -> dict[str, Any]:
    """What the resolver asks of an event, of AWS's form 2.0; the body stays with us."""
    context = data["requestContext"]
    return {
        "version": "2.0",
        "rawPath": data["rawPath"],
        "rawQueryString": "",
        "headers": {},
        "queryStringParameters": {},
        "requestContext": {"stage": "$default", "http": {**context["http"], "path": data["rawPath"]}},
        "isBase64Encoded": False,
    }


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number")
