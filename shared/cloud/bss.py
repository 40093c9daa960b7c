"""The provider's bill over BSS OpenAPI 2017-12-14.

Only the generic client is used: the typed one reads amounts into floats and drops fields it does not know. The
client retries nothing by itself, and an HTTP 200 with Success false raises nothing; the body's reader checks that.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping

from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions
from Tea.exceptions import TeaException

from shared.cloud.credentials import AccessKey
from shared.ports import ServiceError

VERSION = "2017-12-14"
_CONNECT_TIMEOUT_MS, _READ_TIMEOUT_MS = 5_000, 30_000
# The quota is 10 calls a second per main account: after being refused, come back spread over the next second.
_ATTEMPTS = 40
_PAUSE_S, _PAUSE_S_MAX = 0.1, 0.8


class BssApi:
    """The bill calls of one payer account."""

    def __init__(self, endpoint: str, protocol: str, region: str, key: AccessKey) -> None:
        self._client = Client(
            Config(
                access_key_id=key.id,
                access_key_secret=key.secret,
                security_token=key.token or None,
                region_id=region,
                endpoint=endpoint,  # never by region: the client's own map would reach another site (facts, BSS)
                protocol=protocol,
                connect_timeout=_CONNECT_TIMEOUT_MS,
                read_timeout=_READ_TIMEOUT_MS,
            )
        )
        self._pause = random.Random()  # noqa: S311 - spreads retries, guards nothing

    def call(self, action: str, query: Mapping[str, str | int | bool]) -> bytes:
        """The raw JSON body of a successful HTTP answer; throttling is waited out, the rest raises ServiceError."""
        for attempt in range(_ATTEMPTS):
            try:
                return self._call(action, query)
            except TeaException as exc:
                # A TeaException's code may be None, and network failures are TeaExceptions too.
                if not str(exc.code).startswith("Throttling"):
                    raise _translated(action, query, exc) from exc
            ceiling = min(_PAUSE_S_MAX, _PAUSE_S * 2**attempt)
            time.sleep(self._pause.uniform(ceiling / 2, ceiling))
        raise ServiceError(
            f"cannot call {action}",
            f"the provider still throttles after {_ATTEMPTS} attempts",
            "run it again later; lower the reserved concurrency of pull_bill if this persists",
            retryable=True,
        )

    def _call(self, action: str, query: Mapping[str, str | int | bool]) -> bytes:
        params = Params(
            action=action, version=VERSION, protocol="HTTPS", pathname="/", method="POST", auth_type="AK", style="RPC",
            req_body_type="formData", body_type="byte",
        )  # fmt: skip
        text = {name: str(value) for name, value in query.items()}
        answer = self._client.call_api(params, OpenApiRequest(query=text), RuntimeOptions())
        return bytes(answer["body"])


def _translated(action: str, query: Mapping[str, object], exc: TeaException) -> ServiceError:
    doing = f"cannot call {action} for {query.get('BillingCycle', '')} {query.get('BillingDate', '')}".rstrip()
    status = getattr(exc, "status_code", None) or getattr(exc, "statusCode", None)
    if not isinstance(status, int):
        problem = f"the provider was not reached ({exc.message or exc})"
        return ServiceError(doing, problem, "check the endpoint, or run it again later", retryable=True)
    retryable = status >= 500
    remedy = "run it again later" if retryable else "check the connector's access key, its rights and its endpoint"
    return ServiceError(doing, f"the provider answers {status} {exc.code}: {exc.message}", remedy, retryable=retryable)
