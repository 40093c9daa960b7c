"""Access keys of roles in payers' accounts, assumed with the function's own key.

Only the generic client is used, as for the bill (STS 2015-04-01). A key is good for an hour and is assumed anew
before it ends.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from datetime import datetime

from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions
from Tea.exceptions import TeaException

from shared.cloud.credentials import AccessKey, KeySource
from shared.cloud.patience import PassingError, Patience
from shared.ports import ServiceError

VERSION = "2015-04-01"
LIFE_S = 3600  # the longest that a role gives unless its owner raises it
_RENEW_S = 300  # before it ends: what is begun with the old key still gets through
_SESSION = re.compile(r"[^A-Za-z0-9.@_-]")


class AssumedRole:
    """The key of `role`, asked for when it is first needed; a KeySource. `session` names who acts in the logs."""

    def __init__(
        self, endpoint: str, protocol: str, region: str, own: KeySource, role: str, session: str,
        patience: Patience | None = None, clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self._endpoint, self._protocol, self._region, self._own = endpoint, protocol, region, own
        self._role, self._session = role, _SESSION.sub("-", session)[:64].ljust(2, "-")
        self._patience, self._clock = patience or Patience(), clock
        self._key: AccessKey | None = None
        self._ends = 0.0
        self._lock = threading.Lock()

    def __call__(self) -> AccessKey:
        """The key that is good now; raises ServiceError where the role is not given."""
        with self._lock:
            if self._key is None or self._clock() > self._ends - _RENEW_S:
                self._key, self._ends = self._patience.persist(lambda _: self._assume())
            return self._key

    def _assume(self) -> tuple[AccessKey, float]:
        doing = f"cannot assume role {self._role}"
        try:
            answer = self._call()
        except TeaException as exc:
            raise _translated(doing, exc) from exc
        try:
            given = json.loads(answer)["Credentials"]
            key = AccessKey(given["AccessKeyId"], given["AccessKeySecret"], given["SecurityToken"])
            return key, datetime.fromisoformat(given["Expiration"]).timestamp()
        except (ValueError, KeyError, TypeError) as exc:
            raise PassingError(
                doing, f"the answer of STS holds no credentials ({exc!r})", "run it again later"
            ) from exc

    def _call(self) -> bytes:
        own = self._own()
        client = Client(
            Config(
                access_key_id=own.id,
                access_key_secret=own.secret,
                security_token=own.token or None,
                region_id=self._region,
                endpoint=self._endpoint,
                protocol=self._protocol,
            )
        )
        params = Params(
            action="AssumeRole", version=VERSION, protocol="HTTPS", pathname="/", method="POST", auth_type="AK",
            style="RPC", req_body_type="formData", body_type="byte",
        )  # fmt: skip
        connect_s, read_s = self._patience.timeouts_s()
        runtime = RuntimeOptions(connect_timeout=int(connect_s * 1000), read_timeout=int(read_s * 1000))
        query = {"RoleArn": self._role, "RoleSessionName": self._session, "DurationSeconds": str(LIFE_S)}
        return bytes(client.call_api(params, OpenApiRequest(query=query), runtime)["body"])


def _translated(doing: str, exc: TeaException) -> ServiceError:
    code = str(exc.code)
    status = getattr(exc, "status_code", None) or getattr(exc, "statusCode", None)
    if not isinstance(status, int):
        return PassingError(doing, f"STS was not reached ({exc.message or exc})", "check CLEARBOOK_STS_ENDPOINT")
    problem = f"STS answers {status} {code}: {exc.message}"
    if code.startswith("Throttling"):
        return PassingError(doing, problem, "run it again later", is_throttling=True)
    if status >= 500:
        return PassingError(doing, problem, "run it again later")
    remedy = "check the role's name, that it trusts this account, and that the function may call sts:AssumeRole on it"
    return ServiceError(doing, problem, remedy, retryable=False)
