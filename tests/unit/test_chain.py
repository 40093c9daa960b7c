"""Streams that are read in one go, chains that remember what they read, and who holds a head."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import pytest

from shared.chain.chain import Chain, FollowingChain, RememberingChain, Writer
from shared.chain.entry import ChainBrokenError, Draft, Entry
from shared.ports import Key, Row, Rows
from tests.fakes import Calls, MemoryRows

AT = "2025-07-01T00:00:00Z"


def noted(number: int) -> Draft:
    return Draft("noted", "test", AT, {"number": number})


def write(chain: Chain, stream: str, *numbers: int) -> None:
    for number in numbers:
        chain.append(stream, lambda _, number=number: noted(number))  # type: ignore[misc]


def numbers(entries: list[Entry]) -> list[int]:
    return [entry.body["number"] for entry in entries]


def filled(calls: Calls | None = None) -> MemoryRows:
    rows = MemoryRows(calls)
    write(Chain(rows), "reseller/a", 1, 2)
    write(Chain(rows), "reseller/b", 3)
    write(Chain(rows), "reseller/d", 4, 5, 6)
    write(Chain(rows), "reseller/e", 7)
    return rows


def test_streams_read_in_one_go_are_what_each_is_alone() -> None:
    calls = Calls()
    chain = Chain(filled(calls))
    calls.begin()
    found = chain.read_all(["reseller/d", "reseller/c", "reseller/a"])

    assert calls.made == ["read rows of chain"]
    assert found == {name: chain.read(name) for name in ("reseller/a", "reseller/c", "reseller/d")}
    assert [numbers(entries) for entries in found.values()] == [[1, 2], [], [4, 5, 6]]


def test_of_no_streams_nothing_is_asked() -> None:
    calls = Calls()
    assert Chain(MemoryRows(calls)).read_all([]) == {}
    assert calls.made == []


def test_what_was_read_in_one_go_is_remembered_until_something_changes() -> None:
    calls = Calls()
    rows = filled(calls)
    chain = RememberingChain(rows)
    assert numbers(chain.read("reseller/a")) == [1, 2]
    write(Chain(rows), "reseller/a", 8)
    chain.read_all(["reseller/a", "reseller/c"])
    calls.begin()

    assert (numbers(chain.read("reseller/a")), chain.read("reseller/c")) == ([1, 2], [])
    assert calls.made == []
    chain.forget()
    assert numbers(chain.read("reseller/a")) == [1, 2, 8]
    assert numbers(chain.read_all(["reseller/a"])["reseller/a"]) == [1, 2, 8]


def test_streams_between_two_are_read_in_one_go_and_those_that_are_not_there_are_empty() -> None:
    calls = Calls()
    rows = filled(calls)
    chain = RememberingChain(rows)
    calls.begin()
    chain.read_between("reseller/b", "reseller/d")
    between = [numbers(chain.read(f"reseller/{one}")) for one in "bcd"]

    assert (between, calls.made) == ([[3], [], [4, 5, 6]], ["read rows of chain"])
    assert [numbers(chain.read(f"reseller/{one}")) for one in "aef"] == [[1, 2], [7], []]
    assert len(calls.made) == 4
    write(Chain(rows), "reseller/c", 8)
    chain.forget()
    assert numbers(chain.read("reseller/c")) == [8]


def test_an_append_by_what_was_read_is_decided_again_where_another_came_first() -> None:
    rows = filled()
    known = Chain(rows).read("reseller/a")
    write(Chain(rows), "reseller/a", 8)
    seen: list[list[int]] = []

    def decide(entries: list[Entry]) -> Draft | None:
        seen.append(numbers(entries))
        return None if 8 in seen[-1] else noted(9)

    assert Chain(rows).append("reseller/a", decide, known) is None
    assert seen == [[1, 2], [1, 2, 8]]
    assert numbers(Chain(rows).read("reseller/a")) == [1, 2, 8]


class Watched:
    """Rows that note where a reading begins."""

    def __init__(self, rows: MemoryRows) -> None:
        self.rows, self.begins = rows, list[Key]()

    def range(self, table: str, start: Key, end: Key) -> Iterator[Row]:
        self.begins.append(start)
        return self.rows.range(table, start, end)


def test_a_chain_that_follows_reads_only_what_was_appended_since() -> None:
    rows = Watched(filled())
    chain = FollowingChain(cast(Rows, rows))
    assert numbers(chain.read("reseller/a")) == [1, 2]
    write(Chain(rows.rows), "reseller/a", 8)

    assert numbers(chain.read("reseller/a")) == [1, 2, 8]
    assert rows.begins == [(("stream", "reseller/a"), ("seq", 1)), (("stream", "reseller/a"), ("seq", 3))]
    assert {stream: numbers(one) for stream, one in chain.read_all(["reseller/a", "reseller/b"]).items()} == {
        "reseller/a": [1, 2, 8],
        "reseller/b": [3],
    }


def test_a_chain_that_follows_decides_by_what_others_appended() -> None:
    rows = filled()
    chain = FollowingChain(rows)
    chain.read("reseller/a")
    write(Chain(rows), "reseller/a", 8)
    seen: list[list[int]] = []

    def decide(entries: list[Entry]) -> Draft | None:
        seen.append(numbers(entries))
        return None

    chain.append("reseller/a", decide)
    assert seen == [[1, 2, 8]]


def test_a_chain_that_follows_forgets_what_was_asked_for_longest_ago() -> None:
    calls = Calls()
    chain = FollowingChain(filled(calls), kept_max=4)
    for stream in ("reseller/a", "reseller/b", "reseller/d"):
        chain.read(stream)

    assert [numbers(chain.read(f"reseller/{one}")) for one in "abde"] == [[1, 2], [3], [4, 5, 6], [7]]
    assert sum(map(len, chain._kept.values())) <= 4


def test_what_follows_something_else_than_was_read_is_told() -> None:
    rows = filled()
    chain = FollowingChain(rows)
    chain.read("reseller/a")
    write(Chain(rows), "reseller/a", 8)
    row = rows.tables["chain"]["reseller/a", 3]
    row["entry"] = str(row["entry"]).replace('"previous":"', '"previous":"0')

    with pytest.raises(ChainBrokenError, match="entry 3: it does not follow from the entry before it"):
        chain.read("reseller/a")


def test_who_holds_the_head_appends_with_one_call_until_others_were_first() -> None:
    calls = Calls()
    rows = filled(calls)
    writer = Writer(Chain(rows), "reseller/a")
    calls.begin()
    for number in (8, 9):
        writer.append(lambda _, number=number: noted(number))  # type: ignore[misc]
    assert calls.made == ["create a row of chain"] * 2

    write(Chain(rows), "reseller/a", 10)
    calls.begin()
    writer.append(lambda _: noted(11))
    assert calls.made == ["create a row of chain", "read rows of chain", "create a row of chain"]
    assert numbers(writer.entries) == numbers(Chain(rows).read("reseller/a")) == [1, 2, 8, 9, 10, 11]


def test_heads_are_asked_for_once_a_stream() -> None:
    calls = Calls()
    rows = filled(calls)
    calls.begin()
    heads = Chain(rows).heads()

    assert {stream: head.seq for stream, head in heads.items()} == {
        "reseller/a": 2,
        "reseller/b": 1,
        "reseller/d": 3,
        "reseller/e": 1,
    }
    assert heads["reseller/d"] == Chain(rows).read("reseller/d")[-1].head
    assert len(calls.made) == 4 + 1 + 1
    remembering = RememberingChain(rows)
    remembering.read_between("reseller/b", "reseller/z")
    calls.begin()
    assert remembering.heads() == heads
    assert calls.made == ["read rows of chain"] * 2
