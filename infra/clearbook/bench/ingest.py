"""Ingest: a bill from raw bytes to sealed, validated parts, beside DuckDB reading the same bytes bare.

- *csv_ratio*: a classic bill file of so many lines, handed to the function's own step on an in-memory object store,
  from its event to its seal in the chain (unpacked, recognised, every rule, parts, snapshot, entry; no rows), beside
  `COPY (SELECT * FROM read_csv(...)) TO ... (FORMAT parquet)` of the same file by the same DuckDB.
- *pages_ratio*: the same lines as pages of DescribeInstanceBill, gzipped as they are kept, from pages to parts, beside
  unzipping the same pages and reading their JSON, with numbers as text because floats would lose digits.
- *rows_ratio*: see `rows`.

Each is run in a process of its own, in turns, and the medians are compared; processor times, which other work on the
machine disturbs less, stand beside them. `peak_rss_mb` is the largest of ours.
"""

from __future__ import annotations

import gzip
import json
import multiprocessing
import os
import re
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from infra.clearbook.bench import bill_csv
from shared.errors import BadInputError

if TYPE_CHECKING:
    from rich.table import Table

TARGETS = {"csv_ratio": 3.0, "pages_ratio": 3.0, "rows_ratio": 1.2}
PEAK_MB_MAX = 700
MEMORY_MB, THREADS = 4096, 2  # of the function, as s.yaml has it
PAGE = 300
RUNS = 3
T = TypeVar("T")  # what a run is given


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run took."""

    wall_s: float
    cpu_s: float
    peak_rss_mb: float


def measure(
    lines: int, *, runs: int = RUNS, rows_lines: int = 40_000, say: Callable[[str], object] = str
) -> dict[str, Any]:
    """The figures for so many lines; raises ValueError below what a month needs."""
    from infra.clearbook.bench import rows

    with tempfile.TemporaryDirectory(prefix="clearbook-bench-") as name:
        folder = Path(name)
        say(f"writing a bill of {lines:,} lines, as a file and as pages")
        bill = bill_csv.write_classic(folder / "bill.csv", lines)
        pages = _write_pages(folder / "bill.csv", folder / "pages", bill)
        what = {
            "csv": ((_take_file, _arrive), (_read_csv_bare, None)),
            "pages": ((_take_pages, None), (_read_pages_bare, None)),
        }
        costs: dict[str, list[tuple[Cost, Cost]]] = {}
        for kind, pair in what.items():
            for run in range(runs):
                say(f"{kind}: run {run + 1} of {runs}")
                mine, bare = (in_process(work, folder, bill, before) for work, before in pair)
                costs.setdefault(kind, []).append((mine, bare))
        say("rows into Tablestore, beside a bare loop")
        into_rows = rows.measure(min(rows_lines, lines))
    figures: dict[str, Any] = {"lines": lines, "page_count": pages}
    for kind, found in costs.items():
        ours, theirs = [mine for mine, _ in found], [bare for _, bare in found]
        figures[f"{kind}_ratio"] = round(_median(ours, "wall_s") / _median(theirs, "wall_s"), 2)
        figures[kind] = {
            "cpu_ratio": round(_median(ours, "cpu_s") / _median(theirs, "cpu_s"), 2),
            "ours_s": round(_median(ours, "wall_s"), 4), "bare_s": round(_median(theirs, "wall_s"), 4),
            "ours_cpu_s": round(_median(ours, "cpu_s"), 4), "bare_cpu_s": round(_median(theirs, "cpu_s"), 4),
            "ours_peak_mb": round(max(one.peak_rss_mb for one in ours)),
            "bare_peak_mb": round(max(one.peak_rss_mb for one in theirs)),
        }  # fmt: skip
    figures["rows_ratio"] = into_rows["rows_ratio"]
    figures["rows"] = into_rows
    figures["peak_rss_mb"] = max(figures[kind]["ours_peak_mb"] for kind in costs)
    return figures


# -- shown --------------------------------------------------------------------------------------------------------

_WHAT = {"csv": "file to sealed parts", "pages": "pages to parts", "rows": "rows into Tablestore"}
_BESIDE = {"csv": "DuckDB: CSV to Parquet", "pages": "unzip and read JSON", "rows": "bare SDK loop"}


def show(lines: int, runs: int, json_to: str | None) -> None:
    """Measure and print."""
    # Here, not above: the processes that are measured import this module.
    from rich.console import Console

    from infra.clearbook.demo.month import LINES_MIN
    from infra.clearbook.demo.play import LINES_MAX
    from infra.clearbook.main import write_json

    if not LINES_MIN <= lines <= LINES_MAX:
        raise BadInputError("--lines", f"has {lines}", f"give {LINES_MIN} to {LINES_MAX}")
    console = Console(stderr=json_to == "-", markup=False, highlight=False)
    figures = measure(lines, runs=runs, say=console.print)
    if json_to is not None:
        write_json({**figures, "targets": {**TARGETS, "peak_rss_mb": PEAK_MB_MAX}}, json_to)
    if json_to == "-":
        return
    console.print(_table(figures, runs))
    console.print(f"Largest process of ours: {figures['peak_rss_mb']} MB; target {PEAK_MB_MAX} at most.")
    console.print("CPU ratio: of processor time, which other work on the machine disturbs less.")
    targets = {**TARGETS, "peak_rss_mb": PEAK_MB_MAX}
    missed = ", ".join(name for name, target in targets.items() if figures[name] > target)
    console.print(f"Above its target: {missed}." if missed else "All targets are met.")


def _table(figures: dict[str, Any], runs: int) -> Table:
    from rich.table import Table

    table = Table(title=f"Ingestion of {figures['lines']:,} lines, medians of {runs}", title_justify="left")
    table.add_column("ours\nbeside it", no_wrap=True)
    for name in ("seconds", "CPU s", "ratio", "CPU ratio", "at most"):
        table.add_column(name, justify="right", no_wrap=True)
    for kind, what in _WHAT.items():
        of, target = figures[kind], TARGETS[f"{kind}_ratio"]
        seconds, cpu = (f"{of[f'ours_{name}']:,.2f}\n{of[f'bare_{name}']:,.2f}" for name in ("s", "cpu_s"))
        ratios = f"{figures[f'{kind}_ratio']:.2f}", f"{of['cpu_ratio']:.2f}"
        table.add_row(f"{what}\n{_BESIDE[kind]}", seconds, cpu, *ratios, f"{target:.1f}")
    return table


# -- a run in a process of its own ----------------------------------------------------------------------------------


def _median(costs: list[Cost], what: str) -> float:
    return float(statistics.median(getattr(one, what) for one in costs))


def in_process(
    work: Callable[[Path, T], None], folder: Path, given: T, before: Callable[[Path, T], None] | None = None
) -> Cost:
    """Run it in a fresh process, whose memory is its own; `before` is not counted."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    process = context.Process(target=_timed, args=(work, folder, given, before, send))
    process.start()
    send.close()
    try:
        cost = receive.recv()
    except EOFError:
        raise RuntimeError(f"{work.__name__} ended before it was done; see above") from None
    finally:
        process.join()
    return Cost(*cost)


def _peak_mb() -> float:
    """The most memory that this process held at once. What getrusage says begins with that of whoever started it."""
    found = re.search(r"^VmHWM:\s+(\d+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _timed(
    work: Callable[[Path, T], None],
    folder: Path,
    given: T,
    before: Callable[[Path, T], None] | None,
    send: Any,
) -> None:
    import duckdb  # noqa: F401 - both sides have it loaded

    if before is not None:
        before(folder, given)
    begun, cpu = time.perf_counter(), time.process_time()
    work(folder, given)
    wall = time.perf_counter() - begun
    send.send((wall, time.process_time() - cpu, _peak_mb()))
    send.close()
    os._exit(0)


# -- a file -----------------------------------------------------------------------------------------------------


_ARRIVED: dict[str, Any] = {}  # of a process: the services, and the event of the file


def _arrive(folder: Path, bill: bill_csv.Written) -> None:
    """A payer is known, and its file has arrived."""
    from infra.clearbook.bench.beside import services
    from shared.cycle import parse_instant
    from shared.ports import ObjectEvent

    home = folder / "home"
    shutil.rmtree(home, ignore_errors=True)  # of the run before
    home.mkdir()
    world = services(home, MEMORY_MB, THREADS)
    _approve_payer(world, bill.account)
    key = f"bills/{bill.account}_BillingItemDetail_{bill.cycle.replace('-', '')}"
    (home / "inbox" / "bills").mkdir()
    os.link(folder / "bill.csv", home / "inbox" / key)
    at = parse_instant("2025-07-04T02:00:00Z", "bench")
    _ARRIVED.update(world=world, event=ObjectEvent(world.buckets.inbox.bucket, key, at))


def _take_file(folder: Path, bill: bill_csv.Written) -> None:
    from shared.steps.ingest_file import ingest_file

    taken = ingest_file(_ARRIVED["world"], _ARRIVED["event"])
    if taken["lines"] != bill.lines or taken["rejects"]:
        raise AssertionError(f"{bill.lines} lines were written: {taken}")


def _read_csv_bare(folder: Path, bill: bill_csv.Written) -> None:
    import duckdb

    target = folder / "bare.parquet"
    with duckdb.connect(config={"threads": THREADS, "memory_limit": f"{MEMORY_MB // 2}MB"}) as connection:
        connection.execute("SET enable_progress_bar = false")
        [(count,)] = connection.execute(
            f"COPY (SELECT * FROM read_csv('{folder / 'bill.csv'}')) TO '{target}' (FORMAT parquet)"  # noqa: S608
        ).fetchall()
    target.unlink()
    if count != bill.lines:
        raise AssertionError(f"{bill.lines} lines were written, {count} read")


def _approve_payer(world: Any, account: str) -> None:
    """Parties with one payer, whose files are compared and not settled: rows are measured by themselves."""
    from shared.control import approvals
    from shared.steps import decide

    at = "2025-06-01T00:00:00Z"
    users = {"p": {"name": "p", "role": approvals.PREPARER}, "a": {"name": "a", "role": approvals.APPROVER}}
    approvals.name_users(world.chain, users, at)
    connector = {
        "endpoint": "default", "site": "china", "secret": "none", "settled_source": "api", "refund_sign": "negative",
        "since": "2025-06-01", "currency": "CNY",
    }  # fmt: skip
    document = {
        "operator": {"id": "bench", "name": "bench"}, "resellers": [], "customers": [], "assignments": [],
        "payers": [{"account": account, "name": "bench", "connector": connector}],
    }  # fmt: skip
    proposal = decide.propose_parties(world, document, "bench", by="p", why="bench", at=at)
    decide.approve(world, proposal.name, by="a", at=at)


# -- pages ------------------------------------------------------------------------------------------------------

# Of an item, beside what a file's row has: every documented field is there, as in a real answer.
_ITEM = {
    "Item": "账单类型", "SubscriptionType": "消费类型", "OwnerID": "Owner账号", "ProductCode": "产品Code",
    "ProductName": "产品", "CommodityCode": "产品明细Code", "ProductDetail": "产品明细", "InstanceID": "实例ID",
    "NickName": "实例昵称", "ResourceGroup": "资源组", "InstanceConfig": "实例配置", "InstanceSpec": "实例规格",
    "InternetIP": "公网IP", "IntranetIP": "私网IP", "Region": "地域", "Zone": "可用区", "BillingItem": "计费项",
    "ListPrice": "单价", "ListPriceUnit": "单价单位", "Usage": "用量", "UsageUnit": "用量单位",
    "DeductedByResourcePackage": "资源包抵扣", "CostUnit": "财务单元", "Currency": "币种", "ServicePeriod": "服务时长",
    "BillingType": "计费方式", "BillAccountID": "账号ID", "BillAccountName": "账号",
}  # fmt: skip
_NUMBERS = {
    "PretaxGrossAmount": "原价", "InvoiceDiscount": "优惠金额", "DeductedByCoupons": "优惠券抵扣",
    "PretaxAmount": "应付金额", "PaymentAmount": "现金支付",
    "DeductedByCashCoupons": "代金券抵扣", "DeductedByPrepaidCard": "储值卡支付金额",
    "OutstandingAmount": "欠费金额", "AfterDiscountAmount": "应付金额", "CashAmount": "现金支付",
}  # fmt: skip
_CODES = {
    "预付费订单": "SubscriptionOrder", "后付费账单": "PayAsYouGoBill", "退款账单": "Refund", "调账账单": "Adjustment",
    "预付费": "Subscription", "后付费": "PayAsYouGo",
}  # fmt: skip


def _write_pages(source: Path, folder: Path, bill: bill_csv.Written) -> int:
    """The rows of the file as pages of DescribeInstanceBill by date, as a pull keeps them; how many pages."""
    import duckdb

    rest = dict.fromkeys(
        ("BizType", "ItemName", "PipCode", "ProductType", "BillingItemCode", "ServicePeriodUnit", "Tag"), ""
    )
    count = 0
    with duckdb.connect(config={"threads": THREADS}) as connection:
        read = f"read_csv('{source}', all_varchar=true, nullstr='')"
        dates = connection.execute(f'SELECT DISTINCT "账单开始时间"[:10] FROM {read} ORDER BY 1').fetchall()  # noqa: S608
        for (day,) in dates:
            target = folder / day
            target.mkdir(parents=True)
            names = [*_ITEM.values(), *_NUMBERS.values()]
            columns = ", ".join(f"coalesce(\"{name}\", '')" for name in names)
            query = f'SELECT {columns} FROM {read} WHERE "账单开始时间"[:10] = ?'  # noqa: S608
            rows = connection.execute(query, [day])
            counting = f'SELECT count(*) FROM {read} WHERE "账单开始时间"[:10] = ?'  # noqa: S608
            total = connection.cursor().execute(counting, [day]).fetchall()[0][0]
            number = 0
            while batch := rows.fetchmany(PAGE):
                number += 1
                items = [_item(row, day, rest) for row in batch]
                more = number * PAGE < total
                body = _envelope(items, total, bill, f"token-{number}" if more else "")
                (target / f"page-{number:05d}.json.gz").write_bytes(gzip.compress(body.encode(), 6, mtime=0))
            count += number
    return count


def _item(row: tuple[str, ...], day: str, rest: dict[str, str]) -> str:
    texts = dict(zip(_ITEM, row, strict=False))
    item = {**rest, "BillingDate": day, **texts, "Item": _CODES[texts["Item"]]}
    item["SubscriptionType"] = _CODES.get(item["SubscriptionType"], item["SubscriptionType"])
    numbers = "".join(f',"{name}":{value or 0}' for name, value in zip(_NUMBERS, row[len(_ITEM) :], strict=True))
    return json.dumps(item, ensure_ascii=False)[:-1] + numbers + "}"


def _envelope(items: list[str], total: int, bill: bill_csv.Written, token: str) -> str:
    return (
        '{"Code":"Success","Message":"Successful!","RequestId":"bench","Success":true,"Data":{"BillingCycle":"'
        f'{bill.cycle}","AccountID":"{bill.account}","TotalCount":{total},"MaxResults":{PAGE},"NextToken":"{token}",'
        f'"Items":[{",".join(items)}]}}}}'
    )


def _days(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    for day in sorted((folder / "pages").iterdir()):
        yield day.name, sorted(day.iterdir())


def _take_pages(folder: Path, bill: bill_csv.Written) -> None:
    from infra.clearbook.bench.beside import services
    from shared.bill.pulls import Pull
    from shared.cycle import Cycle, parse_instant
    from shared.ids import canonical_json
    from shared.ports import ObjectEvent
    from shared.steps.ingest_bill import ingest_bill

    rows = 0
    with tempfile.TemporaryDirectory(dir=folder) as home:
        world = services(Path(home), MEMORY_MB, THREADS)
        _approve_payer(world, bill.account)
        at = parse_instant("2025-07-03T04:30:00Z", "bench")
        for day, pages in _days(folder):
            pull = Pull(bill.account, Cycle.parse(bill.cycle), day, "f20250703T1230")
            (Path(home) / "records" / pull.raw_prefix).mkdir(parents=True)
            for number, page in enumerate(pages, 1):
                os.link(page, Path(home) / "records" / pull.page_key(number))
            kept = [{"key": pull.page_key(n), "digest": _digest(page), "rows": 0} for n, page in enumerate(pages, 1)]
            world.buckets.records.put_once(pull.complete_key, canonical_json({"pages": kept}))
            rows += ingest_bill(world, ObjectEvent(world.buckets.records.bucket, pull.complete_key, at))["rows"]
    if rows != bill.lines:
        raise AssertionError(f"{bill.lines} lines were written, {rows} read")


def _digest(page: Path) -> str:
    from shared.ids import digest

    return digest(gzip.decompress(page.read_bytes()))


def _read_pages_bare(folder: Path, bill: bill_csv.Written) -> None:
    rows = 0
    for _, pages in _days(folder):
        for page in pages:
            answer = json.loads(gzip.decompress(page.read_bytes()), parse_float=str, parse_int=str)
            rows += len(answer["Data"]["Items"])
    if rows != bill.lines:
        raise AssertionError(f"{bill.lines} lines were written, {rows} read")
