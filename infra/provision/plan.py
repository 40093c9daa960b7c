"""What must be there before the first event: shown as a plan, then made; what is there already is only checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.bootstrap import BUCKETS, bucket_name, setting
from shared.cloud.admin import BucketAdmin, TableAdmin
from shared.cloud.credentials import from_environment
from shared.errors import ClearbookError

# Key columns by table (design, state). The first is the partition key.
TABLES: Mapping[str, list[tuple[str, str]]] = {
    "chain": [("stream", "STRING"), ("seq", "INTEGER")],
    "bill_lines": [("line", "STRING")],
    "steps": [("step", "STRING"), ("key", "STRING")],
    "settlements": [("cycle", "STRING"), ("id", "STRING")],
    "cases": [("cycle", "STRING"), ("id", "STRING")],
    "payouts": [("cycle", "STRING"), ("id", "STRING")],
}
RECORDS_DAYS = 3650  # accounting records are kept ten years
REPORTS_DAYS = 90


class UnfitError(ClearbookError):
    """Something is there and is not as it must be; it is not changed."""

    code = "unfit_target"


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to make."""

    what: str
    make: Callable[[], None]


def plan(environ: Mapping[str, str]) -> list[Action]:
    """What is missing; raises UnfitError for what is there and wrong."""
    key, region = from_environment(environ), setting(environ, "CLEARBOOK_REGION")
    endpoint = setting(environ, "CLEARBOOK_TABLESTORE_ENDPOINT")
    tables = TableAdmin(endpoint, region, setting(environ, "CLEARBOOK_TABLESTORE_INSTANCE"), key)
    actions = [action for name in TABLES if (action := _table(tables, name)) is not None]
    for bucket in BUCKETS:
        admin = BucketAdmin(setting(environ, "CLEARBOOK_OSS_ENDPOINT"), region, bucket_name(environ, bucket), key)
        actions += _bucket(admin, bucket)
    return actions


def _table(tables: TableAdmin, name: str) -> Action | None:
    found, wanted = tables.keys(name), TABLES[name]
    if found is None:
        return Action(f"create table {name} ({', '.join(column for column, _ in wanted)})", _creation(tables, name))
    if found != wanted:
        raise UnfitError(f"table {name} has the key {found}, expected {wanted}; use another instance, or move it away")
    return None


def _creation(tables: TableAdmin, name: str) -> Callable[[], None]:
    return lambda: tables.create(name, TABLES[name])


def _bucket(admin: BucketAdmin, bucket: str) -> list[Action]:
    is_there = admin.exists()
    actions = [] if is_there else [Action(f"create bucket {admin.name}", admin.create)]
    if is_there and admin.is_versioned():
        raise UnfitError(f"bucket {admin.name} keeps versions, so names are not made once; switch versioning off")
    if bucket == "records":
        worm = admin.worm() if is_there else None
        if worm is not None and worm[1] < RECORDS_DAYS:
            problem = f"keeps its objects for {worm[1]} days, {RECORDS_DAYS} are needed"
            raise UnfitError(f"bucket {admin.name} {problem}; extend its retention, or use another bucket")
        if worm is not None and worm[0] != "Locked":
            actions.append(Action(f"lock the retention of {admin.name}, which lapses otherwise", admin.lock))
    if bucket == "records" and worm is None:
        actions.append(Action(f"keep {admin.name} for {RECORDS_DAYS} days, locked", lambda: admin.keep(RECORDS_DAYS)))
    if bucket == "reports" and (not is_there or admin.expiry_days() is None):
        actions.append(Action(f"expire {admin.name} after {REPORTS_DAYS} days", lambda: admin.expire(REPORTS_DAYS)))
    return actions
