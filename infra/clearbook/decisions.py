"""The commands by which people decide: what they propose and approve is shown, then done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from shared.agreement.document import agreement_document
from shared.control import approvals
from shared.control.approvals import Proposal
from shared.control.months import LOCK, stream_of
from shared.cycle import stamp
from shared.documents import read_yaml
from shared.parties.parties import OPERATOR, STREAM, NoPartiesError
from shared.services import Services
from shared.settlement.examples import settle_example
from shared.steps import decide, state


def propose_parties(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a party document."""
    data = read_yaml(file.read_bytes(), str(file))
    _say([decide.propose_parties(services(home), data, str(file), by=by, why=why, at=stamp(now(home)))], json_to)


def propose_agreement(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose an agreement version."""
    data = read_yaml(file.read_bytes(), str(file))
    _say([decide.propose_agreement(services(home), data, str(file), by=by, why=why, at=stamp(now(home)))], json_to)


def check_agreement(file: Path) -> None:
    """Check a document alone."""
    agreement_document(read_yaml(file.read_bytes(), str(file)), str(file), settle_example)
    print(f"{file}: can be submitted; its worked examples come out as expected")


def propose_locks(cycle: str, resellers: list[str], by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a lock for each reseller."""
    work = services(home)
    parties, _ = state.parties(work)
    names = resellers or sorted(parties.resellers)
    _say([decide.propose_lock(work, cycle, one, by=by, why=why, at=stamp(now(home))) for one in names], json_to)


def propose_payouts(cycle: str, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose what is due."""
    proposals, left_out = decide.propose_payouts(services(home), cycle, by=by, why=why, at=stamp(now(home)))
    _say(proposals, json_to, [f"{reseller}: not paid: {problem}" for reseller, problem in left_out])


def approve(names: list[str], by: str, home: Path | None, json_to: str | None) -> None:
    """Approve proposals by name."""
    work = services(home)
    done: list[dict[str, Any]] = []
    for name in names:
        proposal, orders = decide.approve(work, name, by=by, at=stamp(now(home)))
        done.append({**_as_json(proposal), "approved_by": by, "orders": orders})
        if json_to != "-":
            print(f"approved {proposal.name} ({proposal.act}, proposed by {proposal.by})")
            for order in orders:
                print(f"  ordered {order}")
    if json_to is not None:
        write_json(done, json_to)


def show_proposals(home: Path | None, json_to: str | None) -> None:
    """List what waits."""
    found = waiting(services(home))
    if json_to is not None:
        write_json([_as_json(proposal) for proposal in found], json_to)
    if json_to == "-":
        return
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


def _say(proposals: list[Proposal], json_to: str | None, notes: list[str] | None = None) -> None:
    """Print what was proposed and how it is approved."""
    if json_to is not None:
        write_json({"proposals": [_as_json(proposal) for proposal in proposals], "notes": notes or []}, json_to)
    if json_to == "-":
        return
    for note in notes or []:
        print(note)
    for proposal in proposals:
        for line in _shown(proposal):
            print(f"{proposal.name}: {line}")
        print(f"proposed by {proposal.by}; someone else approves it: clearbook approve {proposal.name}")
    if not proposals:
        print("nothing is due")


def _shown(proposal: Proposal) -> list[str]:
    """What the approver is to look at."""
    body = proposal.body
    if proposal.act == LOCK:
        lines = [
            f"{one['agreement']} total {one['total']}, payable {one['payable']} {one['currency']}"
            for one in body["statements"]
        ]
        return [*lines, f"settlement {body['settlement']}, {body['open_cases']} open cases"]
    if proposal.act == decide.PAYOUT:
        return [f"{body['members']} payments, {body['total']} {body['currency']}"]
    return [f"{proposal.act} {body['document']}"]


def _as_json(proposal: Proposal) -> dict[str, Any]:
    return {
        "proposal": proposal.name,
        "act": proposal.act,
        "by": proposal.by,
        "at": proposal.at,
        "why": proposal.why,
        "what": dict(proposal.body),
    }
