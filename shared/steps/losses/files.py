"""Bill files in the inbox that nobody has taken."""

from __future__ import annotations

from datetime import datetime

from shared.parties.parties import OPERATOR
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps.losses.loss import Loss, Losses


def losses(services: Services, now: datetime) -> Losses:
    """The files that were neither taken nor refused as they lie there: a sender may write one again."""
    inbox = services.buckets.inbox
    for key in inbox.keys("bills/"):
        # Here: mostly there is no file, and what reads one is large.
        from shared.steps.ingest_file import ingest_file, is_taken

        if not is_taken(services, key):
            yield Loss(
                "file",
                key,
                "",
                OPERATOR,
                None,
                "the bill file lies in the inbox and was not taken",
                lambda key=key: is_taken(services, key),  # type: ignore[misc]
                lambda key=key: ingest_file(services, ObjectEvent(inbox.bucket, key, now)),  # type: ignore[misc]
            )
