"""Whether the caller may do what a request asks: its RAM actions and resources, and the refusal.

Which actions an operation needs is in the section "Permissions" of each operation's page; the answers are those of
help/en/oss/user-guide/0003-00000001 (nothing allows it) and 0003-00000201 (a statement denies it). A bucket policy
or ACL does not exist here: buckets are private.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from infra.localcloud.identity import Caller
from infra.localcloud.oss import errors
from infra.localcloud.oss.call import Call
from infra.localcloud.oss.documents import element
from infra.localcloud.ram.policy import Decision

# Operations whose action has another name.
_ACTIONS: Final[Mapping[str, str]] = {
    "ListObjectsV2": "ListObjects",
    "HeadBucket": "GetBucketInfo",
    "HeadObject": "GetObject",
    "GetObjectMeta": "GetObject",
    "CopyObject": "PutObject",
    "AppendObject": "PutObject",
    "InitiateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "UploadPartCopy": "PutObject",
    "CompleteMultipartUpload": "PutObject",
}
_COPIES: Final = frozenset({"CopyObject", "UploadPartCopy"})
_OF_OBJECTS: Final = frozenset({"ListObjects", "ListMultipartUploads"})


def check(call: Call, caller: Caller, operation: str) -> None:
    """Return when `caller` may perform `operation`; raise OSS's refusal otherwise."""
    if caller.role == "":
        return
    if operation == "DeleteMultipleObjects":
        raise errors.not_implemented("DeleteMultipleObjects by a role")
    context = {"oss:Prefix": call.params.get("prefix", ""), "oss:Delimiter": call.params.get("delimiter", "")}
    for action, resource in needs(call, operation):
        given = context if action == "oss:ListObjects" else None
        decision = call.endpoint.authority.decide(caller, action, resource, given)
        if decision is not Decision.ALLOWED:
            raise _refusal(call, caller, action, decision)


def needs(call: Call, operation: str) -> Iterator[tuple[str, str]]:
    """The actions a call needs, each with the resource it needs it on."""
    keys = call.endpoint.keys
    everything = f"acs:oss:oss-{keys.region}:{keys.account_id}:"
    target = f"{call.bucket_name}/{call.key}" if call.key else call.bucket_name or "*"
    yield f"oss:{_ACTIONS.get(operation, operation)}", everything + target
    if operation in _COPIES:
        yield "oss:GetObject", everything + unquote(call.headers.get("x-oss-copy-source", "")).lstrip("/")
    if "x-oss-tagging" in call.headers:  # help/zh/oss/support/0003-00000905
        yield "oss:PutObjectTagging", everything + target
    if "x-oss-object-acl" in call.headers:
        yield "oss:PutObjectAcl", everything + target


def _refusal(call: Call, caller: Caller, action: str, decision: Decision) -> errors.OssError:
    detail = {
        "PolicyType": "AccountLevelIdentityBasedPolicy",
        "AuthPrincipalOwnerId": call.endpoint.keys.account_id,
        "AuthPrincipalType": "AssumedRoleUser",
        "AuthPrincipalDisplayName": f"{caller.role}:{caller.function}",
        "NoPermissionType": decision.value,
        "AuthAction": action,
    }
    fields = {"AccessDeniedDetail": [element(name, value) for name, value in detail.items()]}
    if decision is Decision.EXPLICIT_DENY:
        return errors.access_denied("Access denied by bucket policy.", ec="0003-00000201", fields=fields)
    is_about_objects = call.key or action.removeprefix("oss:") in _OF_OBJECTS
    text = (
        "You have no right to access this object because of bucket acl."
        if is_about_objects
        else "The bucket you access does not belong to you."
    )
    return errors.access_denied(text, ec="0003-00000001", fields=fields)
