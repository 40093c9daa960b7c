"""Whose fault a failure is: the event's is kept in quarantine, everything else is tried again by the host."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import duckdb
import pytest

from shared.cloud.fc import StepFailedError, on_event, on_objects
from shared.cloud.patience import EVENT
from shared.errors import BadInputError, ClearbookError, SettingError
from shared.ports import ObjectMissingError, ServiceError
from tests.fakes import MemoryStore

EVENT_BYTES = b'{"triggerTime": "2025-06-01T00:00:00Z"}'


class Log:
    """Keeps what was logged."""

    def __init__(self) -> None:
        self.errors: list[dict[str, Any]] = []

    def info(self, message: str, **fields: Any) -> None: ...

    def error(self, message: str, **fields: Any) -> None:
        self.errors.append({"message": message, **fields})


def raising(exc: Exception) -> Callable[[], list[dict[str, Any]]]:
    def work() -> list[dict[str, Any]]:
        raise exc

    return work


def carry_out(work: Callable[[], list[dict[str, Any]]], store: Any, context: object = None) -> Any:
    return json.loads(on_event("settle", EVENT_BYTES, quarantine=store, work=work, log=Log(), context=context))


def refusal(problem: str, *, retryable: bool = False) -> ServiceError:
    return ServiceError("cannot read 'a' in bucket 'b'", problem, "see to it", retryable=retryable)


NOT_THE_EVENTS_FAULT = {
    "no right": refusal("OSS answers 403 AccessDenied"),
    "a bad signature": refusal("OSS answers 403 SignatureDoesNotMatch"),
    "no bucket": refusal("there is no such bucket"),
    "not reached": refusal("OSS was not reached", retryable=True),
    "no setting": SettingError("CLEARBOOK_REGION", "is not set", "set it"),
    "a defect": ZeroDivisionError("division by zero"),
}


@pytest.mark.parametrize(
    "exc", [OSError(28, "No space left on device"), MemoryError(), duckdb.IOException("could not write")]
)
def test_a_full_disk_is_told_apart_from_a_defect(exc: Exception) -> None:
    log = Log()
    with pytest.raises(StepFailedError, match=r"has no disk or memory left.*raise diskSize or memorySize"):
        on_event("settle", EVENT_BYTES, quarantine=MemoryStore("b"), work=raising(exc), log=log)
    assert [one["code"] for one in log.errors] == ["exhausted"]


@pytest.mark.parametrize("exc", NOT_THE_EVENTS_FAULT.values(), ids=NOT_THE_EVENTS_FAULT)
def test_what_is_not_the_events_fault_raises_and_keeps_nothing(exc: Exception) -> None:
    store = MemoryStore("clearbook-work")
    with pytest.raises(StepFailedError) as caught:
        carry_out(raising(exc), store)

    assert caught.value.__cause__ is exc
    assert store.objects == {}
    assert "settle" in str(caught.value)


@pytest.mark.parametrize("exc", [BadInputError("event", "is odd", "mend it"), ObjectMissingError("b", "a")], ids=str)
def test_what_is_the_events_fault_is_kept_and_ends(exc: ClearbookError) -> None:
    store = MemoryStore("clearbook-work")
    [answer] = carry_out(raising(exc), store)

    assert (answer["code"], answer["refused"]) == (exc.code, str(exc))
    assert json.loads(store.objects[answer["kept"]])["event"] == EVENT_BYTES.decode()


def test_a_refusal_that_cannot_be_kept_raises_rather_than_lose_the_event() -> None:
    class Closed(MemoryStore):
        def put_again(self, key: str, body: bytes) -> None:
            raise refusal("OSS answers 403 AccessDenied")

    with pytest.raises(StepFailedError, match=r"refuses its event .*is odd.* and cannot keep it: .*AccessDenied"):
        carry_out(raising(BadInputError("event", "is odd", "mend it")), Closed("clearbook-work"))


def test_a_missing_right_names_what_where_and_the_remedy() -> None:
    log = Log()
    with pytest.raises(StepFailedError, match="cannot read 'a' in bucket 'b': OSS answers 403 AccessDenied; see to it"):
        on_event("settle", b"{}", quarantine=MemoryStore("w"), work=raising(refusal("OSS answers 403 AccessDenied")),
                 log=log)  # fmt: skip
    assert log.errors[0]["code"] == "service_error"


def test_the_work_has_the_functions_time_less_what_is_kept_back() -> None:
    left: list[float] = []

    def work() -> list[dict[str, Any]]:
        left.append(EVENT.left_s())
        return []

    context = SimpleNamespace(function=SimpleNamespace(timeout=600), request_id="1")
    store = MemoryStore("clearbook-work")
    for _ in range(2):
        carry_out(work, store, context)
    carry_out(work, store)

    assert all(590 < one <= 595 for one in left[:2]), "a warm instance begins anew"
    assert left[2] == math.inf
    assert EVENT.left_s() == math.inf


def test_all_objects_of_an_event_share_its_time() -> None:
    one = {"eventName": "ObjectCreated:PutObject", "eventTime": "2025-06-01T00:00:00.000Z",
           "oss": {"bucket": {"name": "clearbook-work"}, "object": {"key": "seals/a.json"}}}  # fmt: skip
    left: list[float] = []
    store = MemoryStore("clearbook-work")
    on_objects(
        "settle", json.dumps({"events": [one, one]}).encode(), bucket=store, quarantine=store, log=Log(),
        work=lambda _: {"left": left.append(EVENT.left_s())},  # type: ignore[func-returns-value]
        context=SimpleNamespace(function=SimpleNamespace(timeout=60)),
    )  # fmt: skip

    assert len(left) == 2
    assert 0 < left[1] < left[0] <= 55
