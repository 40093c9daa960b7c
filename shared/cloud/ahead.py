"""Making ready what comes next while an answer is awaited."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

_CHUNK, _CHUNKS = 200, 2  # how far ahead: enough for the next batch, and little to hold


@contextmanager
def ahead(source: Iterable[T]) -> Iterator[Iterator[T]]:
    """What `source` gives, in its order, made by a thread a little before it is taken; what it raises is raised then.

    Nothing but that thread uses `source`, and when the block ends, however it does, the thread has ended: what the
    source reads from can be closed then.
    """
    made: queue.Queue[list[T] | BaseException | None] = queue.Queue(_CHUNKS)
    is_over = threading.Event()

    def make() -> None:
        rest = iter(source)
        try:
            while not is_over.is_set() and (chunk := list(islice(rest, _CHUNK))):
                made.put(chunk)
            made.put(None)
        except BaseException as exc:
            made.put(exc)

    def take() -> Iterator[T]:
        while (got := made.get()) is not None:
            if isinstance(got, BaseException):
                raise got
            yield from got

    thread = threading.Thread(target=make, name="ahead", daemon=True)
    thread.start()
    try:
        yield take()
    finally:
        is_over.set()
        while thread.is_alive():  # it may wait for room
            with suppress(queue.Empty):
                made.get_nowait()
            thread.join(0.01)
