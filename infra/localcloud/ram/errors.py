"""The refusals of RAM, beside those of the gateway; codes as its SDKs and tools handle them, texts from memory."""

from __future__ import annotations

from infra.localcloud.acs3 import RpcError


def no_role(name: str) -> RpcError:
    """There is no such role."""
    return RpcError(404, "EntityNotExist.Role", f"The role not exists: {name} .")


def role_exists(name: str) -> RpcError:
    """A role of that name is there already."""
    return RpcError(409, "EntityAlreadyExists.Role", f"The role already exists: {name} .")


def no_policy(name: str) -> RpcError:
    """There is no such policy."""
    return RpcError(404, "EntityNotExist.Policy", f"The policy does not exist: {name} .")


def policy_exists(name: str) -> RpcError:
    """A policy of that name is there already."""
    return RpcError(409, "EntityAlreadyExists.Policy", f"The policy already exists: {name} .")


def no_version(policy: str, version: str) -> RpcError:
    """The policy has no such version."""
    return RpcError(404, "EntityNotExist.Policy.Version", f"The policy version does not exist: {policy} {version} .")


def too_many_versions(policy: str, limit: int) -> RpcError:
    """The policy has as many versions as it may."""
    text = f"The count of policy versions beyond the current limits: {policy}, {limit}."
    return RpcError(409, "LimitExceeded.Policy.Version", text)


def default_version(policy: str, version: str) -> RpcError:
    """The version in force cannot be deleted."""
    text = f"The default policy version cannot be deleted: {policy} {version} ."
    return RpcError(409, "DeleteConflict.Policy.Version", text)


def attached(role: str, policy: str) -> RpcError:
    """The role has the policy already."""
    return RpcError(409, "EntityAlreadyExists.Role.Policy", f"The policy {policy} is already attached to {role} .")


def not_attached(role: str, policy: str) -> RpcError:
    """The role does not have the policy."""
    return RpcError(404, "EntityNotExist.Role.Policy", f"The policy {policy} is not attached to {role} .")


def malformed_policy(detail: str) -> RpcError:
    """The document is no policy."""
    return RpcError(400, "MalformedPolicyDocument", f"The policy document is malformed: {detail}.")


def malformed_trust(detail: str) -> RpcError:
    """The document does not say who may assume the role."""
    return RpcError(400, "MalformedPolicyDocument", f"The assume role policy document is malformed: {detail}.")


def invalid_parameter(name: str, expected: str) -> RpcError:
    """A parameter has a value that the call does not take."""
    return RpcError(400, f"InvalidParameter.{name}", f"The parameter {name} is not valid: expected {expected}.")


def missing_parameter(name: str) -> RpcError:
    """A required parameter is absent."""
    return RpcError(400, "MissingParameter", f"The input parameter {name} that is mandatory is missing.")
