"""The provider's bill over BSS OpenAPI 2017-12-14.

Only the generic client is used: the typed one reads amounts into floats and drops fields it does not know. The
client retries nothing by itself. It asks the proxy of HTTP_PROXY and HTTPS_PROXY for every host, loopback too,
whatever NO_PROXY says: leave them unset in a function's environment unless all of it goes through that proxy.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping

from alibabacloud_tea_openapi.client import Client
from alibabacloud_tea_openapi.models import Config, OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions
from Tea.exceptions import TeaException

from shared.cloud.credentials import AccessKey, KeySource
from shared.cloud.patience import Pace, PassingError, Patience
from shared.cloud.places import Places
from shared.ports import ServiceError

VERSION = "2017-12-14"
# DescribeInstanceBill, per main account (its own page); a second's margin for calls that arrive closer together.
SHARED_QUOTA = "DescribeInstanceBill"
CALLS_PER_S = 10
WINDOW_S = 1.05
_HOLD_S = 0.1
# HTTP 200 with Success false is an answer, and final: its reader keeps it and says what to check. It is asked again
# only where the code blames a state of the provider's that passes by itself; no code for these is documented.
_PASSING_CODES = ("InternalError", "SystemError", "SystemBusy", "ServiceUnavailable", "ServiceTimeout", "Throttling")
_NO_SUCCESS = re.compile(rb'"Success"\s*:\s*false')
# Signed anew, with another nonce and the time of then, a call may pass.
_SIGNED_ANEW = ("SignatureDoesNotMatch", "SignatureNonceUsed", "IncompleteSignature", "InvalidTimeStamp",
                "InvalidSecurityToken")  # fmt: skip


class BssApi:
    """The bill calls of one payer account.

    `pace` is shared by all that call for it in this process, `places` by all instances: only DescribeInstanceBill has
    a quota that instances would exceed together. The key is asked for before each call, as it may be temporary.
    """

    def __init__(
        self, endpoint: str, protocol: str, region: str, key: AccessKey | KeySource,
        patience: Patience | None = None, pace: Pace | None = None, places: Places | None = None,
    ) -> None:  # fmt: skip
        self._patience, self._pace = patience or Patience(), pace or Pace(CALLS_PER_S, WINDOW_S)
        self._places = places
        self._keys: KeySource = (lambda: key) if isinstance(key, AccessKey) else key
        self._endpoint, self._protocol, self._region = endpoint, protocol, region
        self._made: tuple[AccessKey, Client] | None = None

    def call(self, action: str, query: Mapping[str, str | int | bool]) -> bytes:
        """The raw JSON body of a successful HTTP answer; what does not pass within the time left raises ServiceError.

        The body may still say Success false: its reader checks that. Every call reads, so any may be repeated.
        """
        doing = f"cannot call {action} for {query.get('BillingCycle', '')} {query.get('BillingDate', '')}".rstrip()

        def once(_: bool) -> bytes:
            client = self._client()  # first: a role's key may have to be assumed, and a place in time does not wait
            self._keep_pace(doing, action)
            try:
                body = self._call(client, action, query)
            except TeaException as exc:
                error = _translated(doing, exc)
                if isinstance(error, PassingError) and error.is_throttling:
                    self._pace.hold_until(self._patience.clock() + max(_HOLD_S, error.after_s))
                raise error from exc
            _refuse_passing(doing, body)
            return body

        return self._patience.persist(once)

    def _keep_pace(self, doing: str, action: str) -> None:
        self._wait(doing, self._pace.wait_s(self._patience.clock()))
        if self._places is not None and action == SHARED_QUOTA:
            self._wait(doing, self._places.wait_s(doing))

    def _wait(self, doing: str, wait_s: float) -> None:
        if wait_s <= 0:
            return
        if wait_s >= self._patience.deadline.left_s() or wait_s > self._patience.total_s:
            problem = f"the provider's quota has no place for it in the next {wait_s:.0f} s"
            raise ServiceError(doing, problem, "it is asked again later", retryable=True)
        self._patience.sleep(wait_s)

    def _call(self, client: Client, action: str, query: Mapping[str, str | int | bool]) -> bytes:
        params = Params(
            action=action, version=VERSION, protocol="HTTPS", pathname="/", method="POST", auth_type="AK", style="RPC",
            req_body_type="formData", body_type="byte",
        )  # fmt: skip
        connect_s, read_s = self._patience.timeouts_s()
        runtime = RuntimeOptions(connect_timeout=int(connect_s * 1000), read_timeout=int(read_s * 1000))
        text = {name: str(value) for name, value in query.items()}
        answer = client.call_api(params, OpenApiRequest(query=text), runtime)
        return bytes(answer["body"])

    def _client(self) -> Client:
        """The client that signs with the key that is good now."""
        key = self._keys()
        if self._made is None or self._made[0] != key:
            config = Config(
                access_key_id=key.id,
                access_key_secret=key.secret,
                security_token=key.token or None,
                region_id=self._region,
                endpoint=self._endpoint,  # never by region: the client's own map would reach another site (facts, BSS)
                protocol=self._protocol,
            )
            self._made = key, Client(config)
        return self._made[1]


def _translated(doing: str, exc: TeaException) -> ServiceError:
    # A TeaException's code may be None, and network failures are TeaExceptions too.
    code = str(exc.code)
    status = getattr(exc, "status_code", None) or getattr(exc, "statusCode", None)
    if not isinstance(status, int):
        proxy = " and the proxy in HTTP_PROXY or HTTPS_PROXY" if _has_proxy() else ""
        remedy = f"check the endpoint{proxy}, or run it again later"
        return PassingError(doing, f"the provider was not reached ({exc.message or exc})", remedy)
    problem = f"the provider answers {status} {code}: {exc.message}"
    if code.startswith("Throttling"):
        # Only an answer with x-acs-retry-after comes as a class of its own, ThrottlingException.
        after_s = (getattr(exc, "retry_after", None) or 0) / 1000
        remedy = "run it again later; lower the reserved concurrency of pull_bill if this persists"
        return PassingError(doing, problem, remedy, is_throttling=True, after_s=after_s)
    if status >= 500:
        return PassingError(doing, problem, "run it again later")
    remedy = "check the connector's access key, its rights and its endpoint"
    if code.startswith(_SIGNED_ANEW):
        return PassingError(doing, problem, remedy, only_once=True)
    return ServiceError(doing, problem, remedy, retryable=False)


def _refuse_passing(doing: str, body: bytes) -> None:
    """Raise what a body with Success false says, where it may pass."""
    if not _NO_SUCCESS.search(body):
        return
    try:
        answer = json.loads(body)
    except ValueError:
        return
    code = str(answer.get("Code")) if isinstance(answer, dict) and answer.get("Success") is False else ""
    if code.startswith(_PASSING_CODES):
        problem = f"the provider answers Success=false {code}: {answer.get('Message')}"
        throttles = code.startswith("Throttling")
        raise PassingError(doing, problem, "run it again later", is_throttling=throttles)


def _has_proxy() -> bool:
    return any(os.environ.get(name) for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"))
