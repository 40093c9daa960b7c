"""Files of the bank's answers that nobody has taken."""

from __future__ import annotations

from datetime import datetime

from shared.parties.parties import OPERATOR
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps.confirm_payouts import confirm_payouts, is_taken
from shared.steps.losses.loss import Loss, Losses

_PREFIX = "payouts/"


def losses(services: Services, now: datetime) -> Losses:
    """The files in the inbox that were not taken, each by its content: a sender may write one again."""
    inbox = services.buckets.inbox
    for key in inbox.keys(_PREFIX):
        if not is_taken(services, key):
            yield Loss(
                "confirmation",
                key,
                "",
                OPERATOR,
                None,
                "the file lies in the inbox and was not taken",
                lambda key=key: is_taken(services, key),  # type: ignore[misc]
                lambda key=key: confirm_payouts(services, ObjectEvent(inbox.bucket, key, now)),  # type: ignore[misc]
            )
