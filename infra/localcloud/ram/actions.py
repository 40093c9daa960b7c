"""What RAM does when it is called: roles, custom policies with up to five versions, and their attachment.

Source: the API reference of RAM, version 2015-05-01. System policies, users and groups are not here.
"""

from __future__ import annotations

import json
import re
import secrets
import sqlite3
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from infra.localcloud.ram import errors, policy, state

VERSIONS_MAX = 5
SESSION_S = 3600
ROTATE = "DeleteOldestNonDefaultVersionWhenLimitExceeded"
PAGE_DEFAULT, PAGE_MAX = 100, 1000
_ROLE_NAME = re.compile(r"[A-Za-z0-9.-]{1,64}")
_POLICY_NAME = re.compile(r"[A-Za-z0-9-]{1,128}")

Answer = dict[str, Any]


class Parameters:
    """The parameters of a call; raises RpcError where one is missing or malformed. Empty means absent."""

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values

    def get(self, name: str) -> str | None:
        """The parameter, or None."""
        return self._values.get(name) or None

    def need(self, name: str) -> str:
        """The parameter."""
        value = self.get(name)
        if value is None:
            raise errors.missing_parameter(name)
        return value

    def named(self, name: str, pattern: re.Pattern[str]) -> str:
        """The parameter, which is a name."""
        value = self.need(name)
        if not pattern.fullmatch(value):
            raise errors.invalid_parameter(name, pattern.pattern)
        return value

    def custom(self) -> None:
        """Check that the policy is a custom one; there are no others here."""
        if self.need("PolicyType") != "Custom":
            raise errors.invalid_parameter("PolicyType", "Custom; system policies are not implemented here")

    def flag(self, name: str) -> bool:
        """A boolean; SDKs write it as `true`, `True` and likewise."""
        text = (self.get(name) or "false").lower()
        if text not in ("true", "false"):
            raise errors.invalid_parameter(name, "true or false")
        return text == "true"

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        text = self.get(name)
        if text is None:
            return default
        if not (text.isascii() and text.isdecimal()) or not low <= int(text) <= high:
            raise errors.invalid_parameter(name, f"a number from {low} to {high}")
        return int(text)


class Ram:
    """The actions over one database; each call is one transaction."""

    def __init__(self, connection: sqlite3.Connection, account_id: str) -> None:
        self._db, self._account = connection, account_id
        self.actions: Mapping[str, Callable[[Parameters], Answer]] = {
            "CreateRole": self._create_role,
            "GetRole": self._get_role,
            "UpdateRole": self._update_role,
            "ListRoles": self._list_roles,
            "CreatePolicy": self._create_policy,
            "GetPolicy": self._get_policy,
            "CreatePolicyVersion": self._create_version,
            "GetPolicyVersion": self._get_version,
            "ListPolicyVersions": self._list_versions,
            "SetDefaultPolicyVersion": self._set_default,
            "DeletePolicyVersion": self._delete_version,
            "AttachPolicyToRole": self._attach,
            "DetachPolicyFromRole": self._detach,
            "ListPoliciesForRole": self._policies_of,
        }

    def call(self, action: str, parameters: Parameters) -> Answer:
        """Perform one action, wholly or not at all."""
        with state.transaction(self._db):
            return self.actions[action](parameters)

    # Roles

    def _create_role(self, said: Parameters) -> Answer:
        name = said.named("RoleName", _ROLE_NAME)
        trust = _trust(said.need("AssumeRolePolicyDocument"))
        if self._db.execute("SELECT 1 FROM role WHERE name = ?", (name,)).fetchone() is not None:
            raise errors.role_exists(name)
        session_s = said.number("MaxSessionDuration", SESSION_S, 3600, 43200)
        id_ = "3" + str(secrets.randbelow(10**17)).zfill(17)
        now = _now()
        self._db.execute(
            "INSERT INTO role VALUES(?,?,?,?,?,?,?)",
            (name, id_, said.get("Description") or "", trust, now, now, session_s),
        )
        return {"Role": self._role(name)}

    def _get_role(self, said: Parameters) -> Answer:
        return {"Role": self._role(said.need("RoleName"))}

    def _update_role(self, said: Parameters) -> Answer:
        name = said.need("RoleName")
        self._role(name)
        trust, description = said.get("NewAssumeRolePolicyDocument"), said.get("NewDescription")
        if trust is not None:
            self._db.execute("UPDATE role SET trust = ? WHERE name = ?", (_trust(trust), name))
        if description is not None:
            self._db.execute("UPDATE role SET description = ? WHERE name = ?", (description, name))
        self._db.execute("UPDATE role SET updated = ? WHERE name = ?", (_now(), name))
        return {"Role": self._role(name)}

    def _list_roles(self, said: Parameters) -> Answer:
        size = said.number("MaxItems", PAGE_DEFAULT, 1, PAGE_MAX)
        rows = self._db.execute(
            "SELECT name FROM role WHERE name > ? ORDER BY name LIMIT ?", (said.get("Marker") or "", size + 1)
        ).fetchall()
        roles = [self._role(name) for (name,) in rows[:size]]
        for role in roles:
            del role["AssumeRolePolicyDocument"]  # a list does not tell it
        more = {"Marker": rows[size - 1][0]} if len(rows) > size else {}
        return {"Roles": {"Role": roles}, "IsTruncated": len(rows) > size, **more}

    def _role(self, name: str) -> Answer:
        row = self._db.execute("SELECT * FROM role WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise errors.no_role(name)
        return {
            "RoleId": row["id"],
            "RoleName": name,
            "RolePrincipalName": f"{name}@role.{self._account}.onaliyunservice.com",
            "Arn": f"acs:ram::{self._account}:role/{name.lower()}",
            "Description": row["description"],
            "AssumeRolePolicyDocument": row["trust"],
            "CreateDate": row["created"],
            "UpdateDate": row["updated"],
            "MaxSessionDuration": row["session_s"],
        }

    # Policies

    def _create_policy(self, said: Parameters) -> Answer:
        name, document = said.named("PolicyName", _POLICY_NAME), _document(said.need("PolicyDocument"))
        if self._db.execute("SELECT 1 FROM policy WHERE name = ?", (name,)).fetchone() is not None:
            raise errors.policy_exists(name)
        now = _now()
        self._db.execute("INSERT INTO policy VALUES(?,?,?,?,'v1',1)", (name, said.get("Description") or "", now, now))
        self._db.execute("INSERT INTO version VALUES(?,'v1',?,?)", (name, document, now))
        return {"Policy": self._policy(name)}

    def _get_policy(self, said: Parameters) -> Answer:
        said.custom()
        found = self._policy(said.need("PolicyName"))
        return {
            "Policy": found,
            "DefaultPolicyVersion": self._version(found["PolicyName"], found["DefaultVersion"]),
        }

    def _create_version(self, said: Parameters) -> Answer:
        name, document = said.need("PolicyName"), _document(said.need("PolicyDocument"))
        current = self._policy(name)["DefaultVersion"]
        versions = self._versions(name)
        if len(versions) >= VERSIONS_MAX:
            if said.get("RotateStrategy") != ROTATE:
                raise errors.too_many_versions(name, VERSIONS_MAX)
            oldest = next(one for one in versions if one != current)
            self._db.execute("DELETE FROM version WHERE policy = ? AND id = ?", (name, oldest))
        number = self._db.execute(
            "UPDATE policy SET last = last + 1, updated = ? WHERE name = ? RETURNING last", (_now(), name)
        ).fetchone()[0]
        self._db.execute("INSERT INTO version VALUES(?,?,?,?)", (name, f"v{number}", document, _now()))
        if said.flag("SetAsDefault"):
            self._db.execute("UPDATE policy SET current = ? WHERE name = ?", (f"v{number}", name))
        return {"PolicyVersion": self._version(name, f"v{number}")}

    def _get_version(self, said: Parameters) -> Answer:
        said.custom()
        name = self._policy(said.need("PolicyName"))["PolicyName"]
        return {"PolicyVersion": self._version(name, said.need("VersionId"))}

    def _list_versions(self, said: Parameters) -> Answer:
        said.custom()
        name = self._policy(said.need("PolicyName"))["PolicyName"]
        versions = [self._version(name, id_) for id_ in reversed(self._versions(name))]
        return {"PolicyVersions": {"PolicyVersion": versions}}

    def _set_default(self, said: Parameters) -> Answer:
        name = self._policy(said.need("PolicyName"))["PolicyName"]
        version = self._version(name, said.need("VersionId"))["VersionId"]
        self._db.execute("UPDATE policy SET current = ?, updated = ? WHERE name = ?", (version, _now(), name))
        return {}

    def _delete_version(self, said: Parameters) -> Answer:
        found = self._policy(said.need("PolicyName"))
        name, version = found["PolicyName"], self._version(found["PolicyName"], said.need("VersionId"))["VersionId"]
        if version == found["DefaultVersion"]:
            raise errors.default_version(name, version)
        self._db.execute("DELETE FROM version WHERE policy = ? AND id = ?", (name, version))
        return {}

    def _policy(self, name: str) -> Answer:
        row = self._db.execute("SELECT * FROM policy WHERE name = ?", (name,)).fetchone()
        if row is None:
            raise errors.no_policy(name)
        count = self._db.execute("SELECT count(*) FROM attachment WHERE policy = ?", (name,)).fetchone()[0]
        return {
            "PolicyName": name,
            "PolicyType": "Custom",
            "Description": row["description"],
            "DefaultVersion": row["current"],
            "CreateDate": row["created"],
            "UpdateDate": row["updated"],
            "AttachmentCount": count,
        }

    def _versions(self, policy_name: str) -> list[str]:
        """The ids of a policy's versions, oldest first."""
        rows = self._db.execute("SELECT id FROM version WHERE policy = ?", (policy_name,))
        return sorted((id_ for (id_,) in rows), key=lambda id_: int(id_[1:]))

    def _version(self, policy_name: str, id_: str) -> Answer:
        row = self._db.execute(
            "SELECT version.*, policy.current FROM version JOIN policy ON policy.name = version.policy "
            "WHERE policy = ? AND id = ?",
            (policy_name, id_),
        ).fetchone()
        if row is None:
            raise errors.no_version(policy_name, id_)
        return {
            "VersionId": id_,
            "IsDefaultVersion": row["current"] == id_,
            "PolicyDocument": row["document"],
            "CreateDate": row["created"],
        }

    # Which role has which policy

    def _attach(self, said: Parameters) -> Answer:
        role, name = self._pair(said)
        try:
            self._db.execute("INSERT INTO attachment VALUES(?,?,?)", (role, name, _now()))
        except sqlite3.IntegrityError:
            raise errors.attached(role, name) from None
        return {}

    def _detach(self, said: Parameters) -> Answer:
        role, name = self._pair(said)
        done = self._db.execute("DELETE FROM attachment WHERE role = ? AND policy = ?", (role, name))
        if done.rowcount == 0:
            raise errors.not_attached(role, name)
        return {}

    def _policies_of(self, said: Parameters) -> Answer:
        role = self._role(said.need("RoleName"))["RoleName"]
        rows = self._db.execute("SELECT policy, at FROM attachment WHERE role = ? ORDER BY policy", (role,)).fetchall()
        return {"Policies": {"Policy": [{**self._attached(name), "AttachDate": at} for name, at in rows]}}

    def _attached(self, name: str) -> Answer:
        found = self._policy(name)
        return {key: found[key] for key in ("PolicyName", "PolicyType", "Description", "DefaultVersion")}

    def _pair(self, said: Parameters) -> tuple[str, str]:
        said.custom()
        role = self._role(said.need("RoleName"))["RoleName"]
        return role, self._policy(said.need("PolicyName"))["PolicyName"]


def _document(text: str) -> str:
    try:
        policy.parse(text)
    except policy.PolicyError as exc:
        raise errors.malformed_policy(str(exc)) from exc
    return text


def _trust(text: str) -> str:
    """A trust policy: who may assume the role. Kept as it was given."""
    try:
        statements = json.loads(text)["Statement"]
        for one in statements:
            if one["Action"] != "sts:AssumeRole" or one["Effect"] not in ("Allow", "Deny") or not one["Principal"]:
                raise ValueError("a statement needs Effect, Action sts:AssumeRole and Principal")
    except (ValueError, KeyError, TypeError) as exc:
        raise errors.malformed_trust(str(exc)) from exc
    return text


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
