"""What a step is given to work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from shared.chain.chain import Chain
from shared.events.destination import Destination
from shared.parties.parties import Connector
from shared.ports import BillApi, Buckets, Mailer, ObjectStore, Poster, Rows


@dataclass(frozen=True, slots=True)
class Outside:
    """How messages leave."""

    poster: Poster
    mailer: Callable[[], Mailer]  # raises SettingError where no mail server is set
    master: Callable[[], bytes]  # what the secrets of webhooks are derived from; raises SettingError
    clock: Callable[[], datetime]  # a signature says when it was made, which is when it is sent


@dataclass(frozen=True, slots=True)
class Services:
    """Everything outside, behind ports."""

    buckets: Buckets
    rows: Rows
    chain: Chain
    bill_api: Callable[[Connector], BillApi]
    buckets_of_others: Callable[[Destination], ObjectStore]  # where they want what is theirs
    scratch: Path  # a folder that outlives one event of a warm instance, and nothing else
    memory_mb: int  # for DuckDB: half of what the function has
    threads: int
    outside: Outside

    def record(self, step: str, key: str, at: str, outcome: str) -> None:
        """Note for people what a step did; no correctness rests on it (design, state)."""
        self.rows.put("steps", (("step", step), ("key", key)), {"at": at, "outcome": outcome})
