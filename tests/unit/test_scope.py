"""Scopes: an account is seen on the dates on which it is the asker's, and on no other."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.access.scope import Period, Scope, UnknownPartyError, UnscopedError, View, Window, scoped
from shared.cycle import Cycle
from shared.parties.document import party_document
from shared.parties.parties import Parties, parse_parties
from tests.builders import ACME, ATLAS, BIRCH, assigned
from tests.builders import parties as document

JUNE = Period.of(Cycle(2025, 6))


def parties(*assignments: Any) -> Parties:
    return parse_parties(party_document(document(assignments), "parties"))


MOVED = parties(
    assigned(ACME, "acme", "aurora", until="2025-06-09"),
    assigned(ACME, "atlas", "borealis", since="2025-06-20"),
    assigned(ATLAS, "atlas", "aurora"),
    assigned(BIRCH, "birch", None),
)


def day(number: int) -> date:
    return date(2025, 6, number)


def june(first: int, last: int) -> Period:
    return Period(day(first), day(last))


def test_the_operator_sees_every_account_on_every_date() -> None:
    assert Scope.operator().within(ACME, JUNE) == ((JUNE,), ())
    assert Scope.operator().sees("nobody's", day(1))


def test_a_customer_sees_an_account_on_the_dates_on_which_it_is_its_own() -> None:
    acme, atlas = Scope.customer(MOVED, "acme"), Scope.customer(MOVED, "atlas")

    assert acme.within(ACME, JUNE) == ((june(1, 9),), (june(10, 30),))
    assert atlas.within(ACME, JUNE) == ((june(20, 30),), (june(1, 19),))
    assert [acme.sees(ACME, day(n)) for n in (9, 10)] == [True, False]
    assert [atlas.sees(ACME, day(n)) for n in (19, 20)] == [False, True]
    assert acme.within(ATLAS, JUNE) == ((), (JUNE,))
    assert Scope.customer(MOVED, "birch").within(BIRCH, JUNE) == ((JUNE,), ())  # a direct customer


def test_a_reseller_sees_the_accounts_that_are_assigned_to_it() -> None:
    aurora, borealis = Scope.reseller(MOVED, "aurora"), Scope.reseller(MOVED, "borealis")

    assert [aurora.within(one, JUNE)[0] for one in (ACME, ATLAS, BIRCH)] == [(june(1, 9),), (JUNE,), ()]
    assert [borealis.within(one, JUNE)[0] for one in (ACME, ATLAS, BIRCH)] == [(june(20, 30),), (), ()]


def test_an_account_that_left_and_came_back_is_seen_in_pieces() -> None:
    there_and_back = parties(
        assigned(ACME, "acme", "aurora", until="2025-06-05"),
        assigned(ACME, "atlas", "aurora", since="2025-06-06", until="2025-06-10"),
        assigned(ACME, "acme", "borealis", since="2025-06-11", until="2025-06-20"),
        assigned(ACME, "acme", "aurora", since="2025-06-21"),
    )
    inside, outside = Scope.customer(there_and_back, "acme").within(ACME, june(3, 25))
    assert (inside, outside) == ((june(3, 5), june(11, 20), june(21, 25)), (june(6, 10),))


@given(
    windows=st.lists(st.tuples(st.integers(1, 30), st.integers(0, 12), st.booleans()), max_size=5),
    first=st.integers(1, 30),
    days=st.integers(0, 29),
)
def test_what_is_inside_and_outside_is_every_date_asked_for_once(
    windows: list[tuple[int, int, bool]], first: int, days: int
) -> None:
    asked = june(first, min(30, first + days))
    given_ = tuple(Window(ACME, day(b), None if is_open else day(min(30, b + n))) for b, n, is_open in windows)
    scope = Scope("acme", View.CUSTOMER, given_)
    inside, outside = scope.within(ACME, asked)

    told = {n: True for one in inside for n in range(one.first.day, one.last.day + 1)}
    told |= {n: False for one in outside for n in range(one.first.day, one.last.day + 1)}
    assert sum(one.days for one in (*inside, *outside)) == len(told) == asked.days
    for number, is_inside in told.items():
        by_hand = any(one.begins <= day(number) and (one.ends is None or day(number) <= one.ends) for one in given_)
        assert is_inside == by_hand == scope.sees(ACME, day(number))


def test_a_party_that_there_is_not_has_no_scope() -> None:
    with pytest.raises(UnknownPartyError, match="there is no customer 'nobody'"):
        Scope.customer(MOVED, "nobody")
    with pytest.raises(UnknownPartyError, match="there is no reseller 'acme'"):
        Scope.reseller(MOVED, "acme")


@pytest.mark.parametrize("view", [View.CUSTOMER, View.RESELLER])
def test_a_party_without_windows_cannot_be_made_to_see_everything(view: View) -> None:
    with pytest.raises(ValueError, match="only the operator's scope is without windows"):
        Scope("acme", view, None)
    with pytest.raises(ValueError, match="only the operator's scope is without windows"):
        Scope("operator", View.OPERATOR, ())
    assert Scope("acme", view, ()).within(ACME, JUNE) == ((), (JUNE,))


def test_what_is_no_scope_is_refused() -> None:
    assert scoped(Scope.operator()) == Scope.operator()
    for given_ in (None, "operator", View.OPERATOR):
        with pytest.raises(UnscopedError, match="needs a Scope"):
            scoped(given_)


def test_scopes_differ_by_who_asks_and_by_what_is_seen() -> None:
    scopes = [
        Scope.operator(),
        Scope.customer(MOVED, "acme"),
        Scope.customer(MOVED, "atlas"),
        Scope.reseller(MOVED, "aurora"),
        Scope.customer(parties(assigned(ACME, "acme", "aurora")), "acme"),
        Scope("other", View.CUSTOMER, Scope.customer(MOVED, "acme").windows),
        Scope("acme", View.RESELLER, Scope.customer(MOVED, "acme").windows),
    ]
    assert len({one.fingerprint for one in scopes}) == len(scopes)
    assert Scope.customer(MOVED, "acme").fingerprint == Scope.customer(MOVED, "acme").fingerprint


def test_a_period_does_not_end_before_it_begins() -> None:
    assert (june(3, 3).days, JUNE.days) == (1, 30)
    with pytest.raises(ValueError, match="before it begins"):
        june(4, 3)


# -- nobody reads past a scope --------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
# Who may name the table of bill lines and its indexes: their columns and their writing, their reading, their making.
_NAMES = re.compile(r"bill_lines|BY_(ACCOUNT|INSTANCE|ID)\b|_BillLines__|\brows\.TABLE\b")
_READERS = {"shared/bill/rows.py", "shared/bill/lookup.py", "infra/provision/tables.py"}
_GENERATED = {"infra/clearbook/bench/rows.py"}  # lines of its own making
_WRITING = re.compile(r"services\.rows\.put_newer\(rows\.TABLE, ")


def test_bill_lines_are_read_by_their_lookups_alone() -> None:
    found = set()
    for path in (one for folder in ("shared", "functions", "infra") for one in (ROOT / folder).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        for line in path.read_text(encoding="utf-8").splitlines():
            if name not in _READERS | _GENERATED and _NAMES.search(_WRITING.sub("", line)):
                found.add((name, line.strip()))

    # The demo's result counts its lines under this name, and reads them from its snapshots.
    assert {name for name, _ in found} <= {"infra/clearbook/demo/play.py"}, found
    assert all('"bill_lines": sum(' in line or "['bill_lines']" in line for _, line in found)
