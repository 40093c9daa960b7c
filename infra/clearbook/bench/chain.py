"""The chain: appending, approving, and checking it offline.

- *append_ratio*: entries a second by a writer that holds the head of its stream, over those of a bare loop of
  `put_row` through the same client and connection, which puts rows of the same size that are ready in memory.
- *approvals_s*: 500 approvals of proposals that wait on one stream of 5,000 entries, one after the other, by a process
  that lives long (FollowingChain), as the portal does; `approval_anew_s` is one by a process that reads all of it.
- *verify_s*: a bundle of so many entries checked offline: every hash, every place, everything that names another entry.

The first two are against a local Tablestore on this machine. Other work on it disturbs the clock: processor times of
this process, its children and the service stand beside.
"""

from __future__ import annotations

import os
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.localcloud import common
from shared.chain import bundle
from shared.chain.chain import TABLE, Chain, FollowingChain, Writer
from shared.chain.checking import Stored, canonical
from shared.chain.entry import GENESIS, Draft, Head
from shared.control import approvals
from shared.ids import Digest, digest

if TYPE_CHECKING:
    from shared.cloud.tablestore import TablestoreRows

TARGETS = {"append_ratio": 0.8, "approvals_s": 10.0, "verify_s": 15.0}
APPENDS, TURNS = 1_000, 20
ENTRIES, APPROVALS = 5_000, 500
STREAM_ENTRIES = 1_000  # of the bundle: about what a reseller of a few years has
_AT = "2025-07-03T04:30:00Z"
_BATCH = 200


def measure(entries: int, *, say: Callable[[str], object] = str) -> dict[str, Any]:
    """The figures, with so many entries in the bundle."""
    home = Path(tempfile.mkdtemp(prefix="clearbook-bench-"))
    try:
        service = common.start("tablestore", home)
        try:
            rows = _rows(home, service)
            say(f"{APPENDS:,} appends beside as many bare put_row")
            figures = _appends(rows, service)
            say(f"{APPROVALS} approvals on a stream of {ENTRIES:,} entries")
            figures |= _approvals(rows, service)
        finally:
            service.stop()
        say(f"writing a bundle of {entries:,} entries")
        path = home / "chain.zip"
        write_bundle(path, entries)
        say("checking it")
        return figures | _verified(path, entries)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def show(entries: int, json_to: str | None) -> None:
    """Measure and print."""
    from rich.console import Console
    from rich.table import Table

    from infra.clearbook.main import write_json

    console = Console(stderr=json_to == "-", markup=False, highlight=False)
    figures = measure(entries, say=console.print)
    if json_to is not None:
        write_json({**figures, "targets": TARGETS}, json_to)
    if json_to == "-":
        return
    table = Table(title="The chain", title_justify="left")
    for name in ("What", "Figure", "Beside it", "Target"):
        table.add_column(name, justify="left" if name == "What" else "right")
    mine, bare = f"{figures['append_per_s']:,}/s", f"{figures['put_row_per_s']:,}/s bare put_row"
    table.add_row("append by who holds the head", f"{mine} ({figures['append_ratio']}x)", bare, "0.8x or more")
    anew = f"{figures['approval_anew_s'] * APPROVALS:,.0f} s read anew each"
    table.add_row(f"{APPROVALS} approvals, {ENTRIES:,} entries", f"{figures['approvals_s']} s", anew, "10 s")
    what = f"{figures['entries']:,} entries checked offline"
    cpu = f"{figures['verify_cpu_s']} s of {figures['processes']} processors"
    table.add_row(what, f"{figures['verify_s']} s", cpu, "15 s (a million)")
    console.print(table)


# -- appending ----------------------------------------------------------------------------------------------------


def _rows(home: Path, service: common.Service) -> TablestoreRows:
    from infra.provision.tables import TABLES
    from shared.cloud.admin import TableAdmin
    from shared.cloud.credentials import AccessKey
    from shared.cloud.tablestore import TablestoreRows

    keys, endpoint = common.load_keys(home), f"http://127.0.0.1:{service.port}"
    key = AccessKey(keys.access_key_id, keys.access_key_secret)
    TableAdmin(endpoint, keys.region, keys.instance, key).create(TABLE, TABLES[TABLE], [])
    return TablestoreRows(endpoint, keys.region, keys.instance, lambda: key)


def _appends(rows: TablestoreRows, service: common.Service) -> dict[str, Any]:
    import tablestore as ots

    absent = ots.Condition(ots.RowExistenceExpectation.EXPECT_NOT_EXIST)
    client = rows._client  # the same connection, without anything of ours around it
    ready = list(_entries("bench/bare", APPENDS + 100))
    writer = Writer(Chain(rows), "bench/held")

    def append(number: int) -> None:
        writer.append(lambda entries: _draft(len(entries)))

    def put(number: int) -> None:
        one = ready[number]
        columns = [("entry", one.raw.decode()), ("hash", one.hash), ("kind", "calculated")]
        client.put_row(TABLE, ots.Row([("stream", "bench/bare"), ("seq", number + 1)], columns), absent)

    for number in range(100):  # warm
        append(number)
        put(number)
    each, took = APPENDS // TURNS, {append: list[tuple[float, float]](), put: list[tuple[float, float]]()}
    for turn in range(TURNS):
        numbers = range(100 + turn * each, 100 + (turn + 1) * each)
        for work in (append, put) if turn % 2 == 0 else (put, append):
            began, cpu = time.perf_counter(), _cpu(service)
            for number in numbers:
                work(number)
            took[work].append((time.perf_counter() - began, _cpu(service) - cpu))
    pairs = list(zip(took[append], took[put], strict=True))
    return {
        "append_ratio": round(statistics.median(bare[0] / mine[0] for mine, bare in pairs), 3),
        "append_cpu_ratio": round(sum(bare[1] for _, bare in pairs) / sum(mine[1] for mine, _ in pairs), 3),
        "append_per_s": round(APPENDS / sum(mine[0] for mine, _ in pairs)),
        "put_row_per_s": round(APPENDS / sum(bare[0] for _, bare in pairs)),
    }


def _draft(number: int) -> Draft:
    """About what a settlement says when it was calculated."""
    body = {
        "cycle": "2025-06", "owner": "aurora", "lines": number, "bill": {"CNY": {"lines": number, "pretax": "1600.25"}},
        "cases": {"count": 0, "key": f"cases/2025-06/aurora/{'4f' * 32}.json"}, "settlement": "c0" * 32,
        "statements": [{"agreement": "aurora-2025", "currency": "CNY", "payable": "160.00", "tax": "0.00"}],
    }  # fmt: skip
    return Draft("calculated", "settle", _AT, body, "月度结算")


def _entries(stream: str, count: int, reads: Mapping[str, Head] | None = None) -> Iterator[Stored]:
    """Entries that follow each other, made as bytes: by way of Entry a million would take minutes."""
    previous = str(GENESIS)
    for seq in range(1, count + 1):
        draft = _draft(seq)
        named = {of: [head.seq, head.hash] for of, head in reads.items()} if reads and seq % 4 == 0 else {}
        data = {
            "stream": stream, "seq": seq, "previous": previous, "kind": draft.kind, "actor": draft.actor,
            "at": draft.at, "why": draft.why, "body": draft.body, "reads": named,
        }  # fmt: skip
        raw = canonical(data)
        previous = digest(raw)
        yield Stored(previous, raw, (stream, seq))


# -- approving ----------------------------------------------------------------------------------------------------


def _approvals(rows: TablestoreRows, service: common.Service) -> dict[str, Any]:
    stream = "reseller/bench"
    people = {"p": {"name": "p", "role": approvals.PREPARER}, "a": {"name": "a", "role": approvals.APPROVER}}
    approvals.name_users(Chain(rows), people, _AT)
    _fill(rows, stream, ENTRIES - APPROVALS)
    chain, writer = FollowingChain(rows), Writer(Chain(rows), stream)
    for number in range(APPROVALS):
        body = {"act": "case", "what": {"case": f"2025-06-no_rule-{number:012x}"}}
        writer.append(lambda _, body=body: Draft(approvals.PROPOSED, "p", _AT, body))  # type: ignore[misc]
    began, cpu = time.perf_counter(), _cpu(service)
    for seq in range(ENTRIES - APPROVALS + 1, ENTRIES):
        approvals.approve(chain, stream, seq, by="a", at=_AT, check=lambda entries, proposal: None)
    took, used = time.perf_counter() - began, _cpu(service) - cpu
    began = time.perf_counter()
    approvals.approve(Chain(rows), stream, ENTRIES, by="a", at=_AT, check=lambda entries, proposal: None)
    return {
        "approvals_s": round(took * APPROVALS / (APPROVALS - 1), 3),
        "approvals_cpu_s": round(used, 2),
        "approval_anew_s": round(time.perf_counter() - began, 3),
    }


def _fill(rows: TablestoreRows, stream: str, count: int) -> None:
    import tablestore as ots

    ignore = ots.Condition(ots.RowExistenceExpectation.IGNORE)
    ready = [
        ots.PutRowItem(
            ots.Row(
                [("stream", stream), ("seq", seq)],
                [("entry", one.raw.decode()), ("hash", one.hash), ("kind", "calculated")],
            ),
            ignore,
        )
        for seq, one in enumerate(_entries(stream, count), 1)
    ]
    for begin in range(0, count, _BATCH):
        request = ots.BatchWriteRowRequest()
        request.add(ots.TableInBatchWriteRowItem(TABLE, ready[begin : begin + _BATCH]))
        _, failed = rows._client.batch_write_row(request).get_put()
        if failed:
            raise common.LocalCloudError(f"{len(failed)} rows were not put; the figures would mean nothing")


# -- checking -----------------------------------------------------------------------------------------------------


def write_bundle(path: Path, entries: int) -> None:
    """A bundle of streams of STREAM_ENTRIES entries, of which one in four names one of the first stream."""
    writer, heads, first = bundle.Writer(path), dict[str, Head](), None
    for begin in range(0, entries, STREAM_ENTRIES):
        stream = f"reseller/r{begin // STREAM_ENTRIES:06d}"
        last = Head()
        for one in _entries(stream, min(STREAM_ENTRIES, entries - begin), first):
            writer.entries([one])
            last = Head(one.place[1] if one.place else 0, Digest(one.hash))
        heads[stream] = last
        first = first or {stream: last}
    writer.close(_AT, None, heads, entries)


def _verified(path: Path, entries: int) -> dict[str, Any]:
    began, cpu = time.perf_counter(), _cpu(None)
    checked = bundle.check_bundle(path)
    took, used = time.perf_counter() - began, _cpu(None) - cpu
    if checked.problems or checked.entries != entries:
        raise common.LocalCloudError(f"{checked.entries} entries with {len(checked.problems)} problems were read")
    return {
        "entries": entries,
        "bundle_mb": round(path.stat().st_size / 1e6),
        "processes": os.cpu_count() or 1,
        "verify_s": round(took, 3),
        "verify_cpu_s": round(used, 2),
        "verify_peak_mb": round(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024),
        "verify_join_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def _cpu(service: common.Service | None) -> float:
    """The processor time of this process, its children that have ended, and the service so far."""
    from infra.clearbook.bench.rows import _cpu_of

    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + ended.ru_utime + ended.ru_stime + (_cpu_of(service) if service else 0.0)
