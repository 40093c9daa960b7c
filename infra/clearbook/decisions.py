"""The commands by which people decide: what they propose and approve is shown, then done."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from shared.control.approvals import Proposal
from shared.cycle import stamp
from shared.documents import reading
from shared.errors import ClearbookError
from shared.services import Services
from shared.steps import decide, state


class NotAllProposedError(ClearbookError):
    """Some of what was asked for could not be proposed."""

    code = "not_all_proposed"


def propose_parties(file: Path, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a party document."""
    work = services(home)
    with reading(file.read_bytes(), str(file)) as data:
        proposal = decide.propose_parties(work, data, str(file), by=by, why=why, at=stamp(now(home)))
    say(work, [proposal], json_to)


def propose_locks(cycle: str, resellers: list[str], by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose a lock for each reseller."""
    work = services(home)
    parties, _ = state.parties(work)
    proposals, problems = [], []
    for one in resellers or sorted(parties.resellers):
        try:
            proposals.append(decide.propose_lock(work, cycle, one, by=by, why=why, at=stamp(now(home))))
        except ClearbookError as exc:
            problems.append(str(exc))
    say(work, proposals, json_to, [f"not proposed: {problem}" for problem in problems])
    if problems:
        raise NotAllProposedError(f"{len(problems)} of {len(problems) + len(proposals)} could not be proposed")


def propose_payouts(cycle: str, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose what is due."""
    work = services(home)
    proposals, left_out = decide.propose_payouts(work, cycle, by=by, why=why, at=stamp(now(home)))
    say(work, proposals, json_to, [f"{reseller}: not paid: {problem}" for reseller, problem in left_out])


def propose_invoice(invoice: decide.Invoice, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose to enter an invoice."""
    work = services(home)
    say(work, [decide.propose_invoice(work, invoice, by=by, why=why, at=stamp(now(home)))], json_to)


def approve(names: list[str], by: str, home: Path | None, json_to: str | None) -> None:
    """Approve proposals by name."""
    work = services(home)
    done: list[dict[str, Any]] = []
    try:
        for name in names:
            proposal, orders, missing = decide.approve(work, name, by=by, at=stamp(now(home)))
            done.append({**_as_json(proposal), "approved_by": by, "missing": list(missing), "orders": orders})
            if json_to != "-":
                print(f"approved {proposal.name} ({proposal.act}, proposed by {proposal.by})")
                if missing:
                    print(f"  not in force yet: it waits for {', '.join(missing)}")
                for order in orders:
                    print(f"  ordered {order}")
    finally:
        if json_to is not None:
            write_json(done, json_to)


def propose_act(act: str, asked: Mapping[str, Any], by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Propose an act of plain data."""
    work = services(home)
    found = decide.propose(work, act, asked, by=by, why=why, at=stamp(now(home)))
    say(work, list(found.proposals), json_to, list(found.notes))


def reject(name: str, by: str, why: str, home: Path | None, json_to: str | None) -> None:
    """Reject a proposal, or withdraw one's own."""
    work = services(home)
    proposal = decide.reject(work, name, by=by, why=why, at=stamp(now(home)))
    if json_to is not None:
        write_json({**_as_json(proposal), "rejected_by": by, "because": why}, json_to)
    if json_to != "-":
        print(f"rejected {proposal.name} ({proposal.act}, proposed by {proposal.by}): {why}")


def show_proposals(home: Path | None, json_to: str | None) -> None:
    """List what waits."""
    work = services(home)
    found = decide.waiting(work)
    if json_to is not None:
        write_json([_as_json(proposal) for proposal in found], json_to)
    if json_to == "-":
        return
    for proposal in found:
        print(f"{proposal.name}: {proposal.act} by {proposal.by} at {proposal.at} {proposal.why}".rstrip())
        for line in decide.show(work, proposal):
            print(f"  {line}")
        print(f"  waits for {', '.join(decide.missing(work, proposal))}")
    if not found:
        print("nothing waits for an approval")


def say(work: Services, proposals: list[Proposal], json_to: str | None, notes: list[str] | None = None) -> None:
    """Print what was proposed and how it is approved."""
    if json_to is not None:
        write_json({"proposals": [_as_json(proposal) for proposal in proposals], "notes": notes or []}, json_to)
    if json_to == "-":
        return
    for proposal in proposals:
        print(f"proposed {proposal.name} by {proposal.by}; someone else approves it: clearbook approve {proposal.name}")
        for line in decide.show(work, proposal):
            print(f"  {line}")
    for note in notes or []:
        print(note)
    if not proposals and not notes:
        print("nothing is due")


def _as_json(proposal: Proposal) -> dict[str, Any]:
    return {
        "proposal": proposal.name,
        "act": proposal.act,
        "by": proposal.by,
        "at": proposal.at,
        "why": proposal.why,
        "what": dict(proposal.body),
    }
