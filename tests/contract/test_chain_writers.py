"""Writers on one stream of a genuine table, all at once: no entry is lost, none is there twice, and no gap is left."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from infra.localcloud import common
from infra.provision.tables import TABLES
from shared.chain.chain import TABLE, Chain, FollowingChain, Writer
from shared.chain.checking import check_table
from shared.chain.entry import Draft, Entry
from shared.cloud.admin import TableAdmin
from shared.cloud.credentials import AccessKey
from shared.cloud.tablestore import TablestoreRows

WRITERS, EACH = 8, 12
AT = "2025-07-01T00:00:00Z"
Append = Callable[[Callable[[list[Entry]], Draft | None]], Entry | None]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TablestoreRows]:
    home = tmp_path_factory.mktemp("chain")
    service = common.start("tablestore", home)
    keys, endpoint = common.load_keys(home), f"http://127.0.0.1:{service.port}"
    key = AccessKey(keys.access_key_id, keys.access_key_secret)
    TableAdmin(endpoint, keys.region, keys.instance, key).create(TABLE, TABLES[TABLE], [])
    yield TablestoreRows(endpoint, keys.region, keys.instance, lambda: key)
    service.stop()


def each_reads(rows: TablestoreRows, stream: str) -> Append:
    return lambda decide: Chain(rows).append(stream, decide)


def each_follows(rows: TablestoreRows, stream: str) -> Append:
    chain = FollowingChain(rows)
    return lambda decide: chain.append(stream, decide)


def each_holds_a_head(rows: TablestoreRows, stream: str) -> Append:
    return Writer(Chain(rows), stream).append


@pytest.mark.parametrize("how", [each_reads, each_follows, each_holds_a_head], ids=lambda one: one.__name__)
def test_eight_writers_lose_no_entry_and_double_none(
    rows: TablestoreRows, how: Callable[[TablestoreRows, str], Append]
) -> None:
    stream, barrier = how.__name__, threading.Barrier(WRITERS)

    def write(writer: int) -> None:
        append = how(rows, stream)
        barrier.wait()
        for number in range(EACH):
            wanted = {"writer": writer, "number": number}

            def decide(entries: list[Entry], wanted: dict[str, int] = wanted) -> Draft | None:
                is_there = any(entry.body == wanted for entry in entries)
                return None if is_there else Draft("noted", "test", AT, wanted)

            append(decide)
            append(decide)  # a step that is repeated

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))

    entries = Chain(rows).read(stream)
    assert [entry.seq for entry in entries] == list(range(1, WRITERS * EACH + 1))
    written = {(entry.body["writer"], entry.body["number"]) for entry in entries}
    assert written == {(writer, number) for writer in range(WRITERS) for number in range(EACH)}
    of_each = [[e.body["number"] for e in entries if e.body["writer"] == writer] for writer in range(WRITERS)]
    assert of_each == [list(range(EACH))] * WRITERS
    assert check_table(Chain(rows), {}).finish() == ([], 0)
