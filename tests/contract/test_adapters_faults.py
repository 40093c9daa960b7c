"""Every operation of every port, under every fault a call can have: it ends as if nothing had gone wrong.

The shipped adapters, the genuine SDKs and the local services. Each operation is first carried out in peace, which
tells its outcome and the calls it makes; then each of those calls has each fault. Our own pauses take no time.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from infra.localcloud import common
from infra.localcloud.bss.load import add_items, add_payer
from infra.localcloud.faults.plan import CALL_FAULTS, Fault
from infra.provision.plan import TABLES
from shared.bill.api import parse_overview, parse_page
from shared.cloud.admin import BucketAdmin, TableAdmin
from shared.cloud.bss import BssApi
from shared.cloud.credentials import AccessKey
from shared.cloud.oss import OssStore
from shared.cloud.patience import Patience
from shared.cloud.tablestore import TablestoreRows
from shared.errors import ClearbookError
from shared.ports import BillApi, Key, ObjectStore, Rows, ServiceError
from tests.builders import item
from tests.contract.misbehaving_cloud import Misbehaving, misbehaving

PERSISTENT = Patience(total_s=30.0, connect_timeout_s=5.0, read_timeout_s=0.3, sleep=lambda _: None)
GIVES_UP = Patience(total_s=0.0, connect_timeout_s=5.0, read_timeout_s=0.15, sleep=lambda _: None)
FAULTS = [fault for fault in CALL_FAULTS if not fault.name.startswith("KILL_")]
BODY, OTHER = bytes(range(256)) * 1200, b"other" * 1200
LARGE = bytes(range(256)) * 12_000  # three pieces of a download
CYCLE, DAY = "2025-06", "2025-06-28"


@dataclass(frozen=True, slots=True)
class Operation:
    """One promise of a port: what is there before, what is done, what may be answered and what is there after.

    `open` are answers that are right too when one was lost: whether what is there was there before cannot be told
    any more. `repeated` are right too when the whole operation is carried out once more.
    """

    name: str
    prepare: Callable[[Any, str], object]
    act: Callable[[Any, str], object]
    after: Callable[[Any, str], object]
    open: tuple[object, ...] = ()
    repeated: tuple[object, ...] = ()


def outcome(operation: Operation, port: Any, name: str) -> object:
    """What the operation answers, or how it is refused."""
    try:
        return operation.act(port, name)
    except ServiceError:
        raise
    except ClearbookError as exc:
        return exc.code


# -- what is asked of each port -----------------------------------------------------------------------------------


def objects(store: ObjectStore, name: str) -> dict[str, bytes]:
    return {key: store.get(key) for key in store.keys(f"{name}/")}


def of_storage(folder: Path) -> list[Operation]:
    def nothing(_store: ObjectStore, _name: str) -> None: ...

    def body(store: ObjectStore, name: str) -> None:
        store.put_again(f"{name}/a", BODY)

    def file(content: bytes) -> Path:
        path = folder / f"{len(content)}.bin"
        path.write_bytes(content)
        return path

    def large(store: ObjectStore, name: str) -> None:
        store.upload_once(f"{name}/a", file(LARGE))

    def fetched(store: ObjectStore, name: str) -> bytes:
        target = folder / f"{name}.target"
        store.download(f"{name}/a", target)
        return target.read_bytes()

    def listed(store: ObjectStore, name: str) -> None:
        for number in range(3):
            store.put_once(f"{name}/{number}", b"")

    small = file(BODY)
    return [
        Operation("get", body, lambda s, n: s.get(f"{n}/a"), objects),
        Operation("get what is missing", nothing, lambda s, n: s.get(f"{n}/a"), objects),
        Operation("find what is missing", nothing, lambda s, n: s.find(f"{n}/a"), objects),
        Operation("exists", body, lambda s, n: s.exists(f"{n}/a"), objects),
        Operation("exists not", nothing, lambda s, n: s.exists(f"{n}/a"), objects),
        Operation("put_once", nothing, lambda s, n: s.put_once(f"{n}/a", BODY), objects, repeated=(False,)),
        Operation("put_once the same", body, lambda s, n: s.put_once(f"{n}/a", BODY), objects, open=(True,)),
        Operation("put_once other", body, lambda s, n: s.put_once(f"{n}/a", OTHER), objects),
        Operation("put_again", body, lambda s, n: s.put_again(f"{n}/a", OTHER), objects),
        Operation("upload_once", nothing, lambda s, n: s.upload_once(f"{n}/a", small), objects, repeated=(False,)),
        Operation("upload_once the same", body, lambda s, n: s.upload_once(f"{n}/a", small), objects, open=(True,)),
        Operation("download", large, fetched, objects),
        Operation("download what is missing", nothing, fetched, objects),
        Operation("keys", listed, lambda s, n: list(s.keys(f"{n}/")), objects),
        Operation("delete", body, lambda s, n: s.delete(f"{n}/a"), objects),
        Operation("delete what is missing", nothing, lambda s, n: s.delete(f"{n}/a"), objects),
    ]


def at(stream: str, seq: int) -> Key:
    return (("stream", stream), ("seq", seq))


def entries(rows: Rows, stream: str) -> list[object]:
    lines = (("line", f"{stream}-0"),), (("line", f"{stream}-9"),)
    return [*rows.range("chain", at(stream, 0), at(stream, 99)), *rows.range("bill_lines", *lines)]


def of_rows() -> list[Operation]:
    def nothing(_rows: Rows, _stream: str) -> None: ...

    def five(rows: Rows, stream: str) -> None:
        for seq in range(5):
            rows.put("chain", at(stream, seq), {"entry": str(seq), "n": seq})

    def line(stream: str, number: int, seal: int) -> tuple[Key, dict[str, Any]]:
        return (("line", f"{stream}-{number:05d}"),), {"seal": seal, "pretax": f"{seal}.00"}

    def lines(rows: Rows, stream: str) -> None:
        rows.put_newer("bill_lines", [line(stream, n, n % 3) for n in range(30)], "seal")

    def newer(rows: Rows, stream: str) -> int:
        return rows.put_newer("bill_lines", [line(stream, n, 1) for n in range(40)], "seal")

    same: dict[str, str | int | bool] = {"entry": "3", "n": 3}

    def ranged(rows: Rows, stream: str, start: int, end: int, **how: Any) -> list[object]:
        return list(rows.range("chain", at(stream, start), at(stream, end), **how))

    return [
        Operation("get", five, lambda r, s: r.get("chain", at(s, 3)), entries),
        Operation("get what is missing", nothing, lambda r, s: r.get("chain", at(s, 3)), entries),
        Operation("create", nothing, lambda r, s: r.create("chain", at(s, 3), same), entries, repeated=(False,)),
        Operation("create the same", five, lambda r, s: r.create("chain", at(s, 3), same), entries, open=(True,)),
        Operation("create other", five, lambda r, s: r.create("chain", at(s, 3), {"entry": "x"}), entries),
        Operation("put", five, lambda r, s: r.put("chain", at(s, 3), {"entry": "x"}), entries),
        Operation("put_newer", lines, newer, entries, open=(0,), repeated=(0, 10)),
        Operation("range", five, lambda r, s: ranged(r, s, 0, 99), entries),
        Operation("range backward", five, lambda r, s: ranged(r, s, 4, 1, backward=True), entries),
        Operation("range with a limit", five, lambda r, s: ranged(r, s, 0, 99, limit=2), entries),
    ]


def of_bill() -> list[Operation]:
    def nothing(_api: BillApi, _name: str) -> None: ...

    def page(api: BillApi, token: str = "") -> Any:
        query: dict[str, str | int | bool] = {
            "BillingCycle": CYCLE,
            "BillingDate": DAY,
            "Granularity": "DAILY",
            "IsBillingItem": True,
        }
        more = {"NextToken": token} if token else {}
        return parse_page(api.call("DescribeInstanceBill", {**query, "MaxResults": 10, **more}), "page")

    def pages(api: BillApi, _name: str) -> list[str]:
        first = page(api)
        return [one["InstanceID"] for one in (*first.items, *page(api, first.next_token).items)]

    def overview(api: BillApi, _name: str) -> object:
        return parse_overview(api.call("QueryBillOverview", {"BillingCycle": CYCLE}), "overview")

    return [
        Operation("DescribeInstanceBill", nothing, pages, nothing),
        Operation("QueryBillOverview", nothing, overview, nothing),
    ]


# -- the services and the adapters --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Port:
    """A service that misbehaves, an adapter that persists, one that gives up at once, and what is asked of them."""

    service: Misbehaving
    persistent: Any
    gives_up: Any
    operations: list[Operation]


@pytest.fixture(scope="module", autouse=True)
def _no_proxy() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            patch.delenv(name, raising=False)
            patch.delenv(name.upper(), raising=False)
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


def key_of(home: Path) -> AccessKey:
    keys = common.load_keys(home)
    return AccessKey(keys.access_key_id, keys.access_key_secret)


@pytest.fixture(scope="module")
def storage(home: Path) -> Iterator[Port]:
    with misbehaving("oss", home) as service:
        endpoint, key = f"http://127.0.0.1:{service.port}", key_of(home)
        BucketAdmin(endpoint, "cn-hangzhou", "faults", key).create()
        stores = [OssStore(endpoint, "cn-hangzhou", "faults", lambda: key, one) for one in (PERSISTENT, GIVES_UP)]
        folder = home / "files"
        folder.mkdir()
        yield Port(service, stores[0], stores[1], of_storage(folder))


@pytest.fixture(scope="module")
def rows(home: Path) -> Iterator[Port]:
    with misbehaving("tablestore", home) as service:
        endpoint, key, instance = f"http://127.0.0.1:{service.port}", key_of(home), common.load_keys(home).instance
        for name in ("chain", "bill_lines"):
            TableAdmin(endpoint, "cn-hangzhou", instance, key).create(name, TABLES[name])
        both = [TablestoreRows(endpoint, "cn-hangzhou", instance, lambda: key, one) for one in (PERSISTENT, GIVES_UP)]
        yield Port(service, both[0], both[1], of_rows())


@pytest.fixture(scope="module")
def bill(home: Path) -> Iterator[Port]:
    payer, skipped = "1900000000000001", ("BillAccountName", "BillingDate")
    with misbehaving("bss", home) as service:
        common.Clock(home).set(datetime.fromisoformat("2025-07-03T12:00:00+08:00"))
        add_payer(home, payer, "p@x.example", "LTAIpayer", "secret")
        items = [item("1001", "1.00", InstanceID=f"i-{n}") for n in range(15)]
        fields = [{name: value for name, value in one.items() if name not in skipped} for one in items]
        add_items(home, payer, CYCLE, [(f"{DAY}T00:00:00+08:00", None, DAY, one) for one in fields], batch="one")
        host, key = f"127.0.0.1:{service.port}", AccessKey("LTAIpayer", "secret")
        both = [BssApi(host, "HTTP", "cn-hangzhou", key, one) for one in (PERSISTENT, GIVES_UP)]
        yield Port(service, both[0], both[1], of_bill())


@pytest.fixture(params=["storage", "rows", "bill"])
def port(request: pytest.FixtureRequest) -> Port:
    found: Port = request.getfixturevalue(request.param)
    return found


_names = (f"n{number:04d}" for number in itertools.count())


def in_peace(port: Port, operation: Operation) -> tuple[object, object, list[str]]:
    """The outcome of an operation that nothing befalls, what is there afterwards, and the calls it made."""
    name = next(_names)
    operation.prepare(port.persistent, name)
    port.service.behave()
    answer = outcome(operation, port.persistent, name)
    calls = port.service.calls()
    assert calls, f"{operation.name} asks the service"
    return named(answer, name), named(operation.after(port.persistent, name), name), calls


def named(found: object, name: str) -> str:
    """An outcome without the name that it was given."""
    return repr(found).replace(name, "NAME")


def test_whatever_befalls_one_call_the_operation_ends_as_without(
    port: Port, record_property: Callable[[str, object], None]
) -> None:
    count: Counter[str] = Counter()
    for operation in port.operations:
        answer, after, calls = in_peace(port, operation)
        for fault, call in itertools.product(FAULTS, calls):
            if fault is Fault.FAIL_ROWS and call != "BatchWriteRow":
                continue
            where, name = f"{operation.name}, {fault} of {call}", next(_names)
            port.service.behave()
            operation.prepare(port.persistent, name)
            port.service.fail(fault, call)
            got = named(outcome(operation, port.persistent, name), name)
            port.service.behave()
            assert named(operation.after(port.persistent, name), name) == after, where
            is_open = fault not in NOT_DONE and got in map(repr, operation.open)
            assert got == answer or is_open, f"{where}: {got}"
            count[operation.name] += 1
    record_property("figures", f"{sum(count.values())} cases of {len(count)} operations end as without their fault")
    assert set(count) == {operation.name for operation in port.operations}
    assert all(number >= len(FAULTS) - 1 for number in count.values())


# After these it is certain that nothing was done, and nothing about the answer is open.
NOT_DONE = (Fault.THROTTLE, Fault.REFUSE_SIGNATURE, Fault.DELAY, Fault.FAIL_ROWS)


def test_what_keeps_failing_is_told_and_a_repeat_ends_as_without(
    port: Port, record_property: Callable[[str, object], None]
) -> None:
    count = 0
    clean = {operation.name: in_peace(port, operation) for operation in port.operations}
    for operation, fault in itertools.product(port.operations, FAULTS):
        answer, after, calls = clean[operation.name]
        if fault is Fault.DELAY or (fault is Fault.FAIL_ROWS and "BatchWriteRow" not in calls):
            continue
        where, name = f"{operation.name}, {fault}", next(_names)
        operation.prepare(port.persistent, name)
        port.service.fail(fault, always=True)
        try:
            got = outcome(operation, port.gives_up, name)
        except ServiceError as exc:
            told = exc
            assert "; " in str(told), f"{where}: {told} says what to do"
            assert told.retryable or fault is Fault.REFUSE_SIGNATURE, where
        else:
            assert named(got, name) == answer, f"{where}: an answer came through, and it is right"
        port.service.behave()
        got = named(outcome(operation, port.persistent, name), name)
        assert got in map(repr, (*operation.repeated, *operation.open)) or got == answer, f"{where}, repeated: {got}"
        assert named(operation.after(port.persistent, name), name) == after, where
        count += 1
    record_property("figures", f"{count} cases are told, and end as without their fault when they are repeated")
    assert count >= len(port.operations) * (len(FAULTS) - 2)
