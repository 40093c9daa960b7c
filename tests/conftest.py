"""The order of the tests: quick ones first, then those that take minutes, then many short ones to even out the end.

A test that counts what it went through says so with `record_property(FIGURES, text)`; the end of the run tells.
"""

from __future__ import annotations

from typing import Any

import pytest

FIGURES = "figures"
_ROOMS = ("unit", "golden", "property", "contract")
_MINUTES = ("test_demo.py", "test_every_call_on_the_wire.py", "test_bundle.py")
# The tests of a file share what is costly to make and stay on one worker; those of these files share nothing.
_APART = (
    "test_every_call_on_the_wire.py", "test_seeded_months.py", "test_settlement.py", "test_adapters_faults.py",
    "test_fuzz.py", "test_many_lives.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Sort them; pytest keeps the order of files within each place."""

    def place(item: pytest.Item) -> int:
        if item.path.name in _MINUTES:
            return len(_ROOMS) + _MINUTES.index(item.path.name)
        folder = item.path.parent.name
        return _ROOMS.index(folder) if folder in _ROOMS else len(_ROOMS) + len(_MINUTES)

    items.sort(key=place)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Which tests stay together: marks of groups do not reach xdist's own scheduler with every pytest."""
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

    class ByFile(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return nodeid if file.rpartition("/")[2] in _APART else file

    return ByFile(config, log)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell what the tests counted."""
    for report in terminalreporter.getreports("passed"):
        for name, text in report.user_properties:
            if name == FIGURES:
                terminalreporter.write_line(f"{report.nodeid}: {text}")
