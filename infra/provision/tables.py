"""The tables, by their keys, options and indexes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from infra.provision.check import Check, fine, missing, wrong
from shared.bill import rows
from shared.cloud.admin import FOREVER, ONE_VERSION, Index, TableAdmin, TableFound

# Key columns by table (design, state). The first is the partition key.
TABLES: Mapping[str, list[tuple[str, str]]] = {
    "chain": [("stream", "STRING"), ("seq", "INTEGER")],
    "bill_lines": [("line", "STRING")],
    "steps": [("step", "STRING"), ("key", "STRING")],
    "settlements": [("cycle", "STRING"), ("id", "STRING")],
    "cases": [("cycle", "STRING"), ("id", "STRING")],
    "payouts": [("cycle", "STRING"), ("id", "STRING")],
    "quotas": [("quota", "STRING"), ("place", "INTEGER")],
    "mappings": [("owner", "STRING"), ("name", "STRING")],
    **{name: [("owner", "STRING"), ("id", "STRING")] for name in ("schedules", "slots", "webhooks", "deliveries")},
    **{name: [("owner", "STRING"), ("id", "STRING")] for name in ("reports", "selections")},
    **{name: [("hash", "STRING")] for name in ("api_keys", "links")},
    "access_log": [("day", "STRING"), ("id", "STRING")],
    "limits": [("who", "STRING")],
    "requests": [("who", "STRING"), ("key", "STRING")],
}
# Rows that go by themselves, in seconds; those of the other tables stay.
KEPT_S: Mapping[str, int] = {"quotas": 86_400, "limits": 86_400, "requests": 86_400}

# Index columns by index of a table; all are text. What a table has no key column for is predefined in it.
INDEXES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    rows.TABLE: rows.INDEXES,
    # A row that waits for nothing has no `due`, and is in no index.
    **{table: {f"{table}_due": ("due",)} for table in ("schedules", "slots", "deliveries")},
    **{table: {f"{table}_owner": ("owner",)} for table in ("api_keys", "links")},
}


def indexes_of(table: str) -> list[Index]:
    """The indexes that a table must have."""
    return [Index(name, columns) for name, columns in INDEXES.get(table, {}).items()]


def checks(admin: TableAdmin) -> Iterator[Check]:
    """Every table: how long rows stay, one version of a cell, exactly its key, and its indexes."""
    there = admin.names()
    for name, keys in TABLES.items():
        indexes = indexes_of(name)
        what = f"table {name} ({', '.join(column for column, _ in keys)})"
        if name not in there:
            yield missing(what, partial(admin.create, name, keys, indexes, KEPT_S.get(name, FOREVER)))
            continue
        found = admin.describe(name)
        lacking = [index for index in indexes if index.name not in found.indexes]
        problem = _problem(found, keys, indexes, KEPT_S.get(name, FOREVER))
        if problem is not None:
            yield wrong(what, *problem)
        elif not lacking:
            yield fine(what)
        for index in [] if problem else lacking:
            described = f"index {index.name} ({', '.join(index.columns)}) of table {name}"
            yield missing(described, partial(admin.add_index, name, index))


def _problem(
    found: TableFound, keys: list[tuple[str, str]], indexes: list[Index], keeps_s: int
) -> tuple[str, str] | None:
    """What is wrong with a table that is there, and what to do; a missing index alone is not wrong."""
    if found.keys != keys:
        return f"has the key {found.keys}, expected {keys}", "use another instance, or move it away"
    if (found.keeps_s, found.versions) != (keeps_s, ONE_VERSION):
        kept = f"keeps {found.versions} versions for {found.keeps_s} seconds"
        expected = "for good" if keeps_s == FOREVER else f"for {keeps_s} seconds"
        return f"{kept}, expected one {expected}", f"set max_versions to 1 and time_to_live to {keeps_s}"
    wanted = {column for index in indexes for column in index.columns}
    for name, column in found.defined.items():
        if name in wanted and column != "STRING":
            return f"has {name} predefined as {column}, expected STRING", "use another instance, or move it away"
    if undefined := sorted(wanted - set(found.defined)):
        return f"has not predefined {', '.join(undefined)}", "predefine them as STRING in the console of Tablestore"
    for index in indexes:
        columns = found.indexes.get(index.name)
        if columns is not None and columns != index.columns:
            remedy = "delete the index in the console of Tablestore, and provision again"
            return f"has an index {index.name} of {columns}, expected {index.columns}", remedy
    return None
