"""What people's own access keys may do: look at everything, hand files in, ask for pulls and settlements.

They cannot write a row, so nobody decides anything by a key: the chain is the functions' alone, and people decide
through the portal, signed in. Provisioning makes the policy; whom it is given to is for the account's owner to say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from infra.provision import permissions
from infra.provision.families import FAMILIES
from infra.provision.permissions import Permission
from infra.provision.tables import INDEXES, TABLES

NAME = "clearbook-operators"
_READS = ("ots:GetRow", "ots:BatchGetRow", "ots:GetRange")
# Bills and bank's answers that the commands hand in, the orders of `bill pull` and `settle`, and priced lines, which
# are named by what they were made of.
_WRITES = {"inbox": ("bills/", "payouts/"), "work": ("work/pull/", "work/settle/", "facts/")}


def policy(variables: Mapping[str, str]) -> dict[str, Any]:
    """The policy, its names filled in."""
    return permissions.resolved(permissions.document(_permissions()), variables)


def _permissions() -> Iterator[Permission]:
    for bucket in FAMILIES:
        name = f"acs:oss:*:${{account}}:${{buckets}}-{bucket}"
        yield Permission("oss:GetObject", f"{name}/*")
        yield Permission("oss:ListObjects", name, "*")
        for family in _WRITES.get(bucket, ()):
            yield Permission("oss:PutObject", f"{name}/{family}*")
    indexes = [index for of in INDEXES.values() for index in of]
    for table in (*TABLES, *indexes):
        name = f"acs:ots:${{region}}:${{account}}:instance/${{instance}}/table/{table}"
        for action in _READS:
            yield Permission(action, name)
