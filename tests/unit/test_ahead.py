"""What is made ahead comes in its order, raises what it would have raised, and leaves no thread behind."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from shared.cloud import ahead as module
from shared.cloud.ahead import ahead


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert [one.name for one in threading.enumerate() if one.name == "ahead"] == []


@pytest.mark.parametrize("count", [0, 1, module._CHUNK - 1, module._CHUNK, module._CHUNK + 1, 7 * module._CHUNK])
def test_everything_comes_once_and_in_order(count: int) -> None:
    with ahead(iter(range(count))) as source:
        assert list(source) == list(range(count))


def test_it_is_made_while_nobody_takes_but_not_far_ahead() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100 * module._CHUNK):
            made.append(number)
            yield number

    with ahead(numbers()) as source:
        first = next(source)
        until = time.monotonic() + 10
        while len(made) < 2 * module._CHUNK and time.monotonic() < until:
            time.sleep(0.001)
        assert (first, len(made) >= 2 * module._CHUNK) == (0, True)
        time.sleep(0.05)
        assert len(made) <= (module._CHUNKS + 2) * module._CHUNK


def test_what_the_source_raises_is_raised_after_what_came_before() -> None:
    def numbers() -> Iterator[int]:
        yield from range(module._CHUNK)
        raise KeyError("the part is damaged")

    taken: list[int] = []
    with ahead(numbers()) as source, pytest.raises(KeyError, match="the part is damaged"):
        taken.extend(source)
    assert taken == list(range(module._CHUNK))


def test_a_taker_that_fails_ends_the_making() -> None:
    def numbers() -> Iterator[int]:
        number = 0
        while True:
            yield number
            number += 1

    def take() -> None:
        with ahead(numbers()) as source:
            assert next(source) == 0
            raise OSError("the service is gone")

    with pytest.raises(OSError, match="gone"):
        take()
