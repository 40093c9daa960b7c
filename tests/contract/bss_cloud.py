"""A running local BSS service with payers of its own, and clients for them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_bssopenapi20171214.client import Client as BssClient
from alibabacloud_tea_openapi.client import Client as OpenApiClient
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.utils import Utils
from alibabacloud_tea_openapi.utils_models import Config, OpenApiRequest, Params
from darabonba.runtime import RuntimeOptions

from infra.localcloud.bss.load import Item, add_items, add_payer
from infra.localcloud.common import Clock, Service, load_keys, start

CYCLE = "2026-06"
FINAL = datetime.fromisoformat("2026-07-03T12:00:00+08:00")


class World:
    """A running service with a folder of its own, and clients for its payers."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home, self.clock, self._arguments = home, Clock(home), arguments
        self.main = load_keys(home)
        self._payers = 0
        self.payers: list[Payer] = []
        self.service: Service = start("bss", home, *arguments)

    def restart(self) -> None:
        self.service.stop()
        self.service = start("bss", self.home, *self._arguments)

    def payer(self, *items: Item, customers: tuple[str, ...] = (), not_applicable: bool = False) -> Payer:
        """A new payer with a bill of its own."""
        self._payers += 1
        account = f"19000000000000{self._payers:02d}"
        add_payer(
            self.home, account, f"p{self._payers}@x.example", f"LTAIp{self._payers}", f"secret{self._payers}",
            customers, not_applicable=not_applicable,
        )  # fmt: skip
        payer = Payer(self, account, f"LTAIp{self._payers}", f"secret{self._payers}")
        payer.add(*items)
        payer.customers = customers
        self.payers.append(payer)
        return payer


class Payer:
    """A payer account and what its key gets for an answer."""

    def __init__(self, world: World, account: str, key_id: str, secret: str) -> None:
        self.world, self.account, self.key_id, self.secret = world, account, key_id, secret
        self.customers: tuple[str, ...] = ()
        self._batches = 0

    def add(self, *items: Item) -> None:
        self._batches += 1
        add_items(self.world.home, self.account, CYCLE, items, batch=f"{self.account}-{self._batches}")

    def config(self) -> Any:
        endpoint = f"127.0.0.1:{self.world.service.port}"
        return Config(
            access_key_id=self.key_id, access_key_secret=self.secret, endpoint=endpoint, protocol="HTTP",
            region_id="cn-hangzhou",
        )  # fmt: skip

    def typed(self) -> Any:
        return BssClient(self.config())

    def raw(self, action: str, **query: object) -> str:
        """The body as it came, by the generic client."""
        params = Params(
            action=action, version="2017-12-14", protocol="HTTPS", pathname="/", method="POST", auth_type="AK",
            style="RPC", req_body_type="formData", body_type="string",
        )  # fmt: skip
        request = OpenApiRequest(query=Utils.query({"BillingCycle": CYCLE, **query}))
        body: str = OpenApiClient(self.config()).call_api(params, request, RuntimeOptions())["body"]
        return body

    def call(self, action: str, **query: object) -> dict[str, Any]:
        """The answer's data, its numbers exact."""
        envelope = json.loads(self.raw(action, **query), parse_float=Decimal)
        assert (envelope["Code"], envelope["Message"], envelope["Success"]) == ("Success", "Successful!", True)
        data: dict[str, Any] = envelope["Data"]
        return data

    def pages(self, **query: object) -> Iterator[dict[str, Any]]:
        """Every page of DescribeInstanceBill."""
        token = ""
        while True:
            page = self.call("DescribeInstanceBill", NextToken=token, **query)
            yield page
            token = page["NextToken"]
            if token == "":
                return

    def items(self, **query: object) -> list[dict[str, Any]]:
        """Every item over all pages."""
        return [item for page in self.pages(MaxResults=300, **query) for item in page["Items"]]


def line(day: int, pretax: str = "1.00", **fields: Decimal | str) -> Item:
    """A line that is visible from eight o'clock of the next day on and paid in cash."""
    amounts = {name: Decimal(pretax) for name in ("PretaxGrossAmount", "PretaxAmount", "PaymentAmount", "CashAmount")}
    following = (datetime(2026, 6, day, 8) + timedelta(days=1)).isoformat()  # noqa: DTZ001 - its zone follows
    defaults = {"ProductCode": "ecs", "InstanceID": "i-1", "BillingItemCode": "cpu", "OwnerID": "1001"}
    return f"{following}+08:00", None, f"2026-06-{day:02d}", {**defaults, **amounts, **fields}


DAY = {"Granularity": "DAILY", "IsBillingItem": True}


def on(day: int) -> dict[str, Any]:
    """The parameters of a daily billing-item query."""
    return {**DAY, "BillingDate": f"2026-06-{day:02d}"}


def refused(payer: Payer, action: str, **query: object) -> tuple[int, str]:
    with pytest.raises(ClientException) as refusal:
        payer.raw(action, **query)
    return refusal.value.status_code, refusal.value.code


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[World]:
    """A running service over `home`, with no proxy in the environment."""
    with pytest.MonkeyPatch.context() as patch:
        # The SDK asks a proxy of the environment for 127.0.0.1 too, whatever NO_PROXY says.
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        world = World(home, *arguments)
        try:
            yield world
        finally:
            world.service.stop()
