"""Agreement versions: what resellers earn. Worked examples are settled before anybody can approve one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.agreement.agreement import Agreement, parse_agreement
from shared.agreement.differences import differences
from shared.agreement.document import agreement_document
from shared.agreement.overlaps import overlapping
from shared.agreement.words import facts, lines
from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Needs, Proposal
from shared.control.months import AGREEMENT
from shared.documents import DocumentRefusedError, reading
from shared.services import Services
from shared.settlement.examples import settle_example
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields
from shared.steps.acts.terms import needs_of
from shared.steps.carry_out import reorder_owner


def propose_agreement(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose an agreement version; its worked examples have been settled when this returns."""
    body = agreement_document(data, name, settle_example)
    agreement = parse_agreement(body)
    stream = months.stream_of(agreement.reseller, "")
    parties, _ = state.parties(services)
    if agreement.reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise DocumentRefusedError(name, [("reseller", f"{agreement.reseller!r} is not known; known are {known}")])
    _refuse_overlaps(services, agreement, services.chain.read(stream), name)
    what = {"document": state.keep_document(services, body), "agreement": agreement.id, "version": agreement.version}
    return approvals.propose(services.chain, stream, AGREEMENT, what, by=by, why=why, at=at)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str})
    with reading(given["text"].encode(), given["name"]) as data:
        return Proposed([propose_agreement(services, data, given["name"], **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    body = services.buckets.records.get(state.document_key(proposal.body["document"]))
    _refuse_overlaps(services, parse_agreement(body), entries, proposal.name)


def _refuse_overlaps(services: Services, agreement: Agreement, entries: list[Entry], name: str) -> None:
    findings = overlapping(agreement, state.all_agreements(services, entries))
    if findings:
        raise DocumentRefusedError(name, findings)


def _show(services: Services, proposal: Proposal) -> list[str]:
    """What a version changes against the one approved before it; all that it says where it is the first."""
    approved = approvals.in_force(services.chain.read(proposal.stream), AGREEMENT)
    before = [one["document"] for one in approved if one["agreement"] == proposal.body["agreement"]]
    documents = [*before[-1:], proposal.body["document"]]
    *old, new = [parse_agreement(services.buckets.records.get(state.document_key(one))) for one in documents]
    if not old:
        return list(lines(facts(new)))
    changes = [change.sentence for change in differences(old[0], new)]
    return [f"against version {old[0].version}:", *(changes or ["no difference in what is paid"])]


def _needs(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    """What the agreement itself asks for, as it was before this version."""
    return needs_of(services, entries, proposal.body["agreement"], AGREEMENT)


ACT = Act(AGREEMENT, _propose, _check, reorder_owner, _show, _needs)
