"""Resellers that register buckets of their own, and what reaches them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from infra.clearbook.people import PREPARER
from shared.control.approvals import Proposal
from shared.events.destination import DELIVERY_BUCKET, Destination, destination_of
from shared.steps import decide
from tests.builders import CYCLE
from tests.fakes import MemoryStore
from tests.pump import World

THEIRS = "aurora-events"


def asked(reseller: str = "aurora", **more: Any) -> dict[str, Any]:
    """A bucket of a reseller's own."""
    named = {"bucket": f"{reseller}-events", "endpoint": "default", "region": "cn-hangzhou"}
    return {"reseller": reseller, **named, "secret": f"{reseller}-bucket", **more}


def propose(world: World, wanted: Mapping[str, Any]) -> Proposal:
    """Propose to register a bucket."""
    [proposal] = decide.propose(world.services, DELIVERY_BUCKET, wanted, by=PREPARER, why="test", at=world.at).proposals
    return proposal


def destination(proposal: Proposal) -> Destination:
    """What is proposed."""
    return destination_of(proposal.stream.removeprefix("reseller/"), proposal.body)


def prove(world: World, proposal: Proposal) -> MemoryStore:
    """The reseller puts the proof into its bucket."""
    to = destination(proposal)
    theirs = world.cloud.has_bucket(to.bucket)
    theirs.put_again(to.challenge, to.token.encode())
    return theirs


def register(world: World, reseller: str = "aurora", **more: Any) -> MemoryStore:
    """A reseller registers its bucket."""
    proposal = propose(world, asked(reseller, **more))
    theirs = prove(world, proposal)
    world.approve(proposal)
    return theirs


def month(world: World, amount: str = "160.00") -> None:
    """The small month to the bank's answers; `amount` is what aurora is paid."""
    world.final()
    world.lock()
    world.pay()
    world.bank_answers(
        "bank",
        (f"{CYCLE}.aurora.aurora-2025", "confirmed", amount, "CNY", "B1"),
        (f"{CYCLE}.borealis.borealis-2025", "returned", "15.00", "CNY", "B2"),
    )


def told(theirs: MemoryStore) -> list[str]:
    """The types of events in somebody's bucket, in their order."""
    keys = [key for key in sorted(theirs.objects) if "/events/" in f"/{key}"]
    return [json.loads(theirs.objects[key])["type"].removeprefix("clearbook.") for key in keys]
