"""Cases and adjustments: what people decide about them is in the settlement once, and can be told afterwards."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.cases import case_list, case_text, cases_of
from infra.clearbook.people import APPROVER, PREPARER
from shared.control.approvals import NotAllowedError, Proposal, StaleProposalError
from shared.control.cases import KINDS
from shared.control.months import stream_of
from shared.errors import BadInputError
from shared.parties.parties import OPERATOR
from shared.report.language import LANGUAGES, label
from shared.steps import caselist, casework, decide, verifying
from shared.steps.effects import effects
from shared.steps.effects import words as effect_words
from shared.steps.explaining.asking import explain
from shared.steps.explaining.words import words
from shared.steps.inputs import Kept
from shared.steps.reconcile import reconcile
from tests.builders import ACME, ATLAS, BIRCH, CYCLE, DAYS, P1, P2, agreement, assigned, item
from tests.pump import go_live, small_month
from tests.unit.test_months_in_order import (
    ACME_OF_AURORA,
    ATLAS_OF_AURORA,
    AUGUST,
    BIRCH_OF_BOREALIS,
    JULY,
    JUNE,
    Sealed,
    line,
)

STRANGER = "1009"


class Worked(Sealed):
    """A world in which people work on cases."""

    def propose(self, act: str, **asked: Any) -> list[Proposal]:
        """Propose an act."""
        found = decide.propose(self.services, act, asked, by=PREPARER, why="test", at=self.at)
        return list(found.proposals)

    def adjust(self, amount: str, cycle: str = JUNE, **more: Any) -> Proposal:
        """Propose an adjustment of aurora's."""
        given = {"agreement": "aurora-2025", "currency": "CNY", "cause": "goodwill", **more}
        [proposal] = self.propose("adjustment", reseller="aurora", cycle=cycle, amount=amount, **given)
        return proposal

    def resolve(self, action: str, cycle: str = JUNE, **which: Any) -> Proposal:
        """Propose a decision about cases."""
        [proposal] = self.propose("case", action=action, cycle=cycle, because="too small", **which)
        return proposal

    def open(self, owner: str = "aurora", cycle: str = JUNE) -> dict[str, bool]:
        """The open cases by kind, and whether they are accepted."""
        entries = self.services.chain.read(stream_of(owner, cycle))
        return {one.kind: one.accepted for one in casework.open_cases(self.services, owner, cycle, entries)}

    def kept(self, owner: str = "aurora", cycle: str = JUNE) -> Kept:
        """The settlement that counts."""
        return Kept(cycle, owner, str(self.month(owner, cycle).settlement))

    def kinds(self, owner: str = "aurora", cycle: str = JUNE) -> dict[str, tuple[str, str]]:
        """What the settlement that counts comes to, by kind: basis and amount."""
        summary = self.kept(owner, cycle).summary(self.services)
        return {one["kind"]: (one["basis"], one["amount"]) for one in summary["kinds"]}

    def verified(self, tmp_path: Path, owner: str = "aurora", cycle: str = JUNE) -> bool:
        """Whether settling again what counts comes to the same."""
        tmp_path.mkdir()
        checks = list(verifying.verify(self.services, self.kept(owner, cycle), tmp_path))
        assert checks[-1].what == "seals" or checks[-1].what == "lock"
        return all(one.holds for one in checks)


@pytest.fixture
def world(tmp_path: Path) -> Worked:
    """Aurora earns 10 % of ecs; 100.00 of June are another product, which no rule matches."""
    world = Worked(tmp_path)
    world.hold(ACME_OF_AURORA, ATLAS_OF_AURORA, BIRCH_OF_BOREALIS)
    world.decide_agreement(agreement("aurora"))
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("o", "2025-06-11", "100", product_code="oss"))
    assert world.total() == "100.00"
    return world


def told(world: Worked, id_: str) -> list[str]:
    """What an id is explained by."""
    [found] = explain(world.services, id_)
    return words(found)


def accepted(world: Worked, cycle: str = JUNE) -> None:
    """Accept what is open, so that the month may be locked."""
    world.approve(world.resolve("accept", cycle, kind="no_rule"))


# -- adjustments ------------------------------------------------------------------------------------------------


def test_an_approved_adjustment_is_on_the_statement_of_its_month_once(world: Worked) -> None:
    proposal = world.adjust("-12.5")
    assert world.total() == "100.00"
    assert world.open() == {"no_rule": False, "adjustment": False}

    world.approve(proposal)

    assert world.total() == "87.50"
    assert world.kinds()["adjustment"] == ("0", "-12.5")
    assert world.open() == {"no_rule": False}
    [stated] = world.kept().summary(world.services)["statements"]
    assert [one["amount"] for one in stated["lines"] if one["kind"] == "adjustment"] == ["-12.50"]


def test_an_adjustment_is_shown_with_what_the_statement_would_come_to(world: Worked) -> None:
    shown = decide.show(world.services, world.adjust("-12.5", customer="acme"))

    assert shown == [
        "-12.5 CNY on aurora-2025 for 2025-06: goodwill",
        "of acme",
        "the total of aurora-2025 in 2025-06: 100.00 -> 87.50 CNY",
    ]


def test_a_locked_month_s_adjustment_is_posted_by_the_next_and_never_again(world: Worked) -> None:
    world.approve(world.adjust("5"))
    accepted(world)
    world.lock("aurora")
    world.approve(world.adjust("7", cause="agreed after the lock"))
    assert world.total() == "105.00"

    world.say(JULY, line("b", "2025-07-10", "200", instance_id="i-2"))
    assert world.total(cycle=JULY) == "27.00"
    world.lock("aurora", cycle=JULY)
    world.say(AUGUST, line("c", "2025-08-10", "300", instance_id="i-3"))

    assert world.total(cycle=AUGUST) == "30.00"
    assert not world.month().late  # the locked month is what it was


def test_an_adjustment_of_a_locked_month_is_in_the_next_that_is_calculated_already(world: Worked) -> None:
    accepted(world)
    world.lock("aurora")
    world.say(JULY, line("b", "2025-07-10", "200", instance_id="i-2"))
    world.approve(world.adjust("7"))

    assert world.total(cycle=JULY) == "27.00"


def test_a_lock_of_what_was_calculated_before_an_adjustment_is_stale(world: Worked) -> None:
    accepted(world)
    lock = world.propose_lock("aurora")
    world.approve(world.adjust("5"))

    with pytest.raises(StaleProposalError, match="calculated anew"):
        world.approve(lock)


def test_an_adjustment_that_the_settlement_has_not_read_keeps_its_case_open(world: Worked) -> None:
    """Approved, and its order is still on its way."""
    world.approve(world.adjust("5"), drain=False)

    assert world.open()["adjustment"] is False
    world.pump.drain()
    assert "adjustment" not in world.open()


def test_a_lost_order_of_an_adjustment_is_found_by_the_sweep(world: Worked) -> None:
    world.approve(world.adjust("5"), drain=False)
    for key in [one for one in world.keys("work", "work/settle/2025-06/aurora/") if one not in _orders(world)]:
        world.cloud.stores["work"].delete(key)
    world.cloud.take_created()
    world.sweep("2025-07-20")

    assert world.total() == "105.00"


def _orders(world: Worked) -> set[str]:
    """The orders that settlements name."""
    entries = world.services.chain.read("reseller/aurora")
    return {one.body["order"] for one in entries if one.kind == "calculated"}


def test_an_adjustment_says_who_decided_it_and_is_proved(world: Worked, tmp_path: Path) -> None:
    world.approve(world.adjust("-12.5"))

    assert world.verified(tmp_path / "again")
    said = told(world, "aurora-2025/2025-06/1")
    assert "  2025-06, an amount by hand: 1 line, -12.50 CNY: goodwill" in said
    assert any("proposed by paula, approved by amir" in one for one in said)


def test_an_adjustment_that_cannot_be_is_refused(world: Worked) -> None:
    before = len(world.services.chain.read("reseller/aurora"))
    refused: list[tuple[dict[str, str], str]] = [
        ({"amount": "0"}, "is 0"),
        ({"amount": "1e400"}, "is '1e400'"),
        ({"amount": "12,5"}, "is '12,5'"),
        ({"currency": "USD"}, "pays CNY"),
        ({"agreement": "aurora-2024"}, "is none of aurora"),
        ({"cycle": "2024-12"}, "is none of aurora"),
        ({"cycle": "June"}, "June"),
        ({"customer": "nobody"}, "is not known"),
        ({"cause": " "}, "say it in"),
        ({"case": "2025-06-no_rule-000000000000"}, "is no open case"),
        ({"colour": "red"}, "is not a known name"),
    ]
    for asked, says in refused:
        with pytest.raises(BadInputError, match=says):
            world.adjust(**{"amount": "5", **asked})
    assert len(world.services.chain.read("reseller/aurora")) == before


# -- excluding ---------------------------------------------------------------------------------------------------


def test_an_excluded_case_lets_its_lines_go_and_all_adds_up(world: Worked, tmp_path: Path) -> None:
    world.approve(world.resolve("exclude", kind="no_rule"))

    assert world.kinds() == {"commission": ("1000", "100"), "excluded": ("100", "0")}
    assert world.open() == {}
    assert world.cases() == []
    assert world.verified(tmp_path / "again")


@pytest.fixture
def billed(tmp_path: Path) -> Worked:
    """The small month as it is billed, with a line that no rule matches, a refund of nothing, and a stranger."""
    world = Worked(tmp_path)
    refund = item(ATLAS, "-5.00", "oss", Item="Refund", InstanceID="o-9")
    storage = item(ACME, "10.00", "oss", InstanceID="o-1")
    stranger = item(STRANGER, "3.00")
    small_month(world, [(P1, DAYS[0], storage), (P2, DAYS[2], refund), (P1, DAYS[1], stranger)])
    go_live(world)
    world.final()
    return world


def test_what_is_excluded_names_the_case_and_who_decided_and_all_adds_up(billed: Worked, tmp_path: Path) -> None:
    for kind in ("no_rule", "unlinked_refund", "unmapped_account"):
        billed.approve(billed.resolve("exclude", CYCLE, kind=kind))
    rows = {Decimal(str(row["pretax"])): row for row in billed.cloud.rows.tables["bill_lines"].values()}

    for pretax, kind, owner in (
        ("10", "no_rule", "reseller/aurora"),
        ("-5", "unlinked_refund", "reseller/aurora"),
        ("3", "unmapped_account", "cycle/2025-06"),
    ):
        said = told(billed, str(rows[Decimal(pretax)]["line_id"]))
        assert any(f"{pretax}.00 CNY earn nothing, case 2025-06-{kind}-" in one for one in said)
        assert any(f"that closed case {kind} " in one and f"proposal {owner}#" in one for one in said)
        assert any("proposed by paula, approved by amir" in one for one in said)
    assert {one.unexplained for one in reconcile(billed.services, CYCLE).comparisons} == {0}
    assert billed.cases() == []
    assert billed.verified(tmp_path / "aurora")
    assert billed.verified(tmp_path / "operator", OPERATOR)


def test_lines_of_nobody_are_excluded_from_the_operator_s_share(world: Worked) -> None:
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("x", "2025-06-12", "50", account=STRANGER))
    assert world.open(OPERATOR) == {"unmapped_account": False}

    world.approve(world.resolve("exclude", kind="unmapped_account"))

    assert world.kinds(OPERATOR) == {"excluded": ("50", "0")}
    assert world.open(OPERATOR) == {}


def test_a_refund_that_falls_on_nothing_can_be_excluded(world: Worked) -> None:
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("r", "2025-06-12", "-5", account=ATLAS))
    world.approve(world.resolve("exclude", kind="unlinked_refund"))

    assert world.kinds()["excluded"] == ("-5", "0")


def test_a_case_that_is_excluded_after_the_lock_is_settled_by_the_next_lock(world: Worked) -> None:
    accepted(world)
    world.lock("aurora")
    [case] = [one for one in world.cases() if one["kind"] == "no_rule"]
    world.approve(world.resolve("exclude", cases=[case["id"]]))
    world.say(JULY, line("b", "2025-07-10", "200", instance_id="i-2"))

    assert world.total(cycle=JULY) == "20.00"
    world.lock("aurora", cycle=JULY)
    assert world.cases() == []
    assert case["id"] in {one["id"] for one in world.cases(state="closed")}


def test_what_comes_later_into_an_excluded_case_is_excluded_with_it(world: Worked) -> None:
    world.approve(world.resolve("exclude", kind="no_rule"))
    more = line("o2", "2025-06-12", "40", product_code="oss")
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("o", "2025-06-11", "100", product_code="oss"), more)

    assert world.kinds()["excluded"] == ("140", "0")


# -- accepting, dismissing ----------------------------------------------------------------------------------------


def test_an_accepted_case_stays_open_and_blocks_nothing_until_it_holds_more(world: Worked) -> None:
    world.approve(world.resolve("accept", kind="no_rule"))
    assert world.open() == {"no_rule": True}
    assert world.kinds() == {"commission": ("1000", "100")}

    more = line("o2", "2025-06-12", "40", product_code="oss")
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("o", "2025-06-11", "100", product_code="oss"), more)

    assert world.open() == {"no_rule": False}


def test_a_decision_about_what_holds_more_by_now_is_stale(world: Worked) -> None:
    proposal = world.resolve("exclude", kind="no_rule")
    more = line("o2", "2025-06-12", "40", product_code="oss")
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("o", "2025-06-11", "100", product_code="oss"), more)

    with pytest.raises(StaleProposalError, match="holds 2 lines, 140, was 1 lines, 100"):
        world.approve(proposal)


def test_two_approvers_at_once_decide_once(world: Worked) -> None:
    proposal = world.resolve("exclude", kind="no_rule")
    world.approve(proposal, drain=False)

    with pytest.raises(NotAllowedError, match="already approved, by amir"):
        decide.approve(world.services, proposal.name, by="anna", at=world.at)
    world.approve(proposal)  # by the same person again: nothing is added

    assert len([one for one in world.services.chain.read("reseller/aurora") if one.body.get("act") == "case"]) == 2
    assert world.kinds()["excluded"] == ("100", "0")


def test_what_holds_lines_is_not_dismissed_and_what_holds_none_not_excluded(world: Worked) -> None:
    with pytest.raises(BadInputError, match="which holds lines"):
        world.resolve("dismiss", kind="no_rule")
    decide.propose(world.services, "dispute", _dispute(), by=PREPARER, why="", at=world.at)
    with pytest.raises(BadInputError, match="which holds no line"):
        world.resolve("exclude", kind="dispute")


def test_a_decision_about_nothing_is_refused(world: Worked) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"action": "forget"}, "is none"),
        ({"kind": "no_fx_rate"}, "nothing that is open is meant"),
        ({"cases": ["2025-06-no_rule-000000000000"], "kind": "no_rule"}, "is not open"),
        ({"kind": "no_rule", "reseller": "nobody"}, "is not known"),
        ({"because": ""}, "say why"),
        ({}, "name cases by their ids"),
    ]
    for asked, says in refused:
        with pytest.raises(BadInputError, match=says):
            world.propose("case", **{"action": "accept", "cycle": JUNE, "because": "so", **asked})


def test_many_cases_are_one_entry_that_names_their_list(world: Worked) -> None:
    many = [line(f"o{n}", "2025-06-11", "1", product_code=f"product-{n:04}-{'x' * 40}") for n in range(300)]
    world.say(JUNE, line("a", "2025-06-10", "1000"), *many)

    proposal = world.resolve("exclude", kind="no_rule")
    assert proposal.body["count"] == 300
    assert "cases" not in proposal.body
    assert decide.show(world.services, proposal)[0] == "exclude 300 cases of 2025-06, 300 lines, 300 CNY: too small"
    world.approve(proposal)

    assert world.kinds()["excluded"] == ("300", "0")
    assert world.open() == {}


def test_an_account_of_nobody_is_assigned_from_its_case(world: Worked) -> None:
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("x", "2025-06-12", "50", account=BIRCH))
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("x", "2025-06-12", "50", account=STRANGER))
    [proposal] = world.propose(
        "case", action="assign", account=STRANGER, customer="acme", reseller="aurora", **{"from": "2025-06-01"}
    )
    world.approve(proposal)

    assert world.total() == "105.00"
    assert world.open(OPERATOR) == {}


# -- disputes and comments ----------------------------------------------------------------------------------------


def _dispute() -> dict[str, Any]:
    return {"reseller": "aurora", "cycle": JUNE, "about": "statement aurora-2025", "text": "it lacks a server"}


def test_a_dispute_is_opened_alone_and_closed_by_two(world: Worked) -> None:
    decide.propose(world.services, "dispute", _dispute(), by=APPROVER, why="", at=world.at)
    decide.propose(world.services, "dispute", _dispute(), by=APPROVER, why="", at=world.at)  # the same once more
    assert world.open() == {"no_rule": False, "dispute": False}

    world.approve(world.resolve("dismiss", kind="dispute"))

    assert world.open() == {"no_rule": False}


def test_only_who_may_leaves_a_note(world: Worked) -> None:
    with pytest.raises(NotAllowedError, match="mallory may leave no"):
        decide.propose(world.services, "dispute", _dispute(), by="mallory", why="", at=world.at)
    [case] = world.cases()
    said = {"case": case["id"], "text": "hm", "reseller": "nobody"}
    with pytest.raises(BadInputError, match="is not known"):
        decide.propose(world.services, "comment", said, by=PREPARER, why="", at=world.at)


def test_amounts_of_cases_are_exact(world: Worked) -> None:
    entries = world.services.chain.read("reseller/aurora")
    [case] = casework.open_cases(world.services, "aurora", JUNE, entries)

    assert (case.lines, case.amount) == (1, Decimal("100"))
    assert case.id == world.cases()[0]["id"]


# -- as people see them -------------------------------------------------------------------------------------------


def states(world: Worked, cycle: str = JUNE) -> dict[str, str]:
    """Where the cases of a month stand, by kind."""
    return {one.case.kind: one.state for one in caselist.listed(world.services, cycle)}


def test_a_case_goes_from_pending_to_settled_as_people_and_runs_take_it(world: Worked) -> None:
    assert states(world) == {"no_rule": "pending"}
    first = world.resolve("exclude", kind="no_rule")
    assert states(world) == {"no_rule": "proposed"}
    decide.reject(world.services, first.name, by=APPROVER, why="ask first", at=world.at)
    assert states(world) == {"no_rule": "rejected"}
    world.approve(world.resolve("exclude", kind="no_rule"), drain=False)
    assert states(world) == {"no_rule": "approved"}

    world.pump.drain()

    [one] = caselist.listed(world.services, JUNE)
    assert (one.state, one.closed_by) == ("settled", world.month().settlement)
    assert not one.is_open


def test_an_adjustment_goes_from_proposed_to_settled(world: Worked) -> None:
    proposal = world.adjust("5")
    assert states(world)["adjustment"] == "proposed"
    world.approve(proposal, drain=False)
    assert states(world)["adjustment"] == "approved"
    world.pump.drain()
    assert states(world)["adjustment"] == "applied"
    accepted(world)
    world.lock("aurora")
    assert states(world) == {"adjustment": "settled", "no_rule": "applied"}


def test_cases_are_listed_by_kind_owner_and_state(world: Worked) -> None:
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("x", "2025-06-12", "50", account=STRANGER))
    decide.propose(world.services, "dispute", _dispute(), by=PREPARER, why="", at=world.at)

    def found(**which: str) -> list[str]:
        return [one.case.kind for one in caselist.listed(world.services, JUNE, **which)]

    assert found() == ["dispute", "no_rule", "unmapped_account"]
    assert found(kind="dispute") == ["dispute"]
    assert found(reseller="aurora") == ["dispute", "no_rule"]
    assert found(in_state="settled") == ["no_rule"]  # the bill has no such line any more
    assert found(reseller=OPERATOR, in_state="pending") == ["unmapped_account"]
    for wrong in ({"kind": "odd"}, {"reseller": "nobody"}, {"in_state": "odd"}):
        with pytest.raises(BadInputError):
            found(**wrong)


def test_a_case_is_shown_with_its_lines_its_age_what_was_decided_and_said(world: Worked) -> None:
    [case] = world.cases()
    begun = world.at
    said = {"case": case["id"], "text": "who sells this?", "reseller": "aurora"}
    decide.propose(world.services, "comment", said, by=APPROVER, why="", at=world.at)
    world.resolve("exclude", cases=[case["id"]])

    found = caselist.shown(world.services, str(case["id"]))

    assert found["line_ids"] == ["o"]
    assert found["since"] == begun
    assert found["actions"] == ["rule", "exclude", "accept"]
    assert [one["text"] for one in found["comments"]] == ["who sells this?"]
    assert [(one["action"], one["state"], one["by"]) for one in found["decisions"]] == [
        ("exclude", "proposed", "paula")
    ]
    assert case_text(found)[0] == f"{case['id']}, aurora: proposed"


def test_the_effect_of_a_proposal_is_shown_before_anybody_approves_it(world: Worked) -> None:
    before = world.heads()
    adjustment, exclusion = world.adjust("-12.5"), world.resolve("exclude", kind="no_rule")

    def lines(proposal: Proposal) -> list[str]:
        return [said for one in effects(world.services, proposal.name) for said in effect_words(one)]

    assert lines(adjustment) == ["aurora 2025-06", "  aurora-2025, total: 100.00 -> 87.50 CNY (-12.5)"]
    assert lines(exclusion) == [
        "aurora 2025-06",
        "  aurora-2025, total: 100.00 -> 100.00 CNY (0)",
        "  no_rule, in cases: 100 -> 0 CNY (-100)",
    ]
    assert {name for name, head in world.heads().items() if before[name] != head} == {"reseller/aurora"}
    assert world.total() == "100.00"


def test_what_the_effect_says_is_what_the_approval_brings(world: Worked) -> None:
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("x", "2025-06-12", "50", account=STRANGER))
    [proposal] = world.propose(
        "case", action="assign", account=STRANGER, customer="acme", reseller="aurora", **{"from": "2025-06-01"}
    )
    found = {one.owner: one for one in effects(world.services, proposal.name)}
    world.approve(proposal)

    assert str(found["aurora"].statements[0].after) == world.total() == "105.00"
    assert [(one.name, str(one.after)) for one in found[OPERATOR].held] == [("unmapped_account", "0")]


def test_an_adjustment_that_was_rejected_is_nobodys_work(world: Worked) -> None:
    proposal = world.adjust("5.00")
    decide.reject(world.services, proposal.name, by=APPROVER, why="too much", at=world.at)

    [case] = [one for one in caselist.listed(world.services, JUNE) if one.case.kind == "adjustment"]
    assert (case.state, case.is_open) == ("rejected", False)


def test_the_list_names_cases_by_the_ids_that_commands_take(world: Worked) -> None:
    [case] = cases_of(world.services, JUNE)
    title, first, *_ = case_list([case], "Open cases 2025-06")

    assert title == "Open cases 2025-06: 1"
    assert first == f"{case['id']}, aurora: pending"
    assert caselist.shown(world.services, case["id"])["id"] == case["id"]
    with pytest.raises(BadInputError, match="write its whole id"):
        caselist.shown(world.services, case["id"].rpartition("-")[2])


def test_every_kind_of_case_has_its_words_on_the_summary() -> None:
    assert all(label(f"case.{kind}", language) for kind in KINDS for language in LANGUAGES)


# -- a refund linked to its charge --------------------------------------------------------------------------------

DISK = {"instance_id": "d-1"}


def linked(world: Worked, refund: str, charge: str, cycle: str = JUNE) -> Proposal:
    """Propose to link a refund."""
    asked = {"action": "link", "cycle": cycle, "refund": refund, "charge": charge, "because": "the order says so"}
    [proposal] = world.propose("case", **asked)
    return proposal


@pytest.fixture
def refunded(tmp_path: Path) -> Worked:
    """Aurora earns 10 % of ecs; a refund of June is of an instance that has no charge."""
    world = Worked(tmp_path)
    world.hold(ACME_OF_AURORA, ATLAS_OF_AURORA, BIRCH_OF_BOREALIS)
    world.decide_agreement(agreement("aurora"))
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("r", "2025-06-12", "-300", **DISK))
    assert world.total() == "100.00"
    return world


def test_a_refund_that_people_link_is_netted_in_its_month(refunded: Worked, tmp_path: Path) -> None:
    [case] = refunded.cases()
    assert "link" in caselist.shown(refunded.services, str(case["id"]))["actions"]
    proposal = linked(refunded, "r", "a")
    assert decide.show(refunded.services, proposal)[-1] == "  to charge a"
    [effect] = effects(refunded.services, proposal.name)
    assert list(effect_words(effect))[1] == "  aurora-2025, total: 100.00 -> 70.00 CNY (-30)"
    assert states(refunded) == {"unlinked_refund": "proposed"}

    refunded.approve(proposal)

    assert refunded.total() == "70.00"
    assert refunded.open() == {}
    assert states(refunded) == {"unlinked_refund": "settled"}
    assert refunded.kept().manifest(refunded.services)["links"] == [[JUNE, "r", "a", proposal.name]]
    assert refunded.verified(tmp_path / "again")


@pytest.mark.parametrize("take_back", ["original", "rerate"])
def test_a_link_takes_back_what_its_charge_of_an_earlier_month_earned(tmp_path: Path, take_back: str) -> None:
    world = Worked(tmp_path)
    world.hold(ACME_OF_AURORA, BIRCH_OF_BOREALIS)
    world.decide_agreement(agreement("aurora", refunds={"take_back": take_back}))
    world.say(JUNE, line("a", "2025-06-10", "1000"))
    world.lock("aurora")
    world.say(JULY, line("b", "2025-07-10", "500", instance_id="i-2"), line("r", "2025-07-12", "-300", **DISK))
    assert world.total(cycle=JULY) == "50.00"

    world.approve(linked(world, "r", "a", JULY))

    assert world.total(cycle=JULY) == "20.00"
    assert world.open(cycle=JULY) == {}
    assert world.verified(tmp_path / "again", cycle=JULY)


def test_a_link_after_the_lock_adjusts_the_next_month_and_holds_in_all_that_follow(
    refunded: Worked, tmp_path: Path
) -> None:
    refunded.approve(refunded.resolve("accept", kind="unlinked_refund"))
    refunded.lock("aurora")
    refunded.approve(linked(refunded, "r", "a"))
    refunded.say(JULY, line("b", "2025-07-10", "200", instance_id="i-2"))

    assert refunded.total(cycle=JULY) == "-10.00"
    assert refunded.total() == "100.00"
    assert refunded.verified(tmp_path / "again", cycle=JULY)
    refunded.lock("aurora", cycle=JULY)
    assert states(refunded)["unlinked_refund"] == "settled"
    refunded.say(AUGUST, line("c", "2025-08-10", "300", instance_id="i-3"), line("s", "2025-08-11", "-700"))
    assert refunded.total(cycle=AUGUST) == "-40.00"


def test_a_link_to_a_charge_that_has_less_left_stays_a_case(refunded: Worked) -> None:
    more = line("x", "2025-06-13", "-1000")  # equals the charge; but what people linked goes first
    refunded.say(JUNE, line("a", "2025-06-10", "1000"), line("r", "2025-06-12", "-300", **DISK), more)
    refunded.approve(linked(refunded, "r", "a"))
    assert (refunded.total(), refunded.open()) == ("70.00", {"refund_exceeds_charge": False})

    refunded.approve(linked(refunded, "x", "a"))
    assert (refunded.total(), refunded.open()) == ("70.00", {"refund_exceeds_charge": False})
    assert states(refunded)["refund_exceeds_charge"] == "pending"


def test_a_link_to_a_charge_that_has_nothing_left_stays_a_case(refunded: Worked) -> None:
    small, of_small = line("e", "2025-06-02", "40", ATLAS), line("f", "2025-06-05", "-40", ATLAS, related_record="e")
    other = line("g", "2025-06-20", "-40", ATLAS, instance_id="d-2")
    refunded.say(JUNE, line("a", "2025-06-10", "1000"), {**small, "record_id": "e"}, of_small, other)
    refunded.approve(linked(refunded, "g", "e"))

    assert (refunded.total(), refunded.open()) == ("100.00", {"unlinked_refund": False})


def test_of_several_links_of_a_refund_the_last_proposed_holds_in_whatever_order_they_are_approved(
    refunded: Worked,
) -> None:
    more = line("b", "2025-06-11", "600", instance_id="i-2", product_code="oss")
    refunded.say(JUNE, line("a", "2025-06-10", "1000"), more, line("r", "2025-06-12", "-300", **DISK))
    first = linked(refunded, "r", "b")
    second = linked(refunded, "r", "a")
    refunded.approve(second, drain=False)
    refunded.approve(first)

    assert refunded.total() == "70.00"


def test_what_cannot_be_linked_is_refused(refunded: Worked) -> None:
    refunded.say(
        JUNE,
        line("a", "2025-06-10", "1000"),
        line("o", "2025-06-10", "10", ATLAS),
        line("u", "2025-06-10", "10", currency="USD"),
        line("r", "2025-06-12", "-300", **DISK),
        line("s", "2025-06-13", "-5", **DISK),
    )
    for refund, charge, says in (
        ("a", "a", "is no refund in an open case"),
        ("nothing", "a", "is no refund in an open case"),
        ("r", "nothing", "is no line of the share"),
        ("r", "s", "is a refund"),
        ("r", "o", "has the account"),
        ("r", "u", "has the currency USD, the refund CNY"),
    ):
        with pytest.raises(BadInputError, match=says):
            linked(refunded, refund, charge)


def test_a_linked_refund_says_who_linked_it(billed: Worked) -> None:
    rows = {Decimal(str(row["pretax"])): str(row["line_id"]) for row in billed.cloud.rows.tables["bill_lines"].values()
            if row["account"] == ATLAS}  # fmt: skip
    charge = max(rows)
    billed.approve(linked(billed, rows[Decimal(-5)], rows[charge], CYCLE))

    said = told(billed, rows[Decimal(-5)])
    assert any("linked: by hand, proposal reseller/aurora#" in one for one in said)
    assert any("proposed by paula, approved by amir" in one for one in said)
    assert {one.unexplained for one in reconcile(billed.services, CYCLE).comparisons} == {0}


def test_a_link_is_the_same_for_all_that_hold_the_account(tmp_path: Path) -> None:
    """Acme goes to borealis in July; what aurora's link has taken of June's charge, no refund of July takes again."""
    world = Worked(tmp_path)
    acme = [assigned(ACME, "acme", "aurora", until="2025-06-30"), assigned(ACME, "acme", "borealis", "2025-07-01")]
    world.hold(*acme, ATLAS_OF_AURORA)
    world.decide_agreement(agreement("aurora"))
    world.decide_agreement(agreement("borealis"))
    world.say(JUNE, line("a", "2025-06-10", "1000"), line("r", "2025-06-12", "-1000", **DISK))
    world.approve(linked(world, "r", "a"))
    world.lock("aurora")
    world.say(JULY, line("b", "2025-07-10", "500"), line("s", "2025-07-12", "-500"), line("t", "2025-07-13", "-100"))

    assert world.total("borealis", JULY) == "0.00"
    assert world.open("borealis", JULY) == {"unlinked_refund": False}
    assert world.total(cycle=JULY) == "0.00"
