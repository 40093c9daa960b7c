"""What tests of the steps have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.known import remembering


@pytest.fixture(scope="module", autouse=True)
def known(request: pytest.FixtureRequest) -> Iterator[None]:
    """Most tests of steps play the same small month; they are about what is kept of it, not how it is computed."""
    if not request.path.name.startswith(
        ("test_steps_", "test_functions", "test_outsiders", "test_quality", "test_pulls")
    ):
        yield
        return
    with remembering():
        yield
