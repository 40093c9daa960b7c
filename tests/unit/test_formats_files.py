"""Every form of bill file, read: each is recognised, no row is lost, and the sums are those of the provider's calls."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from shared.bill import formats
from shared.bill.files import unpack
from shared.bill.normalise import REJECTED, Reading, checked_sql
from shared.bill.raw import open_table
from shared.errors import BadInputError
from tests.bill_files import CYCLE, NAME, Billed, billed, classic, others

FORMS = {
    "classic-zh": "classic-zh",
    "classic-zh-old": "classic-zh",
    "classic-zh-zip": "classic-zh",
    "classic-zh-monthly": "classic-zh",
    "classic-zh-instance": "classic-zh-instance",
    "classic-zh-split": "classic-zh-split",
    "classic-en": "classic-en",
    "classic-en-instance": "classic-en-instance",
    "v2": "v2",
    "v2-selected": "v2",
    "v2-zip": "v2",
    "console-v2": "v2",
    "console-zh": "console-zh",
    "console-zh-rounded": "console-zh",
    "partner-csv": "partner",
    "partner-parquet": "partner",
}
PARTNERS = ("partner-csv", "partner-parquet")
# Files that are the whole month by name, with their other parts; a rolling export does not say so.
WHOLE = frozenset(FORMS) - {"console-zh", "console-zh-rounded"}


@dataclass(frozen=True, slots=True)
class Read:
    """What was read of all files."""

    connection: duckdb.DuckDBPyConnection
    bill: Billed
    paths: dict[str, Path]

    def rows(self, key: str) -> list[dict[str, Any]]:
        """The rows of a file as lines, in the order of the file."""
        found = self.connection.execute(f'SELECT * FROM "{key}" ORDER BY page, row')
        names = [column[0] for column in found.description]
        return [dict(zip(names, row, strict=True)) for row in found.fetchall()]

    def lines(self, key: str) -> list[dict[str, Any]]:
        """Those of them that are lines."""
        return [row for row in self.rows(key) if row["place"] not in (REJECTED, "total")]

    def sums(self, key: str, amount: str) -> dict[tuple[str, str], Decimal]:
        """An amount by account and product."""
        found: dict[tuple[str, str], Decimal] = {}
        for line in self.lines(key):
            by = (line["account"], line["product_code"])
            found[by] = found.get(by, Decimal(0)) + line[amount]
        return found


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Read]:
    folder = tmp_path_factory.mktemp("forms")
    with billed(folder / "home", 1_200) as bill, duckdb.connect() as connection:
        paths = {**classic(folder, bill), **others(folder, bill)}
        for key, path in paths.items():
            _read(connection, key, path, bill.account, folder)
        yield Read(connection, bill, paths)


def _read(connection: duckdb.DuckDBPyConnection, key: str, path: Path, payer: str, folder: Path) -> None:
    spill = folder / f"unpacked-{key}"
    spill.mkdir()
    queries = []
    for page, member in enumerate(unpack(path, path.name, spill), 1):
        table = open_table(connection, member, page)
        reading = Reading(table.form, "negative", payer=payer, cycle=CYCLE, currency="CNY", accounts={NAME: payer})
        queries.append(f"({checked_sql(reading, table.rows, table.headers)})")
    connection.execute(f'CREATE TABLE "{key}" AS {" UNION ALL BY NAME ".join(queries)}')


@pytest.mark.parametrize("key", FORMS)
def test_a_file_is_recognised_by_its_columns(read: Read, key: str, tmp_path: Path) -> None:
    path = read.paths[key]

    forms = {open_table(read.connection, one, 1).form.name for one in unpack(path, path.name, tmp_path)}

    assert forms == {FORMS[key]}


def test_every_form_has_a_file_here_but_that_of_the_calls() -> None:
    assert set(FORMS.values()) == formats.known().keys() - {"bss-api"}


@pytest.mark.parametrize("key", FORMS)
def test_no_row_is_lost(read: Read, key: str) -> None:
    rejected = [row for row in read.rows(key) if row["place"] == REJECTED]

    # The console's older bill ends in a row of sums, which is none of the bill's.
    assert [row["reason"] for row in rejected][1 if key == "console-zh" else 0 :] == []
    assert {row["broken"] for row in read.lines(key)} == {None}


@pytest.mark.parametrize(("amount", "field"), [("pretax", "PretaxAmount"), ("gross", "PretaxGrossAmount")])
@pytest.mark.parametrize("key", FORMS)
def test_sums_by_account_and_product_are_the_calls(read: Read, key: str, amount: str, field: str) -> None:
    expected = {
        (owner, product): amounts[field]
        for (owner, product), amounts in read.bill.sums("owner", "product").items()
        if key not in PARTNERS or owner in read.bill.customers
    }

    assert read.sums(key, amount) == expected


@pytest.mark.parametrize("key", ["classic-zh", "classic-en", "v2", "console-v2", "console-zh", *PARTNERS])
def test_kinds_are_those_of_the_calls(read: Read, key: str) -> None:
    names = {
        "SubscriptionOrder": "subscription",
        "PayAsYouGoBill": "usage",
        "Refund": "refund",
        "Adjustment": "adjustment",
    }
    expected: dict[str, Decimal] = {}
    for (kind, owner), amounts in read.bill.sums("kind", "owner").items():
        if key not in PARTNERS or owner in read.bill.customers:
            expected[names[kind]] = expected.get(names[kind], Decimal(0)) + amounts["PretaxAmount"]
    found: dict[str, Decimal] = {}
    for line in read.lines(key):
        found[line["kind"]] = found.get(line["kind"], Decimal(0)) + line["pretax"]

    assert found == expected
    assert len(found) == 4


@pytest.mark.parametrize("key", ["classic-zh", "classic-en", "v2", "console-zh", "partner-csv"])
def test_dates_are_those_of_the_calls(read: Read, key: str) -> None:
    expected: dict[str, Decimal] = {}
    for (date, owner), amounts in read.bill.sums("date", "owner").items():
        if key not in PARTNERS or owner in read.bill.customers:
            expected[date] = expected.get(date, Decimal(0)) + amounts["PretaxAmount"]
    found: dict[str, Decimal] = {}
    for line in read.lines(key):
        found[str(line["date"])] = found.get(str(line["date"]), Decimal(0)) + line["pretax"]

    assert found == expected


@pytest.mark.parametrize("key", ["classic-zh", "classic-en", "v2", "console-zh", "partner-csv", "classic-zh-instance"])
def test_regions_are_ids_in_both_languages(read: Read, key: str) -> None:
    assert {line["region"] for line in read.lines(key)} == {
        "cn-hangzhou", "cn-beijing", "cn-shenzhen", "ap-southeast-1",
    }  # fmt: skip


@pytest.mark.parametrize("key", ["classic-zh", "classic-en", "v2", "partner-csv"])
def test_subscription_types_are_codes(read: Read, key: str) -> None:
    found = {line["subscription_type"] for line in read.lines(key) if line["kind"] != "adjustment"}

    assert found == {"Subscription", "PayAsYouGo"}


def test_a_line_is_the_same_whatever_language_and_age_its_file_has(read: Read) -> None:
    def told(key: str) -> list[dict[str, Any]]:
        # A file in Chinese knows who owns a line by name alone, and files of before 2023 have no key.
        return [{name: value for name, value in line.items() if name != "product_name"} for line in read.lines(key)]

    assert told("classic-zh") == told("classic-zh-old") == told("classic-en")


def test_the_new_bill_names_its_lines_and_the_zipped_one_names_them_the_same(read: Read) -> None:
    ids = [line["source_id"] for line in read.lines("v2")]

    assert len(set(ids)) == len(ids)
    assert ids == [line["source_id"] for line in read.lines("v2-zip")]
    assert set(ids) == {line["source_id"] for line in read.lines("v2-selected")}


def test_usage_is_the_same_in_the_new_bill_as_in_the_calls(read: Read) -> None:
    def usage(key: str) -> Decimal:
        found = [line["usage"] for line in read.lines(key) if line["billing_item"] and line["usage"] is not None]
        return sum(found, Decimal(0))

    assert usage("v2") == usage("classic-zh") == usage("console-zh") > 0


@pytest.mark.parametrize("key", FORMS)
def test_a_name_says_what_a_file_covers_where_it_can(read: Read, key: str) -> None:
    form = formats.load(FORMS[key])
    covers = {name.covers for name in form.names if name.pattern.fullmatch(read.paths[key].name)}

    assert covers == ({"cycle"} if key in WHOLE else set())


@pytest.mark.parametrize(
    ("form", "name", "covers"),
    [
        ("classic-zh", "169_BillingItemDetail_20250610", "day"),
        ("classic-zh", "169_BillingItemDetail_202506", "cycle"),
        ("classic-en", "169_BillingItemDetailMonthly_202506", "cycle"),
        ("classic-zh-instance", "169_InstanceDetail_20250610", "day"),
        ("classic-en-instance", "169_InstanceDetailMonthly_202506", "cycle"),
        ("classic-zh-split", "169_SplitItemDetailDaily_202506", "cycle"),
        ("v2", "169_2688801000001_consumeDetailBillV2_20250610", "cycle"),
        ("v2", "169-20260325130300_consumedetailbillv2_2025-12.csv", "cycle"),
        ("v2", "169-20260325130300_consumedetailbillv2.csv", None),
        ("partner", "169_PartnerBillingItemDetail_20250610_0001_02", "day"),
        ("partner", "169_PartnerBillingItemDetail_202506_0001_02", "cycle"),
    ],
)
def test_documented_names_are_known(form: str, name: str, covers: str | None) -> None:
    found = [one.covers for one in formats.load(form).names if one.pattern.fullmatch(name)]

    assert found == ([] if covers is None else [covers])


def test_words_for_regions_are_ids() -> None:
    words = formats.load("classic-zh").values["region"]

    assert words["China (Hangzhou)"] == words["华东1（杭州）"] == "cn-hangzhou"
    assert all(code.isascii() and code == code.lower() and "-" in code for code in words.values())


def test_words_that_are_not_there_are_told() -> None:
    body = (Path(formats.__file__).parent / "partner.toml").read_bytes().replace(b'"regions"', b'"seas"')

    with pytest.raises(BadInputError, match="there are no words 'seas'"):
        formats.parse(body, "partner.toml")
