"""The commands by which people decide: what they propose and approve is shown, then done."""

from __future__ import annotations

from pathlib import Path

from infra.clearbook.context import now, services
from shared.agreement.document import agreement_document
from shared.control import approvals
from shared.control.approvals import Proposal
from shared.control.months import stream_of
from shared.cycle import stamp
from shared.documents import read_yaml
from shared.parties.parties import OPERATOR, STREAM, NoPartiesError
from shared.services import Services
from shared.settlement.examples import settle_example
from shared.steps import decide, state


def propose_parties(file: Path, by: str, why: str, home: Path | None) -> None:
    """Propose a party document."""
    data = read_yaml(file.read_bytes(), str(file))
    _proposed(decide.propose_parties(services(home), data, str(file), by=by, why=why, at=stamp(now(home))))


def propose_agreement(file: Path, by: str, why: str, home: Path | None) -> None:
    """Propose an agreement version."""
    data = read_yaml(file.read_bytes(), str(file))
    _proposed(decide.propose_agreement(services(home), data, str(file), by=by, why=why, at=stamp(now(home))))


def check_agreement(file: Path) -> None:
    """Check a document alone."""
    agreement_document(read_yaml(file.read_bytes(), str(file)), str(file), settle_example)
    print(f"{file}: can be submitted; its worked examples come out as expected")


def propose_locks(cycle: str, resellers: list[str], by: str, why: str, home: Path | None) -> None:
    """Propose a lock for each reseller."""
    work = services(home)
    parties, _ = state.parties(work)
    for reseller in resellers or sorted(parties.resellers):
        proposal = decide.propose_lock(work, cycle, reseller, by=by, why=why, at=stamp(now(home)))
        for one in proposal.body["statements"]:
            figures = f"total {one['total']}, payable {one['payable']} {one['currency']}"
            print(f"{reseller} {cycle}: {one['agreement']} {figures}")
        _proposed(proposal)


def propose_payouts(cycle: str, by: str, why: str, home: Path | None) -> None:
    """Propose what is due."""
    proposals, left_out = decide.propose_payouts(services(home), cycle, by=by, why=why, at=stamp(now(home)))
    for reseller, problem in left_out:
        print(f"{reseller}: not paid: {problem}")
    for proposal in proposals:
        body = proposal.body
        print(f"batch {body['batch']}: {body['members']} payments, {body['total']} {body['currency']}")
        _proposed(proposal)
    if not proposals:
        print(f"nothing is due for {cycle}")


def approve(names: list[str], by: str, home: Path | None) -> None:
    """Approve proposals by name."""
    work = services(home)
    for name in names:
        proposal, orders = decide.approve(work, name, by=by, at=stamp(now(home)))
        print(f"approved {proposal.name} ({proposal.act}, proposed by {proposal.by})")
        for order in orders:
            print(f"  ordered {order}")


def show_proposals(home: Path | None) -> None:
    """List what waits."""
    found = waiting(services(home))
    for proposal in found:
        print(f"{proposal.name}: {proposal.act} by {proposal.by} at {proposal.at} {proposal.why}".rstrip())
    if not found:
        print("nothing waits for an approval")


def waiting(work: Services) -> list[Proposal]:
    """Every proposal that waits, over all streams."""
    streams = [STREAM]
    try:
        parties, _ = state.parties(work)
        streams += [stream_of(reseller, "") for reseller in sorted(parties.resellers)]
    except NoPartiesError:
        pass
    cycles = sorted({key.split("/")[2] for key in work.buckets.work.keys("seals/")})
    streams += [stream_of(OPERATOR, cycle) for cycle in cycles]
    return [one for stream in streams for one in approvals.waiting(work.chain.read(stream))]


def _proposed(proposal: Proposal) -> None:
    print(f"proposed {proposal.name} by {proposal.by}; someone else approves it: clearbook approve {proposal.name}")
