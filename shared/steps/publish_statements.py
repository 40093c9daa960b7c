"""Publish a locked month: statements and journal, each file once, then the entry that names them all."""

from __future__ import annotations

import re
from typing import Any

from shared.chain.entry import Draft, Entry
from shared.control import months
from shared.cycle import stamp
from shared.errors import BadInputError
from shared.ids import digest
from shared.journal.ledger import of_lock
from shared.journal.postings import to_csv
from shared.ports import ObjectEvent
from shared.report import statements as report
from shared.services import Services
from shared.steps import anchoring, outbox, projections, stating

_ACTOR = "publish_statements"
_ORDER_KEY = re.compile(r"work/publish/(20\d\d-\d\d)/([a-z0-9-]+)\.json", re.ASCII)


def publish_statements(services: Services, event: ObjectEvent) -> dict[str, Any]:
    """Write the files of the month whose lock wrote this order; what is there already is compared and left."""
    match = _ORDER_KEY.fullmatch(event.key)
    if match is None:
        raise BadInputError(
            f"object {event.key}", "is no publish order", "expected work/publish/<cycle>/<reseller>.json"
        )
    cycle, reseller = match.groups()
    entries = services.chain.read(months.stream_of(reseller, cycle))
    lock = stating.lock_of(entries, cycle)
    if lock is None:
        raise BadInputError(f"order {event.key}", f"{reseller} {cycle} is not locked", "a lock writes this order")
    anchoring.anchor(services, anchoring.LOCK, f"{cycle}-{reseller}-{lock.seq}", lock.at, {lock.stream: lock.head})
    files = [] if _is_done(services, entries, cycle) else _publish(services, reseller, entries, lock, event)
    projections.refresh(services, reseller, cycle)
    outbox.tell(services, [months.stream_of(reseller, cycle)], stamp(event.at))
    services.record(_ACTOR, event.key, stamp(event.at), f"{len(files)} files" if files else "published before")
    return {"reseller": reseller, "cycle": cycle, "files": files}


def _publish(services: Services, reseller: str, entries: list[Entry], lock: Entry, event: ObjectEvent) -> list[str]:
    """Write the files, then the entry that names them."""
    cycle = lock.body["what"]["cycle"]
    files = _files(services, reseller, cycle, entries, lock)
    listed = [{"key": key, "digest": digest(body)} for key, body in files.items()]
    for key, body in files.items():
        services.buckets.records.put_once(key, body)

    def decide(now: list[Entry]) -> Draft | None:
        month = months.months(now).get(cycle)
        if month is None or month.published is not None:
            return None
        body = {"cycle": cycle, "settlement": month.settlement, "files": listed}
        return Draft(months.PUBLISHED, _ACTOR, stamp(event.at), body)

    services.chain.append(months.stream_of(reseller, cycle), decide)
    return list(files)


def _is_done(services: Services, entries: list[Entry], cycle: str) -> bool:
    """Whether the chain names the month's files and all of them are there: an order that comes again sets none."""
    published = months.months(entries)[cycle].published
    return published is not None and all(services.buckets.records.exists(one["key"]) for one in published.body["files"])


def _files(services: Services, reseller: str, cycle: str, entries: list[Entry], lock: Entry) -> dict[str, bytes]:
    """Every file of the month by its key: a function of the locked settlement and its lock alone."""
    settlement = lock.body["what"]["settlement"]
    files: dict[str, bytes] = {}
    for document in stating.locked_documents(services, reseller, cycle, entries, lock):
        statement = document.statement
        stem = f"statements/{cycle}/{reseller}/{statement.agreement}-{settlement[:12]}"
        files |= {stem + end: body for end, body in report.files(document).items()}
    files[f"journal/{cycle}/{reseller}-{settlement[:12]}.csv"] = to_csv(of_lock(entries, lock))
    return files
