"""The refusals of Log Service: status, code and text (help.aliyun.com/en/sls, "Error codes" of each operation)."""

from __future__ import annotations


class SlsError(Exception):
    """A call that is refused."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status, self.code, self.message = status, code, message


def unauthorized(message: str) -> SlsError:
    """The caller is not who it says."""
    return SlsError(401, "Unauthorized", message)


def signature_not_match(signature: str) -> SlsError:
    """Another secret, or another request, was signed."""
    return SlsError(401, "SignatureNotMatch", f"signature {signature} not match")


def time_expired() -> SlsError:
    """The request was signed too long ago, or too far ahead."""
    return SlsError(400, "RequestTimeExpired", "The time interval between request time and server time is too long")


def no_project(name: str) -> SlsError:
    """There is no such project."""
    return SlsError(404, "ProjectNotExist", f"The Project does not exist : {name}")


def project_exists(name: str) -> SlsError:
    """A project of that name is there already."""
    return SlsError(400, "ProjectAlreadyExist", f"Project {name} already exist")


def no_logstore(name: str) -> SlsError:
    """There is no such logstore."""
    return SlsError(404, "LogStoreNotExist", f"logstore {name} does not exist")


def logstore_exists(name: str) -> SlsError:
    """A logstore of that name is there already."""
    return SlsError(400, "LogStoreAlreadyExist", f"logstore {name} already exists")


def no_index() -> SlsError:
    """The logstore has no index."""
    return SlsError(404, "IndexConfigNotExist", "index config doesn't exist")


def index_exists() -> SlsError:
    """The logstore has an index already."""
    return SlsError(400, "IndexAlreadyExist", "log store index is already created")


def invalid(message: str) -> SlsError:
    """A parameter or body that the call does not take."""
    return SlsError(400, "ParameterInvalid", message)


def not_implemented(what: str) -> SlsError:
    """The service can do it, this stand-in cannot; the text is ours."""
    return SlsError(501, "NotImplemented", f"{what} is not implemented here")
