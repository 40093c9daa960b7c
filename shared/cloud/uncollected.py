"""Importing an SDK without looking for garbage meanwhile."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """What is imported in this block is kept for good: the collector does not go through it, then or later.

    An SDK makes hundreds of thousands of objects, none of them garbage; to look for some while they are made is about
    a seventh of a cold start.
    """
    before, was_enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            gc.freeze()
        if was_enabled:
            gc.enable()
