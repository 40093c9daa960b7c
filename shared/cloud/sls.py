"""The log project and logstore that functions write into, for provisioning alone: no function may.

The client is an extra dependency (`clearbook[deploy]`), imported when it is first used.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from shared.cloud.credentials import AccessKey
from shared.errors import SettingError
from shared.ports import ServiceError

SHARDS = 2


class LogAdmin:
    """One project."""

    def __init__(self, endpoint: str, region: str, project: str, key: AccessKey) -> None:
        try:
            from aliyun.log import LogClient
        except ImportError as exc:
            raise SettingError(
                "clearbook[deploy]", "is not installed", "install it: pip install 'clearbook[deploy]'"
            ) from exc
        self.project = project
        # `source` is only for logs that are sent; without it the client looks its host name up.
        client: Any = LogClient(endpoint, key.id, key.secret, key.token or None, "", "v4", region)
        # A project's name goes before the host name, which an address cannot bear. The client (0.9.52) knows that,
        # but takes an address with a scheme or a port for a name.
        client._isRowIp = _is_address(endpoint)
        self._client = client

    def exists(self) -> bool:
        """Whether the project is there, and ours to see."""
        return self._find(lambda: self._client.get_project(self.project), "ProjectNotExist") is not None

    def create(self) -> None:
        """Create the project."""
        with _translated(f"create log project {self.project}"):
            self._client.create_project(self.project, "logs of Clearbook's functions")

    def retention_days(self, store: str) -> int | None:
        """How long a logstore keeps its logs; None when there is no such logstore."""
        found = self._find(
            lambda: self._client.get_logstore(self.project, store), "LogStoreNotExist", "ProjectNotExist"
        )
        return None if found is None else int(found.ttl)

    def create_store(self, store: str, days: int) -> None:
        """Create a logstore that keeps its logs for `days`."""
        with _translated(f"create logstore {store} of {self.project}"):
            self._client.create_logstore(self.project, store, ttl=days, shard_count=SHARDS)

    def is_indexed(self, store: str) -> bool:
        """Whether a logstore can be searched."""
        missing = ("IndexConfigNotExist", "LogStoreNotExist", "ProjectNotExist")
        return self._find(lambda: self._client.get_index_config(self.project, store), *missing) is not None

    def index(self, store: str, days: int) -> None:
        """Index the whole text of a logstore, so that it can be searched."""
        from aliyun.log import IndexConfig, IndexLineConfig

        line = IndexLineConfig([",", " ", "'", '"', ";", "=", "(", ")", "[", "]", "{", "}", ":", "\n", "\t", "\r"])
        with _translated(f"index logstore {store} of {self.project}"):
            self._client.create_index(self.project, store, IndexConfig(days, line_config=line))

    def _find(self, ask: Callable[[], Any], *missing: str) -> Any:
        """What is asked for, or None where the service answers that it is missing."""
        from aliyun.log import LogException

        with _translated(f"look at log project {self.project}"):
            try:
                return ask()
            except LogException as exc:
                if exc.get_error_code() in missing:
                    return None
                raise


def _is_address(endpoint: str) -> bool:
    host = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@contextmanager
def _translated(doing: str) -> Iterator[None]:
    from aliyun.log import LogException

    try:
        yield
    except LogException as exc:
        raise _service_error(doing, exc) from exc


def _service_error(doing: str, exc: Any) -> ServiceError:
    code, status = str(exc.get_error_code()), exc.resp_status
    if code == "LogRequestError":  # its own code, with a made-up status
        problem = f"Log Service was not reached ({exc.get_error_message()})"
        remedy = "check CLEARBOOK_SLS_ENDPOINT and CLEARBOOK_REGION"
        return ServiceError(f"cannot {doing}", problem, remedy, retryable=True)
    remedy = "check the access key, its rights, CLEARBOOK_REGION and CLEARBOOK_SLS_ENDPOINT"
    if code == "ProjectAlreadyExist":
        remedy = "it is another account's, as all accounts share the names: set CLEARBOOK_LOG_PROJECT to another"
    problem = f"Log Service answers {status} {code}: {exc.get_error_message()}"
    return ServiceError(f"cannot {doing}", problem, remedy, retryable=False)
