"""The three calls about bill files in OSS: subscribing, listing and unsubscribing."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from infra.localcloud.bss import errors
from infra.localcloud.bss.answer import Value
from infra.localcloud.bss.bills import BUSINESS_ZONE, is_kept
from infra.localcloud.bss.parameters import Parameters
from infra.localcloud.bss.push import OssSilentError, bucket, exists
from infra.localcloud.bss.schedule import Kind
from infra.localcloud.bss.state import Caller, State
from infra.localcloud.bss.subscriptions import Order, Subscriptions
from infra.localcloud.common import Keys

PATH_LENGTH_MOST = 254
FILLED_CYCLES = 12
_PDF = "MonthBill"
_BUCKET_NAME = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")


class BillFiles:
    """Answers the calls over the subscriptions of `home`."""

    def __init__(self, home: Path, keys: Keys, state: State) -> None:
        self._home, self._keys, self._state = home, keys, state
        self._subscriptions = Subscriptions(home)

    def subscribe(self, caller: Caller, parameters: Parameters, now: datetime) -> None:
        """SubscribeBillToOSS. Said again it changes nothing; another bucket or form needs unsubscribing first."""
        kind, accounts = self._what(caller, parameters)
        name = _required(parameters, "SubscribeBucket")
        owner = parameters.text("BucketOwnerId") or caller.account
        if owner != caller.account and owner not in self._state.customers(caller.account):
            raise errors.owner_not_of_caller()
        if kind is Kind.SPLIT_ITEMS and self._state.split_bill_since(caller.account) is None:
            raise errors.NotApplicableError
        parameters.flag("UsingSsl")
        rows_max = parameters.number("RowLimitPerFile", 0) or None
        language, with_currency = self._state.file_format(caller.account)
        order = Order(
            caller.account, kind, accounts, name, _path(parameters), owner, rows_max, _begin(parameters, now), language,
            with_currency,
        )  # fmt: skip
        if not self._state.may_dump_to(owner):
            raise errors.dump_role_missing(owner)
        if not self._has_bucket(name):
            raise errors.invalid_parameter("SubscribeBucket", "a bucket that exists")
        made = self._subscriptions.add(order, now)
        if made.order != order:
            raise errors.subscribed_already(kind.subscribe_type, made.order.bucket, made.order.path)

    def query(self, caller: Caller) -> Value:
        """QueryBillToOSSSubscription."""
        items: list[Value] = [
            {
                "SubscribeType": made.order.kind.subscribe_type,
                "SubscribeBucket": made.order.bucket,
                "BucketPath": made.order.path,
                "BucketOwnerId": int(made.order.bucket_owner),
                "SubscribeTime": f"{made.subscribed_at.astimezone(BUSINESS_ZONE):%Y-%m-%d %H:%M:%S}",
                "SubscribeLanguage": made.order.language,
                **({} if made.order.rows_max is None else {"RowLimitPerFile": made.order.rows_max}),
            }
            for made in self._subscriptions.of(caller.account)
        ]
        return {"AccountID": caller.account, "AccountName": caller.name, "Items": {"Item": items}}

    def unsubscribe(self, caller: Caller, parameters: Parameters) -> None:
        """UnsubscribeBillToOSS; what is not subscribed to is left at that."""
        kind, accounts = self._what(caller, parameters)
        self._subscriptions.remove(caller.account, kind, accounts)

    def _what(self, caller: Caller, parameters: Parameters) -> tuple[Kind, str]:
        _required(parameters, "SubscribeType")
        known = (*(kind.subscribe_type for kind in Kind), _PDF)
        subscribe_type = parameters.one_of("SubscribeType", *known) or ""
        accounts = parameters.one_of("MultAccountRelSubscribe", "MA", "ACP1") or "MA"
        if subscribe_type == _PDF:
            raise errors.action_not_found(f"a monthly bill in PDF ({_PDF})")
        if accounts == "ACP1" and not self._state.customers(caller.account):
            raise errors.NotApplicableError
        return Kind.of(subscribe_type), accounts

    def _has_bucket(self, name: str) -> bool:
        try:
            return _BUCKET_NAME.fullmatch(name) is not None and exists(bucket(self._home, self._keys, name))
        except OssSilentError as exc:
            raise errors.internal_error() from exc


def _required(parameters: Parameters, name: str) -> str:
    text = parameters.text(name)
    if text is None:
        raise errors.missing_parameter(name)
    return text


def _path(parameters: Parameters) -> str:
    """The folder in the bucket, by the documented rules for its name."""
    path = parameters.text("BucketPath") or ""
    names = path.removesuffix("/").split("/") if path else []
    has_emoji = any(character > "\uffff" for character in path)
    if len(path) > PATH_LENGTH_MOST or path.startswith("\\") or "" in names or ".." in names or has_emoji:
        expected = f"1 to {PATH_LENGTH_MOST} characters and no emoji, no / or \\ in front, no // and no .. within"
        raise errors.invalid_parameter("BucketPath", expected)
    return "/".join(names)


def _begin(parameters: Parameters, now: datetime) -> str | None:
    """The cycle from which files are filled up: this one, or one of the year before it."""
    if parameters.text("BeginBillingCycle") is None:
        return None
    cycle, today = parameters.cycle("BeginBillingCycle"), now.astimezone(BUSINESS_ZONE).date()
    if cycle > f"{today:%Y-%m}" or not is_kept(cycle, today, FILLED_CYCLES):
        raise errors.invalid_parameter("BeginBillingCycle", "YYYY-MM within the last year")
    return cycle
