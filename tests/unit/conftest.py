"""What tests of the steps have in common."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.known import remembering

SMALL_MONTH = (
    *("test_steps_", "test_functions", "test_outsiders", "test_quality", "test_pulls", "test_approvals", "test_portal"),
    *("test_control_attacked", "test_notify", "test_events", "test_journal", "test_auditing", "test_payees"),
    *("test_bank_answers", "test_reconcile"),
)
SEVERAL_MONTHS = (
    "test_looking_back",
    "test_explain_",
    "test_months_in_order",
    "test_payout_terms",
    "test_pricing",
    "test_cases",
)


@pytest.fixture(scope="module", autouse=True)
def known(request: pytest.FixtureRequest) -> Iterator[None]:
    """Most tests of steps play the same small month; they are about what is kept of it, not how it is computed.

    Those of several months settle them, of bills that are mostly the same days on which nobody used anything.
    """
    if request.path.name.startswith((*SMALL_MONTH, *SEVERAL_MONTHS)):
        with remembering(settlements=request.path.name.startswith(SMALL_MONTH)):
            yield
    else:
        yield
