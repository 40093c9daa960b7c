"""Notify: copy a reseller's event, and the files that it tells of, into the bucket that the reseller registered.

The files are copied first: when the event lands, and wakes what the reseller has bound to it, they are there. A mark in
our own bucket says at last that the event was delivered, so that nobody needs to list what is another's.

An owner's webhooks are told of the same events, and of its own reports; its mails of its schedules (`delivering`).
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from shared.chain.entry import Entry
from shared.control import months
from shared.cycle import stamp
from shared.errors import BadInputError
from shared.events import owners
from shared.events.destination import Destination, in_force
from shared.events.events import RESELLERS, Told, event_of, files_of, parse_key
from shared.ids import canonical_json, digest
from shared.ports import ObjectEvent
from shared.services import Services
from shared.steps.delivering import deliveries, schedules

_ACTOR = "notify"
DELIVERED = "delivered/"
_ATTEMPTS = timedelta(seconds=30)  # an endpoint may take a quarter of a minute, and an owner has up to twenty


def notify(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Deliver the event that this object is, to its owner and to nobody else."""
    if owners.parse_key(event.key) is not None:
        return _to_owner(services, event)
    done, posts = tell(services, event)
    _attempt(services, owners.owner_of_reseller(done["reseller"]), posts)
    return {**done, "posts": len(posts)} if posts else done


def tell(services: Services, event: ObjectEvent) -> tuple[dict[str, Any], list[str]]:
    """Copy a reseller's event into its bucket; also the ids of what is to be posted, which waits as rows for that."""
    told = parse_key(event.key)
    if told is None:
        expected = f"expected {RESELLERS}<month>/<reseller>/<seq>-<type>.json"
        raise BadInputError(f"object {event.key}", "is no event of a reseller", expected)
    entries = services.chain.read(months.stream_of(told.reseller, ""))
    entry = _entry(entries, told, event.key)
    # Written down first and posted last: neither the bucket nor a webhook waits for the other to work.
    posts = _posts(services, told, entry)
    return _to_bucket(services, event, told, entries, entry), posts


def _to_owner(services: Services, event: ObjectEvent) -> dict[str, Any]:
    done, opened = tell_owner(services, event)
    _attempt(services, done["owner"], opened)
    return done


def tell_owner(services: Services, event: ObjectEvent) -> tuple[dict[str, Any], list[str]]:
    """Open what is to be sent to an owner's webhooks, and the mails of its schedule where it is of one; their ids.

    They wait as rows; the mark that says so comes last.
    """
    found = owners.parse_key(event.key)
    if found is None:
        raise BadInputError(f"object {event.key}", "is no event of an owner", f"expected {owners.OWNERS}...")
    owner, id_, name = found
    said = json.loads(services.buckets.work.get(event.key))
    if (said["source"], said["id"], said["type"]) != (f"/clearbook/{owner}", id_, f"clearbook.{name}"):
        raise BadInputError(f"object {event.key}", "says that it is another's", "find out who wrote it, and remove it")
    opened = deliveries.for_webhooks(services, owner, name, said["subject"], said["time"], said["data"])
    if name.startswith("schedule."):
        opened += schedules.mail_of(services, owner, said)
    services.buckets.work.put_again(owner_mark(event.key), canonical_json({"event": event.key, "deliveries": opened}))
    services.record(_ACTOR, event.key, stamp(event.at), "delivered")
    return {"owner": owner, "event": f"{id_}-{name}", "deliveries": len(opened)}, opened


def owner_mark(key: str) -> str:
    """What says that what is to be sent of an owner's event waits as rows (bucket work)."""
    return f"{DELIVERED}owners/{key.removeprefix(owners.OWNERS)}"


def _posts(services: Services, told: Told, entry: Entry) -> list[str]:
    event = event_of(entry)
    if event is None:
        return []
    owner, about = owners.owner_of_reseller(told.reseller), f"{entry.stream}/{entry.seq}/{told.name}"
    return deliveries.for_webhooks(services, owner, told.name, about, entry.at, event.data)


def _attempt(services: Services, owner: str, opened: list[str]) -> None:
    """Make the first attempts, as long as others need not wait for it: what is left is due, and the timer's."""
    begun = services.outside.clock()
    for one in opened:
        if services.outside.clock() - begun > _ATTEMPTS:
            return
        deliveries.attempt(services, owner, one)


def _to_bucket(
    services: Services, event: ObjectEvent, told: Told, entries: list[Entry], entry: Entry
) -> dict[str, Any]:  # fmt: skip
    destination, since = in_force(told.reseller, entries)
    if destination is None or entry.seq < since:
        return _done(services, event, told, "no bucket is registered for it", 0)
    if services.buckets.work.exists(delivered_key(told)):
        return _done(services, event, told, "delivered before", 0)
    files = _copy(services, destination, told, entry, services.buckets.work.get(event.key))
    # Two at once may name different buckets here, where another has just been registered: each has got all of it.
    mark = canonical_json({"event": event.key, "bucket": destination.bucket, "files": files})
    services.buckets.work.put_again(delivered_key(told), mark)
    return _done(services, event, told, "delivered", len(files))


def delivered_key(told: Told) -> str:
    """What says that an event was delivered (bucket work)."""
    return f"{DELIVERED}{told.month}/{told.reseller}/{told.seq:06d}-{told.name}.json"


def _entry(entries: list[Entry], told: Told, key: str) -> Entry:
    """The entry that the event is of: an object in a bucket decides nothing; what no entry calls for is not told."""
    entry = entries[told.seq - 1] if 0 < told.seq <= len(entries) else None
    event = event_of(entry) if entry is not None else None
    if entry is None or event is None or event.key != key:
        raise BadInputError(f"object {key}", "is the event of no entry", "find out who wrote it, and remove it")
    return entry


def _copy(services: Services, destination: Destination, told: Told, entry: Entry, body: bytes) -> list[str]:
    said = json.loads(body)
    if said["data"]["entry"]["hash"] != entry.hash:
        raise BadInputError(f"event {said['id']}", "names another entry than the chain has", "find out who wrote it")
    files = {}
    for file in files_of(entry) if entry.kind == months.PUBLISHED else ():
        found, key = services.buckets.records.get(file["key"]), file["key"]
        if digest(found) != file["digest"]:
            raise BadInputError(f"object {key}", "is not what was published", "find out who changed it, and restore it")
        files[file["name"]] = found
    theirs = services.buckets_of_others(destination)
    # The event last: whom it wakes finds the files.
    for name, found in {**files, f"events/{told.month}/{told.seq:06d}-{told.name}.json": body}.items():
        theirs.put_once(destination.prefix + name, found)
    return list(files)


def _done(services: Services, event: ObjectEvent, told: Told, outcome: str, files: int) -> dict[str, Any]:
    services.record(_ACTOR, event.key, stamp(event.at), outcome)
    return {"reseller": told.reseller, "event": f"{told.seq:06d}-{told.name}", "outcome": outcome, "files": files}
