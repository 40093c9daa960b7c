"""Where a reseller wants its events and files: a bucket that two people registered and that is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.chain.entry import Entry
from shared.control.approvals import APPROVED
from shared.ids import digest_of

DELIVERY_BUCKET = "delivery_bucket"  # the act
NAMES = ("bucket", "endpoint", "region", "prefix", "role", "secret")


@dataclass(frozen=True, slots=True)
class Destination:
    """A bucket of somebody else, and with which key it is written to."""

    reseller: str
    bucket: str
    endpoint: str  # "default" or https://oss-<region>.aliyuncs.com
    region: str
    prefix: str  # of all names in it: empty, or ending in "/"
    role: str | None  # whose key is assumed: acs:ram::<uid>:role/<name>, or
    secret: str | None  # name of the secret that holds the access key

    @property
    def token(self) -> str:
        """What proves that the bucket is the reseller's: only who may write to the bucket can put it there."""
        return digest_of([self.reseller, self.bucket, self.endpoint, self.region, self.prefix])[:32]

    @property
    def challenge(self) -> str:
        """The object that must lie in the bucket before anything is copied."""
        return f"clearbook-verify/{self.token}"


def destination_of(reseller: str, what: Mapping[str, Any]) -> Destination:
    """The destination that the act names."""
    return Destination(reseller, **{name: what[name] for name in NAMES})


def in_force(reseller: str, entries: Sequence[Entry]) -> tuple[Destination | None, int]:
    """Where a reseller's events go by its stream, and from which entry on: what was before it registered is not sent.

    A bucket that takes the place of another takes its undelivered events too.
    """
    found: Destination | None = None
    since = 0
    for entry in entries:
        if entry.kind == APPROVED and entry.body["act"] == DELIVERY_BUCKET:
            what = entry.body["what"]
            since = since if found is not None else entry.seq
            found = destination_of(reseller, what) if what["bucket"] else None
    return found, since
