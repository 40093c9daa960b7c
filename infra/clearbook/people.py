"""The first users: those of a local cloud, or those that are named for a real one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from shared.control.approvals import APPROVER as MAY_APPROVE
from shared.control.approvals import PREPARER as MAY_PROPOSE
from shared.errors import BadInputError

# Of a local cloud: enough for two people to decide.
SEEDED = {
    "paula": {"name": "Paula Preparer", "role": MAY_PROPOSE},
    "pavel": {"name": "Pavel Preparer", "role": MAY_PROPOSE},
    "amir": {"name": "Amir Approver", "role": MAY_APPROVE},
    "anna": {"name": "Anna Approver", "role": MAY_APPROVE},
}
PREPARER, APPROVER = "paula", "amir"
OWNER = "owner"  # of a local cloud: who names the first people


def name_first(preparers: Iterable[str], approvers: Iterable[str], by: str, home: Path | None) -> None:
    """Name them, and say who there is; people who were named before stay, and nobody else comes in."""
    from infra.clearbook import remote

    named = people(preparers, approvers)
    is_local = home is not None or "CLEARBOOK_OSS_ENDPOINT" not in os.environ
    if not named and not is_local:
        remedy = "name at least one of each: --preparer ann='Ann Lee' --approver bob='Bob Ray'"
        raise BadInputError("init", "names nobody, and this is no local cloud", remedy)
    found = remote.portal(home, by).post("/v1/init", {"users": named or SEEDED})
    for id_, user in found["users"].items():
        print(f"{id_}: {user['name']}, {user['role']}")
    if not found["named"]:
        print("People had been named before: nothing was changed.")


def people(preparers: Iterable[str], approvers: Iterable[str]) -> Mapping[str, dict[str, str]]:
    """ID=NAME of each role as users; raises BadInputError where one cannot be right, or a role has nobody."""
    from shared.steps.acts.grants import USER

    found: dict[str, dict[str, str]] = {}
    for role, said in ((MAY_PROPOSE, preparers), (MAY_APPROVE, approvers)):
        for one in said:
            id_, _, name = one.partition("=")
            if not USER.fullmatch(id_) or not name.strip():
                expected = "write ID=NAME, the id as the person's tokens name it (their subject)"
                raise BadInputError(f"--{role}", f"is {one!r}", expected)
            if id_ in found:
                raise BadInputError(f"--{role}", f"names {id_} again", "nobody has both roles: two people decide")
            found[id_] = {"name": name.strip(), "role": role}
    if found and {one["role"] for one in found.values()} != {MAY_PROPOSE, MAY_APPROVE}:
        raise BadInputError("init", "names only one role", "name at least one --preparer and one --approver")
    return found
