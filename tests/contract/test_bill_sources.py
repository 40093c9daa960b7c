"""One generated month from every source: pulled over the API, and as files; they say the same to the last digit."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.bill.snapshot import Seal, observations, seals, stream_of
from shared.chain.entry import Entry
from shared.cloud.bss import BssApi
from shared.cloud.credentials import AccessKey
from shared.cycle import SHANGHAI
from shared.money import text
from shared.steps import comparing
from tests import bill_files
from tests.bill_files import CYCLE, billed
from tests.builders import parties
from tests.contract.bss_cloud import running
from tests.pump import World

LINES = 600
SOURCE = {"classic-zh": "classic", "classic-en": "classic", "v2": "v2"}


@dataclass(frozen=True, slots=True)
class Billed:
    """The month as it was settled from the API's final round, and the files of the same month."""

    world: World
    account: str
    files: dict[str, Path]

    @property
    def entries(self) -> list[Entry]:
        """What the sources said of the bill."""
        return self.world.services.chain.read(stream_of(self.account, CYCLE))

    def hand_in(self, form: str, body: bytes) -> tuple[Seal, dict[str, Any]]:
        """Hand in a file; what its source says then, and how that compares with what is settled."""
        world = self.world
        world.now = datetime(2025, 7, 4, 10, tzinfo=SHANGHAI)
        world.cloud.clock.now = world.now
        world.cloud.stores["inbox"].put_again(f"bills/import/{self.account}/{CYCLE}/{form}", body)
        world.pump.drain()
        assert world.pump.refusals == []
        kept = comparing.kept(world.services, self.entries)
        [compared] = [one for one in kept if one["other"]["source"] == SOURCE[form]]
        return observations(self.entries, SOURCE[form])[-1], compared


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> Billed:
    home, folder = tmp_path_factory.mktemp("provider"), tmp_path_factory.mktemp("files")
    world = World(tmp_path_factory.mktemp("month"))
    with billed(home, LINES) as bill:
        files = {**bill_files.classic(folder, bill), **bill_files.others(folder, bill)}
        account = bill.account
    document = parties([], payers=[account], since=f"{CYCLE}-01")
    document["payers"][0]["connector"]["currency"] = "CNY"  # the English file has no column for it
    with running(home) as provider:
        provider.clock.set(datetime(2025, 7, 3, 12, 30, tzinfo=SHANGHAI))
        api = BssApi(f"127.0.0.1:{provider.service.port}", "HTTP", "cn-hangzhou", AccessKey("LTAIfiles", "secret"))
        world.services = replace(world.services, bill_api=lambda _: api)
        world.cloud.services = world.services
        world.decide_parties(document)
        world.final()
    return Billed(world, account, files)


def test_the_final_round_agrees_with_the_providers_own_totals(month: Billed) -> None:
    [seal] = seals(month.entries)

    assert (seal.source, seal.status, seal.rows, seal.rejects) == ("api", "final", LINES * 3 // 5, {})
    assert (seal.control["differences"], seal.control["open"]) == (0, 0)


@pytest.mark.parametrize("form", SOURCE)
def test_a_file_says_what_the_pull_of_the_same_month_said(month: Billed, form: str) -> None:
    said, compared = month.hand_in(form, month.files[form].read_bytes())

    [seal] = seals(month.entries)
    assert (said.rows, said.totals, said.rejects) == (seal.rows, seal.totals, {})
    assert (compared["count"], compared["amounts"], compared["differences"]) == (0, {}, [])
    assert (compared["settled"]["rows"], compared["other"]["rows"]) == (seal.rows, seal.rows)


def test_a_cent_that_a_file_has_otherwise_is_found_by_account_product_and_day(month: Billed) -> None:
    rows = list(csv.DictReader(io.StringIO(month.files["classic-zh"].read_text("utf-8-sig"))))
    changed = next(row for row in rows if row["账单类型"] == "后付费账单" and Decimal(row["应付金额"]) > 1)
    before = Decimal(changed["应付金额"])
    changed["应付金额"] = text(before + Decimal("0.01"))
    file = io.StringIO()
    writer = csv.DictWriter(file, list(changed), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    _, compared = month.hand_in("classic-zh", file.getvalue().encode())

    assert (compared["count"], compared["amounts"]) == (1, {"CNY": "0.01"})
    [found] = compared["differences"]
    assert found["product_code"] == changed["产品Code"]
    assert found["date"] == changed["账单开始时间"][:10]
    assert Decimal(found["other_pretax"]) - Decimal(found["pretax"]) == Decimal("0.01")
