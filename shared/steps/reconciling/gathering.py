"""What a cycle is reconciled from: the newest seals, the newest look at each share, the policies in force."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from shared.bill.snapshot import Seal, Snapshot
from shared.chain.entry import Entry
from shared.control import months
from shared.control.approvals import in_force
from shared.ids import digest
from shared.parties.parties import OPERATOR, Parties
from shared.ports import ObjectMissingError
from shared.reconciliation.difference import FIGURES, Difference
from shared.reconciliation.tolerance import Tolerance, parse_tolerance
from shared.services import Services
from shared.steps import state
from shared.steps.inputs import Kept
from shared.steps.route_settlements import bills

TOLERANCE = "tolerance"  # the act: {"document", "tolerance", "version", "ends"} in the stream CONFIG


@dataclass(frozen=True, slots=True)
class Look:
    """The newest final settlement of a share: what was calculated, or the last look at it after its lock."""

    owner: str
    month: months.Month
    entry: Entry
    kept: Kept
    entries: Sequence[Entry]  # the share's stream

    @property
    def bill(self) -> Mapping[str, Mapping[str, Any]]:
        """What of the bill is the share's, by currency."""
        found: Mapping[str, Mapping[str, Any]] = self.entry.body["bill"]
        return found


@dataclass(frozen=True, slots=True)
class Gathered:
    """A cycle as it stands."""

    cycle: str
    parties: Parties
    seals: Mapping[str, Seal]  # by payer
    looks: Sequence[Look]
    missing: Sequence[str]  # shares without a final settlement
    policies: Sequence[Tolerance]


def gather(services: Services, cycle: str) -> Gathered:
    """What the cycle is reconciled from."""
    parties, _ = state.parties(services)
    streams = {owner: months.stream_of(owner, cycle) for owner in (*sorted(parties.resellers), OPERATOR)}
    read = services.chain.read_all([stream for owner, stream in streams.items() if owner != OPERATOR])
    read[streams[OPERATOR]] = services.chain.read(streams[OPERATOR])
    found = {owner: _look(owner, cycle, read[stream]) for owner, stream in streams.items()}
    looks = [look for look in found.values() if look is not None]
    missing = [owner for owner, look in found.items() if look is None]
    seals = bills(services, parties, cycle, {}).seals  # earlier cycles are nobody's question here
    return Gathered(cycle, parties, seals, looks, missing, policies(services))


def _look(owner: str, cycle: str, entries: list[Entry]) -> Look | None:
    month = months.months(entries).get(cycle)
    if month is None or month.calculated is None:
        return None
    # What arrived after a lock is held by its case: the newest look adds up, the locked one stays as it is.
    entry = [month.calculated, *month.late][-1]
    return Look(owner, month, entry, Kept(cycle, owner, entry.body["settlement"]), entries)


def policies(services: Services) -> list[Tolerance]:
    """The tolerances in force: the last approved version of each name, unless it ends it."""
    newest: dict[str, Mapping[str, Any]] = {}
    for what in in_force(services.chain.read(state.CONFIG), TOLERANCE):
        newest[what["tolerance"]] = what
    named = [what["document"] for _, what in sorted(newest.items()) if not what.get("ends")]
    return [parse_tolerance(state.kept(services, services.buckets.records, state.document_key(one))) for one in named]


def summary_of(services: Services, look: Look) -> tuple[dict[str, Any] | None, list[Difference]]:
    """What a settlement came to; None, and what is wrong, where its object is not what the chain says."""
    key = look.kept.folder + "summary.json"
    try:
        body = services.buckets.work.get(key)
    except ObjectMissingError:
        return None, [Difference(FIGURES, look.owner, f"{key} is missing", reason="missing")]
    said = look.entry.body.get("summary")
    wrong = []
    if said is not None and digest(body) != said:
        what = f"{key} is not the summary that {look.entry.stream}#{look.entry.seq} names"
        wrong.append(Difference(FIGURES, look.owner, what, reason="digest"))
    try:
        found = json.loads(body)
    except ValueError:
        return None, [*wrong, Difference(FIGURES, look.owner, f"{key} cannot be read", reason="unreadable")]
    return found, wrong


def snapshots_of(services: Services, gathered: Gathered) -> dict[str, Snapshot]:
    """The snapshot of each payer's newest seal."""
    return {
        payer: state.snapshot(services, payer, gathered.cycle, seal.snapshot) for payer, seal in gathered.seals.items()
    }


def cases_of(services: Services, gathered: Gathered) -> dict[tuple[str, str, str], tuple[str, Decimal]]:
    """The operator's cases by kind, key and currency: their ids and amounts, as its settlement found them."""
    for look in gathered.looks:
        if look.owner == OPERATOR and "cases" in look.entry.body:
            body = services.buckets.work.find(look.entry.body["cases"]["key"])
            rows = [] if body is None else json.loads(body)
            return {(one["kind"], one["key"], one["currency"]): (one["id"], Decimal(one["amount"])) for one in rows}
    return {}
