"""What the months of these tests have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.known import remembering, without_pages


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    """Each settlement and part is computed once; what differs between months is what befalls them around it."""
    with remembering(), without_pages():
        yield
