"""The commands by which people decide: what they propose and approve is shown, then done."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from infra.clearbook.context import now, services
from infra.clearbook.main import write_json
from infra.clearbook.references.shown import changed_tables
from shared.agreement.agreement import parse_agreement
from shared.agreement.differences import differences
from shared.agreement.words import facts, lines
from shared.control import approvals
from shared.control.approvals import Proposal
from shared.control.months import AGREEMENT, INVOICE, LOCK, stream_of
from shared.cycle import stamp
from shared.documents import reading
from shared.errors import ClearbookError
from shared.money import EXACT, text
from shared.parties.parties import OPERATOR, STREAM, NoPartiesError
from shared.payout.batch import balance, parse_batch
from shared.services import Services
from shared.steps import decide, state
from shared.steps.route_settlements import sealed


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
            proposal, orders = decide.approve(work, name, by=by, at=stamp(now(home)))
            done.append({**_as_json(proposal), "approved_by": by, "orders": orders})
            if json_to != "-":
                print(f"approved {proposal.name} ({proposal.act}, proposed by {proposal.by})")
                for order in orders:
                    print(f"  ordered {order}")
    finally:
        if json_to is not None:
            write_json(done, json_to)


def show_proposals(home: Path | None, json_to: str | None) -> None:
    """List what waits."""
    work = services(home)
    found = waiting(work)
    if json_to is not None:
        write_json([_as_json(proposal) for proposal in found], json_to)
    if json_to == "-":
        return
    for proposal in found:
        print(f"{proposal.name}: {proposal.act} by {proposal.by} at {proposal.at} {proposal.why}".rstrip())
        for line in _shown(work, proposal):
            print(f"  {line}")
    if not found:
        print("nothing waits for an approval")


def waiting(work: Services) -> list[Proposal]:
    """Every proposal that waits, over all streams."""
    streams = [STREAM, state.CONFIG]
    try:
        parties, _ = state.parties(work)
        streams += [stream_of(reseller, "") for reseller in sorted(parties.resellers)]
    except NoPartiesError:
        pass
    streams += [stream_of(OPERATOR, cycle) for cycle in sorted(sealed(work))]
    return [one for stream in streams for one in approvals.waiting(work.chain.read(stream))]


def say(work: Services, proposals: list[Proposal], json_to: str | None, notes: list[str] | None = None) -> None:
    """Print what was proposed and how it is approved."""
    if json_to is not None:
        write_json({"proposals": [_as_json(proposal) for proposal in proposals], "notes": notes or []}, json_to)
    if json_to == "-":
        return
    for proposal in proposals:
        print(f"proposed {proposal.name} by {proposal.by}; someone else approves it: clearbook approve {proposal.name}")
        for line in _shown(work, proposal):
            print(f"  {line}")
    for note in notes or []:
        print(note)
    if not proposals and not notes:
        print("nothing is due")


def _shown(work: Services, proposal: Proposal) -> list[str]:
    """What the approver is to look at: the figures, the payments, or what a document changes."""
    body = proposal.body
    if proposal.act == LOCK:
        entries = work.chain.read(proposal.stream)
        figures = [_figures(one, balance(entries, one["agreement"], body["cycle"])) for one in body["statements"]]
        return [*figures, f"settlement {body['settlement']}, {body['open_cases']} open cases"]
    if proposal.act == INVOICE:
        entries = work.chain.read(proposal.stream)
        owed = text(balance(entries, body["agreement"], body["cycle"]))
        asked = f"invoice {body['number']} of {body['date']} over {body['amount']} {body['currency']}"
        return [f"{asked}; {owed} is owed under {body['agreement']} in {body['cycle']}"]
    if proposal.act == decide.PAYOUT:
        _, members = parse_batch(work.buckets.records.get(decide.batch_key(body["cycle"], body["batch"])))
        withheld = {one.instruction: f", {one.withheld} withheld" for one in members if one.withheld != "0"}
        payments = [f"{one.instruction}: {one.amount} {one.currency} to {one.payee_name}, {one.account} at {one.bank}"
                    f"{withheld.get(one.instruction, '')}" for one in members]  # fmt: skip
        return [*payments, f"together {body['total']} {body['currency']}"]
    if proposal.act in (state.FX_TABLES, state.FIGURES):
        return changed_tables(work, proposal)
    if proposal.act == AGREEMENT:
        return _terms(work, proposal)
    return _difference(work, proposal)


def _terms(work: Services, proposal: Proposal) -> list[str]:
    """What an agreement version changes against the one approved before it; all that it says where it is the first."""
    approved = approvals.in_force(work.chain.read(proposal.stream), AGREEMENT)
    before = [one["document"] for one in approved if one["agreement"] == proposal.body["agreement"]]
    documents = [*before[-1:], proposal.body["document"]]
    *old, new = [parse_agreement(work.buckets.records.get(state.document_key(one))) for one in documents]
    if not old:
        return list(lines(facts(new)))
    changes = [change.sentence for change in differences(old[0], new)]
    return [f"against version {old[0].version}:", *(changes or ["no difference in what is paid"])]


def _figures(statement: Mapping[str, Any], carried: Decimal) -> str:
    """What a lock fixes, and what is owed with it where something is carried into the month."""
    figures = f"{statement['agreement']} total {statement['total']}, payable {statement['payable']}"
    if carried:
        owed = EXACT.add(carried, Decimal(statement["payable"]))
        figures += f", with {text(carried)} carried {text(owed)}"
    return f"{figures} {statement['currency']}"


def _difference(work: Services, proposal: Proposal) -> list[str]:
    """What a proposed document changes against the one in force, line by line."""
    in_force = list(approvals.in_force(work.chain.read(proposal.stream), proposal.act))
    same = [one for one in in_force if one.get("repair") == proposal.body.get("repair")]
    before = _lines_of(work, same[-1]["document"]) if same else []
    changed = difflib.unified_diff(
        before, _lines_of(work, proposal.body["document"]), "in force", "proposed", "", "", 2
    )
    return [line.rstrip() for line in changed]


def _lines_of(work: Services, document: str) -> list[str]:
    data = json.loads(work.buckets.records.get(state.document_key(document)))
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False).splitlines(keepends=True)


def _as_json(proposal: Proposal) -> dict[str, Any]:
    return {
        "proposal": proposal.name,
        "act": proposal.act,
        "by": proposal.by,
        "at": proposal.at,
        "why": proposal.why,
        "what": dict(proposal.body),
    }
