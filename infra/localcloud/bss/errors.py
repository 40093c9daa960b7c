"""The service's refusals: HTTP status, code and text as Alibaba Cloud's gateway and BSS answer them."""

from __future__ import annotations


class BssError(Exception):
    """A call that the service refuses with an HTTP error."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message


class NotApplicableError(Exception):
    """A call that the service answers with HTTP 200 and Success false."""

    code = "NotApplicable"
    message = "This API is not applicable for caller."


def action_not_found(action: str) -> BssError:
    """The service's form for an action it does not have, said of one that only the local stand-in lacks."""
    return BssError(404, "InvalidAction.NotFound", f"{action} is not implemented here")


def invalid_version(version: str) -> BssError:
    """The API version is not the one served."""
    return BssError(400, "InvalidVersion", f"Specified parameter Version is not valid: {version!r}.")


def incomplete_signature(detail: str) -> BssError:
    """The request lacks something that a signed request carries."""
    text = "The request signature does not conform to Alibaba Cloud standards"
    return BssError(400, "IncompleteSignature", f"{text}: {detail}.")


def signature_does_not_match(string_to_sign: str) -> BssError:
    """Another secret, or another request, was signed."""
    text = "Specified signature is not matched with our calculation. server string to sign is:"
    return BssError(400, "SignatureDoesNotMatch", text + string_to_sign)


def unknown_access_key() -> BssError:
    """No account has the access key."""
    return BssError(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")


def malformed_timestamp() -> BssError:
    """x-acs-date is no instant in UTC."""
    return BssError(400, "InvalidTimeStamp.Format", "Specified time stamp or date value is not well formatted.")


def expired_timestamp() -> BssError:
    """x-acs-date is too far from now."""
    return BssError(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")


def nonce_used() -> BssError:
    """The request was seen before."""
    return BssError(400, "SignatureNonceUsed", "Specified signature nonce was used already.")


def throttled() -> BssError:
    """The main account's quota for the call is used up; the answer has no x-acs-retry-after header."""
    return BssError(400, "Throttling.User", "Request was denied due to user flow control.")


def missing_parameter(name: str) -> BssError:
    """A required parameter is absent."""
    return BssError(400, f"Missing{name}", f"{name} is mandatory for this action.")


def invalid_parameter(name: str, expected: str) -> BssError:
    """A parameter has a value that the call does not take."""
    return BssError(400, "InvalidParameter", f"The specified parameter {name} is not valid: expected {expected}.")


def internal_error() -> BssError:
    """Something that the service did not expect; its log says what."""
    return BssError(500, "InternalError", "The request processing has failed due to some unknown error.")
