"""The order of the tests: quick ones first, then those that take minutes, then many short ones to even out the end."""

from __future__ import annotations

import pytest

_ROOMS = ("unit", "golden", "property", "contract")
_MINUTES = ("test_demo.py", "test_every_call_on_the_wire.py", "test_bundle.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort them; pytest keeps the order of files within each place."""

    def place(item: pytest.Item) -> int:
        if item.path.name in _MINUTES:
            return len(_ROOMS) + _MINUTES.index(item.path.name)
        folder = item.path.parent.name
        return _ROOMS.index(folder) if folder in _ROOMS else len(_ROOMS) + len(_MINUTES)

    items.sort(key=place)
