"""Function Compute: what its events hold, and how a step's outcome is answered and logged.

Events arrive as bytes, at least once and in any order. A step that cannot ever succeed with an event keeps the
event and the reason in `quarantine/` and ends. Whatever is not the event's fault raises (a service that is not
reached or refuses, a setting, a defect), so that the host tries again and finally tells the failure destination.
"""

from __future__ import annotations

import functools
import hashlib
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from shared.cloud.patience import EVENT
from shared.cycle import parse_instant
from shared.errors import BadInputError, ClearbookError, SettingError
from shared.ids import canonical_json
from shared.ports import ObjectEvent, ObjectStore, ServiceError, TimerEvent

_LAST_SECOND = 4_102_444_800  # the year 2100
_DUCKDB_EXHAUSTED = ("IOException", "OutOfMemoryException")  # by name: most functions do without DuckDB
CREATED = ("ObjectCreated:PutObject", "ObjectCreated:PostObject", "ObjectCreated:CompleteMultipartUpload")


class StepLog(Protocol):
    """Structured logging, as Powertools' Logger does it."""

    def info(self, message: str, **fields: Any) -> None: ...

    def error(self, message: str, **fields: Any) -> None: ...


class StepFailedError(ClearbookError):
    """Raised out of a handler so that Function Compute retries the event."""

    code = "step_failed"
    retryable = True


def parse_timer(event: bytes) -> TimerEvent:
    """A timer's event: `triggerTime` in UTC, `triggerName`, and `payload`, which is always text."""
    data = _object(event)
    for name in ("triggerTime", "triggerName", "payload"):
        if not isinstance(data.get(name), str):
            raise BadInputError("timer event", f"{name!r} is {data.get(name)!r}", "expected the timer trigger's event")
    return TimerEvent(parse_instant(data["triggerTime"], "triggerTime"), data["triggerName"], data["payload"])


def parse_elements(event: bytes) -> list[Any]:
    """The events in an OSS trigger's event, as they are."""
    events = _object(event).get("events")
    if not isinstance(events, list) or not events:
        raise BadInputError("OSS event", "'events' is no list of events", "expected the OSS trigger's event")
    return events


def parse_created(element: Any) -> ObjectEvent | None:
    """The object that one of them says was created; None for other kinds of events."""
    name = element.get("eventName") if isinstance(element, dict) else None
    if not isinstance(name, str):
        raise BadInputError("OSS event", "has no 'eventName'", "expected the OSS trigger's event")
    return _created(element) if name in CREATED else None


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An asynchronous invocation that Function Compute gave up and sent to its failure destination."""

    data: Mapping[str, Any]
    at: datetime


def parse_given_up(event: bytes) -> GivenUp | None:
    """The failed invocation that the event describes (the payload of a failure destination), or None."""
    data = _object(event)
    if not isinstance(data.get("requestContext"), dict) or "requestPayload" not in data:
        return None
    when = data.get("timestamp")
    if isinstance(when, int) and not isinstance(when, bool):
        # Function Compute's own form: milliseconds since 1970.
        when = datetime.fromtimestamp(min(max(when // 1000, 0), _LAST_SECOND), UTC).isoformat()
    return GivenUp(data, parse_instant(str(when), "timestamp"))


def on_objects(
    step: str,
    event: bytes,
    *,
    bucket: ObjectStore | tuple[ObjectStore, ...],
    quarantine: ObjectStore,
    work: Callable[[ObjectEvent], dict[str, Any]],
    log: StepLog,
    context: object = None,
) -> str:
    """Carry out a step for each object that an OSS event names; one that is refused does not stop the others.

    `context` is Function Compute's: what it calls has until shortly before the function's timeout.
    """

    def one(element: Any) -> list[dict[str, Any]]:
        created = parse_created(element)
        if created is None:
            return []
        names = [one.bucket for one in (bucket if isinstance(bucket, tuple) else (bucket,))]
        if created.bucket not in names:
            problem, expected = f"names bucket {created.bucket!r}", " and ".join(map(repr, names))
            raise BadInputError("OSS event", problem, f"this function listens to {expected}: check its trigger")
        return [work(created)]

    elements: list[Any] = []

    def parse() -> list[dict[str, Any]]:
        elements.extend(parse_elements(event))
        return []

    with EVENT.of_event(context):
        outcomes = _guarded(step, event, quarantine, log, parse)
        for element in elements:
            outcomes += _guarded(step, event, quarantine, log, functools.partial(one, element))
    return json.dumps(outcomes, ensure_ascii=False)


def on_event(
    step: str,
    event: bytes,
    *,
    quarantine: ObjectStore,
    work: Callable[[], list[dict[str, Any]]],
    log: StepLog,
    context: object = None,
) -> str:
    """Carry out a step for one event, such as a timer's."""
    with EVENT.of_event(context):
        return json.dumps(_guarded(step, event, quarantine, log, work), ensure_ascii=False)


def _guarded(
    step: str, event: bytes, quarantine: ObjectStore, log: StepLog, work: Callable[[], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """What the work answers. Refused input is kept and ends; what may work later raises, to be tried again."""
    try:
        outcomes = work()
    except ClearbookError as exc:
        log.error(str(exc), step=step, code=exc.code, retryable=exc.retryable)
        # Refused rights, a missing bucket or setting: mending those makes the same event succeed.
        if exc.retryable or isinstance(exc, ServiceError | SettingError):
            raise StepFailedError(f"{step}: {exc}") from exc
        return [{"refused": str(exc), "code": exc.code, "kept": _kept(quarantine, step, event, exc)}]
    except Exception as exc:
        if isinstance(exc, OSError | MemoryError) or type(exc).__name__ in _DUCKDB_EXHAUSTED:
            log.error(f"{step} has no disk or memory left: {exc}", step=step, code="exhausted", retryable=True)
            remedy = "another instance may have; if it comes again, raise diskSize or memorySize in s.yaml"
            raise StepFailedError(f"{step} has no disk or memory left ({exc}); {remedy}") from exc
        # A defect of ours: named on one line, its place in the log, and tried again like any failure.
        log.error(f"{step} failed unexpectedly: {exc!r}", step=step, code="defect", trace=traceback.format_exc())
        raise StepFailedError(f"{step} failed unexpectedly: {exc!r}; this is a defect, see the log") from exc
    for outcome in outcomes:
        log.info(step, **outcome)
    return outcomes


def _kept(quarantine: ObjectStore, step: str, event: bytes, exc: ClearbookError) -> str:
    try:
        return keep_refused(quarantine, step, event, exc)
    except ClearbookError as failed:
        raise StepFailedError(f"{step} refuses its event ({exc}) and cannot keep it: {failed}") from failed


def keep_refused(quarantine: ObjectStore, step: str, event: bytes, exc: ClearbookError) -> str:
    """Keep an event that a step refuses, with the reason; where it lies."""
    key = f"quarantine/{step}/{hashlib.sha256(event).hexdigest()[:32]}.json"
    kept = {"step": step, "code": exc.code, "problem": str(exc), "event": event.decode("utf-8", "backslashreplace")}
    quarantine.put_again(key, canonical_json(kept))
    return key


def _object(event: bytes) -> Mapping[str, Any]:
    try:
        data = json.loads(event)
    except (ValueError, RecursionError) as exc:
        raise BadInputError("event", f"is no JSON ({exc})", "check which trigger is bound to this function") from exc
    if not isinstance(data, dict):
        raise BadInputError("event", "is no JSON object", "check which trigger is bound to this function")
    return data


def _created(one: Mapping[str, Any]) -> ObjectEvent:
    try:
        bucket, key, at = one["oss"]["bucket"]["name"], one["oss"]["object"]["key"], one["eventTime"]
    except (KeyError, TypeError) as exc:
        raise BadInputError(
            "OSS event", f"lacks {exc}", "expected oss.bucket.name, oss.object.key and eventTime"
        ) from exc
    if not all(isinstance(value, str) and value and _is_text(value) for value in (bucket, key, at)):
        raise BadInputError("OSS event", "bucket, key or eventTime is no text", "check the trigger")
    return ObjectEvent(bucket, key, parse_instant(at, "eventTime"))


def _is_text(value: str) -> bool:
    """Whether it can be written as UTF-8: JSON can spell half a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
