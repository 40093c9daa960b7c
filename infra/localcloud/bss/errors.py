"""The service's refusals: HTTP status, code and text as Alibaba Cloud's gateway and BSS answer them."""

from __future__ import annotations

from infra.localcloud import acs3

BssError = acs3.RpcError
action_not_found = acs3.action_not_found
invalid_version = acs3.invalid_version
unknown_access_key = acs3.unknown_access_key
signature_does_not_match = acs3.signature_does_not_match
throttled = acs3.throttled
internal_error = acs3.internal_error


class NotApplicableError(Exception):
    """A call that the service answers with HTTP 200 and Success false."""

    code = "NotApplicable"
    message = "This API is not applicable for caller."


def missing_parameter(name: str) -> BssError:
    """A required parameter is absent."""
    return BssError(400, f"Missing{name}", f"{name} is mandatory for this action.")


def invalid_parameter(name: str, expected: str) -> BssError:
    """A parameter has a value that the call does not take."""
    return BssError(400, "InvalidParameter", f"The specified parameter {name} is not valid: expected {expected}.")


def tag_values_without_key() -> BssError:
    """Values of a tag filter that belong to no key (documented of DescribeSplitItemBill)."""
    return BssError(400, "InvalidParameter.TagValues", "TagValues must be specified together with TagKey.")


def dump_role_missing(owner: str) -> BssError:
    """The owner of the bucket did not let the service write to it; which code says so is not documented."""
    text = f"This API is not authorized for caller: {owner} has not granted AliyunConsumeDump2OSSRole."
    return BssError(400, "NotAuthorized", text)


def subscribed_already(subscribe_type: str, bucket: str, path: str) -> BssError:
    """Files of the kind go elsewhere or have another form; what the service says then is not documented."""
    place = f"{bucket}/{path}" if path else bucket
    text = f"{subscribe_type} is subscribed to already, into {place}; unsubscribe first."
    return BssError(400, "InvalidParameter", text)


def invalid_token() -> BssError:
    """A security token that was not issued, or goes with another key."""
    return BssError(400, "InvalidSecurityToken.Malformed", "Specified SecurityToken is malformed.")


def expired_token() -> BssError:
    """A security token that was good once."""
    return BssError(400, "InvalidSecurityToken.Expired", "Specified SecurityToken is expired.")


def owner_not_of_caller() -> BssError:
    """An account that is no sub-account of the caller's."""
    return BssError(400, "InvalidOwner", "The specified owner doesn't belong to caller.")
