"""Importing an SDK without what it imports for something that is never used here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def standing_in(**modules: Any) -> Iterator[None]:
    """In this block an import of these modules gives what is named here; None says that there is no such module.

    What is loaded already is left alone, and after the block each is imported as ever: a stand-in stays with those
    alone that were imported in the block.
    """
    given = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(given)
    try:
        yield
    finally:
        for name in given:
            del sys.modules[name]
