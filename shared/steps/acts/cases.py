"""Decisions about cases, many at once: exclude, accept, dismiss; a refund linked to its charge; or what resolves them
by a document of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.columnar import connect
from shared.control import approvals, months
from shared.control.approvals import Needs, Proposal, StaleProposalError
from shared.control.cases import HOLDING, Case, case_id
from shared.control.resolving import ACCEPT, ACTIONS, ADJUSTMENT, CASE, DISMISS, EXCLUDE, LINK, LINKED
from shared.cycle import LOOK_BACK, Cycle
from shared.documents import reading
from shared.errors import BadInputError
from shared.ids import canonical_json
from shared.money import EXACT, text
from shared.parties.parties import OPERATOR, STREAM
from shared.services import Services
from shared.steps import casework, state
from shared.steps.acts import agreements, parties
from shared.steps.acts.act import Act, Proposed, Who, fields
from shared.steps.acts.terms import needs_of
from shared.steps.carry_out import reorder_owner_of, reorder_sharing
from shared.steps.inputs import Kept, counting, part_keys

ASSIGN, RULE = "assign", "rule"  # resolve cases by a new party document, or agreement version
_BYTES_MAX = 32 * 1024  # of a list of cases in an entry
_SHOWN = 20
_BECAUSE_MAX = 500


def _propose(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    action = str(asked.get("action"))
    if action == ASSIGN:
        return _assign(services, asked, who)
    if action == RULE:
        given = fields(asked, {"action": str, "name": str, "text": str})
        with reading(given["text"].encode(), given["name"]) as data:
            return Proposed([agreements.propose_agreement(services, data, given["name"], **who.named())])
    if action == LINK:
        return _link(services, asked, who)
    if action not in ACTIONS:
        raise BadInputError("action", f"{action!r} is none", f"give one of {', '.join([*ACTIONS, LINK, ASSIGN, RULE])}")
    may = {"cases": list, "kind": str, "reseller": str}
    given = fields(asked, {"action": str, "cycle": str, "because": str}, may)
    Cycle.parse(given["cycle"])
    because = _because(given["because"])
    if "cases" not in given and "kind" not in given:
        raise BadInputError("cases", "are missing", "name cases by their ids, or a kind")
    chosen = _chosen(services, given)
    proposals = []
    for owner, found in chosen.items():
        _refuse_kinds(action, found)
        what = {"cycle": given["cycle"], "action": action, "because": because}
        what |= _listed(services, [_asked(services, action, owner, one) for one in found])
        stream = months.stream_of(owner, given["cycle"])
        proposals.append(approvals.propose(services.chain, stream, CASE, what, **who.named()))
    return Proposed(proposals)


def _because(given: str) -> str:
    because = given.strip()
    if not because or len(because) > _BECAUSE_MAX or not because.isprintable():
        raise BadInputError("because", f"is {because[:40]!r}", f"say why in 1 to {_BECAUSE_MAX} characters")
    return because


# -- which cases ------------------------------------------------------------------------------------------------


def _chosen(services: Services, given: Mapping[str, Any]) -> dict[str, list[Case]]:
    """The open cases that are asked for, by their owner."""
    known, _ = state.parties(services)
    owners = [*sorted(known.resellers), OPERATOR]
    if "reseller" in given:
        if given["reseller"] not in owners:
            raise BadInputError("reseller", f"{given['reseller']!r} is not known", f"known are {', '.join(owners)}")
        owners = [given["reseller"]]
    ids = set(map(str, given.get("cases", ())))
    found: dict[str, list[Case]] = {}
    streams = services.chain.read_all({months.stream_of(owner, given["cycle"]) for owner in owners})
    for owner in owners:
        entries = streams[months.stream_of(owner, given["cycle"])]
        for one in casework.open_cases(services, owner, given["cycle"], entries):
            if (not ids or one.id in ids) and given.get("kind") in (None, one.kind):
                case = Case(given["cycle"], owner, one.kind, one.key, one.currency, one.lines, one.amount)
                found.setdefault(owner, []).append(case)
    missing = sorted(ids - {one.id for mine in found.values() for one in mine})
    if missing or not found:
        problem = f"{missing[0]!r} is not open" if missing else "nothing that is open is meant"
        raise BadInputError("cases", problem, f"see `clearbook cases --cycle {given['cycle']}`")
    return found


def _refuse_kinds(action: str, found: Iterable[Case]) -> None:
    """Only what holds lines can be excluded, and only what holds none is dismissed."""
    for one in found:
        if one.kind == ADJUSTMENT:
            raise BadInputError(f"case {one.id}", "is an adjustment that waits", "approve or reject its proposal")
        if action == EXCLUDE and one.kind not in HOLDING:
            raise BadInputError(f"case {one.id}", f"is {one.kind}, which holds no line", "dismiss or accept it")
        if action == DISMISS and one.kind in HOLDING:
            raise BadInputError(f"case {one.id}", f"is {one.kind}, which holds lines", "exclude or accept it")


def _asked(services: Services, action: str, owner: str, case: Case) -> dict[str, Any]:
    """The case as the decision names it; where lines of earlier months are in it, with these months."""
    asked = casework.as_asked(case)
    if action == EXCLUDE:
        month = months.months(services.chain.read(months.stream_of(owner, case.cycle)))[case.cycle]
        summary = Kept(case.cycle, owner, str(month.settlement)).summary(services)
        before = sorted(
            {one["cycle"] for one in summary.get("held_before", ()) if casework.named(one) == casework.named(asked)}
        )
        asked |= {"before": before} if before else {}
    return asked


def _listed(services: Services, found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The list in the entry, or where it is long in a document that the entry names."""
    body = canonical_json({"cases": list(found)})
    if len(body) <= _BYTES_MAX:
        return {"cases": list(found)}
    return {"list": state.keep_document(services, body), "count": len(found)}


# -- a refund and its charge ------------------------------------------------------------------------------------


def _link(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    """A refund that is in a case of a reseller's, linked to the charge that it undoes."""
    given = fields(asked, {"action": str, "cycle": str, "refund": str, "charge": str, "because": str})
    Cycle.parse(given["cycle"])
    because = _because(given["because"])
    found = [
        (owner, one)
        for owner, cases in _chosen(services, {"cycle": given["cycle"]}).items()
        for one in cases
        if one.kind in LINKED and one.key == given["refund"] and owner != OPERATOR
    ]
    if not found:
        problem = f"{given['refund'][:80]!r} is no refund in an open case {' or '.join(LINKED)} of a reseller"
        raise BadInputError("refund", problem, f"see `clearbook cases --cycle {given['cycle']}`")
    [(owner, case)] = found
    refund = _linkable(services, owner, given)
    what = {"cycle": given["cycle"], "action": LINK, "because": because, "cases": [casework.as_asked(case)]}
    what |= {"charge": given["charge"], "of": refund["cycle"], "account": refund["account"]}
    stream = months.stream_of(owner, given["cycle"])
    return Proposed([approvals.propose(services.chain, stream, CASE, what, **who.named())])


def _linkable(services: Services, owner: str, given: Mapping[str, str]) -> Mapping[str, Any]:
    """The refund's line, where its charge is a line that it may undo."""
    lines = _lines(services, counting(services, owner, given["cycle"]), {given["refund"], given["charge"]})
    remedy, name = "name a usage or subscription line of its account and currency", f"charge {given['charge'][:80]!r}"
    if given["charge"] not in lines:
        raise BadInputError(name, f"is no line of the share in {given['cycle']} or the {LOOK_BACK} before", remedy)
    refund, charge = lines[given["refund"]], lines[given["charge"]]
    if charge["kind"] not in ("usage", "subscription"):
        raise BadInputError(name, f"is a {charge['kind']}", remedy)
    for one in ("payer", "account", "currency"):
        if charge[one] != refund[one]:
            raise BadInputError(name, f"has the {one} {charge[one]}, the refund {refund[one]}", remedy)
    if not 0 <= Cycle.parse(refund["cycle"]).since(Cycle.parse(charge["cycle"])) <= LOOK_BACK:
        raise BadInputError(name, f"is of {charge['cycle']}, the refund of {refund['cycle']}", remedy)
    return refund


def _lines(services: Services, kept: Kept, wanted: set[str]) -> dict[str, dict[str, Any]]:
    """Lines of the bills that a settlement reads, by their ids; its own cycle first, then the newest."""
    manifest, found = kept.manifest(services), dict[str, dict[str, Any]]()
    names = ("line_id", "payer", "account", "cycle", "kind", "currency")
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        for cycle in sorted({kept.cycle, *manifest["earlier"]}, reverse=True):
            paths = [str(state.local_part(services, key)) for key, _ in part_keys(manifest, cycle)]
            if not paths or wanted <= found.keys():
                continue
            rows = connection.execute(
                f"SELECT {', '.join(names)} FROM read_parquet($paths) WHERE list_contains($ids::VARCHAR[], line_id)",  # noqa: S608
                {"paths": paths, "ids": sorted(wanted)},
            ).fetchall()
            found |= {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    return found


# -- by a document ----------------------------------------------------------------------------------------------


def _assign(services: Services, asked: Mapping[str, Any], who: Who) -> Proposed:
    """The party document in force with one assignment more."""
    may = {"customer": str, "reseller": str, "direct": bool, "own_use": bool, "until": str}
    given = fields(asked, {"action": str, "account": str, "from": str}, may)
    entries = services.chain.read(STREAM)
    data = state.document(services, state.party_digest(entries))
    data["assignments"].append({name: value for name, value in given.items() if name != "action"})
    name = f"the party document with account {given['account']}"
    return Proposed([parties.propose_parties(services, data, name, **who.named())])


# -- approval ---------------------------------------------------------------------------------------------------


def _check(services: Services, entries: list[Entry], proposal: Proposal) -> None:
    """Every case is open and holds what it held when the decision was proposed."""
    owner, cycle = _owner(proposal.stream), proposal.body["cycle"]
    now = {one.id: one for one in casework.open_cases(services, owner, cycle, entries)}
    for one in casework.cases_of(services, proposal.body):
        found = now.get(case_id(cycle, owner, *casework.named(one)))
        if found is None:
            raise StaleProposalError(f"{proposal.name}: {one['kind']} {one['key']} is not open any more")
        if (found.lines, found.amount) != (one["lines"], Decimal(one["amount"])):
            held = f"{found.lines} lines, {text(found.amount)}, was {one['lines']} lines, {one['amount']}"
            raise StaleProposalError(f"{proposal.name}: {one['kind']} {one['key']} holds {held}; propose it again")


def _needs(services: Services, entries: list[Entry], proposal: Proposal) -> Needs:
    """What the agreements of the month's statements ask for."""
    month = months.months(entries).get(proposal.body["cycle"])
    stated = month.calculated.body["statements"] if month is not None and month.calculated is not None else ()
    return needs_of(services, entries, [one["agreement"] for one in stated], CASE)


def _show(services: Services, proposal: Proposal) -> list[str]:
    """What is decided, about how much, and the first of the cases."""
    body, cases = proposal.body, casework.cases_of(services, proposal.body)
    sums: dict[str, Decimal] = {}
    for one in cases:
        if Decimal(one["amount"]):
            sums[one["currency"]] = EXACT.add(sums.get(one["currency"], Decimal(0)), Decimal(one["amount"]))
    lines = sum(one["lines"] for one in cases)
    held = ", ".join(f"{text(amount)} {currency}".strip() for currency, amount in sorted(sums.items()))
    about = f"{_counted(len(cases), 'case')} of {body['cycle']}, {_counted(lines, 'line')}, {held or '0'}"
    told = [f"{body['action']} {about}: {body['because']}", _effect(body["action"])]
    told += [
        f"  {one['kind']} {one['key']}: {_counted(one['lines'], 'line')}, {one['amount']} {one['currency']}".rstrip()
        for one in cases[:_SHOWN]
    ]
    told += [f"  to charge {body['charge']}"] if "charge" in body else []
    return told + ([f"  and {len(cases) - _SHOWN:,} more"] if len(cases) > _SHOWN else [])


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def _effect(action: str) -> str:
    if action == LINK:
        return "the refund undoes the charge, if that has as much left; in every later settlement too"
    if action == EXCLUDE:
        return "the lines are excluded and earn nothing; what statements come to does not change"
    return ACTIONS[ACCEPT if action == ACCEPT else DISMISS]


def _owner(stream: str) -> str:
    return stream.removeprefix("reseller/") if stream.startswith("reseller/") else OPERATOR


def _carry_out(services: Services, stream: str, what: Mapping[str, Any]) -> list[str]:
    if what["action"] == LINK:
        return reorder_sharing(services, stream)
    return reorder_owner_of(services, stream) if what["action"] == EXCLUDE else []


ACT = Act(CASE, _propose, _check, _carry_out, _show, _needs)
