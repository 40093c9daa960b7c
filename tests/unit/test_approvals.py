"""Who may decide what: roles, more than one approver, rejections, and what is kept of those who tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from infra.clearbook.people import APPROVER, PREPARER, SEEDED
from shared.access.roles import ROLES
from shared.chain.chain import Chain
from shared.control import approvals
from shared.control.approvals import GRANTS, REFUSED, Needs, NotAllowedError, StaleProposalError, users
from shared.control.months import months
from shared.errors import BadInputError
from shared.steps import decide, projections
from tests.builders import ACME, CYCLE, DAYS, P1, agreement, item, parties
from tests.fakes import Cloud
from tests.pump import World, go_live, small_month


@pytest.fixture
def chain(tmp_path: Path) -> Chain:
    chain = Cloud(tmp_path).services.chain
    approvals.name_users(chain, SEEDED, "2025-06-01T00:00:00Z")
    return chain


def proposed(chain: Chain, by: str = PREPARER, **what: Any) -> approvals.Proposal:
    return approvals.propose(chain, "config", "thing", what or {"a": "1"}, by=by, why="test", at="2025-06-02T00:00:00Z")


def approve(chain: Chain, proposal: approvals.Proposal, by: str, needs: Needs | None = None) -> approvals.Approval:
    return approvals.approve(
        chain, proposal.stream, proposal.seq, by=by, at="2025-06-03T00:00:00Z",
        check=lambda entries, proposal: None, needs=lambda entries, proposal: needs or Needs(),
    )  # fmt: skip


def kinds(chain: Chain, stream: str = "config") -> list[str]:
    return [entry.kind for entry in chain.read(stream)]


# -- more than one ------------------------------------------------------------------------------------------------


def test_two_approvers_are_two_people_and_only_the_last_puts_it_in_force(chain: Chain) -> None:
    proposal = proposed(chain)

    first = approve(chain, proposal, APPROVER, Needs(2))
    again = approve(chain, proposal, APPROVER, Needs(2))
    assert first.missing == again.missing == ["1 more approver"]
    assert list(approvals.in_force(chain.read("config"), "thing")) == []
    assert approve(chain, proposal, "anna", Needs(2)).is_in_force

    assert kinds(chain) == ["proposed", "endorsed", "approved"]
    assert list(approvals.in_force(chain.read("config"), "thing")) == [{"a": "1"}]


def test_a_step_of_a_role_is_one_more_person_and_no_approver_takes_it(chain: Chain) -> None:
    grant(chain, "otto", "auditor")
    proposal, needs = proposed(chain), Needs(1, ("auditor",))

    assert approve(chain, proposal, APPROVER, needs).missing == ["one auditor"]
    assert approve(chain, proposal, "anna", needs).missing == ["one auditor"]
    assert approve(chain, proposal, "otto", needs).is_in_force


def test_an_auditor_approves_nothing_that_does_not_ask_for_one(chain: Chain) -> None:
    grant(chain, "otto", "auditor")

    with pytest.raises(NotAllowedError, match="otto may not approve; amir, anna may"):
        approve(chain, proposed(chain), "otto")


def test_who_lost_the_role_after_approving_no_longer_counts(chain: Chain) -> None:
    proposal = proposed(chain)
    approve(chain, proposal, APPROVER, Needs(2))
    grant(chain, APPROVER, "analyst", by="anna")

    assert approve(chain, proposal, "anna", Needs(2)).missing == ["1 more approver"]


# -- rejecting ----------------------------------------------------------------------------------------------------


def test_what_is_rejected_waits_no_more_and_is_never_in_force(chain: Chain) -> None:
    proposal = proposed(chain)
    reject(chain, proposal, APPROVER)
    reject(chain, proposal, APPROVER)

    assert kinds(chain) == ["proposed", "rejected"]
    assert approvals.waiting(chain.read("config")) == []
    with pytest.raises(StaleProposalError, match="was rejected by amir; propose it anew"):
        approve(chain, proposal, "anna")
    assert proposed(chain).seq == 3


def test_who_proposed_it_may_withdraw_it_and_another_preparer_may_not(chain: Chain) -> None:
    proposal = proposed(chain)

    with pytest.raises(NotAllowedError, match="pavel may not reject; amir, anna may"):
        reject(chain, proposal, "pavel")
    reject(chain, proposal, PREPARER)
    assert approvals.waiting(chain.read("config")) == []


def test_what_is_in_force_cannot_be_rejected(chain: Chain) -> None:
    proposal = proposed(chain)
    approve(chain, proposal, APPROVER)

    with pytest.raises(StaleProposalError, match="is approved already, by amir"):
        reject(chain, proposal, "anna")


# -- those who tried ----------------------------------------------------------------------------------------------


def test_an_approval_by_the_proposer_leaves_one_entry_that_says_so(chain: Chain) -> None:
    grant(chain, PREPARER, "approver", by="anna", proposer="pavel", after=proposed(chain))
    [proposal] = approvals.waiting(chain.read("config"))

    for _ in range(2):
        with pytest.raises(NotAllowedError, match=r"paula proposed .* and cannot approve it"):
            approve(chain, proposal, PREPARER)

    [refused] = [entry for entry in chain.read("config") if entry.kind == REFUSED]
    assert (refused.actor, refused.body["tried"]) == (PREPARER, {"do": "approve", "proposal": proposal.seq})
    assert "cannot approve it" in refused.body["because"]


@pytest.mark.parametrize("by", ["amir", "anna"])
def test_proposing_without_the_right_leaves_an_entry(chain: Chain, by: str) -> None:
    with pytest.raises(NotAllowedError, match=f"{by} may not propose thing; paula, pavel may"):
        proposed(chain, by)

    assert kinds(chain) == ["refused"]


def test_a_stranger_leaves_nothing(chain: Chain) -> None:
    proposal = proposed(chain)
    for act in (lambda: approve(chain, proposal, "mallory"), lambda: proposed(chain, "mallory")):
        with pytest.raises(NotAllowedError, match="there is no user 'mallory'"):
            act()

    assert kinds(chain) == ["proposed"]


# -- grants -------------------------------------------------------------------------------------------------------


def test_a_role_is_given_and_taken_by_two(tmp_path: Path) -> None:
    services = Cloud(tmp_path).services
    approvals.name_users(services.chain, SEEDED, "2025-06-01T00:00:00Z")

    def decided(role: str, by: str = PREPARER) -> None:
        asked = {"user": "otto", "name": "Otto", "role": role}
        named = {"why": "", "at": "2025-06-02T00:00:00Z"}
        [proposal] = decide.propose(services, "grant", asked, by=by, **named).proposals
        decide.approve(services, proposal.name, by=APPROVER, at=named["at"])

    decided("approver")
    assert users(services.chain)["otto"] == {"name": "Otto", "role": "approver"}
    with pytest.raises(NotAllowedError, match="otto may not propose grant"):
        decided("auditor", by="otto")
    decided("")
    assert "otto" not in users(services.chain)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        ({"user": "otto", "name": "Otto", "role": "king"}, "'king' is none; give one of preparer"),
        ({"user": "otto", "role": "auditor"}, "name.*is missing"),
        ({"user": "o t", "name": "O", "role": "auditor"}, "subject"),
        ({"user": "otto", "role": ""}, "has no role"),
        ({"user": "otto", "name": "O", "role": "auditor", "of": "aurora"}, "leave it out"),
        ({"user": "otto", "name": "O", "role": "reseller", "of": "nobody"}, "there is no reseller 'nobody'"),
        ({"user": "otto", "name": "O", "role": "auditor", "more": 1}, "more.*is not a known name here"),
        ({"user": "otto", "name": "O", "role": 7}, "role.*is '7'.*give it as text"),
        ({"name": "O", "role": "auditor"}, "user.*is missing"),
    ],
)
def test_a_grant_that_cannot_be_is_refused_with_its_place(tmp_path: Path, asked: dict[str, Any], problem: str) -> None:
    world = World(tmp_path)
    go_live(world)
    before = world.heads()

    with pytest.raises(BadInputError, match=problem):
        decide.propose(world.services, "grant", asked, by=PREPARER, why="", at=world.at)
    assert world.heads() == before


def test_the_last_approver_keeps_the_role(tmp_path: Path) -> None:
    services, named = Cloud(tmp_path).services, {"why": "", "at": "2025-06-02T00:00:00Z"}
    approvals.name_users(services.chain, {name: SEEDED[name] for name in (PREPARER, APPROVER)}, named["at"])

    with pytest.raises(BadInputError, match="would leave no approver"):
        decide.propose(services, "grant", {"user": APPROVER, "role": ""}, by=PREPARER, **named)


def test_every_role_says_what_it_is_and_nobody_both_proposes_and_approves() -> None:
    for name, role in ROLES.items():
        assert (role.name, bool(role.says)) == (name, True)
        assert not (role.proposes and role.approves)


# -- a month in review --------------------------------------------------------------------------------------------


def state_of(world: World) -> str:
    [row] = [row for row in projections.listed(world.services, projections.SETTLEMENTS, CYCLE) if row["id"] == "aurora"]
    assert row["state"] == world.month().state
    return str(row["state"])


def test_a_month_is_calculated_in_review_approved_and_locked(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()

    assert state_of(world) == "calculated"
    proposal = world.propose_lock()
    assert state_of(world) == "in_review"
    decide.reject(world.services, proposal.name, by=APPROVER, why="look again", at=world.at)
    assert state_of(world) == "calculated"
    world.approve(world.propose_lock(), drain=False)
    assert state_of(world) == "approved"
    world.pump.drain()
    assert state_of(world) == "locked"


def test_a_month_that_is_calculated_anew_is_no_longer_in_review(tmp_path: Path) -> None:
    world = World(tmp_path)
    small_month(world)
    go_live(world)
    world.final()
    world.propose_lock()
    world.bill(P1, DAYS[2], item(ACME, "900.00"))
    world.pull_again(1)

    assert state_of(world) == "calculated"


def test_different_agreements_follow_different_paths(tmp_path: Path) -> None:
    """Aurora's asks for two approvers and an auditor of its locks, borealis's for nothing."""
    world = World(tmp_path)
    small_month(world)
    world.decide_parties(parties())
    world.decide_agreement(
        agreement("aurora") | {"approvals": {"approvers": 2, "also": [{"act": "lock", "role": "auditor"}]}}
    )
    world.decide_agreement(agreement("borealis"))
    grant(world.services.chain, "otto", "auditor")
    world.final()

    aurora, borealis = world.propose_lock("aurora"), world.propose_lock("borealis")
    missing = []
    for by in (APPROVER, "anna", "otto"):
        missing.append(decide.approve(world.services, aurora.name, by=by, at=world.at).missing)
        assert (months(world.services.chain.read("reseller/aurora"))[CYCLE].locked is None) == (by != "otto")
    assert missing == [["1 more approver", "one auditor"], ["one auditor"], ()]
    assert decide.approve(world.services, borealis.name, by=APPROVER, at=world.at).missing == ()


def grant(
    chain: Chain, user: str, role: str, *, by: str = APPROVER, proposer: str = PREPARER, after: object = None
) -> None:
    what = {"user": user, "name": user, "role": role}
    proposal = approvals.propose(chain, GRANTS, "grant", what, by=proposer, why="", at="2025-06-02T00:00:00Z")
    approve(chain, proposal, by)


def reject(chain: Chain, proposal: approvals.Proposal, by: str) -> None:
    approvals.reject(chain, proposal.stream, proposal.seq, by=by, why="no", at="2025-06-03T00:00:00Z")
