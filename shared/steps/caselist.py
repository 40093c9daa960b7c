"""Cases as people see them: what each run found, the disputes and adjustments, where each stands and what may be done.

pending: nothing is decided; proposed: a proposal about it waits; rejected: the last one was; approved: decided, and the
newest settlement does not know it yet; applied: it does; settled: no run finds it any more, or people closed it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from shared.chain.entry import Entry
from shared.columnar import connect, quoted
from shared.control import months, resolving
from shared.control.cases import HOLDING, KINDS, Case
from shared.control.resolving import ACCEPT, ADJUSTMENT, DISMISS, DISPUTE, EXCLUDE, LINK, LINKED, Decision
from shared.cycle import Cycle
from shared.errors import BadInputError
from shared.parties.parties import OPERATOR
from shared.ports import Row
from shared.services import Services
from shared.steps import casework, projections, state
from shared.steps.inputs import Kept

PENDING, PROPOSED, APPLIED, SETTLED = "pending", "proposed", "applied", "settled"
STATES = (PENDING, PROPOSED, "approved", "rejected", APPLIED, SETTLED)
LINES_SHOWN = 20
# What ends these, beside which nothing is decided about them.
_ENDED_BY: Mapping[str, list[str]] = {
    "payout_returned": ["reopen"],
    "payout_rejected": ["reopen"],
    "payout_partial": ["reopen"],
    "payout_contradicted": ["reopen"],
    "payout_not_instructed": ["payout"],
    "arrived_after_lock": [],
}
_BY_DOCUMENT: Mapping[str, str] = {
    "unmapped_account": "assign",
    "new_account": "assign",
    "no_agreement": "rule",
    "no_rule": "rule",
    "bad_condition": "rule",
}


@dataclass(frozen=True, slots=True)
class Listed:
    """A case and where it stands."""

    case: Case
    state: str
    proposal: str = ""  # the last about it
    closed_by: str = ""  # the settlement, or the month, that settled it
    since: str = ""  # when it was first seen

    @property
    def is_open(self) -> bool:
        """Whether it is still somebody's work; an adjustment that was rejected is not."""
        return self.state != SETTLED and (self.case.kind, self.state) != (ADJUSTMENT, "rejected")

    @property
    def actions(self) -> list[str]:
        """What would resolve it."""
        kind = self.case.kind
        if kind == ADJUSTMENT:
            return ["approve", "reject"] if self.state == PROPOSED else []
        if kind in _ENDED_BY:
            return list(_ENDED_BY[kind])
        found = [_BY_DOCUMENT[kind]] if kind in _BY_DOCUMENT else []
        found += [LINK] if kind in LINKED and self.case.owner != OPERATOR else []
        found += ["adjust"] if kind in (DISPUTE, *LINKED) else []
        return [*found, EXCLUDE if kind in HOLDING else DISMISS, ACCEPT]


def listed(
    services: Services,
    cycle: str,
    *,
    kind: str | None = None,
    reseller: str | None = None,
    in_state: str | None = None,
) -> list[Listed]:
    """The cases of a cycle; those of all owners and states, or of one. `reseller` may be the operator."""
    Cycle.parse(cycle)
    for name, value, known in (("kind", kind, [*KINDS]), ("state", in_state, STATES)):
        if value is not None and value not in known:
            raise BadInputError(name, f"{value!r} is none", f"give one of {', '.join(known)}")
    parties, _ = state.parties(services)
    owners = [*sorted(parties.resellers), OPERATOR]
    if reseller is not None and reseller not in owners:
        raise BadInputError("reseller", f"{reseller!r} is not known", f"known are {', '.join(owners)}")
    owners = owners if reseller is None else [reseller]
    rows: dict[str, list[Row]] = {owner: [] for owner in owners}
    for row in projections.listed(services, projections.CASES, cycle):
        rows.get(str(row["owner"]), []).append(row)
    streams = services.chain.read_all({months.stream_of(owner, cycle) for owner in owners})
    found = [
        one
        for owner in owners
        for one in _of_owner(services, owner, cycle, streams[months.stream_of(owner, cycle)], rows[owner])
        if kind in (None, one.case.kind) and in_state in (None, one.state)
    ]
    return sorted(found, key=lambda one: (one.case.kind, one.case.owner, one.case.id))


def _of_owner(services: Services, owner: str, cycle: str, entries: list[Entry], rows: Sequence[Row]) -> list[Listed]:
    decided = _decided(services, entries, cycle)
    seen = _first_seen(services, owner, cycle, entries) if rows else {}
    found = [_of_row(row, cycle, owner, entries, decided) for row in rows]
    found = [replace(one, since=seen.get(one.case.id, "")) for one in found]
    for entry in resolving.disputes(entries, cycle):
        case = Case(cycle, owner, DISPUTE, casework.dispute_key(entry), "", 0, casework.NOTHING)
        standing, proposal = _standing(decided, case, entries)
        found.append(Listed(case, standing, proposal, since=entry.at))
    return found + list(_adjustments(owner, cycle, entries))


def _of_row(
    row: Row, cycle: str, owner: str, entries: list[Entry], decided: Mapping[casework.Named, list[_About]]
) -> Listed:
    kind, key, currency = (str(row[name]) for name in ("kind", "key", "currency"))
    case = Case(cycle, owner, kind, key, currency, int(row["lines"]), Decimal(str(row["amount"])))
    standing, proposal = _standing(decided, case, entries)
    if row["state"] != "open":
        return Listed(case, SETTLED, proposal, str(row.get("closed_by", "")))
    return Listed(case, standing, proposal)


_About = tuple[Decision, int, Decimal]  # a decision, and what the case held when it was proposed


def _decided(services: Services, entries: list[Entry], cycle: str) -> dict[casework.Named, list[_About]]:
    """What was proposed about each case, oldest first."""
    found: dict[casework.Named, list[_About]] = {}
    for one in resolving.decisions(entries, cycle):
        for case in casework.cases_of(services, one.what):
            found.setdefault(casework.named(case), []).append((one, case["lines"], Decimal(case["amount"])))
    return found


def _standing(decided: Mapping[casework.Named, list[_About]], case: Case, entries: list[Entry]) -> tuple[str, str]:
    """Where a case stands that the newest run finds, and the proposal that says so."""
    about = decided.get((case.kind, case.key, case.currency), [])
    if not about:
        return PENDING, ""
    one, lines, amount = about[-1]
    if one.state != "approved":
        return one.state, one.name
    month = months.months(entries).get(case.cycle)
    if one.action == EXCLUDE:
        known = month.calculated.body.get("decided", ()) if month is not None and month.calculated is not None else ()
        return APPLIED if one.seq in known else "approved", one.name
    if one.action == LINK:
        runs = [month.calculated, *month.late] if month is not None and month.calculated is not None else []
        read = runs[-1].body.get("links", ()) if runs else ()
        return PENDING if one.name in read else "approved", one.name  # read, and the charge had not as much left
    if (lines, amount) != (case.lines, case.amount):
        return PENDING, one.name  # it holds something else by now
    if one.action == DISMISS:
        return SETTLED, one.name
    return APPLIED if month is not None and month.locked is not None else "approved", one.name


def _adjustments(owner: str, cycle: str, entries: list[Entry]) -> Iterable[Listed]:
    known = months.months(entries)
    done = resolving.posted(known)
    read = {seq for one in known.values() if one.calculated for seq in one.calculated.body.get("adjustments", ())}
    for one in resolving.adjustments(entries):
        if one.what["cycle"] != cycle:
            continue
        case = Case(cycle, owner, ADJUSTMENT, one.name, one.what["currency"], 0, Decimal(one.what["amount"]))
        standing = SETTLED if one.seq in done else APPLIED if one.seq in read else one.state
        yield Listed(case, standing, one.name, done.get(one.seq, ""), one.at)


def _first_seen(services: Services, owner: str, cycle: str, entries: list[Entry]) -> dict[str, str]:
    """When a run first had each case."""
    found: dict[str, str] = {}
    for entry in entries:
        if entry.kind in (months.CALCULATED, months.LATE) and entry.body["cycle"] == cycle and "cases" in entry.body:
            for case in casework.kept_list(services, entry.body["cases"], owner, cycle):
                found.setdefault(case.id, entry.at)
    return found


# -- one case ---------------------------------------------------------------------------------------------------


def shown(services: Services, id_: str) -> dict[str, Any]:
    """All that is known of a case: the first of its lines, what was decided and said."""
    if not casework.ID.fullmatch(id_):
        raise BadInputError("case", f"is {id_[:80]!r}", "write its whole id, as `clearbook cases --cycle C` lists it")
    cycle = id_[:7]
    found = [one for one in listed(services, cycle) if one.case.id == id_]
    if not found:
        raise BadInputError("case", f"{id_!r} is none of {cycle}", f"see `clearbook cases --cycle {cycle}`")
    [one] = found
    entries = services.chain.read(months.stream_of(one.case.owner, cycle))
    named = (one.case.kind, one.case.key, one.case.currency)
    return {
        **as_json(one),
        "line_ids": lines_of(services, one.case) if one.case.kind in HOLDING and one.is_open else [],
        "decisions": [
            {"proposal": d.name, "action": d.action, "state": d.state, "by": d.by, "at": d.at,
             "ended_by": d.approved_by, "because": d.because}
            for d, _, _ in _decided(services, entries, cycle).get(named, [])
        ],
        "comments": [
            {"by": entry.actor, "at": entry.at, "text": entry.body["text"]}
            for entry in resolving.comments(entries, cycle)
            if entry.body["case"] == id_
        ],
        **_disputed(one.case, entries),
    }  # fmt: skip


def _disputed(case: Case, entries: list[Entry]) -> dict[str, Any]:
    for entry in resolving.disputes(entries, case.cycle):
        if case.kind == DISPUTE and casework.dispute_key(entry) == case.key:
            return {"disputed": {"by": entry.actor, "at": entry.at, **entry.body}}
    return {}


def lines_of(services: Services, case: Case) -> list[str]:
    """The first lines that a case holds, in the settlement that counts."""
    month = months.months(services.chain.read(months.stream_of(case.owner, case.cycle))).get(case.cycle)
    if month is None or month.settlement is None:
        return []
    kept = Kept(case.cycle, case.owner, month.settlement)
    path = quoted(str(state.local_part(services, kept.folder + "held.parquet")))
    with connect(services.scratch, services.memory_mb, services.threads) as connection:
        rows = connection.execute(
            f"SELECT DISTINCT line_id FROM read_parquet({path}) "  # noqa: S608 - a path of our own
            "WHERE kind = ? AND key = ? AND currency = ? ORDER BY line_id LIMIT ?",
            [case.kind, case.key, case.currency, LINES_SHOWN],
        ).fetchall()
    return [str(line) for (line,) in rows]


def as_json(one: Listed, aged: Callable[[str], int] | None = None) -> dict[str, Any]:
    """A case as plain data."""
    row = one.case.as_row()
    owner = row.pop("owner")
    found = {
        "id": one.case.id,
        "cycle": one.case.cycle,
        "reseller": None if owner == OPERATOR else owner,
        **row,
        "state": one.state,
        "since": one.since,
        "proposal": one.proposal,
        "closed_by": one.closed_by,
        "actions": one.actions if one.is_open else [],
    }
    return found | ({"age_days": aged(one.since)} if aged is not None and one.since else {})
