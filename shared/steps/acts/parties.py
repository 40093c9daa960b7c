"""The party document: who is who. A new one takes the place of the one in force as a whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Needs, Proposal, StaleProposalError
from shared.documents import DocumentRefusedError, reading
from shared.parties import parties as parties_room
from shared.parties.document import party_document
from shared.parties.parties import NoPartiesError, Parties, parse_parties
from shared.parties.payees import PAYEE
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields
from shared.steps.acts.payees import needs_of_all
from shared.steps.acts.showing import document_difference
from shared.steps.acts.terms import strictest
from shared.steps.carry_out import reorder_everyone
from shared.steps.state import PARTY_DOCUMENT


def propose_parties(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose a party document in place of the one in force."""
    body = party_document(data, name)
    _refuse_removals(services, parse_parties(body), name)
    document = state.keep_document(services, body)
    stream = parties_room.STREAM
    return approvals.propose(services.chain, stream, PARTY_DOCUMENT, {"document": document}, by=by, why=why, at=at)


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str})
    with reading(given["text"].encode(), given["name"]) as data:
        return Proposed([propose_parties(services, data, given["name"], **who.named())])


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    later = [entry for entry in entries if entry.kind == approvals.APPROVED and entry.seq > proposal.seq]
    if later:
        raise StaleProposalError(f"{proposal.name} was made before {proposal.stream}#{later[-1].seq}; propose it anew")


def _refuse_removals(services: Services, new: Parties, name: str) -> None:
    """Resellers and payers stay: what is owed to one, or billed to the other, must not vanish with its name."""
    try:
        old, _ = state.parties(services)
    except NoPartiesError:
        return
    gone = [("resellers", one) for one in sorted(old.resellers.keys() - new.resellers.keys())]
    gone += [("payers", one) for one in sorted(old.connectors.keys() - new.connectors.keys())]
    if gone:
        remedy = "keep it here and end its assignments instead"
        raise DocumentRefusedError(name, [(place, f"{one} is no longer there; {remedy}") for place, one in gone])


def _needs(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    """Where it changes whom a reseller's money goes to, whom the reseller's agreements ask for."""
    try:
        old, _ = state.parties(services)
    except NoPartiesError:
        return Needs()
    new = state.parties_of(services, proposal.body["document"])
    changed = [one for one in {**old.payees, **new.payees} if old.payees.get(one) != new.payees.get(one)]
    return strictest(needs_of_all(services, services.chain.read(months.stream_of(one, "")), PAYEE) for one in changed)


ACT = Act(PARTY_DOCUMENT, _propose, _check, reorder_everyone, document_difference, _needs)
