"""The tables, by their keys and options."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from infra.provision.check import Check, fine, missing, wrong
from shared.cloud.admin import FOREVER, ONE_VERSION, TableAdmin

# Key columns by table (design, state). The first is the partition key.
TABLES: Mapping[str, list[tuple[str, str]]] = {
    "chain": [("stream", "STRING"), ("seq", "INTEGER")],
    "bill_lines": [("line", "STRING")],
    "steps": [("step", "STRING"), ("key", "STRING")],
    "settlements": [("cycle", "STRING"), ("id", "STRING")],
    "cases": [("cycle", "STRING"), ("id", "STRING")],
    "payouts": [("cycle", "STRING"), ("id", "STRING")],
}


def checks(admin: TableAdmin) -> Iterator[Check]:
    """Every table: rows that stay, one version of a cell, and exactly its key."""
    there = admin.names()
    for name, keys in TABLES.items():
        what = f"table {name} ({', '.join(column for column, _ in keys)})"
        if name not in there:
            yield missing(what, partial(admin.create, name, keys))
            continue
        found = admin.describe(name)
        if found.keys != keys:
            yield wrong(what, f"has the key {found.keys}, expected {keys}", "use another instance, or move it away")
        elif (found.keeps_s, found.versions) != (FOREVER, ONE_VERSION):
            kept = f"keeps {found.versions} versions for {found.keeps_s} seconds"
            yield wrong(what, f"{kept}, expected one for good", "set max_versions to 1 and time_to_live to -1")
        else:
            yield fine(what)
