"""The order of the tests: those that play a whole demo come last."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first; pytest keeps the order of files within each group."""
    order = ("unit", "golden", "property", "contract", "fault")

    def place(item: pytest.Item) -> int:
        folder = item.path.parent.name
        is_demo = item.path.name == "test_demo.py"
        return len(order) + 1 if is_demo else order.index(folder) if folder in order else len(order)

    items.sort(key=place)
