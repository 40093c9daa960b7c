"""The first users of a local cloud: enough for two people to decide."""

from __future__ import annotations

SEEDED = {
    "paula": {"name": "Paula Preparer", "role": "preparer"},
    "pavel": {"name": "Pavel Preparer", "role": "preparer"},
    "amir": {"name": "Amir Approver", "role": "approver"},
    "anna": {"name": "Anna Approver", "role": "approver"},
}
PREPARER, APPROVER = "paula", "amir"
