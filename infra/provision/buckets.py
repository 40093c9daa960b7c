"""The four buckets: private, without versions, with retention and lifecycle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra.provision.check import Check, fine, missing, wrong
from shared.bootstrap import BUCKETS, bucket_name, setting
from shared.cloud.admin import BucketAdmin, Lifecycle
from shared.cloud.credentials import AccessKey

RECORDS_DAYS = 3650  # accounting records are kept ten years
REPORTS_DAYS = 90
UPLOADS_DAYS = 7  # parts of an upload that nobody finished


def lifecycle_of(bucket: str) -> Lifecycle:
    """What goes by itself: reports after a while, and everywhere the parts of uploads that were not finished."""
    return Lifecycle(REPORTS_DAYS if bucket == "reports" else None, UPLOADS_DAYS)


def checks(environ: Mapping[str, str], key: AccessKey) -> Iterator[Check]:
    """Every bucket with its rules."""
    endpoint, region = setting(environ, "CLEARBOOK_OSS_ENDPOINT"), setting(environ, "CLEARBOOK_REGION")
    for bucket in BUCKETS:
        admin = BucketAdmin(endpoint, region, bucket_name(environ, bucket), key)
        is_there = admin.exists()
        yield _bucket(admin, is_there=is_there)
        if bucket == "records":
            yield _retention(admin, is_there=is_there)
        yield _lifecycle(admin, lifecycle_of(bucket), is_there=is_there)


def _bucket(admin: BucketAdmin, *, is_there: bool) -> Check:
    what = f"bucket {admin.name}"
    if not is_there:
        return missing(what, admin.create)
    if admin.is_versioned():
        return wrong(what, "keeps versions, so names are not made once", "switch versioning off, or use another prefix")
    acl = admin.acl()
    return fine(what) if acl == "private" else wrong(what, f"has the ACL {acl}", "set it to private")


def _retention(admin: BucketAdmin, *, is_there: bool) -> Check:
    what = f"retention of {admin.name}, {RECORDS_DAYS} days, locked"
    worm = admin.worm() if is_there else None
    if worm is None:
        return missing(what, lambda: admin.keep(RECORDS_DAYS))
    state, days = worm
    if days < RECORDS_DAYS:
        problem = f"keeps its objects for {days} days, {RECORDS_DAYS} are needed"
        return wrong(f"bucket {admin.name}", problem, "extend its retention, or use another bucket")
    # A retention that was begun lapses when it is not locked within 24 hours.
    return fine(what) if state == "Locked" else missing(what, admin.lock)


def _lifecycle(admin: BucketAdmin, wanted: Lifecycle, *, is_there: bool) -> Check:
    what = f"lifecycle of {admin.name}: {wanted}"
    found = admin.lifecycle() if is_there else None
    if found is None:
        return missing(what, lambda: admin.set_lifecycle(wanted))
    if found == wanted:
        return fine(what)
    problem = f"has others: {found}" if found.other else f"is {found}"
    return wrong(what, problem, "remove its lifecycle rules, so that they can be made anew")
