"""Which locked cycles something has reached since they were last looked at (semantics, one mechanism).

A locked cycle is looked at afresh where what it is settled from is other than it was at the last look: its bill, who
holds what, agreements, tables; where refunds of a cycle that is looked at fall on it, or refunds are linked otherwise
than they were; and with these, where contract years count on, what of the year comes later. All of it is told from the
manifest, and from that of the last locked settlement, so the same manifest looks back to the same cycles.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from shared.agreement.agreement import CONTRACT_YEAR
from shared.columnar import connect
from shared.cycle import Cycle
from shared.services import Services
from shared.settlement import lines, netting, rules
from shared.steps import inputs, state
from shared.steps.inputs import Kept

if TYPE_CHECKING:
    import duckdb

    from shared.agreement.agreement import Agreement
    from shared.parties.parties import Assignment, CustomerClass
    from shared.settlement.share import Share

Reasons = dict[str, list[str]]  # by cycle


def look_back(services: Services, manifest: Mapping[str, Any], share: Share, memory_mb: int) -> Share:
    """The share with the cycles that its settlement looks back to, and those that it stands on."""
    locked = manifest["locked"]
    reasons: Reasons = {}
    if locked:
        before = Kept(max(locked), share.owner, locked[max(locked)]).manifest(services)
        now = _View(manifest, share)
        with connect(services.scratch, memory_mb, services.threads) as connection:
            for cycle, id_ in locked.items():
                found = _changes(services, connection, _view(services, share.owner, before, cycle, id_), now, cycle)
                if cycle not in (before["cycle"], *before["locked"]):
                    found.append(f"locked after {before['cycle']}")  # what that looked at, it could not adjust
                reasons |= {cycle: found} if found else {}
            if reasons or lines.has_refunds(connection, parts_of(services, manifest, [share.cycle]), share):
                was = _links(services, connection, before, inputs.share_of(services, before))
                links = _links(services, connection, manifest, share)
                _reach(reasons, was, links, {*reasons, str(share.cycle)}, locked)
    return looking_at(manifest, share, reasons)


def looking_at(manifest: Mapping[str, Any], share: Share, reasons: Reasons) -> Share:
    """The share with the cycles that something has reached, and those that contract years add to them."""
    locked, reasons = manifest["locked"], dict(reasons)
    stood_on = follow_years(reasons, share, locked)
    said = {cycle: "; ".join(dict.fromkeys(found)) for cycle, found in sorted(reasons.items())}
    return replace(
        share,
        looked_back=[Cycle.parse(cycle) for cycle in said],
        stood_on=[Cycle.parse(cycle) for cycle in sorted(stood_on)],
        reached_by={cycle: f" in {locked[cycle][:12]}: {why}" for cycle, why in said.items()},
    )


def parts_of(services: Services, manifest: Mapping[str, Any], cycles: Iterable[Cycle]) -> list[str]:
    """The day parts of some cycles of a manifest as local files."""
    keys = [key for cycle in cycles for key, _ in inputs.part_keys(manifest, str(cycle))]
    return [str(state.local_part(services, key)) for key in keys]


def posted_of(services: Services, manifest: Mapping[str, Any], share: Share) -> list[str]:
    """The lines of the locked settlements that may have posted something for a cycle that is looked back to."""
    if not share.compared:
        return []
    first = str(min(share.compared))
    kept = [Kept(cycle, share.owner, id_) for cycle, id_ in manifest["locked"].items() if cycle >= first]
    return [str(state.local_part(services, one.folder + "lines.parquet")) for one in kept]


# -- what a cycle is settled from -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _View:
    """A manifest that looks at a cycle, and its share."""

    manifest: Mapping[str, Any]
    share: Share

    def parts(self, cycle: Cycle) -> set[str]:
        """The day parts of a cycle."""
        return {key for key, _ in inputs.part_keys(self.manifest, str(cycle))}

    def accounts(self, cycle: Cycle) -> set[str]:
        """The accounts of which the share holds a day of the cycle."""
        held = (one for one in self.share.assignments if one.reseller == self.share.owner and one.touches(cycle))
        return {one.account for one in held}

    def says(self, cycle: Cycle) -> dict[str, object]:
        """What a cycle is settled from beside its bill."""
        share, accounts = self.share, self.accounts(cycle)
        held = [one for one in share.assignments if one.account in accounts and one.touches(cycle)]
        resellers, customers = {one.reseller for one in held}, {one.customer for one in held}
        days = [(one.account, *_within(one, cycle), one.customer or "", one.reseller or "", one.how) for one in held]
        classes = [
            (one.customer, *_within(one, cycle), one.name)
            for one in share.classes
            if one.customer in customers and one.begins <= cycle.last and (one.ends or cycle.last) >= cycle.first
        ]
        others = [one for one in share.others if one.reseller in resellers]
        is_own = str(cycle) == self.manifest["cycle"]
        tables = self.manifest if is_own else self.manifest["earlier"][str(cycle)]
        return {
            "holders of its accounts": sorted(days),
            "classes of customers": sorted(classes),
            "agreement versions": [one.digest for one in (*share.agreements, *others) if one.begins <= cycle.last],
            "exchange rates": tables["rates"],
            "figures": tables["figures"],
            "decisions on cases": [one for one in share.closed if one.cycle == str(cycle)],
            "links by hand": [one for one in share.links if one.cycle == str(cycle)],
        }


def _view(services: Services, owner: str, before: Mapping[str, Any], cycle: str, locked: str) -> _View:
    """The last look at a locked cycle."""
    if cycle not in (before["cycle"], *before["earlier"]):
        before = Kept(cycle, owner, locked).manifest(services)
    return _View(before, inputs.share_of(services, before))


def _within(one: Assignment | CustomerClass, cycle: Cycle) -> tuple[date, date]:
    return max(one.begins, cycle.first), min(one.ends or cycle.last, cycle.last)


def _changes(
    services: Services, connection: duckdb.DuckDBPyConnection, before: _View, now: _View, name: str
) -> list[str]:
    """What a cycle is settled from that is other than it was at the last look; of bills the share's lines alone."""
    cycle = Cycle.parse(name)
    was, found = before.says(cycle), list[str]()
    these, those = before.parts(cycle), now.parts(cycle)
    gone, new = (
        [str(state.local_part(services, key)) for key in sorted(one)] for one in (these - those, those - these)
    )
    if (gone or new) and lines.differ(connection, gone, new, before.accounts(cycle) & now.accounts(cycle)):
        found.append("other bill")
    return found + [f"other {what}" for what, value in now.says(cycle).items() if was[what] != value]


# -- refunds ----------------------------------------------------------------------------------------------------


def _links(
    services: Services, connection: duckdb.DuckDBPyConnection, manifest: Mapping[str, Any], share: Share
) -> set[tuple[Any, ...]]:
    """What refunds fall on by a manifest, in all cycles that it knows."""
    lines.load_lines(connection, [])
    lines.add_reaching(connection, parts_of(services, manifest, share.known), share)
    lines.place(connection, share)
    rules.match(connection, share)
    netting.link(connection, share)
    return netting.links(connection, share)


def _reach(
    reasons: Reasons,
    was: set[tuple[Any, ...]],
    now: set[tuple[Any, ...]],
    looked_at: set[str],
    locked: Iterable[str],
) -> None:
    """Add the cycles that refunds of those that are looked at fall on or fell on, and those of links that changed."""
    within = set(locked)
    found: dict[str, set[str]] = {}
    for one in was | now:
        _, of_refund, _, of_charge, *_ = one
        if of_charge in within and of_refund in looked_at:
            found.setdefault(of_charge, set()).add(f"refunds of {of_refund}")
    for one in was ^ now:
        _, of_refund, _, of_charge, *_ = one
        for cycle in {of_refund, of_charge} & within:
            found.setdefault(cycle, set()).add(f"refunds of {of_refund}")
    for cycle, said in found.items():
        reasons.setdefault(cycle, []).extend(sorted(said))


# -- contract years ---------------------------------------------------------------------------------------------


def follow_years(reasons: Reasons, share: Share, locked: Iterable[str]) -> set[str]:
    """Add the cycles whose due moves with that of an earlier one of their contract year; those that only carry the
    totals of a year are answered."""
    known, own = [str(one) for one in share.known], str(share.cycle)
    within, stood_on = set(locked), set[str]()
    for id_, versions in share.begun(share.cycle).items():
        if not any(map(_is_yearly, versions)):
            continue
        begins = str(Cycle.of(versions[0].begins))
        year = {cycle: share.year_of(id_, cycle) for cycle in known if cycle >= begins}
        reached = [cycle for cycle in reasons if cycle in year]
        for cycle in sorted(year):
            if any(first < cycle and year[first] == year[cycle] for first in reached) and cycle in within:
                reasons.setdefault(cycle, []).append("totals of the contract year")
            elif any(last >= cycle and year[last] == year[cycle] for last in (*reached, own)):
                stood_on.add(cycle)
    return stood_on - reasons.keys() - {own}


def _is_yearly(version: Agreement) -> bool:
    bounds = [*version.bounds, *(bound for rule in version.rules for bound in rule.bounds)]
    over = [one.over for one in bounds] + [one.over for one in version.scales.values()]
    return CONTRACT_YEAR in over
