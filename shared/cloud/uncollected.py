"""Importing an SDK without looking for garbage meanwhile."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """What is imported in this block the collector takes for old, and does not go through it before it must.

    An SDK makes tens of thousands of objects, none of them garbage; to look for some while they are made is about a
    seventh of a cold start.
    """
    before, was_enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > before:
            # Together they move everything to the oldest generation. To leave it frozen would save no more, and
            # extensions that count what they made when the process ends would report it as leaked.
            gc.freeze()
            gc.unfreeze()
        if was_enabled:
            gc.enable()
