"""What each port promises, held by the fakes of the tests and by the shipped adapters over genuine local services."""

from __future__ import annotations

import hashlib
import json
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from infra.localcloud import common
from infra.localcloud.bss.load import add_items, add_payer
from infra.provision.plan import TABLES
from shared.bill.api import RefusedByProviderError, parse_overview, parse_page
from shared.cloud.admin import BucketAdmin, TableAdmin
from shared.cloud.bss import BssApi
from shared.cloud.credentials import AccessKey
from shared.cloud.oss import OssStore
from shared.cloud.patience import Patience
from shared.cloud.tablestore import TablestoreRows
from shared.errors import ClearbookError, SettingError
from shared.ports import BillApi, Key, ObjectConflictError, ObjectMissingError, ObjectStore, Rows, ServiceError, Value
from tests.builders import item
from tests.fakes import Item, MemoryRows, MemoryStore, Provider, ScriptedBill, envelope

SECRET = "a-secret-that-nobody-may-read"
QUICK = Patience(total_s=5.0, first_pause_s=0.4, longest_pause_s=0.8)
ONCE = Patience(total_s=0.0)
NOBODY = "http://127.0.0.1:9"  # the discard port: nobody listens
_numbers = count()


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    # The SDKs ask a proxy of the environment for 127.0.0.1 too, whatever NO_PROXY says.
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("ports")
    common.Clock(home).set(None)
    return home


def key_of(home: Path, **changed: str) -> AccessKey:
    """The key of the local cloud, or one with another id or secret."""
    keys = common.load_keys(home)
    return AccessKey(changed.get("id", keys.access_key_id), changed.get("secret", keys.access_key_secret))


def at_once(work: Callable[[int], Any], threads: int = 8) -> list[Any]:
    """The results of threads that start together."""
    barrier = threading.Barrier(threads)

    def one(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, range(threads)))


def refused(call: Callable[[], object], *said: str) -> ServiceError:
    """The ServiceError of a call: no SDK exception, nothing secret, and a next step."""
    with pytest.raises(ServiceError) as caught:
        call()
    message = str(caught.value)
    assert SECRET not in message
    assert "; " in message, "it says what to do"
    for one in said:
        assert one in message
    return caught.value


# -- object storage -----------------------------------------------------------------------------------------------


@dataclass
class Storage:
    """A bucket, and how a link into it is opened."""

    store: ObjectStore
    open: Callable[[str], tuple[bytes, str]]


@pytest.fixture(scope="module")
def oss(home: Path) -> Iterator[common.Service]:
    service = common.start("oss", home)
    yield service
    service.stop()


def oss_store(home: Path, oss: common.Service, bucket: str, **changed: str) -> OssStore:
    endpoint = changed.pop("endpoint", f"http://127.0.0.1:{oss.port}")
    key = key_of(home, **changed)
    patience = ONCE if endpoint == NOBODY else QUICK
    return OssStore(endpoint, "cn-hangzhou", bucket, lambda: key, patience)


@pytest.fixture(params=["fake", "oss"])
def storage(request: pytest.FixtureRequest, home: Path) -> Storage:
    bucket = f"ports-{next(_numbers)}"
    if request.param == "fake":
        store = MemoryStore(bucket)
        return Storage(store, store.opened)
    oss = request.getfixturevalue("oss")
    BucketAdmin(f"http://127.0.0.1:{oss.port}", "cn-hangzhou", bucket, key_of(home)).create()
    return Storage(oss_store(home, oss, bucket), _open)


def _open(link: str) -> tuple[bytes, str]:
    with urllib.request.urlopen(link, timeout=10) as answer:  # noqa: S310 - our own loopback link
        disposition = answer.headers["Content-Disposition"]
        return answer.read(), unquote(disposition.partition("UTF-8''")[2])


BODIES = [b"", b"one", bytes(range(256)) * 50]


@pytest.mark.parametrize("body", BODIES, ids=len)
def test_what_is_put_is_read_back(storage: Storage, body: bytes) -> None:
    assert storage.store.put_once("a/b.bin", body) is True
    assert storage.store.get("a/b.bin") == body
    assert storage.store.find("a/b.bin") == body
    assert storage.store.exists("a/b.bin")


def test_putting_the_same_once_more_is_no_news_and_other_content_a_conflict(storage: Storage) -> None:
    storage.store.put_once("a", b"one")

    assert storage.store.put_once("a", b"one") is False
    with pytest.raises(ObjectConflictError, match="already exists with other content"):
        storage.store.put_once("a", b"two")
    assert storage.store.get("a") == b"one"


def test_of_many_who_put_other_content_at_once_one_wins_and_the_others_know(storage: Storage) -> None:
    def put(number: int) -> bool | str:
        try:
            return storage.store.put_once("a", b"%d" % number)
        except ObjectConflictError:
            return "conflict"

    results = at_once(put)
    assert sorted(map(str, results)) == ["True", *["conflict"] * 7]
    assert storage.store.get("a") == b"%d" % results.index(True)


def test_of_many_who_put_the_same_at_once_one_made_it(storage: Storage) -> None:
    assert sorted(at_once(lambda _: storage.store.put_once("a", b"one"))) == [*[False] * 7, True]


def test_putting_again_replaces(storage: Storage) -> None:
    storage.store.put_again("a", b"one")
    storage.store.put_again("a", b"two")

    assert storage.store.get("a") == b"two"


def test_what_is_missing_is_named(storage: Storage) -> None:
    assert storage.store.find("nobody") is None
    assert not storage.store.exists("nobody")
    with pytest.raises(ObjectMissingError, match=f"'nobody' in bucket '{storage.store.bucket}'"):
        storage.store.get("nobody")


ODD_KEYS = ["with space.json", "a+b&c=d?e#f", "结算/2025-06.csv", "%2e%2e/%00", "=1+1", "quote'\"<>"]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_a_name_is_kept_letter_by_letter(storage: Storage, key: str) -> None:
    storage.store.put_once(key, b"one")

    assert storage.store.get(key) == b"one"
    assert list(storage.store.keys("")) == [key]
    assert storage.open(storage.store.link(key, 60, "file.csv")) == (b"one", "file.csv")


def test_names_come_in_order_over_more_than_one_page(storage: Storage) -> None:
    names = [f"p/{n:04d}" for n in range(1005)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: storage.store.put_once(name, b""), [*reversed(names), "o", "q/1"]))

    assert list(storage.store.keys("p/")) == names
    assert list(storage.store.keys("")) == ["o", *names, "q/1"]
    assert list(storage.store.keys("nobody/")) == []
    assert next(iter(storage.store.keys("p/"))) == "p/0000"


def test_names_are_ordered_by_their_bytes(storage: Storage) -> None:
    for name in ("b", "B", "é", "\U0001f600", "\uffee", "a/", "a"):
        storage.store.put_once(name, b"")

    assert list(storage.store.keys("")) == ["B", "a", "a/", "b", "é", "\uffee", "\U0001f600"]


def test_a_file_is_uploaded_once_and_downloaded_whole(storage: Storage, tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_bytes(b"x" * 100_000)

    assert storage.store.upload_once("parts/1", source) is True
    assert storage.store.upload_once("parts/1", source) is False
    storage.store.download("parts/1", target)
    assert target.read_bytes() == source.read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source", "target"]


def test_a_file_that_is_uploaded_again_replaces(storage: Storage, tmp_path: Path) -> None:
    for body in (b"one", b"x" * 100_000, b""):
        (tmp_path / "source").write_bytes(body)
        storage.store.upload_again("inbox/1", tmp_path / "source")
        assert storage.store.get("inbox/1") == body


def test_a_download_of_what_is_missing_leaves_no_file(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(ObjectMissingError):
        storage.store.download("nobody", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_what_is_deleted_is_gone_and_deleting_it_again_is_no_error(storage: Storage) -> None:
    storage.store.put_once("a", b"one")
    storage.store.delete("a")
    storage.store.delete("a")

    assert not storage.store.exists("a")
    assert storage.store.put_once("a", b"two") is True


def test_a_link_downloads_the_object_under_the_name_it_was_given(storage: Storage) -> None:
    storage.store.put_once("statements/a.csv", b"one")

    assert storage.open(storage.store.link("statements/a.csv", 60, "结算 2025-06.csv")) == (b"one", "结算 2025-06.csv")


@pytest.mark.parametrize("life", [-1, 0, 7 * 24 * 3600 + 1])
def test_a_link_lives_a_second_to_seven_days(storage: Storage, life: int) -> None:
    storage.store.put_once("a", b"one")
    with pytest.raises(SettingError, match="give 1 to 604800 seconds"):
        storage.store.link("a", life, "a")
    for good in (1, 7 * 24 * 3600):
        assert storage.store.link("a", good, "a")


def verbs(store: ObjectStore, folder: Path) -> Mapping[str, Callable[[], object]]:
    """Everything that can be done with a bucket."""
    file = folder / "file"
    file.write_bytes(b"one")
    return {
        "read": lambda: store.get("a"),
        "find": lambda: store.find("a"),
        "look": lambda: store.exists("a"),
        "create": lambda: store.put_once("a", b"one"),
        "write": lambda: store.put_again("a", b"one"),
        "upload": lambda: store.upload_once("a", file),
        "upload again": lambda: store.upload_again("a", file),
        "download": lambda: store.download("a", folder / "target"),
        "list": lambda: list(store.keys("")),
        "delete": lambda: store.delete("a"),
    }


VERBS = ("read", "find", "look", "create", "write", "upload", "upload again", "download", "list", "delete")


@pytest.mark.parametrize("verb", VERBS)
def test_a_missing_bucket_says_how_to_make_it(home: Path, oss: common.Service, tmp_path: Path, verb: str) -> None:
    store = oss_store(home, oss, "not-there")

    error = refused(verbs(store, tmp_path)[verb], "no such bucket", "clearbook provision", "'not-there'")
    assert not error.retryable


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("changed", [{"secret": SECRET}, {"id": "LTAInobody", "secret": SECRET}], ids=["secret", "id"])
def test_a_wrong_key_is_named_without_its_secret(
    home: Path, oss: common.Service, tmp_path: Path, verb: str, changed: dict[str, str]
) -> None:
    error = refused(verbs(oss_store(home, oss, "any", **changed), tmp_path)[verb], "check the access key")
    assert not error.retryable


@pytest.mark.parametrize("verb", VERBS)
def test_storage_that_is_not_reached_may_be_tried_again(
    home: Path, oss: common.Service, tmp_path: Path, verb: str
) -> None:
    store = oss_store(home, oss, "any", endpoint=NOBODY, secret=SECRET)

    assert refused(verbs(store, tmp_path)[verb], "was not reached").retryable


# -- rows ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tablestore(home: Path) -> Iterator[common.Service]:
    service = common.start("tablestore", home)
    endpoint = f"http://127.0.0.1:{service.port}"
    admin = TableAdmin(endpoint, "cn-hangzhou", common.load_keys(home).instance, key_of(home))
    for name, keys in TABLES.items():
        admin.create(name, keys)
    yield service
    service.stop()


def table_rows(home: Path, tablestore: common.Service, **changed: str) -> TablestoreRows:
    endpoint = changed.pop("endpoint", f"http://127.0.0.1:{tablestore.port}")
    key = key_of(home, **changed)
    patience = ONCE if endpoint == NOBODY else QUICK
    return TablestoreRows(endpoint, "cn-hangzhou", common.load_keys(home).instance, lambda: key, patience)


@pytest.fixture(params=["fake", "tablestore"])
def rows(request: pytest.FixtureRequest, home: Path) -> Rows:
    if request.param == "fake":
        return MemoryRows()
    return table_rows(home, request.getfixturevalue("tablestore"))


@pytest.fixture
def stream() -> str:
    """A stream that no other test uses."""
    return f"stream-{next(_numbers)}"


def entry(stream: str, seq: int) -> Key:
    return (("stream", stream), ("seq", seq))


def test_a_row_is_read_back_with_its_key_and_types(rows: Rows, stream: str) -> None:
    columns: dict[str, Value] = {"text": "结算 ' \" \\ \n", "empty": "", "number": -(1 << 62), "yes": True, "no": False}
    rows.put("chain", entry(stream, 1), columns)

    found = rows.get("chain", entry(stream, 1))
    assert found == {"stream": stream, "seq": 1, **columns}
    assert found is not None
    assert [type(found[name]) for name in columns] == [str, str, int, bool, bool]


def test_a_row_that_is_not_there_is_none(rows: Rows, stream: str) -> None:
    assert rows.get("chain", entry(stream, 1)) is None


def test_a_row_is_created_once(rows: Rows, stream: str) -> None:
    assert rows.create("chain", entry(stream, 1), {"entry": "one"}) is True
    assert rows.create("chain", entry(stream, 1), {"entry": "one"}) is False
    assert rows.create("chain", entry(stream, 1), {"entry": "two"}) is False
    assert rows.get("chain", entry(stream, 1)) == {"stream": stream, "seq": 1, "entry": "one"}


def test_of_many_who_create_a_row_at_once_one_does(rows: Rows, stream: str) -> None:
    for seq in range(5):
        results = at_once(lambda n, seq=seq: rows.create("chain", entry(stream, seq), {"entry": str(n)}))  # type: ignore[misc]
        assert results.count(True) == 1
        found = rows.get("chain", entry(stream, seq))
        assert found is not None
        assert found["entry"] == str(results.index(True))


def test_putting_replaces_the_whole_row(rows: Rows, stream: str) -> None:
    rows.put("chain", entry(stream, 1), {"entry": "one", "gone": "yes"})
    rows.put("chain", entry(stream, 1), {"entry": "two"})

    assert rows.get("chain", entry(stream, 1)) == {"stream": stream, "seq": 1, "entry": "two"}


def line(stream: str, number: int, seal: int, **columns: str) -> tuple[Key, dict[str, Any]]:
    return (("line", f"{stream}-{number:05d}"),), {"seal": seal, **columns}


def test_only_what_is_newer_is_put(rows: Rows, stream: str) -> None:
    assert rows.put_newer("bill_lines", [line(stream, 1, 2, pretax="a"), line(stream, 2, 2)], "seal") == 2
    assert rows.put_newer("bill_lines", [line(stream, 1, 2, pretax="b"), line(stream, 2, 3, pretax="c")], "seal") == 1
    assert rows.put_newer("bill_lines", [line(stream, 1, 1, pretax="d"), line(stream, 2, 1)], "seal") == 0
    assert rows.put_newer("bill_lines", [line(stream, 1, 10, pretax="e")], "seal") == 1  # as numbers: 10 is above 2

    found = [rows.get("bill_lines", (("line", f"{stream}-{n:05d}"),)) for n in (1, 2)]
    assert [one and one.get("pretax") for one in found] == ["e", "c"]
    assert rows.put_newer("bill_lines", [], "seal") == 0


def test_rows_are_read_together_in_the_order_asked_for_and_by_named_columns(rows: Rows, stream: str) -> None:
    rows.put_newer("bill_lines", [line(stream, n, 1, pretax=str(n), zone="z") for n in range(250)], "seal")
    keys = [line(stream, n, 1)[0] for n in (249, 3, 400, 3, *range(200))]
    found = rows.get_many("bill_lines", keys, ["pretax", "region"])

    assert found[:4] == [
        {"line": f"{stream}-00249", "pretax": "249"},
        {"line": f"{stream}-00003", "pretax": "3"},
        None,
        {"line": f"{stream}-00003", "pretax": "3"},
    ]
    assert [one and one["pretax"] for one in found[4:]] == [str(n) for n in range(200)]
    assert rows.get_many("bill_lines", keys[:1], ["region"]) == [None]
    assert rows.get_many("bill_lines", [], ["pretax"]) == []


def test_a_row_without_the_column_is_older_than_any(rows: Rows, stream: str) -> None:
    key = line(stream, 1, 1)[0]
    rows.put("bill_lines", key, {"pretax": "a"})

    assert rows.put_newer("bill_lines", [line(stream, 1, 0, pretax="b")], "seal") == 1


def test_more_rows_than_a_batch_or_a_page_holds_are_put_and_read(rows: Rows, stream: str) -> None:
    wide = "x" * 3000
    assert rows.put_newer("bill_lines", (line(stream, n, 1, pretax=wide) for n in range(2500)), "seal") == 2500

    start, end = (("line", f"{stream}-00000"),), (("line", f"{stream}-99999"),)
    found = [row["line"] for row in rows.range("bill_lines", start, end)]
    assert found == [f"{stream}-{n:05d}" for n in range(2500)]
    assert len(list(rows.range("bill_lines", start, end, limit=1500))) == 1500


@pytest.fixture
def five(rows: Rows, stream: str) -> Rows:
    """Entries 1 to 5 of the stream, and one each of the streams before and after it."""
    for seq in (3, 1, 5, 2, 4):
        rows.put("chain", entry(stream, seq), {"entry": str(seq)})
    rows.put("chain", entry(stream[:-1], 9), {"entry": "before"})
    rows.put("chain", entry(stream + "0", 0), {"entry": "after"})
    return rows


def test_a_range_holds_its_start_and_not_its_end(five: Rows, stream: str) -> None:
    def read(*bounds: int, **how: Any) -> list[Any]:
        start, end = bounds
        return [row["seq"] for row in five.range("chain", entry(stream, start), entry(stream, end), **how)]

    assert read(0, 1 << 62) == [1, 2, 3, 4, 5]
    assert read(2, 4) == [2, 3]
    assert read(0, 1 << 62, limit=2) == [1, 2]
    assert read(0, 1 << 62, limit=0) == []
    assert read(5, 0, backward=True) == [5, 4, 3, 2, 1]
    assert read(4, 2, backward=True) == [4, 3]
    assert read(1 << 62, 0, backward=True, limit=1) == [5]


def test_a_range_that_ends_where_it_begins_is_empty(five: Rows, stream: str) -> None:
    assert list(five.range("chain", entry(stream, 4), entry(stream, 4))) == []


def row_verbs(rows: Rows, table: str) -> Mapping[str, Callable[[], object]]:
    """Everything that can be done with a table like `chain`."""
    one = entry("s", 1)
    return {
        "get": lambda: rows.get(table, one),
        "get_many": lambda: rows.get_many(table, [one], ["entry"]),
        "create": lambda: rows.create(table, one, {"entry": "1"}),
        "put": lambda: rows.put(table, one, {"entry": "1"}),
        "put_newer": lambda: rows.put_newer(table, [(one, {"seal": 1})], "seal"),
        "range": lambda: list(rows.range(table, entry("s", 0), entry("s", 9))),
    }


ROW_VERBS = ("get", "get_many", "create", "put", "put_newer", "range")


@pytest.mark.parametrize("verb", ROW_VERBS)
def test_a_missing_table_says_how_to_make_it(rows: Rows, verb: str) -> None:
    error = refused(row_verbs(rows, "nobody")[verb], "nobody", "clearbook provision")
    assert not error.retryable


@pytest.mark.parametrize("verb", ROW_VERBS)
def test_a_key_that_is_not_the_tables_is_refused(rows: Rows, verb: str) -> None:
    assert not refused(row_verbs(rows, "bill_lines")[verb], "bill_lines").retryable


@pytest.mark.parametrize("verb", ROW_VERBS)
@pytest.mark.parametrize("changed", [{"secret": SECRET}, {"id": "LTAInobody", "secret": SECRET}], ids=["secret", "id"])
def test_rows_with_a_wrong_key_are_refused_without_its_secret(
    home: Path, tablestore: common.Service, verb: str, changed: dict[str, str]
) -> None:
    error = refused(row_verbs(table_rows(home, tablestore, **changed), "chain")[verb], "check the access key")
    assert not error.retryable


def test_rows_that_are_not_reached_may_be_tried_again(home: Path, tablestore: common.Service) -> None:
    rows = table_rows(home, tablestore, endpoint=NOBODY, secret=SECRET)

    assert refused(row_verbs(rows, "chain")["get"], "was not reached").retryable


# -- the provider's bill ------------------------------------------------------------------------------------------

CYCLE, DAY = "2025-06", "2025-06-28"


@dataclass
class Bill:
    """A payer with a bill of one day."""

    api: BillApi
    payer: str
    add: Callable[..., None]

    def page(self, token: str = "", rows: int = 300, day: str = DAY) -> Any:
        query: dict[str, str | int | bool] = {
            "BillingCycle": CYCLE,
            "BillingDate": day,
            "Granularity": "DAILY",
            "IsBillingItem": True,
            "MaxResults": rows,
        }
        body = self.api.call("DescribeInstanceBill", {**query, **({"NextToken": token} if token else {})})
        return parse_page(body, "page")


@pytest.fixture(scope="module")
def bss(home: Path) -> Iterator[common.Service]:
    service = common.start("bss", home, "--describe-qps", "100000")
    yield service
    service.stop()


def bss_api(service: common.Service, payer: str, secret: str = "") -> BssApi:
    key = AccessKey(f"LTAI{payer}", secret or f"s{payer}")
    return BssApi(f"127.0.0.1:{service.port}", "HTTP", "cn-hangzhou", key, QUICK)


def _load(home: Path, payer: str, items: tuple[Item, ...]) -> None:
    skipped = ("BillAccountName", "BillingDate")
    given = [
        (f"{DAY}T00:00:00+08:00", None, DAY, {name: value for name, value in one.items() if name not in skipped})
        for one in items
    ]
    add_items(home, payer, CYCLE, given, batch=f"{payer}-{next(_numbers)}")


@pytest.fixture(params=["fake", "bss"])
def bill(request: pytest.FixtureRequest, home: Path) -> Bill:
    payer = f"19000000{next(_numbers):08d}"
    if request.param == "fake":
        provider = Provider()
        return Bill(ScriptedBill(provider, payer), payer, lambda *items: provider.bill(payer, DAY, *items))
    service = request.getfixturevalue("bss")
    common.Clock(home).set(_july())
    add_payer(home, payer, f"{payer}@x.example", f"LTAI{payer}", f"s{payer}")
    return Bill(bss_api(service, payer), payer, lambda *items: _load(home, payer, items))


def _july() -> Any:
    from datetime import datetime

    return datetime.fromisoformat("2025-07-03T12:00:00+08:00")


def test_a_page_holds_the_items_with_exactly_their_digits(bill: Bill) -> None:
    digits = ("0.1234567890", "123456789.0000000001", "-0.0000001", "1000", "0.00")
    bill.add(*[item("1001", text, InstanceID=f"i-{text}") for text in digits])

    page = bill.page()
    assert {one["InstanceID"]: one["PretaxAmount"] for one in page.items} == {f"i-{one}": one for one in digits}
    assert (page.total, page.next_token) == (5, "")
    assert {one["OwnerID"] for one in page.items} == {"1001"}
    assert {one["BillAccountID"] for one in page.items} == {bill.payer}
    assert {one["BillingDate"] for one in page.items} == {DAY}


def test_pages_follow_by_their_tokens_and_every_item_comes_once(bill: Bill) -> None:
    bill.add(*[item("1001", "1.00", InstanceID=f"i-{n}") for n in range(25)])
    seen, token, sizes = [], "", []
    for _ in range(10):
        page = bill.page(token, rows=10)
        seen += [one["InstanceID"] for one in page.items]
        sizes.append(len(page.items))
        assert page.total == 25
        token = page.next_token
        if not token:
            break

    assert sizes == [10, 10, 5]
    assert sorted(seen) == sorted(f"i-{n}" for n in range(25))


def test_a_day_without_a_bill_is_an_empty_page(bill: Bill) -> None:
    page = bill.page(day="2025-06-27")

    assert (page.items, page.total, page.next_token) == ([], 0, "")


def test_the_overview_sums_by_owner_product_and_currency(bill: Bill) -> None:
    bill.add(item("1001", "0.10"), item("1001", "0.20"), item("1001", "5.00", "oss"), item("1002", "-1.00"))

    body = bill.api.call("QueryBillOverview", {"BillingCycle": CYCLE})
    sums: dict[tuple[str, str, str], Decimal] = {}
    for row in parse_overview(body, "overview"):
        group = (row["OwnerID"], row["ProductCode"], row["Currency"])
        sums[group] = sums.get(group, Decimal(0)) + Decimal(row["PretaxAmount"])
    assert sums == {
        ("1001", "ecs", "CNY"): Decimal("0.30"),
        ("1001", "oss", "CNY"): Decimal("5.00"),
        ("1002", "ecs", "CNY"): Decimal("-1.00"),
    }


def test_an_answer_with_success_false_comes_through_as_it_is(home: Path, bss: common.Service) -> None:
    payer = "1900000099999999"
    add_payer(home, payer, "x@x.example", f"LTAI{payer}", f"s{payer}", not_applicable=True)
    provider = Provider()
    provider.answers(payer, "QueryBillOverview", "", envelope({}, success=False, code="NotApplicable"))
    apis: list[BillApi] = [bss_api(bss, payer), ScriptedBill(provider, payer)]
    for api in apis:
        body = api.call("QueryBillOverview", {"BillingCycle": CYCLE})
        assert json.loads(body)["Success"] is False
        with pytest.raises(RefusedByProviderError, match="Code=NotApplicable"):
            parse_page(body, "page")


def test_throttling_is_waited_out(tmp_path: Path) -> None:
    """Two calls a second are allowed and six are made at once: every one is answered."""
    common.Clock(tmp_path).set(_july())
    service = common.start("bss", tmp_path, "--describe-qps", "2")
    try:
        add_payer(tmp_path, "1900", "x@x.example", "LTAI1900", "s1900")
        bill = Bill(bss_api(service, "1900"), "1900", lambda *_: None)
        begun = time.monotonic()
        totals = at_once(lambda _: bill.page().total, threads=6)
    finally:
        service.stop()

    assert totals == [0] * 6
    assert time.monotonic() - begun > 1


def test_a_bill_with_a_wrong_key_is_refused_without_its_secret(home: Path, bss: common.Service) -> None:
    add_payer(home, "1901", "x@x.example", "LTAI1901", "s1901")
    for api in (bss_api(bss, "1901", SECRET), bss_api(bss, "nobody", SECRET)):
        bill = Bill(api, "1901", lambda *_: None)
        error = refused(bill.page, f"cannot call DescribeInstanceBill for {CYCLE} {DAY}", "access key")
        assert not error.retryable


def test_an_unknown_call_is_refused(home: Path, bss: common.Service) -> None:
    add_payer(home, "1902", "x@x.example", "LTAI1902", "s1902")
    with pytest.raises(ClearbookError):
        bss_api(bss, "1902").call("DescribeNothing", {"BillingCycle": CYCLE})


def test_a_provider_that_is_not_reached_may_be_tried_again() -> None:
    api = BssApi("127.0.0.1:9", "HTTP", "cn-hangzhou", AccessKey("LTAIx", SECRET), ONCE)

    assert refused(lambda: api.call("QueryBillOverview", {"BillingCycle": CYCLE}), "was not reached").retryable


def test_an_access_key_never_shows_its_secret() -> None:
    assert SECRET not in repr(AccessKey("LTAIx", SECRET, SECRET))
    assert hashlib.sha256(SECRET.encode()).hexdigest() not in repr(AccessKey("LTAIx", SECRET))
