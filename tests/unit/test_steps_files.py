"""From a bill file in the inbox to what its source says: any form, whole or day by day, settled or compared."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud.faults.plan import Fault
from shared.bill.snapshot import Seal, observations, stream_of
from shared.cycle import SHANGHAI
from shared.ids import canonical_json, digest
from shared.money import text
from shared.steps import ingest_file, state
from tests.bill_files import write_all
from tests.builders import CYCLE, P1, parties
from tests.pump import FailAt, World

HEADER = (
    "账期", "账号ID", "账号", "Owner账号", "产品Code", "消费类型", "账单类型", "账单开始时间", "账单结束时间",
    "订单号/账单号", "实例ID", "计费项", "原价", "优惠金额", "应付金额", "币种",
)  # fmt: skip


def row(day: str, pretax: str, **fields: str) -> dict[str, str]:
    """A row of a classic file in Chinese."""
    given = {
        "账期": "202506", "账号ID": P1, "账号": "payer", "Owner账号": "1001", "产品Code": "ecs", "消费类型": "后付费",
        "账单类型": "后付费账单", "账单开始时间": f"{day} 00:00:00", "账单结束时间": f"{day} 23:59:59",
        "订单号/账单号": f"o-{day}", "实例ID": "i-1", "计费项": "云服务器配置", "原价": pretax, "优惠金额": "0",
        "应付金额": pretax, "币种": "CNY",
    }  # fmt: skip
    return {**given, **fields}


def file_of(*rows: Mapping[str, str]) -> bytes:
    """A classic file with these rows."""
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADER, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


class Files(World):
    """A world whose first payer's bill comes as files."""

    def settle_from(self, source: str, **connector: Any) -> None:
        """Put parties in force that settle the first payer from a source."""
        document = parties()
        document["payers"][0]["connector"] |= {"settled_source": source, **connector}
        self.decide_parties(document)

    def arrives(self, name: str, body: bytes, at: str = "2025-07-04T10:00:00+08:00") -> None:
        """A file is put into the inbox, and what follows happens."""
        self.now = datetime.fromisoformat(at).astimezone(SHANGHAI)
        self.cloud.clock.now = self.now
        self.cloud.stores["inbox"].put_again(f"bills/{name}", body)
        self.pump.drain()

    def said(self, source: str = "classic", payer: str = P1) -> Seal:
        """What a source says of the bill now."""
        return observations(self.services.chain.read(stream_of(payer, CYCLE)), source)[-1]

    def rows(self, payer: str = P1) -> dict[str, str]:
        """The pretax of every line that is there, by instance and day."""
        found = self.cloud.rows.tables["bill_lines"].values()
        return {
            f"{one['date']} {one['instance_id']}": text(Decimal(str(one["pretax"])))
            for one in found
            if not one.get("gone") and one["payer"] == payer
        }

    def note(self, name: str) -> dict[str, Any]:
        """What became of a file as it lies in the inbox."""
        key = f"bills/{name}"
        version = self.cloud.stores["inbox"].version(key)
        assert version is not None
        noted: dict[str, Any] = json.loads(self.cloud.work.get(ingest_file.note_key(key, version.tag)))
        return noted


@pytest.fixture
def world(tmp_path: Path) -> Files:
    return Files(tmp_path)


FULL = f"{P1}_BillingItemDetail_202506"


def day_file(day: str) -> str:
    return f"{P1}_BillingItemDetail_{day.replace('-', '')}"


# -- every form says the same -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def month(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_all(tmp_path_factory.mktemp("month"), lines=400)


Said = Callable[[str], tuple[Files, Seal]]


@pytest.fixture(scope="module")
def said(month: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Said:
    """What is said of the month by the file of one form, each read once."""
    known: dict[str, tuple[Files, Seal]] = {}

    def of(form: str) -> tuple[Files, Seal]:
        if form not in known:
            payer = month["v2"].name.partition("_")[0]
            world = Files(tmp_path_factory.mktemp(form))
            document = parties()
            document["payers"][0] |= {"account": payer}
            document["payers"][0]["connector"] |= {"since": "2025-06-01", "currency": "CNY"}
            world.decide_parties(document)
            name = month[form].name
            world.arrives(
                f"import/{payer}/{CYCLE}/{name}" if form.startswith(("partner", "console-zh")) else name,
                month[form].read_bytes(),
            )
            assert world.pump.refusals == []
            [entry] = world.services.chain.read(stream_of(payer, CYCLE))
            known[form] = world, Seal(**entry.body, seq=entry.seq)
        return known[form]

    return of


WHOLE = (
    "classic-en", "classic-en-instance", "classic-zh-instance", "classic-zh-monthly", "classic-zh-old",
    "classic-zh-split", "classic-zh-zip", "console-v2", "console-zh", "console-zh-rounded", "v2", "v2-selected",
    "v2-zip",
)  # fmt: skip


@pytest.mark.parametrize("form", WHOLE)
def test_every_form_of_a_month_says_the_same_to_the_last_digit(said: Said, form: str) -> None:
    _, classic = said("classic-zh")
    world, other = said(form)

    assert other.totals == classic.totals
    assert other.rejects == {}
    payer = classic.account
    snapshots = [
        state.snapshot(one.services, payer, CYCLE, seal.snapshot) for one, seal in (said("classic-zh"), (world, other))
    ]
    if other.source.endswith("-month"):
        return
    # Free quotas are listed by some forms and not by others: days and accounts are compared by what they cost.
    sums = [{day: part.totals for day, part in one.parts.items()} for one in snapshots]
    assert sums[0] == sums[1]


@pytest.mark.parametrize("form", ["partner-csv", "partner-parquet"])
def test_a_partners_file_says_the_same_of_its_customers(said: Said, form: str) -> None:
    assert said(form)[1].totals == said("partner-csv")[1].totals
    assert Decimal(said(form)[1].totals["CNY"]["pretax"]) > 0


# -- periods ----------------------------------------------------------------------------------------------------


def test_day_files_add_up_and_late_rows_join_their_day(world: Files) -> None:
    world.settle_from("classic")
    world.arrives(day_file("2025-06-28"), file_of(row("2025-06-28", "1.10")), "2025-06-29T10:00:00+08:00")
    late = row("2025-06-28", "0.05", 实例ID="i-2")
    world.arrives(day_file("2025-06-29"), file_of(row("2025-06-29", "2.20"), late), "2025-06-30T10:00:00+08:00")

    assert world.rows() == {"2025-06-28 i-1": "1.1", "2025-06-28 i-2": "0.05", "2025-06-29 i-1": "2.2"}
    assert world.said().status == "provisional"
    assert world.said().totals["CNY"]["pretax"] == "3.35"


def test_the_whole_cycles_file_takes_the_place_of_its_days_and_is_final(world: Files) -> None:
    world.settle_from("classic")
    world.arrives(day_file("2025-06-28"), file_of(row("2025-06-28", "1.10")), "2025-06-29T10:00:00+08:00")
    world.arrives(day_file("2025-06-29"), file_of(row("2025-06-29", "9.99")), "2025-06-30T10:00:00+08:00")
    world.arrives(FULL, file_of(row("2025-06-28", "1.10"), row("2025-06-30", "5.00")))

    assert world.rows() == {"2025-06-28 i-1": "1.1", "2025-06-30 i-1": "5"}
    assert (world.said().status, world.said().rows) == ("final", 2)
    assert [one.status for one in world.seals()] == ["provisional", "provisional", "final"]


def test_a_day_file_after_the_whole_cycle_changes_nothing_and_says_so(world: Files) -> None:
    world.settle_from("classic")
    world.arrives(FULL, file_of(row("2025-06-28", "1.10")))
    world.arrives(day_file("2025-06-29"), file_of(row("2025-06-29", "2.20")))

    assert len(world.seals()) == 1
    [bill] = world.note(day_file("2025-06-29"))["bills"]
    assert "changes nothing" in bill["note"]


def test_an_object_that_is_written_again_replaces_what_it_said(world: Files) -> None:
    world.settle_from("classic")
    first, second = file_of(row("2025-06-28", "1.00")), file_of(row("2025-06-29", "2.00"))
    world.arrives(FULL, first)
    world.arrives(FULL, second)
    assert world.rows() == {"2025-06-29 i-1": "2"}

    world.arrives(FULL, first)  # back again

    assert world.rows() == {"2025-06-28 i-1": "1"}
    assert len(world.seals()) == 3


def test_the_same_file_again_and_under_another_name_is_one_file(world: Files) -> None:
    world.settle_from("classic")
    body = file_of(row("2025-06-28", "1.00"))
    world.arrives(day_file("2025-06-28"), body)
    world.arrives(day_file("2025-06-28"), body)
    world.arrives(day_file("2025-06-29"), body)

    assert len(world.seals()) == 1
    assert world.rows() == {"2025-06-28 i-1": "1"}


def test_two_equal_rows_are_two_charges_also_from_two_files(world: Files) -> None:
    world.settle_from("classic")
    twice = file_of(row("2025-06-28", "1.00"), row("2025-06-28", "1.00"))
    world.arrives(day_file("2025-06-28"), twice)
    world.arrives(day_file("2025-06-29"), file_of(row("2025-06-28", "1.00"), row("2025-06-29", "1.00")))

    assert world.said().rows == 4
    assert world.said().totals["CNY"]["pretax"] == "4"


PARTNER = (
    "Billing Cycle", "User ID", "Linked User ID", "Order Type", "Charge Type", "Product Code", "Consume Time",
    "Original Cost", "Pretax Cost(Before Round Down Discount)", "Currency", "Instance ID",
)  # fmt: skip


def partner_file(instance: str, day: str, pretax: str) -> bytes:
    """A file of the partner platform with one row."""
    kinds = ("Pay-As-You-Go Bill", "Pay-As-You-Go")
    cells = ("202506", P1, "1001", *kinds, "ecs", f"{day} 10:00:00", pretax, pretax, "CNY", instance)
    return f"{','.join(PARTNER)}\n{','.join(cells)}\n".encode()


def test_parts_of_a_month_add_up_and_a_later_sequence_replaces_them(world: Files) -> None:
    world.settle_from("partner")
    name = f"{P1}_PartnerBillingItemDetail_202506"
    world.arrives(f"{name}_1_01", partner_file("i-1", "2025-06-28", "1.00"))
    world.arrives(f"{name}_1_02", partner_file("i-2", "2025-06-28", "2.00"))
    assert world.rows() == {"2025-06-28 i-1": "1", "2025-06-28 i-2": "2"}

    world.arrives(f"{name}_2_01", partner_file("i-3", "2025-06-29", "3.00"))

    assert world.rows() == {"2025-06-29 i-3": "3"}


def test_the_same_part_under_another_name_is_counted_once_and_says_so(world: Files) -> None:
    world.settle_from("partner")
    name = f"{P1}_PartnerBillingItemDetail_202506"
    world.arrives(f"{name}_1_01", partner_file("i-1", "2025-06-28", "1.00"))
    world.arrives(f"{name}_1_02", partner_file("i-1", "2025-06-28", "1.00"))
    assert (world.said("partner").rows, len(world.seals())) == (1, 1)
    assert world.note(f"{name}_1_02")["bills"][0]["note"] == f"is the same as bills/{name}_1_01"

    world.arrives(f"{name}_1_02", partner_file("i-2", "2025-06-28", "2.00"))
    assert world.rows() == {"2025-06-28 i-1": "1", "2025-06-28 i-2": "2"}
    world.arrives(f"{name}_1_02", partner_file("i-1", "2025-06-28", "1.00"))  # back again

    assert world.rows() == {"2025-06-28 i-1": "1"}


LISTS = "shared.bill.snapshot._LIST_BYTES"


def test_what_an_entry_has_no_room_for_is_an_object(world: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    world.settle_from("partner")
    name = f"{P1}_PartnerBillingItemDetail_202506_1"
    world.arrives(f"{name}_01", partner_file("i-1", "2025-06-28", "1.00"))
    monkeypatch.setattr(LISTS, 600)  # of one file there is room for what is said
    world.arrives(f"{name}_02", partner_file("i-2", "2025-06-28", "2.00") + partner_file("i-9", "", "9.00"))
    world.arrives(f"{name}_03", partner_file("i-3", "2025-06-28", "3.00"))
    world.arrives(f"{name}_02", partner_file("i-2", "2025-06-28", "5.00") + partner_file("i-9", "", "9.00"))

    assert world.rows() == {"2025-06-28 i-1": "1", "2025-06-28 i-2": "5", "2025-06-28 i-3": "3"}
    first, *others = world.services.chain.read(stream_of(P1, CYCLE))
    assert list(first.body["files"]) == [f"bills/{name}_01"]
    assert [(entry.body["files"], entry.body["rejects"]) for entry in others] == [({}, {})] * 3
    last = state.with_files(world.services, world.said("partner"))
    assert sorted(last.files) == [f"bills/{name}_{number}" for number in ("01", "02", "03")]
    assert list(last.rejects) == [f"file bills/{name}_02"]
    delivered = next(one for one, _ in world.pump.delivered if one.what.endswith("_03"))
    world.pump.deliver(delivered)  # once more
    assert len(world.seals()) == 4


@pytest.mark.parametrize("list_bytes", [32 * 1024, 0])
def test_rows_that_are_no_line_are_cases_wherever_they_are_listed(
    world: Files, list_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LISTS, list_bytes)
    document = parties(payers=[P1])
    document["payers"][0]["connector"] |= {"settled_source": "classic"}
    world.decide_parties(document)
    world.arrives(FULL, file_of(row("2025-06-28", "1.00"), row("2025-06-29", "1,234.50")))

    [case] = [one for one in world.cases() if one["kind"] == "bad_line"]
    assert "原价 1,234.50 is no number that can be held exactly" in str(case["key"])


def test_an_entry_has_room_for_however_many_files() -> None:
    about: dict[str, Any] = {
        "digest": "d" * 64, "form": "partner/1", "reading": "r" * 64, "written": "2025-07-04T02:00:00Z",
        "covers": "cycle", "whole": "w" * 50, "rows": 1000, "lines": 1000, "dates": list(map(str, range(31))),
        "rejects": {"count": 1, "key": "k" * 60},
    }  # fmt: skip
    files = {f"bills/{P1}_PartnerBillingItemDetail_202506_1_{n}": about for n in range(2000)}
    rejects = {f"file {name}": about["rejects"] for name in files}
    seal = Seal(P1, CYCLE, "i", "partner", "final", digest(b""), 1, {}, {}, rejects, {}, {}, files)
    short, listed = seal.shortened()

    assert len(canonical_json(short.body())) < 1000
    assert short.is_of_files
    kept = replace(seal, listed=short.listed)
    assert short.completed(listed) == kept
    few = replace(seal, files=dict(list(files.items())[:10]), rejects={})
    assert few.shortened() == (few, b"")
    assert "listed" not in few.body()


# -- sources ----------------------------------------------------------------------------------------------------


def test_a_source_that_is_not_settled_is_compared_and_settles_nothing(world: Files) -> None:
    world.settle_from("api")
    world.arrives(FULL, file_of(row("2025-06-28", "1.00")))

    assert world.seals() == []
    assert world.rows() == {}
    assert world.said().rows == 1


def test_a_file_settles_once_its_source_is_approved(world: Files) -> None:
    world.settle_from("api")
    world.arrives(FULL, file_of(row("2025-06-28", "1.00")))
    world.settle_from("classic")
    world.arrives(FULL, file_of(row("2025-06-28", "1.00")))

    assert [one.source for one in world.seals()] == ["classic"]
    assert world.rows() == {"2025-06-28 i-1": "1"}


# -- rows that are no line --------------------------------------------------------------------------------------


def test_a_row_that_is_no_line_becomes_a_case_and_the_rest_goes_on(world: Files) -> None:
    world.settle_from("classic")
    bad = row("2025-06-29", "1,234.50")
    world.arrives(FULL, file_of(row("2025-06-28", "1.00"), bad, row("2025-06-30", "2.00", 账单类型="赠送")))

    [rejects] = world.said().rejects.values()
    kept = json.loads(world.cloud.work.get(rejects["key"]))
    assert rejects["count"] == 2
    assert kept[0] == [1, 1, "原价 1,234.50 is no number that can be held exactly"]
    assert kept[1][2] == "账单类型 赠送 is of no known kind"
    assert world.note(FULL)["rows"] == 3


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "is empty"),
        (b"a,b\n1,2\n", "no known column"),
        (file_of(), "none of its 0 rows"),
        (file_of(row("2025-06-28", "1.00")).replace("应付金额".encode(), "应付".encode()), "lacks 应付金额"),
        (b"\xff\xfe" + "账期".encode("utf-16-le"), "UTF-16"),
        (b"PK\x03\x04rubbish", "no readable zip"),
        (file_of(row("2025-06-28", "1.00", 账号ID="999")), "has no connector"),
    ],
)
def test_a_file_that_fails_as_a_whole_is_kept_with_its_reason(world: Files, body: bytes, problem: str) -> None:
    payer = "999" if "connector" in problem else P1
    world.settle_from("classic")
    world.arrives(f"import/{payer}/{CYCLE}/strange.csv", body)

    [refusal] = world.pump.refusals
    assert problem in refusal["refused"]
    assert problem in world.note(f"import/{payer}/{CYCLE}/strange.csv")["refused"]
    assert world.cloud.stores["inbox"].get(f"bills/import/{payer}/{CYCLE}/strange.csv") == body
    assert world.seals() == []


@pytest.mark.parametrize("name", [FULL, day_file("2025-06-28")])
def test_a_refusal_of_a_corrected_file_names_the_bill_that_stands_as_it_was(world: Files, name: str) -> None:
    world.settle_from("classic")
    world.arrives(name, file_of(row("2025-06-28", "1.00")))
    world.arrives(name, file_of(row("2025-06-28", "1,00"), row("2025-06-29", "2,00")))

    [refusal] = world.pump.refusals
    assert "none of its 2 rows is a line" in refusal["refused"]
    assert refusal["refused"].endswith(f"what an earlier version of it said stands ({P1} {CYCLE}, entry 1)")
    assert world.note(name)["refused"] == refusal["refused"]
    assert world.rows() == {"2025-06-28 i-1": "1"}

    world.arrives(name, file_of(row("2025-06-28", "3.00")))
    assert world.rows() == {"2025-06-28 i-1": "3"}


def test_a_name_that_tells_neither_payer_nor_cycle_says_nothing_of_a_bill(world: Files) -> None:
    """A stray file must not take the place of a month."""
    world.settle_from("classic")
    world.arrives(FULL, file_of(row("2025-06-28", "1000.00")))
    world.arrives("july.csv", file_of(row("2025-06-30", "0.01")))

    [refusal] = world.pump.refusals
    assert "nothing tells its payer" in refusal["refused"]
    assert world.rows() == {"2025-06-28 i-1": "1000"}


def test_an_older_version_that_is_told_of_again_changes_nothing(world: Files) -> None:
    world.settle_from("partner")
    name = f"{P1}_PartnerBillingItemDetail_202506"
    world.arrives(f"{name}_1_01", partner_file("i-1", "2025-06-28", "1.00"), "2025-06-20T10:00:00+08:00")
    world.arrives(f"{name}_2_01", partner_file("i-2", "2025-06-29", "2.00"), "2025-06-25T10:00:00+08:00")
    event = next(one for one, _ in world.pump.delivered if one.what.endswith("_1_01"))
    world.pump.deliver(event)

    assert world.rows() == {"2025-06-29 i-2": "2"}
    assert len(world.seals()) == 2


def test_a_part_of_a_month_is_not_final_before_the_providers_totals_show_that_none_is_missing(world: Files) -> None:
    world.settle_from("partner")
    world.arrives(f"{P1}_PartnerBillingItemDetail_202506_1_01", partner_file("i-1", "2025-06-28", "1.00"))

    assert world.said("partner").status == "provisional"


def test_a_file_that_was_written_before_the_third_is_not_final_whenever_it_is_taken(world: Files) -> None:
    world.settle_from("classic")
    world.now = datetime.fromisoformat("2025-06-15T10:00:00+08:00")
    world.cloud.clock.now = world.now
    world.cloud.stores["inbox"].put_again(f"bills/{FULL}", file_of(row("2025-06-10", "1.00")))
    world.cloud.stores["inbox"].created.clear()  # its event is lost
    world.sweep("2025-07-04")
    world.sweep("2025-07-05")

    assert [one.status for one in world.seals()] == ["provisional"]


def test_older_files_are_read_again_when_a_name_becomes_known(world: Files) -> None:
    world.settle_from("classic")
    named = row("2025-06-28", "7.00", Owner账号="somebody@example")
    world.arrives(day_file("2025-06-28"), file_of(row("2025-06-28", "1.00"), named), "2025-06-29T10:00:00+08:00")
    assert world.said().totals["CNY"]["pretax"] == "1"
    world.settle_from("classic", account_names={"somebody@example": "1002"})
    world.arrives(day_file("2025-06-29"), file_of(row("2025-06-29", "2.00")), "2025-06-30T10:00:00+08:00")

    assert world.said().totals["CNY"]["pretax"] == "10"
    assert world.said().rejects == {}


def test_a_file_is_read_again_when_it_is_handed_in_after_its_reading_changed(world: Files) -> None:
    world.settle_from("classic")
    body = file_of(row("2025-06-28", "1.00"), row("2025-06-28", "7.00", Owner账号="somebody@example"))
    world.arrives(FULL, body)
    world.settle_from("classic", account_names={"somebody@example": "1002"})
    world.arrives(FULL, body)

    assert world.said().totals["CNY"]["pretax"] == "8"


def test_a_source_that_is_settled_again_is_sealed_again(world: Files) -> None:
    classic, partner = file_of(row("2025-06-28", "1.00")), partner_file("i-9", "2025-06-28", "2.00")
    world.settle_from("classic")
    world.arrives(FULL, classic)
    world.settle_from("partner")
    world.arrives(f"{P1}_PartnerBillingItemDetail_202506_1_01", partner)
    world.settle_from("classic")
    world.arrives(FULL, classic)

    assert [one.source for one in world.seals()] == ["classic", "partner", "classic"]
    assert world.rows() == {"2025-06-28 i-1": "1"}


def test_a_day_file_that_becomes_equal_to_another_takes_its_rows_back(world: Files) -> None:
    world.settle_from("classic")
    first = file_of(row("2025-06-28", "1.00"))
    world.arrives(day_file("2025-06-28"), first)
    world.arrives(day_file("2025-06-29"), file_of(row("2025-06-29", "2.00")))
    world.arrives(day_file("2025-06-29"), first)

    assert world.rows() == {"2025-06-28 i-1": "1"}


def test_gzip_bom_and_windows_line_ends_are_read(world: Files) -> None:
    world.settle_from("classic")
    body = b"\xef\xbb\xbf" + file_of(row("2025-06-28", "1.00")).replace(b"\n", b"\r\n")
    world.arrives(FULL, gzip.compress(body))

    assert world.said().totals["CNY"] == {"gross": "1", "pretax": "1"}


# -- repeated, killed, swept ------------------------------------------------------------------------------------


HOW = (Fault.LOSE_REQUEST, Fault.LOSE_RESPONSE)


@pytest.mark.parametrize("list_bytes", [32 * 1024, 0])
def test_whichever_call_fails_a_redelivery_leaves_what_a_clean_delivery_left(
    world: Files, record_property: Callable[[str, object], None], list_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second file of the same bill, so that rows change and a line is gone."""
    monkeypatch.setattr(LISTS, list_bytes)
    world.settle_from("classic")
    world.arrives(day_file("2025-06-28"), file_of(row("2025-06-28", "1.00"), row("2025-06-27", "7.00")))
    second = file_of(row("2025-06-28", "1.50"), row("2025-06-29", "x"), row("2025-06-30", "3.00"))
    world.cloud.stores["inbox"].put_again(f"bills/{FULL}", second)
    world.pump.collect()
    [delivery] = world.pump.waiting
    world.pump.waiting.clear()
    before = world.cloud.state()
    world.cloud.calls.begin()
    world.pump.functions[delivery.function].run(delivery.event, world.services)
    calls, clean = list(world.cloud.calls.made), world.cloud.state()
    assert len(world.seals()) == 2

    cases = 0
    for number, call in enumerate(calls):
        # Of what only looks it makes no difference which way its answer is lost: every other such call is tried.
        looks = call.startswith(("read", "find", "look", "list", "download"))
        for how in HOW[: number % 2 if looks else None]:
            world.cloud.restore(before)
            world.pump.waiting.clear()
            world.pump.delivered.clear()
            world.pump.fault = FailAt(0, number, how)
            world.pump.deliver(delivery)
            for again in world.pump.waiting:
                world.pump.deliver(again)
            after = world.cloud.state()
            assert after.objects == clean.objects, (call, how)
            assert {name: rows for name, rows in after.tables.items() if name != "steps"} == {
                name: rows for name, rows in clean.tables.items() if name != "steps"
            }, (call, how)
            cases += 1
    assert world.pump.refusals == []
    record_property("figures", f"{cases} failures of {len(calls)} calls")


def test_a_file_nobody_took_is_found_by_the_sweep(world: Files) -> None:
    world.settle_from("classic")
    world.now = datetime.fromisoformat("2025-07-04T10:00:00+08:00")
    world.cloud.clock.now = world.now
    world.cloud.stores["inbox"].put_again(f"bills/{FULL}", file_of(row("2025-06-28", "1.00")))
    world.cloud.stores["inbox"].created.clear()  # its event is lost
    world.pump.drain()
    assert world.seals() == []

    world.sweep("2025-07-04")
    world.sweep("2025-07-05")

    assert len(world.seals()) == 1
