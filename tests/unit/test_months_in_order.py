"""Months that follow each other, in odd orders: what must hold whatever arrives, is decided or is locked when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import PREPARER
from shared.bill.snapshot import FINAL, PROVISIONAL, SEALED, Part, Seal, Snapshot
from shared.bill.snapshot import stream_of as bill_stream
from shared.chain.entry import Draft
from shared.control import months
from shared.control.approvals import StaleProposalError
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.ids import canonical_json, digest, digest_of
from shared.money import text
from shared.steps.acts import references
from tests.bill_parts import bill_line, write_part
from tests.builders import ACME, ATLAS, BIRCH, P1, P2, agreement, assigned, parties
from tests.pump import World

MAY, JUNE, JULY, AUGUST, SEPTEMBER = (f"2025-0{month}" for month in (5, 6, 7, 8, 9))
ACME_OF_AURORA, ATLAS_OF_AURORA = assigned(ACME, "acme", "aurora"), assigned(ATLAS, "atlas", "aurora")
BIRCH_OF_BOREALIS = assigned(BIRCH, "birch", "borealis")


def line(line_id: str, day: str, pretax: str, account: str = ACME, **more: Any) -> Mapping[str, Any]:
    """A line of a bill; below 0 it is a refund."""
    kind = "refund" if Decimal(pretax) < 0 else "usage"
    given = {"cycle": day[:7], "date": day, "pretax": pretax, "gross": pretax, "account": account, "kind": kind}
    return bill_line(line_id, **{**given, "commodity_code": "ecs", "subscription_type": "PayAsYouGo", **more})


class Sealed(World):
    """A world whose bills are sealed as they are said, without pulls."""

    def say(self, cycle: str, *said: Mapping[str, Any], payer: str = P1, status: str = FINAL) -> None:
        """From now on the bill of a cycle is these lines; and let what follows happen."""
        self.now = max(self.now, Cycle.parse(cycle).final_from())
        parts = {}
        for day in sorted({one["date"] for one in said}):
            mine = [{**one, "payer": payer} for one in said if one["date"] == day]
            name = digest_of([[str(value) for value in sorted(one.items(), key=str)] for one in mine])
            path, _ = write_part(self.services.scratch, name, mine)
            accounts = {account: sum(one["account"] == account for one in mine) for account in {ACME, ATLAS, BIRCH}}
            held = {account: count for account, count in accounts.items() if count}
            parts[day] = Part(digest(path.read_bytes()), len(mine), {"CNY": {"gross": "0", "pretax": "0"}}, held)
            self.cloud.work.upload_once(Snapshot(payer, cycle, parts).part_key(day), path)
        snapshot = Snapshot(payer, cycle, parts)
        self.cloud.work.put_once(snapshot.key, snapshot.body)
        control = {"key": "", "differences": 0, "open": 0, "attempt": 0}
        slot = f"f{Cycle.parse(cycle).next().first:%Y%m}03T1230"
        pretax = sum((Decimal(one["pretax"]) for one in said), Decimal(0))
        totals = {"CNY": {"gross": "0", "pretax": text(pretax)}} if said else {}
        seal = Seal(payer, cycle, slot, "api", status, snapshot.id, snapshot.rows, totals, {}, {}, control)
        draft = Draft(SEALED, "ingest_bill", self.at, seal.body())
        entry = self.services.chain.append(bill_stream(payer, cycle), lambda _: draft)
        assert entry is not None
        self.cloud.work.put_once(replace(seal, seq=entry.seq).key, canonical_json({**entry.body}))
        self.pump.drain()

    def hold(self, *assignments: Mapping[str, Any], since: str = "2025-06-01", payers: Sequence[str] = (P1,)) -> None:
        """From now on these accounts are whose they are."""
        self.decide_parties(parties(assignments, payers=payers, since=since))

    def states(self, owner: str = "aurora") -> dict[str, str]:
        """Where the months of a reseller stand."""
        known = months.months(self.services.chain.read(months.stream_of(owner, "")))
        return {cycle: month.state for cycle, month in known.items()}

    def lock_in_order(self) -> None:
        """Lock all that is calculated, the oldest first, as long as there is something."""
        while open_ := [cycle for cycle, state in self.states().items() if state == "calculated"]:
            self.lock("aurora", cycle=open_[0])

    def summed(self) -> Decimal:
        """What all months of aurora come to."""
        known = months.months(self.services.chain.read("reseller/aurora"))
        calculated = [one.calculated.body for one in known.values() if one.calculated is not None]
        return sum((Decimal(one["total"]) for body in calculated for one in body["statements"]), Decimal(0))

    def sweeps(self, *days: str) -> list[str]:
        """What is stuck after the sweeps of these evenings."""
        for day in days:
            self.sweep(day)
        return self.keys("work", "stuck/")


@pytest.fixture
def world(tmp_path: Path) -> Sealed:
    """Aurora earns 10 % of what acme and atlas use, borealis of what birch uses."""
    world = Sealed(tmp_path)
    world.hold(ACME_OF_AURORA, ATLAS_OF_AURORA, BIRCH_OF_BOREALIS)
    world.decide_agreement(agreement("aurora"))
    world.decide_agreement(agreement("borealis"))
    return world


# -- wrong money ------------------------------------------------------------------------------------------------


def test_a_month_does_not_settle_before_an_open_one_with_a_month_without_lines_between(world: Sealed) -> None:
    world.say(JUNE, line("a", "2025-06-10", "1000"))
    world.say(JULY)
    world.say(AUGUST, line("b", "2025-08-10", "100", instance_id="i-2"), line("r", "2025-08-11", "-300"))

    assert world.states() == {JUNE: "calculated"}  # and August waits


def test_a_refund_is_taken_back_though_its_charge_s_month_was_locked_after_its_own(world: Sealed) -> None:
    """June, of which nobody approves the lock, then a month without lines, then August with a refund of June."""
    world.say(JUNE, line("a", "2025-06-10", "1000"))
    world.say(JULY)
    world.say(AUGUST, line("b", "2025-08-10", "100", instance_id="i-2"), line("r", "2025-08-11", "-300"))
    if AUGUST in world.states():
        world.lock("aurora", cycle=AUGUST)  # nothing refuses it
    world.lock_in_order()
    world.say(SEPTEMBER)

    assert world.summed() == 100 + 10 - 30


def test_a_refund_is_taken_back_once_though_its_month_settles_after_the_next(tmp_path: Path) -> None:
    """Acme leaves aurora with June. July's bill, with its refund, is final only after August's: August takes it back
    with its own refund, and July again. (July itself is no month that August waits for: aurora holds none of it.)"""
    world = Sealed(tmp_path)
    acme = [assigned(ACME, "acme", "aurora", until="2025-06-30"), assigned(ACME, "acme", "borealis", "2025-07-01")]
    world.hold(*acme, ATLAS_OF_AURORA, payers=(P1, P2))
    world.decide_agreement(agreement("aurora"))
    world.decide_agreement(agreement("borealis"))
    world.say(JUNE, line("a", "2025-06-10", "1000"))
    world.say(JUNE, payer=P2)
    world.lock("aurora")
    world.say(JULY, line("r", "2025-07-12", "-300"), status=PROVISIONAL)
    world.say(JULY, payer=P2)
    world.say(AUGUST, line("b", "2025-08-10", "100"))
    world.say(AUGUST, line("c", "2025-08-10", "110", ATLAS), line("s", "2025-08-11", "-10", ATLAS), payer=P2)
    if AUGUST in world.states():
        world.lock("aurora", cycle=AUGUST)
    world.say(JULY, line("r", "2025-07-12", "-300"))
    world.lock_in_order()

    assert world.summed() == 100 - 30 + 10


def test_a_month_that_a_correction_adds_before_locked_ones_keeps_its_refunds(tmp_path: Path) -> None:
    """Acme is aurora's since June; in July it is said to be since May, and July is locked before May is."""
    world = Sealed(tmp_path)
    world.hold(assigned(ACME, "acme", "aurora", "2025-06-01"), since="2025-05-01")
    world.decide_agreement(agreement("aurora"))
    world.say(MAY, line("m", "2025-05-10", "1000"))
    world.say(JUNE, line("a", "2025-06-10", "100", instance_id="i-2"), line("r", "2025-06-11", "-500"))
    world.lock("aurora")
    world.say(JULY, line("b", "2025-07-10", "100", instance_id="i-2"))
    world.hold(ACME_OF_AURORA, since="2025-05-01")
    with pytest.raises(StaleProposalError, match="2025-05 is not locked yet"):
        world.lock("aurora", cycle=JULY)
    world.lock_in_order()
    world.say(AUGUST, line("c", "2025-08-10", "100", instance_id="i-2"))

    assert world.summed() == 100 + 10 - 50 + 10 + 10


def test_a_contract_year_keeps_what_accounts_that_left_before_the_18_months_added(tmp_path: Path) -> None:
    """10 % of the year's first 1,600.00, which acme used in June, and 50 % above. Acme leaves in August."""
    world = Sealed(tmp_path)
    world.hold(assigned(ACME, "acme", "aurora", until="2025-08-31"), ATLAS_OF_AURORA)
    yearly = agreement("aurora", since="2025-06-01")
    bands = [{"upto": "1600", "percent": "10"}, {"percent": "50"}]
    year = {"scope": "reseller", "over": "contract_year", "method": "graduated", "measure": "pretax", "bands": bands}
    yearly["scales"] = {"year": year}
    yearly["rules"] = [{**yearly["rules"][0], "earn": {"scale": "year"}}]
    world.decide_agreement(yearly)
    for number in range(21):
        cycle = str(Cycle.parse(JUNE).plus(number))
        acme = [line("a", "2025-06-10", "1600")] if cycle == JUNE else []
        world.say(cycle, *acme, line(f"m{number}", f"{cycle}-10", "100", ATLAS, instance_id=f"i-{number}"))
        world.lock("aurora", cycle=cycle)
    world.say("2027-03", line("r", "2027-03-12", "-10", ATLAS, instance_id="i-3"))

    assert world.total(cycle="2027-03") == "-5.00"  # 10.00 of September 2025, that earned 50 %


# -- months that never settle -----------------------------------------------------------------------------------


def test_the_first_month_after_an_opening_does_not_wait_for_one_before_it(world: Sealed) -> None:
    balance = {"agreement": "aurora-2025", "currency": "CNY", "amount": "5"}
    opening = {"reseller": "aurora", "as_of": JULY, "balances": [balance]}
    known = {"by": PREPARER, "why": "test", "at": world.at}
    world.approve(references.propose_opening(world.services, opening, "opening", lambda _: b"", **known))
    world.say(JUNE, line("a", "2025-06-10", "100"))
    world.say(JULY, line("b", "2025-07-10", "100"))
    with pytest.raises(BadInputError, match="lies before the opening"):
        world.lock("aurora")

    assert world.states().get(JULY) == "calculated"


# -- ordered for ever -------------------------------------------------------------------------------------------


def test_a_locked_month_whose_parties_are_as_they_were_again_is_not_stuck(world: Sealed) -> None:
    world.say(JUNE, line("a", "2025-06-10", "100"), line("b", "2025-06-10", "1000", ATLAS))
    world.lock("aurora")
    world.hold(ACME_OF_AURORA, assigned(ATLAS, "atlas", None), BIRCH_OF_BOREALIS)
    world.hold(ACME_OF_AURORA, ATLAS_OF_AURORA, BIRCH_OF_BOREALIS)

    assert world.sweeps("2025-07-10", "2025-07-11", "2025-07-12") == []
    assert world.cases(JUNE) == []  # nothing has changed, and `arrived_after_lock` says so


# -- cases ------------------------------------------------------------------------------------------------------


def test_what_is_corrected_after_july_s_lock_is_a_case_of_june_until_august_locks(world: Sealed) -> None:
    world.say(JUNE, line("a", "2025-06-10", "100"), line("b", "2025-06-10", "1000", ATLAS))
    world.lock("aurora")
    world.say(JULY, line("c", "2025-07-10", "10"))
    world.lock("aurora", cycle=JULY)
    world.hold(ACME_OF_AURORA, assigned(ATLAS, "atlas", "borealis"), BIRCH_OF_BOREALIS)

    assert [one["kind"] for one in world.cases(JUNE) if one["owner"] == "aurora"] == ["arrived_after_lock"]


def test_a_bill_that_is_as_it_was_again_is_a_case_where_july_adjusted_it_otherwise(world: Sealed) -> None:
    world.say(JUNE, line("a", "2025-06-10", "100"))
    world.lock("aurora")
    world.say(JUNE, line("a", "2025-06-10", "300"))
    world.say(JULY, line("b", "2025-07-10", "10"))
    world.lock("aurora", cycle=JULY)
    world.say(JUNE, line("a", "2025-06-10", "100"))

    assert [one["kind"] for one in world.cases(JUNE)] == ["arrived_after_lock"]  # 20.00 come back in August


def test_a_case_holds_what_came_to_it_after_the_lock(world: Sealed) -> None:
    """I1: 70.00 and 30.00 without a rule; no line and no case has the 30.00."""
    held = line("n", "2025-06-10", "70", product_code="oss")
    world.say(JUNE, held)
    world.lock("aurora")
    world.say(JUNE, held, line("o", "2025-06-11", "30", product_code="oss"))
    world.say(JULY, line("b", "2025-07-10", "10"))
    world.lock("aurora", cycle=JULY)

    found = [Decimal(str(one["amount"])) for cycle in (JUNE, JULY) for one in world.cases(cycle)]
    assert sum(found, Decimal(0)) == 100


def test_what_arrives_after_the_18_months_is_no_case_that_waits_for_a_month_to_adjust_it(
    world: Sealed,
) -> None:
    for number in range(20):
        cycle = str(Cycle.parse(JUNE).plus(number))
        world.say(cycle, line(f"m{number}", f"{cycle}-10", "100", instance_id=f"i-{number}"))
        world.lock("aurora", cycle=cycle)
    world.say(JUNE, line("m0", "2025-06-10", "300", instance_id="i-0"))
    world.say("2027-02", line("m20", "2027-02-10", "100", instance_id="i-20"))
    world.lock("aurora", cycle="2027-02")

    assert world.cases(JUNE) == []  # it says for ever that it becomes an adjustment in the next open month
