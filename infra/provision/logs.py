"""Where the functions write their logs: a project, a logstore with a retention, and an index to search by."""

from __future__ import annotations

from collections.abc import Iterator

from infra.provision.check import Check, fine, missing, wrong
from shared.cloud.sls import LogAdmin

LOGS_DAYS = 180


def checks(admin: LogAdmin, store: str) -> Iterator[Check]:
    """The project, its logstore and the logstore's index."""
    project = f"log project {admin.project}"
    yield fine(project) if admin.exists() else missing(project, admin.create)
    what = f"logstore {admin.project}/{store}, {LOGS_DAYS} days"
    days = admin.retention_days(store)
    if days is None:
        yield missing(what, lambda: admin.create_store(store, LOGS_DAYS))
    elif days < LOGS_DAYS:
        yield wrong(what, f"keeps logs for {days} days", "raise its retention; a longer one is fine")
    else:
        yield fine(what)
    index = f"index of {admin.project}/{store}"
    yield fine(index) if admin.is_indexed(store) else missing(index, lambda: admin.index(store, LOGS_DAYS))
