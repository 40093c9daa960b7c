"""Two preparers, two approvers and runs that come again, racing on one settlement: never two outcomes.

A race is an act that happens whole while another one is between reading and writing: at its first write to the chain.
"""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache, partial
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shared.chain.entry import Entry, verify
from shared.control import approvals, months
from shared.control.approvals import APPROVED, PROPOSED
from shared.control.months import LOCK, PUBLISHED
from shared.errors import ClearbookError
from shared.payout.batch import balance
from shared.ports import Key, Value
from shared.steps import decide, projections
from tests.builders import ACME, CYCLE, DAYS, P1, item
from tests.fakes import State
from tests.pump import World, go_live, small_month

EXAMPLES = int(os.environ.get("CLEARBOOK_EXAMPLES", "15"))
PREPARERS, APPROVERS = st.sampled_from(["paula", "pavel"]), st.sampled_from(["amir", "anna"])
STREAM, BATCHES = "reseller/aurora", f"cycle/{CYCLE}"
WHICH = st.sampled_from([0, 0, 0, 0, 1, 2])  # of the proposals, from the newest back
INSTRUCTION = f"{CYCLE}.aurora.aurora-2025"
Act = Callable[[], object]


@cache
def calculated() -> tuple[World, State]:
    """A month that is calculated, made once, and what is kept of it."""
    world = World(Path(tempfile.mkdtemp(prefix="clearbook-")))
    small_month(world)
    go_live(world)
    world.final()
    return world, world.cloud.state()


class Race(RuleBasedStateMachine):
    """What people and runs do, in any order and into each other."""

    def __init__(self) -> None:
        super().__init__()
        self.world, begin = calculated()
        self.world.cloud.restore(begin)
        self.world.pump.waiting.clear()
        self.bills = 0
        self.between: Act | None = None
        rows = self.world.cloud.rows
        create = type(rows).create

        def racing(table: str, key: Key, columns: Mapping[str, Value]) -> bool:
            intruder, self.between = self.between, None
            if intruder is not None and table == "chain":
                quietly(intruder)
            return create(rows, table, key, columns)

        rows.create = racing  # type: ignore[method-assign]

    # -- what happens -----------------------------------------------------------------------------------------------

    def acts(self, name: str, by: str, number: int) -> Act:
        """An act by its name; `number` says which proposal, where it needs one."""
        work, at = self.world.services, self.world.at
        if name == "propose lock":
            return partial(decide.propose_lock, work, CYCLE, "aurora", by=by, why="", at=at)
        if name == "propose payout":
            return partial(decide.propose_payouts, work, CYCLE, by=by, why="", at=at)
        entries = [*self.entries(STREAM), *self.entries(BATCHES)]
        proposals = [f"{one.stream}#{one.seq}" for one in entries if one.kind == PROPOSED]
        if not proposals:
            return lambda: None
        chosen = proposals[-1 - number % len(proposals)]
        if name == "reject":
            return partial(decide.reject, work, chosen, by=by, why="no", at=at)
        return partial(decide.approve, work, chosen, by=by, at=at)

    def approved(self, by: str, number: int, other: str, another: str, which: int) -> None:
        """Approve a proposal while something else happens."""
        act = self.acts("approve", by, number)
        if other == "new bill":
            self.between = self.new_bill
        elif other == "drain":
            self.between = self.world.pump.drain
        elif other:
            self.between = self.acts(other, another, which)
        quietly(act)
        self.between = None

    @rule(
        name=st.sampled_from(["propose lock", "propose payout"]),
        by=PREPARERS,
        other=st.sampled_from(["propose lock", "approve", "reject", ""]),
        approver=APPROVERS,
        number=WHICH,
    )
    def propose(self, name: str, by: str, other: str, approver: str, number: int) -> None:
        self.between = self.acts(other, "pavel" if other.startswith("propose") else approver, number) if other else None
        quietly(self.acts(name, by, 0))
        self.between = None

    @rule(
        by=APPROVERS,
        number=WHICH,
        other=st.sampled_from(["approve", "approve", "reject", "new bill", "drain", ""]),
        another=APPROVERS,
        which=WHICH,
    )
    def approve(self, by: str, number: int, other: str, another: str, which: int) -> None:
        self.approved(by, number, other, another, which)

    @rule(
        name=st.sampled_from(["propose lock", "propose payout"]),
        by=PREPARERS,
        approver=APPROVERS,
        other=st.sampled_from(["approve", "reject", "new bill", "drain", ""]),
        another=APPROVERS,
    )
    def decide_at_once(self, name: str, by: str, approver: str, other: str, another: str) -> None:
        """Proposed and approved one after the other, and something happens within the approval."""
        quietly(self.acts(name, by, 0))
        self.approved(approver, 0, other, another, 0)

    @precondition(lambda self: self.bills > 0)
    @rule(by=APPROVERS, number=WHICH)
    def reject(self, by: str, number: int) -> None:
        quietly(self.acts("reject", by, number))

    @precondition(lambda self: self.bills < 2 and self.world.month().state != "calculated")
    @rule()
    def new_bill(self) -> None:
        """The bill moves, and the settlement is run again."""
        self.bills += 1
        self.world.bill(P1, DAYS[2], item(ACME, f"{700 + self.bills}.00"))
        self.world.pull_again(self.bills)

    @rule()
    def settle_again(self) -> None:
        """The orders of the settlement come once more."""
        work = self.world.cloud.work
        for key in list(work.keys(f"work/settle/{CYCLE}/aurora/final")):
            work.put_again(key, work.get(key))
        self.world.pump.drain()

    @rule()
    def drain(self) -> None:
        self.world.pump.drain()

    @precondition(lambda self: bool(self.world.month().instructed))
    @rule(status=st.sampled_from(["confirmed", "returned"]), amount=st.sampled_from(["160.00", "1.00"]))
    def bank_answers(self, status: str, amount: str) -> None:
        row = (INSTRUCTION, status, amount, "CNY", "R")
        self.world.bank_answers(f"{status}-{amount}", row)

    # -- what must hold ---------------------------------------------------------------------------------------------

    def entries(self, stream: str) -> list[Entry]:
        return self.world.services.chain.read(stream)

    @invariant()
    def a_month_is_locked_once_as_it_was_last_calculated_and_by_two(self) -> None:
        entries = self.entries(STREAM)
        locks = [one for one in entries if one.kind == APPROVED and one.body["act"] == LOCK]
        assert len(locks) <= 1
        for lock in locks:
            before = [one for one in entries if one.seq < lock.seq and one.kind == months.CALCULATED]
            assert (before[-1].seq, before[-1].body["settlement"]) == (
                lock.body["what"]["calculated"],
                lock.body["what"]["settlement"],
            )
            assert entries[lock.body["proposal"] - 1].actor != lock.actor
            assert not [one for one in entries if one.seq > lock.seq and one.kind == months.CALCULATED]

    @invariant()
    def every_proposal_has_at_most_one_end(self) -> None:
        for stream in (STREAM, BATCHES):
            ends = Counter(
                one.body["proposal"] for one in self.entries(stream) if one.kind in (APPROVED, approvals.REJECTED)
            )
            assert not [seq for seq, count in ends.items() if count > 1]

    @invariant()
    def nothing_is_published_or_instructed_twice_or_paid_above_what_is_owed(self) -> None:
        entries = self.entries(STREAM)
        counts = Counter((one.kind, one.body.get("instruction", "")) for one in entries if one.kind in _ONCE)
        assert not [what for what, count in counts.items() if count > 1]
        assert balance(entries, "aurora-2025", CYCLE) >= Decimal(0)

    @invariant()
    def the_stream_is_whole(self) -> None:
        kept = self.world.cloud.rows.tables["chain"]
        for stream in (STREAM, BATCHES):
            rows = [row for (of, _), row in sorted(kept.items()) if of == stream]
            verify(stream, [(str(row["entry"]), str(row["hash"])) for row in rows])

    def teardown(self) -> None:
        """Once nothing is under way any more, the files and lists say what the chain says."""
        self.world.pump.drain()
        month = self.world.month()
        files = self.world.keys("records", f"statements/{CYCLE}/aurora/")
        stems = {key.rpartition("/")[2].split(".")[0].split("-en")[0].split("-zh")[0] for key in files}
        assert len(stems) == (1 if month.locked is not None else 0)
        assert (month.published is None) == (month.locked is None)
        rows = projections.listed(self.world.services, projections.SETTLEMENTS, CYCLE)
        assert [row["state"] for row in rows if row["id"] == "aurora"] == [month.state]


_ONCE = (PUBLISHED, months.INSTRUCTED)


def quietly(act: Act) -> Any:
    """Do it; what is refused is no outcome."""
    try:
        return act()
    except ClearbookError:
        return None


TestRace = Race.TestCase
TestRace.settings = settings(max_examples=EXAMPLES, stateful_step_count=15, deadline=None, print_blob=True)
