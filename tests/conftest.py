"""The order of the tests: quick ones first, then those that take minutes, then many short ones to even out the end.

A test that counts what it went through says so with `record_property(FIGURES, text)`; the end of the run tells.
"""

from __future__ import annotations

import pytest

FIGURES = "figures"
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what the tests counted."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == FIGURES:
                terminalreporter.write_line(f"{report.nodeid}: {text}")
