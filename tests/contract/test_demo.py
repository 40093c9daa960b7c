"""`clearbook demo` as people run it: twice in one home, killed and resumed in another, its files added up elsewhere."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import openpyxl
import pytest
from lxml import etree

from infra.clearbook.context import start_local
from infra.clearbook.demo.month import month
from shared.report.catalogue import catalogue
from shared.report.language import figure
from tests.contract.kept import differences, kept
from tests.contract.reported import Reported, by

LINES = 6000  # of the whole month; from SINCE on about a thirtieth, on its last day
SINCE = 30
CYCLE = "2025-06"
ROOT = Path(__file__).parents[2]
TIMEOUT_S = 600
KILLS = int(os.environ.get("CLEARBOOK_KILLS", "4"))  # each plays on what the one before left
MASTER = base64.b64encode(b"the same in both homes, 32 bytes.").decode()
LOOK_S = 0.01


def begin(home: Path, result: Path) -> subprocess.Popen[str]:
    """Start the demo in `home`."""
    month = ["--lines", str(LINES), "--cycle", CYCLE, "--since", str(SINCE)]
    arguments = ["demo", *month, "--json", str(result), "--home", str(home)]
    command = [sys.executable, "-m", "infra.clearbook.main", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def kill_at(process: subprocess.Popen[str], home: Path, events: int) -> None:
    """Kill the demo with everything it started, at once, when so many objects have been created in its home."""
    while created(home) < events:
        assert process.poll() is None, f"it ended before event {events}:\n{process.communicate()[0]}"
        time.sleep(LOOK_S)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=TIMEOUT_S)


def created(home: Path) -> int:
    """How many events OSS has recorded in a home."""
    path = home / "oss" / "oss.db"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
        try:
            return int(database.execute("SELECT coalesce(max(id), 0) FROM event").fetchone()[0])
        except sqlite3.OperationalError:  # just being made
            return 0


def finish(process: subprocess.Popen[str]) -> str:
    """What it printed."""
    printed, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, printed
    return printed


def refuse_float(text: str) -> Any:
    raise AssertionError(f"{text} is a float")


class Played:
    """The demo of one home, what it said each time, and what another home said."""

    def __init__(self, folder: Path) -> None:
        self.home, self.there = folder / "here", folder / "there"
        for home in (self.home, self.there):  # what links are derived from, and the log of who got them
            home.mkdir()
            (home / "secrets.json").write_text(json.dumps({"webhooks": {"master": MASTER}}), encoding="utf-8")
        self.first_printed = finish(begin(self.home, folder / "first.json"))
        # Spread over all that the month writes; the last kills fall on the locks, the files and the payout.
        events = created(self.home)
        for kill in range(1, KILLS + 1):
            kill_at(begin(self.there, folder / "other.json"), self.there, events * kill // (KILLS + 1))
        finish(begin(self.there, folder / "other.json"))
        self.again_printed = finish(begin(self.home, folder / "again.json"))
        self.first, self.again, self.other = (
            json.loads((folder / f"{name}.json").read_bytes()) for name in ("first", "again", "other")
        )
        self.text = (folder / "first.json").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return Played(tmp_path_factory.mktemp("demo"))


def ids(result: dict[str, Any]) -> dict[str, Any]:
    """What names content, and so must be the same wherever the same month is played."""
    return {
        "bill_lines": result["bill_lines"],
        "snapshots": result["snapshots"],
        "settlements": [
            {name: value for name, value in one.items() if name != "statement_links"} for one in result["settlements"]
        ],
        "payout_files": [(one["key"], one["sha256"]) for one in result["payout_files"]],
        "cases": result["cases"],
    }


def test_the_result_has_the_shape_that_other_programs_read(played: Played) -> None:
    result = played.first

    assert LINES // 60 < result["bill_lines"] == sum(one["rows"] for one in result["snapshots"]) < LINES // 20
    for one in result["snapshots"]:
        assert {"id", "account", "cycle", "status", "rows", "totals"} <= one.keys()
        assert (one["cycle"], one["status"], len(one["id"])) == (CYCLE, "final", 64)
    for one in result["settlements"]:
        wanted = {"id", "cycle", "reseller", "currency", "state", "lines", "total", "statement_links"}
        assert wanted <= one.keys()
        assert (one["cycle"], one["state"], len(one["id"])) == (CYCLE, "confirmed", 64)
        assert isinstance(one["total"], str)
    for one in result["cases"]:
        assert {"id", "kind", "reseller", "lines"} <= one.keys()
    assert len({one["id"] for one in result["cases"]}) == len(result["cases"])
    assert len(result["settlements"]) >= 2
    assert result["payout_files"]
    assert result["elapsed_s"] > 0
    assert result["peak_rss_mb"] > 0


def test_no_amount_is_a_float(played: Played) -> None:
    result = json.loads(played.text)
    del result["elapsed_s"]

    json.loads(json.dumps(result), parse_float=refuse_float)


def test_playing_it_again_changes_nothing(played: Played) -> None:
    assert "Nothing was changed" not in played.first_printed
    assert "Nothing was changed" in played.again_printed
    assert ids(played.again) == ids(played.first)


def test_another_home_killed_again_and_again_says_the_same(played: Played) -> None:
    assert ids(played.other) == ids(played.first)


def test_another_home_killed_again_and_again_keeps_the_same_objects_rows_and_heads(
    played: Played, record_property: Callable[[str, object], None]
) -> None:
    clean, killed = kept(played.home), kept(played.there)

    assert differences(killed, clean) == []
    assert killed.counts == clean.counts
    assert killed.heads.keys() >= {"grants", "parties", f"cycle/{CYCLE}"}
    assert all(clean.counts[table] for table in ("bill_lines", "cases", "chain", "payouts", "settlements"))
    record_property("figures", f"{KILLS} kills, then equal: {clean.counts}, {len(clean.heads)} heads of streams")


def test_a_home_in_which_a_byte_a_row_or_a_head_differs_is_told(played: Played) -> None:
    clean = kept(played.home)
    key = next(iter(clean.objects))
    chain = {**clean.tables["chain"], "more": "a row"}

    assert differences(clean, replace(clean, objects={**clean.objects, key: "other"})) != []
    assert differences(clean, replace(clean, tables={**clean.tables, "chain": chain})) != []
    assert differences(clean, replace(clean, heads={**clean.heads, "parties": (1, "other")})) != []


class Files:
    """The files of the month, opened by the links that the demo printed."""

    def __init__(self, played: Played, endpoint: str) -> None:
        self._played, self._endpoint = played, urlsplit(endpoint)

    def open(self, link: str) -> bytes:
        """A file by its link, wherever the local cloud answers now."""
        parts = urlsplit(link)
        here = urlunsplit((self._endpoint.scheme, self._endpoint.netloc, parts.path, parts.query, ""))
        with urllib.request.urlopen(here, timeout=30) as answer:  # noqa: S310 - our own loopback link
            body: bytes = answer.read()
        return body

    def statement(self, one: dict[str, Any], kind: str) -> bytes:
        """A settlement's statement as `kind`."""
        [link] = [link for link in one["statement_links"] if urlsplit(link).path.endswith(f".{kind}")]
        return self.open(link)

    @property
    def payouts(self) -> list[dict[str, str]]:
        """The rows of all payout files that are CSV."""
        return [row for name, body in self.paid.items() if name.endswith(".csv") for row in rows_of(body)]

    @property
    def paid(self) -> dict[str, bytes]:
        """All payout files by key."""
        found = {one["key"]: self.open(one["link"]) for one in self._played.first["payout_files"]}
        for one in self._played.first["payout_files"]:
            assert hashlib.sha256(found[one["key"]]).hexdigest() == one["sha256"]
        return found


def rows_of(body: bytes) -> list[dict[str, str]]:
    """A CSV file as the csv module reads it."""
    return list(csv.DictReader(io.StringIO(body.decode("utf-8-sig"), newline="")))


@pytest.fixture(scope="module")
def files(played: Played) -> Iterator[Files]:
    """The local cloud over the home of the first demo, up again."""
    with start_local(played.home) as cloud:
        yield Files(played, cloud.endpoints()["oss"]["endpoint"])


def test_the_lines_of_each_statement_add_up_to_its_total(played: Played, files: Files) -> None:
    for one in played.first["settlements"]:
        lines = rows_of(files.statement(one, "csv"))
        assert lines
        assert {line["currency"] for line in lines} == {one["currency"]}
        assert sum(Decimal(line["amount"]) for line in lines) == Decimal(one["total"])
        assert len({line["reseller"] for line in lines}) == 1


def test_the_workbook_and_the_json_say_what_the_csv_says(played: Played, files: Files) -> None:
    for one in played.first["settlements"]:
        lines = [(line["rule"], line["kind"], Decimal(line["amount"])) for line in rows_of(files.statement(one, "csv"))]
        book = openpyxl.load_workbook(io.BytesIO(files.statement(one, "xlsx")))
        [head, *body, foot] = book["Lines 明细"].values
        rule, kind, amount = (head.index(name) for name in ("Rule 规则", "Kind 类别", "Amount 金额"))
        rows = list(book["Statement"].values)
        sums = [next(Decimal(str(row[1])) for row in rows if row[0] == name) for name in ("Total", "Payable")]
        data = json.loads(files.statement(one, "json"), parse_float=refuse_float)

        shown = [(row[rule], row[kind].split()[0].lower(), Decimal(str(row[amount]))) for row in body]
        assert shown == lines
        assert (foot[0], Decimal(str(foot[amount]))) == ("Total 合计", Decimal(one["total"]))
        assert sums == [Decimal(one["total"]), Decimal(one["payable"])]
        assert [(line["rule"], line["kind"], Decimal(line["amount"])) for line in data["lines"]] == lines
        assert (data["total"], data["payable"], data["settlement"]) == (one["total"], one["payable"], one["id"])


def test_the_payout_file_pays_each_payable_once(played: Played, files: Files) -> None:
    expected = {
        (f"{CYCLE}.{one['reseller']}.{one['agreement']}", Decimal(one["payable"]), one["currency"])
        for one in played.first["settlements"]
    }
    paid = [(row["instruction"], Decimal(row["amount"]), row["currency"]) for row in files.payouts]

    assert len(paid) == len(set(paid))
    assert set(paid) == expected


def test_the_payment_file_fits_its_schema_and_says_what_the_list_says(files: Files) -> None:
    schema = etree.XMLSchema(etree.parse(str(ROOT / "shared/payout/schemas/pain.001.001.09.xsd")))
    documents = [etree.fromstring(body) for name, body in files.paid.items() if name.endswith(".xml")]
    for document in documents:
        schema.assertValid(document)

    space = {"p": documents[0].nsmap[None]}
    paid = [
        (one.findtext(".//p:EndToEndId", None, space), one.findtext(".//p:InstdAmt", None, space))
        for document in documents
        for one in document.iterfind(".//p:CdtTrfTxInf", space)
    ]
    assert sorted(paid) == sorted((row["instruction"], row["amount"]) for row in files.payouts)


def test_every_report_adds_up_to_the_bill_the_statements_and_the_payout_in_every_format(
    played: Played, files: Files, tmp_path: Path
) -> None:
    def of(name: str, as_: str = "operator", **more: Any) -> Reported:
        return Reported(played.home, tmp_path, name, as_, CYCLE, **more)

    reports = {name: of(name) for name in catalogue()}
    assert {name: found for name, one in reports.items() if (found := one.same_everywhere())} == {}

    # The bill: whatever it is broken down by, it is what the provider billed until the lock, and the rest is said.
    late = [one for one in played.first["cases"] if one["kind"] == "arrived_after_lock" and Decimal(one["amount"])]
    for one in late:
        changed = f"the bill of {one['reseller']} changed after the lock by {one['lines']:+} lines"
        said = f"{changed} and {figure(one['amount'])} {one['currency']};"
        assert said in str(reports["billing_summary"].about["notes"])
    after = sum((Decimal(one["amount"]) for one in late), Decimal(0))
    billed = sum((Decimal(one["totals"]["CNY"]["pretax"]) for one in played.first["snapshots"]), Decimal(0))
    for name in ("billing_summary", "service_costs", "usage_detail", "allocation", "trend", "reseller_margin"):
        assert reports[name].total("cost") == billed - after, name
    assert reports["focus_export"].total("BilledCost") == billed - after
    finance, lines = reports["finance_summary"], reports["usage_detail"]
    assert [finance.total(one) for one in ("billed", "settled", "unexplained")] == [billed, billed, 0]
    is_known = [one for one in lines.rows if one["resale_price"] is not None and one["cost"] is not None]
    assert reports["reseller_margin"].total("margin") == sum(one["resale_price"] - one["cost"] for one in is_known)

    # What is no usage, line by line, is what the summary sets apart.
    summary = reports["billing_summary"]
    for charge in ("refund", "credit", "adjustment"):
        apart = [
            reports[name].total("cost", by("charge", charge))
            for name in ("billing_summary", "service_costs", "adjustments")
        ]
        assert len(set(apart)) == 1, charge

    # The statements: as they were published, and as the bank was told to pay them.
    for one in played.first["settlements"]:
        is_its = by("reseller", one["reseller"])
        published = rows_of(files.statement(one, "csv"))
        detail = [row for row in reports["commission_detail"].rows if is_its(row)]
        assert sorted((row["rule"], row["kind"], row["amount"]) for row in detail) == sorted(
            (line["rule"], line["kind"], Decimal(line["amount"])) for line in published
        )
        exact = summary.total("commission", is_its)
        assert exact.quantize(Decimal("0.01"), ROUND_HALF_UP) == Decimal(one["total"])
        for name in ("statements", "finance_summary"):
            told = [reports[name].total(column, is_its) for column in ("total", "payable", "paid")]
            assert told == [Decimal(one[column]) for column in ("total", "payable", "payable")], name
    paid = sum((Decimal(row["amount"]) for row in files.payouts), Decimal(0))
    assert reports["statements"].total("paid") == paid > 0

    # Each party's price is the next one's cost, and customers are charged what resellers sold for.
    sellers = sorted({one["reseller"] for one in played.first["settlements"]})
    margins = {one: of("reseller_margin", f"reseller:{one}", formats=("parquet",)) for one in sellers}
    for reseller, margin in margins.items():
        assert margin.total("cost") == summary.total("resale_price", by("reseller", reseller)) > 0
    for customer in sorted({one["customer"] for one in margins["aurora"].rows})[:2]:
        charged = of("billing_summary", f"customer:{customer}", formats=("parquet",))
        sold = [one.total("resale_price", by("customer", customer)) for one in margins.values()]
        assert charged.total("price") == sum(sold), customer


def test_bean_check_accepts_the_journal_of_the_month(played: Played, files: Files, tmp_path: Path) -> None:
    book = tmp_path / "books.beancount"
    ask = [sys.executable, "-m", "infra.clearbook.main", "journal", "--home", str(played.home), "--output", str(book)]
    subprocess.run(ask, cwd=ROOT, check=True, timeout=TIMEOUT_S)
    check = [Path(sys.executable).with_name("bean-check"), book]
    checked = subprocess.run(check, capture_output=True, text=True, timeout=TIMEOUT_S)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    for one in played.first["settlements"]:
        assert (
            f"Liabilities:Resellers:{one['reseller'].title()}  -{one['payable']} {one['currency']}" in book.read_text()
        )


def said(home: Path, *arguments: str) -> Any:
    """What `clearbook bill` writes as JSON."""
    command = [sys.executable, "-m", "infra.clearbook.main", "bill", *arguments, "--home", str(home), "--json", "-"]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT_S).stdout)


def test_bill_diff_lists_exactly_the_lines_that_came_late(played: Played, files: Files) -> None:
    """Between the last daily round, at nine on the 3rd, and the final one."""
    found = 0
    for payer in month(1, CYCLE, LINES).payers:
        late = sorted(
            (item["InstanceID"], item["BillingItemCode"], Decimal(str(item["PretaxAmount"])))
            for visible, _, billed, item in month(1, CYCLE, LINES).bill(payer.account)
            if billed == f"{CYCLE}-{SINCE}" and visible > "2025-07-03T09:00:00+08:00"
        )
        bill = ["--account", payer.account, "--cycle", CYCLE]
        seals = said(played.home, "show", *bill)["entries"]
        [final] = [number for number, one in enumerate(seals) if one["slot"].startswith("f20250703T")]
        between = [str(one["seq"]) for one in seals[final - 1 : final + 1]]
        told = said(played.home, "diff", *between, *bill, "--limit", "0")
        listed = [
            (one["instance_id"], one["billing_item_code"], Decimal(one["after"]["pretax"]))
            for one in told["lines"]
            if one["how"] == "added"
        ]

        assert sorted(listed) == late
        assert (told["removed"], told["changed"]) == (0, 0)
        found += len(late)
    assert found
