"""What is missing of an account's bill: pulls, day parts, the seal of a round, the object that tells of a seal.

A round whose every date a newer seal has seen is past: nothing of it is missed any more, whatever it lacks. So is a
look at a final cycle, or a list of customers, once there is a newer one.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from shared.bill import pulls
from shared.bill.pulls import CONTROL, MONTHLY, OBSERVED, Pull, asked, begun
from shared.bill.snapshot import SEALED, Seal, observations, seals, stream_of
from shared.cycle import Cycle, parse_instant, stamp
from shared.errors import BadInputError
from shared.parties.parties import Connector
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps.losses.books import Books
from shared.steps.losses.loss import Loss, Losses
from shared.steps.plan_pulls import order_body


def losses(services: Services, books: Books, connector: Connector, cycle: Cycle, now: datetime) -> Losses:
    """What is missing of an account's bill for a cycle, oldest first."""
    account = connector.account
    entries = services.chain.read(stream_of(account, str(cycle)))
    told = books.seals.get((account, str(cycle)), frozenset())
    written = {one.seq: parse_instant(one.at) for one in entries if one.kind == SEALED}
    known = observations(entries, "api")
    for seal in seals(entries):
        if seal.key not in told:
            yield _untold(services, seal, written[seal.seq])
    ordered = books.rounds.get((account, str(cycle)), {})
    yield from _asked_again(services, books, connector, cycle, now)
    for pull in _newest(one for pulls_ in ordered.values() for one in pulls_ if one.what in OBSERVED):
        if pull.ingested_key not in books.ingested:
            yield from _of_pull(services, pull, now)
    for slot in sorted(filter(pulls.is_round, ordered), key=asked):
        wanted = pulls.pulls_of(slot, account, cycle, connector.since)
        # Nearly all are past by what was just read; the stream is read again for those alone that seem open.
        if wanted and not _is_seen(known, wanted) and not _is_past(services, wanted):
            for pull in wanted:
                if pull.ingested_key not in books.ingested:
                    yield from _of_pull(services, pull, now)
            if all(services.buckets.work.exists(pull.ingested_key) for pull in wanted) and not _is_past(
                services, wanted
            ):
                yield _unsealed(services, connector, wanted, now)


def _newest(observed: Iterable[Pull]) -> list[Pull]:
    """The newest of each kind."""
    newest: dict[str, Pull] = {}
    for pull in sorted(observed, key=lambda one: asked(one.slot)):
        newest[pull.what] = pull
    return list(newest.values())


def _is_past(services: Services, wanted: Sequence[Pull]) -> bool:
    """Whether the round is sealed, or newer rounds have seen every date of it."""
    entries = services.chain.read(stream_of(wanted[0].account, str(wanted[0].cycle)))
    return _is_seen(observations(entries, "api"), wanted)


def _is_seen(sealed: Sequence[Seal], wanted: Sequence[Pull]) -> bool:
    """Whether one of these seals is the round's, or the newest has seen every date of it."""
    slot = wanted[0].slot
    if any(one.slot == slot for one in sealed):
        return True
    dates = [pull.what for pull in wanted if pull.what not in (CONTROL, MONTHLY)]
    return bool(sealed) and all(asked(sealed[-1].pulls.get(day, "")) > asked(slot) for day in dates)


def _asked_again(services: Services, books: Books, connector: Connector, cycle: Cycle, now: datetime) -> Losses:
    """What a step asked for once more, and nobody ordered."""
    from shared.steps.plan_pulls import order_again

    work = services.buckets.work
    for key in sorted(books.again):
        if key.split("/")[2:4] != [connector.account, str(cycle)]:
            continue
        body = work.find(key)
        if body is None:
            continue  # ordered meanwhile
        yield Loss(
            "again",
            key,
            str(cycle),
            connector.account,
            _said_at(body),
            "a step asked for it once more and it was not ordered",
            lambda key=key: not work.exists(key),  # type: ignore[misc]
            lambda key=key: order_again(services, ObjectEvent(work.bucket, key, now)),  # type: ignore[misc]
            lambda key=key, body=body: work.put_again(key, body),  # type: ignore[misc]
        )


def _said_at(body: bytes) -> datetime | None:
    try:
        return parse_instant(str(json.loads(body)["at"]))
    except (ValueError, KeyError, TypeError, BadInputError):
        return None


def _of_pull(services: Services, pull: Pull, now: datetime) -> Losses:
    """First its raw pages, then what became of them."""
    # Steps are imported where one is to be carried out: on most nights none is.
    from shared.steps.ingest_bill import ingest_bill
    from shared.steps.pull_bill import pull_bill

    work, records = services.buckets.work, services.buckets.records
    if not records.exists(pull.complete_key):
        is_ordered = work.exists(pull.order_key)
        yield Loss(
            "pull",
            pull.order_key,
            str(pull.cycle),
            pull.account,
            begun(pull.slot),
            "the order has no complete raw pages" if is_ordered else "the order is missing",
            lambda: records.exists(pull.complete_key),
            lambda: pull_bill(services, ObjectEvent(work.bucket, pull.order_key, now)),
            lambda: work.put_again(pull.order_key, order_body(pull)),
        )
    if records.exists(pull.complete_key) and not work.exists(pull.ingested_key):
        # `_complete.json` is locked and cannot be written again: what it should have woken is done here.
        yield Loss(
            "ingest",
            pull.complete_key,
            str(pull.cycle),
            pull.account,
            begun(pull.slot),
            "the raw pages are complete and not ingested",
            lambda: work.exists(pull.ingested_key),
            lambda: ingest_bill(services, ObjectEvent(records.bucket, pull.complete_key, now)),
        )


def _unsealed(services: Services, connector: Connector, wanted: Sequence[Pull], now: datetime) -> Loss:
    """The round, all of whose pulls are ingested."""
    from shared.steps.ingest_bill import seal_round

    first = wanted[0]
    return Loss(
        "round",
        f"{first.account}/{first.cycle}/{first.slot}",
        str(first.cycle),
        first.account,
        begun(first.slot),
        "every pull of the round is ingested and there is no seal",
        lambda: _is_past(services, wanted),
        lambda: seal_round(services, connector, first.cycle, first.slot, stamp(now)),
        covers=tuple(pull.complete_key for pull in wanted),
    )


def _untold(services: Services, seal: Seal, at: datetime) -> Loss:
    from shared.steps import sealing

    return Loss(
        "seal",
        seal.key,
        seal.cycle,
        seal.account,
        at,
        "the seal stands in the chain and its object is missing",
        lambda: services.buckets.work.exists(seal.key),
        lambda: sealing.finish(services, seal, services.chain.read(stream_of(seal.account, seal.cycle))),
        covers=tuple(
            Pull(seal.account, Cycle.parse(seal.cycle), day, slot).complete_key for day, slot in seal.pulls.items()
        ),
    )
