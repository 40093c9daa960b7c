"""Proposals of reference data: exchange rates and the catalogue in the stream `config`, openings in a reseller's own.

What is proposed is kept under its digest first; the entry names it. What must still hold is checked again when it is
approved, by the entries as they are then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.agreement.agreement import Agreement
from shared.bill.repair_document import repair_document
from shared.chain.entry import Entry
from shared.control import approvals, months
from shared.control.approvals import Proposal, StaleProposalError
from shared.control.months import OPENING
from shared.cycle import Cycle
from shared.documents import DocumentRefusedError, reading
from shared.errors import BadInputError
from shared.ids import digest
from shared.money import decimals
from shared.parties.parties import NoPartiesError, Parties
from shared.reference import figures, fx
from shared.reference.catalogue import read_catalogue
from shared.reference.opening import OpeningDocument, PastCharges, opening_body, opening_document, read_past_charges
from shared.reference.table import Finding, refuse
from shared.services import Services
from shared.steps import state
from shared.steps.acts.act import Act, Proposed, Who, fields
from shared.steps.acts.showing import changed_tables, document_difference
from shared.steps.carry_out import reorder_everyone, reorder_operator, reorder_owner
from shared.steps.state import CATALOGUE, CONFIG, FIGURES, FX_TABLES, REPAIR

# -- exchange rates and figures: a table a cycle ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class By:
    """Who proposes a file of tables, when and why; `backdate`: also for cycles that are locked."""

    by: str
    why: str
    at: str
    backdate: bool = False


def propose_fx(
    services: Services, body: bytes, name: str, *, by: str, why: str, at: str, backdate: bool = False
) -> Proposal:
    """Propose the exchange rates of a CSV file; each cycle in it gets exactly the rates of the file.

    A cycle that a reseller has locked keeps its rates unless `backdate` says that they are to change.
    """
    bodies = {cycle: fx.table(cycle, rates) for cycle, rates in fx.read_rates(body, name).items()}
    return _propose_tables(services, FX_TABLES, "rate", bodies, name, By(by, why, at, backdate))


def propose_figures(
    services: Services, body: bytes, name: str, *, by: str, why: str, at: str, backdate: bool = False
) -> Proposal:
    """Propose the figures of a CSV file; each cycle in it gets exactly the figures of the file, as with rates."""
    read = figures.read_figures(body, name)
    parties, _ = state.parties(services)
    unknown = sorted({reseller for table in read.values() for reseller, _ in table} - parties.resellers.keys())
    known = ", ".join(sorted(parties.resellers))
    refuse(name, [("reseller", f"{one!r} is not known; known are {known}") for one in unknown])
    bodies = {cycle: figures.table(cycle, table) for cycle, table in read.items()}
    return _propose_tables(services, FIGURES, "figure", bodies, name, By(by, why, at, backdate))


def _propose_tables(
    services: Services, act: str, what_it_is: str, bodies: Mapping[str, bytes], name: str, who: By
) -> Proposal:
    tables = {cycle: str(digest(one)) for cycle, one in bodies.items()}
    before = state.tables(services.chain.read(CONFIG), act)
    changed = [cycle for cycle in tables if before.get(cycle) != tables[cycle]]
    if not changed:
        raise BadInputError(name, f"changes no {what_it_is} that is in force", "there is nothing to propose")
    pinned = sorted(locked_cycles(services) & set(changed))
    said = f"changes the {what_it_is}s of {', '.join(pinned)}"
    if pinned and not who.backdate:
        remedy = "leave the cycle out, or say --backdate and why: it yields adjustments"
        raise BadInputError(name, f"{said}, which is locked", remedy)
    if pinned and not who.why.strip():
        raise BadInputError(name, f"{said} without a reason", "give one with --why")
    for cycle in changed:
        state.keep_document(services, bodies[cycle])
    what = {"tables": {cycle: tables[cycle] for cycle in changed}, "backdates": pinned}
    return approvals.propose(services.chain, CONFIG, act, what, by=who.by, why=who.why, at=who.at)


def _check_tables(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    tables = proposal.body["tables"]
    for entry in _approved_since(entries, proposal):
        both = sorted(tables.keys() & entry.body["what"]["tables"].keys())
        if both:
            what = "figures" if proposal.act == FIGURES else "rates"
            problem = f"other {what} of {', '.join(both)} were approved since"
            raise StaleProposalError(f"{proposal.name}: {problem}; import the file again")
    locked = sorted((locked_cycles(services) & tables.keys()) - set(proposal.body["backdates"]))
    if locked:
        problem = f"{', '.join(locked)} was locked since"
        raise StaleProposalError(f"{proposal.name}: {problem}; import the file again with --backdate and a reason")


def locked_cycles(services: Services) -> set[str]:
    """The cycles that some reseller has locked."""
    try:
        parties, _ = state.parties(services)
    except NoPartiesError:
        return set()
    known = [months.months(services.chain.read(months.stream_of(one, ""))) for one in sorted(parties.resellers)]
    return {cycle for one in known for cycle, month in one.items() if month.locked is not None}


# -- the catalogue ----------------------------------------------------------------------------------------------


def propose_catalogue(services: Services, body: bytes, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose the catalogue of a CSV file in place of the one in force."""
    catalogue = read_catalogue(body, name)
    versions = list(approvals.in_force(services.chain.read(CONFIG), CATALOGUE))
    if versions and versions[-1]["document"] == digest(catalogue):
        raise BadInputError(name, f"is version {versions[-1]['version']}, in force", "there is nothing to propose")
    what = {"document": state.keep_document(services, catalogue), "version": len(versions) + 1}
    return approvals.propose(services.chain, CONFIG, CATALOGUE, what, by=by, why=why, at=at)


def _check_last(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    """A whole document takes the place of the one that its proposer saw, and of no other."""
    later = _approved_since(entries, proposal)
    if later:
        problem = f"was made before {proposal.stream}#{later[-1].seq} was approved"
        raise StaleProposalError(f"{proposal.name} {problem}; import the file again")


def _approved_since(entries: list[Entry], proposal: Proposal) -> list[Entry]:
    """The approvals of the same act that came after the proposal was made."""
    return [
        entry
        for entry in entries
        if entry.kind == approvals.APPROVED and entry.body["act"] == proposal.act and entry.seq > proposal.seq
    ]


# -- repair rules -----------------------------------------------------------------------------------------------


def propose_repair(services: Services, data: Any, name: str, *, by: str, why: str, at: str) -> Proposal:
    """Propose a version of a repair rule; bills that are read from its approval on are changed by it."""
    body = repair_document(data, name)
    rule = {field: data[field] for field in ("repair", "version")}
    entries = services.chain.read(CONFIG)
    _refuse_old_repair(entries, rule, name)
    what = {"document": state.keep_document(services, body), **rule}
    return approvals.propose(services.chain, CONFIG, REPAIR, what, by=by, why=why, at=at)


def _check_repair(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    _refuse_old_repair(entries, proposal.body, proposal.name)


def _refuse_old_repair(entries: list[Entry], rule: Mapping[str, Any], place: str) -> None:
    """A version is approved once, and in order."""
    known = [one["version"] for one in approvals.in_force(entries, REPAIR) if one["repair"] == rule["repair"]]
    if known and rule["version"] <= known[-1]:
        problem = f"is version {rule['version']} of {rule['repair']!r}, and version {known[-1]} is in force"
        raise BadInputError(place, problem, f"number it {known[-1] + 1}")


# -- openings ---------------------------------------------------------------------------------------------------


def propose_opening(
    services: Services, data: Any, name: str, past: Callable[[str], bytes], *, by: str, why: str, at: str
) -> Proposal:
    """Propose what a reseller is owed, and its earlier totals and charges, at go-live.

    `past` reads the file of past charges that the document names.
    """
    document = opening_document(data, name)
    parties, _ = state.parties(services)
    if document.reseller not in parties.resellers:
        known = ", ".join(sorted(parties.resellers))
        raise DocumentRefusedError(name, [("reseller", f"{document.reseller!r} is not known; known are {known}")])
    stream = months.stream_of(document.reseller, "")
    entries = services.chain.read(stream)
    _refuse_after_lock(entries, name)
    agreements = _by_id(state.all_agreements(services, entries))
    refuse(name, [*_of_balances(document, agreements), *_of_totals(document, agreements, parties)])
    charges, body = None, b""
    if document.past_charges is not None:
        body = past(document.past_charges)
        charges = read_past_charges(body, document.past_charges, Cycle.parse(document.as_of))
        refuse(document.past_charges, _of_charges(charges, agreements, parties))
    opened = opening_body(document, charges)
    in_force = months.opening(entries)
    if in_force is not None and in_force["document"] == digest(opened):
        raise BadInputError(name, f"is the opening of {document.reseller} in force", "there is nothing to propose")
    if charges is not None:
        services.buckets.records.put_once(state.past_charges_key(charges.digest), body)
    what = {
        "document": state.keep_document(services, opened),
        "as_of": document.as_of,
        "balances": [one.model_dump() for one in document.balances],
    }
    return approvals.propose(services.chain, stream, OPENING, what, by=by, why=why, at=at)


def _check_opening(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    _check_last(services, entries, proposal)
    _refuse_after_lock(entries, proposal.name)


def _refuse_after_lock(entries: list[Entry], place: str) -> None:
    """The first statement carries the opening: once a month is locked, nothing would."""
    locked = [cycle for cycle, month in months.months(entries).items() if month.locked is not None]
    if locked:
        remedy = "an opening comes before the first lock; what is owed beside is an adjustment"
        raise BadInputError(place, f"{locked[0]} is locked already", remedy)


def _by_id(versions: list[Agreement]) -> dict[str, list[Agreement]]:
    found: dict[str, list[Agreement]] = {}
    for one in versions:
        found.setdefault(one.id, []).append(one)
    return found


def _unknown_agreement(agreement: str, known: Collection[str]) -> str:
    names = ", ".join(sorted(known)) or "none yet"
    return f"{agreement!r} is no approved agreement of this reseller; approved are {names}"


def _of_balances(document: OpeningDocument, agreements: Mapping[str, list[Agreement]]) -> list[Finding]:
    findings = []
    for index, one in enumerate(document.balances):
        place, versions = f"balances.{index}", agreements.get(one.agreement, [])
        if not versions:
            findings.append((f"{place}.agreement", _unknown_agreement(one.agreement, agreements)))
            continue
        if one.currency != versions[0].currency:
            problem = f"{one.currency}, but {one.agreement} is in {versions[0].currency}; convert the balance"
            findings.append((f"{place}.currency", problem))
        places = max(version.places for version in versions)
        if decimals(Decimal(one.amount)) > places:
            problem = f"{one.amount} has more than the {places} decimals that {one.agreement} pays"
            findings.append((f"{place}.amount", f"{problem}; round it as the last statement did"))
    return findings


def _of_totals(document: OpeningDocument, agreements: Mapping[str, list[Agreement]], parties: Parties) -> list[Finding]:
    findings = []
    for index, one in enumerate(document.scale_totals):
        place, versions = f"scale_totals.{index}", agreements.get(one.agreement, [])
        if not versions:
            findings.append((f"{place}.agreement", _unknown_agreement(one.agreement, agreements)))
            continue
        scopes = {version.scales[one.scale].scope for version in versions if one.scale in version.scales}
        if not scopes:
            known = ", ".join(sorted({name for version in versions for name in version.scales})) or "none"
            findings.append((f"{place}.scale", f"{one.scale!r} is no scale of {one.agreement}; it has {known}"))
        for scope in sorted(scopes):
            for field, value, needed in (
                ("customer", one.customer, scope in ("customer", "product")),
                ("product", one.product, scope == "product"),
            ):
                if needed != (value is not None):
                    problem = f"{'is missing' if needed else 'is too much'}: the scale is by {scope}"
                    findings.append((f"{place}.{field}", problem))
        if one.customer is not None and one.customer not in parties.customers:
            findings.append((f"{place}.customer", f"{one.customer!r} is not among the customers of the parties"))
    return findings


def _of_charges(charges: PastCharges, agreements: Collection[str], parties: Parties) -> list[Finding]:
    unknown = sorted(set(charges.agreements) - set(agreements))
    return [
        *(("agreement", _unknown_agreement(one, agreements)) for one in unknown),
        *(
            ("customer", f"{one!r} is not among the customers of the parties")
            for one in sorted(charges.customers)
            if one not in parties.customers
        ),
    ]


# -- as acts ----------------------------------------------------------------------------------------------------


def _propose_fx(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str}, {"backdate": bool})
    body, backdate = given["text"].encode(), given.get("backdate", False)
    return Proposed([propose_fx(services, body, given["name"], **who.named(), backdate=backdate)])


def _propose_figures(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str}, {"backdate": bool})
    body, backdate = given["text"].encode(), given.get("backdate", False)
    return Proposed([propose_figures(services, body, given["name"], **who.named(), backdate=backdate)])


def _propose_catalogue(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str})
    return Proposed([propose_catalogue(services, given["text"].encode(), given["name"], **who.named())])


def _propose_repair(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str})
    with reading(given["text"].encode(), given["name"]) as data:
        return Proposed([propose_repair(services, data, given["name"], **who.named())])


def _propose_opening(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    given = fields(asked, {"name": str, "text": str}, {"past_charges": str})

    def past(name: str) -> bytes:
        if "past_charges" not in given:
            raise BadInputError("past_charges", f"the document names {name!r}, which was not sent", "send its text")
        return str(given["past_charges"]).encode()

    with reading(given["text"].encode(), given["name"]) as data:
        return Proposed([propose_opening(services, data, given["name"], past, **who.named())])


FX = Act(FX_TABLES, _propose_fx, _check_tables, reorder_everyone, changed_tables)
FIGURES_ACT = Act(FIGURES, _propose_figures, _check_tables, reorder_everyone, changed_tables)
CATALOGUE_ACT = Act(CATALOGUE, _propose_catalogue, _check_last, reorder_operator, document_difference)
REPAIR_ACT = Act(REPAIR, _propose_repair, _check_repair, reorder_everyone, document_difference)
OPENING_ACT = Act(OPENING, _propose_opening, _check_opening, reorder_owner, document_difference)
ACTS = (FX, FIGURES_ACT, CATALOGUE_ACT, REPAIR_ACT, OPENING_ACT)
