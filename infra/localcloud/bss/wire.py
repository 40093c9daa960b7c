"""The HTTP side: who calls, what is asked, and the envelope around the answer.

Action and version come in headers, parameters in the query. Every request is verified before anything else is
looked at, and counted against the caller's quota before its parameters are.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import parse_qsl

from aiohttp import web

from infra.localcloud import identity
from infra.localcloud.bss import errors, misbehave, sign
from infra.localcloud.bss.answer import Value, account_item, instance_items, overview_item, split_items, write
from infra.localcloud.bss.bills import BUSINESS_ZONE, Bill, Filters, Grain, is_kept
from infra.localcloud.bss.control import PUSH, Control
from infra.localcloud.bss.parameters import PAGE_DEFAULT, PAGE_MAX, Parameters, Tokens
from infra.localcloud.bss.push import Pusher
from infra.localcloud.bss.quota import Quota, Quotas
from infra.localcloud.bss.records import KINDS, Records, position, settle_item
from infra.localcloud.bss.state import Caller, State, transaction
from infra.localcloud.bss.subscribe import BillFiles
from infra.localcloud.common import BODY_MAX, Clock, Keys, load_keys
from infra.localcloud.faults.plan import Fault
from infra.localcloud.faults.service import Misbehaviour
from infra.localcloud.ram.authority import Authority
from infra.localcloud.sts import assume

VERSION = "2017-12-14"
DESCRIBE_QPS = 10
SPLIT_BILL_DELAY = timedelta(days=1)  # api-bssopenapi-2017-12-14-describesplititembill
SPLIT_KEPT = 12
_COUNTS_REMEMBERED = 1024

log = logging.getLogger(__name__)


def application(home: Path, describe_qps: int = DESCRIBE_QPS, faults: Misbehaviour | None = None) -> web.Application:
    """The service over `home`."""
    service = Service(home, describe_qps)

    async def answer(http: web.Request) -> web.StreamResponse:
        if faults is None:
            return await service.answer(http)
        return await faults.around(
            http,
            misbehave.name(http),
            misbehave.subject(http),
            lambda: service.answer(http),
            lambda fault: service.answer(http, fault),
        )

    app = web.Application(client_max_size=BODY_MAX)
    if faults is not None:
        faults.watch(app)
    keys = load_keys(home)
    pusher = Pusher(home, keys)
    app.router.add_post(PUSH, Control(pusher, keys.control_token).push)
    app.cleanup_ctx.append(pusher.running)
    app.on_shutdown.append(pusher.stop)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


class Service:
    """Answers calls. Bills follow the cloud's business time, signatures and quotas the system's clock."""

    def __init__(self, home: Path, describe_qps: int) -> None:
        self._keys = load_keys(home)
        self._state = State(home, self._keys)
        self._clock = Clock(home)
        self._authority = Authority(home, "sts")
        self._quotas = Quotas(
            {
                "DescribeInstanceBill": Quota(describe_qps, 1.0),
                "DescribeSplitItemBill": Quota(describe_qps, 1.0),
                "QueryAccountBill": Quota(600, 60.0),
                "QuerySettleBill": Quota(600, 60.0),
                "SubscribeBillToOSS": Quota(60, 60.0),
                "QueryBillToOSSSubscription": Quota(60, 60.0),
                "UnsubscribeBillToOSS": Quota(60, 60.0),
            }
        )
        self._files = BillFiles(home, self._keys, self._state)
        self._counts: dict[object, int] = {}
        self._actions: Mapping[str, Callable[[Caller, Parameters], Value | None]] = {
            "DescribeInstanceBill": self._describe_instance_bill,
            "QueryBillOverview": self._query_bill_overview,
            "QueryAccountBill": self._query_account_bill,
            "QuerySettleBill": self._query_settle_bill,
            "DescribeSplitItemBill": self._describe_split_item_bill,
            "GetCustomerList": self._get_customer_list,
            "SubscribeBillToOSS": lambda caller, asked: self._files.subscribe(caller, asked, self._clock.now()),
            "QueryBillToOSSSubscription": lambda caller, _: self._files.query(caller),
            "UnsubscribeBillToOSS": self._files.unsubscribe,
        }

    async def answer(self, http: web.Request, fault: Fault | None = None) -> web.Response:
        """Answer one request, whatever becomes of it."""
        request_id = str(uuid.uuid4()).upper()
        body = await http.read()
        try:
            if fault is not None:
                raise misbehave.refusal(fault)
            if (
                http.headers.get("x-acs-action") == assume.ACTION
                and http.headers.get("x-acs-version") == assume.VERSION
            ):
                return _json(200, {"RequestId": request_id, **self._assume_role(_request(http, body))}, request_id)
            data = self._call(http, body)
        except errors.BssError as refusal:
            return _refused(refusal, request_id, http.host)
        except errors.NotApplicableError as refusal:
            envelope: dict[str, Value] = {
                "Code": refusal.code,
                "Message": refusal.message,
                "RequestId": request_id,
                "Success": False,
            }
            return _json(200, envelope, request_id)
        except Exception:  # an entry point: the caller gets the service's own 500, the log what happened
            log.exception("request %s failed", request_id)
            return _refused(errors.internal_error(), request_id, http.host)
        envelope = {"Code": "Success", "Message": "Successful!", "RequestId": request_id, "Success": True}
        if data is not None:
            envelope["Data"] = data
        return _json(200, envelope, request_id)

    def _call(self, http: web.Request, body: bytes) -> Value | None:
        request = _request(http, body)
        now = datetime.now(UTC)
        token = request.headers.get("x-acs-security-token", "")
        key_id = sign.verify(request, now, lambda key_id: self._secret(key_id, token, now), self._take_nonce)
        caller = self._caller(key_id, token, now)
        if caller is None:
            raise errors.unknown_access_key()
        if request.headers["x-acs-version"] != VERSION:
            raise errors.invalid_version(request.headers["x-acs-version"])
        action = request.headers["x-acs-action"]
        if action not in self._actions:
            raise errors.action_not_found(action)
        if not self._quotas.take(action, caller.account, time.monotonic()):
            raise errors.throttled()
        if not caller.is_applicable:
            raise errors.NotApplicableError
        # One state of the database for all of an answer: a page and its TotalCount belong together.
        with transaction(self._state.connection):
            return self._actions[action](caller, Parameters(request))

    def _assume_role(self, request: sign.Request) -> dict[str, Value]:
        now, token = datetime.now(UTC), request.headers.get("x-acs-security-token", "")

        def secret(key_id: str) -> str | None:
            return _issued(self._keys, key_id, token, now)[1]

        key_id = sign.verify(request, now, secret, self._take_nonce)
        caller, _ = _issued(self._keys, key_id, token, now)
        asked = Parameters(request)
        may = partial(self._authority.decide, caller)
        return assume.assume(self._keys, caller, asked.text, self._state.trusted, may, now)

    def _caller(self, key_id: str, token: str, now: datetime) -> Caller | None:
        """Whose bill a key may read: a payer's own, or that of the payer whose role it was assumed for."""
        if not key_id.startswith(identity.PREFIX):
            return self._state.caller(key_id)
        who, secret = _issued(self._keys, key_id, token, now)
        payer = assume.payer_of(who.role)
        return None if payer is None else self._state.assumed(payer, secret)

    def _secret(self, key_id: str, token: str, now: datetime) -> str | None:
        caller = self._caller(key_id, token, now)
        return None if caller is None else caller.secret

    def _take_nonce(self, key_id: str, nonce: str) -> bool:
        # A signature stays valid from one skew before its date to one after it.
        return self._state.take_nonce(key_id, nonce, time.time(), 2 * sign.SKEW_S)

    def _describe_instance_bill(self, caller: Caller, parameters: Parameters) -> Value:
        daily, day = parameters.granularity()
        by_billing_item = parameters.flag("IsBillingItem")
        rows_max = parameters.number("MaxResults", PAGE_DEFAULT, most=PAGE_MAX)
        filters = self._filters(caller, parameters)
        grain = Grain.of(daily=daily, by_billing_item=by_billing_item)
        tokens = Tokens(self._state.token_key, caller.account, parameters.cycle(), day, grain, filters)
        after = tokens.read(parameters.text("NextToken"))
        bill = self._bill(caller, parameters, day)
        rows = bill.page(grain, filters, after, rows_max + 1)
        more = len(rows) > rows_max
        page = rows[:rows_max]
        return {
            "BillingCycle": parameters.cycle(),
            "AccountID": caller.account,
            "AccountName": caller.name,
            "TotalCount": self._count(bill, grain, filters, day),
            "MaxResults": rows_max,
            "NextToken": tokens.write(page[-1].position) if more else "",
            "Items": instance_items(page, caller.account, caller.name, daily=daily, by_billing_item=by_billing_item),
        }

    def _describe_split_item_bill(self, caller: Caller, parameters: Parameters) -> Value:
        daily, day = parameters.granularity()
        rows_max = parameters.number("MaxResults", PAGE_DEFAULT, most=PAGE_MAX)
        filters = replace(
            self._filters(caller, parameters), split_item=parameters.text("SplitItemID"), tags=parameters.tags()
        )
        grain = Grain.LINE if daily else Grain.SPLIT_MONTH
        cycle = parameters.cycle()
        tokens = Tokens(self._state.token_key, "split", caller.account, cycle, day, grain, filters)
        after = tokens.read(parameters.text("NextToken"))
        since = self._state.split_bill_since(caller.account)
        if since is None:
            raise errors.NotApplicableError
        now = self._clock.now()
        shown = now - since >= SPLIT_BILL_DELAY and is_kept(cycle, now.astimezone(BUSINESS_ZONE).date(), SPLIT_KEPT)
        bill = self._bill(caller, parameters, day)
        rows = bill.page(grain, filters, after, rows_max + 1) if shown else []
        page = rows[:rows_max]
        return {
            "BillingCycle": cycle,
            "AccountID": caller.account,
            "AccountName": caller.name,
            "TotalCount": self._count(bill, grain, filters, day) if shown else 0,
            "MaxResults": rows_max,
            "NextToken": tokens.write(page[-1].position) if len(rows) > rows_max else "",
            "Items": split_items(page, caller.account, caller.name, cycle, daily=daily),
        }

    def _query_settle_bill(self, caller: Caller, parameters: Parameters) -> Value:
        rows_max = parameters.number("MaxResults", PAGE_DEFAULT, most=PAGE_MAX)
        filters = replace(self._filters(caller, parameters), kind=parameters.one_of("Type", *KINDS))
        number, local_currency = parameters.text("RecordID"), parameters.flag("IsDisplayLocalCurrency")
        tokens = Tokens(self._state.token_key, "settle", caller.account, parameters.cycle(), filters, number)
        after = tokens.read(parameters.text("NextToken"))
        bill = self._bill(caller, parameters, None)
        records = Records(self._state.connection, caller.account, bill, filters)
        if number is None:
            rows = records.page(after, rows_max + 1)
            total = self._remembered((bill.version(), filters, "settle"), records.count)
        else:
            rows = records.numbered(number)
            total = len(rows)
        page = rows[:rows_max]
        items = [
            settle_item(row, records.number(row), caller.account, caller.name, local_currency=local_currency)
            for row in page
        ]
        return {
            "BillingCycle": parameters.cycle(),
            "AccountID": caller.account,
            "AccountName": caller.name,
            "TotalCount": total,
            "MaxResults": rows_max,
            "NextToken": tokens.write(position(page[-1])) if len(rows) > rows_max else "",
            "Items": {"Item": items},
        }

    def _query_bill_overview(self, caller: Caller, parameters: Parameters) -> Value:
        by = ("owner", "product", "product_type", "pip", "commodity", "subscription", "kind", "biz_type", "currency")
        sums = self._bill(caller, parameters, None).sums(by, self._filters(caller, parameters))
        return {
            "BillingCycle": parameters.cycle(),
            "AccountID": caller.account,
            "AccountName": caller.name,
            "Items": {"Item": [overview_item(row, caller.account, caller.name) for row in sums]},
        }

    def _query_account_bill(self, caller: Caller, parameters: Parameters) -> Value:
        daily, day = parameters.granularity()
        page = parameters.number("PageNum", 1)
        size = parameters.number("PageSize", PAGE_DEFAULT, most=PAGE_MAX)
        by = ["owner", "biz_type", "currency"]
        if daily:
            by.append("date")
        if parameters.flag("IsGroupByProduct"):
            by += ["product", "pip", "subscription"]
        sums = self._bill(caller, parameters, day).sums(by, self._filters(caller, parameters))
        rows = sums[(page - 1) * size : page * size]
        return {
            "BillingCycle": parameters.cycle(),
            "AccountID": caller.account,
            "AccountName": caller.name,
            "PageNum": page,
            "PageSize": size,
            "TotalCount": len(sums),
            "Items": {"Item": [account_item(row, caller.account, caller.name, row.get("date")) for row in rows]},
        }

    def _get_customer_list(self, caller: Caller, parameters: Parameters) -> Value:
        return {"UidList": self._state.customers(caller.account)}

    def _bill(self, caller: Caller, parameters: Parameters, day: date | None) -> Bill:
        bill = Bill(self._state.connection, caller.account, parameters.cycle(), self._clock.now())
        return bill if day is None else bill.narrowed_to(day)

    def _filters(self, caller: Caller, parameters: Parameters) -> Filters:
        owner, behalf = parameters.text("BillOwnerId"), parameters.text("OwnerId") or parameters.text("OwnerID")
        if behalf is not None and behalf != caller.account:
            if behalf not in self._state.customers(caller.account):
                raise errors.NotApplicableError
            owner = owner or behalf
        return Filters(
            owner=owner,
            product=parameters.text("ProductCode"),
            product_type=parameters.text("ProductType"),
            pip=parameters.text("PipCode"),
            subscription=parameters.text("SubscriptionType"),
            instance=parameters.text("InstanceID"),
            hide_zero=parameters.flag("IsHideZeroCharge"),
        )

    def _count(self, bill: Bill, grain: Grain, filters: Filters, day: date | None) -> int:
        if grain is Grain.LINE and filters.tally_counts:
            return bill.count(grain, filters)
        # Counting groups reads the bill's whole index; a chain of pages should do it once.
        return self._remembered((bill.version(), grain, filters, day), lambda: bill.count(grain, filters))

    def _remembered(self, asked: object, count: Callable[[], int]) -> int:
        if asked not in self._counts:
            if len(self._counts) >= _COUNTS_REMEMBERED:
                self._counts.clear()
            self._counts[asked] = count()
        return self._counts[asked]


def _issued(keys: Keys, key_id: str, token: str, now: datetime) -> tuple[identity.Caller, str]:
    """Who signs with a key of the local cloud, and its secret."""
    try:
        return identity.caller_of(keys, key_id, token, now)
    except identity.ExpiredTokenError:
        raise errors.expired_token() from None
    except identity.InvalidTokenError:
        raise errors.invalid_token() from None
    except identity.UnknownKeyError:
        raise errors.unknown_access_key() from None


def _asks(http: web.Request) -> tuple[str | None, str | None]:
    return http.headers.get("x-acs-action"), http.headers.get("x-acs-version")


def _request(http: web.Request, body: bytes) -> sign.Request:
    path, _, query = http.raw_path.partition("?")
    headers = {name.lower(): value for name, value in http.headers.items()}
    return sign.Request(http.method, path, parse_qsl(query, keep_blank_values=True), headers, body)


def _refused(refusal: errors.BssError, request_id: str, host: str) -> web.Response:
    body: dict[str, Value] = {
        "Code": refusal.code,
        "Message": refusal.message,
        "RequestId": request_id,
        "HostId": host,
    }
    return _json(refusal.status, body, request_id)


def _json(status: int, body: Mapping[str, Value], request_id: str) -> web.Response:
    return web.Response(
        status=status,
        body=write(body).encode(),
        content_type="application/json",
        charset="utf-8",
        headers={"x-acs-request-id": request_id},
    )
