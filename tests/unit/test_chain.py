"""Streams that are read in one go, and a chain that remembers what it read."""

from __future__ import annotations

from shared.chain.chain import Chain, RememberingChain
from shared.chain.entry import Draft, Entry
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
