"""Roles and policies in RAM, for provisioning alone: no function may.

Only the generic client is used, as for the bill. RAM is one service for all regions; a change takes some seconds to
reach the services that ask it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions
from Tea.exceptions import TeaException

from shared.cloud.credentials import AccessKey
from shared.ports import ServiceError

VERSION = "2015-05-01"
VERSIONS_MAX = 5  # of one policy
_CONNECT_MS, _READ_MS = 10_000, 30_000


@dataclass(frozen=True, slots=True)
class Attached:
    """A policy that a role has; `kind` is Custom or System."""

    name: str
    kind: str


class RoleAdmin:
    """The roles and custom policies of the account that `key` is of."""

    def __init__(self, endpoint: str, protocol: str, key: AccessKey) -> None:
        self._client = Client(
            Config(
                access_key_id=key.id,
                access_key_secret=key.secret,
                security_token=key.token or None,
                endpoint=endpoint,
                protocol=protocol,
            )
        )

    def trust(self, role: str) -> Mapping[str, Any] | None:
        """Who may assume a role, as its trust policy says; None when there is no such role."""
        found = self._find("GetRole", {"RoleName": role})
        return None if found is None else dict(json.loads(found["Role"]["AssumeRolePolicyDocument"]))

    def create_role(self, role: str, trust: Mapping[str, Any], description: str) -> None:
        """Create a role."""
        query = {"RoleName": role, "AssumeRolePolicyDocument": json.dumps(trust), "Description": description}
        self._call("CreateRole", query)

    def policy(self, name: str) -> Mapping[str, Any] | None:
        """A custom policy's document in force; None when there is no such policy."""
        found = self._find("GetPolicy", {"PolicyName": name, "PolicyType": "Custom"})
        return None if found is None else dict(json.loads(found["DefaultPolicyVersion"]["PolicyDocument"]))

    def create_policy(self, name: str, document: Mapping[str, Any], description: str) -> None:
        """Create a custom policy."""
        query = {"PolicyName": name, "PolicyDocument": _compact(document), "Description": description}
        self._call("CreatePolicy", query)

    def replace_policy(self, name: str, document: Mapping[str, Any]) -> None:
        """Put a new version of a custom policy in force; the oldest other one goes when there are as many as may be."""
        found = self._call("ListPolicyVersions", {"PolicyName": name, "PolicyType": "Custom"})
        versions = found["PolicyVersions"]["PolicyVersion"]
        if len(versions) >= VERSIONS_MAX:
            others = [one["VersionId"] for one in versions if not one["IsDefaultVersion"]]
            oldest = min(others, key=lambda id_: int(id_.removeprefix("v")))
            self._call("DeletePolicyVersion", {"PolicyName": name, "VersionId": oldest})
        query = {"PolicyName": name, "PolicyDocument": _compact(document), "SetAsDefault": "true"}
        self._call("CreatePolicyVersion", query)

    def attached(self, role: str) -> list[Attached]:
        """The policies a role has."""
        found = self._call("ListPoliciesForRole", {"RoleName": role})["Policies"]["Policy"]
        return [Attached(one["PolicyName"], one["PolicyType"]) for one in found]

    def attach(self, role: str, policy: str) -> None:
        """Give a role a custom policy."""
        self._call("AttachPolicyToRole", {"RoleName": role, "PolicyName": policy, "PolicyType": "Custom"})

    def _find(self, action: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        try:
            return self._call(action, query)
        except ServiceError as exc:
            cause = exc.__cause__
            if isinstance(cause, TeaException) and str(cause.code).startswith("EntityNotExist"):
                return None
            raise

    def _call(self, action: str, query: Mapping[str, str]) -> dict[str, Any]:
        params = Params(
            action=action, version=VERSION, protocol="HTTPS", pathname="/", method="POST", auth_type="AK", style="RPC",
            req_body_type="formData", body_type="json",
        )  # fmt: skip
        runtime = RuntimeOptions(connect_timeout=_CONNECT_MS, read_timeout=_READ_MS)
        subject = query.get("RoleName") or query.get("PolicyName") or ""
        try:
            answer = self._client.call_api(params, OpenApiRequest(query=dict(query)), runtime)
        except TeaException as exc:
            doing = f"cannot call {action} of RAM for {subject}"
            status = getattr(exc, "status_code", None) or getattr(exc, "statusCode", None)
            if not isinstance(status, int):
                problem, remedy = f"RAM was not reached ({exc.message or exc})", "check CLEARBOOK_RAM_ENDPOINT"
                raise ServiceError(doing, problem, remedy, retryable=True) from exc
            remedy = "use an access key whose owner may administer RAM"
            problem = f"RAM answers {status} {exc.code}: {exc.message}"
            raise ServiceError(doing, problem, remedy, retryable=status >= 500) from exc
        return dict(answer["body"])


def _compact(document: Mapping[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
