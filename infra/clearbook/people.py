"""The first users: those of a local cloud, or those that are named for a real one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from infra.clearbook.context import now, services
from shared.control.approvals import APPROVER as MAY_APPROVE
from shared.control.approvals import PREPARER as MAY_PROPOSE
from shared.control.approvals import name_users, users
from shared.cycle import stamp
from shared.errors import BadInputError

# Of a local cloud: enough for two people to decide.
SEEDED = {
    "paula": {"name": "Paula Preparer", "role": MAY_PROPOSE},
    "pavel": {"name": "Pavel Preparer", "role": MAY_PROPOSE},
    "amir": {"name": "Amir Approver", "role": MAY_APPROVE},
    "anna": {"name": "Anna Approver", "role": MAY_APPROVE},
}
PREPARER, APPROVER = "paula", "amir"
_ID = re.compile(r"[a-z][a-z0-9._-]{0,63}", re.ASCII)


def name_first(preparers: Iterable[str], approvers: Iterable[str], home: Path | None) -> None:
    """Name them, and say who there is; people who were named before stay, and nobody else comes in."""
    named = people(preparers, approvers)
    is_local = home is not None or "CLEARBOOK_OSS_ENDPOINT" not in os.environ
    if not named and not is_local:
        remedy = "name at least one of each: --preparer ann='Ann Lee' --approver bob='Bob Ray'"
        raise BadInputError("init", "names nobody, and this is no local cloud", remedy)
    work = services(home)
    name_users(work.chain, named or SEEDED, stamp(now(home)))
    found = users(work.chain)
    for id_, user in found.items():
        print(f"{id_}: {user['name']}, {user['role']}")
    if found != (named or SEEDED):
        print("People had been named before: nothing was changed.")


def people(preparers: Iterable[str], approvers: Iterable[str]) -> Mapping[str, dict[str, str]]:
    """ID=NAME of each role as users; raises BadInputError where one cannot be right, or a role has nobody."""
    found: dict[str, dict[str, str]] = {}
    for role, said in ((MAY_PROPOSE, preparers), (MAY_APPROVE, approvers)):
        for one in said:
            id_, _, name = one.partition("=")
            if not _ID.fullmatch(id_) or not name.strip():
                expected = "write ID=NAME, the id in small letters, digits, '.', '_' and '-'"
                raise BadInputError(f"--{role}", f"is {one!r}", expected)
            if id_ in found:
                raise BadInputError(f"--{role}", f"names {id_} again", "nobody has both roles: two people decide")
            found[id_] = {"name": name.strip(), "role": role}
    if found and {one["role"] for one in found.values()} != {MAY_PROPOSE, MAY_APPROVE}:
        raise BadInputError("init", "names only one role", "name at least one --preparer and one --approver")
    return found
