"""Layouts: the columns of one more file of a reseller's statements, as its systems read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Proposal, StaleProposalError
from shared.documents import reading
from shared.report.layout import LAYOUT
from shared.report.layout_document import layout_document
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields, nothing_follows
from shared.steps.acts.showing import document_difference


def propose_layout(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose a reseller's own layout; statements that are locked from its approval on have a file more."""
    parties, _ = state.parties(services)
    body = layout_document(data, name, parties.resellers)
    reseller = data["reseller"]
    what = {"reseller": reseller, "document": state.keep_document(services, body)}
    stream = months.stream_of(reseller, "")
    return approvals.propose(services.chain, stream, LAYOUT, what, by=by, why=why, at=at)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str})
    with reading(given["text"].encode(), given["name"]) as data:
        return Proposed([propose_layout(services, data, given["name"], **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    is_layout = (one for one in entries if one.kind == approvals.APPROVED and one.body["act"] == LAYOUT)
    later = [one for one in is_layout if one.seq > proposal.seq]
    if later:
        raise StaleProposalError(f"{proposal.name} was made before {proposal.stream}#{later[-1].seq}; propose it anew")


ACT = Act(LAYOUT, _propose, _check, nothing_follows, document_difference)
