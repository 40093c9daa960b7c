"""Function Compute: what its events hold, and how a step's outcome is answered and logged.

Events arrive as bytes, at least once and in any order. A step that cannot ever succeed with an event keeps the
event and the reason in `quarantine/` and ends; one that may succeed later raises, so that the host tries again.
"""

from __future__ import annotations

import hashlib
import json
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from shared.cycle import parse_instant
from shared.errors import BadInputError, ClearbookError
from shared.ids import canonical_json
from shared.ports import ObjectEvent, ObjectStore, TimerEvent

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


def parse_objects(event: bytes) -> list[ObjectEvent]:
    """The created objects that an OSS trigger's event names; other kinds of events in it are passed over."""
    events = _object(event).get("events")
    if not isinstance(events, list) or not events:
        raise BadInputError("OSS event", "'events' is no list of events", "expected the OSS trigger's event")
    return [_created(one, f"events.{n}") for n, one in enumerate(events) if _name(one, f"events.{n}") in CREATED]


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
    return GivenUp(data, parse_instant(str(data.get("timestamp")), "timestamp"))


def on_objects(
    step: str,
    event: bytes,
    *,
    bucket: ObjectStore,
    quarantine: ObjectStore,
    work: Callable[[ObjectEvent], dict[str, Any]],
    log: StepLog,
) -> str:
    """Carry out a step for each object that an OSS event names; one that is refused does not stop the others."""

    def one(created: ObjectEvent) -> list[dict[str, Any]]:
        if created.bucket != bucket.bucket:
            problem = f"names bucket {created.bucket!r}"
            raise BadInputError("OSS event", problem, f"this function listens to {bucket.bucket!r}: check its trigger")
        return [work(created)]

    objects: list[ObjectEvent] = []

    def parse() -> list[dict[str, Any]]:
        objects.extend(parse_objects(event))
        return []

    outcomes = _guarded(step, event, quarantine, log, parse)
    for created in objects:
        outcomes += _guarded(step, event, quarantine, log, lambda created=created: one(created))  # type: ignore[misc]
    return json.dumps(outcomes, ensure_ascii=False)


def on_event(
    step: str, event: bytes, *, quarantine: ObjectStore, work: Callable[[], list[dict[str, Any]]], log: StepLog
) -> str:
    """Carry out a step for one event, such as a timer's."""
    return json.dumps(_guarded(step, event, quarantine, log, work), ensure_ascii=False)


def _guarded(
    step: str, event: bytes, quarantine: ObjectStore, log: StepLog, work: Callable[[], list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """What the work answers. Refused input is kept and ends; what may work later raises, to be tried again."""
    try:
        outcomes = work()
    except ClearbookError as exc:
        log.error(str(exc), step=step, code=exc.code, retryable=exc.retryable)
        if exc.retryable:
            raise StepFailedError(f"{step}: {exc}") from exc
        return [{"refused": str(exc), "code": exc.code, "kept": keep_refused(quarantine, step, event, exc)}]
    except Exception as exc:
        # A defect of ours: named on one line, its place in the log, and tried again like any failure.
        log.error(f"{step} failed unexpectedly: {exc!r}", step=step, code="defect", trace=traceback.format_exc())
        raise StepFailedError(f"{step} failed unexpectedly: {exc!r}; this is a defect, see the log") from exc
    for outcome in outcomes:
        log.info(step, **outcome)
    return outcomes


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


def _name(one: Any, place: str) -> str:
    name = one.get("eventName") if isinstance(one, dict) else None
    if not isinstance(name, str):
        raise BadInputError(f"OSS event, {place}", "has no 'eventName'", "expected the OSS trigger's event")
    return name


def _created(one: Mapping[str, Any], place: str) -> ObjectEvent:
    try:
        bucket, key, at = one["oss"]["bucket"]["name"], one["oss"]["object"]["key"], one["eventTime"]
    except (KeyError, TypeError) as exc:
        problem = f"lacks {exc}"
        raise BadInputError(
            f"OSS event, {place}", problem, "expected oss.bucket.name, oss.object.key, eventTime"
        ) from exc
    if not all(isinstance(value, str) and value for value in (bucket, key, at)):
        raise BadInputError(f"OSS event, {place}", "bucket, key or eventTime is no text", "check the trigger")
    return ObjectEvent(bucket, key, parse_instant(at, "eventTime"))
