"""The families of keys: what a permission on objects is about. The one place that names them.

A permission is never for one object, whose name is made from data, and never for a bucket: it is for a family, all
keys that begin alike because one kind of step writes them.
"""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import ClearbookError

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "inbox": ("bills/", "payouts/"),
    "work": (
        *("work/pull/", "work/settle/", "work/publish/", "work/pay/"),
        *("again/", "pulling/", "customers/"),
        *("sources/", "ingested/", "parts/", "snapshots/", "controls/", "seals/"),
        *("files/", "comparisons/"),
        *("outbox/", "delivered/"),
        *("drafts/", "settlements/", "facts/", "cases/", "quality/", "quarantine/", "stuck/"),
    ),
    "records": (
        *("raw/", "documents/", "statements/", "journal/", "batches/", "payouts/", "instructions/", "answers/"),
        "anchors/",
    ),
    "reports": ("report-requests/", "reports/"),
}


class UnknownFamilyError(ClearbookError):
    """A key that begins like no family was used."""

    code = "unknown_family"


def family(bucket: str, key: str) -> str:
    """The family of an object's key in one of our four buckets, such as `work/settle/`."""
    for one in FAMILIES[bucket]:
        if key.startswith(one):
            return one
    raise UnknownFamilyError(
        f"{bucket}/{key} is of no family; name its family in infra/provision/families.py, or correct the key"
    )


def listed(bucket: str, prefix: str) -> str:
    """What a listing by `prefix` is about: its family, or exactly the prefix where that reaches over several."""
    for one in FAMILIES[bucket]:
        if prefix.startswith(one):
            return one + "*"
    return prefix
